//! What the benches of the reconciler share: ports with a clock that is moved by hand, and documents that the real decision made.
//!
//! Everything but the clock and the switch for cheap keys is what the daemon uses.

#![allow(dead_code, reason = "each bench uses its part")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use keyrota::board::{Board, EnvironmentBoard, PolicyStanding};
use keyrota::clock::Reading;
use keyrota::digest::Digest;
use keyrota::document::history::HISTORY_LENGTH;
use keyrota::document::{Document, Facts};
use keyrota::event::Event;
use keyrota::freshness::Freshness;
use keyrota::key::{Algorithm, Key, KeySpec, KidFormat};
use keyrota::keygen;
use keyrota::name::{EnvironmentName, KeysetId, KeysetName};
use keyrota::policy::{Mode, Source, Start, VerifierShape};
use keyrota::publish::{Places, Programs, Vendors};
use keyrota::reconcile::{KeyOrders, Order, Ports, Reconciler, Status, Wanted};
use keyrota::rules::{Rules, Standing};
use keyrota::store::aws::sdk::SdkCalls;
use keyrota::store::memory::MemoryStore;
use keyrota::store::{Changes, Loaded, Mark, Revision, Store, StoreError, SwapError};
use keyrota::time::{Span, Timestamp};
use keyrota::witness::{Sighting, Witness, WitnessError};

/// As in the daemon itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The environment of every bench.
pub const ENVIRONMENT: &str = "bench";

/// The environment's name.
pub fn environment() -> EnvironmentName {
    ENVIRONMENT.parse().unwrap()
}

/// The name of the nth keyset.
pub fn name(n: usize) -> KeysetName {
    format!("user-sessions-{n:06}").parse().unwrap()
}

/// The rules of an ES256 keyset whose tokens and caches live so long that, between the fifteenth and the twentieth day after a
/// change-over, three keys are live at once: one retiring, one active, one published.
pub fn rules() -> Rules {
    Rules {
        spec: KeySpec::Pair { algorithm: Algorithm::ES256, rsa_bits: 0, kid: KidFormat::Thumbprint, certificate: None },
        source: Source::Generated,
        start: Start::Generate,
        facts: Facts {
            token_ttl: Span::days(20),
            verifier_refresh: Span::days(15),
            signer_refresh: Span::minutes(5),
            verifier_retry: Span::minutes(2),
            clock_skew: Span::minutes(1),
            cache_max_age: Span::minutes(1),
            store_refresh: Span::seconds(10),
            margin: Span::ZERO,
        },
        rotate_every: Span::days(30),
        max_age: Span::days(46),
        rollback_window: Span::hours(1),
        jitter: Span::ZERO,
        window: None,
        mode: Mode::Auto,
        verifier: VerifierShape::Overlapping,
        uptake_bound: None,
        seals: false,
        shared_store: false,
        probed: keyrota::policy::Probed::default(),
        standing: Standing::InForce,
    }
}

/// A store that counts what is asked of it.
pub struct Counted<S> {
    store: S,
    /// Documents that were asked for.
    pub reads: AtomicU64,
    /// Swaps.
    pub swaps: AtomicU64,
    /// Looks at the list of changes.
    pub looks: AtomicU64,
}

impl<S: Store> Store for Counted<S> {
    async fn load(&self, keyset: &KeysetName) -> Result<Option<Loaded>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.store.load(keyset).await
    }
    async fn load_many(&self, keysets: &[KeysetName]) -> Result<BTreeMap<KeysetName, Result<Loaded, StoreError>>, StoreError> {
        self.reads.fetch_add(keysets.len() as u64, Ordering::Relaxed);
        self.store.load_many(keysets).await
    }
    async fn swap(&self, expected: Option<&Revision>, next: &Document) -> Result<Revision, SwapError> {
        self.swaps.fetch_add(1, Ordering::Relaxed);
        self.store.swap(expected, next).await
    }
    async fn remove(&self, keyset: &KeysetName, expected: &Revision, recovery: Span) -> Result<(), SwapError> {
        self.store.remove(keyset, expected, recovery).await
    }
    async fn changes(&self, mark: &Mark) -> Result<Changes, StoreError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.store.changes(mark).await
    }
    fn poll_every(&self) -> Span {
        self.store.poll_every()
    }
}

