//! Files and keys that are not the store's own: nothing is overwritten, nothing lost.

use crate::{contract, hand_in, in_environment, key_file, open, refused};
use keyrota::sqlite::DatabaseError;
use keyrota::store::embedded::{EmbeddedStore, OpenError};
use keyrota::store::master_key::{MasterKeyError, MasterKeySource};
use keyrota::store::{Mark, Store as _, StoreError, SwapError};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

#[tokio::test]
async fn a_wrong_key_opens_nothing_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let keys = tempfile::tempdir().unwrap();
    let [right, wrong] = ["0123456789abcdef", "fedcba9876543210"].map(|text| MasterKeySource::File(key_file(keys.path(), text)));
    let store = EmbeddedStore::open(dir.path(), &right).unwrap();
    assert_eq!(store.created_master_key(), None);
    let (document, revision) = contract::create(&in_environment(&store), "a").await;
    drop(store);
    let before = fs::read(dir.path().join("keysets.db")).unwrap();

    assert!(matches!(refused(dir.path(), &wrong), OpenError::WrongMasterKey { .. }));
    assert!(matches!(refused(dir.path(), &MasterKeySource::Default), OpenError::MasterKey(MasterKeyError::LostBesideStore { .. })));
    assert!(!dir.path().join("master.key").exists(), "no key is made beside a store that holds something");
    assert!(fs::read(dir.path().join("keysets.db")).unwrap() == before);

    let store = EmbeddedStore::open(dir.path(), &right).unwrap();
    let found = in_environment(&store).load(&contract::name("a")).await.unwrap().unwrap();
    assert!(found.document == document && found.revision == revision);
}

#[tokio::test]
async fn a_lost_key_is_no_reason_to_make_another() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("master.key");
    let store = EmbeddedStore::open(dir.path(), &MasterKeySource::Default).unwrap();
    assert_eq!(store.created_master_key(), Some(key.canonicalize().unwrap().as_path()), "told once, for the operator");
    contract::create(&in_environment(&store), "a").await;
    drop(store);
    let kept = dir.path().join("kept");
    fs::rename(&key, &kept).unwrap();
    assert!(matches!(refused(dir.path(), &MasterKeySource::Default), OpenError::MasterKey(MasterKeyError::LostBesideStore { .. })));
    assert!(!key.exists());
    fs::rename(&kept, &key).unwrap();
    let store = EmbeddedStore::open(dir.path(), &MasterKeySource::Default).unwrap();
    assert_eq!(store.created_master_key(), None);
    assert!(in_environment(&store).load(&contract::name("a")).await.unwrap().is_some());
}

#[tokio::test]
async fn an_empty_store_takes_a_new_key() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    fs::remove_file(dir.path().join("master.key")).unwrap();
    let store = EmbeddedStore::open(dir.path(), &MasterKeySource::Default).unwrap();
    assert!(store.created_master_key().is_some());
    contract::create(&in_environment(&store), "a").await;
    drop(store);
    assert!(open(dir.path()).load(&contract::name("a")).await.unwrap().is_some());
}

#[test]
fn a_foreign_file_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keysets.db");
    let private = || fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();

    fs::write(&path, "a letter to somebody\n".repeat(100)).unwrap();
    private();
    let before = fs::read(&path).unwrap();
    assert!(matches!(refused(dir.path(), &MasterKeySource::Default), OpenError::Database(DatabaseError::Foreign { .. })));
    assert!(fs::read(&path).unwrap() == before);

    for journal in ["DELETE", "WAL"] {
        fs::remove_file(&path).unwrap();
        let other = rusqlite::Connection::open(&path).unwrap();
        other.pragma_update(None, "journal_mode", journal).unwrap();
        other.execute_batch("CREATE TABLE book (title TEXT); INSERT INTO book VALUES ('Ulysses');").unwrap();
        drop(other);
        private();
        let before = fs::read(&path).unwrap();
        assert!(matches!(refused(dir.path(), &MasterKeySource::Default), OpenError::Database(DatabaseError::Foreign { .. })));
        assert!(fs::read(&path).unwrap() == before);
    }
    assert!(!dir.path().join("master.key").exists());
}

#[test]
fn a_file_of_a_newer_keyrota_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    hand_in(dir.path()).pragma_update(None, "user_version", 2).unwrap();
    let error = refused(dir.path(), &MasterKeySource::Default);
    assert!(matches!(error, OpenError::Database(DatabaseError::OtherVersion { found: 2, known: 1, .. })), "{error}");
}

#[test]
fn files_that_others_can_reach_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let path = dir.path().join("keysets.db");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(dir.path(), &MasterKeySource::Default).to_string().contains("0644"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let real = dir.path().join("real.db");
    fs::rename(&path, &real).unwrap();
    symlink(&real, &path).unwrap();
    assert!(refused(dir.path(), &MasterKeySource::Default).to_string().contains("symbolic link"));
    fs::remove_file(&path).unwrap();
    fs::rename(&real, &path).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(refused(dir.path(), &MasterKeySource::Default).to_string().contains("0777"));
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    drop(open(dir.path()));
}

#[test]
fn a_state_directory_behind_a_link_is_found() {
    // systemd keeps the state of services with a dynamic user in /var/lib/private, and links to it.
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("real")).unwrap();
    fs::set_permissions(dir.path().join("real"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink(dir.path().join("real"), dir.path().join("link")).unwrap();
    drop(open(&dir.path().join("link")));
    assert!(dir.path().join("real/keysets.db").exists());
}

#[tokio::test]
async fn a_file_that_was_replaced_while_open_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (document, revision) = contract::create(&store, "a").await;
    let file = dir.path().join("keysets.db");
    fs::rename(&file, dir.path().join("before.db")).unwrap();
    let lost = store.swap(Some(&revision), &contract::next(&document, "lost")).await;
    assert!(matches!(&lost, Err(SwapError::Unavailable(why)) if why.contains("replaced")), "{lost:?}");
    assert!(matches!(store.load(&contract::name("a")).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.load_many(&[contract::name("a")]).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.changes(&Mark::default()).await, Err(StoreError::Unavailable(_))));
    fs::rename(dir.path().join("before.db"), &file).unwrap();
    assert!(store.swap(Some(&revision), &contract::next(&document, "kept")).await.is_ok());
}
