//! Self-signed certificates around a public key, made by rcgen, for verifiers that want X.509 (RFC 7517 §4.7, §4.9).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose, PKCS_ED25519, SignatureAlgorithm};
use rsa::pkcs8::SecretDocument;
use zeroize::Zeroize as _;

use super::KeygenError;
use crate::digest::Digest;
use crate::jwk::PublicJwk;
use crate::key::{Algorithm, CertificateSpec};
use crate::secret::SecretText;
use crate::time::{Span, Timestamp};

/// How the certificate itself is signed. Its `SubjectPublicKeyInfo` says `rsaEncryption` for RSASSA-PSS keys too, because
/// they are published as plain RSA keys.
const fn signature_of(algorithm: Algorithm) -> Option<&'static SignatureAlgorithm> {
    Some(match algorithm {
        Algorithm::RS256 | Algorithm::PS256 => &rcgen::PKCS_RSA_SHA256,
        Algorithm::RS384 | Algorithm::PS384 => &rcgen::PKCS_RSA_SHA384,
        Algorithm::RS512 | Algorithm::PS512 => &rcgen::PKCS_RSA_SHA512,
        Algorithm::ES256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        Algorithm::ES384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        Algorithm::ES512 => &rcgen::PKCS_ECDSA_P521_SHA512,
        Algorithm::EdDsa => &PKCS_ED25519,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 | Algorithm::ApiKey => return None,
    })
}

/// Puts a certificate of `public`, valid from `now`, into its members `x5c` and `x5t#S256`.
pub(super) fn attach(public: &mut PublicJwk, asked: &CertificateSpec, private: &SecretText, now: Timestamp) -> Result<(), KeygenError> {
    let failed = |why: String| KeygenError::Certificate { common_name: asked.common_name.clone(), why };
    let signature = signature_of(public.alg).ok_or(KeygenError::WrongClass(public.alg))?;
    let (_, pkcs8) = SecretDocument::from_pem(private.expose()).map_err(|e| failed(e.to_string()))?;
    let mut key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.as_bytes().into(), signature).map_err(|e| failed(e.to_string()))?;
    let made = params(asked, now).self_signed(&key);
    key.zeroize();
    let certificate = made.map_err(|e| failed(e.to_string()))?;
    public.x5c = Some([STANDARD.encode(certificate.der()).into()]);
    public.x5t_s256 = Some(Digest::of(certificate.der()));
    Ok(())
}

fn params(asked: &CertificateSpec, now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, asked.common_name.as_str());
    params.distinguished_name = name;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Timestamp arithmetic saturates at the year 9999, which is as far as X.509 goes.
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.since(Timestamp::EPOCH).to_std();
    params.not_after = epoch + (now + asked.validity.max(Span::seconds(1))).since(Timestamp::EPOCH).to_std();
    params
}
