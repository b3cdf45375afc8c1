//! Keys that are handed in and out, as clap reads that.

#![allow(clippy::doc_markdown, rustdoc::invalid_html_tags, reason = "these comments are the help texts")]

use clap::{Args, ValueEnum};

use super::DaemonArgs;
use super::verbs::{Target, VerbFlags, one, some};
use crate::key::Algorithm;
use crate::name::{EnvironmentName, KeysetId, Kid};
use crate::operator::ImportRole;
use crate::status_report::verbs::{Material, VerbAsked, VerbRequest};
use crate::time::{Span, Timestamp};

/// `keyrota remove`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Which keyset
    #[arg(value_name = "ENVIRONMENT/KEYSET")]
    pub keyset: KeysetId,
    /// For how long AWS Secrets Manager keeps what can be restored: 7d to 30d
    #[arg(long, value_name = "SPAN", default_value = "30d")]
    pub recovery_window: Span,
    /// Why, for the records
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: VerbFlags,
}

impl RemoveArgs {
    /// What is asked for.
    pub fn asked(&self) -> VerbRequest {
        one(&self.keyset, VerbAsked::Remove { recovery: Some(self.recovery_window) }, &self.reason)
    }
}

/// `keyrota import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Which keyset
    #[arg(value_name = "ENVIRONMENT/KEYSET")]
    pub keyset: KeysetId,
    /// The key's name [default: a JWK's own, else the thumbprint; secrets need one]
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub kid: Option<Kid>,
    /// What it is to be
    #[arg(long = "as", value_enum, value_name = "ROLE", default_value = "next")]
    pub role: Role,
    /// When its vendor stops accepting it
    #[arg(long, value_name = "TIME")]
    pub expires: Option<Timestamp>,
    /// When it was made, if that is known: its age counts from here [default: now]
    #[arg(long, value_name = "TIME")]
    pub created: Option<Timestamp>,
    /// What it signs with [default: the policy's algorithm]
    #[arg(long, value_name = "NAME")]
    pub algorithm: Option<Algorithm>,
    /// Read the key from this file descriptor instead of standard input
    #[arg(long, value_name = "N")]
    pub fd: Option<u16>,
    /// Read the passphrase of an encrypted key from this file descriptor
    #[arg(long, value_name = "N")]
    pub passphrase_fd: Option<u16>,
    /// Why, for the records
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: VerbFlags,
}

/// What an imported key is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// The successor: announced, waited for, then signing.
    Next,
    /// The key that signs already, for a keyset that has none yet.
    Active,
    /// Accepted until its last token is dead, never signing.
    VerifyOnly,
}

impl From<Role> for ImportRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Next => Self::Next,
            Role::Active => Self::Active,
            Role::VerifyOnly => Self::VerifyOnly,
        }
    }
}

/// `keyrota export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Which keyset
    #[arg(value_name = "ENVIRONMENT/KEYSET")]
    pub keyset: KeysetId,
    /// In which form
    #[arg(long, value_enum, value_name = "FORM")]
    pub format: ExportFormat,
    /// Only what is no secret
    #[arg(long)]
    pub public: bool,
    /// With --public: this living key instead of the one that signs, such as the next one, for verifiers that are told by hand
    #[arg(long, value_name = "KID", requires = "public")]
    pub kid: Option<Kid>,
    /// What the variable with the kid is called, for --format env
    #[arg(long, value_name = "NAME", default_value = "KEYROTA_KID")]
    pub kid_name: String,
    /// What the variable with the key is called, for --format env [default: KEYROTA_PRIVATE_KEY, KEYROTA_SECRET]
    #[arg(long, value_name = "NAME")]
    pub key_name: Option<String>,
    /// Show a secret on a terminal
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub daemon: DaemonArgs,
}

/// In which form a key is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// PEM blocks: the private half (PKCS#8) and the public one.
    Pem,
    /// One JSON Web Key.
    Jwk,
    /// Lines for EnvironmentFile=, shells and dotenv.
    Env,
    /// The whole document, as signers read it.
    Document,
}

/// `keyrota purge`.
#[derive(Debug, Args)]
pub struct PurgeArgs {
    /// Which environment
    #[arg(value_name = "ENVIRONMENT")]
    pub environment: EnvironmentName,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: VerbFlags,
}

impl PurgeArgs {
    /// What is asked for.
    pub fn asked(&self) -> VerbRequest {
        some(&Target { environment: self.environment.clone(), keyset: None }, VerbAsked::Purge, "")
    }
}

impl ImportArgs {
    /// What is asked for, with this key.
    pub fn asked(&self, material: Material, passphrase: Option<Material>) -> VerbRequest {
        let (kid, role, algorithm) = (self.kid.clone(), self.role.into(), self.algorithm);
        let (expires, created) = (self.expires, self.created);
        one(&self.keyset, VerbAsked::Import { kid, role, expires, created, algorithm, material, passphrase }, &self.reason)
    }
}
