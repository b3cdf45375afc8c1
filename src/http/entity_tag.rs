//! `If-None-Match` (RFC 9110 §13.1.2): whether what a client holds is what it would get.

use http::HeaderMap;
use http::header::IF_NONE_MATCH;

/// Whether one of the entity tags in the request names `etag`, by the weak comparison that the field asks for: `W/` is passed over.
///
/// A field that is not well formed matches nothing from where it goes wrong, so that its sender gets the whole answer.
pub fn matches(headers: &HeaderMap, etag: &[u8]) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().any(|value| list_matches(value.as_bytes(), etag))
}

fn list_matches(list: &[u8], etag: &[u8]) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" || rest == etag {
        return true;
    }
    loop {
        while let [b' ' | b'\t' | b',', tail @ ..] = rest {
            rest = tail;
        }
        let tag = rest.strip_prefix(b"W/").unwrap_or(rest);
        let Some((length, tail)) = quoted(tag) else { return false };
        if tag.get(..length) == Some(etag) {
            return true;
        }
        rest = tail;
    }
}

/// The length of the quoted text that `bytes` begin with, quotes included, and what follows it.
fn quoted(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let inner = bytes.strip_prefix(b"\"")?;
    let end = inner.iter().position(|b| *b == b'"')?;
    Some((end + 2, inner.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_weak_tags_and_the_star_match() {
        let etag = b"\"abc\"";
        for good in ["\"abc\"", "*", " * ", "W/\"abc\"", "\"x\", \"abc\"", "\"x\",W/\"abc\" , \"y\"", "\"a,b\", \"abc\"", ", ,\"abc\""] {
            assert!(list_matches(good.as_bytes(), etag), "{good}");
        }
        for bad in ["", "abc", "\"abcd\"", "\"ab\"", "w/\"abc\"", "\"abc", "x\"abc\"", "\"x\" y \"abc\"", "**", "\"x\", *", "W/", ","] {
            assert!(!list_matches(bad.as_bytes(), etag), "{bad}");
        }
    }

    #[test]
    fn several_header_lines_count_as_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(IF_NONE_MATCH, "\"x\"".parse().unwrap());
        assert!(!matches(&headers, b"\"abc\""));
        headers.append(IF_NONE_MATCH, "\"abc\"".parse().unwrap());
        assert!(matches(&headers, b"\"abc\""));
    }
}
