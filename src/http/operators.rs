//! Metrics, health and the status page, behind `--metrics-listen`. Nothing secret is here, and nothing can be changed.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use super::{Desk, JSON, NO_STORE, Refusal, nothing_here, page};
use crate::name::EnvironmentName;

/// The media type of the Prometheus text format 0.0.4.
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether traffic may be sent here: the answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether every environment is loaded and fresh.
    pub ready: bool,
    /// Why not, one entry per environment that is not.
    pub why: Vec<Unready>,
}

/// An environment that is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unready {
    /// Which; absent if there is none at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// Why, as a sentence.
    pub because: String,
}

/// The routes `/`, `/metrics`, `/healthz` and `/readyz`.
pub fn operators(desk: Desk) -> Router {
    Router::new()
        .route("/", get(page::page).fallback(wrong_method))
        .route("/metrics", get(metrics).fallback(wrong_method))
        .route("/healthz", get(health).fallback(wrong_method))
        .route("/readyz", get(ready).fallback(wrong_method))
        .fallback(nothing_here)
        .with_state(desk)
}

async fn wrong_method() -> Refusal {
    Refusal::method("GET, HEAD")
}

async fn metrics(State(desk): State<Desk>) -> Response {
    let timer = desk.metrics.http.metrics.start();
    let scrape = desk.metrics.scrape(&desk.board, (desk.clock)());
    desk.metrics.http.metrics.done(timer, StatusCode::OK);
    let mut response = Response::new(Body::new(super::status::Pieces(scrape)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT_FORMAT));
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// 200 for as long as the process lives and can answer. Whether it can do its work is `/readyz`'s to say.
async fn health(State(desk): State<Desk>) -> Response {
    let timer = desk.metrics.http.healthz.start();
    desk.metrics.http.healthz.done(timer, StatusCode::OK);
    ([(CACHE_CONTROL, NO_STORE), (CONTENT_TYPE, JSON)], "{\"alive\":true}").into_response()
}

async fn ready(State(desk): State<Desk>) -> Response {
    let timer = desk.metrics.http.readyz.start();
    let readiness = readiness(&desk);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    desk.metrics.http.readyz.done(timer, status);
    (status, [(CACHE_CONTROL, NO_STORE)], axum::Json(readiness)).into_response()
}

/// Whether every environment is loaded and fresh at this moment.
pub fn readiness(desk: &Desk) -> Readiness {
    let now = (desk.clock)();
    let environments = desk.board.environments();
    let mut why = Vec::new();
    if environments.is_empty() {
        why.push(Unready { environment: None, because: "no environment is known yet".into() });
    }
    for environment in environments.values() {
        let because = if !environment.loaded.initialized() {
            "not every keyset has been loaded since the start".to_owned()
        } else if !environment.freshness.is_fresh(now) {
            match environment.freshness.confirmed_at() {
                Some(at) => format!("the last confirmed look at the store, of {at}, is too old to speak for it"),
                None => "the store has not been looked at yet".to_owned(),
            }
        } else {
            continue;
        };
        why.push(Unready { environment: Some(environment.name.clone()), because });
    }
    Readiness { ready: why.is_empty(), why }
}
