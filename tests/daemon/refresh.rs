//! Refresh tokens over the network: who may use them, for what, until when; and what operators take back.

use std::fs;
use std::path::Path;
use std::process::Command;

use keyrota::time::Timestamp;
use serde_json::{Value, json};

use crate::endpoints::{Client, api_key, ask, ask_json, claims};
use crate::keys::imported;
use crate::process::{Daemon, ENVIRONMENT, Home, PATIENCE, deadline, keyrota, passed, rest, until};
use crate::token::now;
use crate::verbs::{done, said};

/// Nothing happens by itself; waits take seconds, so that a second replica sees a change soon.
const CALM: &str = in_seconds!(
    "rotate_every: 30d, token_ttl: 1h, clock_skew: 500ms, rollback_window: 0s",
    r#"  partner: { algorithm: api-key, secret_format: { prefix: pk_ } }
  other: { algorithm: api-key, secret_format: { prefix: pk_ } }
  refresh: { algorithm: HS256, token_ttl: 30d }
  users:
    algorithm: ES256
    token:
      profile: generic
      serve: true
      callers: [{ keyset: partner, subjects: ["user-*"] }, { keyset: other, subjects: ["user-*"] }]
      refresh: { ttl: 20d, sealed_by: refresh }
  api:
    algorithm: ES256
    token:
      profile: at+jwt
      issuer: "https://auth.example.com"
      audience: api
      serve: true
      callers: [{ keyset: partner, subjects: ["*"] }]
      refresh: { ttl: 30d, sealed_by: refresh }
  plain:
    algorithm: ES256
    token: { profile: generic, serve: true, callers: [{ keyset: partner, subjects: ["*"] }] }
  vendors: { algorithm: api-key, source: external }
  sold:
    algorithm: ES256
    token: { profile: generic, serve: true, callers: [{ keyset: vendors, subjects: ["*"] }] }
"#
);
const KEYSETS: [&str; 6] = ["partner", "other", "refresh", "users", "api", "plain"];
const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

fn calm() -> (Home, Daemon) {
    let home = Home::with(CALM);
    let daemon = Daemon::start(&home, &KEYSETS);
    (home, daemon)
}

/// A refresh token for that subject.
fn given(daemon: &Daemon, keyset: &str, key: &str, subject: &str) -> String {
    let told = ask_json(daemon, &format!("/{keyset}/token"), key, &json!({ "sub": subject })).json();
    told["refresh_token"].as_str().unwrap_or_else(|| panic!("no refresh token: {told}")).to_owned()
}

