//! One keyset, as far as it can go now: project, observe, decide, swap, and again.

use std::sync::Arc;

use super::keyset::{Held, Keyset, Status};
use super::{LONGEST_DECISION, MOST_STEPS, Ports, places};
use crate::clock::Reading;
use crate::document::{Change, Document, StateName};
use crate::event::{Event, Part};
use crate::key::KeyClass;
use crate::lifecycle::{Because, Decision, Pending, Reason, Step, StepKind, Wait, apply, laggards, overdue};
use crate::name::{EnvironmentName, KeysetId, KeysetName, Kid};
use crate::observed::{Fault, Observed};
use crate::rules::{Rules, Standing};
use crate::store::{Loaded, Store as _, StoreError, SwapError};
use crate::time::{Span, Timestamp};
use crate::waits::Waits;

/// What is the same for every keyset of a pass.
pub(super) struct Context<'a, P: Ports> {
    pub ports: &'a P,
    pub environment: &'a EnvironmentName,
    pub fault: Option<Fault>,
    pub serving_since: Timestamp,
    pub policy_broken: bool,
}

/// A keyset that comes back from its steps.
pub(super) struct Advanced {
    pub name: KeysetName,
    pub keyset: Keyset,
    pub happened: Vec<Event>,
}

/// Whether to look at the keyset again in the same pass.
pub(super) enum Then {
    GoOn,
    Stop,
}

