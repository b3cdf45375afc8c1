//! Operators' verbs on the control socket: read, given to the daemon with the name of whoever asks, answered.
//!
//! Nothing is judged here. What a peer sends may be secret (imported keys): it is wiped once it was read, and no answer quotes it.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::StatusCode;
use http::header::CACHE_CONTROL;
use zeroize::Zeroizing;

use super::control::Room;
use super::peers::{Peer, Users};
use super::{NO_STORE, Refusal};
use crate::status_report::migrate::MigrateRequest;
use crate::status_report::verbs::{Refused, VerbReport, VerbRequest};

/// The longest request: far more than the largest key takes.
pub const LONGEST_REQUEST: usize = 64 * 1024;

/// `POST /v1/verbs`.
pub(super) async fn verb(State(room): State<Room>, Extension(peer): Extension<Peer>, request: Request) -> Result<Response, Refusal> {
    let asked: VerbRequest = read(request.into_body()).await?;
    let by = room.who(peer).await;
    let report = room.control.verb(asked, by).await.map_err(|refused| of(&refused))?;
    Ok((status(&report), [(CACHE_CONTROL, NO_STORE)], Json(report)).into_response())
}

/// `POST /v1/migrate`.
pub(super) async fn migrate(State(room): State<Room>, Extension(peer): Extension<Peer>, request: Request) -> Result<Response, Refusal> {
    let asked: MigrateRequest = read(request.into_body()).await?;
    let by = room.who(peer).await;
    let report = room.control.migrate(asked, by).await.map_err(|refused| of(&refused))?;
    let status = if report.is_good() { StatusCode::OK } else { StatusCode::CONFLICT };
    Ok((status, [(CACHE_CONTROL, NO_STORE)], Json(report)).into_response())
}

async fn read<T: serde::de::DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let wrong = |status, error: String| Refusal::new(status, error, "use the keyrota command of the daemon's version");
    let too_long = |_| wrong(StatusCode::PAYLOAD_TOO_LARGE, format!("a request may have {LONGEST_REQUEST} bytes, or it was cut short"));
    let bytes = to_bytes(body, LONGEST_REQUEST).await.map_err(too_long)?;
    // Where the bytes are nobody else's they are wiped; the parser's error never quotes a value, only where it stopped.
    let bytes = match bytes.try_into_mut() {
        Ok(own) => Zeroizing::new(Vec::from(own)),
        Err(shared) => Zeroizing::new(shared.to_vec()),
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        let what = format!("the request cannot be read at line {}, column {}", error.line(), error.column());
        wrong(StatusCode::BAD_REQUEST, what)
    })
}

/// A refusal of the whole request.
pub(super) fn of(refused: &Refused) -> Refusal {
    let status = match refused.kind.as_str() {
        "unknown" => StatusCode::NOT_FOUND,
        "invalid" => StatusCode::BAD_REQUEST,
        "store" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::CONFLICT,
    };
    Refusal::new(status, refused.said.error.clone(), refused.said.hint.clone())
}

/// 200 if everything that was asked for was done or can be; else what the first refusal amounts to. The body says it keyset by keyset.
fn status(report: &VerbReport) -> StatusCode {
    match report.keysets.iter().find_map(|outcome| outcome.refused.as_ref()) {
        None => StatusCode::OK,
        Some(refused) if refused.is_unsafe() => StatusCode::UNPROCESSABLE_ENTITY,
        Some(refused) => of(refused).status,
    }
}

/// `ada (1000)`, or `uid 1000` for somebody without a name.
pub(super) fn named(peer: Peer, users: &dyn Users) -> String {
    users.name_of(peer.uid).map_or_else(|| format!("uid {}", peer.uid), |name| format!("{name} ({})", peer.uid))
}
