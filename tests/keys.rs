//! Every kind of key that is generated, seen from outside: by jsonwebtoken, through the published JSON; and what is refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::FutureExt as _;
use keyrota::digest::Digest;
use keyrota::jwk::{EcCurve, JwkSet, NumbersError, PublicNumbers};
use keyrota::key::{Algorithm, CertificateSpec, Key, KeyClass, KeySpec, KidFormat, Material, Origin, SecretEncoding};
use keyrota::keygen::{self, KeyForge, KeyPair, KeySource as _, KeygenError, Refusal, api_key, generate, inspect};
use keyrota::secret::SecretText;
use keyrota::time::{Span, Timestamp};

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn pair(algorithm: Algorithm, rsa_bits: u16) -> KeySpec {
    KeySpec::Pair { algorithm, rsa_bits, kid: KidFormat::Thumbprint, certificate: None }
}

fn hmac(algorithm: Algorithm, bytes: u16, encoding: SecretEncoding) -> KeySpec {
    KeySpec::Hmac { algorithm, bytes, prefix: "sk-".to_owned(), encoding, kid: KidFormat::Uuid }
}

fn every_spec() -> Vec<KeySpec> {
    let mut specs = vec![KeySpec::ApiKey { prefix: "demo_".to_owned(), kid: KidFormat::Uuid }];
    for algorithm in Algorithm::ALL {
        match algorithm.class() {
            KeyClass::Asymmetric => specs.push(pair(algorithm, 2048)),
            KeyClass::Hmac => {
                for encoding in [SecretEncoding::Base64url, SecretEncoding::Hex, SecretEncoding::Base62] {
                    specs.push(hmac(algorithm, algorithm.least_hmac_bytes(), encoding));
                }
            }
            KeyClass::ApiKey => {}
        }
    }
    specs.extend([pair(Algorithm::RS256, 3072), pair(Algorithm::PS512, 4096)]);
    specs
}

fn secret(key: &Key) -> &str {
    key.secret().unwrap().expose()
}

/// Signs as an application would, and verifies as another one would that has nothing but the published JSON.
fn token_round_trip(key: &Key) {
    let algorithm = key.algorithm;
    let published = serde_json::to_string(key.public_jwk().unwrap()).unwrap();
    if algorithm == Algorithm::ES512 {
        // jsonwebtoken has no ES512.
        let signature = KeyPair::from_pkcs8_pem(key.secret().unwrap(), algorithm).unwrap().sign(b"a.b").unwrap();
        let read: keyrota::jwk::PublicJwk = serde_json::from_str(&published).unwrap();
        assert_eq!(signature.len(), 132);
        assert!(read.numbers.verifies(algorithm, b"a.b", &signature));
        return;
    }
    let pem = secret(key).as_bytes();
    let signing = match EcCurve::of(algorithm) {
        Some(_) => jsonwebtoken::EncodingKey::from_ec_pem(pem),
        None if algorithm.is_rsa() => jsonwebtoken::EncodingKey::from_rsa_pem(pem),
        None => jsonwebtoken::EncodingKey::from_ed_pem(pem),
    };
    let mut header = jsonwebtoken::Header::new(algorithm.as_str().parse().unwrap());
    header.kid = Some(key.kid.to_string());
    let claims = serde_json::json!({"sub": "somebody", "exp": 4_000_000_000u64});
    let token = jsonwebtoken::encode(&header, &claims, &signing.unwrap()).unwrap();

    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_str(&published).unwrap();
    assert_eq!(jwk.common.key_id.as_deref(), Some(key.kid.as_str()));
    let verifying = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
    let rules = jsonwebtoken::Validation::new(header.alg);
    let read = jsonwebtoken::decode::<serde_json::Value>(&token, &verifying, &rules).unwrap();
    assert_eq!(read.claims, claims);
    // And the public PEM says the same as the JWK.
    let pem = key.public_jwk().unwrap().numbers.to_spki_pem().unwrap();
    let verifying = match EcCurve::of(algorithm) {
        Some(_) => jsonwebtoken::DecodingKey::from_ec_pem(pem.as_bytes()),
        None if algorithm.is_rsa() => jsonwebtoken::DecodingKey::from_rsa_pem(pem.as_bytes()),
        None => jsonwebtoken::DecodingKey::from_ed_pem(pem.as_bytes()),
    };
    assert!(jsonwebtoken::decode::<serde_json::Value>(&token, &verifying.unwrap(), &rules).is_ok());
}

