//! Metrics as Prometheus reads them. `promtool check metrics` is run over the same golden file where it is installed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test that cannot go on has failed; values are exact")]

#[path = "board/fixture.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use fixture::{board, changed, confirm, document, noon, put, rules, status};
use keyrota::board::{Board, Manner};
use keyrota::document::Document;
use keyrota::document::{Change, Facts, Freeze, HistoryEntry, Intent, StateName, Trigger};
use keyrota::event::Event;
use keyrota::key::Algorithm;
use keyrota::metrics::{MeasuredStore, Metrics};
use keyrota::name::{Generation, KeysetId, KeysetName};
use keyrota::rules::Rules;
use keyrota::store::{Changes, Loaded, Mark, Revision, Store, StoreError, SwapError};
use keyrota::time::Span;

fn text(metrics: &Metrics, board: &Board) -> String {
    metrics.scrape(board, noon()).map(|piece| String::from_utf8(piece.to_vec()).unwrap()).collect()
}

fn moved(keyset: &KeysetId, from: StateName, to: StateName, trigger: Trigger) -> Event {
    let change = Change::KeyMoved { kid: "k".parse().unwrap(), from: Some(from), to };
    let entry = HistoryEntry { generation: Generation(2), at: noon().wall, trigger, reason: "".into(), by: None, change };
    Event::Changed { keyset: keyset.clone(), entry }
}

/// What a process sees of a keyset that began and rotated once under its eyes.
fn one_life(metrics: &Metrics, keyset: &KeysetId) {
    use StateName::{Active, Published, Retired, Retiring, Staged};
    let events = [
        moved(keyset, Staged, Published, Trigger::Schedule),
        moved(keyset, Published, Active, Trigger::Emergency),
        moved(keyset, Staged, Published, Trigger::Schedule),
        moved(keyset, Published, Active, Trigger::Schedule),
        moved(keyset, Active, Retiring, Trigger::Schedule),
        moved(keyset, Retiring, Retired, Trigger::Schedule),
    ];
    metrics.record(&events, noon());
}

/// The samples, by series.
fn series(text: &str) -> BTreeMap<&str, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let mut found = BTreeMap::new();
    for line in samples {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let before = found.insert(series, value.parse().unwrap());
        assert!(before.is_none(), "{series} stands twice");
    }
    found
}

#[test]
fn the_text_is_the_golden_one() {
    let (board, environment) = board();
    confirm(&environment);
    let metrics = Metrics::new(noon()).unwrap();
    let users = environment.id(&"users".parse().unwrap());
    one_life(&metrics, &users);
    metrics.expect_targets(&users, ["/run/demo/a \"quoted\\ one.pem".to_owned()].into_iter());
    let of_no_run = |line: &&str| !["process_", "# HELP process_", "# TYPE process_"].iter().any(|own| line.starts_with(own));
    let text: String = text(&metrics, &board).lines().filter(of_no_run).flat_map(|line| [line, "\n"]).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/metrics.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (line, (got, wanted)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(got, wanted, "line {}; hint: UPDATE_GOLDEN=1 writes it anew, and git shows what changed", line + 1);
    }
    assert_eq!(text.len(), golden.len());
}

#[test]
fn families_stand_together_each_with_help_and_type() {
    let (board, environment) = board();
    confirm(&environment);
    let text = text(&Metrics::new(noon()).unwrap(), &board);
    let mut closed = BTreeSet::new();
    let mut current = "";
    let mut described = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")) {
            described.insert((&line[..6], rest.split(' ').next().unwrap()));
            continue;
        }
        let name = line.split(['{', ' ']).next().unwrap();
        let part = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let family = part.filter(|family| described.contains(&("# TYPE", *family))).unwrap_or(name);
        assert!(described.contains(&("# HELP", family)) && described.contains(&("# TYPE", family)), "{family} is not described");
        if family != current {
            assert!(closed.insert(current), "{current} stands in two places");
            assert!(!closed.contains(family), "{family} stands in two places");
            current = family;
        }
    }
    assert!(series(&text).contains_key("keyrota_clock_unix_seconds"));
}

