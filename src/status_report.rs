//! What the control socket answers, as types that the daemon writes and the command line reads.
//!
//! Nothing here has room for a secret: documents come without theirs. Fields are only ever added; readers pass over what they do
//! not know.

pub mod backup;
pub mod doctor;
pub mod migrate;
pub mod rekey;
pub mod tokens;
pub mod verbs;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::board::TlsStanding;
use crate::digest::Digest;
use crate::document::Document;
use crate::document::stored::StoredError;
use crate::key::Algorithm;
use crate::lifecycle::{Pending, StepKind};
use crate::name::{EnvironmentName, Generation, KeysetName, Kid, SignerName};
use crate::rules::Rules;
use crate::time::{Span, Timestamp};

/// How everything stands: `GET /v1/status` on the control socket, optionally `?environment=NAME&keyset=NAME`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusReport {
    /// The daemon's version.
    pub version: String,
    /// The daemon's wall clock at the answer.
    pub at: Timestamp,
    /// The certificate of the verifiers' listener; absent if that speaks no TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsReport>,
    /// Every environment, by name. Written last, so that a long list can be streamed.
    pub environments: Vec<EnvironmentReport>,
}

/// The certificate of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsReport {
    /// Its SHA-256, base64url.
    pub certificate: Digest,
    /// When it was taken from its file.
    pub taken_at: Timestamp,
    /// Until when it is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Why certificate and key as they stand in their files now are not in force; absent if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// How long before a certificate expires somebody is told: by then, whoever renews it of its own accord has done so.
pub const RENEWAL_DUE: Span = Span::days(14);

impl TlsReport {
    /// That of a standing.
    pub fn of(standing: &TlsStanding) -> Self {
        let TlsStanding { certificate, taken_at, expires_at, refused } = standing.clone();
        Self { certificate, taken_at, expires_at: Some(expires_at), refused }
    }

    /// Until when it is valid, to the minute.
    pub fn valid_until(&self) -> Option<String> {
        self.expires_at.map(|at| at.to_utc().format("%Y-%m-%d %H:%MZ").to_string())
    }

    /// That the certificate has expired or soon will, as a sentence; `None` while there is time.
    pub fn expiry(&self, now: Timestamp) -> Option<String> {
        const HINT: &str = "renew it: what stands in its files is taken without a restart";
        let (at, until) = (self.expires_at?, self.valid_until()?);
        match at.since(now) {
            Span::ZERO => Some(format!("the certificate expired at {until}, and clients refuse it; hint: {HINT}")),
            left if left < RENEWAL_DUE => Some(format!("the certificate expires at {until}, in {}; hint: {HINT}", left.rounded())),
            _ => None,
        }
    }
}

/// One environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EnvironmentReport {
    /// Its name.
    pub name: EnvironmentName,
    /// How its policy file stands.
    pub policy: PolicyReport,
    /// Whether the daemon may speak for the store: its last confirmed look is younger than `store_refresh`.
    pub fresh: bool,
    /// Whether every keyset of the policy has been looked at since the daemon began.
    pub loaded: bool,
    /// Since when the daemon has served it without a gap; absent while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving_since: Option<Timestamp>,
    /// When the last confirmed look at the store began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<Timestamp>,
    /// When a pass was last carried through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_pass: Option<Timestamp>,
    /// Why its store does not answer; absent if it did when it was last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_trouble: Option<TroubleReport>,
    /// Its keysets, by name. Written last, so that a long list can be streamed.
    pub keysets: Vec<KeysetReport>,
}

/// How a policy file stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// The digest of the policy in force.
    pub digest: Digest,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// Why the file as it stands now is not in force; empty if it is.
    #[serde(default)]
    pub faults: Vec<String>,
}

/// One keyset.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeysetReport {
    /// Its name.
    pub name: KeysetName,
    /// When it was last looked at; absent before the first look, and then so is all that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<Timestamp>,
    /// The rules it is judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesReport>,
    /// The document in force, with words in the place of every secret; absent if there is none or it cannot be read.
    /// [`KeysetReport::document`] reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Box<RawValue>>,
    /// The steps to come and what each waits for.
    #[serde(default)]
    pub pending: Vec<PendingReport>,
    /// Whether the change-over is late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdue: Option<OverdueReport>,
    /// What does not work.
    #[serde(default)]
    pub troubles: Vec<TroubleReport>,
    /// What signers report to this replica of the generation they use, by name.
    #[serde(default)]
    pub signers: Vec<UptakeReport>,
    /// What was seen of its key sets from outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeReport>,
}

