//! Keys as others hand them in, good and bad.

use super::*;
use crate::key::KeySpec;
use crate::time::Span;

const PASSPHRASE: &str = "correct horse";

fn now() -> Timestamp {
    Timestamp::EPOCH + Span::days(20_000)
}

fn handed<'a>(material: &'a SecretText, passphrase: Option<&'a SecretText>, algorithm: Algorithm) -> Handed<'a> {
    Handed { material, passphrase, kid: None, algorithm, created_at: now(), expires_at: None }
}

fn taken_in(text: &str, algorithm: Algorithm) -> Result<Key, ImportError> {
    import(&handed(&SecretText::new(text.to_owned()), None, algorithm))
}

fn named(text: &str, algorithm: Algorithm) -> Result<Key, ImportError> {
    let material = SecretText::new(text.to_owned());
    import(&Handed { kid: Some("vendor-1".parse().unwrap()), ..handed(&material, None, algorithm) })
}

fn material(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/material/{name}.pem", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn made(algorithm: Algorithm) -> Key {
    let spec = KeySpec::Pair { algorithm, rsa_bits: 2048, kid: KidFormat::Thumbprint, certificate: None };
    crate::keygen::generate(&spec, now()).unwrap()
}

#[track_caller]
fn refused(result: Result<Key, ImportError>, says: &str) {
    let text = result.expect_err("refused").to_string();
    assert!(text.contains(says) && text.contains("hint: "), "{text}");
}

#[test]
fn every_kind_makes_the_round_trip_as_jwk() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::ES512, Algorithm::EdDsa] {
        let key = made(algorithm);
        let jwk = PrivateJwk::write(&key).unwrap();
        let back = taken_in(jwk.expose(), algorithm).unwrap();
        assert_eq!((back.kid.clone(), back.bits, back.public_jwk()), (key.kid.clone(), key.bits, key.public_jwk()), "{algorithm}");
        assert_eq!(back.origin, Origin::Imported);
        let pair = crate::keygen::KeyPair::from_pkcs8_pem(back.secret().unwrap(), algorithm).unwrap();
        let signature = pair.sign(b"x").unwrap();
        assert!(key.public_jwk().unwrap().numbers.verifies(algorithm, b"x", &signature), "{algorithm}: it signs");
    }
}

#[test]
fn every_kind_of_pem_is_read() {
    let key = made(Algorithm::ES256);
    let back = taken_in(key.secret().unwrap().expose(), Algorithm::ES256).unwrap();
    assert_eq!(back.kid, key.kid, "the thumbprint is its name");
    assert!(taken_in(&material("rsa-pkcs1"), Algorithm::RS256).is_ok());
    assert!(taken_in(&material("ec-sec1"), Algorithm::ES256).is_ok());
    let public = key.public_jwk().unwrap().numbers.to_spki_pem().unwrap();
    let half = taken_in(&public, Algorithm::ES256).unwrap();
    assert!(!half.can_sign() && half.kid == key.kid);
}

#[test]
fn an_encrypted_key_opens_with_its_passphrase_alone() {
    let right = SecretText::new(format!("{PASSPHRASE}\n"));
    let wrong = SecretText::new("wrong horse".to_owned());
    for (name, algorithm) in [("ec-pbkdf2", Algorithm::ES256), ("rsa-pbkdf2-sha1", Algorithm::RS256)] {
        let text = SecretText::new(material(name));
        assert!(import(&handed(&text, Some(&right), algorithm)).is_ok(), "{name}");
        refused(import(&handed(&text, Some(&wrong), algorithm)), "does not open it");
        refused(import(&handed(&text, None, algorithm)), "there is no passphrase");
    }
    let scrypt = SecretText::new(material("ec-scrypt"));
    refused(import(&handed(&scrypt, Some(&right), Algorithm::ES256)), "scrypt");
}

#[test]
fn weak_and_inconsistent_keys_are_refused_with_the_reason() {
    refused(taken_in(&material("rsa-1024"), Algorithm::RS256), "1024");
    refused(taken_in(&material("ec-secp256k1"), Algorithm::ES256), "ES256");
    refused(taken_in(made(Algorithm::ES384).secret().unwrap().expose(), Algorithm::ES256), "P-384");
    refused(taken_in("nonsense", Algorithm::ES256), "not PEM");
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDsa] {
        let (one, other) = (PrivateJwk::write(&made(algorithm)).unwrap(), PrivateJwk::write(&made(algorithm)).unwrap());
        let mut mixed: serde_json::Value = serde_json::from_str(one.expose()).unwrap();
        let other: serde_json::Value = serde_json::from_str(other.expose()).unwrap();
        mixed["d"] = other["d"].clone();
        refused(taken_in(&mixed.to_string(), algorithm), "do not belong together");
    }
}

#[test]
fn a_jwk_is_held_to_what_it_says() {
    let key = made(Algorithm::ES256);
    let jwk = |change: fn(&mut serde_json::Value)| {
        let mut jwk: serde_json::Value = serde_json::from_str(PrivateJwk::write(&key).unwrap().expose()).unwrap();
        change(&mut jwk);
        taken_in(&jwk.to_string(), Algorithm::ES256)
    };
    assert!(jwk(|_| {}).is_ok());
    refused(jwk(|j| j["alg"] = "ES384".into()), "its `alg` is `ES384`");
    refused(jwk(|j| j["use"] = "enc".into()), "`use`");
    refused(jwk(|j| j["x"] = "AA".into()), "x");
    refused(jwk(|j| j["crv"] = "P-384".into()), "P-384 has 48");
    refused(jwk(|j| j["d"] = "!".into()), "`d` is not base64url");
    refused(jwk(|j| j["kid"] = "a b".into()), "`kid`");
    refused(jwk(|j| drop(j.as_object_mut().unwrap().remove("kty"))), "no `kty`");
    refused(taken_in(r#"{"keys":[]}"#, Algorithm::ES256), "no `kty`");
    refused(taken_in("{", Algorithm::ES256), "line 1");
}

#[test]
fn secrets_are_long_enough_and_have_a_name() {
    let good = "0123456789abcdef0123456789abcdef";
    let key = named(&format!("{good}\r\n"), Algorithm::HS256).unwrap();
    assert_eq!((key.secret().unwrap().expose(), key.bits), (good, 256), "a line end is no part of it");
    refused(named(&good[1..], Algorithm::HS256), "31 bytes, and HS256 needs 32");
    refused(named(good, Algorithm::HS384), "needs 48");
    refused(taken_in(good, Algorithm::HS256), "--kid");
    refused(named(&"a".repeat(32), Algorithm::HS256), "over and over");
    refused(named("", Algorithm::HS256), "nothing");
    refused(named(&format!("{good}\n{good}"), Algorithm::HS256), "several lines");
    refused(named(&material("rsa-pkcs1"), Algorithm::HS256), "");
    refused(named("short", Algorithm::ApiKey), "too short");
    assert!(named("sk-alg-0123456789", Algorithm::ApiKey).is_ok());
    // RFC 7515, appendix A.1: its octets are no text.
    let octets = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
    refused(named(octets, Algorithm::HS256), "not text");
    let text = r#"{"kty":"oct","kid":"of-the-jwk","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}"#;
    assert_eq!(taken_in(text, Algorithm::HS256).unwrap().kid.as_str(), "of-the-jwk");
}
