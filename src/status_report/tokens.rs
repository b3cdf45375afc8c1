//! What is asked and answered about tokens on the control and the signer socket.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::verbs::Material;
use crate::document::StateName;
use crate::key::Algorithm;
use crate::time::{Span, Timestamp};
use crate::tokens::verify::{Outcome, Verdict};

/// `POST /v1/keysets/<environment>/<keyset>/token`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MintAsked {
    /// Whom the token is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// How long it is to live; absent: as the policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// What it says besides.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub claims: Map<String, Value>,
}

/// A token.
#[derive(Clone, Serialize, Deserialize)]
pub struct MintTold {
    /// The token: a secret, since whoever holds it can present it.
    pub token: Material,
    /// The header in which the profile's verifiers expect it, up to where the token begins.
    pub header: String,
    /// The key that signed it.
    pub kid: String,
    /// When it ceases to be accepted.
    pub expires_at: Timestamp,
}

/// `POST /v1/keysets/<environment>/<keyset>/verify`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyAsked {
    /// The token.
    pub token: Material,
}

/// What is to be said of a token. The claims are those of a token that was accepted, and of no other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Whether it is accepted.
    pub valid: bool,
    /// As of when.
    pub at: Timestamp,
    /// The key that it names, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// That key's state, if the key set tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateName>,
    /// Its algorithm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// Every check, in the order in which they are made.
    pub checks: Vec<CheckReport>,
    /// What a verifier that knows nothing of keyrota says of signature, issuer and audience; absent where it cannot judge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_opinion: Option<String>,
    /// What it claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Map<String, Value>>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Which.
    pub check: String,
    /// How it ended: `passed`, `failed` or `not-made`.
    pub outcome: String,
    /// Why it failed, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it failed, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
}

impl VerifyReport {
    /// The report of a verdict.
    pub fn of(verdict: &Verdict, second: Option<Result<(), String>>, at: Timestamp) -> Self {
        let checks = verdict.checks().map(|check| {
            let (outcome, code, says) = match &check.outcome {
                Outcome::Passed => ("passed", None, None),
                Outcome::NotMade => ("not-made", None, None),
                Outcome::Failed(rejection) => ("failed", Some(rejection.code().to_owned()), Some(rejection.to_string())),
            };
            CheckReport { check: check.name.as_str().to_owned(), outcome: outcome.to_owned(), code, says }
        });
        Self {
            valid: verdict.is_valid(),
            at,
            kid: verdict.kid.as_ref().map(ToString::to_string),
            state: verdict.state,
            algorithm: verdict.algorithm,
            checks: checks.collect(),
            second_opinion: second.map(|said| said.map_or_else(|why| format!("refused: {why}"), |()| "accepted".to_owned())),
            claims: verdict.claims(),
        }
    }
}
