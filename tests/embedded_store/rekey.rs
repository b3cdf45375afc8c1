//! A new master key: after every step the store is left as by a crash, opened again, and holds everything; at the end there is one key.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use keyrota::name::KeysetId;
use keyrota::store::embedded::{EmbeddedStore, OpenError, RekeyError};
use keyrota::store::master_key::MasterKeySource;
use keyrota::store::{Mark, Store as _};

use crate::{contract, holds, in_environment, open, raw_bytes, refused};

/// More than are sealed anew in one part.
const KEYSETS: usize = 300;

fn whole(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(dir, &MasterKeySource::Default).unwrap()
}

/// Opens the store anew and reads everything.
async fn everything_opens(dir: &Path, what: &str) -> EmbeddedStore {
    let store = whole(dir);
    let documents = store.snapshot().await.unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(documents.len(), KEYSETS, "{what}");
    store
}

async fn filled(dir: &Path) {
    let store = open(dir);
    futures_util::future::join_all((0..KEYSETS).map(|n| {
        let store = store.clone();
        async move { contract::create(&store, &format!("k{n:03}")).await }
    }))
    .await;
}

fn key(dir: &Path) -> String {
    fs::read_to_string(dir.join("master.key")).unwrap()
}

fn key_files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("master.key")).collect();
    names.sort();
    names
}

/// Takes so many steps of the change and says whether that was all of them.
async fn steps(store: &EmbeddedStore, most: usize) -> bool {
    let mut left = most;
    let mut step = || left.checked_sub(1).map(|now| left = now).is_some();
    if !step() {
        return false;
    }
    store.rekey_begin().await.unwrap();
    let mut after = None::<KeysetId>;
    loop {
        if !step() {
            return false;
        }
        after = store.rekey_reseal(after).await.unwrap().last;
        if after.is_none() {
            break;
        }
    }
    if !step() {
        return false;
    }
    assert!(store.rekey_finish().await.unwrap(), "nothing is left under the old key");
    true
}

#[tokio::test]
async fn after_every_step_everything_opens_and_the_next_try_goes_on_to_the_end() {
    for most in 0.. {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path()).await;
        let old = key(dir.path());
        let done = steps(&everything_opens(dir.path(), "before").await, most).await;
        let what = format!("after {most} steps");
        let store = everything_opens(dir.path(), &what).await;
        assert_eq!(store.rekey_underway().await.unwrap().is_some(), most > 0 && !done, "{what}");
        // The next key alone does not open what is half done, nor does the old one.
        if most > 1 && !done {
            let (next, away) = (dir.path().join("master.key.next"), dir.path().join("away"));
            drop(store);
            fs::rename(&next, &away).unwrap();
            assert!(matches!(refused(dir.path(), &MasterKeySource::Default), OpenError::HalfChanged { .. }), "{what}");
            fs::rename(&away, &next).unwrap();
        }
        let store = everything_opens(dir.path(), &what).await;
        if !done {
            assert!(steps(&store, usize::MAX).await);
        }
        drop(store);
        everything_opens(dir.path(), "at the end").await;
        assert_eq!(key_files(dir.path()), ["master.key"], "{what}: one key is left");
        assert_ne!(key(dir.path()), old, "{what}: and it is a new one");
        fs::write(dir.path().join("master.key"), old).unwrap();
        assert!(matches!(refused(dir.path(), &MasterKeySource::Default), OpenError::WrongMasterKey { .. }), "the old one opens nothing");
        if done {
            assert!(most > 4, "there were several steps");
            return;
        }
    }
}

#[tokio::test]
async fn a_crash_between_the_record_and_the_file_is_made_good_by_the_next_start() {
    for keysets in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        if keysets {
            filled(dir.path()).await;
        }
        let old = key_after_opening(dir.path());
        let store = whole(dir.path());
        store.rekey_begin().await.unwrap();
        let next = fs::read(dir.path().join("master.key.next")).unwrap();
        assert!(steps(&store, usize::MAX).await);
        drop(store);
        // As if the rename had not happened.
        fs::write(dir.path().join("master.key.next"), next).unwrap();
        fs::write(dir.path().join("master.key"), &old).unwrap();
        fs::set_permissions(dir.path().join("master.key.next"), fs::Permissions::from_mode(0o600)).unwrap();
        let store = whole(dir.path());
        assert_eq!(store.snapshot().await.unwrap().len(), if keysets { KEYSETS } else { 0 });
        assert_eq!(key_files(dir.path()), ["master.key"]);
        assert_ne!(key(dir.path()), old);
    }
}

