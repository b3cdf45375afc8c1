//! Many keysets that are due on the same day, at the rate that one daemon may write: nobody waits for all of them, and the replica goes
//! on looking at the store meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use keyrota::clock::Reading;
use keyrota::digest::Digest;
use keyrota::document::{Document, Facts};
use keyrota::freshness::Freshness;
use keyrota::key::{Algorithm, KeySpec, KidFormat};
use keyrota::keygen;
use keyrota::name::{EnvironmentName, KeysetId, KeysetName};
use keyrota::policy::{Mode, Source, Start, StoreConfig, Sweep, Target, VerifierShape};
use keyrota::publish::{Brought, PublishError, ReadBack, Removed, Targets};
use keyrota::reconcile::{KeyOrders, Order, Ports, Reconciler, Status, Wanted};
use keyrota::rules::{Rules, Standing};
use keyrota::store::aws::AwsStore;
use keyrota::store::aws::pace::{Pace, Time, WRITES_A_SECOND};
use keyrota::store::seal::RandomId;
use keyrota::time::{Span, Timestamp};
use keyrota::witness::{Sighting, Witness, WitnessError};

use crate::aws_fake::{FakeCalls, FakeTime, GiveWay, Service};
use crate::contract::ENVIRONMENT;
use crate::fixture::config;

/// Time that goes on by a millisecond whenever somebody who waits is looked at: many who wait do so side by side.
#[derive(Clone)]
struct SideBySide(FakeTime);

impl Time for SideBySide {
    fn boot(&self) -> Span {
        self.0.now()
    }

    async fn sleep(&self, span: Span) {
        let until = self.0.now() + span;
        while self.0.now() < until {
            self.0.pass(Span::millis(1));
            GiveWay(false).await;
        }
    }
}

struct Nothing;

impl Witness for Nothing {
    async fn recall(&self, _: &EnvironmentName) -> Result<BTreeMap<KeysetName, Sighting>, WitnessError> {
        Ok(BTreeMap::new())
    }
    async fn note(&self, _: &KeysetId, _: &Sighting) -> Result<(), WitnessError> {
        Ok(())
    }
    async fn forget(&self, _: &KeysetId) -> Result<(), WitnessError> {
        Ok(())
    }
}

impl Targets for Nothing {
    async fn bring(&self, _: &KeysetId, _: &Target, _: &Document, _: Option<Digest>) -> Result<Brought, PublishError> {
        panic!("there are no targets")
    }
    async fn look(&self, _: &KeysetId, _: &Target, _: &Document) -> Result<ReadBack, PublishError> {
        panic!("there are no targets")
    }
    async fn remove(&self, _: &KeysetId, _: &Target, _: &Document, _: Option<Digest>, _: Span) -> Result<Removed, PublishError> {
        panic!("there are no targets")
    }
}

impl KeyOrders for Nothing {
    async fn order(&self, _: &KeysetId, _: &Document, spec: &KeySpec, now: Timestamp) -> Order {
        Order::Ready(Box::new(keygen::generate(spec, now).unwrap()))
    }
}

struct Crowd {
    store: AwsStore<FakeCalls, SideBySide>,
    time: FakeTime,
    nothing: Nothing,
    seen: Mutex<BTreeMap<KeysetName, Option<Status>>>,
}

impl Ports for Crowd {
    type Store = AwsStore<FakeCalls, SideBySide>;
    type Witness = Nothing;
    type Keys = Nothing;
    type Targets = Nothing;

    fn store(&self) -> &Self::Store {
        &self.store
    }
    fn witness(&self) -> &Nothing {
        &self.nothing
    }
    fn keys(&self) -> &Nothing {
        &self.nothing
    }
    fn targets(&self) -> &Nothing {
        &self.nothing
    }
    fn clock(&self) -> Reading {
        let boot = self.time.now();
        Reading { wall: Timestamp::EPOCH + Span::days(20_000) + boot, boot }
    }
    fn serve(&self, _: &KeysetName, _: Option<&Arc<Document>>) {}
    fn report(&self, keyset: &KeysetName, status: Option<Status>) {
        self.seen.lock().unwrap().insert(keyset.clone(), status);
    }
}

fn rules(store_refresh: Span) -> Rules {
    let facts = Facts {
        token_ttl: Span::hours(1),
        verifier_refresh: Span::minutes(15),
        signer_refresh: Span::hours(1),
        verifier_retry: Span::minutes(2),
        clock_skew: Span::minutes(1),
        cache_max_age: Span::minutes(1),
        store_refresh,
        margin: Span::ZERO,
    };
    Rules {
        spec: KeySpec::Pair { algorithm: Algorithm::EdDsa, rsa_bits: 0, kid: KidFormat::Thumbprint, certificate: None },
        source: Source::Generated,
        start: Start::Generate,
        facts,
        rotate_every: Span::days(7),
        max_age: Span::days(8),
        rollback_window: Span::minutes(30),
        jitter: Span::ZERO,
        window: None,
        mode: Mode::Auto,
        verifier: VerifierShape::Overlapping,
        uptake_bound: None,
        seals: false,
        shared_store: true,
        probed: keyrota::policy::Probed::default(),
        standing: Standing::InForce,
    }
}

#[tokio::test]
async fn a_crowd_does_not_keep_a_replica_from_looking() {
    const KEYSETS: usize = 600;
    let time = FakeTime::default();
    let calls = FakeCalls::new(Service::new(1, time.clone()));
    let config = config(Sweep::List, Span::minutes(1));
    let aws = StoreConfig::AwsSecretsManager(config.clone());
    let pace = Arc::new(Pace::new(WRITES_A_SECOND));
    let environment: EnvironmentName = ENVIRONMENT.parse().unwrap();
    let (ours, instance) = (SideBySide(time.clone()), RandomId::new().unwrap());
    let store = AwsStore::new(&environment, &config, calls.clone(), ours, pace, instance);
    let ports = Arc::new(Crowd { store, time: time.clone(), nothing: Nothing, seen: Mutex::default() });
    let freshness = Arc::new(Freshness::new(aws.fresh_for()));
    let mut reconciler = Reconciler::new(Arc::clone(&ports), environment, Arc::clone(&freshness));
    let rules = Arc::new(rules(aws.store_refresh()));
    let wanted = Wanted { rules, targets: Vec::new().into(), probes: Vec::new().into(), inception: None };
    reconciler.want((0..KEYSETS).map(|n| (format!("k{n}").parse().unwrap(), wanted.clone())).collect());
    let began = time.now();
    let (mut passes, mut longest) = (0, Span::ZERO);
    while ports.seen.lock().unwrap().len() < KEYSETS {
        let before = time.now();
        reconciler.pass().await;
        passes += 1;
        longest = longest.max(time.now().saturating_sub(before));
        assert!(freshness.is_fresh(ports.clock()), "pass {passes}, {} after the start", time.now().saturating_sub(began));
        time.pass(Span::millis(20));
    }
    let took = time.now().saturating_sub(began);
    let writes = ["CreateSecret", "PutSecretValue", "UpdateSecretVersionStage"].map(|o| calls.service().counts[o]);
    println!("{KEYSETS} keysets begun in {took} over {passes} passes, the longest {longest}: {writes:?} writes");
    assert_eq!(writes, [KEYSETS as u64; 3], "made, and confirmed as published");
    let least = Span::seconds(3 * KEYSETS as u64 / WRITES_A_SECOND - 2);
    assert!(took >= least && took < least * 2, "the rate is kept, and used: {took}");
    assert!(longest < Span::seconds(40), "a pass lasted {longest}");
}
