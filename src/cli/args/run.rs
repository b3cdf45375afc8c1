//! `keyrota run`: everything that the daemon is told on its command line.

#![allow(clippy::doc_markdown, rustdoc::bare_urls, reason = "these comments are the help texts")]

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{DaemonArgs, PolicyArgs};
use crate::cli::paths;
use crate::http::reach::Encryption;
use crate::http::tls::PairFiles;
use crate::url::{OriginError, PublicOrigin};

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
    /// Speak TLS where verifiers fetch key sets: this certificate, then what vouches for it, as PEM; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Under which origin clients reach --listen with TLS, such as https://keys.example.com
    #[arg(long, value_name = "ORIGIN", requires = "tls_cert", value_parser = https_origin)]
    pub public_origin: Option<PublicOrigin>,
    /// A proxy in front of --listen ends TLS, and clients reach it under this origin, such as https://keys.example.com
    #[arg(long, value_name = "ORIGIN", conflicts_with = "tls_cert", value_parser = https_origin)]
    pub behind_tls_proxy: Option<PublicOrigin>,
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

/// An origin to which clients speak TLS.
fn https_origin(text: &str) -> Result<PublicOrigin, String> {
    let origin: PublicOrigin = text.parse().map_err(|e: OriginError| e.to_string())?;
    if origin.is_https() { Ok(origin) } else { Err(OriginError::InTheClear(text.to_owned()).to_string()) }
}

impl RunArgs {
    /// Certificate and key of the verifiers' listener, where it is to speak TLS.
    pub fn tls_files(&self) -> Option<PairFiles> {
        Some(PairFiles { certificate: self.tls_cert.clone()?, key: self.tls_key.clone()? })
    }

    /// Who encrypts what travels to and from the verifiers' listener.
    pub fn encryption(&self) -> Encryption {
        match (&self.tls_cert, &self.behind_tls_proxy) {
            (Some(_), _) => Encryption::Own(self.public_origin.clone()),
            (None, Some(origin)) => Encryption::Proxy(origin.clone()),
            (None, None) => Encryption::None,
        }
    }

    /// Where the store is.
    pub fn state_dir(&self) -> PathBuf {
        paths::choose(self.state_dir.as_deref(), "STATE_DIRECTORY", paths::STATE_DIR)
    }

    /// The file with the master key: the flag's, else systemd's credential; `None`: the one in the state directory.
    pub fn master_key_file(&self) -> Option<PathBuf> {
        self.master_key_file.clone().or_else(paths::master_key_credential)
    }
}
