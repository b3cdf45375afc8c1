//! Every store keeps the same contract.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod contract;

use contract::{ENVIRONMENT, Fixture};
use keyrota::name::KeysetName;
use keyrota::store::embedded::{EmbeddedStore, EnvironmentStore};
use keyrota::store::master_key::MasterKeySource;
use keyrota::store::memory::MemoryStore;
use keyrota::store::{RECOVERY, Store as _, SwapError};

struct InMemory(MemoryStore);

impl Fixture for InMemory {
    type Store = MemoryStore;
    fn open(&self) -> MemoryStore {
        self.0.clone()
    }
    async fn damage(&self, keyset: &KeysetName) {
        assert!(self.0.damage(keyset));
    }
    async fn remove(&self, keyset: &KeysetName) {
        assert!(self.0.lose(keyset));
    }
}

struct Embedded(tempfile::TempDir);

impl Fixture for Embedded {
    type Store = EnvironmentStore;
    /// A store of its own on the same file, as a second daemon has it.
    fn open(&self) -> EnvironmentStore {
        let store = EmbeddedStore::open(self.0.path(), &MasterKeySource::Default).unwrap();
        store.environment(&ENVIRONMENT.parse().unwrap())
    }
    async fn damage(&self, keyset: &KeysetName) {
        let database = rusqlite::Connection::open(self.0.path().join("keysets.db")).unwrap();
        let damage = "UPDATE keyset SET sealed = zeroblob(length(sealed)) WHERE keyset = ?1";
        assert_eq!(database.execute(damage, [keyset.as_str()]).unwrap(), 1);
    }
    async fn remove(&self, keyset: &KeysetName) {
        let store = self.open();
        let revision = store.load(keyset).await.unwrap().unwrap().revision;
        store.remove(keyset, &revision, RECOVERY).await.unwrap();
    }
}

async fn a_removal_is_a_compare_and_swap(fixture: &impl Fixture) {
    let store = fixture.open();
    let (document, first_at) = contract::create(&store, "a").await;
    let second_at = store.swap(Some(&first_at), &contract::next(&document, "two")).await.unwrap();
    assert_eq!(store.remove(&contract::name("a"), &first_at, RECOVERY).await, Err(SwapError::Conflict), "somebody else was first");
    assert!(contract::loaded(&store, "a").await.is_some());
    assert_eq!(store.remove(&contract::name("a"), &second_at, RECOVERY).await, Ok(()));
    assert_eq!(store.remove(&contract::name("a"), &second_at, RECOVERY).await, Err(SwapError::Conflict), "it is gone already");
    assert_eq!(store.remove(&contract::name("absent"), &second_at, RECOVERY).await, Err(SwapError::Conflict));
    assert!(contract::loaded(&store, "a").await.is_none() && contract::loaded(&fixture.open(), "a").await.is_none());
    assert_eq!(store.swap(Some(&second_at), &contract::next(&document, "late")).await, Err(SwapError::Conflict));
    let (_, again) = contract::create(&store, "a").await;
    assert!(contract::loaded(&store, "a").await.is_some_and(|(_, revision)| revision == again), "the name can be used anew");
}

mod memory {
    crate::contract::store_contract!(super::InMemory(super::MemoryStore::new(super::ENVIRONMENT.parse().unwrap())));

    #[tokio::test]
    async fn a_removal_is_a_compare_and_swap() {
        super::a_removal_is_a_compare_and_swap(&super::InMemory(super::MemoryStore::new(super::ENVIRONMENT.parse().unwrap()))).await;
    }
}

mod embedded {
    crate::contract::store_contract!(super::Embedded(tempfile::tempdir().unwrap()));

    #[tokio::test]
    async fn a_removal_is_a_compare_and_swap() {
        super::a_removal_is_a_compare_and_swap(&super::Embedded(tempfile::tempdir().unwrap())).await;
    }
}
