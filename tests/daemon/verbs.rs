//! Operators' verbs on a running daemon: what is said beforehand, what is done, what is refused and with which exit status.

use std::fs;
use std::process::Output;

use serde_json::Value;

use crate::process::{Daemon, Home, keyrota, until};

/// Nothing happens by itself for a month, and waits take seconds: store 5s + skew 1s + 100ms + 500ms.
pub const CALM: &str = in_seconds!(
    "rotate_every: 30d, token_ttl: 3s, clock_skew: 500ms",
    r#"  sessions:
    algorithm: ES256
    rollback_window: 9s
    publish:
      - file: { path: "{state_dir}/out/sessions.jwks.json", format: jwks }
"#
);
pub const SESSIONS: &str = "fast/sessions";

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The verb without asking back; it must be done.
#[track_caller]
pub fn done(daemon: &Daemon, args: &[&str]) -> String {
    let output = keyrota(&[args, &["--yes"]].concat(), &daemon.runtime);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
    said(&output)
}

/// The verb must be refused with this exit status and these words.
#[track_caller]
fn refused(daemon: &Daemon, args: &[&str], code: i32, says: &str) {
    let before = daemon.document("sessions");
    let output = keyrota(&[args, &["--yes"]].concat(), &daemon.runtime);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert!(text.contains(says) && text.contains("hint: "), "{args:?}: {text}");
    assert_eq!(daemon.document("sessions"), before, "{args:?}: nothing is half done");
}

fn kid(daemon: &Daemon) -> Option<String> {
    daemon.document("sessions").and_then(|d| d["kid"].as_str().map(str::to_owned))
}

/// The kid of the key in that state.
fn key(daemon: &Daemon, state: &str) -> Option<String> {
    let document = daemon.document("sessions")?;
    let keys = document["keys"].as_array()?;
    keys.iter().find(|key| key["state"] == state).map(|key| key["kid"].as_str().unwrap().to_owned())
}

fn started() -> (Home, Daemon) {
    let home = Home::with(CALM);
    let daemon = Daemon::start(&home, &["sessions"]);
    (home, daemon)
}

#[test]
fn a_rotation_that_is_asked_for_waits_and_kills_nothing() {
    let (_home, mut daemon) = started();
    let first = kid(&daemon).unwrap();
    let dry = keyrota(&["rotate", SESSIONS, "--dry-run"], &daemon.runtime);
    assert_eq!(dry.status.code(), Some(0));
    assert!(said(&dry).contains("activate") && !said(&dry).contains("tokens that"), "{}", said(&dry));
    assert!(key(&daemon, "published").is_none(), "a dry run does nothing");
    let text = done(&daemon, &["rotate", SESSIONS, "--reason", "a drill"]);
    assert!(text.contains("done, generation"), "{text}");
    until(&mut daemon, "the successor is announced", |d| key(d, "published").is_some());
    refused(&daemon, &["rotate", SESSIONS], 1, "asked for already");
    assert_eq!(daemon.public_kids("sessions").len(), 2);
    assert_eq!(kid(&daemon).unwrap(), first, "it waits");
    until(&mut daemon, "the successor signs", |d| kid(d).is_some_and(|kid| kid != first));
    assert!(daemon.public_kids("sessions").contains(&first), "tokens of the old key are still accepted");
    let history = daemon.status()["environments"][0]["keysets"][0]["document"]["history"].clone();
    let noted = history.as_array().unwrap().iter().find(|entry| entry["intent"] == "rotate").unwrap();
    assert!(noted["by"].as_str().is_some_and(|by| by.contains('(')), "who asked stands in the document: {noted}");
    assert_eq!(noted["reason"], "a drill");
}

#[test]
fn rotate_now_signs_at_once_and_says_what_that_costs() {
    let (_home, mut daemon) = started();
    let first = kid(&daemon).unwrap();
    assert_eq!(keyrota(&["rotate", SESSIONS, "--now", "--yes"], &daemon.runtime).status.code(), Some(2), "a reason is needed");
    let text = done(&daemon, &["rotate", SESSIONS, "--now", "--reason", "weak algorithm"]);
    assert!(text.contains("tokens that may be refused") && text.contains("next-1"), "{text}");
    until(&mut daemon, "a new key signs", |d| kid(d).is_some_and(|kid| kid != first));
    assert!(daemon.public_kids("sessions").contains(&first));
}