fn key_after_opening(dir: &Path) -> String {
    drop(whole(dir));
    key(dir)
}

#[tokio::test]
async fn two_daemons_on_one_file_read_and_write_through_the_change() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let (one, two) = (whole(dir.path()), whole(dir.path()));
    let (ours, theirs) = (in_environment(&one), in_environment(&two));
    let everywhere = async |what: &str, n: usize| {
        for (who, store) in [("one", &ours), ("two", &theirs)] {
            let name = format!("k{n:03}");
            let (document, revision) = contract::loaded(store, &name).await.unwrap_or_else(|| panic!("{what}, {who}"));
            let next = contract::next(&document, what);
            store.swap(Some(&revision), &next).await.unwrap_or_else(|e| panic!("{what}, {who}: {e}"));
        }
        assert_eq!(two.snapshot().await.unwrap().len(), KEYSETS, "{what}");
        assert_eq!(one.snapshot().await.unwrap().len(), KEYSETS, "{what}");
    };
    everywhere("before", 1).await;
    one.rekey_begin().await.unwrap();
    everywhere("begun", 2).await;
    let part = one.rekey_reseal(None).await.unwrap();
    everywhere("half done", 299).await;
    // What the second wrote after the beginning bears the new key already, so nothing is left behind the first one's back.
    let mut after = part.last;
    while after.is_some() {
        after = one.rekey_reseal(after).await.unwrap().last;
    }
    everywhere("all sealed", 3).await;
    assert!(one.rekey_finish().await.unwrap());
    everywhere("finished", 4).await;
    one.purge().await.unwrap();
    everywhere("purged", 5).await;
    assert!(two.rekey_underway().await.unwrap().is_none());
    assert!(two.rekey_finish().await.unwrap(), "the second is told that it is done");
}

#[tokio::test]
async fn revisions_stay_and_nothing_sealed_under_the_old_key_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = whole(dir.path());
    let keysets = in_environment(&store);
    let (_, revision) = contract::create(&keysets, "a").await;
    let mark = keysets.changes(&Mark::default()).await.unwrap().mark;
    let sealed: Vec<u8> = crate::hand_in(dir.path()).query_row("SELECT sealed FROM keyset", [], |row| row.get(0)).unwrap();
    assert!(steps(&store, usize::MAX).await);
    store.purge().await.unwrap();
    assert_eq!(contract::loaded(&keysets, "a").await.unwrap().1, revision);
    assert!(keysets.changes(&mark).await.unwrap().written.is_empty(), "nobody has to read anything anew");
    for part in [&sealed[1..17], &sealed[60..]] {
        assert!(!holds(&raw_bytes(dir.path()), part), "the old seal is gone from the disk");
    }
}

#[tokio::test]
async fn a_key_that_keyrota_cannot_write_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let credentials = tempfile::tempdir().unwrap();
    fs::write(credentials.path().join("keyrota.master-key"), "0123456789abcdef".repeat(4)).unwrap();
    let store = EmbeddedStore::open(dir.path(), &MasterKeySource::Credential(credentials.path().to_owned())).unwrap();
    let refused = store.rekey_begin().await.unwrap_err();
    assert!(matches!(refused, RekeyError::BySystemd(_)) && refused.to_string().contains("hint: stop keyrota"), "{refused}");
    assert!(store.rekey_underway().await.unwrap().is_none());
}

#[tokio::test]
async fn a_damaged_value_keeps_the_old_key_in_use() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    crate::hand_in(dir.path()).execute("UPDATE keyset SET sealed = zeroblob(200) WHERE keyset = 'k007'", []).unwrap();
    let store = whole(dir.path());
    store.rekey_begin().await.unwrap();
    let stopped = store.rekey_reseal(None).await.unwrap_err();
    assert!(stopped.to_string().contains("contract/k007") && stopped.to_string().contains("hint: "), "{stopped}");
    assert!(!store.rekey_finish().await.unwrap(), "it is not finished over it");
    assert_eq!(key_files(dir.path()), ["master.key", "master.key.next"]);
}
