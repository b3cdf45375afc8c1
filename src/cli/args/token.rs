//! `keyrota token`, as clap reads it.

#![allow(clippy::doc_markdown, rustdoc::invalid_html_tags, reason = "these comments are the help texts")]

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::verbs::{Until, VerbFlags, one};
use super::{DaemonArgs, OutputArgs};
use crate::document::Grants;
use crate::name::{KeysetId, KeysetName};
use crate::status_report::verbs::{VerbAsked, VerbRequest};
use crate::time::{Span, Timestamp};
use crate::url::Url;

/// What to do with a token.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Print a token in the shape that the keyset's policy asks for
    ///
    /// Signed by the daemon with the active key. Whoever may read the keyset's document may mint: root, the daemon's own user, and
    /// whom `signers:` names. No token lives longer than token_ttl, because retention is computed from that.
    #[command(after_help = "Examples:
  keyrota token mint production/user-sessions --sub ada --ttl 15m
  keyrota token mint production/search --sub ada --header         a header line for curl
  keyrota token mint production/api --sub ada --claim client_id=web --claim scope=\"read write\" --claim admin:=true")]
    Mint(MintArgs),
    /// Say whether a token is accepted, with which key, and every check that passed or failed
    ///
    /// Exits with 1 if it is not accepted.
    #[command(after_help = "Examples:
  keyrota token verify - production/user-sessions < token
  keyrota token verify - --jwks jwks.json --issuer https://auth.example.com --audience api < token
  keyrota token verify - --jwks-url https://auth.example.com/.well-known/jwks.json < token")]
    Verify(VerifyArgs),
    /// Show what a token says, without verifying anything
    #[command(after_help = "Example: keyrota token inspect - < token")]
    Inspect(InspectArgs),
    /// Refuse refresh tokens from now on, by whom they are about or were given to
    ///
    /// For the keyset that `token.refresh.sealed_by` names. Access tokens that were got with them are accepted until they expire; to take
    /// those back, revoke their key. An API key is revoked as any other key: keyrota revoke.
    #[command(after_help = "Examples:
  keyrota token revoke production/refresh --sub ada --reason \"lost her phone\"
  keyrota token revoke production/refresh --caller partner-api --reason \"contract ended\"
  keyrota token revoke production/refresh --all --before 2h --reason \"incident 4711\"")]
    Revoke(RevokeGrantsArgs),
}

/// `keyrota token mint`.
#[derive(Debug, Args)]
pub struct MintArgs {
    /// Which keyset
    #[arg(value_name = "ENVIRONMENT/KEYSET")]
    pub keyset: KeysetId,
    /// Whom the token is about; only inkeep tokens may be about nobody
    #[arg(long, value_name = "NAME")]
    pub sub: Option<String>,
    /// How long it is to live [default: the policy's default_ttl]
    #[arg(long, value_name = "DURATION")]
    pub ttl: Option<Span>,
    /// What it says besides: NAME=TEXT, or NAME:=JSON; may be given several times
    #[arg(long = "claim", value_name = "NAME=TEXT")]
    pub claims: Vec<Claim>,
    /// A file with more claims, as one JSON object
    #[arg(long, value_name = "FILE")]
    pub claims_file: Option<PathBuf>,
    /// Print the header line in which the profile's verifiers expect it
    #[arg(long)]
    pub header: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub daemon: DaemonArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArgs,
}

/// `keyrota token verify`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("keys").required(true).args(["keyset", "jwks", "jwks_url"]))]
pub struct VerifyArgs {
    /// The token; `-` reads it from standard input, where no list of processes shows it
    #[arg(value_name = "TOKEN", allow_hyphen_values = true)]
    pub token: String,
    /// The keyset that it must be of, as its policy says
    #[arg(value_name = "ENVIRONMENT/KEYSET")]
    pub keyset: Option<KeysetId>,
    /// A file with a key set, instead of a keyset here (JWKS, RFC 7517)
    #[arg(long, value_name = "FILE")]
    pub jwks: Option<PathBuf>,
    /// The address of a key set, instead of a keyset here
    #[arg(long, value_name = "URL")]
    pub jwks_url: Option<Url>,
    /// With --jwks-url: the only authorities that are believed there, as PEM [default: those that this machine trusts]
    #[arg(long, value_name = "FILE", requires = "jwks_url")]
    pub ca_file: Option<PathBuf>,
    /// With a key set: who must have issued it [default: anybody]
    #[arg(long, value_name = "NAME", conflicts_with = "keyset")]
    pub issuer: Option<String>,
    /// With a key set: for whom it must be; may be given several times [default: anybody]
    #[arg(long, value_name = "NAME", conflicts_with = "keyset")]
    pub audience: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub daemon: DaemonArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArgs,
}

/// `keyrota token inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The token; `-` reads it from standard input, where no list of processes shows it
    #[arg(value_name = "TOKEN", allow_hyphen_values = true)]
    pub token: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArgs,
}

/// `keyrota token revoke`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("whom").required(true).args(["sub", "caller", "all"]))]
pub struct RevokeGrantsArgs {
    /// The keyset that seals them
    #[arg(value_name = "ENVIRONMENT/KEYSET")]
    pub keyset: KeysetId,
    /// Those about this subject
    #[arg(long, value_name = "NAME")]
    pub sub: Option<String>,
    /// Those that were given to callers with API keys of this keyset
    #[arg(long, value_name = "KEYSET")]
    pub caller: Option<KeysetName>,
    /// All of them
    #[arg(long)]
    pub all: bool,
    /// Only those that were given up to then (RFC 3339), or that long ago (2h) [default: now]
    #[arg(long, value_name = "TIME")]
    pub before: Option<Until>,
    /// Why, for the records
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: VerbFlags,
}

impl RevokeGrantsArgs {
    /// What is asked for, at `now`.
    pub fn asked(&self, now: Timestamp) -> VerbRequest {
        let about = self.sub.as_deref().map(Grants::about);
        let whom = about.or_else(|| self.caller.clone().map(Grants::Caller)).unwrap_or(Grants::All);
        let before = self.before.map(|before| match before {
            Until::At(at) => at,
            Until::In(span) => now.minus(span),
        });
        one(&self.keyset, VerbAsked::RevokeGrants { whom, before }, &self.reason)
    }
}

/// A claim as it is typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
}

impl FromStr for Claim {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "must be NAME=TEXT or NAME:=JSON, for example plan=pro or admin:=true".to_owned();
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        let (name, value) = match name.strip_suffix(':') {
            Some(name) => (name, serde_json::from_str(value).map_err(|error| format!("`{name}` is no JSON: {error}"))?),
            None => (name, Value::from(value)),
        };
        if name.is_empty() { Err(wrong()) } else { Ok(Self { name: name.to_owned(), value }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn claims_are_texts_unless_they_say_otherwise() {
        let claim = |text: &str| text.parse::<Claim>().map(|claim| (claim.name, claim.value));
        assert_eq!(claim("plan=pro"), Ok(("plan".into(), json!("pro"))));
        assert_eq!(claim("id=7"), Ok(("id".into(), json!("7"))), "an identifier of digits stays a text");
        assert_eq!(claim("note=a=b:=c"), Ok(("note".into(), json!("a=b:=c"))));
        assert_eq!(claim("f:={\"a\":[1]}"), Ok(("f".into(), json!({"a": [1]}))));
        for bad in ["plan", "=pro", ":=1", "a:=", "a:={"] {
            assert!(claim(bad).is_err(), "{bad}");
        }
    }
}
