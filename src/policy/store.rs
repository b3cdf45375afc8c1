//! Where a policy says that documents are kept, and what that store promises and allows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::Report;
use super::raw::{RawStore, RawStoreKind};
use super::tree::Node;
use crate::name::{EnvironmentName, KeysetName};
use crate::time::Span;

/// Where keyset documents are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum StoreConfig {
    /// An encrypted `SQLite` file in the state directory.
    Embedded,
    /// AWS Secrets Manager: one secret per keyset, shared by any number of replicas.
    AwsSecretsManager(AwsStore),
}

/// How to reach AWS Secrets Manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsStore {
    /// What stands in front of a keyset's name in the name of its secret.
    pub prefix: String,
    /// The region; `None`: what the SDK finds.
    pub region: Option<String>,
    /// Another address of the service.
    pub endpoint_url: Option<String>,
    /// The KMS key that encrypts the secrets; `None`: the account's own.
    pub kms_key_id: Option<String>,
    /// Tags of every secret.
    pub tags: BTreeMap<String, String>,
    /// Regions that secrets are replicated to.
    pub replica_regions: Vec<String>,
    /// The profile in the AWS configuration files.
    pub profile: Option<String>,
    /// How foreign changes are noticed.
    pub sweep: Sweep,
    /// How often.
    pub sweep_every: Span,
}

/// How replicas on AWS notice each other's changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sweep {
    /// By `ListSecrets`, a hundred keysets a call. The list may be five minutes behind, which the waits count in.
    List,
    /// By reading every keyset, twenty a call. Seconds behind at most, for five times the calls.
    Read,
}

impl Sweep {
    /// How far what a sweep shows may be behind what was written. Of lists the service says five minutes; of reads, which are
    /// eventually consistent, it says nothing, and ten seconds are many times what is seen.
    pub const fn lag(self) -> Span {
        match self {
            Self::List => Span::minutes(5),
            Self::Read => Span::seconds(10),
        }
    }
}

/// How often is swept, unless the policy says otherwise, and within which bounds it may.
const SWEEP_EVERY: Span = Span::minutes(1);
const SWEEPS: std::ops::RangeInclusive<Span> = Span::seconds(1)..=Span::minutes(15);

/// The tags that keyrota sets itself.
const OWN_TAGS: [&str; 3] = ["managed-by", "environment", "keyset"];

/// The longest name of a secret.
const LONGEST_AWS_NAME: usize = 512;

impl StoreConfig {
    /// How far a ready replica may lag behind the store: an honest upper bound of timer, pass and the store's own lag. Embedded: 5s.
    /// AWS: 7m5s by default, because `ListSecrets`, by which foreign changes are noticed, may lag five minutes.
    pub fn store_refresh(&self) -> Span {
        self.fresh_for() + self.lag()
    }

    /// How old a replica's last confirmed look may be for it to be ready. Two sweeps, so that one may fail, and the time of a pass.
    pub fn fresh_for(&self) -> Span {
        match self {
            Self::Embedded => Span::seconds(5),
            Self::AwsSecretsManager(aws) => aws.sweep_every * 2 + Span::seconds(5),
        }
    }

    /// How far a look at the store may itself be behind what was written.
    pub const fn lag(&self) -> Span {
        match self {
            Self::Embedded => Span::ZERO,
            Self::AwsSecretsManager(aws) => aws.sweep.lag(),
        }
    }

    /// Whether other processes on other machines may write the same documents.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::AwsSecretsManager(_))
    }

    /// The most bytes a document may have. AWS takes 65,536; 4 KiB of them stay free for what the swap adds.
    pub const fn value_limit(&self) -> usize {
        match self {
            Self::Embedded => 1024 * 1024,
            Self::AwsSecretsManager(_) => 60 * 1024,
        }
    }

    /// Its kind, as a policy and the command line name it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::AwsSecretsManager(_) => "aws-secrets-manager",
        }
    }

    /// What it is called where keysets move from one store to another: the same for settings that lead to the same documents.
    pub fn name(&self) -> String {
        match self {
            Self::Embedded => "embedded store".to_owned(),
            Self::AwsSecretsManager(aws) => {
                let region = aws.region.as_ref().map(|region| format!(" in {region}")).unwrap_or_default();
                let url = aws.endpoint_url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
                format!("aws-secrets-manager store {}*{region}{url}", aws.prefix)
            }
        }
    }

    /// The name of a keyset's document in the store, where the store has names of its own.
    pub fn secret_name(&self, keyset: &KeysetName) -> Option<String> {
        match self {
            Self::Embedded => None,
            Self::AwsSecretsManager(aws) => Some(format!("{}{keyset}", aws.prefix)),
        }
    }
}

