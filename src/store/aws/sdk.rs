//! The calls through the AWS SDK: credentials by its default chain, one connection pool, TLS by aws-lc-rs.
//!
//! Writes are sent once each, because the swap decides what may be repeated; reads are repeated by the SDK. The client is made at the
//! first call, so that a daemon starts without its network. Values are handed to the SDK as plain strings, which it does not wipe:
//! they live as long as the request.

mod fault;

use std::collections::BTreeMap;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, ReplicaRegionType, SecretListEntry, Tag};
use aws_sdk_secretsmanager::{Client, config};
use tokio::sync::OnceCell;

use super::calls::{CURRENT, CallError, CallFault, Calls, Described, Listed, Made, NewSecret, Page, Value, VersionId, Which};
use crate::policy::AwsStore as AwsConfig;
use crate::secret::SecretText;
use crate::time::{Span, Timestamp};
use fault::{call_error, item_error, lacking};

/// How long a connection may take to be made.
const CONNECT: Span = Span::seconds(3);
/// How long one try of a call may take.
const ATTEMPT: Span = Span::seconds(5);
/// How long a call may take with all its tries.
const OPERATION: Span = Span::seconds(20);
/// How often a read is tried.
const READ_ATTEMPTS: u32 = 4;

/// The service in one region, as one identity.
#[derive(Debug)]
pub struct SdkCalls {
    region: Option<String>,
    endpoint_url: Option<String>,
    profile: Option<String>,
    client: OnceCell<Client>,
}

impl SdkCalls {
    /// The service as a policy names it. Touches no network and no file yet.
    pub fn new(config: &AwsConfig) -> Self {
        let (region, endpoint_url, profile) = (config.region.clone(), config.endpoint_url.clone(), config.profile.clone());
        Self { region, endpoint_url, profile, client: OnceCell::new() }
    }

    async fn client(&self) -> &Client {
        self.client
            .get_or_init(|| async {
                let timeouts = TimeoutConfig::builder()
                    .connect_timeout(CONNECT.to_std())
                    .operation_attempt_timeout(ATTEMPT.to_std())
                    .operation_timeout(OPERATION.to_std());
                let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
                    .retry_config(RetryConfig::standard().with_max_attempts(READ_ATTEMPTS))
                    .timeout_config(timeouts.build());
                if let Some(region) = &self.region {
                    loader = loader.region(Region::new(region.clone()));
                }
                if let Some(profile) = &self.profile {
                    loader = loader.profile_name(profile);
                }
                let mut service = config::Builder::from(&loader.load().await);
                if let Some(url) = &self.endpoint_url {
                    service = service.endpoint_url(url);
                }
                Client::from_conf(service.build())
            })
            .await
    }
}

/// What a write is sent with: once.
fn once() -> config::Builder {
    config::Builder::new().retry_config(RetryConfig::disabled())
}

impl Calls for SdkCalls {
    async fn create(&self, secret: &NewSecret<'_>) -> Result<Made, CallError> {
        let tags = secret.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let regions: Vec<_> = secret.manner.replica_regions.iter().map(|r| ReplicaRegionType::builder().region(r).build()).collect();
        let call = self.client().await.create_secret().name(secret.name).client_request_token(&secret.token.0);
        let call = call.secret_string(secret.value.expose()).description(secret.description).set_tags(Some(tags));
        let call = call.set_kms_key_id(secret.manner.kms_key_id.clone()).set_add_replica_regions((!regions.is_empty()).then_some(regions));
        let made = call.customize().config_override(once()).send().await.map_err(|e| call_error(&e, "CreateSecret", secret.name))?;
        let (arn, version) = made.arn.zip(made.version_id).ok_or_else(|| lacking("CreateSecret", secret.name, "ARN or VersionId"))?;
        Ok(Made { arn, version: VersionId(version) })
    }

    async fn put(&self, secret: &str, token: &VersionId, value: &SecretText, label: &str) -> Result<(), CallError> {
        let call = self.client().await.put_secret_value().secret_id(secret).client_request_token(&token.0);
        let call = call.secret_string(value.expose()).version_stages(label).customize().config_override(once());
        call.send().await.map(drop).map_err(|e| call_error(&e, "PutSecretValue", secret))
    }

    async fn move_current(&self, secret: &str, from: &VersionId, to: &VersionId) -> Result<(), CallError> {
        let call = self.client().await.update_secret_version_stage().secret_id(secret).version_stage(CURRENT);
        let call = call.remove_from_version_id(&from.0).move_to_version_id(&to.0).customize().config_override(once());
        call.send().await.map(drop).map_err(|e| call_error(&e, "UpdateSecretVersionStage", secret))
    }

