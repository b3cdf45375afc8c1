//! What each format holds, to the letter.

use keyrota::digest::Digest;
use keyrota::document::Retiring;
use keyrota::key::{Algorithm, KeyClass, Material};
use keyrota::policy::{Audience, TargetFormat};
use keyrota::publish::{PublishError, render};
use keyrota::secret::SecretText;

use crate::fixtures::{ED_ONE, JWK_ONE, JWK_TWO, KID_ONE, KID_TWO, at, document, hmac, key, pairs, target, text};

#[test]
fn formats_of_key_pairs() {
    let document = pairs();
    let of = |format, audience| text(&target("/t", format, audience), &document);
    assert_eq!(of(TargetFormat::Jwks, Audience::Verifiers), [Some(format!(r#"{{"keys":[{JWK_ONE},{JWK_TWO}]}}"#))]);
    let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    assert_eq!(of(TargetFormat::Pem, Audience::Signers), [Some(public.to_owned()), Some(ED_ONE.to_owned())]);
    assert_eq!(of(TargetFormat::Pem, Audience::Verifiers), [Some(public.to_owned())]);
    let env = format!("KEYROTA_KID={KID_ONE}\nKEYROTA_ALGORITHM=EdDSA\nKEYROTA_PRIVATE_KEY=\"{}\"\n", ED_ONE.replace('\n', "\\n"));
    assert_eq!(of(TargetFormat::Env, Audience::Signers), [Some(env)]);
    let stored = String::from_utf8(document.to_stored().expose().to_vec()).unwrap();
    assert_eq!(of(TargetFormat::Document, Audience::Signers), [Some(stored)]);
    let accepted = format!(
        "{}{}{JWK_ONE}}},{}{JWK_TWO}}}]}}",
        r#"{"schema":"keyrota.accepted.v1","environment":"demo","keyset":"user-sessions","generation":3,"updated_at":"2026-03-01T12:00:00.000Z","keys":["#,
        format_args!(r#"{{"kid":"{KID_ONE}","algorithm":"EdDSA","state":"active","public_jwk":"#),
        format_args!(r#"{{"kid":"{KID_TWO}","algorithm":"EdDSA","state":"staged","public_jwk":"#),
    );
    assert_eq!(of(TargetFormat::Document, Audience::Verifiers), [Some(accepted)], "no private half for verifiers");
}

#[test]
fn formats_of_secrets() {
    let document = document(KeyClass::Hmac, Some(hmac("one", "sk-a b\"c\\$d`e")), Some(hmac("two", "sk-next")));
    let of = |format, audience| text(&target("/t", format, audience), &document);
    let env = "KEYROTA_KID=one\nKEYROTA_ALGORITHM=HS256\nKEYROTA_SECRET=\"sk-a b\\\"c\\\\\\$d\\`e\"\n";
    assert_eq!(of(TargetFormat::Env, Audience::Signers), [Some(env.to_owned())]);
    let accepted = concat!(
        r#"{"schema":"keyrota.accepted.v1","environment":"demo","keyset":"user-sessions","generation":3,"#,
        r#""updated_at":"2026-03-01T12:00:00.000Z","keys":[{"kid":"one","algorithm":"HS256","state":"active","secret":"sk-a b\"c\\$d`e"},"#,
        r#"{"kid":"two","algorithm":"HS256","state":"staged","secret":"sk-next"}]}"#
    );
    assert_eq!(of(TargetFormat::Document, Audience::Verifiers), [Some(accepted.to_owned())]);
    for format in [TargetFormat::Jwks, TargetFormat::Pem] {
        assert_eq!(render(&target("/t", format, Audience::Verifiers), &document).err(), Some(PublishError::Format(format)));
    }
}

#[test]
fn api_keys_show_only_their_digest_once_erased() {
    let digest = Digest::of(b"k");
    let api = |kid, secret: Option<&str>| {
        key(kid, Algorithm::ApiKey, Material::ApiKey { secret: secret.map(|text| SecretText::new(text.to_owned())), digest })
    };
    let mut document = document(KeyClass::ApiKey, Some(api("now", Some("demo_k"))), None);
    let old = Retiring { key: api("old", None), since: at(), published_at: at(), activated_at: None, verify_until: at() };
    document.retiring.push(old);
    let shown = text(&target("/t", TargetFormat::Document, Audience::Verifiers), &document).remove(0).unwrap();
    let old = format!(r#"{{"kid":"old","algorithm":"api-key","state":"retiring","secret_sha256":"{digest}"}}"#);
    assert!(shown.contains(&old) && shown.contains(r#""secret":"demo_k","secret_sha256""#), "{shown}");
    let env = text(&target("/t", TargetFormat::Env, Audience::Signers), &document);
    assert_eq!(env, [Some("KEYROTA_KID=now\nKEYROTA_ALGORITHM=api-key\nKEYROTA_SECRET=demo_k\n".to_owned())]);
}
