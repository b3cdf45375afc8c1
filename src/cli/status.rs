//! `keyrota status`: what is wrong, since when, what will happen by itself and when, and what to type. One screen.
//!
//! Pure from [`StatusReport`] on: [`overview`] for everything, [`detail`] for one keyset.

pub mod detail;
pub mod overview;
mod problem;

use anyhow::Context as _;

pub use problem::{Problem, Severity, problems};

use super::client::Answer;
use super::moment;
use crate::lifecycle::StepKind;
use crate::name::{EnvironmentName, KeysetId};
use crate::status_report::{ErrorReport, KeysetReport, PendingReport, StatusReport};
use crate::time::Timestamp;

/// Reads what the daemon answered.
///
/// # Errors
/// If it answered with an error, or with something that this version cannot read.
pub fn parse(answer: &Answer) -> anyhow::Result<StatusReport> {
    accepted(answer)?;
    serde_json::from_slice(&answer.body).context("the daemon's status cannot be read; hint: are daemon and command of the same version?")
}

/// The answer, unless it is an error.
///
/// # Errors
/// What the daemon said is wrong.
pub fn accepted(answer: &Answer) -> anyhow::Result<()> {
    if answer.is_good() {
        return Ok(());
    }
    match serde_json::from_slice::<ErrorReport>(&answer.body) {
        Ok(said) => anyhow::bail!("{}; hint: {}", said.error, said.hint),
        Err(_) => {
            anyhow::bail!("the daemon answered with HTTP status {}; hint: are daemon and command of the same version?", answer.status)
        }
    }
}

/// Leaves only these environments; all of them if none is named.
pub fn only(report: &mut StatusReport, environments: &[EnvironmentName]) {
    report.environments.retain(|e| environments.is_empty() || environments.contains(&e.name));
}

/// The keyset of that name.
pub fn find<'a>(report: &'a StatusReport, id: &KeysetId) -> Option<&'a KeysetReport> {
    let environment = report.environments.iter().find(|e| e.name == id.environment)?;
    environment.keysets.iter().find(|k| k.name == id.keyset)
}

/// `in 3h12m, Tue 03:00 Europe/Paris (window)`.
fn when(keyset: &KeysetReport, pending: &PendingReport, now: Timestamp) -> String {
    let Some(at) = pending.at else { return "when that changes".to_owned() };
    let window = keyset.rules.as_ref().and_then(|r| r.stated.as_ref()).and_then(|r| r.window.as_ref());
    let day = match window.filter(|_| pending.step == StepKind::Activate) {
        Some(window) if at.since(now) < crate::time::Span::days(7) => window.local(at),
        _ => moment::near(now, at),
    };
    format!("{}, {day} ({})", moment::relative(now, at), pending.label)
}
