//! What the files in the state directory give away: nothing.

use crate::{contract, hand_in, holds, in_environment, open, raw_bytes};
use keyrota::store::Store as _;
use keyrota::store::embedded::EmbeddedStore;
use keyrota::store::master_key::MasterKeySource;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

#[tokio::test]
async fn every_file_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let store = open(&state);
    contract::create(&store, "a").await;
    let mut names = Vec::new();
    for entry in fs::read_dir(&state).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o7777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["keysets.db", "keysets.db-shm", "keysets.db-wal", "master.key"]);
    assert_eq!(fs::metadata(&state).unwrap().mode() & 0o7777, 0o700);
}

#[tokio::test]
async fn no_plain_secret_reaches_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), &MasterKeySource::Default).unwrap();
    let environment = in_environment(&store);
    let secret = "Tr0ub4dor-and-3-which-is-no-longer-one";
    let mut document = contract::first("a", secret);
    let mut revision = environment.swap(None, &document).await.unwrap();
    assert!(holds(document.to_stored().expose(), secret.as_bytes()), "it is in what is sealed");
    for round in 0..20 {
        document = contract::next(&document, &round.to_string());
        revision = environment.swap(Some(&revision), &document).await.unwrap();
    }
    let search = |when: &str| {
        let bytes = raw_bytes(dir.path());
        assert!(holds(&bytes, b"CREATE TABLE keyset"), "these are the store's files");
        for plain in [secret, "keyrota.keyset.v1", "kid-of-a", "HS256"] {
            assert!(!holds(&bytes, plain.as_bytes()), "{plain} {when}");
        }
    };
    search("in the log");
    store.checkpoint().await.unwrap();
    search("after a checkpoint");
    drop((store, environment));
    search("after the store was closed");
}

#[tokio::test]
async fn what_was_erased_is_gone_after_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), &MasterKeySource::Default).unwrap();
    let environment = in_environment(&store);
    let large = contract::first("a", &"s".repeat(40_000));
    environment.swap(None, &large).await.unwrap();
    contract::create(&environment, "b").await;
    store.checkpoint().await.unwrap();
    let sealed =
        || -> Vec<u8> { hand_in(dir.path()).query_row("SELECT sealed FROM keyset WHERE keyset = 'a'", [], |row| row.get(0)).unwrap() };
    let old = sealed();
    let traces = |bytes: &[u8]| old.chunks_exact(64).filter(|piece| holds(bytes, piece)).count();
    assert!(traces(&raw_bytes(dir.path())) > 500, "it is there to be erased");
    // The same keyset without its key, as after erasing.
    let revision = environment.load(&contract::name("a")).await.unwrap().unwrap().revision;
    environment.remove(&contract::name("a"), &revision, keyrota::store::RECOVERY).await.unwrap();
    store.checkpoint().await.unwrap();
    assert_eq!(traces(&raw_bytes(dir.path())), 0, "neither in the database nor in its log");
    assert!(environment.load(&contract::name("b")).await.unwrap().is_some());
}