impl<P: Ports> Context<'_, P> {
    /// Takes every step that can be taken now.
    pub async fn advance(&self, name: KeysetName, mut keyset: Keyset) -> Advanced {
        let id = KeysetId { environment: self.environment.clone(), keyset: name.clone() };
        let mut happened = Vec::new();
        keyset.again = true;
        keyset.no_key = None;
        for _ in 0..MOST_STEPS {
            match self.one_step(&id, &mut keyset, &mut happened).await {
                Then::GoOn => {}
                Then::Stop => {
                    keyset.again = false;
                    break;
                }
            }
        }
        Advanced { name, keyset, happened }
    }

    async fn one_step(&self, id: &KeysetId, keyset: &mut Keyset, events: &mut Vec<Event>) -> Then {
        if keyset.unreadable && matches!(self.reload(id, keyset, events).await, Then::GoOn) {
            return Then::GoOn;
        }
        let began = self.ports.clock();
        let Some(rules) = rules_of(keyset, self.policy_broken) else {
            self.ports.report(&id.keyset, None);
            return Then::Stop;
        };
        keyset.compare_policies(id, &rules, events);
        let class = rules.spec.class();
        let document = keyset.known().map_or_else(|| Arc::new(Document::empty(id.clone(), class)), Arc::clone);
        let mut fault = self.fault.clone().or_else(|| class_fault(&document, &rules));
        if let Some(what) = keyset.troubles.get(&Part::Store).filter(|_| keyset.unreadable) {
            fault = Some(Fault::Unreadable { what: what.clone() });
        } else if let Some(what) = self.ask_witness(id, keyset, rules.facts.store_refresh, began, events).await {
            fault = Some(Fault::Witness { what });
        }
        // What stands in files already is the better answer than a document that this host cannot trust.
        if document.is_stored() && !matches!(fault, Some(Fault::Witness { .. } | Fault::Unreadable { .. })) {
            places::clear(self.ports, id, keyset, &document, events).await;
            places::project(self.ports, id, keyset, &document, events).await;
            if let Some(then) = self.follow(id, keyset, events).await {
                return then;
            }
        }
        let mut observed = self.observe(keyset, &document, &rules, fault);
        if let Some(what) = self.note_sighting(id, keyset, &document, &observed, events).await {
            observed.fault.get_or_insert(Fault::Witness { what });
        }
        let decision = self.ports.decide(&document, &rules, &observed);
        let late = overdue::overdue(&document, &rules, &observed);
        let (wait, late) = match decision {
            Decision::Do(step, reason) => {
                let overrun = overruns(id, &document, &rules, &observed, &step);
                let decided = (step.kind(), step.kid().cloned());
                let then = self.carry_out(id, keyset, &document, &rules, (step, reason), began, events).await;
                events.extend(overrun.filter(|(kid, _)| keyset.document().is_some_and(|d| d.live_key(kid).is_none())).map(|(_, e)| e));
                if matches!(then, Then::GoOn) {
                    return then;
                }
                let because = held_up(keyset);
                let late = overdue::held_up(&document, &rules, &observed, late, because.clone());
                (tried_again(decided, because, self.ports.clock().wall + RETRY), late)
            }
            Decision::Wait(mut wait) => {
                let again = retry_in(keyset, &document).map(|soon| self.ports.clock().wall + soon);
                wait.until = wait.until.into_iter().chain(again).min();
                (wait, late)
            }
        };
        keyset.tell_of_waiting(id, &wait, late.as_ref(), observed.now, events);
        self.settle(id, keyset, &rules, wait, late, began.wall)
    }

    /// A place holds what a later generation says: the store has that generation too, and this host has not seen it. It is asked for,
    /// now and then. If it is not to be had, things go on with what is there: no change can be lost by that.
    async fn follow(&self, id: &KeysetId, keyset: &mut Keyset, events: &mut Vec<Event>) -> Option<Then> {
        let (place, ahead) = keyset.outrun.take()?;
        let (now, before) = (self.ports.clock().boot, keyset.document().map(|d| d.generation));
        if keyset.followed.is_some_and(|asked| now < asked + SLOW_RETRY) {
            return None;
        }
        keyset.followed = Some(now);
        let then = self.reload(id, keyset, events).await;
        let found = keyset.document().map(|d| d.generation);
        if found > before || matches!(then, Then::Stop) {
            return Some(then);
        }
        let held = found.map_or_else(|| "nothing".to_owned(), |generation| format!("generation {generation}"));
        let what = format!(
            "target {place} holds the key set of generation {ahead}, and the store shows {held}, so it is left alone; hint: is the document \
             of a back-up in force? if the keyset was removed and made anew, delete what it left there"
        );
        keyset.trouble(id, Part::Target(place), what, events);
        None
    }

    /// The keyset has nothing more to do now.
    fn settle(
        &self,
        id: &KeysetId,
        keyset: &mut Keyset,
        rules: &Arc<Rules>,
        wait: Wait,
        overdue: Option<overdue::Overdue>,
        at: Timestamp,
    ) -> Then {
        let on_signers = wait.pending.iter().any(|p| matches!(p.because, Because::Uptake { .. } | Because::Unheard));
        let look = on_signers.then(|| self.ports.clock().wall + UPTAKE_LOOK);
        let late = keyset.known().and_then(|document| overdue::late_from(document, rules, at));
        keyset.deadline = wait.until.into_iter().chain(look).chain(late).min();
        let status = Status {
            document: keyset.known().cloned(),
            rules: Arc::clone(rules),
            wait,
            overdue,
            troubles: keyset.troubles_at(at),
            probes: keyset.probe_standings(),
            at,
        };
        self.ports.report(&id.keyset, Some(status));
        Then::Stop
    }

    fn observe(&self, keyset: &mut Keyset, document: &Document, rules: &Rules, fault: Option<Fault>) -> Observed {
        let now = self.ports.clock().wall;
        let facts = Waits::at(document, rules, now).facts;
        let socket = places::observe_signer_socket(keyset, document, &facts, self.serving_since, now);
        let (mut verifier_places, mut signer_places) = places::observe(keyset, now);
        verifier_places.extend(keyset.probe_places(document, now));
        signer_places.push(socket);
        keyset.late_commits.retain(|kid, _| document.live_key(kid).is_some());
        Observed {
            now,
            serving_since: self.serving_since,
            fault,
            may_create: keyset.wanted.as_ref().is_some_and(|w| w.inception.is_none_or(|day| now.to_utc().date_naive() == day)),
            verifier_places,
            signer_places,
            late_commits: keyset.late_commits.clone(),
            uptake: self.ports.uptake(&document.id.keyset),
            no_key: keyset.no_key.clone(),
        }
    }

    #[allow(clippy::too_many_arguments)] // the whole of one decision
    async fn carry_out(
        &self,
        id: &KeysetId,
        keyset: &mut Keyset,
        document: &Arc<Document>,
        rules: &Arc<Rules>,
        (step, reason): (Step, Reason),
        began: Reading,
        events: &mut Vec<Event>,
    ) -> Then {
        let decided = self.ports.clock();
        let key = match self.ordered(id, keyset, document, &step, decided.wall, events).await {
            Ok(key) => key,
            Err(then) => return then,
        };
        // Whoever was frozen since deciding must not write what was true then.
        if self.ports.clock().boot > began.boot + LONGEST_DECISION {
            return Then::GoOn;
        }
        let next = match apply(document, keyset.held.as_ref().map(Held::digest), (&step, &reason), rules, decided.wall, key) {
            Ok(next) => next,
            Err(illegal) => {
                keyset.trouble(id, Part::Store, format!("a step was decided that the document does not allow: {illegal}"), events);
                return Then::Stop;
            }
        };
        let expected = keyset.held.as_ref().map(|held| held.revision.clone());
        let swapped = self.ports.store().swap(expected.as_ref(), &next).await;
        self.after_swap(id, keyset, next, swapped, decided, events).await
    }

    pub(super) async fn after_swap(
        &self,
        id: &KeysetId,
        keyset: &mut Keyset,
        next: Document,
        swapped: Result<crate::store::Revision, SwapError>,
        decided: Reading,
        events: &mut Vec<Event>,
    ) -> Then {
        match swapped {
            Ok(revision) => {
                keyset.works(id, Part::Store, events);
                let done = self.ports.clock();
                let entries = next.history.iter().filter(|entry| entry.generation == next.generation);
                for entry in entries {
                    if done.boot > decided.boot + LONGEST_DECISION {
                        note_late(keyset, &entry.change, done.wall);
                    }
                    events.push(Event::Changed { keyset: id.clone(), entry: entry.clone() });
                }
                keyset.told = Some(next.generation);
                keyset.held = Some(Held::new(next, revision));
                keyset.serve(self.ports, &id.keyset);
                Then::GoOn
            }
            Err(error @ (SwapError::Conflict | SwapError::Indeterminate(_))) => {
                if error == SwapError::Conflict {
                    events.push(Event::Overtaken { keyset: id.clone() });
                } else {
                    keyset.trouble(id, Part::Store, error.to_string(), events);
                }
                let then = self.reload(id, keyset, events).await;
                let done = self.ports.clock();
                // What is in force now may be this decision, or another replica's of the same moment, committed just now.
                if let Some(held) = keyset.document().filter(|held| held.generation == next.generation).cloned()
                    && done.boot > decided.boot + LONGEST_DECISION
                {
                    for entry in held.history.iter().filter(|entry| entry.generation == held.generation) {
                        note_late(keyset, &entry.change, done.wall);
                    }
                }
                then
            }
            Err(error @ (SwapError::Unavailable(_) | SwapError::Invalid(_))) => {
                keyset.trouble(id, Part::Store, error.to_string(), events);
                Then::Stop
            }
        }
    }

    /// Forgets what is in memory and looks at the store.
    pub(super) async fn reload(&self, id: &KeysetId, keyset: &mut Keyset, events: &mut Vec<Event>) -> Then {
        let found: Result<Option<Loaded>, StoreError> = self.ports.store().load(&id.keyset).await;
        match found {
            Ok(found) => {
                let held_before = keyset.held.take().map(|held| held.document.generation);
                keyset.relist |= found.as_ref().map(|found| found.document.generation) < held_before;
                keyset.unreadable = false;
                if let Some(found) = found {
                    keyset.take(found, events);
                }
                keyset.works(id, Part::Store, events);
                keyset.serve(self.ports, &id.keyset);
                Then::GoOn
            }
            Err(error) => {
                keyset.trouble(id, Part::Store, error.to_string(), events);
                keyset.unreadable = true;
                keyset.deadline = Some(self.ports.clock().wall + RETRY);
                Then::Stop
            }
        }
    }
}

