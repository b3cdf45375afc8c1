//! What came of looking at a token: every check by name, and the claims only of one that passed them all.

use serde_json::{Map, Value};

use super::super::compact::Parts;
use super::super::malformed::Malformed;
use super::super::rejection::Rejection;
use crate::document::StateName;
use crate::key::Algorithm;
use crate::name::Kid;

/// The checks, in the order in which they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckName {
    /// Well-formed, and nothing in the header by which it would choose its own rules.
    Form,
    /// Named by a key that is accepted.
    Key,
    /// Of the algorithm that the key is for.
    Algorithm,
    /// Signed by that key.
    Signature,
    /// Of the kind that is expected.
    Type,
    /// Issued by whom it must be.
    Issuer,
    /// For whom it must be.
    Audience,
    /// Not expired.
    Expiry,
    /// Valid already.
    NotBefore,
    /// Not issued in the future.
    IssuedAt,
    /// With what its profile asks for.
    Claims,
}

impl CheckName {
    /// Every check.
    pub const ALL: [Self; 11] = [
        Self::Form,
        Self::Key,
        Self::Algorithm,
        Self::Signature,
        Self::Type,
        Self::Issuer,
        Self::Audience,
        Self::Expiry,
        Self::NotBefore,
        Self::IssuedAt,
        Self::Claims,
    ];

    /// As it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Key => "key",
            Self::Algorithm => "algorithm",
            Self::Signature => "signature",
            Self::Type => "type",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expiry => "expiry",
            Self::NotBefore => "not-before",
            Self::IssuedAt => "issued-at",
            Self::Claims => "claims",
        }
    }
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not.
    Failed(Rejection),
    /// There was nothing to hold it against: no expectation is stated, or an earlier check failed.
    NotMade,
}

/// A check and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Which.
    pub name: CheckName,
    /// How.
    pub outcome: Outcome,
}

/// What came of looking at a token.
#[derive(Clone)]
pub struct Verdict<'v> {
    /// The key that it names and that is known.
    pub kid: Option<&'v Kid>,
    /// That key's state; `None` if it is not known, or the key set does not tell.
    pub state: Option<StateName>,
    /// The algorithm: the key's, or what the header says of a key that is not known.
    pub algorithm: Option<Algorithm>,
    pub(super) findings: Findings,
    /// Where its claims stand, if they are well-formed.
    pub(super) parts: Option<Parts<'v>>,
}

/// How the checks ended so far.
#[derive(Clone, Default)]
pub(super) struct Findings {
    passed: Checks,
    not_made: Checks,
    /// In the order of the checks.
    failed: Vec<(CheckName, Rejection)>,
}

/// A set of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Checks(u16);

impl Checks {
    const fn with(self, name: CheckName) -> Self {
        Self(self.0 | 1 << name as u16)
    }

    const fn has(self, name: CheckName) -> bool {
        self.0 & 1 << name as u16 != 0
    }
}

impl Findings {
    #[inline]
    pub(super) fn add(&mut self, name: CheckName, result: Result<(), Rejection>) {
        match result {
            Ok(()) => self.passed = self.passed.with(name),
            Err(rejection) => self.failed.push((name, rejection)),
        }
    }

    pub(super) const fn skip(&mut self, name: CheckName) {
        self.not_made = self.not_made.with(name);
    }
}

impl Verdict<'_> {
    pub(super) fn malformed(malformed: Malformed) -> Self {
        let mut findings = Findings::default();
        findings.add(CheckName::Form, Err(malformed.into()));
        Self { kid: None, state: None, algorithm: None, findings, parts: None }
    }

    /// Whether the token is accepted: nothing failed, and the signature was looked at.
    pub fn is_valid(&self) -> bool {
        self.findings.passed.has(CheckName::Signature) && self.findings.failed.is_empty()
    }

    /// The first reason not to accept it.
    pub fn rejection(&self) -> Option<&Rejection> {
        self.findings.failed.first().map(|(_, rejection)| rejection)
    }

    /// Every check that came into question, and how it ended.
    pub fn checks(&self) -> impl Iterator<Item = Check> {
        CheckName::ALL.into_iter().filter_map(|name| {
            let failed = self.findings.failed.iter().find(|(of, _)| *of == name).map(|(_, rejection)| Outcome::Failed(rejection.clone()));
            let passed = self.findings.passed.has(name).then_some(Outcome::Passed);
            let not_made = self.findings.not_made.has(name).then_some(Outcome::NotMade);
            failed.or(passed).or(not_made).map(|outcome| Check { name, outcome })
        })
    }

    /// What the token claims, if it is accepted. What others claim is worth nothing, so it is not given out.
    pub fn claims(&self) -> Option<Map<String, Value>> {
        self.is_valid().then_some(self.parts?)?.claims().ok()
    }
}
