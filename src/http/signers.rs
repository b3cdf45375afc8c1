//! Documents for signers, on `signer.sock`: `GET /v1/keysets/<environment>/<keyset>`.
//!
//! The one place where secrets leave. Anybody may connect; the peer's uid and groups are held against what the keyset's policy says,
//! when a request arrives and again before an answer that was waited for. Who is not named there learns nothing, not even whether
//! the keyset exists.
//!
//! `?generation=N` asks for a document above that generation and `&wait=60s` waits for one: so a signer hears of a change-over at
//! once, and a wait that is over answers 304. Under `…/signers/<name>` it may report which generation it uses.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Extension, Router};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use tokio::sync::Semaphore;

use super::peers::{Denied, Peer, Users};
use super::serve::Stop;
use super::{Desk, JSON, NO_STORE, Refusal, entity_tag, nothing_here, query, secret_body, tokens, uptake};
use crate::board::{Cell, EnvironmentBoard, Served};
use crate::digest::Digest;
use crate::name::{EnvironmentName, KeysetName};
use crate::time::Span;

/// The longest that a request may wait.
pub const LONGEST_WAIT: Span = Span::minutes(5);

/// The most requests that wait at once: fewer than there are connections, so that others are still answered.
pub const MOST_WAITING: usize = 192;

/// Who may come in besides root, and when to send those away that wait.
#[derive(Clone)]
pub struct Door {
    /// The daemon's own uid.
    pub own_uid: u32,
    /// The user database.
    pub users: Arc<dyn Users>,
    /// Ends every wait.
    pub stop: Stop,
}

#[derive(Clone)]
pub(super) struct Room {
    pub(super) desk: Desk,
    pub(super) door: Door,
    waiting: Arc<Semaphore>,
}

/// The routes to documents and for reports. Each request must bear an [`axum::Extension`] of [`Peer`].
pub fn signers(desk: Desk, door: Door) -> Router {
    let tokens = tokens::routes(desk.clone(), door.clone(), tokens::Verifying::WhoeverMayRead);
    let room = Room { desk, door, waiting: Arc::new(Semaphore::new(MOST_WAITING)) };
    Router::new()
        .merge(tokens)
        .route("/v1/keysets/{environment}/{keyset}", get(document).fallback(get_only))
        .route("/v1/keysets/{environment}/{keyset}/signers/{name}", put(uptake::report).fallback(uptake::put_only))
        .fallback(nothing_here)
        .with_state(room)
}

async fn get_only() -> Refusal {
    Refusal::method("GET, HEAD")
}

/// What is asked for.
pub(super) struct Asked {
    pub(super) environment: EnvironmentName,
    pub(super) keyset: KeysetName,
    above: Option<u64>,
    wait: Option<Span>,
    peer: Peer,
}

async fn document(
    State(room): State<Room>,
    Extension(peer): Extension<Peer>,
    Path((environment, keyset)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let handler = &room.desk.metrics.http.document;
    let answer = match room.asked(peer, &environment, &keyset, &uri) {
        Ok(asked) => room.answer(&asked, &headers).await,
        Err(refusal) => Err(refusal),
    };
    let response = answer.unwrap_or_else(Refusal::into_response);
    handler.count(response.status());
    response
}

impl Asked {
    /// A keyset, and who asks about it.
    pub(super) fn about(peer: Peer, environment: &str, keyset: &str) -> Result<Self, Refusal> {
        let named = |error: crate::name::NameError| {
            Refusal::new(StatusCode::NOT_FOUND, error.to_string(), "ask for /v1/keysets/<environment>/<keyset>")
        };
        let (environment, keyset) = (environment.parse().map_err(named)?, keyset.parse().map_err(named)?);
        Ok(Self { environment, keyset, above: None, wait: None, peer })
    }
}

impl Room {
    #[allow(clippy::unused_self)] // reads better beside answer
    pub(super) fn asked(&self, peer: Peer, environment: &str, keyset: &str, uri: &Uri) -> Result<Asked, Refusal> {
        let found = query::read(uri, &["wait", "generation"])?;
        let asked = Asked {
            above: query::number(&found, "generation")?,
            wait: query::span(&found, "wait")?.map(|wait| wait.min(LONGEST_WAIT)),
            ..Asked::about(peer, environment, keyset)?
        };
        if asked.wait.is_some() && asked.above.is_none() {
            let hint = "say above which generation: ?wait=60s&generation=N";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "parameter `wait` without `generation`", hint));
        }
        Ok(asked)
    }

    async fn answer(&self, asked: &Asked, headers: &HeaderMap) -> Result<Response, Refusal> {
        let (environment, cell) = self.admit(asked).await?;
        self.fresh(&environment)?;
        if let Some(wait) = asked.wait {
            if !newer(&cell, asked.above) {
                self.wait(&cell, asked.above, wait).await?;
            }
            // While it waited, the policy may have changed, and the store may have gone away.
            let (environment, _) = self.admit(asked).await?;
            self.fresh(&environment)?;
        }
        let served = cell.served().ok_or_else(|| keyless(asked))?;
        Ok(given(&served, asked.above, headers))
    }

    /// The keyset, if this peer may read it.
    pub(super) async fn admit(&self, asked: &Asked) -> Result<(Arc<EnvironmentBoard>, Arc<Cell>), Refusal> {
        admit(&self.desk, &self.door, asked).await
    }

    fn fresh(&self, environment: &EnvironmentBoard) -> Result<(), Refusal> {
        let fresh = environment.freshness.is_fresh((self.desk.clock)());
        if fresh { Ok(()) } else { Err(Refusal::not_fresh(environment.name.as_str())) }
    }

    /// Waits until there is something newer, or the wait is over; both are fine.
    async fn wait(&self, cell: &Cell, above: Option<u64>, wait: Span) -> Result<(), Refusal> {
        let unavailable = |error: &str, seconds| {
            let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error, "ask again without `wait`, or later");
            Refusal { retry_after: Some(seconds), ..refusal }
        };
        let Ok(_place) = self.waiting.try_acquire() else {
            return Err(unavailable("as many requests wait as there is room for", 5));
        };
        let newer_comes = async {
            loop {
                let mut changed = std::pin::pin!(cell.changed());
                // From here on a change is noticed: looking first and listening later would miss one in between.
                changed.as_mut().enable();
                if newer(cell, above) {
                    return;
                }
                changed.await;
            }
        };
        let mut stop = self.door.stop.clone();
        tokio::select! {
            () = newer_comes => Ok(()),
            () = tokio::time::sleep(wait.to_std()) => Ok(()),
            _ = stop.wait_for(|stop| *stop) => Err(unavailable("this process is stopping", 1)),
        }
    }
}