#[test]
fn every_kind_generates_signs_and_verifies() {
    for spec in every_spec() {
        let key = generate(&spec, now()).unwrap();
        assert!(spec.fits(&key), "{key:?}");
        assert_eq!((key.created_at, key.origin, key.expires_at), (now(), Origin::Generated, None));
        match &key.material {
            Material::Pair { public, private } => {
                token_round_trip(&key);
                let inspected = inspect(private.as_ref().unwrap(), key.algorithm).unwrap();
                assert_eq!(inspected, (public.numbers.clone(), key.bits));
                assert_eq!(key.kid.as_str(), public.numbers.thumbprint().to_string());
            }
            Material::Hmac { secret } => {
                assert!(secret.expose().starts_with("sk-") && secret.expose().len() >= usize::from(key.algorithm.least_hmac_bytes()));
                let signing = jsonwebtoken::EncodingKey::from_secret(secret.expose().as_bytes());
                let header = jsonwebtoken::Header::new(key.algorithm.as_str().parse().unwrap());
                let token = jsonwebtoken::encode(&header, &serde_json::json!({}), &signing).unwrap();
                let (message, tag) = token.rsplit_once('.').unwrap();
                let ours = keygen::hmac_tag(key.algorithm, secret.expose().as_bytes(), message.as_bytes()).unwrap();
                assert_eq!(tag, URL_SAFE_NO_PAD.encode(ours));
            }
            Material::ApiKey { secret, digest } => {
                let text = secret.as_ref().unwrap().expose();
                assert!(api_key::checksum_holds(text));
                assert_eq!(*digest, Digest::of(text.as_bytes()));
            }
        }
    }
}

#[test]
fn sizes_are_as_documented() {
    for (spec, bits) in [
        (pair(Algorithm::RS256, 2048), 2048),
        (pair(Algorithm::ES256, 0), 256),
        (pair(Algorithm::ES384, 0), 384),
        (pair(Algorithm::ES512, 0), 521),
        (pair(Algorithm::EdDsa, 0), 256),
        (hmac(Algorithm::HS384, 64, SecretEncoding::Hex), 512),
        (KeySpec::ApiKey { prefix: String::new(), kid: KidFormat::Uuid }, 256),
    ] {
        assert_eq!(generate(&spec, now()).unwrap().bits, bits);
    }
    let length = |encoding| secret(&generate(&hmac(Algorithm::HS256, 32, encoding), now()).unwrap()).len() - "sk-".len();
    assert_eq!([SecretEncoding::Base64url, SecretEncoding::Hex, SecretEncoding::Base62].map(length), [43, 64, 43]);
}

#[test]
fn coordinates_keep_their_leading_zeros() {
    // One in 128 P-256 keys has a zero octet in front of a coordinate; of P-521 the first octet is 0 or 1, so half of them do.
    for (algorithm, length, rounds) in [(Algorithm::ES256, 43, 300), (Algorithm::ES384, 64, 30), (Algorithm::ES512, 88, 30)] {
        for _ in 0..rounds {
            let key = generate(&pair(algorithm, 0), now()).unwrap();
            let PublicNumbers::Ec { x, y, .. } = &key.public_jwk().unwrap().numbers else { panic!("no EC key") };
            assert_eq!((x.len(), y.len()), (length, length));
        }
    }
    // Short coordinates are refused, and a point moved off its curve too.
    let key = generate(&pair(Algorithm::ES256, 0), now()).unwrap();
    let PublicNumbers::Ec { crv, x, y } = key.public_jwk().unwrap().numbers.clone() else { panic!("no EC key") };
    let short: Box<str> = URL_SAFE_NO_PAD.encode(&URL_SAFE_NO_PAD.decode(&*x).unwrap()[1..]).into();
    assert!(matches!(PublicNumbers::Ec { crv, x: short, y: y.clone() }.check(), Err(NumbersError::Length { is: 31, must: 32, .. })));
    let off = PublicNumbers::Ec { crv, x: y, y: x };
    assert_eq!(off.check(), Err(NumbersError::NotOnCurve("P-256")));
}

