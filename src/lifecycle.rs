//! The decision: what is the next step of a keyset, and if none is, what is it waiting for?
//!
//! [`next`] is pure: no clock, no randomness, no I/O. The daemon, `keyrota plan`, the simulation and the tests all call this one
//! function. The first rule that matches wins; each step is one swap; every document in between is legal, so a crash anywhere
//! leaves a step that is simply decided again.
//!
//! Invariant: the active key is one that every verifier has had the chance to fetch, for as long as verifiers may go on without
//! fetching; a key leaves the key set when its last token is dead, and not before.

mod because;
pub mod overdue;
pub mod step;

pub use step::{Reason, Step, StepKind, apply};

use crate::document::{Active, Document, Incoming, MOST_LIVE_KEYS, Retiring, Trigger};
use crate::name::Kid;
use crate::observed::{Fault, Observed, PlaceKind};
use crate::policy::{Mode, Source, Start};
use crate::rules::Rules;
use crate::time::{Span, Timestamp};
use crate::waits::Waits;

/// How many tombstones a document keeps.
pub const TOMBSTONES_KEPT: usize = 16;

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
    /// A probe that has not seen the key.
    Probe {
        /// Which.
        place: String,
    },
    /// Replicas that may not have seen the first key yet.
    StoreRefresh,
    /// A key that somebody else must hand in.
    External,
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
    /// A document that is not what was seen before.
    Witness {
        /// What is wrong, as a sentence.
        what: String,
    },
    /// Room for another live key.
    Full,
}

