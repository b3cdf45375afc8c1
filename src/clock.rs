//! Two clocks: wall time decides, boot time supervises.
//!
//! Boot time (`CLOCK_BOOTTIME`) runs through suspends and is never set. If wall time parts from it by more than `clock_skew` after
//! the start, somebody set the wall clock, and nothing may be decided until they agree again or an operator accepts.

use crate::time::{Span, Timestamp};

/// Both clocks, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Wall time.
    pub wall: Timestamp,
    /// Time since boot, suspends included.
    pub boot: Span,
}

/// Compares the clocks with how they stood at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockWatch {
    start: Reading,
}

impl ClockWatch {
    /// Takes `start` as right.
    pub const fn new(start: Reading) -> Self {
        Self { start }
    }

    /// By how much the wall clock has been set against the boot clock since the start.
    pub fn parted(&self, now: Reading) -> Span {
        let expected = self.start.wall + now.boot.saturating_sub(self.start.boot);
        if now.wall >= expected { now.wall.since(expected) } else { expected.since(now.wall) }
    }
}

impl Reading {
    /// What the clocks showed at an earlier boot time, if nobody has set the wall clock since.
    #[must_use]
    pub fn back_to(self, boot: Span) -> Self {
        let ago = self.boot.saturating_sub(boot);
        Self { wall: self.wall.minus(ago), boot: self.boot.saturating_sub(ago) }
    }

    /// Reads the machine's clocks.
    #[allow(clippy::disallowed_methods, reason = "the one lawful place")]
    pub fn now() -> Self {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let millis = boot.tv_sec.saturating_mul(1000).saturating_add(boot.tv_nsec / 1_000_000);
        Self { wall: chrono::Utc::now().into(), boot: Span::millis(u64::try_from(millis).unwrap_or(0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: u64, boot: u64) -> Reading {
        Reading { wall: Timestamp::EPOCH + Span::seconds(wall), boot: Span::seconds(boot) }
    }

    #[test]
    fn steps_both_ways_are_seen_and_agreement_ends_them() {
        let watch = ClockWatch::new(at(1000, 10));
        assert_eq!(watch.parted(at(1100, 110)), Span::ZERO);
        assert_eq!(watch.parted(at(87_500, 110)), Span::seconds(86_400));
        assert_eq!(watch.parted(at(500, 110)), Span::seconds(600));
        assert_eq!(watch.parted(at(1200, 210)), Span::ZERO);
    }
}
