//! HMAC secrets: random bytes written as text. The HMAC key is the UTF-8 bytes of the whole text, prefix included.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::{KeygenError, MOST_HMAC_BYTES, base62};
use crate::key::{Algorithm, SecretEncoding};
use crate::secret::{SecretText, same_bytes};

pub(super) fn generate(algorithm: Algorithm, bytes: u16, prefix: &str, encoding: SecretEncoding) -> Result<SecretText, KeygenError> {
    let least = algorithm.least_hmac_bytes();
    if least == 0 {
        return Err(KeygenError::WrongClass(algorithm));
    }
    if !(least..=MOST_HMAC_BYTES).contains(&bytes) {
        return Err(KeygenError::HmacSize { algorithm, bytes, least });
    }
    super::lawful_prefix(prefix)?;
    let mut random = Zeroizing::new(vec![0u8; usize::from(bytes)]);
    super::random(&mut random)?;
    // Room for the longest encoding at once: a text that grew would leave copies behind.
    let mut text = String::with_capacity(prefix.len() + 2 * random.len());
    text.push_str(prefix);
    match encoding {
        SecretEncoding::Base64url => URL_SAFE_NO_PAD.encode_string(random.as_slice(), &mut text),
        SecretEncoding::Base62 => base62::append(&mut text, &random),
        SecretEncoding::Hex => {
            let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
            text.extend(random.iter().flat_map(|octet| [digit(octet >> 4), digit(octet & 15)]));
        }
    }
    Ok(SecretText::new(text))
}

/// The HMAC of an algorithm; `None` for others.
const fn hash(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

/// The JWS signature of `message` by an HMAC key (RFC 7518 §3.2); `None` if the algorithm is none of HMAC's or the key is
/// shorter than its hash.
pub fn hmac_tag(algorithm: Algorithm, key: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let hash = hash(algorithm).filter(|_| key.len() >= usize::from(algorithm.least_hmac_bytes()))?;
    Some(hmac::sign(&hmac::Key::new(hash, key), message).as_ref().to_vec())
}

/// A signature by HMAC.
pub type HmacTag = hmac::Tag;

/// An HMAC key, ready to sign and to verify. The back end wipes it.
pub struct HmacKey {
    key: hmac::Context,
    usual: Option<Begun>,
}

/// An HMAC that goes on where a known beginning ends.
struct Begun {
    front: Box<[u8]>,
    context: hmac::Context,
}

impl HmacKey {
    /// The UTF-8 bytes of the whole secret text, as a key; `None` if the algorithm is none of HMAC's or the text is shorter than its
    /// hash (RFC 7518 §3.2).
    pub fn new(algorithm: Algorithm, secret: &SecretText) -> Option<Self> {
        let bytes = secret.expose().as_bytes();
        let hash = hash(algorithm).filter(|_| bytes.len() >= usize::from(algorithm.least_hmac_bytes()))?;
        Some(Self { key: hmac::Context::with_key(&hmac::Key::new(hash, bytes)), usual: None })
    }

    /// The same key, quicker with messages that begin like `front`: as many blocks of `algorithm` as it fills are hashed here, once.
    #[must_use]
    pub fn expecting(self, front: &[u8], algorithm: Algorithm) -> Self {
        let block = hash(algorithm).map_or(1, |hash| hash.digest_algorithm().block_len());
        let front = Box::from(front.get(..front.len() - front.len() % block).unwrap_or_default());
        let mut context = self.key.clone();
        context.update(&front);
        Self { usual: Some(Begun { front, context }), ..self }
    }

    /// The JWS signature of `message` (RFC 7518 §3.2).
    pub fn sign(&self, message: &[u8]) -> HmacTag {
        let begun = self.usual.as_ref().and_then(|begun| Some((&begun.context, message.strip_prefix(&*begun.front)?)));
        let (context, rest) = begun.unwrap_or((&self.key, message));
        let mut context = context.clone();
        context.update(rest);
        context.sign()
    }

    /// Whether `tag` is the JWS signature of `message`. Takes the same time wherever they differ.
    pub fn verifies(&self, message: &[u8], tag: &[u8]) -> bool {
        same_bytes(self.sign(message).as_ref(), tag)
    }
}

/// Never shows material.
impl std::fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HmacKey")
    }
}

/// Whether the secret is as long as its hash and a message signed with it verifies.
pub(super) fn round_trip(algorithm: Algorithm, secret: &SecretText) -> bool {
    let (key, message) = (secret.expose().as_bytes(), b"keyrota self-check");
    let (Some(tag), Some(hash)) = (hmac_tag(algorithm, key, message), hash(algorithm)) else { return false };
    hmac::verify(&hmac::Key::new(hash, key), message, &tag).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_changes_no_signature() {
        let secret = SecretText::new("0123456789abcdef".repeat(4));
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let front = "f".repeat(300);
            for expected in [0, 1, 63, 64, 65, 128, 300] {
                let key = HmacKey::new(algorithm, &secret).unwrap().expecting(&front.as_bytes()[..expected], algorithm);
                for message in [front.clone() + "x", front[..299].to_owned(), front[..63].to_owned(), format!("g{front}"), String::new()] {
                    let tag = hmac_tag(algorithm, secret.expose().as_bytes(), message.as_bytes()).unwrap();
                    assert_eq!(key.sign(message.as_bytes()).as_ref(), tag, "{algorithm}, {expected}, {message}");
                    assert!(key.verifies(message.as_bytes(), &tag) && !key.verifies(message.as_bytes(), &tag[1..]));
                    assert!(!key.verifies(format!("{message}y").as_bytes(), &tag));
                }
            }
        }
    }
}
