//! The audit trail and the examination, as clap reads them.

#![allow(clippy::doc_markdown, rustdoc::invalid_html_tags, reason = "these comments are the help texts")]

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::verbs::Until;
use super::{DaemonArgs, OutputArgs};
use crate::name::EnvironmentName;

/// `keyrota audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Prove that no line was changed, removed, moved or cut off; exits with 3 and says where if one was
    Verify(TrailArgs),
    /// Print what happened
    Tail(TailArgs),
}

/// Where the trail is.
#[derive(Debug, Args)]
pub struct TrailArgs {
    /// Read it there instead of asking the daemon; takes the master key
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The file with the master key [default: the one in --state-dir]
    #[arg(long, value_name = "FILE", requires = "state_dir")]
    pub master_key_file: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub daemon: DaemonArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArgs,
}

/// `keyrota audit tail`.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// Since when (RFC 3339), or how long ago (24h)
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub since: Until,
    /// Read it there instead of asking the daemon
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub daemon: DaemonArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArgs,
}

/// `keyrota doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Only this environment [default: all]
    #[arg(value_name = "ENVIRONMENT")]
    pub environment: Option<EnvironmentName>,
    /// Exit with 3 on warnings too
    #[arg(long)]
    pub strict: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub daemon: DaemonArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArgs,
}
