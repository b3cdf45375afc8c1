//! Every verb where it cannot be done: on what does not exist, twice, without a daemon, with the store away, during a reload. A table:
//! exit status, words, a hint, and nothing half done.

use std::fs;

use crate::process::{Daemon, Home, keyrota, until};
use crate::verbs::{CALM, SESSIONS, done, said};

/// Every verb on a keyset, with what else it takes.
const ON_KEYSET: [(&str, &[&str]); 12] = [
    ("rotate", &[]),
    ("rotate", &["--now", "--reason", "x"]),
    ("revoke", &["no-such-kid", "--reason", "x"]),
    ("compromise", &["--reason", "x"]),
    ("rollback", &[]),
    ("freeze", &["--until", "1h", "--reason", "x"]),
    ("unfreeze", &[]),
    ("approve", &["no-such-kid"]),
    ("accept", &[]),
    ("init", &[]),
    ("remove", &["--reason", "x"]),
    ("import", &["--fd", "0", "--kid", "k"]),
];

/// Every verb on an environment.
const ON_ENVIRONMENT: [(&str, &[&str]); 6] = [
    ("freeze", &["--until", "1h", "--reason", "x"]),
    ("unfreeze", &[]),
    ("accept", &[]),
    ("accept", &["--clock"]),
    ("restored", &["--reason", "x"]),
    ("purge", &[]),
];

#[track_caller]
fn ends(daemon: &Daemon, args: &[&str], code: i32, says: &str) {
    let output = keyrota(&[args, &["--yes"]].concat(), &daemon.runtime);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert!(text.contains(says) && (code == 0 || text.contains("hint: ")), "{args:?}: {text}");
}

#[test]
fn every_verb_says_what_does_not_exist() {
    let home = Home::with(CALM);
    let daemon = Daemon::start(&home, &["sessions"]);
    let before = daemon.document("sessions");
    for (verb, more) in ON_KEYSET {
        // An import reads what is handed in before it asks: nothing was.
        let none = if verb == "import" { ["", ""] } else { ["there is no keyset fast/nothing", "there is no environment slow"] };
        ends(&daemon, &[&[verb, "fast/nothing"], more].concat(), 1, none[0]);
        ends(&daemon, &[&[verb, "slow/sessions"], more].concat(), 1, none[1]);
        let unlawful = keyrota(&[&[verb, "Fast/sessions"], more, &["--yes"]].concat(), &daemon.runtime);
        assert_eq!(unlawful.status.code(), Some(2), "{verb}: {}", said(&unlawful));
    }
    for (verb, more) in ON_ENVIRONMENT {
        ends(&daemon, &[&[verb, "slow"], more].concat(), 1, "there is no environment slow");
    }
    ends(&daemon, &["revoke", SESSIONS, "no-such-kid", "--reason", "x"], 1, "no live key no-such-kid");
    ends(&daemon, &["approve", SESSIONS, "no-such-kid"], 1, "no-such-kid");
    assert_eq!(daemon.document("sessions"), before, "and nothing was done");
}

#[test]
fn every_verb_in_the_wrong_state_or_twice_says_so() {
    let home = Home::with(CALM);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    let active = daemon.document("sessions").unwrap()["kid"].as_str().unwrap().to_owned();
    for (args, code, says) in [
        (&["unfreeze", SESSIONS][..], 1, "is not frozen"),
        (&["approve", SESSIONS, &active], 1, &*active),
        (&["rollback", SESSIONS], 4, "no key signed before"),
        (&["init", SESSIONS], 1, "exists already"),
        (&["accept", SESSIONS], 1, "is what this host saw last"),
        (&["accept", "fast"], 1, "no keyset in fast"),
        (&["accept", SESSIONS, "--clock"], 1, "not for sessions alone"),
        (&["accept", "fast", "--clock"], 1, "no keyset in fast"),
        (&["remove", SESSIONS, "--reason", "x"], 4, "is in the policy"),
        (&["freeze", SESSIONS, "--until", "2020-01-01T00:00:00Z", "--reason", "x"], 1, "is over"),
    ] {
        ends(&daemon, args, code, says);
    }
    // Twice: either it is the same again, or it says that it was done.
    for (args, code, says) in [
        (&["freeze", SESSIONS, "--until", "1h", "--reason", "x"][..], 0, "takes the place of the freeze"),
        (&["rotate", SESSIONS], 4, "is frozen until"),
        (&["rotate", SESSIONS, "--now", "--reason", "x"], 4, "is frozen until"),
        (&["unfreeze", SESSIONS], 0, "done"),
        (&["unfreeze", SESSIONS], 1, "is not frozen"),
        (&["purge", "fast"], 0, "nothing but what is in force"),
        (&["purge", "fast"], 0, "nothing but what is in force"),
        (&["rekey"], 0, "done"),
        (&["rekey"], 0, "done"),
        (&["rotate", SESSIONS], 0, "done"),
        (&["rotate", SESSIONS], 1, "asked for already"),
        (&["revoke", SESSIONS, &active, "--reason", "x"], 0, "done"),
        (&["revoke", SESSIONS, &active, "--reason", "x"], 1, "was revoked already"),
        (&["restored", "fast", "--reason", "x"], 0, "done"),
        (&["restored", "fast", "--reason", "x"], 0, "done"),
        (&["compromise", SESSIONS, "--reason", "x"], 0, "done"),
    ] {
        if says == "takes the place of the freeze" {
            done(&daemon, args);
        }
        ends(&daemon, args, code, says);
    }
    until(&mut daemon, "a key signs in the end", |d| d.document("sessions").is_some_and(|doc| doc["kid"].is_string()));
}

#[test]
fn every_verb_without_a_store_or_a_daemon_fails_and_does_nothing() {
    let home = Home::with(CALM);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    let kid = daemon.document("sessions").unwrap()["kid"].as_str().unwrap().to_owned();
    let (store, away) = (home.folder("state").join("keysets.db"), home.folder("state").join("away.db"));
    fs::rename(&store, &away).unwrap();
    let mut asked: Vec<Vec<&str>> = Vec::new();
    for (verb, more) in ON_KEYSET.into_iter().filter(|(verb, _)| *verb != "import") {
        let more: Vec<&str> = more.iter().map(|word| if *word == "no-such-kid" { &*kid } else { *word }).collect();
        asked.push([&[verb, SESSIONS], &*more].concat());
    }
    asked.push(vec!["restored", "fast", "--reason", "x"]);
    asked.push(vec!["purge", "fast"]);
    asked.push(vec!["rekey"]);
    for args in &asked {
        ends(&daemon, args, 1, "");
    }
    fs::rename(&away, &store).unwrap();
    until(&mut daemon, "the store is back", |d| keyrota(&["rotate", SESSIONS, "--dry-run"], &d.runtime).status.code() == Some(0));
    assert_eq!(daemon.document("sessions").unwrap()["kid"], *kid, "nothing was done behind its back");
    assert!(daemon.document("sessions").unwrap()["intents"].as_object().is_none_or(serde_json::Map::is_empty));

    // During reloads a verb is done once, or says why not.
    for _ in 0..3 {
        daemon.hang_up();
        done(&daemon, &["freeze", SESSIONS, "--until", "1h", "--reason", "x"]);
        daemon.hang_up();
        done(&daemon, &["unfreeze", SESSIONS]);
    }
    daemon.kill();
    for args in &asked {
        ends(&daemon, args, 1, "no daemon");
    }
    let backup = keyrota(&["backup", "--to", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"], &daemon.runtime);
    assert!(backup.status.code() == Some(1) && said(&backup).contains("no daemon"), "{}", said(&backup));
}
