//! The audit trail and the examination of a running daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::process::{Daemon, Home, keyrota, until};
use crate::verbs::{CALM, SESSIONS, done, said};

fn lines(daemon: &Daemon) -> Vec<Value> {
    let output = keyrota(&["audit", "tail", "--since", "1h", "--output", "json"], &daemon.runtime);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    said(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_change_is_in_the_trail_with_who_and_why() {
    let home = Home::with(CALM);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    let kid = daemon.document("sessions").unwrap()["kid"].as_str().unwrap().to_owned();
    done(&daemon, &["revoke", SESSIONS, &kid, "--reason", "found in a log"]);
    until(&mut daemon, "another key signs", |d| d.document("sessions").is_some_and(|doc| doc["kid"].is_string()));
    let told = lines(&daemon);
    let revoked = told.iter().find(|line| line["to"] == "revoked").expect("the revocation");
    assert_eq!((revoked["kid"].as_str(), revoked["reason"].as_str()), (Some(&*kid), Some("found in a log")));
    assert!(revoked["actor"].as_str().is_some_and(|actor| actor.contains('(')), "{revoked}");
    assert_eq!((revoked["from"].as_str(), revoked["trigger"].as_str()), (Some("active"), Some("emergency")));
    assert!(told.iter().any(|line| line["to"] == "active") && told.iter().any(|line| line["kind"] == "target-written"));
    let secret = daemon.document("sessions").unwrap()["private_key"].as_str().unwrap().lines().nth(1).unwrap().to_owned();
    let trail = home.folder("state").join("audit.log");
    assert!(!fs::read_to_string(&trail).unwrap().contains(&secret), "never material");
    assert_eq!(fs::metadata(&trail).unwrap().permissions().mode() & 0o777, 0o600);
    let people = said(&keyrota(&["audit", "tail"], &daemon.runtime));
    assert!(people.contains("to revoked by ") && people.contains("(found in a log)"), "{people}");

    let proof = keyrota(&["audit", "verify"], &daemon.runtime);
    assert!(proof.status.code() == Some(0) && said(&proof).contains("as it was written"), "{}", said(&proof));
    assert_eq!(daemon.terminate().code(), Some(0));
    let state = home.folder("state");
    let offline = |text: &str| {
        fs::write(&trail, text).unwrap();
        keyrota(&["audit", "verify", "--state-dir", state.to_str().unwrap()], &daemon.runtime)
    };
    let good = fs::read_to_string(&trail).unwrap();
    assert_eq!(offline(&good).status.code(), Some(0));
    let bad = offline(&good.replace("found in a log", "found in a box"));
    assert!(bad.status.code() == Some(3) && said(&bad).contains("audit.log:") && said(&bad).contains("was changed"), "{}", said(&bad));
    let cut: String = good.split_inclusive('\n').take(3).collect();
    let cut = offline(&cut);
    assert!(cut.status.code() == Some(3) && said(&cut).contains("missing at the end"), "{}", said(&cut));
}

#[test]
fn what_a_crash_kept_from_the_trail_is_recovered_from_the_documents() {
    let home = Home::with(CALM);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    assert_eq!(daemon.terminate().code(), Some(0));
    let (trail, witness) = (home.folder("state").join("audit.log"), home.folder("state").join("witness.db"));
    let before = (fs::read(&trail).unwrap(), fs::read(&witness).unwrap());
    let mut daemon = Daemon::start(&home, &["sessions"]);
    done(&daemon, &["rotate", SESSIONS, "--reason", "soon to be forgotten"]);
    daemon.terminate();
    // As if neither had reached the disk before the machine went down.
    fs::write(&trail, before.0).unwrap();
    fs::write(&witness, before.1).unwrap();
    let daemon = Daemon::start(&home, &["sessions"]);
    let told = lines(&daemon);
    let recovered: Vec<&Value> = told.iter().filter(|line| line["reason"] == "soon to be forgotten").collect();
    assert!(recovered.len() == 1 && recovered[0]["recovered"] == true, "{told:?}");
    assert_eq!(keyrota(&["audit", "verify"], &daemon.runtime).status.code(), Some(0));
}

#[test]
fn the_doctor_says_what_is_broken_and_what_to_do() {
    let home = Home::with(CALM);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    let file = home.folder("state").join("out/sessions.jwks.json");
    until(&mut daemon, "its file is there", |_| file.exists());
    let well = keyrota(&["doctor"], &daemon.runtime);
    let text = said(&well);
    assert_eq!(well.status.code(), Some(0), "{text}");
    for part in
        ["takes writes", "documents open", "this host saw", "hold what they must", "clock agree", "in time", "master key lies beside"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(keyrota(&["doctor", "--strict"], &daemon.runtime).status.code(), Some(3), "a warning counts if asked");
    assert_eq!(keyrota(&["doctor", "slow"], &daemon.runtime).status.code(), Some(1));

    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    until(&mut daemon, "the target is found broken", |d| keyrota(&["doctor", "fast"], &d.runtime).status.code() == Some(3));
    let text = said(&keyrota(&["doctor", "fast"], &daemon.runtime));
    assert!(text.contains("broken") && text.contains("not a regular file") && text.contains("hint: "), "{text}");
    let json = keyrota(&["doctor", "--output", "json"], &daemon.runtime);
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(report["findings"].as_array().unwrap().iter().any(|f| f["verdict"] == "broken" && f["what"] == "targets"), "{report}");
    daemon.kill();
    let none = keyrota(&["doctor"], &daemon.runtime);
    assert!(none.status.code() == Some(3) && said(&none).contains("no daemon"), "{}", said(&none));
}
