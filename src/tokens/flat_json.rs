//! The form that payloads commonly have, read in one go and without building anything: an object without white space whose members
//! are plain texts, whole numbers, `true`, `false` or `null`.
//!
//! Whatever is written in any other way, and whatever is wrong, is left to [`strict_json`](super::strict_json), which reads all of JSON
//! and knows every fault by name.
//!
//! Invariant: what is read here, `strict_json` reads too, and as the same.

use serde_json::{Map, Value};

/// The most members of such an object.
const MOST: usize = 12;

/// The most digits of its numbers: what has so many fits 63 bits.
const MOST_DIGITS: usize = 18;

/// Where things stand in the text. For texts of less than 64 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Range {
    from: u16,
    to: u16,
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Scalar {
    #[default]
    Null,
    Bool(bool),
    Number(u64),
    Text(Range),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Member {
    /// Length and beginning of the name, so that most comparisons are of one word.
    tag: u32,
    name: Range,
    value: Scalar,
}

/// The members of such an object, as they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flat {
    text: String,
    members: [Member; MOST],
    count: usize,
}

/// A value that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read<'f> {
    Null,
    Bool(bool),
    Number(u64),
    Text(&'f str),
}

impl Flat {
    /// Reads the text.
    ///
    /// # Errors
    /// It is of another form: here it is again.
    pub(super) fn read(text: String) -> Result<Box<Self>, String> {
        let mut flat = Box::new(Self { text, members: [Member::default(); MOST], count: 0 });
        match (Reader { bytes: flat.text.as_bytes(), at: 0 }).object(&mut flat.members) {
            Some(count) => {
                flat.count = count;
                Ok(flat)
            }
            None => Err(flat.text),
        }
    }

    /// The member of that name.
    #[inline]
    pub(super) fn get(&self, name: &str) -> Option<Read<'_>> {
        let wanted = tag(name.as_bytes());
        let members = self.members.get(..self.count)?;
        // The tag of a short name is the whole of it.
        let found = members.iter().find(|member| member.tag == wanted && (name.len() <= 3 || self.at(member.name) == name));
        found.map(|member| self.value(member))
    }

    /// As a map.
    pub(super) fn to_map(&self) -> Map<String, Value> {
        let mut map = Map::new();
        for member in self.members.iter().take(self.count) {
            map.insert(self.at(member.name).to_owned(), self.value(member).into());
        }
        map
    }

    fn at(&self, range: Range) -> &str {
        self.text.get(usize::from(range.from)..usize::from(range.to)).unwrap_or_default()
    }

    fn value(&self, member: &Member) -> Read<'_> {
        match member.value {
            Scalar::Null => Read::Null,
            Scalar::Bool(value) => Read::Bool(value),
            Scalar::Number(value) => Read::Number(value),
            Scalar::Text(range) => Read::Text(self.at(range)),
        }
    }
}

impl From<Read<'_>> for Value {
    fn from(read: Read<'_>) -> Self {
        match read {
            Read::Null => Self::Null,
            Read::Bool(value) => value.into(),
            Read::Number(value) => value.into(),
            Read::Text(value) => value.into(),
        }
    }
}

/// The first three bytes, and the length as far as it fits.
#[inline]
fn tag(name: &[u8]) -> u32 {
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    match *name {
        [] => 0,
        [a] => u32::from_le_bytes([a, 0, 0, length]),
        [a, b] => u32::from_le_bytes([a, b, 0, length]),
        [a, b, c, ..] => u32::from_le_bytes([a, b, c, length]),
    }
}

