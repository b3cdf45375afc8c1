//! How tokens of each profile are written, and what a verifier of that profile insists on. One small room for each.

mod access_token;
mod algolia;
mod amigo;
mod generic;
mod hyperspell;
mod inkeep;
mod inkeep_agents;

use base64_simd::URL_SAFE_NO_PAD;

use super::mint::{MintError, MintRequest};
use super::payload::{Members, Payload};
use crate::key::Algorithm;
use crate::name::Kid;
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
    pub constant: &'a Constant,
    pub request: &'a MintRequest,
    /// Seconds since 1970.
    pub issued_at: i64,
    /// Seconds since 1970.
    pub expires_at: i64,
}

/// The header, encoded, with its dot. In this order, as vendors' helpers write it; a kid's own alphabet needs no escapes.
pub(super) fn header(algorithm: Algorithm, typ: &str, kid: &Kid) -> String {
    URL_SAFE_NO_PAD.encode_type::<String>(format!(r#"{{"alg":"{algorithm}","typ":"{typ}","kid":"{kid}"}}"#)) + "."
}

/// How tokens begin that are written in here for that issuer, at least most of them: with the header and `iss`.
pub(super) fn usual_front(header: &str, issuer: Option<&str>) -> String {
    let mut payload = Payload::new();
    if let Some(issuer) = issuer {
        payload.text("iss", issuer);
    }
    let written = payload.finish();
    // Base64 takes three octets at a time, and the last of these is another in longer payloads.
    let threes = (written.len() - 1) / 3 * 3;
    header.to_owned() + &URL_SAFE_NO_PAD.encode_type::<String>(written.get(..threes).unwrap_or_default())
}

/// What every token of a policy says, written once.
pub(super) struct Constant {
    issuer: Members,
    audience: Members,
    /// The policy's template.
    pub claims: Members,
}

impl Constant {
    pub(super) fn of(policy: &TokenPolicy) -> Self {
        let written = |write: &dyn Fn(&mut Payload)| {
            let mut payload = Payload::new();
            write(&mut payload);
            payload.into_members()
        };
        Self {
            issuer: written(&|payload| policy.issuer.iter().for_each(|issuer| payload.text("iss", issuer))),
            audience: written(&|payload| payload.texts("aud", &policy.audience)),
            claims: written(&|payload| policy.claims.iter().for_each(|(name, value)| payload.value(name, value))),
        }
    }
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
        self.audience(payload);
        self.times(payload);
        Ok(())
    }

    fn issuer(&self, payload: &mut Payload) {
        payload.members(&self.constant.issuer);
    }

    fn audience(&self, payload: &mut Payload) {
        payload.members(&self.constant.audience);
    }

    fn times(&self, payload: &mut Payload) {
        payload.seconds("iat", self.issued_at);
        payload.seconds("exp", self.expires_at);
    }
}
