//! Verifying, strictly (RFC 8725): every check is made and its result kept, so that a person can be shown what is wrong, and a program
//! gets a code.
//!
//! A [`Verifier`] is made once for each generation of a document and each policy, or for a key set from elsewhere. It reads no clock.
//!
//! Invariant: the *key* says with which algorithm it verifies; what a header says of it is only compared.

mod claims;
mod verdict;

use std::collections::BTreeMap;

use serde_json::Value;

use verdict::Findings;
pub use verdict::{Check, CheckName, Outcome, Verdict};

use super::claim::Claim;
use super::compact::{self, Header, Parts, PayloadRoom, SignatureRoom};
use super::flat_json::Members;
use super::malformed::Malformed;
use super::rejection::{Rejection, quoted};
use super::shape::{self, Shape};
use crate::digest::Digest;
use crate::document::{Document, End, FactName, HeldFacts, StateName};
use crate::jwk::{PublicJwk, VerifyingKey};
use crate::key::{Algorithm, Key, Material};
use crate::keygen::HmacKey;
use crate::name::Kid;
use crate::policy::{Profile, TokenPolicy};
use crate::secret::SecretText;
use crate::time::{Span, Timestamp};

/// What a token must say, beyond being signed and alive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// The shape; `None`: any.
    pub profile: Option<Profile>,
    /// The issuer; `None`: any.
    pub issuer: Option<String>,
    /// Of whom it must name one; `None`: nothing is expected, and empty: it must name nobody.
    pub audience: Option<Vec<String>>,
}

/// Verifies the tokens of one keyset.
pub struct Verifier {
    /// The active one first.
    keys: Vec<Known>,
    gone: BTreeMap<Kid, StateName>,
    revoked: Vec<Digest>,
    expected: Expected,
    shape: Option<Shape>,
    tolerance: Tolerance,
}

/// A key by which tokens are verified.
pub(in crate::tokens) struct Known {
    kid: Kid,
    pub(super) algorithm: Algorithm,
    /// `None` in key sets from elsewhere, which do not tell.
    state: Option<StateName>,
    parsed: Option<Parsed>,
    pub(super) source: Source,
    usual: Option<Usual>,
}

enum Parsed {
    Public(VerifyingKey),
    Hmac(Box<HmacKey>),
}

/// The key as somebody else would read it.
pub(in crate::tokens) enum Source {
    Public(Box<PublicJwk>),
    Secret(SecretText),
}

/// What a signature is judged by.
struct Read<'t> {
    header: &'t Header,
    signed: &'t str,
    signature: &'t [u8],
}

/// The header that keyrota itself would write for a key. The same text says the same each time.
struct Usual {
    /// As it is written, with its dot.
    text: Box<str>,
    header: Header,
}

/// By how much clocks may differ.
enum Tolerance {
    Held(Box<HeldFacts>),
    Fixed(Span),
}

impl Expected {
    /// What a policy makes tokens say.
    pub fn by(policy: &TokenPolicy) -> Self {
        Self { profile: Some(policy.profile.clone()), issuer: policy.issuer.clone(), audience: Some(policy.audience.clone()) }
    }
}

impl Verifier {
    /// Makes ready to verify with the live keys of a document: staged ones too, since another replica may have let one sign already.
    pub fn of(document: &Document, expected: Expected) -> Self {
        let keys = document.live().filter_map(|live| Known::of(live.key, live.state)).collect();
        let state = |end: &End| end.state();
        let gone = document.tombstones.iter().map(|tombstone| (tombstone.kid.clone(), state(&tombstone.end))).collect();
        let held = Tolerance::Held(Box::new(document.facts.clone()));
        Self { gone, revoked: document.revoked_kids(), ..Self::with(keys, expected, held) }
    }

    /// Makes ready to verify with a key set from elsewhere, on clocks that differ by at most `skew`.
    pub fn of_key_set(keys: Vec<PublicJwk>, expected: Expected, skew: Span) -> Self {
        Self::with(keys.into_iter().map(|jwk| Known::public(jwk, None)).collect(), expected, Tolerance::Fixed(skew))
    }

