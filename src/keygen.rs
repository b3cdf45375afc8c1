//! Making keys: every algorithm, each key checked before anybody sees it.
//!
//! Key pairs come from aws-lc-rs, certificates from rcgen; the `rsa` crate takes public RSA numbers apart and checks imported
//! keys, and never does a private-key operation (RUSTSEC-2023-0071). This is one of the two lawful sources of randomness.
//! It knows no keyset, no state and no policy: a [`KeySpec`] and a moment come in, a [`Key`] goes out.
//!
//! Invariant: what [`generate`] returns has signed, and its published half has verified, with the very bytes that will be stored.

pub mod api_key;
mod base62;
mod certificate;
mod forge;
mod hmac;
pub mod import;
mod inspect;
mod kid;
mod pair;
mod round_trip;

use std::future::Future;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use forge::KeyForge;
pub use hmac::{HmacKey, HmacTag, hmac_tag};
pub use inspect::{Refusal, inspect};
pub use pair::KeyPair;

use crate::jwk::{NumbersError, PublicJwk};
use crate::key::{Algorithm, Key, KeySpec, KidFormat, Material, Origin};
use crate::name::{Kid, NameError};
use crate::secret::SecretText;
use crate::time::Timestamp;

/// The RSA modulus lengths that are generated, in bits.
pub const RSA_SIZES: [u16; 3] = [2048, 3072, 4096];

