//! One environment at work: passes, one after the other, whenever something may be due.
//!
//! A pass runs at the start, after a reload, on a wake of the scheduler, at the next deadline, when a key is made, and at the latest
//! when the store wants to be asked again. Passes never overlap, because one task makes them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use uuid::Uuid;

use super::House;
use super::keeping::Keeping;
use super::orders::Orders;
use super::ports::RealPorts;
use super::probing::{Probing, Seen};
use super::verbs::{Asked, Standing};
use super::webhooks::Webhooks;
use crate::board::{EnvironmentBoard, Manner, PolicyStanding};
use crate::clock::Reading;
use crate::event::{Event, Part};
use crate::freshness::Freshness;
use crate::http::serve::Stop;
use crate::metrics::MeasuredStore;
use crate::name::KeysetName;
use crate::policy::{KeysetPolicy, Policy, StoreConfig, Target, Webhook};
use crate::publish::{Places, Programs, Vendors};
use crate::reconcile::{Reconciler, Trouble, Wanted};
use crate::rules::Rules;
use crate::status_report::doctor::Finding;
use crate::store::Store as _;

/// The longest that nothing is looked at, whatever the store and the deadlines say.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// The shortest rest between two passes, so that a deadline that cannot be met does not spin.
const SHORTEST_REST: Duration = Duration::from_millis(20);

/// What the environment is told.
pub enum Command {
    /// This policy is in force from now on.
    Take {
        /// The policy.
        policy: Box<Policy>,
        /// Told when every keyset has been looked at under it.
        done: oneshot::Sender<()>,
    },
    /// The policy file is broken, or gone: what is known is served, nothing rotates.
    Hold {
        /// Why, as sentences.
        faults: Vec<String>,
        /// Whether the file is gone: then every keyset is an orphan.
        gone: bool,
        /// Told when that is so.
        done: oneshot::Sender<()>,
    },
    /// An operator asks for something.
    Operate(Box<Asked>),
    /// An operator wants everything looked at.
    Examine(oneshot::Sender<Vec<Finding>>),
    /// Another takes its place, with another store; or nothing is left of it.
    Leave,
}

/// A running environment, as the rest of the daemon holds it.
pub struct Running {
    pub commands: mpsc::UnboundedSender<Command>,
    pub task: tokio::task::JoinHandle<()>,
    /// Where its documents are kept, for as long as it runs.
    pub store: StoreConfig,
}

pub(super) struct Environment {
    pub(super) house: Arc<House>,
    pub(super) board: Arc<EnvironmentBoard>,
    pub(super) store: Keeping,
    pub(super) reconciler: Reconciler<RealPorts>,
    pub(super) ports: Arc<RealPorts>,
    probing: Probing,
    webhooks: Webhooks,
    /// Verbs that wait for a key to be made.
    asked: Vec<Asked>,
    wake: Arc<Notify>,
    job: Option<(String, Uuid)>,
    poll_every: Duration,
    /// Told when the next pass is done.
    waiting: Vec<oneshot::Sender<()>>,
    /// The keysets of the policy, to be seen once before the environment counts as loaded.
    wanted: Vec<KeysetName>,
    /// Another has taken its place.
    leaving: bool,
}

/// Starts an environment under its first policy.
pub fn start(house: &Arc<House>, policy: Box<Policy>, store: Keeping, hold: Option<Vec<String>>) -> (Running, oneshot::Receiver<()>) {
    let (running, first, board) = begin(house, policy, store, hold);
    house.board.put(board);
    (running, first)
}

/// Starts an environment anew, with the store that its keysets have moved to. The one before serves until this one can serve all that
/// it does, so that nobody sees a gap.
pub fn succeed(house: &Arc<House>, policy: Box<Policy>, store: Keeping, before: Running) -> (Running, oneshot::Receiver<()>) {
    let name = policy.environment.clone();
    let (running, first, board) = begin(house, policy, store, None);
    let (done, taken_over) = oneshot::channel();
    let house = Arc::clone(house);
    tokio::spawn(async move {
        if first.await.is_err() {
            return; // the daemon goes down
        }
        let known = house.board.environment(name.as_str()).map(|board| board.keysets()).unwrap_or_default();
        let given_out = known.iter().filter(|(_, cell)| cell.served().is_some());
        let given_out: Vec<KeysetName> = given_out.map(|(keyset, _)| keyset.clone()).collect();
        let serves = |keyset: &KeysetName| board.keyset(keyset.as_str()).is_some_and(|cell| cell.served().is_some());
        while !given_out.iter().all(serves) || !board.freshness.is_fresh(Reading::now()) {
            if *house.stop.borrow() {
                return;
            }
            tokio::time::sleep(SHORTEST_REST).await;
        }
        house.board.put(board);
        let _ = before.commands.send(Command::Leave);
        let _ = before.task.await;
        let _ = done.send(());
    });
    (running, taken_over)
}

type Begun = (Running, oneshot::Receiver<()>, Arc<EnvironmentBoard>);

