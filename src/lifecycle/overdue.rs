//! The verdict that pages somebody: the change-over should have happened, and has not. Why?

use super::{Because, Decision, StepKind, next};
use crate::document::{Active, Document};
use crate::observed::Observed;
use crate::policy::Mode;
use crate::rules::Rules;
use crate::time::{Span, Timestamp};
use crate::waits::Waits;

/// A change-over that is late, or (if it waits for [`Because::Uptake`]) a retirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// Since when.
    pub since: Timestamp,
    /// What it waits for.
    pub because: Because,
}

impl Because {
    /// The label of `keyrota_rotation_overdue`.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Schedule | Self::Propagation | Self::Retention | Self::RollbackWindow => "propagation",
            Self::Serving => "serving",
            Self::Window => "window",
            Self::Frozen => "frozen",
            Self::Approval => "approval",
            Self::Manual => "manual",
            Self::Publish { .. } | Self::StillHeld { .. } => "publish",
            Self::Probe { .. } | Self::StillShown { .. } => "probe",
            Self::Store { .. } | Self::StoreRefresh | Self::Full | Self::MovedTo { .. } | Self::MovedFrom { .. } => "store",
            Self::Making | Self::Keygen { .. } => "keygen",
            Self::Uptake { .. } | Self::Unheard => "uptake",
            Self::External => "external",
            Self::Vendor { .. } => "vendor",
            Self::Inception | Self::Policy { .. } => "policy",
            Self::Clock { .. } => "clock",
            Self::Witness { .. } => "witness",
        }
    }
}

/// Whether this keyset is late, since when and why. A keyset without an active key is late from the start; one that rotates by hand is
/// late only when its key passes `max_age`. One whose change-over is in time is late when a signer that lags keeps an old key in the
/// key set.
pub fn overdue(document: &Document, rules: &Rules, observed: &Observed) -> Option<Overdue> {
    if rules.is_orphaned() {
        return None;
    }
    change_over(document, rules, observed).or_else(|| retirement(document, rules, observed))
}

/// The same where a step was decided and `because` kept it from being carried out. Without an active key that is late at once, unless the
/// key is only just being made.
pub fn held_up(document: &Document, rules: &Rules, observed: &Observed, late: Option<Overdue>, because: Because) -> Option<Overdue> {
    let keyless = document.active.is_none() && because != Because::Making && !rules.is_orphaned();
    let since = match late {
        Some(late) => Some(late.since),
        None if keyless && document.is_stored() => Some(document.updated_at),
        None => keyless.then_some(observed.serving_since),
    };
    since.map(|since| Overdue { since, because })
}

/// A key that would be gone if a signer did not lag behind.
fn retirement(document: &Document, rules: &Rules, observed: &Observed) -> Option<Overdue> {
    let bound = rules.uptake_bound?;
    let Decision::Wait(wait) = next(document, rules, observed) else { return None };
    let held = wait.pending.into_iter().find(|p| matches!(p.because, Because::Uptake { .. }))?;
    Some(Overdue { since: held.at?.minus(bound), because: held.because })
}

/// From when on its change-over is late, if that is still to come: whatever it waits for, it is to be looked at then.
pub fn late_from(document: &Document, rules: &Rules, now: Timestamp) -> Option<Timestamp> {
    if rules.is_orphaned() {
        return None;
    }
    let (waits, active) = (Waits::at(document, rules, now), document.active.as_ref()?);
    Some(in_time_until(active, rules, &waits) + Span::millis(1)).filter(|late| *late > now)
}

/// Until when a change-over from `active` is in time. A replica may be as far behind as the store without anything being late.
fn in_time_until(active: &Active, rules: &Rules, waits: &Waits) -> Timestamp {
    due(active, rules, waits) + waits.facts.store_refresh
}

fn due(active: &Active, rules: &Rules, waits: &Waits) -> Timestamp {
    if rules.mode == Mode::Manual { active.key.created_at + rules.max_age } else { waits.change_over_due(active, rules) }
}

fn change_over(document: &Document, rules: &Rules, observed: &Observed) -> Option<Overdue> {
    let waits = Waits::at(document, rules, observed.now);
    let since = match &document.active {
        Some(active) if observed.now <= in_time_until(active, rules, &waits) => return None,
        Some(active) => due(active, rules, &waits),
        None if document.is_stored() => document.updated_at,
        // Of one that was never stored nobody knows since when.
        None => observed.serving_since,
    };
    match next(document, rules, observed) {
        Decision::Do(..) => document.active.is_some().then_some(Overdue { since, because: Because::Propagation }),
        Decision::Wait(wait) => {
            let on_the_way = |kind| matches!(kind, StepKind::Any | StepKind::ConfirmPublished | StepKind::Activate | StepKind::Generate);
            let blocked = wait.pending.into_iter().find(|p| on_the_way(p.step));
            let because = blocked.map_or(Because::Propagation, |p| p.because);
            // A first key that is on its way is not late.
            let starting = document.active.is_none() && because == Because::StoreRefresh;
            (!starting).then_some(Overdue { since, because })
        }
    }
}
