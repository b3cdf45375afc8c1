//! What a policy asks of new keys: [`KeySpec`] out of the fields that speak about material, each held to its class.

use super::fault::Report;
use super::raw::{RawKeyset, RawSecretFormat, RawSource};
use super::tree::Node;
use crate::key::{Algorithm, CertificateSpec, KeyClass, KeySpec, KidFormat, SecretEncoding};
use crate::name::{KeysetName, Kid};

/// The modulus length of RSA keys where the policy says nothing: 128 bit of strength (NIST SP 800-57 part 1, table 2).
const DEFAULT_RSA_BITS: u16 = 3072;

/// More random bytes in an HMAC secret serve nobody.
const MOST_HMAC_BYTES: u16 = 512;

/// The longest text in front of a secret.
const LONGEST_PREFIX: usize = 32;

/// The longest common name of a certificate (RFC 5280, ub-common-name).
const LONGEST_COMMON_NAME: usize = 64;

/// Reads what is asked of new keys; faults go into the report, in spite of which a spec of the right class comes back.
pub(super) fn resolve(name: &KeysetName, raw: &RawKeyset, node: &Node, report: &mut Report) -> KeySpec {
    let algorithm = raw.algorithm;
    misplaced(raw, node, report);
    if let Some(RawSource::Algolia(_)) = &raw.source
        && algorithm.class() == KeyClass::Hmac
    {
        vendors_choice(raw, node, report);
        return KeySpec::Vendor { algorithm };
    }
    let kid = kid(raw, node, report);
    match algorithm.class() {
        KeyClass::Asymmetric => KeySpec::Pair {
            algorithm,
            rsa_bits: raw.rsa_bits.unwrap_or(DEFAULT_RSA_BITS),
            kid,
            certificate: certificate(raw, node, report),
        },
        KeyClass::Hmac => {
            let (prefix, encoding) = secret_format(raw.secret_format.as_ref(), node, report);
            let prefix = prefix.unwrap_or_default();
            KeySpec::Hmac {
                algorithm,
                bytes: hmac_bytes(raw, node, report),
                prefix,
                encoding: encoding.unwrap_or(SecretEncoding::Base64url),
                kid,
            }
        }
        KeyClass::ApiKey => {
            let (prefix, encoding) = secret_format(raw.secret_format.as_ref(), node, report);
            if encoding.is_some_and(|encoding| encoding != SecretEncoding::Base62) {
                let hint = "remove `encoding`, or write base62";
                report.fault(&node.place_of("secret_format"), "API keys are always base62, so that their checksum can be recognised", hint);
            }
            KeySpec::ApiKey { prefix: prefix.unwrap_or_else(|| format!("{name}_")), kid }
        }
    }
}

/// Fields that speak about another class of material.
fn misplaced(raw: &RawKeyset, node: &Node, report: &mut Report) {
    let algorithm = raw.algorithm;
    let class = algorithm.class();
    let wrong = [
        ("rsa_bits", raw.rsa_bits.is_some() && !algorithm.is_rsa(), "RSA keys", "remove it, or use an RS or PS algorithm"),
        ("hmac_bytes", raw.hmac_bytes.is_some() && class != KeyClass::Hmac, "HMAC secrets", "remove it, or use HS256, HS384 or HS512"),
        (
            "secret_format",
            raw.secret_format.is_some() && class == KeyClass::Asymmetric,
            "HMAC secrets and API keys",
            "remove it: key pairs are written as PKCS#8",
        ),
        ("certificate", raw.certificate.is_some() && class != KeyClass::Asymmetric, "key pairs", "remove it: a secret cannot be certified"),
    ];
    for (field, is_wrong, belongs_to, hint) in wrong {
        if is_wrong {
            report.fault(&node.place_of(field), format!("belongs to {belongs_to}, and this keyset is {algorithm}"), hint);
        }
    }
    // States the fact of tokens that do not exist; inherited from `defaults:` it simply does not apply.
    if class == KeyClass::ApiKey && node.get("token_ttl").is_some() {
        report.fault(&node.place_of("token_ttl"), "API keys are presented, not minted: there are no tokens to live", "remove it");
    }
}

