//! What happened to a keyset lately, kept in its document so that an audit trail can be completed after a crash.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Document, StateName};
use crate::name::{Generation, Kid};
use crate::time::Timestamp;

/// How many entries a document carries.
pub const HISTORY_LENGTH: usize = 16;

/// What set a change off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// The policy's timing.
    Schedule,
    /// An operator's verb.
    Operator,
    /// A compromised or missing key.
    Emergency,
    /// A key that was handed in.
    Import,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// A key went from one state to another; it was new if `from` is missing.
    KeyMoved {
        /// Which.
        kid: Kid,
        /// The state it left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<StateName>,
        /// The state it entered.
        to: StateName,
    },
    /// A private half was erased.
    PrivateErased {
        /// Whose.
        kid: Kid,
    },
    /// Tombstones were forgotten.
    Forgotten {
        /// How many.
        count: usize,
    },
    /// Facts were adopted from the policy.
    FactsAdopted,
    /// An operator's intent was noted or taken back.
    IntentNoted {
        /// Its name.
        intent: String,
    },
    /// A revoked key has been seen gone everywhere.
    RevocationConfirmed {
        /// Which.
        kid: Kid,
    },
    /// Times that lay in the future were set to now, because an operator accepted the clock.
    TimesReset,
}

/// One entry of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The generation that the change made.
    pub generation: Generation,
    /// When it was decided.
    pub at: Timestamp,
    /// What set it off.
    pub trigger: Trigger,
    /// Why, as a sentence.
    pub reason: Arc<str>,
    /// Who asked for it, if somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub change: Change,
}

impl Document {
    /// The generation in which a key last entered a state; if the history does not reach back so far, the earliest that it tells of,
    /// which is later.
    pub fn entered(&self, kid: &Kid, state: StateName) -> Generation {
        let entered =
            |entry: &&HistoryEntry| matches!(&entry.change, Change::KeyMoved { kid: moved, to, .. } if moved == kid && *to == state);
        let found = self.history.iter().rev().find(entered).or_else(|| self.history.first());
        found.map_or(self.generation, |entry| entry.generation)
    }
}
