//! Probes on a running daemon: a key set that lags behind, fails or lies holds up what depends on it, and says so.

use keyrota::time::{Span, Timestamp};
use serde_json::Value;

use crate::edge::Edge;
use crate::process::{Daemon, Home, keyrota, until};
use crate::verbs::{CALM, SESSIONS, done, said};

/// What [`CALM`] waits after a key is seen everywhere: store 5s + cache 100ms + verifier 500ms + twice the skew.
const PROPAGATION: Span = Span::millis(6600);

/// [`CALM`] with a probe that looks every second.
pub fn probed(edge: &Edge) -> String {
    format!("{CALM}    probe:\n      - {{ jwks_url: \"{}\", every: 1s, timeout: 1s }}\n", edge.url("/keys"))
}

fn started() -> (Home, Daemon, Edge) {
    let edge = Edge::start();
    let home = Home::with(&probed(&edge));
    let daemon = Daemon::start(&home, &["sessions"]);
    (home, daemon, edge)
}

/// The edge shows what verifiers are served now.
pub fn catch_up(edge: &Edge, daemon: &Daemon) {
    edge.says(200, "cache-control: public, max-age=60\r\n", &daemon.verifiers("sessions").unwrap().text());
}

fn keyset(daemon: &Daemon) -> Value {
    daemon.status()["environments"][0]["keysets"][0].clone()
}

fn moment(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// What is waited for before this step: the label and the sentence.
fn pending(keyset: &Value, step: &str) -> Option<(String, String)> {
    let pending = keyset["pending"].as_array()?.iter().find(|pending| pending["step"] == step)?;
    Some((pending["label"].as_str()?.to_owned(), pending["because"].as_str()?.to_owned()))
}

/// The key in that state.
fn key(keyset: &Value, state: &str) -> Option<Value> {
    keyset["document"]["keys"].as_array()?.iter().find(|key| key["state"] == state).cloned()
}

fn series(name: &str, edge: &Edge) -> String {
    format!("{name}{{environment=\"fast\",keyset=\"sessions\",url=\"{}\"}}", edge.url("/keys"))
}

#[test]
fn a_key_signs_only_when_the_probe_has_shown_it_for_the_whole_wait() {
    let (_home, mut daemon, edge) = started();
    until(&mut daemon, "the first look has failed", |d| said(&keyrota(&["status", SESSIONS], &d.runtime)).contains("status 503"));
    assert_eq!(daemon.metric(&series("keyrota_probe_success", &edge)).as_deref(), Some("0"));
    catch_up(&edge, &daemon);
    until(&mut daemon, "a look succeeds", |d| d.metric(&series("keyrota_probe_success", &edge)).as_deref() == Some("1"));
    let shown = daemon.metric(&series("keyrota_probe_generation", &edge)).unwrap();
    assert_ne!(shown, "0", "it shows what is served");

    done(&daemon, &["rotate", SESSIONS]);
    until(&mut daemon, "the wait would be over without the probe", |d| {
        let keyset = keyset(d);
        let published = key(&keyset, "published");
        published.is_some_and(|key| moment(&keyset["looked_at"]) > moment(&key["not_before_active"]) + Span::seconds(1))
    });
    let held = keyset(&daemon);
    let published = key(&held, "published").expect("it still waits");
    let (label, because) = pending(&held, "activate").unwrap();
    assert_eq!(label, "probe");
    assert!(because.starts_with(&format!("probe {} does not show it", edge.url("/keys"))), "{because}");
    assert!(because.contains(published["since"].as_str().unwrap()), "since when it could have: {because}");
    let text = said(&keyrota(&["status", SESSIONS], &daemon.runtime));
    assert!(text.contains(&because) && text.contains("seen from outside"), "{text}");
    let doctor = said(&keyrota(&["doctor"], &daemon.runtime));
    assert!(doctor.contains(&format!("{SESSIONS} {}", edge.url("/keys"))), "{doctor}");
    assert_eq!(daemon.metric(&series("keyrota_probe_generation", &edge)), Some(shown), "it has not shown a newer one");

    let before = moment(&keyset(&daemon)["looked_at"]);
    catch_up(&edge, &daemon);
    until(&mut daemon, "the successor signs", |d| key(&keyset(d), "active").is_some_and(|key| key["kid"] == published["kid"]));
    let active = key(&keyset(&daemon), "active").unwrap();
    assert!(moment(&active["since"]) >= before + PROPAGATION, "the wait counts from the look that showed it: {active}, {before}");
}

#[test]
fn a_revocation_is_confirmed_only_when_the_probe_is_without_the_key() {
    let (_home, mut daemon, edge) = started();
    catch_up(&edge, &daemon);
    let revoked = daemon.document("sessions").unwrap()["kid"].as_str().unwrap().to_owned();
    let unconfirmed = format!("keyrota_revocation_unconfirmed{{environment=\"fast\",keyset=\"sessions\",kid=\"{revoked}\"}}");
    done(&daemon, &["revoke", SESSIONS, &revoked, "--reason", "found in a log"]);
    until(&mut daemon, "another key signs", |d| key(&keyset(d), "active").is_some());
    // The edge has the new key too, and the old one still.
    let mut set = daemon.verifiers("sessions").unwrap().json();
    let mut stale: Value =
        serde_json::from_str(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#).unwrap();
    stale["kid"] = revoked.clone().into();
    set["keys"].as_array_mut().unwrap().push(stale);
    edge.says(200, "", &set.to_string());
    until(&mut daemon, "only the probe is waited for", |d| {
        let keyset = keyset(d);
        let gone = keyset["document"]["tombstones"].as_array().is_some_and(|t| !t.is_empty());
        gone && pending(&keyset, "confirm-revoked").is_some_and(|(label, _)| label == "probe")
    });
    let ended = moment(&keyset(&daemon)["looked_at"]);
    until(&mut daemon, "every cache has forgotten it", |d| moment(&keyset(d)["looked_at"]) > ended + PROPAGATION + Span::seconds(1));
    assert_eq!(daemon.metric(&unconfirmed).as_deref(), Some("1"), "{}", keyset(&daemon));
    // An answer out of a cache from before the revocation proves nothing, even without the key.
    let bare = daemon.verifiers("sessions").unwrap().text();
    edge.says(200, "age: 86400\r\n", &bare);
    let looked = keyset(&daemon)["probes"][0]["looked_at"].clone();
    until(&mut daemon, "the old answer was looked at twice", |d| {
        moment(&keyset(d)["probes"][0]["looked_at"]) > moment(&looked) + Span::seconds(3)
    });
    assert_eq!(daemon.metric(&unconfirmed).as_deref(), Some("1"), "{}", keyset(&daemon));
    catch_up(&edge, &daemon);
    until(&mut daemon, "it is confirmed", |d| d.metric(&unconfirmed).is_none());
}
