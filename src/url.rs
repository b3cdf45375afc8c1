//! Web addresses as policies write them: `https://HOST[:PORT]/PATH[?QUERY]`, and nothing else that RFC 3986 would let a URL be.
//!
//! Invariant: no user name, password or fragment is in one, so an address may stand in logs, metrics and error messages.

mod origin;

use core::net::IpAddr;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub use origin::{OriginError, PublicOrigin};
use serde::{Deserialize, Serialize};

/// The longest address, in bytes.
const LONGEST: usize = 2000;

/// An absolute address of `http` or `https`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Url {
    text: String,
    scheme: Scheme,
    host: String,
    port: u16,
}

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// In the clear: whoever is in between can answer instead.
    Http,
    /// Over TLS.
    Https,
}

/// Whose word for a server's name is taken.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Trust {
    /// The roots that this machine trusts, as they were when the process first needed them.
    #[default]
    System,
    /// Those in this PEM file and no others. It is read anew for each request.
    File(PathBuf),
}

/// Why a text is no such address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No absolute address.
    #[error("`{0}` is not a web address; hint: write it out, for example https://api.example.com/.well-known/jwks.json")]
    Form(String),
    /// Another scheme.
    #[error("`{0}` is neither https nor http; hint: https://HOST/PATH")]
    Scheme(String),
    /// A user name or a password.
    #[error("has a user name or password in it, which would stand in logs and metrics; hint: https://HOST/PATH alone")]
    UserInfo,
    /// A fragment.
    #[error("`{0}` has a fragment, which no server ever sees; hint: leave out what follows `#`")]
    Fragment(String),
}

impl Url {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How the server is spoken to.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host: a name or an address, without the brackets of IPv6.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own where none is written.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it stays on this machine, so that nobody can be in between.
    ///
    /// ```
    /// let here = |text: &str| text.parse::<keyrota::url::Url>().is_ok_and(|url| url.is_loopback());
    /// assert!(here("http://127.0.0.1:8480/a") && here("http://[::1]/a") && here("http://localhost/a"));
    /// assert!(!here("http://127.0.0.1.example.com/a"));
    /// ```
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let form = || UrlError::Form(text.chars().take(100).collect());
        if text.contains('@') && text.split('/').nth(2).is_some_and(|authority| authority.contains('@')) {
            return Err(UrlError::UserInfo);
        }
        if text.contains('#') {
            return Err(UrlError::Fragment(text.to_owned()));
        }
        let uri = text.parse::<http::Uri>().ok().filter(|_| text.len() <= LONGEST).ok_or_else(form)?;
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            Some(_) => return Err(UrlError::Scheme(text.to_owned())),
            None => return Err(form()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(form)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let port = match uri.port() {
            Some(port) => port.as_u16(),
            None if scheme == Scheme::Https => 443,
            None => 80,
        };
        Ok(Self { text: text.to_owned(), scheme, host, port })
    }
}

impl TryFrom<String> for Url {
    type Error = UrlError;

    fn try_from(text: String) -> Result<Self, UrlError> {
        text.parse()
    }
}

impl From<Url> for String {
    fn from(url: Url) -> Self {
        url.text
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let url: Url = "https://API.example.com/keys?a=b".parse().unwrap();
        assert_eq!((url.scheme(), url.host(), url.port()), (Scheme::Https, "api.example.com", 443));
        let url: Url = "http://[::1]:8480/keys".parse().unwrap();
        assert_eq!((url.scheme(), url.host(), url.port()), (Scheme::Http, "::1", 8480));
    }

    #[test]
    fn whatever_is_no_such_address_is_refused() {
        let refused = |text: &str| text.parse::<Url>().unwrap_err().to_string();
        for text in ["", "/keys", "example.com/keys", "https://", "https:///keys", "https://a b/"] {
            assert!(refused(text).contains("is not a web address"), "{text}: {}", refused(text));
        }
        assert!(refused("ftp://example.com/keys").contains("neither https nor http"));
        assert!(refused("https://user:hunter2@example.com/keys").contains("user name or password"));
        assert!(!refused("https://user:hunter2@example.com/keys").contains("hunter2"));
        assert!(refused("https://example.com/keys#now").contains("fragment"));
        assert!("https://example.com/@scope/keys".parse::<Url>().is_ok());
    }
}