/// Reads `store:`; faults go into the report.
pub(super) fn resolve(raw: Option<RawStore>, node: Option<&Node>, environment: &EnvironmentName, report: &mut Report) -> StoreConfig {
    let (Some(raw), Some(node)) = (raw, node) else { return StoreConfig::Embedded };
    if raw.kind == RawStoreKind::Embedded {
        for (name, field) in node.entries().iter().filter(|(name, _)| name != "kind") {
            let hint = format!("remove it, or use `kind: aws-secrets-manager`, which has `{name}`");
            report.fault(&field.place, "means nothing to the embedded store", hint);
        }
        return StoreConfig::Embedded;
    }
    let aws = AwsStore {
        prefix: raw.prefix.unwrap_or_else(|| format!("keyrota/{environment}/")),
        region: raw.region,
        endpoint_url: raw.endpoint_url,
        kms_key_id: raw.kms_key_id,
        tags: raw.tags.unwrap_or_default(),
        replica_regions: raw.replica_regions.unwrap_or_default(),
        profile: raw.profile,
        sweep: raw.sweep.unwrap_or(Sweep::List),
        sweep_every: raw.sweep_every.unwrap_or(SWEEP_EVERY),
    };
    if !SWEEPS.contains(&aws.sweep_every) {
        let what = format!("{} is not from {} to {}", aws.sweep_every, SWEEPS.start(), SWEEPS.end());
        report.fault(&node.place_of("sweep_every"), what, format!("leave it out for {SWEEP_EVERY}"));
    }
    let lawful = |b: u8| b.is_ascii_alphanumeric() || b"/_+=.@-".contains(&b);
    if !aws.prefix.bytes().all(lawful) {
        report.fault(&node.place_of("prefix"), format!("`{}` cannot begin a secret's name", aws.prefix), "use A-Z a-z 0-9 / _ + = . @ -");
    }
    let region = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    for (field, text) in aws.region.iter().map(|r| ("region", r)).chain(aws.replica_regions.iter().map(|r| ("replica_regions", r))) {
        if !region(text) {
            report.fault(&node.place_of(field), format!("`{text}` is not a region"), "for example eu-west-3");
        }
    }
    if let Some(url) = aws.endpoint_url.as_deref().filter(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
        report.fault(&node.place_of("endpoint_url"), format!("`{url}` is not an address"), "for example https://vpce-1.example.com");
    }
    for (field, text) in [("kms_key_id", &aws.kms_key_id), ("profile", &aws.profile)] {
        if text.as_deref().is_some_and(|text| text.trim().is_empty()) {
            report.fault(&node.place_of(field), "is blank", "give it a value, or remove the field");
        }
    }
    tags(&aws, node, report);
    StoreConfig::AwsSecretsManager(aws)
}

fn tags(aws: &AwsStore, node: &Node, report: &mut Report) {
    let at = node.place_of("tags");
    let most = 50 - OWN_TAGS.len();
    if aws.tags.len() > most {
        let what = format!("has {} tags, AWS takes 50 and keyrota adds {}", aws.tags.len(), OWN_TAGS.len());
        report.fault(&at, what, format!("keep at most {most}"));
    }
    if let Some(own) = OWN_TAGS.iter().find(|own| aws.tags.contains_key(**own)) {
        report.fault(&at, format!("`{own}` is set by keyrota itself"), "remove it");
    }
    for (key, value) in &aws.tags {
        let lengths = (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256;
        if !lengths || key.to_ascii_lowercase().starts_with("aws:") {
            let hint = "a key has 1 to 128 characters and does not begin with aws:, a value has up to 256";
            report.fault(&at, format!("AWS refuses the tag `{key}`"), hint);
        }
    }
}

/// Whether the store can hold a document under this keyset's name.
pub(super) fn check_name(store: &StoreConfig, keyset: &KeysetName, node: &Node, report: &mut Report) {
    let Some(name) = store.secret_name(keyset) else { return };
    if name.len() > LONGEST_AWS_NAME {
        let what = format!("the secret's name would have {} characters, AWS takes {LONGEST_AWS_NAME}", name.len());
        report.fault(&node.place, what, "shorten `store.prefix`");
    }
    let suffix = name.rsplit_once('-').map(|(_, suffix)| suffix);
    if suffix.is_some_and(|s| s.len() == 6 && s.bytes().all(|b| b.is_ascii_alphanumeric())) {
        let what = format!("the secret `{name}` ends in `-` and six characters, which AWS can take for part of an ARN");
        report.warning(&node.place, what, "let consumers name it by its full ARN, or choose another keyset name");
    }
}
