//! What this host has seen of every keyset, kept in the state directory beside the store: so that a document that vanished, went
//! back or was replaced is noticed, and so that a restart does not forget since when a place has agreed.
//!
//! Stated limit: restoring store and witness together cannot be seen from inside.

pub mod book;

use std::collections::BTreeMap;
use std::future::Future;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::document::Document;
use crate::name::{EnvironmentName, Generation, KeysetId, KeysetName, Kid};
use crate::policy::Target;
use crate::probe::ProbeMemory;
use crate::time::Timestamp;

/// What was last seen of one keyset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The generation.
    pub generation: Generation,
    /// The document's digest at that generation.
    pub digest: Digest,
    /// What is known of the places that this host writes, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub places: BTreeMap<String, PlaceMemory>,
    /// Since when the signers who ask this process have left which retiring key, once that is certain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signers_left: BTreeMap<Kid, Timestamp>,
    /// What the probes of this host have seen, as of the last change that somebody waited for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probes: BTreeMap<String, ProbeMemory>,
    /// The kids that were revoked by then, as digests: should a back-up revive them, they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<Digest>,
    /// An operator is removing the keyset from this host: if it is not in the store, that is as it should be.
    #[serde(default, skip_serializing_if = "is_not")]
    pub removing: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_not(flag: &bool) -> bool {
    !*flag
}

/// What this host remembers of one place that it writes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlaceMemory {
    /// For verifiers: since when, without a break, the place has carried the kid. For signers: since when it has not named it.
    pub since: BTreeMap<Kid, Timestamp>,
    /// What was asked of it, so that it can be taken away when it is asked no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The digest of what was last written there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    /// When the place had changed last after that write, where places tell that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
}

/// How a document compares with what the witness saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is what was seen, or continues it, or nothing was seen yet.
    Continues,
    /// It is so much further that its lineage no longer reaches back to what was seen; taken as a continuation.
    BeyondLineage,
    /// A keyset that was seen is not in the store.
    Vanished {
        /// What was seen.
        seen: Generation,
    },
    /// The store holds an earlier generation than was seen.
    WentBack {
        /// What was seen.
        seen: Generation,
        /// What is there.
        found: Generation,
    },
    /// The store holds a document that does not descend from what was seen.
    Forked {
        /// What was seen.
        seen: Generation,
        /// What is there.
        found: Generation,
    },
}

impl Verdict {
    /// Compares what is in the store with what was seen. `digest` is asked for the found document's digest only where it matters.
    pub fn on(seen: Option<&Sighting>, found: Option<&Document>, digest: impl FnOnce() -> Option<Digest>) -> Self {
        let Some(seen) = seen else { return Self::Continues };
        let Some(found) = found else {
            return if seen.removing { Self::Continues } else { Self::Vanished { seen: seen.generation } };
        };
        if found.generation < seen.generation {
            return Self::WentBack { seen: seen.generation, found: found.generation };
        }
        let digest_then = if found.generation == seen.generation {
            digest()
        } else {
            found.lineage.iter().find(|(generation, _)| *generation == seen.generation).map(|(_, digest)| *digest)
        };
        match digest_then {
            Some(digest) if digest == seen.digest => Self::Continues,
            Some(_) => Self::Forked { seen: seen.generation, found: found.generation },
            None => Self::BeyondLineage,
        }
    }

    /// Whether the keyset must be left alone until an operator has decided.
    pub const fn is_fault(&self) -> bool {
        !matches!(self, Self::Continues | Self::BeyondLineage)
    }
}

/// Why the witness could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the witness in the state directory cannot be used: {0}")]
pub struct WitnessError(pub String);

/// Where sightings are kept.
pub trait Witness: Send + Sync + 'static {
    /// Everything seen of one environment.
    fn recall(&self, environment: &EnvironmentName) -> impl Future<Output = Result<BTreeMap<KeysetName, Sighting>, WitnessError>> + Send;

    /// Notes what was seen. Many callers at once cost one commit.
    fn note(&self, keyset: &KeysetId, sighting: &Sighting) -> impl Future<Output = Result<(), WitnessError>> + Send;

    /// Forgets a keyset.
    fn forget(&self, keyset: &KeysetId) -> impl Future<Output = Result<(), WitnessError>> + Send;
}
