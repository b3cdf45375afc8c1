//! A start on ten thousand keysets, and memory: at first, after a scrape, and over tens of thousands of rotations.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use keyrota::metrics::Metrics;
use keyrota::store::embedded::EmbeddedStore;
use keyrota::store::master_key::MasterKeySource;
use keyrota::time::Timestamp;
use keyrota::witness::book::WitnessBook;

use crate::world::{self, World, resident};

const STARTED: usize = 10_000;
const ROTATIONS: u64 = 10_000;

/// Fills a store and starts on it twice, each time in a new process.
pub async fn start() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (template, moment) = world::grown(3).await;
    let store = EmbeddedStore::open(directory.path(), &MasterKeySource::Default).unwrap();
    world::fill(&store.environment(&world::environment()), &template, STARTED).await;
    drop(store);
    let this = std::env::current_exe().unwrap();
    // The first start writes down what it saw; the second is one like any other.
    for which in ["first start", "start"] {
        println!("{which} with {STARTED} ES256 keysets of three keys in the embedded store");
        let status = Command::new(&this).arg("started").arg(directory.path()).arg(moment.to_string()).status().unwrap();
        assert!(status.success());
    }
}

/// One start on the store in `directory`, in a process that has done nothing else.
pub async fn started(directory: &Path, moment: Timestamp) {
    let bare = resident();
    let began = Instant::now();
    let store = EmbeddedStore::open(directory, &MasterKeySource::Default).unwrap().environment(&world::environment());
    let world = World::new(store, WitnessBook::open(directory).unwrap(), moment);
    let mut reconciler = world.reconciler(STARTED);
    world.settle(&mut reconciler).await;
    println!("  board filled after {:.2} s (goal: under 2)", began.elapsed().as_secs_f64());
    let loaded = resident();
    let metrics = Metrics::new(keyrota::reconcile::Ports::clock(&*world)).unwrap();
    let scrape = |what: &str| {
        let began = Instant::now();
        let bytes: usize = metrics.scrape(&world.board, keyrota::reconcile::Ports::clock(&*world)).map(|piece| piece.len()).sum();
        println!("  {what}: a scrape of {:.1} MiB takes {:.2} s", bytes as f64 / 1_048_576.0, began.elapsed().as_secs_f64());
    };
    scrape("before rotations");
    println!("  resident: {bare:.0} MiB at first, {loaded:.0} loaded, {:.0} after a scrape (goal: under 200)", resident());
    if !directory.join("seen").exists() {
        return std::fs::write(directory.join("seen"), "").unwrap();
    }
    for round in 1..=3 {
        let before = world.store.swaps.load(Relaxed);
        let mut active = world.first().unwrap().active.as_ref().unwrap().key.kid.clone();
        // Every keyset rotates at the same moments, so one of them tells of all.
        let mut rotations = 0;
        world
            .live(&mut reconciler, |_| {
                let now = world.first().unwrap().active.as_ref().unwrap().key.kid.clone();
                if std::mem::replace(&mut active, now.clone()) != now {
                    rotations += STARTED as u64;
                }
                rotations >= ROTATIONS && world.first().unwrap().live().count() == 3
            })
            .await;
        scrape("after rotations");
        let swaps = world.store.swaps.load(Relaxed) - before;
        println!("  resident: {:.0} MiB after round {round} of {rotations} rotations ({swaps} swaps)", resident());
    }
}