    fn with(keys: Vec<Known>, expected: Expected, tolerance: Tolerance) -> Self {
        let shape = expected.profile.as_ref().map(Shape::of);
        let typ = shape.map_or("JWT", |shape| shape.typ);
        let mut keys: Vec<_> = keys.into_iter().map(|known| known.expecting(typ, expected.issuer.as_deref())).collect();
        keys.sort_by_key(|known| known.state != Some(StateName::Active));
        Self { keys, gone: BTreeMap::new(), revoked: Vec::new(), expected, shape, tolerance }
    }

    /// What it expects.
    pub const fn expected(&self) -> &Expected {
        &self.expected
    }

    /// Judges a token at `now`.
    pub fn verify<'v>(&'v self, token: &'v str, now: Timestamp) -> Verdict<'v> {
        self.judged(token, now).unwrap_or_else(Verdict::malformed)
    }

    /// Everything is read before anything is judged.
    fn judged<'v>(&'v self, token: &'v str, now: Timestamp) -> Result<Verdict<'v>, Malformed> {
        let usual = self.keys.iter().find_map(|known| Some((known, known.usual.as_ref().filter(|usual| token.starts_with(&*usual.text))?)));
        let unusual;
        let (parts, header) = if let Some((_, usual)) = usual {
            (Parts::behind(usual.text.len() - 1, token)?, &usual.header)
        } else {
            let parts = Parts::of(token)?;
            unusual = compact::lawful_header(parts.header)?;
            (parts, &unusual)
        };
        let (mut payload, mut members, mut signature) = (PayloadRoom::default(), Members::new(), SignatureRoom::default());
        let claims = compact::read_claims(parts.payload(&mut payload)?, &mut members)?;
        let read = Read { header, signed: parts.signed, signature: parts.signature(&mut signature)? };
        let mut findings = Findings::default();
        findings.add(CheckName::Form, Ok(()));
        let known = signed(usual.map_or_else(|| self.find(header), |(known, _)| Ok(known)), &read, &mut findings);
        self.typed(header.typ.as_deref(), &mut findings);
        claims::judge(&claims, &self.expected, self.shape, (now, self.skew(now)), &mut findings);
        Ok(Verdict {
            kid: known.map(|known| &known.kid),
            state: known.and_then(|known| known.state),
            algorithm: Some(known.map_or(header.alg, |known| known.algorithm)),
            findings,
            parts: Some(parts),
        })
    }

    fn find(&self, header: &Header) -> Result<&Known, Rejection> {
        let said = header.kid.as_deref().ok_or(Rejection::NoKid)?;
        if let Some(known) = self.keys.iter().find(|known| known.kid.as_str() == said) {
            return Ok(known);
        }
        if self.revoked.binary_search(&Digest::of(said.as_bytes())).is_ok() {
            return Err(Rejection::KeyGone { kid: quoted(said), state: StateName::Revoked });
        }
        match self.gone.get(said) {
            Some(state) => Err(Rejection::KeyGone { kid: quoted(said), state: *state }),
            None => Err(Rejection::UnknownKid(quoted(said).trim_matches('`').to_owned())),
        }
    }

    /// The type, with or without `application/`, in whatever case (RFC 7515 §4.1.9).
    fn typed(&self, typ: Option<&str>, findings: &mut Findings) {
        let short = typ.map(|typ| typ.get(..12).filter(|front| front.eq_ignore_ascii_case("application/")).map_or(typ, |_| &typ[12..]));
        let is = |wanted: &str| short.is_some_and(|short| short.eq_ignore_ascii_case(wanted));
        let said = || typ.map_or_else(|| "not stated".to_owned(), quoted);
        let Some(shape) = self.shape else {
            // Even where nothing is expected, a proof is no token.
            return if is("dpop+jwt") {
                findings.add(CheckName::Type, Err(Rejection::Type { said: said(), must: "JWT" }));
            } else {
                findings.skip(CheckName::Type);
            };
        };
        let lawful = is(shape.typ) || (typ.is_none() && shape.typ_optional);
        findings.add(CheckName::Type, if lawful { Ok(()) } else { Err(Rejection::Type { said: said(), must: shape.typ }) });
    }

