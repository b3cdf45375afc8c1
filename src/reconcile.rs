//! The reconciler of one environment: load, project, observe, decide, swap; again and again until nothing is left to do.
//!
//! It holds no time of its own and starts nothing: whoever owns it calls [`Reconciler::pass`] when something may be due, and gets
//! events back. A pass is bounded: a keyset takes at most [`MOST_STEPS`] steps in one. Passes never overlap, because a pass borrows
//! the reconciler. All that must survive a crash is in the store and in the witness, so start-up is the normal path.
//!
//! Invariant: what verifiers are served is never behind what was decided on, and a fact about the outside is recorded only after
//! it was seen.

mod advance;
mod keyset;
pub mod operate;
mod ordered;
mod places;
mod probes;
pub mod removal;
mod sightings;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

pub use keyset::{Status, Trouble};

use crate::clock::{ClockWatch, Reading};
use crate::document::{Document, Intent};
use crate::event::{Event, Part};
use crate::freshness::Freshness;
use crate::key::{Key, KeySpec};
use crate::lifecycle::{self, Decision};
use crate::name::{EnvironmentName, KeysetId, KeysetName};
use crate::observed::{Fault, Observed, SignerReport};
use crate::operator::{self, Refusal, Verb};
use crate::policy::{Probe, Target};
use crate::publish::Targets;
use crate::rules::Rules;
use crate::store::{Mark, Revision, Store, StoreError};
use crate::time::{Span, Timestamp};
use crate::witness::Witness;
use keyset::Keyset;

/// The most steps one keyset takes in one pass.
pub const MOST_STEPS: usize = 12;

/// A pass that has lasted longer than this (boot time) begins no further keyset: the store is to be looked at again first. What is
/// left is due in the next pass, at once.
pub const LONGEST_PASS: Span = Span::seconds(20);

/// A decision older than this, by the boot clock, is not carried out but made anew; and a swap that took longer than this has its
/// times counted from when it was seen to be done.
pub const LONGEST_DECISION: Span = Span::seconds(10);

/// Everything outside that the reconciler touches.
pub trait Ports: Send + Sync + 'static {
    /// Where documents live.
    type Store: Store;
    /// What this host has seen.
    type Witness: Witness;
    /// Who makes keys.
    type Keys: KeyOrders;
    /// Who writes targets.
    type Targets: Targets;

    /// Where documents live.
    fn store(&self) -> &Self::Store;
    /// What this host has seen.
    fn witness(&self) -> &Self::Witness;
    /// Who makes keys.
    fn keys(&self) -> &Self::Keys;
    /// Who writes targets.
    fn targets(&self) -> &Self::Targets;
    /// The machine's clocks.
    fn clock(&self) -> Reading;
    /// From now on verifiers and signers are given this document (`None`: nothing). Verifiers' first.
    fn serve(&self, keyset: &KeysetName, document: Option<&Arc<Document>>);
    /// How the keyset stands after it was looked at (`None`: it is gone).
    fn report(&self, keyset: &KeysetName, status: Option<Status>);
    /// What signers have reported to this process of the generation that they use.
    fn uptake(&self, _keyset: &KeysetName) -> Vec<SignerReport> {
        Vec::new()
    }
    /// The decision. Only a test that wants to see a broken rule caught has reason to answer anything else.
    fn decide(&self, document: &Document, rules: &Rules, observed: &Observed) -> Decision {
        lifecycle::next(document, rules, observed)
    }
    /// What becomes of a document by an operator's verb. Answers anything else for the same reason alone.
    ///
    /// # Errors
    /// If the verb is refused.
    fn grant(&self, document: &Document, verb: &Verb, rules: &Rules, intent: Intent, key: Option<Key>) -> Result<Document, Refusal> {
        operator::apply(document, verb, rules, intent, key)
    }
}

