//! The address that a proof is for, in the one form in which it is compared (RFC 9449 §4.3, RFC 3986 §6.2.2 and §6.2.3).

use crate::url::PublicOrigin;

/// The longest address in a proof, in bytes.
const LONGEST: usize = 2000;

/// An address without query and fragment, normalised: two of them are equal exactly if they mean the same resource.
///
/// ```
/// use keyrota::tokens::dpop::htu::Htu;
/// let htu = |text: &str| Htu::read(text).unwrap();
/// assert_eq!(htu("HTTPS://Keys.Example.com:443/a/./b/../%7euser?x=1#y"), htu("https://keys.example.com/a/~user"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Htu(String);

impl Htu {
    /// The address of `path` of this service. The path is as the request line has it, without query; `None` if it is none, so that
    /// nothing of it can become part of the host.
    pub fn of(origin: &PublicOrigin, path: &str) -> Option<Self> {
        let path = Some(path).filter(|path| path.is_empty() || path.starts_with('/'))?;
        Self::read(&format!("{origin}{path}"))
    }

    /// The address that a proof names; `None` if it is no absolute address of `https` or `http`, or has a user name in it.
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > LONGEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "https" => ("https", ":443"),
            "http" => ("http", ":80"),
            _ => return None,
        };
        let rest = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') || authority.starts_with(':') || authority.parse::<http::uri::Authority>().is_err() {
            return None;
        }
        let authority = authority.to_ascii_lowercase();
        // A port that is left empty is the default one (RFC 3986 §6.2.3).
        let authority = authority.strip_suffix(default_port).or_else(|| authority.strip_suffix(':')).unwrap_or(&authority);
        if authority.is_empty() {
            return None;
        }
        Some(Self(format!("{scheme}://{authority}{}", without_dots(&unescaped(path)?))))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Escapes of unreserved characters undone, the others in capitals (RFC 3986 §6.2.2.1, §6.2.2.2); `None` if one is cut short.
fn unescaped(path: &str) -> Option<String> {
    let mut parts = path.split('%');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let escaped = u8::from_str_radix(part.get(..2).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))?, 16).ok()?;
        if escaped.is_ascii_alphanumeric() || b"-._~".contains(&escaped) {
            text.push(char::from(escaped));
        } else {
            text.push('%');
            text.push_str(&part[..2].to_ascii_uppercase());
        }
        text.push_str(&part[2..]);
    }
    Some(text)
}

/// The path without `.` and `..` (RFC 3986 §5.2.4); an empty one is `/`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (n, segment) in segments.iter().enumerate() {
        let last = n + 1 == segments.len();
        match *segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => {
                kept.push(other);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Nothing makes it panic, and what is normalised stays as it is.
        #[test]
        fn a_normal_form_is_its_own(rest in "[a-z.:%/2eEfF?#@\\[\\]A0-9~-]{0,40}", any in "\\PC{0,40}") {
            let _ = Htu::read(&any);
            for text in [format!("https://{rest}"), format!("http://a.example/{rest}")] {
                if let Some(read) = Htu::read(&text) {
                    prop_assert_eq!(Htu::read(read.as_str()), Some(read.clone()), "{}", text);
                }
            }
        }
    }

    #[test]
    fn what_means_the_same_has_one_text() {
        let base = "https://keys.example.com/demo/users/token";
        for text in [
            "https://keys.example.com/demo/users/token",
            "HTTPS://KEYS.EXAMPLE.COM/demo/users/token",
            "https://keys.example.com:443/demo/users/token",
            "https://keys.example.com:/demo/users/token",
            "https://keys.example.com/demo/users/token?a=b",
            "https://keys.example.com/demo/users/token#c",
            "https://keys.example.com/demo/users/token?a=b/../#c?d",
            "https://keys.example.com/demo/./users/token",
            "https://keys.example.com/demo/x/../users/token",
            "https://keys.example.com/../demo/users/token",
            "https://keys.example.com/%64emo/users/%74oken",
            "https://keys.example.com/x/%2e%2E/demo/users/token",
        ] {
            assert_eq!(Htu::read(text).unwrap().as_str(), base, "{text}");
        }
        for (text, must) in [
            ("https://a.example", "https://a.example/"),
            ("https://a.example?q", "https://a.example/"),
            ("http://[::1]:80/a", "http://[::1]/a"),
            ("https://a.example/a%2fb%c3%a4", "https://a.example/a%2Fb%C3%A4"),
            ("https://a.example/a/.", "https://a.example/a/"),
            ("https://a.example/a/..", "https://a.example/"),
            ("https://a.example/a//b", "https://a.example/a//b"),
        ] {
            assert_eq!(Htu::read(text).unwrap().as_str(), must, "{text}");
        }
    }

    #[test]
    fn what_means_something_else_stays_so() {
        let base = Htu::read("https://a.example/demo/users/token").unwrap();
        for text in [
            "http://a.example/demo/users/token",
            "https://a.example:8443/demo/users/token",
            "https://a.example:80/demo/users/token",
            "https://b.example/demo/users/token",
            "https://a.example/demo/users/token/",
            "https://a.example/demo/users/Token",
            "https://a.example//demo/users/token",
            "https://a.example/demo%2Fusers/token",
        ] {
            assert_ne!(Htu::read(text).as_ref(), Some(&base), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "/token",
            "a.example/token",
            "//a.example/token",
            "https:",
            "https:///token",
            "https://:443/token",
            "https://:8443/token",
            "ftp://a.example/token",
            "https://user@a.example/token",
            "https://a.example/%",
            "https://a.example/%4",
            "https://a.example/%+1",
            "https://a.example/tok en",
            "https://a.example/t\u{f6}ken",
            "https://a example/token",
            &format!("https://a.example/{}", "a".repeat(LONGEST)),
        ] {
            assert_eq!(Htu::read(text), None, "{text}");
        }
    }

    #[test]
    fn the_origin_is_ours_and_the_path_the_requests() {
        let origin = "https://keys.example.com".parse().unwrap();
        assert_eq!(Htu::of(&origin, "/demo/users/token").unwrap().as_str(), "https://keys.example.com/demo/users/token");
        assert_eq!(Htu::of(&origin, "").unwrap().as_str(), "https://keys.example.com/");
        for foreign in ["*", ".attacker.example/", ":8443/", "@attacker.example/"] {
            assert_eq!(Htu::of(&origin, foreign), None, "{foreign}");
        }
    }
}
