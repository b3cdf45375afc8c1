//! The listeners: key sets for verifiers over TCP, metrics and health for operators over TCP, documents for signers and the control
//! verbs over Unix sockets.
//!
//! They read the [`Board`] and nothing else; no store, no policy file, no decision is touched from here, so that no request can hold
//! up a rotation. Whatever a peer sends, nothing here panics, and what a peer can hold on to (connections, buffers, waiting
//! requests) is bounded.
//!
//! Invariant: freshness is asked at every request, on the boot clock; a secret leaves through [`signers`] alone, and only to a peer
//! whose uid or groups the policy names.

pub mod control;
pub mod entity_tag;
pub mod operators;
mod page;
pub mod peers;
mod query;
pub mod reach;
mod secret_body;
pub mod serve;
pub mod signers;
pub mod sockets;
mod stall;
pub mod status;
pub mod tls;
mod tokens;
mod uptake;
pub mod verbs;
pub mod verifiers;
mod whole_store;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use crate::board::Board;
use crate::clock::Reading;
use crate::metrics::Metrics;
use crate::status_report::ErrorReport;

/// What every listener works with.
#[derive(Clone)]
pub struct Desk {
    /// What is served.
    pub board: Arc<Board>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The machine's clocks: [`Reading::now`], but in tests.
    pub clock: fn() -> Reading,
}

impl Desk {
    /// A desk on the machine's own clocks.
    pub fn new(board: Arc<Board>, metrics: Arc<Metrics>) -> Self {
        Self { board, metrics, clock: Reading::now }
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// An answer that says in words why there is no other: JSON with `error` and `hint`, never to be cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// What is wrong and what to do.
    pub report: ErrorReport,
    /// The methods that there are, where the one used is not among them.
    pub allow: Option<&'static str>,
    /// In how many seconds to ask again, where that may help.
    pub retry_after: Option<u32>,
}

impl Refusal {
    /// A refusal.
    pub fn new(status: StatusCode, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status, report: ErrorReport { error: error.into(), hint: hint.into() }, allow: None, retry_after: None }
    }

    /// 405 (RFC 9110 §15.5.6).
    pub fn method(allow: &'static str) -> Self {
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, "there is nothing at this path for that method", format!("use {allow}"));
        Self { allow: Some(allow), ..refusal }
    }

    /// 503 because this process may not speak for the store.
    pub fn not_fresh(environment: &str) -> Self {
        let error = format!("this process has not confirmed `{environment}` with its store lately, so it may be behind");
        let hint = "ask another replica, or ask again; `keyrota status` and the log say what is wrong with the store";
        Self { retry_after: Some(5), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, error, hint) }
    }

    /// 503 because nobody knows yet what there is.
    pub fn not_loaded(environment: &str) -> Self {
        let error = format!("the keysets of `{environment}` are being loaded");
        let hint = "ask another replica, or ask again; `/readyz` says when they are all there";
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, error, hint) }
    }

    /// The headers besides `Content-Type` and `Cache-Control`.
    fn extra_headers(&self, headers: &mut http::HeaderMap) {
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(CACHE_CONTROL, NO_STORE);
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(http::header::RETRY_AFTER, seconds.into());
        }
    }

    fn body(&self) -> Vec<u8> {
        serde_json::to_vec(&self.report).unwrap_or_default()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.body().into());
        *response.status_mut() = self.status;
        self.extra_headers(response.headers_mut());
        response
    }
}

/// 404 on a path that is nobody's.
async fn nothing_here() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "there is nothing at this path", "see the manual page keyrota(1) for the paths of this listener")
}