/// What is the next step of this keyset?
pub fn next(document: &Document, rules: &Rules, observed: &Observed) -> Decision {
    let case = Case { document, rules, observed, waits: Waits::at(document, rules, observed.now) };
    if let Some(because) = case.fault() {
        return Decision::Wait(Wait { pending: vec![case.pending(StepKind::Any, None, None, because)], until: None });
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
        .or_else(|| case.forget());
    match decided {
        Some((step, reason)) => Decision::Do(step, reason),
        None => Decision::Wait(case.woken(wait)),
    }
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
    /// A clock or a document that cannot be trusted: nothing at all is decided.
    fn fault(&self) -> Option<Because> {
        match &self.observed.fault {
            Some(Fault::ClocksParted { by }) => {
                let what = format!("the wall clock was set by {by} against the boot clock, more than clock_skew {}", self.skew());
                return Some(Because::Clock { what });
            }
            Some(Fault::Class { what }) => return Some(Because::Policy { what: what.clone() }),
            Some(Fault::Witness { what }) => return Some(Because::Witness { what: what.clone() }),
            None => {}
        }
        let ahead = self.document.latest_record().since(self.observed.now);
        (ahead > self.skew()).then(|| {
            let what = format!("the document bears a time {ahead} in the future, more than clock_skew {}", self.skew());
            Because::Clock { what }
        })
    }

    /// A fact of the policy that the document does not hold yet is recorded before anything is decided on it.
    fn adopt_facts(&self) -> Chosen {
        if !self.document.is_stored() || self.rules.orphaned {
            return None;
        }
        let facts = self.document.facts.adopting(&self.rules.facts, self.observed.now)?;
        chosen(Step::AdoptFacts { facts: Box::new(facts) }, Trigger::Schedule, "the policy states other facts")
    }

    /// An incoming key that is not wanted any more makes room for its successor.
    fn discard_unfit(&self) -> Chosen {
        let now = self.observed.now;
        self.document.incoming.iter().find_map(|incoming| {
            let kid = &incoming.key.kid;
            let why = if self.document.intents.taints(kid) {
                "an operator said that it must not become active"
            } else if self.misfits(incoming) {
                "the policy asks for another algorithm or size"
            } else if incoming.key.expires_at.is_some_and(|at| at <= now) {
                "it expired before it ever signed"
            } else if now >= incoming.key.created_at + self.rules.max_age && !self.rules.orphaned {
                "it reached max_age before it ever signed"
            } else {
                return None;
            };
            chosen(Step::Discard { kid: kid.clone(), why: why.to_owned() }, Trigger::Schedule, why)
        })
    }

    /// Each distinct specification discards once: replicas with different policies do not take turns.
    fn misfits(&self, incoming: &Incoming) -> bool {
        !self.rules.orphaned && !self.rules.spec.fits(&incoming.key) && !self.document.started_specs.contains(&self.rules.spec.digest())
    }

    /// Without an active key nothing signs: the best incoming one takes over as soon as it can be fetched everywhere, whatever
    /// window, mode or freeze say. Without an incoming one, one is made.
    fn first_key(&self, wait: &mut Wait) -> Chosen {
        if self.document.active.is_some() || self.rules.orphaned {
            return None;
        }
        if let Some((incoming, published_at)) = self.oldest_published() {
            let kid = &incoming.key.kid;
            let at = if self.rules.shared_store { published_at + self.waits.facts.store_refresh } else { published_at };
            if self.observed.now < at {
                wait.pending.push(self.pending(StepKind::Activate, Some(kid), Some(at), Because::StoreRefresh));
                return None;
            }
            return chosen(Step::Activate { kid: kid.clone() }, self.first_trigger(), "no key was active");
        }
        if !self.document.incoming.is_empty() {
            return None; // it is staged; publishing comes next
        }
        let begun = self.document.is_stored();
        let because = match () {
            () if self.rules.source == Source::External => Because::External,
            () if !begun && self.rules.start == Start::Import => Because::External,
            () if !begun && !self.observed.may_create => Because::Inception,
            () => return self.generation(self.first_trigger(), "no key is active, and none is on its way"),
        };
        wait.pending.push(self.pending(StepKind::Generate, None, None, because));
        None
    }

    /// A keyset's very first key is no emergency; one that follows a revoked key is.
    fn first_trigger(&self) -> Trigger {
        let begun = !self.document.tombstones.is_empty() || !self.document.retiring.is_empty();
        if begun { Trigger::Emergency } else { Trigger::Schedule }
    }

    /// A staged key is published once every place that verifiers read and we write has been read back.
    fn confirm_published(&self, wait: &mut Wait) -> Chosen {
        for incoming in self.document.incoming.iter().filter(|i| i.stage.published_at().is_none()) {
            let kid = &incoming.key.kid;
            let behind = self.observed.verifier_places.iter().find(|p| p.kind == PlaceKind::Target && !p.carries.contains_key(kid));
            match behind {
                None => {
                    let step = Step::ConfirmPublished { kid: kid.clone() };
                    return chosen(step, Trigger::Schedule, "every place that verifiers read has been read back");
                }
                Some(place) => {
                    let because = Because::Publish { place: place.name.clone() };
                    wait.pending.push(self.pending(StepKind::ConfirmPublished, Some(kid), None, because));
                }
            }
        }
        None
    }

    /// The change-over: every verifier has had the chance to fetch the key, the window is open, nobody holds it back.
    fn activate(&self, wait: &mut Wait) -> Chosen {
        let active = self.document.active.as_ref()?;
        if self.rules.orphaned {
            return None;
        }
        let (incoming, published_at) = self.oldest_published()?;
        let kid = &incoming.key.kid;
        match self.activation(active, kid, published_at) {
            Ok(reason) => chosen(Step::Activate { kid: kid.clone() }, reason.0, reason.1),
            Err((at, because)) => {
                wait.pending.push(self.pending(StepKind::Activate, Some(kid), at, because));
                None
            }
        }
    }

    /// Whether the published key may take over now; if not, from when as far as is known, and what it waits for.
    fn activation(
        &self,
        active: &Active,
        kid: &Kid,
        published_at: Timestamp,
    ) -> Result<(Trigger, &'static str), (Option<Timestamp>, Because)> {
        let now = self.observed.now;
        let waited = self.everywhere_since(kid, published_at).map_err(|because| (None, because))? + self.waits.propagation;
        let caught_up = self.observed.serving_since + self.waits.facts.verifier_retry + self.skew();
        let (ready, because) = if waited >= caught_up { (waited, Because::Propagation) } else { (caught_up, Because::Serving) };
        if now < ready {
            // The window is part of the forecast: a key that is ready just after it closes waits for the next one.
            return Err((self.window_from(ready, active).map_or(Some(ready), |(at, _)| at), because));
        }
        if let Some(until) = self.document.intents.frozen_until(now) {
            return Err((Some(until), Because::Frozen));
        }
        let approved = self.document.intents.approves(kid);
        let asked = self.document.intents.rotate.is_some();
        match self.rules.mode {
            Mode::Approve if !approved => return Err((None, Because::Approval)),
            Mode::Manual if !approved && !asked => return Err((None, Because::Manual)),
            _ if self.document.intents.hold.is_some() && !approved => return Err((None, Because::Approval)),
            _ => {}
        }
        if let Some((at, because)) = self.window_from(now, active).filter(|(at, _)| *at != Some(now)) {
            return Err((at, because));
        }
        let trigger = if approved || asked { Trigger::Operator } else { Trigger::Schedule };
        Ok((trigger, "every verifier has had the chance to fetch the key"))
    }

    /// The first moment from `from` on at which the window lets a change-over happen; `None` without a window.
    /// One window sees at most one scheduled change-over.
    fn window_from(&self, from: Timestamp, active: &Active) -> Option<(Option<Timestamp>, Because)> {
        let window = self.rules.window.as_ref()?;
        let open = window.opened_at(from).filter(|opened| active.since < *opened).map(|_| from);
        Some((open.or_else(|| window.next_open(from)), Because::Window))
    }

    /// Since when every place that verifiers read has carried the key without a break.
    fn everywhere_since(&self, kid: &Kid, published_at: Timestamp) -> Result<Timestamp, Because> {
        let late = self.observed.late_commits.get(kid).copied().unwrap_or(published_at);
        self.observed.verifier_places.iter().try_fold(published_at.max(late), |since, place| {
            let carried = place.carries.get(kid).ok_or_else(|| match place.kind {
                PlaceKind::Target => Because::Publish { place: place.name.clone() },
                PlaceKind::Probe => Because::Probe { place: place.name.clone() },
            })?;
            Ok(since.max(*carried))
        })
    }

    /// A successor is made when it is due, so that it will have waited by the time it is needed.
    fn generate(&self, wait: &mut Wait) -> Chosen {
        let active = self.document.active.as_ref()?;
        if !self.document.incoming.is_empty() || self.rules.orphaned {
            return None;
        }
        let now = self.observed.now;
        let spec = self.rules.spec.digest();
        let asked = self.document.intents.rotate.is_some();
        let respecified = !self.rules.spec.fits(&active.key) && !self.document.started_specs.contains(&spec);
        let due = self.waits.generate_at(active, self.rules);
        let at = if asked || respecified { now } else { due };
        let held = match () {
            () if self.rules.source == Source::External => Some((Some(due), Because::External)),
            () if self.rules.mode == Mode::Manual && !asked => Some((None, Because::Manual)),
            () if self.document.live().count() >= MOST_LIVE_KEYS => Some((None, Because::Full)),
            () if now < at => Some((Some(at), Because::Schedule)),
            () => self.document.intents.frozen_until(now).map(|until| (Some(until), Because::Frozen)),
        };
        if let Some((at, because)) = held {
            wait.pending.push(self.pending(StepKind::Generate, None, at, because));
            return None;
        }
        match (asked, respecified) {
            (true, _) => self.generation(Trigger::Operator, "an operator asked for a rotation"),
            (_, true) => self.generation(Trigger::Schedule, "the policy asks for another algorithm or size"),
            _ => self.generation(Trigger::Schedule, "the next rotation is due"),
        }
    }

    /// Nothing can be rolled back any more: what could sign is erased.
    fn erase_private(&self, wait: &mut Wait) -> Chosen {
        for retiring in self.document.retiring.iter().rev().filter(|r| r.key.is_erasable()) {
            let at = self.since_retiring(retiring) + self.rules.rollback_window;
            if self.observed.now >= at {
                let step = Step::ErasePrivate { kid: retiring.key.kid.clone() };
                return chosen(step, Trigger::Schedule, "the rollback window is over");
            }
            wait.pending.push(self.pending(StepKind::ErasePrivate, Some(&retiring.key.kid), Some(at), Because::RollbackWindow));
        }
        None
    }

    /// Its last token is dead: the key leaves the key set.
    fn retire(&self, wait: &mut Wait) -> Chosen {
        for retiring in self.document.retiring.iter().rev() {
            let kid = &retiring.key.kid;
            match self.unused_since(retiring) {
                Ok(since) if self.observed.now >= since + self.waits.retention => {
                    return chosen(Step::Retire { kid: kid.clone() }, Trigger::Schedule, "the last token it signed has expired");
                }
                Ok(since) => {
                    let at = since + self.waits.retention;
                    wait.pending.push(self.pending(StepKind::Retire, Some(kid), Some(at), Because::Retention));
                }
                Err(because) => wait.pending.push(self.pending(StepKind::Retire, Some(kid), None, because)),
            }
        }
        None
    }

    /// Since when no place has told signers to use the key.
    fn unused_since(&self, retiring: &Retiring) -> Result<Timestamp, Because> {
        self.observed.signer_places.iter().try_fold(self.since_retiring(retiring), |since, place| {
            let left = place.left.get(&retiring.key.kid);
            left.map(|left| since.max(*left)).ok_or_else(|| Because::Publish { place: place.name.clone() })
        })
    }

    fn since_retiring(&self, retiring: &Retiring) -> Timestamp {
        self.observed.late_commits.get(&retiring.key.kid).map_or(retiring.since, |late| retiring.since.max(*late))
    }

    /// A document stays small.
    fn forget(&self) -> Chosen {
        if self.document.tombstones.len() <= TOMBSTONES_KEPT {
            return None;
        }
        chosen(Step::Forget { keep: TOMBSTONES_KEPT }, Trigger::Schedule, "the record of keys that are gone is bounded")
    }

    /// When to look again: at the earliest of what is pending, and when a promise runs out.
    fn woken(&self, wait: Wait) -> Wait {
        let now = self.observed.now;
        let facts = self.document.facts.next_change(&self.rules.facts, now).filter(|_| !self.rules.orphaned);
        let until = wait.pending.iter().filter_map(|p| p.at).filter(|at| *at > now).chain(facts).min();
        Wait { until, ..wait }
    }

    fn oldest_published(&self) -> Option<(&Incoming, Timestamp)> {
        self.document.incoming.iter().find_map(|i| i.stage.published_at().map(|at| (i, at)))
    }

    fn generation(&self, trigger: Trigger, why: &str) -> Chosen {
        chosen(Step::Generate { spec: Box::new(self.rules.spec.clone()) }, trigger, why)
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
