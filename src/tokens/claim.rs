//! One claim of a token, as it is looked at.

use serde_json::Value;

/// A claim's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Claim<'c> {
    Null,
    Bool(bool),
    /// A whole number that is not negative.
    Number(u64),
    Text(&'c str),
    /// Any other number, a list or an object.
    Other(&'c Value),
}

impl<'c> Claim<'c> {
    /// The text that it is, if it is one.
    pub(super) const fn as_text(self) -> Option<&'c str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Other(_) => None,
        }
    }
}

impl<'c> From<&'c Value> for Claim<'c> {
    fn from(value: &'c Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::String(text) => Self::Text(text),
            other => other.as_u64().map_or(Self::Other(other), Self::Number),
        }
    }
}

impl From<Claim<'_>> for Value {
    fn from(claim: Claim<'_>) -> Self {
        match claim {
            Claim::Null => Self::Null,
            Claim::Bool(value) => value.into(),
            Claim::Number(number) => number.into(),
            Claim::Text(text) => text.into(),
            Claim::Other(value) => value.clone(),
        }
    }
}
