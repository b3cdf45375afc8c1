//! What a keyset costs while nothing is due: a whole pass over a hundred thousand of them (goal: under 10 ms, and no document read),
//! and the decision and the documents of one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a bench stops at the first thing that is wrong, and measures time"
)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::print_stdout, reason = "figures for people")]

#[path = "fleet/world.rs"]
mod world;

use std::hint::black_box;
use std::sync::atomic::Ordering::Relaxed;

use criterion::{Criterion, criterion_group, criterion_main};
use keyrota::document::Document;
use keyrota::lifecycle::{self, Decision};
use keyrota::observed::Observed;
use keyrota::store::embedded::EmbeddedStore;
use keyrota::store::master_key::MasterKeySource;
use tokio::runtime::Runtime;
use world::{Memory, World};

const KEYSETS: usize = 100_000;

fn pass(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (template, moment) = runtime.block_on(world::grown(2));
    let store = EmbeddedStore::open(directory.path(), &MasterKeySource::Default).unwrap().environment(&world::environment());
    runtime.block_on(world::fill(&store, &template, KEYSETS));
    let world = World::new(store, Memory::default(), moment);
    let mut reconciler = world.reconciler(KEYSETS);
    runtime.block_on(world.settle(&mut reconciler));
    let reads = world.store.reads.load(Relaxed);
    criterion.bench_function("a pass over 100,000 keysets with nothing due", |bencher| {
        bencher.iter(|| assert!(runtime.block_on(reconciler.pass()).is_empty(), "nothing is due"));
    });
    assert_eq!(world.store.reads.load(Relaxed), reads, "a pass with nothing due reads no document");
}

fn one_keyset(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (document, moment) = runtime.block_on(world::grown(3));
    let (rules, observed) = (world::rules(), Observed::quiet(moment));
    assert!(matches!(lifecycle::next(&document, &rules, &observed), Decision::Wait(_)));
    criterion.bench_function("the decision on a keyset of three keys", |bencher| {
        bencher.iter(|| lifecycle::next(black_box(&document), &rules, &observed));
    });
    let stored = document.to_stored();
    criterion.bench_function("a document of three keys, written", |bencher| bencher.iter(|| document.to_stored()));
    criterion.bench_function("a document of three keys, read and checked", |bencher| {
        bencher.iter(|| Document::from_stored(stored.expose()).unwrap());
    });
}

criterion_group!(steady, pass, one_keyset);
criterion_main!(steady);
