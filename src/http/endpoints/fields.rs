//! What a request says in its body: JSON, or a form as OAuth clients send it. Each field once, none that is not known.

use axum::body::{Body, to_bytes};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::super::serve::HEAD_TIMEOUT;
use super::refused::Refused;
use crate::time::Span;
use crate::tokens::strict_json;

/// The longest body, in bytes: twice the longest token.
pub(super) const LONGEST_BODY: usize = 16 * 1024;

/// The fields of a request, each taken once.
#[derive(Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body.
    ///
    /// # Errors
    /// It is too long, too slow, or not what its type says.
    pub async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Refused> {
        let arriving = tokio::time::timeout(HEAD_TIMEOUT, to_bytes(body, LONGEST_BODY));
        let bytes = arriving.await.map_err(|_| Refused::too_slow())?.map_err(|_| Refused::too_long(LONGEST_BODY))?;
        // Credentials may be in it: what is nobody else's is wiped.
        let bytes = Zeroizing::new(bytes.try_into_mut().map_or_else(|shared| shared.to_vec(), Vec::from));
        let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let said = said.split(';').next().unwrap_or_default().trim();
        if said.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return form(&bytes).map(Self);
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        strict_json::object(&bytes).map(Self).map_err(|fault| {
            let said = fault.to_string();
            let (what, hint) = said.split_once("; hint: ").unwrap_or((&said, ""));
            Refused::malformed(format!("the request {what}"), hint)
        })
    }

    /// A field that is a text.
    ///
    /// # Errors
    /// It is something else.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Refused> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refused::malformed(format!("`{name}` is no text"), "write it in quotes")),
        }
    }

    /// A field that is a length of time: `30m`, or seconds.
    ///
    /// # Errors
    /// It is something else.
    pub fn life(&mut self, name: &str) -> Result<Option<Span>, Refused> {
        let wrong = || Refused::malformed(format!("`{name}` is no length of time"), "seconds, or 30s, 15m, 2h, 1d");
        let seconds = |count: u64| count.checked_mul(1000).map(Span::millis);
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(count)) => count.as_u64().and_then(seconds).map(Some).ok_or_else(wrong),
            Some(Value::String(text)) => {
                let counted = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit())).map(seconds);
                counted.unwrap_or_else(|| text.parse().ok()).map(Some).ok_or_else(wrong)
            }
            Some(_) => Err(wrong()),
        }
    }

    /// A field that is an object; in a form it is written as JSON.
    ///
    /// # Errors
    /// It is something else.
    pub fn object(&mut self, name: &str) -> Result<Map<String, Value>, Refused> {
        let wrong = || Refused::malformed(format!("`{name}` is no object"), "{\"plan\": \"pro\"}");
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object),
            Some(Value::String(json)) => strict_json::object(json.as_bytes()).map_err(|_| wrong()),
            Some(_) => Err(wrong()),
        }
    }

    /// That was all.
    ///
    /// # Errors
    /// There is a field that nobody has asked for.
    pub fn finish(self, known: &str) -> Result<(), Refused> {
        let Some(name) = self.0.keys().next() else { return Ok(()) };
        let shown: String = name.chars().take(40).collect();
        Err(Refused::malformed(format!("there is no field `{shown}` here"), format!("the fields are {known}")))
    }
}

/// The pairs of a form (WHATWG URL, application/x-www-form-urlencoded).
fn form(bytes: &[u8]) -> Result<Map<String, Value>, Refused> {
    let wrong = || Refused::malformed("the form is not understood", "name=value&name=value, percent-encoded UTF-8");
    let mut found = Map::new();
    for pair in bytes.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
        let end = pair.iter().position(|b| *b == b'=').ok_or_else(wrong)?;
        let (name, value) = (decoded(&pair[..end]).ok_or_else(wrong)?, decoded(&pair[end + 1..]).ok_or_else(wrong)?);
        if found.insert(name, Value::String(value)).is_some() {
            return Err(Refused::malformed("a field of the form stands twice", "give each once (RFC 6749 §3.2)"));
        }
    }
    Ok(found)
}

/// Percent-decoded, `+` as a space; `None` if it is cut short or no UTF-8.
pub(super) fn decoded(bytes: &[u8]) -> Option<String> {
    let mut text = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, behind @ ..] = rest {
        rest = behind;
        text.push(match first {
            b'+' => b' ',
            b'%' => {
                let (hex, behind) = rest.split_at_checked(2).filter(|(hex, _)| hex.iter().all(u8::is_ascii_hexdigit))?;
                rest = behind;
                u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?
            }
            other => *other,
        });
    }
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn forms_are_read_as_browsers_write_them() {
        let read = form(b"sub=zo%C3%AB+%2B1&ttl=15m&empty=").unwrap();
        assert_eq!(Value::Object(read), json!({ "sub": "zo\u{eb} +1", "ttl": "15m", "empty": "" }));
        for bad in [&b"sub"[..], b"a=1&a=2", b"a=%", b"a=%4", b"a=%+1", b"a=%ff"] {
            assert!(form(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_life_is_seconds_or_has_a_unit() {
        let life = |value: Value| Fields(json!({ "ttl": value }).as_object().unwrap().clone()).life("ttl").map_err(|refused| refused.code);
        assert_eq!([life(json!(90)), life(json!("90")), life(json!("1m30s"))], [Ok(Some(Span::seconds(90))); 3]);
        assert_eq!(life(Value::Null), Ok(None));
        for bad in [json!(-1), json!(1.5), json!(u64::MAX), json!("99999999999999999999"), json!("1 hour"), json!(""), json!([])] {
            assert_eq!(life(bad.clone()), Err("request_malformed"), "{bad}");
        }
    }
}