#[test]
fn a_keyset_with_three_keys_has_at_most_forty_series() {
    let (board, environment) = board();
    confirm(&environment);
    let metrics = Metrics::new(noon()).unwrap();
    one_life(&metrics, &environment.id(&"users".parse().unwrap()));
    let text = text(&metrics, &board);
    let of_users = series(&text).into_keys().filter(|name| name.contains("keyset=\"users\"")).count();
    assert!(of_users <= 40, "{of_users} series");
    assert_eq!(text.matches("keyrota_key_info{environment=\"demo\",keyset=\"users\"").count(), 3);
}

#[test]
fn every_keyset_has_its_series_from_the_start_and_takes_them_along() {
    let (board, environment) = board();
    let metrics = Metrics::new(noon()).unwrap();
    one_life(&metrics, &environment.id(&"new".parse().unwrap()));
    let first = text(&metrics, &board);
    let first = series(&first);
    for name in ["users", "hooks", "vendor", "strict", "new"] {
        let of = format!("{{environment=\"demo\",keyset=\"{name}\"");
        for family in ["keyrota_active_key_created_timestamp_seconds", "keyrota_generation", "keyrota_last_rotation_timestamp_seconds"] {
            assert!(first.contains_key(format!("{family}{of}}}").as_str()), "{family} of {name}");
        }
        assert_eq!(first.keys().filter(|s| s.starts_with(&format!("keyrota_keys{of}"))).count(), 6);
    }
    assert_eq!(first["keyrota_rotation_overdue{environment=\"demo\",keyset=\"vendor\",reason=\"external\"}"], 1.0);
    assert_eq!(first["keyrota_rotation_overdue{environment=\"demo\",keyset=\"users\",reason=\"none\"}"], 0.0);
    for name in ["users", "new"] {
        environment.take_off(&name.parse().unwrap());
    }
    let second = text(&metrics, &board);
    assert!(!second.contains("\"users\"") && !second.contains("\"new\"") && second.contains("\"strict\""));
    environment.ensure([&"new".parse().unwrap()].into_iter());
    let back = text(&metrics, &board);
    assert!(!back.contains("keyrota_transitions_total{environment=\"demo\",keyset=\"new\""), "its counts went with it");
    board.take_off(&"demo".parse().unwrap());
    assert!(!text(&metrics, &board).contains("\"demo\""));
}

#[test]
fn values_come_from_the_document() {
    let (board, environment) = board();
    confirm(&environment);
    let mut users = document("demo/users", Algorithm::ES256, 3);
    let until = noon().wall + Span::hours(3);
    let intent = Intent::new("op", noon().wall, "because");
    users = changed(&users, &rules(Algorithm::ES256), noon().wall, |d| d.freeze(Some(Freeze { until, intent })));
    put(&environment, "users", status(Some(users), rules(Algorithm::ES256)), Manner::default());
    let metrics = Metrics::new(noon()).unwrap();
    let text = text(&metrics, &board);
    let values = series(&text);
    let of = |family: &str, labels: &str| values[format!("{family}{{environment=\"demo\",keyset=\"users\"{labels}}}").as_str()];
    let noon = noon().wall.as_seconds_f64();
    assert_eq!(of("keyrota_key_age_seconds", ",kid=\"kid-0\",state=\"retiring\""), 30.0 * 86_400.0);
    assert_eq!(of("keyrota_key_age_seconds", ",kid=\"kid-1\",state=\"active\""), 2400.0);
    assert_eq!(of("keyrota_active_key_age_seconds", ""), 2400.0);
    assert_eq!(of("keyrota_active_key_activated_timestamp_seconds", ""), noon - 2400.0);
    assert_eq!(of("keyrota_last_rotation_timestamp_seconds", ""), noon - 2400.0);
    // store_refresh + cache_max_age + verifier_refresh + 2 clock_skew, and store_refresh + signer_refresh + token_ttl + 2 clock_skew
    let (propagation, retention) = (10.0 + 60.0 + 900.0 + 120.0, 10.0 + 300.0 + 3600.0 + 120.0);
    assert_eq!(of("keyrota_propagation_seconds", ""), propagation);
    assert_eq!(of("keyrota_retention_seconds", ""), retention);
    assert_eq!(of("keyrota_key_verify_until_timestamp_seconds", ",kid=\"kid-0\""), noon - 2400.0 + retention);
    assert_eq!(of("keyrota_next_step_timestamp_seconds", ",step=\"activate\""), noon - 600.0 + propagation);
    assert_eq!(of("keyrota_next_step_timestamp_seconds", ",step=\"generate\""), 0.0);
    assert_eq!(of("keyrota_frozen_until_timestamp_seconds", ""), noon + 3.0 * 3600.0);
    assert_eq!(of("keyrota_generation", ""), 9.0);
    assert_eq!(of("keyrota_keys", ",state=\"published\""), 1.0);
    assert_eq!(of("keyrota_invariant_violated", ",invariant=\"none\""), 0.0);
    assert_eq!(values["keyrota_replica_fresh{environment=\"demo\"}"], 1.0);
    assert_eq!(values["keyrota_serving_since_timestamp_seconds"], noon);
}

