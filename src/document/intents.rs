//! What operators asked for, as facts in the document: who, when, why. Not edits of a policy.

use serde::{Deserialize, Serialize};

use crate::name::Kid;
use crate::time::Timestamp;

/// The longest reason or actor that is kept, in characters.
pub const LONGEST_REASON: usize = 300;

/// Who asked, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// The user's name and uid, as the control socket saw them.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, in the operator's words.
    pub reason: String,
}

/// No scheduled generation or activation until a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Until when.
    pub until: Timestamp,
    /// Who, when, why.
    #[serde(flatten)]
    pub intent: Intent,
}

/// Everything that was asked for and has not happened yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intents {
    /// The next rotation is to begin now; its waits hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate: Option<Intent>,
    /// The next rotation is to happen at once, without its waits: an operator's emergency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_now: Option<Intent>,
    /// Nothing scheduled is to happen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// Incoming keys are held until approved: set by a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Intent>,
    /// Keys whose activation was approved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved: Vec<(Kid, Intent)>,
    /// Keys that must not become active.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tainted: Vec<(Kid, Intent)>,
    /// The keyset is on its way from one store to another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Moved>,
}

/// The part that a document has in the move of a keyset from one store to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moved {
    /// A seal: what goes on is in another store. This document is served and changed no more.
    MovedTo(Journey),
    /// It came from another store, which some replicas, signers or verifiers may still read: until an operator says that nobody does,
    /// nothing scheduled begins.
    MovedFrom(Journey),
}

/// The other end of a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journey {
    /// The other store, by [`crate::policy::StoreConfig::name`].
    pub store: String,
    /// Who, when, why.
    #[serde(flatten)]
    pub intent: Intent,
}

impl Intent {
    /// An intent whose texts are cut to what a document has room for.
    pub fn new(by: &str, at: Timestamp, reason: &str) -> Self {
        let cut = |text: &str| text.chars().take(LONGEST_REASON).collect();
        Self { by: cut(by), at, reason: cut(reason) }
    }
}

impl Intents {
    /// Whether an operator asked for a rotation that has not happened yet.
    pub const fn asks_for_rotation(&self) -> bool {
        self.rotate.is_some() || self.rotate_now.is_some()
    }

    /// Whether scheduled steps are frozen at `now`.
    pub fn frozen_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.freeze.as_ref().map(|freeze| freeze.until).filter(|until| now < *until)
    }

    /// Whether the activation of `kid` was approved.
    pub fn approves(&self, kid: &Kid) -> bool {
        self.approved.iter().any(|(approved, _)| approved == kid)
    }

    /// Whether `kid` must not become active.
    pub fn taints(&self, kid: &Kid) -> bool {
        self.tainted.iter().any(|(tainted, _)| tainted == kid)
    }

    /// Where the keyset has gone, if this document is sealed.
    pub const fn moved_to(&self) -> Option<&Journey> {
        match &self.moved {
            Some(Moved::MovedTo(journey)) => Some(journey),
            _ => None,
        }
    }

    /// Where the keyset came from, for as long as that may still be read.
    pub const fn moved_from(&self) -> Option<&Journey> {
        match &self.moved {
            Some(Moved::MovedFrom(journey)) => Some(journey),
            _ => None,
        }
    }

    /// Lets go of what was said about a key that is no longer incoming.
    pub(super) fn forget_kid(&mut self, kid: &Kid) {
        self.approved.retain(|(k, _)| k != kid);
        self.tainted.retain(|(k, _)| k != kid);
    }
}
