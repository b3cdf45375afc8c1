//! The listeners, asked over real sockets by a client that writes and reads HTTP/1.1 by hand.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed; values are exact")]

#[path = "board/asking.rs"]
mod asking;
#[path = "board/fixture.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod fixture;

use std::sync::Arc;

use asking::{Answer, Host, Outsider};
use fixture::{SECRET, confirm, document, put, rules, status};
use keyrota::board::Manner;
use keyrota::board::uptake::{Keep, MOST_OF_ONE_UID, Reporter};
use keyrota::http::operators::Readiness;
use keyrota::http::reach::Exposed;
use keyrota::http::serve::Limits;
use keyrota::key::Algorithm;
use keyrota::lifecycle::{Because, Pending, StepKind, Wait};
use keyrota::policy::SignerAccess;
use keyrota::reconcile::Status;
use keyrota::status_report::migrate::MigrateReport;
use keyrota::status_report::verbs::VerbReport;
use keyrota::status_report::{ErrorReport, ReloadReport, StatusReport};
use keyrota::time::Span;

const USERS: &str = "/demo/users/.well-known/jwks.json";
const STRICT: &str = "/demo/strict/.well-known/jwks.json";

#[tokio::test]
async fn a_key_set_comes_with_honest_headers() {
    let host = Host::verifiers().await;
    confirm(&host.environment);
    let answer = host.ask("GET", USERS, "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
    assert_eq!(answer.header("keyrota-stale"), None);
    let set: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let kids: Vec<_> = set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(kids, ["kid-1", "kid-2", "kid-0"]);
    assert_eq!(host.ask("GET", STRICT, "").await.header("cache-control"), Some("public, max-age=300"));

    let bare = host.ask("HEAD", USERS, "").await;
    assert_eq!((bare.status, bare.body.len()), (200, 0));
    assert_eq!(bare.header("content-length").map(str::to_owned), Some(answer.body.len().to_string()));

    let etag = answer.header("etag").unwrap().to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "strong: {etag}");
    for held in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        let held = host.ask("GET", USERS, &format!("If-None-Match: {held}\r\n")).await;
        assert_eq!((held.status, held.body.len()), (304, 0));
        for name in ["etag", "cache-control", "content-type"] {
            assert_eq!(held.header(name), answer.header(name));
        }
    }
    assert_eq!(host.ask("GET", USERS, "If-None-Match: \"x\"\r\n").await.status, 200);
    let query = host.ask("GET", &format!("{USERS}?v=1"), "").await;
    assert_eq!(query.body, answer.body);
}

#[tokio::test]
async fn a_changed_document_changes_the_key_set_and_its_tag() {
    let host = Host::verifiers().await;
    confirm(&host.environment);
    let before = host.ask("GET", USERS, "").await;
    let two = document("demo/users", Algorithm::ES256, 2);
    put(&host.environment, "users", status(Some(two), rules(Algorithm::ES256)), Manner::default());
    let after = host.ask("GET", USERS, &format!("If-None-Match: {}\r\n", before.header("etag").unwrap())).await;
    assert_eq!(after.status, 200);
    assert_ne!(after.header("etag"), before.header("etag"));
}