/// What was seen of one key set from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Where.
    pub url: String,
    /// When it was last looked at; absent before the first look since the daemon began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<Timestamp>,
    /// When a look last succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Timestamp>,
    /// Why the last look failed; absent if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The newest generation of the document with which it was seen to agree since the daemon began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
}

/// What a keyset is judged by at this moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RulesReport {
    /// What new keys sign with.
    pub algorithm: Algorithm,
    /// How long a key signs.
    pub rotate_every: Span,
    /// A signing key older than this is stale.
    pub max_age: Span,
    /// How long a change-over can be undone.
    pub rollback_window: Span,
    /// From published to active, as the facts in force demand.
    pub propagation: Span,
    /// From retiring to retired, as the facts in force demand.
    pub retention: Span,
    /// Whether the keyset is in no policy any more: served and drained, never rotated.
    #[serde(default)]
    pub orphaned: bool,
    /// The rules themselves, so that a plan can be made from this report alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stated: Option<Rules>,
}

/// A step to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingReport {
    /// What.
    pub step: StepKind,
    /// On which key; absent for one that does not exist yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<Kid>,
    /// When it can happen as far as is known; absent when something outside must change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What it waits for, in a word (`propagation`, `window`, `approval`, …).
    pub label: String,
    /// What it waits for, as a sentence with a hint where there is something to do.
    pub because: String,
}

/// A change-over that is late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverdueReport {
    /// Since when.
    pub since: Timestamp,
    /// Why: the label that `keyrota_rotation_overdue` bears as `reason`.
    pub label: String,
    /// Why, as a sentence.
    pub because: String,
}

/// Something that does not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TroubleReport {
    /// With what: `store`, `witness`, `policy`, `keygen`, `target`, `probe`.
    pub part: String,
    /// As a sentence.
    pub what: String,
    /// Since when; absent from daemons that did not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// A signer that reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UptakeReport {
    /// What it calls itself.
    pub name: SignerName,
    /// The generation that it uses.
    pub generation: Generation,
    /// Since when.
    pub since: Timestamp,
    /// When it was last heard of.
    pub heard_at: Timestamp,
    /// The generation that it should have reached by now and has not; absent if it does not lag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lags_behind: Option<Generation>,
}

/// What became of a reload: the answer to `POST /v1/reload?wait=SPAN` on the control socket.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Whether the daemon is done with it; `false` if it was asked not to wait, or the wait was over first.
    pub done: bool,
    /// Every environment whose policy file was looked at; empty while not done.
    #[serde(default)]
    pub environments: Vec<ReloadedReport>,
}

/// What became of one policy file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadedReport {
    /// The environment.
    pub name: EnvironmentName,
    /// Whether the file as it stands now is in force.
    pub in_force: bool,
    /// Why not.
    #[serde(default)]
    pub faults: Vec<String>,
}

/// What every listener answers when it cannot answer what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// What is wrong, as a sentence.
    pub error: String,
    /// What to do about it.
    pub hint: String,
}

impl KeysetReport {
    /// The document in force, without its secrets.
    ///
    /// # Errors
    /// If the daemon speaks of a document that this version cannot read.
    pub fn document(&self) -> Result<Option<Document>, StoredError> {
        self.document.as_ref().map(|raw| Document::from_stored(raw.get().as_bytes())).transpose()
    }
}

impl From<&Pending> for PendingReport {
    fn from(pending: &Pending) -> Self {
        Self {
            step: pending.step,
            kid: pending.kid.clone(),
            at: pending.at,
            label: pending.because.name().to_owned(),
            because: pending.because.to_string(),
        }
    }
}

impl ReloadReport {
    /// Whether every policy file that was looked at is in force.
    pub fn all_in_force(&self) -> bool {
        self.done && self.environments.iter().all(|e| e.in_force)
    }
}