#[test]
fn kids_are_made_as_asked() {
    let kid = |format: KidFormat| {
        let spec = KeySpec::Pair { algorithm: Algorithm::EdDsa, rsa_bits: 0, kid: format, certificate: None };
        generate(&spec, now()).map(|key| key.kid.to_string())
    };
    let text = kid(KidFormat::Prefix("prod-".to_owned())).unwrap();
    let uuid: uuid::Uuid = text.strip_prefix("prod-").unwrap().parse().unwrap();
    assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
    let (seconds, nanos) = uuid.get_timestamp().unwrap().to_unix();
    assert_eq!(seconds * 1000 + u64::from(nanos) / 1_000_000, now().as_millis().cast_unsigned());
    let many: BTreeSet<_> = (0..100).map(|_| kid(KidFormat::Uuid).unwrap()).collect();
    assert_eq!(many.len(), 100, "random within one millisecond");
    assert!(matches!(kid(KidFormat::Prefix("a b".to_owned())), Err(KeygenError::Kid(_))));
    let secret = KeySpec::ApiKey { prefix: String::new(), kid: KidFormat::Thumbprint };
    assert_eq!(generate(&secret, now()).unwrap_err(), KeygenError::ThumbprintOfSecret);
}

#[test]
fn certificates_bear_the_published_key() {
    for algorithm in [Algorithm::RS256, Algorithm::PS384, Algorithm::ES256, Algorithm::ES384, Algorithm::ES512, Algorithm::EdDsa] {
        let certificate = Some(CertificateSpec { common_name: "inkeep agents".to_owned(), validity: Span::days(90) });
        let spec = KeySpec::Pair { algorithm, rsa_bits: 2048, kid: KidFormat::Thumbprint, certificate };
        let key = generate(&spec, now()).unwrap();
        let public = key.public_jwk().unwrap();
        let der = STANDARD.decode(&*public.x5c.as_ref().unwrap()[0]).unwrap();
        assert_eq!(public.x5t_s256, Some(Digest::of(&der)));
        let holds = |part: &[u8]| der.windows(part.len()).any(|window| window == part);
        assert!(holds(&public.numbers.to_spki_der().unwrap()), "{algorithm}");
        assert!(holds(b"inkeep agents") && holds(b"260301120000Z") && holds(b"260530120000Z"), "{algorithm}");
        token_round_trip(&key);
    }
}

#[test]
fn no_secret_reaches_a_key_set_or_a_debug_text() {
    for spec in every_spec() {
        let key = generate(&spec, now()).unwrap();
        let set = JwkSet { keys: key.public_jwk().into_iter().collect() };
        let set = serde_json::to_value(set).unwrap();
        for jwk in set["keys"].as_array().unwrap() {
            for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
                assert!(jwk.get(member).is_none(), "{member} in {jwk}");
            }
        }
        // No eight characters in a row of the secret stand in what may be logged. PEM's own frame is no secret.
        let shown = format!("{key:?} {key:#?}");
        let body: String = secret(&key).lines().filter(|line| !line.starts_with("-----")).collect();
        assert!(body.as_bytes().windows(8).all(|part| !shown.contains(std::str::from_utf8(part).unwrap())), "{shown}");
    }
}

#[test]
fn impossible_orders_are_refused() {
    let refused = |spec: KeySpec| generate(&spec, now()).unwrap_err();
    assert_eq!(refused(pair(Algorithm::RS256, 1024)), KeygenError::RsaSize(1024));
    assert_eq!(refused(pair(Algorithm::HS256, 2048)), KeygenError::WrongClass(Algorithm::HS256));
    assert_eq!(refused(hmac(Algorithm::ES256, 64, SecretEncoding::Hex)), KeygenError::WrongClass(Algorithm::ES256));
    let short = KeygenError::HmacSize { algorithm: Algorithm::HS512, bytes: 63, least: 64 };
    assert_eq!(refused(hmac(Algorithm::HS512, 63, SecretEncoding::Hex)), short);
    let prefix = "line\nbreak".to_owned();
    assert_eq!(refused(KeySpec::ApiKey { prefix: prefix.clone(), kid: KidFormat::Uuid }), KeygenError::Prefix(prefix));
}

#[test]
fn a_damaged_key_fails_the_check() {
    let spec = pair(Algorithm::ES256, 0);
    let (good, other) = (generate(&spec, now()).unwrap(), generate(&spec, now()).unwrap());
    assert_eq!(keygen::check(&good, &spec), Ok(()));
    let mixed = Key { material: other.material.clone(), ..good.clone() };
    assert!(matches!(keygen::check(&mixed, &spec), Err(KeygenError::SelfCheck { what: "the kid is not the thumbprint", .. })));
    let Material::Pair { public, .. } = good.material.clone() else { panic!("no pair") };
    let material = Material::Pair { public, private: other.secret().cloned() };
    let halves = Key { material, ..good.clone() };
    assert!(matches!(keygen::check(&halves, &spec), Err(KeygenError::SelfCheck { what: "the published half does not verify", .. })));
    assert!(matches!(keygen::check(&good.erased(), &spec), Err(KeygenError::SelfCheck { .. })));
}

