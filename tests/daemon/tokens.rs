//! Tokens that keyrota itself mints and verifies, while the keys rotate beneath them every few seconds.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::http;
use crate::process::{Daemon, ENVIRONMENT, Home, deadline, keyrota, passed, rest};
use crate::token::{self, Token, now};
use crate::verbs::said;

/// A new key every 7 s, announced 6.6 s, accepted for 9.6 s after.
const POLICY: &str = in_seconds!(
    "rotate_every: 7s, token_ttl: 3s, clock_skew: 500ms",
    r#"  sessions:
    algorithm: ES256
    token: { profile: generic, issuer: "https://auth.example.com", audience: [api, web], claims: { plan: pro } }
  api:
    algorithm: ES512
    token: { profile: at+jwt, issuer: "https://auth.example.com", audience: api }
  agents:
    algorithm: EdDSA
    token: { profile: inkeep-agents }
  search:
    algorithm: HS256
    secret_format: { prefix: sk-alg- }
    token: { profile: algolia }
  plain:
    algorithm: ES256
"#
);
const MINTING: [&str; 4] = ["sessions", "api", "agents", "search"];

/// Every key signs for this long at least before the test is over.
const CHANGE_OVERS: usize = 3;

fn asked(daemon: &Daemon, socket: &str, keyset: &str, what: &str, body: &Value) -> http::Answer {
    let path = format!("/v1/keysets/{ENVIRONMENT}/{keyset}/{what}");
    http::post(&daemon.runtime.join(socket), &path, &body.to_string()).unwrap()
}

fn minted(daemon: &Daemon, keyset: &str) -> Token {
    let claims = if keyset == "api" { json!({ "client_id": "web" }) } else { json!({}) };
    let answer = asked(daemon, "signer.sock", keyset, "token", &json!({ "sub": "ada", "ttl": "3s", "claims": claims }));
    let told = answer.json();
    assert_eq!(answer.status, 200, "{keyset}: {told}");
    let text = told["token"].as_str().unwrap().to_owned();
    let payload = jsonwebtoken::dangerous::insecure_decode_claims::<Value>(&text).unwrap();
    Token { keyset: keyset.to_owned(), kid: told["kid"].as_str().unwrap().to_owned(), text, expires: payload["exp"].as_u64().unwrap() }
}

/// Whether keyrota accepts it; `None` if it expired meanwhile, when either answer is right.
fn accepted(daemon: &Daemon, token: &Token) -> Option<Value> {
    let report = asked(daemon, "control.sock", &token.keyset, "verify", &json!({ "token": token.text })).json();
    (now() < token.expires).then_some(report)
}

