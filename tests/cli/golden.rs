//! What people read, held in files. `UPDATE_GOLDEN=1 cargo test --test cli` writes them anew.

use std::path::Path;

use keyrota::policy::{Policy, parse};
use keyrota::status_report::StatusReport;

use crate::daemon::asked;
use crate::state::{SECRET, report, troubled};
use crate::{BEGAN, NOW, code, keyrota, stderr, stdout};

const SHOP: &str = r#"version: 1
environment: shop
defaults: { rotate_every: 30d, verifier_refresh: 15m, signer_refresh: 5m, clock_skew: 60s }
keysets:
  user-sessions:
    algorithm: ES256
    token_ttl: 24h
    rotation_window: { cron: "0 0 3 * * Tue", duration: 2h, timezone: Europe/Paris }
  service-calls: { algorithm: EdDSA, token_ttl: 5m, rotate_every: 7d }
  webhooks: { algorithm: HS256, token_ttl: 5m }
  orders: { algorithm: ES256, token_ttl: 1h }
  vendor: { algorithm: HS256, token_ttl: 24h, source: external }
"#;

fn policy(text: &str) -> Policy {
    parse(Path::new("shop.yaml"), text).unwrap().0
}

fn fixed() -> StatusReport {
    report(&policy(SHOP), BEGAN.parse().unwrap(), NOW.parse().unwrap())
}

fn written(report: &StatusReport) -> String {
    serde_json::to_string(report).unwrap()
}

/// Compares with the golden file, or writes it.
pub fn golden(name: &str, text: &str) {
    held(&format!("tests/golden/{name}"), text);
}

/// The same for any file of the project.
pub fn held(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
}

/// Plans an edit of the shop's policy over its fixed state.
fn edited(text: &str, more: &[&str]) -> std::process::Output {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("edited")).unwrap();
    std::fs::write(dir.path().join("edited/shop.yaml"), text).unwrap();
    std::fs::write(dir.path().join("status.json"), written(&fixed())).unwrap();
    let args = [&["plan", "--policies", "edited", "--state", "status.json", "--now", NOW], more].concat();
    keyrota(dir.path(), &args)
}

#[test]
fn plan_of_a_running_daemon() {
    let (request, output) =
        asked(&["plan", "--now", NOW, "--horizon", "60d", "shop/user-sessions", "shop/vendor"], 200, &written(&fixed()));
    assert_eq!(request, "GET /v1/status HTTP/1.1");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    let (basis, rest) = text.split_once('\n').unwrap();
    assert!(basis.ends_with("control.sock, by the policies in force"), "{basis}");
    golden("plan.txt", rest);
}

