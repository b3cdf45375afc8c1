//! An operator's verb on its way: the newest document from the store, the pure function of [`crate::operator`], one swap.
//!
//! It takes the same path as a step of the schedule: a conflict means to load and judge again, an answer that says nothing means to
//! look whether the change is there. What the operator was shown is judged again if the document has moved on since; if something
//! else would happen, nothing does.

use std::sync::Arc;

use super::advance::{Context, Then, rules_of};
use super::keyset::{Held, Keyset};
use super::sightings::sentence;
use super::{KeyOrders as _, LONGEST_DECISION, Order, Ports, Reconciler, places};
use crate::clock::ClockWatch;
use crate::digest::Digest;
use crate::document::{Document, Intent};
use crate::event::{Event, Part};
use crate::key::{Key, KeySpec};
use crate::name::{EnvironmentName, Generation, KeysetId, KeysetName};
use crate::observed::{Fault, Observed};
use crate::operator::{Preview, Refusal, Verb, goes_ahead, preview, wants_key};
use crate::rules::Rules;
use crate::store::{Store as _, SwapError};
use crate::time::Span;
use crate::waits::Waits;
use crate::witness::{Verdict, Witness as _};

/// How often a verb is judged anew because others change the keyset at the same time.
const MOST_ATTEMPTS: usize = 16;

/// How far the generations after a restored back-up lie beyond it: more changes than a keyset sees in the life of a host.
const BEYOND_A_BACK_UP: u64 = 1_000_000;

/// What an operator asks of one keyset.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which.
    pub keyset: KeysetName,
    /// What.
    pub verb: Verb,
    /// Who asks, as the control socket saw it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Only say what would happen.
    pub dry_run: bool,
    /// The fingerprint of the preview that the operator agreed to; `None`: whatever it is.
    pub seen: Option<Digest>,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operated {
    /// What happens, or would.
    pub preview: Preview,
    /// The generation that the change made; `None` if it was only asked about.
    pub done: Option<Generation>,
}

/// Why a request was not carried out. Every text ends with a hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// There is no such keyset.
    #[error("there is no keyset {0}; hint: `keyrota status` lists them")]
    Unknown(KeysetId),
    /// The keyset's state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is not what was agreed to.
    #[error("{0} changed while you were reading, and something else would happen now; hint: look again; nothing was changed")]
    Moved(KeysetId),
    /// Clock or document cannot be trusted.
    #[error("{0}")]
    Fault(String),
    /// The store does not answer or refuses.
    #[error("{0}; hint: `keyrota status` says whether the store answers; nothing was changed")]
    Store(String),
    /// Nobody knows.
    #[error("{0}; hint: `keyrota status {1}` shows whether the change was made; ask again if it was not")]
    Indeterminate(String, KeysetId),
    /// The witness does not answer.
    #[error("{0}; hint: the state directory must be writable; nothing was changed")]
    Witness(String),
    /// No key can be made.
    #[error("the new key could not be made: {0}; hint: the daemon's log says more; nothing was changed")]
    Keygen(String),
    /// The key that was handed in is not accepted.
    #[error("{0}")]
    Material(String),
    /// The new key is being made: ask again when it is there.
    #[error("the new key is still being made; hint: ask again; nothing was changed")]
    Making,
    /// Others were quicker, again and again.
    #[error("{0} is being changed by others again and again; hint: ask again; nothing was changed")]
    Busy(KeysetId),
}

impl<P: Ports> Reconciler<P> {
    /// Carries out an operator's request, or says what it would do.
    ///
    /// # Errors
    /// Why it was not done. Nothing is half done.
    pub async fn operate(&mut self, request: &Request, events: &mut Vec<Event>) -> Result<Operated, Obstacle> {
        let id = KeysetId { environment: self.environment.clone(), keyset: request.keyset.clone() };
        if !self.recalled {
            self.recall().await.map_err(|e| Obstacle::Store(e.to_string()))?;
        }
        let Some(mut keyset) = self.keysets.remove(&request.keyset) else { return Err(Obstacle::Unknown(id)) };
        let context = self.context_now();
        let operated = context.operate(&id, &mut keyset, request, events).await;
        // Whatever came of it, what is there now is to be looked at.
        self.due.insert(request.keyset.clone());
        self.put_back(request.keyset.clone(), keyset);
        operated
    }

    /// The names of all keysets that are known.
    pub fn names(&self) -> Vec<KeysetName> {
        self.keysets.keys().cloned().collect()
    }

