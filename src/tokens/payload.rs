//! The payload of a token, written member by member in the order in which they are told: some verifiers' own helpers fix that order,
//! and a map would not keep it.
//!
//! It is written in ASCII, everything else as `\u` and four digits in lower case: what Python's `json.dumps` writes, so that tokens
//! equal those of vendors' helpers byte for byte, whatever a user is called.

use std::io::Write as _;

use serde_json::Value;

use super::plain_text::is_plain;

/// An object that is being written.
pub(super) struct Payload {
    /// Each member with a comma before it.
    json: Vec<u8>,
}

impl Payload {
    /// An object without members.
    pub(super) fn new() -> Self {
        Self { json: Vec::with_capacity(512) }
    }

    /// Members that were written before; nothing if there are none.
    #[inline]
    pub(super) fn members(&mut self, written: &Members) {
        self.json.extend_from_slice(&written.0);
    }

    /// A member that is a text.
    #[inline]
    pub(super) fn text(&mut self, name: &'static str, value: &str) {
        self.plain_name(name);
        quoted(&mut self.json, value);
    }

    /// A member that is a moment, in seconds since 1970 (`NumericDate`, RFC 7519 §2).
    #[inline]
    pub(super) fn seconds(&mut self, name: &'static str, value: i64) {
        self.plain_name(name);
        self.json.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A member that is a text, or a list if there are several (`aud`, RFC 7519 §4.1.3); none if there is none.
    pub(super) fn texts(&mut self, name: &'static str, values: &[String]) {
        match values {
            [] => {}
            [one] => self.text(name, one),
            several => {
                self.name(name);
                list(&mut self.json, several.iter(), |json, value| quoted(json, value));
            }
        }
    }

    /// A member of any kind.
    pub(super) fn value(&mut self, name: &str, value: &Value) {
        self.name(name);
        write_value(&mut self.json, value);
    }

    /// The whole.
    pub(super) fn finish(mut self) -> Vec<u8> {
        match self.json.first_mut() {
            Some(comma) => *comma = b'{',
            None => self.json.push(b'{'),
        }
        self.json.push(b'}');
        self.json
    }

    /// What stands in it so far, to be written into others.
    pub(super) fn into_members(self) -> Members {
        Members(self.json.into())
    }

    fn name(&mut self, name: &str) {
        self.json.push(b',');
        quoted(&mut self.json, name);
        self.json.push(b':');
    }

    /// A name of ours, which needs no escapes.
    #[inline]
    fn plain_name(&mut self, name: &'static str) {
        self.json.extend_from_slice(b",\"");
        self.json.extend_from_slice(name.as_bytes());
        self.json.extend_from_slice(b"\":");
    }
}

/// Members that are the same in every token: written once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Members(Box<[u8]>);

fn write_value(json: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(text) => quoted(json, text),
        Value::Array(items) => list(json, items.iter(), write_value),
        Value::Object(members) => {
            json.push(b'{');
            for (n, (name, member)) in members.iter().enumerate() {
                if n > 0 {
                    json.push(b',');
                }
                quoted(json, name);
                json.push(b':');
                write_value(json, member);
            }
            json.push(b'}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            // Writing into memory cannot fail.
            let _ = write!(json, "{value}");
        }
    }
}

fn list<'v, T: 'v>(json: &mut Vec<u8>, items: impl Iterator<Item = &'v T>, each: impl Fn(&mut Vec<u8>, &'v T)) {
    json.push(b'[');
    for (n, item) in items.enumerate() {
        if n > 0 {
            json.push(b',');
        }
        each(json, item);
    }
    json.push(b']');
}

/// A JSON text in ASCII.
fn quoted(json: &mut Vec<u8>, text: &str) {
    json.push(b'"');
    // Nearly every text goes over as it is.
    if is_plain(text.as_bytes()) {
        json.extend_from_slice(text.as_bytes());
    } else {
        text.chars().for_each(|c| escaped(json, c));
    }
    json.push(b'"');
}

fn escaped(json: &mut Vec<u8>, c: char) {
    match c {
        '"' => json.extend_from_slice(b"\\\""),
        '\\' => json.extend_from_slice(b"\\\\"),
        '\n' => json.extend_from_slice(b"\\n"),
        '\r' => json.extend_from_slice(b"\\r"),
        '\t' => json.extend_from_slice(b"\\t"),
        '\u{8}' => json.extend_from_slice(b"\\b"),
        '\u{c}' => json.extend_from_slice(b"\\f"),
        ' '..='~' => json.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        other => {
            let mut units = [0; 2];
            for unit in other.encode_utf16(&mut units) {
                let _ = write!(json, "\\u{unit:04x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn members_keep_their_order_and_texts_are_ascii() {
        let mut payload = Payload::new();
        payload.text("sub", "zoë \u{1f511}\u{7f}\n\"\\");
        payload.texts("none", &[]);
        payload.texts("aud", &["a".to_owned(), "b".to_owned()]);
        payload.texts("one", &["c".to_owned()]);
        payload.seconds("exp", 17);
        payload.value("x", &json!({"b": [1, null, true, 1.5], "a": "é"}));
        assert_eq!(
            String::from_utf8(payload.finish()).unwrap(),
            r#"{"sub":"zo\u00eb \ud83d\udd11\u007f\n\"\\","aud":["a","b"],"one":"c","exp":17,"x":{"a":"\u00e9","b":[1,null,true,1.5]}}"#
        );
        assert_eq!(Payload::new().finish(), b"{}");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(name in ".*", text in ".*", list in proptest::collection::vec(".*", 0..4)) {
            let value = json!({"t": text, "l": list, &name: [{ "n": text }]});
            let mut json = Vec::new();
            write_value(&mut json, &value);
            prop_assert!(json.is_ascii());
            prop_assert_eq!(serde_json::from_slice::<Value>(&json).unwrap(), value);
        }
    }
}
