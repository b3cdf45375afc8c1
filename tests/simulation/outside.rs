//! Everything outside the daemons: the store, the hosts with their clocks, witnesses and files. Each call first gives way, so that
//! the world decides who goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use keyrota::clock::Reading;
use keyrota::digest::Digest;
use keyrota::document::{Change, Document, Intent, StateName, Trigger};
use keyrota::jwk::{OkpCurve, PublicJwk, PublicNumbers};
use keyrota::key::{Algorithm, Key, KeySpec, Material, Origin};
use keyrota::lifecycle::Decision;
use keyrota::name::{EnvironmentName, Generation, KeysetId, KeysetName, Kid, SignerName};
use keyrota::observed::{Observed, SignerReport};
use keyrota::operator::{Refusal, Verb};
use keyrota::policy::{Audience, Target};
use keyrota::publish::{Brought, Places, PublishError, ReadBack, Removed, Targets};
use keyrota::reconcile::{KeyOrders, Order, Ports, Status};
use keyrota::rules::Rules;
use keyrota::secret::SecretText;
use keyrota::store::{Changes, Loaded, Mark, Revision, Store, StoreError, SwapError};
use keyrota::time::{Span, Timestamp};
use keyrota::witness::{Sighting, Witness, WitnessError};

use crate::aws::{Account, SimAws, SimCalls, SimTime};
use crate::aws_fake::Chance;
use crate::edge::Edge;
use crate::mutants::Mutant;

/// One file that a target writes.
#[derive(Clone)]
pub struct File {
    pub content: Digest,
    pub kids: BTreeSet<Kid>,
    pub active: Option<Kid>,
    pub changed_at: Timestamp,
    pub audience: Audience,
    /// It holds a key that keyrota never made.
    pub foreign: bool,
}

/// One machine: what survives the death of its daemon.
#[derive(Default)]
pub struct Host {
    /// Wall clock minus true time, in milliseconds.
    pub offset: i64,
    /// True time at which it was booted.
    pub booted: Option<Timestamp>,
    pub witness: BTreeMap<KeysetName, Sighting>,
    pub files: BTreeMap<String, File>,
    /// The revision that its last look at the store showed.
    pub shown: u64,
    pub store_away: bool,
    pub witness_away: bool,
    pub files_away: bool,
    /// Signers that report to the daemon here.
    pub signers: Vec<Signer>,
}

/// A signer that reports every minute which generation it uses.
pub struct Signer {
    pub name: SignerName,
    /// It goes on with what it had read then, until then: longer than the facts allow.
    pub stuck: (Timestamp, Timestamp),
    /// The generations that it went to, with the true time.
    pub moves: Vec<(Generation, Timestamp)>,
    /// The key that it signs with.
    pub uses: Option<Kid>,
}

impl Signer {
    pub fn is_stuck(&self, now: Timestamp) -> bool {
        self.stuck.0 <= now && now < self.stuck.1
    }
}

/// One version of the document in the store.
pub struct Version {
    pub at: Timestamp,
    pub document: Option<Document>,
    pub revision: u64,
}

pub struct Outside {
    pub now: Timestamp,
    pub chance: Chance,
    pub hosts: Vec<Host>,
    pub versions: Vec<Version>,
    pub revisions: u64,
    pub made: u64,
    /// Until then every key that is asked for is still being made.
    pub keys_slow_until: Timestamp,
    /// How many in a thousand calls to the store go wrong.
    pub trouble: u64,
    /// How far a read may lag.
    pub lag: Span,
    pub mutant: Option<Mutant>,
    pub swaps: u64,
    pub conflicts: u64,
    /// Keys that took over in an emergency, with the document they did it in.
    pub emergencies: Vec<Kid>,
    /// Keys that were revoked, with the revision that did it.
    pub revoked: Vec<(Kid, u64)>,
    /// Documents with which operators went on although others had been seen.
    pub begun_anew: Vec<BTreeSet<Kid>>,
    /// What operators were told would leave the key set, of verbs that were then granted.
    pub buried: Vec<Kid>,
    pub log: Vec<String>,
    /// A change-over has just been sent to the store.
    pub in_swap: bool,
    /// Documents are kept there, and `versions` follows what comes into force there.
    pub account: Option<Account>,
    /// Verifiers fetch from there too, and daemons look at it.
    pub edge: Option<Edge>,
}

pub type Shared = Arc<Mutex<Outside>>;

