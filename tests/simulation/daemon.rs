//! One daemon of the simulation: the real reconciler on simulated ports, polled one port call at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use keyrota::event::Event;
use keyrota::freshness::Freshness;
use keyrota::name::Kid;
use keyrota::reconcile::operate::Request;
use keyrota::reconcile::{Reconciler, Status, Wanted};
use keyrota::time::{Span, Timestamp};

use crate::edge;
use crate::mutants::Mutant;
use crate::outside::{NAME, Shared, SimPorts, lock};

type Pass = Pin<Box<dyn Future<Output = (Reconciler<SimPorts>, Vec<Event>)>>>;

/// A running process.
pub struct Process {
    pub ports: Arc<SimPorts>,
    pub freshness: Arc<Freshness>,
    reconciler: Option<Reconciler<SimPorts>>,
    pass: Option<Pass>,
    /// True time at which it will look at the store.
    pub poll_at: Option<Timestamp>,
    /// The revision that it has seen.
    pub seen: u64,
    /// The policy file is broken.
    broken: bool,
    confirmed_before: Option<Timestamp>,
    /// What is under way is an operator's request, not a pass.
    operating: bool,
}

const UNSEEN: u64 = u64::MAX;

pub struct Daemon {
    pub host: usize,
    pub process: Option<Process>,
    pub frozen_until: Option<Timestamp>,
    /// What its policy file says.
    pub wanted: Wanted,
    /// True time of its next look at the edge.
    pub probe_at: Option<Timestamp>,
    pub policy_changed: bool,
    pub policy_broken: bool,
    pub events: Vec<Event>,
    /// What operators asked of it and was not taken up yet.
    pub requests: VecDeque<Request>,
}

impl Process {
    /// Whether its last look at the store showed this revision or a later one.
    pub fn has_seen(&self, revision: u64) -> bool {
        self.seen != UNSEEN && self.seen >= revision
    }

    /// Whether no pass is under way.
    pub fn is_idle(&self) -> bool {
        self.pass.is_none()
    }
}

impl Daemon {
    pub fn start(&mut self, shared: &Shared, fresh_for: Span) {
        let ports = Arc::new(SimPorts::new(shared, self.host));
        let freshness = Arc::new(Freshness::new(fresh_for));
        let mut reconciler = Reconciler::new(Arc::clone(&ports), "production".parse().unwrap(), Arc::clone(&freshness));
        reconciler.want(BTreeMap::from([(NAME.parse().unwrap(), self.wanted.clone())]));
        let now = lock(shared).now;
        let (pass, seen, confirmed_before) = (None, UNSEEN, None);
        self.process = Some(Process {
            ports,
            freshness,
            reconciler: Some(reconciler),
            pass,
            poll_at: Some(now),
            seen,
            broken: false,
            confirmed_before,
            operating: false,
        });
        self.policy_changed = false;
    }

    pub fn is_frozen(&self, now: Timestamp) -> bool {
        self.frozen_until.is_some_and(|until| now < until)
    }

    /// Whether it can be polled now.
    pub fn is_under_way(&self, now: Timestamp) -> bool {
        !self.is_frozen(now) && self.process.as_ref().is_some_and(|p| p.pass.is_some())
    }

    /// Whether it would begin a pass if it were let.
    pub fn wants_to_look(&self, shared: &Shared) -> bool {
        let now = lock(shared).now;
        let Some(process) = self.process.as_ref().filter(|p| p.pass.is_none()) else { return false };
        !self.is_frozen(now)
            && (self.policy_changed || !self.requests.is_empty() || self.due_at(process, shared).is_some_and(|at| at <= now))
    }

    /// True time of its next look.
    pub fn next_look(&self, shared: &Shared) -> Option<Timestamp> {
        let process = self.process.as_ref().filter(|p| p.pass.is_none())?;
        let at = self.due_at(process, shared)?;
        Some(self.frozen_until.map_or(at, |until| at.max(until)))
    }

    fn due_at(&self, process: &Process, shared: &Shared) -> Option<Timestamp> {
        let deadline = process.reconciler.as_ref().and_then(Reconciler::next_deadline);
        let offset = lock(shared).hosts[self.host].offset;
        let deadline = deadline.map(|wall| Timestamp::from_millis(wall.as_millis() - offset));
        [process.poll_at, deadline].into_iter().flatten().min()
    }

    /// Looks at the edge if it is time to and nothing else is under way; what it sees brings on a pass.
    pub fn look_outside(&mut self, shared: &Shared) {
        let now = lock(shared).now;
        if self.is_frozen(now) || self.probe_at.is_none_or(|at| at > now) {
            return;
        }
        // While nobody waits for what it shows, days would be long for nothing.
        let waited_for = lock(shared).current().0.is_some_and(edge::is_waited_for);
        let Some(process) = self.process.as_mut().filter(|_| waited_for) else {
            self.probe_at = Some(now + edge::probe().every);
            return;
        };
        let Some(reconciler) = process.reconciler.as_mut().filter(|_| process.pass.is_none()) else { return };
        let look = edge::seen(shared, self.host);
        reconciler.saw(&NAME.parse().unwrap(), edge::URL, &look, &mut self.events);
        process.poll_at = Some(now);
        self.probe_at = Some(now + edge::probe().every);
    }