    async fn get(&self, secret: &str, which: Which<'_>) -> Result<Value, CallError> {
        let call = self.client().await.get_secret_value().secret_id(secret);
        let call = match which {
            Which::Current => call.version_stage(CURRENT),
            Which::Version(version) => call.version_id(&version.0),
        };
        let found = call.send().await.map_err(|e| call_error(&e, "GetSecretValue", secret))?;
        let value = value(found.arn, found.version_id, found.version_stages, found.secret_string);
        value.ok_or_else(|| lacking("GetSecretValue", secret, "ARN or VersionId"))
    }

    async fn get_many(&self, secrets: &[String]) -> Result<BTreeMap<String, Result<Value, CallError>>, CallError> {
        const ACTION: &str = "BatchGetSecretValue";
        let all = || format!("{} secrets from {}", secrets.len(), secrets.first().map_or("", String::as_str));
        let mut found = BTreeMap::new();
        let mut next = None;
        loop {
            let call = self.client().await.batch_get_secret_value().set_next_token(next.take());
            let call = call.set_secret_id_list(Some(secrets.to_vec()));
            let answer = call.send().await.map_err(|e| call_error(&e, ACTION, &all()))?;
            for entry in answer.secret_values.unwrap_or_default() {
                let Some(name) = entry.name else { continue };
                let value = value(entry.arn, entry.version_id, entry.version_stages, entry.secret_string);
                let value = value.ok_or_else(|| lacking(ACTION, &name, "ARN or VersionId"));
                found.insert(name, value);
            }
            for error in answer.errors.unwrap_or_default() {
                let Some(name) = error.secret_id else { continue };
                let fault = item_error(error.error_code.as_deref().unwrap_or_default(), error.message.as_deref(), ACTION, &name);
                found.insert(name, Err(fault));
            }
            next = answer.next_token;
            if next.is_none() {
                return Ok(found);
            }
        }
    }

    async fn describe(&self, secret: &str) -> Result<Described, CallError> {
        let call = self.client().await.describe_secret().secret_id(secret);
        let found = call.send().await.map_err(|e| call_error(&e, "DescribeSecret", secret))?;
        described(found).ok_or_else(|| lacking("DescribeSecret", secret, "ARN"))
    }

    async fn delete(&self, secret: &str, window: Span) -> Result<(), CallError> {
        let days = i64::try_from(window.whole_seconds() / 86_400).unwrap_or(i64::MAX);
        let call = self.client().await.delete_secret().secret_id(secret).recovery_window_in_days(days);
        call.customize().config_override(once()).send().await.map(drop).map_err(|e| call_error(&e, "DeleteSecret", secret))
    }

    async fn list(&self, prefix: &str, page: Option<&str>) -> Result<Page, CallError> {
        let call = self.client().await.list_secrets().max_results(100).include_planned_deletion(true);
        let by_name = Filter::builder().key(FilterNameStringType::Name).values(prefix).build();
        let call = call.filters(by_name).set_next_token(page.map(str::to_owned));
        let found = call.send().await.map_err(|e| call_error(&e, "ListSecrets", prefix))?;
        Ok(Page { secrets: found.secret_list.unwrap_or_default().into_iter().filter_map(listed).collect(), next: found.next_token })
    }
}

fn value(arn: Option<String>, version: Option<String>, labels: Option<Vec<String>>, text: Option<String>) -> Option<Value> {
    let in_force = labels.unwrap_or_default().iter().any(|label| label == CURRENT);
    Some(Value { arn: arn?, version: VersionId(version?), in_force, text: text.map(SecretText::new) })
}

fn tags(tags: Option<Vec<Tag>>) -> BTreeMap<String, String> {
    tags.unwrap_or_default().into_iter().filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect()
}

fn described(found: DescribeSecretOutput) -> Option<Described> {
    let labels = found.version_ids_to_stages.unwrap_or_default();
    Some(Described {
        arn: found.arn?,
        labels: labels.into_iter().map(|(version, labels)| (VersionId(version), labels)).collect(),
        tags: tags(found.tags),
        deleted_at: found.deleted_date.map(|at| Timestamp::from_millis(at.to_millis().unwrap_or_default())),
    })
}

fn listed(found: SecretListEntry) -> Option<Listed> {
    let labels = found.secret_versions_to_stages.unwrap_or_default();
    let current = labels.into_iter().find(|(_, labels)| labels.iter().any(|label| label == CURRENT));
    let current = current.map(|(version, _)| VersionId(version));
    Some(Listed { name: found.name?, arn: found.arn?, current, tags: tags(found.tags), deleted: found.deleted_date.is_some() })
}
