//! Everything from outside that a decision takes into account, by value.

use std::collections::BTreeMap;

use crate::name::{Generation, Kid, SignerName};
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
    /// What signers have reported to this process, latest reports only. Those of other replicas are not known here.
    pub uptake: Vec<SignerReport>,
    /// Why no new key is to be had now from the vendor that makes them, as a sentence; `None`: nothing is known to stand against it.
    pub no_key: Option<String>,
}

/// What a signer has reported of the generation that it uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerReport {
    /// What it calls itself.
    pub name: SignerName,
    /// When it was last heard of.
    pub heard_at: Timestamp,
    /// The generations it went to, each with the moment it was first reported, oldest first. Bounded, and never empty.
    pub moves: Vec<(Generation, Timestamp)>,
}

/// How a signer stands to a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// It never reported an earlier one.
    Always,
    /// It reported an earlier one until then.
    At(Timestamp),
    /// It still reports an earlier one.
    NotYet,
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
    /// The store holds something of the keyset's name that cannot be read.
    Unreadable {
        /// What, as a sentence.
        what: String,
    },
    /// The witness saw something else than the store holds, or could not be told of what is there.
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
            uptake: Vec::new(),
            no_key: None,
        }
    }
}

impl SignerReport {
    /// The generation that it uses.
    pub fn generation(&self) -> Generation {
        self.moves.last().map_or(Generation(0), |(generation, _)| *generation)
    }

    /// Since when it has reported that generation.
    pub fn since(&self) -> Timestamp {
        self.moves.last().map_or(self.heard_at, |(_, since)| *since)
    }

    /// Whether it is heard of: a report counts for as long as a signer may go on using a document that it read.
    pub fn is_live(&self, now: Timestamp, signer_refresh: Span) -> bool {
        now <= self.heard_at + signer_refresh
    }

    /// How it stands to `needed`.
    pub fn reached(&self, needed: Generation) -> Reached {
        let ahead = self.moves.iter().rev().take_while(|(generation, _)| *generation >= needed);
        match (ahead.last(), self.moves.iter().any(|(generation, _)| *generation < needed)) {
            (None, _) => Reached::NotYet,
            (Some(_), false) => Reached::Always,
            (Some((_, at)), true) => Reached::At(*at),
        }
    }
}