#[test]
fn a_revoked_key_is_out_of_every_key_set_and_its_successor_signs() {
    let (home, mut daemon) = started();
    let first = kid(&daemon).unwrap();
    refused(&daemon, &["revoke", SESSIONS, "no-such-kid", "--reason", "x"], 1, "no live key no-such-kid");
    let text = done(&daemon, &["revoke", SESSIONS, &first, "--reason", "found in a log"]);
    assert!(text.contains("tokens that die") && text.contains("nobody can sign"), "{text}");
    let set = daemon.verifiers("sessions").unwrap().text();
    assert!(!set.contains(&first), "it is gone at once: {set}");
    until(&mut daemon, "another key signs", |d| kid(d).is_some_and(|kid| kid != first));
    until(&mut daemon, "the file is without it", |_| {
        !fs::read_to_string(home.folder("state").join("out/sessions.jwks.json")).unwrap_or_default().contains(&first)
    });
    refused(&daemon, &["revoke", SESSIONS, &first, "--reason", "again"], 1, "was revoked already");
    let end = daemon.status()["environments"][0]["keysets"][0]["document"]["tombstones"][0].clone();
    assert_eq!(
        (end["kid"].as_str(), end["end"].as_str(), end["reason"].as_str()),
        (Some(&*first), Some("revoked"), Some("found in a log"))
    );
}

#[test]
fn a_compromise_replaces_every_key() {
    let (_home, mut daemon) = started();
    done(&daemon, &["rotate", SESSIONS]);
    until(&mut daemon, "two keys", |d| d.public_kids("sessions").len() == 2);
    let before = daemon.public_kids("sessions");
    done(&daemon, &["compromise", SESSIONS, "--reason", "laptop stolen"]);
    until(&mut daemon, "a new key signs", |d| kid(d).is_some());
    let after = daemon.public_kids("sessions");
    assert!(after.iter().all(|kid| !before.contains(kid)), "{before:?} {after:?}");
}

#[test]
fn a_rollback_brings_the_key_before_back_and_holds_the_next_until_approved() {
    let (_home, mut daemon) = started();
    refused(&daemon, &["rollback", SESSIONS], 4, "no key signed before");
    let first = kid(&daemon).unwrap();
    done(&daemon, &["rotate", SESSIONS, "--now", "--reason", "a drill"]);
    until(&mut daemon, "the second key signs", |d| kid(d).is_some_and(|kid| kid != first));
    let second = kid(&daemon).unwrap();
    done(&daemon, &["rotate", SESSIONS]);
    until(&mut daemon, "a third is announced", |d| key(d, "published").is_some());
    let third = key(&daemon, "published").unwrap();
    done(&daemon, &["rollback", SESSIONS]);
    assert_eq!((kid(&daemon), key(&daemon, "retiring")), (Some(first.clone()), Some(second)), "at once, and the other is still accepted");
    done(&daemon, &["approve", SESSIONS, &third]);
    refused(&daemon, &["approve", SESSIONS, &third], 1, "approved already");
    until(&mut daemon, "the approved key signs", |d| kid(d).as_ref() == Some(&third));
}

#[test]
fn a_freeze_holds_what_is_scheduled_and_no_emergency() {
    let (_home, mut daemon) = started();
    let first = kid(&daemon).unwrap();
    let text = done(&daemon, &["freeze", "fast", "--until", "300d", "--reason", "holidays"]);
    assert!(text.contains("passes max_age"), "{text}");
    refused(&daemon, &["rotate", SESSIONS], 4, "is frozen until");
    refused(&daemon, &["freeze", SESSIONS, "--until", "2020-01-01T00:00:00Z", "--reason", "x"], 1, "is over");
    done(&daemon, &["revoke", SESSIONS, &first, "--reason", "leaked"]);
    until(&mut daemon, "an emergency goes on", |d| kid(d).is_some_and(|kid| kid != first));
    done(&daemon, &["unfreeze", "fast"]);
    refused(&daemon, &["unfreeze", SESSIONS], 1, "is not frozen");
    let output = keyrota(&["unfreeze", "fast", "--yes"], &daemon.runtime);
    assert!(output.status.code() == Some(1) && said(&output).contains("no keyset in fast"), "{}", said(&output));
    done(&daemon, &["rotate", SESSIONS]);
}

