//! Tokens over the network, asked for as backends on other machines do: with API keys, while API keys and signing keys rotate beneath.

use std::ffi::OsStr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use keyrota::digest::Digest;
use keyrota::key::{Algorithm, KeySpec, KidFormat};
use keyrota::keygen::{KeyPair, generate};
use keyrota::time::Timestamp;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::process::{Daemon, ENVIRONMENT, Home, PATIENCE, deadline, passed, rest};
use crate::token::{self, Token, now};

const CALM: &str = r#"version: 1
environment: fast
store: { kind: embedded }
defaults: { token_ttl: 1h, verifier_refresh: 15m, signer_refresh: 5m }
keysets:
  partner: { algorithm: api-key, secret_format: { prefix: pk_ } }
  other: { algorithm: api-key, secret_format: { prefix: pk_ } }
  refresh: { algorithm: HS256 }
  users:
    algorithm: ES256
    token: { profile: generic, serve: true, callers: [{ keyset: partner, subjects: ["user-*", root] }], claims: { plan: pro }, refresh: { ttl: 1h, sealed_by: refresh } }
  api:
    algorithm: RS256
    rsa_bits: 2048
    token:
      profile: at+jwt
      issuer: "https://auth.example.com"
      audience: api
      serve: true
      callers: [{ keyset: partner, subjects: ["*"] }]
  seldom:
    algorithm: ES256
    token: { profile: generic, serve: true, rate: 3/1h, callers: [{ keyset: partner, subjects: ["*"] }, { keyset: other, subjects: [a] }] }
  chat:
    algorithm: ES256
    token: { profile: amigo, serve: true, callers: [{ keyset: partner, subjects: ["user-*"] }] }
  memory:
    algorithm: HS256
    token: { profile: hyperspell, serve: true, callers: [{ keyset: partner, subjects: ["user-*"] }] }
  quiet:
    algorithm: ES256
    token: { profile: generic }
"#;
const KEYSETS: [&str; 9] = ["partner", "other", "refresh", "users", "api", "seldom", "chat", "memory", "quiet"];

fn calm() -> (Home, Daemon) {
    let home = Home::with(CALM);
    let daemon = Daemon::start(&home, &KEYSETS);
    (home, daemon)
}

/// The API key of a keyset that its signers present now.
pub fn api_key(daemon: &Daemon, keyset: &str) -> String {
    daemon.document(keyset).unwrap()["secret"].as_str().unwrap().to_owned()
}

pub fn ask(daemon: &Daemon, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    http::request(daemon.verifiers, method, &format!("/{ENVIRONMENT}{path}"), headers, body).unwrap()
}

pub fn ask_json(daemon: &Daemon, path: &str, key: &str, body: &Value) -> Answer {
    ask(daemon, "POST", path, &[&format!("Authorization: Bearer {key}"), "Content-Type: application/json"], &body.to_string())
}

/// What it claims, once it was held against the key set.
pub fn claims(daemon: &Daemon, keyset: &str, text: &str) -> Value {
    let claims = jsonwebtoken::dangerous::insecure_decode_claims::<Value>(text).unwrap();
    let kid = jsonwebtoken::decode_header(text).unwrap().kid.unwrap();
    let token = Token { keyset: keyset.to_owned(), kid, text: text.to_owned(), expires: claims["exp"].as_u64().unwrap() };
    assert_eq!(token::refused_by_set(&token, &daemon.verifiers(keyset).unwrap().json()), None);
    claims
}

