//! Keys that a vendor makes when keyrota asks for the next one: found again after every crash, side by side, deleted when they are dead.

use std::collections::BTreeMap;
use std::fs;

use keyrota::clock::Reading;
use keyrota::time::Span;
use serde_json::Value;

use crate::algolia::{ADMIN_KEY, AGENTS, APPLICATION, Algolia, Mood, by_hand};
use crate::process::{Daemon, ENVIRONMENT, Home, keyrota, rest, until};
use crate::token::{Token, mint, now};

const POLICY: &str = in_seconds!(
    "rotate_every: 6s, token_ttl: 2s, clock_skew: 100ms, rollback_window: 0s",
    "  search:
    algorithm: HS256
    mode: MODE
    SOURCE
  beside:
    algorithm: EdDSA
"
);
const SEARCH: &str = "fast/search";
const CALM: &str = "manual\n    token_ttl: 1h\n    rotate_every: 2h";

/// A policy whose keyset `search` is made by the vendor.
fn policy(home: &Home, mode: &str, algolia: &Algolia) -> String {
    let admin_key = home.folder("admin-key");
    fs::write(&admin_key, format!("{ADMIN_KEY}\n")).unwrap();
    let (url, agents) = (algolia.url(), AGENTS.join(", "));
    let way = format!("admin_key: {{ file: {} }}, url: \"{url}\", every: 1s, timeout: 2s", admin_key.display());
    POLICY
        .replace("MODE", mode)
        .replace("SOURCE", &format!("source: {{ algolia: {{ application_id: {APPLICATION}, agents: [{agents}], {way} }} }}"))
}

fn without(mode: &str) -> String {
    POLICY.replace("MODE", mode).replace("    SOURCE\n", "")
}

fn kid(daemon: &Daemon) -> String {
    daemon.document("search").and_then(|document| document["kid"].as_str().map(str::to_owned)).unwrap_or_default()
}

/// The kids of the keys that live, each with its state.
fn states(daemon: &Daemon) -> BTreeMap<String, String> {
    let document = daemon.document("search").unwrap_or_default();
    let keys = document["keys"].as_array().into_iter().flatten();
    keys.map(|key| (key["kid"].as_str().unwrap().to_owned(), key["state"].as_str().unwrap().to_owned())).collect()
}

fn status(daemon: &Daemon) -> String {
    daemon.status()["environments"][0]["keysets"].to_string()
}

fn tell(daemon: &Daemon, words: &[&str]) {
    let told = keyrota(&[words, &["--reason", "a test", "--yes"]].concat(), &daemon.runtime);
    assert!(told.status.success(), "{words:?}: {}", String::from_utf8_lossy(&told.stderr));
}

/// Generations of the keyset that no vendor has a word in.
fn beside(daemon: &Daemon) -> u64 {
    daemon.document("beside").unwrap()["generation"].as_u64().unwrap()
}

/// Nothing that the daemon said, remembers of its places or serves to operators has the API key or a key's secret in it.
fn nothing_secret_is_told(home: &Home, daemon: &Daemon, algolia: &Algolia) {
    let doctor = String::from_utf8(keyrota(&["doctor"], &daemon.runtime).stdout).unwrap();
    let place = format!("algolia:{APPLICATION}");
    assert!(doctor.contains(&place) && doctor.contains("its API key is accepted, and the policy's agents are there"), "{doctor}");
    let said = [daemon.said(), daemon.operators("/metrics").unwrap().text(), daemon.status().to_string(), doctor];
    let secrets: Vec<String> = algolia.application(|a| a.made.iter().map(|key| key["value"].as_str().unwrap().to_owned()).collect());
    for secret in secrets.iter().map(String::as_str).chain([ADMIN_KEY]) {
        assert!(said.iter().all(|text| !text.contains(secret)), "{said:?}");
        for entry in fs::read_dir(home.folder("state")).unwrap().flatten().filter(|entry| entry.path().is_file()) {
            let held = fs::read(entry.path()).unwrap();
            assert!(!held.windows(secret.len()).any(|window| window == secret.as_bytes()), "{}", entry.path().display());
        }
    }
}

fn all_was_lawful(algolia: &Algolia) {
    algolia.application(|application| assert_eq!(application.unlawful, Vec::<String>::new()));
}

