//! One proof: what it says of itself, and whether that is so for one request (RFC 9449 §4.3).
//!
//! Of the twelve checks, [`Proof::read`] makes the first seven (one header, well-formed, all claims, type, algorithm, signature,
//! public key) and [`Proof::judge`] those that need the request: method, address, time, and the token that it is sent with. The
//! nonce is [`super::nonce`]'s, and the memory of used ones [`super::replay`]'s.

use serde_json::{Map, Value};

use super::htu::Htu;
use super::refusal::{LONGEST_JTI, Refusal};
use crate::digest::Digest;
use crate::jwk::PublicNumbers;
use crate::key::Algorithm;
use crate::time::{Span, Timestamp};
use crate::tokens::compact::Compact;

/// The type of a proof (RFC 9449 §4.2). Compared as it stands.
pub const TYP: &str = "dpop+jwt";

/// What proofs may be signed with: small signatures that are cheap to check.
pub const ALGORITHMS: [Algorithm; 4] = [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512, Algorithm::EdDsa];

/// The members by which a JWK would give a private or symmetric key away (RFC 7518 §6).
const PRIVATE: [&str; 8] = ["d", "k", "p", "q", "dp", "dq", "qi", "oth"];

/// How far a proof's `iat` may lie from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// In the past.
    pub past: Span,
    /// In the future: clients' clocks differ.
    pub ahead: Span,
}

impl Default for Window {
    fn default() -> Self {
        Self { past: Span::minutes(1), ahead: Span::seconds(30) }
    }
}

impl Window {
    /// The first moment at which a proof of that time is too old.
    pub fn end(self, iat: Timestamp) -> Timestamp {
        iat + self.past + Span::millis(1)
    }
}

/// What a proof is held against.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method, as the request line has it.
    pub method: &'a str,
    /// The address: the public origin of this service and the path, never what the request says of its host.
    pub address: &'a Htu,
    /// The token that is presented with the proof, if any.
    pub token: Option<PresentedToken<'a>>,
}

/// A token that is sent with a proof.
#[derive(Clone, Copy)]
pub struct PresentedToken<'a> {
    /// As it was sent.
    pub text: &'a str,
    /// The thumbprint of the key that it is bound to, from its verified claims.
    pub bound_to: Digest,
}

/// Never shows the token.
impl std::fmt::Debug for PresentedToken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PresentedToken(bound to {})", self.bound_to)
    }
}

/// A proof whose signature holds, by the key that it brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The thumbprint of its key (RFC 7638).
    pub key: Digest,
    /// When it was made, by its client's clock.
    pub iat: Timestamp,
    /// The nonce that it was made with.
    pub nonce: Option<Box<str>>,
    jti: Box<str>,
    htm: Box<str>,
    htu: Box<str>,
    ath: Option<Box<str>>,
    exp: Option<Timestamp>,
    nbf: Option<Timestamp>,
}