/// Fields about what the vendor chooses when it makes a key.
fn vendors_choice(raw: &RawKeyset, node: &Node, report: &mut Report) {
    for (field, stated) in
        [("hmac_bytes", raw.hmac_bytes.is_some()), ("secret_format", raw.secret_format.is_some()), ("kid", raw.kid.is_some())]
    {
        if stated {
            report.fault(&node.place_of(field), "is the vendor's to choose: `source` says that Algolia makes these keys", "remove it");
        }
    }
}

fn kid(raw: &RawKeyset, node: &Node, report: &mut Report) -> KidFormat {
    const UUID: &str = "00000000-0000-7000-8000-000000000000";
    let pair = raw.algorithm.class() == KeyClass::Asymmetric;
    match &raw.kid {
        None if pair => KidFormat::Thumbprint,
        None => KidFormat::Uuid,
        Some(KidFormat::Thumbprint) if !pair => {
            report.fault(&node.place_of("kid"), "the thumbprint of a secret would tell about it", "uuid, or {prefix: …}");
            KidFormat::Uuid
        }
        Some(KidFormat::Prefix(prefix)) if prefix.is_empty() || format!("{prefix}{UUID}").parse::<Kid>().is_err() => {
            let hint = "up to 92 of A-Z a-z 0-9 . _ ~ : + = @ -";
            report.fault(&node.place_of("kid"), format!("`{prefix}` cannot begin a kid"), hint);
            KidFormat::Uuid
        }
        Some(kid) => kid.clone(),
    }
}

fn certificate(raw: &RawKeyset, node: &Node, report: &mut Report) -> Option<CertificateSpec> {
    let raw = raw.certificate.as_ref()?;
    let length = raw.common_name.trim().chars().count();
    if !(1..=LONGEST_COMMON_NAME).contains(&length) || raw.common_name.chars().any(char::is_control) {
        let what = format!("a common name has 1 to {LONGEST_COMMON_NAME} characters, this one {length}");
        report.fault(&node.place_of("certificate"), what, "for example the name of the service that signs");
    }
    Some(CertificateSpec { common_name: raw.common_name.trim().to_owned(), validity: raw.validity })
}

fn hmac_bytes(raw: &RawKeyset, node: &Node, report: &mut Report) -> u16 {
    let algorithm: Algorithm = raw.algorithm;
    let least = algorithm.least_hmac_bytes();
    let bytes = raw.hmac_bytes.unwrap_or(least);
    if bytes < least {
        let what = format!("{bytes} bytes are fewer than the {least} of the hash of {algorithm} (RFC 7518 §3.2)");
        report.fault(&node.place_of("hmac_bytes"), what, format!("at least {least}, or remove the field"));
    } else if bytes > MOST_HMAC_BYTES {
        report.fault(&node.place_of("hmac_bytes"), format!("{bytes} bytes are more than {MOST_HMAC_BYTES}"), format!("{least} are enough"));
    }
    bytes.clamp(least, MOST_HMAC_BYTES)
}

fn secret_format(raw: Option<&RawSecretFormat>, node: &Node, report: &mut Report) -> (Option<String>, Option<SecretEncoding>) {
    let Some(raw) = raw else { return (None, None) };
    let lawful = |prefix: &str| prefix.len() <= LONGEST_PREFIX && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    if let Some(prefix) = raw.prefix.as_deref().filter(|prefix| !lawful(prefix)) {
        let hint = format!("up to {LONGEST_PREFIX} of A-Z a-z 0-9 _ - .");
        report.fault(&node.place_of("secret_format"), format!("`{prefix}` cannot begin a secret"), hint);
    }
    (raw.prefix.clone(), raw.encoding)
}
