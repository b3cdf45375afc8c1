//! What is told, and what is refused.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::document::{Active, Facts};
use crate::key::{KeySpec, KidFormat, SecretEncoding};
use crate::keygen;
use crate::policy::Profile;
use crate::tokens::verify::{Expected, Verifier};

const NOW: &str = "2026-03-01T12:00:00.750Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn pair(algorithm: Algorithm) -> KeySpec {
    KeySpec::Pair { algorithm, rsa_bits: 2048, kid: KidFormat::Thumbprint, certificate: None }
}

fn hmac(algorithm: Algorithm) -> KeySpec {
    let bytes = algorithm.least_hmac_bytes();
    KeySpec::Hmac { algorithm, bytes, prefix: "sk-alg-".into(), encoding: SecretEncoding::Base62, kid: KidFormat::Uuid }
}

fn document(spec: &KeySpec, token_ttl: Span) -> Document {
    let mut document = Document::empty("test/a".parse().unwrap(), spec.class());
    let facts = Facts { token_ttl, clock_skew: Span::seconds(60), ..Facts::default() };
    document.facts = document.facts.adopting(&facts, now()).unwrap();
    let key = keygen::generate(spec, now()).unwrap();
    document.active = Some(Active { key, since: now(), published_at: now() });
    document
}

fn policy(profile: Profile) -> TokenPolicy {
    let name = profile.name();
    let stated = |is: bool, text: &str| is.then(|| text.to_owned());
    TokenPolicy {
        issuer: stated(!name.is_closed(), "https://auth.example.com"),
        audience: stated(!name.is_closed(), "api").into_iter().collect(),
        default_ttl: Span::minutes(30),
        claims: std::collections::BTreeMap::default(),
        serving: None,
        refresh: None,
        profile,
    }
}

#[test]
fn codes_are_distinct_and_documented() {
    let page = include_str!("../../../docs/tokens.md");
    for code in MintError::CODES {
        assert!(page.contains(&format!("`{code}`")), "{code}");
        assert_eq!(MintError::CODES.iter().filter(|other| **other == code).count(), 1, "{code}");
    }
}

fn asked(claims: Value) -> MintRequest {
    let Value::Object(claims) = claims else { panic!("an object") };
    MintRequest { subject: Some("ada".into()), claims, ..MintRequest::default() }
}

fn parts(told: &Minted) -> (String, String) {
    let parts: Vec<_> = told.token.expose().split('.').map(|part| URL_SAFE_NO_PAD.decode_to_vec(part).unwrap()).collect();
    assert_eq!(parts.len(), 3);
    (String::from_utf8(parts[0].clone()).unwrap(), String::from_utf8(parts[1].clone()).unwrap())
}

#[test]
fn every_profile_with_every_algorithm_that_fits_verifies_and_says_what_it_must() {
    let profiles = [
        Profile::Generic,
        Profile::AtJwt,
        Profile::Algolia,
        Profile::Inkeep { integration_id: "int_1".into() },
        Profile::InkeepAgents,
        Profile::Amigo,
        Profile::Hyperspell,
    ];
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| *algorithm != Algorithm::ApiKey) {
        let spec = if algorithm.least_hmac_bytes() > 0 { hmac(algorithm) } else { pair(algorithm) };
        let document = document(&spec, Span::hours(1));
        for profile in &profiles {
            let policy = policy(profile.clone());
            let minter = Minter::new(&document, Some(&policy), Span::hours(1));
            if !profile.name().fits(algorithm) {
                assert!(matches!(minter.err(), Some(MintError::Algorithm { .. })), "{algorithm} {profile:?}");
                continue;
            }
            let claims = if *profile == Profile::AtJwt { json!({"client_id": "web", "scope": "read"}) } else { json!({}) };
            let told = minter.unwrap().mint(&asked(claims), now()).unwrap();
            let verifier = Verifier::of(&document, Expected::by(&policy));
            let verdict = verifier.verify(told.token.expose(), now() + Span::minutes(29));
            assert!(verdict.is_valid(), "{algorithm} {profile:?}: {:?}", verdict.rejection());
            let second = crate::tokens::second_opinion::of(&verifier, told.token.expose());
            assert_eq!(second, (algorithm != Algorithm::ES512).then_some(Ok(())), "{algorithm} {profile:?}");
            let late = verifier.verify(told.token.expose(), told.expires_at + Span::seconds(60));
            assert_eq!(late.rejection().map(super::super::rejection::Rejection::code), Some("expired"));
        }
    }
}

