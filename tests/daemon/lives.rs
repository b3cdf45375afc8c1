//! Beginning and end of a daemon: what it needs to start, how it stops, what the next one finds.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;

use crate::process::{Daemon, Home, PATIENCE, until};
use crate::reload::STEADY;

const NO_POLICY: Option<i32> = Some(78);

#[test]
fn sigterm_ends_it_well_and_the_next_one_goes_on() {
    let home = Home::with(STEADY);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    let before = daemon.document("sessions").unwrap();
    assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.said());
    let left: Vec<_> = fs::read_dir(&daemon.runtime).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "sockets are taken away: {left:?}");
    let next = Daemon::start(&home, &["sessions"]);
    assert_eq!(next.document("sessions").unwrap(), before);
}

#[test]
fn a_broken_file_at_the_start_leaves_what_was_last_good() {
    let home = Home::with(STEADY);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    let kids = daemon.public_kids("sessions");
    assert_eq!(daemon.terminate().code(), Some(0));
    home.write("version: 1\nenvironment: fast\nkeysets: {\n");
    let mut daemon = Daemon::start(&home, &["sessions"]);
    assert_eq!(daemon.public_kids("sessions"), kids);
    assert_eq!(daemon.metric("keyrota_policy_last_reload_successful{environment=\"fast\"}").as_deref(), Some("0"));
    assert!(daemon.said().contains("fast.yaml:"), "it says where: {}", daemon.said());
    home.write(STEADY);
    daemon.hang_up();
    until(&mut daemon, "the mended file is in force", |d| {
        d.metric("keyrota_policy_last_reload_successful{environment=\"fast\"}").as_deref() == Some("1")
    });
    assert_eq!(daemon.public_kids("sessions"), kids);
}

#[test]
fn without_a_policy_that_can_be_used_it_says_so_for_systemd() {
    let home = Home::with("version: 1\nenvironment: fast\n");
    let mut broken = Daemon::spawn(&home);
    assert_eq!(broken.ended().code(), NO_POLICY, "{}", broken.said());
    assert!(broken.said().contains("fast.yaml") && broken.said().contains("hint: "), "{}", broken.said());

    fs::remove_file(home.policy_file()).unwrap();
    let mut none = Daemon::spawn(&home);
    assert_eq!(none.ended().code(), NO_POLICY, "{}", none.said());
    assert!(none.said().contains("keyrota check"), "{}", none.said());
}

#[test]
fn a_folder_that_everybody_may_write_holds_no_policy() {
    let home = Home::with(STEADY);
    fs::set_permissions(home.folder("policies"), fs::Permissions::from_mode(0o777)).unwrap();
    let mut daemon = Daemon::spawn(&home);
    assert_eq!(daemon.ended().code(), NO_POLICY, "{}", daemon.said());
    assert!(daemon.said().contains("may be written by everybody"), "{}", daemon.said());
}

#[test]
fn a_second_daemon_does_not_take_the_sockets_of_the_first() {
    let home = Home::with(STEADY);
    let mut first = Daemon::start(&home, &["sessions"]);
    let mut second = Daemon::spawn(&home);
    assert_eq!(second.ended().code(), Some(1), "{}", second.said());
    assert!(second.said().contains("another process is listening"), "{}", second.said());
    assert!(first.lives() && first.document("sessions").is_some());
}

#[test]
fn a_store_that_is_gone_makes_it_unready_until_it_is_back() {
    let home = Home::with(STEADY);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    let kids = daemon.public_kids("sessions");
    let (store, away) = (home.folder("state").join("keysets.db"), home.folder("state").join("away.db"));
    fs::rename(&store, &away).unwrap();
    until(&mut daemon, "/readyz says 503", |d| d.operators("/readyz").unwrap().status == 503);
    assert!(daemon.document("sessions").is_none(), "a process that is cut off hands out no private key");
    assert_eq!(daemon.public_kids("sessions"), kids, "verifiers are still answered");
    fs::rename(&away, &store).unwrap();
    until(&mut daemon, "/readyz says 200 again", |d| d.operators("/readyz").unwrap().status == 200);
    assert_eq!(daemon.document("sessions").unwrap()["kid"], *kids[0]);
}

#[test]
fn a_store_without_its_master_key_is_left_alone() {
    let home = Home::with(STEADY);
    let mut daemon = Daemon::start(&home, &["sessions"]);
    let kids = daemon.public_kids("sessions");
    assert_eq!(daemon.terminate().code(), Some(0));
    let (store, key) = (home.folder("state").join("keysets.db"), home.folder("state").join("master.key"));
    let (sealed, right) = (fs::read(&store).unwrap(), fs::read(&key).unwrap());
    let mut other = right.clone();
    other[0] = if other[0] == b'0' { b'1' } else { b'0' };
    for wrong in [Some(other), None] {
        fs::remove_file(&key).unwrap();
        if let Some(wrong) = &wrong {
            fs::write(&key, wrong).unwrap();
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let mut daemon = Daemon::spawn(&home);
        assert_eq!(daemon.ended().code(), Some(78), "no restart helps: {}", daemon.said());
        assert!(daemon.said().contains("hint: "), "{}", daemon.said());
        assert_eq!(fs::read(&key).ok(), wrong, "no key is made beside a store that has one");
        assert_eq!(fs::read(&store).unwrap(), sealed, "the store is not touched");
        fs::write(&key, &right).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(Daemon::start(&home, &["sessions"]).public_kids("sessions"), kids);
}

#[test]
fn a_service_manager_hears_how_far_it_is() {
    let home = Home::with(STEADY);
    let path = home.folder("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = String::new();
    let mut listen = |until: &str, times: usize| {
        let mut buffer = [0; 4096];
        while heard.lines().filter(|line| *line == until).count() < times {
            let length = socket.recv(&mut buffer).unwrap_or_else(|e| panic!("{e} before {until}; heard {heard}"));
            heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
            heard.push('\n');
        }
        heard.clone()
    };
    let within = std::ffi::OsStr::new("3000000");
    let mut daemon = Daemon::spawn_with(&home, &[("NOTIFY_SOCKET", path.as_os_str()), ("WATCHDOG_USEC", within)]);
    assert!(listen("READY=1", 1).contains("STATUS=1 keyset of 1 environment, all is well; "));
    assert!(daemon.document("sessions").is_some(), "ready means that signers can sign");
    listen("WATCHDOG=1", 3);
    daemon.hang_up();
    let heard = listen("READY=1", 2);
    let reloading = heard.lines().position(|line| line == "RELOADING=1").unwrap();
    let next = heard.lines().nth(reloading + 1).unwrap();
    assert!(next.starts_with("MONOTONIC_USEC="), "in the same message: {next}");
    assert_eq!(daemon.terminate().code(), Some(0));
    listen("STOPPING=1", 1);
}
