//! Proofs of possession: RFC 9449's own examples, and a negative corpus in which each proof differs from a good one in one thing.
//!
//! The corpus (`golden/malformed_proofs.json`) says in each entry what is different and with which code that is refused; proofs are
//! signed here, with keys made for the run. Times are seconds from now.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyrota::digest::Digest;
use keyrota::jwk::PublicNumbers;
use keyrota::key::{Algorithm, KeySpec, KidFormat};
use keyrota::keygen::{KeyPair, generate};
use keyrota::secret::SecretBytes;
use keyrota::time::{Span, Timestamp};
use keyrota::tokens::dpop::Guard;
use keyrota::tokens::dpop::binding::{Presented, required};
use keyrota::tokens::dpop::htu::Htu;
use keyrota::tokens::dpop::nonce::{Nonces, ReplicaId};
use keyrota::tokens::dpop::proof::{ALGORITHMS, PresentedToken, Proof, Request, Window};
use keyrota::tokens::dpop::refusal::{OauthError, Refusal};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each says what is different in one entry")]
struct Entry {
    name: String,
    code: String,
    /// The whole proof, or parts of it, as text.
    text: Option<String>,
    raw_header: Option<String>,
    raw_claims: Option<String>,
    signature: Option<String>,
    #[serde(default)]
    suffix: String,
    /// Members that are put in, or taken out.
    #[serde(default)]
    header: Map<String, Value>,
    #[serde(default)]
    jwk: Map<String, Value>,
    #[serde(default)]
    claims: Map<String, Value>,
    #[serde(default)]
    altered: Map<String, Value>,
    #[serde(default)]
    remove: Vec<String>,
    iat: Option<i64>,
    exp: Option<i64>,
    nbf: Option<i64>,
    nonce: Option<String>,
    ath: Option<String>,
    /// How it is signed and sent.
    key: Option<Algorithm>,
    #[serde(default)]
    signed_by_another: bool,
    #[serde(default)]
    bend_signature: bool,
    sent: Option<usize>,
    #[serde(default)]
    joined: bool,
    /// The token that it is sent with, and what went before.
    presented: Option<String>,
    cnf: Option<Value>,
    #[serde(default)]
    unbound: bool,
    #[serde(default)]
    bound_to_another: bool,
    #[serde(default)]
    used: bool,
    #[serde(default)]
    full: bool,
}

fn corpus() -> Vec<Entry> {
    serde_json::from_str(include_str!("golden/malformed_proofs.json")).unwrap()
}

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn seconds(from_now: i64) -> Value {
    json!(now().as_millis() / 1000 + from_now)
}

fn pair(algorithm: Algorithm) -> KeyPair {
    let spec = KeySpec::Pair { algorithm, rsa_bits: 2048, kid: KidFormat::Uuid, certificate: None };
    KeyPair::from_pkcs8_pem(generate(&spec, now()).unwrap().secret().unwrap(), algorithm).unwrap()
}

fn nonces(replica: u8) -> Nonces {
    Nonces::new(&SecretBytes::new(vec![7; 32]), ReplicaId([replica; 16]))
}

fn guard(most: usize) -> Guard {
    Guard::new(&SecretBytes::new(vec![7; 32]), ReplicaId([1; 16]), Window::default(), most)
}

fn encode(value: &impl serde::Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap())
}

fn good_claims() -> Map<String, Value> {
    let ath = Digest::of(TOKEN.as_bytes()).to_string();
    let htu = "https://keys.example.com/demo/users/token";
    let claims = json!({ "jti": "1", "htm": "POST", "htu": htu, "iat": seconds(0), "nonce": nonces(1).give(now()), "ath": ath });
    claims.as_object().unwrap().clone()
}

fn object(value: impl serde::Serialize) -> Map<String, Value> {
    serde_json::to_value(value).unwrap().as_object().unwrap().clone()
}

