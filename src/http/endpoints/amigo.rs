//! `POST …/v1/{organization}/user/signin_with_api_key`: what Amigo's clients exchange their API key at. The body is empty; who asks, and
//! for whom, stands in headers: `x-api-key`, `x-api-key-id` (the kid) and `x-user-id`. With a proof, the token is bound to its key.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::super::secret_body::secret_json;
use super::callers::Credential;
use super::fields::Fields;
use super::refused::Refused;
use super::{Asked, Room};
use crate::policy::ProfileName;
use crate::status_report::verbs::Material;
use crate::time::Timestamp;
use crate::tokens::mint::MintRequest;

#[derive(Serialize)]
struct SignedIn {
    id_token: Material,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
}

pub(super) async fn sign_in(State(room): State<Room>, asked: Asked) -> Response {
    let answer = signed_in(&room, &asked).await;
    room.counted(|http| &http.token, answer)
}

async fn signed_in(room: &Room, asked: &Asked) -> Result<Response, Refused> {
    room.origin()?;
    let credential = Credential::of(&asked.headers, &mut Fields::default())?;
    let admitted = room.admit(&asked.names, &credential).await?;
    admitted.is_of(ProfileName::Amigo)?;
    let said = |name: &str| asked.headers.get(name).and_then(|value| value.to_str().ok());
    if said("x-api-key-id").is_some_and(|id| id != admitted.kid().as_str()) {
        return Err(Refused::credential());
    }
    let user = said("x-user-id").ok_or_else(|| Refused::malformed("`x-user-id` is missing", "name the user in that header"))?;
    let proven = room.proven(asked)?;
    let request = MintRequest { subject: Some(user.to_owned()), bound_to: proven.bound_to(), ..MintRequest::default() };
    let minted = room.mint(&admitted, request).await?;
    let token_type = proven.key.map(|_| "DPoP");
    Ok(proven.with(secret_json(&SignedIn { expires_at: minted.expires_at, id_token: Material(minted.token.into()), token_type })))
}
