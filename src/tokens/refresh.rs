//! Refresh tokens (RFC 6749 §1.5): sealed, and kept by nobody but their holder.
//!
//! What was granted stands inside, under authenticated encryption with a key of the keyset that the policy names for it. Every replica
//! has those keys, so each opens what another sealed, also after a restart; they rotate as any other keys do, and an old one stays for as
//! long as the last refresh token that it sealed may live. Nothing is remembered of a refresh token, so using it twice leaves no trace:
//! whoever comes with one is authenticated anew each time, and what is taken back stands in the document of that keyset.
//!
//! Invariant: what opens is as it was sealed, for this keyset, has not expired and was not taken back; of everything else nothing is told.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::document::Document;
use crate::key::{Key, Material};
use crate::keygen::{self, KeygenError};
use crate::name::{KeysetId, KeysetName, Kid};
use crate::secret::SecretText;
use crate::time::Timestamp;

/// What stands in front, so that people and secret scanners know one.
pub const PREFIX: &str = "keyrota_rt_";

/// The longest, in bytes: more than that of whatever goes with an access token that can be presented
/// ([`LONGEST_TOKEN`](super::compact::LONGEST_TOKEN)).
pub const LONGEST: usize = 9 * 1024;

const VERSION: u8 = 1;
const ID: usize = 16;
const SALT: usize = 16;
const HEAD: usize = 1 + ID + SALT;
const KEY: usize = 32;

/// What was granted, and to whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The keyset of API keys whose callers alone may use it, whichever of its keys lives then.
    pub caller: KeysetName,
    /// Whom the tokens are about.
    pub subject: String,
    /// What they say besides: the claims that were asked for, `scope` among them.
    pub claims: Map<String, Value>,
    /// The thumbprint of the key that must be proven at each use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_to: Option<Digest>,
    /// When it was given.
    pub given_at: Timestamp,
    /// When it ceases to be accepted.
    pub expires_at: Timestamp,
}

/// Why there is no refresh token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Nothing seals.
    #[error("keyset {0} has no active key, and refresh tokens are sealed with it; hint: `keyrota status {0}` says what it waits for")]
    NoKey(KeysetId),
    /// Nobody could present it.
    #[error("the refresh token would have {0} bytes, more than {LONGEST}; hint: ask for fewer or shorter claims")]
    TooLong(usize),
    /// The machine is at fault.
    #[error(transparent)]
    Key(#[from] KeygenError),
    /// The cryptographic library refused.
    #[error("the refresh token could not be sealed; hint: this is a fault of keyrota's: please report it")]
    Broken,
}

/// Why a refresh token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is none, was altered, is of another keyset or caller, or its key is gone. Which of these, nobody is told.
    #[error("the refresh token is none of this keyset and caller, or its key is gone; hint: ask for a token anew")]
    Unknown,
    /// It is too old.
    #[error("the refresh token expired at {0}; hint: ask for a token anew")]
    Expired(Timestamp),
    /// An operator took it back.
    #[error("the refresh token was revoked; hint: ask for a token anew")]
    Revoked,
}

impl Refusal {
    /// Every code.
    pub const CODES: [&'static str; 3] = ["refresh_unknown", "refresh_expired", "refresh_revoked"];

    /// What programs may rely on.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "refresh_unknown",
            Self::Expired(_) => "refresh_expired",
            Self::Revoked => "refresh_revoked",
        }
    }
}

