//! The real binary: what it prints, and how it exits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails says so by panicking")]

mod daemon;
#[allow(dead_code, reason = "the scenes of the decision, of which some are shown here")]
#[path = "../lifecycle/fixture.rs"]
mod fixture;
mod golden;
mod previews;
mod reference;
mod state;

use std::path::Path;
use std::process::{Command, Output};

/// A moment at which nothing in particular happens.
const NOW: &str = "2026-03-31T00:30:00Z";
/// When the keysets of the tests began.
const BEGAN: &str = "2026-01-05T09:00:00Z";

/// Runs keyrota in a folder, without a terminal and without a daemon unless `args` name one.
fn keyrota(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keyrota"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("KEYROTA_RUNTIME_DIR", dir.join("no-daemon"))
        .output()
        .unwrap()
}

fn shipped(args: &[&str]) -> Output {
    keyrota(Path::new(env!("CARGO_MANIFEST_DIR")), args)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn the_shipped_policies_are_in_order() {
    let output = shipped(&["check", "--policies", "policies"]);
    assert_eq!(code(&output), 0, "{}", stdout(&output));
    let text = stdout(&output);
    assert!(text.contains("demo: 5 keysets, all in order"), "{text}");
    assert!(text.contains("development: 6 keysets, all in order"), "{text}");
    let json = shipped(&["check", "--policies", "policies", "--output", "json"]);
    let verdict: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(verdict["sound"], true);
    assert_eq!(verdict["keysets"].as_array().unwrap().len(), 20);
}

#[test]
fn every_fault_is_told_with_its_line_and_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("p")).unwrap();
    let text = "version: 1\nenvironment: p\ndefaults: {verifier_refresh: 15m, signer_refresh: 5m}\nkeysets:\n  a:\n    algorithm: ES257\n    token_ttl: 15\n";
    std::fs::write(dir.path().join("p/p.yaml"), text).unwrap();
    for command in ["check", "plan"] {
        let output = keyrota(dir.path(), &[command, "--policies", "p"]);
        assert_eq!(code(&output), 1);
        let text = stdout(&output);
        assert!(text.contains("p/p.yaml:6: keysets.a.algorithm: "), "{text}");
        assert!(text.contains("p/p.yaml:7: keysets.a.token_ttl: `15` has no unit; hint: "), "{text}");
        assert!(text.ends_with("2 faults\n"), "{text}");
    }
    let json = keyrota(dir.path(), &["check", "--policies", "p", "--output", "json"]);
    let verdict: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((code(&json), &verdict["sound"], &verdict["faults"][1]["line"]), (1, &false.into(), &7.into()));
}

#[test]
fn the_schema_is_the_one_that_is_shipped() {
    let output = shipped(&["schema"]);
    assert_eq!(code(&output), 0);
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let file = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/policy.schema.json")).unwrap();
    assert_eq!(printed, serde_json::from_slice::<serde_json::Value>(&file).unwrap());
}

#[test]
fn the_shipped_policies_can_be_planned_and_every_rotation_overlaps() {
    let args = ["plan", "--policies", "policies", "--fresh", "--now", NOW, "--output", "json"];
    let output = shipped(&args);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let keysets = plan["keysets"].as_array().unwrap();
    assert_eq!(keysets.len(), 20);
    let sessions = keysets.iter().find(|k| k["keyset"] == "user-sessions" && k["environment"] == "development").unwrap();
    let steps: Vec<(&str, &str)> =
        sessions["calendar"].as_array().unwrap().iter().map(|s| (s["step"].as_str().unwrap(), s["kid"].as_str().unwrap_or(""))).collect();
    let place = |step| steps.iter().position(|s| *s == step).unwrap();
    assert!(place(("confirm-published", "next-2")) < place(("activate", "next-2")), "announced before it signs");
    assert!(place(("activate", "next-2")) < place(("retire", "next-1")), "still accepted after it signed last");
    assert_eq!(output.stdout, shipped(&args).stdout, "the same twice");
}

#[test]
fn without_a_daemon_plan_says_so_and_status_is_an_error_with_a_hint() {
    let plan = shipped(&["plan", "--policies", "policies", "--environment", "demo", "--now", NOW]);
    assert_eq!(code(&plan), 0);
    assert!(stdout(&plan).contains("note: no daemon answers on "), "{}", stdout(&plan));
    for args in [&["status"][..], &["reload"], &["jwks", "demo/user-sessions"]] {
        let output = shipped(args);
        assert_eq!(code(&output), 1);
        let text = stderr(&output);
        assert!(text.contains("no-daemon/control.sock; hint: start one with `keyrota run`"), "{text}");
    }
}

#[test]
fn completions_and_manuals_come_from_the_definition() {
    for shell in ["bash", "zsh", "fish"] {
        let output = shipped(&["completions", shell]);
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("metrics-listen"), "{shell}");
    }
    let page = shipped(&["man"]);
    assert!(stdout(&page).contains(".TH keyrota 1"), "{}", stdout(&page));
    let dir = tempfile::tempdir().unwrap();
    let output = keyrota(dir.path(), &["man", "--dir", "."]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    for page in ["keyrota.1", "keyrota-run.1", "keyrota-plan.1"] {
        assert!(dir.path().join(page).exists(), "{page}");
    }
    assert_eq!(code(&keyrota(dir.path(), &["man", "--dir", "nowhere"])), 1);
}

#[test]
fn wrong_command_lines_exit_with_2_and_help_with_0() {
    for args in
        [&["no-such-command"][..], &["plan", "--horizon", "90"], &["plan", "--fresh", "--state", "x"], &["jwks"], &["status", "X"], &[]]
    {
        let output = shipped(args);
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
    for args in [&["--help"][..], &["--version"], &["run", "-h"], &["help", "plan"]] {
        let output = shipped(args);
        assert_eq!(code(&output), 0, "{args:?}");
    }
    assert!(stdout(&shipped(&["--help"])).contains("Exit status:"));
}

#[test]
fn the_address_of_a_key_set_needs_no_daemon() {
    let output = shipped(&["jwks", "demo/user-sessions", "--url", "--base", "https://keys.example/"]);
    assert_eq!(stdout(&output), "https://keys.example/demo/user-sessions/.well-known/jwks.json\n");
}