struct Reader<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl Reader<'_> {
    /// How many members there are; `None` if it is of another form.
    fn object(&mut self, members: &mut [Member; MOST]) -> Option<usize> {
        if self.bytes.len() > usize::from(u16::MAX) || self.next()? != b'{' {
            return None;
        }
        for count in 0..MOST {
            if self.next()? != b'"' {
                return None;
            }
            let name = self.text()?;
            let tag = tag(self.bytes.get(usize::from(name.from)..usize::from(name.to))?);
            if self.next()? != b':' || self.is_known(members.get(..count)?, tag, name) {
                return None;
            }
            *members.get_mut(count)? = Member { tag, name, value: self.value()? };
            match self.next()? {
                b',' => {}
                b'}' => return (self.at == self.bytes.len()).then_some(count + 1),
                _ => return None,
            }
        }
        None
    }

    fn is_known(&self, before: &[Member], tag: u32, name: Range) -> bool {
        let text = |range: Range| self.bytes.get(usize::from(range.from)..usize::from(range.to));
        before.iter().any(|member| member.tag == tag && text(member.name) == text(name))
    }

    #[inline]
    fn value(&mut self) -> Option<Scalar> {
        Some(match self.next()? {
            b'"' => Scalar::Text(self.text()?),
            b't' => self.exactly(b"rue").map(|()| Scalar::Bool(true))?,
            b'f' => self.exactly(b"alse").map(|()| Scalar::Bool(false))?,
            b'n' => self.exactly(b"ull").map(|()| Scalar::Null)?,
            b'0' => Scalar::Number(0),
            first @ b'1'..=b'9' => self.digits(first),
            _ => return None,
        })
    }

    /// A number, of which the first digit was read. What follows is judged by whoever reads on: a point is no comma.
    #[inline]
    fn digits(&mut self, first: u8) -> Scalar {
        let mut number = u64::from(first - b'0');
        let behind = self.bytes.get(self.at..).unwrap_or_default();
        let mut rest = behind.get(..MOST_DIGITS - 1).unwrap_or(behind);
        // A time has ten digits.
        if let Some((eight, others)) = rest.split_first_chunk()
            && let Some(read) = eight_digits(u64::from_le_bytes(*eight))
        {
            number = number * 100_000_000 + read;
            self.at += 8;
            rest = others;
        }
        for byte in rest.iter().take_while(|byte| byte.is_ascii_digit()) {
            number = number * 10 + u64::from(byte - b'0');
            self.at += 1;
        }
        Scalar::Number(number)
    }

    /// A text, of which the opening quote was read, without escapes and in ASCII.
    #[inline]
    fn text(&mut self) -> Option<Range> {
        let (from, mut to) = (self.at, self.at);
        loop {
            let Some(eight) = self.bytes.get(to..to + 8).and_then(|eight| <[u8; 8]>::try_from(eight).ok()) else {
                // The end is near.
                to += self.bytes.get(to..)?.iter().position(|byte| !matches!(byte, b' '..=0x7f) || matches!(byte, b'"' | b'\\'))?;
                break;
            };
            let found = first_unplain(u64::from_le_bytes(eight));
            to += found;
            if found < 8 {
                break;
            }
        }
        self.at = to + 1;
        (*self.bytes.get(to)? == b'"').then_some(())?;
        Some(Range { from: u16::try_from(from).ok()?, to: u16::try_from(to).ok()? })
    }

    fn exactly(&mut self, bytes: &[u8]) -> Option<()> {
        self.bytes.get(self.at..)?.starts_with(bytes).then(|| self.at += bytes.len())
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }
}

/// The number that eight digits are, the first the most; `None` if one is none. By pairs: ones to tens, these to hundreds, and so on.
#[inline]
fn eight_digits(eight: u64) -> Option<u64> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let digits = eight.wrapping_sub(ONES * 0x30);
    // A digit stays below ten, and below sixteen when six is added.
    if (digits | digits.wrapping_add(ONES * 6)) & (ONES * 0xf0) != 0 {
        return None;
    }
    let tens = digits.wrapping_mul(10) + (digits >> 8);
    let (even, odd) = (tens & 0x0000_00ff_0000_00ff, (tens >> 16) & 0x0000_00ff_0000_00ff);
    Some((even.wrapping_mul(1_000_000 * (1 << 32) + 100).wrapping_add(odd.wrapping_mul(10_000 * (1 << 32) + 1))) >> 32)
}

