//! Tests: what is read out of answers, and what looks amount to.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::*;
use crate::document::{Active, Document, Incoming, Stage};
use crate::jwk::{OkpCurve, PublicJwk};
use crate::key::{Algorithm, Key, KeyClass, Material, Origin};
use crate::url::Trust;

/// Answers what it was told to, in order.
struct Script(Mutex<VecDeque<Result<Answer, FetchError>>>, Mutex<Vec<bool>>);

impl Fetch for Script {
    async fn fetch(&self, request: Request<'_>) -> Result<Answer, FetchError> {
        self.1.lock().unwrap().push(request.headers.iter().any(|(name, _)| name == IF_NONE_MATCH));
        self.0.lock().unwrap().pop_front().unwrap()
    }
}

const MINE: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const OTHER: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
    let pairs = headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
    Answer { status, headers: pairs.collect(), body: body.to_owned().into() }
}

fn jwk(kid: &str, x: &str) -> String {
    format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}","use":"sig","alg":"EdDSA"}}"#)
}

fn set(keys: &[String]) -> String {
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn probe() -> Probe {
    let jwks_url = "https://api.example.com/keys".parse().unwrap();
    Probe { jwks_url, every: Span::seconds(30), timeout: Span::seconds(5), trust: Trust::System }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::EPOCH + Span::days(1) + Span::seconds(seconds)
}

fn reading(seconds: u64) -> Reading {
    Reading { wall: at(seconds), boot: Span::seconds(seconds) }
}

fn kid(name: &str) -> Kid {
    name.parse().unwrap()
}

/// Looks that answer so, a minute apart.
fn looks(answers: Vec<Result<Answer, FetchError>>) -> (Vec<Look>, Vec<bool>) {
    let script = Script(Mutex::new(answers.into()), Mutex::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut last = LastAnswer::default();
    let mut seen = Vec::new();
    while !script.0.lock().unwrap().is_empty() {
        let now = reading(60 * seen.len() as u64);
        seen.push(runtime.block_on(look(&script, &probe(), &mut last, || now)));
    }
    (seen, script.1.into_inner().unwrap())
}

fn one(answer: Answer) -> Result<Sight, LookError> {
    looks(vec![Ok(answer)]).0.remove(0).seen
}

#[test]
fn a_key_set_is_read_by_name_and_thumbprint() {
    let others = [r#"{"kty":"oct","kid":"shared"}"#.to_owned(), r#"{"kty":"RSA","kid":"odd","n":1,"e":"AQAB"}"#.to_owned()];
    let nameless = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{MINE}"}}"#);
    let sight = one(answer(200, &[("age", "90")], &set(&[jwk("a", OTHER), nameless, others[0].clone(), others[1].clone()]))).unwrap();
    assert_eq!(sight.as_of, at(0).minus(Span::seconds(90)), "a cache answered with what was true ninety seconds ago");
    let thumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    assert_eq!(sight.keys[&kid(thumbprint)].unwrap().to_string(), thumbprint, "RFC 8037, appendix A.3");
    assert!(sight.keys[&kid("a")].is_some() && sight.keys[&kid("shared")].is_none() && sight.keys[&kid("odd")].is_none());
    let twice = one(answer(200, &[], &set(&[jwk("a", MINE), jwk("a", OTHER)]))).unwrap();
    assert_eq!(twice.keys[&kid("a")], None, "two keys of one name are neither");
}

#[test]
fn whatever_is_no_key_set_is_no_sight() {
    let failure = |answer| one(answer).unwrap_err().to_string();
    assert!(failure(answer(404, &[], "")).contains("status 404"));
    assert!(failure(answer(304, &[], "")).contains("status 304"), "nobody asked whether it had changed");
    assert!(failure(answer(200, &[], "<html>")).contains("no JSON Web Key Set"));
    assert!(failure(answer(200, &[], "{}")).contains("no JSON Web Key Set"));
    let many: Vec<String> = (0..=MOST_KEYS).map(|n| jwk(&format!("k{n}"), MINE)).collect();
    assert!(failure(answer(200, &[], &set(&many))).contains("more than 500"));
}

#[test]
fn an_unchanged_answer_is_what_it_was_and_a_failure_ends_that() {
    let tagged = || Ok(answer(200, &[("etag", "\"one\"")], &set(&[jwk("a", MINE)])));
    let unchanged = || Ok(answer(304, &[("age", "5")], ""));
    let (seen, asked) = looks(vec![tagged(), unchanged(), Err(FetchError::Connect("refused".into())), tagged()]);
    assert_eq!(asked, [false, true, true, false]);
    let sight = seen[1].seen.as_ref().unwrap();
    assert_eq!((sight.as_of, sight.keys.len()), (at(55), 1));
    assert!(seen[2].seen.as_ref().unwrap_err().to_string().contains("refused"));
}

fn key(name: &str) -> Key {
    let numbers = PublicNumbers::Okp { crv: OkpCurve::Ed25519, x: MINE.into() };
    let material = Material::Pair { public: PublicJwk::new(kid(name), Algorithm::EdDsa, numbers), private: None };
    Key { kid: kid(name), algorithm: Algorithm::EdDsa, bits: 256, created_at: at(0), origin: Origin::Generated, expires_at: None, material }
}

/// `a` signs, `b` is published.
fn document() -> Document {
    let mut document = Document::empty("demo/users".parse().unwrap(), KeyClass::Asymmetric);
    document.generation = crate::name::Generation(4);
    document.active = Some(Active { key: key("a"), since: at(0), published_at: at(0) });
    document.incoming = vec![Incoming { key: key("b"), stage: Stage::Published { since: at(0), not_before_active: at(0) } }];
    document
}

/// What a look at that second showed; nothing: it failed.
fn look_at(second: u64, keys: Option<&[(&str, &str)]>) -> Look {
    let seen = keys.map(|keys| read(&set(&keys.iter().map(|(kid, x)| jwk(kid, x)).collect::<Vec<_>>()).into()).unwrap());
    let seen = seen.map(|keys| Sight { as_of: at(second), keys }).ok_or(LookError::Status(503));
    Look { at: at(second), seen }
}

/// Since when `b` counts as shown at that second, after these looks.
fn since(looks: &[Look], second: u64) -> Option<Timestamp> {
    let mut watch = Watch::default();
    for look in looks {
        watch.see(&probe(), look, Some(&document()));
    }
    watch.place(&probe(), &document(), at(second)).carries.get(&kid("b")).copied()
}

const BOTH: Option<&[(&str, &str)]> = Some(&[("a", MINE), ("b", MINE)]);
const STALE: Option<&[(&str, &str)]> = Some(&[("a", MINE)]);
const LIE: Option<&[(&str, &str)]> = Some(&[("a", MINE), ("b", OTHER)]);

#[test]
fn agreement_begins_with_the_look_that_shows_it_and_a_lie_begins_it_anew() {
    assert_eq!(since(&[look_at(0, STALE), look_at(30, BOTH), look_at(60, BOTH)], 61), Some(at(30)));
    assert_eq!(since(&[look_at(0, BOTH), look_at(30, STALE)], 31), None);
    assert_eq!(since(&[look_at(0, BOTH), look_at(30, STALE), look_at(60, BOTH)], 61), Some(at(60)));
    assert_eq!(since(&[look_at(0, BOTH), look_at(30, LIE)], 31), None, "another key of that name");
    assert_eq!(since(&[look_at(0, LIE), look_at(30, BOTH)], 31), Some(at(30)));
}

#[test]
fn the_time_of_a_failed_look_does_not_count_and_more_than_one_begins_anew() {
    let gap = probe().longest_gap();
    assert_eq!(gap, Span::seconds(70));
    assert_eq!(since(&[look_at(0, BOTH), look_at(30, None)], 31), None, "while it cannot be seen nothing goes on");
    assert_eq!(since(&[look_at(0, BOTH), look_at(30, BOTH), look_at(60, None), look_at(90, BOTH)], 91), Some(at(60)), "moved on by 60s");
    assert_eq!(since(&[look_at(0, BOTH), look_at(30, None), look_at(60, None), look_at(90, BOTH)], 91), Some(at(90)));
    assert_eq!(since(&[look_at(0, BOTH), look_at(70, BOTH)], 71), Some(at(0)));
    assert_eq!(since(&[look_at(0, BOTH), look_at(71, BOTH)], 72), Some(at(71)), "nobody looked in between");
    assert_eq!(since(&[look_at(0, BOTH)], 70), Some(at(0)));
    assert_eq!(since(&[look_at(0, BOTH)], 71), None, "nobody has looked since");
}

#[test]
fn a_watch_says_what_is_wrong_and_which_generation_was_shown() {
    let mut watch = Watch::default();
    let mut see = |keys| watch.see(&probe(), &look_at(0, keys), Some(&document())).unwrap_or_default();
    assert!(see(None).contains("https://api.example.com/keys: it answers with status 503"));
    assert!(see(LIE).contains("another public key under kid b"));
    assert!(see(Some(&[("b", MINE)])).contains("does not show kid a, which signs now"));
    assert_eq!(see(STALE), "", "that it is behind with a key that only waits is no fault yet");
    assert_eq!(watch.generation, None);
    assert_eq!(watch.see(&probe(), &look_at(0, BOTH), Some(&document())), None);
    assert_eq!(watch.generation, Some(crate::name::Generation(4)));
}
