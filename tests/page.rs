//! The status page, asked over a real socket: what it must show, and what it must never let through.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "board/asking.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod asking;
#[path = "board/fixture.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod fixture;

use asking::Host;
use fixture::{SECRET, confirm, document, put, rules, status};
use keyrota::board::Manner;
use keyrota::event::Part;
use keyrota::key::Algorithm;
use keyrota::reconcile::Trouble;

async fn shown(host: &Host, path: &str) -> String {
    let answer = host.ask("GET", path, "").await;
    assert_eq!(answer.status, 200, "{path}");
    String::from_utf8(answer.body.clone()).unwrap()
}

/// `<rect class="active"` and the like: how often a state is drawn.
fn bars(html: &str, state: &str) -> usize {
    html.matches(&format!("<rect class=\"{state}\"")).count()
}

#[tokio::test]
async fn it_draws_the_overlap_and_says_the_same_in_words() {
    let host = Host::operators().await;
    confirm(&host.environment);
    let html = shown(&host, "/?keyset=demo/users").await;
    // One key retires, one signs, one is announced; what is planned comes on top.
    assert!(bars(&html, "retiring") >= 1 && bars(&html, "active") >= 2 && bars(&html, "announced") >= 2, "{html}");
    for kid in ["kid-0", "kid-1", "kid-2"] {
        assert!(html.contains(&format!("<td class=\"plain\">{kid}</td>")), "{kid} stands in the table");
    }
    for words in ["What comes next", "retiring", "published", "propagation", "role=\"img\"", "aria-label=\"keys of demo/users over time"] {
        assert!(html.contains(words), "{words}");
    }
    let all = shown(&host, "/").await;
    for keyset in ["users", "hooks", "vendor", "strict", "new"] {
        assert!(all.contains(&format!("href=\"/?keyset=demo/{keyset}\"")), "{keyset}");
    }
    assert!(all.find("Problems").unwrap() < all.find("<h2>demo</h2>").unwrap(), "problems come first");
}

#[tokio::test]
async fn nothing_secret_nothing_active_and_nothing_from_elsewhere_is_in_it() {
    let host = Host::operators().await;
    confirm(&host.environment);
    let hostile = "<script>alert(1)</script>\" onload='x' `</code><img src=//evil>`";
    let since = "2026-03-01T12:00:00Z".parse().unwrap();
    let trouble = Trouble { part: Part::Store, what: hostile.to_owned(), since };
    let sick = keyrota::reconcile::Status {
        troubles: vec![trouble],
        ..status(Some(document("demo/users", Algorithm::ES256, 3)), rules(Algorithm::ES256))
    };
    put(&host.environment, "users", sick, Manner::default());
    let answer = host.ask("GET", "/", "").await;
    let html = String::from_utf8(answer.body.clone()).unwrap();
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39;"), "what went wrong is shown");
    for lively in ["<script", "<img", "onload='", "javascript:", " style=", "<iframe", "@import", "http://", "https://"] {
        assert!(!html.contains(lively), "{lively}");
    }
    assert!(!html.contains(SECRET) && !html.contains("private_key"));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let host = Host::operators().await;
    confirm(&host.environment);
    for (path, code) in [("/?keyset=demo/none", 404), ("/?keyset=nowhere/users", 404), ("/?keyset=%3Cb%3E", 400), ("/?kid=x", 400)] {
        let answer = host.ask("GET", path, "").await;
        assert_eq!(answer.status, code, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    assert_eq!(host.ask("POST", "/", "").await.status, 405);
}

#[tokio::test]
async fn a_crowd_is_a_table_whose_rows_lead_on() {
    let host = Host::operators().await;
    confirm(&host.environment);
    let one = status(Some(document("demo/users", Algorithm::ES256, 2)), rules(Algorithm::ES256));
    for n in 0..60 {
        put(&host.environment, &format!("crowd-{n:02}"), one.clone(), Manner::default());
    }
    let html = shown(&host, "/").await;
    assert_eq!((html.matches("<svg class=\"timeline\"").count(), html.matches("?keyset=demo/crowd-").count()), (0, 60));
    assert!(shown(&host, "/?keyset=demo/crowd-07").await.contains("<svg class=\"timeline\""));
}
