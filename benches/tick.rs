//! A pass with nothing due, a start, and memory: how the daemon scales with the number of keysets.
//!
//! Start-up and memory are measured in a process of their own (this program again), which has done nothing else.

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

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use keyrota::metrics::Metrics;
use keyrota::store::embedded::EmbeddedStore;
use keyrota::store::master_key::MasterKeySource;
use keyrota::time::Timestamp;
use keyrota::witness::book::WitnessBook;
use world::{Memory, World, median, resident};

const TICKED: usize = 100_000;
const STARTED: usize = 10_000;
const ROTATIONS: u64 = 10_000;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, what, directory, moment] = arguments.as_slice()
        && what == "start"
    {
        return start(Path::new(directory), moment.parse().unwrap()).await;
    }
    steady_pass().await;
    let directory = tempfile::tempdir().unwrap();
    let (template, moment) = world::grown(3).await;
    let store = EmbeddedStore::open(directory.path(), &MasterKeySource::Default).unwrap();
    world::fill(&store.environment(&world::environment()), &template, STARTED).await;
    drop(store);
    let this = std::env::current_exe().unwrap();
    // The first start writes down what it saw; the second is one like any other.
    for which in ["first start", "start"] {
        println!("{which} with {STARTED} ES256 keysets of three keys in the embedded store");
        let status = Command::new(&this).arg("start").arg(directory.path()).arg(moment.to_string()).status().unwrap();
        assert!(status.success());
    }
}

async fn steady_pass() {
    let directory = tempfile::tempdir().unwrap();
    let (template, moment) = world::grown(2).await;
    let store = EmbeddedStore::open(directory.path(), &MasterKeySource::Default).unwrap().environment(&world::environment());
    world::fill(&store, &template, TICKED).await;
    let world = World::new(store, Memory::default(), moment);
    let mut reconciler = world.reconciler(TICKED);
    world.settle(&mut reconciler).await;
    let (reads, looks, rounds) = (world.store.reads.load(Relaxed), world.store.looks.load(Relaxed), 1000);
    let mut took = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        assert!(reconciler.pass().await.is_empty(), "nothing is due");
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    println!("pass over {TICKED} keysets with nothing due, {rounds} times");
    println!("  median {:.3} ms, longest {:.3} ms (goal: under 10)", median(took.clone()), took.iter().copied().fold(0.0, f64::max));
    println!(
        "  per pass: {} documents read, {} looks at the list of changes\n",
        (world.store.reads.load(Relaxed) - reads) / rounds,
        (world.store.looks.load(Relaxed) - looks) / rounds
    );
}

async fn start(directory: &Path, moment: Timestamp) {
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
