//! The one origin under which clients know this service: scheme, host and port (RFC 6454 §4).
//!
//! What a request says of itself (its `Host` header, the address it came in on) is the client's word or a proxy's; what tokens and
//! proofs are compared with is this.

use std::fmt;
use std::str::FromStr;

use super::{Scheme, Url, UrlError};

/// An origin of `https`, or of `http` on loopback. Written without default port and without a slash at its end.
///
/// ```
/// use keyrota::url::PublicOrigin;
/// let origin: PublicOrigin = "https://Keys.example.com:443/".parse().unwrap();
/// assert_eq!(origin.as_str(), "https://keys.example.com");
/// assert!("http://keys.example.com".parse::<PublicOrigin>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicOrigin {
    text: Box<str>,
    scheme: Scheme,
}

/// Why a text is no such origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It is no web address at all.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// There is more than an origin.
    #[error("`{0}` has a path or a query; hint: only scheme, host and port, for example https://keys.example.com")]
    MoreThanOrigin(String),
    /// Tokens would travel in the clear.
    #[error("`{0}` is not https; hint: tokens travel encrypted, so clients reach them under https://HOST, or http:// on loopback alone")]
    InTheClear(String),
}

impl PublicOrigin {
    /// As it stands in front of every path.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether clients speak TLS to it.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }
}

impl FromStr for PublicOrigin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let url: Url = text.parse()?;
        // What follows the authority: nothing, or the one slash that stands for no path (RFC 3986 §6.2.3).
        let behind = text.split_once("://").and_then(|(_, rest)| rest.find(['/', '?']).map(|at| &rest[at..]));
        if behind.is_some_and(|path| path != "/") {
            return Err(OriginError::MoreThanOrigin(text.to_owned()));
        }
        let (scheme, default) = match url.scheme() {
            Scheme::Https => ("https", 443),
            Scheme::Http if url.is_loopback() => ("http", 80),
            Scheme::Http => return Err(OriginError::InTheClear(text.to_owned())),
        };
        let host = if url.host().contains(':') { format!("[{}]", url.host()) } else { url.host().to_owned() };
        let port = if url.port() == default { String::new() } else { format!(":{}", url.port()) };
        Ok(Self { text: format!("{scheme}://{host}{port}").into(), scheme: url.scheme() })
    }
}

impl fmt::Display for PublicOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_text() {
        for (text, must) in [
            ("https://KEYS.example.com", "https://keys.example.com"),
            ("https://keys.example.com:8443/", "https://keys.example.com:8443"),
            ("https://[2001:DB8::1]:443", "https://[2001:db8::1]"),
            ("http://127.0.0.1:8480", "http://127.0.0.1:8480"),
            ("http://localhost:80/", "http://localhost"),
        ] {
            let origin: PublicOrigin = text.parse().unwrap();
            assert_eq!((origin.as_str(), origin.is_https()), (must, must.starts_with("https")));
        }
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        let refused = |text: &str| text.parse::<PublicOrigin>().unwrap_err();
        for text in ["https://keys.example.com/base", "https://keys.example.com//", "https://keys.example.com?a=b", "https://a.example/?"] {
            assert!(matches!(refused(text), OriginError::MoreThanOrigin(_)), "{text}");
        }
        assert!(matches!(refused("http://keys.example.com"), OriginError::InTheClear(_)));
        for text in ["keys.example.com", "https://", "ftp://keys.example.com", "https://a:b@keys.example.com", "https://a.example/#b"] {
            assert!(matches!(refused(text), OriginError::Url(_)), "{text}");
        }
    }
}
