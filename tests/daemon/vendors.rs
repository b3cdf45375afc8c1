//! Keys behind a vendor's own API: brought before they sign, side by side while both live, away when they live no more.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::edge::Edge;
use crate::inkeep::{API_KEY, Inkeep, Mood};
use crate::process::{Daemon, ENVIRONMENT, Home, keyrota, until};

const POLICY: &str = in_seconds!(
    "rotate_every: 6s, token_ttl: 2s, clock_skew: 100ms, rollback_window: 0s",
    "  help:
    algorithm: ALGORITHM
    mode: MODE
    publish: [TARGETS]
  beside:
    algorithm: EdDSA
"
);

/// A policy whose keyset `help` is known to the vendor.
fn policy(home: &Home, algorithm: &str, mode: &str, inkeep: &Inkeep) -> String {
    let api_key = home.folder("api-key");
    fs::write(&api_key, format!("{API_KEY}\n")).unwrap();
    let target = format!("inkeep_agents: {{ url: \"{}\", api_key: {{ file: {} }}, every: 1s }}", inkeep.url(), api_key.display());
    without(algorithm, mode).replace("publish: []", &format!("publish: [{{ {target} }}]"))
}

fn without(algorithm: &str, mode: &str) -> String {
    POLICY.replace("ALGORITHM", algorithm).replace("MODE", mode).replace("TARGETS", "")
}

fn kid(daemon: &Daemon) -> String {
    daemon.document("help").and_then(|document| document["kid"].as_str().map(str::to_owned)).unwrap_or_default()
}

/// The kids of keys in these states.
fn kids_in(daemon: &Daemon, states: &[&str]) -> BTreeSet<String> {
    let document = daemon.document("help").unwrap_or_default();
    let keys = document["keys"].as_array().into_iter().flatten();
    let chosen = keys.filter(|key| states.contains(&key["state"].as_str().unwrap()));
    chosen.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// The kids of keys that sign, have signed or may soon.
fn announced(daemon: &Daemon) -> BTreeSet<String> {
    kids_in(daemon, &["published", "active", "retiring"])
}

/// Nothing that the daemon said, remembers of its places or serves has the API key in it.
fn nothing_secret_is_told(home: &Home, daemon: &Daemon) {
    let said = [daemon.said(), daemon.operators("/metrics").unwrap().text(), daemon.status().to_string()];
    for text in said {
        assert!(!text.contains(API_KEY), "{text}");
    }
    for entry in fs::read_dir(home.folder("state")).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let held = fs::read(entry.path()).unwrap();
        assert!(!held.windows(API_KEY.len()).any(|window| window == API_KEY.as_bytes()), "{}", entry.path().display());
    }
}

#[test]
fn keys_are_known_to_the_vendor_before_they_sign_and_until_their_last_token_is_dead() {
    let (inkeep, home) = (Inkeep::start(), Home::with(""));
    let theirs = json!({ "kid": "somebody-elses", "publicKey": "-----BEGIN PUBLIC KEY-----", "algorithm": "RS256", "addedAt": "" });
    inkeep.app(|app| app.keys.push(theirs.clone()));
    home.write(&policy(&home, "ES256", "auto", &inkeep));
    let mut daemon = Daemon::start(&home, &["help"]);
    let first = kid(&daemon);
    let (mut signed, mut side_by_side): (Vec<String>, bool) = (Vec::new(), false);
    until(&mut daemon, "three keys have signed, old and new side by side", |d| {
        // What is announced before the vendor is looked at and still lives afterwards was announced all that time, however long it was.
        let (before, known, after) = (announced(d), inkeep.kids(), announced(d));
        for kid in before.intersection(&after) {
            assert!(known.contains(kid), "{kid} may sign or has signed, and the vendor has only {known:?}");
        }
        let signs = kid(d);
        if signed.last() != Some(&signs) {
            signed.push(signs);
        }
        side_by_side |= signed.iter().filter(|kid| known.contains(kid)).count() >= 2;
        signed.len() >= 3 && side_by_side
    });
    until(&mut daemon, "the first key is gone from the vendor", |_| !inkeep.kids().contains(&first));
    assert!(!announced(&daemon).contains(&first), "it was taken away only when it lived no more");
    inkeep.app(|app| {
        assert!(app.keys.contains(&theirs), "a key that is not ours is left alone");
        assert_eq!(app.unlawful, Vec::<String>::new());
        let mut once = app.uploaded.clone();
        once.dedup();
        assert_eq!(once, app.uploaded, "no key was uploaded twice");
    });
    // Somebody deletes the signing key there.
    let series = format!(
        r#"keyrota_publish_total{{environment="{ENVIRONMENT}",keyset="help",target="inkeep-agents:{}",result="repaired"}}"#,
        inkeep.url()
    );
    until(&mut daemon, "what somebody deleted is brought again", |d| {
        inkeep.app(|app| app.keys.retain(|key| *key == theirs));
        d.metric(&series).is_some_and(|count| count != "0")
    });
    nothing_secret_is_told(&home, &daemon);
    let doctor = String::from_utf8(keyrota(&["doctor"], &daemon.runtime).stdout).unwrap();
    assert!(doctor.contains("inkeep-agents:") && !doctor.contains(API_KEY), "{doctor}");
    assert!(daemon.terminate().success());
}

