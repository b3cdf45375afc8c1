//! A signer that reports, lags, and moves on.

use crate::http;
use crate::process::{Daemon, Home, keyrota, until};
use crate::verbs::{CALM, SESSIONS, done, said};

const OVERDUE: &str = r#"keyrota_rotation_overdue{environment="fast",keyset="sessions",reason="uptake"}"#;
const REPORTED: &str = r#"keyrota_signer_generation{environment="fast",keyset="sessions",signer="web-1"}"#;

fn report(daemon: &Daemon, generation: u64) -> u16 {
    let path = "/v1/keysets/fast/sessions/signers/web-1";
    http::tell(&daemon.runtime.join("signer.sock"), "PUT", path, &format!("{{\"generation\": {generation}}}")).unwrap().status
}

fn generation(daemon: &Daemon) -> u64 {
    daemon.document("sessions").unwrap()["generation"].as_u64().unwrap()
}

#[test]
fn an_old_key_stays_for_a_signer_that_says_that_it_uses_it() {
    let patient = CALM.replace("signer_refresh: 500ms", "signer_refresh: 8s, uptake: required, uptake_bound: 30m, rollback_window: 0s");
    let home = Home::with(&patient.replace("    rollback_window: 9s\n", ""));
    let mut daemon = Daemon::start(&home, &["sessions"]);
    let old = daemon.document("sessions").unwrap()["kid"].as_str().unwrap().to_owned();
    let stuck_at = generation(&daemon);
    assert_eq!(report(&daemon, stuck_at), 204);
    assert_eq!(report(&daemon, stuck_at + 1000), 409);
    assert_eq!(daemon.metric(REPORTED), Some(stuck_at.to_string()));
    done(&daemon, &["rotate", SESSIONS, "--reason", "a signer is stuck"]);
    until(&mut daemon, "somebody is told that a signer keeps the old key", |d| {
        report(d, stuck_at);
        d.metric(OVERDUE).as_deref() == Some("1")
    });
    assert!(daemon.public_kids("sessions").contains(&old), "its tokens are still accepted");
    let status = keyrota(&["status", SESSIONS], &daemon.runtime);
    let text = said(&status);
    assert_eq!(status.status.code(), Some(3), "{text}");
    assert!(text.contains("cannot leave") && text.contains("web-1") && text.contains(&format!("generation {stuck_at}")), "{text}");

    until(&mut daemon, "the old key leaves once the signer has moved on", |d| {
        report(d, generation(d));
        !d.public_kids("sessions").contains(&old)
    });
    assert_eq!(daemon.metric(OVERDUE), None);
    let trail = said(&keyrota(&["audit", "tail", "--since", "1h"], &daemon.runtime));
    assert!(!trail.contains("although signer"), "it was not lost: {trail}");
}
