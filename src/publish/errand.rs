//! Work on places that takes its time: programs and vendors. Nobody waits for it.
//!
//! [`Errands::ask`] starts what is to be done, answers [`Brought::UnderWay`], and whoever owns the reconciler is told when it is
//! done; asking again fetches the outcome. One place has one errand at a time. What failed rests, longer each time; other content is
//! tried at once. It knows neither programs nor vendors, only what they are to bring about.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, mpsc, watch};

use super::{Amiss, Brought, PublishError, ReadBack};
use crate::clock::Reading;
use crate::digest::Digest;
use crate::name::{KeysetId, KeysetName};
use crate::time::Span;

/// How long a place rests after its first failure, and at most.
const FIRST_REST: Span = Span::seconds(2);
const LONGEST_REST: Span = Span::minutes(5);

/// What is to be brought about.
#[derive(Debug, Clone)]
pub struct Errand {
    /// For which keyset.
    pub keyset: KeysetId,
    /// Where, by the target's name.
    pub place: String,
    /// What the place is to hold.
    pub wanted: Digest,
    /// How often it is looked at while nothing changes; `None`: nothing reads it back.
    pub look_every: Option<Span>,
}

impl Errand {
    fn key(&self) -> (KeysetId, String) {
        (self.keyset.clone(), self.place.clone())
    }

    /// The place holds what it must.
    pub fn agreed(&self, wrote: bool, drift: bool, said: Option<String>) -> Brought {
        Brought::Agreed { content: self.wanted, changed_at: None, wrote, drift, said, amiss: None }
    }

    /// The place holds what it can.
    pub fn agreed_but(&self, wrote: bool, amiss: Option<Amiss>) -> Brought {
        Brought::Agreed { content: self.wanted, changed_at: None, wrote, drift: false, said: None, amiss }
    }
}

/// How one place stands.
#[derive(Default)]
struct Slot {
    running: bool,
    /// What came of the last errand, until it is fetched, and for which content.
    outcome: Option<(Digest, Brought)>,
    /// What the place is known to hold.
    held: Option<Digest>,
    /// When (boot time) it was last read back.
    read_at: Option<Span>,
    /// What was not as it should be then.
    amiss: Option<Amiss>,
    failure: Option<Failure>,
}

/// What went wrong, with which content, how often in a row, and when it may be tried again.
struct Failure {
    what: Result<Brought, PublishError>,
    with: Digest,
    times: u32,
    rest_until: Span,
}

type Slots = BTreeMap<(KeysetId, String), Slot>;

/// The errands of one environment. Clones share them.
#[derive(Clone)]
pub struct Errands(Arc<Inner>);

struct Inner {
    slots: Mutex<Slots>,
    at_once: Semaphore,
    done: mpsc::UnboundedSender<KeysetName>,
    /// How many have ended.
    ended: watch::Sender<u64>,
}

impl Errands {
    /// None are under way, and so many may be at once. `done` hears of every keyset for which one has ended.
    pub fn new(at_once: usize, done: mpsc::UnboundedSender<KeysetName>) -> Self {
        Self(Arc::new(Inner { slots: Mutex::default(), at_once: Semaphore::new(at_once), done, ended: watch::Sender::new(0) }))
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`super::Targets::bring`]. `work` is handed what the place is known to hold; its error is a sentence. Must be called within a
    /// runtime.
    ///
    /// # Errors
    /// What the last errand failed with, while it rests.
    pub fn ask<W, F>(&self, errand: &Errand, expected: Option<Digest>, work: W) -> Result<Brought, PublishError>
    where
        W: FnOnce(Option<Digest>) -> F,
        F: Future<Output = Result<Brought, String>> + Send + 'static,
    {
        let (now, wanted) = (Reading::now().boot, errand.wanted);
        let mut slots = self.slots();
        let slot = slots.entry(errand.key()).or_default();
        let unsure = errand.look_every.is_none();
        if slot.running {
            return Ok(Brought::UnderWay { unsure });
        }
        if let Some((_, outcome)) = slot.outcome.take().filter(|(with, _)| *with == wanted) {
            return Ok(outcome);
        }
        if let Some(failure) = slot.failure.as_ref().filter(|failure| failure.with == wanted && now < failure.rest_until) {
            return failure.what.clone();
        }
        let held = slot.held.or(expected);
        let to_be_read = errand.look_every.is_some_and(|every| slot.read_at.is_none_or(|at| now >= at + every));
        if slot.failure.is_none() && !to_be_read && held == Some(wanted) {
            slot.held = Some(wanted);
            return Ok(errand.agreed_but(false, slot.amiss.clone()));
        }
        slot.running = true;
        drop(slots);
        let (this, errand, work) = (self.clone(), errand.clone(), work(held));
        tokio::spawn(async move {
            let outcome = match this.0.at_once.acquire().await {
                Ok(_permit) => work.await,
                Err(_) => return,
            };
            this.ended(&errand, outcome);
        });
        Ok(Brought::UnderWay { unsure })
    }