impl Entry {
    fn all_claims(&self) -> Map<String, Value> {
        let mut claims = good_claims();
        claims.extend(self.claims.clone());
        for (name, at) in [("iat", self.iat), ("exp", self.exp), ("nbf", self.nbf)] {
            claims.extend(at.map(|at| (name.to_owned(), seconds(at))));
        }
        let nonce = self.nonce.as_deref().map(|kind| match kind {
            "foreign" => nonces(2).give(now()),
            "before" => Nonces::new(&SecretBytes::new(vec![8; 32]), ReplicaId([3; 16])).give(now().minus(Span::seconds(5))),
            "forged" => Nonces::new(&SecretBytes::new(vec![8; 32]), ReplicaId([1; 16])).give(now()),
            "old" => nonces(1).give(now().minus(Span::minutes(6))),
            "future" => nonces(1).give(now() + Span::minutes(1)),
            other => panic!("no such nonce: {other}"),
        });
        claims.extend(nonce.map(|nonce| ("nonce".to_owned(), nonce.into())));
        let digest = Digest::of(TOKEN.as_bytes());
        let ath = self.ath.as_deref().map(|form| match form {
            "padded" => format!("{digest}="),
            "hex" => {
                digest.as_bytes().iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|n| char::from_digit(n.into(), 16)).collect()
            }
            other => panic!("no such form: {other}"),
        });
        claims.extend(ath.map(|ath| ("ath".to_owned(), ath.into())));
        claims
    }

    fn proof(&self, key: &KeyPair, jwk: &PublicNumbers) -> String {
        let mut jwk = object(jwk);
        jwk.extend(self.jwk.clone());
        let mut claims = self.all_claims();
        for member in &self.remove {
            match member.split_once('.').unwrap() {
                ("jwk", name) => drop(jwk.remove(name).unwrap()),
                ("claims", name) => drop(claims.remove(name).unwrap()),
                _ => {}
            }
        }
        let mut header = object(json!({ "typ": "dpop+jwt", "alg": key.algorithm(), "jwk": jwk }));
        header.extend(self.header.clone());
        for name in self.remove.iter().filter_map(|member| member.strip_prefix("header.")) {
            header.remove(name).unwrap();
        }
        let header = self.raw_header.as_ref().map_or_else(|| encode(&header), |raw| URL_SAFE_NO_PAD.encode(raw));
        let payload = self.raw_claims.as_ref().map_or_else(|| encode(&claims), |raw| URL_SAFE_NO_PAD.encode(raw));
        let mut signature = key.sign(format!("{header}.{payload}").as_bytes()).unwrap();
        signature[9] ^= u8::from(self.bend_signature);
        let signature = self.signature.clone().unwrap_or_else(|| URL_SAFE_NO_PAD.encode(&signature));
        claims.extend(self.altered.clone());
        let payload = if self.altered.is_empty() { payload } else { encode(&claims) };
        format!("{header}.{payload}.{signature}{}", self.suffix)
    }

    /// What a request that bears this proof and a bound token is answered.
    fn answer(&self) -> Result<Digest, Refusal> {
        let algorithm = self.key.unwrap_or(Algorithm::ES256);
        let key = pair(algorithm);
        let numbers = key.numbers().unwrap();
        let signing = if self.signed_by_another { pair(algorithm) } else { key };
        let text = self.text.clone().unwrap_or_else(|| self.proof(&signing, &numbers));
        let text = if self.joined { format!("{text}, {text}") } else { text };
        let headers = vec![text.as_str(); self.sent.unwrap_or(1)];

        let bound = if self.bound_to_another { pair(algorithm).numbers().unwrap() } else { numbers };
        let cnf = self.cnf.clone().unwrap_or_else(|| json!({ "jkt": bound.thumbprint() }));
        let claims = if self.unbound { Map::new() } else { object(json!({ "cnf": cnf })) };
        let presented = if self.presented.as_deref() == Some("Bearer") { Presented::Bearer } else { Presented::DPoP };
        let bound_to = required(presented, &claims)?.unwrap();

        let address = Htu::of(&"https://keys.example.com".parse().unwrap(), "/demo/users/token").unwrap();
        let request = Request { method: "POST", address: &address, token: Some(PresentedToken { text: TOKEN, bound_to }) };
        let guard = guard(if self.full { 0 } else { 10 });
        let checked = guard.check(&headers, &request, now())?;
        if self.used {
            guard.spend(&checked, now())?;
        }
        guard.spend(&checked, now()).map(|key| key.jkt())
    }
}

fn entry(different: Value) -> Entry {
    let mut entry = object(json!({ "name": "", "code": "" }));
    entry.extend(object(different));
    serde_json::from_value(Value::Object(entry)).unwrap()
}

