//! The witness of a running daemon: what happens while it cannot be written.

use rusqlite::Connection;

use crate::crash::POLICY;
use crate::process::{Daemon, Home, keyrota, until};
use crate::verbs::said;

fn told(daemon: &Daemon) -> String {
    said(&keyrota(&["status", "fast/sessions"], &daemon.runtime))
}

fn kid(daemon: &Daemon) -> String {
    daemon.document("sessions").unwrap()["kid"].as_str().unwrap().to_owned()
}

#[test]
fn nothing_rotates_while_the_witness_cannot_be_written_and_everything_after() {
    let home = Home::with(POLICY);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    let other = Connection::open(home.folder("state").join("witness.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    until(&mut daemon, "it says so", |d| told(d).contains("the witness in the state directory cannot be used"));
    let late = r#"keyrota_rotation_overdue{environment="fast",keyset="sessions",reason="witness"}"#;
    until(&mut daemon, "it is late", |d| d.metric(late).as_deref() == Some("1"));
    until(&mut daemon, "and says that once", |d| told(d).contains("overdue because of that"));
    let before = kid(&daemon);
    assert!(daemon.public_kids("sessions").contains(&before), "what is served goes on");
    other.execute_batch("ROLLBACK").unwrap();
    until(&mut daemon, "it rotates again", |d| kid(d) != before);
    until(&mut daemon, "and has no more to say of it", |d| !told(d).contains("witness"));
    assert_ne!(daemon.metric(late).as_deref(), Some("1"));
}
