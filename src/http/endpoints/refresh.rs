//! `grant_type=refresh_token` (RFC 6749 §6): a new access token for what was granted once, to the caller that it was granted to, who
//! authenticates as for any other token. The refresh token stays the same until it expires: it is sealed and remembered by nobody, so a
//! second use of an old one could not be told from a repeated request.

use std::sync::Arc;

use axum::response::Response;
use serde_json::Value;
use zeroize::Zeroizing;

use super::callers::Admitted;
use super::fields::Fields;
use super::plain::{Granted, life, unsupported};
use super::proofs::Proven;
use super::refused::Refused;
use super::{Asked, Room};
use crate::document::Document;
use crate::policy::Refresh;
use crate::secret::SecretText;
use crate::time::{Span, Timestamp};
use crate::tokens::dpop::refusal::Refusal as ProofRefusal;
use crate::tokens::mint::MintRequest;
use crate::tokens::refresh::{self, Grant, Refusal};

const FIELDS: &str = "grant_type, refresh_token, scope, ttl or expires_in, client_id and client_secret";

/// A refresh token beside an access token.
pub(super) struct Given {
    pub token: SecretText,
    pub expires_at: Timestamp,
}

impl Admitted {
    /// What seals, and the longest that a refresh token may live: the least of what both policies and the document say, because keys are
    /// kept for no longer. `None` if the policy has no refresh tokens, or there is nothing yet that seals.
    fn sealing(&self, now: Timestamp) -> Option<(Arc<Document>, Span)> {
        let Refresh { ttl, sealed_by } = self.token.refresh.as_ref()?;
        let cell = self.environment.keyset(sealed_by.as_str())?;
        let document = Arc::clone(&cell.served()?.document);
        let longest = cell.manner().manner.token_ttl.min(document.facts.promised(now).token_ttl);
        Some((document, longest.min(*ttl)))
    }

    /// What a refresh token of this keyset and caller grants.
    ///
    /// # Errors
    /// It is not accepted.
    pub fn opened(&self, text: &str, now: Timestamp) -> Result<Grant, Refusal> {
        let (sealing, _) = self.sealing(now).ok_or(Refusal::Unknown)?;
        refresh::open(&sealing, &self.id, &self.caller, text, now)
    }
}

impl Room {
    /// A refresh token for what was just granted; `None` if the policy has none.
    ///
    /// # Errors
    /// Nothing seals, or it would be too long.
    pub fn refresh_token(&self, admitted: &Admitted, request: &MintRequest) -> Result<Option<Given>, Refused> {
        let Some(policy) = &admitted.token.refresh else { return Ok(None) };
        let now = self.now();
        let (sealing, life) = admitted.sealing(now).ok_or_else(|| Refused::nothing_seals(policy))?;
        let mut claims = request.claims.clone();
        // The name of one token is not that of the next.
        claims.remove("jti");
        let grant = Grant {
            caller: admitted.caller.clone(),
            subject: request.subject.clone().unwrap_or_default(),
            claims,
            bound_to: request.bound_to,
            given_at: now,
            expires_at: now + life,
        };
        let token = refresh::seal(&sealing, &admitted.id, &grant).map_err(|error| Refused::sealing(&error))?;
        Ok(Some(Given { token, expires_at: grant.expires_at }))
    }
}

/// A new access token for a refresh token.
pub(super) async fn refreshed(room: &Room, asked: &Asked, admitted: &Admitted, mut fields: Fields) -> Result<Response, Refused> {
    if admitted.token.refresh.is_none() {
        return Err(unsupported("refresh_token"));
    }
    let missing = || Refused::malformed("`refresh_token` is missing", "the one that came with the access token (RFC 6749 §6)");
    let text = Zeroizing::new(fields.text("refresh_token")?.ok_or_else(missing)?);
    let (ttl, scope) = (life(&mut fields)?, fields.text("scope")?);
    fields.finish(FIELDS)?;
    let Grant { subject, mut claims, bound_to, expires_at, .. } =
        admitted.opened(&text, room.now()).map_err(|refusal| Refused::refresh(&refusal))?;
    let proven = held(room.proven(asked)?, bound_to, room)?;
    if let Some(scope) = scope {
        if !is_within(&scope, claims.get("scope")) {
            return Err(Refused::wider_scope());
        }
        claims.insert("scope".to_owned(), Value::String(scope));
    }
    let request = MintRequest { subject: Some(subject), ttl, claims, bound_to: proven.bound_to() };
    let minted = room.mint(admitted, request).await?;
    let same = Given { token: SecretText::new(text.as_str().to_owned()), expires_at };
    Ok(Granted::answer(minted, Some(same), proven, room.now()))
}

/// A refresh token that is bound to a key is used with a proof of that key. One that is not may be used with a proof of any: what is got
/// for it is then bound, which is narrower.
fn held(proven: Proven, bound_to: Option<crate::digest::Digest>, room: &Room) -> Result<Proven, Refused> {
    match (bound_to, proven.bound_to()) {
        (None, _) => Ok(proven),
        (Some(_), None) => Err(room.refused(&ProofRefusal::Missing, true)),
        (Some(granted), Some(shown)) if granted == shown => Ok(proven),
        (Some(_), Some(_)) => Err(room.refused(&ProofRefusal::OtherKey, true)),
    }
}

/// Whether every scope that is asked for was granted.
fn is_within(asked: &str, granted: Option<&Value>) -> bool {
    let granted = granted.and_then(Value::as_str).unwrap_or_default();
    let mut asked = asked.split(' ');
    asked.all(|scope| !scope.is_empty() && granted.split(' ').any(|one| one == scope))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_scope_can_be_narrowed_and_not_widened() {
        let granted = json!("read write:all");
        for (asked, within) in
            [("read", true), ("write:all read", true), ("write", false), ("read admin", false), ("", false), ("read ", false)]
        {
            assert_eq!(is_within(asked, Some(&granted)), within, "{asked:?}");
        }
        assert!(!is_within("read", None) && !is_within("read", Some(&json!(["read"]))));
    }
}
