//! Tokens on the sockets: `POST /v1/keysets/<environment>/<keyset>/token` mints one, `…/verify` says what is wrong with one.
//!
//! Who may read a keyset's document may mint with it: root, the daemon's own user, and whom `signers:` names; on the control socket
//! too, since whoever mints can be anybody. Operators may verify there. Neither is done by a process that may be behind its store.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use http::StatusCode;
use http::header::CACHE_CONTROL;

use super::peers::Peer;
use super::signers::{self, Asked, Door};
use super::{Desk, NO_STORE, Refusal, secret_body, verbs};
use crate::board::tokens::Tokens;
use crate::board::{Cell, EnvironmentBoard};
use crate::policy::TokenPolicy;
use crate::status_report::tokens::{MintAsked, MintTold, VerifyAsked, VerifyReport};
use crate::status_report::verbs::Material;
use crate::tokens::mint::{MintError, MintRequest, Minted};
use crate::tokens::second_opinion;

/// Who may have tokens verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verifying {
    /// Whoever was let in.
    Anybody,
    /// Who may read the document.
    WhoeverMayRead,
}

#[derive(Clone)]
struct Room {
    desk: Desk,
    door: Door,
    verifying: Verifying,
}

/// The two routes. Each request must bear an [`axum::Extension`] of [`Peer`].
pub(super) fn routes<S: Clone + Send + Sync + 'static>(desk: Desk, door: Door, verifying: Verifying) -> Router<S> {
    Router::new()
        .route("/v1/keysets/{environment}/{keyset}/token", post(mint).fallback(post_only))
        .route("/v1/keysets/{environment}/{keyset}/verify", post(verify).fallback(post_only))
        .with_state(Room { desk, door, verifying })
}

async fn post_only() -> Refusal {
    Refusal::method("POST")
}

type Names = Path<(String, String)>;

async fn mint(State(room): State<Room>, Extension(peer): Extension<Peer>, Path(names): Names, body: Body) -> Response {
    let response = room.minted(peer, &names, body).await.unwrap_or_else(Refusal::into_response);
    room.desk.metrics.http.token.count(response.status());
    response
}

async fn verify(State(room): State<Room>, Extension(peer): Extension<Peer>, Path(names): Names, body: Body) -> Response {
    let response = room.verified(peer, &names, body).await.unwrap_or_else(Refusal::into_response);
    room.desk.metrics.http.verify.count(response.status());
    response
}

impl Room {
    async fn minted(&self, peer: Peer, (environment, keyset): &(String, String), body: Body) -> Result<Response, Refusal> {
        let asked = Asked::about(peer, environment, keyset)?;
        let (environment, cell) = signers::admit(&self.desk, &self.door, &asked).await?;
        let request: MintAsked = verbs::read(body).await?;
        self.fresh(&environment)?;
        let tokens = cell.tokens().ok_or_else(|| signers::keyless(&asked))?;
        let minted = self.mint(&tokens, request).map_err(|error| refused(&error))?;
        Ok(told(minted, cell.manner().manner.token.as_deref()))
    }

    fn mint(&self, tokens: &Tokens, request: MintAsked) -> Result<Minted, MintError> {
        let minter = tokens.minter.as_ref().map_err(Clone::clone)?;
        let request = MintRequest { subject: request.sub, ttl: request.ttl, claims: request.claims, bound_to: None };
        minter.mint(&request, (self.desk.clock)().wall)
    }

    async fn verified(&self, peer: Peer, (environment, keyset): &(String, String), body: Body) -> Result<Response, Refusal> {
        let asked = Asked::about(peer, environment, keyset)?;
        let (environment, cell) = match self.verifying {
            Verifying::WhoeverMayRead => signers::admit(&self.desk, &self.door, &asked).await?,
            Verifying::Anybody => self.find(&asked)?,
        };
        let VerifyAsked { token: Material(token) } = verbs::read(body).await?;
        self.fresh(&environment)?;
        let tokens = cell.tokens().ok_or_else(|| signers::keyless(&asked))?;
        let now = (self.desk.clock)().wall;
        let verdict = tokens.verifier.verify(token.expose(), now);
        let report = VerifyReport::of(&verdict, second_opinion::of(&tokens.verifier, token.expose()), now);
        Ok(([(CACHE_CONTROL, NO_STORE)], axum::Json(report)).into_response())
    }

    fn find(&self, asked: &Asked) -> Result<(Arc<EnvironmentBoard>, Arc<Cell>), Refusal> {
        let environment = self.desk.board.environment(asked.environment.as_str());
        environment.and_then(|e| e.keyset(asked.keyset.as_str()).map(|cell| (e, cell))).ok_or_else(|| signers::no_such(asked))
    }

    fn fresh(&self, environment: &EnvironmentBoard) -> Result<(), Refusal> {
        let fresh = environment.freshness.is_fresh((self.desk.clock)());
        if fresh { Ok(()) } else { Err(Refusal::not_fresh(environment.name.as_str())) }
    }
}

fn told(minted: Minted, policy: Option<&TokenPolicy>) -> Response {
    let header = policy.map_or("Authorization: Bearer ", |policy| policy.profile.name().header()).to_owned();
    let (kid, expires_at) = (minted.kid.as_str().to_owned(), minted.expires_at);
    secret_body::secret_json(&MintTold { token: Material(minted.token.into()), header, kid, expires_at })
}

fn refused(error: &MintError) -> Refusal {
    let status = match error {
        MintError::NoKey(_) => StatusCode::SERVICE_UNAVAILABLE,
        error if error.is_the_callers() => StatusCode::UNPROCESSABLE_ENTITY,
        MintError::Key(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::CONFLICT,
    };
    let said = error.to_string();
    let (what, hint) = said.split_once("; hint: ").unwrap_or((&said, ""));
    Refusal::new(status, what, hint)
}
