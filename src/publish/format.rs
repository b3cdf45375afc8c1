//! What a target must hold for a document. Pure: bytes are made here, and written elsewhere.

use serde::Serialize;

use super::PublishError;
use crate::digest::Digest;
use crate::document::{Document, StateName};
use crate::jwk::PublicJwk;
use crate::key::{Algorithm, Key, KeyClass, Material};
use crate::name::{Generation, Kid};
use crate::policy::{Audience, FileTarget, TargetFormat};
use crate::secret::{SecretBytes, SecretText};
use crate::time::Timestamp;

/// The file names in a `pem` directory.
pub(super) const PUBLIC_PEM: &str = "public_key.pem";
/// The signer's half; written last, because it is what takes effect.
pub(super) const PRIVATE_PEM: &str = "private_key.pem";

/// The mode of a public key that stands beside a private one.
const PUBLIC_MODE: u32 = 0o644;

/// The schema of what verifiers of secrets read.
pub const ACCEPTED_SCHEMA: &str = "keyrota.accepted.v1";

/// What a target must hold.
pub struct Rendered {
    /// Its files, in the order in which they are to be written.
    pub parts: Vec<Part>,
}

/// One file of a target.
pub struct Part {
    /// Its name within the target's directory; `None` if the target is the file.
    pub file: Option<&'static str>,
    /// Its content; `None` if it must not exist.
    pub content: Option<SecretBytes>,
    /// Its permissions.
    pub mode: u32,
}

/// The keys that verifiers accept, for those that cannot do with a public key set: HMAC secrets and API keys.
#[derive(Serialize)]
struct AcceptedKeys<'a> {
    schema: &'static str,
    environment: &'a str,
    keyset: &'a str,
    generation: Generation,
    updated_at: Timestamp,
    keys: Vec<AcceptedKey<'a>>,
}

/// One accepted key. A key pair shows its public half only.
#[derive(Serialize)]
struct AcceptedKey<'a> {
    kid: &'a Kid,
    algorithm: Algorithm,
    state: StateName,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_jwk: Option<&'a PublicJwk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_sha256: Option<Digest>,
}

/// What `target` must hold for `document`. Where there is nothing to hold (no active key for signers, no key at all for
/// verifiers) the files must not exist, so that nobody goes on with a key that was revoked.
///
/// # Errors
/// [`PublishError::Format`]: the keyset's keys cannot be written so.
pub fn render(target: &FileTarget, document: &Document) -> Result<Rendered, PublishError> {
    let mode = target.mode;
    if target.format != TargetFormat::Pem {
        let content = whole(target.format, target.audience, document)?;
        return Ok(Rendered { parts: vec![Part { file: None, content, mode }] });
    }
    let refused = || PublishError::Format(target.format);
    if document.class != KeyClass::Asymmetric {
        return Err(refused());
    }
    let active = document.active.as_ref().map(|active| &active.key);
    let public = active.and_then(Key::public_jwk).map(|jwk| jwk.numbers.to_spki_pem().map_err(|_| refused())).transpose()?;
    let public = public.map(|pem| SecretBytes::new(pem.into_bytes()));
    if target.audience == Audience::Verifiers {
        return Ok(Rendered { parts: vec![Part { file: Some(PUBLIC_PEM), content: public, mode }] });
    }
    let private = active.and_then(Key::secret).map(|pem| SecretBytes::new(pem.expose().as_bytes().to_vec()));
    let public = Part { file: Some(PUBLIC_PEM), content: public, mode: PUBLIC_MODE };
    Ok(Rendered { parts: vec![public, Part { file: Some(PRIVATE_PEM), content: private, mode }] })
}

/// What a place of one piece must hold; `None`: nothing.
///
/// # Errors
/// [`PublishError::Format`]: the keyset's keys cannot be written so.
pub fn whole(format: TargetFormat, audience: Audience, document: &Document) -> Result<Option<SecretBytes>, PublishError> {
    let refused = || PublishError::Format(format);
    match (format, audience) {
        (TargetFormat::Pem, _) => Err(refused()),
        (TargetFormat::Jwks, _) => Ok(Some(jwks(document)?).filter(|_| document.live().next().is_some())),
        (TargetFormat::Env, _) => Ok(document.active.as_ref().map(|active| env(&active.key))),
        (TargetFormat::Document, Audience::Signers) => Ok(document.active.is_some().then(|| document.to_stored())),
        (TargetFormat::Document, Audience::Verifiers) if document.live().next().is_none() => Ok(None),
        (TargetFormat::Document, Audience::Verifiers) => accepted(document).map(Some).ok_or_else(refused),
    }
}

