//! The target `aws_secret`: the public key set in a secret of its own, beside the keysets' secrets.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Around, Taken, TargetFormat};
use crate::key::KeyClass;
use crate::name::KeysetName;
use crate::policy::StoreConfig;
use crate::policy::fault::Report;
use crate::policy::raw::RawAwsSecret;
use crate::policy::tree::Node;

/// The longest name of a secret.
const LONGEST_NAME: usize = 512;

/// A secret in AWS Secrets Manager with the public key set, for verifiers who must not reach private keys. Region, address, KMS key,
/// tags and credentials are those of the environment's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsSecretTarget {
    /// The secret's whole name. It begins with the store's prefix, so that sweeps and IAM policies cover it.
    #[serde(rename = "aws_secret")]
    pub name: String,
}

impl fmt::Display for AwsSecretTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "aws-secret:{}", self.name)
    }
}

/// Reads one; faults go into the report.
pub(super) fn resolve(
    raw: &RawAwsSecret,
    node: &Node,
    around: &Around<'_>,
    taken: &mut Taken,
    report: &mut Report,
) -> Option<AwsSecretTarget> {
    let before = report.faults.len();
    if raw.format != TargetFormat::Jwks {
        let what = "a second secret holds the public key set and nothing else";
        report.fault(&node.place_of("format"), what, "`format: jwks`; signers read the keyset's own secret");
    }
    if around.class != KeyClass::Asymmetric {
        let what = "`aws_secret` holds public keys, and this keyset has none";
        report.fault(&node.place, what, "let its verifiers read the keyset's own secret");
    }
    let StoreConfig::AwsSecretsManager(aws) = around.store else {
        let what = "`aws_secret` needs this environment's documents to be in AWS Secrets Manager too";
        report.fault(&node.place, what, "`store: { kind: aws-secrets-manager }`, or a target of another kind");
        return None;
    };
    let name = raw.name.clone().unwrap_or_else(|| format!("{}{}.jwks", aws.prefix, around.keyset));
    let at = node.place_of("name");
    if let Err((what, hint)) = lawful(&name, &aws.prefix) {
        report.fault(&at, what, hint);
    } else if let Some(other) = taken.secrets.get(&name) {
        let what = format!("`{name}` is the target of {} (line {}) already", other.field, other.line);
        report.fault(&at, what, "give every target a secret of its own");
    } else {
        taken.secrets.insert(name.clone(), at);
    }
    (report.faults.len() == before).then_some(AwsSecretTarget { name })
}

fn lawful(name: &str, prefix: &str) -> Result<(), (String, String)> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/_+=.@-".contains(&b);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(allowed) {
        let what = format!("`{name}` cannot be a secret's name");
        return Err((what, format!("1 to {LONGEST_NAME} of A-Z a-z 0-9 / _ + = . @ -")));
    }
    let Some(rest) = name.strip_prefix(prefix).filter(|rest| !rest.is_empty()) else {
        let what = format!("`{name}` does not begin with the store's prefix `{prefix}`, so neither sweeps nor the IAM policy cover it");
        return Err((what, format!("for example `{prefix}{}`", name.rsplit('/').next().unwrap_or(name))));
    };
    if rest.parse::<KeysetName>().is_ok() {
        let what = format!("`{name}` is the name that the secret of a keyset `{rest}` would have");
        return Err((what, format!("for example `{name}.jwks`")));
    }
    Ok(())
}