pub fn lock(shared: &Shared) -> MutexGuard<'_, Outside> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Outside {
    pub fn reading(&self, host: usize) -> Reading {
        let host = &self.hosts[host];
        let wall = Timestamp::from_millis(self.now.as_millis() + host.offset);
        Reading { wall, boot: self.now.since(host.booted.unwrap_or(Timestamp::EPOCH)) }
    }

    pub fn current(&self) -> (Option<&Document>, u64) {
        self.versions.last().map_or((None, 0), |v| (v.document.as_ref(), v.revision))
    }

    /// What a read at this moment shows: possibly a copy that lags.
    fn read(&mut self) -> (Option<Document>, u64) {
        let lag = if self.lag > Span::ZERO && self.chance.one_in(3) { self.chance.span(self.lag) } else { Span::ZERO };
        let as_of = self.now.minus(lag);
        let seen = self.versions.iter().rev().find(|v| v.at <= as_of);
        seen.map_or((None, 0), |v| (v.document.clone(), v.revision))
    }

    fn goes_wrong(&mut self, host: usize) -> bool {
        self.hosts[host].store_away || self.chance.below(1000) < self.trouble
    }

    pub fn write(&mut self, next: Document) -> u64 {
        self.revisions += 1;
        self.swaps += 1;
        let entries: Vec<_> = next.history.iter().filter(|e| e.generation == next.generation).cloned().collect();
        let before = self.current().0;
        let begun = before.is_some_and(|d| d.active.is_some() || !d.tombstones.is_empty() || !d.retiring.is_empty());
        let took_over = next
            .active
            .as_ref()
            .map(|a| a.key.kid.clone())
            .filter(|kid| begun && before.and_then(|d| d.active.as_ref()).is_none_or(|a| a.key.kid != *kid));
        // Nothing but a missing or compromised key, or an operator's word, lets a key sign before its wait is over.
        let gone = |kid: &Kid| next.tombstones.iter().any(|t| t.kid == *kid && t.end.state() == StateName::Revoked);
        let keyless = before.is_some_and(|d| d.active.as_ref().is_none_or(|a| gone(&a.key.kid)));
        let asked = before.is_some_and(|d| d.intents.rotate_now.is_some()) || entries.iter().any(|e| e.by.is_some());
        let emergency = (keyless || asked) && entries.iter().any(|e| e.trigger == Trigger::Emergency);
        let created = before.is_none();
        self.emergencies.extend(took_over.filter(|_| emergency));
        let goes_on = |c: &Change| matches!(c, Change::IntentNoted { intent } if ["accept", "restored"].contains(&intent.as_str()));
        if created || entries.iter().any(|e| goes_on(&e.change)) {
            self.begun_anew.push(next.live().map(|live| live.key.kid.clone()).collect());
        }
        for entry in &entries {
            if let Change::KeyMoved { kid, to: StateName::Revoked, .. } = &entry.change {
                self.revoked.push((kid.clone(), self.revisions));
            }
        }
        for entry in &entries {
            let line = format!("{} generation {} {:?}: {}", self.now, next.generation, entry.change, entry.reason);
            self.log.push(line);
        }
        let version = Version { at: self.now, document: Some(next), revision: self.revisions };
        self.versions.push(version);
        if self.versions.len() > 64 {
            self.versions.drain(..32);
        }
        self.revisions
    }
}

/// Gives way once.
pub struct GiveWay(pub bool);

impl Future for GiveWay {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// One daemon's view of everything outside.
pub struct SimPorts {
    pub shared: Shared,
    pub host: usize,
    pub served: Mutex<Option<Arc<Document>>>,
    pub status: Mutex<Option<Status>>,
    /// True time at which the process began.
    began: Timestamp,
    store: SimStore,
    witness: SimWitness,
    keys: SimKeys,
    targets: SimTargets,
}

pub struct PlainStore(Shared, usize);

/// Where a world keeps its documents.
pub enum SimStore {
    Plain(PlainStore),
    Aws(SimAws),
}

pub struct SimWitness(Shared, usize);
pub struct SimKeys(Shared);
/// Files, and beside a store in AWS the secrets that replicas share.
pub struct SimTargets(Shared, usize, Option<Places<SimCalls, SimTime>>);

impl SimPorts {
    pub fn new(shared: &Shared, host: usize) -> Self {
        let store = SimStore::of(shared, host);
        let places = match &store {
            SimStore::Plain(_) => None,
            SimStore::Aws(store) => Some(crate::shared_place::places(store)),
        };
        let began = lock(shared).now;
        Self {
            host,
            began,
            served: Mutex::default(),
            status: Mutex::default(),
            store,
            witness: SimWitness(shared.clone(), host),
            keys: SimKeys(shared.clone()),
            targets: SimTargets(shared.clone(), host, places),
            shared: shared.clone(),
        }
    }
}

impl Ports for SimPorts {
    type Store = SimStore;
    type Witness = SimWitness;
    type Keys = SimKeys;
    type Targets = SimTargets;

