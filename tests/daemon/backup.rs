//! A back-up on the real binary: who can open it, what comes back, that it is held until somebody says how to go on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use age::secrecy::ExposeSecret as _;

use crate::process::{Daemon, Home, keyrota, until};
use crate::token::{mint, refused_by_set};
use crate::verbs::{CALM, SESSIONS, done, said};

/// Somebody who can open a back-up: the recipient, and a file with the identity.
struct Opener {
    recipient: String,
    file: PathBuf,
}

fn opener(home: &Home, name: &str) -> Opener {
    let identity = age::x25519::Identity::generate();
    let file = home.folder(name);
    fs::write(&file, format!("# a comment\n{}\n", identity.to_string().expose_secret())).unwrap();
    Opener { recipient: identity.to_public().to_string(), file }
}

/// `keyrota` without a daemon.
fn offline(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keyrota")).args(args).env_clear().stdin(Stdio::null()).output().unwrap()
}

fn restore(file: &Path, identity: &Path, state: &Path) -> Output {
    offline(&["restore", file.to_str().unwrap(), "--identity", identity.to_str().unwrap(), "--state-dir", state.to_str().unwrap()])
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

/// The restore must be refused so, and leave nothing: neither in the directory nor beside it.
#[track_caller]
fn refused(output: &Output, home: &Home, says: &str) {
    let text = said(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(says) && text.contains("hint: "), "{text}");
    assert!(is_empty(&home.folder("state")), "{text}");
    let beside: Vec<_> = fs::read_dir(home.folder("state").parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(beside.iter().all(|name| !name.to_string_lossy().contains("restoring")), "{beside:?}");
}

#[test]
fn a_back_up_is_for_its_recipients_alone() {
    let home = Home::with(CALM);
    let daemon = Daemon::start(&home, &["sessions"]);
    let (ada, bob) = (opener(&home, "ada"), opener(&home, "bob"));
    let file = home.folder("keyrota.backup");
    let to = |more: &[&str]| keyrota(&[&["backup", "--to", &ada.recipient], more].concat(), &daemon.runtime);
    assert_eq!(keyrota(&["backup", "--output", "x"], &daemon.runtime).status.code(), Some(2), "never without a recipient");
    let secret = fs::read_to_string(&ada.file).unwrap().lines().nth(1).unwrap().to_owned();
    for wrong in ["age1nobody", "ssh-ed25519 AAAA", "", &secret] {
        let output = keyrota(&["backup", "--to", wrong], &daemon.runtime);
        assert_eq!(output.status.code(), Some(2), "{wrong}: {}", said(&output));
    }
    let target = file.to_str().unwrap();
    let taken = to(&["--to", &bob.recipient, "--output", target]);
    assert!(taken.status.code() == Some(0) && said(&taken).contains("1 documents of fast"), "{}", said(&taken));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    let sealed = fs::read(&file).unwrap();
    let again = to(&["--output", target]);
    assert!(again.status.code() == Some(1) && said(&again).contains("is there already"), "{}", said(&again));
    assert_eq!(fs::read(&file).unwrap(), sealed);
    assert_eq!(to(&["--output", target, "--force"]).status.code(), Some(0));
    assert_ne!(fs::read(&file).unwrap(), sealed);
    let lost = to(&["--output", home.folder("nowhere").join("x").to_str().unwrap()]);
    assert!(lost.status.code() == Some(1) && said(&lost).contains("hint: "), "{}", said(&lost));
    let piped = to(&[]).stdout;
    assert!(piped.starts_with(b"age-encryption.org/v1\n"));
    let document = daemon.document("sessions").unwrap();
    for clear in [document["kid"].as_str().unwrap(), "keyrota.backup", "PRIVATE KEY", "rotate_every"] {
        assert!(!piped.windows(clear.len()).any(|window| window == clear.as_bytes()), "{clear} stands in the clear");
    }
    fs::write(&file, &sealed).unwrap();
    for opener in [&ada, &bob] {
        let (file, identity) = (file.to_str().unwrap(), opener.file.to_str().unwrap());
        let inside = offline(&["restore", file, "--identity", identity, "--dry-run", "--state-dir", "/nonexistent/x"]);
        assert!(inside.status.code() == Some(0) && said(&inside).contains("fast/sessions  generation"), "{}", said(&inside));
    }
    let trail = said(&keyrota(&["audit", "tail"], &daemon.runtime));
    assert!(trail.contains("took a back-up of 1 documents") && trail.contains(&bob.recipient), "{trail}");
}

/// A back-up of a daemon whose first key was revoked and whose second signs, with the document of then.
fn lost_host(home: &Home, opener: &Opener) -> (PathBuf, serde_json::Value, String) {
    let mut daemon = Daemon::start(home, &["sessions"]);
    let revoked = daemon.document("sessions").unwrap()["kid"].as_str().unwrap().to_owned();
    done(&daemon, &["revoke", SESSIONS, &revoked, "--reason", "leaked"]);
    until(&mut daemon, "another signs", |d| d.document("sessions").is_some_and(|doc| doc["kid"].is_string() && doc["kid"] != *revoked));
    done(&daemon, &["rotate", SESSIONS]);
    until(&mut daemon, "a successor waits", |d| d.public_kids("sessions").len() == 2);
    let file = home.folder("keyrota.backup");
    let taken = keyrota(&["backup", "--to", &opener.recipient, "--output", file.to_str().unwrap()], &daemon.runtime);
    assert_eq!(taken.status.code(), Some(0), "{}", said(&taken));
    let document = daemon.document("sessions").unwrap();
    // The world moves on.
    done(&daemon, &["compromise", SESSIONS, "--reason", "after the back-up"]);
    assert_eq!(daemon.terminate().code(), Some(0));
    (file, document, revoked)
}

fn restored_daemon(file: &Path, opener: &Opener) -> (Home, Daemon) {
    let home = Home::with(CALM);
    let output = restore(file, &opener.file, &home.folder("state"));
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("keyrota restored fast") && text.contains("keyrota accept fast"), "{text}");
    assert_eq!(fs::metadata(home.folder("state")).unwrap().permissions().mode() & 0o7777, 0o700);
    let kept = fs::read_to_string(home.folder("state").join("policies/fast.yaml")).unwrap();
    assert_eq!(kept, CALM, "the last good policy is there");
    let mut daemon = Daemon::spawn(&home);
    until(&mut daemon, "it says that it holds", |d| said(&keyrota(&["status", SESSIONS], &d.runtime)).contains("comes from a back-up"));
    (home, daemon)
}

#[test]
fn what_comes_back_is_held_until_everything_is_rotated() {
    let lost = Home::with(CALM);
    let ada = opener(&lost, "ada");
    let (file, before, revoked) = lost_host(&lost, &ada);
    let kid = before["kid"].as_str().unwrap().to_owned();
    let token = mint(&before, 3600);
    let (home, mut daemon) = restored_daemon(&file, &ada);
    assert!(daemon.document("sessions").is_none(), "no signer gets it");
    assert_ne!(daemon.verifiers("sessions").unwrap().status, 200, "no verifier gets it");
    assert!(!home.folder("state").join("out/sessions.jwks.json").exists(), "no file gets it");
    let status = keyrota(&["status", SESSIONS], &daemon.runtime);
    assert!(status.status.code() == Some(3) && said(&status).contains("keyrota restored"), "{}", said(&status));
    for args in [&["rotate", SESSIONS, "--yes"][..], &["compromise", SESSIONS, "--reason", "x", "--yes"]] {
        let output = keyrota(args, &daemon.runtime);
        assert!(output.status.code() == Some(1) && said(&output).contains("comes from a back-up"), "{}", said(&output));
    }
    let doctor = said(&keyrota(&["doctor"], &daemon.runtime));
    assert!(doctor.contains("keyrota restored fast"), "{doctor}");
    // It is held through a restart too.
    assert_eq!(daemon.terminate().code(), Some(0));
    let mut daemon = Daemon::spawn(&home);
    until(&mut daemon, "it still holds", |d| said(&keyrota(&["status", SESSIONS], &d.runtime)).contains("comes from a back-up"));
    assert!(daemon.document("sessions").is_none());

    let text = done(&daemon, &["restored", "fast", "--reason", "disk failed"]);
    assert!(text.contains("activate"), "it says what follows: {text}");
    until(&mut daemon, "it is served", |d| d.document("sessions").is_some());
    let set = |daemon: &Daemon| daemon.verifiers("sessions").unwrap().json();
    assert!(refused_by_set(&token, &set(&daemon)).is_none(), "tokens of then are accepted");
    let waiting: Vec<String> = before["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
    until(&mut daemon, "a new key signs", |d| {
        d.document("sessions").is_some_and(|doc| doc["kid"].as_str().is_some_and(|now| !waiting.iter().any(|kid| kid == now)))
    });
    let after = daemon.document("sessions").unwrap();
    assert!(after["generation"].as_u64().unwrap() > before["generation"].as_u64().unwrap() + 1000, "no generation is used again");
    let kids = daemon.public_kids("sessions");
    assert!(kids.contains(&kid) && !kids.contains(&revoked), "{kids:?}");
    let trail = said(&keyrota(&["audit", "tail"], &daemon.runtime));
    assert!(trail.contains("restored 1 documents out of a back-up") && trail.contains("(disk failed)"), "{trail}");
    assert_eq!(keyrota(&["audit", "verify"], &daemon.runtime).status.code(), Some(0));
}

#[test]
fn an_operator_may_say_that_nothing_has_changed_since() {
    let lost = Home::with(CALM);
    let ada = opener(&lost, "ada");
    let (file, before, _) = lost_host(&lost, &ada);
    let (_home, mut daemon) = restored_daemon(&file, &ada);
    let text = done(&daemon, &["accept", SESSIONS]);
    assert!(text.contains("comes from a back-up"), "{text}");
    until(&mut daemon, "it is served", |d| d.document("sessions").is_some_and(|doc| doc["kid"] == before["kid"]));
    assert!(daemon.document("sessions").unwrap()["generation"].as_u64().unwrap() > before["generation"].as_u64().unwrap() + 1000);
}

#[test]
fn nothing_is_restored_from_what_is_not_whole_and_not_ours() {
    let lost = Home::with(CALM);
    let (ada, eve) = (opener(&lost, "ada"), opener(&lost, "eve"));
    let daemon = Daemon::start(&lost, &["sessions"]);
    let file = lost.folder("keyrota.backup");
    let taken = keyrota(&["backup", "--to", &ada.recipient, "--output", file.to_str().unwrap()], &daemon.runtime);
    assert_eq!(taken.status.code(), Some(0), "{}", said(&taken));
    let home = Home::with(CALM);
    let state = home.folder("state");
    refused(&restore(&file, &eve.file, &state), &home, "none of these identities");
    refused(&restore(&lost.folder("no-such"), &ada.file, &state), &home, "cannot read");
    refused(&restore(&file, &lost.folder("no-such"), &state), &home, "cannot read the identity");
    let whole = fs::read(&file).unwrap();
    let altered = lost.folder("altered");
    for length in [0, 10, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&altered, &whole[..length]).unwrap();
        refused(&restore(&altered, &ada.file, &state), &home, "back-up");
    }
    for at in [5, 60, 150, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&altered, flipped).unwrap();
        let output = restore(&altered, &ada.file, &state);
        assert_eq!((output.status.code(), is_empty(&state)), (Some(1), true), "byte {at}: {}", said(&output));
        assert!(said(&output).contains("hint: "), "byte {at}: {}", said(&output));
    }
    // Sealed by somebody for us, and not of our making.
    for (content, says) in [("{}", "cannot be right"), (r#"{"format":"keyrota.backup.v9"}"#, "keyrota.backup.v9")] {
        let recipient: age::x25519::Recipient = ada.recipient.parse().unwrap();
        fs::write(&altered, age::encrypt(&recipient, content.as_bytes()).unwrap()).unwrap();
        refused(&restore(&altered, &ada.file, &state), &home, says);
    }
    let identity = lost.folder("identity");
    for (content, says) in [
        ("age-encryption.org/v1\n-> scrypt x 18\n", "protected by a passphrase"),
        ("-----BEGIN AGE ENCRYPTED FILE-----\n", "protected by a passphrase"),
        ("ssh-ed25519 AAAA\n", "no age identity"),
        ("# nothing\n", "holds no identity"),
    ] {
        fs::write(&identity, content).unwrap();
        refused(&restore(&file, &identity, &state), &home, says);
    }
    // Not over anything that is there, least of all over a daemon.
    let running = restore(&file, &ada.file, &lost.folder("state"));
    assert!(running.status.code() == Some(1) && said(&running).contains("is not empty"), "{}", said(&running));
    assert!(daemon.document("sessions").is_some());
    assert_eq!(restore(&file, &ada.file, &state).status.code(), Some(0), "and the whole file still can be");
    let twice = restore(&file, &ada.file, &state);
    assert!(twice.status.code() == Some(1) && said(&twice).contains("is not empty"), "{}", said(&twice));
}
