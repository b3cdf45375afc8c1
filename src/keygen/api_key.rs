//! Opaque API keys: a prefix, 256 random bits in base62 (43 digits), and six base62 digits of CRC-32 over all before them.
//!
//! The checksum is no protection. It lets a secret scanner tell a real key from a text that looks like one, without asking
//! anybody, and a client tell a mistyped key before it is sent.

use zeroize::Zeroizing;

use super::{KeygenError, base62};
use crate::secret::SecretText;

/// How much of a key is random.
pub const RANDOM_BITS: u32 = 256;

/// How many characters follow the prefix: 43 of randomness, six of checksum.
pub const LENGTH_AFTER_PREFIX: usize = 49;

const CHECKSUM_DIGITS: usize = 6;

pub(super) fn generate(prefix: &str) -> Result<SecretText, KeygenError> {
    super::lawful_prefix(prefix)?;
    let mut random = Zeroizing::new([0u8; RANDOM_BITS as usize / 8]);
    super::random(random.as_mut())?;
    // Room for everything at once: a text that grew would leave copies behind.
    let mut text = String::with_capacity(prefix.len() + LENGTH_AFTER_PREFIX);
    text.push_str(prefix);
    base62::append(&mut text, random.as_ref());
    let checksum = checksum(text.as_bytes());
    text.push_str(&checksum);
    Ok(SecretText::new(text))
}

/// Whether `text` is an API key of keyrota's by its form and its checksum. Any change of a single character is seen.
///
/// ```
/// use keyrota::keygen::api_key::checksum_holds;
/// assert!(checksum_holds("demo_00000000000000000000000000000000000000000010UPWat"));
/// assert!(!checksum_holds("demo_00000000000000000000000000000000000000000020UPWat"));
/// ```
pub fn checksum_holds(text: &str) -> bool {
    let Some((prefix, random_and_sum)) = text.len().checked_sub(LENGTH_AFTER_PREFIX).and_then(|at| text.split_at_checked(at)) else {
        return false;
    };
    let Some((random, sum)) = random_and_sum.split_at_checked(LENGTH_AFTER_PREFIX - CHECKSUM_DIGITS) else { return false };
    super::lawful_prefix(prefix).is_ok()
        && random.bytes().all(|b| b.is_ascii_alphanumeric())
        && checksum(text.get(..prefix.len() + random.len()).unwrap_or_default().as_bytes()) == sum
}

fn checksum(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(CHECKSUM_DIGITS);
    base62::append(&mut digits, &crc32(bytes).to_be_bytes());
    digits
}

/// CRC-32 as of ISO-HDLC, the one of Ethernet, zip and PNG: polynomial 04C11DB7, reflected.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn crc_check_value() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn form_is_fixed() {
        let key = generate("pk_live_").unwrap();
        assert_eq!(key.expose().len(), 8 + 43 + 6);
        assert!(checksum_holds(key.expose()));
        for text in ["", "a", &"0".repeat(48), &"ä".repeat(40), &key.expose()[9..]] {
            assert!(!checksum_holds(text), "{text}");
        }
        assert!(matches!(generate("with space"), Err(KeygenError::Prefix(_))));
    }

    proptest! {
        #[test]
        fn any_change_of_one_character_is_seen(prefix in "[a-z_]{0,8}", at in any::<prop::sample::Index>(), other in "[ -~]") {
            let key = generate(&prefix).unwrap();
            let at = at.index(key.expose().len());
            let mut changed = key.expose().to_owned();
            changed.replace_range(at..=at, &other);
            prop_assert_eq!(checksum_holds(&changed), changed == key.expose());
        }
    }
}
