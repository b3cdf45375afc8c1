//! The operator's verbs as clap reads them, and the request that each becomes.

#![allow(clippy::doc_markdown, rustdoc::invalid_html_tags, reason = "these comments are the help texts")]

use std::collections::BTreeMap;
use std::str::FromStr;

use clap::Args;

pub use super::handed::{ExportArgs, ExportFormat, ImportArgs, PurgeArgs, RemoveArgs, Role};
pub use super::trail::{AuditCommand, DoctorArgs, TailArgs, TrailArgs};
use super::{DaemonArgs, OutputArgs};
use crate::name::{EnvironmentName, KeysetId, KeysetName, Kid, NameError};
use crate::status_report::verbs::{VerbAsked, VerbRequest};
use crate::time::{Span, Timestamp};

/// What every verb can be told.
#[derive(Debug, Clone, Args)]
pub struct VerbFlags {
    /// Do it without asking
    #[arg(long)]
    pub yes: bool,
    /// Only say what would happen
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub daemon: DaemonArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArgs,
}

/// An environment, or one keyset of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The environment.
    pub environment: EnvironmentName,
    /// The keyset; `None`: all of them.
    pub keyset: Option<KeysetName>,
}

/// A moment, said as such or by how far it is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// RFC 3339.
    At(Timestamp),
    /// From now on.
    In(Span),
}

/// One keyset.
#[derive(Debug, Args)]
pub struct KeysetArgs {
    /// Which keyset
    #[arg(value_name = "ENVIRONMENT/KEYSET")]
    pub keyset: KeysetId,
    /// Why, for the records
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: VerbFlags,
}

/// One keyset, and why.
#[derive(Debug, Args)]
pub struct ReasonedArgs {
    /// Which keyset
    #[arg(value_name = "ENVIRONMENT/KEYSET")]
    pub keyset: KeysetId,
    /// Why, for the records
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: VerbFlags,
}

/// `keyrota rotate`.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Which keyset
    #[arg(value_name = "ENVIRONMENT/KEYSET")]
    pub keyset: KeysetId,
    /// At once, without the waits: needs --reason
    #[arg(long, requires = "reason")]
    pub now: bool,
    /// Why, for the records
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: VerbFlags,
}

/// `keyrota revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// Which keyset
    #[arg(value_name = "ENVIRONMENT/KEYSET")]
    pub keyset: KeysetId,
    /// Which key
    #[arg(value_name = "KID", allow_hyphen_values = true)]
    pub kid: Kid,
    /// Why, for the records
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: VerbFlags,
}

/// `keyrota approve`.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// Which keyset
    #[arg(value_name = "ENVIRONMENT/KEYSET")]
    pub keyset: KeysetId,
    /// Which key
    #[arg(value_name = "KID", allow_hyphen_values = true)]
    pub kid: Kid,
    /// Why, for the records
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: VerbFlags,
}

/// `keyrota freeze`.
#[derive(Debug, Args)]
pub struct FreezeArgs {
    /// Which keyset, or all of an environment
    #[arg(value_name = "ENVIRONMENT[/KEYSET]")]
    pub target: Target,
    /// Until when (RFC 3339), or for how long (36h, 5d)
    #[arg(long, value_name = "TIME")]
    pub until: Until,
    /// Why, for the records
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: VerbFlags,
}

/// `keyrota unfreeze`.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// Which keyset, or all of an environment
    #[arg(value_name = "ENVIRONMENT[/KEYSET]")]
    pub target: Target,
    /// Why, for the records
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: VerbFlags,
}

/// `keyrota accept`.
#[derive(Debug, Args)]
pub struct AcceptArgs {
    /// Which keyset, or all of an environment
    #[arg(value_name = "ENVIRONMENT[/KEYSET]")]
    pub target: Target,
    /// The wall clock is right as it is now; for a whole environment
    #[arg(long)]
    pub clock: bool,
    /// Why, for the records
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: VerbFlags,
}

