//! A second opinion on a new key: jsonwebtoken, which knows nothing of our code, verifies a token that was signed with the half that
//! is stored, by the JWK that is published.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation, decode, jwk::Jwk};

use super::KeygenError;
use super::pair::KeyPair;
use crate::jwk::PublicJwk;
use crate::key::Algorithm;

/// Whether jsonwebtoken accepts a token of this key. ES512, which it has not, is taken as accepted: aws-lc-rs has judged it.
pub fn accepts(published: &PublicJwk, stored: &KeyPair) -> Result<bool, KeygenError> {
    let Ok(algorithm) = published.alg.as_str().parse::<jsonwebtoken::Algorithm>() else {
        return Ok(published.alg == Algorithm::ES512);
    };
    let header = format!("{{\"alg\":\"{}\",\"kid\":\"{}\"}}", published.alg, published.kid);
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{}"));
    let signature = URL_SAFE_NO_PAD.encode(stored.sign(input.as_bytes())?);
    let jwk = serde_json::to_value(published).and_then(serde_json::from_value::<Jwk>);
    let Some(key) = jwk.ok().and_then(|jwk| DecodingKey::from_jwk(&jwk).ok()) else { return Ok(false) };
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    Ok(decode::<serde_json::Value>(format!("{input}.{signature}"), &key, &validation).is_ok())
}
