//! Tests: the book of sightings, reopened.

use super::*;
use crate::digest::Digest;
use crate::name::Generation;
use crate::time::Timestamp;
use crate::witness::PlaceMemory;
use futures_util::future::join_all;

fn sighting(generation: u64) -> Sighting {
    let since = BTreeMap::from([("kid".parse().unwrap(), Timestamp::from_millis(7))]);
    let place = PlaceMemory {
        target: None,
        since: since.clone(),
        content: Some(Digest::of(b"content")),
        changed_at: Some(Timestamp::from_millis(9)),
    };
    Sighting {
        generation: Generation(generation),
        digest: Digest::of(&generation.to_be_bytes()),
        places: BTreeMap::from([("file /etc/keys.json".to_owned(), place)]),
        probes: BTreeMap::new(),
        revoked: Vec::new(),
        removing: false,
        signers_left: since,
    }
}

fn id(text: &str) -> KeysetId {
    text.parse().unwrap()
}

async fn seen(book: &WitnessBook, environment: &str) -> Vec<(String, Sighting)> {
    let all = book.recall(&environment.parse().unwrap()).await.unwrap();
    all.into_iter().map(|(name, sighting)| (name.to_string(), sighting)).collect()
}

#[tokio::test]
async fn what_was_noted_is_recalled_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let book = WitnessBook::open(dir.path()).unwrap();
    assert!(seen(&book, "e").await.is_empty());
    book.note(&id("e/a"), &sighting(1)).await.unwrap();
    book.note(&id("e/b"), &sighting(2)).await.unwrap();
    book.note(&id("other/a"), &sighting(3)).await.unwrap();
    book.note(&id("e/a"), &sighting(4)).await.unwrap();
    drop(book);
    let book = WitnessBook::open(dir.path()).unwrap();
    assert_eq!(seen(&book, "e").await, [("a".to_owned(), sighting(4)), ("b".to_owned(), sighting(2))]);
    book.forget(&id("e/a")).await.unwrap();
    book.forget(&id("e/never-seen")).await.unwrap();
    assert_eq!(seen(&book, "e").await, [("b".to_owned(), sighting(2))]);
    assert_eq!(seen(&book, "other").await, [("a".to_owned(), sighting(3))]);
}

#[tokio::test]
async fn many_notes_at_once_are_all_kept() {
    let dir = tempfile::tempdir().unwrap();
    let book = WitnessBook::open(dir.path()).unwrap();
    let ids: Vec<_> = (0..2000).map(|n| id(&format!("e/k{n}"))).collect();
    for noted in join_all(ids.iter().zip(1..).map(async |(id, n)| book.note(id, &sighting(n)).await)).await {
        noted.unwrap();
    }
    let all = book.recall(&"e".parse().unwrap()).await.unwrap();
    assert!(ids.iter().zip(1..).all(|(id, n)| all[&id.keyset] == sighting(n)));
    assert_eq!(all.len(), ids.len());
}

#[tokio::test]
async fn what_cannot_be_read_is_not_never_seen() {
    let dir = tempfile::tempdir().unwrap();
    let book = WitnessBook::open(dir.path()).unwrap();
    book.note(&id("e/a"), &sighting(1)).await.unwrap();
    let hand = Connection::open(dir.path().join("witness.db")).unwrap();
    hand.execute("UPDATE sighting SET sighting = '{}'", []).unwrap();
    let error = book.recall(&"e".parse().unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("e/a") && error.contains("hint: "), "{error}");
    hand.pragma_update(None, "user_version", 9).unwrap();
    drop((book, hand));
    assert!(WitnessBook::open(dir.path()).unwrap_err().to_string().contains("version 9"));
}

#[tokio::test]
async fn the_store_is_no_witness() {
    let dir = tempfile::tempdir().unwrap();
    drop(WitnessBook::open(dir.path()).unwrap());
    std::fs::rename(dir.path().join("witness.db"), dir.path().join("keysets.db")).unwrap();
    let store = crate::store::embedded::EmbeddedStore::open(dir.path(), &crate::store::master_key::MasterKeySource::Default);
    assert!(store.unwrap_err().to_string().contains("another program"));
}

/// What a state directory of the first version holds: every target was a file then.
#[test]
fn targets_that_were_remembered_as_files_are_files() {
    let line = r#"{"since":{},"target":{"path":"/etc/app/jwks.json","format":"jwks","audience":"verifiers","mode":420,"group":null,"replace":false},"changed_at":"2026-03-01T12:00:00.000Z"}"#;
    let memory: PlaceMemory = serde_json::from_str(line).unwrap();
    assert_eq!(memory.target.as_ref().map(crate::policy::Target::name).as_deref(), Some("/etc/app/jwks.json"));
    assert_eq!(serde_json::to_string(&memory).unwrap(), line, "and an earlier keyrota reads what is written now");
}
