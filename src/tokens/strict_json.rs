//! JSON objects as tokens may have them, read so that no two readers can understand them differently.
//!
//! RFC 8725 §3 and RFC 7515 §4: no member twice, at any depth (popular libraries take the first or the last); no number that does not
//! fit, so `1e400` is no time and a digit is never rounded away; nesting bounded; nothing behind the object.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The deepest nesting of a header or payload, the outermost object included.
pub const DEEPEST: u8 = 32;

/// How much of a member's name an error shows, in characters.
const SHOWN: usize = 40;

/// The least magnitude at which a number with point or exponent is refused: 2^63. An integer that fits no 64 bits is read as one of
/// those, and would be rounded unseen.
const TOO_GREAT: f64 = 9_223_372_036_854_775_808.0;

/// What is wrong with a text that should be one JSON object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// The bytes are no text.
    #[error("is not UTF-8; hint: JSON is written in UTF-8 (RFC 8259 §8.1)")]
    NotUtf8,
    /// The text is no JSON.
    #[error("is not JSON, at line {line}, column {column}; hint: is it damaged, or not JSON at all?")]
    Syntax {
        /// From one.
        line: usize,
        /// In bytes, from one.
        column: usize,
    },
    /// JSON, but no object.
    #[error("is JSON but no object; hint: it begins with `{{` (RFC 7519 §7.2)")]
    NotObject,
    /// A member stands in an object twice. With the beginning of its name.
    #[error("has the member {0:?} twice in one object; hint: readers differ in which one they take, so neither counts (RFC 7515 §4)")]
    Duplicate(String),
    /// A number is beyond what is read exactly.
    #[error("has a number that no 64 bits hold; hint: write large numbers as strings (RFC 7493 §2.2)")]
    Number,
    /// Objects and arrays stand too deep in one another.
    #[error("is nested more than {DEEPEST} levels deep; hint: flatten the claims")]
    TooDeep,
    /// There is more than the object.
    #[error("goes on behind its object; hint: one object, and nothing after it")]
    Trailing,
}

impl JsonFault {
    /// The stable code of it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotUtf8 => "json_not_utf8",
            Self::Syntax { .. } => "json_syntax",
            Self::NotObject => "json_not_object",
            Self::Duplicate(_) => "json_duplicate_member",
            Self::Number => "json_number_range",
            Self::TooDeep => "json_too_deep",
            Self::Trailing => "json_trailing",
        }
    }
}

/// The one JSON object that `bytes` are.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, JsonFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonFault::NotUtf8)?;
    let fault = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = deserializer.deserialize_map(Object(Strict { depth: 1, fault: &fault }));
    let object = read.map_err(|error| fault.take().unwrap_or_else(|| classified(&error)))?;
    deserializer.end().map_err(|_| JsonFault::Trailing)?;
    Ok(object)
}

fn classified(error: &serde_json::Error) -> JsonFault {
    if error.is_data() {
        return JsonFault::NotObject;
    }
    // The parser tells numbers beyond the range of a float in words alone.
    if error.to_string().starts_with("number out of range") {
        return JsonFault::Number;
    }
    JsonFault::Syntax { line: error.line(), column: error.column() }
}

/// Reads any value; what it refuses goes into the cell, because the parser's own error has room for words only.
#[derive(Clone, Copy)]
struct Strict<'f> {
    depth: u8,
    fault: &'f Cell<Option<JsonFault>>,
}

/// Reads an object and nothing else.
struct Object<'f>(Strict<'f>);

impl Strict<'_> {
    fn refuse<T, E: serde::de::Error>(self, fault: JsonFault) -> Result<T, E> {
        self.fault.set(Some(fault));
        Err(E::custom("refused"))
    }

    /// For what stands inside of this.
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= DEEPEST { self.refuse(JsonFault::TooDeep) } else { Ok(Self { depth: self.depth + 1, ..self }) }
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return self.0.refuse(JsonFault::Duplicate(name.chars().take(SHOWN).collect()));
            }
            let value = members.next_value_seed(self.0)?;
            object.insert(name, value);
        }
        Ok(object)
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        match serde_json::Number::from_f64(value).filter(|_| value.abs() < TOO_GREAT) {
            Some(number) => Ok(Value::Number(number)),
            None => self.refuse(JsonFault::Number),
        }
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(inside)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Value, A::Error> {
        Object(self.deeper()?).visit_map(members).map(Value::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> JsonFault {
        object(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn what_json_may_say_is_read_as_it_stands() {
        let text = "\r\n{\"a\":[1,-2,0.5,null,true,{\"b\":\"\\u00e4\\u0000\"}],\"n\":18446744073709551615,\"m\":-9223372036854775808}\n";
        assert_eq!(Value::Object(object(text.as_bytes()).unwrap()), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn members_stand_once_at_any_depth_and_however_they_are_written() {
        assert_eq!(fault(r#"{"a":1,"a":1}"#), JsonFault::Duplicate("a".into()));
        assert_eq!(fault(r#"{"a":1,"\u0061":1}"#), JsonFault::Duplicate("a".into()));
        assert_eq!(fault(r#"{"x":[{"y":{"a":1,"b":2,"a":1}}]}"#), JsonFault::Duplicate("a".into()));
        assert!(object(br#"{"a":{"a":{"a":1}},"A":1}"#).is_ok());
        let long = "k".repeat(100);
        assert_eq!(fault(&format!(r#"{{"{long}":1,"{long}":2}}"#)), JsonFault::Duplicate("k".repeat(40)));
    }

    #[test]
    fn numbers_that_would_be_rounded_or_lost_are_refused() {
        for number in ["1e400", "-1e400", "18446744073709551616", "-9223372036854775809", "1e19", "9223372036854775808.0"] {
            assert_eq!(fault(&format!(r#"{{"exp":{number}}}"#)), JsonFault::Number, "{number}");
        }
        for no_number in ["NaN", "Infinity", "-Infinity", "01", "+1", ".5", "1.", "0x10", "1e"] {
            assert!(matches!(fault(&format!(r#"{{"exp":{no_number}}}"#)), JsonFault::Syntax { line: 1, .. }), "{no_number}");
        }
    }

    #[test]
    fn the_deepest_nesting_is_exact() {
        let nested = |levels: u8| {
            let inside = usize::from(levels) - 1;
            object(format!("{{\"a\":{}1{}}}", "[".repeat(inside), "]".repeat(inside)).as_bytes())
        };
        assert!(nested(DEEPEST).is_ok());
        assert_eq!(nested(DEEPEST + 1), Err(JsonFault::TooDeep));
        assert_eq!(nested(250), Err(JsonFault::TooDeep));
    }

    #[test]
    fn whatever_is_not_one_object_is_refused() {
        for (text, must) in [("[]", JsonFault::NotObject), ("1", JsonFault::NotObject), ("\"a\"", JsonFault::NotObject)] {
            assert_eq!(fault(text), must, "{text}");
        }
        for text in ["{}{}", "{} x", "{}\0", "{},"] {
            assert_eq!(fault(text), JsonFault::Trailing, "{text}");
        }
        for text in ["", " ", "{", "{\"a\"}", "{'a':1}", "{\"a\":1,}", "\u{feff}{}", "{\"a\":\"\\ud800\"}", "{\"a\":\"\n\"}", "{/**/}"] {
            assert!(matches!(fault(text), JsonFault::Syntax { .. }), "{text:?}: {:?}", fault(text));
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(JsonFault::NotUtf8));
    }
}
