//! The decision: what is the next step of a keyset, and if none is, what is it waiting for?
//!
//! [`next`] is pure: no clock, no randomness, no I/O. The daemon, `keyrota plan`, the simulation and the tests all call this one
//! function. The first rule that matches wins; each step is one swap; every document in between is legal, so a crash anywhere
//! leaves a step that is simply decided again.
//!
//! Invariant: the active key is one that every verifier has had the chance to fetch, for as long as verifiers may go on without
//! fetching; a key leaves the key set when its last token is dead, and not before.

mod because;
mod change_over;
mod incoming;
pub mod overdue;
mod retiring;
pub mod step;
mod uptake;

pub use step::{Reason, Step, StepKind, apply};
pub use uptake::laggards;

use crate::document::{Document, Incoming, Journey, MOST_LIVE_KEYS, Trigger};
use crate::name::{Generation, KeysetId, Kid, SignerName};
use crate::observed::{Fault, Observed};
use crate::rules::{Rules, Standing};
use crate::time::{Span, Timestamp};
use crate::waits::Waits;

/// How many tombstones a document keeps.
pub const TOMBSTONES_KEPT: usize = 10;

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Take this step, by one swap.
    Do(Step, Reason),
    /// Nothing now.
    Wait(Wait),
}

/// Nothing is to be done now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wait {
    /// The steps to come, in the order of the rules, each with what it waits for.
    pub pending: Vec<Pending>,
    /// When to decide again at the latest; `None`: when something outside changes.
    pub until: Option<Timestamp>,
}

/// A step to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// What.
    pub step: StepKind,
    /// On which key; `None` for one that does not exist yet.
    pub kid: Option<Kid>,
    /// When it can happen as far as is known; `None`: when something outside changes.
    pub at: Option<Timestamp>,
    /// What it waits for.
    pub because: Because,
}

/// What a step waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// The schedule.
    Schedule,
    /// Verifiers' caches.
    Propagation,
    /// Verifiers that missed a refresh while this process did not serve.
    Serving,
    /// Tokens that are alive.
    Retention,
    /// The time in which a change-over can be undone.
    RollbackWindow,
    /// The rotation window.
    Window,
    /// An operator's freeze.
    Frozen,
    /// An operator's approval.
    Approval,
    /// An operator's `keyrota rotate`.
    Manual,
    /// A place that could not be written or holds something else.
    Publish {
        /// Which.
        place: String,
    },
    /// A place that still holds a revoked key, or cannot be read.
    StillHeld {
        /// Which.
        place: String,
    },
    /// A probe that still sees a revoked key, or cannot see.
    StillShown {
        /// Which.
        place: String,
    },
    /// A probe that has not seen the key.
    Probe {
        /// Which.
        place: String,
        /// Since when the key could have been seen.
        since: Timestamp,
    },
    /// Replicas that may not have seen the first key yet.
    StoreRefresh,
    /// A key that somebody else must hand in.
    External,
    /// A key that its vendor is asked for.
    Vendor {
        /// How that stands, as a sentence.
        what: String,
    },
    /// The day on which the keyset may be created.
    Inception,
    /// A wall clock that cannot be trusted.
    Clock {
        /// What is wrong, as a sentence.
        what: String,
    },
    /// A policy that cannot be applied to what is there.
    Policy {
        /// What is wrong, as a sentence.
        what: String,
    },
    /// A store that does not take what was decided, or holds something that cannot be read.
    Store {
        /// What is wrong, as a sentence.
        what: String,
    },
    /// A key that is being made.
    Making,
    /// A key that cannot be made.
    Keygen {
        /// What is wrong, as a sentence.
        what: String,
    },
    /// A document that is not what was seen before.
    Witness {
        /// What is wrong, as a sentence.
        what: String,
    },
    /// A signer that reports an earlier generation than the one in which the key's successor took over.
    Uptake {
        /// Which.
        signer: SignerName,
        /// What it reports.
        generation: Generation,
        /// What it is to reach.
        needed: Generation,
    },
    /// Signers that have had no time to report since this process began to serve.
    Unheard,
    /// Nothing: the keyset goes on in another store.
    MovedTo {
        /// Where, when and by whom, as a sentence.
        what: String,
    },
    /// Everybody who may still read the store that the keyset came from.
    MovedFrom {
        /// Which store.
        store: String,
    },
    /// Room for another live key.
    Full,
}

/// What is the next step of this keyset?
pub fn next(document: &Document, rules: &Rules, observed: &Observed) -> Decision {
    let case = Case { document, rules, observed, waits: Waits::at(document, rules, observed.now) };
    if let Some((until, because)) = case.fault() {
        return Decision::Wait(Wait { pending: vec![case.pending(StepKind::Any, None, until, because)], until });
    }
    let mut wait = Wait::default();
    let decided = case
        .adopt_facts()
        .or_else(|| case.discard_unfit())
        .or_else(|| case.first_key(&mut wait))
        .or_else(|| case.confirm_published(&mut wait))
        .or_else(|| case.activate(&mut wait))
        .or_else(|| case.generate(&mut wait))
        .or_else(|| case.erase_private(&mut wait))
        .or_else(|| case.retire(&mut wait))
        .or_else(|| case.confirm_revoked(&mut wait))
        .or_else(|| case.forget());
    match decided {
        Some((step, reason)) => Decision::Do(step, reason),
        None => Decision::Wait(case.woken(wait)),
    }
}

