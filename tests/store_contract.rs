//! Every store keeps the same contract.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod contract;

use contract::{ENVIRONMENT, Fixture};
use keyrota::name::KeysetName;
use keyrota::store::Store as _;
use keyrota::store::embedded::{EmbeddedStore, EnvironmentStore};
use keyrota::store::master_key::MasterKeySource;
use keyrota::store::memory::MemoryStore;

/// One test for every rule of the contract.
macro_rules! store_contract {
    ($fixture:expr) => {
        store_contract!(@each $fixture;
            an_empty_store_has_nothing, a_keyset_is_created_once, an_update_is_never_lost, of_nested_updates_one_wins,
            a_race_has_one_winner, a_race_to_create_has_one_winner, two_openings_race_for_one_place,
            a_generation_is_used_once, a_revision_is_used_once, a_removal_is_a_compare_and_swap,
            another_environment_is_refused, unreadable_is_not_empty,
            one_bad_keyset_does_not_hide_the_others, changes_tell_of_every_write_once, changes_tell_of_removals,
            changes_tell_of_other_openings, a_foreign_mark_begins_anew, changes_miss_nothing_under_load, thousands_at_once);
    };
    (@each $fixture:expr; $($rule:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $rule() {
            $crate::contract::$rule(&$fixture).await;
        })*
    };
}

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
        store.remove(keyset, &revision).await.unwrap();
    }
}

mod memory {
    store_contract!(super::InMemory(super::MemoryStore::new(super::ENVIRONMENT.parse().unwrap())));
}

mod embedded {
    store_contract!(super::Embedded(tempfile::tempdir().unwrap()));
}
