//! The stored document of each class, held in files. `UPDATE_GOLDEN=1 cargo test --test lifecycle` writes them anew.
//!
//! Signers parse these bytes and stores hold them for years: what is there must stay readable, and its flat fields where they are.

use std::path::PathBuf;

use keyrota::document::stored::StoredError;
use keyrota::document::{Document, StateName};
use keyrota::key::{Algorithm, KeyClass, KeySpec, KidFormat, SecretEncoding};
use keyrota::lifecycle::Decision;
use keyrota::observed::PlaceKind;
use keyrota::operator::{Verb, apply};
use keyrota::policy::Mode;
use keyrota::time::{Span, Timestamp};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::fixture::{ROTATE_EVERY, Scene, by_ada, pair_spec, t0, unstored};
use crate::table::{decide, taken};

const CLASSES: [(&str, KeyClass); 3] = [("asymmetric", KeyClass::Asymmetric), ("hmac", KeyClass::Hmac), ("api-key", KeyClass::ApiKey)];

fn spec(class: KeyClass) -> KeySpec {
    match class {
        KeyClass::Asymmetric => pair_spec(Algorithm::EdDsa),
        KeyClass::Hmac => KeySpec::Hmac {
            algorithm: Algorithm::HS256,
            bytes: 32,
            prefix: "whsec_".into(),
            encoding: SecretEncoding::Base64url,
            kid: KidFormat::Uuid,
        },
        KeyClass::ApiKey => KeySpec::ApiKey { prefix: "shop_".into(), kid: KidFormat::Uuid },
    }
}

/// Everything that is due happens, until `until`.
fn live(mut scene: Scene, until: Timestamp) -> Scene {
    loop {
        match decide(&scene) {
            Decision::Do(step, reason) => scene.document = taken(&scene, &step, &reason),
            Decision::Wait(wait) => match wait.until.filter(|at| *at <= until) {
                Some(at) => scene.observed.now = at,
                None => return scene.at(until),
            },
        }
    }
}

fn ask(mut scene: Scene, verb: &Verb) -> Scene {
    scene.document = apply(&scene.document, verb, &scene.rules, by_ada(scene.observed.now), None).unwrap();
    scene
}

/// Two rotations, a revocation, a lowered fact, a freeze, a successor on its way that is approved: something in every field.
fn full(class: KeyClass) -> Document {
    let mut scene = unstored();
    scene.document.class = class;
    scene.rules.spec = spec(class);
    let mut scene = live(scene, t0() + ROTATE_EVERY + Span::minutes(10));
    let compromised = scene.document.retiring[0].key.kid.clone();
    scene = ask(scene, &Verb::Revoke { kid: compromised });
    scene = live(scene, t0() + ROTATE_EVERY * 2 + Span::minutes(10));
    scene.rules.facts.token_ttl = Span::minutes(30);
    scene = ask(live(scene.clone(), scene.observed.now), &Verb::Rotate);
    scene = live(scene.clone(), scene.observed.now);
    let successor = scene.document.incoming[0].key.kid.clone();
    scene = scene.verifiers_read(PlaceKind::Target, "/jwks", &[]);
    scene.rules.mode = Mode::Approve;
    scene = ask(scene, &Verb::Approve { kid: successor });
    let until = scene.observed.now + Span::hours(3);
    ask(scene, &Verb::Freeze { until }).document
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("document-{name}.json"))
}

fn golden(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

/// The same JSON with one member to a line.
fn pretty(compact: &[u8]) -> String {
    let (mut out, mut depth, mut quoted, mut escaped) = (String::new(), 0usize, false, false);
    let text = std::str::from_utf8(compact).unwrap();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let line = |out: &mut String, depth: usize| out.extend(["\n", &"  ".repeat(depth)]);
        match c {
            _ if quoted => {
                quoted = escaped || c != '"';
                escaped = c == '\\' && !escaped;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                if let Some(closing) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(closing);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                quoted = c == '"';
                out.push(c);
            }
        }
    }
    out + "\n"
}

/// The names of an object's members, in the order in which they stand.
struct Order(Vec<String>);

impl<'de> Deserialize<'de> for Order {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Order;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Order, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    names.push(name);
                }
                Ok(Order(names))
            }
        }
        deserializer.deserialize_map(Names)
    }
}

#[test]
fn documents_are_written_as_they_always_were() {
    for (name, class) in CLASSES {
        let stored = full(class).to_stored();
        let text = pretty(stored.expose());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path(name), &text).unwrap();
        }
        let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
        assert_eq!(value(stored.expose()), value(golden(name).as_bytes()), "document-{name}.json; UPDATE_GOLDEN=1 rewrites it");
        assert_eq!(text, golden(name), "document-{name}.json: the order; UPDATE_GOLDEN=1 rewrites it");
    }
}

#[test]
fn the_flat_fields_come_first() {
    let before = ["schema", "environment", "keyset", "generation", "updated_at", "kid", "algorithm"];
    let after = ["next_refresh_hint_seconds", "class"];
    for (name, material, jwks) in
        [("asymmetric", &["private_key", "public_key"][..], &["jwks"][..]), ("hmac", &["secret"], &[]), ("api-key", &["secret"], &[])]
    {
        let Order(names) = serde_json::from_str(&golden(name)).unwrap();
        let expected = [&before[..], material, &after, jwks, &["keys"]].concat();
        assert_eq!(names[..expected.len()], expected, "{name}");
    }
}

