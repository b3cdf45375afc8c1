//! `keyrota migrate` as clap reads it.

#![allow(clippy::doc_markdown, rustdoc::invalid_html_tags, reason = "these comments are the help texts")]

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::verbs::VerbFlags;
use crate::name::EnvironmentName;
use crate::time::Span;

/// `keyrota migrate`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("part").required(true).args(["to", "back", "erase_source", "keep_source"]))]
pub struct MigrateArgs {
    /// Which environment
    #[arg(value_name = "ENVIRONMENT")]
    pub environment: EnvironmentName,
    /// Go to this kind of store; its settings are those of the policy in --policies
    #[arg(long, value_enum, value_name = "KIND", requires = "policies")]
    pub to: Option<StoreKind>,
    /// Come back from the store of the policy in --policies, as long as the policy in force has not switched
    #[arg(long, requires = "policies")]
    pub back: bool,
    /// Nobody reads the old store any more: let rotations begin again, and erase what it holds
    #[arg(long)]
    pub erase_source: bool,
    /// Nobody reads the old store any more: let rotations begin again, and leave what it holds, sealed
    #[arg(long)]
    pub keep_source: bool,
    /// The folder with the policy that names the other store; at the end only where another daemon began the move
    #[arg(long, value_name = "DIR")]
    pub policies: Option<PathBuf>,
    /// For how long AWS Secrets Manager keeps what was erased, so that it can be restored: 7d to 30d
    #[arg(long, value_name = "SPAN", default_value = "30d")]
    pub recovery_window: Span,
    /// Why, for the records
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: VerbFlags,
}

/// The kinds of stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    /// The encrypted SQLite file in the state directory.
    Embedded,
    /// One secret per keyset in AWS.
    AwsSecretsManager,
}

impl StoreKind {
    /// Its name in a policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::AwsSecretsManager => "aws-secrets-manager",
        }
    }
}