/// When something that failed is tried again, and how long after the first look at a suspicious document the second one comes.
pub(super) const RETRY: Span = Span::seconds(2);

/// When something that stays broken for long is tried again.
const SLOW_RETRY: Span = Span::seconds(30);

/// How often signers' reports are looked at while one of them holds something up.
const UPTAKE_LOOK: Span = Span::seconds(10);

/// How soon to look again at what may change without anybody saying so.
fn retry_in(keyset: &Keyset, document: &Document) -> Option<Span> {
    // It may be its inception day soon, or somebody hands in a key elsewhere.
    let absent = (!document.is_stored()).then_some(SLOW_RETRY);
    let failed = (keyset.no_key.is_some() || keyset.unreadable).then_some(RETRY);
    let told = keyset.troubles.contains_key(&Part::Witness);
    let unseen = (keyset.suspected.is_some() || keyset.unnoted).then_some(if told { SLOW_RETRY } else { RETRY });
    absent.into_iter().chain(failed).chain(unseen).min()
}

/// Why a step that was decided was not carried out.
fn held_up(keyset: &Keyset) -> Because {
    let trouble = |part| keyset.troubles.get(&part).cloned();
    match (trouble(Part::Store), trouble(Part::Keygen)) {
        (Some(what), _) => Because::Store { what },
        (None, Some(what)) => Because::Keygen { what },
        (None, None) => Because::Making,
    }
}

