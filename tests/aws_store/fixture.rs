//! An account with the imitation in it, and ways into it.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyrota::policy::{AwsStore as AwsConfig, Sweep};
use keyrota::store::aws::AwsStore;
use keyrota::store::aws::pace::Pace;
use keyrota::store::seal::RandomId;
use keyrota::time::Span;

use crate::aws_fake::{FakeCalls, FakeTime, Service};
use crate::contract::ENVIRONMENT;

pub type FakeStore = AwsStore<FakeCalls, FakeTime>;

/// The name of a keyset's secret.
pub fn secret(keyset: &str) -> String {
    format!("keyrota/{ENVIRONMENT}/{keyset}")
}

pub fn config(sweep: Sweep, sweep_every: Span) -> AwsConfig {
    AwsConfig {
        prefix: format!("keyrota/{ENVIRONMENT}/"),
        region: None,
        endpoint_url: None,
        kms_key_id: None,
        tags: BTreeMap::from([("team".into(), "identity".into())]),
        replica_regions: Vec::new(),
        profile: None,
        sweep,
        sweep_every,
    }
}

/// One account.
pub struct Account {
    pub calls: FakeCalls,
    pub time: FakeTime,
}

impl Account {
    pub fn new(seed: u64) -> Self {
        let time = FakeTime::default();
        Self { calls: FakeCalls::new(Service::new(seed, time.clone())), time }
    }

    /// Without the limit on a day's versions, where a test makes more of them at once.
    pub fn endless() -> Self {
        let account = Self::new(1);
        account.calls.service().knobs.endless = true;
        account
    }

    /// A way in that looks anew whenever it is asked.
    pub fn store(&self) -> FakeStore {
        self.store_of(&config(Sweep::List, Span::millis(1)))
    }

    pub fn store_of(&self, config: &AwsConfig) -> FakeStore {
        let pace = Arc::new(Pace::new(1_000_000));
        AwsStore::new(&ENVIRONMENT.parse().unwrap(), config, self.calls.clone(), self.time.clone(), pace, RandomId::new().unwrap())
    }

    /// How many calls were made since the last time this was asked, by operation.
    pub fn counted(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.calls.service().counts)
    }
}
