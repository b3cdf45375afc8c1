//! What a key is: its algorithm, its class, what is asked of a new one ([`KeySpec`]) and the key itself ([`Key`]).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::jwk::PublicJwk;
use crate::name::Kid;
use crate::secret::SecretText;
use crate::time::{Span, Timestamp};

/// What a keyset's tokens are signed with: a JWS algorithm (RFC 7518 §3.1, RFC 8037 §3.1), or an opaque API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[allow(missing_docs)] // the names are the standard's own
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    #[serde(rename = "EdDSA")]
    EdDsa,
    HS256,
    HS384,
    HS512,
    #[serde(rename = "api-key")]
    ApiKey,
}

/// What kind of material a keyset holds. It never changes: another class is another keyset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyClass {
    /// A key pair: verifiers hold the public half.
    Asymmetric,
    /// A shared secret: verifiers hold the same secret.
    Hmac,
    /// An opaque credential that is presented, not used to sign.
    ApiKey,
}

impl Algorithm {
    /// Every algorithm, in the order in which they are documented.
    pub const ALL: [Self; 14] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDsa,
        Self::HS256,
        Self::HS384,
        Self::HS512,
        Self::ApiKey,
    ];

    /// The name that a JWS header and a JWK carry (`EdDSA`, not `Ed25519`: popular libraries refuse the latter).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDsa => "EdDSA",
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::ApiKey => "api-key",
        }
    }

    /// The class of material behind it.
    pub const fn class(self) -> KeyClass {
        match self {
            Self::HS256 | Self::HS384 | Self::HS512 => KeyClass::Hmac,
            Self::ApiKey => KeyClass::ApiKey,
            _ => KeyClass::Asymmetric,
        }
    }

    /// Whether it is one of the six RSA schemes.
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512)
    }

    /// The least length of an HMAC secret in bytes: that of its hash (RFC 7518 §3.2). Zero for other classes.
    pub const fn least_hmac_bytes(self) -> u16 {
        match self {
            Self::HS256 => 32,
            Self::HS384 => 48,
            Self::HS512 => 64,
            _ => 0,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|a| a.as_str() == text).ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|a| a.as_str()).collect();
            format!("`{text}` is not an algorithm; hint: one of {}", all.join(", "))
        })
    }
}

/// How the kid of a new key is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KidFormat {
    /// The RFC 7638 SHA-256 thumbprint of the public key. Only for key pairs: the thumbprint of a secret would tell about it.
    Thumbprint,
    /// A random UUIDv7.
    Uuid,
    /// The prefix, then a random UUIDv7.
    Prefix(String),
}

/// How the bytes of an HMAC secret are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretEncoding {
    /// Base64url without padding (RFC 4648 §5).
    Base64url,
    /// Lower-case hexadecimal.
    Hex,
    /// Digits and letters.
    Base62,
}

/// What is asked of a self-signed certificate around a public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateSpec {
    /// The subject's common name.
    pub common_name: String,
    /// How long it is valid.
    pub validity: Span,
}

/// What is asked of a new key. One variant per class, so that an RSA size cannot be asked of an HMAC secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeySpec {
    /// A key pair.
    Pair {
        /// One of the asymmetric algorithms.
        algorithm: Algorithm,
        /// The modulus length; meaningless but for RSA, where it is 2048, 3072 or 4096.
        rsa_bits: u16,
        /// How the kid is made.
        kid: KidFormat,
        /// The certificate around it, if any.
        certificate: Option<CertificateSpec>,
    },
    /// A shared secret. The HMAC key is the UTF-8 bytes of the *whole text*, prefix included.
    Hmac {
        /// One of the HMAC algorithms.
        algorithm: Algorithm,
        /// Random bytes behind the text.
        bytes: u16,
        /// Text in front of the encoded bytes.
        prefix: String,
        /// How the bytes are written.
        encoding: SecretEncoding,
        /// How the kid is made.
        kid: KidFormat,
    },
    /// An opaque API key: the prefix, 256 random bits in base62, and a checksum by which scanners recognise it.
    ApiKey {
        /// Text in front.
        prefix: String,
        /// How the kid is made.
        kid: KidFormat,
    },
    /// A shared secret that a vendor makes: its length, its form and its kid are the vendor's to choose.
    Vendor {
        /// One of the HMAC algorithms.
        algorithm: Algorithm,
    },
}

