//! Whether this process may speak for the store, and since when it has done so without a gap.
//!
//! A process whose last confirmed look at the store is older than `fresh_for` (cut off, or frozen and resumed) does not know
//! what was decided meanwhile. It says so on `/readyz`, gives no document to signers, and counts as not serving.

use std::sync::Mutex;

use crate::clock::Reading;
use crate::time::{Span, Timestamp};

/// Freshness of one environment. Shared by the pass that confirms it and the listeners that ask at every request.
#[derive(Debug)]
pub struct Freshness {
    /// How old the last look may be: `store_refresh` without the part that a look itself may be behind.
    fresh_for: Span,
    confirmed: Mutex<Option<Confirmed>>,
}

#[derive(Debug, Clone, Copy)]
struct Confirmed {
    /// Boot time at which the look began.
    at: Span,
    /// Wall time of the same moment.
    wall: Timestamp,
    /// Wall time since which there has been no gap.
    serving_since: Timestamp,
}

impl Freshness {
    /// Nothing is confirmed yet.
    pub const fn new(fresh_for: Span) -> Self {
        Self { fresh_for, confirmed: Mutex::new(None) }
    }

    /// A look at the store that began at `began` has been carried through: everything it showed is served as of `done`.
    pub fn confirm(&self, began: Reading, done: Reading) {
        let mut confirmed = self.lock();
        let gap = confirmed.is_none_or(|c| done.boot > c.at + self.fresh_for);
        let serving_since = match *confirmed {
            Some(c) if !gap => c.serving_since,
            _ => done.wall,
        };
        *confirmed = Some(Confirmed { at: began.boot, wall: began.wall, serving_since });
    }

    /// Whether the last confirmed look is young enough.
    pub fn is_fresh(&self, now: Reading) -> bool {
        self.lock().is_some_and(|c| now.boot <= c.at + self.fresh_for)
    }

    /// Since when this process has served without a gap; `None` while it does not.
    pub fn serving_since(&self, now: Reading) -> Option<Timestamp> {
        self.lock().filter(|c| now.boot <= c.at + self.fresh_for).map(|c| c.serving_since)
    }

    /// When the last confirmed look began.
    pub fn confirmed_at(&self) -> Option<Timestamp> {
        self.lock().map(|c| c.wall)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Confirmed>> {
        self.confirmed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Reading {
        Reading { wall: Timestamp::EPOCH + Span::seconds(1000 + seconds), boot: Span::seconds(seconds) }
    }

    #[test]
    fn a_gap_begins_serving_anew() {
        let freshness = Freshness::new(Span::seconds(5));
        assert!(!freshness.is_fresh(at(0)));
        freshness.confirm(at(0), at(1));
        freshness.confirm(at(4), at(5));
        assert_eq!(freshness.serving_since(at(9)), Some(at(1).wall));
        assert!(freshness.is_fresh(at(9)) && !freshness.is_fresh(at(10)));
        freshness.confirm(at(10), at(10));
        assert_eq!(freshness.serving_since(at(10)), Some(at(10).wall), "nobody looked during the gap, and yet it counts");
    }

    #[test]
    fn a_look_that_took_too_long_confirms_nothing_young() {
        let freshness = Freshness::new(Span::seconds(5));
        freshness.confirm(at(0), at(0));
        freshness.confirm(at(2), at(20));
        assert!(!freshness.is_fresh(at(20)));
    }
}