/// The most random bytes of an HMAC secret: more adds nothing, since HMAC hashes longer keys first.
pub const MOST_HMAC_BYTES: u16 = 1024;

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeygenError {
    /// The back end failed. Not expected of a healthy machine.
    #[error("aws-lc-rs could not {doing} a key for {algorithm}; hint: this points to memory or hardware at fault, see the kernel's log")]
    Backend {
        /// What it was doing.
        doing: &'static str,
        /// For which algorithm.
        algorithm: Algorithm,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes could be had from the operating system; hint: getrandom(2) must be allowed in this sandbox")]
    NoRandomness,
    /// The specification contradicts itself.
    #[error("{0} was asked for with the settings of another class of keys; hint: key pairs, HMAC secrets and API keys differ")]
    WrongClass(Algorithm),
    /// An RSA size that is not generated.
    #[error("an RSA key of {0} bits was asked for; hint: one of 2048, 3072, 4096")]
    RsaSize(u16),
    /// An HMAC secret shorter than its hash, or absurdly long.
    #[error("an {algorithm} secret of {bytes} random bytes was asked for; hint: {least} (RFC 7518 §3.2) to {MOST_HMAC_BYTES}")]
    HmacSize {
        /// Which algorithm.
        algorithm: Algorithm,
        /// Bytes asked for.
        bytes: u16,
        /// The least there may be.
        least: u16,
    },
    /// The prefix of a secret has characters that do not survive headers, shells and files.
    #[error("`{0}` cannot stand in front of a secret; hint: up to 32 of A-Z a-z 0-9 . _ ~ : + = @ -")]
    Prefix(String),
    /// A kid was to be derived from a secret, and would tell about it.
    #[error("the kid of a secret cannot be its thumbprint; hint: kid: uuid or a prefix")]
    ThumbprintOfSecret,
    /// The prefix of the kid does not fit.
    #[error("the kid's prefix does not fit: {0}")]
    Kid(#[from] NameError),
    /// rcgen refused.
    #[error("no certificate could be made for `{common_name}`: {why}; hint: see certificate.common_name and certificate.validity")]
    Certificate {
        /// The subject asked for.
        common_name: String,
        /// What rcgen said.
        why: String,
    },
    /// A fresh key failed its check. It was thrown away.
    #[error("a fresh {algorithm} key failed its self-check ({what}) and was thrown away; hint: this points to memory or hardware at fault")]
    SelfCheck {
        /// Which algorithm.
        algorithm: Algorithm,
        /// What did not hold.
        what: &'static str,
    },
    /// A key handed in is not accepted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The public numbers are malformed.
    #[error(transparent)]
    Numbers(#[from] NumbersError),
    /// Its vendor makes it, or nobody.
    #[error("{0} keys of this keyset are made by their vendor and not here; hint: this is a fault of keyrota's: please report it")]
    VendorsOwn(Algorithm),
    /// The workers are gone: the process is going down.
    #[error("key generation has stopped; hint: the daemon is shutting down")]
    Stopped,
}

/// Where the reconciler gets its keys.
pub trait KeySource: Send + Sync + 'static {
    /// A new key as `spec` asks, created at `now`. Does not block the caller's thread.
    ///
    /// # Errors
    /// No key came about; see [`KeygenError`].
    fn generate(&self, spec: &KeySpec, now: Timestamp) -> impl Future<Output = Result<Key, KeygenError>> + Send;
}

/// A new, checked key as `spec` asks, created at `now`. Takes the calling thread: RSA-4096 needs up to seconds.
///
/// # Errors
/// The specification asks for what is not made, or the back end fails; see [`KeygenError`].
pub fn generate(spec: &KeySpec, now: Timestamp) -> Result<Key, KeygenError> {
    let key = match spec {
        KeySpec::Pair { algorithm, rsa_bits, kid, certificate } => {
            let pair = KeyPair::generate(*algorithm, *rsa_bits)?;
            let numbers = pair.numbers()?;
            let kid = kid::for_pair(kid, &numbers, now)?;
            let (bits, private) = (numbers.bits(), pair.to_pkcs8_pem()?);
            let mut public = PublicJwk::new(kid.clone(), *algorithm, numbers);
            if let Some(asked) = certificate {
                certificate::attach(&mut public, asked, &private, now)?;
            }
            Key { bits, ..generated(kid, *algorithm, now, Material::Pair { public, private: Some(private) }) }
        }
        KeySpec::Hmac { algorithm, bytes, prefix, encoding, kid } => {
            let secret = hmac::generate(*algorithm, *bytes, prefix, *encoding)?;
            let kid = kid::for_secret(kid, now)?;
            Key { bits: u32::from(*bytes) * 8, ..generated(kid, *algorithm, now, Material::Hmac { secret }) }
        }
        KeySpec::ApiKey { prefix, kid } => {
            let secret = api_key::generate(prefix)?;
            let digest = crate::digest::Digest::of(secret.expose().as_bytes());
            let kid = kid::for_secret(kid, now)?;
            let material = Material::ApiKey { secret: Some(secret), digest };
            Key { bits: api_key::RANDOM_BITS, ..generated(kid, Algorithm::ApiKey, now, material) }
        }
        KeySpec::Vendor { algorithm } => return Err(KeygenError::VendorsOwn(*algorithm)),
    };
    check(&key, spec)?;
    Ok(key)
}

const fn generated(kid: Kid, algorithm: Algorithm, created_at: Timestamp, material: Material) -> Key {
    Key { kid, algorithm, bits: 0, created_at, origin: Origin::Generated, expires_at: None, material }
}

/// What every key must pass before it is stored: its size is what was asked, the bytes to be stored sign, the half to be
/// published (as the JSON that verifiers parse, read by a JOSE library that knows nothing of our code) verifies, and a thumbprint
/// kid is that of the published half.
///
/// # Errors
/// [`KeygenError::SelfCheck`] with what did not hold.
pub fn check(key: &Key, spec: &KeySpec) -> Result<(), KeygenError> {
    let algorithm = key.algorithm;
    let hold = |holds: bool, what| if holds { Ok(()) } else { Err(KeygenError::SelfCheck { algorithm, what }) };
    hold(spec.fits(key), "algorithm or size is not what was asked for")?;
    match &key.material {
        Material::Pair { public, private } => {
            hold(public.numbers.bits() == key.bits, "the JWK has another size")?;
            if algorithm.is_rsa() {
                public.numbers.check()?; // a point of EC is checked by whoever verifies with it
            }
            let stored = private.as_ref().ok_or(KeygenError::SelfCheck { algorithm, what: "there is no private half" })?;
            let pair = KeyPair::from_pkcs8_pem(stored, algorithm)?;
            hold(round_trip::succeeds(public, &pair)?, "the published half does not verify")?;
            let by_thumbprint = matches!(spec, KeySpec::Pair { kid: KidFormat::Thumbprint, .. });
            hold(!by_thumbprint || key.kid.as_str() == public.numbers.thumbprint().to_string(), "the kid is not the thumbprint")
        }
        Material::Hmac { secret } => hold(hmac::round_trip(algorithm, secret), "the secret is shorter than its hash"),
        Material::ApiKey { secret, digest } => {
            let text = secret.as_ref().map_or("", SecretText::expose);
            hold(api_key::checksum_holds(text), "the checksum does not hold")?;
            hold(*digest == crate::digest::Digest::of(text.as_bytes()), "the digest is of another key")
        }
    }
}

/// Fills `bytes` from the operating system's generator by way of aws-lc-rs.
fn random(bytes: &mut [u8]) -> Result<(), KeygenError> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| KeygenError::NoRandomness)
}

/// Random bytes.
///
/// # Errors
/// [`KeygenError::NoRandomness`].
pub fn random_bytes<const N: usize>() -> Result<[u8; N], KeygenError> {
    let mut bytes = [0; N];
    random(&mut bytes)?;
    Ok(bytes)
}

/// A name that nobody else will ever give: 128 random bits as base64url, for a token's `jti` (RFC 7519 §4.1.7).
///
/// # Errors
/// [`KeygenError::NoRandomness`].
pub fn token_id() -> Result<String, KeygenError> {
    let mut bytes = [0; 16];
    random(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Whether `prefix` may stand in front of a secret: short, and of characters that survive headers, shells and files.
fn lawful_prefix(prefix: &str) -> Result<(), KeygenError> {
    let lawful = |b: u8| b.is_ascii_alphanumeric() || b"._~:+=@-".contains(&b);
    if prefix.len() <= 32 && prefix.bytes().all(lawful) {
        return Ok(());
    }
    Err(KeygenError::Prefix(prefix.chars().take(32).collect()))
}
