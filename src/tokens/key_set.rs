//! Key sets from elsewhere, as a verifier reads them (RFC 7517 §5): what can be used is used, what cannot is counted and said.

use serde_json::{Map, Value};

use crate::jwk::{EcCurve, PublicJwk, PublicNumbers};
use crate::key::Algorithm;

/// The most keys that are looked at.
const MOST_KEYS: usize = 128;

/// The longest key set, in bytes.
pub const LONGEST_SET: usize = 1024 * 1024;

/// A key set that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no key set: {0}; hint: a JSON object with a list `keys` (RFC 7517 §5)")]
pub struct NotAKeySet(String);

/// The keys of a set that can be used, and why each of the others cannot.
#[derive(Debug, Default)]
pub struct KeySet {
    /// The keys, kids unique.
    pub keys: Vec<PublicJwk>,
    /// One sentence for each that cannot be used.
    pub unusable: Vec<String>,
}

/// Reads a key set.
///
/// # Errors
/// It is no key set. A key in it that cannot be used is no error.
pub fn read(body: &[u8]) -> Result<KeySet, NotAKeySet> {
    if body.len() > LONGEST_SET {
        return Err(NotAKeySet(format!("it has {} bytes, more than {LONGEST_SET}", body.len())));
    }
    let set: Value = serde_json::from_slice(body).map_err(|e| NotAKeySet(format!("line {}, column {}", e.line(), e.column())))?;
    let list = set.get("keys").and_then(Value::as_array).ok_or_else(|| NotAKeySet("there is no list `keys`".to_owned()))?;
    if list.len() > MOST_KEYS {
        return Err(NotAKeySet(format!("it has {} keys, more than {MOST_KEYS}", list.len())));
    }
    let mut found = KeySet::default();
    for (n, jwk) in list.iter().enumerate() {
        match key(jwk) {
            Ok(key) => found.keys.push(key),
            Err(why) => found.unusable.push(format!("key {} of the set {why}", n + 1)),
        }
    }
    // Of two keys of one name nobody can tell which is meant.
    let twice = |key: &PublicJwk, keys: &[PublicJwk]| keys.iter().filter(|other| other.kid == key.kid).count() > 1;
    let all = found.keys.clone();
    found.unusable.extend(all.iter().filter(|key| twice(key, &all)).map(|key| format!("kid {} stands twice in the set", key.kid)));
    found.keys.retain(|key| !twice(key, &all));
    Ok(found)
}

fn key(jwk: &Value) -> Result<PublicJwk, String> {
    let jwk = jwk.as_object().ok_or("is no object")?;
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    if text("use").is_some_and(|usage| usage != "sig") {
        return Err("is not for signatures".to_owned());
    }
    if jwk.get("key_ops").and_then(Value::as_array).is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
        return Err("is not for verifying".to_owned());
    }
    let kid = text("kid").ok_or("has no kid")?.parse().map_err(|_| "has a kid that is not understood")?;
    let numbers = numbers(jwk).ok_or("is of no kind that is known here")?;
    numbers.check().map_err(|error| format!("is refused: {error}"))?;
    let alg = match (text("alg"), &numbers) {
        (Some(alg), _) => alg.parse::<Algorithm>().map_err(|_| "is for an algorithm that is not known here")?,
        (None, PublicNumbers::Okp { .. }) => Algorithm::EdDsa,
        (None, PublicNumbers::Ec { crv: EcCurve::P256, .. }) => Algorithm::ES256,
        (None, PublicNumbers::Ec { crv: EcCurve::P384, .. }) => Algorithm::ES384,
        (None, PublicNumbers::Ec { crv: EcCurve::P521, .. }) => Algorithm::ES512,
        // Six algorithms use such keys, and a key is to be used with one (RFC 8725 §3.1).
        (None, PublicNumbers::Rsa { .. }) => return Err("is an RSA key without `alg`".to_owned()),
    };
    if !numbers.suits(alg) {
        return Err(format!("says {alg}, and is of another kind"));
    }
    Ok(PublicJwk::new(kid, alg, numbers))
}

/// The public numbers; whatever else stands there is left aside.
fn numbers(jwk: &Map<String, Value>) -> Option<PublicNumbers> {
    let members: &[&str] = match jwk.get("kty")?.as_str()? {
        "RSA" => &["kty", "n", "e"],
        "EC" => &["kty", "crv", "x", "y"],
        "OKP" => &["kty", "crv", "x"],
        _ => return None,
    };
    let bare = members.iter().map(|name| Some(((*name).to_owned(), jwk.get(*name)?.clone()))).collect::<Option<_>>()?;
    serde_json::from_value(Value::Object(bare)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // RFC 7515 A.3 and RFC 8037 A.2.
    fn p256() -> Value {
        json!({"kty": "EC", "crv": "P-256", "kid": "a", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
    }
    fn with(name: &str, value: Value) -> Value {
        let mut key = p256();
        key[name] = value;
        key
    }
    fn read_all(keys: &[Value]) -> KeySet {
        read(&serde_json::to_vec(&json!({ "keys": keys })).unwrap()).unwrap()
    }

    #[test]
    fn what_can_be_used_is_and_the_rest_is_said() {
        let set = read_all(&[
            p256(),
            with("kid", json!(7)),
            with("use", json!("enc")),
            with("key_ops", json!(["sign"])),
            with("alg", json!("ES384")),
            with("x", json!("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEV")),
            json!({"kty": "oct", "k": "AA", "kid": "o"}),
        ]);
        assert_eq!(set.keys.len(), 1, "{:?}", set.unusable);
        assert_eq!((set.keys[0].kid.as_str(), set.keys[0].alg), ("a", Algorithm::ES256));
        assert_eq!(set.unusable.len(), 6, "{:?}", set.unusable);
    }

    #[test]
    fn a_kid_that_stands_twice_is_nobodys() {
        let set = read_all(&[p256(), p256(), with("kid", json!("b"))]);
        assert_eq!((set.keys.len(), set.unusable.len()), (1, 2));
        for bad in ["", "[]", "{}", "{\"keys\": {}}", "{\"keys\": [1"] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