#[test]
fn a_revocation_is_due_when_no_cache_can_hold_the_key() {
    let (board, environment) = board();
    let mut users = document("demo/users", Algorithm::ES256, 3);
    let at = noon().wall.minus(Span::minutes(1));
    users = changed(&users, &rules(Algorithm::ES256), at, |d| d.revoke(&"kid-0".parse().unwrap(), "found in a log").unwrap());
    put(&environment, "users", status(Some(users.clone()), rules(Algorithm::ES256)), Manner::default());
    let metrics = Metrics::new(noon()).unwrap();
    let of = |family: &str| format!("{family}{{environment=\"demo\",keyset=\"users\",kid=\"kid-0\"}}");
    let before = text(&metrics, &board);
    // store_refresh + cache_max_age + verifier_refresh + verifier_retry + 2 clock_skew
    let due = at.as_seconds_f64() + 10.0 + 60.0 + 900.0 + 120.0 + 120.0;
    assert_eq!(series(&before)[of("keyrota_revocation_due_timestamp_seconds").as_str()], due);
    assert_eq!(series(&before)[of("keyrota_revocation_unconfirmed").as_str()], 1.0);
    users = changed(&users, &rules(Algorithm::ES256), noon().wall, |d| d.confirm_revoked(&"kid-0".parse().unwrap()).unwrap());
    put(&environment, "users", status(Some(users), rules(Algorithm::ES256)), Manner::default());
    let after = text(&metrics, &board);
    assert!(!after.contains("keyrota_revocation_due_timestamp_seconds{") && !after.contains("keyrota_revocation_unconfirmed{"));
}

#[test]
fn a_clock_that_was_set_is_distrusted_and_the_least_skew_is_the_limit() {
    let (board, environment) = board();
    let strict = Rules { facts: Facts { clock_skew: Span::seconds(20), ..rules(Algorithm::ES256).facts }, ..rules(Algorithm::ES256) };
    put(&environment, "strict", status(Some(document("demo/strict", Algorithm::ES256, 2)), strict), Manner::default());
    let metrics = Metrics::new(noon()).unwrap();
    let before = text(&metrics, &board);
    assert_eq!(series(&before)["keyrota_max_clock_skew_seconds{environment=\"demo\"}"], 20.0);
    assert_eq!(series(&before)["keyrota_clock_trusted{environment=\"demo\"}"], 1.0);
    let rules = rules(Algorithm::ES256);
    let ahead = changed(&document("demo/users", Algorithm::ES256, 1), &rules, noon().wall + Span::hours(1), |d| d.freeze(None));
    put(&environment, "users", status(Some(ahead), rules), Manner::default());
    let after = text(&metrics, &board);
    assert_eq!(series(&after)["keyrota_clock_trusted{environment=\"demo\"}"], 0.0, "a document bears a time in the future");
}

#[test]
fn a_large_scrape_is_told_in_small_pieces() {
    let (board, environment) = board();
    let one = document("demo/users", Algorithm::ES256, 3);
    for n in 0..500 {
        put(&environment, &format!("k{n}"), status(Some(one.clone()), rules(Algorithm::ES256)), Manner::default());
    }
    let metrics = Metrics::new(noon()).unwrap();
    let pieces: Vec<_> = metrics.scrape(&board, noon()).collect();
    let lengths: Vec<_> = pieces.iter().map(bytes::Bytes::len).collect();
    assert!(lengths.len() > 10 && lengths.iter().all(|length| *length < 80 * 1024), "{lengths:?}");
    let whole = String::from_utf8(pieces.concat()).unwrap();
    assert_eq!(whole.matches("# TYPE keyrota_key_age_seconds ").count(), 1);
    assert_eq!(whole.matches("keyrota_generation{").count(), 505);
}