    /// What the keys of a keyset are to sign with, if a policy asks for it.
    pub fn algorithm(&self, keyset: &KeysetName) -> Option<crate::key::Algorithm> {
        let wanted = self.keysets.get(keyset).and_then(|keyset| keyset.wanted.as_ref());
        wanted.map(|wanted| wanted.rules.spec.algorithm())
    }

    /// The places that a keyset is to be written to.
    pub fn targets(&self, keyset: &KeysetName) -> Vec<crate::policy::Target> {
        self.keysets.get(keyset).map(places::targets).unwrap_or_default()
    }

    /// By how much the wall clock was set, if that is more than the facts allow.
    pub fn clock_parted(&self) -> Option<Span> {
        let by = self.watch.parted(self.ports.clock());
        (by > self.least_skew()).then_some(by)
    }

    /// An operator says that the wall clock is right as it is now.
    pub fn accept_clock(&mut self, by: &str, events: &mut Vec<Event>) {
        self.watch = ClockWatch::new(self.ports.clock());
        self.due = self.keysets.keys().cloned().collect();
        events.push(Event::ClockAccepted { environment: self.environment.clone(), by: by.to_owned() });
    }

    pub(super) fn context_now(&self) -> OwnedContext<P> {
        let fault = self.clock_parted().map(|by| Fault::ClocksParted { by });
        OwnedContext {
            ports: Arc::clone(&self.ports),
            environment: self.environment.clone(),
            fault,
            serving_since: self.serving_since,
            policy_broken: self.policy_broken,
        }
    }
}

/// What [`Context`] borrows, owned: so that a keyset can be worked on while the reconciler is not borrowed.
pub(super) struct OwnedContext<P: Ports> {
    pub ports: Arc<P>,
    environment: EnvironmentName,
    fault: Option<Fault>,
    serving_since: Option<crate::time::Timestamp>,
    policy_broken: bool,
}

impl<P: Ports> OwnedContext<P> {
    pub fn context(&self) -> Context<'_, P> {
        Context {
            ports: &*self.ports,
            environment: &self.environment,
            fault: self.fault.clone(),
            serving_since: self.serving_since.unwrap_or_else(|| self.ports.clock().wall),
            policy_broken: self.policy_broken,
        }
    }

    async fn operate(&self, id: &KeysetId, keyset: &mut Keyset, request: &Request, events: &mut Vec<Event>) -> Result<Operated, Obstacle> {
        let context = self.context();
        let mut spare = None;
        for _ in 0..MOST_ATTEMPTS {
            match context.attempt(id, keyset, request, &mut spare, events).await? {
                Attempt::Answered(operated) => return Ok(*operated),
                Attempt::Again => {}
            }
        }
        Err(Obstacle::Busy(id.clone()))
    }
}

/// What came of one look at the keyset.
enum Attempt {
    Answered(Box<Operated>),
    /// Somebody else was quicker: judge again.
    Again,
}

/// What is agreed on before anything is written.
struct Agreed {
    verb: Verb,
    rules: Arc<Rules>,
    document: Arc<Document>,
    preview: Preview,
}