    fn store(&self) -> &SimStore {
        &self.store
    }
    fn witness(&self) -> &SimWitness {
        &self.witness
    }
    fn keys(&self) -> &SimKeys {
        &self.keys
    }
    fn targets(&self) -> &SimTargets {
        &self.targets
    }
    fn clock(&self) -> Reading {
        lock(&self.shared).reading(self.host)
    }
    fn serve(&self, _: &KeysetName, document: Option<&Arc<Document>>) {
        *self.served.lock().unwrap() = document.cloned();
    }
    fn report(&self, _: &KeysetName, status: Option<Status>) {
        *self.status.lock().unwrap() = status;
    }
    fn uptake(&self, _: &KeysetName) -> Vec<SignerReport> {
        let outside = lock(&self.shared);
        let wall = |at: Timestamp| Timestamp::from_millis(at.as_millis() + outside.hosts[self.host].offset);
        // Reports from before this process began are not known to it, and each signer takes its time to report again.
        let told = |signer: &Signer| {
            let known_from = self.began + Span::minutes(4);
            let latest = signer.moves.iter().rfind(|(_, at)| *at < known_from).map(|(generation, _)| (*generation, known_from));
            let later = signer.moves.iter().filter(|(_, at)| *at >= known_from).copied();
            let moves: Vec<_> = latest.into_iter().chain(later).map(|(generation, at)| (generation, wall(at))).collect();
            let heard_at = wall(outside.now);
            (outside.now >= known_from && !moves.is_empty()).then(|| SignerReport { name: signer.name.clone(), heard_at, moves })
        };
        outside.hosts[self.host].signers.iter().filter_map(told).collect()
    }
    fn decide(&self, document: &Document, rules: &Rules, observed: &Observed) -> Decision {
        let mutant = lock(&self.shared).mutant;
        Mutant::decide(mutant, document, rules, observed)
    }
    fn grant(&self, document: &Document, verb: &Verb, rules: &Rules, intent: Intent, key: Option<Key>) -> Result<Document, Refusal> {
        let mutant = lock(&self.shared).mutant;
        Mutant::grant(mutant, document, verb, rules, intent, key)
    }
}

impl SimStore {
    fn of(shared: &Shared, host: usize) -> Self {
        let calls = lock(shared).account.as_ref().map(|account| account.calls.clone());
        match calls {
            Some(calls) => Self::Aws(crate::aws::open(shared, host, &calls)),
            None => Self::Plain(PlainStore(shared.clone(), host)),
        }
    }
}

impl Store for SimStore {
    async fn load(&self, keyset: &KeysetName) -> Result<Option<Loaded>, StoreError> {
        match self {
            Self::Plain(store) => store.load(keyset).await,
            Self::Aws(store) => store.load(keyset).await,
        }
    }

    async fn load_many(&self, keysets: &[KeysetName]) -> Result<BTreeMap<KeysetName, Result<Loaded, StoreError>>, StoreError> {
        match self {
            Self::Plain(store) => store.load_many(keysets).await,
            Self::Aws(store) => store.load_many(keysets).await,
        }
    }

    async fn swap(&self, expected: Option<&Revision>, next: &Document) -> Result<Revision, SwapError> {
        match self {
            Self::Plain(store) => store.swap(expected, next).await,
            Self::Aws(store) => store.swap(expected, next).await,
        }
    }

    async fn remove(&self, keyset: &KeysetName, expected: &Revision, recovery: Span) -> Result<(), SwapError> {
        match self {
            Self::Plain(store) => store.remove(keyset, expected, recovery).await,
            Self::Aws(store) => store.remove(keyset, expected, recovery).await,
        }
    }

    async fn changes(&self, mark: &Mark) -> Result<Changes, StoreError> {
        match self {
            Self::Plain(store) => store.changes(mark).await,
            Self::Aws(store) => store.changes(mark).await,
        }
    }

