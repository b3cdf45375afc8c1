//! Public keys as `SubjectPublicKeyInfo`, the PEM block `PUBLIC KEY` (RFC 5280 §4.1.2.7; RSA: RFC 3279, EC: RFC 5480,
//! Ed25519: RFC 8410).

use rsa::pkcs8::der::asn1::{AnyRef, BitStringRef};
use rsa::pkcs8::der::{Decode as _, Encode as _};
use rsa::pkcs8::{AlgorithmIdentifierRef, Document, LineEnding, ObjectIdentifier, SubjectPublicKeyInfoRef};
use rsa::traits::PublicKeyParts as _;

use super::numbers::MOST_RSA_BITS;
use super::{EcCurve, NumbersError, OkpCurve, PublicNumbers};

/// `rsaEncryption` (RFC 3279 §2.3.1).
pub const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// `id-ecPublicKey` (RFC 5480 §2.1.1).
pub const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// `id-Ed25519` (RFC 8410 §3).
pub const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

impl EcCurve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// The curve's name in certificates and key files (RFC 5480 §2.1.1.1).
    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::P256 => ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
            Self::P384 => ObjectIdentifier::new_unwrap("1.3.132.0.34"),
            Self::P521 => ObjectIdentifier::new_unwrap("1.3.132.0.35"),
        }
    }

    /// The curve of that name.
    pub fn from_oid(oid: ObjectIdentifier) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.oid() == oid)
    }
}

impl PublicNumbers {
    /// The key as a PEM block `PUBLIC KEY`, lines ended by LF.
    ///
    /// # Errors
    /// The numbers are malformed; [`PublicNumbers::check`] would say the same or more.
    pub fn to_spki_pem(&self) -> Result<String, NumbersError> {
        self.to_spki()?.to_pem("PUBLIC KEY", LineEnding::LF).map_err(|_| NumbersError::UnknownKind)
    }

    /// The key as `SubjectPublicKeyInfo` in DER.
    ///
    /// # Errors
    /// As [`PublicNumbers::to_spki_pem`].
    pub fn to_spki_der(&self) -> Result<Vec<u8>, NumbersError> {
        self.to_spki().map(Document::into_vec)
    }

    fn to_spki(&self) -> Result<Document, NumbersError> {
        let unknown = |_| NumbersError::UnknownKind;
        let (oid, parameters, key) = match self {
            Self::Rsa { n, e } => {
                let (n, e) = Self::rsa_parts(n, e)?;
                let parts = rsa::pkcs1::RsaPublicKey {
                    modulus: rsa::pkcs1::UintRef::new(&n).map_err(unknown)?,
                    public_exponent: rsa::pkcs1::UintRef::new(&e).map_err(unknown)?,
                };
                (RSA_ENCRYPTION, Some(AnyRef::NULL), parts.to_der().map_err(unknown)?)
            }
            Self::Ec { crv, .. } => return spki(EC_PUBLIC_KEY, Some(AnyRef::from(&crv.oid())), &self.raw()?),
            Self::Okp { crv: OkpCurve::Ed25519, .. } => (ED25519, None, self.raw()?),
        };
        spki(oid, parameters, &key)
    }

    /// Reads a PEM block `PUBLIC KEY`.
    ///
    /// # Errors
    /// It is no such block, or the key in it is of no kind known here or malformed ([`PublicNumbers::check`]).
    pub fn from_spki_pem(pem: &str) -> Result<Self, NumbersError> {
        let (label, document) = Document::from_pem(pem).map_err(|_| NumbersError::UnknownKind)?;
        if label == "PUBLIC KEY" { Self::from_spki_der(document.as_bytes()) } else { Err(NumbersError::UnknownKind) }
    }

    /// Reads `SubjectPublicKeyInfo` in DER.
    ///
    /// # Errors
    /// As [`PublicNumbers::from_spki_pem`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self, NumbersError> {
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| NumbersError::UnknownKind)?;
        let key = spki.subject_public_key.as_bytes().ok_or(NumbersError::UnknownKind)?;
        let numbers = match spki.algorithm.oid {
            RSA_ENCRYPTION => from_pkcs1(key)?,
            EC_PUBLIC_KEY => {
                let curve = spki.algorithm.parameters_oid().ok().and_then(EcCurve::from_oid).ok_or(NumbersError::UnknownKind)?;
                Self::ec(curve, key)?
            }
            ED25519 => {
                let wrong = NumbersError::Length { member: "x", curve: "Ed25519", is: key.len(), must: 32 };
                Self::ed25519(key.try_into().map_err(|_| wrong)?)
            }
            _ => return Err(NumbersError::UnknownKind),
        };
        numbers.check().map(|()| numbers)
    }

    /// Reads an RSA public key as PKCS#1 `RSAPublicKey` in DER (RFC 8017 §A.1.1).
    ///
    /// # Errors
    /// It is no such structure, or malformed ([`PublicNumbers::check`]).
    pub fn from_pkcs1_der(der: &[u8]) -> Result<Self, NumbersError> {
        let numbers = from_pkcs1(der)?;
        numbers.check().map(|()| numbers)
    }
}

fn spki(oid: ObjectIdentifier, parameters: Option<AnyRef<'_>>, key: &[u8]) -> Result<Document, NumbersError> {
    let subject_public_key = BitStringRef::from_bytes(key).map_err(|_| NumbersError::UnknownKind)?;
    let info = SubjectPublicKeyInfoRef { algorithm: AlgorithmIdentifierRef { oid, parameters }, subject_public_key };
    Document::encode_msg(&info).map_err(|_| NumbersError::UnknownKind)
}

fn from_pkcs1(der: &[u8]) -> Result<PublicNumbers, NumbersError> {
    let parts = rsa::pkcs1::RsaPublicKey::from_der(der).map_err(|_| NumbersError::UnknownKind)?;
    let big = rsa::BigUint::from_bytes_be;
    let (n, e) = (big(parts.modulus.as_bytes()), big(parts.public_exponent.as_bytes()));
    let numbers = PublicNumbers::rsa(&n.to_bytes_be(), &e.to_bytes_be());
    // The crate's own judgement comes after ours, which gives the reason and the number.
    numbers.check()?;
    let key = rsa::RsaPublicKey::new_with_max_size(n, e, MOST_RSA_BITS as usize).map_err(|_| NumbersError::UnknownKind)?;
    Ok(PublicNumbers::rsa(&key.n().to_bytes_be(), &key.e().to_bytes_be()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8410 §10.1, and the same key as the RFC's text gives it in octets.
    const ED25519_PEM: &str =
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn rfc8410_public_key() {
        let numbers = PublicNumbers::from_spki_pem(ED25519_PEM).unwrap();
        assert_eq!(numbers, PublicNumbers::Okp { crv: OkpCurve::Ed25519, x: "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE".into() });
        assert_eq!(numbers.to_spki_pem().as_deref(), Ok(ED25519_PEM));
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        let damaged = ED25519_PEM.replace("GcowBQ", "").replace("MCow", "MCox");
        for pem in ["", "-----BEGIN PUBLIC KEY-----", &damaged, &ED25519_PEM.replace("PUBLIC", "PRIVATE")] {
            assert!(PublicNumbers::from_spki_pem(pem).is_err(), "{pem}");
        }
        // X25519 (1.3.101.110) has the same shape and signs nothing.
        let mut der = Document::from_pem(ED25519_PEM).unwrap().1.into_vec();
        assert_eq!(der[8], 0x70);
        der[8] = 0x6e;
        assert_eq!(PublicNumbers::from_spki_der(&der), Err(NumbersError::UnknownKind));
    }
}
