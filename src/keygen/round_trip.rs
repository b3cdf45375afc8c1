//! One token's round trip, from the half that is stored to the half that is published. The judge is jsonwebtoken, which knows nothing
//! of our code and reads the JWK as the JSON that verifiers get: so one signature and one verification prove both halves.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation, decode, jwk::Jwk};

use super::KeygenError;
use super::pair::KeyPair;
use crate::jwk::PublicJwk;
use crate::key::Algorithm;

/// Whether a token that `stored` signs is accepted by whoever reads `published`. jsonwebtoken has no ES512: there our own reading of
/// the numbers is what aws-lc-rs verifies with.
pub fn succeeds(published: &PublicJwk, stored: &KeyPair) -> Result<bool, KeygenError> {
    let (alg, kid) = (published.alg, &published.kid);
    let header = format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#);
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{}"));
    let signature = stored.sign(input.as_bytes())?;
    let Ok(algorithm) = alg.as_str().parse::<jsonwebtoken::Algorithm>() else {
        return Ok(alg == Algorithm::ES512 && published.numbers.verifies(alg, input.as_bytes(), &signature));
    };
    let jwk = serde_json::to_vec(published).unwrap_or_default();
    let read = serde_json::from_slice::<Jwk>(&jwk).ok().filter(|jwk| jwk.common.key_id.as_deref() == Some(kid.as_str()));
    let Some(key) = read.and_then(|jwk| DecodingKey::from_jwk(&jwk).ok()) else { return Ok(false) };
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    Ok(decode::<serde_json::Value>(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)), &key, &validation).is_ok())
}
