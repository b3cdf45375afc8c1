//! The page that people look at: `GET /` on the operators' listener. Problems first, then every keyset: which kids overlap, what comes
//! next, and why it waits.
//!
//! It is one page without script, and nothing is fetched for it from anywhere: the `Content-Security-Policy` allows its own style
//! alone. Whatever the picture shows stands beside it as a table. No material is in what it is made from.

mod html;

use std::sync::LazyLock;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode, Uri};
use tokio::sync::Semaphore;

use super::status::Report;
use super::{Desk, NO_STORE, Refusal, query};
use crate::cli::plan::source::known;
use crate::cli::plan::{KeysetPlan, lay_out};
use crate::digest::Digest;
use crate::name::KeysetId;
use crate::picture;
use crate::status_report::{KeysetReport, StatusReport};
use crate::time::{Span, Timestamp};

/// The most keysets that are drawn on one page; beyond it, each has a page of its own behind its row.
pub(super) const MOST_DRAWN: usize = 40;

/// Pages are made one after the other: each may take a core for a while.
static TURNS: Semaphore = Semaphore::const_new(1);

/// The style, and the policy that allows it by its digest and nothing else.
static STYLE: LazyLock<String> = LazyLock::new(|| format!("{}{}", picture::STYLE, include_str!("page/style.css")));
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let text = format!(
        "default-src 'none'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        Digest::of(STYLE.as_bytes())
    );
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// What is asked for: everything, or one keyset.
pub(super) async fn page(State(desk): State<Desk>, uri: Uri) -> Response {
    let timer = desk.metrics.http.page.start();
    let answer = made(&desk, &uri).await;
    let status = answer.as_ref().map_or_else(|refusal| refusal.status, |_| StatusCode::OK);
    desk.metrics.http.page.done(timer, status);
    let html = match answer {
        Ok(html) => html,
        Err(refusal) => return refusal.into_response(),
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CACHE_CONTROL, NO_STORE),
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, html).into_response()
}

async fn made(desk: &Desk, uri: &Uri) -> Result<String, Refusal> {
    let found = query::read(uri, &["keyset"])?;
    let only = match found.get("keyset") {
        None => None,
        Some(text) => Some(text.parse::<KeysetId>().map_err(|error| {
            Refusal::new(StatusCode::BAD_REQUEST, format!("parameter `keyset`: {error}"), "write environment/keyset, or leave it out")
        })?),
    };
    let _turn = TURNS.acquire().await;
    let (board, now) = (desk.board.environments(), (desk.clock)());
    let work = move || {
        let mut report = Report::whole(board.values().cloned(), now);
        match only {
            None => Ok(html::overview(&report)),
            Some(id) => {
                let missing = || Refusal::new(StatusCode::NOT_FOUND, format!("there is no keyset {id}"), "`/` lists them");
                narrow(&mut report, &id);
                let keyset = report.environments.first().and_then(|e| e.keysets.first()).ok_or_else(missing)?;
                Ok(html::alone(&report, &id, keyset))
            }
        }
    };
    let gone = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the page was not finished", "see the log");
    tokio::task::spawn_blocking(work).await.map_err(gone)?
}

/// Leaves one keyset.
fn narrow(report: &mut StatusReport, id: &KeysetId) {
    report.environments.retain(|e| e.name == id.environment);
    for environment in &mut report.environments {
        environment.keysets.retain(|k| k.name == id.keyset);
    }
}

/// Two rotations ahead of every keyset in the report.
fn plans(report: &StatusReport) -> Vec<KeysetPlan> {
    let mut notes = Vec::new();
    let known = known(Some(report), &[], &mut notes);
    let ahead = |keyset: &KeysetReport| {
        keyset.rules.as_ref().map_or(Span::days(1), |r| (r.rotate_every * 2).max((r.propagation + r.retention) * 2))
    };
    let horizon = |id: &KeysetId| {
        let environment = report.environments.iter().find(|e| e.name == id.environment)?;
        environment.keysets.iter().find(|k| k.name == id.keyset).map(ahead)
    };
    let now: Timestamp = report.at;
    known
        .into_iter()
        .flat_map(|(id, known)| {
            let ahead = horizon(&id).unwrap_or(Span::days(1));
            lay_out(&[(id, known)].into(), None, now, ahead)
        })
        .collect()
}

pub(super) fn style() -> &'static str {
    &STYLE
}
