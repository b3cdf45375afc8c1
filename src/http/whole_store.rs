//! What operators ask of the embedded store as a whole, on the control socket: a new master key, a back-up.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::control::Room;
use super::peers::Peer;
use super::{NO_STORE, Refusal, verbs};
use crate::status_report::backup::BackupRequest;
use crate::status_report::rekey::{RekeyReport, RekeyRequest};

const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// `POST /v1/rekey`.
pub(super) async fn rekey(State(room): State<Room>, Extension(peer): Extension<Peer>, request: Request) -> Result<Response, Refusal> {
    let asked: RekeyRequest = verbs::read(request.into_body()).await?;
    let by = room.who(peer).await;
    room.control.rekey(asked, by).await.map(|report| answer(&report)).map_err(|refused| verbs::of(&refused))
}

/// `GET /v1/rekey`.
pub(super) async fn rekey_report(State(room): State<Room>) -> Result<Response, Refusal> {
    room.control.rekey_report().await.map(|report| answer(&report)).map_err(|refused| verbs::of(&refused))
}

/// 202 while it goes on.
fn answer(report: &RekeyReport) -> Response {
    let status = if report.phase.is_over() { StatusCode::OK } else { StatusCode::ACCEPTED };
    (status, [(CACHE_CONTROL, NO_STORE)], Json(report)).into_response()
}

/// `POST /v1/backup`: the file itself, or what would be in it.
pub(super) async fn back_up(State(room): State<Room>, Extension(peer): Extension<Peer>, request: Request) -> Result<Response, Refusal> {
    if !room.may_read_keys(peer) {
        // Whoever may revoke keys may not read them for that reason.
        let what = format!("{} may not take a back-up: it holds every private key", room.who(peer).await);
        return Err(Refusal::new(StatusCode::FORBIDDEN, what, "only root and the daemon's own user may: use sudo"));
    }
    let asked: BackupRequest = verbs::read(request.into_body()).await?;
    let by = room.who(peer).await;
    let (report, file) = room.control.back_up(asked, by).await.map_err(|refused| verbs::of(&refused))?;
    Ok(match file {
        None => ([(CACHE_CONTROL, NO_STORE)], Json(report)).into_response(),
        Some(file) => ([(CACHE_CONTROL, NO_STORE), (CONTENT_TYPE, BYTES)], Body::from(file)).into_response(),
    })
}