fn using(daemon: &Daemon, keyset: &str, key: &str, refresh: &str) -> Value {
    ask_json(daemon, &format!("/{keyset}/token"), key, &json!({ "grant_type": "refresh_token", "refresh_token": refresh })).json()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

#[test]
fn its_caller_gets_what_was_granted_and_no_more() {
    let (_home, daemon) = calm();
    let key = api_key(&daemon, "partner");
    let asked = json!({ "sub": "user-7", "scope": "read write", "claims": { "n": 7, "jti": "one" } });
    let first = ask_json(&daemon, "/users/token", &key, &asked).json();
    let refresh = text(&first["refresh_token"]);
    let ends: Timestamp = text(&first["refresh_expires_at"]).parse().unwrap();
    let days = (ends.as_millis() / 1000 - i64::try_from(now()).unwrap()).div_euclid(86_400);
    assert!((19..=20).contains(&days), "{first}");

    let again = using(&daemon, "users", &key, refresh);
    let said = claims(&daemon, "users", text(&again["access_token"]));
    assert_eq!((&said["sub"], &said["scope"], &said["n"], said.get("jti")), (&json!("user-7"), &json!("read write"), &json!(7), None));
    assert_eq!((&again["refresh_token"], &again["refresh_expires_at"]), (&first["refresh_token"], &first["refresh_expires_at"]));
    assert_eq!(again["token_type"], "Bearer");
    // As OAuth clients ask, with a narrower scope and a shorter life.
    let body = format!("grant_type=refresh_token&refresh_token={refresh}&client_id=partner&client_secret={key}&scope=read&ttl=1m");
    let narrow = ask(&daemon, "POST", "/users/token", &[FORM], &body).json();
    let said = claims(&daemon, "users", text(&narrow["access_token"]));
    assert_eq!((&said["scope"], said["exp"].as_u64().unwrap() - said["iat"].as_u64().unwrap()), (&json!("read"), 60));
    // Of an access token as RFC 9068 has it, too; each has a name of its own.
    let first = ask_json(&daemon, "/api/token", &key, &json!({ "sub": "ada", "scope": "read" })).json();
    let again = using(&daemon, "api", &key, text(&first["refresh_token"]));
    let [one, two] = [&first, &again].map(|told| claims(&daemon, "api", text(&told["access_token"])));
    assert_eq!((&one["client_id"], &one["scope"], &one["sub"]), (&two["client_id"], &two["scope"], &two["sub"]));
    assert_ne!(one["jti"], two["jti"]);

    let discovered = ask(&daemon, "GET", "/users/.well-known/openid-configuration", &[], "").json();
    assert_eq!(discovered["grant_types_supported"], json!(["client_credentials", "refresh_token"]));
    let plain = ask(&daemon, "GET", "/plain/.well-known/openid-configuration", &[], "").json();
    assert_eq!(plain["grant_types_supported"], json!(["client_credentials"]));
    assert!(!daemon.said().contains("keyrota_rt_") && !daemon.said().contains("user-7"), "nothing of it in the log");
}

#[test]
fn nobody_else_gets_anything_and_nobody_more() {
    let (_home, daemon) = calm();
    let (key, other) = (api_key(&daemon, "partner"), api_key(&daemon, "other"));
    let told = ask_json(&daemon, "/users/token", &key, &json!({ "sub": "user-7", "scope": "read" })).json();
    let refresh = text(&told["refresh_token"]);
    let bent = format!("{}{}", &refresh[..refresh.len() - 2], if refresh.ends_with("AA") { "BA" } else { "AA" });
    let grant = |more: Value| {
        let mut body = json!({ "grant_type": "refresh_token", "refresh_token": refresh });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (path, key, body, status, error, code) in [
        ("/users/token", &*other, grant(json!({})), 400, "invalid_grant", "refresh_unknown"),
        ("/api/token", &*key, grant(json!({})), 400, "invalid_grant", "refresh_unknown"),
        ("/users/token", &*key, grant(json!({ "refresh_token": bent })), 400, "invalid_grant", "refresh_unknown"),
        ("/users/token", &*key, grant(json!({ "refresh_token": told["access_token"] })), 400, "invalid_grant", "refresh_unknown"),
        ("/users/token", &*key, grant(json!({ "scope": "read write" })), 400, "invalid_scope", "scope_too_wide"),
        ("/users/token", &*key, grant(json!({ "sub": "user-8" })), 400, "invalid_request", "request_malformed"),
        ("/users/token", &*key, grant(json!({ "claims": { "n": 8 } })), 400, "invalid_request", "request_malformed"),
        ("/users/token", &*key, grant(json!({ "refresh_token": null })), 400, "invalid_request", "request_malformed"),
        ("/users/token", &*key, grant(json!({ "ttl": "2h" })), 422, "invalid_request", "ttl_too_long"),
        ("/plain/token", &*key, grant(json!({})), 400, "unsupported_grant_type", "request_malformed"),
        ("/users/token", "pk_wrong", grant(json!({})), 401, "invalid_client", "credential"),
        ("/users/token", refresh, grant(json!({})), 401, "invalid_client", "credential"),
    ] {
        let answer = ask_json(&daemon, path, key, &body);
        let told = answer.json();
        assert_eq!((answer.status, text(&told["error"]), text(&told["code"])), (status, error, code), "{path} {body}: {told}");
    }
    let judged = |key: &str, how: Value| ask_json(&daemon, "/users/introspect", key, &how).json();
    let own = judged(&key, json!({ "token": refresh, "token_type_hint": "refresh_token" }));
    assert_eq!(
        (&own["active"], &own["client_id"], &own["sub"], &own["scope"], &own["token_type"]),
        (&json!(true), &json!("partner"), &json!("user-7"), &json!("read"), &json!("refresh_token"))
    );
    assert_eq!(own["exp"].as_u64().unwrap() - own["iat"].as_u64().unwrap(), 20 * 86_400);
    // It is nothing that a service should take, and nothing that another caller learns of.
    assert_eq!(judged(&key, json!({ "token": refresh, "presented": "Bearer" }))["code"], "refresh_presented");
    assert_eq!(judged(&other, json!({ "token": refresh })), judged(&key, json!({ "token": bent })));
    // A policy that lets the caller ask for fewer subjects counts at once.
    assert!(using(&daemon, "users", &key, refresh)["access_token"].is_string());
}

#[test]
fn a_policy_that_takes_subjects_away_counts_for_what_was_granted_before() {
    let (home, mut daemon) = calm();
    let key = api_key(&daemon, "partner");
    let refresh = given(&daemon, "users", &key, "user-7");
    home.write(&CALM.replacen("keyset: partner, subjects: [\"user-*\"]", "keyset: partner, subjects: [\"user-8\"]", 1));
    daemon.hang_up();
    until(&mut daemon, "the policy counts", |daemon| using(daemon, "users", &key, &refresh)["code"] == "subject_not_allowed");
}

#[test]
fn a_bound_one_is_used_with_proofs_of_its_key_and_stays_the_same() {
    let (_home, daemon) = calm();
    let bearer = format!("Authorization: Bearer {}", api_key(&daemon, "partner"));
    let url = format!("http://{}/{ENVIRONMENT}/users/token", daemon.verifiers);
    let (client, thief) = (Client::new(), Client::new());
    let send = |proof: Option<String>, body: &Value| {
        let headers: Vec<&str> = [&*bearer, "Content-Type: application/json"].into_iter().chain(proof.as_deref()).collect();
        ask(&daemon, "POST", "/users/token", &headers, &body.to_string())
    };
    let challenged = send(Some(client.proof("POST", &url, None, None)), &json!({ "sub": "user-7" }));
    let nonce = challenged.header("dpop-nonce").unwrap().to_owned();
    let proof = |client: &Client| Some(client.proof("POST", &url, Some(&nonce), None));
    let first = send(proof(&client), &json!({ "sub": "user-7" })).json();
    let grant = json!({ "grant_type": "refresh_token", "refresh_token": first["refresh_token"] });
    let without = send(None, &grant);
    assert_eq!((without.status, text(&without.json()["code"])), (400, "proof_missing"));
    assert!(without.header("dpop-nonce").is_some());
    assert_eq!(send(proof(&thief), &grant).json()["code"], "key_mismatch");
    let jkt = client.pair.numbers().unwrap().thumbprint().to_string();
    for _ in 0..2 {
        let shown = proof(&client);
        let again = send(shown.clone(), &grant).json();
        assert_eq!((&again["token_type"], &again["refresh_token"]), (&json!("DPoP"), &first["refresh_token"]), "{again}");
        assert_eq!(claims(&daemon, "users", text(&again["access_token"]))["cnf"]["jkt"], jkt);
        assert_eq!(send(shown, &grant).json()["code"], "replayed");
    }
    let own = ask(&daemon, "POST", "/users/introspect", &[&bearer], &json!({ "token": first["refresh_token"] }).to_string()).json();
    assert_eq!((&own["active"], &own["cnf"]["jkt"]), (&json!(true), &json!(jkt)));
    // One that is bound to nothing can be used for a token that is.
    let free = send(None, &json!({ "sub": "user-7" })).json();
    let bound = send(proof(&client), &json!({ "grant_type": "refresh_token", "refresh_token": free["refresh_token"] })).json();
    assert_eq!(claims(&daemon, "users", text(&bound["access_token"]))["cnf"]["jkt"], jkt);
}

/// The verb with these words.
fn revoke<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&["token", "revoke", "fast/refresh"], args, &["--reason", "a test"]].concat()
}

