//! What is accepted, and why the rest is not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;
use crate::document::{Active, Facts, Incoming, Retiring, Stage, Tombstone};
use crate::key::{KeyClass, KeySpec, KidFormat, SecretEncoding};
use crate::keygen;
use crate::tokens::signing_key::SigningKey;
use crate::tokens::strict_json;

const SKEW: Span = Span::seconds(60);

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn seconds() -> i64 {
    now().as_millis() / 1000
}

fn key(algorithm: Algorithm) -> Key {
    let spec = KeySpec::Pair { algorithm, rsa_bits: 2048, kid: KidFormat::Thumbprint, certificate: None };
    keygen::generate(&spec, now()).unwrap()
}

/// A document with one key in each slot, all `ES256`: staged, active, retiring.
fn document() -> Document {
    let mut document = Document::empty("test/a".parse().unwrap(), KeyClass::Asymmetric);
    let facts = Facts { token_ttl: Span::hours(1), clock_skew: SKEW, ..Facts::default() };
    document.facts = document.facts.adopting(&facts, now()).unwrap();
    let [staged, active, retiring] = [(), (), ()].map(|()| key(Algorithm::ES256));
    document.active = Some(Active { key: active, since: now(), published_at: now() });
    document.incoming = vec![Incoming { key: staged, stage: Stage::Staged { since: now() } }];
    let at = now();
    document.retiring = vec![Retiring { key: retiring, since: at, published_at: at, activated_at: Some(at), verify_until: at }];
    document
}

fn active(document: &Document) -> &Key {
    &document.active.as_ref().unwrap().key
}

fn expected() -> Expected {
    Expected { profile: Some(Profile::Generic), issuer: Some("https://a".into()), audience: Some(vec!["api".into(), "web".into()]) }
}

fn claims() -> Value {
    json!({"iss": "https://a", "aud": "api", "sub": "ada", "iat": seconds(), "exp": seconds() + 600})
}

fn header(key: &Key) -> Value {
    json!({"alg": key.algorithm, "typ": "JWT", "kid": key.kid})
}

fn signed(key: &Key, header: &Value, claims: &Value) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = URL_SAFE_NO_PAD.encode(SigningKey::of(key).unwrap().sign(input.as_bytes()).unwrap());
    format!("{input}.{signature}")
}

fn code(verdict: &Verdict) -> Option<&'static str> {
    assert_eq!(verdict.is_valid(), verdict.rejection().is_none());
    assert_eq!(verdict.claims().is_some(), verdict.is_valid(), "claims are given out only if they hold");
    verdict.rejection().map(Rejection::code)
}

/// The code for a token whose claim `name` is `value`; of an absent claim if that is null.
fn with_claim(name: &str, value: Value) -> Option<&'static str> {
    let document = document();
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    let token = signed(active(&document), &header(active(&document)), &claims);
    code(&Verifier::of(&document, expected()).verify(&token, now()))
}

#[test]
fn keys_of_every_live_state_are_accepted_and_gone_ones_named() {
    let mut document = document();
    for live in document.live().map(|live| (live.key.clone(), live.state)).collect::<Vec<_>>() {
        let token = signed(&live.0, &header(&live.0), &claims());
        let verifier = Verifier::of(&document, expected());
        let verdict = verifier.verify(&token, now());
        assert_eq!((code(&verdict), verdict.state, verdict.kid), (None, Some(live.1), Some(&live.0.kid)));
        assert_eq!(verdict.checks().count(), 11);
    }
    let gone = document.retiring.pop().unwrap().key;
    let token = signed(&gone, &header(&gone), &claims());
    assert_eq!(code(&Verifier::of(&document, expected()).verify(&token, now())), Some("kid_unknown"));
    let tombstone = |end| Tombstone {
        kid: gone.kid.clone(),
        algorithm: gone.algorithm,
        created_at: now(),
        published_at: None,
        activated_at: None,
        retiring_at: None,
        ended_at: now(),
        end,
    };
    document.tombstones = vec![tombstone(End::Retired)];
    assert_eq!(code(&Verifier::of(&document, expected()).verify(&token, now())), Some("key_retired"));
    document.tombstones = vec![tombstone(End::Revoked { reason: "leaked".into(), confirmed_at: None })];
    assert_eq!(code(&Verifier::of(&document, expected()).verify(&token, now())), Some("key_revoked"));
    document.tombstones.clear();
    document.spent_kids.insert(Digest::of(gone.kid.as_str().as_bytes()));
    assert_eq!(code(&Verifier::of(&document, expected()).verify(&token, now())), Some("key_revoked"), "remembered for ever");
}

