//! Public keys as JWK (RFC 7517, RFC 7518 §6, RFC 8037) and their thumbprints (RFC 7638).
//!
//! Invariant: [`PublicJwk`] has no field for a secret member (`d p q dp dq qi k oth`), so none can reach a key set.

mod numbers;
mod spki;
mod verify;

pub use numbers::{LEAST_RSA_BITS, LEAST_RSA_EXPONENT, MOST_RSA_BITS, NumbersError};
use serde::{Deserialize, Serialize};
pub use spki::{EC_PUBLIC_KEY, ED25519, RSA_ENCRYPTION};
pub use verify::VerifyingKey;

use crate::digest::Digest;
use crate::key::Algorithm;
use crate::name::Kid;

/// The numbers of a public key, each as base64url without padding (RFC 7518 §2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty", deny_unknown_fields)]
pub enum PublicNumbers {
    /// RFC 7518 §6.3.1.
    #[serde(rename = "RSA")]
    Rsa {
        /// Modulus, without leading zero octets.
        n: Box<str>,
        /// Exponent.
        e: Box<str>,
    },
    /// RFC 7518 §6.2.1; coordinates have the full length of the field.
    #[serde(rename = "EC")]
    Ec {
        /// The curve.
        crv: EcCurve,
        /// The x coordinate.
        x: Box<str>,
        /// The y coordinate.
        y: Box<str>,
    },
    /// RFC 8037 §2.
    #[serde(rename = "OKP")]
    Okp {
        /// Always Ed25519.
        crv: OkpCurve,
        /// The public key.
        x: Box<str>,
    },
}

/// The curves of ES256, ES384 and ES512.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are the standard's own
pub enum EcCurve {
    #[serde(rename = "P-256")]
    P256,
    #[serde(rename = "P-384")]
    P384,
    #[serde(rename = "P-521")]
    P521,
}

/// The curve of `EdDSA`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the name is the standard's own
pub enum OkpCurve {
    Ed25519,
}

/// A public key in a key set: `use` is always `sig`, and `alg` is what the token's header says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicJwk {
    /// The key's name.
    pub kid: Kid,
    /// What it signs with.
    pub alg: Algorithm,
    #[serde(rename = "use")]
    usage: SignatureUse,
    /// The key itself.
    #[serde(flatten)]
    pub numbers: PublicNumbers,
    /// The certificate in DER, base64 (RFC 7517 §4.7), where the policy asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x5c: Option<[Box<str>; 1]>,
    /// The certificate's SHA-256 (RFC 7517 §4.9).
    #[serde(default, rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    pub x5t_s256: Option<Digest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum SignatureUse {
    #[serde(rename = "sig")]
    Sig,
}

impl PublicNumbers {
    /// The RFC 7638 thumbprint: SHA-256 over the required members in lexicographic order, without white space.
    ///
    /// ```
    /// use keyrota::jwk::{OkpCurve, PublicNumbers};
    /// // RFC 8037, appendix A.3
    /// let numbers = PublicNumbers::Okp { crv: OkpCurve::Ed25519, x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into() };
    /// assert_eq!(numbers.thumbprint().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    /// ```
    pub fn thumbprint(&self) -> Digest {
        // In the order of their names, without white space. The values are base64url and fixed names: nothing needs escaping.
        let members = match self {
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
            Self::Ec { crv, x, y } => format!(r#"{{"crv":"{}","kty":"EC","x":"{x}","y":"{y}"}}"#, crv.as_str()),
            Self::Okp { crv: OkpCurve::Ed25519, x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
        };
        Digest::of(members.as_bytes())
    }
}

impl EcCurve {
    /// The registered name (RFC 7518 §6.2.1.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }
}

impl PublicJwk {
    /// A public key for signatures.
    pub const fn new(kid: Kid, alg: Algorithm, numbers: PublicNumbers) -> Self {
        Self { kid, alg, usage: SignatureUse::Sig, numbers, x5c: None, x5t_s256: None }
    }
}

/// A key set as verifiers fetch it (RFC 7517 §5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwkSet<Jwk = PublicJwk> {
    /// The keys, kids unique.
    pub keys: Vec<Jwk>,
}
