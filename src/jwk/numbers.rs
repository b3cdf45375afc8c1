//! The members of a public key as bytes and back, and what must hold of them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{EcCurve, OkpCurve, PublicNumbers};

/// The smallest RSA modulus that JWS algorithms allow (RFC 7518 §3.3), in bits.
pub const LEAST_RSA_BITS: u32 = 2048;
/// The largest RSA modulus that is accepted, in bits. Beyond it verifying is slow enough to hurt the verifiers.
pub const MOST_RSA_BITS: u32 = 8192;
/// The smallest public exponent that is accepted (NIST FIPS 186-5 §5.1: greater than 2^16).
pub const LEAST_RSA_EXPONENT: u64 = 65_537;

/// What is wrong with the numbers of a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumbersError {
    /// A member is not strict base64url.
    #[error("member `{0}` is not base64url without padding (RFC 7515 §2); hint: no `=`, `+`, `/`, line breaks, or stray bits at the end")]
    NotBase64url(&'static str),
    /// An RSA number has zero octets in front.
    #[error("member `{0}` has leading zero octets; hint: RFC 7518 §6.3.1 wants the shortest form")]
    LeadingZero(&'static str),
    /// A coordinate is not as long as its field.
    #[error("member `{member}` has {is} octets where {curve} has {must}; hint: RFC 7518 §6.2.1 wants leading zeros kept")]
    Length {
        /// Which member.
        member: &'static str,
        /// The curve.
        curve: &'static str,
        /// How many octets there are.
        is: usize,
        /// How many there must be.
        must: usize,
    },
    /// The coordinates satisfy no curve equation.
    #[error("the point is not on {0}; hint: the key is damaged, or of another curve")]
    NotOnCurve(&'static str),
    /// The modulus is too short or too long.
    #[error("the RSA modulus has {0} bits; hint: at least {LEAST_RSA_BITS} (RFC 7518 §3.3) and at most {MOST_RSA_BITS}")]
    RsaSize(u32),
    /// The modulus is even.
    #[error("the RSA modulus is even, so it is no product of two primes; hint: the key is damaged")]
    EvenModulus,
    /// The public exponent is even, too small, or too large.
    #[error("the RSA public exponent is {0}; hint: an odd number from {LEAST_RSA_EXPONENT} to 2^33 - 1, generally {LEAST_RSA_EXPONENT}")]
    RsaExponent(String),
    /// The key is of a kind that no algorithm here uses, or not a public key at all.
    #[error("this is not a public key of RSA, P-256, P-384, P-521 or Ed25519; hint: a PEM block `PUBLIC KEY` (RFC 5280)")]
    UnknownKind,
}

impl EcCurve {
    /// How many octets a coordinate has (RFC 7518 §6.2.1.2).
    pub const fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The size of the field in bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::P256 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }
}

impl PublicNumbers {
    /// An RSA key of big-endian numbers; zero octets in front are dropped.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        let shortest = |bytes: &[u8]| {
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            URL_SAFE_NO_PAD.encode(bytes.get(zeros..).unwrap_or_default()).into()
        };
        Self::Rsa { n: shortest(modulus), e: shortest(exponent) }
    }

    /// An EC key of its uncompressed point (SEC 1 §2.3.3: `04`, x, y).
    ///
    /// # Errors
    /// The point is compressed or not as long as the curve's.
    pub fn ec(crv: EcCurve, point: &[u8]) -> Result<Self, NumbersError> {
        let half = crv.coordinate_bytes();
        let wrong = || NumbersError::Length { member: "x", curve: crv.as_str(), is: point.len() / 2, must: half };
        let [4, coordinates @ ..] = point else { return Err(wrong()) };
        if coordinates.len() != 2 * half {
            return Err(wrong());
        }
        let (x, y) = coordinates.split_at(half);
        Ok(Self::Ec { crv, x: URL_SAFE_NO_PAD.encode(x).into(), y: URL_SAFE_NO_PAD.encode(y).into() })
    }

    /// An Ed25519 key of its 32 octets (RFC 8032 §5.1.5).
    pub fn ed25519(public: &[u8; 32]) -> Self {
        Self::Okp { crv: OkpCurve::Ed25519, x: URL_SAFE_NO_PAD.encode(public).into() }
    }

    /// The size: bits of the RSA modulus, bits of the field of EC, 256 for Ed25519. Zero if the modulus is not base64url.
    pub fn bits(&self) -> u32 {
        match self {
            Self::Rsa { n, .. } => URL_SAFE_NO_PAD.decode(&**n).map_or(0, |modulus| bit_length(&modulus)),
            Self::Ec { crv, .. } => crv.bits(),
            Self::Okp { crv: OkpCurve::Ed25519, .. } => 256,
        }
    }

    /// Whether this is a key that tokens may be verified with: strict encoding, full-length coordinates on the curve,
    /// an RSA modulus of [`LEAST_RSA_BITS`] to [`MOST_RSA_BITS`] and an exponent of at least [`LEAST_RSA_EXPONENT`].
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self) -> Result<(), NumbersError> {
        match self {
            Self::Rsa { n, e } => check_rsa(&shortest("n", n)?, &shortest("e", e)?),
            Self::Ec { crv, .. } => {
                let point = self.raw()?;
                aws_lc_rs::signature::ParsedPublicKey::new(super::verify::ecdsa(*crv), point)
                    .map(|_| ())
                    .map_err(|_| NumbersError::NotOnCurve(crv.as_str()))
            }
            Self::Okp { .. } => self.raw().map(|_| ()),
        }
    }

    /// The key as signature libraries take it: the uncompressed point of EC, the 32 octets of Ed25519, the modulus of RSA.
    pub(super) fn raw(&self) -> Result<Vec<u8>, NumbersError> {
        match self {
            Self::Rsa { n, .. } => shortest("n", n),
            Self::Ec { crv, x, y } => {
                let mut point = vec![4];
                point.extend(exactly("x", x, crv.as_str(), crv.coordinate_bytes())?);
                point.extend(exactly("y", y, crv.as_str(), crv.coordinate_bytes())?);
                Ok(point)
            }
            Self::Okp { crv: OkpCurve::Ed25519, x } => exactly("x", x, "Ed25519", 32),
        }
    }

    /// Modulus and exponent of RSA, big-endian.
    pub(super) fn rsa_parts(n: &str, e: &str) -> Result<(Vec<u8>, Vec<u8>), NumbersError> {
        Ok((shortest("n", n)?, shortest("e", e)?))
    }
}

