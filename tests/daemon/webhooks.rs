//! Webhooks on a running daemon: told in order, told again, and never waited for. Whether the signatures are what the convention says is
//! judged by its own library, in `tests/end_to_end/webhook.py`.

use std::fs;

use keyrota::webhook::Secrets;
use serde_json::Value;

use crate::edge::{Edge, Received};
use crate::keys::{FIRST, SECOND, imported};
use crate::process::{Daemon, Home, until};
use crate::verbs::{CALM, SESSIONS, done};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn hook(edge: &Edge, home: &Home, events: &str) -> String {
    let secret = home.folder("secret");
    fs::write(&secret, SECRET).unwrap();
    format!("webhook: {{ url: \"{}\", secret: {{ file: {} }}, events: [{events}] }}", edge.url("/hook"), secret.display())
}

fn started(edge: &Edge) -> (Home, Daemon) {
    let home = Home::with(CALM);
    home.write(&format!("{CALM}      - {}\n", hook(edge, &home, "key-moved")));
    let daemon = Daemon::start(&home, &["sessions"]);
    (home, daemon)
}

/// The states that keys were told to enter, and the names of the messages.
fn told(received: &[Received]) -> Vec<(String, String)> {
    let event = |message: &Received| serde_json::from_str::<Value>(&message.body).unwrap();
    received.iter().map(|m| (event(m)["to"].as_str().unwrap().to_owned(), m.header("webhook-id").to_owned())).collect()
}

#[test]
fn what_is_not_taken_comes_again_under_its_name_and_in_order() {
    let edge = Edge::start();
    edge.fails(500, 2);
    let (_home, mut daemon) = started(&edge);
    until(&mut daemon, "the first key's life is told", |_| edge.received().len() >= 5);
    let received = edge.received();
    let told = told(&received);
    let states: Vec<&str> = told.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(states[..5], ["staged", "staged", "staged", "published", "active"]);
    assert!(told[0].1 == told[1].1 && told[1].1 == told[2].1 && told[2].1 != told[3].1, "{told:?}");
    let secrets = Secrets::parse(SECRET).unwrap();
    for message in &received {
        let at = message.header("webhook-timestamp").parse::<i64>().unwrap();
        let at = keyrota::time::Timestamp::from_millis(at * 1000);
        assert_eq!(message.header("webhook-signature"), secrets.sign(message.header("webhook-id"), at, message.body.as_bytes()));
    }
    let total = |result: &str| {
        let target = format!("webhook {}", edge.url("/hook"));
        let labels = format!("environment=\"fast\",keyset=\"sessions\",target=\"{target}\",result=\"{result}\"");
        daemon.metric(&format!("keyrota_publish_total{{{labels}}}"))
    };
    assert_eq!((total("failed").as_deref(), total("dropped")), (Some("2"), None));
}

#[test]
fn who_must_hand_in_a_vendors_key_is_told_when_it_is_due_and_when_it_is_late() {
    let (edge, home) = (Edge::start(), Home::with(CALM));
    edge.fails(500, 0);
    let publish = hook(&edge, &home, "operator-needed, overdue, in-time");
    home.write(&format!("{CALM}  search: {{ algorithm: HS256, source: external, publish: [{publish}] }}\n"));
    let mut daemon = Daemon::start(&home, &["sessions"]);
    let kinds = || {
        let received = edge.received();
        received.iter().map(|m| serde_json::from_str::<Value>(&m.body).unwrap()["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    until(&mut daemon, "the first key is asked for", |_| kinds() == ["operator-needed"]);
    let expires = (keyrota::clock::Reading::now().wall + keyrota::time::Span::seconds(4)).to_string();
    imported(&daemon, &["fast/search", "--kid", "sk-1", "--as", "active", "--expires", &expires], FIRST);
    until(&mut daemon, "the next key is asked for, and is late", |_| kinds() == ["operator-needed", "operator-needed", "overdue"]);
    assert!(edge.received()[2].body.contains("keyrota import"), "{}", edge.received()[2].body);
    imported(&daemon, &["fast/search", "--kid", "sk-2"], SECOND);
    until(&mut daemon, "all is well again", |_| kinds().last().is_some_and(|kind| kind == "in-time"));
}

#[test]
fn nobody_waits_for_a_receiver_that_never_takes_anything() {
    let edge = Edge::start();
    let (_home, mut daemon) = started(&edge);
    let first = daemon.document("sessions").unwrap()["kid"].clone();
    done(&daemon, &["rotate", SESSIONS]);
    until(&mut daemon, "another key signs", |d| d.document("sessions").is_some_and(|d| d["kid"] != first));
    assert!(edge.received().iter().all(|message| message.body.contains("staged")), "the first message is still tried");
    assert!(daemon.said().contains("status 503"), "it is said: {}", daemon.said());
    assert!(daemon.terminate().success());
}
