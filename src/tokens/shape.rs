//! How tokens of each profile are written, and what a verifier of that profile insists on. One small room for each.

mod access_token;
mod algolia;
mod amigo;
mod generic;
mod hyperspell;
mod inkeep;
mod inkeep_agents;

use super::mint::{MintError, MintRequest};
use super::payload::Payload;
use crate::policy::{Profile, TokenPolicy};

/// What a profile is made of.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// The header's `typ` (RFC 7515 §4.1.9).
    pub typ: &'static str,
    /// Whether a token without a `typ` is taken too: those of signers who write none, where no other kind of token could be meant.
    pub typ_optional: bool,
    /// The claims that every token has, besides `exp`.
    pub required: &'static [&'static str],
    /// Writes the profile's own claims.
    pub write: fn(&mut Payload, &Told<'_>) -> Result<(), MintError>,
}

/// What is told of one token.
pub(super) struct Told<'a> {
    pub policy: &'a TokenPolicy,
    pub request: &'a MintRequest,
    /// Seconds since 1970.
    pub issued_at: i64,
    /// Seconds since 1970.
    pub expires_at: i64,
}

impl Shape {
    /// That of a profile.
    pub(super) const fn of(profile: &Profile) -> Self {
        match profile {
            Profile::Generic => generic::SHAPE,
            Profile::AtJwt => access_token::SHAPE,
            Profile::Algolia => algolia::SHAPE,
            Profile::Inkeep { .. } => inkeep::SHAPE,
            Profile::InkeepAgents => inkeep_agents::SHAPE,
            Profile::Amigo => amigo::SHAPE,
            Profile::Hyperspell => hyperspell::SHAPE,
        }
    }
}

impl Told<'_> {
    /// Whom the token is about.
    fn subject(&self) -> Result<&str, MintError> {
        self.request.subject.as_deref().ok_or_else(|| MintError::NoSubject(self.policy.profile.name()))
    }

    /// `iss`, `sub`, `aud`, `iat`, `exp`, as far as there are.
    fn registered(&self, payload: &mut Payload) -> Result<(), MintError> {
        self.issuer(payload);
        payload.text("sub", self.subject()?);
        payload.texts("aud", &self.policy.audience);
        self.times(payload);
        Ok(())
    }

    fn issuer(&self, payload: &mut Payload) {
        if let Some(issuer) = &self.policy.issuer {
            payload.text("iss", issuer);
        }
    }

    fn times(&self, payload: &mut Payload) {
        payload.seconds("iat", self.issued_at);
        payload.seconds("exp", self.expires_at);
    }
}