#[test]
fn plan_of_an_edit() {
    let text = SHOP
        .replace("token_ttl: 24h\n    rotation", "token_ttl: 1h\n    rotation")
        .replace("EdDSA, token_ttl: 5m, rotate_every: 7d", "ES256, token_ttl: 10m, rotate_every: 14d")
        .replace("  orders: { algorithm: ES256, token_ttl: 1h }\n", "  carts: { algorithm: ES256, token_ttl: 1h }\n");
    let output = edited(&text, &["--horizon", "40d"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    golden("plan-edit.txt", &stdout(&output));
    let drawn = edited(&text, &["--horizon", "40d", "--svg", "/dev/stdout", "--output", "json"]);
    let (picture, json) =
        stdout(&drawn).split_once("</svg>\n{").map(|(svg, json)| (format!("{svg}</svg>\n"), format!("{{{json}"))).unwrap();
    golden("plan-edit.svg", &picture);
    let plan: serde_json::Value = serde_json::from_str(&json).unwrap();
    let standing = |name: &str| plan["keysets"].as_array().unwrap().iter().find(|k| k["keyset"] == name).unwrap()["standing"].clone();
    assert_eq!((standing("carts"), standing("orders"), standing("webhooks")), ("new".into(), "orphaned".into(), "kept".into()));
}

#[test]
fn an_unedited_policy_changes_nothing() {
    let output = edited(SHOP, &["--output", "json"]);
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for keyset in plan["keysets"].as_array().unwrap() {
        assert_eq!(keyset["changes"], serde_json::json!([]), "{}", keyset["keyset"]);
    }
}

#[test]
fn a_change_of_class_is_refused_with_4() {
    let output = edited(&SHOP.replace("webhooks: { algorithm: HS256", "webhooks: { algorithm: ES256"), &[]);
    assert_eq!(code(&output), 4);
    let text = stdout(&output);
    assert!(text.contains("refused: the keyset holds HMAC secrets, and the policy asks for key pairs; hint: "), "{text}");
}

#[test]
fn status_when_all_is_well() {
    let body = written(&fixed());
    let (request, output) = asked(&["status"], 200, &body);
    assert_eq!(request, "GET /v1/status HTTP/1.1");
    golden("status.txt", &stdout(&output));
    let (_, json) = asked(&["status", "--output", "json"], 200, &body);
    assert_eq!(stdout(&json), body, "as the daemon wrote it");
}

#[test]
fn status_when_much_is_wrong() {
    let (_, output) = asked(&["status"], 200, &written(&troubled(fixed())));
    assert_eq!(code(&output), 3);
    golden("status-troubled.txt", &stdout(&output));
}

#[test]
fn status_of_one_keyset() {
    let (request, output) = asked(&["status", "shop/user-sessions"], 200, &written(&fixed()));
    assert_eq!(request, "GET /v1/status?environment=shop&keyset=user-sessions HTTP/1.1");
    golden("status-keyset.txt", &stdout(&output));
    let (_, missing) = asked(&["status", "shop/nothing"], 200, &written(&fixed()));
    assert_eq!(code(&missing), 1);
}

#[test]
fn nothing_that_is_printed_is_secret() {
    let body = written(&fixed());
    assert!(!body.contains(SECRET));
    for args in [&["status"][..], &["status", "shop/webhooks"], &["plan", "--now", NOW], &["jwks", "shop/user-sessions"]] {
        assert!(!stdout(&asked(args, 200, &body).1).contains(SECRET), "{args:?}");
    }
}

#[test]
fn a_key_set_is_printed_and_a_secret_one_is_not() {
    let (_, output) = asked(&["jwks", "shop/user-sessions"], 200, &written(&fixed()));
    let set: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(set["keys"].as_array().unwrap().iter().all(|k| k["use"] == "sig" && k["alg"] == "ES256" && k.get("d").is_none()));
    let (_, hmac) = asked(&["jwks", "shop/webhooks"], 200, &written(&fixed()));
    assert_eq!((code(&hmac), stdout(&hmac).as_str()), (1, ""));
    assert!(stderr(&hmac).contains("are secrets, which are never published"), "{}", stderr(&hmac));
}

#[test]
fn a_refused_reload_tells_its_faults_and_exits_with_1() {
    let body = r#"{"done":true,"environments":[{"name":"shop","in_force":false,"faults":["shop.yaml:3: x; hint: y"]},{"name":"demo","in_force":true}]}"#;
    let (request, output) = asked(&["reload", "--wait"], 200, body);
    assert_eq!(request, "POST /v1/reload?wait=120s HTTP/1.1");
    assert_eq!(code(&output), 1);
    assert_eq!(stdout(&output), "shop: refused, the policy that was in force stays\n  shop.yaml:3: x; hint: y\ndemo: in force\n");
    let (request, output) = asked(&["reload"], 202, r#"{"done":false}"#);
    assert_eq!((request.as_str(), code(&output)), ("POST /v1/reload HTTP/1.1", 0));
}

#[test]
fn what_the_daemon_refuses_is_told() {
    let (_, output) = asked(&["status"], 403, r#"{"error":"uid 7 may not ask","hint":"join the group ops"}"#);
    assert_eq!(code(&output), 1);
    assert_eq!(stderr(&output), "keyrota: uid 7 may not ask; hint: join the group ops\n");
}
