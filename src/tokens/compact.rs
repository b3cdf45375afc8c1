//! A signed token in its compact form (RFC 7515 §3.1, RFC 7519), taken apart and judged by its form alone.
//!
//! Nothing in here knows a key. What passes is well-formed in the one strict sense in which every careful reader understands it
//! (RFC 8725): whoever verifies goes on with [`Compact::signed`], [`Compact::signature`] and the algorithm *of the key*.
//!
//! Invariant: of a header, only `alg`, `typ`, `kid` (and `jwk` in a proof) are ever acted upon; members by which a token would
//! choose its own key or its own rules are refused, others are ignored as RFC 7515 §4 wants it.

use std::fmt;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::{DecodeError, Engine as _};
use base64_simd::Out;
use memchr::{memchr, memchr_iter};
use serde_json::{Map, Value};

use super::claims_set::ClaimsSet;
use super::flat_json::Members;
use super::malformed::{LONGEST_TYP, Malformed, Part};
use super::strict_json;
use crate::key::Algorithm;
use crate::name::LONGEST_KID;

/// The longest token that is read, in bytes. Servers commonly cut a header line at 8 KiB, so nobody could present a longer one.
pub const LONGEST_TOKEN: usize = 8192;

/// Members by which a token would bring or point to its own key (RFC 7515 §4.1.2 to §4.1.8).
const OWN_KEY: [&str; 6] = ["jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256"];

/// A well-formed token, whose signature nobody has looked at yet.
pub struct Compact<'t> {
    /// What its header says.
    pub header: Header,
    /// The claims, as they stand; nothing has been judged but that they are one strict JSON object.
    pub claims: Map<String, Value>,
    signed: &'t str,
    signature: Vec<u8>,
}

/// Room for what stands in a part, decoded: nearly always enough without an allocation.
pub(super) struct Room<const SHORT: usize> {
    short: [u8; SHORT],
    long: Vec<u8>,
}

impl<const SHORT: usize> Default for Room<SHORT> {
    fn default() -> Self {
        Self { short: [0; SHORT], long: Vec::new() }
    }
}

impl<const SHORT: usize> Room<SHORT> {
    #[inline]
    fn decode(&mut self, text: &[u8]) -> Option<&[u8]> {
        let length = base64_simd::URL_SAFE_NO_PAD.decoded_length(text).ok()?;
        let room = if let Some(room) = self.short.get_mut(..length) {
            room
        } else {
            self.long.resize(length, 0);
            &mut self.long
        };
        base64_simd::URL_SAFE_NO_PAD.decode(text, Out::from_slice(room)).ok().map(|octets| &*octets)
    }
}

/// Room for a payload.
pub(super) type PayloadRoom = Room<256>;

/// Room for a signature: what all HMACs, ES256 and EdDSA need.
pub(super) type SignatureRoom = Room<64>;

/// The members of a header that mean something here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The algorithm that the token claims; the key decides whether that is so.
    pub alg: Algorithm,
    /// The type, as it is written: visible ASCII, not empty.
    pub typ: Option<Box<str>>,
    /// Which key it claims to be signed with: no control characters, not empty.
    pub kid: Option<Box<str>>,
    /// The public key that a DPoP proof brings along; always `None` of other tokens.
    pub jwk: Option<Map<String, Value>>,
}

impl<'t> Compact<'t> {
    /// Takes a token apart. A header with a key of its own is refused.
    ///
    /// # Errors
    /// The first thing that is wrong with its form.
    ///
    /// ```
    /// use keyrota::tokens::compact::Compact;
    /// let unsigned = "eyJhbGciOiJub25lIn0.e30.AA"; // {"alg":"none"}
    /// assert_eq!(Compact::parse(unsigned).map(|_| ()).unwrap_err().code(), "alg_none");
    /// ```
    pub fn parse(token: &'t str) -> Result<Self, Malformed> {
        Self::read(token, &OWN_KEY)
    }

