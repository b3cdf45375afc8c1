//! Private JWK (RFC 7518 §6, RFC 8037 §2), both ways: read from whoever hands one in, written for whoever exports one.
//!
//! This is the one place that knows the secret members `d p q dp dq qi k`. Nothing of it ever comes near a key set, whose type is
//! [`PublicJwk`](crate::jwk::PublicJwk).

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::pkcs1::UintRef;
use rsa::pkcs8::PrivateKeyInfo;
use rsa::pkcs8::der::{Decode as _, Encode as _};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{ImportError, KeygenError, inspect, judge_public, pem};
use crate::jwk::{EcCurve, OkpCurve, PublicNumbers};
use crate::key::{Algorithm, Key, Material};
use crate::keygen::inspect::private_key_pem;
use crate::name::Kid;
use crate::secret::SecretText;

/// A JWK that was read: its public numbers, and what signs as PKCS#8 if it bears that.
pub struct PrivateJwk {
    /// The public half.
    pub numbers: PublicNumbers,
    /// The private half, inspected; `None`: it is a public JWK.
    pub private: Option<SecretText>,
    /// Its own name.
    pub kid: Option<Kid>,
}

/// Every member that is known here; wiped when dropped.
#[derive(Default, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Members {
    #[serde(skip_serializing_if = "Option::is_none")]
    kty: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    usage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    d: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    q: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dq: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qi: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<String>,
}

const ONE_KEY: &str = "hand in one key, not a key set";

fn wrong(what: impl Into<String>, hint: &'static str) -> ImportError {
    ImportError::Jwk { what: what.into(), hint }
}

fn members(text: &str, algorithm: Algorithm) -> Result<Members, ImportError> {
    let members: Members =
        serde_json::from_str(text).map_err(|e| wrong(format!("no JSON of a key at line {}, column {}", e.line(), e.column()), ONE_KEY))?;
    if members.kty.is_none() {
        return Err(wrong("it has no `kty`", ONE_KEY));
    }
    if let Some(alg) = members.alg.as_deref().filter(|alg| *alg != algorithm.as_str()) {
        let shown: String = alg.chars().take(20).collect();
        return Err(wrong(
            format!("its `alg` is `{shown}`, and a key for {algorithm} was asked for"),
            "hand in another key, or --algorithm",
        ));
    }
    if members.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return Err(wrong("its `use` is not `sig`", "a key for encryption signs nothing"));
    }
    Ok(members)
}

fn bytes(member: Option<&String>, name: &str) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let text = member.ok_or_else(|| wrong(format!("it has no `{name}`"), "is it cut short?"))?;
    let decoded =
        URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong(format!("`{name}` is not base64url without padding"), "is it damaged?"))?;
    Ok(Zeroizing::new(decoded))
}

fn named(members: &Members) -> Result<Option<Kid>, ImportError> {
    let kid = members.kid.as_deref().map(str::parse).transpose();
    kid.map_err(|_| wrong("its `kid` has characters that URLs and headers do not carry unharmed", "give it another name with --kid"))
}

impl PrivateJwk {
    /// Reads a JWK of a key pair for `algorithm`, and judges it.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn read(text: &str, algorithm: Algorithm) -> Result<Self, ImportError> {
        let members = members(text, algorithm)?;
        let numbers = public(&members)?;
        judge_public(&numbers, algorithm)?;
        let kid = named(&members)?;
        if members.d.is_none() {
            return Ok(Self { numbers, private: None, kid });
        }
        let private = private(&members, &numbers, algorithm)?;
        let (found, _) = inspect(&private, algorithm)?;
        if found != numbers {
            return Err(KeygenError::Refused(inspect::Refusal::Inconsistent(algorithm)).into());
        }
        Ok(Self { numbers, private: Some(private), kid })
    }

    /// A key as a private JWK.
    ///
    /// # Errors
    /// If it has no private half any more, or one that cannot be read.
    pub fn write(key: &Key) -> Result<SecretText, KeygenError> {
        let failed = || KeygenError::Backend { doing: "write", algorithm: key.algorithm };
        let encode = |bytes: &[u8]| Some(URL_SAFE_NO_PAD.encode(bytes));
        let mut members = Members::default();
        (members.kid, members.alg, members.usage) = (Some(key.kid.to_string()), Some(key.algorithm.to_string()), Some("sig".into()));
        match &key.material {
            Material::Pair { public, private } => {
                let private = private.as_ref().ok_or_else(failed)?;
                let document = private_key_pem(private)?;
                let info = PrivateKeyInfo::from_der(document.as_bytes()).map_err(|_| failed())?;
                match &public.numbers {
                    PublicNumbers::Rsa { n, e } => {
                        let parts = rsa::pkcs1::RsaPrivateKey::from_der(info.private_key).map_err(|_| failed())?;
                        (members.kty, members.n, members.e) = (Some("RSA".into()), Some(n.to_string()), Some(e.to_string()));
                        members.d = encode(parts.private_exponent.as_bytes());
                        (members.p, members.q) = (encode(parts.prime1.as_bytes()), encode(parts.prime2.as_bytes()));
                        (members.dp, members.dq) = (encode(parts.exponent1.as_bytes()), encode(parts.exponent2.as_bytes()));
                        members.qi = encode(parts.coefficient.as_bytes());
                    }
                    PublicNumbers::Ec { crv, x, y } => {
                        let pair = EcdsaKeyPair::from_pkcs8(crate::keygen::pair::ecdsa(*crv), document.as_bytes()).map_err(|_| failed())?;
                        (members.kty, members.crv) = (Some("EC".into()), Some(crv.as_str().into()));
                        (members.x, members.y) = (Some(x.to_string()), Some(y.to_string()));
                        members.d = encode(pair.private_key().as_be_bytes().map_err(|_| failed())?.as_ref());
                    }
                    PublicNumbers::Okp { x, .. } => {
                        let pair = Ed25519KeyPair::from_pkcs8(document.as_bytes()).map_err(|_| failed())?;
                        (members.kty, members.crv, members.x) = (Some("OKP".into()), Some("Ed25519".into()), Some(x.to_string()));
                        members.d = encode(pair.seed().and_then(|seed| seed.as_be_bytes()).map_err(|_| failed())?.as_ref());
                    }
                }
            }
            Material::Hmac { secret } => {
                (members.kty, members.k) = (Some("oct".into()), encode(secret.expose().as_bytes()));
            }
            Material::ApiKey { .. } => return Err(KeygenError::WrongClass(key.algorithm)),
        }
        // Room for all of it, so that no half-written copy is left behind.
        let mut out = Vec::with_capacity(16 * 1024);
        serde_json::to_writer(&mut out, &members).map_err(|_| failed())?;
        String::from_utf8(out).map(SecretText::new).map_err(|_| failed())
    }
}