#[test]
fn every_kind_of_key_that_a_policy_may_ask_for_is_taken() {
    for algorithm in ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"] {
        let (inkeep, home) = (Inkeep::start(), Home::with(""));
        home.write(&policy(&home, algorithm, "manual", &inkeep));
        let daemon = Daemon::start(&home, &["help"]);
        assert_eq!(inkeep.kids(), [kid(&daemon)], "{algorithm}");
        inkeep.app(|app| assert_eq!(app.unlawful, Vec::<String>::new(), "{algorithm}"));
    }
}

#[test]
fn a_vendor_that_is_away_holds_up_its_own_keyset_and_no_other() {
    let (inkeep, home) = (Inkeep::start(), Home::with(""));
    home.write(&policy(&home, "ES256", "auto", &inkeep));
    let mut daemon = Daemon::start(&home, &["help", "beside"]);
    inkeep.app(|app| app.mood = Mood::Away);
    let beside = |d: &Daemon| d.document("beside").unwrap()["generation"].as_u64().unwrap();
    let trouble = |d: &Daemon| d.status()["environments"][0]["keysets"].to_string();
    until(&mut daemon, "it is said what is wrong", |d| trouble(d).contains("was answered with status 503"));
    let (signs, generation, calls) = (kid(&daemon), beside(&daemon), inkeep.asked());
    until(&mut daemon, "the other keyset rotates twice", |d| beside(d) > generation + 12);
    assert_eq!(kid(&daemon), signs, "no key signs that the vendor was not seen to have");
    let asked = inkeep.asked() - calls;
    assert!(asked < 12, "it was asked {asked} times, and answered 503 each time");
    inkeep.app(|app| app.mood = Mood::Well);
    until(&mut daemon, "its keyset goes on", |d| kid(d) != signs);
    until(&mut daemon, "nothing is wrong any more", |d| !trouble(d).contains("was answered with status 503"));
    nothing_secret_is_told(&home, &daemon);
}

#[test]
fn an_upload_whose_answer_was_lost_with_the_daemon_is_found_again() {
    let (inkeep, home) = (Inkeep::start(), Home::with(""));
    inkeep.app(|app| app.mood = Mood::ForgetsToAnswer);
    home.write(&policy(&home, "ES256", "manual", &inkeep));
    let mut daemon = Daemon::spawn(&home);
    until(&mut daemon, "the key is uploaded, and nobody heard that", |_| inkeep.kids().len() == 1);
    daemon.kill();
    inkeep.app(|app| app.mood = Mood::Well);
    let daemon = Daemon::start(&home, &["help"]);
    assert_eq!(inkeep.kids(), [kid(&daemon)], "it signs with the key that was uploaded then");
    assert_eq!(inkeep.app(|app| app.uploaded.len()), 1, "which was not uploaded twice");
}

#[test]
fn what_the_vendor_says_it_took_counts_only_when_it_shows_it() {
    let (inkeep, home) = (Inkeep::start(), Home::with(""));
    inkeep.app(|app| app.mood = Mood::Loses);
    home.write(&policy(&home, "ES256", "manual", &inkeep));
    let mut daemon = Daemon::spawn(&home);
    until(&mut daemon, "it is said what is wrong", |d| d.said().contains("and does not show it for 1 keys"));
    assert_eq!(kid(&daemon), "", "no key signs that the vendor does not show");
    inkeep.app(|app| app.mood = Mood::Well);
    until(&mut daemon, "it signs", |d| !kid(d).is_empty());
    assert_eq!(inkeep.kids(), [kid(&daemon)]);
}

#[test]
fn a_key_that_bears_our_kid_and_is_another_stops_the_keyset() {
    let (inkeep, home) = (Inkeep::start(), Home::with(""));
    home.write(&policy(&home, "ES256", "manual", &inkeep));
    let mut daemon = Daemon::start(&home, &["help"]);
    let signs = kid(&daemon);
    inkeep.app(|app| app.keys[0]["algorithm"] = Value::from("ES512"));
    until(&mut daemon, "it is said", |d| d.status()["environments"][0]["keysets"].to_string().contains("delete it in that app"));
    assert_eq!(inkeep.app(|app| app.keys[0]["algorithm"].clone()), "ES512", "it is not ours to overwrite");
    inkeep.app(|app| app.keys.clear());
    until(&mut daemon, "it is brought again", |_| inkeep.kids() == [signs.as_str()]);
}

#[test]
fn a_revoked_key_counts_as_gone_only_when_the_vendor_was_seen_without_it() {
    revoked_while(Mood::Away);
}