#[test]
fn no_token_is_rejected_while_keys_rotate() {
    let home = Home::with(POLICY);
    let mut daemon = Daemon::start(&home, &MINTING);
    let mut kids = MINTING.map(|_| Vec::<String>::new());
    let (mut alive, mut judged) = (Vec::<Token>::new(), 0);
    let end = deadline(crate::process::PATIENCE * 2);
    while kids.iter().any(|kids| kids.len() <= CHANGE_OVERS) {
        assert!(!passed(end) && daemon.lives(), "{kids:?}: {}", daemon.said());
        for (keyset, kids) in MINTING.into_iter().zip(&mut kids) {
            let token = minted(&daemon, keyset);
            if kids.last() != Some(&token.kid) {
                assert!(!kids.contains(&token.kid), "a key that was followed signs again");
                kids.push(token.kid.clone());
            }
            alive.push(token);
        }
        alive.retain(|token| now() < token.expires);
        for token in &alive {
            let Some(report) = accepted(&daemon, token) else { continue };
            assert_eq!(report["valid"], true, "{}: {report}", token.keyset);
            assert_eq!((report["kid"].as_str(), report["claims"]["sub"].as_str()), (Some(token.kid.as_str()), Some("ada")));
            assert!(["active", "retiring"].contains(&report["state"].as_str().unwrap()), "{report}");
            if token.keyset != "api" {
                assert_eq!(report["second_opinion"], "accepted", "{report}");
            }
            judged += 1;
        }
        rest();
    }
    assert!(judged > 100, "{judged} verdicts");
    // A verifier that knows nothing of keyrota, with what it is given now.
    for keyset in ["sessions", "agents"] {
        let token = minted(&daemon, keyset);
        let set = daemon.verifiers(keyset).unwrap().json();
        assert_eq!(token::refused_by_set(&token, &set), None);
    }
    assert!(daemon.metric(r#"keyrota_http_requests_total{code="200",handler="token"}"#).is_some());
}

fn run(daemon: &Daemon, args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyrota"));
    command.args(args).env_clear().env("KEYROTA_RUNTIME_DIR", &daemon.runtime);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// With keys that nothing happens to.
fn calm() -> (Home, Daemon) {
    let home = Home::with(&POLICY.replace("rotate_every: 7s", "rotate_every: 30d").replace("token_ttl: 3s", "token_ttl: 1h"));
    let daemon = Daemon::start(&home, &[&MINTING[..], &["plain"]].concat());
    (home, daemon)
}

#[track_caller]
fn printed(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_token_is_minted_verified_and_looked_into_from_the_command_line() {
    let (home, daemon) = calm();
    let mint = |args: &[&str]| keyrota(&[&["token", "mint"], args].concat(), &daemon.runtime);
    let token = printed(&mint(&["fast/sessions", "--sub", "zoë", "--ttl", "15m", "--claim", "n=7", "--claim", "admin:=true"]), 0);
    assert_eq!(token.lines().count(), 1);

    let verified = printed(&run(&daemon, &["token", "verify", "-", "fast/sessions"], &token), 0);
    for part in ["accepted: key ", "(ES256, active)", "signature", "jsonwebtoken", "\"zoë\"", "plan: \"pro\"", "n: \"7\"", "admin: true"] {
        assert!(verified.contains(part), "{part} in {verified}");
    }
    assert!(!verified.contains("FAILED"), "{verified}");
    let wrong = printed(&run(&daemon, &["token", "verify", "-", "fast/plain"], &token), 1);
    assert!(wrong.contains("not accepted") && wrong.contains("no key is called") && !wrong.contains("zoë"), "{wrong}");

    let looked = printed(&run(&daemon, &["token", "inspect", "-"], &format!("Authorization: Bearer {token}")), 0);
    assert!(looked.starts_with("NOT VERIFIED") && looked.contains("\"zoë\""), "{looked}");
    let json: Value = serde_json::from_str(&printed(&run(&daemon, &["token", "inspect", "-", "--output", "json"], &token), 0)).unwrap();
    assert_eq!(
        (&json["verified"], &json["header"]["alg"], &json["claims"]["aud"]),
        (&json!(false), &json!("ES256"), &json!(["api", "web"]))
    );
    assert!(said(&run(&daemon, &["token", "inspect", "-"], "a.b")).contains("hint: "));

    let line = printed(&mint(&["fast/search", "--sub", "ada", "--header"]), 0);
    assert!(line.starts_with("X-Algolia-Secure-User-Token: eyJ"), "{line}");
    drop(home);
}

#[test]
fn key_sets_from_elsewhere_are_verified_against() {
    let (home, daemon) = calm();
    let token = printed(&keyrota(&["token", "mint", "fast/sessions", "--sub", "ada"], &daemon.runtime), 0);
    let file = home.folder("jwks.json");
    fs::write(&file, daemon.verifiers("sessions").unwrap().text()).unwrap();
    let verify = |args: &[&str], code| printed(&run(&daemon, &[&["token", "verify", "-"], args].concat(), &token), code);
    let file = file.to_str().unwrap();
    assert!(verify(&["--jwks", file], 0).contains("not made"));
    verify(&["--jwks", file, "--issuer", "https://auth.example.com", "--audience", "web"], 0);
    assert!(verify(&["--jwks", file, "--issuer", "https://other.example.com"], 1).contains("it was issued by"));
    assert!(verify(&["--jwks", file, "--audience", "other"], 1).contains("it is for"));
    verify(&["--jwks-url", &daemon.jwks_url("sessions")], 0);
    let json: Value = serde_json::from_str(&verify(&["--jwks-url", &daemon.jwks_url("plain"), "--output", "json"], 1)).unwrap();
    assert_eq!((&json["valid"], &json["checks"][1]["code"], json.get("claims")), (&json!(false), &json!("kid_unknown"), None));
    // Addresses that are nobody's (RFC 5737, RFC 3849): nothing is asked there.
    for far in ["http://192.0.2.1/jwks.json", "http://[2001:db8::1]/jwks.json", "http://keys.example.com/jwks.json"] {
        let refused = run(&daemon, &["token", "verify", "-", "--jwks-url", far], &token);
        assert_eq!((refused.status.code(), refused.stdout.as_slice()), (Some(1), &b""[..]), "{far}");
        assert!(said(&refused).contains("is plain http") && said(&refused).contains("hint: use https"), "{}", said(&refused));
    }
    let lacking = run(&daemon, &["token", "verify", "-"], &token);
    assert_eq!(lacking.status.code(), Some(2), "{}", said(&lacking));
}

#[test]
fn what_must_not_be_minted_is_refused_with_the_reason() {
    let (_home, daemon) = calm();
    for (args, says) in [
        (&["fast/sessions", "--sub", "ada", "--ttl", "61m"][..], "a token of 1h1m was asked for, and 1h is the longest"),
        (&["fast/sessions", "--sub", "ada", "--claim", "iss=me"], "claim `iss` cannot be asked for"),
        (&["fast/sessions", "--sub", "ada", "--claim", "plan=free"], "claim `plan` is set by the policy"),
        (&["fast/sessions"], "tokens of `generic` are about somebody"),
        (&["fast/api", "--sub", "ada"], "there is no client_id"),
        (&["fast/search", "--sub", "ada", "--claim", "a=b"], "claim `a` cannot be asked for"),
        (&["fast/plain", "--sub", "ada"], "no tokens are minted with keyset fast/plain"),
        (&["fast/nosuch", "--sub", "ada"], "there is no keyset fast/nosuch"),
    ] {
        let output = keyrota(&[&["token", "mint"], args].concat(), &daemon.runtime);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{args:?}");
        assert!(said(&output).contains(says) && said(&output).contains("hint: "), "{args:?}: {}", said(&output));
    }
    assert!(!daemon.said().contains("eyJ"), "no token in the log");
}
