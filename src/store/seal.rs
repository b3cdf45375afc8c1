//! Envelope encryption of stored documents: AES-256-GCM (NIST SP 800-38D) under a fresh random data key for every write, which is
//! itself wrapped, AES-256-GCM again, under the master key.
//!
//! Invariant: what was sealed for one place opens in no other. The associated data of both layers is the [`Place`]: store,
//! environment, keyset, generation, write and master key. A record that was moved to another row, or put back into a row that has
//! gone on, does not open.
//!
//! ```text
//! version 1 | master key id 16 | digest of the place 16 | nonce 12 | wrapped data key 32+16 | nonce 12 | sealed document n+16
//! ```
//!
//! The ids in front are not trusted; they only tell what is likely wrong when a record does not open. Nonces are random, so one
//! master key should wrap no more than 2^32 data keys (SP 800-38D §8.3): a thousand writes a second for seven weeks, without pause.
//!
//! Nothing in here knows how records are stored.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, RandomizedNonceKey, UnboundKey};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::master_key::{MasterKey, MasterKeyId};
use crate::digest::Digest;
use crate::name::{Generation, KeysetId};
use crate::secret::SecretBytes;

const VERSION: u8 = 1;
const ID: usize = 16;
const NONCE: usize = 12;
const DATA_KEY: usize = 32;
const TAG: usize = 16;

/// How much longer a sealed document is than the document.
pub const OVERHEAD: usize = 1 + ID + ID + NONCE + DATA_KEY + TAG + NONCE + TAG;

/// A random identity of 128 bits: of a store, or of one write. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RandomId(pub [u8; ID]);

/// Where a sealed document belongs.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The store, by the id it got when it was made.
    pub store: RandomId,
    /// The keyset.
    pub keyset: &'a KeysetId,
    /// The document's generation.
    pub generation: Generation,
    /// The write that put it there.
    pub write: RandomId,
}

/// Why a record does not open, or could not be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too short, or of a version that this program does not know.
    #[error("{0}: the record is no sealed document of version {VERSION}; hint: a damaged row, or written by a newer keyrota")]
    NotSealed(String),
    /// Sealed under another master key.
    #[error("{place}: sealed under master key {sealed_under}, and the one in use is {in_use}; hint: give keyrota the key of that id")]
    OtherKey {
        /// Which record.
        place: String,
        /// The id in the record.
        sealed_under: MasterKeyId,
        /// The id of our key.
        in_use: MasterKeyId,
    },
    /// Sealed for another place.
    #[error("{0}: the record was sealed for another place or generation; hint: a row was copied, moved or put back inside the database")]
    Moved(String),
    /// Right key, right place, and yet not authentic.
    #[error("{0}: the record was changed after it was sealed; hint: a damaged disk or a hand in the database; restore a back-up")]
    Damaged(String),
    /// The cryptographic library refused.
    #[error("{0}: the cryptographic library refused to seal")]
    Refused(String),
}

impl RandomId {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn new() -> Result<Self, String> {
        let mut id = [0; ID];
        rand::fill(&mut id).map_err(|_| "the system has no randomness to give".to_owned())?;
        Ok(Self(id))
    }
}

impl fmt::Display for RandomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RandomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keyset {} at generation {}", self.keyset, self.generation)
    }
}

/// Everything that a record is bound to, each part with its length, so that no two places read alike.
fn bound_to(place: &Place<'_>, key: MasterKeyId, layer: &[u8]) -> Vec<u8> {
    let generation = place.generation.0.to_be_bytes();
    let (environment, keyset) = (place.keyset.environment.as_str().as_bytes(), place.keyset.keyset.as_str().as_bytes());
    let parts: [&[u8]; 9] =
        [b"keyrota sealed document", &[VERSION], layer, &place.store.0, environment, keyset, &generation, &place.write.0, &key.0];
    let mut bound = Vec::with_capacity(256);
    for part in parts {
        bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bound.extend_from_slice(part);
    }
    bound
}

fn place_digest(place: &Place<'_>, key: MasterKeyId) -> [u8; ID] {
    let mut short = [0; ID];
    short.copy_from_slice(&Digest::of(&bound_to(place, key, b"place")).as_bytes()[..ID]);
    short
}

/// Seals a document for one place.
///
/// # Errors
/// If there is no randomness, or the cryptographic library refuses.
pub fn seal(master: &MasterKey, place: &Place<'_>, document: &SecretBytes) -> Result<Vec<u8>, SealError> {
    let refused = |_| SealError::Refused(place.to_string());
    let mut data_key = Zeroizing::new([0u8; DATA_KEY]);
    rand::fill(data_key.as_mut()).map_err(refused)?;
    let body_key = RandomizedNonceKey::new(&AES_256_GCM, data_key.as_ref()).map_err(refused)?;

    let mut sealed = Vec::with_capacity(OVERHEAD + document.expose().len());
    sealed.push(VERSION);
    sealed.extend_from_slice(&master.id().0);
    sealed.extend_from_slice(&place_digest(place, master.id()));
    for (key, layer, plain) in [(master.wrapping(), LAYER_DATA_KEY, data_key.as_ref()), (&body_key, LAYER_DOCUMENT, document.expose())] {
        // Encrypted where it stands, so that no plain copy is left behind.
        let at = sealed.len() + NONCE;
        sealed.extend_from_slice(&[0; NONCE]);
        sealed.extend_from_slice(plain);
        let aad = Aad::from(bound_to(place, master.id(), layer));
        let (nonce, tag) = key.seal_in_place_separate_tag(aad, &mut sealed[at..]).map_err(refused)?;
        sealed[at - NONCE..at].copy_from_slice(nonce.as_ref());
        sealed.extend_from_slice(tag.as_ref());
    }
    Ok(sealed)
}

