//! Metrics: what Prometheus is told, in the text format 0.0.4. Each family says in its `# HELP` what it means.
//!
//! What a document or a policy says is read off the [`Board`] at each scrape, so that a restart resets nothing and a key, keyset or
//! environment that is gone takes its series along. Only what merely happened is counted: transitions, writes, store operations,
//! requests. A scrape is streamed family by family, keyset by keyset, and never stands in memory as a whole.

mod aws;
mod counts;
mod environments;
mod http;
mod keysets;
mod process;
mod scrape;
mod store;
mod text;
mod tls;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

pub use self::http::{Handler, Http};
pub use aws::MeasuredCalls;
pub use scrape::Scrape;
pub use store::MeasuredStore;
pub use tls::{Handshake, Tls};

use crate::board::Board;
use crate::clock::Reading;
use crate::event::Event;
use crate::name::{EnvironmentName, KeysetId};
use crate::time::Timestamp;
use counts::Counts;
pub use counts::Posted;

/// Everything that is counted.
pub struct Metrics {
    /// Requests, by handler.
    pub http: Http,
    /// TLS on the verifiers' listener.
    pub tls: Tls,
    registry: Registry,
    counts: Counts,
    store_operations: IntCounterVec,
    aws_calls: IntCounterVec,
    store_duration: HistogramVec,
    store_last_success: GaugeVec,
    pass_duration: HistogramVec,
    clock_steps: IntCounterVec,
    environments: Mutex<BTreeSet<EnvironmentName>>,
    started: Reading,
    process: process::Process,
}

const OPERATIONS: [&str; 4] = ["load", "load_many", "swap", "changes"];
const RESULTS: [&str; 5] = ["ok", "conflict", "unavailable", "indeterminate", "invalid"];

impl Metrics {
    /// Nothing counted yet. `started` is how the clocks stood when the process began: steps of the wall clock are told from there.
    ///
    /// # Errors
    /// Never, unless two metrics were given one name.
    pub fn new(started: Reading) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            http: Http::new(&registry)?,
            tls: Tls::new(&registry)?,
            counts: Counts::default(),
            store_operations: registered(
                &registry,
                IntCounterVec::new(
                    Opts::new("keyrota_store_operations_total", "Operations on the store, by how they ended."),
                    &["environment", "operation", "result"],
                ),
            )?,
            aws_calls: registered(
                &registry,
                IntCounterVec::new(
                    Opts::new("keyrota_aws_calls_total", "Calls to AWS Secrets Manager, by operation and by how they ended."),
                    &["environment", "operation", "result"],
                ),
            )?,
            store_duration: registered(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new("keyrota_store_operation_duration_seconds", "How long operations on the store took.")
                        .buckets(vec![0.0005, 0.002, 0.01, 0.05, 0.2, 1.0, 5.0, 20.0]),
                    &["environment", "operation"],
                ),
            )?,
            store_last_success: registered(
                &registry,
                GaugeVec::new(
                    Opts::new("keyrota_store_last_success_timestamp_seconds", "When the store last answered as it should."),
                    &["environment"],
                ),
            )?,
            pass_duration: registered(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new("keyrota_reconcile_duration_seconds", "How long passes of the reconciler took.")
                        .buckets(vec![0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0]),
                    &["environment"],
                ),
            )?,
            clock_steps: registered(
                &registry,
                IntCounterVec::new(
                    Opts::new("keyrota_clock_steps_total", "Times that the wall clock was seen set against the boot clock."),
                    &["direction"],
                ),
            )?,
            environments: Mutex::default(),
            started,
            process: process::Process::seen(started),
            registry,
        };
        for direction in ["forward", "backward"] {
            metrics.clock_steps.with_label_values(&[direction]).reset();
        }
        Ok(metrics)
    }

    /// Counts what happened.
    pub fn record(&self, events: &[Event], now: Reading) {
        for event in events {
            if let Event::ClockSet { .. } = event {
                let expected = self.started.wall + now.boot.saturating_sub(self.started.boot);
                let direction = if now.wall >= expected { "forward" } else { "backward" };
                self.clock_steps.with_label_values(&[direction]).inc();
            }
            self.counts.record(event, now.wall);
        }
    }

    /// Names the publish targets of a keyset, so that each has its series before anything was written. Those that were named before
    /// and are not now, vanish.
    pub fn expect_targets(&self, keyset: &KeysetId, targets: impl Iterator<Item = String>) {
        self.counts.expect_targets(keyset, targets);
    }

    /// A message to a webhook was delivered, or was not.
    pub fn posted(&self, keyset: &KeysetId, target: &str, what: Posted, now: Timestamp) {
        self.counts.posted(keyset, target, what, now);
    }

    /// A pass of an environment's reconciler took so long.
    pub fn pass(&self, environment: &EnvironmentName, took: Duration) {
        self.meet(environment);
        self.pass_duration.with_label_values(&[environment.as_str()]).observe(took.as_secs_f64());
    }

    /// All metrics at this moment, in pieces of text. What is told of keysets is one consistent picture, taken now.
    pub fn scrape(&self, board: &Board, now: Reading) -> Scrape {
        let environments = board.environments();
        self.lock_environments().retain(|name| environments.contains_key(name) || self.forget(name));
        Scrape::new(self, &environments, now)
    }

    /// An environment that is to be measured: its series are there from now on.
    fn meet(&self, environment: &EnvironmentName) {
        let mut known = self.lock_environments();
        if !known.contains(environment) {
            known.insert(environment.clone());
        }
    }

    /// Takes the series of an environment away. `false`: it is not to be kept.
    fn forget(&self, environment: &EnvironmentName) -> bool {
        let name = environment.as_str();
        let _ = self.pass_duration.remove_label_values(&[name]);
        let _ = self.store_last_success.remove_label_values(&[name]);
        for (operation, result) in aws::OPERATIONS.into_iter().flat_map(|operation| aws::results().map(move |result| (operation, result))) {
            let _ = self.aws_calls.remove_label_values(&[name, operation, result]);
        }
        for operation in OPERATIONS {
            let _ = self.store_duration.remove_label_values(&[name, operation]);
            for result in RESULTS {
                let _ = self.store_operations.remove_label_values(&[name, operation, result]);
            }
        }
        false
    }

    fn lock_environments(&self) -> std::sync::MutexGuard<'_, BTreeSet<EnvironmentName>> {
        self.environments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, made: Result<C, prometheus::Error>) -> Result<C, prometheus::Error> {
    let metric = made?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
