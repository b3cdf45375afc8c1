//! Reports of signers, on `signer.sock`: `PUT /v1/keysets/<environment>/<keyset>/signers/<name> {"generation": N}`.
//!
//! Who may read a keyset may report on it. The name belongs to the user that reported under it first, until it has been silent for
//! `signer_refresh`; root and the daemon's own user may take it over. Nothing is stored: see [`crate::board::uptake`].

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use http::{StatusCode, Uri};
use serde::Deserialize;

use super::peers::Peer;
use super::signers::Room;
use super::{NO_STORE, Refusal, status};
use crate::board::Cell;
use crate::board::uptake::{Keep, Reporter, Untaken};
use crate::name::{Generation, SignerName};

/// The longest report.
const LONGEST_REPORT: usize = 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    generation: Generation,
}

pub(super) async fn put_only() -> Refusal {
    Refusal::method("PUT")
}

pub(super) async fn report(
    State(room): State<Room>,
    Extension(peer): Extension<Peer>,
    Path((environment, keyset, name)): Path<(String, String, String)>,
    uri: Uri,
    body: Body,
) -> Response {
    let taken = take(&room, peer, [&environment, &keyset, &name], &uri, body).await;
    let response = match taken {
        Ok(()) => (StatusCode::NO_CONTENT, [(CACHE_CONTROL, NO_STORE)]).into_response(),
        Err(refusal) => refusal.into_response(),
    };
    room.desk.metrics.http.uptake.count(response.status());
    response
}

async fn take(room: &Room, peer: Peer, path: [&str; 3], uri: &Uri, body: Body) -> Result<(), Refusal> {
    let [environment, keyset, name] = path;
    let asked = room.asked(peer, environment, keyset, uri)?;
    let (_, cell) = room.admit(&asked).await?;
    let wrong = |error: String, hint: &str| Refusal::new(StatusCode::BAD_REQUEST, error, hint);
    let name: SignerName = name.parse().map_err(|error: crate::name::NameError| {
        let error = error.to_string();
        let (what, hint) = error.split_once("; hint: ").unwrap_or((&error, ""));
        wrong(what.to_owned(), hint)
    })?;
    let too_long = |_| {
        let what = format!("a report may have {LONGEST_REPORT} bytes, or it was cut short");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, what, "send {\"generation\": N}")
    };
    let body = to_bytes(body, LONGEST_REPORT).await.map_err(too_long)?;
    let report: Report =
        serde_json::from_slice(&body).map_err(|error| wrong(format!("the report cannot be read: {error}"), "send {\"generation\": N}"))?;
    lawful(&cell, report.generation)?;
    let now = (room.desk.clock)().wall;
    let facts = cell.status().map(|known| status::waits(&known, now));
    let keep = facts.map_or(Keep { live: crate::time::Span::ZERO, remembered: crate::time::Span::ZERO }, |waits| Keep {
        live: waits.facts.signer_refresh,
        remembered: waits.retention,
    });
    let from = Reporter { uid: peer.uid, ours: peer.is_ours(room.door.own_uid) };
    cell.reports.take(&name, from, report.generation, now, keep).map_err(|untaken| {
        let id = format!("{}/{}", asked.environment, asked.keyset);
        refused(&id, &name, peer, &untaken)
    })
}

/// A generation that was given out here.
fn lawful(cell: &Cell, generation: Generation) -> Result<(), Refusal> {
    let latest = cell.served().map_or(Generation(0), |served| served.document.generation);
    if generation.0 > 0 && generation <= latest {
        return Ok(());
    }
    let what = format!("generation {generation} was not given out here; the latest is {latest}");
    Err(Refusal::new(StatusCode::CONFLICT, what, "report the `generation` of the document that is in use; another replica may be ahead"))
}

fn refused(keyset: &str, name: &SignerName, peer: Peer, untaken: &Untaken) -> Refusal {
    let what = format!("uid {} cannot report as {name} on keyset {keyset}: {untaken}", peer.uid);
    match untaken {
        Untaken::Foreign { .. } => {
            let hint = "choose another name; this one comes free when it has been silent for `signer_refresh`";
            Refusal::new(StatusCode::FORBIDDEN, what, hint)
        }
        Untaken::Full { .. } => {
            let hint = "report under one name per process; names come free when they have been silent for the retention";
            Refusal { retry_after: Some(60), ..Refusal::new(StatusCode::TOO_MANY_REQUESTS, what, hint) }
        }
    }
}