    fn poll_every(&self) -> Span {
        Span::seconds(1)
    }
}

impl Store for PlainStore {
    async fn load(&self, _: &KeysetName) -> Result<Option<Loaded>, StoreError> {
        GiveWay(false).await;
        let mut outside = lock(&self.0);
        if outside.goes_wrong(self.1) {
            return Err(StoreError::Unavailable("away".into()));
        }
        let (document, revision) = outside.read();
        Ok(document.map(|document| Loaded { document, revision: Revision(revision.to_string()) }))
    }

    async fn load_many(&self, keysets: &[KeysetName]) -> Result<BTreeMap<KeysetName, Result<Loaded, StoreError>>, StoreError> {
        let mut found = BTreeMap::new();
        for name in keysets {
            if let Some(loaded) = self.load(name).await? {
                found.insert(name.clone(), Ok(loaded));
            }
        }
        Ok(found)
    }

    async fn swap(&self, expected: Option<&Revision>, next: &Document) -> Result<Revision, SwapError> {
        GiveWay(false).await;
        {
            let mut outside = lock(&self.0);
            let signing = |d: Option<&Document>| d.and_then(|d| d.active.as_ref()).map(|a| a.key.kid.clone());
            outside.in_swap = signing(Some(next)) != signing(outside.current().0);
        }
        GiveWay(false).await;
        let answer = {
            let mut outside = lock(&self.0);
            if outside.hosts[self.1].store_away {
                return Err(SwapError::Unavailable("away".into()));
            }
            let lost = outside.chance.below(1000) < outside.trouble;
            if lost && outside.chance.one_in(3) {
                return Err(SwapError::Unavailable("away".into()));
            }
            if lost && outside.chance.one_in(2) {
                return Err(SwapError::Indeterminate("lost on the way there".into()));
            }
            let held = outside.current();
            let held = held.0.map(|_| held.1.to_string());
            let blind = outside.mutant == Some(Mutant::NoCompareAndSwap);
            if !blind && expected.map(|r| &r.0) != held.as_ref() {
                outside.conflicts += 1;
                return Err(SwapError::Conflict);
            }
            let revision = outside.write(next.clone());
            if lost { Err(SwapError::Indeterminate("lost on the way back".into())) } else { Ok(Revision(revision.to_string())) }
        };
        GiveWay(false).await;
        answer
    }

    async fn remove(&self, _: &KeysetName, expected: &Revision, _: Span) -> Result<(), SwapError> {
        GiveWay(false).await;
        let mut outside = lock(&self.0);
        if outside.hosts[self.1].store_away {
            return Err(SwapError::Unavailable("away".into()));
        }
        if expected.0 != outside.current().1.to_string() {
            return Err(SwapError::Conflict);
        }
        outside.revisions += 1;
        let version = Version { at: outside.now, document: None, revision: outside.revisions };
        outside.versions.push(version);
        Ok(())
    }

    async fn changes(&self, mark: &Mark) -> Result<Changes, StoreError> {
        GiveWay(false).await;
        let mut outside = lock(&self.0);
        if outside.goes_wrong(self.1) {
            return Err(StoreError::Unavailable("away".into()));
        }
        let (document, revision) = outside.read();
        outside.hosts[self.1].shown = revision;
        let new = Mark(revision.to_string());
        let name: KeysetName = NAME.parse().unwrap();
        let mut changes = Changes { mark: new.clone(), ..Changes::default() };
        if *mark != new {
            match document {
                Some(_) => changes.written.push((name, Revision(revision.to_string()))),
                None => changes.removed.push(name),
            }
        }
        Ok(changes)
    }

    fn poll_every(&self) -> Span {
        Span::seconds(1)
    }
}

pub const NAME: &str = "user-sessions";

impl Witness for SimWitness {
    async fn recall(&self, _: &EnvironmentName) -> Result<BTreeMap<KeysetName, Sighting>, WitnessError> {
        GiveWay(false).await;
        let outside = lock(&self.0);
        if outside.hosts[self.1].witness_away { Err(WitnessError("away".into())) } else { Ok(outside.hosts[self.1].witness.clone()) }
    }

    async fn note(&self, keyset: &KeysetId, sighting: &Sighting) -> Result<(), WitnessError> {
        GiveWay(false).await;
        let mut outside = lock(&self.0);
        if outside.hosts[self.1].witness_away {
            return Err(WitnessError("away".into()));
        }
        outside.hosts[self.1].witness.insert(keyset.keyset.clone(), sighting.clone());
        Ok(())
    }