const LAYER_DATA_KEY: &[u8] = b"data key";
const LAYER_DOCUMENT: &[u8] = b"document";

/// The master key that a record says it is sealed under; `None` for what is no sealed document. Not to be trusted: whether it is so
/// shows when it is opened.
pub fn sealed_under(sealed: &[u8]) -> Option<MasterKeyId> {
    let (version, rest) = sealed.split_first_chunk::<1>()?;
    let id = rest.first_chunk::<ID>()?;
    (*version == [VERSION]).then_some(MasterKeyId(*id))
}

/// Opens what was sealed for that place.
///
/// # Errors
/// If it was sealed under another key or for another place, or was changed since.
pub fn open(master: &MasterKey, place: &Place<'_>, sealed: &[u8]) -> Result<SecretBytes, SealError> {
    let not_sealed = || SealError::NotSealed(place.to_string());
    let damaged = |_| SealError::Damaged(place.to_string());
    let (version, rest) = sealed.split_first_chunk::<1>().ok_or_else(not_sealed)?;
    let (sealed_under, rest) = rest.split_first_chunk::<ID>().ok_or_else(not_sealed)?;
    let (sealed_for, rest) = rest.split_first_chunk::<ID>().ok_or_else(not_sealed)?;
    let (key_nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or_else(not_sealed)?;
    let (wrapped, rest) = rest.split_first_chunk::<{ DATA_KEY + TAG }>().ok_or_else(not_sealed)?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or_else(not_sealed)?;
    let (body, tag) = rest.split_last_chunk::<TAG>().ok_or_else(not_sealed)?;
    if *version != [VERSION] {
        return Err(not_sealed());
    }
    if *sealed_under != master.id().0 {
        let (sealed_under, in_use) = (MasterKeyId(*sealed_under), master.id());
        return Err(SealError::OtherKey { place: place.to_string(), sealed_under, in_use });
    }
    if *sealed_for != place_digest(place, master.id()) {
        return Err(SealError::Moved(place.to_string()));
    }
    let aad = |layer| Aad::from(bound_to(place, master.id(), layer));
    let mut data_key = Zeroizing::new(*wrapped);
    let data_key = master.wrapping().open_in_place(Nonce::from(key_nonce), aad(LAYER_DATA_KEY), data_key.as_mut()).map_err(damaged)?;
    let body_key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, data_key).map_err(damaged)?);
    let mut document = vec![0; body.len()];
    body_key.open_separate_gather(Nonce::assume_unique_for_key(*nonce), aad(LAYER_DOCUMENT), body, tag, &mut document).map_err(damaged)?;
    Ok(SecretBytes::new(document))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(keyset: &KeysetId) -> Place<'_> {
        Place { store: RandomId([1; ID]), keyset, generation: Generation(7), write: RandomId([2; ID]) }
    }

    /// Where the digest of the place stands.
    const PLACE_DIGEST: std::ops::RangeInclusive<usize> = 1 + ID..=2 * ID;

    fn plain(text: &str) -> SecretBytes {
        SecretBytes::new(text.as_bytes().to_vec())
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_alone() {
        let (a, b): (KeysetId, KeysetId) = ("e/a".parse().unwrap(), "e/b".parse().unwrap());
        let key = MasterKey::new(&[7; 32]).unwrap();
        let sealed = seal(&key, &place(&a), &plain("secret")).unwrap();
        assert_eq!(sealed.len(), OVERHEAD + 6);
        assert!(open(&key, &place(&a), &sealed).is_ok_and(|d| d.expose() == b"secret"));
        let here = place(&a);
        for elsewhere in [
            place(&b),
            Place { store: RandomId([3; ID]), ..here },
            Place { generation: Generation(8), ..here },
            Place { write: RandomId([3; ID]), ..here },
        ] {
            assert_eq!(open(&key, &elsewhere, &sealed).err(), Some(SealError::Moved(elsewhere.to_string())));
            // A forged digest in front does not help.
            let mut forged = sealed.clone();
            forged[PLACE_DIGEST].copy_from_slice(&place_digest(&elsewhere, key.id()));
            assert_eq!(open(&key, &elsewhere, &forged).err(), Some(SealError::Damaged(elsewhere.to_string())));
        }
        let other = MasterKey::new(&[8; 32]).unwrap();
        assert!(matches!(open(&other, &here, &sealed), Err(SealError::OtherKey { .. })));
        let mut forged = sealed.clone();
        forged[1..=ID].copy_from_slice(&other.id().0);
        forged[PLACE_DIGEST].copy_from_slice(&place_digest(&here, other.id()));
        assert!(matches!(open(&other, &here, &forged), Err(SealError::Damaged(_))));
    }

    #[test]
    fn every_bit_and_every_length_counts() {
        let id: KeysetId = "e/a".parse().unwrap();
        let key = MasterKey::new(&[7; 32]).unwrap();
        let sealed = seal(&key, &place(&id), &plain("secret")).unwrap();
        for byte in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[byte] ^= 1;
            assert!(open(&key, &place(&id), &flipped).is_err(), "byte {byte}");
        }
        for length in 0..sealed.len() {
            assert!(open(&key, &place(&id), &sealed[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn nothing_repeats_between_two_seals() {
        let id: KeysetId = "e/a".parse().unwrap();
        let key = MasterKey::new(&[7; 32]).unwrap();
        let [one, two] = [0, 1].map(|_| seal(&key, &place(&id), &plain("secret")).unwrap());
        let after_ids = 1 + 2 * ID;
        assert_eq!(one[..after_ids], two[..after_ids]);
        for (a, b) in one[after_ids..].chunks(8).zip(two[after_ids..].chunks(8)).filter(|(a, _)| a.len() == 8) {
            assert_ne!(a, b);
        }
    }
}
