//! The names of things: environments, keysets, kids, generations. Each is its own type and valid by construction.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// First path segments that the HTTP listeners use themselves; no environment may be called so.
pub const RESERVED_ENVIRONMENTS: [&str; 6] = ["v1", "auth", "healthz", "readyz", "metrics", "openapi"];

/// The longest kid that is accepted, in bytes.
pub const LONGEST_KID: usize = 128;

/// A text that cannot be the name it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not of the form `[a-z][a-z0-9-]{0,62}`.
    #[error("`{0}` is not a name; hint: a lower-case letter, then up to 62 of a-z 0-9 -")]
    Malformed(String),
    /// One of [`RESERVED_ENVIRONMENTS`].
    #[error("an environment cannot be called `{0}`, which is a path of keyrota's own; hint: choose another name")]
    Reserved(String),
    /// A kid that is empty, too long, or has characters that URLs, headers and labels do not carry unharmed.
    #[error("`{0}` is not a kid; hint: 1 to {LONGEST_KID} of A-Z a-z 0-9 . _ ~ : + = @ -")]
    MalformedKid(String),
    /// Not of the form `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
    #[error("`{0}` is not the name of a signer; hint: a letter or digit, then up to 62 of A-Z a-z 0-9 . _ -")]
    MalformedSigner(String),
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        /// So that a map can be asked by text, without a copy.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), NameError> = $check;
                check(text).map(|()| Self(Arc::from(text)))
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The name of one policy file: `policies/<environment>.yaml`.
    EnvironmentName,
    |text| {
        if RESERVED_ENVIRONMENTS.contains(&text) {
            return Err(NameError::Reserved(text.to_owned()));
        }
        plain_name(text)
    }
);

name_type!(
    /// The name of a keyset within its environment.
    KeysetName,
    plain_name
);

name_type!(
    /// The name of one key, as it stands in a token's header (RFC 7515 §4.1.4). Never used twice within a keyset.
    Kid,
    |text| {
        let lawful = |b: u8| b.is_ascii_alphanumeric() || b"._~:+=@-".contains(&b);
        if text.is_empty() || text.len() > LONGEST_KID || !text.bytes().all(lawful) {
            return Err(NameError::MalformedKid(text.chars().take(LONGEST_KID).collect()));
        }
        Ok(())
    }
);

name_type!(
    /// What a signer calls itself when it reports which generation it uses: a host, a process, a deployment.
    SignerName,
    |text| {
        let mut bytes = text.bytes();
        let starts = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
        let goes_on = bytes.all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        let lawful = starts && goes_on && text.len() <= 63;
        if lawful { Ok(()) } else { Err(NameError::MalformedSigner(text.chars().take(63).collect())) }
    }
);

fn plain_name(text: &str) -> Result<(), NameError> {
    let mut bytes = text.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
    let goes_on = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if starts && goes_on && text.len() <= 63 { Ok(()) } else { Err(NameError::Malformed(text.to_owned())) }
}

/// A keyset within its environment, written `environment/keyset`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeysetId {
    /// The environment.
    pub environment: EnvironmentName,
    /// The keyset.
    pub keyset: KeysetName,
}

impl fmt::Display for KeysetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.environment, self.keyset)
    }
}

impl fmt::Debug for KeysetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeysetId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (environment, keyset) = text.split_once('/').ok_or_else(|| NameError::Malformed(text.to_owned()))?;
        Ok(Self { environment: environment.parse()?, keyset: keyset.parse()? })
    }
}

/// The counter of a keyset document: one more with every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation of a keyset's first document.
    pub const FIRST: Self = Self(1);

    /// The generation after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_pattern() {
        for good in ["a", "user-sessions", "a1-", &"a".repeat(63)] {
            assert!(good.parse::<KeysetName>().is_ok(), "{good}");
        }
        for bad in ["", "1a", "-a", "A", "a_b", "ä", "a/b", &"a".repeat(64)] {
            assert!(bad.parse::<KeysetName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn reserved_words_are_no_environments() {
        for word in RESERVED_ENVIRONMENTS {
            assert!(word.parse::<EnvironmentName>().is_err(), "{word}");
        }
        assert!("metrics".parse::<KeysetName>().is_ok());
    }

    #[test]
    fn signers_are_called_like_hosts() {
        for good in ["a", "web-1.example.org", "0_x", "Api-7"] {
            assert!(good.parse::<SignerName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "a b", "a/b", "a:b", &"a".repeat(64)] {
            assert!(bad.parse::<SignerName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn kids_carry_through_urls_and_headers() {
        for good in ["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "0192-a:b@c", "a"] {
            assert!(good.parse::<Kid>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\"b", "a/b", "a\n", &"k".repeat(129)] {
            assert!(bad.parse::<Kid>().is_err(), "{bad}");
        }
    }
}