/// `keyrota restored`.
#[derive(Debug, Args)]
pub struct RestoredArgs {
    /// Which environment
    #[arg(value_name = "ENVIRONMENT")]
    pub environment: EnvironmentName,
    /// Why, for the records
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: VerbFlags,
}

pub(super) fn one(keyset: &KeysetId, verb: VerbAsked, reason: &str) -> VerbRequest {
    some(&Target { environment: keyset.environment.clone(), keyset: Some(keyset.keyset.clone()) }, verb, reason)
}

pub(super) fn some(target: &Target, verb: VerbAsked, reason: &str) -> VerbRequest {
    let (environment, keyset) = (target.environment.clone(), target.keyset.clone());
    VerbRequest { environment, keyset, verb, reason: reason.to_owned(), dry_run: false, seen: BTreeMap::new() }
}

impl KeysetArgs {
    /// What is asked for.
    pub fn asked(&self, verb: VerbAsked) -> VerbRequest {
        one(&self.keyset, verb, &self.reason)
    }
}

impl ReasonedArgs {
    /// What is asked for.
    pub fn asked(&self, verb: VerbAsked) -> VerbRequest {
        one(&self.keyset, verb, &self.reason)
    }
}

impl RotateArgs {
    /// What is asked for.
    pub fn asked(&self) -> VerbRequest {
        one(&self.keyset, VerbAsked::Rotate { now: self.now }, self.reason.as_deref().unwrap_or_default())
    }
}

impl RevokeArgs {
    /// What is asked for.
    pub fn asked(&self) -> VerbRequest {
        one(&self.keyset, VerbAsked::Revoke { kid: self.kid.clone() }, &self.reason)
    }
}

impl ApproveArgs {
    /// What is asked for.
    pub fn asked(&self) -> VerbRequest {
        one(&self.keyset, VerbAsked::Approve { kid: self.kid.clone() }, &self.reason)
    }
}

impl FreezeArgs {
    /// What is asked for, at `now`.
    pub fn asked(&self, now: Timestamp) -> VerbRequest {
        let until = match self.until {
            Until::At(at) => at,
            Until::In(span) => now + span,
        };
        some(&self.target, VerbAsked::Freeze { until }, &self.reason)
    }
}

impl TargetArgs {
    /// What is asked for.
    pub fn asked(&self, verb: VerbAsked) -> VerbRequest {
        some(&self.target, verb, &self.reason)
    }
}

impl AcceptArgs {
    /// What is asked for.
    pub fn asked(&self) -> VerbRequest {
        some(&self.target, VerbAsked::Accept { clock: self.clock }, &self.reason)
    }
}

impl RestoredArgs {
    /// What is asked for.
    pub fn asked(&self) -> VerbRequest {
        some(&Target { environment: self.environment.clone(), keyset: None }, VerbAsked::Restored, &self.reason)
    }
}

impl FromStr for Target {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            None => Ok(Self { environment: text.parse()?, keyset: None }),
            Some((environment, keyset)) => Ok(Self { environment: environment.parse()?, keyset: Some(keyset.parse()?) }),
        }
    }
}

impl FromStr for Until {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let moment = text.parse().map(Self::At).ok();
        moment.or_else(|| text.parse().map(Self::In).ok()).ok_or_else(|| {
            format!("`{text}` is neither a moment nor a length of time; hint: 2026-01-02T08:00:00Z, or 36h (units: ms s m h d w)")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_moments_are_read() {
        let all: Target = "production".parse().unwrap();
        assert!(all.keyset.is_none());
        let one: Target = "production/sessions".parse().unwrap();
        assert_eq!(one.keyset.unwrap().as_str(), "sessions");
        assert!("Production".parse::<Target>().is_err() && "production/".parse::<Target>().is_err());
        assert_eq!("36h".parse(), Ok(Until::In(Span::hours(36))));
        assert_eq!("1970-01-01T01:00:00Z".parse(), Ok(Until::At(Timestamp::EPOCH + Span::hours(1))));
        assert!("tomorrow".parse::<Until>().unwrap_err().contains("hint: "));
    }
}
