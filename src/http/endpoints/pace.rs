//! How often each API key may ask: as much as the rate says at once, and then as it says per request (the generic cell rate algorithm,
//! ITU-T I.371). Of this process alone: replicas share no memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::name::{KeysetId, Kid};
use crate::policy::Rate;
use crate::time::Span;

/// When those are forgotten who have been quiet for long enough to be as good as new.
const SWEPT_AT: usize = 4096;

const NANOS: u128 = 1_000_000;

/// Until when, in nanoseconds on the boot clock, each API key has used up what it may ask of each keyset. Only those that live are ever
/// in it, because nobody else is let in.
#[derive(Default)]
pub(super) struct Pace(Mutex<BTreeMap<(KeysetId, Kid), u128>>);

impl Pace {
    /// Counts a request of this key to this keyset, at `now` on the boot clock.
    ///
    /// # Errors
    /// It is one too many; the next is taken after this long.
    pub fn admit(&self, keyset: &KeysetId, kid: &Kid, rate: Rate, now: Span) -> Result<(), Span> {
        let nanos = |span: Span| u128::from(span.as_millis()) * NANOS;
        let (now, per) = (nanos(now), nanos(rate.per));
        let each = (per / u128::from(rate.requests.max(1))).max(1);
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= SWEPT_AT {
            used.retain(|_, until| *until > now);
        }
        let until = used.entry((keyset.clone(), kid.clone())).or_default();
        let then = (*until).max(now) + each;
        if let Some(early) = then.checked_sub(now + per).filter(|early| *early > 0) {
            return Err(Span::millis(u64::try_from(early.div_ceil(NANOS)).unwrap_or(u64::MAX)));
        }
        *until = then;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_rate_at_once_and_then_one_after_the_other() {
        let (pace, keyset, rate) = (Pace::default(), "demo/users".parse().unwrap(), "3/3s".parse().unwrap());
        let ask = |kid: &str, at: u64| pace.admit(&keyset, &kid.parse().unwrap(), rate, Span::millis(at));
        assert_eq!([0, 0, 0, 0].map(|at| ask("a", at)), [Ok(()), Ok(()), Ok(()), Err(Span::seconds(1))]);
        assert_eq!(ask("b", 0), Ok(()), "each key has its own");
        assert_eq!(ask("a", 999), Err(Span::millis(1)));
        assert_eq!([ask("a", 1000), ask("a", 1000)], [Ok(()), Err(Span::seconds(1))]);
        assert_eq!([ask("a", 9000), ask("a", 9000), ask("a", 9000)], [Ok(()); 3]);
        assert!(ask("a", 9000).is_err());
    }

    #[test]
    fn whoever_is_quiet_is_forgotten() {
        let (pace, keyset, rate) = (Pace::default(), "demo/users".parse().unwrap(), "1/1s".parse().unwrap());
        for n in 0..=SWEPT_AT {
            let at = if n == SWEPT_AT { 5000 } else { 0 };
            pace.admit(&keyset, &format!("k{n}").parse().unwrap(), rate, Span::millis(at)).unwrap();
        }
        assert_eq!(pace.0.lock().unwrap().len(), 1);
    }
}
