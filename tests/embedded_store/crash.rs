//! `kill -9` in the middle of writing: what was acknowledged is there afterwards.

use crate::{child_command, contract, hand_in, open};
use keyrota::store::{Store as _, SwapError};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

const KEYSETS: usize = 24;

/// In a child: swaps many keysets at once, each named with the prefix, and says of each swap that it was acknowledged, until it is killed.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub async fn swap_for_ever(dir: &Path, prefix: &str) {
    let store = open(dir);
    let writers = (0..KEYSETS).map(|n| {
        let (store, keyset) = (store.clone(), format!("{prefix}{n}"));
        tokio::spawn(async move {
            let (mut document, mut revision) = match store.load(&contract::name(&keyset)).await.unwrap() {
                Some(loaded) => (loaded.document, loaded.revision),
                None => contract::create(&store, &keyset).await,
            };
            loop {
                println!("acknowledged {keyset} {}", document.generation);
                document = contract::next(&document, "crash");
                revision = store.swap(Some(&revision), &document).await.unwrap();
            }
        })
    });
    let writers: Vec<tokio::task::JoinHandle<()>> = writers.collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

fn start(dir: &Path, prefix: &str) -> Child {
    child_command(&format!("swap {prefix}"), dir).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// The latest generation of each keyset that the child said was acknowledged, up to its death after `lines` of them.
fn kill_after(mut child: Child, lines: usize) -> BTreeMap<String, u64> {
    let mut acknowledged = BTreeMap::new();
    let mut heard = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let mut words = line.split(' ');
        // A last line that was cut off does not count.
        if let (Some("acknowledged"), Some(keyset), Some(Ok(generation))) = (words.next(), words.next(), words.next().map(str::parse)) {
            acknowledged.insert(keyset.to_owned(), generation);
            heard += 1;
        }
        if heard == lines {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success());
    assert!(heard >= lines, "the child died by itself after {heard} lines");
    acknowledged
}

fn is_sound(dir: &Path) {
    let verdict: String = hand_in(dir).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut before: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..20 {
        let acknowledged = kill_after(start(dir.path(), "k"), 1 + round * 53 % 400);
        is_sound(dir.path());
        let store = open(dir.path());
        for n in 0..KEYSETS {
            let keyset = format!("k{n}");
            let stored = store.load(&contract::name(&keyset)).await.unwrap().map_or(0, |l| l.document.generation.0);
            let promised = acknowledged.get(&keyset).or(before.get(&keyset)).copied().unwrap_or(0);
            // Whoever was killed may have swapped once more, or twice if the last line was cut off, and could not say so.
            assert!((promised..=promised + 2).contains(&stored), "round {round}, {keyset}: {stored} is there, {promised} acknowledged");
            before.insert(keyset, stored);
        }
        let (document, revision) = store
            .load(&contract::name("k0"))
            .await
            .unwrap()
            .map_or_else(|| (contract::first("k0", "s"), None), |l| (contract::next(&l.document, "after"), Some(l.revision)));
        let swapped = store.swap(revision.as_ref(), &document).await;
        assert!(swapped.is_ok(), "it goes on: {swapped:?}");
        before.insert("k0".to_owned(), document.generation.0);
    }
}

#[tokio::test]
async fn two_processes_that_die_in_turn_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // This process keeps the file open and writes while another is killed beside it.
    let store = open(dir.path());
    let (mut document, mut revision) = contract::create(&store, "own").await;
    for round in 0..5 {
        let child = start(dir.path(), "k");
        for _ in 0..20 {
            document = contract::next(&document, "beside");
            revision = store.swap(Some(&revision), &document).await.unwrap();
        }
        let acknowledged = kill_after(child, 30 + round * 17);
        for (keyset, generation) in acknowledged {
            let stored = store.load(&contract::name(&keyset)).await.unwrap().unwrap();
            assert!(stored.document.generation.0 >= generation, "{keyset}");
        }
        let loaded = store.load(&contract::name("own")).await.unwrap().unwrap();
        assert!(loaded.document == document && loaded.revision == revision);
    }
    assert_eq!(store.swap(None, &document).await, Err(SwapError::Conflict));
    is_sound(dir.path());
}

#[test]
fn a_kill_while_the_store_is_made_leaves_a_store_or_none() {
    for _ in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        let mut child = start(dir.path(), "k");
        while !dir.path().join("keysets.db").exists() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        drop(open(dir.path()));
        is_sound(dir.path());
    }
}

#[tokio::test]
async fn processes_that_start_together_make_one_store() {
    for _ in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let children = ["a", "b", "c", "d"].map(|prefix| start(dir.path(), prefix));
        let mut acknowledged = BTreeMap::new();
        for child in children {
            acknowledged.extend(kill_after(child, 50));
        }
        let store = open(dir.path());
        for (keyset, generation) in &acknowledged {
            let stored = store.load(&contract::name(keyset)).await.unwrap().unwrap();
            assert!(stored.document.generation.0 >= *generation, "{keyset}");
        }
        for prefix in ["a", "b", "c", "d"] {
            assert!(acknowledged.keys().any(|keyset| keyset.starts_with(prefix)), "{prefix} got nothing through");
        }
        is_sound(dir.path());
    }
}