#[tokio::test]
async fn what_has_no_key_set_is_one_answer() {
    let host = Host::verifiers().await;
    confirm(&host.environment);
    let paths =
        ["/", "/demo", "/demo/hooks/.well-known/jwks.json", "/demo/vendor/.well-known/jwks.json", "/demo/new/.well-known/jwks.json"];
    let more = ["/demo/nosuch/.well-known/jwks.json", "/nosuch/users/.well-known/jwks.json", "/metrics", "//.well-known/jwks.json"];
    let mut bodies = std::collections::BTreeSet::new();
    for path in paths.into_iter().chain(more) {
        let answer = host.ask("GET", path, "").await;
        assert_eq!((answer.status, answer.header("cache-control")), (404, Some("no-store")), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        bodies.insert(answer.error());
    }
    assert_eq!(bodies.len(), 1, "nobody learns which keysets there are: {bodies:?}");
    let wrong = host.ask("POST", USERS, "Content-Length: 0\r\n").await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn only_what_could_not_be_read_is_not_known_to_be_absent() {
    let away = || Because::Store { what: "away".to_owned() };
    let waits = |step, document| {
        let wait = Wait { pending: vec![Pending { step, kid: None, at: None, because: away() }], until: None };
        Status { wait, ..status(document, rules(Algorithm::ES256)) }
    };
    assert!(waits(StepKind::Generate, None).is_known(), "a new keyset that the store does not take yet holds nobody up");
    assert!(!waits(StepKind::Any, None).is_known(), "what could not be read may be there");
    assert!(waits(StepKind::Any, Some(document("demo/users", Algorithm::ES256, 3))).is_known(), "what was read once is there");
}

#[tokio::test]
async fn while_keysets_are_loaded_nobody_is_told_that_there_is_none() {
    let host = Host::verifiers().await;
    host.environment.freshness.confirm(fixture::noon(), fixture::noon());
    assert_eq!(host.ask("GET", USERS, "").await.status, 200, "what is loaded is served");
    let paths = ["/demo/new/.well-known/jwks.json", "/demo/nosuch/.well-known/jwks.json"];
    for waiting in [host.begin("GET", paths[0]).await, host.begin("GET", paths[1]).await] {
        let answer = waiting.answer().await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "the start takes too long");
    }
}

#[tokio::test]
async fn who_asks_before_the_first_look_is_answered_after_it() {
    let host = Host::verifiers().await;
    host.environment.freshness.confirm(fixture::noon(), fixture::noon());
    let cell = host.environment.keyset("new").unwrap();
    let waiting = host.begin("GET", "/demo/new/.well-known/jwks.json").await;
    host.until_one_waits_for_the_start().await;
    cell.serve(Some(&Arc::new(document("demo/new", Algorithm::ES256, 3))));
    confirm(&host.environment);
    assert_eq!(waiting.answer().await.status, 200);
    assert_eq!(host.ask("GET", "/demo/nosuch/.well-known/jwks.json", "").await.status, 404, "now it is known");
}

#[tokio::test]
async fn a_process_that_is_not_fresh_says_so_or_refuses() {
    let host = Host::verifiers().await;
    let stale = host.ask("GET", USERS, "").await;
    assert_eq!((stale.status, stale.header("cache-control"), stale.header("keyrota-stale")), (200, Some("no-cache"), Some("true")));
    let held = host.ask("GET", USERS, &format!("If-None-Match: {}\r\n", stale.header("etag").unwrap())).await;
    assert_eq!((held.status, held.header("keyrota-stale")), (304, Some("true")));
    let refused = host.ask("GET", STRICT, "").await;
    assert_eq!((refused.status, refused.header("cache-control")), (503, Some("no-store")));
    assert!(refused.error().0.contains("demo"), "{:?}", refused.error());
    confirm(&host.environment);
    assert_eq!(host.ask("GET", USERS, "").await.header("keyrota-stale"), None);
    assert_eq!(host.ask("GET", STRICT, "").await.status, 200);
}

#[tokio::test]
async fn nonsense_is_refused_and_the_listener_lives() {
    let host = Host::verifiers().await;
    confirm(&host.environment);
    let long = "x".repeat(20_000);
    let many = "X: 1\r\n".repeat(100);
    for (request, wanted) in [
        ("\0\0\0\r\n\r\n".to_owned(), 400),
        ("GET\r\n\r\n".to_owned(), 400),
        (format!("GET {USERS} HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"), 431),
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), 431),
        (format!("GET {USERS} HTTP/1.1\r\nHost: x\r\n{many}\r\n"), 431),
        (format!("GET {USERS} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"), 400),
    ] {
        assert_eq!(host.raw(request.as_bytes()).await.status, wanted, "{}", &request[..request.len().min(60)]);
    }
    let tags = format!("If-None-Match: {}\r\n", "\"a\",".repeat(2000));
    assert_eq!(host.ask("GET", USERS, &tags).await.status, 200);
    assert_eq!(
        host.raw(&[b"GET ".as_slice(), USERS.as_bytes(), b" HTTP/1.1\r\nIf-None-Match: \"\xff\r\nConnection: close\r\n\r\n"].concat())
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn readiness_follows_loading_and_freshness() {
    let host = Host::operators().await;
    let health = host.ask("GET", "/healthz", "").await;
    assert_eq!(health.status, 200);
    let ready = host.ask("GET", "/readyz", "").await;
    assert_eq!(ready.status, 503);
    let readiness: Readiness = serde_json::from_slice(&ready.body).unwrap();
    assert!(!readiness.ready && readiness.why[0].because.contains("loaded"), "{readiness:?}");
    let _ = host.environment.loaded.set(());
    let readiness: Readiness = serde_json::from_slice(&host.ask("GET", "/readyz", "").await.body).unwrap();
    assert!(readiness.why[0].because.contains("store"), "{readiness:?}");
    confirm(&host.environment);
    let ready = host.ask("GET", "/readyz", "").await;
    assert_eq!((ready.status, ready.header("cache-control")), (200, Some("no-store")));
    host.board.take_off(&"demo".parse().unwrap());
    assert_eq!(host.ask("GET", "/readyz", "").await.status, 503, "nothing known is not ready");
    assert_eq!(host.ask("DELETE", "/readyz", "").await.status, 405);
    assert_eq!(host.ask("GET", "/nosuch", "").await.status, 404);
}

#[tokio::test]
async fn metrics_are_text_and_tell_no_secret() {
    let host = Host::operators().await;
    let answer = host.ask("GET", "/metrics", "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; version=0.0.4; charset=utf-8")));
    let text = host.ask("GET", "/metrics", "").await.text();
    assert!(text.contains("keyrota_http_requests_total{code=\"200\",handler=\"metrics\"} 1\n"), "the first scrape is counted: {text}");
    assert!(text.contains("process_start_time_seconds ") && !text.contains(SECRET));
}

