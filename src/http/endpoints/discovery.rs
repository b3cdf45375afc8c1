//! Discovery: where standard clients find the key set and the endpoints (`OpenID` Connect Discovery 1.0 §3, RFC 8414 §2), for keysets of
//! key pairs. Addresses are those of the configured public origin.
//!
//! `issuer` is what tokens say. Strict clients take a document only if that is the address below which they asked for it, so whoever wants
//! them writes `issuer: <origin>/<environment>/<keyset>` in the policy.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::json;

use super::super::{JSON, Refusal};
use super::{Asked, Room};
use crate::policy::ProfileName;
use crate::tokens::dpop::proof::ALGORITHMS;

pub(super) async fn discovery(State(room): State<Room>, asked: Asked) -> Response {
    let answer = described(&room, &asked).unwrap_or_else(IntoResponse::into_response);
    room.service.desk.metrics.http.discovery.count(answer.status());
    answer
}

fn described(room: &Room, asked: &Asked) -> Result<Response, Refusal> {
    let hint = "discovery is for keysets of key pairs that have a key, where the daemon knows its public origin";
    let unknown = || Refusal::new(http::StatusCode::NOT_FOUND, "there is no metadata at this path", hint);
    let origin = room.reach.as_ref().as_ref().map_err(|_| unknown())?;
    let (environment, keyset) = &asked.names;
    let board = room.service.desk.board.environment(environment).ok_or_else(unknown)?;
    if !board.loaded.initialized() {
        return Err(Refusal::not_loaded(environment));
    }
    let cell = board.keyset(keyset).ok_or_else(unknown)?;
    let served = cell.served().filter(|served| served.jwks.is_some()).ok_or_else(unknown)?;
    let mannered = cell.manner();
    let token = mannered.manner.token.as_deref();
    let base = format!("{origin}/{environment}/{keyset}");
    let issuer = token.and_then(|token| token.issuer.clone()).unwrap_or_else(|| base.clone());
    let mut algorithms: Vec<_> = served.document.jwks().keys.iter().map(|jwk| jwk.alg.as_str()).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    let mut metadata = json!({
        "issuer": issuer,
        "jwks_uri": format!("{base}/.well-known/jwks.json"),
        // There is no authorization endpoint, and both standards want the member.
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
    });
    if let Some(token) = token.filter(|token| token.serving.is_some()) {
        metadata["token_endpoint"] = json!(format!("{base}/token"));
        metadata["introspection_endpoint"] = json!(format!("{base}/introspect"));
        let refresh = token.refresh.as_ref().map(|_| "refresh_token");
        metadata["grant_types_supported"] = ["client_credentials"].into_iter().chain(refresh).collect();
        for endpoint in ["token", "introspection"] {
            metadata[format!("{endpoint}_endpoint_auth_methods_supported")] = json!(["client_secret_basic", "client_secret_post"]);
        }
        if token.profile.name() != ProfileName::Algolia {
            metadata["dpop_signing_alg_values_supported"] = json!(ALGORITHMS.map(crate::key::Algorithm::as_str));
        }
    }
    Ok(([(CONTENT_TYPE, JSON), (CACHE_CONTROL, mannered.cache_control.clone())], metadata.to_string()).into_response())
}
