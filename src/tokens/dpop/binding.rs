//! The key that a token is bound to: `cnf.jkt` (RFC 9449 §6.1, RFC 7800 §3.1), written and read back.

use serde_json::{Map, Value, json};

use super::ProvenKey;
use super::refusal::Refusal;
use crate::digest::Digest;

/// How a token is presented: the scheme of its `Authorization` header (RFC 9449 §7.1, RFC 6750 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    /// Whoever holds it may use it.
    Bearer,
    /// With a proof.
    DPoP,
}

/// The `cnf` claim of a token for whoever has proven that key.
pub fn confirmation(key: ProvenKey) -> Value {
    json!({ "jkt": key.jkt().to_string() })
}

/// The thumbprint of the key that a token is bound to, by its verified claims; `None`: whoever holds it may use it.
///
/// # Errors
/// It is bound in another way, which cannot be checked here, or to what is no thumbprint. Such a token is for nobody.
pub fn bound_to(claims: &Map<String, Value>) -> Result<Option<Digest>, Refusal> {
    let Some(confirmation) = claims.get("cnf") else { return Ok(None) };
    let only = confirmation.as_object().filter(|members| members.len() == 1).and_then(|members| members.get("jkt"));
    let thumbprint = only.and_then(Value::as_str).and_then(|jkt| jkt.parse().ok());
    thumbprint.map(Some).ok_or(Refusal::Confirmation)
}

/// What a token that is presented in this way must be proven with; `None`: nothing.
///
/// # Errors
/// A bound token comes as Bearer, or one that is not bound as DPoP; or [`bound_to`].
pub fn required(presented: Presented, claims: &Map<String, Value>) -> Result<Option<Digest>, Refusal> {
    match (presented, bound_to(claims)?) {
        (Presented::Bearer, None) => Ok(None),
        (Presented::DPoP, Some(key)) => Ok(Some(key)),
        (Presented::Bearer, Some(_)) => Err(Refusal::BoundAsBearer),
        (Presented::DPoP, None) => Err(Refusal::NotBound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(cnf: &str) -> Map<String, Value> {
        serde_json::from_str(cnf).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        // RFC 9449 §6.1
        let token = claims(r#"{"sub":"someone@example.com","cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}"#);
        let key = bound_to(&token).unwrap().unwrap();
        assert_eq!(confirmation(ProvenKey(key)), token["cnf"]);
        assert_eq!(required(Presented::DPoP, &token), Ok(Some(key)));
    }

    #[test]
    fn a_bound_token_is_no_bearer_token_nor_the_other_way_round() {
        let bound = claims(r#"{"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}"#);
        assert_eq!(required(Presented::Bearer, &bound), Err(Refusal::BoundAsBearer));
        assert_eq!(required(Presented::DPoP, &claims("{}")), Err(Refusal::NotBound));
        assert_eq!(required(Presented::Bearer, &claims("{}")), Ok(None));
    }

    #[test]
    fn a_token_that_is_bound_in_a_way_that_nobody_checks_is_for_nobody() {
        for cnf in [
            "null",
            "{}",
            r#""0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I""#,
            r#"{"jkt":null}"#,
            r#"{"jkt":""}"#,
            r#"{"jkt":"AAAA"}"#,
            r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I="}"#,
            r#"{"x5t#S256":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#,
            r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I","jwk":{}}"#,
        ] {
            for presented in [Presented::Bearer, Presented::DPoP] {
                assert_eq!(required(presented, &claims(&format!(r#"{{"cnf":{cnf}}}"#))), Err(Refusal::Confirmation), "{cnf}");
            }
        }
    }
}
