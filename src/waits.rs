//! Waits and schedule: what follows from facts and rules, after RFC 7583 (DNSSEC key rollover timing).
//!
//! Nothing here is ever typed in by an operator, and nothing here decides: [`crate::lifecycle`] does.

use crate::digest::Digest;
use crate::document::{Active, Document, Facts};
use crate::rules::Rules;
use crate::time::{Span, Timestamp};

/// The waits of one keyset at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// The facts in force: of each the greater of what was promised and what the policy states.
    pub facts: Facts,
    /// From the moment a key can be fetched everywhere to the moment every verifier has it.
    pub propagation: Span,
    /// From the moment a key signs no more to the moment its last token is dead.
    pub retention: Span,
    /// The longest time from any moment to the next opening of the window; zero without one.
    pub window: Span,
}

impl Waits {
    /// The waits in force at `now`.
    pub fn at(document: &Document, rules: &Rules, now: Timestamp) -> Self {
        let facts = document.facts.in_force(&rules.facts, now);
        let window = rules.window.as_ref().map_or(Span::ZERO, crate::policy::Window::max_wait);
        Self { facts, propagation: facts.propagation(), retention: facts.retention(), window }
    }

    /// When the change-over from `active` is due: `rotate_every` after it began to sign (less its share of the jitter), earlier if
    /// its age from creation or its vendor's expiry demands it.
    pub fn change_over_due(&self, active: &Active, rules: &Rules) -> Timestamp {
        let by_schedule = (active.since + rules.rotate_every).minus(jitter(active, rules.jitter));
        let by_age = active.key.created_at + rules.max_age;
        let by_expiry = active.key.expires_at.unwrap_or(Timestamp::MAX);
        by_schedule.min(by_age).min(by_expiry)
    }

    /// When the successor of `active` is to be generated, so that every probe has looked, it has waited and a window has
    /// come by the time it is due.
    pub fn generate_at(&self, active: &Active, rules: &Rules) -> Timestamp {
        self.change_over_due(active, rules).minus(self.propagation + self.window + rules.probed.within)
    }
}

/// A share of `most`, spread evenly over keysets and steady for each key: no randomness, so that every replica and every plan
/// computes the same.
fn jitter(active: &Active, most: Span) -> Span {
    let spread = Digest::of(active.key.kid.as_str().as_bytes()).first_48_bits();
    Span::millis(u64::try_from((u128::from(most.as_millis()) * u128::from(spread)) >> 48).unwrap_or(0))
}
