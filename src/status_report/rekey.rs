//! What `POST /v1/rekey` on the control socket takes, and what it and `GET /v1/rekey` answer: how far a change of the master key is.

use serde::{Deserialize, Serialize};

use super::verbs::Refused;
use crate::time::Timestamp;

/// An operator asks for a new master key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RekeyRequest {
    /// Why, in the operator's words.
    #[serde(default)]
    pub reason: String,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// How a change of the master key stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RekeyReport {
    /// The daemon's wall clock.
    pub at: Timestamp,
    /// Who asked, as the daemon saw it.
    pub by: String,
    /// How far it is.
    pub phase: RekeyPhase,
    /// The id of the key in use; once it is done, of the new one.
    pub master_key: String,
    /// The id of the key that takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_key: Option<String>,
    /// The file of the key in use.
    pub key_file: String,
    /// How many values have been looked at.
    pub sealed: u64,
    /// How many values there are.
    pub values: u64,
    /// Why it stopped; it goes on when it is asked for again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// What else is worth knowing, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How far a change of the master key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RekeyPhase {
    /// None is under way in this process.
    Idle,
    /// One was interrupted; it goes on when it is asked for.
    Interrupted,
    /// Values are being sealed anew.
    Resealing,
    /// The last steps.
    Finishing,
    /// The new key is the only one.
    Done,
    /// It stopped; it goes on when it is asked for again.
    Stopped,
}

impl RekeyPhase {
    /// Whether nothing more happens by itself.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Idle | Self::Interrupted | Self::Done | Self::Stopped)
    }
}
