//! `POST /<environment>/<keyset>/introspect` (RFC 7662): the strict verdict on a token, for services without a JOSE library.
//!
//! Of a refresh token its own caller learns what it was given for. It is none that could be presented to a service, so whoever says how
//! it was presented is told that it is inactive.
//!
//! Of a token that is accepted, everything that it claims; of another, a code and a sentence. A token that is bound to a key is active
//! for those only who say that it was presented with a proof (`presented: DPoP`), and who then compare `cnf.jkt`: a service that
//! knows nothing of proofs never takes it for a bearer token.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::{JSON, NO_STORE};
use super::callers::{Admitted, Credential};
use super::fields::Fields;
use super::refused::Refused;
use super::{Asked, Room};
use crate::time::Timestamp;
use crate::tokens::dpop::binding::{self, Presented};
use crate::tokens::refresh;

pub(super) async fn introspect(State(room): State<Room>, asked: Asked, body: Body) -> Response {
    let answer = judged(&room, &asked, body).await;
    room.counted(|http| &http.verify, answer)
}

async fn judged(room: &Room, asked: &Asked, body: Body) -> Result<Response, Refused> {
    room.origin()?;
    let mut fields = Fields::read(&asked.headers, body).await?;
    let credential = Credential::of(&asked.headers, &mut fields)?;
    let admitted = room.admit(&asked.names, &credential).await?;
    let missing = || Refused::malformed("`token` is missing", "token=eyJ… (RFC 7662 §2.1)");
    let token = Zeroizing::new(fields.text("token")?.ok_or_else(missing)?);
    // A hint that nothing here needs: refresh tokens are known by their form.
    fields.text("token_type_hint")?;
    let presented = match fields.text("presented")?.as_deref() {
        None => None,
        Some("Bearer") => Some(Presented::Bearer),
        Some("DPoP") => Some(Presented::DPoP),
        Some(_) => return Err(Refused::malformed("`presented` is neither Bearer nor DPoP", "the scheme of the Authorization header")),
    };
    fields.finish("token, token_type_hint, presented, client_id and client_secret")?;
    if refresh::looks_like_one(&token) {
        return Ok(told(&of_refresh(room, &admitted, &token, presented)));
    }
    let presented = presented.unwrap_or(Presented::Bearer);
    let tokens = admitted.cell.tokens();
    let body = match tokens.as_ref().map(|tokens| tokens.verifier.verify(&token, room.now())) {
        None => inactive("kid_unknown", "the keyset has no key"),
        Some(verdict) => match (verdict.claims(), verdict.rejection()) {
            (Some(mut active), _) => match binding::required(presented, &active) {
                Ok(_) => {
                    let scheme = if presented == Presented::DPoP { "DPoP" } else { "Bearer" };
                    let own = [("active", json!(true)), ("token_type", json!(scheme)), ("kid", json!(verdict.kid))];
                    active.extend(own.map(|(name, value)| (name.to_owned(), value)));
                    Value::Object(active)
                }
                Err(refusal) => inactive(refusal.code(), &refusal.to_string()),
            },
            (None, Some(rejection)) => inactive(rejection.code(), &rejection.to_string()),
            (None, None) => inactive("signature", "the signature was not looked at"),
        },
    };
    Ok(told(&body))
}

fn told(body: &Value) -> Response {
    ([(CONTENT_TYPE, JSON), (CACHE_CONTROL, NO_STORE)], body.to_string()).into_response()
}

/// What a refresh token was given for.
fn of_refresh(room: &Room, admitted: &Admitted, token: &str, presented: Option<Presented>) -> Value {
    if presented.is_some() {
        return inactive("refresh_presented", "a refresh token is for the token endpoint alone; hint: present an access token");
    }
    match admitted.opened(token, room.now()) {
        Err(refusal) => inactive(refusal.code(), &refusal.to_string()),
        Ok(grant) => {
            let seconds = |at: Timestamp| at.as_millis().div_euclid(1000);
            let mut active = json!({
                "active": true, "token_type": "refresh_token", "client_id": grant.caller, "sub": grant.subject,
                "iat": seconds(grant.given_at), "exp": seconds(grant.expires_at),
            });
            if let Some(scope) = grant.claims.get("scope") {
                active["scope"] = scope.clone();
            }
            if let Some(key) = grant.bound_to {
                active["cnf"] = json!({ "jkt": key.to_string() });
            }
            active
        }
    }
}

fn inactive(code: &str, reason: &str) -> Value {
    json!({ "active": false, "code": code, "reason": reason })
}
