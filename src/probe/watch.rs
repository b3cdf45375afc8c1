//! What the looks at one place amount to: since when, without a break, it has shown which key.
//!
//! The rule. Agreement on a key begins with the look that first shows it and ends with one that does not, or that shows another public
//! key under its name. A look that fails ends nothing at once, but until the next good one the place counts for nothing, and the time
//! between the two good looks on either side is no agreement: the start is moved on by it. If they lie farther apart than
//! [`Probe::longest_gap`], nothing is known of the time between, and every agreement begins anew.
//!
//! So a probe that fails now and then delays a rotation and does not stall it, and nothing is ever counted that was not watched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Look;
use crate::digest::Digest;
use crate::document::{Document, LiveKey};
use crate::name::{Generation, Kid};
use crate::observed::{PlaceKind, VerifierPlace};
use crate::policy::Probe;
use crate::time::Timestamp;

/// The looks at one place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watch {
    /// What outlives the process.
    pub memory: ProbeMemory,
    /// When it was last looked at.
    pub looked_at: Option<Timestamp>,
    /// Why the last look failed; `None` if it did not.
    pub failure: Option<String>,
    /// The newest generation of the document with which the place was seen to agree.
    pub generation: Option<Generation>,
}

/// What outlives the process of the looks at one place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProbeMemory {
    /// What it shows.
    pub shown: BTreeMap<Kid, Shown>,
    /// When it was last seen.
    pub seen_at: Option<Timestamp>,
    /// The moment whose state that was.
    pub as_of: Option<Timestamp>,
    /// Whether a look has failed since.
    #[serde(default)]
    pub failing: bool,
}

/// A key that a place shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Its public half; `None` for one that keyrota cannot read.
    pub thumbprint: Option<Digest>,
    /// Since when, without a break.
    pub since: Timestamp,
}

/// How a probe stands, for output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeStanding {
    /// The address.
    pub url: String,
    /// When it was last looked at; `None`: not since the process began.
    pub looked_at: Option<Timestamp>,
    /// When a look last succeeded.
    pub seen_at: Option<Timestamp>,
    /// Why the last look failed; `None` if it did not.
    pub failure: Option<String>,
    /// The newest generation of the document with which it was seen to agree: it showed every live key, and none that is gone.
    pub generation: Option<Generation>,
}

impl ProbeMemory {
    /// Takes a look into account.
    fn see(&mut self, probe: &Probe, look: &Look) {
        let Ok(sight) = &look.seen else {
            self.failing = true;
            return;
        };
        let gap = self.seen_at.map(|before| look.at.since(before));
        match gap {
            Some(gap) if gap <= probe.longest_gap() && self.seen_at <= Some(look.at) => {
                let unwatched = if self.failing { gap } else { crate::time::Span::ZERO };
                for shown in self.shown.values_mut() {
                    shown.since = (shown.since + unwatched).min(look.at);
                }
            }
            _ => self.shown.clear(),
        }
        self.shown.retain(|kid, shown| sight.keys.get(kid) == Some(&shown.thumbprint));
        for (kid, thumbprint) in &sight.keys {
            self.shown.entry(kid.clone()).or_insert(Shown { thumbprint: *thumbprint, since: look.at });
        }
        self.seen_at = Some(look.at);
        self.as_of = Some(sight.as_of);
        self.failing = false;
    }

    /// Whether it shows the key as the document has it.
    fn shows(&self, live: &LiveKey<'_>) -> bool {
        let own = live.key.public_jwk().map(|jwk| jwk.numbers.thumbprint());
        self.shown.get(&live.key.kid).is_some_and(|shown| own.is_some() && shown.thumbprint == own)
    }
}

impl Watch {
    /// Goes on from what was remembered.
    pub fn remembered(memory: ProbeMemory) -> Self {
        Self { memory, ..Self::default() }
    }

    /// Takes a look into account. Answers what is wrong with what it shows, as a sentence.
    pub fn see(&mut self, probe: &Probe, look: &Look, document: Option<&Document>) -> Option<String> {
        self.memory.see(probe, look);
        self.looked_at = Some(look.at);
        self.failure = look.seen.as_ref().err().map(|error| format!("probe {}: {error}", probe.name()));
        if let (None, Some(document)) = (&self.failure, document) {
            let gone = |kid: &Kid| document.live_key(kid).is_none() && document.knows(kid);
            let agrees = document.live().all(|live| self.memory.shows(&live)) && !self.memory.shown.keys().any(gone);
            if agrees {
                self.generation = self.generation.max(Some(document.generation));
            }
            return self.lie(probe, document);
        }
        self.failure.clone()
    }

    /// A key of ours under whose name it shows another one, or the key that signs now and that it does not show.
    fn lie(&self, probe: &Probe, document: &Document) -> Option<String> {
        let name = probe.name();
        let other = document.live().find(|live| self.memory.shown.contains_key(&live.key.kid) && !self.memory.shows(live));
        if let Some(live) = other {
            let kid = &live.key.kid;
            return Some(format!("probe {name} shows another public key under kid {kid}; hint: who else writes that key set?"));
        }
        let active = &document.active.as_ref()?.key.kid;
        let missing = !self.memory.shown.contains_key(active);
        missing.then(|| {
            format!(
                "probe {name} does not show kid {active}, which signs now: whoever verifies with it rejects every new token; \
                 hint: where does it take its key set from?"
            )
        })
    }

    /// What decisions need to know of it.
    pub fn place(&self, probe: &Probe, document: &Document, now: Timestamp) -> VerifierPlace {
        let memory = &self.memory;
        let is_watched = !memory.failing && memory.seen_at.is_some_and(|at| now.since(at) <= probe.longest_gap());
        let as_of = memory.as_of.filter(|_| is_watched);
        let ours = |kid: &Kid| document.live_key(kid).is_none_or(|live| memory.shows(&live));
        let agreed = memory.shown.iter().filter(|(kid, _)| is_watched && ours(kid));
        let carries = agreed.map(|(kid, shown)| (kid.clone(), shown.since)).collect();
        VerifierPlace { name: format!("probe {}", probe.name()), kind: PlaceKind::Probe, carries, as_of }
    }

    /// How it stands.
    pub fn standing(&self, url: &str) -> ProbeStanding {
        ProbeStanding {
            url: url.to_owned(),
            looked_at: self.looked_at,
            seen_at: self.memory.seen_at,
            failure: self.failure.clone(),
            generation: self.generation,
        }
    }
}
