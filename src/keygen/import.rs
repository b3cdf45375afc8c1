//! Keys that somebody else made: read in whichever form they come, judged, and written as keyrota stores its own.
//!
//! PEM (PKCS#8, PKCS#1, SEC 1, encrypted PKCS#8), private and public JWK, and plain texts for HMAC secrets and API keys. What is weak
//! or does not belong together is refused with the reason, and no refusal quotes anything of the key.

mod encrypted;
mod private_jwk;

use aws_lc_rs::signature::EcdsaKeyPair;
use rsa::pkcs8::der::Encode as _;
use rsa::pkcs8::der::asn1::AnyRef;
use rsa::pkcs8::spki::AlgorithmIdentifierRef;
use rsa::pkcs8::{LineEnding, PrivateKeyInfo, SecretDocument};
use zeroize::Zeroizing;

pub use private_jwk::PrivateJwk;

use super::{KeygenError, MOST_HMAC_BYTES, inspect, kid};
use crate::digest::Digest;
use crate::jwk::{EcCurve, PublicJwk, PublicNumbers, RSA_ENCRYPTION};
use crate::key::{Algorithm, Key, KeyClass, KidFormat, Material, Origin};
use crate::name::Kid;
use crate::secret::SecretText;
use crate::time::Timestamp;

/// The shortest API key that is taken in, in characters: 96 bits of base64.
pub const SHORTEST_API_KEY: usize = 16;

/// The longest secret or API key, in bytes.
pub const LONGEST_SECRET: usize = 4096;

/// A key as it was handed in.
pub struct Handed<'a> {
    /// Its content.
    pub material: &'a SecretText,
    /// What opens it, if it is encrypted.
    pub passphrase: Option<&'a SecretText>,
    /// Its name; `None`: the one in a JWK, else the thumbprint.
    pub kid: Option<Kid>,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// When it was made; ages count from here.
    pub created_at: Timestamp,
    /// When its vendor stops accepting it.
    pub expires_at: Option<Timestamp>,
}

