//! Edited policies: all or nothing, and never a word less than why not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::process::{Daemon, Home, keyrota, until};
use crate::verbs::done;

/// A policy under which nothing happens for a month.
pub const STEADY: &str = r#"version: 1
environment: fast
reconcile: "* * * * * *"
store: { kind: embedded }
defaults: { rotate_every: 30d, token_ttl: 1h, verifier_refresh: 15m, signer_refresh: 5m }
keysets:
  sessions: { algorithm: ES256 }
"#;
const ONE_MORE: &str = "  calls: { algorithm: EdDSA }\n";
const RELOADED: &str = "keyrota_policy_last_reload_successful{environment=\"fast\"}";

fn edited(more: &str) -> String {
    format!("{STEADY}{more}")
}

#[test]
fn reload_takes_a_good_edit_and_refuses_a_bad_one() {
    let home = Home::with(STEADY);
    let daemon = Daemon::start(&home, &["sessions"]);
    let before = daemon.document("sessions").unwrap();

    home.write(&edited(ONE_MORE));
    let reload = keyrota(&["reload", "--wait"], &daemon.runtime);
    let said = String::from_utf8_lossy(&reload.stdout).into_owned();
    assert_eq!((reload.status.code(), said.as_str()), (Some(0), "fast: in force\n"));
    assert_eq!(daemon.document("sessions").unwrap(), before, "what was not edited does not change");
    assert!(daemon.document("calls").is_some(), "what reload --wait waits for is that the new keyset was looked at");

    home.write(&edited("  calls: { algorithm: EdDSA, token_ttl: 90 }\n  more: { algorithm: ES256 }\n"));
    let reload = keyrota(&["reload", "--wait"], &daemon.runtime);
    let said = String::from_utf8_lossy(&reload.stdout).into_owned();
    assert_eq!(reload.status.code(), Some(1), "{said}");
    assert!(said.starts_with("fast: refused, the policy that was in force stays\n"), "{said}");
    assert!(said.contains("fast.yaml:8: ") && said.contains("token_ttl") && said.contains("hint: "), "{said}");
    assert_eq!(daemon.metric(RELOADED).as_deref(), Some("0"));
    let faults = daemon.status()["environments"][0]["policy"]["faults"].clone();
    assert!(faults[0].as_str().is_some_and(|fault| fault.contains("fast.yaml:8")), "{faults}");
    assert!(daemon.document("more").is_none(), "nothing of a bad edit is in force");
    assert_eq!(daemon.public_kids("sessions"), [before["kid"].as_str().unwrap()]);
    assert_eq!(daemon.operators("/readyz").unwrap().status, 200);
}

#[test]
fn a_hang_up_reloads_too() {
    let home = Home::with(STEADY);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    home.write("version: 1\nenvironment: fast\n");
    daemon.hang_up();
    until(&mut daemon, "the metric says that the edit is bad", |d| d.metric(RELOADED).as_deref() == Some("0"));
    assert!(daemon.said().contains("the policy is not taken"), "{}", daemon.said());
    home.write(&edited(ONE_MORE));
    daemon.hang_up();
    daemon.wait_for(&["sessions", "calls"]);
    assert_eq!(daemon.metric(RELOADED).as_deref(), Some("1"));
}

#[test]
fn a_keyset_that_left_the_policy_is_an_orphan_and_stays_served() {
    let home = Home::with(&edited(ONE_MORE));
    let daemon = Daemon::start(&home, &["sessions", "calls"]);
    let kids = daemon.public_kids("calls");
    home.write(STEADY);
    let reload = keyrota(&["reload", "--wait"], &daemon.runtime);
    assert_eq!(reload.status.code(), Some(0), "{}", String::from_utf8_lossy(&reload.stdout));
    let status = daemon.status();
    let keysets = status["environments"][0]["keysets"].as_array().unwrap();
    let calls = keysets.iter().find(|keyset| keyset["name"] == "calls").expect("the orphan is reported");
    assert_eq!(calls["rules"]["orphaned"], true, "{calls}");
    assert_eq!(daemon.public_kids("calls"), kids);
    assert_eq!(daemon.document("calls").unwrap()["kid"], *kids[0]);
}

#[test]
fn an_orphan_is_served_after_a_restart() {
    let home = Home::with(&edited(ONE_MORE));
    let mut daemon = Daemon::start(&home, &["sessions", "calls"]);
    let kids = daemon.public_kids("calls");
    assert_eq!(daemon.terminate().code(), Some(0));
    home.write(STEADY);
    let daemon = Daemon::start(&home, &["sessions", "calls"]);
    assert_eq!(daemon.public_kids("calls"), kids);
}

#[test]
fn an_environment_without_policy_and_keysets_is_over_and_may_begin_anew() {
    let home = Home::with(&edited(ONE_MORE));
    // A folder without any policy is believed to be the wrong one.
    let other = "version: 1\nenvironment: other\nstore: { kind: embedded }\nkeysets: {}\n";
    fs::write(home.folder("policies").join("other.yaml"), other).unwrap();
    let mut daemon = Daemon::spawn_every(&home);
    daemon.wait_for(&["sessions", "calls"]);
    let reload = || {
        let reload = keyrota(&["reload", "--wait"], &daemon.runtime);
        (reload.status.code(), String::from_utf8_lossy(&reload.stdout).into_owned())
    };
    fs::remove_file(home.folder("policies").join("fast.yaml")).unwrap();
    let (code, said) = reload();
    assert!(code == Some(1) && said.contains("the policy file is gone; hint: "), "{said}");
    assert!(daemon.document("sessions").is_some(), "what is served goes on");
    done(&daemon, &["remove", "fast/sessions", "--reason", "x"]);
    assert_eq!(reload().0, Some(1), "one keyset is left");
    done(&daemon, &["remove", "fast/calls", "--reason", "x"]);
    assert_eq!(reload(), (Some(0), "other: in force\n".to_owned()));
    assert_eq!(daemon.status()["environments"].as_array().map(Vec::len), Some(1));
    assert!(!home.folder("state").join("policies/fast.yaml").exists(), "nothing comes back with a restart");
    home.write(STEADY);
    assert_eq!(reload(), (Some(0), "fast: in force\nother: in force\n".to_owned()));
    assert!(daemon.document("sessions").is_some(), "an environment of that name may begin anew");
}

#[test]
fn a_folder_that_everybody_may_write_is_not_believed() {
    let home = Home::with(STEADY);
    let daemon = Daemon::start(&home, &["sessions"]);
    home.write(&edited(ONE_MORE));
    fs::set_permissions(home.folder("policies"), fs::Permissions::from_mode(0o777)).unwrap();
    let reload = keyrota(&["reload", "--wait"], &daemon.runtime);
    let said = String::from_utf8_lossy(&reload.stdout).into_owned();
    assert_eq!(reload.status.code(), Some(1), "{said}");
    assert!(said.contains("may be written by everybody") && said.contains("hint: "), "{said}");
    assert!(daemon.document("calls").is_none(), "its policies are not taken");
    assert!(daemon.document("sessions").is_some());
}