#[test]
fn keys_are_made_at_the_vendor_side_by_side_and_every_token_is_taken_until_it_expires() {
    let (algolia, home) = (Algolia::start(), Home::with(""));
    let theirs = [by_hand("theirs-1", "Production key"), by_hand("theirs-2", "keyrota/fast/another/1"), by_hand("theirs-3", "Default")];
    algolia.application(|application| application.keys.extend(theirs.clone()));
    home.write(&policy(&home, "auto", &algolia));
    let mut daemon = Daemon::start(&home, &["search"]);
    let (mut alive, mut signed, mut side_by_side): (Vec<Token>, Vec<String>, bool) = (Vec::new(), Vec::new(), false);
    until(&mut daemon, "three keys have signed, old and new side by side", |d| {
        alive.push(mint(&d.document("search").unwrap(), 2));
        for token in &alive {
            let taken = algolia.takes(token);
            // Only what was alive when the answer was there counts.
            assert!(taken.is_ok() || token.expires <= now(), "{taken:?} though {} lives in {:?}", token.kid, states(d));
        }
        alive.retain(|token| token.expires > now());
        let signs = kid(d);
        if signed.last() != Some(&signs) {
            signed.push(signs);
        }
        let known = algolia.ids();
        side_by_side |= signed.iter().filter(|kid| known.contains(kid)).count() >= 2;
        signed.len() >= 3 && side_by_side
    });
    until(&mut daemon, "the first key is gone from the vendor", |_| !algolia.ids().contains(&signed[0]));
    assert!(!states(&daemon).contains_key(&signed[0]), "it was deleted only when it lived no more");
    algolia.application(|application| {
        assert!(theirs.iter().all(|key| application.keys.contains(key)), "keys that are not ours are left alone");
        let names: std::collections::BTreeSet<_> = application.made.iter().map(|key| key["name"].to_string()).collect();
        assert_eq!(names.len(), application.made.len(), "no key was made twice");
        assert!(application.made.iter().all(|key| key["agentIds"].as_array().unwrap().len() == AGENTS.len()));
    });
    all_was_lawful(&algolia);
    nothing_secret_is_told(&home, &daemon, &algolia);
    assert!(daemon.terminate().success());
}