/// The keyset, if this peer may read it.
pub(super) async fn admit(desk: &Desk, door: &Door, asked: &Asked) -> Result<(Arc<EnvironmentBoard>, Arc<Cell>), Refusal> {
    let environment = desk.board.environment(asked.environment.as_str());
    let found = environment.and_then(|e| e.keyset(asked.keyset.as_str()).map(|cell| (e, cell)));
    let Door { own_uid, users, .. } = door.clone();
    if asked.peer.is_ours(own_uid) {
        return found.ok_or_else(|| no_such(asked));
    }
    let manner = found.as_ref().map(|(_, cell)| cell.manner());
    let peer = asked.peer;
    // An unknown keyset takes the same way, so that it cannot be told from one that is not allowed.
    let admitted = move || peer.admitted(own_uid, manner.as_ref().map_or(&[], |m| &m.manner.signers), &*users);
    match (tokio::task::spawn_blocking(admitted).await, found) {
        (Ok(Ok(())), Some(found)) => Ok(found),
        (Ok(Err(denied)), _) => Err(forbidden(asked, &denied)),
        _ => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the user database could not be asked", "ask again")),
    }
}

/// Whether a document above that generation is given out.
fn newer(cell: &Cell, above: Option<u64>) -> bool {
    cell.served().is_some_and(|served| above.is_none_or(|above| served.document.generation.0 > above))
}

/// The document, or 304 if the signer has it already.
fn given(served: &Served, above: Option<u64>, headers: &HeaderMap) -> Response {
    let generation = served.document.generation;
    let stored = served.document.to_stored();
    let digest = Digest::of(stored.expose()).to_string();
    let etag = format!("\"{generation}-{}\"", digest.get(..16).unwrap_or(&digest));
    let held = entity_tag::matches(headers, etag.as_bytes()) || above.is_some_and(|above| generation.0 <= above);
    let etag = HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("\"\""));
    let common = [(ETAG, etag), (CACHE_CONTROL, NO_STORE)];
    if held {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, [(CONTENT_TYPE, JSON)], secret_body::secret_body(stored)).into_response()
}

fn forbidden(asked: &Asked, denied: &Denied) -> Refusal {
    let Asked { environment, keyset, .. } = asked;
    let error = format!("{} may not read keyset {environment}/{keyset}, or there is none of that name", denied.who);
    let hint = match &denied.user {
        _ if denied.foreign => "this uid stands for every user of another user namespace; run keyrota without PrivateUsers=yes".to_owned(),
        Some(user) => format!("in policies/{environment}.yaml, say `signers: [{{user: {user}}}]` at keyset {keyset}, or name its group"),
        None => format!("uid {} has no name here; run the signer as a named user, and name it at `signers:`", asked.peer.uid),
    };
    Refusal::new(StatusCode::FORBIDDEN, error, hint)
}

pub(super) fn no_such(asked: &Asked) -> Refusal {
    let error = format!("there is no keyset {}/{}", asked.environment, asked.keyset);
    Refusal::new(StatusCode::NOT_FOUND, error, "`keyrota status` lists the keysets")
}

pub(super) fn keyless(asked: &Asked) -> Refusal {
    let error = format!("keyset {}/{} has no key yet", asked.environment, asked.keyset);
    Refusal::new(StatusCode::NOT_FOUND, error, "`keyrota status` says what it waits for; ?generation=0&wait=60s waits for it")
}