#[test]
fn the_key_says_which_algorithm_it_is() {
    let document = document();
    let key = active(&document);
    let verifier = Verifier::of(&document, expected());
    for alg in ["ES384", "HS256", "RS256", "EdDSA"] {
        let mut header = header(key);
        header["alg"] = alg.into();
        let token = signed(key, &header, &claims());
        let verdict = verifier.verify(&token, now());
        assert_eq!(code(&verdict), Some("alg_mismatch"), "{alg}");
        assert!(verdict.checks().any(|check| check.name == CheckName::Signature && check.outcome == Outcome::NotMade));
    }
    // The public key as an HMAC secret: the oldest trick of all.
    let mut other = header(key);
    other["alg"] = "HS256".into();
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(other.to_string()), URL_SAFE_NO_PAD.encode(claims().to_string()));
    let pem = key.public_jwk().unwrap().numbers.to_spki_pem().unwrap();
    let tag = keygen::hmac_tag(Algorithm::HS256, pem.as_bytes(), input.as_bytes()).unwrap();
    let forged = format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag));
    assert_eq!(code(&verifier.verify(&forged, now())), Some("alg_mismatch"));
}

#[test]
fn a_signature_is_over_exactly_what_was_sent_by_exactly_that_key() {
    let document = document();
    let verifier = Verifier::of(&document, expected());
    let (key, other) = (active(&document), &document.retiring[0].key);
    assert_eq!(code(&verifier.verify(&signed(other, &header(key), &claims()), now())), Some("signature"));
    let token = signed(key, &header(key), &claims());
    let (front, signature) = token.rsplit_once('.').unwrap();
    let mut bent = URL_SAFE_NO_PAD.decode(signature).unwrap();
    bent[3] ^= 1;
    assert_eq!(code(&verifier.verify(&format!("{front}.{}", URL_SAFE_NO_PAD.encode(bent)), now())), Some("signature"));
    let mut raised = claims();
    raised["sub"] = "root".into();
    let payload = URL_SAFE_NO_PAD.encode(raised.to_string());
    let swapped = format!("{}.{payload}.{signature}", front.split_once('.').unwrap().0);
    assert_eq!(code(&verifier.verify(&swapped, now())), Some("signature"));
    let mut nameless = header(key);
    nameless.as_object_mut().unwrap().remove("kid");
    assert_eq!(code(&verifier.verify(&signed(key, &nameless, &claims()), now())), Some("kid_missing"));
    assert_eq!(code(&verifier.verify("a.b", now())), Some("parts"));
}

