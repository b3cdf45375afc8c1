//! Verifying one signature with one public key: the primitive below tokens and self-checks. Judges no header and no claim.

use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};

use super::{EcCurve, PublicNumbers};
use crate::key::Algorithm;

pub(super) const fn ecdsa(curve: EcCurve) -> &'static EcdsaVerificationAlgorithm {
    match curve {
        EcCurve::P256 => &signature::ECDSA_P256_SHA256_FIXED,
        EcCurve::P384 => &signature::ECDSA_P384_SHA384_FIXED,
        EcCurve::P521 => &signature::ECDSA_P521_SHA512_FIXED,
    }
}

const fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

impl EcCurve {
    /// The curve that an algorithm signs on (RFC 7518 §3.4); `None` for those that are not ECDSA.
    pub const fn of(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::ES256 => Some(Self::P256),
            Algorithm::ES384 => Some(Self::P384),
            Algorithm::ES512 => Some(Self::P521),
            _ => None,
        }
    }
}

/// A public key, bound to one algorithm and parsed once, for whoever verifies many signatures.
pub struct VerifyingKey(ParsedPublicKey);

impl VerifyingKey {
    /// Whether `signature` is the JWS signature (RFC 7518 §3, RFC 8037 §3.1) of `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}

impl PublicNumbers {
    /// The key, ready to verify with `algorithm` and no other; `None` if it is malformed, too weak or of another kind.
    pub fn verifying_key(&self, algorithm: Algorithm) -> Option<VerifyingKey> {
        self.check().ok().filter(|()| self.suits(algorithm))?;
        let parsed = match self {
            Self::Rsa { .. } => ParsedPublicKey::new(rsa(algorithm)?, self.to_spki_der().ok()?),
            Self::Ec { crv, .. } => ParsedPublicKey::new(ecdsa(*crv), self.raw().ok()?),
            Self::Okp { .. } => ParsedPublicKey::new(&signature::ED25519, self.raw().ok()?),
        };
        parsed.ok().map(VerifyingKey)
    }

    /// Whether a key of this kind can sign with `algorithm`.
    pub fn suits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa { .. } => algorithm.is_rsa(),
            Self::Ec { crv, .. } => EcCurve::of(algorithm) == Some(*crv),
            Self::Okp { .. } => algorithm == Algorithm::EdDsa,
        }
    }

    /// Whether `signature` is the JWS signature (RFC 7518 §3, RFC 8037 §3.1) of `message` by this key with `algorithm`.
    /// A key that is malformed or of another kind verifies nothing.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.suits(algorithm) {
            return false;
        }
        let verdict = match self {
            Self::Rsa { n, e } => match (Self::rsa_parts(n, e), rsa(algorithm)) {
                (Ok((n, e)), Some(parameters)) => RsaPublicKeyComponents { n, e }.verify(parameters, message, signature),
                _ => return false,
            },
            Self::Ec { crv, .. } => match self.raw() {
                Ok(point) => UnparsedPublicKey::new(ecdsa(*crv), point).verify(message, signature),
                Err(_) => return false,
            },
            Self::Okp { .. } => match self.raw() {
                Ok(public) => UnparsedPublicKey::new(&signature::ED25519, public).verify(message, signature),
                Err(_) => return false,
            },
        };
        verdict.is_ok()
    }
}
