//! The key that proves the trail, and how it is handed on when the master key it comes from is changed.
//!
//! The line that changes over bears the key before, sealed under the key after (AES-256-GCM): so whoever holds the key of today can check
//! the whole trail, and the master key of yesterday can be destroyed. That line also fixes all lines before it, since its own code covers
//! the code of the last of them: even whoever holds the old key cannot write them anew.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::digest::Digest;
use crate::secret::SecretBytes;

const NONCE: usize = 12;
const LENGTH: usize = 32;

/// A key of the trail.
#[derive(Clone)]
pub struct TrailKey {
    bytes: SecretBytes,
    mac: hmac::Key,
    id: String,
}

impl TrailKey {
    /// A key of 32 bytes.
    pub fn new(bytes: SecretBytes) -> Self {
        let mac = hmac::Key::new(hmac::HMAC_SHA256, bytes.expose());
        let id = hmac::sign(&mac, b"keyrota audit trail key id 1");
        Self { id: Digest::of(id.as_ref()).to_string().chars().take(32).collect(), bytes, mac }
    }

    /// Its name, which tells nothing about it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What lines are authenticated with.
    pub const fn mac(&self) -> &hmac::Key {
        &self.mac
    }

    /// The key before this one, sealed under this one, for the line of that number. `None` if the back end fails.
    pub fn seal(&self, before: &Self, number: u64) -> Option<String> {
        let mut sealed = before.bytes.expose().to_vec();
        let nonce = self.sealing()?.seal_in_place_append_tag(Aad::from(self.bound(number)), &mut sealed).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce.as_ref()[..], &sealed].concat()))
    }

    /// The key before this one, out of the line of that number. `None` if it was sealed under another key or for another line.
    pub fn open(&self, sealed: &str, number: u64) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
        let mut sealed = sealed.to_vec();
        let opened = self.sealing()?.open_in_place(Nonce::from(nonce), Aad::from(self.bound(number)), &mut sealed).ok()?;
        (opened.len() == LENGTH).then(|| Self::new(SecretBytes::new(opened.to_vec())))
    }

    fn sealing(&self) -> Option<RandomizedNonceKey> {
        let key = hmac::sign(&self.mac, b"keyrota audit trail key sealing 1");
        RandomizedNonceKey::new(&AES_256_GCM, key.as_ref()).ok()
    }

    fn bound(&self, number: u64) -> Vec<u8> {
        format!("keyrota audit trail key before {} line {number}", self.id).into_bytes()
    }
}

/// Shows its id only.
impl fmt::Debug for TrailKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trail key {}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> TrailKey {
        TrailKey::new(SecretBytes::new(vec![byte; LENGTH]))
    }

    #[test]
    fn a_key_is_handed_on_for_one_line_under_one_key() {
        let (old, new) = (key(1), key(2));
        let sealed = new.seal(&old, 7).unwrap();
        assert_eq!(new.open(&sealed, 7).unwrap().id(), old.id());
        assert!(new.open(&sealed, 8).is_none() && key(3).open(&sealed, 7).is_none() && old.open(&sealed, 7).is_none());
        assert!(new.open("", 7).is_none() && new.open(&sealed[1..], 7).is_none());
        assert_ne!(sealed, new.seal(&old, 7).unwrap(), "a fresh nonce each time");
        assert!(!format!("{old:?}").contains(&URL_SAFE_NO_PAD.encode([1; LENGTH])) && old.id() != new.id());
    }
}