    /// Begins a pass, or goes one port call further.
    pub fn go_on(&mut self, shared: &Shared) {
        let Some(process) = &mut self.process else { return };
        if process.pass.is_none() {
            let Some(mut reconciler) = process.reconciler.take() else { return };
            if std::mem::take(&mut self.policy_changed) {
                reconciler.want(BTreeMap::from([(NAME.parse().unwrap(), self.wanted.clone())]));
            }
            if std::mem::replace(&mut process.broken, self.policy_broken) != self.policy_broken && self.policy_broken {
                reconciler.hold_policy();
            }
            if let Some(request) = self.requests.pop_front() {
                process.operating = true;
                let shared = shared.clone();
                process.pass = Some(Box::pin(async move {
                    let mut events = Vec::new();
                    if let Ok(operated) = reconciler.operate(&request, &mut events).await {
                        let gone = operated.preview.deaths.into_iter().map(|death| death.kid);
                        lock(&shared).buried.extend(gone);
                    }
                    (reconciler, events)
                }));
                return;
            }
            process.operating = false;
            process.poll_at = None;
            process.confirmed_before = process.freshness.confirmed_at();
            process.pass = Some(Box::pin(async move {
                let events = reconciler.pass().await;
                (reconciler, events)
            }));
        }
        let Some(pass) = &mut process.pass else { return };
        let mut context = Context::from_waker(Waker::noop());
        if let std::task::Poll::Ready((reconciler, events)) = pass.as_mut().poll(&mut context) {
            let now = lock(shared).now;
            if std::mem::take(&mut process.operating) {
                process.pass = None;
                process.reconciler = Some(reconciler);
                process.poll_at = Some(now); // a pass follows every verb
                process.seen = UNSEEN; // and if the answer to its swap was lost, only that pass will know
                self.events.extend(events);
                return;
            }
            // What it was shown counts as seen only if it says so itself.
            let confirmed = process.freshness.confirmed_at() != process.confirmed_before;
            process.seen = if confirmed { lock(shared).hosts[self.host].shown } else { UNSEEN };
            let behind = process.seen != lock(shared).revisions;
            if !confirmed && lock(shared).hosts[self.host].store_away {
                process.poll_at = None; // it would try in vain until the store is back
            } else if behind {
                // Lists lag for minutes: asking every second would make the world's days long.
                let again = if lock(shared).account.is_some() { Span::seconds(20) } else { Span::seconds(1) };
                process.poll_at = Some(now + again);
            } else if !process.freshness.is_fresh(lock(shared).reading(self.host)) {
                process.poll_at = Some(now + Span::seconds(2));
            }
            process.pass = None;
            process.reconciler = Some(reconciler);
            self.events.extend(events);
            let excess = self.events.len().saturating_sub(200);
            self.events.drain(..excess);
        }
    }

    /// Whether it is ready to speak for the store.
    pub fn is_ready(&self, shared: &Shared) -> bool {
        let outside = lock(shared);
        let believes = outside.mutant == Some(Mutant::StaleReplicaReady);
        let Some(process) = self.process.as_ref() else { return false };
        !self.is_frozen(outside.now) && (believes && process.seen != UNSEEN || process.freshness.is_fresh(outside.reading(self.host)))
    }

    /// Whether it gives out what the store holds now, and decides on it.
    pub fn goes_on_with(&self, shared: &Shared) -> bool {
        let Some(process) = &self.process else { return false };
        // Not the generation: a past that was put back counts on from there, and meets the numbers of the other.
        let held = lock(shared).current().0.cloned();
        let served = process.ports.served.lock().unwrap().clone();
        let status = process.ports.status.lock().unwrap();
        let at_fault = |s: &Status| s.wait.pending.iter().any(|p| p.because.name() == "witness") || !s.troubles.is_empty();
        served.is_some() && served.as_deref() == held.as_ref() && status.as_ref().is_some_and(|status| !at_fault(status))
    }

    /// What verifiers get from it.
    pub fn key_set(&self) -> BTreeSet<Kid> {
        let served = self.process.as_ref().and_then(|p| p.ports.served.lock().unwrap().clone());
        served.map(|d| d.jwks().keys.iter().map(|jwk| jwk.kid.clone()).collect()).unwrap_or_default()
    }

    /// What signers get from it.
    pub fn active_kid(&self) -> Option<Kid> {
        let served = self.process.as_ref().and_then(|p| p.ports.served.lock().unwrap().clone());
        served.and_then(|d| d.active.as_ref().map(|a| a.key.kid.clone()))
    }

    /// For stories of failure.
    pub fn standing(&self, shared: &Shared) -> String {
        let Some(process) = &self.process else { return "down".into() };
        let status = process.ports.status.lock().unwrap();
        let wait = status.as_ref().map(|s| (s.wait.clone(), s.troubles.clone()));
        let deadline = process.reconciler.as_ref().and_then(Reconciler::next_deadline);
        let tail: Vec<_> = self.events.iter().rev().take(4).map(ToString::to_string).collect();
        let fresh = process.freshness.is_fresh(lock(shared).reading(self.host));
        format!("poll {:?} deadline {deadline:?} seen {} fresh {fresh} waits {wait:?} lately {tail:?}", process.poll_at, process.seen)
    }

    pub fn crash(&mut self) {
        self.process = None;
        self.frozen_until = None;
        self.requests.clear();
    }
}