/// Whether a text may be a refresh token, by its beginning.
pub fn looks_like_one(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Seals a grant of `keyset` with the active key of `sealing`.
///
/// # Errors
/// Nothing seals, or the grant is too long.
pub fn seal(sealing: &Document, keyset: &KeysetId, grant: &Grant) -> Result<SecretText, SealError> {
    let active = sealing.active.as_ref().ok_or_else(|| SealError::NoKey(sealing.id.clone()))?;
    let mut head = [VERSION; HEAD];
    head[1..=ID].copy_from_slice(&short(&active.key.kid));
    head[1 + ID..].copy_from_slice(&keygen::random_bytes::<SALT>()?);
    let plain = Zeroizing::new(serde_json::to_vec(grant).map_err(|_| SealError::Broken)?);
    let length = PREFIX.len() + ((HEAD + plain.len() + AES_256_GCM.tag_len()) * 4).div_ceil(3);
    if length > LONGEST {
        return Err(SealError::TooLong(length));
    }
    let (key, nonce) = derived(&active.key, &head).ok_or(SealError::Broken)?;
    // Encrypted where it stands, so that no plain copy is left behind.
    let mut sealed = Vec::with_capacity(HEAD + plain.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(&head);
    sealed.extend_from_slice(&plain);
    let tag = key.seal_in_place_separate_tag(nonce, bound_to(keyset, &head), &mut sealed[HEAD..]).map_err(|_| SealError::Broken)?;
    sealed.extend_from_slice(tag.as_ref());
    let mut text = String::with_capacity(length);
    text.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(&sealed, &mut text);
    Ok(SecretText::new(text))
}

/// Opens what was sealed for callers of `caller` at `keyset`.
///
/// # Errors
/// It is not accepted at `now`.
pub fn open(sealing: &Document, keyset: &KeysetId, caller: &KeysetName, text: &str, now: Timestamp) -> Result<Grant, Refusal> {
    let grant = opened(sealing, keyset, text).filter(|grant| grant.caller == *caller).ok_or(Refusal::Unknown)?;
    if grant.expires_at <= now {
        return Err(Refusal::Expired(grant.expires_at));
    }
    let skew = sealing.facts.promised(now).clock_skew;
    let mut revoked = sealing.revoked_grants.iter();
    if revoked.any(|entry| entry.include(&grant.caller, &grant.subject, grant.given_at, skew)) {
        return Err(Refusal::Revoked);
    }
    Ok(grant)
}

fn opened(sealing: &Document, keyset: &KeysetId, text: &str) -> Option<Grant> {
    let encoded = text.strip_prefix(PREFIX).filter(|_| text.len() <= LONGEST)?;
    let mut sealed = Zeroizing::new(URL_SAFE_NO_PAD.decode(encoded).ok()?);
    let head: [u8; HEAD] = *sealed.first_chunk()?;
    if head[0] != VERSION {
        return None;
    }
    // Which key it names is no secret; whether that is so shows when it is opened.
    let key = sealing.live().find(|live| short(&live.key.kid) == head[1..=ID])?.key;
    let (key, nonce) = derived(key, &head)?;
    let plain = key.open_in_place(nonce, bound_to(keyset, &head), &mut sealed[HEAD..]).ok()?;
    serde_json::from_slice(plain).ok()
}

/// Key and nonce of one refresh token (HKDF, RFC 5869): each has its own, so that no count of them is ever too great for AES-GCM, and
/// none is the secret itself, which as an HMAC key could sign.
fn derived(key: &Key, head: &[u8; HEAD]) -> Option<(LessSafeKey, Nonce)> {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            KEY + NONCE_LEN
        }
    }
    let Material::Hmac { secret } = &key.material else { return None };
    let root = hkdf::Salt::new(hkdf::HKDF_SHA256, &head[1 + ID..]).extract(secret.expose().as_bytes());
    let mut derived = Zeroizing::new([0; KEY + NONCE_LEN]);
    root.expand(&[b"keyrota refresh token 1"], Length).ok()?.fill(derived.as_mut()).ok()?;
    let nonce = Nonce::try_assume_unique_for_key(&derived[KEY..]).ok()?;
    Some((LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &derived[..KEY]).ok()?), nonce))
}

/// What a refresh token is bound to besides its content: its head and the keyset whose tokens it is for.
fn bound_to(keyset: &KeysetId, head: &[u8; HEAD]) -> Aad<Vec<u8>> {
    Aad::from([&head[..], keyset.to_string().as_bytes()].concat())
}

fn short(kid: &Kid) -> [u8; ID] {
    let mut short = [0; ID];
    short.copy_from_slice(&Digest::of(kid.as_str().as_bytes()).as_bytes()[..ID]);
    short
}

#[cfg(test)]
mod tests;