impl<P: Ports> Context<'_, P> {
    async fn attempt(
        &self,
        id: &KeysetId,
        keyset: &mut Keyset,
        request: &Request,
        spare: &mut Option<Key>,
        events: &mut Vec<Event>,
    ) -> Result<Attempt, Obstacle> {
        let began = self.ports.clock();
        self.newest(id, keyset, events).await?;
        let agreed = self.agree(id, keyset, request)?;
        if request.dry_run {
            return Ok(Attempt::Answered(Box::new(Operated { preview: agreed.preview, done: None })));
        }
        if matches!(request.verb, Verb::AcceptDocument { .. }) && !agreed.document.is_stored() {
            self.ports.witness().forget(id).await.map_err(|e| Obstacle::Witness(e.to_string()))?;
            forget_sighting(id, keyset, events);
            keyset.serve(self.ports, &id.keyset);
            events.push(Event::Accepted { keyset: id.clone(), by: request.by.clone() });
            return Ok(Attempt::Answered(Box::new(Operated { preview: agreed.preview, done: Some(Generation(0)) })));
        }
        if matches!(agreed.rules.spec, KeySpec::Vendor { .. }) {
            *spare = None; // it was made for the successor of one document, and whoever makes them is asked again for another
        }
        if spare.is_none() && wants_key(&agreed.document, &agreed.verb, &agreed.rules, began.wall) {
            *spare = match self.made(id, &agreed.document, &agreed.rules).await {
                Ok(key) => Some(key),
                // An emergency waits for no key: the next pass goes on with this order, and tells of what is wrong with it.
                Err(_) if goes_ahead(&request.verb) => None,
                Err(obstacle) => return Err(obstacle),
            };
        }
        let decided = self.ports.clock();
        if decided.boot > began.boot + LONGEST_DECISION {
            return Ok(Attempt::Again);
        }
        let intent = Intent::new(&request.by, decided.wall, &request.reason);
        let key = spare.clone().filter(|_| wants_key(&agreed.document, &agreed.verb, &agreed.rules, decided.wall));
        let next = self.ports.grant(&agreed.document, &agreed.verb, &agreed.rules, intent, key)?;
        self.commit(id, keyset, next, agreed, events).await
    }

    /// The swap, and what is to be made of the store's answer.
    async fn commit(
        &self,
        id: &KeysetId,
        keyset: &mut Keyset,
        next: Document,
        agreed: Agreed,
        events: &mut Vec<Event>,
    ) -> Result<Attempt, Obstacle> {
        let decided = self.ports.clock();
        let (generation, digest) = (next.generation, next.digest());
        let done = Attempt::Answered(Box::new(Operated { preview: agreed.preview, done: Some(generation) }));
        let overrules = matches!(agreed.verb, Verb::AcceptDocument { .. } | Verb::Restored { .. });
        let expected = keyset.held.as_ref().map(|held| held.revision.clone());
        let swapped = self.ports.store().swap(expected.as_ref(), &next).await;
        let answer = swapped.clone();
        if overrules && answer.is_ok() {
            forget_sighting(id, keyset, events);
        }
        let then = self.after_swap(id, keyset, next, swapped, decided, events).await;
        match answer {
            Ok(_) => Ok(done),
            Err(SwapError::Conflict) if matches!(then, Then::GoOn) => Ok(Attempt::Again),
            Err(SwapError::Conflict) => Err(Obstacle::Store("the store went away after another writer was first".to_owned())),
            Err(error @ SwapError::Indeterminate(_)) if matches!(then, Then::Stop) => {
                Err(Obstacle::Indeterminate(error.to_string(), id.clone()))
            }
            Err(SwapError::Indeterminate(_)) if keyset.held.as_ref().map(Held::digest) == Some(digest) => {
                if overrules {
                    forget_sighting(id, keyset, events);
                    keyset.serve(self.ports, &id.keyset);
                }
                Ok(done) // what changed was told of when it was read
            }
            // It is not there now; whether it comes to light later, nobody knows: an operator must see that.
            Err(error @ SwapError::Indeterminate(_)) => Err(Obstacle::Indeterminate(error.to_string(), id.clone())),
            Err(error) => Err(Obstacle::Store(error.to_string())),
        }
    }

    /// Loads what the store holds now.
    pub(super) async fn newest(&self, id: &KeysetId, keyset: &mut Keyset, events: &mut Vec<Event>) -> Result<(), Obstacle> {
        match self.reload(id, keyset, events).await {
            Then::GoOn => Ok(()),
            Then::Stop => {
                let what = keyset.troubles.get(&Part::Store).cloned();
                Err(Obstacle::Store(what.unwrap_or_else(|| "the store does not answer".to_owned())))
            }
        }
    }

    /// Whether the request can be granted on what is there, and what would come of it.
    fn agree(&self, id: &KeysetId, keyset: &Keyset, request: &Request) -> Result<Agreed, Obstacle> {
        let rules = rules_of(keyset, self.policy_broken).or_else(|| {
            // A vanished keyset that is in no policy can still be accepted as gone.
            keyset.sighting.as_ref().map(|_| Arc::new(Rules::orphan(&Document::empty(id.clone(), crate::key::KeyClass::Hmac))))
        });
        let rules = rules.ok_or_else(|| Obstacle::Unknown(id.clone()))?;
        let document = keyset.document().map_or_else(|| Arc::new(Document::empty(id.clone(), rules.spec.class())), Arc::clone);
        let verdict = keyset.verdict();
        self.trusted(id, &document, &rules, &verdict, &request.verb)?;
        let verb = filled_in(&request.verb, keyset);
        let now = self.ports.clock().wall;
        let intent = Intent::new(&request.by, now, &request.reason);
        let preview = if matches!(verb, Verb::AcceptDocument { .. }) && !document.is_stored() {
            of_vanished(&document)
        } else {
            preview(&document, &verb, &rules, intent, &self.quiet(now))?
        };
        let preview = with_verdict(preview, &verdict, id);
        if request.seen.is_some_and(|seen| seen != preview.fingerprint) {
            return Err(Obstacle::Moved(id.clone()));
        }
        Ok(Agreed { verb, rules, document, preview })
    }

    /// Clock and document are what they should be; or the verb is the one that says that they are to be taken as they are.
    fn trusted(&self, id: &KeysetId, document: &Document, rules: &Rules, verdict: &Verdict, verb: &Verb) -> Result<(), Obstacle> {
        let overrules = matches!(verb, Verb::AcceptDocument { .. } | Verb::Restored { .. });
        if overrules != verdict.is_fault() && !matches!(verb, Verb::Restored { .. }) {
            return Err(if overrules {
                let (what, hint) = (format!("{id} is what this host saw last"), format!("`keyrota status {id}` says what it waits for"));
                Refusal::Pointless { what, hint }.into()
            } else {
                Obstacle::Fault(format!("{id}: {}", sentence(verdict, id)))
            });
        }
        let hint = format!("is it right now? then `keyrota accept {} --clock`; else set it right first", id.environment);
        if let (Some(Fault::ClocksParted { by }), false) = (&self.fault, *verb == Verb::AcceptClock) {
            return Err(Obstacle::Fault(format!(
                "the wall clock was set by {by} against the boot clock, so no time can be trusted; hint: {hint}"
            )));
        }
        let now = self.ports.clock().wall;
        let ahead = document.latest_record().since(now);
        if ahead > Waits::at(document, rules, now).facts.clock_skew && *verb != Verb::AcceptClock {
            return Err(Obstacle::Fault(format!("{id} bears a time {ahead} in the future; hint: is the clock right? {hint}")));
        }
        Ok(())
    }

    fn quiet(&self, now: crate::time::Timestamp) -> Observed {
        Observed { serving_since: self.serving_since.min(now), ..Observed::quiet(now) }
    }

    async fn made(&self, id: &KeysetId, document: &Document, rules: &Rules) -> Result<Key, Obstacle> {
        match self.ports.keys().order(id, document, &rules.spec, self.ports.clock().wall).await {
            Order::Ready(key) => Ok(*key),
            Order::Making | Order::Asked(_) => Err(Obstacle::Making),
            Order::Failed(what) | Order::Away(what) => Err(Obstacle::Keygen(what)),
        }
    }
}

