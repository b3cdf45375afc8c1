//! What `GET /v1/doctor` on the control socket answers: everything that could go wrong, looked at now.

use serde::{Deserialize, Serialize};

use crate::store::aws::permissions::{Outcome, Tried};
use crate::time::Timestamp;

/// An examination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    /// The daemon's wall clock.
    pub at: Timestamp,
    /// What was found, in the order of the examination.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What: `daemon`, `policy`, `store`, `sealed`, `witness`, `clock`, `targets`, `probes`, `permissions`,
    /// `aws-permissions`, `master key`, `certificate`, `room`, `rotation`.
    pub what: String,
    /// Whose: an environment, a keyset, or a file.
    pub whose: String,
    /// How it is.
    pub verdict: Verdict,
    /// As a sentence.
    pub says: String,
    /// What to do about it; empty where all is well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

/// How something is. The later, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and may not for ever.
    Warning,
    /// It does not work.
    Broken,
}

impl Verdict {
    /// The word in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Broken => "broken",
        }
    }
}

impl DoctorReport {
    /// The worst of what was found.
    pub fn worst(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok)
    }
}

impl Finding {
    /// A permission that was tried in AWS.
    pub fn of_permission(tried: &Tried) -> Self {
        let whose = format!("{} {}", tried.action, tried.resource);
        let what = "aws-permissions";
        match &tried.outcome {
            Outcome::Allowed => Self::ok(what, whose, "allowed"),
            Outcome::NotAllowed(so) => Self::ok(what, whose, format!("not allowed, and need not be: {so}")),
            Outcome::NotTried(why) => {
                Self::not_ok(Verdict::Warning, what, whose, &format!("not tried: {why}"), "look again when the first keyset is there")
            }
            Outcome::Denied(sentence) => Self::not_ok(Verdict::Broken, what, whose, sentence, "docs/aws.md has the whole policy"),
            Outcome::Failed(sentence) => Self::not_ok(Verdict::Warning, what, whose, sentence, "look again"),
        }
    }

    /// Something that is as it should be.
    #[allow(clippy::needless_pass_by_value, reason = "reads better where it is used")]
    pub fn ok(what: &str, whose: impl ToString, says: impl Into<String>) -> Self {
        Self { what: what.to_owned(), whose: whose.to_string(), verdict: Verdict::Ok, says: says.into(), hint: String::new() }
    }

    /// Something that is not, as a sentence that may end with `; hint: …`; `hint` is for those that do not.
    #[allow(clippy::needless_pass_by_value, reason = "reads better where it is used")]
    pub fn not_ok(verdict: Verdict, what: &str, whose: impl ToString, sentence: &str, hint: &str) -> Self {
        let (says, hint) = sentence.split_once("; hint: ").unwrap_or((sentence, hint));
        Self { what: what.to_owned(), whose: whose.to_string(), verdict, says: says.to_owned(), hint: hint.to_owned() }
    }
}
