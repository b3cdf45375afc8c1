//! A program as a target of the real daemon: it takes every key set before anything depends on it, and holds up no other keyset.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use crate::process::{Daemon, Home, deadline, keyrota, passed, until};

const POLICY: &str = in_seconds!(
    "rotate_every: 6s, token_ttl: 1s, clock_skew: 100ms, rollback_window: 0s",
    "  pushed:
    algorithm: ES256
    publish:
      - exec: { argv: [/bin/sh, FOLDER/push, FOLDER], format: jwks, timeout: 20s, read_back: [/bin/sh, FOLDER/show, FOLDER], read_back_every: 1s }
  stuck:
    algorithm: ES256
    publish:
      - exec: { argv: [/bin/sh, FOLDER/hang], format: document, timeout: 60s }
"
);

#[test]
fn a_program_takes_the_key_set_and_one_that_hangs_holds_up_nobody() {
    let home = Home::with("");
    let folder = home.folder("state");
    for (name, body) in [
        ("push", r#"cat > "$1/new" && mv "$1/new" "$1/pushed""#),
        ("show", r#"cat "$1/pushed" 2>/dev/null; exit 0"#),
        ("hang", "sleep 600 & wait"),
    ] {
        fs::write(folder.join(name), format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    home.write(&POLICY.replace("FOLDER", &folder.display().to_string()));
    let pushed = || fs::read_to_string(folder.join("pushed")).unwrap_or_default();
    let mut daemon = Daemon::start(&home, &["pushed"]);
    let first = daemon.document("pushed").unwrap()["kid"].as_str().unwrap().to_owned();
    assert!(pushed().contains(&first), "it was pushed before it signed");
    until(&mut daemon, "the key changes over", |d| d.document("pushed").is_some_and(|doc| doc["kid"] != first.as_str()));
    let second = daemon.document("pushed").unwrap()["kid"].as_str().unwrap().to_owned();
    assert!(pushed().contains(&second));
    let program = folder.join("push").display().to_string();
    let name = format!("exec:/bin/sh {program} {}", folder.display());
    let repaired = format!(r#"keyrota_publish_total{{environment="fast",keyset="pushed",target="{name}",result="repaired"}}"#);
    let mut alter_at = deadline(Duration::ZERO);
    until(&mut daemon, "what somebody altered is repaired", |d| {
        // Now and then again: a key set that was on its way may have been written over what was altered.
        if passed(alter_at) {
            fs::write(folder.join("pushed"), r#"{"keys":[]}"#).unwrap();
            alter_at = deadline(Duration::from_secs(4));
        }
        d.metric(&repaired).is_some_and(|count| count != "0")
    });
    let doctor = keyrota(&["doctor"], &daemon.runtime);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains(&name) && said.contains("it was read back"), "{said}");
    assert!(said.contains("hang") && said.contains("it is running"), "{said}");
    assert!(daemon.terminate().success());
}