/// A witness that forgets with the process.
#[derive(Default)]
pub struct Memory(Mutex<BTreeMap<KeysetId, Sighting>>);

impl Witness for Memory {
    async fn recall(&self, environment: &EnvironmentName) -> Result<BTreeMap<KeysetName, Sighting>, WitnessError> {
        let seen = self.0.lock().unwrap();
        Ok(seen.iter().filter(|(id, _)| id.environment == *environment).map(|(id, s)| (id.keyset.clone(), s.clone())).collect())
    }
    async fn note(&self, keyset: &KeysetId, sighting: &Sighting) -> Result<(), WitnessError> {
        self.0.lock().unwrap().insert(keyset.clone(), sighting.clone());
        Ok(())
    }
    async fn forget(&self, keyset: &KeysetId) -> Result<(), WitnessError> {
        self.0.lock().unwrap().remove(keyset);
        Ok(())
    }
}

/// Keys that are there as soon as they are asked for: from a stock made beforehand while there is one, else made on the spot.
#[derive(Default)]
pub struct Stock(pub Mutex<Vec<Key>>);

impl KeyOrders for Stock {
    async fn order(&self, _: &KeysetId, _: &Document, spec: &KeySpec, now: Timestamp) -> Order {
        let made = self.0.lock().unwrap().pop();
        let key = made.map_or_else(|| keygen::generate(spec, now), |key| Ok(Key { created_at: now, ..key }));
        key.map_or_else(|error| Order::Failed(error.to_string()), |key| Order::Ready(Box::new(key)))
    }
}

/// Everything around a reconciler.
pub struct World<S, W> {
    /// Where documents live.
    pub store: Counted<S>,
    /// Where keys come from.
    pub stock: Stock,
    /// What listeners and metrics read.
    pub board: Board,
    environment: Arc<EnvironmentBoard>,
    witness: W,
    places: Places<SdkCalls>,
    clock: Mutex<Reading>,
}

impl<S: Store, W: Witness> World<S, W> {
    /// A world whose clock stands at `wall`.
    pub fn new(store: S, witness: W, wall: Timestamp) -> Arc<Self> {
        let freshness = Arc::new(Freshness::new(Span::days(3650)));
        let standing = PolicyStanding { digest: Digest::of(b"bench"), taken_at: wall, faults: Vec::new() };
        let (environment, board) = (Arc::new(EnvironmentBoard::new(environment(), freshness, standing)), Board::default());
        board.put(Arc::clone(&environment));
        let store = Counted { store, reads: AtomicU64::new(0), swaps: AtomicU64::new(0), looks: AtomicU64::new(0) };
        let clock = Mutex::new(Reading { wall, boot: Span::hours(1) });
        let (done, _) = tokio::sync::mpsc::unbounded_channel();
        let places = Places::new(Programs::new(done.clone()), Vendors::new(Arc::default(), done), None);
        Arc::new(Self { store, stock: Stock::default(), board, environment, witness, places, clock })
    }

    /// A reconciler of `keysets` keysets in this world.
    pub fn reconciler(self: &Arc<Self>, keysets: usize) -> Reconciler<Self> {
        let names: Vec<_> = (0..keysets).map(name).collect();
        self.environment.ensure(names.iter());
        let mut reconciler = Reconciler::new(Arc::clone(self), environment(), Arc::clone(&self.environment.freshness));
        let wanted = || Wanted { rules: Arc::new(rules()), targets: Arc::new([]), probes: Arc::new([]), inception: None };
        reconciler.want(names.into_iter().map(|name| (name, wanted())).collect());
        reconciler
    }