#[test]
fn whoever_the_policy_names_gets_tokens_in_every_way_of_asking() {
    let (_home, daemon) = calm();
    let key = api_key(&daemon, "partner");
    let answer = ask_json(&daemon, "/users/token", &key, &json!({ "sub": "user-7", "ttl": "10m", "claims": { "n": 7 } }));
    let told = answer.json();
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{told}");
    let said = claims(&daemon, "users", told["access_token"].as_str().unwrap());
    assert_eq!((&said["sub"], &said["plan"], &said["n"]), (&json!("user-7"), &json!("pro"), &json!(7)));
    assert_eq!(said["exp"].as_u64().unwrap() - said["iat"].as_u64().unwrap(), 600);
    assert_eq!(told["token_type"], "Bearer");
    assert!((1..=600).contains(&told["expires_in"].as_u64().unwrap()), "{told}");

    let form = "Content-Type: application/x-www-form-urlencoded";
    let basic = format!("Authorization: Basic {}", STANDARD.encode(format!("partner:{key}")));
    let posted = format!("grant_type=client_credentials&sub=user-8&expires_in=60&client_id=partner&client_secret={key}");
    for (headers, body) in [
        (vec![form.to_owned(), format!("x-api-key: {key}")], "sub=user-8&expires_in=60"),
        (vec![form.to_owned(), basic.clone()], "grant_type=client_credentials&sub=user-8&ttl=1m"),
        (vec![form.to_owned()], posted.as_str()),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = ask(&daemon, "POST", "/users/token", &headers, body);
        assert_eq!(answer.status, 200, "{headers:?}: {}", answer.text());
        assert_eq!(claims(&daemon, "users", answer.json()["access_token"].as_str().unwrap())["sub"], "user-8");
    }
    // An access token names its client, and RSA is signed apart.
    let answer = ask(&daemon, "POST", "/api/token", &[form, &basic], "sub=ada&scope=read+write");
    let said = claims(&daemon, "api", answer.json()["access_token"].as_str().unwrap());
    assert_eq!((&said["client_id"], &said["scope"]), (&json!("partner"), &json!("read write")));
    assert!(!daemon.said().contains("eyJ") && !daemon.said().contains(&key), "neither tokens nor keys in the log");
}

