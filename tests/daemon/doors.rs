//! Who may ask what: the sockets, by uid and group of whoever connects.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Gid, Uid};

use crate::http::{self, Answer};
use crate::process::{Daemon, ENVIRONMENT, Home};

/// Users that every Debian has: `daemon` is uid and gid 1, `bin` 2, `sys` 3.
const POLICY: &str = r#"version: 1
environment: fast
reconcile: "* * * * * *"
store: { kind: embedded }
defaults: { rotate_every: 30d, token_ttl: 1h, verifier_refresh: 15m, signer_refresh: 5m }
keysets:
  sessions: { algorithm: ES256, signers: [{ user: daemon }, { group: sys }] }
  calls: { algorithm: EdDSA }
"#;
const DAEMON: u32 = 1;
const BIN: u32 = 2;
const SYS: u32 = 3;

#[test]
fn sockets_are_open_to_those_they_are_for() {
    let home = Home::with(POLICY);
    let daemon = Daemon::start(&home, &["sessions", "calls"]);
    let mode = |name: &str| fs::metadata(daemon.runtime.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("control.sock"), mode("signer.sock")), (0o660, 0o666));
    let unknown = http::unix(&daemon.runtime.join("signer.sock"), "/v1/keysets/fast/nothing").unwrap();
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    if !rustix::process::geteuid().is_root() {
        println!("not root: this process cannot connect as somebody else, so modes are all that was looked at");
        return;
    }
    signers(&daemon);
    operators(&home, &daemon);
}

/// The private key is for root and those whom the policy names; the others cannot even tell what exists.
fn signers(daemon: &Daemon) {
    let ask = |uid, gid, keyset: &str| as_somebody(uid, gid, daemon.runtime.join("signer.sock"), keyset).unwrap();
    let named = ask(DAEMON, DAEMON, "sessions");
    assert_eq!((named.status, named.json()["kid"].as_str()), (200, daemon.document("sessions").unwrap()["kid"].as_str()));
    assert_eq!(ask(BIN, SYS, "sessions").status, 200, "its group is named");
    let refused = ask(BIN, BIN, "sessions");
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("bin (uid 2)") && refused.text().contains("hint"), "{}", refused.text());
    assert_eq!(ask(DAEMON, DAEMON, "calls").status, 403, "each keyset has its own signers");
    let nothing = ask(BIN, BIN, "nothing");
    assert_eq!((nothing.status, nothing.text().replace("nothing", "sessions")), (403, refused.text()), "what exists is not told");
}

/// Status is for root, the daemon's user and --control-group.
fn operators(home: &Home, daemon: &Daemon) {
    let denied = as_somebody(DAEMON, DAEMON, daemon.runtime.join("control.sock"), "sessions").unwrap_err();
    assert_eq!(denied.kind(), io::ErrorKind::PermissionDenied);
    // Somebody else may not be able to reach this build's folder, so the command is put where everybody can.
    let command = home.folder("keyrota");
    fs::copy(env!("CARGO_BIN_EXE_keyrota"), &command).unwrap();
    let status = Command::new(&command).args(["status", "--runtime-dir"]).arg(&daemon.runtime).uid(DAEMON).gid(DAEMON).output().unwrap();
    let said = String::from_utf8_lossy(&status.stderr);
    assert_eq!(status.status.code(), Some(1), "{said}");
    assert!(said.contains("may not be opened by you") && said.contains("--control-group"), "{said}");
    // Even where a mode lets somebody connect, the daemon looks at who it is.
    fs::set_permissions(daemon.runtime.join("control.sock"), fs::Permissions::from_mode(0o666)).unwrap();
    let status = Command::new(&command).args(["status", "--runtime-dir"]).arg(&daemon.runtime).uid(DAEMON).gid(DAEMON).output().unwrap();
    let said = String::from_utf8_lossy(&status.stderr);
    assert_eq!(status.status.code(), Some(1), "{said}");
    assert!(said.contains("may not use the control socket"), "{said}");
}

/// Asks for a document on a thread that is somebody else; the kernel tells the daemon whose connection it is.
fn as_somebody(uid: u32, gid: u32, socket: PathBuf, keyset: &str) -> io::Result<Answer> {
    let path = format!("/v1/keysets/{ENVIRONMENT}/{keyset}");
    std::thread::spawn(move || become_and_ask(uid, gid, &socket, &path)).join().unwrap()
}

fn become_and_ask(uid: u32, gid: u32, socket: &Path, path: &str) -> io::Result<Answer> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    http::unix(socket, path)
}