/// A step that was not carried out is tried again soon. When it will be, nobody knows but for a key that is being made.
fn tried_again((step, kid): (StepKind, Option<Kid>), because: Because, soon: Timestamp) -> Wait {
    let at = (because == Because::Making).then_some(soon);
    Wait { pending: vec![Pending { step, kid, at, because }], until: Some(soon) }
}

/// A key that is to leave although a signer still uses it, with the event that tells of it.
fn overruns(id: &KeysetId, document: &Document, rules: &Rules, observed: &Observed, step: &Step) -> Option<(Kid, Event)> {
    let Step::Retire { kid } = step else { return None };
    let behind = laggards(document, rules, observed, kid).into_iter().next()?;
    let (signer, generation) = (behind.name.clone(), behind.generation());
    Some((kid.clone(), Event::UptakeOverrun { keyset: id.clone(), kid: kid.clone(), signer, generation }))
}

pub(super) fn rules_of(keyset: &Keyset, policy_broken: bool) -> Option<Arc<Rules>> {
    match (&keyset.wanted, keyset.known()) {
        (Some(wanted), _) if !policy_broken => Some(Arc::clone(&wanted.rules)),
        (Some(wanted), _) => Some(Arc::new(Rules { standing: Standing::Broken, ..(*wanted.rules).clone() })),
        (None, Some(document)) => Some(Arc::new(Rules::orphan(document))),
        (None, None) => None,
    }
}

/// A policy that asks for another class of keys than the document holds is asking for another keyset.
fn class_fault(document: &Document, rules: &Rules) -> Option<Fault> {
    let name = |class| match class {
        KeyClass::Asymmetric => "key pairs",
        KeyClass::Hmac => "HMAC secrets",
        KeyClass::ApiKey => "API keys",
    };
    let differs = document.is_stored() && !rules.is_orphaned() && document.class != rules.spec.class();
    differs.then(|| Fault::Class {
        what: format!(
            "the policy asks for {} and the keyset holds {}; hint: that is a new keyset, give it a new name",
            name(rules.spec.class()),
            name(document.class)
        ),
    })
}

/// The times that this change wrote are earlier than the moment it took effect.
fn note_late(keyset: &mut Keyset, change: &Change, seen_done: Timestamp) {
    if let Change::KeyMoved { kid, to: StateName::Published | StateName::Retiring, .. } = change {
        keyset.late_commits.insert(kid.clone(), seen_done);
    }
}
