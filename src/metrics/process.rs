//! `process_*`, as every Prometheus client has them, from `/proc/self` alone.
//!
//! The library's own collector reads the time of boot from `/proc/stat`, which `ProcSubset=pid` hides; here the start time comes
//! from the two clocks.

use std::fs;

use super::text::{Head, Kind, head, sample};
use crate::clock::Reading;
use crate::time::{Span, Timestamp};

/// What of the process does not change.
pub(super) struct Process {
    started_at: Option<Timestamp>,
}

/// The fields of `/proc/self/stat` that are told.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    /// Ticks of the boot clock at which the process began.
    started: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Process {
    /// Looks at the process; `now` ties the boot clock to the wall clock.
    pub fn seen(now: Reading) -> Self {
        let started_at = Stat::read().map(|stat| {
            let after_boot = Span::millis(stat.started.saturating_mul(1000) / ticks());
            now.wall.minus(now.boot.saturating_sub(after_boot))
        });
        Self { started_at }
    }

    /// Writes what can be read.
    pub fn write(&self, out: &mut String) {
        if let Some(stat) = Stat::read() {
            let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
            let cpu = Span::millis(stat.cpu_ticks.saturating_mul(1000) / ticks());
            one(out, "process_cpu_seconds_total", "User and system time spent, in seconds.", Kind::Counter, cpu.as_seconds_f64());
            one(out, "process_threads", "Threads.", Kind::Gauge, number(stat.threads));
            one(out, "process_virtual_memory_bytes", "Virtual memory.", Kind::Gauge, number(stat.virtual_bytes));
            let resident = number(stat.resident_pages.saturating_mul(page));
            one(out, "process_resident_memory_bytes", "Resident memory.", Kind::Gauge, resident);
        }
        if let Some(started) = self.started_at {
            one(out, "process_start_time_seconds", "When the process began.", Kind::Gauge, started.as_seconds_f64());
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // Less the one that looks.
            let count = u64::try_from(open.count()).unwrap_or(u64::MAX).saturating_sub(1);
            one(out, "process_open_fds", "Open file descriptors.", Kind::Gauge, number(count));
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        if let Some(most) = limit {
            one(out, "process_max_fds", "The most file descriptors.", Kind::Gauge, number(most));
        }
    }
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Field numbers as in `proc_pid_stat(5)`, from 1; the second one, in parentheses, may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            started: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn ticks() -> u64 {
    rustix::param::clock_ticks_per_second().max(1)
}

fn one(out: &mut String, name: &'static str, help: &'static str, kind: Kind, value: f64) {
    head(out, Head { name, help, kind });
    sample(out, name, &[], value);
}

#[allow(clippy::cast_precision_loss)] // exact below 2^53
const fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_process_may_hold_anything() {
        let text = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 7 5 0 0 20 0 3 0 9900 123456 78 18446744073709551615";
        let stat = Stat { cpu_ticks: 12, threads: 3, started: 9900, virtual_bytes: 123_456, resident_pages: 78 };
        assert_eq!(Stat::parse(text), Some(stat));
        assert_eq!(Stat::parse("42 (a) S 1"), None);
    }

    #[test]
    fn this_process_began_after_boot_and_before_now() {
        let now = Reading::now();
        let started = Process::seen(now).started_at.unwrap();
        assert!(started <= now.wall && now.wall.since(started) <= now.boot);
    }
}