#[test]
fn documents_of_old_are_read_back() {
    for (name, class) in CLASSES {
        let document = Document::from_stored(golden(name).as_bytes()).unwrap();
        assert_eq!(document, full(class), "{name}");
        let states: Vec<_> = document.live().map(|k| k.state).collect();
        assert_eq!(states, [StateName::Active, StateName::Published, StateName::Retiring], "{name}");
        assert!(document.intents.rotate.is_some() && document.intents.freeze.is_some() && document.intents.approved.len() == 1);
        assert_eq!(document.facts.token_ttl.draining.len(), 1);
        assert!(document.tombstones.iter().any(|t| t.end.state() == StateName::Revoked));
    }
}

/// The error that reading gives, which never shows what was read.
fn refused(what: &str, bytes: &[u8]) -> StoredError {
    let error = Document::from_stored(bytes).map(|_| ()).expect_err(what);
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("secret of") && !shown.contains("11qYAYKx") && shown.len() < 400, "{what}: {shown}");
    error
}

/// The golden document with `from` replaced where it first stands.
fn mutated(name: &str, from: &str, to: &str) -> String {
    let text = golden(name);
    assert!(text.contains(from), "document-{name}.json has {from}");
    text.replacen(from, to, 1)
}

#[test]
fn what_was_tampered_with_is_refused() {
    const MALFORMED: [(&str, &str, &str, &str); 8] = [
        ("an unknown field", "asymmetric", "\"class\":", "\"colour\": \"red\", \"class\":"),
        ("an unknown field of a key", "hmac", "\"bits\":", "\"colour\": \"red\", \"bits\":"),
        ("a private member of a JWK", "asymmetric", "\"crv\":", "\"d\": \"(the secret of k)\", \"crv\":"),
        ("a field twice", "hmac", "\"class\":", "\"class\": \"hmac\", \"class\":"),
        ("a number for a text", "api-key", "\"secret\": \"", "\"secret\": 5, \"x\": \""),
        ("a time that is none", "hmac", "\"since\": \"2026", "\"since\": \"20-26"),
        ("a state that is none", "hmac", "\"state\": \"active\"", "\"state\": \"asleep\""),
        ("a kid that is none", "hmac", "\"kid\": \"", "\"kid\": \"a b"),
    ];
    const CONTRADICTORY: [(&str, &str, &str, &str); 9] = [
        ("two keys are active", "hmac", "\"state\": \"published\"", "\"state\": \"active\""),
        ("its `kid` is not that of the active key", "api-key", "\"kid\": \"made-", "\"kid\": \"made-9"),
        ("in a keyset of", "hmac", "\"class\": \"hmac\"", "\"class\": \"api-key\""),
        (
            "lacks the material of its class",
            "hmac",
            "\"algorithm\": \"HS256\",\n      \"bits\"",
            "\"algorithm\": \"ES256\",\n      \"bits\"",
        ),
        ("and yet among the live ones", "hmac", "\"state\": \"retiring\"", "\"state\": \"retired\""),
        ("has no verify_until", "asymmetric", "\"verify_until\":", "\"not_before_active\":"),
        ("has no not_before_active", "asymmetric", "\"not_before_active\":", "\"verify_until\":"),
        (
            "bears another kid or algorithm",
            "asymmetric",
            "\"public_jwk\": {\n        \"kid\": \"made-",
            "\"public_jwk\": {\n        \"kid\": \"made-9",
        ),
        ("is malformed or weak", "asymmetric", "aPcHURo\"\n      },\n      \"private_key\"", "aPcHUR\"\n      },\n      \"private_key\""),
    ];
    for (what, name, from, to) in MALFORMED {
        let error = refused(what, mutated(name, from, to).as_bytes());
        assert!(matches!(error, StoredError::Malformed { line, .. } if line > 1), "{what}: {error:?}");
    }
    for (what, name, from, to) in CONTRADICTORY {
        let error = refused(what, mutated(name, from, to).as_bytes());
        assert!(matches!(&error, StoredError::Contradiction(sentence) if sentence.contains(what)), "{what}: {error:?}");
    }
}

#[test]
fn a_document_of_another_schema_says_which() {
    let newer = mutated("hmac", "keyrota.keyset.v1", "keyrota.keyset.v9");
    let other = StoredError::OtherSchema("keyrota.keyset.v9".into());
    assert_eq!(refused("another schema", newer.as_bytes()), other);
    let strange = newer.replacen("\"class\":", "\"colour\": \"red\", \"class\":", 1);
    assert_eq!(refused("another schema with other fields", strange.as_bytes()), other);
}

#[test]
fn a_torn_document_is_malformed_wherever_it_is_torn() {
    for (name, _) in CLASSES {
        let whole = golden(name).trim_end().to_owned();
        for end in 0..whole.len() {
            let error = refused("torn", &whole.as_bytes()[..end]);
            assert!(matches!(error, StoredError::Malformed { .. }), "{name} torn at {end}: {error:?}");
        }
        let twice = refused("a second one behind it", format!("{whole}{whole}").as_bytes());
        assert!(matches!(twice, StoredError::Malformed { .. }));
        let mut broken = whole.into_bytes();
        broken[40] = 0xff;
        assert!(matches!(refused("not UTF-8", &broken), StoredError::Malformed { .. }));
    }
}
