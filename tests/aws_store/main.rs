//! AWS Secrets Manager as the store, over a strict imitation of it: the contract of all stores, every fault, and races.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../aws_fake/mod.rs"]
mod aws_fake;
#[path = "../contract/mod.rs"]
mod contract;
mod crowd;
mod faults;
mod fixture;
mod key_sets;
mod permissions;
mod races;
mod removals;
mod sweeps;

use contract::Fixture;
use fixture::{Account, secret};
use keyrota::name::KeysetName;
use keyrota::time::Span;

impl Fixture for Account {
    type Store = fixture::FakeStore;

    fn open(&self) -> Self::Store {
        self.store()
    }

    async fn damage(&self, keyset: &KeysetName) {
        self.calls.service().write_over(&secret(keyset.as_str()), Some("nonsense"));
    }

    async fn remove(&self, keyset: &KeysetName) {
        self.calls.service().purge(&secret(keyset.as_str()));
        // Lists may lag: only after that time does an absence mean anything.
        self.time.pass(Span::minutes(6));
    }
}

contract::store_contract!(crate::fixture::Account::endless());
