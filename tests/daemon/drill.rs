//! The drill of docs/operations.md: a key leaked. Its very commands are run, on two real processes of one store, until the key is gone
//! everywhere, a copy of the key set on somebody else's server included.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::edge::Edge;
use crate::probes::{catch_up, probed};
use crate::process::{Daemon, Home, keyrota, until};
use crate::token::{mint, refused_by_set};
use crate::verbs::{SESSIONS, done, said};

/// The commands of the blocks that are marked so, for this daemon's keyset.
fn commands(mark: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let opening = format!("```sh {mark}\n");
    let blocks = text.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    let lines: Vec<String> = blocks.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    assert!(lines.len() >= 3, "the drill is in the documentation: {lines:?}");
    lines.into_iter().map(|line| line.replace("production/user-sessions", SESSIONS).replace("production", "fast")).collect()
}

fn shell(daemon: &Daemon, line: &str) -> Output {
    let folder = Path::new(env!("CARGO_BIN_EXE_keyrota")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]).env_clear().env("PATH", path).env("KEYROTA_RUNTIME_DIR", &daemon.runtime).output().unwrap()
}

#[track_caller]
fn run(daemon: &Daemon, line: &str) -> String {
    let output = shell(daemon, line);
    assert_eq!(output.status.code(), Some(0), "{line}: {}", said(&output));
    said(&output)
}

#[test]
fn a_leaked_key_is_gone_everywhere() {
    let edge = Edge::start();
    let home = Home::with(&probed(&edge));
    let mut daemon = Daemon::start(&home, &["sessions"]);
    catch_up(&edge, &daemon);
    let mut replica = Daemon::spawn_in(&home, home.second_runtime());
    replica.wait_for(&["sessions"]);
    done(&daemon, &["rotate", SESSIONS]);
    until(&mut daemon, "a successor waits", |d| d.public_kids("sessions").len() == 2);
    let leaked = daemon.public_kids("sessions");
    let document = daemon.document("sessions").unwrap();
    let forged = mint(&document, 3600);
    let file = home.folder("state").join("out/sessions.jwks.json");
    let set = |daemon: &Daemon| daemon.verifiers("sessions").unwrap().json();
    assert!(refused_by_set(&forged, &set(&daemon)).is_none(), "until then whoever stole the key is believed");

    let mut told = String::new();
    for line in commands("drill") {
        told += &run(&daemon, &line);
    }
    assert!(leaked.iter().all(|kid| told.contains(kid.as_str())), "it names what dies: {told}");
    assert!(refused_by_set(&forged, &set(&daemon)).is_some(), "at once");
    until(&mut replica, "the replica has heard of it", |d| refused_by_set(&forged, &set(d)).is_some());
    until(&mut daemon, "a new key signs", |d| d.document("sessions").is_some_and(|d| d["kid"].is_string()));
    let fresh = mint(&daemon.document("sessions").unwrap(), 3600);
    until(&mut replica, "its tokens are accepted everywhere", |d| refused_by_set(&fresh, &set(d)).is_none());
    until(&mut daemon, "the file is without the old keys", |_| {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.contains(&fresh.kid) && leaked.iter().all(|kid| !text.contains(kid.as_str()))
    });
    let stale = said(&keyrota(&["status", SESSIONS], &daemon.runtime));
    assert!(!stale.contains("is gone everywhere"), "the edge has not been without them: {stale}");
    let unconfirmed = |d: &Daemon| d.operators("/metrics").unwrap().text().matches("keyrota_revocation_unconfirmed{").count();
    assert_eq!(unconfirmed(&daemon), leaked.len());
    catch_up(&edge, &daemon);
    until(&mut daemon, "every revocation is confirmed", |d| {
        let status = keyrota(&["status", SESSIONS], &d.runtime);
        leaked.len() == said(&status).matches("is gone everywhere").count()
    });
    let scrape = daemon.operators("/metrics").unwrap().text();
    assert!(!scrape.lines().any(|l| l.starts_with("keyrota_revocation_unconfirmed{") && l.ends_with(" 1")), "{scrape}");
    for line in commands("drill after") {
        told = run(&daemon, &line);
    }
    assert!(told.contains("0 broken"), "{told}");
    let trail = run(&daemon, "keyrota audit tail --since 1h");
    assert!(trail.contains("(laptop stolen)") && trail.contains("is gone everywhere"), "{trail}");
    assert!(replica.lives(), "{}", replica.said());
}