fn public(members: &Members) -> Result<PublicNumbers, ImportError> {
    let text = |member: &Option<String>, name: &str| {
        member.as_deref().map(Box::<str>::from).ok_or_else(|| wrong(format!("it has no `{name}`"), "is it cut short?"))
    };
    let kind = members.kty.as_deref().unwrap_or_default();
    match (kind, members.crv.as_deref()) {
        ("RSA", _) => Ok(PublicNumbers::Rsa { n: text(&members.n, "n")?, e: text(&members.e, "e")? }),
        ("EC", Some(curve)) => {
            let known = [EcCurve::P256, EcCurve::P384, EcCurve::P521].into_iter().find(|known| known.as_str() == curve);
            let crv = known.ok_or_else(|| wrong("its curve is none of P-256, P-384, P-521", "tokens are signed with one of these"))?;
            Ok(PublicNumbers::Ec { crv, x: text(&members.x, "x")?, y: text(&members.y, "y")? })
        }
        ("OKP", Some("Ed25519")) => Ok(PublicNumbers::Okp { crv: OkpCurve::Ed25519, x: text(&members.x, "x")? }),
        ("oct", _) => Err(wrong("it is a secret, and the keyset holds key pairs", "look at the keyset's algorithm")),
        _ => Err(wrong("its kind or curve is not one that signs tokens", "RSA, EC on P-256, P-384 or P-521, OKP with Ed25519")),
    }
}

/// The private half as PKCS#8, its numbers checked by the back end.
#[allow(clippy::many_single_char_names, reason = "the names are those of RFC 7518 §6.3")]
fn private(members: &Members, numbers: &PublicNumbers, algorithm: Algorithm) -> Result<SecretText, ImportError> {
    let inconsistent = || ImportError::from(KeygenError::Refused(inspect::Refusal::Inconsistent(algorithm)));
    let d = bytes(members.d.as_ref(), "d")?;
    match numbers {
        PublicNumbers::Rsa { .. } => {
            let part = |member: &Option<String>, name| bytes(member.as_ref(), name);
            let (n, e) = (part(&members.n, "n")?, part(&members.e, "e")?);
            let (p, q) = (part(&members.p, "p")?, part(&members.q, "q")?);
            let (dp, dq, qi) = (part(&members.dp, "dp")?, part(&members.dq, "dq")?, part(&members.qi, "qi")?);
            let number = |bytes| UintRef::new(bytes).map_err(|_| inconsistent());
            let parts = rsa::pkcs1::RsaPrivateKey {
                modulus: number(&n)?,
                public_exponent: number(&e)?,
                private_exponent: number(&d)?,
                prime1: number(&p)?,
                prime2: number(&q)?,
                exponent1: number(&dp)?,
                exponent2: number(&dq)?,
                coefficient: number(&qi)?,
                other_prime_infos: None,
            };
            let der = Zeroizing::new(parts.to_der().map_err(|_| inconsistent())?);
            super::wrapped(&der)
        }
        PublicNumbers::Ec { crv, .. } => {
            let (x, y) = (bytes(members.x.as_ref(), "x")?, bytes(members.y.as_ref(), "y")?);
            let point = [&[4][..], &x, &y].concat();
            let pair = EcdsaKeyPair::from_private_key_and_public_key(crate::keygen::pair::ecdsa(*crv), &d, &point);
            pem(pair.map_err(|_| inconsistent())?.to_pkcs8v1().map_err(|_| inconsistent())?.as_ref())
        }
        PublicNumbers::Okp { .. } => {
            let x = bytes(members.x.as_ref(), "x")?;
            let pair = Ed25519KeyPair::from_seed_and_public_key(&d, &x).map_err(|_| inconsistent())?;
            pem(pair.to_pkcs8v1().map_err(|_| inconsistent())?.as_ref())
        }
    }
}

/// A shared secret as a JWK: `kty` is `oct`, and `k` must be text, because HMAC secrets are text here.
pub(super) fn read_secret(text: &str, algorithm: Algorithm) -> Result<(SecretText, Option<Kid>), ImportError> {
    let members = members(text, algorithm)?;
    if members.kty.as_deref() != Some("oct") {
        return Err(wrong("it is a key pair, and the keyset holds secrets", "look at the keyset's algorithm"));
    }
    let mut k = bytes(members.k.as_ref(), "k")?;
    let text = String::from_utf8(std::mem::take(&mut *k)).map_err(|e| {
        drop(Zeroizing::new(e.into_bytes()));
        wrong("its `k` is not text, and signers here read secrets as text", "ask for a secret of printable characters")
    })?;
    Ok((SecretText::new(text), named(&members)?))
}