#[test]
fn steps_of_the_clock_have_a_direction() {
    let (board, _) = board();
    let metrics = Metrics::new(noon()).unwrap();
    let mut later = noon();
    later.boot = later.boot + Span::hours(1);
    metrics.record(&[Event::ClockSet { by: Span::hours(1) }], later);
    later.wall = later.wall + Span::days(2);
    metrics.record(&[Event::ClockSet { by: Span::days(2) }], later);
    let text = text(&metrics, &board);
    for direction in ["forward", "backward"] {
        assert_eq!(series(&text)[format!("keyrota_clock_steps_total{{direction=\"{direction}\"}}").as_str()], 1.0);
    }
}

/// Has nothing, loses every race, and cannot say what changed.
struct Unlucky;

impl Store for Unlucky {
    async fn load(&self, _: &KeysetName) -> Result<Option<Loaded>, StoreError> {
        Ok(None)
    }
    async fn load_many(&self, _: &[KeysetName]) -> Result<BTreeMap<KeysetName, Result<Loaded, StoreError>>, StoreError> {
        Err(StoreError::Invalid("not ours".into()))
    }
    async fn swap(&self, _: Option<&Revision>, _: &Document) -> Result<Revision, SwapError> {
        Err(SwapError::Conflict)
    }
    async fn remove(&self, _: &KeysetName, _: &Revision, _: Span) -> Result<(), SwapError> {
        Err(SwapError::Conflict)
    }
    async fn changes(&self, _: &Mark) -> Result<Changes, StoreError> {
        Err(StoreError::Unavailable("away".into()))
    }
    fn poll_every(&self) -> Span {
        Span::seconds(7)
    }
}

#[tokio::test]
async fn store_operations_are_counted_by_how_they_ended() {
    let (board, _) = board();
    let metrics = Arc::new(Metrics::new(noon()).unwrap());
    let store = MeasuredStore::new(Unlucky, Arc::clone(&metrics), "demo".parse().unwrap());
    let of = |operation: &str, result: &str| {
        format!("keyrota_store_operations_total{{environment=\"demo\",operation=\"{operation}\",result=\"{result}\"}}")
    };
    let before = text(&metrics, &board);
    for (operation, result) in [("swap", "ok"), ("swap", "indeterminate"), ("load", "invalid")] {
        assert_eq!(series(&before)[of(operation, result).as_str()], 0.0, "there from the start");
    }
    assert!(!before.contains("operation=\"load\",result=\"conflict\""), "a look has nobody to conflict with");
    assert_eq!(series(&before)["keyrota_store_last_success_timestamp_seconds{environment=\"demo\"}"], 0.0);
    assert!(store.load(&"users".parse().unwrap()).await.unwrap().is_none());
    assert!(store.load_many(&[]).await.is_err() && store.changes(&Mark::default()).await.is_err());
    assert_eq!(store.swap(None, &document("demo/users", Algorithm::ES256, 1)).await, Err(SwapError::Conflict));
    assert_eq!(store.poll_every(), Span::seconds(7));
    metrics.pass(&"demo".parse().unwrap(), std::time::Duration::from_millis(3));
    let after = text(&metrics, &board);
    let values = series(&after);
    for (operation, result) in [("load", "ok"), ("load_many", "invalid"), ("swap", "conflict"), ("changes", "unavailable")] {
        assert_eq!(values[of(operation, result).as_str()], 1.0, "{operation}");
    }
    assert!(values["keyrota_store_last_success_timestamp_seconds{environment=\"demo\"}"] > 0.0);
    assert_eq!(values["keyrota_reconcile_duration_seconds_count{environment=\"demo\"}"], 1.0);
    board.take_off(&"demo".parse().unwrap());
    assert!(!text(&metrics, &board).contains("\"demo\""), "all of it goes with the environment");
}
