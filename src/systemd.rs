//! The service manager: what it is told (`sd_notify(3)`), what it hands over ([`handed`]), and by what it sees that the daemon is
//! stuck ([`watchdog`]). Without one, nothing in here does anything.

pub mod handed;
pub mod watchdog;

use sd_notify::NotifyState;

/// Sends one message. There is nobody to tell of a failure, and nothing depends on it.
fn tell(states: &[NotifyState]) {
    let _ = sd_notify::notify(states);
}

/// How the service stands, as one line for people. It stays until the next.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// The start is over; `line` says how the service stands.
pub fn ready(line: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(line)]);
}

/// A reload has begun. Its moment stands in the same message, or systemd takes it for one that it did not ask for
/// (systemd.service(5), `Type=notify-reload`).
pub fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The reload is over.
pub fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// The service ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping: what is under way is finished first")]);
}
