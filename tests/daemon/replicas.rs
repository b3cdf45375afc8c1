//! Two daemons on one state directory: whoever comes first wins each change, and nobody forks.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::crash::{KEYSETS, POLICY};
use crate::process::{Daemon, Home, until};

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