/// Which of eight bytes, the first the least, is the first that cannot stand in a plain text; 8: none. By the usual arithmetic on all
/// eight at once: a borrow goes upwards only, so the lowest that it finds is one.
#[inline]
fn first_unplain(eight: u64) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let quote = eight ^ (ONES * u64::from(b'"'));
    let backslash = eight ^ (ONES * u64::from(b'\\'));
    let below = |bytes: u64, least: u64| bytes.wrapping_sub(least) & !bytes;
    let found = (below(eight, ONES * 0x20) | below(quote, ONES) | below(backslash, ONES) | eight) & HIGH;
    (found.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::super::strict_json;
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<Map<String, Value>> {
        Flat::read(text.to_owned()).ok().map(|flat| flat.to_map())
    }

    #[test]
    fn common_payloads_are_read() {
        for text in [
            r#"{"iss":"https://auth.example.com","sub":"user-0123456789","aud":"api","iat":1772366400,"exp":1772367300}"#,
            r#"{"a":null,"b":true,"c":false,"d":0,"e":999999999999999999,"f":"","":"~"}"#,
            r#"{"s":"1234567","t":"12345678","u":"123456789"}"#,
        ] {
            assert_eq!(read(text), Some(strict_json::object(text.as_bytes()).unwrap()), "{text}");
        }
        let flat = Flat::read(r#"{"sub":"ada","exp":17,"subject":"eve","x":null}"#.to_owned()).unwrap();
        assert_eq!([flat.get("sub"), flat.get("exp"), flat.get("x")], [Some(Read::Text("ada")), Some(Read::Number(17)), Some(Read::Null)]);
        assert_eq!([flat.get("su"), flat.get("subj"), flat.get("submits"), flat.get("")], [None; 4], "the whole name counts");
    }

    #[test]
    fn everything_else_is_left_to_others() {
        let many = |count: usize| format!("{{{}}}", (0..count).map(|n| format!("\"m{n}\":{n}")).collect::<Vec<_>>().join(","));
        assert!(read(&many(MOST)).is_some() && read(&many(MOST + 1)).is_none());
        for text in [
            "",
            "{",
            "{}",
            "[]",
            "1",
            "{\"a\":1",
            "{\"a\":1}}",
            "{\"a\":1} ",
            " {\"a\":1}",
            "{\"a\": 1}",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":-1}",
            "{\"a\":1.5}",
            "{\"a\":1e3}",
            "{\"a\":1000000000000000000}",
            "{\"a\":[1]}",
            "{\"a\":{}}",
            "{\"a\":\"\\n\"}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"é\"}",
            "{\"a\":\"1234567\u{1f}\"}",
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"b\":2,\"a\":\"\"}",
            "{\"a\":tru}",
            "{\"a\":nulL}",
            "{a:1}",
            "{\"a\":1\"b\":2}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"abcdefgh\u{80}\":1}",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn each_byte_is_judged_in_each_place() {
        for place in 0..8 {
            for byte in 0..=255 {
                let mut eight = [b'a'; 8];
                eight[place] = byte;
                let plain = (0x20..0x80).contains(&byte) && byte != b'"' && byte != b'\\';
                assert_eq!(first_unplain(u64::from_le_bytes(eight)), if plain { 8 } else { place }, "{byte} at {place}");
            }
        }
    }

    #[test]
    fn eight_digits_are_read_as_one_number() {
        for text in ["00000000", "12345678", "99999999", "17723664", "10000000", "00000001"] {
            assert_eq!(eight_digits(u64::from_le_bytes(text.as_bytes().try_into().unwrap())), text.parse().ok(), "{text}");
        }
        for place in 0..8 {
            for byte in 0..=255 {
                let mut eight = *b"90909090";
                eight[place] = byte;
                let must = byte.is_ascii_digit().then(|| eight.iter().fold(0, |number, byte| number * 10 + u64::from(byte - b'0')));
                assert_eq!(eight_digits(u64::from_le_bytes(eight)), must, "{byte} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_read_by_the_strict_reader_as_the_same(
            text in prop_oneof![
                "\\{(\"[ab]{0,2}\":(\"[ -~]{0,20}\"|[0-9]{1,20}|true|null|-1|1\\.5|\\[\\])[,}]){1,4}\\}?",
                "[{}\":,0-9a-c\\\\ .enull-]{0,40}",
                ".*",
            ]
        ) {
            if let Some(map) = read(&text) {
                prop_assert_eq!(strict_json::object(text.as_bytes()), Ok(map));
            }
        }

        #[test]
        fn plain_objects_are_read(members in proptest::collection::btree_map("[a-z ]{0,12}", prop_oneof![
            "[ !#-Z^-~]{0,40}".prop_map(Value::from),
            (0u64..1_000_000_000_000_000_000).prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
        ], 1..=MOST)) {
            let map: Map<String, Value> = members.into_iter().collect();
            prop_assert_eq!(read(&serde_json::to_string(&map).unwrap()), Some(map));
        }
    }
}