fn material(name: &str) -> SecretText {
    let path = format!("{}/tests/material/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    SecretText::new(std::fs::read_to_string(path).unwrap())
}

#[test]
fn weak_and_foreign_material_is_refused_with_the_reason() {
    for (name, algorithm, part) in [
        ("rsa-1024", Algorithm::RS256, "1024 bits"),
        ("rsa-exponent-3", Algorithm::RS256, "exponent is 3"),
        ("rsa-pkcs1", Algorithm::RS256, "PKCS#1; convert it with `openssl pkcs8 -topk8"),
        ("rsa-pss", Algorithm::PS256, "restricted to RSASSA-PSS"),
        ("ec-sec1", Algorithm::ES256, "SEC 1; convert it"),
        ("ec-secp256k1", Algorithm::ES256, "an EC key on curve 1.3.132.0.10"),
        ("x25519", Algorithm::EdDsa, "X25519"),
        ("encrypted", Algorithm::EdDsa, "decrypt it"),
    ] {
        let refusal = inspect(&material(name), algorithm).unwrap_err();
        assert!(matches!(refusal, KeygenError::Refused(_)), "{name}: {refusal}");
        let text = refusal.to_string();
        assert!(text.contains(part) && text.contains("hint: "), "{name}: {text}");
    }
    let p384 = generate(&pair(Algorithm::ES384, 0), now()).unwrap();
    let refusal = inspect(p384.secret().unwrap(), Algorithm::ES256).unwrap_err().to_string();
    assert!(refusal.starts_with("ES256 signs with an EC key on P-256, and this is an EC key on P-384"), "{refusal}");
    for text in ["", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"] {
        let refusal = inspect(&SecretText::new(text.to_owned()), Algorithm::ES256).unwrap_err();
        assert!(matches!(refusal, KeygenError::Refused(Refusal::NotPem | Refusal::NotPkcs8)), "{refusal}");
    }
    let secret = SecretText::new("secret".to_owned());
    assert_eq!(inspect(&secret, Algorithm::HS256).unwrap_err(), KeygenError::Refused(Refusal::NotPem));
}

/// The DER of a stored private half.
fn der(key: &Key) -> Vec<u8> {
    let body: String = secret(key).lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).unwrap()
}

fn pem(der: &[u8]) -> SecretText {
    let body = STANDARD.encode(der);
    let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    SecretText::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")))
}

#[test]
fn halves_of_two_keys_are_refused() {
    // Of EC, the public point is the last part of the structure; of RSA, the modulus begins after 11 + 26 octets of frame.
    let two = |algorithm| [0, 1].map(|_| der(&generate(&pair(algorithm, 2048), now()).unwrap()));
    let [one, other] = two(Algorithm::ES256);
    let mixed = [&one[..one.len() - 65], &other[other.len() - 65..]].concat();
    assert!(inspect(&pem(&one), Algorithm::ES256).is_ok());
    assert_eq!(inspect(&pem(&mixed), Algorithm::ES256), Err(Refusal::Inconsistent(Algorithm::ES256).into()));

    let [one, other] = two(Algorithm::RS256);
    let modulus = 38..38 + 256;
    let mut mixed = one.clone();
    mixed[modulus.clone()].copy_from_slice(&other[modulus]);
    assert!(inspect(&pem(&one), Algorithm::RS256).is_ok());
    assert_eq!(inspect(&pem(&mixed), Algorithm::RS256), Err(Refusal::Inconsistent(Algorithm::RS256).into()));
}

#[tokio::test]
async fn the_forge_answers_in_order_and_survives_refusals() {
    let forge = KeyForge::with_threads(NonZeroUsize::new(3).unwrap()).unwrap();
    let mut specs = every_spec();
    specs.retain(|spec| !spec.algorithm().is_rsa());
    specs.insert(1, pair(Algorithm::RS256, 1024));
    let keys = forge.generate_many(&specs, now()).await;
    assert_eq!(keys.len(), specs.len());
    for (spec, key) in specs.iter().zip(keys) {
        match key {
            Ok(key) => assert!(spec.fits(&key)),
            Err(refusal) => assert_eq!((refusal, spec.bits()), (KeygenError::RsaSize(1024), Some(1024))),
        }
    }
    // Orders that are placed and then abandoned cost later ones nothing but their turn.
    for _ in 0..100 {
        drop(forge.generate(&specs[0], now()).now_or_never());
    }
    assert!(forge.generate(&specs[0], now()).await.is_ok());
}
