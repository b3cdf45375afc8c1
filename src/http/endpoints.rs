//! Tokens over the network, on `--listen` below `/<environment>/<keyset>`: for backends on other machines, who present an API key.
//!
//! Only keysets whose policy says `token.serve` are here, and only where nobody on the way can read what travels
//! ([`may_serve_tokens`](super::reach::may_serve_tokens)). One table, `ROUTES`, makes the router and the `OpenAPI` document.
//!
//! Invariant: whoever is not let in learns nothing of keysets, users or keys: one answer for all. Nobody is let in, and nothing minted,
//! by a process that may be behind its store. No request changes anything that is kept, so each is safe to repeat.

mod amigo;
mod callers;
mod discovery;
mod fields;
mod hyperspell;
mod introspect;
mod openapi;
mod pace;
mod plain;
mod proofs;
mod refresh;
mod refused;

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::{HeaderMap, Method};
use tokio::sync::Semaphore;

use super::reach::Exposed;
use super::verifiers::FIRST_LOOK;
use super::{Desk, Refusal};
use crate::keygen::KeygenError;
use crate::metrics::http::{Handler, Http};
use crate::time::Span;
use crate::tokens::dpop::Guard;
use crate::tokens::mint::{MintError, MintRequest, Minted};
use crate::url::PublicOrigin;
use callers::Admitted;
use pace::Pace;
use refused::Refused;

pub use openapi::document as openapi;

/// The most proofs of possession that are remembered at a time: those of a minute or two, some hundred bytes each.
const MOST_PROOFS: usize = 200_000;

/// What the listeners of one process share.
pub struct TokenService {
    desk: Desk,
    guard: Guard,
    pace: Pace,
    /// As many signatures at once as there are cores, so that others are answered meanwhile.
    turns: Semaphore,
    /// On the boot clock: until when requests wait for what is being loaded.
    patient_until: Span,
}

/// A listener's view of it.
#[derive(Clone)]
struct Room {
    service: Arc<TokenService>,
    reach: Arc<Result<PublicOrigin, Exposed>>,
}

/// Environment and keyset of a path.
type Names = (String, String);

/// One request, but for its body.
struct Asked {
    method: Method,
    path: String,
    headers: HeaderMap,
    names: Names,
}

impl TokenService {
    /// The service over the desk's board, with nonces of its own.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new(desk: Desk) -> Result<Arc<Self>, KeygenError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let patient_until = (desk.clock)().boot + FIRST_LOOK;
        let guard = Guard::of_this_process(MOST_PROOFS)?;
        Ok(Arc::new(Self { desk, guard, pace: Pace::default(), turns: Semaphore::new(cores), patient_until }))
    }

    /// The routes of a listener that clients reach so.
    pub fn routes(self: &Arc<Self>, reach: Result<PublicOrigin, Exposed>) -> Router {
        let room = Room { service: Arc::clone(self), reach: Arc::new(reach) };
        let routed = ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, (route.serve)()));
        routed.with_state(room)
    }
}

/// Something that can be asked for.
struct Route {
    /// Its path, as axum and `OpenAPI` both write it.
    path: &'static str,
    /// `get` or `post`.
    method: &'static str,
    /// What it is, in a sentence.
    summary: &'static str,
    /// What is sent and what comes back.
    shape: openapi::Shape,
    serve: fn() -> MethodRouter<Room>,
}

