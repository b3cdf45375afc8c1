//! Why a text is no token that anybody here would verify: each reason with a stable code and a sentence.
//!
//! Codes are for machines (logs, metrics, answers) and never change; sentences are for people. Neither shows what stands in the
//! token beyond the name of a header member, since a token is a credential.

use super::compact::LONGEST_TOKEN;
pub use super::strict_json::JsonFault;
use crate::name::LONGEST_KID;

/// One of the three parts of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What comes first: algorithm, type, kid.
    Header,
    /// The claims.
    Payload,
    /// What comes last.
    Signature,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Signature => "signature",
        })
    }
}

/// What is wrong with the form of a token, before any key is looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than anybody may make us read. With its length in bytes.
    #[error("the token has {0} bytes, more than {LONGEST_TOKEN}; hint: put less into its claims")]
    TooLong(usize),
    /// Not three parts. With how many there are.
    #[error("the token has {0} parts, not three between two dots; hint: was it cut short, or is a `Bearer ` in front of it?")]
    Parts(usize),
    /// The five parts of an encrypted token.
    #[error("the token is encrypted (JWE); hint: only signed tokens (JWS) are taken")]
    Encrypted,
    /// Header or payload are empty.
    #[error("the {0} is empty; hint: was the token cut?")]
    EmptyPart(Part),
    /// There is no signature.
    #[error("the token is not signed: nothing stands behind its second dot; hint: a token without a signature proves nothing")]
    Unsigned,
    /// Base64 with padding.
    #[error("the {0} is padded with `=`; hint: base64url without padding (RFC 7515 §2)")]
    Padded(Part),
    /// White space within base64.
    #[error("the {0} has white space in it; hint: was the token broken over lines, or copied with a blank?")]
    WhiteSpace(Part),
    /// A character outside base64url.
    #[error("the {0} has a character that is not of base64url; hint: `-` and `_` instead of `+` and `/` (RFC 7515 §2)")]
    Alphabet(Part),
    /// A length that no bytes encode to.
    #[error("the {0} is one character too long or too short for base64url; hint: was the token cut?")]
    Length(Part),
    /// Bits at the end that mean nothing and are set.
    #[error("the {0} has stray bits in its last character; hint: two texts must not stand for one token (RFC 4648 §3.5)")]
    StrayBits(Part),
    /// Header or payload are not one strict JSON object.
    #[error("the {part} {fault}")]
    Json {
        /// Which.
        part: Part,
        /// Why.
        fault: JsonFault,
    },
    /// No algorithm.
    #[error("the header has no `alg`; hint: RFC 7515 §4.1.1 requires it")]
    AlgMissing,
    /// The algorithm is no text.
    #[error("the header's `alg` is no string; hint: for example \"RS256\" (RFC 7515 §4.1.1)")]
    AlgNotText,
    /// The algorithm that signs nothing.
    #[error("the header's `alg` is `none`; hint: an unsigned token proves nothing (RFC 8725 §3.2)")]
    AlgNone,
    /// No signature algorithm that is known here.
    #[error("the header's `alg` is no signature algorithm known here; hint: RS, PS, ES or HS with 256, 384 or 512, or EdDSA, spelt so")]
    AlgUnknown,
    /// Extensions that must be understood.
    #[error("the header has `crit`; hint: no extension of JOSE is understood here, so none may be demanded (RFC 7515 §4.1.11)")]
    Critical,
    /// A payload that is not encoded.
    #[error("the header has `b64` (RFC 7797); hint: payloads are always base64url here")]
    Unencoded,
    /// The token brings or names its own key. With the member's name.
    #[error("the header has `{0}`, by which a token would choose its own key; hint: keys come from the key set alone (RFC 8725 §3.10)")]
    OwnKey(&'static str),
    /// The key in a proof's header is no object.
    #[error("the header's `jwk` is no object; hint: one public key as JWK (RFC 9449 §4.2)")]
    JwkNotObject,
    /// The type is no short text.
    #[error("the header's `typ` is no string of 1 to {LONGEST_TYP} visible ASCII characters; hint: for example \"JWT\" (RFC 7515 §4.1.9)")]
    Typ,
    /// The kid is no short text.
    #[error("the header's `kid` is no string of 1 to {LONGEST_KID} bytes without control characters; hint: RFC 7515 §4.1.4")]
    Kid,
}

/// The longest `typ`, in bytes: that of any registered media type.
pub const LONGEST_TYP: usize = 127;

impl Malformed {
    /// Every code there is, in the order in which the checks are made.
    pub const CODES: [&'static str; 27] = [
        "too_long",
        "encrypted",
        "parts",
        "part_empty",
        "unsigned",
        "base64_padded",
        "base64_white_space",
        "base64_alphabet",
        "base64_length",
        "base64_stray_bits",
        "json_not_utf8",
        "json_syntax",
        "json_not_object",
        "json_duplicate_member",
        "json_number_range",
        "json_too_deep",
        "json_trailing",
        "crit_refused",
        "b64_refused",
        "own_key",
        "jwk_not_object",
        "alg_missing",
        "alg_not_text",
        "alg_none",
        "alg_unknown",
        "typ_malformed",
        "kid_malformed",
    ];

    /// The stable code of it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "too_long",
            Self::Parts(_) => "parts",
            Self::Encrypted => "encrypted",
            Self::EmptyPart(_) => "part_empty",
            Self::Unsigned => "unsigned",
            Self::Padded(_) => "base64_padded",
            Self::WhiteSpace(_) => "base64_white_space",
            Self::Alphabet(_) => "base64_alphabet",
            Self::Length(_) => "base64_length",
            Self::StrayBits(_) => "base64_stray_bits",
            Self::Json { fault, .. } => fault.code(),
            Self::AlgMissing => "alg_missing",
            Self::AlgNotText => "alg_not_text",
            Self::AlgNone => "alg_none",
            Self::AlgUnknown => "alg_unknown",
            Self::Critical => "crit_refused",
            Self::Unencoded => "b64_refused",
            Self::OwnKey(_) => "own_key",
            Self::JwkNotObject => "jwk_not_object",
            Self::Typ => "typ_malformed",
            Self::Kid => "kid_malformed",
        }
    }
}
