//! Keys that come from outside and keys that go there: import, export, purge.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::process::{Daemon, Home, keyrota, until};
use crate::token;
use crate::verbs::{done, said};

const POLICY: &str = in_seconds!(
    "rotate_every: 30d, token_ttl: 3s, clock_skew: 500ms, rollback_window: 0s",
    "  sessions: { algorithm: ES256 }
  old: { algorithm: RS256, start: import }
  search: { algorithm: HS256, source: external }
"
);
pub const FIRST: &str = "first-secret-of-the-vendor-0123456789";
pub const SECOND: &str = "second-secret-of-the-vendor-0123456789";

fn with_input(args: &[&str], runtime: &Path, input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyrota"));
    command.args(args).arg("--runtime-dir").arg(runtime).env_clear();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
pub fn imported(daemon: &Daemon, args: &[&str], input: &str) {
    let output = with_input(&[&["import"], args, &["--yes"]].concat(), &daemon.runtime, input);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
}

pub fn kid(daemon: &Daemon, keyset: &str) -> Option<String> {
    daemon.document(keyset).and_then(|d| d["kid"].as_str().map(str::to_owned))
}

fn pem(name: &str) -> String {
    fs::read_to_string(format!("{}/tests/material/{name}.pem", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn a_vendors_keys_run_side_by_side_like_any_other() {
    let home = Home::with(POLICY);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    imported(&daemon, &["fast/search", "--kid", "sk-1", "--as", "active", "--expires", "2099-01-01T00:00:00Z"], FIRST);
    until(&mut daemon, "the vendor's key signs", |d| kid(d, "search").as_deref() == Some("sk-1"));
    let document = daemon.document("search").unwrap();
    assert_eq!((document["secret"].as_str(), document["keys"][0]["origin"].as_str()), (Some(FIRST), Some("imported")));
    let token = token::mint(&document, 3);
    imported(&daemon, &["fast/search", "--kid", "sk-2"], &format!("{SECOND}\n"));
    until(&mut daemon, "the next one is announced", |d| d.document("search").unwrap()["keys"].as_array().unwrap().len() == 2);
    assert_eq!(kid(&daemon, "search").as_deref(), Some("sk-1"), "it waits like any other");
    for (args, input, says) in [
        (&["fast/search", "--kid", "sk-2"][..], SECOND, "was used before"),
        (&["fast/search", "--kid", "sk-3"], "short", "needs 32 at least"),
        (&["fast/search"], SECOND, "--kid"),
        (&["fast/search", "--kid", "sk-3", "--expires", "2020-01-01T00:00:00Z"], SECOND, "has expired already"),
        (&["fast/nothing", "--kid", "sk-3"], SECOND, "there is no keyset"),
    ] {
        let output = with_input(&[&["import"], args, &["--yes"]].concat(), &daemon.runtime, input);
        assert!(output.status.code() == Some(1) && said(&output).contains(says), "{args:?}: {}", said(&output));
        assert!(!said(&output).contains(SECOND) && !daemon.said().contains(SECOND), "nothing of a key is ever told");
    }
    assert!(token::refused_by_secrets(&token, &daemon.document("search").unwrap()).is_none(), "old tokens are accepted");
    let revoke = keyrota(&["compromise", "fast/search", "--reason", "x", "--yes"], &daemon.runtime);
    assert!(revoke.status.code() == Some(4) && said(&revoke).contains("keyrota import"), "{}", said(&revoke));
}

#[test]
fn a_brownfield_key_is_adopted_without_breaking_its_tokens() {
    let home = Home::with(POLICY);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    let as_next = with_input(&["import", "fast/old", "--as", "active", "--yes"], &daemon.runtime, &pem("rsa-1024"));
    assert!(as_next.status.code() == Some(1) && said(&as_next).contains("1024"), "{}", said(&as_next));
    imported(&daemon, &["fast/old", "--as", "active", "--created", "2026-01-01T00:00:00Z"], &pem("rsa-pkcs1"));
    until(&mut daemon, "the old key signs", |d| kid(d, "old").is_some());
    let document = daemon.document("old").unwrap();
    assert_eq!(document["keys"][0]["created_at"], "2026-01-01T00:00:00.000Z");
    let twice = with_input(&["import", "fast/old", "--as", "active", "--kid", "x", "--yes"], &daemon.runtime, &pem("rsa-pkcs1"));
    assert!(twice.status.code() == Some(4) && said(&twice).contains("signs with"), "{}", said(&twice));
    assert_eq!(daemon.public_kids("old"), [kid(&daemon, "old").unwrap()]);
}

#[test]
fn an_exported_key_is_the_one_that_signs() {
    let home = Home::with(POLICY);
    let daemon = Daemon::start(&home, &["sessions"]);
    let export = |args: &[&str]| {
        let output = keyrota(&[&["export"], args].concat(), &daemon.runtime);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let document = daemon.document("sessions").unwrap();
    let text = |name: &str| document[name].as_str().unwrap().to_owned();
    assert_eq!(export(&["fast/sessions", "--format", "pem"]), text("private_key") + &text("public_key"));
    assert_eq!(export(&["fast/sessions", "--format", "pem", "--public"]), text("public_key"));
    let jwk: serde_json::Value = serde_json::from_str(&export(&["fast/sessions", "--format", "jwk"])).unwrap();
    assert!(jwk["d"].is_string() && jwk["kid"] == document["kid"]);
    let public: serde_json::Value = serde_json::from_str(&export(&["fast/sessions", "--format", "jwk", "--public"])).unwrap();
    assert!(public.get("d").is_none() && public["x"] == jwk["x"]);
    let env = export(&["fast/sessions", "--format", "env", "--kid-name", "SIGNING_KEY_ID", "--key-name", "SIGNING_KEY"]);
    assert!(env.starts_with(&format!("SIGNING_KEY_ID={}\n", text("kid"))) && env.contains("\nSIGNING_KEY=\"-----BEGIN"), "{env}");
    let whole: serde_json::Value = serde_json::from_str(&export(&["fast/sessions", "--format", "document"])).unwrap();
    assert_eq!(whole, document);
    for (args, says) in [(&["fast/old", "--format", "pem"][..], "hint"), (&["fast/nothing", "--format", "jwk", "--public"], "no keyset")] {
        let output = keyrota(&[&["export"], args].concat(), &daemon.runtime);
        assert!(output.status.code() == Some(1) && said(&output).contains(says), "{args:?}: {}", said(&output));
    }
    imported(&daemon, &["fast/search", "--kid", "sk-1", "--as", "active"], FIRST);
    let env = export(&["fast/search", "--format", "env", "--kid-name", "ALGOLIA_KEY_ID", "--key-name", "ALGOLIA_SECRET_KEY"]);
    assert_eq!(env, format!("ALGOLIA_KEY_ID=sk-1\nKEYROTA_ALGORITHM=HS256\nALGOLIA_SECRET_KEY={FIRST}\n"));
}

#[test]
fn a_purge_leaves_nothing_of_what_is_gone() {
    let home = Home::with(POLICY);
    let daemon = Daemon::start(&home, &["sessions"]);
    for _ in 0..20 {
        done(&daemon, &["compromise", "fast/sessions", "--reason", "a drill"]);
    }
    let store = home.folder("state").join("keysets.db");
    let log = home.folder("state").join("keysets.db-wal");
    let text = done(&daemon, &["purge", "fast"]);
    assert!(text.contains("nothing but what is in force"), "{text}");
    assert_eq!(fs::metadata(&log).map_or(0, |m| m.len()), 0, "the log is cut");
    let database = rusqlite::Connection::open_with_flags(&store, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let free: i64 = database.query_row("PRAGMA freelist_count", [], |row| row.get(0)).unwrap();
    assert_eq!(free, 0, "no freed page is left");
    assert!(daemon.document("sessions").is_some());
}