#[test]
fn a_vendor_that_is_away_holds_up_its_own_keyset_alone_and_it_is_said_why() {
    let (algolia, home) = (Algolia::start(), Home::with(""));
    home.write(&policy(&home, "auto", &algolia));
    let mut daemon = Daemon::start(&home, &["search", "beside"]);
    algolia.feels(Mood::Away);
    until(&mut daemon, "it is said what is wrong", |d| {
        let told = status(d);
        told.contains(r#""label":"vendor""#) && told.contains("status 503")
    });
    let (signs, generation, calls) = (kid(&daemon), beside(&daemon), algolia.asked());
    until(&mut daemon, "the other keyset rotates twice", |d| beside(d) > generation + 12);
    assert_eq!(kid(&daemon), signs);
    let asked = algolia.asked() - calls;
    assert!(asked < 24, "it was asked {asked} times, and answered 503 each time");
    let late = format!(r#"keyrota_rotation_overdue{{environment="{ENVIRONMENT}",keyset="search",reason="vendor"}}"#);
    until(&mut daemon, "whoever is paged reads why", |d| d.metric(&late).as_deref() == Some("1"));
    algolia.feels(Mood::Well);
    until(&mut daemon, "its keyset goes on", |d| kid(d) != signs);
    until(&mut daemon, "nothing is wrong any more", |d| !status(d).contains("503"));
    all_was_lawful(&algolia);
    nothing_secret_is_told(&home, &daemon, &algolia);
}

/// The daemon is killed when the vendor has made a key, in this mood and after so many moments, and started again.
fn killed_while(mood: Mood, moments: usize) {
    let (algolia, home) = (Algolia::start(), Home::with(""));
    algolia.feels(mood);
    home.write(&policy(&home, "manual", &algolia));
    let mut daemon = Daemon::spawn(&home);
    until(&mut daemon, "a key is made", |_| !algolia.made().is_empty());
    (0..moments).for_each(|_| rest());
    daemon.kill();
    algolia.feels(Mood::Well);
    let daemon = Daemon::start(&home, &["search"]);
    assert_eq!((algolia.ids(), algolia.made()), (vec![kid(&daemon)], vec![kid(&daemon)]), "{mood:?}, {moments}: one key, made once");
    all_was_lawful(&algolia);
}

#[test]
fn a_key_that_was_made_and_not_recorded_is_found_again_whenever_the_daemon_died() {
    for moments in [0, 1, 2, 3, 5, 8] {
        killed_while(Mood::Well, moments);
    }
    for moments in [0, 3] {
        killed_while(Mood::ForgetsToAnswer, moments);
        killed_while(Mood::HoldsBack, moments);
    }
}

#[test]
fn a_key_whose_making_was_answered_too_late_or_wrongly_is_not_made_twice() {
    for mood in [Mood::ForgetsToAnswer, Mood::HoldsBack] {
        let (algolia, home) = (Algolia::start(), Home::with(""));
        algolia.feels(mood);
        home.write(&policy(&home, "manual", &algolia));
        let mut daemon = Daemon::spawn(&home);
        until(&mut daemon, "it is said what is wrong", |d| d.said().contains("has made no key"));
        if mood == Mood::HoldsBack {
            algolia.feels(Mood::Well);
        }
        until(&mut daemon, "it signs", |d| !kid(d).is_empty());
        assert_eq!((algolia.ids(), algolia.made()), (vec![kid(&daemon)], vec![kid(&daemon)]), "{mood:?}");
    }
}

#[test]
fn what_the_vendor_says_it_made_counts_only_when_it_shows_it() {
    let (algolia, home) = (Algolia::start(), Home::with(""));
    algolia.feels(Mood::Loses);
    home.write(&policy(&home, "manual", &algolia));
    let mut daemon = Daemon::spawn(&home);
    until(&mut daemon, "it is said what is wrong", |d| d.said().contains("and does not show it"));
    assert_eq!(kid(&daemon), "");
    algolia.feels(Mood::Well);
    until(&mut daemon, "it signs", |d| !kid(d).is_empty());
    assert_eq!(algolia.ids(), [kid(&daemon)]);
}

#[test]
fn replicas_that_ask_at_once_end_with_one_key() {
    let (algolia, home) = (Algolia::start(), Home::with(""));
    algolia.feels(Mood::WaitsForTwo);
    home.write(&policy(&home, "manual", &algolia));
    let mut one = Daemon::spawn(&home);
    let mut other = Daemon::spawn_in(&home, home.second_runtime());
    until(&mut one, "both have had a key made", |_| algolia.made().len() == 2);
    until(&mut one, "one signs", |d| !kid(d).is_empty());
    until(&mut other, "the other knows the same", |d| kid(d) == kid(&one));
    until(&mut one, "the key that nobody recorded is gone", |_| algolia.ids().len() == 1);
    assert_eq!(algolia.ids(), [kid(&one)]);
    all_was_lawful(&algolia);
}

#[test]
fn a_revoked_key_is_deleted_at_once_and_counts_as_gone_only_when_it_is() {
    let (algolia, home) = (Algolia::start(), Home::with(""));
    home.write(&policy(&home, CALM, &algolia));
    let mut daemon = Daemon::start(&home, &["search"]);
    let leaked = kid(&daemon);
    algolia.feels(Mood::Clings);
    tell(&daemon, &["revoke", SEARCH, &leaked]);
    until(&mut daemon, "its successor signs", |d| ![String::new(), leaked.clone()].contains(&kid(d)));
    let unconfirmed = format!(r#"keyrota_revocation_unconfirmed{{environment="{ENVIRONMENT}",keyset="search",kid="{leaked}"}}"#);
    let before = beside(&daemon);
    until(&mut daemon, "every cache has forgotten it", |d| beside(d) > before + 6);
    assert_eq!(daemon.metric(&unconfirmed).as_deref(), Some("1"), "the vendor still has it: {:?}", algolia.ids());
    assert!(status(&daemon).contains("was answered with status 500"), "{}", status(&daemon));
    algolia.feels(Mood::Well);
    until(&mut daemon, "it is confirmed to be gone", |d| d.metric(&unconfirmed).is_none_or(|value| value == "0"));
    assert_eq!(algolia.ids(), [kid(&daemon)], "and whatever was made on the way there is gone too");
    all_was_lawful(&algolia);
}

#[test]
fn a_key_that_is_used_after_its_time_is_kept_and_it_is_said_until_when() {
    let (algolia, home) = (Algolia::start(), Home::with(""));
    home.write(&policy(&home, "manual", &algolia));
    let mut daemon = Daemon::start(&home, &["search"]);
    let old = kid(&daemon);
    let used = |at: Option<String>| {
        algolia.application(|application| {
            let key = application.keys.iter_mut().find(|key| key["id"] == *old).unwrap();
            key["lastUsedAt"] = at.map_or(Value::Null, Value::from);
        });
    };
    tell(&daemon, &["rotate", SEARCH]);
    used(Some((Reading::now().wall + Span::hours(1)).to_string()));
    until(&mut daemon, "it has left the document", |d| !states(d).contains_key(&old) && states(d).len() == 1);
    until(&mut daemon, "it is said that somebody uses it", |d| {
        let said = format!("{old} signs no more and was used when its last token should have been dead, so it is not deleted before 20");
        status(d).contains(&said) && d.said().contains(&said)
    });
    assert!(algolia.ids().contains(&old));
    used(None);
    until(&mut daemon, "it is gone", |_| !algolia.ids().contains(&old));
    until(&mut daemon, "nothing is wrong any more", |d| !status(d).contains("signs no more"));
}

#[test]
fn a_key_that_somebody_deleted_there_is_told_and_replaced_by_a_revocation() {
    let (algolia, home) = (Algolia::start(), Home::with(""));
    home.write(&policy(&home, CALM, &algolia));
    let mut daemon = Daemon::start(&home, &["search"]);
    let lost = kid(&daemon);
    algolia.application(|application| application.keys.clear());
    let hint = format!("`keyrota revoke {SEARCH} {lost}` has another made in its place");
    until(&mut daemon, "it is said", |d| status(d).contains(&hint));
    tell(&daemon, &["revoke", SEARCH, &lost]);
    until(&mut daemon, "another signs", |d| ![String::new(), lost.clone()].contains(&kid(d)));
    until(&mut daemon, "nothing is wrong any more", |d| !status(d).contains("is not there any more"));
    until(&mut daemon, "it is the only one there", |d| algolia.ids() == [kid(d)]);
}

#[test]
fn keys_are_taken_over_from_and_left_to_another_source_without_a_token_lost() {
    let (algolia, home) = (Algolia::start(), Home::with(""));
    home.write(&without("auto"));
    let mut daemon = Daemon::start(&home, &["search"]);
    // The vendor makes them from now on: the change-over comes early, because it takes none of keyrota's own.
    home.write(&policy(&home, "auto", &algolia));
    daemon.hang_up();
    until(&mut daemon, "the vendor's key signs", |d| algolia.ids().contains(&kid(d)));
    let theirs = kid(&daemon);
    home.write(&without("auto"));
    daemon.hang_up();
    until(&mut daemon, "keyrota's own key signs again, and the vendor's is kept for its tokens", |d| {
        let live = states(d);
        let kept = algolia.ids().contains(&theirs);
        assert!(kept || !states(d).contains_key(&theirs), "{theirs} is deleted, and lives: {live:?}");
        kid(d) != theirs
    });
    until(&mut daemon, "the vendor has none of ours any more", |_| algolia.ids().is_empty());
    all_was_lawful(&algolia);
}

#[test]
fn an_agent_that_is_not_there_and_an_api_key_that_is_not_accepted_are_told() {
    let (algolia, home) = (Algolia::start(), Home::with(""));
    let policy = policy(&home, "manual", &algolia);
    home.write(&policy);
    let mut daemon = Daemon::start(&home, &["search"]);
    algolia.application(|application| application.deleted_agents.push(AGENTS[1]));
    let examined = || String::from_utf8(keyrota(&["doctor"], &daemon.runtime).stdout).unwrap();
    assert!(examined().contains(&format!("the application has no agent {}", AGENTS[1])), "{}", examined());
    algolia.application(|application| application.deleted_agents.clear());
    home.write(&policy.replace(AGENTS[1], "agent-shpo"));
    daemon.hang_up();
    until(&mut daemon, "it is said that the key is for others", |d| status(d).contains("is for other agents there than the policy names"));
    home.write(&policy.replace(&AGENTS.join(", "), &format!("{}, agent-shpo", AGENTS.join(", "))));
    daemon.hang_up();
    tell(&daemon, &["rotate", SEARCH]);
    until(&mut daemon, "it is said what is wrong", |d| status(d).contains("are the agents that the policy names there"));
    assert!(algolia.application(|application| std::mem::take(&mut application.unlawful)).iter().all(|call| call.contains("no such agent")));
    home.write(&policy);
    fs::write(home.folder("admin-key"), "another").unwrap();
    daemon.hang_up();
    until(&mut daemon, "it is said that it is refused", |d| status(d).contains("is its API key still valid"));
    fs::write(home.folder("admin-key"), ADMIN_KEY).unwrap();
    until(&mut daemon, "the next key is made without a reload", |_| algolia.made().len() == 2);
}

#[test]
fn a_keyset_that_is_removed_takes_its_keys_along() {
    let (algolia, home) = (Algolia::start(), Home::with(""));
    let theirs = by_hand("theirs", "Production key");
    algolia.application(|application| application.keys.push(theirs.clone()));
    home.write(&policy(&home, "manual", &algolia));
    let mut daemon = Daemon::start(&home, &["search"]);
    home.write(&(POLICY.split("  search:").next().unwrap().to_owned() + "  beside:\n    algorithm: EdDSA\n"));
    daemon.hang_up();
    until(&mut daemon, "the keyset is an orphan", |d| d.status().to_string().contains("orphaned"));
    assert_eq!(algolia.ids(), [kid(&daemon)], "tokens that live are still checked");
    tell(&daemon, &["remove", SEARCH]);
    algolia.application(|application| assert_eq!(application.keys, [theirs]));
    all_was_lawful(&algolia);
}
