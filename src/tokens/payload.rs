//! The payload of a token, written member by member in the order in which they are told: some verifiers' own helpers fix that order,
//! and a map would not keep it.
//!
//! It is written in ASCII, everything else as `\u` and four digits in lower case: what Python's `json.dumps` writes, so that tokens
//! equal those of vendors' helpers byte for byte, whatever a user is called.

use std::fmt::Write as _;

use serde_json::Value;

/// An object that is being written.
pub(super) struct Payload {
    json: String,
}

impl Payload {
    /// An object without members.
    pub(super) fn new() -> Self {
        let mut json = String::with_capacity(512);
        json.push('{');
        Self { json }
    }

    /// Members that were written before; nothing if there are none.
    pub(super) fn members(&mut self, written: &Members) {
        if !written.0.is_empty() {
            self.comma();
            self.json.push_str(&written.0);
        }
    }

    /// A member that is a text.
    pub(super) fn text(&mut self, name: &'static str, value: &str) {
        self.plain_name(name);
        quoted(&mut self.json, value);
    }

    /// A member that is a moment, in seconds since 1970 (`NumericDate`, RFC 7519 §2).
    pub(super) fn seconds(&mut self, name: &'static str, value: i64) {
        self.plain_name(name);
        self.json.push_str(itoa::Buffer::new().format(value));
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
    pub(super) fn finish(mut self) -> String {
        self.json.push('}');
        self.json
    }

    /// What stands in it so far, to be written into others.
    pub(super) fn into_members(self) -> Members {
        Members(self.json[1..].into())
    }

    fn name(&mut self, name: &str) {
        self.comma();
        quoted(&mut self.json, name);
        self.json.push(':');
    }

    /// A name of ours, which needs no escapes.
    #[inline]
    fn plain_name(&mut self, name: &'static str) {
        self.json.push_str(if self.json.len() > 1 { ",\"" } else { "\"" });
        self.json.push_str(name);
        self.json.push_str("\":");
    }

    fn comma(&mut self) {
        if self.json.len() > 1 {
            self.json.push(',');
        }
    }
}

/// Members that are the same in every token: written once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Members(Box<str>);

fn write_value(json: &mut String, value: &Value) {
    match value {
        Value::String(text) => quoted(json, text),
        Value::Array(items) => list(json, items.iter(), write_value),
        Value::Object(members) => {
            json.push('{');
            for (n, (name, member)) in members.iter().enumerate() {
                if n > 0 {
                    json.push(',');
                }
                quoted(json, name);
                json.push(':');
                write_value(json, member);
            }
            json.push('}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            // Writing into a String cannot fail.
            let _ = write!(json, "{value}");
        }
    }
}

fn list<'v, T: 'v>(json: &mut String, items: impl Iterator<Item = &'v T>, each: impl Fn(&mut String, &'v T)) {
    json.push('[');
    for (n, item) in items.enumerate() {
        if n > 0 {
            json.push(',');
        }
        each(json, item);
    }
    json.push(']');
}

/// A JSON text in ASCII.
fn quoted(json: &mut String, text: &str) {
    json.push('"');
    // Nearly every text goes over as it is.
    let plain = |byte: &u8| matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~');
    if text.bytes().filter(plain).count() == text.len() {
        json.push_str(text);
    } else {
        text.chars().for_each(|c| escaped(json, c));
    }
    json.push('"');
}

fn escaped(json: &mut String, c: char) {
    match c {
        '"' => json.push_str("\\\""),
        '\\' => json.push_str("\\\\"),
        '\n' => json.push_str("\\n"),
        '\r' => json.push_str("\\r"),
        '\t' => json.push_str("\\t"),
        '\u{8}' => json.push_str("\\b"),
        '\u{c}' => json.push_str("\\f"),
        ' '..='~' => json.push(c),
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
            payload.finish(),
            r#"{"sub":"zo\u00eb \ud83d\udd11\u007f\n\"\\","aud":["a","b"],"one":"c","exp":17,"x":{"a":"\u00e9","b":[1,null,true,1.5]}}"#
        );
        assert_eq!(Payload::new().finish(), "{}");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(name in ".*", text in ".*", list in proptest::collection::vec(".*", 0..4)) {
            let value = json!({"t": text, "l": list, &name: [{ "n": text }]});
            let mut json = String::new();
            write_value(&mut json, &value);
            prop_assert!(json.is_ascii());
            prop_assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
        }
    }
}
