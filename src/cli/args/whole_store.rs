//! What concerns the embedded store as a whole, as clap reads it: a new master key, back-ups.

#![allow(clippy::doc_markdown, rustdoc::invalid_html_tags, reason = "these comments are the help texts")]

use std::path::PathBuf;

use clap::Args;

use super::verbs::VerbFlags;
use super::{DaemonArgs, paths};
use crate::backup::Recipient;

/// `keyrota rekey`.
#[derive(Debug, Args)]
pub struct RekeyArgs {
    /// Why, for the records
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: VerbFlags,
}

/// `keyrota backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Who can open it: an age recipient (age1…); may be given several times
    #[arg(long = "to", value_name = "RECIPIENT", required = true)]
    pub recipients: Vec<Recipient>,
    /// Where to write it, mode 0600 (`-`: standard output, if that is no terminal)
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub daemon: DaemonArgs,
}

/// `keyrota restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The back-up
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The file with the age identity that opens it (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub identity: PathBuf,
    /// The state directory, empty or not there yet [default: systemd's STATE_DIRECTORY, else /var/lib/keyrota]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The file with the master key of the new store [default: one is made in the state directory]
    #[arg(long, value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
    /// Only say what is in it
    #[arg(long)]
    pub dry_run: bool,
}

impl RestoreArgs {
    /// Where it is to be put.
    pub fn state_dir(&self) -> PathBuf {
        paths::choose(self.state_dir.as_deref(), "STATE_DIRECTORY", paths::STATE_DIR)
    }
}
