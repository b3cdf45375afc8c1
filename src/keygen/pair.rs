//! A key pair parsed once, ready to sign: what is generated, what is stored (as PKCS#8 PEM), and what signs tokens.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair};
use rsa::pkcs8::{LineEnding, SecretDocument};

use super::KeygenError;
use super::inspect::{Refusal, private_key_pem};
use crate::jwk::{EcCurve, PublicNumbers};
use crate::key::Algorithm;
use crate::secret::SecretText;

/// A key pair that can sign with its algorithm. Holds the private half in the back end's memory, which wipes it.
pub struct KeyPair {
    algorithm: Algorithm,
    kind: Kind,
}

enum Kind {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair, EcCurve),
    Ed(Ed25519KeyPair),
}

const fn rsa_encoding(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_SHA512,
        _ => return None,
    })
}

pub(super) const fn ecdsa(curve: EcCurve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        EcCurve::P256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        EcCurve::P384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        EcCurve::P521 => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
    }
}

impl KeyPair {
    /// A new, unchecked key pair. `rsa_bits` counts for RSA only.
    pub(super) fn generate(algorithm: Algorithm, rsa_bits: u16) -> Result<Self, KeygenError> {
        let failed = |_| KeygenError::Backend { doing: "generate", algorithm };
        let kind = if let Some(encoding) = rsa_encoding(algorithm) {
            let size = match rsa_bits {
                2048 => KeySize::Rsa2048,
                3072 => KeySize::Rsa3072,
                4096 => KeySize::Rsa4096,
                other => return Err(KeygenError::RsaSize(other)),
            };
            Kind::Rsa(RsaKeyPair::generate(size).map_err(failed)?, encoding)
        } else if let Some(curve) = EcCurve::of(algorithm) {
            Kind::Ec(EcdsaKeyPair::generate(ecdsa(curve)).map_err(failed)?, curve)
        } else if algorithm == Algorithm::EdDsa {
            Kind::Ed(Ed25519KeyPair::generate().map_err(failed)?)
        } else {
            return Err(KeygenError::WrongClass(algorithm));
        };
        Ok(Self { algorithm, kind })
    }

    /// Parses a stored private half (PKCS#8 PEM, RFC 5958). For keys that keyrota made or [`super::inspect`] accepted: its
    /// refusals do not say why.
    ///
    /// # Errors
    /// It is not the private half of a key pair for `algorithm`.
    pub fn from_pkcs8_pem(pem: &SecretText, algorithm: Algorithm) -> Result<Self, KeygenError> {
        Self::from_pkcs8_der(private_key_pem(pem)?.as_bytes(), algorithm)
    }

    pub(super) fn from_pkcs8_der(der: &[u8], algorithm: Algorithm) -> Result<Self, KeygenError> {
        let inconsistent = |_| Refusal::Inconsistent(algorithm);
        let kind = if let Some(encoding) = rsa_encoding(algorithm) {
            Kind::Rsa(RsaKeyPair::from_pkcs8(der).map_err(inconsistent)?, encoding)
        } else if let Some(curve) = EcCurve::of(algorithm) {
            Kind::Ec(EcdsaKeyPair::from_pkcs8(ecdsa(curve), der).map_err(inconsistent)?, curve)
        } else if algorithm == Algorithm::EdDsa {
            Kind::Ed(Ed25519KeyPair::from_pkcs8(der).map_err(inconsistent)?)
        } else {
            return Err(KeygenError::WrongClass(algorithm));
        };
        Ok(Self { algorithm, kind })
    }

    /// What it signs with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public half.
    ///
    /// # Errors
    /// The back end holds numbers that are malformed; not expected.
    pub fn numbers(&self) -> Result<PublicNumbers, KeygenError> {
        Ok(match &self.kind {
            Kind::Rsa(pair, _) => PublicNumbers::from_pkcs1_der(pair.public_key().as_ref())?,
            Kind::Ec(pair, curve) => PublicNumbers::ec(*curve, pair.public_key().as_ref())?,
            Kind::Ed(pair) => {
                let public = <&[u8; 32]>::try_from(pair.public_key().as_ref());
                PublicNumbers::ed25519(public.map_err(|_| KeygenError::Backend { doing: "read", algorithm: self.algorithm })?)
            }
        })
    }

    /// The private half as it is stored: PKCS#8 PEM, lines ended by LF.
    ///
    /// # Errors
    /// The back end could not write it; not expected.
    pub fn to_pkcs8_pem(&self) -> Result<SecretText, KeygenError> {
        let failed = || KeygenError::Backend { doing: "write", algorithm: self.algorithm };
        // Each of the three owns a buffer of its own type, which it wipes.
        let document = match &self.kind {
            Kind::Rsa(pair, _) => SecretDocument::try_from(pair.as_der().map_err(|_| failed())?.as_ref()),
            Kind::Ec(pair, _) => SecretDocument::try_from(pair.to_pkcs8v1().map_err(|_| failed())?.as_ref()),
            Kind::Ed(pair) => SecretDocument::try_from(pair.to_pkcs8v1().map_err(|_| failed())?.as_ref()),
        };
        let mut pem = document.and_then(|d| d.to_pem("PRIVATE KEY", LineEnding::LF)).map_err(|_| failed())?;
        Ok(SecretText::new(std::mem::take(&mut *pem)))
    }

    /// How many octets its signatures have.
    pub fn signature_length(&self) -> usize {
        match &self.kind {
            Kind::Rsa(pair, _) => pair.public_modulus_len(),
            Kind::Ec(_, curve) => 2 * curve.coordinate_bytes(),
            Kind::Ed(_) => 64,
        }
    }

    /// The JWS signature of `message` (RFC 7518 §3, RFC 8037 §3.1).
    ///
    /// # Errors
    /// The back end failed; not expected.
    #[allow(clippy::disallowed_methods, reason = "the randomness of signatures is keygen's business")]
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeygenError> {
        let failed = |_| KeygenError::Backend { doing: "sign with", algorithm: self.algorithm };
        let random = aws_lc_rs::rand::SystemRandom::new();
        match &self.kind {
            Kind::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Kind::Ec(pair, _) => pair.sign(&random, message).map(|s| s.as_ref().to_vec()).map_err(failed),
            Kind::Ed(pair) => pair.try_sign(message).map(|s| s.as_ref().to_vec()).map_err(failed),
        }
    }
}

/// Never shows material.
impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({})", self.algorithm)
    }
}
