//! What operators can ask of a keyset, as pure functions from one document to the next. Each is one swap.

use crate::document::change::{Cause, Draft, IllegalChange, Promise};
use crate::document::{Document, Freeze, Incoming, Intent, Trigger};
use crate::name::Kid;
use crate::rules::Rules;
use crate::time::Timestamp;
use crate::waits::Waits;

/// An operator's wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// The next rotation is to begin now; its waits hold.
    Rotate,
    /// A key is compromised: out of every key set now. If it was active, a published successor takes over in the same swap.
    Revoke {
        /// Which.
        kid: Kid,
    },
    /// The key that signed before becomes active again.
    RollBack,
    /// No scheduled generation or activation.
    Freeze {
        /// Until when.
        until: Timestamp,
    },
    /// Scheduled steps go on.
    Unfreeze,
    /// An incoming key may become active.
    Approve {
        /// Which.
        kid: Kid,
    },
    /// The clock is right: times in the future are set to now.
    AcceptClock,
}

/// Why a wish is not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The document does not allow it.
    #[error(transparent)]
    Illegal(#[from] IllegalChange),
    /// There is nothing to roll back to, or it is too late.
    #[error("{keyset} cannot be rolled back: {why}; hint: go forward with `keyrota rotate {keyset}`")]
    TooLate {
        /// Which keyset.
        keyset: String,
        /// Why.
        why: String,
    },
}

/// The document after `verb`, asked for by `intent.by` at `intent.at` because of `intent.reason`.
///
/// # Errors
/// If the document's state does not allow it; nothing is half done.
pub fn apply(document: &Document, verb: &Verb, rules: &Rules, intent: Intent) -> Result<Document, Refusal> {
    let now = intent.at;
    let waits = Waits::at(document, rules, now);
    let trigger = if matches!(verb, Verb::Revoke { .. }) { Trigger::Emergency } else { Trigger::Operator };
    let cause = Cause { now, trigger, reason: intent.reason.clone(), by: Some(intent.by.clone()) };
    let mut draft =
        Draft::of(document, Some(document.digest()), cause, Promise { propagation: waits.propagation, retention: waits.retention });
    match verb {
        Verb::Rotate => draft.request_rotation(Some(intent)),
        Verb::Revoke { kid } => {
            draft.revoke(kid, &intent.reason)?;
            if let (None, Some(successor)) = (&draft.document().active, successor(draft.document(), now)) {
                draft.activate(&successor)?;
            }
        }
        Verb::RollBack => {
            let too_late = |why: String| Refusal::TooLate { keyset: document.id.to_string(), why };
            let previous = document.retiring.first().ok_or_else(|| too_late("no key signed before this one".into()))?;
            let until = previous.since + rules.rollback_window;
            if now >= until {
                return Err(too_late(format!("the rollback window of {} was over at {until}", rules.rollback_window)));
            }
            let kid = previous.key.kid.clone();
            draft.roll_back(&kid)?;
            if !draft.document().incoming.is_empty() {
                draft.hold_incoming(intent);
            }
        }
        Verb::Freeze { until } => draft.freeze(Some(Freeze { until: *until, intent })),
        Verb::Unfreeze => draft.freeze(None),
        Verb::Approve { kid } => draft.approve(kid, intent)?,
        Verb::AcceptClock => draft.reset_future_times(),
    }
    Ok(draft.finish())
}

/// The key that can take over at once: published, and not one that must not or cannot sign.
fn successor(document: &Document, now: Timestamp) -> Option<Kid> {
    let lawful = |i: &&Incoming| !document.intents.taints(&i.key.kid) && i.key.expires_at.is_none_or(|at| now < at);
    document.incoming.iter().filter(|i| i.stage.published_at().is_some()).find(lawful).map(|i| i.key.kid.clone())
}