#[test]
fn wrong_uses_are_told_apart_by_their_exit_status() {
    let (home, mut daemon) = started();
    refused(&daemon, &["rotate", "fast/nothing"], 1, "there is no keyset fast/nothing");
    refused(&daemon, &["rotate", "slow/sessions"], 1, "there is no environment slow");
    refused(&daemon, &["init", SESSIONS], 1, "exists already");
    refused(&daemon, &["accept", SESSIONS], 1, "is what this host saw last");
    refused(&daemon, &["accept", SESSIONS, "--clock"], 1, "not for sessions alone");
    refused(&daemon, &["remove", SESSIONS, "--reason", "x"], 4, "is in the policy");
    for args in
        [&["revoke", SESSIONS][..], &["rotate", "fast"], &["freeze", "fast", "--until", "soon", "--reason", "x"], &["remove", SESSIONS]]
    {
        assert_eq!(keyrota(args, &daemon.runtime).status.code(), Some(2), "{args:?}");
    }
    let unasked = keyrota(&["rotate", SESSIONS], &daemon.runtime);
    assert!(unasked.status.code() == Some(1) && said(&unasked).contains("--yes"), "nobody is there to be asked: {}", said(&unasked));
    assert!(key(&daemon, "staged").is_none() && key(&daemon, "published").is_none(), "and so nothing was done");

    home.write("version: 1\nenvironment: fast\nkeysets: {\n");
    daemon.hang_up();
    until(&mut daemon, "the broken file was noticed", |d| d.said().contains("the policy is not taken"));
    refused(&daemon, &["rotate", SESSIONS], 4, "is broken, so nothing begins");
    let first = kid(&daemon).unwrap();
    done(&daemon, &["revoke", SESSIONS, &first, "--reason", "a leak does not wait for a policy"]);
    until(&mut daemon, "another key signs", |d| kid(d).is_some_and(|kid| kid != first));

    let (store, away) = (home.folder("state").join("keysets.db"), home.folder("state").join("away.db"));
    fs::rename(&store, &away).unwrap();
    let output = keyrota(&["rotate", SESSIONS, "--yes"], &daemon.runtime);
    assert!(output.status.code() == Some(1) && said(&output).contains("nothing was changed"), "{}", said(&output));
    fs::rename(&away, &store).unwrap();
}

#[test]
fn what_was_agreed_to_is_done_or_nothing() {
    let (_home, mut daemon) = started();
    let first = kid(&daemon).unwrap();
    let dry = keyrota(&["rotate", SESSIONS, "--now", "--reason", "x", "--dry-run", "--output", "json"], &daemon.runtime);
    let shown: Value = serde_json::from_slice(&dry.stdout).unwrap();
    let fingerprint = shown["keysets"][0]["preview"]["fingerprint"].as_str().unwrap().to_owned();
    done(&daemon, &["rotate", SESSIONS, "--now", "--reason", "somebody else"]);
    until(&mut daemon, "another key signs", |d| kid(d).is_some_and(|kid| kid != first));
    let request = format!(
        r#"{{"environment":"fast","keyset":"sessions","verb":{{"name":"rotate","now":true}},"reason":"x","seen":{{"sessions":"{fingerprint}"}}}}"#
    );
    let before = kid(&daemon);
    let answer = crate::http::post(&daemon.runtime.join("control.sock"), "/v1/verbs", &request).unwrap();
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.text().contains("changed while you were reading"), "{}", answer.text());
    assert_eq!(kid(&daemon), before);
}

