//! Text that stands in JSON as it is: printable ASCII without quotation marks and backslashes. Nearly everything in tokens is such
//! text, so it is looked at by sixteen bytes at a time.

use wide::u8x16;

/// The longest text whose quotation marks are noted, in bytes.
const LONGEST: usize = 512;

/// Whether all of it is plain.
#[inline]
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    let (lanes, rest) = bytes.as_chunks();
    let other = |lane: &[u8; 16]| unfit(lane) | quotes(lane);
    // The end is looked at twice rather than alone, if there are sixteen bytes at all.
    let end = bytes.last_chunk().map_or_else(|| other(&padded(rest)), other);
    lanes.iter().fold(end, |found, lane| found | other(lane)).none()
}

/// Where the quotation marks of a text stand, one after the other.
pub(super) struct QuotationMarks {
    /// A bit for each byte, the lowest the first.
    words: [u64; LONGEST / 64],
    /// Which word is being read, and what is left of it.
    word: usize,
    left: u64,
}

impl QuotationMarks {
    /// Finds them; `None` if something else in the text is not plain, or it is too long.
    #[inline]
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > LONGEST {
            return None;
        }
        let (lanes, rest) = bytes.as_chunks();
        let mut words = [0; LONGEST / 64];
        // The end is looked at twice rather than alone, if there are sixteen bytes at all.
        let (end, place) = bytes.last_chunk().map_or_else(|| (padded(rest), 0), |end| (*end, bytes.len() - 16));
        let mut found = unfit(&end);
        for (n, lane) in lanes.iter().enumerate() {
            found |= unfit(lane);
            *words.get_mut(n / 4)? |= u64::from(quotes(lane).to_bitmask()) << (n % 4 * 16);
        }
        let (last, shift) = (u64::from(quotes(&end).to_bitmask()), place % 64);
        *words.get_mut(place / 64)? |= last << shift;
        if shift > 48 {
            *words.get_mut(place / 64 + 1)? |= last >> (64 - shift);
        }
        found.none().then_some(Self { left: words[0], words, word: 0 })
    }
}

impl Iterator for QuotationMarks {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.left == 0 {
            self.word += 1;
            self.left = *self.words.get(self.word)?;
        }
        let place = self.left.trailing_zeros() as usize;
        self.left &= self.left - 1;
        Some(self.word * 64 + place)
    }
}

/// Fewer than sixteen, and spaces behind them.
#[inline]
fn padded(bytes: &[u8]) -> [u8; 16] {
    let mut lane = [b' '; 16];
    lane.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    lane
}

/// Those that are no printable ASCII, or a backslash.
#[inline]
fn unfit(lane: &[u8; 16]) -> u8x16 {
    let lane = u8x16::from(*lane);
    lane.simd_lt(u8x16::splat(b' ')) | lane.simd_gt(u8x16::splat(b'~')) | lane.simd_eq(u8x16::splat(b'\\'))
}

#[inline]
fn quotes(lane: &[u8; 16]) -> u8x16 {
    u8x16::from(*lane).simd_eq(u8x16::splat(b'"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(bytes: &[u8]) -> Option<Vec<usize>> {
        QuotationMarks::of(bytes).map(Iterator::collect)
    }

    #[test]
    fn each_byte_is_judged_in_each_place_of_texts_of_each_length() {
        for length in 0..=35 {
            assert!(is_plain(&vec![b'a'; length]));
            assert_eq!(marks(&vec![b'a'; length]), Some(vec![]));
            for place in 0..length {
                for byte in 0..=255 {
                    let mut text = vec![b'~'; length];
                    text[place] = byte;
                    let (fits, quote) = ((0x20..0x7f).contains(&byte) && byte != b'\\', byte == b'"');
                    assert_eq!(is_plain(&text), fits && !quote, "{byte} at {place} of {length}");
                    assert_eq!(marks(&text), fits.then(|| if quote { vec![place] } else { vec![] }), "{byte} at {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn long_texts_are_left_to_others() {
        let long: Vec<u8> = b"\"123456".iter().copied().cycle().take(LONGEST).collect();
        assert_eq!(marks(&long), Some((0..LONGEST).step_by(7).collect()));
        assert_eq!(marks(&[b' '; LONGEST + 1]), None);
    }
}
