//! The families that have a series per environment, and those of the process, written at the beginning of a scrape.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::text::{Head, Kind, head, sample};
use crate::board::EnvironmentBoard;
use crate::clock::Reading;
use crate::lifecycle::Because;
use crate::name::EnvironmentName;
use crate::reconcile::Status;
use crate::time::{Span, Timestamp};

/// The environments of the board.
pub(super) type Environments = BTreeMap<EnvironmentName, Arc<EnvironmentBoard>>;

type Value = fn(&EnvironmentBoard, Reading) -> f64;

const FAMILIES: [(&str, &str, Value); 5] = [
    ("keyrota_policy_last_reload_successful", "Whether the policy file as it stands is in force.", |e, _| {
        if e.policy.load().faults.is_empty() { 1.0 } else { 0.0 }
    }),
    ("keyrota_policy_last_reload_success_timestamp_seconds", "When the policy in force was taken.", |e, _| {
        e.policy.load().taken_at.as_seconds_f64()
    }),
    ("keyrota_policy_hash", "The first 48 bits of the policy in force: equal on every replica.", |e, _| {
        #[allow(clippy::cast_precision_loss)] // 48 bits are exact
        let bits = e.policy.load().digest.first_48_bits() as f64;
        bits
    }),
    ("keyrota_replica_fresh", "Whether the last confirmed look at the store is younger than store_refresh.", |e, now| {
        if e.freshness.is_fresh(now) { 1.0 } else { 0.0 }
    }),
    ("keyrota_reconcile_last_success_timestamp_seconds", "The last pass that was carried through (0: none yet).", |e, _| {
        e.last_pass.load().as_deref().copied().map_or(0.0, Timestamp::as_seconds_f64)
    }),
];

/// How the clock stands for an environment, read off its keysets.
struct Clock {
    /// By how much any two clocks may differ: the least that a keyset allows. `None` while none has been looked at.
    most_skew: Option<Span>,
    /// Whether no keyset is held up by it.
    trusted: bool,
}

impl Clock {
    fn of(environment: &EnvironmentBoard) -> Self {
        let keysets = environment.keysets();
        let (mut most_skew, mut trusted) = (None, true);
        for status in keysets.values().filter_map(|cell| cell.status()) {
            let skew = status.rules.facts.clock_skew;
            if !status.rules.is_orphaned() {
                most_skew = Some(most_skew.map_or(skew, |least: Span| least.min(skew)));
            }
            trusted &= !waits_for_the_clock(&status);
        }
        Self { most_skew, trusted }
    }
}

fn waits_for_the_clock(status: &Status) -> bool {
    status.wait.pending.iter().any(|pending| matches!(pending.because, Because::Clock { .. }))
}

/// Writes what is told of the environments and of the process itself.
pub(super) fn write(out: &mut String, environments: &Environments, now: Reading) {
    for (name, help, value) in FAMILIES {
        head(out, Head { name, help, kind: Kind::Gauge });
        for environment in environments.values() {
            sample(out, name, &[&[("environment", environment.name.as_str())]], value(environment, now));
        }
    }
    write_clocks(out, environments);
    // The process serves without a gap since its last environment does, and not at all while one does not.
    let serving: Option<Vec<_>> = environments.values().map(|e| e.freshness.serving_since(now)).collect();
    let since = serving.and_then(|since| since.into_iter().max()).map_or(0.0, Timestamp::as_seconds_f64);
    let own = [
        ("keyrota_serving_since_timestamp_seconds", "Since when this process serves without a gap (0: it does not).", since),
        ("keyrota_clock_unix_seconds", "This process's wall clock; its skew is timestamp(x) - x.", now.wall.as_seconds_f64()),
    ];
    for (name, help, value) in own {
        head(out, Head { name, help, kind: Kind::Gauge });
        sample(out, name, &[], value);
    }
    let name = "keyrota_build_info";
    head(out, Head { name, help: "The build that runs.", kind: Kind::Gauge });
    let revision = option_env!("KEYROTA_REVISION").unwrap_or("unknown");
    sample(out, name, &[&[("version", env!("CARGO_PKG_VERSION")), ("revision", revision)]], 1.0);
}

fn write_clocks(out: &mut String, environments: &Environments) {
    let clocks: Vec<_> = environments.values().map(|environment| (environment.name.as_str(), Clock::of(environment))).collect();
    let help = "Whether the wall clock is trusted (0: it was set, or a document bears a time in the future, and nothing is decided).";
    let trusted = Head { name: "keyrota_clock_trusted", help, kind: Kind::Gauge };
    head(out, trusted);
    for (environment, clock) in &clocks {
        sample(out, trusted.name, &[&[("environment", environment)]], if clock.trusted { 1.0 } else { 0.0 });
    }
    let help = "Policy: by how much any two clocks may differ (the least of the environment's keysets).";
    let most_skew = Head { name: "keyrota_max_clock_skew_seconds", help, kind: Kind::Gauge };
    head(out, most_skew);
    for (environment, clock) in &clocks {
        if let Some(skew) = clock.most_skew {
            sample(out, most_skew.name, &[&[("environment", environment)]], skew.as_seconds_f64());
        }
    }
}