/// What this host saw counts no more: an operator has decided.
fn forget_sighting(id: &KeysetId, keyset: &mut Keyset, events: &mut Vec<Event>) {
    keyset.sighting = None;
    keyset.suspected = None;
    keyset.served = None;
    keyset.works(id, Part::Witness, events);
}

/// The verb with what only this host knows.
fn filled_in(verb: &Verb, keyset: &Keyset) -> Verb {
    let revoked = || keyset.sighting.as_ref().map(|s| s.revoked.clone()).unwrap_or_default();
    let seen = keyset.sighting.as_ref().map_or(Generation(0), |s| s.generation);
    // What a lost host counted after its last back-up was read by signers, who wait for what lies beyond.
    let restored = keyset.sighting.as_ref().is_some_and(|s| s.restored.is_some());
    let seen = if restored { Generation(seen.0.saturating_add(BEYOND_A_BACK_UP)) } else { seen };
    match verb {
        Verb::AcceptDocument { .. } => Verb::AcceptDocument { revoked: revoked(), seen },
        Verb::Restored { .. } => Verb::Restored { revoked: revoked(), seen },
        other => other.clone(),
    }
}

fn with_verdict(mut preview: Preview, verdict: &Verdict, id: &KeysetId) -> Preview {
    if verdict.is_fault() {
        let what = sentence(verdict, id);
        preview.notes.insert(0, what.split_once("; hint: ").map_or(what.clone(), |(what, _)| what.to_owned()));
    }
    preview
}

/// Nothing is there, and that is to be taken as it is.
fn of_vanished(document: &Document) -> Preview {
    Preview {
        generation: document.generation,
        notes: vec!["the keyset begins anew, with a new key, if its policy lets it be created today".to_owned()],
        fingerprint: Digest::of(b"vanished"),
        ..Preview::nothing()
    }
}