/// Who makes keys without holding up a pass.
pub trait KeyOrders: Send + Sync + 'static {
    /// Asks for a key of this kind for this keyset, to be staged in the successor of `document`. Asking again for the same is the way to
    /// fetch it.
    fn order(&self, keyset: &KeysetId, document: &Document, spec: &KeySpec, now: Timestamp) -> impl Future<Output = Order> + Send;
}

/// How an order stands.
pub enum Order {
    /// Here it is.
    Ready(Box<Key>),
    /// It is being made; the reconciler is woken when it is done.
    Making,
    /// Its vendor is being asked for it, which may take long: everything else goes on, and the reconciler is woken when it is done.
    Asked(String),
    /// Its vendor did not give it, and is asked again after a while; everything else goes on.
    Away(String),
    /// It cannot be made.
    Failed(String),
}

/// What a policy asks of one keyset: the rules for deciding, and the places for projecting.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The rules.
    pub rules: Arc<Rules>,
    /// The places outside the store.
    pub targets: Arc<[Target]>,
    /// The key sets that are looked at from outside.
    pub probes: Arc<[Probe]>,
    /// The only day (UTC) on which the keyset may be created if the store has none; `None`: any day.
    pub inception: Option<chrono::NaiveDate>,
}

/// The reconciler of one environment.
#[allow(clippy::struct_excessive_bools, reason = "four independent things that are or are not so")]
pub struct Reconciler<P: Ports> {
    ports: Arc<P>,
    environment: EnvironmentName,
    freshness: Arc<Freshness>,
    wanted: BTreeMap<KeysetName, Wanted>,
    keysets: BTreeMap<KeysetName, Keyset>,
    /// Keysets that must be looked at in every pass: they have places that somebody may alter.
    watched: BTreeSet<KeysetName>,
    /// When which keyset is to be looked at: one entry for each that waits for a moment.
    deadlines: BTreeSet<(Timestamp, KeysetName)>,
    /// Keysets to look at in the next pass.
    due: BTreeSet<KeysetName>,
    /// Those that the last pass did not come to: they come first in the next one.
    left_over: Vec<KeysetName>,
    mark: Mark,
    watch: ClockWatch,
    clock_trouble: bool,
    store_trouble: bool,
    recalled: bool,
    /// Since when this process has served without a gap, as the last pass saw it.
    serving_since: Option<Timestamp>,
    /// A broken policy file: what is served goes on, nothing rotates.
    policy_broken: bool,
}

impl<P: Ports> Reconciler<P> {
    /// A reconciler that has seen nothing yet.
    pub fn new(ports: Arc<P>, environment: EnvironmentName, freshness: Arc<Freshness>) -> Self {
        let watch = ClockWatch::new(ports.clock());
        Self {
            ports,
            environment,
            freshness,
            wanted: BTreeMap::new(),
            keysets: BTreeMap::new(),
            watched: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            due: BTreeSet::new(),
            left_over: Vec::new(),
            mark: Mark::default(),
            watch,
            clock_trouble: false,
            store_trouble: false,
            recalled: false,
            serving_since: None,
            policy_broken: false,
        }
    }

    /// Takes the policy's wishes; everything is looked at in the next pass.
    pub fn want(&mut self, wanted: BTreeMap<KeysetName, Wanted>) {
        self.wanted = wanted;
        self.policy_broken = false;
        for name in self.wanted.keys() {
            self.keysets.entry(name.clone()).or_default();
        }
        let names: Vec<_> = self.keysets.keys().cloned().collect();
        for name in names {
            self.assign(&name);
        }
    }

    /// The policy file is broken: what is known is served, and nothing rotates until it is mended.
    pub fn hold_policy(&mut self) {
        self.policy_broken = true;
        self.due = self.keysets.keys().cloned().collect();
    }