#[test]
fn a_keyset_past_its_inception_is_made_by_an_operator_and_removed_as_an_orphan() {
    let late = CALM.replace("    rollback_window: 9s\n", "    rollback_window: 9s\n    inception: 2020-01-01\n");
    let home = Home::with(&late);
    let mut daemon = Daemon::spawn(&home);
    until(&mut daemon, "it is ready", |d| d.operators("/readyz").is_ok_and(|a| a.status == 200));
    assert!(kid(&daemon).is_none());
    refused(&daemon, &["rotate", SESSIONS], 1, "has no key yet");
    done(&daemon, &["init", SESSIONS]);
    until(&mut daemon, "its first key signs", |d| kid(d).is_some());
    let file = home.folder("state").join("out/sessions.jwks.json");
    until(&mut daemon, "its file is there", |_| file.exists());

    home.write(&CALM.replace("  sessions:", "  others:").replace("sessions.jwks", "others.jwks"));
    assert_eq!(keyrota(&["reload", "--wait"], &daemon.runtime).status.code(), Some(0));
    refused(&daemon, &["rotate", SESSIONS], 4, "in no policy that is in force");
    let text = done(&daemon, &["remove", SESSIONS, "--reason", "the service is gone"]);
    assert!(text.contains("is removed") && text.contains("tokens that die"), "{text}");
    assert!(!file.exists(), "what it wrote is gone");
    assert_eq!(daemon.verifiers("sessions").unwrap().status, 404);
    refused(&daemon, &["remove", SESSIONS, "--reason", "again"], 1, "there is no keyset");
    assert_eq!(daemon.terminate().code(), Some(0));
    let daemon = Daemon::start(&home, &["others"]);
    let status = daemon.status();
    let names: Vec<_> = status["environments"][0]["keysets"].as_array().unwrap().iter().map(|k| k["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["others"], "nobody remembers it");
}

/// Puts the store back to how it was, as a back-up would, and starts again.
fn put_back(home: &Home, mut daemon: Daemon, change: impl FnOnce(&mut Daemon)) -> Daemon {
    assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.said());
    drop(daemon);
    let store = home.folder("state").join("keysets.db");
    let copy = fs::read(&store).unwrap();
    let mut daemon = Daemon::start(home, &["sessions"]);
    change(&mut daemon);
    assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.said());
    fs::write(&store, copy).unwrap();
    let mut daemon = Daemon::spawn(home);
    until(&mut daemon, "the witness objects", |d| d.said().contains("was seen here"));
    daemon
}

#[test]
fn a_document_that_went_back_is_accepted_by_an_operator() {
    let (home, daemon) = started();
    let first = kid(&daemon).unwrap();
    let mut daemon = put_back(&home, daemon, |daemon| {
        done(daemon, &["rotate", SESSIONS]);
        until(daemon, "a successor is announced", |d| key(d, "published").is_some());
    });
    refused(&daemon, &["rotate", SESSIONS], 1, "was seen here");
    let text = done(&daemon, &["accept", SESSIONS]);
    assert!(text.contains("was seen here"), "{text}");
    until(&mut daemon, "it signs again", |d| kid(d).as_ref() == Some(&first));
    done(&daemon, &["rotate", SESSIONS]);
}

#[test]
fn a_back_up_that_was_put_back_revives_no_revoked_key() {
    let (home, daemon) = started();
    let first = kid(&daemon).unwrap();
    let mut seen = 0;
    let mut daemon = put_back(&home, daemon, |daemon| {
        done(daemon, &["revoke", SESSIONS, &first, "--reason", "leaked"]);
        until(daemon, "another signs", |d| kid(d).is_some_and(|kid| kid != first));
        seen = daemon.document("sessions").unwrap()["generation"].as_u64().unwrap();
    });
    done(&daemon, &["restored", "fast", "--reason", "disk failed"]);
    until(&mut daemon, "a new key signs", |d| kid(d).is_some_and(|kid| kid != first));
    assert!(!daemon.public_kids("sessions").contains(&first));
    assert!(daemon.document("sessions").unwrap()["generation"].as_u64().unwrap() > seen, "no generation is used again");
}
