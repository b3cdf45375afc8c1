//! Which keys a place names, read from what is found there. Content comes from outside and may be anything.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::file;
use super::format::PRIVATE_PEM;
use crate::document::Document;
use crate::jwk::PublicNumbers;
use crate::key::Algorithm;
use crate::keygen::KeyPair;
use crate::name::Kid;
use crate::policy::TargetFormat;
use crate::secret::SecretText;

/// The keys that a place names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holding {
    /// Those that the document knows, live or gone.
    pub known: Vec<Kid>,
    /// Those that it does not.
    pub foreign: Vec<Kid>,
    /// Whether there is something that cannot be read or has no name: to be treated as somebody else's.
    pub nameless: bool,
}

/// A key set or a document, by the members that name its keys. Whatever else there is, secrets too, is skipped unread.
#[derive(Deserialize)]
struct NamedKeys {
    keys: Vec<NamedKey>,
}

#[derive(Deserialize)]
struct NamedKey {
    kid: Option<String>,
    kty: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Which keys `parts` name, as a target of `format`. Empty files name none.
pub fn holding(format: TargetFormat, parts: &[file::FoundPart], document: &Document) -> Holding {
    let mut held = Holding::default();
    for part in parts {
        held.read(format, part.content.expose(), part.file == Some(PRIVATE_PEM), document);
    }
    held.put_in_order();
    held
}

/// The same for a place of one piece, which may be empty.
pub fn of_text(format: TargetFormat, bytes: &[u8], document: &Document) -> Holding {
    let mut held = Holding::default();
    held.read(format, bytes, false, document);
    held.put_in_order();
    held
}

impl Holding {
    fn read(&mut self, format: TargetFormat, bytes: &[u8], private: bool, document: &Document) {
        if bytes.is_empty() {
            return;
        }
        match format {
            TargetFormat::Jwks | TargetFormat::Document => self.read_keys(bytes, document),
            TargetFormat::Env => self.read_env(bytes, document),
            TargetFormat::Pem => self.read_pem(bytes, private, document),
        }
    }

    fn put_in_order(&mut self) {
        for kids in [&mut self.known, &mut self.foreign] {
            kids.sort_unstable();
            kids.dedup();
        }
    }

    fn name(&mut self, kid: Kid, document: &Document) {
        let list = if document.knows(&kid) { &mut self.known } else { &mut self.foreign };
        list.push(kid);
    }

    fn read_keys(&mut self, bytes: &[u8], document: &Document) {
        let Ok(NamedKeys { keys }) = serde_json::from_slice(bytes) else {
            self.nameless = true;
            return;
        };
        for key in keys {
            let numbers = key.numbers();
            let kid = key.kid.as_deref().map(str::parse::<Kid>);
            match (kid, numbers) {
                // The name of one of our keys on another key is another key.
                (Some(Ok(kid)), Some(numbers)) if is_of_another(&kid, &numbers, document) => self.foreign.push(kid),
                (Some(Ok(kid)), _) => self.name(kid, document),
                (None, Some(numbers)) => self.read_numbers(&numbers, document),
                (Some(Err(_)) | None, _) => self.nameless = true,
            }
        }
    }

    fn read_numbers(&mut self, numbers: &PublicNumbers, document: &Document) {
        let live = document.live().find(|live| live.key.public_jwk().is_some_and(|jwk| jwk.numbers == *numbers));
        match live.map_or_else(|| numbers.thumbprint().to_string().parse(), |live| Ok(live.key.kid.clone())) {
            Ok(kid) => self.name(kid, document),
            Err(_) => self.nameless = true,
        }
    }

    fn read_env(&mut self, bytes: &[u8], document: &Document) {
        let text = std::str::from_utf8(bytes).unwrap_or("");
        let kid = text.lines().find_map(|line| line.trim().strip_prefix("KEYROTA_KID=")).map(|value| value.trim_matches('"').parse());
        match kid {
            Some(Ok(kid)) => self.name(kid, document),
            Some(Err(_)) | None => self.nameless = true,
        }
    }

    fn read_pem(&mut self, bytes: &[u8], private: bool, document: &Document) {
        let text = std::str::from_utf8(bytes).unwrap_or("");
        let numbers = if private { public_half(text) } else { PublicNumbers::from_spki_pem(text).ok() };
        match numbers {
            Some(numbers) => self.read_numbers(&numbers, document),
            None => self.nameless = true,
        }
    }
}

impl NamedKey {
    fn numbers(&self) -> Option<PublicNumbers> {
        let members = [("kty", &self.kty), ("crv", &self.crv), ("n", &self.n), ("e", &self.e), ("x", &self.x), ("y", &self.y)];
        let given: BTreeMap<&str, &str> = members.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
        serde_json::from_value(serde_json::to_value(given).ok()?).ok()
    }
}

fn is_of_another(kid: &Kid, numbers: &PublicNumbers, document: &Document) -> bool {
    document.live_key(kid).and_then(|live| live.key.public_jwk()).is_some_and(|jwk| jwk.numbers != *numbers)
}

/// The public half of a private key of any kind that is known here.
fn public_half(pem: &str) -> Option<PublicNumbers> {
    let pem = SecretText::new(pem.to_owned());
    let kinds = [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::ES512, Algorithm::EdDsa];
    kinds.into_iter().find_map(|algorithm| KeyPair::from_pkcs8_pem(&pem, algorithm).and_then(|pair| pair.numbers()).ok())
}
