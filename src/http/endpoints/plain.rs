//! `POST /<environment>/<keyset>/token`: a token for a subject, in the keyset's own profile. Asked for in JSON, or as OAuth clients ask
//! for one with their own credentials (RFC 6749 §4.4), and answered as they expect it (§5.1).

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use super::super::secret_body::secret_json;
use super::callers::{Admitted, Credential};
use super::fields::Fields;
use super::proofs::Proven;
use super::refresh::{Given, refreshed};
use super::refused::Refused;
use super::{Asked, Room};
use crate::policy::ProfileName;
use crate::status_report::verbs::Material;
use crate::time::{Span, Timestamp};
use crate::tokens::mint::{MintRequest, Minted};

const FIELDS: &str = "sub, ttl or expires_in, claims, scope, grant_type, client_id and client_secret";

#[derive(Serialize)]
pub(super) struct Granted {
    access_token: Material,
    token_type: &'static str,
    /// In seconds.
    expires_in: u64,
    expires_at: Timestamp,
    kid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<Material>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_expires_at: Option<Timestamp>,
}

impl Granted {
    /// The answer of somebody who was given these.
    pub fn answer(minted: Minted, refresh: Option<Given>, proven: Proven, now: Timestamp) -> Response {
        let expires_in = minted.expires_at.since(now).whole_seconds();
        let (expires_at, kid) = (minted.expires_at, minted.kid.as_str().to_owned());
        let (refresh_token, refresh_expires_at) = refresh.map(|given| (Material(given.token), given.expires_at)).unzip();
        let (access_token, token_type) = (Material(minted.token.into()), proven.token_type());
        proven.with(secret_json(&Self { access_token, token_type, expires_in, expires_at, kid, refresh_token, refresh_expires_at }))
    }
}

pub(super) async fn token(State(room): State<Room>, asked: Asked, body: Body) -> Response {
    let answer = granted(&room, &asked, body).await;
    room.counted(|http| &http.token, answer)
}

async fn granted(room: &Room, asked: &Asked, body: Body) -> Result<Response, Refused> {
    room.origin()?;
    let mut fields = Fields::read(&asked.headers, body).await?;
    let credential = Credential::of(&asked.headers, &mut fields)?;
    let admitted = room.admit(&asked.names, &credential).await?;
    match fields.text("grant_type")?.as_deref() {
        None | Some("client_credentials") => {}
        Some("refresh_token") => return refreshed(room, asked, &admitted, fields).await,
        Some(other) => return Err(unsupported(other)),
    }
    let request = request(fields, &admitted)?;
    let proven = room.proven(asked)?;
    let request = MintRequest { bound_to: proven.bound_to(), ..request };
    let minted = room.mint(&admitted, request.clone()).await?;
    let refresh = room.refresh_token(&admitted, &request)?;
    Ok(Granted::answer(minted, refresh, proven, room.now()))
}

/// There is no such grant here.
pub(super) fn unsupported(grant: &str) -> Refused {
    let shown: String = grant.chars().take(40).collect();
    let hint = "client_credentials, or none; and refresh_token where `token.refresh` is in the policy";
    Refused { error: "unsupported_grant_type", ..Refused::malformed(format!("there is no grant `{shown}` here"), hint) }
}

/// How long the token is to live, said in one way or the other.
pub(super) fn life(fields: &mut Fields) -> Result<Option<Span>, Refused> {
    let (ttl, expires_in) = (fields.life("ttl")?, fields.life("expires_in")?);
    if ttl.is_some() && expires_in.is_some() {
        return Err(Refused::malformed("`ttl` and `expires_in` say the same", "give one of them"));
    }
    Ok(ttl.or(expires_in))
}

fn request(mut fields: Fields, admitted: &Admitted) -> Result<MintRequest, Refused> {
    let ttl = life(&mut fields)?;
    let (subject, scope) = (fields.text("sub")?, fields.text("scope")?);
    let mut claims = fields.object("claims")?;
    fields.finish(FIELDS)?;
    if let Some(scope) = scope
        && claims.insert("scope".to_owned(), Value::String(scope)).is_some()
    {
        return Err(Refused::malformed("`scope` stands in the request and among its claims", "give it once"));
    }
    // An access token names the client that it was given to (RFC 9068 §2.2): whoever was let in, unless something else is said.
    let named = |claim: &str| claims.contains_key(claim) || admitted.token.claims.contains_key(claim);
    if admitted.token.profile.name() == ProfileName::AtJwt && !named("client_id") {
        claims.insert("client_id".to_owned(), Value::String(admitted.caller.to_string()));
    }
    Ok(MintRequest { subject, ttl, claims, bound_to: None })
}
