//! A new master key under a running daemon: by the command, beside a second daemon, and through `kill -9` at random moments.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::chance::Chance;
use crate::process::{Daemon, Home, PATIENCE, deadline, keyrota, passed, rest, until};
use crate::token;
use crate::verbs::{CALM, SESSIONS, done, said};

fn key(home: &Home) -> String {
    fs::read_to_string(home.folder("state").join("master.key")).unwrap()
}

fn next_key(home: &Home) -> std::path::PathBuf {
    home.folder("state").join("master.key.next")
}

fn proven(daemon: &Daemon) {
    let proof = keyrota(&["audit", "verify"], &daemon.runtime);
    assert_eq!(proof.status.code(), Some(0), "{}", said(&proof));
}

fn offline_proof(home: &Home, runtime: &Path) {
    let proof = keyrota(&["audit", "verify", "--state-dir", home.folder("state").to_str().unwrap()], runtime);
    assert_eq!(proof.status.code(), Some(0), "{}", said(&proof));
}

#[test]
fn a_new_master_key_changes_no_signing_key_and_outlives_a_restart() {
    let home = Home::with(CALM);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    let (before, old) = (daemon.document("sessions"), key(&home));
    let dry = keyrota(&["rekey", "--dry-run"], &daemon.runtime);
    assert!(dry.status.code() == Some(0) && said(&dry).contains("1 sealed documents"), "{}", said(&dry));
    assert!(key(&home) == old && !next_key(&home).exists(), "a dry run does nothing");
    let text = done(&daemon, &["rekey", "--reason", "an administrator left"]);
    assert!(text.contains("done, master key") && text.contains("no token dies"), "{text}");
    assert!(key(&home) != old && !next_key(&home).exists());
    assert_eq!(daemon.document("sessions"), before, "nobody notices");
    done(&daemon, &["rotate", SESSIONS]);
    proven(&daemon);
    let trail = said(&keyrota(&["audit", "tail"], &daemon.runtime));
    let told =
        trail.contains("changed the master key") && trail.contains("(an administrator left)") && trail.contains("is proven by the new");
    assert!(told, "{trail}");
    assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.said());
    offline_proof(&home, &daemon.runtime);

    let mut daemon = Daemon::start(&home, &["sessions"]);
    let json = keyrota(&["rekey", "--yes", "--output", "json"], &daemon.runtime);
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((report["phase"].as_str(), report["values"].as_u64()), (Some("done"), Some(1)), "{report}");
    proven(&daemon);
    assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.said());
    fs::write(home.folder("state").join("master.key"), old).unwrap();
    let mut daemon = Daemon::spawn(&home);
    assert_ne!(daemon.ended().code(), Some(0));
    assert!(daemon.said().contains("is sealed under master key"), "the first key opens nothing any more: {}", daemon.said());
}

#[test]
fn a_key_from_systemd_is_refused_with_what_to_do() {
    let home = Home::with(CALM);
    let credentials = home.folder("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("keyrota.master-key"), "0123456789abcdef".repeat(4)).unwrap();
    let mut daemon = Daemon::spawn_with(&home, &[("CREDENTIALS_DIRECTORY", OsStr::new(&credentials))]);
    daemon.wait_for(&["sessions"]);
    for args in [&["rekey", "--dry-run"][..], &["rekey", "--yes"]] {
        let output = keyrota(args, &daemon.runtime);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("which keyrota cannot write") && said(&output).contains("hint: stop keyrota"), "{}", said(&output));
    }
}

#[test]
fn a_second_daemon_of_the_same_state_directory_goes_on() {
    let home = Home::with(CALM);
    let mut one = Daemon::start(&home, &["sessions"]);
    let mut other = Daemon::spawn_in(&home, home.second_runtime());
    other.wait_for(&["sessions"]);
    let first = other.document("sessions").unwrap()["kid"].clone();
    done(&one, &["rekey"]);
    let at_once = keyrota(&["rotate", SESSIONS, "--now", "--reason", "a drill", "--yes"], &other.runtime);
    assert_eq!(at_once.status.code(), Some(0), "it seals under the new key: {} {}", said(&at_once), other.said());
    for daemon in [&mut one, &mut other] {
        until(daemon, "the new key signs on both", |d| {
            d.document("sessions").is_some_and(|doc| doc["kid"].is_string() && doc["kid"] != first)
        });
        proven(daemon);
    }
    done(&other, &["rekey"]);
    done(&one, &["freeze", SESSIONS, "--until", "1h", "--reason", "a drill"]);
    until(&mut other, "what one sealed, the other reads", |d| {
        d.status()["environments"][0]["keysets"][0]["document"]["intents"]["freeze"].is_object()
    });
    assert_eq!((one.terminate().code(), other.terminate().code()), (Some(0), Some(0)));
    offline_proof(&home, &one.runtime);
}

/// Many keysets that cost nothing to make.
fn many(keysets: usize) -> String {
    let names: Vec<String> = (0..keysets).map(|n| format!("  p{n:03}: {{ algorithm: api-key }}\n")).collect();
    CALM.split("keysets:\n").next().unwrap().to_owned() + "keysets:\n" + &names.concat()
}

#[test]
fn killed_at_any_moment_it_goes_on_and_ends_with_one_key() {
    let seed = std::env::var("KEYROTA_CRASH_SEED").ok().map_or_else(token::now, |text| text.parse().unwrap());
    println!("KEYROTA_CRASH_SEED={seed}");
    let mut chance = Chance::new(seed);
    let home = Home::with(&many(300));
    let mut daemon = Daemon::start(&home, &["p000", "p299"]);
    let secrets =
        |daemon: &Daemon| ["p000", "p150", "p299"].map(|name| daemon.document(name).unwrap()["secret"].as_str().unwrap().to_owned());
    let (first, mut interrupted) = (secrets(&daemon), 0);
    // On a quick disk all is sealed anew in a few milliseconds: more rounds, until one was hit in between.
    let mut round = 0;
    while round < 8 || (interrupted == 0 && round < 40) {
        let mut asking = Command::new(env!("CARGO_BIN_EXE_keyrota"))
            .args(["rekey", "--yes", "--runtime-dir"])
            .arg(&daemon.runtime)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From before it begins to after its end, most often in between: once the next key is there, a moment more.
        let end = deadline(PATIENCE);
        while round % 4 > 0 && !next_key(&home).exists() && asking.try_wait().unwrap().is_none() {
            assert!(!passed(end), "it never began: {}", daemon.said());
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(chance.below(if round % 4 == 0 { 300 } else { 64 >> (round % 4 * 2) })));
        daemon.kill();
        asking.wait().unwrap();
        interrupted += u32::from(next_key(&home).exists());
        daemon = Daemon::start(&home, &["p000", "p299"]);
        assert_eq!(secrets(&daemon), first, "round {round}: {}", daemon.said());
        proven(&daemon);
        round += 1;
    }
    assert!(interrupted > 0, "no round was interrupted in between");
    let old = key(&home);
    done(&daemon, &["rekey"]);
    assert!(!next_key(&home).exists() && key(&home) != old);
    assert_eq!(secrets(&daemon), first);
    proven(&daemon);
    assert_eq!(daemon.terminate().code(), Some(0));
    let left = fs::read_dir(home.folder("state")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let keys: Vec<String> = left.filter(|name| name.contains("key") && !name.starts_with("keysets.db")).collect();
    assert_eq!(keys, ["master.key"], "one key, and nothing half made");
    rest();
}
