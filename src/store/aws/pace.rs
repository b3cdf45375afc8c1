//! When calls may be made: the account's quota of writes, and waiting between tries.
//!
//! `PutSecretValue` and `UpdateSecretVersionStage` share 50 a second per account and region, which nobody can raise; so every daemon
//! keeps to a part of it. Time comes in as a value, so that tests decide when it passes.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use crate::clock::Reading;
use crate::time::Span;

/// Time as the adapter sees it.
pub trait Time: Send + Sync + 'static {
    /// Time since boot.
    fn boot(&self) -> Span;
    /// Waits that long.
    fn sleep(&self, span: Span) -> impl Future<Output = ()> + Send;
}

/// The machine's boot clock and the runtime's timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct MachineTime;

impl Time for MachineTime {
    fn boot(&self) -> Span {
        Reading::now().boot
    }

    async fn sleep(&self, span: Span) {
        tokio::time::sleep(span.to_std()).await;
    }
}

/// Writes a second that one daemon makes at most, unless it is told otherwise.
pub const WRITES_A_SECOND: u64 = 20;

/// A bucket of tokens, told by when it will have been filled again (the generic cell rate algorithm). Shared by all environments of
/// a daemon.
#[derive(Debug)]
pub struct Pace {
    every_micros: u64,
    burst: u64,
    full_at_micros: Mutex<u64>,
}

impl Pace {
    /// A bucket that gives `a_second` tokens a second and holds as many.
    pub fn new(a_second: u64) -> Self {
        let a_second = a_second.max(1);
        Self { every_micros: 1_000_000 / a_second, burst: a_second, full_at_micros: Mutex::new(0) }
    }

    /// Takes a token at `now` (boot time); answers how long to wait before using it.
    pub fn take(&self, now: Span) -> Span {
        let now = now.as_millis().saturating_mul(1000);
        let mut full_at = self.full_at_micros.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*full_at).max(now).saturating_add(self.every_micros);
        *full_at = next;
        let ready = next.saturating_sub(self.every_micros.saturating_mul(self.burst));
        Span::millis(ready.saturating_sub(now).div_ceil(1000))
    }
}

/// The wait before the next try: it doubles from `first` up to a second, and a random part of it is left out, so that replicas which
/// met do not meet again.
pub(super) fn back_off(first: Span, tries: u32, random: u64) -> Span {
    let whole = first.as_millis().saturating_mul(1 << tries.min(10)).clamp(1, 1000);
    Span::millis(whole / 2 + random % (whole / 2 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let pace = Pace::new(20);
        let now = Span::hours(1);
        for _ in 0..20 {
            assert_eq!(pace.take(now), Span::ZERO);
        }
        assert_eq!(pace.take(now), Span::millis(50));
        assert_eq!(pace.take(now), Span::millis(100));
        assert_eq!(pace.take(now + Span::millis(150)), Span::ZERO, "three were filled in, two of them were taken ahead");
        let later = now + Span::hours(1);
        let waits = (0..40).filter(|_| pace.take(later) > Span::ZERO).count();
        assert_eq!(waits, 20, "a long rest fills the bucket once, not more");
    }

    #[test]
    fn no_second_sees_more_than_burst_and_rate() {
        let pace = Pace::new(20);
        let start = Span::seconds(7);
        let uses: Vec<_> = (0..200).map(|_| start + pace.take(start)).collect();
        let within = |from: Span| uses.iter().filter(|at| **at >= from && **at < from + Span::seconds(1)).count();
        assert!((0..10).all(|s| within(start + Span::seconds(s)) <= 40));
        assert!((1..9).all(|s| within(start + Span::seconds(s)) <= 20));
    }

    #[test]
    fn waits_grow_up_to_a_second() {
        for (tries, random) in [(0, 0), (0, u64::MAX), (3, 7), (40, u64::MAX)] {
            let wait = back_off(Span::millis(50), tries, random);
            let whole = Span::millis((50 << tries.min(10)).min(1000));
            assert!(wait <= whole && wait * 2 >= whole, "{tries}: {wait}");
        }
    }
}