#[test]
fn replicas_and_restarts_know_them_and_what_was_taken_back() {
    let (home, mut daemon) = calm();
    let mut replica = Daemon::spawn_in(&home, home.second_runtime());
    replica.wait_for(&KEYSETS);
    let (key, other) = (api_key(&daemon, "partner"), api_key(&daemon, "other"));
    let [ada, bob, eve] =
        [(&key, "user-ada"), (&key, "user-bob"), (&other, "user-eve")].map(|(key, sub)| given(&daemon, "users", key, sub));
    let elsewhere = given(&daemon, "api", &key, "user-ada");
    assert!(using(&replica, "users", &key, &ada)["access_token"].is_string(), "another replica opens it");

    for (args, says) in [
        (vec!["token", "revoke", "fast/users", "--all", "--reason", "a test"], "no refresh tokens are sealed with fast/users"),
        (revoke(&["--all", "--before", "2999-01-01T00:00:00Z"]), "still to come"),
        (revoke(&["--all", "--before", "31d"]), "has expired"),
    ] {
        let output = keyrota(&[&args[..], &["--yes"]].concat(), &daemon.runtime);
        assert!(output.status.code() == Some(1) && said(&output).contains(says) && said(&output).contains("hint: "), "{}", said(&output));
    }
    let foretold = keyrota(&[&revoke(&["--sub", "user-ada"])[..], &["--dry-run"]].concat(), &daemon.runtime);
    assert!(said(&foretold).contains("access tokens that were got with them are accepted until they expire"), "{}", said(&foretold));
    assert!(!said(&foretold).contains("no token dies"), "{}", said(&foretold));
    assert!(using(&daemon, "users", &key, &ada)["access_token"].is_string(), "it was only asked");

    let report = done(&daemon, &revoke(&["--sub", "user-ada"]));
    assert!(report.contains("done"), "{report}");
    for (keyset, token) in [("users", &ada), ("api", &elsewhere)] {
        let refused = using(&daemon, keyset, &key, token);
        assert_eq!((text(&refused["error"]), text(&refused["code"])), ("invalid_grant", "refresh_revoked"));
    }
    let judged = ask_json(&daemon, "/users/introspect", &key, &json!({ "token": ada })).json();
    assert_eq!((&judged["active"], text(&judged["code"])), (&json!(false), "refresh_revoked"));
    until(&mut replica, "the replica knows", |replica| using(replica, "users", &key, &ada)["code"] == "refresh_revoked");
    for daemon in [&daemon, &replica] {
        assert!(
            using(daemon, "users", &key, &bob)["access_token"].is_string()
                && using(daemon, "users", &other, &eve)["access_token"].is_string()
        );
    }
    done(&daemon, &revoke(&["--caller", "other"]));
    assert_eq!(using(&daemon, "users", &other, &eve)["code"], "refresh_revoked");
    let document = daemon.document("refresh").unwrap();
    assert!(document["revoked_grants"].as_array().unwrap().len() == 2 && !document.to_string().contains("user-ada"), "{document}");
    let status = said(&keyrota(&["status", "fast/refresh"], &daemon.runtime));
    for line in ["refresh tokens that were revoked", "about the subject with digest ", "given to callers of other "] {
        assert!(status.contains(line), "{line}: {status}");
    }

    assert_eq!((replica.terminate().code(), daemon.terminate().code()), (Some(0), Some(0)));
    let daemon = Daemon::start(&home, &KEYSETS);
    assert!(using(&daemon, "users", &key, &bob)["access_token"].is_string(), "after a restart too");
    assert_eq!(using(&daemon, "users", &key, &ada)["code"], "refresh_revoked");
    done(&daemon, &revoke(&["--all"]));
    assert_eq!(using(&daemon, "users", &key, &bob)["code"], "refresh_revoked");
    assert_eq!(daemon.document("refresh").unwrap()["revoked_grants"].as_array().unwrap().len(), 1, "what it makes needless is gone");
    let trail = said(&keyrota(&["audit", "tail", "--state-dir", home.folder("state").to_str().unwrap()], &daemon.runtime));
    assert!(trail.contains("revoke refresh tokens given to callers of other"), "{trail}");
}

