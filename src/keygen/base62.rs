//! Numbers as digits and letters: `0-9A-Za-z`, most significant first, always of full width.

use zeroize::Zeroizing;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How many digits any number of `bytes` octets needs.
pub fn width(bytes: usize) -> usize {
    // log 256 / log 62 = 1.34360…, rounded up in the last place so that the width is never too small.
    (bytes * 134_361).div_ceil(100_000)
}

/// Appends `big_endian` to `text` in [`width`] digits. The working copy is wiped.
pub fn append(text: &mut String, big_endian: &[u8]) {
    let mut number = Zeroizing::new(big_endian.to_vec());
    let mut digits = Zeroizing::new(vec![0u8; width(big_endian.len())]);
    for digit in digits.iter_mut().rev() {
        let mut rest = 0u32;
        for octet in number.iter_mut() {
            let value = rest << 8 | u32::from(*octet);
            *octet = u8::try_from(value / 62).unwrap_or(u8::MAX); // below 256, because rest is below 62
            rest = value % 62;
        }
        *digit = DIGITS.get(rest as usize).copied().unwrap_or(b'0');
    }
    text.extend(digits.iter().map(|digit| char::from(*digit)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        let mut text = String::new();
        append(&mut text, bytes);
        text
    }

    #[test]
    fn digits_are_right_and_of_full_width() {
        assert_eq!(text(&[0]), "00");
        assert_eq!(text(&[61]), "0z");
        assert_eq!(text(&[62]), "10");
        assert_eq!(text(&[255]), "47");
        assert_eq!(text(&[0xff; 4]), "4gfFC3"); // 4294967295
        assert_eq!(text(&[0; 32]).len(), 43);
        assert_eq!(text(&[0xff; 32]).len(), 43);
    }

    #[test]
    fn the_largest_number_fits_every_width() {
        // Were the width too small, the largest number would lose its highest digits and read back smaller.
        for bytes in 1..=1024u16 {
            let digits = text(&vec![0xff; usize::from(bytes)]);
            let bits_held = f64::from(u32::try_from(digits.len()).unwrap()) * 62f64.log2();
            let bits = f64::from(bytes) * 8.0;
            assert!(bits_held >= bits && bits_held < bits + 12.0, "{bytes} octets take {} digits", digits.len());
        }
    }
}
