//! Keysets on their way from one store to another: every step, every interruption, and what must not be overwritten.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../aws_fake/mod.rs"]
mod aws_fake;
#[allow(dead_code, reason = "the documents of the contract, without its rules")]
#[path = "../contract/mod.rs"]
mod contract;
mod crashes;
mod dying;
#[allow(dead_code, reason = "the account, of which this uses a part")]
#[path = "../aws_store/fixture.rs"]
mod fixture;
mod roads;

use contract::{create, name};
use keyrota::document::{Document, Intent};
use keyrota::migrate::course::Route;
use keyrota::migrate::{Move, Moved, Stopped};
use keyrota::store::memory::MemoryStore;
use keyrota::store::{RECOVERY, Store};
use keyrota::time::Timestamp;

fn route() -> Route {
    Route { source: "old store".into(), target: "new store".into() }
}

fn intent() -> Intent {
    Intent::new("ada (1000)", Timestamp::from_millis(5000), "we go to the cloud")
}

fn memory() -> MemoryStore {
    MemoryStore::new(contract::ENVIRONMENT.parse().unwrap())
}

/// A keyset that has changed a few times.
async fn seasoned(store: &impl Store, keyset: &str) -> Document {
    let (mut document, mut revision) = create(store, keyset).await;
    for what in ["one", "two", "three"] {
        document = contract::next(&document, what);
        revision = store.swap(Some(&revision), &document).await.unwrap();
    }
    document
}

/// Changes what a store holds, as its daemon would.
async fn changed(store: &impl Store, keyset: &str, times: usize) -> Document {
    for turn in 0..times {
        let found = store.load(&name(keyset)).await.unwrap().unwrap();
        let next = contract::next(&found.document, &format!("turn {turn}"));
        store.swap(Some(&found.revision), &next).await.unwrap();
    }
    held(store, keyset).await.unwrap()
}

async fn held(store: &impl Store, keyset: &str) -> Option<Document> {
    store.load(&name(keyset)).await.unwrap().map(|loaded| loaded.document)
}

async fn carry(source: &impl Store, target: &impl Store, route: &Route, keyset: &str) -> Result<Moved, Stopped> {
    Move { source, target, route, recovery: RECOVERY, intent: &intent() }.carry(&name(keyset)).await
}

async fn end(source: &impl Store, target: &impl Store, route: &Route, keyset: &str) -> Result<Moved, Stopped> {
    Move { source, target, route, recovery: RECOVERY, intent: &intent() }.end(&name(keyset), false).await
}

/// The same keys in the same states with the same times, and everything else that counts; only who moved it and when is added.
fn assert_same_but_for_the_move(found: &Document, before: &Document) {
    let plain = |document: &Document| {
        let mut plain = document.clone();
        plain.generation = before.generation;
        plain.updated_at = before.updated_at;
        plain.intents.moved = None;
        plain.lineage.clear();
        plain.history.clear();
        plain
    };
    assert!(plain(found) == plain(before), "{found:?} is not {before:?}");
}