    async fn forget(&self, keyset: &KeysetId) -> Result<(), WitnessError> {
        GiveWay(false).await;
        lock(&self.0).hosts[self.1].witness.remove(&keyset.keyset);
        Ok(())
    }
}

/// A key without numbers of its own.
pub fn made(kid: Kid, algorithm: Algorithm, created_at: Timestamp) -> Key {
    let numbers = PublicNumbers::Okp { crv: OkpCurve::Ed25519, x: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into() };
    let public = PublicJwk::new(kid.clone(), algorithm, numbers);
    let material = Material::Pair { public, private: Some(SecretText::new("private".into())) };
    Key { kid, algorithm, bits: 256, created_at, origin: Origin::Generated, expires_at: None, material }
}

impl KeyOrders for SimKeys {
    async fn order(&self, _: &KeysetId, _: &Document, spec: &KeySpec, now: Timestamp) -> Order {
        GiveWay(false).await;
        let mut outside = lock(&self.0);
        if outside.chance.below(1000) < outside.trouble {
            // A vendor that gives no key holds up less than a machine that makes none.
            let what = "no key".to_owned();
            return if outside.made.is_multiple_of(2) { Order::Failed(what) } else { Order::Away(what) };
        }
        if outside.now < outside.keys_slow_until {
            return if outside.made.is_multiple_of(2) { Order::Making } else { Order::Asked("it is being asked for".into()) };
        }
        outside.made += 1;
        let kid: Kid = format!("k{}", outside.made).parse().unwrap();
        let bits = spec.bits().unwrap_or(256);
        Order::Ready(Box::new(Key { bits, ..made(kid, spec.algorithm(), now) }))
    }
}

impl Targets for SimTargets {
    async fn bring(
        &self,
        keyset: &KeysetId,
        target: &Target,
        document: &Document,
        expected: Option<Digest>,
    ) -> Result<Brought, PublishError> {
        if let (Target::AwsSecret(_), Some(places)) = (target, &self.2) {
            let fights = lock(&self.0).mutant == Some(Mutant::LaggingOverwrites);
            return if fights {
                crate::shared_place::overwrite(&self.0, self.1, document).await
            } else {
                places.bring(keyset, target, document, expected).await
            };
        }
        GiveWay(false).await;
        let mut outside = lock(&self.0);
        let wall = outside.reading(self.1).wall;
        let host = &mut outside.hosts[self.1];
        if host.files_away {
            return Err(PublishError::away());
        }
        let kids: BTreeSet<Kid> = document.live().map(|l| l.key.kid.clone()).collect();
        let active = document.active.as_ref().map(|a| a.key.kid.clone());
        let content = Digest::of(format!("{kids:?} {active:?}").as_bytes());
        let path = target.name();
        let before = host.files.get(&path);
        if before.is_some_and(|f| f.foreign) {
            return Ok(Brought::Foreign { kids: vec!["from-before".parse().unwrap()] });
        }
        if let Some(file) = before.filter(|f| f.content == content) {
            let changed_at = Some(file.changed_at);
            return Ok(Brought::Agreed { content, changed_at, wrote: false, drift: false, said: None, amiss: None });
        }
        let drift = expected.is_some() && before.map(|f| f.content) != expected;
        let file = File { content, kids, active, changed_at: wall, audience: target.audience(), foreign: false };
        host.files.insert(path, file);
        Ok(Brought::Agreed { content, changed_at: Some(wall), wrote: true, drift, said: None, amiss: None })
    }

    async fn look(&self, _: &KeysetId, _: &Target, _: &Document) -> Result<ReadBack, PublishError> {
        unreachable!("only the doctor asks")
    }

    async fn remove(
        &self,
        _: &KeysetId,
        target: &Target,
        _: &Document,
        expected: Option<Digest>,
        _: Span,
    ) -> Result<Removed, PublishError> {
        let Some(expected) = expected else { return Ok(Removed::Nothing) };
        GiveWay(false).await;
        let mut outside = lock(&self.0);
        let path = target.name();
        let files = &mut outside.hosts[self.1].files;
        if files.get(&path).is_some_and(|f| f.content != expected) {
            return Err(PublishError::NotOurs(path.into()));
        }
        Ok(files.remove(&path).is_some().into())
    }
}