/// Why a key is not taken in. Bears nothing of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// What [`inspect`] says.
    #[error(transparent)]
    Judged(#[from] KeygenError),
    /// A JWK that is none, or that contradicts what was asked.
    #[error("the JWK is not accepted: {what}; hint: {hint}")]
    Jwk {
        /// What is wrong.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// An encrypted key without a passphrase, or with a wrong one, or encrypted in a way that is not supported.
    #[error("the encrypted key was not opened: {what}; hint: {hint}")]
    Encrypted {
        /// What is wrong.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// A secret that is too short for its algorithm.
    #[error("the secret has {found} bytes, and {algorithm} needs {least} at least (RFC 7518 §3.2); hint: ask for a longer one")]
    Short {
        /// What it was to sign with.
        algorithm: Algorithm,
        /// Bytes found.
        found: usize,
        /// The least there may be.
        least: usize,
    },
    /// A secret that is no text, empty, absurdly long, or one character over and over.
    #[error("the secret is not accepted: {what}; hint: {hint}")]
    Secret {
        /// What is wrong.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Secrets have no thumbprint that could be shown.
    #[error("a secret has no name of its own; hint: --kid, with the id that its vendor gave it")]
    NoKid,
}

/// Reads and judges a key that was handed in.
///
/// # Errors
/// Why it is not accepted.
pub fn import(handed: &Handed<'_>) -> Result<Key, ImportError> {
    match handed.algorithm.class() {
        KeyClass::Asymmetric => pair(handed),
        KeyClass::Hmac | KeyClass::ApiKey => secret(handed),
    }
}

fn pair(handed: &Handed<'_>) -> Result<Key, ImportError> {
    let (algorithm, text) = (handed.algorithm, handed.material.expose().trim());
    let (numbers, private, named) = if text.starts_with('{') {
        let jwk = PrivateJwk::read(text, algorithm)?;
        (jwk.numbers, jwk.private, jwk.kid)
    } else if text.starts_with("-----BEGIN PUBLIC KEY-----") || text.starts_with("-----BEGIN RSA PUBLIC KEY-----") {
        (PublicNumbers::from_spki_pem(text).map_err(KeygenError::Numbers)?, None, None)
    } else {
        let pem = as_pkcs8(text, handed)?;
        let (numbers, _) = inspect(&pem, algorithm)?;
        (numbers, Some(pem), None)
    };
    if private.is_none() {
        judge_public(&numbers, algorithm)?;
    }
    let name = match handed.kid.clone().or(named) {
        Some(kid) => kid,
        None => kid::for_pair(&KidFormat::Thumbprint, &numbers, handed.created_at)?,
    };
    let bits = numbers.bits();
    let public = PublicJwk::new(name.clone(), algorithm, numbers);
    Ok(taken(handed, name, bits, Material::Pair { public, private }))
}

/// The public half alone: strong enough, and of the kind that the algorithm takes.
fn judge_public(numbers: &PublicNumbers, algorithm: Algorithm) -> Result<(), ImportError> {
    numbers.check().map_err(KeygenError::Numbers)?;
    let fits = match numbers {
        PublicNumbers::Rsa { .. } => algorithm.is_rsa(),
        PublicNumbers::Ec { crv, .. } => EcCurve::of(algorithm) == Some(*crv),
        PublicNumbers::Okp { .. } => algorithm == Algorithm::EdDsa,
    };
    let what = || format!("a key for {algorithm} was asked for, and this is of another kind or curve");
    if fits { Ok(()) } else { Err(ImportError::Jwk { what: what(), hint: "hand in another key, or name its algorithm" }) }
}

/// Whatever kind of PEM it is, as PKCS#8.
fn as_pkcs8(text: &str, handed: &Handed<'_>) -> Result<SecretText, ImportError> {
    let Ok((label, document)) = SecretDocument::from_pem(text) else {
        // It says best itself what is wrong.
        return Ok(SecretText::new(text.to_owned()));
    };
    let refused = || KeygenError::Refused(inspect::Refusal::Inconsistent(handed.algorithm));
    match label {
        "RSA PRIVATE KEY" => wrapped(document.as_bytes()),
        "EC PRIVATE KEY" => {
            let curve = EcCurve::of(handed.algorithm).ok_or_else(refused)?;
            let pair = EcdsaKeyPair::from_private_key_der(super::pair::ecdsa(curve), document.as_bytes()).map_err(|_| refused())?;
            pem(pair.to_pkcs8v1().map_err(|_| refused())?.as_ref())
        }
        "ENCRYPTED PRIVATE KEY" => pem(&encrypted::open(document.as_bytes(), handed.passphrase)?),
        _ => Ok(SecretText::new(text.to_owned())),
    }
}

/// PKCS#1 inside PKCS#8, unjudged: so that whoever judges it can say what is weak.
fn wrapped(pkcs1: &[u8]) -> Result<SecretText, ImportError> {
    let algorithm = AlgorithmIdentifierRef { oid: RSA_ENCRYPTION, parameters: Some(AnyRef::NULL) };
    let info = PrivateKeyInfo { algorithm, private_key: pkcs1, public_key: None };
    let der = info.to_der().map(Zeroizing::new).map_err(|_| KeygenError::Refused(inspect::Refusal::NotPkcs8))?;
    pem(&der)
}

fn pem(der: &[u8]) -> Result<SecretText, ImportError> {
    let written = SecretDocument::try_from(der).and_then(|document| document.to_pem("PRIVATE KEY", LineEnding::LF));
    let mut text = written.map_err(|_| KeygenError::Refused(inspect::Refusal::NotPkcs8))?;
    Ok(SecretText::new(std::mem::take(&mut *text)))
}

fn secret(handed: &Handed<'_>) -> Result<Key, ImportError> {
    let algorithm = handed.algorithm;
    let given = handed.material.expose();
    let (secret, named) = if given.trim_start().starts_with('{') {
        let jwk = private_jwk::read_secret(given, algorithm)?;
        (jwk.0, jwk.1)
    } else {
        // A file's last line end is no part of the secret.
        let text = given.strip_suffix('\n').map_or(given, |text| text.strip_suffix('\r').unwrap_or(text));
        (SecretText::new(text.to_owned()), None)
    };
    let text = secret.expose();
    let wrong = |what, hint| Err(ImportError::Secret { what, hint });
    let mut bytes = text.bytes();
    let first = bytes.next();
    match () {
        () if first.is_none() => return wrong("there is nothing", "hand it in on standard input, or with --fd"),
        () if text.len() > LONGEST_SECRET => return wrong("it is absurdly long", "is it another file?"),
        () if text.contains(['\n', '\r', '\0']) => return wrong("it has several lines", "hand in the secret alone, on one line"),
        () if text.starts_with("-----BEGIN ") => return wrong("it is a PEM block, not a secret", "look at the keyset's algorithm"),
        () if bytes.all(|b| Some(b) == first) => return wrong("it is one character over and over", "ask for a random one"),
        () => {}
    }
    let least = usize::from(algorithm.least_hmac_bytes());
    if text.len() < least {
        return Err(ImportError::Short { algorithm, found: text.len(), least });
    }
    if algorithm == Algorithm::ApiKey && text.len() < SHORTEST_API_KEY {
        return wrong("it is too short to be hard to guess", "an API key has 16 characters at least");
    }
    let name = handed.kid.clone().or(named).ok_or(ImportError::NoKid)?;
    let bits = u32::try_from(text.len() * 8).unwrap_or(u32::from(MOST_HMAC_BYTES) * 8);
    let material = match algorithm {
        Algorithm::ApiKey => Material::ApiKey { digest: Digest::of(text.as_bytes()), secret: Some(secret.clone()) },
        _ => Material::Hmac { secret: secret.clone() },
    };
    Ok(taken(handed, name, bits, material))
}

fn taken(handed: &Handed<'_>, kid: Kid, bits: u32, material: Material) -> Key {
    Key {
        kid,
        algorithm: handed.algorithm,
        bits,
        created_at: handed.created_at,
        origin: Origin::Imported,
        expires_at: handed.expires_at,
        material,
    }
}

#[cfg(test)]
mod tests;