    fn skew(&self, now: Timestamp) -> Span {
        match &self.tolerance {
            Tolerance::Held(facts) => facts.promise_of(FactName::ClockSkew, now),
            Tolerance::Fixed(skew) => *skew,
        }
    }

    /// The key that a header names, for a second opinion.
    pub(super) fn known(&self, header: &Header) -> Option<&Known> {
        self.find(header).ok()
    }
}

/// Whether the key is known and signed it; the key, if it is known.
fn signed<'v>(found: Result<&'v Known, Rejection>, read: &Read<'_>, findings: &mut Findings) -> Option<&'v Known> {
    let (said, known) = match found {
        Ok(known) => (read.header.alg, known),
        Err(rejection) => {
            findings.add(CheckName::Key, Err(rejection));
            findings.skip(CheckName::Algorithm);
            findings.skip(CheckName::Signature);
            return None;
        }
    };
    findings.add(CheckName::Key, Ok(()));
    if said != known.algorithm {
        findings.add(CheckName::Algorithm, Err(Rejection::Algorithm { said, is: known.algorithm }));
        findings.skip(CheckName::Signature);
        return Some(known);
    }
    findings.add(CheckName::Algorithm, Ok(()));
    let verifies = match &known.parsed {
        None => Err(Rejection::KeyDamaged(known.kid.to_string())),
        Some(parsed) if parsed.verifies(read.signed.as_bytes(), read.signature) => Ok(()),
        Some(_) => Err(Rejection::Signature),
    };
    findings.add(CheckName::Signature, verifies);
    Some(known)
}

impl Known {
    fn of(key: &Key, state: StateName) -> Option<Self> {
        match &key.material {
            Material::Pair { public, .. } => Some(Self::public(public.clone(), Some(state))),
            Material::Hmac { secret } => Some(Self {
                kid: key.kid.clone(),
                algorithm: key.algorithm,
                state: Some(state),
                parsed: HmacKey::new(key.algorithm, secret).map(|key| Parsed::Hmac(Box::new(key))),
                source: Source::Secret(secret.clone()),
                usual: None,
            }),
            Material::ApiKey { .. } => None,
        }
    }

    fn public(jwk: PublicJwk, state: Option<StateName>) -> Self {
        let parsed = jwk.numbers.verifying_key(jwk.alg).map(Parsed::Public);
        Self { kid: jwk.kid.clone(), algorithm: jwk.alg, state, parsed, source: Source::Public(Box::new(jwk)), usual: None }
    }

    /// The same, quicker with tokens that begin as one of keyrota's does.
    fn expecting(mut self, typ: &str, issuer: Option<&str>) -> Self {
        let text = shape::header(self.algorithm, typ, &self.kid);
        self.parsed = self.parsed.map(|parsed| match parsed {
            Parsed::Hmac(key) => Parsed::Hmac(Box::new(key.expecting(shape::usual_front(&text, issuer).as_bytes(), self.algorithm))),
            public @ Parsed::Public(_) => public,
        });
        self.usual = compact::lawful_header(text.trim_end_matches('.')).ok().map(|header| Usual { text: text.into(), header });
        self
    }
}

impl Parsed {
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Public(key) => key.verifies(message, signature),
            Self::Hmac(key) => key.verifies(message, signature),
        }
    }
}

/// A claim as text, for a sentence.
fn shown(claim: Option<Claim<'_>>) -> String {
    match claim {
        None => "nobody".to_owned(),
        Some(Claim::Text(text)) => quoted(text),
        Some(other) => quoted(&Value::from(other).to_string()),
    }
}

#[cfg(test)]
mod tests;
