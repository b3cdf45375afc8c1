//! The port to the service: the calls of AWS Secrets Manager that keyrota makes, as values of its own.
//!
//! What a swap does with them is the business of the room `swap`. Nothing in here knows a document, a policy or an SDK. An implementation
//! sends each *write* at most once, because only the caller knows which of them may be repeated; reads it may repeat as it likes.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;

use crate::secret::SecretText;
use crate::time::{Span, Timestamp};

/// The label of the version in force.
pub const CURRENT: &str = "AWSCURRENT";

/// The label of the version that was in force before.
pub const PREVIOUS: &str = "AWSPREVIOUS";

/// The one label of our own, on the version that was claimed last. One for all writers: a secret bears twenty labels.
pub const STAGED: &str = "KEYROTA_STAGED";

/// The id of a version: the token that it was written with. Opaque, because other tools write ids of forms of their own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId(pub String);

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which version is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// The one in force.
    Current,
    /// The one of this id.
    Version(&'a VersionId),
}

/// What every secret of one environment has besides its value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manner {
    /// The KMS key that encrypts it; `None`: the account's own.
    pub kms_key_id: Option<String>,
    /// Regions that it is replicated to.
    pub replica_regions: Vec<String>,
}

/// A secret that is to be made.
pub struct NewSecret<'a> {
    /// Its name.
    pub name: &'a str,
    /// The id of its first version.
    pub token: &'a VersionId,
    /// Its value.
    pub value: &'a SecretText,
    /// What it is, for people who look at the console.
    pub description: &'a str,
    /// Its tags.
    pub tags: &'a BTreeMap<String, String>,
    /// What all secrets of the environment have.
    pub manner: &'a Manner,
}

/// A secret that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its ARN.
    pub arn: String,
    /// The id of its first version: the token, of a service that keeps to its rules.
    pub version: VersionId,
}

/// One version of a secret, as one answer gave it.
#[derive(Clone)]
pub struct Value {
    /// The secret's ARN. A secret that was deleted and made again has another one.
    pub arn: String,
    /// The version.
    pub version: VersionId,
    /// Whether the same answer says that it bears [`CURRENT`].
    pub in_force: bool,
    /// Its content; `None` if it is bytes and no text.
    pub text: Option<SecretText>,
}

/// What a secret is, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Described {
    /// Its ARN.
    pub arn: String,
    /// The versions that have labels, with these.
    pub labels: BTreeMap<VersionId, Vec<String>>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Since when it has been waiting to be deleted, if it is.
    pub deleted_at: Option<Timestamp>,
}

impl Described {
    /// The version that bears a label.
    pub fn holder(&self, label: &str) -> Option<&VersionId> {
        self.labels.iter().find(|(_, labels)| labels.iter().any(|l| l == label)).map(|(version, _)| version)
    }

    /// Whether a version bears a label.
    pub fn bears(&self, version: &VersionId, label: &str) -> bool {
        self.labels.get(version).is_some_and(|labels| labels.iter().any(|l| l == label))
    }
}

/// One secret in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// The version in force, as far as the list knows.
    pub current: Option<VersionId>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Whether it waits to be deleted, as far as the list knows.
    pub deleted: bool,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The secrets on it.
    pub secrets: Vec<Listed>,
    /// How to ask for the next one, if there is one.
    pub next: Option<String>,
}

/// What kind of fault a call met. Told by the service's error *code*, never by its message or the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallFault {
    /// `ResourceNotFoundException`: no such secret, or no such version.
    NotFound,
    /// `ResourceExistsException`: the name, or the token with other bytes, is taken.
    Exists,
    /// `InvalidParameterException`: of a label move, that its condition does not hold.
    InvalidParameter,
    /// `InvalidRequestException`: not in the state the secret is in; mostly that it waits to be deleted.
    InvalidRequest,
    /// The identity may not do that.
    Denied,
    /// There are no credentials, or the service does not know them.
    Credentials,
    /// Too many calls; not carried out.
    Throttled,
    /// A quota of the account or of the secret is used up. Waiting does not help.
    Quota,
    /// KMS did not encrypt or decrypt.
    Kms,
    /// The request was never sent: no address, no connection.
    Unreachable,
    /// The request may or may not have been carried out.
    Unknown,
    /// The service refuses the request for another reason.
    Refused,
}

impl CallFault {
    /// Whether the call may have been carried out in spite of the error.
    pub const fn may_have_worked(self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// Whether the same call may work in a moment.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Throttled | Self::Unreachable | Self::Unknown)
    }

    /// The fault as a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::InvalidParameter => "invalid_parameter",
            Self::InvalidRequest => "invalid_request",
            Self::Denied => "denied",
            Self::Credentials => "credentials",
            Self::Throttled => "throttled",
            Self::Quota => "quota",
            Self::Kms => "kms",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
        }
    }

    /// Every fault, for those who keep a series for each.
    pub const ALL: [Self; 12] = [
        Self::NotFound,
        Self::Exists,
        Self::InvalidParameter,
        Self::InvalidRequest,
        Self::Denied,
        Self::Credentials,
        Self::Throttled,
        Self::Quota,
        Self::Kms,
        Self::Unreachable,
        Self::Unknown,
        Self::Refused,
    ];
}

/// A call that did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct CallError {
    /// What kind.
    pub fault: CallFault,
    /// What happened, to which secret, and what helps.
    pub sentence: String,
}

/// The calls. The names of the service's own operations stand with each.
pub trait Calls: Send + Sync + 'static {
    /// `CreateSecret`: makes a secret that does not exist.
    fn create(&self, secret: &NewSecret<'_>) -> impl Future<Output = Result<Made, CallError>> + Send;

    /// `PutSecretValue` with one label: adds a version under this token and gives it the label, and leaves [`CURRENT`] alone. With a
    /// token that was used for the same bytes it does nothing; for others it answers [`CallFault::Exists`].
    fn put(&self, secret: &str, token: &VersionId, value: &SecretText, label: &str) -> impl Future<Output = Result<(), CallError>> + Send;

    /// `UpdateSecretVersionStage`: moves [`CURRENT`] from one version to another, if it is where it is said to be.
    fn move_current(&self, secret: &str, from: &VersionId, to: &VersionId) -> impl Future<Output = Result<(), CallError>> + Send;

    /// `GetSecretValue`.
    fn get(&self, secret: &str, which: Which<'_>) -> impl Future<Output = Result<Value, CallError>> + Send;

    /// `BatchGetSecretValue`: the versions in force of up to [`MOST_AT_ONCE`] secrets, by name. Each has an answer or an error.
    fn get_many(&self, secrets: &[String]) -> impl Future<Output = Result<BTreeMap<String, Result<Value, CallError>>, CallError>> + Send;

    /// `DescribeSecret`.
    fn describe(&self, secret: &str) -> impl Future<Output = Result<Described, CallError>> + Send;

    /// `DeleteSecret`: the secret is gone when `window`, whole days from 7 to 30, is over; until then it can be restored, and its value
    /// cannot be read.
    fn delete(&self, secret: &str, window: Span) -> impl Future<Output = Result<(), CallError>> + Send;

    /// `ListSecrets`: up to a hundred secrets whose names begin so, those that wait to be deleted included.
    fn list(&self, prefix: &str, page: Option<&str>) -> impl Future<Output = Result<Page, CallError>> + Send;
}

/// How many secrets `BatchGetSecretValue` takes.
pub const MOST_AT_ONCE: usize = 20;
