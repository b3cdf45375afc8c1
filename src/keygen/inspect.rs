//! Judging a private key that somebody hands in: what it is, and in one sentence why it is not accepted.

use rsa::pkcs8::der::Decode as _;
use rsa::pkcs8::{PrivateKeyInfo, SecretDocument};

use super::{KeyPair, KeygenError};
use crate::jwk::{EC_PUBLIC_KEY, ED25519, EcCurve, NumbersError, PublicNumbers, RSA_ENCRYPTION};
use crate::key::Algorithm;
use crate::secret::SecretText;

/// Why a private key is not accepted. Bears nothing of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No PEM at all.
    #[error("this is not PEM; hint: a text that begins with -----BEGIN PRIVATE KEY-----")]
    NotPem,
    /// A PEM block of another kind, for which there is a way.
    #[error("this is a PEM block `{label}`, not `PRIVATE KEY` (PKCS#8); hint: {hint}")]
    Label {
        /// What the block says it is.
        label: String,
        /// How to get there.
        hint: &'static str,
    },
    /// The block says PKCS#8 and its content is not.
    #[error("the PEM block `PRIVATE KEY` holds no PKCS#8 structure (RFC 5958); hint: it is cut short or damaged")]
    NotPkcs8,
    /// A key of another kind than the algorithm signs with.
    #[error("{algorithm} signs with {wanted}, and this is {found}; hint: hand in another key, or correct the policy's algorithm")]
    Kind {
        /// What it was to sign with.
        algorithm: Algorithm,
        /// The kind that takes.
        wanted: &'static str,
        /// The kind it is.
        found: String,
    },
    /// The public numbers are weak or malformed.
    #[error("the public half is not accepted: {0}")]
    Numbers(#[from] NumbersError),
    /// The halves do not belong together.
    #[error("the numbers of this {0} key do not belong together; hint: it is damaged, or its halves are of two keys")]
    Inconsistent(Algorithm),
}

/// What a private key in PKCS#8 PEM is, if it can sign with `algorithm`: its public numbers and its size in bits.
///
/// RSA keys are taken apart by the `rsa` crate, which multiplies the factors and compares exponents; it signs nothing.
/// Then aws-lc-rs parses the key with its own checks, and a signature makes the round trip.
///
/// # Errors
/// [`KeygenError::Refused`] with the reason; [`KeygenError::WrongClass`] for algorithms that have no key pair.
pub fn inspect(pkcs8_pem: &SecretText, algorithm: Algorithm) -> Result<(PublicNumbers, u32), KeygenError> {
    let document = private_key_pem(pkcs8_pem)?;
    let info = PrivateKeyInfo::from_der(document.as_bytes()).map_err(|_| Refusal::NotPkcs8)?;
    let (wanted, found) = (wanted(algorithm)?, kind(&info));
    if found != wanted {
        return Err(Refusal::Kind { algorithm, wanted, found }.into());
    }
    if algorithm.is_rsa() {
        check_rsa(info, algorithm)?;
    }
    let pair = KeyPair::from_pkcs8_der(document.as_bytes(), algorithm)?;
    let numbers = pair.numbers()?;
    numbers.check().map_err(Refusal::Numbers)?;
    if !numbers.verifies(algorithm, b"keyrota inspects", &pair.sign(b"keyrota inspects")?) {
        return Err(Refusal::Inconsistent(algorithm).into());
    }
    let bits = numbers.bits();
    Ok((numbers, bits))
}

/// The content of the PEM block `PRIVATE KEY`, in memory that is wiped.
pub(super) fn private_key_pem(pem: &SecretText) -> Result<SecretDocument, Refusal> {
    let text = pem.expose().trim();
    let (label, document) = SecretDocument::from_pem(text).map_err(|_| match label_of(text) {
        // Encrypted PKCS#1 carries headers, which strict PEM has not.
        Some(label) if label != "PRIVATE KEY" => wrong_label(label),
        Some(_) => Refusal::NotPkcs8,
        None => Refusal::NotPem,
    })?;
    if label == "PRIVATE KEY" { Ok(document) } else { Err(wrong_label(label)) }
}

fn label_of(text: &str) -> Option<&str> {
    text.strip_prefix("-----BEGIN ")?.split_once("-----").map(|(label, _)| label).filter(|label| label.len() <= 40)
}

fn wrong_label(label: &str) -> Refusal {
    let hint = match label {
        "RSA PRIVATE KEY" => "that is PKCS#1; convert it with `openssl pkcs8 -topk8 -nocrypt -in FILE`",
        "EC PRIVATE KEY" => "that is SEC 1; convert it with `openssl pkcs8 -topk8 -nocrypt -in FILE`",
        "ENCRYPTED PRIVATE KEY" => "decrypt it with `openssl pkcs8 -in FILE`",
        "OPENSSH PRIVATE KEY" => "that is a key for SSH; token-signing keys come from `openssl genpkey`",
        "PUBLIC KEY" | "RSA PUBLIC KEY" | "CERTIFICATE" => "that is the public half; the private one is needed",
        _ => "a text that begins with -----BEGIN PRIVATE KEY-----",
    };
    Refusal::Label { label: label.to_owned(), hint }
}

const fn wanted(algorithm: Algorithm) -> Result<&'static str, KeygenError> {
    Ok(match EcCurve::of(algorithm) {
        Some(curve) => curve_kind(curve),
        None if algorithm.is_rsa() => "an RSA key",
        None => match algorithm {
            Algorithm::EdDsa => "an Ed25519 key",
            _ => return Err(KeygenError::WrongClass(algorithm)),
        },
    })
}

const fn curve_kind(curve: EcCurve) -> &'static str {
    match curve {
        EcCurve::P256 => "an EC key on P-256",
        EcCurve::P384 => "an EC key on P-384",
        EcCurve::P521 => "an EC key on P-521",
    }
}

fn kind(info: &PrivateKeyInfo<'_>) -> String {
    match info.algorithm.oid {
        RSA_ENCRYPTION => "an RSA key".to_owned(),
        ED25519 => "an Ed25519 key".to_owned(),
        EC_PUBLIC_KEY => match info.algorithm.parameters_oid() {
            Ok(oid) => EcCurve::from_oid(oid).map_or_else(|| format!("an EC key on curve {oid}"), |curve| curve_kind(curve).to_owned()),
            Err(_) => "an EC key on a curve without a name".to_owned(),
        },
        other => match other.to_string().as_str() {
            "1.2.840.113549.1.1.10" => "an RSA key restricted to RSASSA-PSS (few verifiers take those)".to_owned(),
            "1.3.101.110" => "an X25519 key (for key agreement, not for signatures)".to_owned(),
            "1.3.101.113" => "an Ed448 key".to_owned(),
            oid => format!("a key of kind {oid}"),
        },
    }
}

/// Size and exponent first, so that the refusal can give them; then whether the halves belong together.
fn check_rsa(info: PrivateKeyInfo<'_>, algorithm: Algorithm) -> Result<(), Refusal> {
    let parts = rsa::pkcs1::RsaPrivateKey::from_der(info.private_key).map_err(|_| Refusal::NotPkcs8)?;
    PublicNumbers::rsa(parts.modulus.as_bytes(), parts.public_exponent.as_bytes()).check()?;
    rsa::RsaPrivateKey::try_from(info).map(drop).map_err(|_| Refusal::Inconsistent(algorithm))
}
