//! The negative corpus: texts that look like tokens and are none, each with the code of its refusal.
//!
//! In `golden/malformed_tokens.json`, an entry is a whole `token`, or the text of its `header` and `payload` where they differ from a
//! good one's; with `proof` it is read as a DPoP proof is, whose header may bring a key.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyrota::key::Algorithm;
use keyrota::tokens::compact::{Compact, LONGEST_TOKEN};
use keyrota::tokens::malformed::Malformed;
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    code: String,
    token: Option<String>,
    #[serde(default = "good_header")]
    header: String,
    #[serde(default = "good_payload")]
    payload: String,
    #[serde(default)]
    proof: bool,
}

fn good_header() -> String {
    r#"{"alg":"ES256","typ":"JWT","kid":"k"}"#.into()
}

fn good_payload() -> String {
    r#"{"sub":"u"}"#.into()
}

fn compact(header: &str, payload: &str) -> String {
    format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

fn corpus() -> Vec<Entry> {
    serde_json::from_str(include_str!("golden/malformed_tokens.json")).unwrap()
}

impl Entry {
    fn token(&self) -> String {
        self.token.clone().unwrap_or_else(|| compact(&self.header, &self.payload))
    }

    fn refusal(&self) -> Option<Malformed> {
        let token = self.token();
        if self.proof { Compact::parse_proof(&token) } else { Compact::parse(&token) }.err()
    }
}

#[test]
fn each_is_refused_with_its_code_and_a_sentence() {
    let wrong: Vec<String> = corpus()
        .iter()
        .filter(|entry| entry.refusal().is_none_or(|refusal| refusal.code() != entry.code))
        .map(|entry| format!("{}: {} expected, and {:?} seen", entry.name, entry.code, entry.refusal()))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for entry in corpus() {
        let sentence = entry.refusal().unwrap().to_string();
        assert!(sentence.starts_with("the ") && sentence.contains("; hint: "), "{}: {sentence}", entry.name);
        assert!(!sentence.contains("attacker.example"), "{}: a sentence shows what stands in the token: {sentence}", entry.name);
    }
}

#[test]
fn it_is_large_has_no_name_twice_and_every_code_occurs() {
    let corpus = corpus();
    assert!(corpus.len() >= 200, "{}", corpus.len());
    let names: BTreeSet<_> = corpus.iter().map(|entry| &entry.name).collect();
    assert_eq!(names.len(), corpus.len());
    let mut seen = BTreeMap::new();
    for entry in &corpus {
        *seen.entry(entry.code.as_str()).or_insert(0) += 1;
    }
    let all: BTreeSet<_> = Malformed::CODES.into_iter().collect();
    assert_eq!(all.len(), Malformed::CODES.len(), "no code is there twice");
    assert_eq!(seen.keys().copied().collect::<BTreeSet<_>>(), all, "{seen:?}");
}

#[test]
fn a_lawful_form_passes_as_it_stands() {
    let token = compact(&good_header(), &good_payload());
    let read = Compact::parse(&token).unwrap();
    assert_eq!((read.header.alg, read.header.typ.as_deref(), read.header.kid.as_deref()), (Algorithm::ES256, Some("JWT"), Some("k")));
    assert_eq!(read.claims["sub"], "u");
    assert_eq!((read.signed(), read.signature()), (token.rsplit_once('.').unwrap().0.as_bytes(), &[0, 0, 0][..]));
    assert!(!format!("{read:?}").contains("sub"), "no claim in a debug print: {read:?}");
    // RFC 7515 A.1 has white space in its JSON, RFC 7519 §4.3 lets claims be anything, RFC 7515 §4 wants unknown members ignored.
    for (header, payload) in [
        ("{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}", "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"),
        (r#"{"alg":"EdDSA","x":{"y":[1,2]},"cty":"a","iss":"b"}"#, "{}"),
        (r#"{"alg":"PS512","kid":"with / and % and ä"}"#, r#"{"n":[0,-1,0.5,18446744073709551615],"d":{"e":{"f":null}}}"#),
    ] {
        assert!(Compact::parse(&compact(header, payload)).is_ok(), "{header} {payload}");
    }
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| *algorithm != Algorithm::ApiKey) {
        assert_eq!(Compact::parse(&compact(&format!("{{\"alg\":\"{algorithm}\"}}"), "{}")).unwrap().header.alg, algorithm);
    }
    let proof = compact(r#"{"alg":"ES256","jwk":{"kty":"EC"}}"#, "{}");
    assert_eq!(Compact::parse(&proof).unwrap_err(), Malformed::OwnKey("jwk"));
    assert_eq!(Compact::parse_proof(&proof).unwrap().header.jwk.unwrap()["kty"], "EC");
}

#[test]
fn limits_are_exact() {
    let padded = |length: usize| {
        let short = compact(&good_header(), "{}").len() - 4;
        format!("{}{}", &compact(&good_header(), "{}")[..short], "A".repeat(length - short))
    };
    let longest = [LONGEST_TOKEN, LONGEST_TOKEN - 1].map(padded);
    assert!(longest.iter().any(|token| Compact::parse(token).is_ok()), "one of two lengths is one of base64");
    assert_eq!(Compact::parse(&padded(LONGEST_TOKEN + 1)).unwrap_err(), Malformed::TooLong(LONGEST_TOKEN + 1));
    let with = |typ: usize, kid: usize| {
        let header = format!(r#"{{"alg":"ES256","typ":"{}","kid":"{}"}}"#, "t".repeat(typ), "k".repeat(kid));
        Compact::parse(&compact(&header, "{}")).map(|_| ())
    };
    assert_eq!(with(127, 128), Ok(()));
    assert_eq!((with(128, 128), with(127, 129)), (Err(Malformed::Typ), Err(Malformed::Kid)));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,300}") {
        prop_assert!(Compact::parse(&text).is_err());
        let _ = Compact::parse_proof(&text);
    }

    /// Any bytes in the places of header and payload.
    #[test]
    fn no_bytes_make_it_panic(header: Vec<u8>, payload: Vec<u8>, signature: Vec<u8>) {
        let token = [header, payload, signature].map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).join(".");
        let _ = Compact::parse_proof(&token);
        let with_header = format!("{}.{}", URL_SAFE_NO_PAD.encode(good_header()), token.split_once('.').unwrap().1);
        let _ = Compact::parse(&with_header);
    }

    /// No other text stands for the same header, payload and signature: one character changed is refused or read as something else.
    #[test]
    fn a_token_has_one_text(at in 0usize..64, to in "[A-Za-z0-9_=./+ -]") {
        let token = compact(&good_header(), &good_payload());
        let at = at % token.len();
        let mut bent = token.clone();
        bent.replace_range(at..=at, &to);
        prop_assume!(bent != token);
        let bytes = |text: &str| text.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect::<Vec<_>>();
        if Compact::parse(&bent).is_ok() {
            prop_assert_ne!(bytes(&bent), bytes(&token));
        }
    }
}
