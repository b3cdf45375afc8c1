//! A second opinion: the same token, key and expectations, judged by jsonwebtoken, which knows nothing of our code. For people who ask
//! what is wrong with a token; it parses the key each time, so it is not for every request.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, Validation, decode};
use serde_json::Value;

use super::compact::Compact;
use super::verify::{Source, Verifier};

/// What jsonwebtoken says of header, signature, issuer and audience; `None` if it cannot judge: it has no ES512, and knows no key by
/// that name. Times are left to us: it reads a clock of its own.
pub fn of(verifier: &Verifier, token: &str) -> Option<Result<(), String>> {
    let compact = Compact::parse(token).ok()?;
    let known = verifier.known(&compact.header)?;
    let algorithm = known.algorithm.as_str().parse::<jsonwebtoken::Algorithm>().ok()?;
    let key = match &known.source {
        Source::Secret(secret) => DecodingKey::from_secret(secret.expose().as_bytes()),
        Source::Public(jwk) => {
            let jwk: Jwk = serde_json::from_value(serde_json::to_value(jwk).ok()?).ok()?;
            DecodingKey::from_jwk(&jwk).ok()?
        }
    };
    let mut rules = Validation::new(algorithm);
    rules.validate_exp = false;
    rules.required_spec_claims = ["exp".to_owned()].into();
    let expected = verifier.expected();
    if let Some(issuer) = &expected.issuer {
        rules.set_issuer(&[issuer]);
        rules.required_spec_claims.insert("iss".to_owned());
    }
    match &expected.audience {
        Some(audience) if audience.is_empty() => {}
        Some(audience) => {
            rules.set_audience(audience);
            rules.required_spec_claims.insert("aud".to_owned());
        }
        None => rules.validate_aud = false,
    }
    Some(decode::<Value>(token, &key, &rules).map(drop).map_err(|error| error.to_string()))
}