impl KeySpec {
    /// What keys of this kind sign with.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Pair { algorithm, .. } | Self::Hmac { algorithm, .. } | Self::Vendor { algorithm } => *algorithm,
            Self::ApiKey { .. } => Algorithm::ApiKey,
        }
    }

    /// The class of material.
    pub const fn class(&self) -> KeyClass {
        self.algorithm().class()
    }

    /// The size in bits that a key must have, where the policy chooses one: RSA moduli and HMAC secrets.
    pub const fn bits(&self) -> Option<u32> {
        match self {
            Self::Pair { algorithm, rsa_bits, .. } if algorithm.is_rsa() => Some(*rsa_bits as u32),
            Self::Hmac { bytes, .. } => Some(*bytes as u32 * 8),
            Self::Pair { .. } | Self::ApiKey { .. } | Self::Vendor { .. } => None,
        }
    }

    /// Names what a change of which brings the next rotation forward: algorithm, size, and whether a vendor makes the keys.
    pub fn digest(&self) -> Digest {
        if let Self::Vendor { algorithm } = self {
            return Digest::of(format!("{algorithm}|vendor").as_bytes());
        }
        Digest::of(format!("{}|{:?}", self.algorithm(), self.bits()).as_bytes())
    }

    /// Whether `key` is of the algorithm and the size that this asks for. Of an imported secret only the algorithm is asked; one that a
    /// vendor is to make does not come from here.
    pub fn fits(&self, key: &Key) -> bool {
        let size_fits = match (self.bits(), key.origin) {
            (None, origin) if matches!(self, Self::Vendor { .. }) => origin == Origin::Imported,
            (None, _) | (Some(_), Origin::Imported) => true,
            (Some(bits), Origin::Generated) => key.bits == bits,
        };
        key.algorithm == self.algorithm() && size_fits
    }
}

/// Where a key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// keyrota made it.
    Generated,
    /// An operator or a vendor's API handed it in.
    Imported,
}

/// One key, whatever its state. The document says which state it is in.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub kid: Kid,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// Its size: modulus bits of RSA, field bits of EC and Ed25519, random bits of a secret.
    pub bits: u32,
    /// When it was generated, or imported where that is not known. Ages count from here.
    pub created_at: Timestamp,
    /// Where it came from.
    pub origin: Origin,
    /// When its vendor stops accepting it, where it says so.
    pub expires_at: Option<Timestamp>,
    /// The key itself.
    pub material: Material,
}

/// The bytes of a key, by class. What may be gone is an `Option`; what must stay is not.
#[derive(Clone, PartialEq, Eq)]
pub enum Material {
    /// A key pair.
    Pair {
        /// The public half, as it stands in a key set.
        public: PublicJwk,
        /// The private half as PKCS#8 PEM (RFC 5958); `None` once it was erased.
        private: Option<SecretText>,
    },
    /// A shared secret, which verifiers need for as long as the key lives.
    Hmac {
        /// The secret: its UTF-8 bytes are the HMAC key.
        secret: SecretText,
    },
    /// An API key, of which only the digest is needed to recognise it.
    ApiKey {
        /// The key; `None` once it was erased.
        secret: Option<SecretText>,
        /// SHA-256 of the key.
        digest: Digest,
    },
}

impl Key {
    /// The class of its material.
    pub const fn class(&self) -> KeyClass {
        match self.material {
            Material::Pair { .. } => KeyClass::Asymmetric,
            Material::Hmac { .. } => KeyClass::Hmac,
            Material::ApiKey { .. } => KeyClass::ApiKey,
        }
    }

    /// The public half, which only key pairs have.
    pub const fn public_jwk(&self) -> Option<&PublicJwk> {
        match &self.material {
            Material::Pair { public, .. } => Some(public),
            Material::Hmac { .. } | Material::ApiKey { .. } => None,
        }
    }

    /// The private half, the shared secret or the API key, where it is still held.
    pub const fn secret(&self) -> Option<&SecretText> {
        match &self.material {
            Material::Pair { private, .. } => private.as_ref(),
            Material::Hmac { secret } => Some(secret),
            Material::ApiKey { secret, .. } => secret.as_ref(),
        }
    }

    /// Whether it can sign (or be presented).
    pub const fn can_sign(&self) -> bool {
        self.secret().is_some()
    }

    /// Whether there is something in it that is to be erased `rollback_window` after it stopped signing.
    pub const fn is_erasable(&self) -> bool {
        !matches!(self.material, Material::Hmac { .. }) && self.can_sign()
    }

    /// The same key with words in the place of every secret: for output that is shown or sent elsewhere.
    #[must_use]
    pub fn without_secrets(mut self) -> Self {
        let words = || SecretText::new("(not shown)".into());
        match &mut self.material {
            Material::Pair { private: secret @ Some(_), .. } | Material::ApiKey { secret: secret @ Some(_), .. } => {
                *secret = Some(words());
            }
            Material::Hmac { secret } => *secret = words(),
            Material::Pair { private: None, .. } | Material::ApiKey { secret: None, .. } => {}
        }
        self
    }

    /// The same key without what signs; an HMAC secret stays, because its verifiers need it.
    #[must_use]
    pub fn erased(mut self) -> Self {
        match &mut self.material {
            Material::Pair { private, .. } => *private = None,
            Material::ApiKey { secret, .. } => *secret = None,
            Material::Hmac { .. } => {}
        }
        self
    }
}

/// Never shows material.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let half = if self.can_sign() { "can sign" } else { "erased" };
        write!(f, "{} ({} {} bits, created {}, {half})", self.kid, self.algorithm, self.bits, self.created_at)
    }
}