#[tokio::test]
async fn a_signer_gets_the_document_once_and_hears_of_the_next() {
    let host = Host::signers(Outsider::Root);
    confirm(&host.environment);
    let path = "/v1/keysets/demo/users";
    let first = host.ask("GET", path, "").await;
    assert_eq!((first.status, first.header("cache-control")), (200, Some("no-store")));
    let held = host.environment.keyset("users").unwrap().served().unwrap();
    assert_eq!(first.body, held.document.to_stored().expose());
    assert!(first.header("etag").unwrap().starts_with("\"8-"), "{:?}", first.header("etag"));
    let etag = first.header("etag").unwrap();
    let same = host.ask("GET", path, &format!("If-None-Match: {etag}\r\n")).await;
    assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, Some(etag)));
    assert_eq!(host.ask("GET", &format!("{path}?generation=7&wait=60s"), "").await.status, 200);
    assert_eq!(host.ask("GET", &format!("{path}?generation=8"), "").await.status, 304);
    assert_eq!(host.ask("GET", &format!("{path}?generation=8&wait=1ms"), "").await.status, 304);

    let asked = format!("{path}?generation=8&wait=60s");
    let waiting = host.ask("GET", &asked, "");
    let change = async {
        tokio::task::yield_now().await;
        let next = fixture::changed(&held.document, &rules(Algorithm::ES256), fixture::noon().wall, |d| d.request_rotation(None));
        put(&host.environment, "users", status(Some(next), rules(Algorithm::ES256)), Manner::default());
    };
    let (answer, ()) = tokio::join!(waiting, change);
    assert_eq!(answer.status, 200);
    assert!(answer.header("etag").unwrap().starts_with("\"9-"));
}

