//! Proofs of possession on requests (RFC 9449): from headers to what [`Guard`](crate::tokens::dpop::Guard) judges, and back to
//! headers. A proof is compared with the origin that the daemon was told, never with what a request says of its host.

use axum::response::Response;
use http::HeaderValue;

use super::refused::{DPOP_NONCE, Refused};
use super::{Asked, Room};
use crate::digest::Digest;
use crate::tokens::dpop::binding::{self, Presented};
use crate::tokens::dpop::htu::Htu;
use crate::tokens::dpop::proof::{PresentedToken, Request};
use crate::tokens::dpop::refusal::Refusal;
use crate::tokens::dpop::{Checked, ProvenKey};

/// What came of a proof.
#[derive(Default)]
pub(super) struct Proven {
    /// The key, if there was a proof.
    pub key: Option<ProvenKey>,
    /// For the next one.
    nonce: Option<String>,
}

impl Proven {
    /// The answer, with a nonce for the client's next proof where it is time for one.
    pub fn with(self, mut response: Response) -> Response {
        if let Some(nonce) = self.nonce.and_then(|nonce| HeaderValue::try_from(nonce).ok()) {
            response.headers_mut().insert(DPOP_NONCE, nonce);
        }
        response
    }

    /// The type of a token that is given for it.
    pub const fn token_type(&self) -> &'static str {
        if self.key.is_some() { "DPoP" } else { "Bearer" }
    }

    /// The thumbprint to which a token is bound that is given for it.
    pub fn bound_to(&self) -> Option<Digest> {
        self.key.map(|key| key.jkt())
    }
}

impl Room {
    /// The proof of a request for a token, spent; without one, the token will be anybody's who holds it. To be asked once its sender was
    /// let in: what is remembered takes room.
    ///
    /// # Errors
    /// 400, with a nonce (RFC 9449 §8).
    pub fn proven(&self, asked: &Asked) -> Result<Proven, Refused> {
        if !asked.headers.contains_key("dpop") {
            return Ok(Proven::default());
        }
        self.spent(asked, None).map_err(|refusal| self.refused(&refusal, true))
    }

    /// Holds how a token is presented against what it is bound to.
    ///
    /// # Errors
    /// 401, with a nonce where another proof may do (RFC 9449 §7.1, §9).
    pub fn presented(
        &self,
        asked: &Asked,
        token: &str,
        how: Presented,
        claims: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Proven, Refused> {
        let held = binding::required(how, claims).and_then(|bound_to| match bound_to {
            None => Ok(Proven::default()),
            Some(bound_to) => self.spent(asked, Some(PresentedToken { text: token, bound_to })),
        });
        held.map_err(|refusal| self.refused(&refusal, false))
    }

    fn spent(&self, asked: &Asked, token: Option<PresentedToken<'_>>) -> Result<Proven, Refusal> {
        let now = self.now();
        let proofs: Vec<&str> = asked.headers.get_all("dpop").iter().map(|value| value.to_str().unwrap_or_default()).collect();
        let origin = self.reach.as_ref().as_ref().map_err(|_| Refusal::Address)?;
        let address = Htu::of(origin, &asked.path).ok_or(Refusal::Address)?;
        let request = Request { method: asked.method.as_str(), address: &address, token };
        let checked: Checked = self.service.guard.check(&proofs, &request, now)?;
        let key = self.service.guard.spend(&checked, now)?;
        Ok(Proven { key: Some(key), nonce: checked.wants_a_nonce().then(|| self.service.guard.nonce(now)) })
    }

    /// The answer to a proof that is not accepted, with a nonce for the next.
    pub fn refused(&self, refusal: &Refusal, gives_tokens: bool) -> Refused {
        Refused::proof(refusal, gives_tokens, self.service.guard.nonce(self.now()))
    }
}
