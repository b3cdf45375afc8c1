//! Documents with well-known keys, targets in folders of our own, and what came of bringing them in line.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use keyrota::digest::Digest;
use keyrota::document::{Active, Document, Incoming, Stage};
use keyrota::jwk::PublicJwk;
use keyrota::key::{Algorithm, Key, KeyClass, Material, Origin};
use keyrota::keygen::inspect;
use keyrota::name::Generation;
use keyrota::policy::{Audience, FileTarget, TargetFormat};
use keyrota::publish::{Brought, render};
use keyrota::secret::SecretText;
use keyrota::time::Timestamp;

/// RFC 8410 §10.3 and RFC 8037 A.1: two Ed25519 keys that everybody knows.
pub const ED_ONE: &str =
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
pub const ED_TWO: &str =
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
pub const KID_ONE: &str = "3YZxBJ12jO3n_mXt_q-j_Z-TFP1vt-NiI3OCf-fEnHQ";
pub const KID_TWO: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

pub fn at() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub fn key(kid: &str, algorithm: Algorithm, material: Material) -> Key {
    let (created_at, origin) = (at(), Origin::Generated);
    Key { kid: kid.parse().unwrap(), algorithm, bits: 256, created_at, origin, expires_at: None, material }
}

pub fn pair(pem: &str) -> Key {
    let private = SecretText::new(pem.to_owned());
    let (numbers, _) = inspect(&private, Algorithm::EdDsa).unwrap();
    let kid = numbers.thumbprint().to_string();
    let public = PublicJwk::new(kid.parse().unwrap(), Algorithm::EdDsa, numbers);
    key(&kid, Algorithm::EdDsa, Material::Pair { public, private: Some(private) })
}

pub fn hmac(kid: &str, secret: &str) -> Key {
    key(kid, Algorithm::HS256, Material::Hmac { secret: SecretText::new(secret.to_owned()) })
}

pub fn document(class: KeyClass, active: Option<Key>, incoming: Option<Key>) -> Document {
    Document {
        generation: Generation(3),
        updated_at: at(),
        active: active.map(|key| Active { key, since: at(), published_at: at() }),
        incoming: incoming.into_iter().map(|key| Incoming { key, stage: Stage::Staged { since: at() } }).collect(),
        ..Document::empty("demo/user-sessions".parse().unwrap(), class)
    }
}

pub fn pairs() -> Document {
    document(KeyClass::Asymmetric, Some(pair(ED_ONE)), Some(pair(ED_TWO)))
}

pub fn target(path: impl Into<PathBuf>, format: TargetFormat, audience: Audience) -> FileTarget {
    FileTarget { path: path.into(), format, audience, mode: 0o640, group: None, replace: false }
}

/// A folder of our own below `/tmp`, which is world-writable and sticky.
pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

pub fn jwks_target(folder: &tempfile::TempDir) -> FileTarget {
    target(folder.path().join("jwks.json"), TargetFormat::Jwks, Audience::Verifiers)
}

pub fn agreed(brought: &Brought) -> (bool, bool) {
    match brought {
        Brought::Agreed { wrote, drift, .. } => (*wrote, *drift),
        other => panic!("{other:?}"),
    }
}

/// What is to be expected there next time.
pub fn content(brought: &Brought) -> Option<Digest> {
    match brought {
        Brought::Agreed { content, .. } => Some(*content),
        _ => None,
    }
}

pub fn text(target: &FileTarget, document: &Document) -> Vec<Option<String>> {
    let rendered = render(target, document).unwrap();
    rendered.parts.iter().map(|part| part.content.as_ref().map(|bytes| String::from_utf8(bytes.expose().to_vec()).unwrap())).collect()
}

pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub const JWK_ONE: &str = r#"{"kid":"3YZxBJ12jO3n_mXt_q-j_Z-TFP1vt-NiI3OCf-fEnHQ","alg":"EdDSA","use":"sig","kty":"OKP","crv":"Ed25519","x":"Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE"}"#;
pub const JWK_TWO: &str = r#"{"kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","alg":"EdDSA","use":"sig","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
