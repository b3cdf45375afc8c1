//! What opens, for whom and until when; and that nothing else does.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::document::change::{Cause, Draft, Promise};
use crate::document::{Active, Facts, Grants, Incoming, Retiring, Stage, Trigger};
use crate::key::{Algorithm, KeySpec, KidFormat, SecretEncoding};
use crate::time::Span;

fn now() -> Timestamp {
    "2026-03-01T12:00:00.750Z".parse().unwrap()
}

fn key() -> Key {
    let encoding = SecretEncoding::Base64url;
    let spec = KeySpec::Hmac { algorithm: Algorithm::HS256, bytes: 32, prefix: String::new(), encoding, kid: KidFormat::Uuid };
    keygen::generate(&spec, now()).unwrap()
}

fn sealing() -> Document {
    let mut document = Document::empty("test/refresh".parse().unwrap(), crate::key::KeyClass::Hmac);
    let facts = Facts { token_ttl: Span::days(30), clock_skew: Span::seconds(60), ..Facts::default() };
    document.facts = document.facts.adopting(&facts, now()).unwrap();
    document.active = Some(Active { key: key(), since: now(), published_at: now() });
    document
}

fn users() -> KeysetId {
    "test/users".parse().unwrap()
}

fn partner() -> KeysetName {
    "partner".parse().unwrap()
}

fn grant() -> Grant {
    let Value::Object(claims) = json!({ "scope": "read write", "n": [1, null, "\u{e9}"] }) else { unreachable!() };
    let bound_to = Some(Digest::of(b"a key"));
    Grant { caller: partner(), subject: "ada".into(), claims, bound_to, given_at: now(), expires_at: now() + Span::days(30) }
}

fn refused(document: &Document, text: &str, at: Timestamp) -> Option<Refusal> {
    open(document, &users(), &partner(), text, at).err()
}

#[test]
fn what_was_granted_comes_back_to_its_caller_until_it_expires() {
    let document = sealing();
    let sealed = seal(&document, &users(), &grant()).unwrap();
    let text = sealed.expose();
    assert!(looks_like_one(text) && text.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!text.contains("ada") && text != seal(&document, &users(), &grant()).unwrap().expose());
    let last = grant().expires_at.minus(Span::millis(1));
    assert_eq!(open(&document, &users(), &partner(), text, last), Ok(grant()));
    assert_eq!(refused(&document, text, grant().expires_at), Some(Refusal::Expired(grant().expires_at)));
    // Nobody else's: another caller, another keyset of the same names' ends, another environment.
    assert_eq!(open(&document, &users(), &"other".parse().unwrap(), text, now()), Err(Refusal::Unknown));
    for other in ["test/api", "other/users"] {
        assert_eq!(open(&document, &other.parse().unwrap(), &partner(), text, now()), Err(Refusal::Unknown), "{other}");
    }
}

#[test]
fn no_bit_of_it_can_be_changed_and_no_length() {
    let document = sealing();
    let sealed = seal(&document, &users(), &grant()).unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(sealed.expose().strip_prefix(PREFIX).unwrap()).unwrap();
    let written = |bytes: &[u8]| format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    assert_eq!(refused(&document, &written(&bytes), now()), None);
    for bit in 0..bytes.len() * 8 {
        let mut bent = bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(refused(&document, &written(&bent), now()), Some(Refusal::Unknown), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert_eq!(refused(&document, &written(&bytes[..length]), now()), Some(Refusal::Unknown), "{length} bytes");
    }
    let long = written(&[bytes.as_slice(), &vec![0; LONGEST]].concat());
    let padded = format!("{}=", sealed.expose());
    for other in ["", PREFIX, &sealed.expose()[1..], &long, &padded, "eyJhbGciOiJub25lIn0.e30.AA"] {
        assert_eq!(refused(&document, other, now()), Some(Refusal::Unknown), "{other:.40}");
    }
}

#[test]
fn it_opens_for_as_long_as_its_key_lives() {
    let mut document = sealing();
    let sealed = seal(&document, &users(), &grant()).unwrap();
    let old = document.active.take().unwrap();
    assert_eq!(seal(&document, &users(), &grant()).err(), Some(SealError::NoKey(document.id.clone())));
    assert_eq!(refused(&document, sealed.expose(), now()), Some(Refusal::Unknown), "its key is gone");
    let (since, published_at) = (now(), now());
    document.retiring.push(Retiring { key: old.key, since, published_at, activated_at: Some(since), verify_until: now() + Span::days(30) });
    document.incoming.push(Incoming { key: key(), stage: Stage::Staged { since } });
    document.active = Some(Active { key: key(), since, published_at });
    assert_eq!(refused(&document, sealed.expose(), now()), None);
    // A key of another keyset under the same name has another secret.
    let mut imposter = sealing();
    imposter.active.as_mut().unwrap().key.kid = document.retiring[0].key.kid.clone();
    assert_eq!(refused(&imposter, sealed.expose(), now()), Some(Refusal::Unknown));
}

#[test]
fn what_was_taken_back_does_not_open() {
    let document = sealing();
    let sealed = seal(&document, &users(), &grant()).unwrap();
    let after = |whom: Grants, before: Timestamp| {
        let cause = Cause { now: now(), trigger: Trigger::Emergency, reason: "a test".into(), by: None };
        let mut draft = Draft::of(&document, None, cause, Promise::default());
        draft.revoke_grants(whom, before).unwrap();
        draft.finish()
    };
    for (whom, revoked) in [
        (Grants::about("ada"), true),
        (Grants::about("adam"), false),
        (Grants::Caller(partner()), true),
        (Grants::Caller("other".parse().unwrap()), false),
        (Grants::All, true),
    ] {
        let now = after(whom.clone(), now());
        // In the bytes that every replica reads, too.
        let read = Document::from_stored(now.to_stored().expose()).unwrap();
        assert_eq!(read.revoked_grants, now.revoked_grants);
        assert_eq!(refused(&read, sealed.expose(), self::now()), revoked.then_some(Refusal::Revoked), "{whom:?}");
    }
    let earlier = after(Grants::All, now().minus(Span::seconds(61)));
    assert_eq!(refused(&earlier, sealed.expose(), now()), None, "it was given later by any clock");
    assert_eq!(earlier.revoked_grants[0].until, now() + Span::days(30) + Span::seconds(59), "all that it is about has expired then");
}

#[test]
fn what_nobody_could_present_is_not_sealed() {
    let mut long = grant();
    long.claims.insert("x".into(), json!("x".repeat(6600)));
    let length = seal(&sealing(), &users(), &long).unwrap().expose().len();
    assert!((LONGEST - 300..=LONGEST).contains(&length), "{length}");
    long.claims.insert("y".into(), json!("x".repeat(300)));
    assert!(matches!(seal(&sealing(), &users(), &long), Err(SealError::TooLong(length)) if length > LONGEST));
}

proptest! {
    #[test]
    fn no_text_is_taken_for_one(text in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let document = sealing();
        prop_assert_eq!(refused(&document, &text, now()), Some(Refusal::Unknown));
        let mut bytes = bytes;
        // The right version and the right key.
        let head = [&[VERSION][..], &short(&document.active.as_ref().unwrap().key.kid)].concat();
        bytes.splice(0..0, head);
        prop_assert_eq!(refused(&document, &format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes)), now()), Some(Refusal::Unknown));
    }
}