fn begin(house: &Arc<House>, policy: Box<Policy>, store: Keeping, hold: Option<Vec<String>>) -> Begun {
    let (commands, told) = mpsc::unbounded_channel();
    let config = policy.store.clone();
    let (done, first) = oneshot::channel();
    let name = policy.environment.clone();
    let freshness = Arc::new(Freshness::new(policy.store.fresh_for()));
    let standing = PolicyStanding { digest: policy.digest, taken_at: Reading::now().wall, faults: Vec::new() };
    let board = Arc::new(EnvironmentBoard::new(name.clone(), Arc::clone(&freshness), standing));
    house.watchdog.enlist(&name);
    let (ready, made) = mpsc::unbounded_channel();
    let vendors = Vendors::new(Arc::clone(&house.eyes.client), ready.clone());
    let ports = Arc::new(RealPorts {
        store: MeasuredStore::new(store.clone(), Arc::clone(&house.metrics), name.clone()),
        witness: house.witness.clone(),
        places: Places::new(Programs::new(ready.clone()), vendors.clone(), store.aws().cloned()),
        orders: Orders::new(Arc::clone(&house.forge), vendors, ready),
        board: Arc::clone(&board),
        watchdog: Arc::clone(&house.watchdog),
    });
    let poll_every = ports.store.poll_every().to_std();
    let (probing, seen) = Probing::new(house.eyes.clone());
    let environment = Environment {
        house: Arc::clone(house),
        board: Arc::clone(&board),
        store,
        reconciler: Reconciler::new(Arc::clone(&ports), name, freshness),
        ports,
        probing,
        webhooks: Webhooks::new(Arc::clone(&house.eyes.client), Arc::clone(&house.metrics)),
        asked: Vec::new(),
        wake: Arc::new(Notify::new()),
        job: None,
        poll_every,
        waiting: Vec::new(),
        wanted: Vec::new(),
        leaving: false,
    };
    let _ = commands.send(Command::Take { policy, done });
    if let Some(faults) = hold {
        let _ = commands.send(Command::Hold { faults, gone: false, done: oneshot::channel().0 });
    }
    let task = tokio::spawn(environment.work(told, made, seen));
    (Running { commands, task, store: config }, first, board)
}

impl Environment {
    async fn work(
        mut self,
        mut told: mpsc::UnboundedReceiver<Command>,
        mut made: mpsc::UnboundedReceiver<KeysetName>,
        mut seen: mpsc::Receiver<Seen>,
    ) {
        let mut stop = self.house.stop.clone();
        while !*stop.borrow() && !self.leaving {
            while let Ok(command) = told.try_recv() {
                self.obey(command).await;
            }
            while let Ok(keyset) = made.try_recv() {
                self.reconciler.look_at(&keyset);
            }
            while let Ok(seen) = seen.try_recv() {
                self.take_in(&seen);
            }
            // Before the pass, which could take a key that was made for a verb.
            for asked in std::mem::take(&mut self.asked) {
                self.take_up(asked).await;
            }
            self.pass().await;
            let rest = self.rest();
            tokio::select! {
                () = stopped(&mut stop) => {}
                () = tokio::time::sleep(rest) => {}
                () = self.wake.notified() => {}
                Some(command) = told.recv() => self.obey(command).await,
                Some(keyset) = made.recv() => self.reconciler.look_at(&keyset),
                Some(seen) = seen.recv() => self.take_in(&seen),
            }
        }
        self.webhooks.finish().await;
        if let Some((_, job)) = self.job.take().filter(|_| self.leaving) {
            self.house.wakes.remove(job).await;
        }
    }

    /// An operator's verb: carried out and answered, or kept until the key that it takes is made.
    async fn take_up(&mut self, mut asked: Asked) {
        let mut events = Vec::new();
        let standing = self.operate(&mut asked, &mut events).await;
        self.tell(events, Reading::now());
        match standing {
            Standing::Answered(answer) => drop(asked.answer.send(answer)),
            // Whoever asked has gone: nothing is done behind their back.
            Standing::Waiting if asked.answer.is_closed() => {}
            Standing::Waiting => self.asked.push(asked),
        }
    }

    /// A place was looked at.
    fn take_in(&mut self, seen: &Seen) {
        let mut events = Vec::new();
        self.reconciler.saw(&seen.keyset, &seen.url, &seen.look, &mut events);
        self.tell(events, Reading::now());
    }

    fn tell(&self, events: Vec<Event>, at: Reading) {
        for event in &events {
            match event {
                Event::StoreUnavailable { what, .. } => {
                    let trouble = Trouble { part: Part::Store, what: what.clone(), since: at.wall };
                    self.board.store_trouble.store(Some(Arc::new(trouble)));
                }
                Event::StoreBack { .. } => self.board.store_trouble.store(None),
                _ => {}
            }
        }
        self.webhooks.tell(&events, at.wall);
        self.house.tell(events, at);
    }

