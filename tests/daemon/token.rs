//! Tokens made with a document as a signer reads it, and verified with a key set as a verifier fetches it; by jsonwebtoken.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

/// A token, and until when it must be accepted.
pub struct Token {
    pub keyset: String,
    pub kid: String,
    pub text: String,
    /// Seconds since 1970.
    pub expires: u64,
}

/// Signs with the active key.
pub fn mint(document: &Value, ttl: u64) -> Token {
    let text = |name: &str| document[name].as_str().unwrap().to_owned();
    let algorithm: Algorithm = text("algorithm").parse().unwrap();
    let key = match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => EncodingKey::from_secret(text("secret").as_bytes()),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(text("private_key").as_bytes()).unwrap(),
        _ => EncodingKey::from_ec_pem(text("private_key").as_bytes()).unwrap(),
    };
    let header = Header { kid: Some(text("kid")), ..Header::new(algorithm) };
    let expires = now() + ttl;
    let signed = jsonwebtoken::encode(&header, &json!({"sub": "somebody", "exp": expires}), &key).unwrap();
    Token { keyset: text("keyset"), kid: text("kid"), text: signed, expires }
}

/// Why a verifier with this key set refuses the token.
pub fn refused_by_set(token: &Token, set: &Value) -> Option<String> {
    let set: JwkSet = serde_json::from_value(set.clone()).unwrap();
    let Some(jwk) = set.find(&token.kid) else { return Some("no such kid in the key set".to_owned()) };
    refused(token, &DecodingKey::from_jwk(jwk).unwrap())
}

/// Why a verifier that shares the secrets of this document refuses the token.
pub fn refused_by_secrets(token: &Token, document: &Value) -> Option<String> {
    let keys = document["keys"].as_array().unwrap();
    let Some(key) = keys.iter().find(|key| key["kid"] == *token.kid) else { return Some("no such kid in the document".to_owned()) };
    let Some(secret) = key["secret"].as_str() else { return Some("the secret is gone".to_owned()) };
    refused(token, &DecodingKey::from_secret(secret.as_bytes()))
}

/// Why a verifier that holds this secret refuses the token.
pub fn refused_by_secret(token: &Token, secret: &str) -> Option<String> {
    refused(token, &DecodingKey::from_secret(secret.as_bytes()))
}

/// Signature and form; whether it has expired is for the caller, who must not be fooled by a slow machine.
fn refused(token: &Token, key: &DecodingKey) -> Option<String> {
    let header = jsonwebtoken::decode_header(&token.text).unwrap();
    let mut rules = Validation::new(header.alg);
    rules.validate_exp = false;
    // Whom it is for is known to whoever minted it.
    rules.validate_aud = false;
    jsonwebtoken::decode::<Value>(&token.text, key, &rules).err().map(|error| error.to_string())
}

/// Seconds since 1970.
#[allow(clippy::disallowed_methods, reason = "tokens bear the time of the day")]
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}
