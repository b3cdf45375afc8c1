//! A store whose operations are counted and timed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Metrics;
use crate::clock::Reading;
use crate::document::Document;
use crate::name::{EnvironmentName, KeysetName};
use crate::store::{Changes, Loaded, Mark, Revision, Store, StoreError, SwapError};
use crate::time::Span;

/// How a look at the store may end; a swap may end in every way.
const READ_RESULTS: [&str; 3] = ["ok", "unavailable", "invalid"];

/// Counts and times every operation of the store inside.
pub struct MeasuredStore<S> {
    inner: S,
    metrics: Arc<Metrics>,
    environment: EnvironmentName,
}

impl<S: Store> MeasuredStore<S> {
    /// Measures `inner` as the store of `environment`.
    pub fn new(inner: S, metrics: Arc<Metrics>, environment: EnvironmentName) -> Self {
        metrics.meet(&environment);
        for operation in super::OPERATIONS {
            // Every way to end stands there from the start: an increase is seen from the first one on.
            for result in super::RESULTS.into_iter().filter(|result| operation == "swap" || READ_RESULTS.contains(result)) {
                metrics.store_operations.with_label_values(&[environment.as_str(), operation, result]).reset();
            }
        }
        metrics.store_last_success.with_label_values(&[environment.as_str()]).set(0.0);
        Self { inner, metrics, environment }
    }

    /// The store inside.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    async fn measured<T, E>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, E>> + Send,
        ended: fn(&E) -> &'static str,
    ) -> Result<T, E> {
        let environment = self.environment.as_str();
        let timer = self.metrics.store_duration.with_label_values(&[environment, operation]).start_timer();
        let result = work.await;
        timer.observe_duration();
        let how = result.as_ref().map_or_else(ended, |_| "ok");
        self.metrics.store_operations.with_label_values(&[environment, operation, how]).inc();
        if matches!(how, "ok" | "conflict") {
            let now = Reading::now().wall.as_seconds_f64();
            self.metrics.store_last_success.with_label_values(&[environment]).set(now);
        }
        result
    }
}

impl<S: Store> Store for MeasuredStore<S> {
    async fn load(&self, keyset: &KeysetName) -> Result<Option<Loaded>, StoreError> {
        self.measured("load", self.inner.load(keyset), read_ended).await
    }

    async fn load_many(&self, keysets: &[KeysetName]) -> Result<BTreeMap<KeysetName, Result<Loaded, StoreError>>, StoreError> {
        self.measured("load_many", self.inner.load_many(keysets), read_ended).await
    }

    async fn swap(&self, expected: Option<&Revision>, next: &Document) -> Result<Revision, SwapError> {
        self.measured("swap", self.inner.swap(expected, next), swap_ended).await
    }

    /// Counted among the swaps: it is one that leaves nothing.
    async fn remove(&self, keyset: &KeysetName, expected: &Revision, recovery: Span) -> Result<(), SwapError> {
        self.measured("swap", self.inner.remove(keyset, expected, recovery), swap_ended).await
    }

    async fn changes(&self, mark: &Mark) -> Result<Changes, StoreError> {
        self.measured("changes", self.inner.changes(mark), read_ended).await
    }

    fn poll_every(&self) -> Span {
        self.inner.poll_every()
    }

    fn at_once(&self) -> usize {
        self.inner.at_once()
    }
}

const fn read_ended(error: &StoreError) -> &'static str {
    match error {
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Invalid(_) => "invalid",
    }
}

const fn swap_ended(error: &SwapError) -> &'static str {
    match error {
        SwapError::Conflict => "conflict",
        SwapError::Unavailable(_) => "unavailable",
        SwapError::Indeterminate(_) => "indeterminate",
        SwapError::Invalid(_) => "invalid",
    }
}