#[test]
fn a_vendor_that_hangs_confirms_no_revocation() {
    revoked_while(Mood::Stalls);
}

/// A retiring key is revoked, so that the vendor has everything that lives, and one key more.
fn revoked_while(mood: Mood) {
    let (inkeep, home) = (Inkeep::start(), Home::with(""));
    let slow = "mode: manual\n    token_ttl: 1h\n    rotate_every: 2h";
    home.write(&policy(&home, "ES256", "manual", &inkeep).replace("mode: manual", slow));
    let mut daemon = Daemon::start(&home, &["help"]);
    let (leaked, id) = (kid(&daemon), format!("{ENVIRONMENT}/help"));
    let tell = |daemon: &Daemon, words: &[&str]| {
        let told = keyrota(&[words, &["--reason", "a test", "--yes"]].concat(), &daemon.runtime);
        assert!(told.status.success(), "{words:?}: {}", String::from_utf8_lossy(&told.stderr));
    };
    tell(&daemon, &["rotate", &id]);
    until(&mut daemon, "its successor signs", |d| kid(d) != leaked);
    assert_eq!(inkeep.kids().len(), 2);
    inkeep.app(|app| app.mood = mood);
    tell(&daemon, &["revoke", &id, &leaked]);
    let unconfirmed = format!(r#"keyrota_revocation_unconfirmed{{environment="{ENVIRONMENT}",keyset="help",kid="{leaked}"}}"#);
    let generation = |d: &Daemon| d.document("beside").unwrap()["generation"].as_u64().unwrap();
    let before = generation(&daemon);
    until(&mut daemon, "every cache has forgotten it", |d| generation(d) > before + 6);
    assert_eq!(daemon.metric(&unconfirmed).as_deref(), Some("1"), "the vendor still has it: {:?}", inkeep.kids());
    inkeep.app(|app| app.mood = Mood::Well);
    until(&mut daemon, "it is confirmed to be gone", |d| d.metric(&unconfirmed).is_none_or(|value| value == "0"));
    assert_eq!(inkeep.kids(), [kid(&daemon)]);
}

#[test]
fn what_is_asked_for_no_more_is_taken_away_though_the_vendor_is_away_at_first() {
    let (inkeep, home) = (Inkeep::start(), Home::with(""));
    let with = policy(&home, "ES256", "manual", &inkeep);
    home.write(&with);
    let mut daemon = Daemon::start(&home, &["help"]);
    inkeep.app(|app| app.mood = Mood::Away);
    home.write(&without("ES256", "manual"));
    daemon.hang_up();
    until(&mut daemon, "it is said that they are still there", |d| {
        d.status()["environments"][0]["keysets"].to_string().contains("are not taken away yet")
    });
    daemon.kill();
    let mut daemon = Daemon::start(&home, &["help"]);
    assert_eq!(inkeep.kids().len(), 1);
    inkeep.app(|app| app.mood = Mood::Well);
    until(&mut daemon, "they are gone", |_| inkeep.kids().is_empty());
    until(&mut daemon, "nothing is wrong any more", |d| !d.status().to_string().contains("are not taken away yet"));
    // And so when the whole keyset is removed.
    home.write(&with);
    daemon.hang_up();
    until(&mut daemon, "they are there again", |_| inkeep.kids().len() == 1);
    let orphaned = with.split("  help:").next().unwrap().to_owned() + "  beside:\n    algorithm: EdDSA\n";
    home.write(&orphaned);
    daemon.hang_up();
    until(&mut daemon, "the keyset is an orphan", |d| d.status().to_string().contains("orphaned"));
    assert_eq!(inkeep.kids().len(), 1, "tokens that live are still checked");
    let id = format!("{ENVIRONMENT}/help");
    let removed = keyrota(&["remove", &id, "--reason", "over", "--yes"], &daemon.runtime);
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    assert_eq!(inkeep.kids(), Vec::<String>::new());
    inkeep.app(|app| assert_eq!(app.unlawful, Vec::<String>::new()));
}

#[test]
fn an_address_that_is_not_the_vendors_is_told_as_such_and_gets_no_second_chance_to_be_asked_often() {
    let home = Home::with("");
    let edge = Edge::start();
    edge.says(200, "", "<html>API_KEY</html>");
    let api_key = home.folder("api-key");
    fs::write(&api_key, API_KEY).unwrap();
    let target = format!("inkeep_agents: {{ url: \"{}\", api_key: {{ file: {} }} }}", edge.url("/"), api_key.display());
    home.write(&without("ES256", "manual").replace("publish: []", &format!("publish: [{{ {target} }}]")));
    let mut daemon = Daemon::spawn(&home);
    until(&mut daemon, "it is said what is wrong", |d| d.said().contains("with no list of keys"));
    assert!(daemon.document("help").is_none_or(|document| document["kid"].is_null()), "no key signs that no vendor has");
    nothing_secret_is_told(&home, &daemon);
}