    /// Takes a DPoP proof (RFC 9449 §4.2) apart: as [`Compact::parse`], but its header may have a `jwk`.
    ///
    /// # Errors
    /// The first thing that is wrong with its form.
    pub fn parse_proof(proof: &'t str) -> Result<Self, Malformed> {
        Self::read(proof, &["jku", "x5u", "x5c", "x5t", "x5t#S256"])
    }

    fn read(token: &'t str, refused: &[&'static str]) -> Result<Self, Malformed> {
        let parts = Parts::of(token)?;
        let (header, claims) = (header(parts.header, refused)?, parts.claims()?);
        let signature = parts.signature(&mut SignatureRoom::default())?.to_vec();
        Ok(Self { header, claims, signed: parts.signed, signature })
    }

    /// What the signature is over (RFC 7515 §5.2): header and payload as they were sent.
    pub const fn signed(&self) -> &'t [u8] {
        self.signed.as_bytes()
    }

    /// The signature. Never empty.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// Shows the header only: a token is a credential.
impl fmt::Debug for Compact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Compact({:?})", self.header)
    }
}

/// A token in its three parts, none of them read yet.
#[derive(Clone, Copy)]
pub(super) struct Parts<'t> {
    /// What the signature is over.
    pub signed: &'t str,
    /// The first part, as it is written.
    pub header: &'t str,
    payload: &'t str,
    signature: &'t str,
}

impl<'t> Parts<'t> {
    pub(super) fn of(token: &'t str) -> Result<Self, Malformed> {
        Self::behind(memchr(b'.', token.as_bytes()).unwrap_or(token.len()), token)
    }

    /// The same, where it is known how long the header is.
    #[inline]
    pub(super) fn behind(header: usize, token: &'t str) -> Result<Self, Malformed> {
        if token.len() > LONGEST_TOKEN {
            return Err(Malformed::TooLong(token.len()));
        }
        let rest = token.get(header + 1..).unwrap_or_default();
        let dot = memchr(b'.', rest.as_bytes()).ok_or_else(|| miscounted(token))?;
        let (payload, signature) = (rest.get(..dot).unwrap_or_default(), rest.get(dot + 1..).unwrap_or_default());
        match memchr(b'.', signature.as_bytes()) {
            Some(_) => Err(miscounted(token)),
            None if header == 0 => Err(Malformed::EmptyPart(Part::Header)),
            None if payload.is_empty() => Err(Malformed::EmptyPart(Part::Payload)),
            None if signature.is_empty() => Err(Malformed::Unsigned),
            None => {
                let [header, signed] = [header, header + 1 + dot].map(|end| token.get(..end).unwrap_or_default());
                Ok(Self { signed, header, payload, signature })
            }
        }
    }

    #[inline]
    pub(super) fn payload<'r>(&self, room: &'r mut PayloadRoom) -> Result<&'r [u8], Malformed> {
        decoded(Part::Payload, self.payload, room)
    }

    #[inline]
    pub(super) fn signature<'r>(&self, room: &'r mut SignatureRoom) -> Result<&'r [u8], Malformed> {
        decoded(Part::Signature, self.signature, room)
    }

    /// All that it claims.
    pub(super) fn claims(&self) -> Result<Map<String, Value>, Malformed> {
        read_claims(self.payload(&mut PayloadRoom::default())?, &mut Members::new()).map(ClaimsSet::into_map)
    }
}

/// What a payload claims.
#[inline]
pub(super) fn read_claims<'p, 'c>(payload: &'p [u8], room: &'c mut Members<'p>) -> Result<ClaimsSet<'c>, Malformed> {
    ClaimsSet::read(payload, room).map_err(|fault| Malformed::Json { part: Part::Payload, fault })
}

/// What a header says, if it has no key of its own.
pub(super) fn lawful_header(encoded: &str) -> Result<Header, Malformed> {
    header(encoded, &OWN_KEY)
}

fn header(encoded: &str, refused: &[&'static str]) -> Result<Header, Malformed> {
    let members = strict_json::object(decoded(Part::Header, encoded, &mut PayloadRoom::default())?);
    Header::of(members.map_err(|fault| Malformed::Json { part: Part::Header, fault })?, refused)
}

/// A text that does not have three parts.
#[cold]
fn miscounted(token: &str) -> Malformed {
    match memchr_iter(b'.', token.as_bytes()).count() + 1 {
        5 => Malformed::Encrypted,
        count => Malformed::Parts(count),
    }
}

#[inline]
fn decoded<'r, const SHORT: usize>(part: Part, text: &str, room: &'r mut Room<SHORT>) -> Result<&'r [u8], Malformed> {
    // The fast decoder is as strict as the other, and tells no reasons.
    room.decode(text.as_bytes()).ok_or_else(|| undecodable(part, text))
}

