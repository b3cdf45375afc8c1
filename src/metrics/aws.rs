//! Calls to AWS, counted by operation: what the service charges for and limits the rate of.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Metrics;
use crate::name::EnvironmentName;
use crate::secret::SecretText;
use crate::store::aws::calls::{CallError, CallFault, Calls, Described, Made, NewSecret, Page, Value, VersionId, Which};
use crate::time::Span;

/// The service's operations that keyrota uses, as labels.
pub(super) const OPERATIONS: [&str; 8] = [
    "CreateSecret",
    "PutSecretValue",
    "UpdateSecretVersionStage",
    "GetSecretValue",
    "BatchGetSecretValue",
    "DescribeSecret",
    "ListSecrets",
    "DeleteSecret",
];

/// What a call that worked is counted as; what failed is counted by [`CallFault::as_str`].
const OK: &str = "ok";

/// Every result that a call may be counted under.
pub(super) fn results() -> impl Iterator<Item = &'static str> {
    CallFault::ALL.into_iter().map(CallFault::as_str).chain([OK])
}

/// Counts every call of the calls inside, as `keyrota_aws_calls_total{environment, operation, result}`. Reads that the SDK repeats
/// by itself count once.
pub struct MeasuredCalls<C> {
    inner: C,
    metrics: Arc<Metrics>,
    environment: EnvironmentName,
}

impl<C: Calls> MeasuredCalls<C> {
    /// Counts `inner` as the calls of `environment`.
    pub fn new(inner: C, metrics: Arc<Metrics>, environment: EnvironmentName) -> Self {
        metrics.meet(&environment);
        for operation in OPERATIONS {
            // A series that is there from the start; one that counts already goes on.
            metrics.aws_calls.with_label_values(&[environment.as_str(), operation, OK]).inc_by(0);
        }
        Self { inner, metrics, environment }
    }

    async fn counted<T>(&self, operation: &str, call: impl Future<Output = Result<T, CallError>> + Send) -> Result<T, CallError> {
        let answer = call.await;
        let result = answer.as_ref().map_or_else(|error| error.fault.as_str(), |_| OK);
        self.metrics.aws_calls.with_label_values(&[self.environment.as_str(), operation, result]).inc();
        answer
    }
}

impl<C: Calls> Calls for MeasuredCalls<C> {
    async fn create(&self, secret: &NewSecret<'_>) -> Result<Made, CallError> {
        self.counted("CreateSecret", self.inner.create(secret)).await
    }

    async fn put(&self, secret: &str, token: &VersionId, value: &SecretText, label: &str) -> Result<(), CallError> {
        self.counted("PutSecretValue", self.inner.put(secret, token, value, label)).await
    }

    async fn move_current(&self, secret: &str, from: &VersionId, to: &VersionId) -> Result<(), CallError> {
        self.counted("UpdateSecretVersionStage", self.inner.move_current(secret, from, to)).await
    }

    async fn get(&self, secret: &str, which: Which<'_>) -> Result<Value, CallError> {
        self.counted("GetSecretValue", self.inner.get(secret, which)).await
    }

    async fn get_many(&self, secrets: &[String]) -> Result<BTreeMap<String, Result<Value, CallError>>, CallError> {
        self.counted("BatchGetSecretValue", self.inner.get_many(secrets)).await
    }

    async fn describe(&self, secret: &str) -> Result<Described, CallError> {
        self.counted("DescribeSecret", self.inner.describe(secret)).await
    }

    async fn delete(&self, secret: &str, window: Span) -> Result<(), CallError> {
        self.counted("DeleteSecret", self.inner.delete(secret, window)).await
    }

    async fn list(&self, prefix: &str, page: Option<&str>) -> Result<Page, CallError> {
        self.counted("ListSecrets", self.inner.list(prefix, page)).await
    }
}