#[test]
fn algolias_tokens_have_exactly_their_members_in_their_order() {
    let document = document(&hmac(Algorithm::HS256), Span::hours(24));
    let key = &document.active.as_ref().unwrap().key;
    let minter = Minter::new(&document, Some(&policy(Profile::Algolia)), Span::hours(24)).unwrap();
    let request = MintRequest { subject: Some("zoë".into()), ttl: Some(Span::hours(24)), ..MintRequest::default() };
    let told = minter.mint(&request, now()).unwrap();
    let exp = now().as_millis() / 1000 + 24 * 3600;
    let header = format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{}"}}"#, key.kid);
    assert_eq!(parts(&told), (header, format!(r#"{{"sub":"zo\u00eb","exp":{exp}}}"#)));
    let (signed, signature) = told.token.expose().rsplit_once('.').unwrap();
    let tag = keygen::hmac_tag(Algorithm::HS256, key.secret().unwrap().expose().as_bytes(), signed.as_bytes()).unwrap();
    assert_eq!(signature, URL_SAFE_NO_PAD.encode_to_string(tag), "the key is the whole text, prefix included");
    let more = MintRequest { claims: json!({"plan": "pro"}).as_object().unwrap().clone(), ..request };
    assert!(matches!(minter.mint(&more, now()), Err(MintError::Owned { .. })));
}

#[test]
fn inkeeps_tokens_name_their_integration_and_may_be_about_nobody() {
    let document = document(&pair(Algorithm::RS256), Span::hours(24));
    let policy = policy(Profile::Inkeep { integration_id: "int_1".into() });
    let minter = Minter::new(&document, Some(&policy), Span::hours(24)).unwrap();
    let claims = json!({"filters": {"attributes": {"$and": [{"team": "a"}]}}, "userAttributes": {"plan": "pro"}});
    let request = MintRequest { subject: None, ..asked(claims) };
    let iat = now().as_millis() / 1000;
    let payload = format!(
        concat!(
            r#"{{"iss":"https://auth.example.com","aud":"api","integrationId":"int_1","iat":{},"exp":{},"#,
            r#""filters":{{"attributes":{{"$and":[{{"team":"a"}}]}}}},"userAttributes":{{"plan":"pro"}}}}"#
        ),
        iat,
        iat + 1800
    );
    assert_eq!(parts(&minter.mint(&request, now()).unwrap()).1, payload);
    for bad in [json!({"filters": []}), json!({"filters": {"other": 1}}), json!({"userAttributes": "pro"}), json!({"integrationId": "x"})] {
        assert!(minter.mint(&asked(bad.clone()), now()).is_err(), "{bad}");
    }
}

#[test]
fn no_token_outlives_what_policy_and_document_say() {
    let spec = pair(Algorithm::EdDsa);
    // The document is behind a policy that was raised, and the other way round.
    for (held, stated) in [(Span::hours(1), Span::hours(3)), (Span::hours(3), Span::hours(1))] {
        let document = document(&spec, held);
        let minter = Minter::new(&document, Some(&policy(Profile::Generic)), stated).unwrap();
        let ask = |ttl| minter.mint(&MintRequest { ttl: Some(ttl), ..asked(json!({})) }, now());
        assert_eq!(minter.longest(now()), Span::hours(1));
        assert!(ask(Span::hours(1)).is_ok());
        let error = ask(Span::hours(1) + Span::seconds(1)).err().unwrap().to_string();
        assert!(error.contains(&stated.to_string()) && error.contains(&held.to_string()) && error.contains("1h1s"), "{error}");
        assert_eq!(ask(Span::millis(999)).err(), Some(MintError::TooShortLived(Span::millis(999))));
        let told = ask(Span::millis(1999)).unwrap();
        assert_eq!(told.expires_at.as_millis(), now().as_millis() / 1000 * 1000 + 1000, "a part of a second is not lived");
    }
    let minter = Minter::new(&document(&spec, Span::days(3)), Some(&policy(Profile::InkeepAgents)), Span::days(3)).unwrap();
    let day = Span::hours(24);
    assert!(minter.mint(&MintRequest { ttl: Some(day), ..asked(json!({})) }, now()).is_ok());
    let error = minter.mint(&MintRequest { ttl: Some(day + Span::seconds(1)), ..asked(json!({})) }, now()).err();
    assert!(matches!(error, Some(MintError::ProfileLongest { .. })), "{error:?}");
}

#[test]
fn the_policys_default_is_cut_to_what_the_document_holds() {
    let document = document(&pair(Algorithm::ES256), Span::minutes(10));
    let minter = Minter::new(&document, Some(&policy(Profile::Generic)), Span::hours(1)).unwrap();
    let told = minter.mint(&asked(json!({})), now()).unwrap();
    assert_eq!(told.expires_at.since(now()), Span::minutes(10).saturating_sub(Span::millis(750)));
}

#[test]
fn what_belongs_to_the_profile_or_the_policy_cannot_be_asked_for() {
    let document = document(&pair(Algorithm::ES256), Span::hours(1));
    let mut policy = policy(Profile::AtJwt);
    policy.claims.insert("client_id".into(), json!("web"));
    let minter = Minter::new(&document, Some(&policy), Span::hours(1)).unwrap();
    let error = |claims: Value| minter.mint(&asked(claims), now()).err();
    assert_eq!(error(json!({"plan": 1})), None);
    assert_eq!(error(json!({"client_id": "other"})), Some(MintError::Template("client_id".into())));
    for owned in ["iss", "aud", "sub", "iat", "exp", "jti", "cnf"] {
        assert!(matches!(error(json!({ owned: 1 })), Some(MintError::Owned { .. })), "{owned}");
    }
    assert!(matches!(error(json!({"scope": "a  b"})), Some(MintError::Claim(_))));
    assert!(matches!(error(json!({"long": "x".repeat(LONGEST_TOKEN)})), Some(MintError::TooLong(_))));
    for subject in ["", " ", "a\nb", &"x".repeat(LONGEST_SUBJECT + 1)] {
        let request = MintRequest { subject: Some(subject.to_owned()), ..MintRequest::default() };
        assert_eq!(minter.mint(&request, now()).err(), Some(MintError::Subject), "{subject:?}");
    }
    assert!(matches!(minter.mint(&MintRequest::default(), now()).err(), Some(MintError::NoSubject(_))));
    policy.claims.clear();
    let bare = Minter::new(&document, Some(&policy), Span::hours(1)).unwrap();
    assert_eq!(bare.mint(&asked(json!({})), now()).err(), Some(MintError::NoClientId));
}

#[test]
fn a_keyset_that_mints_nothing_says_so() {
    let document = document(&pair(Algorithm::ES256), Span::hours(1));
    assert!(matches!(Minter::new(&document, None, Span::hours(1)).err(), Some(MintError::NotMinted(_))));
    let empty = Document::empty(document.id.clone(), document.class);
    assert!(matches!(Minter::new(&empty, Some(&policy(Profile::Generic)), Span::hours(1)).err(), Some(MintError::NoKey(_))));
}

#[test]
fn a_bound_token_names_the_thumbprint() {
    let document = document(&pair(Algorithm::ES256), Span::hours(1));
    let minter = Minter::new(&document, Some(&policy(Profile::Generic)), Span::hours(1)).unwrap();
    let thumbprint = Digest::of(b"a key");
    let request = MintRequest { bound_to: Some(thumbprint), ..asked(json!({})) };
    let payload = parts(&minter.mint(&request, now()).unwrap()).1;
    assert!(payload.ends_with(&format!(r#","cnf":{{"jkt":"{thumbprint}"}}}}"#)), "{payload}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_asked_for_either_verifies_or_is_refused(subject in "\\PC{1,40}", name in "\\PC{1,20}", text in ".{0,80}", ttl in 1u64..7200) {
        let document = document(&pair(Algorithm::ES256), Span::hours(1));
        let policy = policy(Profile::Generic);
        let minter = Minter::new(&document, Some(&policy), Span::hours(1)).unwrap();
        let request = MintRequest { subject: Some(subject.clone()), ttl: Some(Span::seconds(ttl)), ..asked(json!({ &name: text })) };
        if let Ok(told) = minter.mint(&request, now()) {
            let verifier = Verifier::of(&document, Expected::by(&policy));
            let verdict = verifier.verify(told.token.expose(), now());
            prop_assert!(verdict.is_valid(), "{:?}", verdict.rejection());
            let claims = verdict.claims().unwrap();
            prop_assert_eq!(claims["sub"].as_str(), Some(subject.as_str()));
            prop_assert_eq!(claims[&name].as_str(), Some(text.as_str()));
            prop_assert!(ttl <= 3600);
        }
    }
}