    fn ended(&self, errand: &Errand, outcome: Result<Brought, String>) {
        let now = Reading::now().boot;
        {
            let mut slots = self.slots();
            let Some(slot) = slots.get_mut(&errand.key()) else { return };
            slot.running = false;
            slot.outcome = None;
            match outcome {
                Ok(outcome @ Brought::Agreed { .. }) => {
                    slot.failure = None;
                    slot.amiss = if let Brought::Agreed { amiss, .. } = &outcome { amiss.clone() } else { None };
                    slot.held = Some(errand.wanted);
                    slot.read_at = Some(now);
                    slot.outcome = Some((errand.wanted, outcome));
                }
                outcome => {
                    // What is there now is not known any more, unless it is read back.
                    slot.held = slot.held.filter(|_| errand.look_every.is_some());
                    let times = slot.failure.as_ref().map_or(0, |failure| failure.times).saturating_add(1);
                    let rest = (FIRST_REST * (1 << (times - 1).min(10))).min(LONGEST_REST);
                    let what = outcome.map_err(|what| {
                        let (what, hint) = what.split_once("; hint: ").unwrap_or((what.as_str(), "try it by hand"));
                        PublishError::Errand(format!("{what} (failure {times} in a row, tried again in {rest}); hint: {hint}"))
                    });
                    slot.failure = Some(Failure { what, with: errand.wanted, times, rest_until: now + rest });
                }
            }
        }
        let _ = self.0.done.send(errand.keyset.keyset.clone());
        self.0.ended.send_modify(|ended| *ended += 1);
    }

    /// Changes whenever an errand has ended.
    pub fn ends(&self) -> watch::Receiver<u64> {
        self.0.ended.subscribe()
    }

    /// What is known of a place without going there.
    pub fn known(&self, errand: &Errand) -> ReadBack {
        let slots = self.slots();
        let known = |what: String, good| ReadBack::Known { what, good };
        match slots.get(&errand.key()) {
            None => known("it was not asked for yet".into(), true),
            Some(Slot { failure: Some(Failure { what: Err(error), .. }), .. }) => known(error.to_string(), false),
            Some(Slot { failure: Some(Failure { what: Ok(_), .. }), .. }) => {
                known("it holds keys that the keyset does not know, and is left alone; hint: `keyrota import` them".into(), false)
            }
            Some(Slot { running: true, .. }) => known("it is running".into(), true),
            Some(Slot { amiss: Some(amiss), .. }) => known(amiss.what.clone(), amiss.expected),
            Some(Slot { held: Some(_), read_at: Some(at), .. }) if errand.look_every.is_some() => {
                known(format!("it was read back {} ago", Reading::now().boot.saturating_sub(*at).rounded()), true)
            }
            Some(Slot { held: Some(_), .. }) => known("it took what it must hold; nothing reads it back".into(), true),
            Some(Slot { .. }) => known("it is to be run".into(), true),
        }
    }

    /// The place is asked for no more.
    pub fn forget(&self, keyset: &KeysetId, place: &str) {
        self.slots().remove(&(keyset.clone(), place.to_owned()));
    }
}