const ROUTES: [Route; 9] = [
    Route {
        path: "/{environment}/{keyset}/token",
        method: "post",
        summary: "Mints a token.",
        shape: openapi::Shape::Token,
        serve: || post(plain::token).fallback(post_only),
    },
    Route {
        path: "/{environment}/{keyset}/introspect",
        method: "post",
        summary: "Says whether a token is to be accepted, and why not (RFC 7662).",
        shape: openapi::Shape::Introspection,
        serve: || post(introspect::introspect).fallback(post_only),
    },
    Route {
        path: "/{environment}/{keyset}/.well-known/openid-configuration",
        method: "get",
        summary: "Where the key set and the endpoints are (OpenID Connect Discovery).",
        shape: openapi::Shape::Discovery,
        serve: || get(discovery::discovery).fallback(get_only),
    },
    Route {
        path: "/{environment}/{keyset}/.well-known/oauth-authorization-server",
        method: "get",
        summary: "The same, for OAuth clients that append the well-known part.",
        shape: openapi::Shape::Discovery,
        serve: || get(discovery::discovery).fallback(get_only),
    },
    Route {
        path: "/.well-known/oauth-authorization-server/{environment}/{keyset}",
        method: "get",
        summary: "The same, for OAuth clients that insert it after the host (RFC 8414 §3.1).",
        shape: openapi::Shape::Discovery,
        serve: || get(discovery::discovery).fallback(get_only),
    },
    Route {
        path: "/{environment}/{keyset}/v1/{organization}/user/signin_with_api_key",
        method: "post",
        summary: "Exchanges an API key for a token, as Amigo's clients ask for it. For keysets of profile amigo.",
        shape: openapi::Shape::Amigo,
        serve: || post(amigo::sign_in).fallback(post_only),
    },
    Route {
        path: "/{environment}/{keyset}/auth/user_token",
        method: "post",
        summary: "Mints a user token, as Hyperspell's clients ask for it. For keysets of profile hyperspell.",
        shape: openapi::Shape::Hyperspell,
        serve: || post(hyperspell::user_token).fallback(post_only),
    },
    Route {
        path: "/{environment}/{keyset}/auth/me",
        method: "get",
        summary: "Who presents a user token, or an API key with `X-As-User`. For keysets of profile hyperspell.",
        shape: openapi::Shape::Me,
        serve: || get(hyperspell::me).fallback(get_only),
    },
    Route {
        path: "/openapi.json",
        method: "get",
        summary: "This document.",
        shape: openapi::Shape::OpenApi,
        serve: || get(openapi::openapi).fallback(get_only),
    },
];

async fn post_only() -> Refusal {
    Refusal::method("POST")
}

async fn get_only() -> Refusal {
    Refusal::method("GET, HEAD")
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Asked {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, Refused> {
        let wrong = || Refused::malformed("the path is not understood", "/<environment>/<keyset>/…");
        let path = parts.uri.path().to_owned();
        let Path(all) = Path::<std::collections::BTreeMap<String, String>>::from_request_parts(parts, state).await.map_err(|_| wrong())?;
        let name = |of: &str| all.get(of).cloned().ok_or_else(wrong);
        let names = (name("environment")?, name("keyset")?);
        Ok(Self { method: parts.method.clone(), path, headers: parts.headers.clone(), names })
    }
}

impl Room {
    /// A token for whoever was let in.
    async fn mint(&self, admitted: &Admitted, request: MintRequest) -> Result<Minted, Refused> {
        if !admitted.may_ask_for(request.subject.as_deref()) {
            return Err(Refused::subject());
        }
        let tokens = admitted.cell.tokens().ok_or_else(|| Refused::minting(&MintError::NoKey(admitted.id.clone())))?;
        let slow = tokens.minter.as_ref().map_err(Refused::minting)?.algorithm().is_rsa();
        let now = self.now();
        let sign = move || tokens.minter.as_ref().map_err(Clone::clone).and_then(|minter| minter.mint(&request, now));
        let minted = if slow {
            let _turn = self.service.turns.acquire().await;
            tokio::task::spawn_blocking(sign).await.map_err(|_| Refused::broken())?
        } else {
            sign()
        };
        minted.map_err(|error| Refused::minting(&error))
    }

    fn now(&self) -> crate::time::Timestamp {
        (self.service.desk.clock)().wall
    }

    /// The answer, counted.
    fn counted(&self, handler: impl FnOnce(&Http) -> &Handler, answer: Result<Response, Refused>) -> Response {
        let response = answer.unwrap_or_else(IntoResponse::into_response);
        handler(&self.service.desk.metrics.http).count(response.status());
        response
    }
}
