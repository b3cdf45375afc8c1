//! Hyperspell's shapes: `POST …/auth/user_token` mints a user token for an API key, `GET …/auth/me` says who presents one, or as whom an
//! API key acts (`X-As-User`). What is wrong with a request is said as their clients read it: 422 with `detail`.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ORIGIN};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::secret_body::secret_json;
use super::super::{JSON, NO_STORE};
use super::callers::{Credential, Served};
use super::fields::Fields;
use super::refused::Refused;
use super::{Asked, Room};
use crate::policy::ProfileName;
use crate::status_report::verbs::Material;
use crate::time::{Span, Timestamp};
use crate::tokens::dpop::binding::Presented;
use crate::tokens::mint::MintRequest;

#[derive(Serialize)]
struct UserToken {
    token: Material,
    expires_at: Timestamp,
}

pub(super) async fn user_token(State(room): State<Room>, asked: Asked, body: Body) -> Response {
    let answer = match minted(&room, &asked, body).await {
        Err(refused) if [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY].contains(&refused.status) => Ok(detailed(&refused)),
        answer => answer,
    };
    room.counted(|http| &http.token, answer)
}

async fn minted(room: &Room, asked: &Asked, body: Body) -> Result<Response, Refused> {
    room.origin()?;
    let mut fields = Fields::read(&asked.headers, body).await?;
    let credential = Credential::of(&asked.headers, &mut fields)?;
    let admitted = room.admit(&asked.names, &credential).await?;
    admitted.is_of(ProfileName::Hyperspell)?;
    let (subject, ttl) = (fields.text("user_id")?, fields.life("expires_in")?);
    let claims: Map<_, _> = fields.text("origin")?.map(|origin| ("origin".to_owned(), Value::String(origin))).into_iter().collect();
    fields.finish("user_id, expires_in and origin")?;
    let proven = room.proven(asked)?;
    let request = MintRequest { subject, ttl, claims, bound_to: proven.bound_to() };
    let minted = room.mint(&admitted, request).await?;
    Ok(proven.with(secret_json(&UserToken { expires_at: minted.expires_at, token: Material(minted.token.into()) })))
}

/// `{"detail": [{"loc", "msg", "type"}]}`.
fn detailed(refused: &Refused) -> Response {
    let field = match refused.code {
        "subject_missing" | "subject_malformed" => Some("user_id"),
        "ttl_too_long" | "ttl_too_short" => Some("expires_in"),
        "claim_malformed" | "claim_of_policy" => Some("origin"),
        _ => None,
    };
    let at: Vec<&str> = ["body"].into_iter().chain(field).collect();
    let body = json!({ "detail": [{ "loc": at, "msg": format!("{}; hint: {}", refused.says, refused.hint), "type": refused.code }] });
    let mut response =
        (StatusCode::UNPROCESSABLE_ENTITY, [(CONTENT_TYPE, JSON), (CACHE_CONTROL, NO_STORE)], body.to_string()).into_response();
    refused.headers(response.headers_mut());
    response
}

pub(super) async fn me(State(room): State<Room>, asked: Asked) -> Response {
    let answer = who(&room, &asked).await;
    room.counted(|http| &http.verify, answer)
}

async fn who(room: &Room, asked: &Asked) -> Result<Response, Refused> {
    room.origin()?;
    let by_token = presented(asked);
    let (user, expires_at, proven) = match by_token {
        Some((how, token)) if how == Presented::DPoP || token.matches('.').count() == 2 => {
            let served = room.served(&asked.names).await?;
            let (user, expires_at, claims) = accepted(room, &served, token)?;
            from_its_origin(asked, &claims)?;
            (user, Some(expires_at), room.presented(asked, token, how, &claims)?)
        }
        _ => {
            let credential = Credential::of(&asked.headers, &mut Fields::default())?;
            let admitted = room.admit(&asked.names, &credential).await?;
            admitted.is_of(ProfileName::Hyperspell)?;
            let user = asked.headers.get("x-as-user").and_then(|value| value.to_str().ok());
            let user = user.ok_or_else(|| Refused::malformed("an API key alone is nobody", "say as whom it acts: `X-As-User: ID`"))?;
            if !admitted.may_ask_for(Some(user)) {
                return Err(Refused::subject());
            }
            (user.to_owned(), None, super::proofs::Proven::default())
        }
    };
    let (_, keyset) = &asked.names;
    let body = json!({
        "id": user, "app": { "id": keyset, "name": keyset, "icon_url": null, "redirect_url": null },
        "available_integrations": [], "installed_integrations": [], "token_expiration": expires_at,
    });
    Ok(proven.with(([(CONTENT_TYPE, JSON), (CACHE_CONTROL, NO_STORE)], body.to_string()).into_response()))
}

/// The one token of the `Authorization` header.
fn presented(asked: &Asked) -> Option<(Presented, &str)> {
    let mut all = asked.headers.get_all(AUTHORIZATION).iter();
    let (Some(one), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = one.to_str().ok()?.split_once(' ')?;
    let schemes = [("bearer", Presented::Bearer), ("dpop", Presented::DPoP)];
    schemes.into_iter().find(|(name, _)| scheme.eq_ignore_ascii_case(name)).map(|(_, how)| (how, token.trim()))
}

type Accepted = (String, Timestamp, Map<String, Value>);

fn accepted(room: &Room, served: &Served, token: &str) -> Result<Accepted, Refused> {
    if served.token.profile.name() != ProfileName::Hyperspell {
        return Err(Refused::credential());
    }
    let tokens = served.cell.tokens().ok_or_else(Refused::credential)?;
    let verdict = tokens.verifier.verify(token, room.now());
    let refused = || verdict.rejection().map_or_else(Refused::credential, |why| Refused::token(why.code(), &why.to_string()));
    let claims = verdict.claims().ok_or_else(refused)?;
    let user = claims.get("sub").and_then(Value::as_str).ok_or_else(Refused::credential)?;
    let seconds = claims.get("exp").and_then(Value::as_u64).ok_or_else(Refused::credential)?;
    Ok((user.to_owned(), Timestamp::EPOCH + Span::seconds(seconds), claims))
}

/// A token with an origin is for requests from there alone.
fn from_its_origin(asked: &Asked, claims: &Map<String, Value>) -> Result<(), Refused> {
    let Some(must) = claims.get("origin") else { return Ok(()) };
    let said = asked.headers.get(ORIGIN).and_then(|value| value.to_str().ok());
    if said.is_some() && said == must.as_str() {
        return Ok(());
    }
    Err(Refused::token(
        "origin_mismatch",
        "the token is for requests from another origin; hint: send `Origin` as the token's `origin` has it",
    ))
}
