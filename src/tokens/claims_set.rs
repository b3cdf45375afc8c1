//! The claims set of a token (RFC 7519 §2), strictly read: each claim can be looked at, and a map of them all is made for those only
//! who want one.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::flat_json::{Flat, Read};
use super::strict_json::{self, JsonFault};

/// What a token claims.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ClaimsSet {
    /// Of the form that most have.
    Flat(Box<Flat>),
    /// Of any form.
    Map(Map<String, Value>),
}

/// One claim.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Claim<'c> {
    Text(&'c str),
    Number(u64),
    Other(Cow<'c, Value>),
}

impl ClaimsSet {
    /// The one strict JSON object that these bytes are.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub(super) fn read(bytes: Vec<u8>) -> Result<Self, JsonFault> {
        let text = String::from_utf8(bytes).map_err(|_| JsonFault::NotUtf8)?;
        match Flat::read(text) {
            Ok(flat) => Ok(Self::Flat(flat)),
            Err(text) => strict_json::object(text.as_bytes()).map(Self::Map),
        }
    }

    /// The claim of that name.
    pub(super) fn get(&self, name: &str) -> Option<Claim<'_>> {
        Some(match self {
            Self::Flat(flat) => match flat.get(name)? {
                Read::Text(text) => Claim::Text(text),
                Read::Number(number) => Claim::Number(number),
                other @ (Read::Null | Read::Bool(_)) => Claim::Other(Cow::Owned(other.into())),
            },
            Self::Map(map) => match map.get(name)? {
                Value::String(text) => Claim::Text(text),
                other => other.as_u64().map_or(Claim::Other(Cow::Borrowed(other)), Claim::Number),
            },
        })
    }

    /// All of them.
    pub(super) fn to_map(&self) -> Map<String, Value> {
        match self {
            Self::Flat(flat) => flat.to_map(),
            Self::Map(map) => map.clone(),
        }
    }

    /// The same, where nothing else is wanted.
    pub(super) fn into_map(self) -> Map<String, Value> {
        match self {
            Self::Flat(flat) => flat.to_map(),
            Self::Map(map) => map,
        }
    }
}

impl Default for ClaimsSet {
    fn default() -> Self {
        Self::Map(Map::new())
    }
}

impl<'c> Claim<'c> {
    /// The text that it is, if it is one.
    pub(super) const fn as_text(&self) -> Option<&'c str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Other(_) => None,
        }
    }
}

impl From<Claim<'_>> for Value {
    fn from(claim: Claim<'_>) -> Self {
        match claim {
            Claim::Text(text) => text.into(),
            Claim::Number(number) => number.into(),
            Claim::Other(value) => value.into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let plain = r#"{"sub":"ada","exp":17,"x":null,"y":true}"#;
        let [flat, map] = [plain.to_owned(), format!(" {plain}")].map(|text| ClaimsSet::read(text.into_bytes()).unwrap());
        assert!(matches!((&flat, &map), (ClaimsSet::Flat(_), ClaimsSet::Map(_))));
        assert_eq!(flat.to_map(), map.to_map());
        for name in ["sub", "exp", "x", "y", "z"] {
            assert_eq!(flat.get(name), map.get(name), "{name}");
        }
        assert_eq!(ClaimsSet::read(b"{\"a\":1,\"a\":1}".to_vec()), Err(JsonFault::Duplicate("a".to_owned())));
        assert_eq!(ClaimsSet::read(b"\xff".to_vec()), Err(JsonFault::NotUtf8));
    }
}