#[tokio::test]
async fn a_signer_is_told_what_is_wrong_with_its_question() {
    let host = Host::signers(Outsider::Root);
    confirm(&host.environment);
    for (path, wanted) in [
        ("/v1/keysets/demo/users?wait=60s", 400),
        ("/v1/keysets/demo/users?wait=60&generation=1", 400),
        ("/v1/keysets/demo/users?generation=x", 400),
        ("/v1/keysets/demo/users?nosuch=1", 400),
        ("/v1/keysets/demo/nosuch", 404),
        ("/v1/keysets/demo/vendor", 404),
        ("/v1/keysets/demo/UPPER", 404),
        ("/v1/keysets/demo/%ff", 400),
        ("/v1/keysets/demo", 404),
    ] {
        assert_eq!(host.ask("GET", path, "").await.status, wanted, "{path}");
    }
    assert_eq!(host.ask("PUT", "/v1/keysets/demo/users", "Content-Length: 0\r\n").await.status, 405);
    let host = Host::signers(Outsider::Root);
    let stale = host.ask("GET", "/v1/keysets/demo/users", "").await;
    assert_eq!((stale.status, stale.header("retry-after")), (503, Some("5")));
    assert!(!stale.text().contains(SECRET));
}

#[tokio::test]
async fn who_is_not_named_learns_nothing() {
    let host = Host::signers(Outsider::App);
    confirm(&host.environment);
    let denied = host.ask("GET", "/v1/keysets/demo/users", "").await;
    assert_eq!(denied.status, 403);
    let (error, hint) = denied.error();
    assert!(error.contains("user app (uid 1000)") && hint.contains("signers: [{user: app}]"), "{error}; {hint}");
    let unknown = host.ask("GET", "/v1/keysets/demo/nosuch", "").await;
    assert_eq!(unknown.status, 403);
    assert_eq!(unknown.text().replace("nosuch", "users"), denied.text());
    assert_eq!(host.ask("GET", "/v1/keysets/nosuch/users", "").await.status, 403);

    for signers in [vec![SignerAccess::User("app".into())], vec![SignerAccess::Group("backend".into())]] {
        host.environment.keyset("users").unwrap().set_manner(Manner { signers, ..Manner::default() });
        let admitted = host.ask("GET", "/v1/keysets/demo/users", "").await;
        assert!(admitted.status == 200 && admitted.text().contains(SECRET));
        assert_eq!(host.ask("GET", "/v1/keysets/demo/hooks", "").await.status, 403, "per keyset");
    }
}

