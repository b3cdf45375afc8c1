//! The key that signs tokens, parsed once. Every algorithm goes through aws-lc-rs: jsonwebtoken would parse the key at every
//! signature, and has no ES512.

use crate::key::{Algorithm, Key, Material};
use crate::keygen::{HmacKey, HmacTag, KeyPair, KeygenError};
use crate::name::Kid;

/// A key that is ready to sign. Never shown: neither half has a `Debug` that tells anything.
#[derive(Debug)]
pub struct SigningKey {
    kid: Kid,
    algorithm: Algorithm,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Pair(KeyPair),
    Hmac(Box<HmacKey>),
}

/// A JWS signature.
pub(super) enum Signature {
    Pair(Vec<u8>),
    Hmac(HmacTag),
}

impl AsRef<[u8]> for Signature {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Pair(octets) => octets,
            Self::Hmac(tag) => tag.as_ref(),
        }
    }
}

impl SigningKey {
    /// Parses a key of a document.
    ///
    /// # Errors
    /// It has no private half, is an API key, or is damaged.
    pub fn of(key: &Key) -> Result<Self, KeygenError> {
        let wrong = || KeygenError::WrongClass(key.algorithm);
        let kind = match &key.material {
            Material::Pair { private, .. } => Kind::Pair(KeyPair::from_pkcs8_pem(private.as_ref().ok_or_else(wrong)?, key.algorithm)?),
            Material::Hmac { secret } => Kind::Hmac(Box::new(HmacKey::new(key.algorithm, secret).ok_or_else(wrong)?)),
            Material::ApiKey { .. } => return Err(wrong()),
        };
        Ok(Self { kid: key.kid.clone(), algorithm: key.algorithm, kind })
    }

    /// The same, quicker with messages that begin like `front`, where the algorithm is such.
    #[must_use]
    pub(super) fn expecting(self, front: &str) -> Self {
        let Self { kid, algorithm, kind } = self;
        let kind = match kind {
            Kind::Hmac(key) => Kind::Hmac(Box::new(key.expecting(front.as_bytes(), algorithm))),
            pair @ Kind::Pair(_) => pair,
        };
        Self { kid, algorithm, kind }
    }

    /// Its name.
    pub const fn kid(&self) -> &Kid {
        &self.kid
    }

    /// What it signs with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// How many octets its signatures have.
    pub(super) fn signature_length(&self) -> usize {
        match &self.kind {
            Kind::Pair(pair) => pair.signature_length(),
            Kind::Hmac(_) => usize::from(self.algorithm.least_hmac_bytes()),
        }
    }

    /// The JWS signature of `message`.
    ///
    /// # Errors
    /// The back end failed; not expected.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Signature, KeygenError> {
        Ok(match &self.kind {
            Kind::Pair(pair) => Signature::Pair(pair.sign(message)?),
            Kind::Hmac(key) => Signature::Hmac(key.sign(message)),
        })
    }
}
