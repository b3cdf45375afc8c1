//! What came of looking at a token: every check by name, and the claims only of one that passed them all.

use serde_json::{Map, Value};

use super::super::compact::Header;
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
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The key that it names and that is known.
    pub kid: Option<String>,
    /// That key's state; `None` if it is not known, or the key set does not tell.
    pub state: Option<StateName>,
    /// The algorithm: the key's, or what the header says of a key that is not known.
    pub algorithm: Option<Algorithm>,
    /// Every check.
    pub checks: Vec<Check>,
    claims: Map<String, Value>,
}

impl Verdict {
    pub(super) fn malformed(malformed: Malformed) -> Self {
        let checks = vec![Check { name: CheckName::Form, outcome: Outcome::Failed(malformed.into()) }];
        Self { kid: None, state: None, algorithm: None, checks, claims: Map::new() }
    }

    pub(super) fn well_formed(header: &Header) -> Self {
        let mut checks = Vec::with_capacity(11);
        checks.push(Check { name: CheckName::Form, outcome: Outcome::Passed });
        Self { kid: None, state: None, algorithm: Some(header.alg), checks, claims: Map::new() }
    }

    pub(super) fn known(&mut self, kid: &Kid, state: Option<StateName>, algorithm: Algorithm) {
        self.kid = Some(kid.as_str().to_owned());
        self.state = state;
        self.algorithm = Some(algorithm);
    }

    pub(super) fn add(&mut self, name: CheckName, result: Result<(), Rejection>) {
        let outcome = result.map_or_else(Outcome::Failed, |()| Outcome::Passed);
        self.checks.push(Check { name, outcome });
    }

    pub(super) fn skip(&mut self, name: CheckName) {
        self.checks.push(Check { name, outcome: Outcome::NotMade });
    }

    pub(super) fn with_claims(self, claims: Map<String, Value>) -> Self {
        Self { claims, ..self }
    }

    /// Whether the token is accepted: nothing failed, and the signature was looked at.
    pub fn is_valid(&self) -> bool {
        let signed = self.checks.iter().any(|check| check.name == CheckName::Signature && check.outcome == Outcome::Passed);
        signed && self.rejection().is_none()
    }

    /// The first reason not to accept it.
    pub fn rejection(&self) -> Option<&Rejection> {
        self.checks.iter().find_map(|check| match &check.outcome {
            Outcome::Failed(rejection) => Some(rejection),
            Outcome::Passed | Outcome::NotMade => None,
        })
    }

    /// What the token claims, if it is accepted. What others claim is worth nothing, so it is not given out.
    pub fn claims(&self) -> Option<&Map<String, Value>> {
        self.is_valid().then_some(&self.claims)
    }
}
