//! Everything from outside that a decision takes into account, by value.

use std::collections::BTreeMap;

use crate::name::Kid;
use crate::time::{Span, Timestamp};

/// What was seen, just before deciding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The wall clock.
    pub now: Timestamp,
    /// Since when this process has served without a gap.
    pub serving_since: Timestamp,
    /// What is at fault with clock or witness, if anything.
    pub fault: Option<Fault>,
    /// Whether a keyset that is not in the store may be created.
    pub may_create: bool,
    /// The places that verifiers read besides our own HTTP listener, which is never behind.
    pub verifier_places: Vec<VerifierPlace>,
    /// The places that signers read.
    pub signer_places: Vec<SignerPlace>,
    /// Changes whose swap took so long that the times they bear are too early: kid, and when the swap was seen to be done.
    pub late_commits: BTreeMap<Kid, Timestamp>,
}

/// Why nothing may be decided at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Wall clock and boot clock have parted since the process started.
    ClocksParted {
        /// By how much.
        by: Span,
    },
    /// The policy asks for another class of keys.
    Class {
        /// What, as a sentence.
        what: String,
    },
    /// The witness saw something else than the store holds.
    Witness {
        /// What, as a sentence.
        what: String,
    },
}

/// A place that verifiers read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierPlace {
    /// Its name, for people.
    pub name: String,
    /// What kind of place.
    pub kind: PlaceKind,
    /// Since when, without a break, it has carried each kid.
    pub carries: BTreeMap<Kid, Timestamp>,
    /// The moment whose state that is: for one that is only looked at, a cache in between may have answered with what was true some
    /// time ago. `None`: it cannot be read now, so nothing can be said of what it does not carry.
    pub as_of: Option<Timestamp>,
}

/// What kind of place verifiers read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    /// keyrota writes it: a key is not published before it was read back there.
    Target,
    /// keyrota only looks at it: a key is not activated before it was seen there.
    Probe,
}

/// A place that signers read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerPlace {
    /// Its name, for people.
    pub name: String,
    /// Since when, without a break, it has *not* told signers to use each kid. A kid that is missing here may still be in use.
    pub left: BTreeMap<Kid, Timestamp>,
}

impl Observed {
    /// A quiet world at `now`: served for ever, no faults, no places.
    pub const fn quiet(now: Timestamp) -> Self {
        Self {
            now,
            serving_since: Timestamp::EPOCH,
            fault: None,
            may_create: true,
            verifier_places: Vec::new(),
            signer_places: Vec::new(),
            late_commits: BTreeMap::new(),
        }
    }
}
