//! Nonces of the server (RFC 9449 §8): without memory, each carries when and by whom it was given, under a MAC.
//!
//! A nonce counts for [`LIFE`] at the process that gave it and nowhere else: whoever comes with another's is told so and given one.
//! That way a proof can be used at one process only, which remembers it; and after a restart no earlier proof is accepted.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::refusal::Refusal;
use crate::secret::{SecretBytes, same_bytes};
use crate::time::{Span, Timestamp};

/// How long a nonce counts.
pub const LIFE: Span = Span::minutes(5);

/// From what age on a new one goes with each answer.
const AGING: Span = Span::minutes(2);

/// Which process gave a nonce: random, another one after each start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaId(pub [u8; 16]);

const ID: usize = 16;
const TIME: usize = 8;
/// A tag of 128 bits: nobody has more than [`LIFE`] to guess it.
const TAG: usize = 16;

/// Gives nonces and knows its own again.
pub struct Nonces {
    key: hmac::Key,
    replica: ReplicaId,
}

impl Nonces {
    /// Nonces of one process, under a secret of at least 32 bytes that no client knows.
    pub fn new(secret: &SecretBytes, replica: ReplicaId) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose()), replica }
    }

    /// A nonce, given now.
    pub fn give(&self, now: Timestamp) -> String {
        let mut bytes = [0; ID + TIME + TAG];
        bytes[..ID].copy_from_slice(&self.replica.0);
        bytes[ID..ID + TIME].copy_from_slice(&now.as_millis().to_be_bytes());
        let tag = hmac::sign(&self.key, &bytes[..ID + TIME]);
        bytes[ID + TIME..].copy_from_slice(&tag.as_ref()[..TAG]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether a nonce counts now, and if so whether it is time for the next one.
    ///
    /// # Errors
    /// It is of another process, forged, or too old.
    pub fn judge(&self, nonce: &str, now: Timestamp) -> Result<bool, Refusal> {
        let bytes = URL_SAFE_NO_PAD.decode(nonce).map_err(|_| Refusal::NonceForged)?;
        let bytes = <[u8; ID + TIME + TAG]>::try_from(bytes).map_err(|_| Refusal::NonceForged)?;
        let (said, tag) = bytes.split_at(ID + TIME);
        let (replica, given) = said.split_at(ID);
        if *replica != self.replica.0 {
            return Err(Refusal::NonceForeign);
        }
        let expected = hmac::sign(&self.key, said);
        if !same_bytes(&expected.as_ref()[..TAG], tag) {
            return Err(Refusal::NonceForged);
        }
        let given = <[u8; TIME]>::try_from(given).map_or(Timestamp::EPOCH, |given| Timestamp::from_millis(i64::from_be_bytes(given)));
        // One from the future was given before the clock was set back.
        if given > now || now.since(given) > LIFE {
            return Err(Refusal::NonceExpired);
        }
        Ok(now.since(given) > AGING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonces(secret: u8, replica: u8) -> Nonces {
        Nonces::new(&SecretBytes::new(vec![secret; 32]), ReplicaId([replica; 16]))
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH + Span::days(20_000) + Span::seconds(seconds)
    }

    #[test]
    fn a_nonce_counts_for_its_life_to_the_millisecond_and_asks_for_the_next_in_time() {
        let own = nonces(1, 1);
        let nonce = own.give(at(0));
        assert_eq!(own.judge(&nonce, at(0)), Ok(false));
        assert_eq!(own.judge(&nonce, at(120)), Ok(false));
        assert_eq!(own.judge(&nonce, at(120) + Span::millis(1)), Ok(true));
        assert_eq!(own.judge(&nonce, at(300)), Ok(true));
        assert_eq!(own.judge(&nonce, at(300) + Span::millis(1)), Err(Refusal::NonceExpired));
        assert_eq!(own.judge(&nonce, at(0).minus(Span::millis(1))), Err(Refusal::NonceExpired), "the clock was set back");
        assert_ne!(nonce, own.give(at(0) + Span::millis(1)));
    }

    #[test]
    fn only_the_process_that_gave_it_takes_it() {
        let nonce = nonces(1, 1).give(at(0));
        assert_eq!(nonces(1, 2).judge(&nonce, at(0)), Err(Refusal::NonceForeign), "the same secret, another process");
        assert_eq!(nonces(2, 1).judge(&nonce, at(0)), Err(Refusal::NonceForged), "the same name, another secret");
    }

    #[test]
    fn no_bit_of_it_can_be_changed() {
        let own = nonces(1, 1);
        let bytes = URL_SAFE_NO_PAD.decode(own.give(at(0))).unwrap();
        for at_bit in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[at_bit / 8] ^= 1 << (at_bit % 8);
            let refused = own.judge(&URL_SAFE_NO_PAD.encode(&bent), at(0)).unwrap_err();
            assert!(matches!(refused, Refusal::NonceForeign | Refusal::NonceForged), "{at_bit}: {refused:?}");
        }
        for text in ["", "nonce", "eyJ7S_zG.eyJH0-Z.HX4w-7v", &format!("{}A", own.give(at(0))), &own.give(at(0))[1..]] {
            assert_eq!(own.judge(text, at(0)), Err(Refusal::NonceForged), "{text}");
        }
    }
}
