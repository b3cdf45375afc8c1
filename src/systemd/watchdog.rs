//! systemd's watchdog (`WatchdogSec=`), fed by the passes themselves: systemd hears that the daemon lives when *every* environment has
//! made a step since it heard so last. No timer takes part, so that a reconciler which is stuck is killed, even if all else answers.
//!
//! A step is a keyset that was looked at, or the end of a pass. So a long pass is no stuck one, and neither is one that found its
//! store away: calls to a store end in time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::clock::Reading;
use crate::name::EnvironmentName;
use crate::time::Span;

/// The watchdog of this process.
#[derive(Debug, Default)]
pub struct Watchdog {
    /// Within what systemd wants to hear; `None`: it does not ask.
    within: Option<Duration>,
    round: Mutex<Round>,
}

/// Who has made a step since systemd was told last.
#[derive(Debug, Default)]
struct Round {
    stepped: BTreeMap<EnvironmentName, bool>,
    /// On the boot clock.
    told: Option<Span>,
}

impl Watchdog {
    /// As the environment of the process says (`WATCHDOG_USEC`).
    pub fn asked_for() -> Self {
        Self { within: sd_notify::watchdog_enabled().filter(|within| !within.is_zero()), round: Mutex::default() }
    }

    /// From now on this environment must make steps.
    pub fn enlist(&self, environment: &EnvironmentName) {
        self.lock().stepped.insert(environment.clone(), false);
    }

    /// The environment has made a step.
    pub fn step(&self, environment: &EnvironmentName, now: Reading) {
        let Some(within) = self.within else { return };
        if self.lock().step(environment, now.boot, rarest(within)) {
            super::tell(&[NotifyState::Watchdog]);
        }
    }

    /// The longest that an environment may rest between two passes.
    pub fn longest_rest(&self) -> Option<Duration> {
        self.within.map(|within| within / 3)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much time must pass between two messages: steps can come by the thousand.
fn rarest(within: Duration) -> Span {
    Span::millis(u64::try_from(within.as_millis() / 8).unwrap_or(0))
}

impl Round {
    /// Whether systemd is to be told.
    fn step(&mut self, environment: &EnvironmentName, boot: Span, rarest: Span) -> bool {
        self.stepped.insert(environment.clone(), true);
        let due = self.told.is_none_or(|told| boot >= told + rarest) && self.stepped.values().all(|stepped| *stepped);
        if due {
            self.told = Some(boot);
            self.stepped.values_mut().for_each(|stepped| *stepped = false);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> EnvironmentName {
        name.parse().unwrap()
    }

    #[test]
    fn one_environment_that_is_stuck_is_enough() {
        let (a, b) = (named("a"), named("b"));
        let mut round = Round { stepped: [(a.clone(), false), (b.clone(), false)].into(), told: None };
        let step = |round: &mut Round, who: &EnvironmentName, at: u64| round.step(who, Span::seconds(at), Span::seconds(1));
        assert!(!step(&mut round, &a, 1));
        assert!(step(&mut round, &b, 2));
        for at in 3..100 {
            assert!(!step(&mut round, &a, at), "only one of the two is alive");
        }
        assert!(step(&mut round, &b, 100));
    }

    #[test]
    fn thousands_of_steps_are_few_messages_and_none_is_forgotten() {
        let only = named("a");
        let mut round = Round { stepped: [(only.clone(), false)].into(), told: None };
        let told = (0..10_000).filter(|at| round.step(&only, Span::millis(*at), Span::seconds(1))).count();
        assert_eq!(told, 10);
        assert!(round.step(&only, Span::seconds(11), Span::seconds(1)), "what came too early to be told counts later");
    }

    #[test]
    fn rests_leave_room_for_a_pass() {
        let watchdog = Watchdog { within: Some(Duration::from_secs(6)), round: Mutex::default() };
        assert_eq!(watchdog.longest_rest(), Some(Duration::from_secs(2)));
        assert_eq!(Watchdog::default().longest_rest(), None);
    }
}
