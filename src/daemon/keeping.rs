//! Which store an environment's documents are kept in: what its policy says.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::House;
use crate::document::Document;
use crate::metrics::MeasuredCalls;
use crate::name::{EnvironmentName, KeysetName};
use crate::policy::StoreConfig;
use crate::store::aws::AwsStore;
use crate::store::aws::pace::MachineTime;
use crate::store::aws::permissions::Tried;
use crate::store::aws::sdk::SdkCalls;
use crate::store::embedded::EnvironmentStore;
use crate::store::{Changes, Loaded, Mark, Revision, Store, StoreError, SwapError};
use crate::time::Span;

/// The store of one environment. Clones share it.
#[derive(Clone)]
pub enum Keeping {
    /// A part of the file in the state directory.
    Embedded(EnvironmentStore),
    /// AWS Secrets Manager.
    Aws(AwsStore<MeasuredCalls<SdkCalls>>),
}

impl Keeping {
    /// The store that a policy names. Calls no service.
    pub fn of(house: &House, environment: &EnvironmentName, config: &StoreConfig) -> Self {
        match config {
            StoreConfig::Embedded => Self::Embedded(house.embedded.environment(environment)),
            StoreConfig::AwsSecretsManager(aws) => {
                let calls = MeasuredCalls::new(SdkCalls::new(aws), Arc::clone(&house.metrics), environment.clone());
                Self::Aws(AwsStore::new(environment, aws, calls, MachineTime, Arc::clone(&house.pace), house.instance))
            }
        }
    }

    /// What the identity in use may do, tried by calls that change nothing, where the store has such a thing.
    pub async fn permissions(&self) -> Vec<Tried> {
        match self {
            Self::Embedded(_) => Vec::new(),
            Self::Aws(store) => Box::pin(store.permissions()).await,
        }
    }

    /// The account, if documents are kept in AWS.
    pub const fn aws(&self) -> Option<&AwsStore<MeasuredCalls<SdkCalls>>> {
        match self {
            Self::Embedded(_) => None,
            Self::Aws(store) => Some(store),
        }
    }

    /// The policy wants these keysets.
    pub fn watch<'k>(&self, keysets: impl Iterator<Item = &'k KeysetName>) {
        if let Self::Aws(store) = self {
            store.watch(keysets.cloned());
        }
    }
}

/// The futures of the SDK are large: they are kept apart from those of everything that waits for a store.
impl Store for Keeping {
    async fn load(&self, keyset: &KeysetName) -> Result<Option<Loaded>, StoreError> {
        match self {
            Self::Embedded(store) => store.load(keyset).await,
            Self::Aws(store) => Box::pin(store.load(keyset)).await,
        }
    }

    async fn load_many(&self, keysets: &[KeysetName]) -> Result<BTreeMap<KeysetName, Result<Loaded, StoreError>>, StoreError> {
        match self {
            Self::Embedded(store) => store.load_many(keysets).await,
            Self::Aws(store) => Box::pin(store.load_many(keysets)).await,
        }
    }

    async fn swap(&self, expected: Option<&Revision>, next: &Document) -> Result<Revision, SwapError> {
        match self {
            Self::Embedded(store) => store.swap(expected, next).await,
            Self::Aws(store) => Box::pin(store.swap(expected, next)).await,
        }
    }

    async fn remove(&self, keyset: &KeysetName, expected: &Revision, recovery: Span) -> Result<(), SwapError> {
        match self {
            Self::Embedded(store) => store.remove(keyset, expected, recovery).await,
            Self::Aws(store) => Box::pin(store.remove(keyset, expected, recovery)).await,
        }
    }

    async fn changes(&self, mark: &Mark) -> Result<Changes, StoreError> {
        match self {
            Self::Embedded(store) => store.changes(mark).await,
            Self::Aws(store) => Box::pin(store.changes(mark)).await,
        }
    }

    fn poll_every(&self) -> Span {
        match self {
            Self::Embedded(store) => store.poll_every(),
            Self::Aws(store) => store.poll_every(),
        }
    }

    fn at_once(&self) -> usize {
        match self {
            Self::Embedded(store) => store.at_once(),
            Self::Aws(store) => store.at_once(),
        }
    }
}