    pub(super) async fn pass(&mut self) {
        let began = Reading::now();
        let events = self.reconciler.pass().await;
        let done = Reading::now();
        self.tell(events, done);
        self.house.watchdog.step(&self.board.name, done);
        self.house.metrics.pass(&self.board.name, done.boot.saturating_sub(began.boot).to_std());
        if self.board.freshness.is_fresh(done) {
            self.board.last_pass.store(Some(Arc::new(done.wall)));
            let keysets = self.board.keysets();
            let seen = |name: &KeysetName| keysets.get(name).and_then(|cell| cell.status()).is_some_and(|status| status.is_known());
            if self.wanted.iter().all(seen) {
                let _ = self.board.loaded.set(());
                for waiting in self.waiting.drain(..) {
                    let _ = waiting.send(());
                }
            }
        }
        self.house.changed.notify_one();
    }

    /// How long nothing needs to be looked at, as far as is known.
    fn rest(&self) -> Duration {
        let now = Reading::now().wall;
        let deadline = self.reconciler.next_deadline().map(|at| at.since(now).to_std());
        let longest = self.poll_every.min(self.house.watchdog.longest_rest().unwrap_or(LONGEST_REST)).min(LONGEST_REST);
        deadline.unwrap_or(longest).clamp(SHORTEST_REST, longest)
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Take { policy, done } => {
                self.waiting.push(done);
                self.take(&policy).await;
            }
            Command::Operate(asked) => self.take_up(*asked).await,
            Command::Leave => self.leaving = true,
            Command::Examine(answer) => drop(answer.send(self.examine().await)),
            Command::Hold { faults, gone, done } => {
                let standing = PolicyStanding { faults, ..(**self.board.policy.load()).clone() };
                self.board.policy.store(Arc::new(standing));
                if gone {
                    self.probing.want(std::iter::empty());
                    self.webhooks.want(std::iter::empty());
                    self.reconciler.want(BTreeMap::new());
                } else {
                    self.reconciler.hold_policy();
                }
                let _ = done.send(());
            }
        }
    }

    async fn take(&mut self, policy: &Policy) {
        let now = Reading::now().wall;
        self.set_wake(&policy.reconcile).await;
        self.wanted = policy.keysets.keys().cloned().collect();
        self.board.ensure(policy.keysets.keys());
        self.store.watch(policy.keysets.keys());
        let (mut wanted, mut sources) = (BTreeMap::new(), BTreeMap::new());
        for (name, keyset) in &policy.keysets {
            if let Some(cell) = self.board.keyset(name.as_str()) {
                cell.set_manner(Manner {
                    cache_max_age: keyset.facts.cache_max_age,
                    stale: keyset.stale,
                    signers: keyset.signers.clone(),
                    token: keyset.token.clone().map(Arc::new),
                    token_ttl: keyset.facts.token_ttl,
                });
            }
            self.warn_if_not_served(name, keyset);
            let targets: Arc<[_]> = keyset.publish.iter().map(|target| target.beside(&self.house.state_dir)).collect();
            self.house
                .metrics
                .expect_targets(&self.board.id(name), targets.iter().map(Target::name).chain(keyset.webhooks.iter().map(Webhook::name)));
            sources.extend(keyset.publish.iter().filter_map(|target| match target {
                Target::Algolia(source) => Some((name.clone(), source.clone())),
                _ => None,
            }));
            let rules = Arc::new(Rules::of(keyset, &policy.store));
            let probes = keyset.probes.clone().into();
            wanted.insert(name.clone(), Wanted { rules, targets, probes, inception: keyset.inception });
        }
        self.webhooks.want(policy.keysets.iter().map(|(name, keyset)| (self.board.id(name), keyset.webhooks.as_slice())));
        self.probing.want(policy.keysets.iter().flat_map(|(name, keyset)| keyset.probes.iter().map(move |probe| (name, probe))));
        self.ports.orders.want(sources);
        self.reconciler.want(wanted);
        let standing = PolicyStanding { digest: policy.digest, taken_at: now, faults: Vec::new() };
        self.board.policy.store(Arc::new(standing));
    }

    /// Says why tokens that a policy wants to be served are not.
    fn warn_if_not_served(&self, name: &KeysetName, keyset: &KeysetPolicy) {
        let wanted = keyset.token.as_ref().is_some_and(|token| token.serving.is_some());
        if let Some(exposed) = self.house.exposed.get().and_then(Option::as_ref).filter(|_| wanted) {
            tracing::warn!(environment = %self.board.name, keyset = %name, "keyset {}: {exposed}", self.board.id(name));
        }
    }

    async fn set_wake(&mut self, cron: &str) {
        if self.job.as_ref().is_some_and(|(known, _)| known == cron) {
            return;
        }
        if let Some((_, job)) = self.job.take() {
            self.house.wakes.remove(job).await;
        }
        match self.house.wakes.add(cron, Arc::clone(&self.wake)).await {
            Ok(job) => self.job = Some((cron.to_owned(), job)),
            // Passes go on by deadlines and polls: only the rhythm of the policy is lost.
            Err(error) => tracing::warn!(environment = %self.board.name, "{error:#}"),
        }
    }
}

/// Returns when the daemon is told to stop.
async fn stopped(stop: &mut Stop) {
    let _ = stop.wait_for(|stop| *stop).await;
}