#[test]
fn each_is_refused_with_its_code_and_a_sentence() {
    let mut wrong = Vec::new();
    for entry in corpus() {
        match entry.answer() {
            Err(refusal) if refusal.code() == entry.code => {
                let sentence = refusal.to_string();
                assert!(sentence.contains("; hint: ") && !sentence.contains("attacker.example"), "{}: {sentence}", entry.name);
                let nonce = entry.code.starts_with("nonce_");
                assert_eq!(refusal.oauth() == OauthError::UseNonce, nonce, "{}", entry.name);
                assert_eq!(refusal.retry_after().is_some(), entry.code == "replay_memory_full", "{}", entry.name);
            }
            seen => wrong.push(format!("{}: {} expected, and {seen:?} seen", entry.name, entry.code)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_corpus_is_large_has_no_name_twice_and_every_code_occurs() {
    let corpus = corpus();
    assert!(corpus.len() >= 150, "{}", corpus.len());
    assert_eq!(corpus.iter().map(|entry| &entry.name).collect::<BTreeSet<_>>().len(), corpus.len());
    let seen: BTreeSet<_> = corpus.iter().map(|entry| entry.code.as_str()).collect();
    let all: BTreeSet<_> = Refusal::CODES.into_iter().collect();
    assert_eq!(all.len(), Refusal::CODES.len(), "no code is there twice");
    assert_eq!(all.difference(&seen).collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[test]
fn a_good_proof_of_every_algorithm_is_accepted_once() {
    for algorithm in ALGORITHMS {
        for different in [json!({}), json!({ "iat": -60 }), json!({ "iat": 30 }), json!({ "exp": 1, "nbf": 30 })] {
            let mut good = entry(different.clone());
            good.key = Some(algorithm);
            assert!(good.answer().is_ok(), "{algorithm} {different}: {:?}", good.answer());
        }
    }
    for different in [
        json!({ "claims": { "htu": "HTTPS://KEYS.example.com:443/demo/./users/%74oken?a=b#c" } }),
        json!({ "claims": { "iat": 1_772_366_400.5, "custom": { "a": [1] } } }),
        json!({ "jwk": { "kid": "mine", "use": "sig", "alg": "ES256", "key_ops": ["verify"], "ext": true } }),
        json!({ "header": { "kid": "mine" } }),
    ] {
        let good = entry(different.clone());
        assert!(good.answer().is_ok(), "{different}: {:?}", good.answer());
    }
}

/// A client that has no nonce is given one, and the next is offered before the first has run out.
#[test]
fn a_client_gets_on_by_the_nonces_that_it_is_given() {
    let guard = guard(10);
    let key = pair(Algorithm::ES256);
    let address = Htu::read("https://keys.example.com/demo/users/token").unwrap();
    let request = Request { method: "POST", address: &address, token: None };
    let ask = |nonce: Option<String>, at: u64| {
        let mut made = entry(json!({ "claims": { "jti": at.to_string() } }));
        made.iat = i64::try_from(at).ok();
        match nonce {
            None => made.remove.push("claims.nonce".into()),
            Some(nonce) => drop(made.claims.insert("nonce".into(), nonce.into())),
        }
        guard.check(&[&made.proof(&key, &key.numbers().unwrap())], &request, now() + Span::seconds(at))
    };
    assert_eq!(ask(None, 0).unwrap_err(), Refusal::NonceMissing);
    let nonce = guard.nonce(now());
    let first = ask(Some(nonce.clone()), 1).unwrap();
    assert!(!first.wants_a_nonce() && ask(Some(nonce.clone()), 200).unwrap().wants_a_nonce());
    assert_eq!(ask(Some(nonce.clone()), 301).unwrap_err(), Refusal::NonceExpired);
    let proven = guard.spend(&first, now() + Span::seconds(1)).unwrap();
    assert_eq!(proven.jkt(), key.numbers().unwrap().thumbprint());
    assert_eq!(guard.spend(&first, now() + Span::seconds(1)), Err(Refusal::Replayed));
    assert_eq!(guard.remembered(), 1);

    // After a restart the same secret goes with another name: nothing that an earlier process gave or saw counts.
    let restarted = Guard::new(&SecretBytes::new(vec![7; 32]), ReplicaId([9; 16]), Window::default(), 10);
    let again = entry(json!({ "claims": { "nonce": nonce } })).proof(&key, &key.numbers().unwrap());
    assert!(guard.check(&[&again], &request, now()).is_ok());
    assert_eq!(restarted.check(&[&again], &request, now()).unwrap_err(), Refusal::NonceForeign);
}

const RFC_HEADER: &str = concat!(
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZld",
    "WQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19"
);

/// RFC 9449 §4.1 (a token request), §7.1 (a request with a bound token), §6.1 (the thumbprint that both keys have).
#[test]
fn rfc9449_examples() {
    let asked = concat!(
        "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYy",
        "MjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
    );
    let used = concat!(
        "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJj",
        "ZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71",
        "EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
    );
    let thumbprint: Digest = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".parse().unwrap();
    let at = |seconds: u64| Timestamp::EPOCH + Span::seconds(seconds);
    let judge = |text: &str, method: &str, address: &str, token: Option<PresentedToken<'_>>, now| {
        let text = format!("{RFC_HEADER}.{text}");
        let proof = Proof::read(&[&text])?;
        assert_eq!(proof.key, thumbprint);
        proof.judge(&Request { method, address: &Htu::read(address).unwrap(), token }, Window::default(), now)
    };
    let token_endpoint = |method, now| judge(asked, method, "https://server.example.com/token", None, now);
    assert_eq!(token_endpoint("POST", at(1_562_262_616)), Ok(()));
    assert_eq!(token_endpoint("POST", at(1_562_262_676)), Ok(()));
    assert_eq!(token_endpoint("POST", at(1_562_262_677)), Err(Refusal::TooOld(Span::seconds(61))));
    assert_eq!(token_endpoint("POST", at(1_562_262_585)), Err(Refusal::Ahead(Span::seconds(31))));
    assert_eq!(token_endpoint("GET", at(1_562_262_616)), Err(Refusal::Method));

    let resource = |token, now| judge(used, "GET", "https://resource.example.org/protectedresource", Some(token), now);
    let token = PresentedToken { text: TOKEN, bound_to: thumbprint };
    assert_eq!(resource(token, at(1_562_262_618)), Ok(()));
    assert_eq!(resource(PresentedToken { text: "another", ..token }, at(1_562_262_618)), Err(Refusal::TokenHash));
    let other_key = PresentedToken { bound_to: Digest::of(b"another key"), ..token };
    assert_eq!(resource(other_key, at(1_562_262_618)), Err(Refusal::OtherKey));
    assert!(!format!("{token:?}").contains(TOKEN));
}