/// Every verb of docs/tokens.md does what stands beside it, as it stands there but for the environment's name.
#[test]
fn the_verbs_of_the_docs_are_done() {
    let (_home, daemon) = calm();
    let key = api_key(&daemon, "partner");
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tokens.md")).unwrap();
    let block = page.split("```sh refresh\n").nth(1).unwrap().split("```").next().unwrap();
    let dies = [true, true, false];
    assert_eq!(block.lines().count(), dies.len());
    for (line, dies) in block.lines().zip(dies) {
        let refresh = given(&daemon, "users", &key, "user-7");
        let line = line.replacen("keyrota ", "\"$KEYROTA\" ", 1).replacen(" production/", " fast/", 1);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("{line} --yes")]).env_clear();
        let output = shell.env("KEYROTA", env!("CARGO_BIN_EXE_keyrota")).env("KEYROTA_RUNTIME_DIR", &daemon.runtime).output().unwrap();
        assert!(output.status.success(), "{line}: {}", said(&output));
        assert_eq!(using(&daemon, "users", &key, &refresh)["code"] == "refresh_revoked", dies, "{line}");
        // What was given within the skew of the clocks counts as given before: what is given next is to be later than that.
        let end = now() + 1;
        while now() <= end {
            rest();
        }
    }
}

