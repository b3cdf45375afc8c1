//! A document in the store is damaged, or the store is gone: everything goes on as it was seen last, nothing rotates, and `status` says why.

use rusqlite::{Connection, params};

use crate::crash::POLICY;
use crate::keys::kid;
use crate::process::{Daemon, Home, keyrota, until};
use crate::verbs::said;

/// Puts these bytes where the document of `sessions` is, as another writer would; answers what was there.
fn put(home: &Home, sealed: &[u8]) -> Vec<u8> {
    let mut store = Connection::open(home.folder("state").join("keysets.db")).unwrap();
    store.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    let writing = store.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let before = writing.query_row("SELECT sealed FROM keyset WHERE keyset = 'sessions'", [], |row| row.get(0)).unwrap();
    writing.execute("UPDATE store SET last_change = last_change + 1", []).unwrap();
    let changed = "UPDATE keyset SET sealed = ?1, change = (SELECT last_change FROM store) WHERE keyset = 'sessions'";
    assert_eq!(writing.execute(changed, params![sealed]).unwrap(), 1);
    writing.commit().unwrap();
    before
}

pub fn told(daemon: &Daemon) -> String {
    said(&keyrota(&["status", "fast/sessions"], &daemon.runtime))
}

const SAYS: &str = "the store holds something that cannot be read";

#[test]
fn it_is_served_as_it_was_seen_last_and_after_a_restart_not_at_all() {
    let home = Home::with(POLICY);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    let before = kid(&daemon, "sessions").unwrap();
    let sealed = put(&home, &[0; 300]);
    until(&mut daemon, "it says so", |d| told(d).contains(SAYS));
    let late = r#"keyrota_rotation_overdue{environment="fast",keyset="sessions",reason="store"}"#;
    until(&mut daemon, "it is late", |d| d.metric(late).as_deref() == Some("1"));
    assert!(told(&daemon).contains(&before), "what was read last is shown: {}", told(&daemon));
    assert_eq!(kid(&daemon, "sessions"), Some(before.clone()), "and signs");
    assert!(daemon.public_kids("sessions").contains(&before));
    let doctor = said(&keyrota(&["doctor"], &daemon.runtime));
    assert!(doctor.contains(SAYS) && !doctor.contains("keyrota accept"), "nobody is asked to accept what is damaged: {doctor}");

    assert_eq!(daemon.terminate().code(), Some(0));
    let mut daemon = Daemon::spawn(&home);
    until(&mut daemon, "it says so again", |d| told(d).contains(SAYS));
    let answer = daemon.verifiers("sessions").unwrap();
    assert_eq!(answer.status, 503, "it may be there all the same: {}", answer.text());
    assert_eq!(kid(&daemon, "sessions"), None);

    put(&home, &sealed);
    until(&mut daemon, "it rotates again", |d| kid(d, "sessions").is_some_and(|kid| kid != before));
    until(&mut daemon, "and has no more to say of it", |d| !told(d).contains(SAYS));
}

#[test]
fn a_store_that_is_gone_is_told_of_and_gone_on_with_when_it_is_back() {
    let home = Home::with(POLICY);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    let before = kid(&daemon, "sessions").unwrap();
    let (state, away) = (home.folder("state"), home.folder("state").with_extension("away"));
    std::fs::rename(&state, &away).unwrap();
    let says = "was replaced or removed while keyrota had it open; nothing rotates, signers are refused, verifiers get the last key sets";
    until(&mut daemon, "it says so", |d| told(d).contains(says));
    assert!(daemon.public_kids("sessions").contains(&before), "verifiers get what was read last");
    assert_eq!(kid(&daemon, "sessions"), None, "signers are refused");
    std::fs::rename(&away, &state).unwrap();
    until(&mut daemon, "it rotates again", |d| kid(d, "sessions").is_some_and(|kid| kid != before));
    until(&mut daemon, "and has no more to say of it", |d| !told(d).contains("was replaced or removed"));
}
