//! What `POST /v1/migrate` on the control socket takes and answers: keysets on their way from one store to another.

use serde::{Deserialize, Serialize};

use super::ErrorReport;
use crate::migrate::Standing;
use crate::name::{EnvironmentName, Generation, KeysetName};
use crate::policy::StoreConfig;
use crate::time::{Span, Timestamp};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrateRequest {
    /// Which environment's keysets.
    pub environment: EnvironmentName,
    /// Which part of the way.
    pub part: Part,
    /// The other store, as a policy names it: the one to go to or to come back from; at the end the one that was left, which the
    /// daemon that began the move remembers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreConfig>,
    /// Why, in the operator's words.
    #[serde(default)]
    pub reason: String,
    /// For how long the store that was left lets its erasure be undone, if it has such a thing.
    pub recovery: Span,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// The parts of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Seal here, copy there, verify.
    Go,
    /// The same the other way, before the policy has switched.
    Back,
    /// Nobody reads the old store any more: rotations begin again, and it is erased.
    Erase,
    /// The same without erasing it.
    Keep,
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrateReport {
    /// The daemon's wall clock.
    pub at: Timestamp,
    /// Who asked, as the daemon saw it.
    pub by: String,
    /// Which part.
    pub part: Part,
    /// The store that the keysets leave.
    pub source: String,
    /// The store that they go to.
    pub target: String,
    /// Every keyset.
    pub keysets: Vec<MigratedReport>,
    /// What concerns all of them, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How one keyset stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigratedReport {
    /// Which.
    pub keyset: KeysetName,
    /// Where it is; absent if it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// The generation in force.
    pub generation: Generation,
    /// Why it stays where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<ErrorReport>,
}

impl MigrateReport {
    /// Whether every keyset stands where it should, or would.
    pub fn is_good(&self) -> bool {
        self.keysets.iter().all(|keyset| keyset.stopped.is_none())
    }
}