/// What sealed them is taken back as any key, and with it all that it sealed.
#[test]
fn a_compromised_sealing_key_takes_its_refresh_tokens_along() {
    let (_home, mut daemon) = calm();
    let key = api_key(&daemon, "partner");
    let refresh = given(&daemon, "users", &key, "user-7");
    done(&daemon, &["compromise", "fast/refresh", "--reason", "a test"]);
    assert_eq!(using(&daemon, "users", &key, &refresh)["code"], "refresh_unknown");
    until(&mut daemon, "others are given", |daemon| {
        let told = ask_json(daemon, "/users/token", &key, &json!({ "sub": "user-7" }));
        assert!(told.status == 200 || told.status == 503, "{}", told.text());
        told.status == 200
    });
}

#[test]
fn a_revoked_api_key_is_let_in_no_more_and_an_expired_one_neither() {
    let (_home, mut daemon) = calm();
    let (old, old_kid) = (api_key(&daemon, "partner"), daemon.document("partner").unwrap()["kid"].clone());
    let refresh = given(&daemon, "users", &old, "user-7");
    done(&daemon, &["rotate", "fast/partner", "--now", "--reason", "a test"]);
    until(&mut daemon, "the next API key", |daemon| daemon.document("partner").unwrap()["kid"] != old_kid);
    let new = api_key(&daemon, "partner");
    for key in [&old, &new] {
        assert!(using(&daemon, "users", key, &refresh)["access_token"].is_string(), "old and new are the same caller");
    }
    done(&daemon, &["revoke", "fast/partner", text(&old_kid), "--reason", "a test"]);
    for path in ["/users/token", "/users/introspect", "/plain/token"] {
        assert_eq!(ask_json(&daemon, path, &old, &json!({ "sub": "user-7", "token": "x" })).status, 401, "{path}");
    }
    assert_eq!(using(&daemon, "users", &old, &refresh)["code"], "credential");
    assert!(using(&daemon, "users", &new, &refresh)["access_token"].is_string());

    // A vendor's API key says itself until when it is good.
    let moment = Timestamp::EPOCH + keyrota::time::Span::seconds(now() + 4);
    imported(
        &daemon,
        &["fast/vendors", "--kid", "v1", "--as", "active", "--expires", &moment.to_string()],
        "a-vendors-own-api-key-0123456789",
    );
    let asked = |daemon: &Daemon| ask_json(daemon, "/sold/token", "a-vendors-own-api-key-0123456789", &json!({ "sub": "ada" })).status;
    let mut accepted = false;
    until(&mut daemon, "it expires", |daemon| {
        let status = asked(daemon);
        accepted |= status == 200;
        // Whole seconds: in the second in which it expires it may be either.
        assert!(status == 200 || now() * 1000 + 1000 > u64::try_from(moment.as_millis()).unwrap(), "{status}");
        status == 401 && now() * 1000 > u64::try_from(moment.as_millis()).unwrap()
    });
    assert!(accepted, "before that it was let in");
    assert_eq!(asked(&daemon), 401);
}