/// The beginning that keyrota itself would write is verified by a shorter way.
#[test]
fn however_a_token_begins_every_character_of_it_counts() {
    let spec = KeySpec::Hmac {
        algorithm: Algorithm::HS256,
        bytes: 32,
        prefix: String::new(),
        encoding: SecretEncoding::Hex,
        kid: KidFormat::Uuid,
    };
    for (class, key) in [(KeyClass::Hmac, keygen::generate(&spec, now()).unwrap()), (KeyClass::Asymmetric, key(Algorithm::ES256))] {
        let mut document = Document::empty("test/a".parse().unwrap(), class);
        document.active = Some(Active { key, since: now(), published_at: now() });
        let key = active(&document);
        let issuer = format!("https://{}.example.com", "a".repeat(60));
        let verifier = Verifier::of(&document, Expected { issuer: Some(issuer.clone()), ..expected() });
        let headers = [format!(r#"{{"alg":"{}","typ":"JWT","kid":"{}"}}"#, key.algorithm, key.kid), header(key).to_string()];
        let (at, rest) = (seconds(), r#""aud":"api","sub":"ada""#);
        let payloads = [
            format!(r#"{{"iss":"{issuer}",{rest},"iat":{at},"exp":{}}}"#, at + 600),
            format!(r#"{{{rest},"iat":{at},"exp":{},"iss":"{issuer}"}}"#, at + 600),
            format!(r#"{{"iss":"{issuer}", {rest},"iat":{at},"exp":{}}}"#, at + 600),
        ];
        for (header, payload) in headers.iter().flat_map(|header| payloads.iter().map(move |payload| (header, payload))) {
            let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
            let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(SigningKey::of(key).unwrap().sign(input.as_bytes()).unwrap()));
            let verdict = verifier.verify(&token, now());
            assert_eq!((code(&verdict), verdict.kid, verdict.algorithm), (None, Some(&key.kid), Some(key.algorithm)), "{header} {payload}");
            assert_eq!(verdict.claims().unwrap(), strict_json::object(payload.as_bytes()).unwrap());
            for place in 0..token.len() {
                let other = if &token[place..=place] == "A" { "B" } else { "A" };
                let changed = format!("{}{other}{}", &token[..place], &token[place + 1..]);
                assert!(!verifier.verify(&changed, now()).is_valid(), "{place}: {changed}");
            }
        }
    }
}

#[test]
fn times_are_judged_to_the_second_with_the_skew_of_the_facts() {
    let at = |offset: i64| json!(seconds() + offset);
    assert_eq!(with_claim("exp", at(-59)), None);
    assert_eq!(with_claim("exp", at(-60)), Some("expired"), "on or after the time (RFC 7519 §4.1.4)");
    assert_eq!(with_claim("exp", json!(0.5)), Some("expired"));
    assert_eq!(with_claim("exp", json!(i64::MAX)), None);
    for bad in [json!("9999999999"), json!([1]), json!(true), Value::Null] {
        assert_eq!(with_claim("exp", bad.clone()), Some("claim"), "{bad}");
    }
    assert_eq!(with_claim("nbf", at(60)), None);
    assert_eq!(with_claim("nbf", at(61)), Some("not_yet_valid"));
    assert_eq!(with_claim("nbf", json!("soon")), Some("claim"));
    assert_eq!(with_claim("iat", at(60)), None);
    assert_eq!(with_claim("iat", at(61)), Some("issued_in_future"));
    assert_eq!(with_claim("iat", Value::Null), Some("claim"));
}

#[test]
fn issuer_and_audience_are_exclusive() {
    for bad in [json!("https://a/"), json!("HTTPS://A"), json!(["https://a"]), json!(7), Value::Null] {
        assert_eq!(with_claim("iss", bad.clone()), Some("iss"), "{bad}");
    }
    for good in [json!("web"), json!(["api"]), json!(["other", "web"])] {
        assert_eq!(with_claim("aud", good.clone()), None, "{good}");
    }
    for bad in [json!("other"), json!([]), json!(["other"]), json!(["api", 7]), json!({"api": 1}), Value::Null] {
        assert_eq!(with_claim("aud", bad.clone()), Some("aud"), "{bad}");
    }
    let document = document();
    let token = signed(active(&document), &header(active(&document)), &claims());
    let nobody = Expected { audience: Some(Vec::new()), ..expected() };
    assert_eq!(code(&Verifier::of(&document, nobody).verify(&token, now())), Some("aud"), "it names somebody, and nobody is expected");
    let verifier = Verifier::of(&document, Expected::default());
    let any = verifier.verify(&token, now());
    let not_made = any.checks().filter(|check| check.outcome == Outcome::NotMade).count();
    assert_eq!((code(&any), not_made), (None, 4), "what nobody stated is not said to have passed");
}

#[test]
fn a_token_for_one_purpose_is_not_taken_for_another() {
    let document = document();
    let key = active(&document);
    let judged = |profile: Option<Profile>, typ: Value, more: Value| {
        let (mut header, mut claims) = (header(key), claims());
        header["typ"] = typ;
        if header["typ"].is_null() {
            header.as_object_mut().unwrap().remove("typ");
        }
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        code(&Verifier::of(&document, Expected { profile, ..expected() }).verify(&signed(key, &header, &claims), now()))
    };
    let access = json!({"client_id": "web", "jti": "1"});
    for typ in [json!("at+jwt"), json!("AT+JWT"), json!("application/at+jwt"), json!("Application/at+JWT")] {
        assert_eq!(judged(Some(Profile::AtJwt), typ.clone(), access.clone()), None, "{typ}");
        assert_eq!(judged(Some(Profile::Generic), typ.clone(), json!({})), Some("typ"), "{typ}");
    }
    for typ in [json!("JWT"), Value::Null, json!("application/x"), json!("dpop+jwt")] {
        assert_eq!(judged(Some(Profile::AtJwt), typ.clone(), access.clone()), Some("typ"), "{typ}");
    }
    for missing in ["client_id", "jti"] {
        let mut less = access.clone();
        less.as_object_mut().unwrap().remove(missing);
        assert_eq!(judged(Some(Profile::AtJwt), json!("at+jwt"), less), Some("claim"), "{missing}");
    }
    assert_eq!(judged(Some(Profile::Generic), Value::Null, json!({})), None, "signers who write no typ");
    assert_eq!(judged(Some(Profile::Amigo), Value::Null, json!({})), Some("typ"));
    assert_eq!(judged(None, json!("dpop+jwt"), json!({})), Some("typ"), "a proof is never a token");
    let day = |life: i64| json!({"exp": seconds() + life});
    assert_eq!(judged(Some(Profile::InkeepAgents), json!("JWT"), day(86_400)), None);
    assert_eq!(judged(Some(Profile::InkeepAgents), json!("JWT"), day(86_401)), Some("too_long_lived"));
    let inkeep = Some(Profile::Inkeep { integration_id: "a".into() });
    assert_eq!(judged(inkeep.clone(), json!("JWT"), json!({"integrationId": "a"})), None);
    assert_eq!(judged(inkeep, json!("JWT"), json!({"integrationId": "b"})), Some("claim"));
}

#[test]
fn key_sets_from_elsewhere_verify_too() {
    let document = document();
    let set = serde_json::to_vec(&document.jwks()).unwrap();
    let keys = crate::tokens::key_set::read(&set).unwrap();
    assert_eq!((keys.keys.len(), keys.unusable.len()), (3, 0));
    let verifier = Verifier::of_key_set(keys.keys, Expected::default(), SKEW);
    let token = signed(active(&document), &header(active(&document)), &claims());
    let verdict = verifier.verify(&token, now());
    assert_eq!((code(&verdict), verdict.state), (None, None));
    assert_eq!(crate::tokens::second_opinion::of(&verifier, &token), Some(Ok(())));
    let forged = signed(&document.retiring[0].key, &header(active(&document)), &claims());
    assert!(matches!(crate::tokens::second_opinion::of(&verifier, &forged), Some(Err(_))));
}

#[test]
fn no_other_text_means_the_same() {
    let document = document();
    let verifier = Verifier::of(&document, expected());
    let token = signed(active(&document), &header(active(&document)), &claims());
    assert!(verifier.verify(&token, now()).is_valid());
    for at in 0..token.len() {
        for other in ['A', 'B', '_', '.', '=', ' ', '\u{e9}'] {
            let bent: String = token.char_indices().map(|(n, c)| if n == at { other } else { c }).collect();
            assert!(bent == token || !verifier.verify(&bent, now()).is_valid(), "{other:?} at {at}");
        }
        assert!(!verifier.verify(&token[..at], now()).is_valid(), "cut at {at}");
    }
}