/// That a document is sealed, as a sentence: whoever would change it is told this.
pub fn moved_to(id: &KeysetId, journey: &Journey) -> String {
    let (store, at, by) = (&journey.store, journey.intent.at, &journey.intent.by);
    let environment = &id.environment;
    format!(
        "it moved to the {store} at {at} by {by}, so here it is served and changed no more; hint: merge the policy that names that store \
         and `keyrota reload --wait`; or `keyrota migrate {environment} --back`"
    )
}

type Chosen = Option<(Step, Reason)>;

/// One keyset, its rules and what was seen: what every rule below looks at.
struct Case<'a> {
    document: &'a Document,
    rules: &'a Rules,
    observed: &'a Observed,
    waits: Waits,
}

impl Case<'_> {
    /// A clock or a document that cannot be trusted: nothing at all is decided, until the moment that it names if that is known.
    fn fault(&self) -> Option<(Option<Timestamp>, Because)> {
        if let Some(journey) = self.document.intents.moved_to() {
            return Some((None, Because::MovedTo { what: moved_to(&self.document.id, journey) }));
        }
        match &self.observed.fault {
            Some(Fault::ClocksParted { by }) => {
                let what = format!("the wall clock was set by {by} against the boot clock, more than clock_skew {}", self.skew());
                return Some((None, Because::Clock { what }));
            }
            Some(Fault::Class { what }) => return Some((None, Because::Policy { what: what.clone() })),
            Some(Fault::Unreadable { what }) => return Some((None, Because::Store { what: what.clone() })),
            Some(Fault::Witness { what }) => return Some((None, Because::Witness { what: what.clone() })),
            None => {}
        }
        let record = self.document.latest_record();
        let ahead = record.since(self.observed.now);
        (ahead > self.skew()).then(|| {
            let what = format!("the document bears a time {ahead} in the future, more than clock_skew {}", self.skew());
            (Some(record.minus(self.skew())), Because::Clock { what })
        })
    }

    /// A fact of the policy that the document does not hold yet is recorded before anything is decided on it.
    fn adopt_facts(&self) -> Chosen {
        if !self.document.is_stored() || !self.rules.in_force() {
            return None;
        }
        let facts = self.document.facts.adopting(&self.rules.facts, self.observed.now)?;
        chosen(Step::AdoptFacts { facts: Box::new(facts) }, Trigger::Schedule, "the policy states other facts")
    }

    /// When to look again: at the earliest of what is pending, when an incoming key is no longer wanted, and when a promise runs out.
    fn woken(&self, wait: Wait) -> Wait {
        let now = self.observed.now;
        let facts = self.document.facts.next_change(&self.rules.facts, now).filter(|_| self.rules.in_force());
        let pending = wait.pending.iter().filter_map(|p| p.at);
        let until = pending.chain(self.next_discard()).filter(|at| *at > now).chain(facts).min();
        Wait { until, ..wait }
    }

    fn oldest_published(&self) -> Option<(&Incoming, Timestamp)> {
        self.document.incoming.iter().find_map(|i| i.stage.published_at().map(|at| (i, at)))
    }

    fn is_full(&self) -> bool {
        self.document.live().count() >= MOST_LIVE_KEYS
    }

    fn generation(&self, trigger: Trigger, why: &str) -> Chosen {
        chosen(Step::Generate { spec: Box::new(self.rules.spec.clone()) }, trigger, why)
    }

    /// What a scheduled step waits for while the policy's file is broken.
    fn broken_policy(&self) -> Option<Because> {
        let what = "its policy file is broken, so nothing scheduled begins; hint: `keyrota check` says where".to_owned();
        (self.rules.standing == Standing::Broken).then_some(Because::Policy { what })
    }

    /// What a new key waits for while its vendor has not made it.
    fn vendor(&self) -> Option<Because> {
        self.observed.no_key.clone().map(|what| Because::Vendor { what })
    }

    /// What a scheduled step waits for while the store that the keyset came from may still be read.
    fn arrival(&self) -> Option<Because> {
        self.document.intents.moved_from().map(|journey| Because::MovedFrom { store: journey.store.clone() })
    }

    fn skew(&self) -> Span {
        self.waits.facts.clock_skew
    }

    #[allow(clippy::unused_self)] // reads better as a word of the case
    fn pending(&self, step: StepKind, kid: Option<&Kid>, at: Option<Timestamp>, because: Because) -> Pending {
        Pending { step, kid: kid.cloned(), at, because }
    }
}

#[allow(clippy::unnecessary_wraps)] // every rule answers a choice
fn chosen(step: Step, trigger: Trigger, why: &str) -> Chosen {
    Some((step, Reason { trigger, text: why.to_owned() }))
}
