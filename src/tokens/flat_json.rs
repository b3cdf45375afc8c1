//! The form that payloads commonly have, read in one go and without building anything: an object without white space whose members
//! are plain texts, whole numbers, `true`, `false` or `null`.
//!
//! Whatever is written in any other way, and whatever is wrong, is left to [`strict_json`](super::strict_json), which reads all of JSON
//! and knows every fault by name.
//!
//! Invariant: what is read here, `strict_json` reads too, and as the same.

use smallvec::SmallVec;

use super::claim::Claim;
use super::plain_text::QuotationMarks;

/// The most digits of its numbers: what has so many fits 63 bits.
const MOST_DIGITS: usize = 18;

/// A member, as it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Member<'t> {
    /// Length and beginning of its name, so that most comparisons are of one word.
    pub tag: u32,
    pub name: &'t str,
    pub value: Claim<'t>,
}

/// Room for the members of an object: nearly always enough without an allocation.
pub(super) type Members<'t> = SmallVec<[Member<'t>; 12]>;

/// Reads the members of the object that the text is; `None` if it is of another form.
#[inline]
pub(super) fn read<'t>(text: &'t str, members: &mut Members<'t>) -> Option<()> {
    Reader { text, bytes: text.as_bytes(), quotes: QuotationMarks::of(text.as_bytes())?, at: 0 }.object(members)
}

/// The first three bytes, and the length as far as it fits.
#[inline]
pub(super) const fn tag(name: &[u8]) -> u32 {
    let length = if name.len() < 255 { name.len().to_le_bytes()[0] } else { 255 };
    match *name {
        [] => 0,
        [a] => u32::from_le_bytes([a, 0, 0, length]),
        [a, b] => u32::from_le_bytes([a, b, 0, length]),
        [a, b, c, ..] => u32::from_le_bytes([a, b, c, length]),
    }
}

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    quotes: QuotationMarks,
    at: usize,
}

impl<'t> Reader<'t> {
    fn object(&mut self, members: &mut Members<'t>) -> Option<()> {
        if self.next()? != b'{' {
            return None;
        }
        loop {
            if self.next()? != b'"' {
                return None;
            }
            let name = self.text()?;
            let tag = tag(name.as_bytes());
            if self.next()? != b':' || members.iter().any(|member| member.tag == tag && member.name == name) {
                return None;
            }
            members.push(Member { tag, name, value: self.value()? });
            match self.next()? {
                b',' => {}
                b'}' => return (self.at == self.bytes.len()).then_some(()),
                _ => return None,
            }
        }
    }

    #[inline]
    fn value(&mut self) -> Option<Claim<'t>> {
        Some(match self.next()? {
            b'"' => Claim::Text(self.text()?),
            b't' => self.exactly(b"rue").map(|()| Claim::Bool(true))?,
            b'f' => self.exactly(b"alse").map(|()| Claim::Bool(false))?,
            b'n' => self.exactly(b"ull").map(|()| Claim::Null)?,
            b'0' => Claim::Number(0),
            first @ b'1'..=b'9' => self.digits(first),
            _ => return None,
        })
    }

    /// A number, of which the first digit was read. What follows is judged by whoever reads on: a point is no comma.
    #[inline]
    fn digits(&mut self, first: u8) -> Claim<'t> {
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
        Claim::Number(number)
    }

    /// A text, of which the opening quotation mark was read: it is the next of the marks, since each of them opens or closes a text.
    #[inline]
    fn text(&mut self) -> Option<&'t str> {
        self.quotes.next()?;
        let (from, to) = (self.at, self.quotes.next()?);
        self.at = to + 1;
        self.text.get(from..to)
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

#[cfg(test)]
mod tests {
    use super::super::strict_json;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn read(text: &str) -> Option<Map<String, Value>> {
        let mut members = Members::new();
        super::read(text, &mut members)?;
        Some(members.iter().map(|member| (member.name.to_owned(), member.value.into())).collect())
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
    }

    #[test]
    fn a_tag_is_the_whole_of_a_short_name() {
        assert_eq!(tag(b"sub"), u32::from_le_bytes(*b"sub\x03"));
        let names = ["", "s", "su", "sub", "sup", "bus", "subj", "subject"];
        for (n, one) in names.iter().enumerate() {
            assert!(names.iter().skip(n + 1).all(|other| tag(one.as_bytes()) != tag(other.as_bytes())), "{one}");
        }
        let long = "sub".repeat(200);
        assert_eq!((tag(long.as_bytes()), tag(b"sub1")), (tag(&long.as_bytes()[..255]), tag(b"sub2")), "longer ones are compared");
    }

    #[test]
    fn everything_else_is_left_to_others() {
        let many = |count: usize| format!("{{{}}}", (0..count).map(|n| format!("\"m{n}\":{n}")).collect::<Vec<_>>().join(","));
        assert!((1..90).all(|count| read(&many(count)).is_some() == (many(count).len() <= 512)), "long ones too");
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
            "{\"a\":\"\u{7f}\"}",
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
        ], 1..=6)) {
            let map: Map<String, Value> = members.into_iter().collect();
            prop_assert_eq!(read(&serde_json::to_string(&map).unwrap()), Some(map));
        }
    }
}
