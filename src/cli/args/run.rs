//! `keyrota run`: everything that the daemon is told on its command line.

#![allow(clippy::doc_markdown, reason = "these comments are the help texts")]

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{DaemonArgs, PolicyArgs};
use crate::cli::paths;

/// `keyrota run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub policies: PolicyArgs,
    /// Where the store is [default: systemd's STATE_DIRECTORY, else /var/lib/keyrota]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub daemon: DaemonArgs,
    /// A group that may use control.sock, besides root and the daemon's own user
    #[arg(long, value_name = "GROUP")]
    pub control_group: Option<String>,
    /// Where verifiers fetch key sets, unless systemd hands over a socket called `verifiers`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8480")]
    pub listen: SocketAddr,
    /// Where /metrics, /healthz and /readyz are served, unless systemd hands over a socket called `operators`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8481")]
    pub metrics_listen: SocketAddr,
    /// The file with the store's master key [default: systemd's credential keyrota.master-key, else one that is made beside an
    /// empty store]
    #[arg(long, value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
    /// How log lines look
    #[arg(long, value_enum, value_name = "FORM", default_value = "human")]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl RunArgs {
    /// Where the store is.
    pub fn state_dir(&self) -> PathBuf {
        paths::choose(self.state_dir.as_deref(), "STATE_DIRECTORY", paths::STATE_DIR)
    }

    /// The file with the master key: the flag's, else systemd's credential; `None`: the one in the state directory.
    pub fn master_key_file(&self) -> Option<PathBuf> {
        self.master_key_file.clone().or_else(paths::master_key_credential)
    }
}