/// Everything changes over every few seconds: what signs, what seals, and the API key.
const FAST: &str = in_seconds!(
    behind: "2s",
    "rotate_every: 7s, clock_skew: 500ms",
    r#"  partner: { algorithm: api-key }
  refresh: { algorithm: HS256, token_ttl: 9s }
  users:
    algorithm: ES256
    token_ttl: 3s
    token:
      profile: generic
      serve: true
      rate: 100000/1s
      callers: [{ keyset: partner, subjects: ["user-*"] }]
      refresh: { ttl: 9s, sealed_by: refresh }
"#
);

#[test]
fn they_are_good_until_they_expire_while_every_key_rotates() {
    let home = Home::with(FAST);
    let mut daemon = Daemon::start(&home, &["partner", "refresh", "users"]);
    let mut seen: [Vec<Value>; 3] = Default::default();
    // Each with its end in milliseconds, and the key that sealed it, as far as could be seen.
    let (mut alive, mut used, mut outlived) = (Vec::<(String, i64, Value)>::new(), 0, 0);
    let (mut read, mut key) = (0, String::new());
    let end = deadline(PATIENCE * 2);
    while seen.iter().any(|kids| kids.len() <= 3) {
        assert!(!passed(end) && daemon.lives(), "{seen:?}: {}", daemon.said());
        let sealing = daemon.document("refresh").unwrap()["kid"].clone();
        // A caller that reads its API key once a second, within the two that the policy states.
        if now() > read {
            (read, key) = (now(), api_key(&daemon, "partner"));
            let told = ask_json(&daemon, "/users/token", &key, &json!({ "sub": "user-7" })).json();
            let ends: Timestamp = text(&told["refresh_expires_at"]).parse().unwrap();
            alive.push((text(&told["refresh_token"]).to_owned(), ends.as_millis(), sealing.clone()));
        }
        let mut kid = Value::Null;
        alive.retain(|(refresh, ends, sealed_with)| {
            let told = using(&daemon, "users", &key, refresh);
            let over = told["code"] == "refresh_expired";
            let good = told["access_token"].is_string();
            assert!(good || over && *ends <= (i64::try_from(now()).unwrap() + 1) * 1000, "{told}");
            (used, outlived) = (used + 1, outlived + usize::from(good && *sealed_with != sealing));
            if good {
                kid = told["kid"].clone();
            }
            good
        });
        for (kids, kid) in seen.iter_mut().zip([json!(key), sealing, kid]) {
            if !kid.is_null() && !kids.contains(&kid) {
                kids.push(kid);
            }
        }
        rest();
    }
    assert!(used > 100 && outlived > 10, "{used} uses, {outlived} of one whose key had stood down");
}
