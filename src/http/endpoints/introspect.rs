//! `POST /<environment>/<keyset>/introspect` (RFC 7662): the strict verdict on a token, for services without a JOSE library.
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
use super::callers::Credential;
use super::fields::Fields;
use super::refused::Refused;
use super::{Asked, Room};
use crate::tokens::dpop::binding::{self, Presented};

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
    // A hint that nothing here needs.
    fields.text("token_type_hint")?;
    let presented = match fields.text("presented")?.as_deref() {
        None | Some("Bearer") => Presented::Bearer,
        Some("DPoP") => Presented::DPoP,
        Some(_) => return Err(Refused::malformed("`presented` is neither Bearer nor DPoP", "the scheme of the Authorization header")),
    };
    fields.finish("token, token_type_hint, presented, client_id and client_secret")?;
    let verdict = admitted.cell.tokens().map(|tokens| tokens.verifier.verify(&token, room.now()));
    let body = match verdict {
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
    Ok(([(CONTENT_TYPE, JSON), (CACHE_CONTROL, NO_STORE)], body.to_string()).into_response())
}

fn inactive(code: &str, reason: &str) -> Value {
    json!({ "active": false, "code": code, "reason": reason })
}
