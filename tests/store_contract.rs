//! Every store keeps the same contract.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod contract;

use contract::{ENVIRONMENT, Fixture};
use keyrota::name::KeysetName;
use keyrota::store::Store as _;
use keyrota::store::embedded::{EmbeddedStore, EnvironmentStore};
use keyrota::store::master_key::MasterKeySource;
use keyrota::store::memory::MemoryStore;

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
        assert!(self.0.remove(keyset));
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
        store.remove(keyset, &revision).await.unwrap();
    }
}

mod memory {
    crate::contract::store_contract!(super::InMemory(super::MemoryStore::new(super::ENVIRONMENT.parse().unwrap())));
}

mod embedded {
    crate::contract::store_contract!(super::Embedded(tempfile::tempdir().unwrap()));
}
