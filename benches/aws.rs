//! What the store on AWS Secrets Manager costs by itself: changes against a service that answers at once, one call through the SDK
//! over loopback, a start with ten thousand keysets, and calls made while nothing is due.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a bench stops at the first thing that is wrong, and measures time"
)]
#![allow(clippy::cast_precision_loss, clippy::print_stdout, reason = "figures for people")]

#[path = "../tests/aws_fake/mod.rs"]
mod aws_fake;
#[path = "fleet/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use aws_fake::{FakeCalls, FakeTime, Service};
use keyrota::policy::{AwsStore as AwsConfig, Sweep};
use keyrota::store::aws::AwsStore;
use keyrota::store::aws::calls::{Calls as _, VersionId};
use keyrota::store::aws::pace::Pace;
use keyrota::store::aws::sdk::SdkCalls;
use keyrota::store::seal::RandomId;
use keyrota::store::{Mark, Store as _};
use keyrota::time::Span;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const KEYSETS: usize = 10_000;

type Fake = AwsStore<FakeCalls, FakeTime>;

fn config(sweep: Sweep, endpoint_url: Option<String>) -> AwsConfig {
    AwsConfig {
        prefix: format!("keyrota/{}/", world::environment()),
        region: Some("eu-west-3".into()),
        endpoint_url,
        kms_key_id: None,
        tags: BTreeMap::new(),
        replica_regions: Vec::new(),
        profile: None,
        sweep,
        sweep_every: Span::minutes(1),
    }
}

fn open(calls: &FakeCalls, time: &FakeTime, sweep: Sweep) -> Fake {
    let pace = Arc::new(Pace::new(1_000_000));
    AwsStore::new(&world::environment(), &config(sweep, None), calls.clone(), time.clone(), pace, RandomId::new().unwrap())
}

#[tokio::main]
async fn main() {
    let (template, _) = world::grown(2).await;
    println!("documents of {:.1} KiB", template.to_stored().expose().len() as f64 / 1024.0);
    let time = FakeTime::default();
    let calls = FakeCalls::new(Service::new(1, time.clone()));
    let store = open(&calls, &time, Sweep::List);
    let began = Instant::now();
    world::fill(&store, &template, KEYSETS).await;
    println!("{KEYSETS} keysets made: {:.0} a second", KEYSETS as f64 / began.elapsed().as_secs_f64());
    changes(&store).await;
    for sweep in [Sweep::List, Sweep::Read] {
        start_and_idle(&calls, &time, sweep).await;
    }
    one_call().await;
}

/// One change of each keyset, one after the other: what the adapter adds to three calls.
async fn changes(store: &Fake) {
    let names: Vec<_> = (0..KEYSETS).map(world::name).collect();
    let loaded = store.load_many(&names).await.unwrap();
    let next: Vec<_> = loaded
        .into_values()
        .map(|found| {
            let found = found.unwrap();
            let cause = keyrota::document::change::Cause {
                now: found.document.updated_at,
                trigger: keyrota::document::Trigger::Operator,
                reason: "a bench".into(),
                by: None,
            };
            let mut draft = keyrota::document::change::Draft::of(
                &found.document,
                Some(found.document.digest()),
                cause,
                keyrota::document::change::Promise::default(),
            );
            draft.forget(0);
            (found.revision, draft.finish())
        })
        .collect();
    let began = Instant::now();
    for (expected, next) in &next {
        store.swap(Some(expected), next).await.unwrap();
    }
    let each = began.elapsed().as_secs_f64() / KEYSETS as f64;
    println!("a change, the service answering at once: {:.0} us, so {:.0} a second on one core", each * 1e6, 1.0 / each);
}

async fn start_and_idle(calls: &FakeCalls, time: &FakeTime, sweep: Sweep) {
    let names: Vec<_> = (0..KEYSETS).map(world::name).collect();
    calls.service().counts.clear();
    let began = Instant::now();
    let store = open(calls, time, sweep);
    let listed = store.changes(&Mark::default()).await.unwrap();
    assert_eq!(store.load_many(&names).await.unwrap().len(), KEYSETS);
    let took = began.elapsed().as_secs_f64();
    let counted = std::mem::take(&mut calls.service().counts);
    println!("{sweep:?}: a start with {KEYSETS} keysets: {took:.2} s of ours, calls {counted:?}");
    let began = time.now();
    while time.now() < began + Span::hours(1) {
        time.pass(Span::seconds(5));
        assert!(store.changes(&listed.mark).await.unwrap().written.is_empty());
    }
    println!("{sweep:?}: an hour with nothing due: calls {:?}", std::mem::take(&mut calls.service().counts));
}

/// One call through the SDK, signed, over HTTP on loopback, to a server that answers at once.
async fn one_call() {
    const CALLS: u32 = 2000;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut peer, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = vec![0; 65_536];
                while peer.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: 2\r\n\r\n{}";
                    peer.write_all(answer).await.unwrap();
                }
            });
        }
    });
    if std::env::var_os("AWS_ACCESS_KEY_ID").is_none() {
        println!("one call through the SDK: not measured; hint: AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x cargo bench --bench aws");
        return;
    }
    let calls = SdkCalls::new(&config(Sweep::List, Some(format!("http://{address}"))));
    let version = VersionId("0".repeat(32));
    calls.move_current("keyrota/a", &version, &version).await.unwrap();
    let began = Instant::now();
    for _ in 0..CALLS {
        calls.move_current("keyrota/a", &version, &version).await.unwrap();
    }
    println!("one call through the SDK, signed, over loopback: {:.0} us", began.elapsed().as_secs_f64() / f64::from(CALLS) * 1e6);
}