/// The public key set, perhaps an empty one.
///
/// # Errors
/// [`PublishError::Format`]: the keyset has no public keys.
pub fn jwks(document: &Document) -> Result<SecretBytes, PublishError> {
    let refused = || PublishError::Format(TargetFormat::Jwks);
    if document.class != KeyClass::Asymmetric {
        return Err(refused());
    }
    serde_json::to_vec(&document.jwks()).map(SecretBytes::new).map_err(|_| refused())
}

/// The set of accepted keys; `None` if it could not be written.
fn accepted(document: &Document) -> Option<SecretBytes> {
    let keys: Vec<_> = document.live().map(|live| accepted_key(live.key, live.state)).collect();
    let set = AcceptedKeys {
        schema: ACCEPTED_SCHEMA,
        environment: document.id.environment.as_str(),
        keyset: document.id.keyset.as_str(),
        generation: document.generation,
        updated_at: document.updated_at,
        keys,
    };
    // Room for all of it, so that no half-written copy is left behind by a growing buffer.
    let mut bytes = Vec::with_capacity(1024 + 8 * 1024 * set.keys.len());
    serde_json::to_writer(&mut bytes, &set).ok()?;
    Some(SecretBytes::new(bytes))
}

fn accepted_key(key: &Key, state: StateName) -> AcceptedKey<'_> {
    let (secret, secret_sha256) = match &key.material {
        Material::Pair { .. } => (None, None),
        Material::Hmac { secret } => (Some(secret.expose()), None),
        Material::ApiKey { secret, digest } => (secret.as_ref().map(SecretText::expose), Some(*digest)),
    };
    AcceptedKey { kid: &key.kid, algorithm: key.algorithm, state, public_jwk: key.public_jwk(), secret, secret_sha256 }
}

/// Lines that systemd's `EnvironmentFile=`, shells and dotenv readers take. In PEM, line ends are written as `\n`: dotenv readers
/// turn them back, systemd and containers hand them on as they stand.
fn env(key: &Key) -> SecretBytes {
    let name = if key.class() == KeyClass::Asymmetric { "KEYROTA_PRIVATE_KEY" } else { "KEYROTA_SECRET" };
    let secret = key.secret().map_or("", SecretText::expose);
    let mut text = String::with_capacity(2 * secret.len() + 512);
    for (name, value) in [("KEYROTA_KID", key.kid.as_str()), ("KEYROTA_ALGORITHM", key.algorithm.as_str()), (name, secret)] {
        text.push_str(name);
        text.push('=');
        quote(&mut text, value);
        text.push('\n');
    }
    SecretBytes::new(text.into_bytes())
}

fn quote(text: &mut String, value: &str) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.~:/@%+=,".contains(&b);
    if !value.is_empty() && value.bytes().all(plain) {
        text.push_str(value);
        return;
    }
    text.push('"');
    for character in value.chars() {
        match character {
            '\n' => text.push_str("\\n"),
            '"' | '\\' | '$' | '`' => text.extend(['\\', character]),
            other => text.push(other),
        }
    }
    text.push('"');
}

impl Rendered {
    /// Names the content: the digest of the file, or of the directory's files with their names.
    pub fn digest(&self) -> Digest {
        digest(self.parts.iter().filter_map(|part| part.content.as_ref().map(|content| (part.file, content))))
    }
}

/// Permissions are no part of it, and neither are files that do not exist.
pub(super) fn digest<'a>(parts: impl Iterator<Item = (Option<&'static str>, &'a SecretBytes)>) -> Digest {
    let named: Vec<_> = parts.map(|(file, content)| format!("{}:{}\n", file.unwrap_or("."), Digest::of(content.expose()))).collect();
    Digest::of(named.concat().as_bytes())
}
