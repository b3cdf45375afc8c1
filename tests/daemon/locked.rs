//! Another program holds a file of the state directory: nothing rotates, everything is served, and `status` says why.

use rusqlite::Connection;

use crate::crash::POLICY;
use crate::damaged::told;
use crate::keys::kid;
use crate::process::{Daemon, Home, until};

/// Nothing rotates while somebody writes to this file, and everything after.
#[track_caller]
fn held_up_by(file: &str, reason: &str, says: &str) {
    let home = Home::with(POLICY);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    let other = Connection::open(home.folder("state").join(file)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    until(&mut daemon, "it says so", |d| told(d).contains(says));
    let late = format!(r#"keyrota_rotation_overdue{{environment="fast",keyset="sessions",reason="{reason}"}}"#);
    until(&mut daemon, "it is late", |d| d.metric(&late).as_deref() == Some("1"));
    until(&mut daemon, "and says that once", |d| told(d).contains("overdue because of that"));
    let before = kid(&daemon, "sessions").unwrap();
    assert!(daemon.public_kids("sessions").contains(&before), "what is served goes on");
    other.execute_batch("ROLLBACK").unwrap();
    until(&mut daemon, "it rotates again", |d| kid(d, "sessions").is_some_and(|kid| kid != before));
    until(&mut daemon, "and has no more to say of it", |d| !told(d).contains(says));
    assert_ne!(daemon.metric(&late).as_deref(), Some("1"));
}

#[test]
fn a_witness_that_cannot_be_written() {
    held_up_by("witness.db", "witness", "the witness in the state directory cannot be used");
}

#[test]
fn a_store_that_cannot_be_written() {
    held_up_by("keysets.db", "store", "the store is unavailable, nothing was changed");
}
