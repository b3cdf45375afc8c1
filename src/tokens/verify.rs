//! Verifying, strictly (RFC 8725): every check is made and its result kept, so that a person can be shown what is wrong, and a program
//! gets a code.
//!
//! A [`Verifier`] is made once for each generation of a document and each policy, or for a key set from elsewhere. It reads no clock.
//!
//! Invariant: the *key* says with which algorithm it verifies; what a header says of it is only compared.

mod claims;
mod verdict;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

pub use verdict::{Check, CheckName, Outcome, Verdict};

use super::claims_set::{Claim, ClaimsSet};
use super::compact::{self, Header, Parts};
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
    keys: BTreeMap<Kid, Known>,
    /// What headers say that begin as a token of these keys usually does: the same text says the same each time.
    headers: BTreeMap<Box<str>, Header>,
    gone: BTreeMap<Kid, StateName>,
    revoked: Vec<Digest>,
    expected: Expected,
    tolerance: Tolerance,
}

/// A key by which tokens are verified.
pub(in crate::tokens) struct Known {
    pub(super) algorithm: Algorithm,
    /// `None` in key sets from elsewhere, which do not tell.
    state: Option<StateName>,
    parsed: Option<Parsed>,
    pub(super) source: Source,
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

/// A well-formed token.
struct Read<'t> {
    header: Cow<'t, Header>,
    claims: ClaimsSet,
    signed: &'t [u8],
    signature: Vec<u8>,
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
        let keys: BTreeMap<_, _> =
            document.live().filter_map(|live| Some((live.key.kid.clone(), Known::of(live.key, live.state)?))).collect();
        let state = |end: &End| end.state();
        Self {
            headers: usual_headers(&keys, &expected),
            keys,
            gone: document.tombstones.iter().map(|tombstone| (tombstone.kid.clone(), state(&tombstone.end))).collect(),
            revoked: document.revoked_kids(),
            expected,
            tolerance: Tolerance::Held(Box::new(document.facts.clone())),
        }
    }

    /// Makes ready to verify with a key set from elsewhere, on clocks that differ by at most `skew`.
    pub fn of_key_set(keys: Vec<PublicJwk>, expected: Expected, skew: Span) -> Self {
        let keys: BTreeMap<_, _> = keys.into_iter().map(|jwk| (jwk.kid.clone(), Known::public(jwk, None))).collect();
        let headers = usual_headers(&keys, &expected);
        Self { keys, headers, gone: BTreeMap::new(), revoked: Vec::new(), expected, tolerance: Tolerance::Fixed(skew) }
    }

    /// What it expects.
    pub const fn expected(&self) -> &Expected {
        &self.expected
    }

    /// Judges a token at `now`.
    pub fn verify(&self, token: &str, now: Timestamp) -> Verdict {
        match self.read(token) {
            Ok(read) => self.judge(read, now),
            Err(malformed) => Verdict::malformed(malformed),
        }
    }

    fn read<'t>(&'t self, token: &'t str) -> Result<Read<'t>, Malformed> {
        let parts = Parts::of(token)?;
        let header = match self.headers.get(parts.header) {
            Some(header) => Cow::Borrowed(header),
            None => Cow::Owned(compact::lawful_header(parts.header)?),
        };
        Ok(Read { header, claims: parts.claims()?, signed: parts.signed.as_bytes(), signature: parts.signature()? })
    }

    fn judge(&self, read: Read<'_>, now: Timestamp) -> Verdict {
        let mut verdict = Verdict::well_formed(&read.header);
        match self.find(&read.header) {
            Ok((kid, known)) => {
                verdict.known(kid, known.state, known.algorithm);
                verdict.add(CheckName::Key, Ok(()));
                signed(known, &read, &mut verdict);
            }
            Err(rejection) => {
                verdict.add(CheckName::Key, Err(rejection));
                verdict.skip(CheckName::Algorithm);
                verdict.skip(CheckName::Signature);
            }
        }
        self.typed(read.header.typ.as_deref(), &mut verdict);
        claims::judge(&read.claims, &self.expected, self.skew(now), now, &mut verdict);
        verdict.with_claims(read.claims)
    }

    fn find(&self, header: &Header) -> Result<(&Kid, &Known), Rejection> {
        let said = header.kid.as_deref().ok_or(Rejection::NoKid)?;
        if let Some(found) = self.keys.get_key_value(said) {
            return Ok(found);
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
    fn typed(&self, typ: Option<&str>, verdict: &mut Verdict) {
        let short = typ.map(|typ| typ.get(..12).filter(|front| front.eq_ignore_ascii_case("application/")).map_or(typ, |_| &typ[12..]));
        let is = |wanted: &str| short.is_some_and(|short| short.eq_ignore_ascii_case(wanted));
        let said = || typ.map_or_else(|| "not stated".to_owned(), quoted);
        let Some(shape) = self.expected.profile.as_ref().map(Shape::of) else {
            // Even where nothing is expected, a proof is no token.
            return if is("dpop+jwt") {
                verdict.add(CheckName::Type, Err(Rejection::Type { said: said(), must: "JWT" }));
            } else {
                verdict.skip(CheckName::Type);
            };
        };
        let lawful = is(shape.typ) || (typ.is_none() && shape.typ_optional);
        verdict.add(CheckName::Type, if lawful { Ok(()) } else { Err(Rejection::Type { said: said(), must: shape.typ }) });
    }

    fn skew(&self, now: Timestamp) -> Span {
        match &self.tolerance {
            Tolerance::Held(facts) => facts.promise_of(FactName::ClockSkew, now),
            Tolerance::Fixed(skew) => *skew,
        }
    }

    /// The key that a header names, for a second opinion.
    pub(super) fn known(&self, header: &Header) -> Option<&Known> {
        self.find(header).ok().map(|(_, known)| known)
    }
}

/// What the headers say that keyrota itself would write for these keys.
fn usual_headers(keys: &BTreeMap<Kid, Known>, expected: &Expected) -> BTreeMap<Box<str>, Header> {
    let typ = expected.profile.as_ref().map_or("JWT", |profile| Shape::of(profile).typ);
    let written = keys.iter().map(|(kid, known)| shape::header(known.algorithm, typ, kid));
    written.filter_map(|header| Some((header.as_str().into(), compact::lawful_header(&header).ok()?))).collect()
}

fn signed(known: &Known, read: &Read<'_>, verdict: &mut Verdict) {
    let (said, is) = (read.header.alg, known.algorithm);
    if said != is {
        verdict.add(CheckName::Algorithm, Err(Rejection::Algorithm { said, is }));
        verdict.skip(CheckName::Signature);
        return;
    }
    verdict.add(CheckName::Algorithm, Ok(()));
    let verifies = match &known.parsed {
        None => Err(Rejection::KeyDamaged(verdict.kid.as_ref().map(ToString::to_string).unwrap_or_default())),
        Some(parsed) if parsed.verifies(read.signed, &read.signature) => Ok(()),
        Some(_) => Err(Rejection::Signature),
    };
    verdict.add(CheckName::Signature, verifies);
}

impl Known {
    fn of(key: &Key, state: StateName) -> Option<Self> {
        match &key.material {
            Material::Pair { public, .. } => Some(Self::public(public.clone(), Some(state))),
            Material::Hmac { secret } => Some(Self {
                algorithm: key.algorithm,
                state: Some(state),
                parsed: HmacKey::new(key.algorithm, secret).map(|key| Parsed::Hmac(Box::new(key))),
                source: Source::Secret(secret.clone()),
            }),
            Material::ApiKey { .. } => None,
        }
    }

    fn public(jwk: PublicJwk, state: Option<StateName>) -> Self {
        let parsed = jwk.numbers.verifying_key(jwk.alg).map(Parsed::Public);
        Self { algorithm: jwk.alg, state, parsed, source: Source::Public(Box::new(jwk)) }
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