#[tokio::test]
async fn who_may_not_read_may_not_mint_and_nobody_mints_while_stale() {
    let tell = async |host: &Host, what: &str, body: &str| {
        let head = format!("POST /v1/keysets/demo/users/{what} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        host.raw(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await
    };
    let (sub, token) = ("{\"sub\":\"ada\"}", "{\"token\":\"a.b.c\"}");
    let host = Host::signers(Outsider::App);
    confirm(&host.environment);
    assert_eq!(tell(&host, "token", sub).await.status, 403);
    assert_eq!(tell(&host, "verify", token).await.status, 403, "whoever verifies learns whether a secret is the right one");
    let host = Host::signers(Outsider::Root);
    for (what, body) in [("token", sub), ("verify", token)] {
        let stale = tell(&host, what, body).await;
        assert_eq!((stale.status, stale.header("retry-after")), (503, Some("5")), "{what}");
    }
    confirm(&host.environment);
    let none = tell(&host, "token", sub).await;
    assert!(none.status == 409 && none.error().0.contains("no tokens are minted with keyset demo/users"), "{}", none.text());
    assert_eq!(tell(&host, "verify", token).await.status, 200);
    for (body, wanted) in [("", 400), ("{\"sub\":7}", 400), ("{\"more\":1}", 400), (&*"x".repeat(70_000), 413)] {
        assert_eq!(tell(&host, "token", body).await.status, wanted);
    }
    assert_eq!(host.ask("GET", "/v1/keysets/demo/users/token", "").await.header("allow"), Some("POST"));
}

/// Reports a generation under a name.
async fn reported(host: &Host, path: &str, body: &str) -> asking::Answer {
    let head = format!("PUT /v1/keysets/demo/{path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    host.raw(format!("{head}{body}").as_bytes()).await
}

#[tokio::test]
async fn a_signer_reports_what_it_uses() {
    let host = Host::signers(Outsider::App);
    confirm(&host.environment);
    let good = "{\"generation\":8}";
    assert_eq!(reported(&host, "users/signers/web-1", good).await.status, 403, "who may not read may not report");
    let cell = host.environment.keyset("users").unwrap();
    cell.set_manner(Manner { signers: vec![SignerAccess::User("app".into())], ..Manner::default() });
    assert_eq!(reported(&host, "users/signers/web-1", good).await.status, 204);
    let known = cell.reports.list();
    assert_eq!((known[0].name.as_str(), known[0].generation().0, known[0].heard_at), ("web-1", 8, fixture::noon().wall));
    for (path, body, wanted) in [
        ("users/signers/web-1", "{\"generation\":9}", 409),
        ("users/signers/web-1", "{\"generation\":0}", 409),
        ("users/signers/web-1", "{\"generation\":-1}", 400),
        ("users/signers/web-1", "{\"generation\":8,\"more\":1}", 400),
        ("users/signers/web-1", "8", 400),
        ("users/signers/web-1", "", 400),
        ("users/signers/web-1", &"x".repeat(2000), 413),
        ("users/signers/web-1?x=1", good, 400),
        ("users/signers/.web", good, 400),
        ("users/signers/%20", good, 400),
        ("hooks/signers/web-1", good, 403),
        ("nosuch/signers/web-1", good, 403),
    ] {
        let answer = reported(&host, path, body).await;
        assert_eq!(answer.status, wanted, "{path} {body}");
        assert!(!answer.error().1.is_empty(), "with a hint");
    }
    let other = host.ask("GET", "/v1/keysets/demo/users/signers/web-1", "").await;
    assert_eq!((other.status, other.header("allow")), (405, Some("PUT")));
    assert_eq!(cell.reports.list(), known, "none of it was taken");
}

#[tokio::test]
async fn a_name_is_not_taken_from_another_user() {
    let host = Host::signers(Outsider::App);
    confirm(&host.environment);
    let cell = host.environment.keyset("users").unwrap();
    cell.set_manner(Manner { signers: vec![SignerAccess::User("app".into())], ..Manner::default() });
    let (keep, now) = (Keep { live: Span::minutes(5), remembered: Span::hours(1) }, fixture::noon().wall);
    let take = |name: &str, uid, now| {
        let name = name.parse().unwrap();
        cell.reports.take(&name, Reporter { uid, ours: false }, keyrota::name::Generation(7), now, keep).unwrap();
    };
    take("theirs", 1001, now.minus(Span::minutes(5)));
    take("silent", 1001, now.minus(Span::minutes(6)));
    let (error, hint) = {
        let answer = reported(&host, "users/signers/theirs", "{\"generation\":8}").await;
        assert_eq!(answer.status, 403);
        answer.error()
    };
    assert!(
        error.contains("uid 1000 cannot report as theirs") && error.contains("belongs to another user") && hint.contains("another name")
    );
    assert_eq!(reported(&host, "users/signers/silent", "{\"generation\":8}").await.status, 204);
    for n in 0..MOST_OF_ONE_UID - 1 {
        take(&format!("mine-{n}"), 1000, now);
    }
    let full = reported(&host, "users/signers/one-more", "{\"generation\":8}").await;
    assert_eq!((full.status, full.header("retry-after")), (429, Some("60")));
}

#[tokio::test]
async fn status_and_metrics_show_who_lags() {
    let host = Host::control(Outsider::Root);
    confirm(&host.environment);
    let cell = host.environment.keyset("users").unwrap();
    let (keep, now) = (Keep { live: Span::minutes(5), remembered: Span::hours(1) }, fixture::noon().wall);
    for (name, generation, minutes) in [("ahead", 8, 1), ("behind", 3, 2), ("gone", 3, 6)] {
        let from = Reporter { uid: 1000, ours: false };
        cell.reports
            .take(&name.parse().unwrap(), from, keyrota::name::Generation(generation), now.minus(Span::minutes(minutes)), keep)
            .unwrap();
    }
    let report: StatusReport = serde_json::from_slice(&host.ask("GET", "/v1/status", "").await.body).unwrap();
    let users = report.environments[0].keysets.iter().find(|keyset| keyset.name.as_str() == "users").unwrap();
    let shown: Vec<_> = users.signers.iter().map(|s| (s.name.as_str(), s.generation.0, s.lags_behind.map(|needed| needed.0))).collect();
    assert_eq!(shown, [("ahead", 8, None), ("behind", 3, Some(6))], "who is silent for longer than signer_refresh counts no more");
    let scrape = keyrota::metrics::Metrics::new(fixture::noon()).unwrap().scrape(&host.board, fixture::noon());
    let scrape = String::from_utf8(scrape.flatten().collect()).unwrap();
    assert!(scrape.contains("keyrota_signer_generation{environment=\"demo\",keyset=\"users\",signer=\"behind\"} 3\n"), "{scrape}");
    assert!(!scrape.contains("signer=\"gone\""));
}

#[tokio::test]
async fn a_policy_that_changes_while_a_signer_waits_counts() {
    let host = Host::signers(Outsider::App);
    confirm(&host.environment);
    let cell = host.environment.keyset("users").unwrap();
    cell.set_manner(Manner { signers: vec![SignerAccess::User("app".into())], ..Manner::default() });
    let waiting = host.begin("GET", "/v1/keysets/demo/users?generation=8&wait=60s").await;
    host.until_one_waits(&cell).await;
    cell.set_manner(Manner::default());
    cell.serve(Some(&Arc::new(document("demo/users", Algorithm::ES256, 3))));
    let next = document("demo/users", Algorithm::ES256, 3);
    let next = fixture::changed(&next, &rules(Algorithm::ES256), fixture::noon().wall, |d| d.request_rotation(None));
    cell.serve(Some(&Arc::new(next)));
    assert_eq!(waiting.answer().await.status, 403);
}

#[tokio::test]
async fn a_stop_ends_waits_and_finishes_requests() {
    let host = Host::signers(Outsider::Root);
    confirm(&host.environment);
    let waiting = host.begin("GET", "/v1/keysets/demo/users?generation=8&wait=60s").await;
    host.until_one_waits(&host.environment.keyset("users").unwrap()).await;
    let served = host.stop();
    assert_eq!(waiting.answer().await.status, 503);
    served.await.unwrap();
}

#[tokio::test]
async fn who_was_let_in_before_a_stop_may_still_ask() {
    let host = Host::verifiers().await;
    confirm(&host.environment);
    let silent = host.begin("", "").await;
    // Connections are taken in their order, so the silent one was before this.
    assert_eq!(host.ask("GET", USERS, "").await.status, 200);
    let served = host.stop();
    assert_eq!(silent.ask(USERS).await.status, 200);
    served.await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let host = Host::verifiers_with(Limits { connections: 1, per_uid: 1 }).await;
    confirm(&host.environment);
    let idle = host.begin("", "").await;
    let second = host.begin("GET", USERS).await;
    drop(idle);
    assert_eq!(second.answer().await.status, 200);
}

#[tokio::test]
async fn status_is_whole_and_tells_no_secret() {
    let host = Host::control(Outsider::Root);
    confirm(&host.environment);
    let answer = host.ask("GET", "/v1/status", "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert!(!answer.text().contains(SECRET));
    let report: StatusReport = serde_json::from_slice(&answer.body).unwrap();
    let environment = &report.environments[0];
    assert!(environment.fresh && environment.loaded && environment.policy.faults.is_empty());
    let names: Vec<_> = environment.keysets.iter().map(|k| k.name.as_str()).collect();
    assert_eq!(names, ["hooks", "new", "strict", "users", "vendor"]);
    let users = &environment.keysets[3];
    let held = host.environment.keyset("users").unwrap().served().unwrap();
    assert_eq!(users.document().unwrap(), Some(held.document.without_secrets()));
    assert_eq!(users.pending[0].label, "propagation");
    assert!(users.pending[0].because.contains("verifiers") && users.overdue.is_none());
    assert_eq!(users.rules.as_ref().unwrap().propagation, Span::seconds(1090));
    let vendor = &environment.keysets[4];
    assert!(vendor.document.is_none() && vendor.overdue.as_ref().unwrap().label == "external");
    assert!(environment.keysets[1].looked_at.is_none());

    let one = host.ask("GET", "/v1/status?environment=demo&keyset=users", "").await;
    let one: StatusReport = serde_json::from_slice(&one.body).unwrap();
    assert_eq!(one.environments[0].keysets.len(), 1);
    let none = host.ask("GET", "/v1/status?environment=nosuch", "").await;
    let none: StatusReport = serde_json::from_slice(&none.body).unwrap();
    assert!(none.environments.is_empty());
}

#[tokio::test]
async fn control_is_for_those_it_is_for() {
    let host = Host::control(Outsider::Other);
    let denied = host.ask("GET", "/v1/status", "").await;
    assert_eq!(denied.status, 403);
    assert!(denied.error().1.contains("group backend"), "{:?}", denied.error());
    assert_eq!(host.ask("POST", "/v1/reload", "Content-Length: 0\r\n").await.status, 403);
    assert_eq!(host.ask("GET", "/v1/nosuch", "").await.status, 403);
    let host = Host::control(Outsider::App);
    assert_eq!(host.ask("GET", "/v1/status", "").await.status, 200, "a member of the group");
    let waited = host.ask("POST", "/v1/reload?wait=30s", "Content-Length: 0\r\n").await;
    let report: ReloadReport = serde_json::from_slice(&waited.body).unwrap();
    assert!(waited.status == 200 && report.all_in_force());
    let unwaited = host.ask("POST", "/v1/reload", "Content-Length: 0\r\n").await;
    assert_eq!(unwaited.status, 202);
    assert_eq!(host.ask("GET", "/v1/reload", "").await.header("allow"), Some("POST"));
}

#[tokio::test]
async fn verbs_are_for_the_same_people_and_bear_their_names() {
    let post = |body: &str| {
        format!("POST /v1/verbs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let rotate = r#"{"environment":"demo","keyset":"users","verb":{"name":"rotate"},"reason":"why"}"#;
    assert_eq!(Host::control(Outsider::Other).raw(&post(rotate)).await.status, 403);
    let host = Host::control(Outsider::App);
    let answer = host.raw(&post(rotate)).await;
    let report: VerbReport = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, report.by.as_str(), report.notes), (200, "app (1000)", vec!["why".to_owned()]));
    assert_eq!(host.raw(&post(&rotate.replace("demo", "nowhere"))).await.status, 404);
    assert_eq!(host.ask("GET", "/v1/verbs", "").await.header("allow"), Some("POST"));
    for bad in ["", "{", "[]", &rotate.replace("rotate", "THE-SECRET-ITSELF"), &rotate.replace("why\"", "why\",\"more\":1")] {
        let answer = host.raw(&post(bad)).await;
        assert_eq!(answer.status, 400, "{bad}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("SECRET"), "what was sent is not told back");
    }
    let long = format!("{}{}", rotate, " ".repeat(100_000));
    assert_eq!(host.raw(&post(&long)).await.status, 413);
    assert_eq!(host.ask("GET", "/v1/doctor?environment=demo", "").await.status, 200);
    assert_eq!(host.ask("GET", "/v1/audit?since=soon", "").await.status, 400);
    assert_eq!(host.ask("GET", "/v1/audit?since=2026-01-01T00:00:00Z", "").await.body, b"{}\n");
}

#[tokio::test]
async fn a_move_is_asked_for_by_the_same_people_in_their_names() {
    let post = |body: &str| {
        format!("POST /v1/migrate HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let erase = r#"{"environment":"demo","part":"erase","recovery":"30d","reason":"why"}"#;
    assert_eq!(Host::control(Outsider::Other).raw(&post(erase)).await.status, 403);
    let host = Host::control(Outsider::App);
    let answer = host.raw(&post(erase)).await;
    let report: MigrateReport = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, report.by.as_str(), report.notes), (200, "app (1000)", vec!["why".to_owned()]));
    assert_eq!(host.raw(&post(&erase.replace("erase", "burn"))).await.status, 400);
    assert_eq!(host.ask("GET", "/v1/migrate", "").await.header("allow"), Some("POST"));
}

impl Answer {
    fn error(&self) -> (String, String) {
        let report: ErrorReport = serde_json::from_slice(&self.body).unwrap();
        (report.error, report.hint)
    }
}

#[tokio::test]
async fn only_who_can_read_every_key_anyway_may_take_a_back_up() {
    let body = r#"{"recipients":["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]}"#;
    let request =
        format!("POST /v1/backup HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
    let root = Host::control(Outsider::Root).raw(&request).await;
    assert_eq!((root.status, root.body.as_slice()), (200, &b"sealed"[..]));
    // A member of the control group may revoke every key, and may read none.
    let member = Host::control(Outsider::App).raw(&request).await;
    assert!(member.status == 403 && member.error().0.contains("every private key"), "{:?}", member.error());
}

/// Whoever presents a key is let in by a process that may speak for its store, where nobody on the way can read it, and not otherwise.
#[tokio::test]
async fn tokens_are_not_served_by_who_may_be_behind_nor_in_the_clear() {
    let asked = async |host: &Host, key: &str| {
        let request =
            format!("POST /demo/hooks/token HTTP/1.1\r\nHost: test\r\nConnection: close\r\nx-api-key: {key}\r\nContent-Length: 11\r\n\r\n");
        let bytes = format!("{request}{{\"sub\":\"a\"}}").into_bytes();
        let answer = host.raw(&bytes).await;
        let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        (answer.status, told["code"].as_str().unwrap().to_owned(), answer.header("retry-after").map(str::to_owned))
    };
    let told = |status: u16, code: &str, retry: Option<&str>| (status, code.to_owned(), retry.map(str::to_owned));
    let host = Host::tokens(Ok("http://127.0.0.1:1".parse().unwrap())).await;
    let _ = host.environment.loaded.set(());
    assert_eq!(asked(&host, "x").await, told(503, "stale", Some("5")));
    assert_eq!(asked(&host, "y").await, told(503, "stale", Some("5")), "a key that this process has not heard of may be good");
    confirm(&host.environment);
    assert_eq!(asked(&host, "y").await, told(401, "credential", None));
    assert_ne!(asked(&host, "x").await.0, 401);
    assert_eq!(host.ask("GET", USERS, "").await.status, 200, "key sets have their own way");
    assert_eq!(host.ask("GET", "/demo", "").await.status, 404);

    let host = Host::tokens(Err(Exposed::InTheClear("0.0.0.0:8480".parse().unwrap()))).await;
    confirm(&host.environment);
    for key in ["x", "y"] {
        assert_eq!(asked(&host, key).await, told(403, "exposed", None));
    }
    assert_eq!(host.ask("GET", USERS, "").await.status, 200);
    assert_eq!(host.ask("GET", "/demo/users/.well-known/openid-configuration", "").await.status, 404, "under which origin?");
}