/// Why it is not base64url without padding.
#[cold]
fn undecodable(part: Part, text: &str) -> Malformed {
    match URL_SAFE_NO_PAD.decode(text).err().unwrap_or(DecodeError::InvalidPadding) {
        // What is foreign to the alphabet is said before how long it is.
        _ if text.bytes().any(|byte| byte.is_ascii_whitespace()) => Malformed::WhiteSpace(part),
        _ if text.bytes().any(|byte| !(byte.is_ascii_alphanumeric() || b"-_=".contains(&byte))) => Malformed::Alphabet(part),
        _ if text.contains('=') => Malformed::Padded(part),
        DecodeError::InvalidLastSymbol(..) => Malformed::StrayBits(part),
        DecodeError::InvalidByte(..) | DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => Malformed::Length(part),
    }
}

impl Header {
    fn of(mut members: Map<String, Value>, refused: &[&'static str]) -> Result<Self, Malformed> {
        if members.contains_key("crit") {
            return Err(Malformed::Critical);
        }
        if members.contains_key("b64") {
            return Err(Malformed::Unencoded);
        }
        if let Some(name) = refused.iter().find(|name| members.contains_key(**name)) {
            return Err(Malformed::OwnKey(name));
        }
        let jwk = match members.remove("jwk") {
            None => None,
            Some(Value::Object(jwk)) => Some(jwk),
            Some(_) => return Err(Malformed::JwkNotObject),
        };
        let alg = algorithm(members.get("alg"))?;
        let visible = |text: &str| text.len() <= LONGEST_TYP && text.bytes().all(|byte| byte.is_ascii_graphic());
        let typ = text(members.remove("typ"), visible, Malformed::Typ)?;
        let printable = |text: &str| text.len() <= LONGEST_KID && !text.chars().any(char::is_control);
        let kid = text(members.remove("kid"), printable, Malformed::Kid)?;
        Ok(Self { alg, typ, kid, jwk })
    }
}

fn algorithm(alg: Option<&Value>) -> Result<Algorithm, Malformed> {
    let name = alg.ok_or(Malformed::AlgMissing)?.as_str().ok_or(Malformed::AlgNotText)?;
    if name.eq_ignore_ascii_case("none") {
        return Err(Malformed::AlgNone);
    }
    // An API key is no signature, whatever its name in a policy.
    let known = Algorithm::ALL.into_iter().filter(|known| *known != Algorithm::ApiKey);
    known.into_iter().find(|known| known.as_str() == name).ok_or(Malformed::AlgUnknown)
}

fn text(member: Option<Value>, lawful: impl Fn(&str) -> bool, fault: Malformed) -> Result<Option<Box<str>>, Malformed> {
    match member {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() && lawful(&text) => Ok(Some(text.into())),
        Some(_) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_decoders_are_as_strict(text in prop_oneof!["[A-Za-z0-9_-]{0,140}", "[A-Za-z0-9_-]{0,70}[=+/ .é\n][A-Za-z0-9_=-]{0,70}", ".*"]) {
            let must = URL_SAFE_NO_PAD.decode(&text).ok();
            let (mut wide, mut narrow) = (PayloadRoom::default(), Room::<4>::default());
            prop_assert_eq!([wide.decode(text.as_bytes()), narrow.decode(text.as_bytes())], [must.as_deref(); 2]);
        }
    }
}