#[test]
fn whoever_must_not_have_a_token_is_told_why_or_nothing() {
    let (_home, daemon) = calm();
    let key = api_key(&daemon, "partner");
    let bearer = format!("Authorization: Bearer {key}");
    let stranger = format!("Authorization: Bearer {}", api_key(&daemon, "other"));
    let body = r#"{"sub": "user-7"}"#;
    // One answer for every credential and keyset that is not accepted.
    let mut unknown = std::collections::BTreeSet::new();
    let misnamed = format!("Authorization: Basic {}", STANDARD.encode(format!("other:{key}")));
    for (path, headers) in [
        ("/users/token", &[][..]),
        ("/users/token", &["Authorization: Bearer nonsense"]),
        ("/users/token", &[&*stranger]),
        ("/users/token", &[&*misnamed]),
        ("/users/token", &["Authorization: Bearer"]),
        ("/users/introspect", &[&*stranger]),
        ("/quiet/token", &[&*bearer]),
        ("/nosuch/token", &[&*bearer]),
        ("/partner/token", &[&*bearer]),
    ] {
        let answer = ask(&daemon, "POST", path, headers, body);
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (401, Some("Bearer realm=\"keyrota\"")),
            "{path}: {}",
            answer.text()
        );
        unknown.insert(answer.body);
    }
    assert_eq!(unknown.len(), 1, "{unknown:?}");

    let long = format!(r#"{{"sub": "user-{}"}}"#, "x".repeat(17_000));
    for (path, body, status, code) in [
        ("/users/token", r#"{"sub": "admin"}"#, 403, "subject_not_allowed"),
        ("/users/token", r#"{"sub": "xuser-7"}"#, 403, "subject_not_allowed"),
        ("/users/token", "{}", 403, "subject_not_allowed"),
        ("/api/token", "{}", 422, "subject_missing"),
        ("/users/token", r#"{"sub": "user-7", "ttl": "61m"}"#, 422, "ttl_too_long"),
        ("/users/token", r#"{"sub": "user-7", "expires_in": 0}"#, 422, "ttl_too_short"),
        ("/users/token", r#"{"sub": "user-7", "claims": {"plan": "free"}}"#, 422, "claim_of_policy"),
        ("/users/token", r#"{"sub": "user-7", "claims": {"cnf": {}}}"#, 422, "claim_owned"),
        ("/users/token", r#"{"sub": "user-7", "sub": "root"}"#, 400, "request_malformed"),
        ("/users/token", r#"{"sub": "user-7", "role": "root"}"#, 400, "request_malformed"),
        ("/users/token", r#"{"sub": 7}"#, 400, "request_malformed"),
        ("/users/token", "sub", 400, "request_malformed"),
        ("/users/token", &long, 413, "request_too_long"),
        ("/users/v1/acme/user/signin_with_api_key", "", 404, "profile_mismatch"),
    ] {
        let answer = ask(&daemon, "POST", path, &[&bearer], body);
        let told = answer.json();
        assert_eq!((answer.status, told["code"].as_str()), (status, Some(code)), "{path} {body:.60}: {told}");
        assert!(told["error"].is_string() && told["error_description"].is_string() && told["hint"].is_string(), "{told}");
    }
    let told = ask(&daemon, "POST", "/users/token", &[&bearer], r#"{"sub": "user-7", "ttl": "61m"}"#).json();
    assert!(told["error_description"].as_str().unwrap().contains("1h is the longest"), "{told}");
    let twice = ask(&daemon, "POST", "/users/token", &[&bearer, &format!("x-api-key: {key}")], body);
    assert_eq!(twice.json()["code"], "request_malformed");
    assert_eq!(ask(&daemon, "GET", "/users/token", &[&bearer], "").status, 405);
}

#[test]
fn an_api_key_asks_as_often_as_the_rate_says() {
    let (_home, daemon) = calm();
    let (partner, other) = (api_key(&daemon, "partner"), api_key(&daemon, "other"));
    let asked = |key: &str, sub: &str| ask_json(&daemon, "/seldom/token", key, &json!({ "sub": sub }));
    for _ in 0..3 {
        assert_eq!(asked(&partner, "ada").status, 200);
    }
    let refused = asked(&partner, "ada");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (429, Some("too_many_requests")));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=1200).contains(&wait), "{wait}");
    assert_eq!(asked(&other, "a").status, 200, "each API key has its own");
    assert_eq!(ask_json(&daemon, "/users/token", &partner, &json!({ "sub": "root" })).status, 200, "and for each keyset");
}

#[test]
fn introspection_says_what_is_wrong_with_a_token() {
    let (_home, daemon) = calm();
    let key = api_key(&daemon, "partner");
    let minted = ask_json(&daemon, "/users/token", &key, &json!({ "sub": "user-7" })).json();
    let token = minted["access_token"].as_str().unwrap();
    let judged = |keyset: &str, token: &str| ask_json(&daemon, &format!("/{keyset}/introspect"), &key, &json!({ "token": token })).json();
    let good = judged("users", token);
    assert_eq!(
        (&good["active"], &good["sub"], &good["kid"], &good["token_type"]),
        (&json!(true), &json!("user-7"), &minted["kid"], &json!("Bearer"))
    );
    let (front, signature) = token.rsplit_once('.').unwrap();
    let bent = format!("{front}.{}{}", if signature.starts_with('A') { "B" } else { "A" }, &signature[1..]);
    for (keyset, token, code) in [("users", bent.as_str(), "signature"), ("chat", token, "kid_unknown"), ("users", "a.b", "parts")] {
        let bad = judged(keyset, token);
        assert_eq!((&bad["active"], bad.get("sub")), (&json!(false), None), "{bad}");
        assert_eq!(bad["code"], code, "{bad}");
        assert!(bad["reason"].as_str().unwrap().contains("; hint: "), "{bad}");
    }
}

#[test]
fn the_vendors_shapes_are_theirs() {
    let (_home, daemon) = calm();
    let document = daemon.document("partner").unwrap();
    let (key, kid) = (document["secret"].as_str().unwrap(), document["kid"].as_str().unwrap());
    let sign_in = "/chat/v1/acme/user/signin_with_api_key";
    let headers = [format!("x-api-key: {key}"), format!("x-api-key-id: {kid}"), "x-user-id: user-7".to_owned()];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let told = ask(&daemon, "POST", sign_in, &headers, "").json();
    assert_eq!(claims(&daemon, "chat", told["id_token"].as_str().unwrap())["sub"], "user-7");
    assert!(
        told["expires_at"].as_str().unwrap().ends_with('Z') && told["expires_at"].as_str().unwrap().parse::<Timestamp>().is_ok(),
        "{told}"
    );
    assert_eq!(ask(&daemon, "POST", sign_in, &[headers[0], "x-api-key-id: another", headers[2]], "").status, 401);
    assert_eq!(ask(&daemon, "POST", sign_in, &headers[..2], "").status, 400);

    let minted = |body: &Value| ask_json(&daemon, "/memory/auth/user_token", key, body);
    let token = minted(&json!({ "user_id": "user-7", "expires_in": "30m" })).json()["token"].as_str().unwrap().to_owned();
    let me = |headers: &[&str]| ask(&daemon, "GET", "/memory/auth/me", headers, "");
    let by_token = me(&[&format!("Authorization: Bearer {token}")]).json();
    assert_eq!((&by_token["id"], &by_token["app"]["id"]), (&json!("user-7"), &json!("memory")));
    let bearer = format!("Authorization: Bearer {key}");
    assert_eq!(me(&[&bearer, "X-As-User: user-9"]).json()["id"], "user-9");
    assert_eq!((me(&[&bearer, "X-As-User: admin"]).status, me(&[&bearer]).status, me(&[]).status), (403, 400, 401));
    assert_eq!(me(&[&format!("Authorization: Bearer {token}x")]).status, 401);

    let bound = minted(&json!({ "user_id": "user-7", "origin": "https://app.example.com" })).json()["token"].as_str().unwrap().to_owned();
    let bound = format!("Authorization: Bearer {bound}");
    assert_eq!(me(&[&bound, "Origin: https://app.example.com"]).status, 200);
    assert_eq!(
        (me(&[&bound, "Origin: https://evil.example.com"]).json()["code"].as_str(), me(&[&bound]).status),
        (Some("origin_mismatch"), 401)
    );

    for (body, field, kind) in [
        (json!({ "user_id": "user-7", "expires_in": "2h" }), Some("expires_in"), "ttl_too_long"),
        (json!({ "user_id": "user-7", "expires_in": "soon" }), None, "request_malformed"),
        (json!({ "user_id": "user-7", "origin": "app" }), Some("origin"), "claim_malformed"),
    ] {
        let answer = minted(&body);
        let detail = answer.json()["detail"][0].clone();
        let loc: Vec<&str> = ["body"].into_iter().chain(field).collect();
        assert_eq!((answer.status, &detail["loc"], detail["type"].as_str()), (422, &json!(loc), Some(kind)), "{detail}");
        assert!(detail["msg"].is_string());
    }
}

#[test]
fn standard_clients_find_the_endpoints() {
    let (_home, daemon) = calm();
    let origin = format!("http://{}", daemon.verifiers);
    let told = ask(&daemon, "GET", "/users/.well-known/openid-configuration", &[], "").json();
    assert_eq!(told["issuer"], format!("{origin}/fast/users"));
    assert_eq!(told["jwks_uri"], daemon.jwks_url("users"));
    assert_eq!(told["token_endpoint"], format!("{origin}/fast/users/token"));
    assert_eq!(told["id_token_signing_alg_values_supported"], json!(["ES256"]));
    assert_eq!(ask(&daemon, "GET", "/users/.well-known/oauth-authorization-server", &[], "").json(), told);
    let inserted = http::tcp(daemon.verifiers, "/.well-known/oauth-authorization-server/fast/users").unwrap();
    assert_eq!(inserted.json(), told);
    let quiet = ask(&daemon, "GET", "/quiet/.well-known/openid-configuration", &[], "").json();
    assert_eq!((quiet.get("token_endpoint"), &quiet["jwks_uri"]), (None, &json!(daemon.jwks_url("quiet"))));
    for none in ["partner", "memory", "nosuch"] {
        assert_eq!(ask(&daemon, "GET", &format!("/{none}/.well-known/openid-configuration"), &[], "").status, 404, "{none}");
    }
    // What the document lists is served, by that method and no other.
    let document = http::tcp(daemon.verifiers, "/openapi.json").unwrap().json();
    let mut listed = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let real = path.replace("{environment}", "fast").replace("{keyset}", "users").replace("{organization}", "acme");
        for method in ["get", "post"] {
            let answer = http::request(daemon.verifiers, &method.to_uppercase(), &real, &[], "").unwrap();
            let is_listed = operations.get(method).is_some();
            assert_eq!(answer.status == 405, !is_listed, "{method} {path}: {}", answer.status);
            assert!(!is_listed || [200, 401].contains(&answer.status), "{method} {path}: {}", answer.text());
            listed += usize::from(is_listed);
        }
    }
    assert_eq!(listed, 9);
}

/// A client with a key of its own.
pub struct Client {
    pub pair: KeyPair,
    jwk: Value,
}

impl Client {
    pub fn new() -> Self {
        let spec = KeySpec::Pair { algorithm: Algorithm::ES256, rsa_bits: 2048, kid: KidFormat::Uuid, certificate: None };
        let key = generate(&spec, "2026-03-01T12:00:00Z".parse().unwrap()).unwrap();
        let pair = KeyPair::from_pkcs8_pem(key.secret().unwrap(), Algorithm::ES256).unwrap();
        let jwk = serde_json::to_value(pair.numbers().unwrap()).unwrap();
        Self { pair, jwk }
    }

    pub fn proof(&self, method: &str, url: &str, nonce: Option<&str>, token: Option<&str>) -> String {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let jti = MADE.fetch_add(1, Ordering::Relaxed);
        let mut claims = json!({ "jti": format!("{}-{jti}", now()), "htm": method, "htu": url, "iat": now() });
        let more = [("nonce", nonce.map(str::to_owned)), ("ath", token.map(|token| Digest::of(token.as_bytes()).to_string()))];
        for (name, value) in more {
            if let Some(value) = value {
                claims[name] = json!(value);
            }
        }
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk })), encode(&claims));
        let signature = self.pair.sign(signed.as_bytes()).unwrap();
        format!("DPoP: {signed}.{}", URL_SAFE_NO_PAD.encode(&signature))
    }
}

#[test]
fn a_token_is_bound_to_the_key_that_is_proven() {
    let (_home, daemon) = calm();
    let key = api_key(&daemon, "partner");
    let bearer = format!("Authorization: Bearer {key}");
    let client = Client::new();
    let url = |path: &str| format!("http://{}/{ENVIRONMENT}{path}", daemon.verifiers);
    let token_for = |proof: &str| ask(&daemon, "POST", "/users/token", &[&bearer, proof], r#"{"sub": "user-7"}"#);
    let challenged = token_for(&client.proof("POST", &url("/users/token"), None, None));
    assert_eq!((challenged.status, challenged.json()["error"].as_str()), (400, Some("use_dpop_nonce")));
    let nonce = challenged.header("dpop-nonce").unwrap().to_owned();
    let elsewhere = client.proof("POST", "https://other.example.com/fast/users/token", Some(&nonce), None);
    assert_eq!(token_for(&elsewhere).json()["code"], "htu_mismatch", "its Host header says what it likes");
    let proof = client.proof("POST", &url("/users/token"), Some(&nonce), None);
    let granted = token_for(&proof).json();
    assert_eq!(granted["token_type"], "DPoP", "{granted}");
    let token = granted["access_token"].as_str().unwrap();
    let jkt = client.pair.numbers().unwrap().thumbprint().to_string();
    assert_eq!(claims(&daemon, "users", token)["cnf"]["jkt"], jkt);
    let again = token_for(&proof);
    assert_eq!((again.status, again.json()["code"].as_str()), (400, Some("replayed")));

    let judged = |how: Value| ask_json(&daemon, "/users/introspect", &key, &how).json();
    assert_eq!(judged(json!({ "token": token }))["code"], "bound_as_bearer");
    let bound = judged(json!({ "token": token, "presented": "DPoP" }));
    assert_eq!((&bound["active"], &bound["token_type"], &bound["cnf"]["jkt"]), (&json!(true), &json!("DPoP"), &json!(jkt)));

    // Hyperspell's `me` takes a bound token with a proof for it, and not without.
    let proof = client.proof("POST", &url("/memory/auth/user_token"), Some(&nonce), None);
    let minted = ask(&daemon, "POST", "/memory/auth/user_token", &[&bearer, &proof], r#"{"user_id": "user-7"}"#).json();
    let token = minted["token"].as_str().unwrap();
    let me = |headers: &[&str]| ask(&daemon, "GET", "/memory/auth/me", headers, "");
    assert_eq!(me(&[&format!("Authorization: Bearer {token}")]).json()["code"], "bound_as_bearer");
    let presented = format!("Authorization: DPoP {token}");
    assert_eq!(me(&[&presented]).json()["code"], "proof_missing");
    let proof = client.proof("GET", &url("/memory/auth/me"), Some(&nonce), Some(token));
    assert_eq!(
        me(&[&presented, &Client::new().proof("GET", &url("/memory/auth/me"), Some(&nonce), Some(token))]).json()["code"],
        "key_mismatch"
    );
    assert_eq!(me(&[&presented, &proof]).json()["id"], "user-7");
    assert_eq!(me(&[&presented, &proof]).json()["code"], "replayed");
}

/// On every address of the host, without TLS: key sets are served, and nothing that is secret, whoever asks and from where.
#[test]
fn nothing_secret_travels_in_the_clear() {
    let home = Home::with(CALM);
    let mut daemon = Daemon::spawn_open(&home);
    daemon.wait_for(&KEYSETS);
    let key = api_key(&daemon, "partner");
    assert_eq!(daemon.verifiers("users").unwrap().status, 200);
    for (method, path) in [
        ("POST", "/users/token"),
        ("POST", "/users/introspect"),
        ("POST", "/nosuch/token"),
        ("POST", "/chat/v1/acme/user/signin_with_api_key"),
        ("POST", "/memory/auth/user_token"),
        ("GET", "/memory/auth/me"),
    ] {
        let headers = [format!("x-api-key: {key}"), "x-user-id: user-7".to_owned(), "X-As-User: user-7".to_owned()];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = ask(
            &daemon,
            method,
            path,
            &headers,
            if method == "POST" { r#"{"sub": "user-7", "user_id": "user-7", "token": "x"}"# } else { "" },
        );
        assert_eq!((answer.status, answer.text().contains("exposed")), (403, true), "{method} {path}: {}", answer.text());
        assert!(answer.text().contains("--tls-cert") && !answer.text().contains("eyJ"), "{}", answer.text());
    }
    assert!(daemon.said().contains("tokens are not served on 0.0.0.0:"), "{}", daemon.said());
}

/// What clients know is the proxy: neither the address that is listened on nor what a request says of its host.
#[test]
fn behind_a_proxy_everything_is_under_its_origin() {
    let home = Home::with(CALM);
    let mut daemon = Daemon::spawn_saying(&home, &["--behind-tls-proxy", "https://keys.example.com"].map(OsStr::new));
    daemon.wait_for(&KEYSETS);
    let told = ask(&daemon, "GET", "/users/.well-known/openid-configuration", &[], "").json();
    assert_eq!(told["token_endpoint"], "https://keys.example.com/fast/users/token");
    assert_eq!(http::tcp(daemon.verifiers, "/openapi.json").unwrap().json()["servers"][0]["url"], "https://keys.example.com");
    let (client, bearer) = (Client::new(), format!("Authorization: Bearer {}", api_key(&daemon, "partner")));
    let asked = |proof: &str| ask(&daemon, "POST", "/users/token", &[&bearer, proof], r#"{"sub": "user-7"}"#);
    let here = format!("http://{}/fast/users/token", daemon.verifiers);
    let refused = asked(&client.proof("POST", &here, None, None));
    assert_eq!(refused.json()["code"], "htu_mismatch");
    let nonce = refused.header("dpop-nonce").unwrap();
    let proof = client.proof("POST", told["token_endpoint"].as_str().unwrap(), Some(nonce), None);
    assert_eq!(asked(&proof).json()["token_type"], "DPoP");
}

/// Every command of the page is run as it stands, but for the address and the names of things.
#[test]
fn the_requests_of_the_docs_are_answered() {
    let (_home, daemon) = calm();
    let refresh = ask_json(&daemon, "/users/token", &api_key(&daemon, "partner"), &json!({ "sub": "user-7" })).json();
    let refresh = refresh["refresh_token"].as_str().unwrap().to_owned();
    let page = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tokens.md")).unwrap();
    let document = daemon.document("partner").unwrap();
    let text = |name: &str| document[name].as_str().unwrap().to_owned();
    let mut run = 0;
    for line in page.lines().filter(|line| line.starts_with("curl ") && line.contains("https://keys.example.com/")) {
        let line = line.replace("https://keys.example.com/production/", &format!("http://{}/fast/", daemon.verifiers));
        let line = line.replace("https://keys.example.com", &format!("http://{}", daemon.verifiers));
        let output = Command::new("sh")
            .args(["-c", &line.replacen("curl ", "curl --silent --show-error --fail-with-body ", 1)])
            .envs([("KEY", text("secret")), ("KEY_ID", text("kid")), ("REFRESH", refresh.clone())])
            .output()
            .unwrap();
        let answered = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && serde_json::from_str::<Value>(&answered).is_ok(), "{line}: {answered} {output:?}");
        run += 1;
    }
    assert_eq!(run, 7, "the page's requests were found");
}

/// Signing keys and API keys change over every few seconds; callers go on with the API key that they read a moment ago.
const FAST: &str = in_seconds!(
    behind: "2s",
    "rotate_every: 7s, clock_skew: 500ms",
    r#"  partner: { algorithm: api-key }
  users:
    algorithm: ES256
    token_ttl: 3s
    token: { profile: generic, serve: true, rate: 100000/1s, callers: [{ keyset: partner, subjects: ["user-*"] }] }
"#
);

#[test]
fn no_call_fails_while_api_keys_and_signing_keys_rotate() {
    let home = Home::with(FAST);
    let mut daemon = Daemon::start(&home, &["partner", "users"]);
    let (mut kids, mut keys) = (Vec::new(), Vec::new());
    let (mut alive, mut judged) = (Vec::<(String, u64)>::new(), 0);
    let (mut key, mut read) = (api_key(&daemon, "partner"), now());
    let end = deadline(PATIENCE * 2);
    while kids.len() <= 3 || keys.len() <= 3 {
        assert!(!passed(end) && daemon.lives(), "{kids:?} {}: {}", keys.len(), daemon.said());
        // A caller that reads its key once a second, within the two that the policy states.
        if now() > read {
            (read, key) = (now(), api_key(&daemon, "partner"));
        }
        if keys.last() != Some(&key) {
            keys.push(key.clone());
        }
        let answer = ask_json(&daemon, "/users/token", &key, &json!({ "sub": "user-7" }));
        let told = answer.json();
        assert_eq!(answer.status, 200, "{told}");
        if kids.last() != Some(&told["kid"]) {
            kids.push(told["kid"].clone());
        }
        let expires = now() + told["expires_in"].as_u64().unwrap();
        alive.push((told["access_token"].as_str().unwrap().to_owned(), expires));
        alive.retain(|(_, expires)| now() < *expires);
        for (token, expires) in &alive {
            let verdict = ask_json(&daemon, "/users/introspect", &key, &json!({ "token": token })).json();
            assert!(verdict["active"] == true || now() >= *expires, "{verdict}");
            judged += 1;
        }
        rest();
    }
    assert!(judged > 100, "{judged} verdicts");
}