impl Proof {
    /// Reads the values of a request's `DPoP` headers, which must be one.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn read(headers: &[&str]) -> Result<Self, Refusal> {
        let text = match headers {
            [] => return Err(Refusal::Missing),
            // Several values of one header may be sent in one line (RFC 9110 §5.3).
            [one] if !one.contains(',') => *one,
            _ => return Err(Refusal::Repeated),
        };
        let compact = Compact::parse_proof(text)?;
        if compact.header.typ.as_deref() != Some(TYP) {
            return Err(Refusal::Typ);
        }
        let algorithm = compact.header.alg;
        if !ALGORITHMS.contains(&algorithm) {
            return Err(Refusal::Algorithm);
        }
        let numbers = public_key(compact.header.jwk.as_ref().ok_or(Refusal::KeyMissing)?, algorithm)?;
        let proof = Self::of_claims(&compact.claims, numbers.thumbprint())?;
        if !numbers.verifies(algorithm, compact.signed(), compact.signature()) {
            return Err(Refusal::Signature);
        }
        Ok(proof)
    }

    fn of_claims(claims: &Map<String, Value>, key: Digest) -> Result<Self, Refusal> {
        let required = |name| text(claims, name)?.ok_or(Refusal::ClaimMissing(name));
        let (jti, htm, htu) = (required("jti")?, required("htm")?, required("htu")?);
        let iat = time(claims, "iat")?.ok_or(Refusal::ClaimMissing("iat"))?;
        if jti.is_empty() || jti.len() > LONGEST_JTI {
            return Err(Refusal::Jti(jti.len()));
        }
        let (exp, nbf) = (time(claims, "exp")?, time(claims, "nbf")?);
        Ok(Self { key, iat, nonce: text(claims, "nonce")?, jti, htm, htu, ath: text(claims, "ath")?, exp, nbf })
    }

    /// Whether it is for this request, now, and for the token that is sent with it.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn judge(&self, request: &Request<'_>, window: Window, now: Timestamp) -> Result<(), Refusal> {
        if *self.htm != *request.method {
            return Err(Refusal::Method);
        }
        if Htu::read(&self.htu).ok_or(Refusal::AddressForm)? != *request.address {
            return Err(Refusal::Address);
        }
        if now >= window.end(self.iat) {
            return Err(Refusal::TooOld(now.since(self.iat)));
        }
        if self.iat > now + window.ahead {
            return Err(Refusal::Ahead(self.iat.since(now)));
        }
        if self.exp.is_some_and(|exp| now >= exp) {
            return Err(Refusal::NotNow("exp"));
        }
        if self.nbf.is_some_and(|nbf| nbf > now + window.ahead) {
            return Err(Refusal::NotNow("nbf"));
        }
        let Some(token) = request.token else { return Ok(()) };
        let ath = self.ath.as_deref().ok_or(Refusal::TokenHashMissing)?;
        if *ath != Digest::of(token.text.as_bytes()).to_string() {
            return Err(Refusal::TokenHash);
        }
        if self.key == token.bound_to { Ok(()) } else { Err(Refusal::OtherKey) }
    }

    /// What it is remembered by: its own name, within its key's.
    pub fn id(&self) -> Digest {
        Digest::of([self.key.as_bytes(), self.jti.as_bytes()].concat().as_slice())
    }
}

/// The public key of a proof's header, if it is one and no more.
fn public_key(jwk: &Map<String, Value>, algorithm: Algorithm) -> Result<PublicNumbers, Refusal> {
    if let Some(name) = PRIVATE.into_iter().find(|name| jwk.contains_key(*name)) {
        return Err(Refusal::PrivateKey(name));
    }
    let says_otherwise = |name: &str, must: &str| jwk.get(name).is_some_and(|value| value.as_str() != Some(must));
    let verifies = |operations: &Value| operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
    if says_otherwise("alg", algorithm.as_str()) || says_otherwise("use", "sig") || !jwk.get("key_ops").is_none_or(verifies) {
        return Err(Refusal::KeyKind);
    }
    // Members that tell about the key (kid, use, x5c, …) are not part of it.
    let members = ["kty", "crv", "x", "y"].into_iter().filter_map(|name| Some((name.to_owned(), jwk.get(name)?.clone())));
    let numbers: PublicNumbers = serde_json::from_value(Value::Object(members.collect())).map_err(|_| Refusal::KeyKind)?;
    if !numbers.suits(algorithm) {
        return Err(Refusal::KeyKind);
    }
    numbers.check().map_err(Refusal::KeyNumbers)?;
    Ok(numbers)
}

fn text(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Box<str>>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str().into())),
        Some(_) => Err(Refusal::ClaimKind(name)),
    }
}

/// A `NumericDate` (RFC 7519 §2): seconds since 1970, perhaps with a fraction.
#[allow(clippy::cast_possible_truncation, reason = "a cast of a float saturates, and what is out of range is no time near now")]
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64().map(|seconds| Timestamp::from_millis((seconds * 1000.0).round() as i64))),
        Some(_) => Err(Refusal::ClaimKind(name)),
    }
}