fn decode(member: &'static str, text: &str) -> Result<Vec<u8>, NumbersError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| NumbersError::NotBase64url(member))
}

fn shortest(member: &'static str, text: &str) -> Result<Vec<u8>, NumbersError> {
    let bytes = decode(member, text)?;
    if bytes.first().is_none_or(|first| *first == 0) { Err(NumbersError::LeadingZero(member)) } else { Ok(bytes) }
}

fn exactly(member: &'static str, text: &str, curve: &'static str, must: usize) -> Result<Vec<u8>, NumbersError> {
    let bytes = decode(member, text)?;
    if bytes.len() == must { Ok(bytes) } else { Err(NumbersError::Length { member, curve, is: bytes.len(), must }) }
}

fn check_rsa(modulus: &[u8], exponent: &[u8]) -> Result<(), NumbersError> {
    let bits = bit_length(modulus);
    if !(LEAST_RSA_BITS..=MOST_RSA_BITS).contains(&bits) {
        return Err(NumbersError::RsaSize(bits));
    }
    if modulus.last().is_none_or(|last| last.is_multiple_of(2)) {
        return Err(NumbersError::EvenModulus);
    }
    if exponent.len() > 8 {
        return Err(NumbersError::RsaExponent(format!("a number of {} bits", bit_length(exponent))));
    }
    let value = exponent.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let lawful = (LEAST_RSA_EXPONENT..1 << 33).contains(&value) && value % 2 == 1;
    if lawful { Ok(()) } else { Err(NumbersError::RsaExponent(value.to_string())) }
}

/// Bits from the highest one that is set.
fn bit_length(big_endian: &[u8]) -> u32 {
    let zeros = big_endian.iter().take_while(|byte| **byte == 0).count();
    let rest = big_endian.get(zeros..).unwrap_or_default();
    let octets = u32::try_from(rest.len()).unwrap_or(u32::MAX / 8);
    octets * 8 - rest.first().map_or(0, |first| first.leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_count_from_the_highest() {
        for (bytes, bits) in [(&[][..], 0), (&[0], 0), (&[1], 1), (&[0, 0x80], 8), (&[1, 0], 9), (&[0xff, 0xff], 16)] {
            assert_eq!(bit_length(bytes), bits, "{bytes:?}");
        }
    }

    #[test]
    fn rsa_limits_are_exact() {
        let modulus = |bits: usize| {
            let mut bytes = vec![0; bits.div_ceil(8)];
            bytes[0] = 1 << ((bits - 1) % 8);
            *bytes.last_mut().unwrap() |= 1;
            bytes
        };
        let fits = |bits, exponent: u64| {
            let numbers = PublicNumbers::rsa(&modulus(bits), &exponent.to_be_bytes());
            assert_eq!(numbers.bits() as usize, bits);
            numbers.check()
        };
        assert_eq!(fits(2048, 65_537), Ok(()));
        assert_eq!(fits(8192, (1 << 33) - 1), Ok(()));
        assert_eq!(fits(2047, 65_537), Err(NumbersError::RsaSize(2047)));
        assert_eq!(fits(8193, 65_537), Err(NumbersError::RsaSize(8193)));
        for exponent in [1, 3, 65_535, 65_536, 65_538, 1 << 33, (1 << 33) + 1] {
            assert_eq!(fits(2048, exponent), Err(NumbersError::RsaExponent(exponent.to_string())));
        }
    }

    #[test]
    fn loose_encodings_are_refused() {
        let okp = |x: &str| PublicNumbers::Okp { crv: OkpCurve::Ed25519, x: x.into() }.check();
        let good = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        assert_eq!(okp(good), Ok(()));
        // The last character carries two bits that must be zero: `p` would decode to the same octets.
        for bad in [format!("{good}="), good.replace('_', "/"), good.replace("URo", "URp"), format!("{good}\n")] {
            assert_eq!(okp(&bad), Err(NumbersError::NotBase64url("x")), "{bad}");
        }
        assert!(matches!(okp("AA"), Err(NumbersError::Length { is: 1, must: 32, .. })));
        let rsa = PublicNumbers::Rsa { n: "AAEB".into(), e: "AQAB".into() };
        assert_eq!(rsa.check(), Err(NumbersError::LeadingZero("n")));
    }
}
