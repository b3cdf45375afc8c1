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
use super::refused::Refused;
use super::{Asked, Room};
use crate::policy::ProfileName;
use crate::status_report::verbs::Material;
use crate::time::Timestamp;
use crate::tokens::mint::MintRequest;

const FIELDS: &str = "sub, ttl or expires_in, claims, scope, grant_type, client_id and client_secret";

#[derive(Serialize)]
struct Granted {
    access_token: Material,
    token_type: &'static str,
    /// In seconds.
    expires_in: u64,
    expires_at: Timestamp,
    kid: String,
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
    let request = request(fields, &admitted)?;
    let proven = room.proven(asked)?;
    let minted = room.mint(&admitted, MintRequest { bound_to: proven.bound_to(), ..request }).await?;
    let expires_in = minted.expires_at.since(room.now()).whole_seconds();
    let (expires_at, kid) = (minted.expires_at, minted.kid.as_str().to_owned());
    let granted = Granted { access_token: Material(minted.token), token_type: proven.token_type(), expires_in, expires_at, kid };
    Ok(proven.with(secret_json(&granted)))
}

fn request(mut fields: Fields, admitted: &Admitted) -> Result<MintRequest, Refused> {
    if let Some(other) = fields.text("grant_type")?.filter(|grant| grant != "client_credentials") {
        let shown: String = other.chars().take(40).collect();
        let refused = Refused::malformed(format!("there is no grant `{shown}` here"), "client_credentials, or none");
        return Err(Refused { error: "unsupported_grant_type", ..refused });
    }
    let (ttl, expires_in) = (fields.life("ttl")?, fields.life("expires_in")?);
    if ttl.is_some() && expires_in.is_some() {
        return Err(Refused::malformed("`ttl` and `expires_in` say the same", "give one of them"));
    }
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
    Ok(MintRequest { subject, ttl: ttl.or(expires_in), claims, bound_to: None })
}