    /// Moves both clocks to `wall`.
    pub fn advance(&self, wall: Timestamp) {
        let mut clock = self.clock.lock().unwrap();
        *clock = Reading { wall, boot: clock.boot + wall.since(clock.wall) };
    }

    /// Passes until nothing is left to do now. Fails on any trouble.
    pub async fn settle(&self, reconciler: &mut Reconciler<Self>) -> u64 {
        let mut changes = 0;
        loop {
            let events = reconciler.pass().await;
            if let Some(trouble) = events.iter().find(|event| event.is_trouble()) {
                panic!("{trouble}");
            }
            changes += events.iter().filter(|event| matches!(event, Event::Changed { .. })).count() as u64;
            if reconciler.next_deadline().is_none_or(|at| at > self.clock().wall) {
                return changes;
            }
        }
    }

    /// Lives on from deadline to deadline until `done` says so after one, and answers with how many changes there were.
    pub async fn live(&self, reconciler: &mut Reconciler<Self>, mut done: impl FnMut(u64) -> bool) -> u64 {
        let mut changes = self.settle(reconciler).await;
        while !done(changes) {
            self.advance(reconciler.next_deadline().expect("something is always due some day"));
            changes += self.settle(reconciler).await;
        }
        changes
    }

    /// The document that is served for the first keyset.
    pub fn first(&self) -> Option<Arc<Document>> {
        self.environment.keyset(name(0).as_str())?.served().map(|served| Arc::clone(&served.document))
    }
}

impl<S: Store, W: Witness> Ports for World<S, W> {
    type Store = Counted<S>;
    type Witness = W;
    type Keys = Stock;
    type Targets = Places<SdkCalls>;

    fn store(&self) -> &Counted<S> {
        &self.store
    }
    fn witness(&self) -> &W {
        &self.witness
    }
    fn keys(&self) -> &Stock {
        &self.stock
    }
    fn targets(&self) -> &Places<SdkCalls> {
        &self.places
    }
    fn clock(&self) -> Reading {
        *self.clock.lock().unwrap()
    }
    fn serve(&self, keyset: &KeysetName, document: Option<&Arc<Document>>) {
        if let Some(cell) = self.environment.keyset(keyset.as_str()) {
            cell.serve(document);
        }
    }
    fn report(&self, keyset: &KeysetName, status: Option<Status>) {
        if let Some(cell) = self.environment.keyset(keyset.as_str()) {
            cell.report(status);
        }
    }
}

/// A document after twelve rotations, so that its history and tombstones have their full length, at a moment when `keys` of its keys
/// are live; and that moment.
pub async fn grown(keys: usize) -> (Document, Timestamp) {
    let start = "2026-01-01T00:00:00Z".parse().unwrap();
    let world = World::new(MemoryStore::new(environment()), Memory::default(), start);
    let mut reconciler = world.reconciler(1);
    let full = |document: &Document| document.tombstones.len() >= 8 && document.history.len() == HISTORY_LENGTH;
    let grown = |document: &Document| full(document) && document.live().count() == keys;
    let most = 2000;
    let changes = world.live(&mut reconciler, |changes| changes > most || world.first().is_some_and(|document| grown(&document))).await;
    assert!(changes <= most, "no document with {keys} live keys came about in {changes} changes");
    let document = world.first().unwrap();
    ((*document).clone(), world.clock().wall)
}

/// Puts `count` keysets that look like `template` into a store.
pub async fn fill(store: &impl Store, template: &Document, count: usize) {
    use futures_util::StreamExt as _;
    let swaps = (0..count).map(|n| {
        let mut document = template.clone();
        document.id.keyset = name(n);
        async move { store.swap(None, &document).await.unwrap() }
    });
    futures_util::stream::iter(swaps).buffer_unordered(1024).collect::<Vec<_>>().await;
}

/// How much memory of this process is resident, in MiB.
pub fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
