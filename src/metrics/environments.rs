//! The families that have a series per environment, and those of the process, written at the beginning of a scrape.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::text::{Head, Kind, head, sample};
use crate::board::EnvironmentBoard;
use crate::clock::Reading;
use crate::name::EnvironmentName;
use crate::time::Timestamp;

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

/// Writes what is told of the environments and of the process itself.
pub(super) fn write(out: &mut String, environments: &Environments, now: Reading) {
    for (name, help, value) in FAMILIES {
        head(out, Head { name, help, kind: Kind::Gauge });
        for environment in environments.values() {
            sample(out, name, &[&[("environment", environment.name.as_str())]], value(environment, now));
        }
    }
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