    /// When something is due next, as far as is known. While the store does not answer nothing is: the next look at it tells.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        match (self.store_trouble, self.due.is_empty() && self.left_over.is_empty()) {
            (true, _) => None,
            (false, false) => Some(Timestamp::EPOCH),
            (false, true) => self.deadlines.first().map(|(at, _)| *at),
        }
    }

    /// Something outside happened that concerns this keyset (a key was made): it is looked at in the next pass.
    pub fn look_at(&mut self, keyset: &KeysetName) {
        if self.keysets.contains_key(keyset) {
            self.due.insert(keyset.clone());
        }
    }

    /// How many keysets are known.
    pub fn len(&self) -> usize {
        self.keysets.len()
    }

    /// Whether no keyset is known.
    pub fn is_empty(&self) -> bool {
        self.keysets.is_empty()
    }

    /// One pass: what changed in the store is loaded and served; then every keyset that is due takes its steps.
    pub async fn pass(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let began = self.ports.clock();
        match self.catch_up(&mut events).await {
            Ok((caught_up, looked_at)) => {
                if std::mem::take(&mut self.store_trouble) {
                    events.push(Event::StoreBack { environment: self.environment.clone() });
                }
                if caught_up {
                    self.freshness.confirm(looked_at.map_or(began, |at| began.back_to(at)), self.ports.clock());
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.store_trouble, true) {
                    let what = error.to_string();
                    events.push(Event::StoreUnavailable { environment: self.environment.clone(), what });
                }
                return events;
            }
        }
        let now = self.ports.clock();
        let fault = self.clock_fault(now, &mut events);
        let serving_since = self.freshness.serving_since(now);
        if std::mem::replace(&mut self.serving_since, serving_since) != serving_since || self.clock_trouble != fault.is_some() {
            self.due = self.keysets.keys().cloned().collect();
        }
        self.clock_trouble = fault.is_some();
        self.collect_due(now.wall);
        self.work(fault, &mut events).await;
        events
    }

    /// Loads what changed, and serves it. Answers whether everything that the store says has changed has been seen (a copy that
    /// lags may show an older document than the list of changes told of, and then the same changes are asked for again), and when
    /// the look began that the store's answer rests on, if not now.
    async fn catch_up(&mut self, events: &mut Vec<Event>) -> Result<(bool, Option<Span>), StoreError> {
        if !self.recalled {
            self.recall().await?;
        }
        let changes = self.ports.store().changes(&self.mark).await?;
        let known = |name: &KeysetName, revision: &Revision| {
            self.keysets.get(name).and_then(|k| k.held.as_ref()).is_some_and(|held| held.revision == *revision)
        };
        let written: Vec<_> = changes.written.into_iter().filter(|(name, revision)| !known(name, revision)).collect();
        let names: Vec<_> = written.iter().map(|(name, _)| name.clone()).collect();
        let mut loaded = if names.is_empty() { BTreeMap::new() } else { self.ports.store().load_many(&names).await? };
        let mut caught_up = true;
        for (name, listed) in written {
            let keyset = self.keysets.entry(name.clone()).or_default();
            match loaded.remove(&name) {
                Some(Ok(found)) => {
                    caught_up &= found.revision == listed;
                    keyset.take(found, events);
                }
                Some(Err(error)) => {
                    let id = KeysetId { environment: self.environment.clone(), keyset: name.clone() };
                    keyset.trouble(&id, Part::Store, error.to_string(), events);
                    keyset.lose();
                }
                None => {
                    caught_up = false;
                    keyset.held = None;
                }
            }
            keyset.serve(&*self.ports, &name);
            self.assign(&name);
        }
        for name in changes.removed {
            if let Some(keyset) = self.keysets.get_mut(&name) {
                keyset.held = None;
                self.due.insert(name);
            }
        }
        if caught_up {
            self.mark = changes.mark;
        }
        Ok((caught_up, changes.looked_at))
    }

    /// What the witness saw before this process began. A keyset that it knows is there, whatever the policy says.
    async fn recall(&mut self) -> Result<(), StoreError> {
        let seen = self.ports.witness().recall(&self.environment).await.map_err(|e| StoreError::Unavailable(e.to_string()))?;
        for (name, sighting) in seen {
            let keyset = self.keysets.entry(name.clone()).or_default();
            keyset.places.clone_from(&sighting.places);
            keyset.signers_left.clone_from(&sighting.signers_left);
            keyset.remember_probes(&sighting.probes);
            keyset.sighting = Some(sighting);
            self.assign(&name);
        }
        self.recalled = true;
        Ok(())
    }

    /// Gives a keyset the wishes of its policy, or those of an orphan.
    fn assign(&mut self, name: &KeysetName) {
        let Some(keyset) = self.keysets.get_mut(name) else { return };
        let wanted = self.wanted.get(name).cloned();
        if keyset.wanted != wanted || keyset.ruled_since.is_none() {
            keyset.ruled_since = Some(self.ports.clock().wall);
        }
        keyset.wanted = wanted;
        keyset.keep_wanted_probes();
        if keyset.has_places() {
            self.watched.insert(name.clone());
        } else {
            self.watched.remove(name);
        }
        self.due.insert(name.clone());
    }

    fn least_skew(&self) -> Span {
        self.wanted.values().map(|w| w.rules.facts.clock_skew).min().unwrap_or(Span::minutes(1))
    }

    fn clock_fault(&self, now: Reading, events: &mut Vec<Event>) -> Option<Fault> {
        let by = self.watch.parted(now);
        let parted = by > self.least_skew();
        match (parted, self.clock_trouble) {
            (true, false) => events.push(Event::ClockSet { by }),
            (false, true) => events.push(Event::ClockBack),
            _ => {}
        }
        parted.then_some(Fault::ClocksParted { by })
    }

    fn collect_due(&mut self, now: Timestamp) {
        while self.deadlines.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, name)) = self.deadlines.pop_first()
        {
            if let Some(keyset) = self.keysets.get_mut(&name) {
                keyset.queued = None;
            }
            self.due.insert(name);
        }
        self.due.extend(self.watched.iter().cloned());
    }

    /// Every keyset that is due takes its steps, many at once.
    async fn work(&mut self, fault: Option<Fault>, events: &mut Vec<Event>) {
        let serving_since = self.serving_since.unwrap_or_else(|| self.ports.clock().wall);
        let (ports, environment) = (Arc::clone(&self.ports), self.environment.clone());
        let context =
            advance::Context { ports: &*ports, environment: &environment, fault, serving_since, policy_broken: self.policy_broken };
        let mut due = std::mem::take(&mut self.left_over);
        let due_first: BTreeSet<_> = due.iter().cloned().collect();
        due.extend(std::mem::take(&mut self.due).into_iter().filter(|name| !due_first.contains(name)));
        let mut due = due.into_iter();
        let (began, at_once) = (ports.clock().boot, ports.store().at_once());
        let mut under_way: FuturesUnordered<_> = FuturesUnordered::new();
        loop {
            while under_way.len() < at_once && ports.clock().boot <= began + LONGEST_PASS {
                let Some(name) = due.next() else { break };
                if let Some(keyset) = self.keysets.remove(&name) {
                    under_way.push(context.advance(name, keyset));
                }
            }
            let Some(advance::Advanced { name, keyset, mut happened }) = under_way.next().await else { break };
            events.append(&mut happened);
            self.put_back(name, keyset);
        }
        self.left_over = due.collect();
    }

    fn put_back(&mut self, name: KeysetName, mut keyset: Keyset) {
        if std::mem::take(&mut keyset.relist) {
            self.mark = Mark::default();
        }
        if keyset.again {
            keyset.again = false;
            self.due.insert(name.clone());
        }
        let forgotten = keyset.is_forgotten();
        let deadline = keyset.deadline.filter(|_| !forgotten);
        if keyset.queued != deadline {
            if let Some(at) = std::mem::replace(&mut keyset.queued, deadline) {
                self.deadlines.remove(&(at, name.clone()));
            }
            self.deadlines.extend(deadline.map(|at| (at, name.clone())));
        }
        if forgotten || !keyset.has_places() {
            self.watched.remove(&name);
        }
        if forgotten {
            self.ports.report(&name, None);
            return;
        }
        self.keysets.insert(name, keyset);
    }
}
