//! docs/metrics.md is what the daemon says of its metrics, and whatever alerts and dashboard ask for stands there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod aws_fake;
#[path = "board/fixture.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_fake::{FakeCalls, FakeTime, Service};
use fixture::{board, changed, document, key, noon, put, rules, status};
use keyrota::board::Manner;
use keyrota::board::uptake::{Keep, Reporter};
use keyrota::document::{Change, HistoryEntry, StateName, Trigger};
use keyrota::event::Event;
use keyrota::key::{Algorithm, Key};
use keyrota::metrics::{MeasuredCalls, MeasuredStore, Metrics};
use keyrota::name::Generation;
use keyrota::probe::ProbeStanding;
use keyrota::reconcile::Status;
use keyrota::store::Store as _;
use keyrota::store::memory::MemoryStore;
use keyrota::time::Span;

const HEAD: &str = "# Metrics

What `/metrics` of the operators' listener tells Prometheus, in the text format 0.0.4. A test writes this table from a scrape and holds it to
it. Times are seconds since 1970, spans are seconds; 0 stands for what has not happened. What a document or a policy says is read off them at each
scrape, so a restart resets only counters. Series of keys, keysets and environments that are gone vanish.

[Alert rules](../systemd/prometheus/keyrota.rules.yaml) and a [Grafana dashboard](../systemd/prometheus/dashboard.json) use them; the
[runbook](runbook.md) says what to do. Instances of one job that have an environment in common are taken for replicas of one store.

| metric | type | labels | what it says |
| --- | --- | --- | --- |
";

/// A scrape in which every metric has a series.
async fn scrape() -> String {
    let (board, environment) = board();
    let at = noon().wall.minus(Span::minutes(1));
    let of = rules(Algorithm::ES256);
    let vendors = Key { expires_at: Some(noon().wall + Span::days(1)), ..key("vendors", Algorithm::ES256, at) };
    let users = changed(&document("demo/users", Algorithm::ES256, 2), &of, at, |d| {
        d.revoke(&"kid-0".parse().unwrap(), "found in a log").unwrap();
        d.stage(vendors).unwrap();
    });
    let probe = ProbeStanding {
        url: "https://id.example.com/keys.json".into(),
        looked_at: Some(at),
        seen_at: Some(at),
        failure: None,
        generation: Some(Generation(2)),
    };
    let status = Status { probes: vec![probe], ..status(Some(users), of) };
    put(&environment, "users", status, Manner::default());
    let (from, keep) = (Reporter { uid: 1000, ours: false }, Keep { live: Span::hours(1), remembered: Span::hours(1) });
    let reports = &environment.keyset("users").unwrap().reports;
    reports.take(&"web-1".parse().unwrap(), from, Generation(7), noon().wall, keep).unwrap();
    let users = environment.id(&"users".parse().unwrap());
    let metrics = Arc::new(Metrics::new(noon()).unwrap());
    let name = environment.name.clone();
    let store = MeasuredStore::new(MemoryStore::new(name.clone()), Arc::clone(&metrics), name.clone());
    assert!(store.load(&users.keyset).await.unwrap().is_none());
    let _calls = MeasuredCalls::new(FakeCalls::new(Service::new(1, FakeTime::default())), Arc::clone(&metrics), name.clone());
    metrics.expect_targets(&users, ["/run/users.pem".to_owned()].into_iter());
    metrics.pass(&name, std::time::Duration::from_millis(3));
    let change = Change::KeyMoved { kid: "kid-1".parse().unwrap(), from: Some(StateName::Published), to: StateName::Active };
    let entry = HistoryEntry { generation: Generation(2), at, trigger: Trigger::Schedule, reason: "".into(), by: None, change };
    metrics.record(&[Event::Changed { keyset: users, entry }], noon());
    metrics.scrape(&board, noon()).map(|piece| String::from_utf8(piece.to_vec()).unwrap()).collect()
}

/// The labels of a series, in their order.
fn labels(series: &str) -> Vec<String> {
    let Some((_, inside)) = series.split_once('{') else { return Vec::new() };
    let names = inside.split("=\"").filter_map(|part| part.rsplit(['"', ',', '{']).next());
    let names = names.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !name.is_empty() && *name != "le");
    names.map(str::to_owned).collect()
}

fn table(scrape: &str) -> String {
    let mut families: BTreeMap<&str, (&str, &str, Option<Vec<String>>)> = BTreeMap::new();
    for line in scrape.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            families.insert(name, ("", help, None));
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.get_mut(name).unwrap().0 = kind;
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let part = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family = part.filter(|family| families.contains_key(family)).unwrap_or(name);
            let (_, _, known) = families.get_mut(family).unwrap();
            known.get_or_insert_with(|| labels(line.rsplit_once(' ').unwrap().0));
        }
    }
    let mut out = String::new();
    for (name, (kind, help, labels)) in families {
        let labels = labels.unwrap_or_else(|| panic!("{name} has no series here, so nobody knows its labels"));
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(out, "| `{name}` | {kind} | {} | {} |", labels.join(" "), help.replace('|', "\\|")).unwrap();
    }
    out
}

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[tokio::test]
async fn the_docs_are_what_the_daemon_says() {
    let text = format!("{HEAD}{}", table(&scrape().await));
    let path = at("docs/metrics.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let docs = fs::read_to_string(&path).unwrap();
    for (line, (got, wanted)) in text.lines().zip(docs.lines()).enumerate() {
        assert_eq!(got, wanted, "line {}; hint: UPDATE_GOLDEN=1 writes it anew, and git shows what changed", line + 1);
    }
    assert_eq!(text.len(), docs.len());
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_are_there() {
    let docs = fs::read_to_string(at("docs/metrics.md")).unwrap();
    let known: BTreeSet<&str> = docs.split('`').filter(|word| word.starts_with("keyrota_")).collect();
    for path in ["systemd/prometheus/keyrota.rules.yaml", "systemd/prometheus/dashboard.json"] {
        let text = fs::read_to_string(at(path)).unwrap();
        let names = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| word.starts_with("keyrota_"));
        let asked: BTreeSet<&str> = names.collect();
        assert!(asked.len() > 20, "{path} was read");
        let part = |name: &str| ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end).is_some_and(|f| known.contains(f)));
        let missing: Vec<_> = asked.into_iter().filter(|name| !known.contains(name) && !part(name)).collect();
        assert!(missing.is_empty(), "{path} asks for {missing:?}");
    }
}
