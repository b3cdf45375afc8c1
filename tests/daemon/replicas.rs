//! Two daemons on one state directory: whoever comes first wins each change, and nobody forks.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::crash::{KEYSETS, POLICY};
use crate::process::{Daemon, Home, keyrota, until};
use crate::reload::STEADY;

#[test]
fn two_daemons_on_one_store_never_fork_a_keyset() {
    let home = Home::with(POLICY);
    let mut one = Daemon::start(&home, &KEYSETS);
    let mut other = Daemon::spawn_in(&home, home.second_runtime());
    other.wait_for(&KEYSETS);
    // What each generation of each keyset is, whoever says so.
    let mut told: BTreeMap<(String, u64), Value> = BTreeMap::new();
    let mut signing: Vec<String> = Vec::new();
    until(&mut one, "two change-overs", |one| {
        for (daemon, keyset) in [one, &other].into_iter().flat_map(|daemon| KEYSETS.map(|keyset| (daemon, keyset))) {
            let Some(document) = daemon.document(keyset) else { continue };
            if keyset == "sessions" && document["kid"].as_str() != signing.last().map(String::as_str) {
                signing.push(document["kid"].as_str().unwrap().to_owned());
            }
            let generation = document["generation"].as_u64().unwrap();
            let first = told.entry((keyset.to_owned(), generation)).or_insert_with(|| document.clone());
            assert_eq!(*first, document, "{keyset} has two generations {generation}");
        }
        let mut kids = signing.clone();
        kids.sort();
        kids.dedup();
        kids.len() > 2
    });
    assert!(other.lives(), "{}", other.said());
    for daemon in [&one, &other] {
        let violated = daemon.operators("/metrics").unwrap().text();
        let violated: Vec<_> = violated.lines().filter(|l| l.starts_with("keyrota_invariant_violated{") && !l.ends_with(" 0")).collect();
        assert!(violated.is_empty(), "{violated:?}");
    }
    assert_eq!((one.terminate().code(), other.terminate().code()), (Some(0), Some(0)));
}

#[test]
fn replicas_with_different_policies_name_the_fields_in_which_they_differ() {
    let steady = STEADY.replace("defaults: {", "defaults: { clock_skew: 1s,");
    let home = Home::with(&steady);
    let mut one = Daemon::start(&home, &["sessions"]);
    let mut other = Daemon::spawn_in(&home, home.second_runtime());
    other.wait_for(&["sessions"]);
    let troubles = |daemon: &Daemon| daemon.status()["environments"][0]["keysets"][0]["troubles"].clone();
    assert_eq!(troubles(&one), serde_json::json!([]), "of one mind");
    let changed_by_the_other = |other: &Daemon| {
        for verb in [&["freeze", "fast", "--until", "1h", "--reason", "a test", "--yes"][..], &["unfreeze", "fast", "--yes"]] {
            keyrota(verb, &other.runtime);
        }
    };
    home.write(&steady.replace("rotate_every: 30d, token_ttl: 1h", "rotate_every: 20d, token_ttl: 2h"));
    assert_eq!(keyrota(&["reload", "--wait"], &other.runtime).status.code(), Some(0));
    until(&mut one, "it names the fields", |one| {
        changed_by_the_other(&other);
        let told = troubles(one);
        let what = told[0]["what"].as_str().unwrap_or_default();
        told[0]["part"] == "policy" && what.contains("differs in rotate_every, max_age, token_ttl;") && what.contains("hint: ")
    });
    assert!(one.said().contains("differs in rotate_every, max_age, token_ttl"), "{}", one.said());
    assert_eq!(troubles(&other), serde_json::json!([]), "nobody has decided under other rules than its own since it has them");
    assert_eq!(keyrota(&["status"], &one.runtime).status.code(), Some(0), "it is no alarm: an edit takes its time");
    assert_eq!(keyrota(&["reload", "--wait"], &one.runtime).status.code(), Some(0));
    until(&mut one, "they are of one mind again", |one| troubles(one) == serde_json::json!([]));
}
