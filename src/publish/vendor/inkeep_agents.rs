//! Inkeep's agents: the public keys of one app, which its API lists, takes and deletes.
//!
//! The API (`…/apps/<app>/auth/keys`, bearer token): `GET` answers `{"data": [{"kid", "publicKey", "algorithm", …}]}`; `POST` of
//! `{"kid", "publicKey", "algorithm"}` answers 201, or 409 for a kid that is there; `DELETE …/<kid>` answers 204, or 404. It keeps all
//! keys of an app in one record that it reads and writes without a lock, so two calls at once may lose one of them: calls go one after
//! the other, and what another caller lost is brought again by the next look.

use http::header::AUTHORIZATION;
use serde::{Deserialize, Serialize};

use super::{Line, header_secret};
use crate::digest::Digest;
use crate::document::Document;
use crate::https::{Ask, Fetch};
use crate::jwk::PublicNumbers;
use crate::key::Algorithm;
use crate::name::Kid;
use crate::policy::{InkeepAgentsTarget, TargetFormat};
use crate::publish::errand::Errand;
use crate::publish::{Brought, PublishError};
use crate::url::Url;

/// A public key as it is uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Upload {
    kid: Kid,
    /// PEM, `SubjectPublicKeyInfo`.
    public_key: String,
    algorithm: Algorithm,
    #[serde(skip)]
    numbers: PublicNumbers,
}

/// What the app must hold of ours.
#[derive(Debug, Clone)]
pub struct Wanted {
    keys: Vec<Upload>,
    /// Whether a kid is or was one of this keyset's.
    ours: Document,
}

/// What is listed, as far as it matters.
#[derive(Deserialize)]
struct Listed {
    data: Vec<ListedKey>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedKey {
    kid: String,
    public_key: String,
    algorithm: String,
}

/// What is to be done so that the app holds what it must.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    /// Ours, living, and not there.
    missing: Vec<Upload>,
    /// Ours, there, and living no more.
    surplus: Vec<Kid>,
    /// There under the name of one of ours, and another key.
    usurped: Vec<Kid>,
}

impl Wanted {
    /// Every living key of `document`.
    ///
    /// # Errors
    /// [`PublishError::Format`]: it has keys that are no pairs.
    pub fn of(document: &Document) -> Result<Self, PublishError> {
        let unfit = || PublishError::Format(TargetFormat::Pem);
        let mut keys = Vec::new();
        for live in document.live() {
            let jwk = live.key.public_jwk().ok_or_else(unfit)?;
            let public_key = jwk.numbers.to_spki_pem().map_err(|_| unfit())?;
            keys.push(Upload { kid: jwk.kid.clone(), public_key, algorithm: jwk.alg, numbers: jwk.numbers.clone() });
        }
        Ok(Self { keys, ours: document.without_secrets() })
    }

    /// None of the keys that `document` has or had.
    pub fn nothing_of(document: &Document) -> Self {
        Self { keys: Vec::new(), ours: document.without_secrets() }
    }

    /// Names what must be there.
    pub fn digest(&self) -> Digest {
        // Serializing our own plain types cannot fail; if it did, the digest would be that of nothing, and the place looked at.
        let mut keys: Vec<String> = self.keys.iter().map(|key| serde_json::to_string(key).unwrap_or_default()).collect();
        keys.sort_unstable();
        Digest::of(keys.join("\n").as_bytes())
    }

    fn compare(&self, listed: &Listed) -> Difference {
        let mut difference = Difference::default();
        for found in &listed.data {
            // What cannot be a kid of ours is somebody else's.
            let Ok(kid) = found.kid.parse::<Kid>() else { continue };
            match self.keys.iter().find(|key| key.kid == kid) {
                Some(key) if key.is(found) => {}
                Some(_) => difference.usurped.push(kid),
                None if self.ours.knows(&kid) => difference.surplus.push(kid),
                None => {}
            }
        }
        let missing = self.keys.iter().filter(|key| !listed.data.iter().any(|found| found.kid == key.kid.as_str()));
        difference.missing = missing.cloned().collect();
        difference
    }
}

impl Upload {
    fn is(&self, found: &ListedKey) -> bool {
        let same_key = PublicNumbers::from_spki_pem(&found.public_key).is_ok_and(|numbers| numbers == self.numbers);
        same_key && found.algorithm == self.algorithm.as_str()
    }
}

/// Brings the app in line with what is wanted, and reads it back.
///
/// # Errors
/// A sentence. What was done until then stays done.
pub async fn bring<F: Fetch>(
    fetch: &F,
    target: &InkeepAgentsTarget,
    wanted: &Wanted,
    errand: &Errand,
    held: Option<Digest>,
) -> Result<Brought, String> {
    let headers = vec![(AUTHORIZATION, header_secret(&target.api_key, "Bearer ").await?)];
    let line = Line { fetch, trust: &target.trust, timeout: target.timeout, headers };
    let before = wanted.compare(&list(&line, &target.url).await?);
    if before == Difference::default() {
        return Ok(errand.agreed(false, false, None));
    }
    // What must go, goes first, and one call that fails keeps no other from being made.
    let mut failed = None;
    for kid in &before.surplus {
        let done = match below(&target.url, kid) {
            Ok(url) => line.call(&url, Ask::Delete, &[200, 204, 404]).await,
            Err(what) => Err(what),
        };
        failed = failed.or(done.err());
    }
    for key in &before.missing {
        let body = serde_json::to_vec(key).map_err(|error| format!("the key {} cannot be written: {error}", key.kid))?;
        // Whether what is there already is ours is for the list to say.
        failed = failed.or(line.call(&target.url, Ask::Post(body.into()), &[200, 201, 409]).await.err());
    }
    if let Some(what) = failed {
        return Err(what);
    }
    let after = wanted.compare(&list(&line, &target.url).await?);
    if !after.usurped.is_empty() {
        return Ok(Brought::Foreign { kids: after.usurped });
    }
    if after == Difference::default() {
        let drift = held == Some(errand.wanted);
        return Ok(errand.agreed(true, drift, None));
    }
    let count = after.missing.len() + after.surplus.len();
    Err(format!(
        "{} took what it was told a moment ago, and does not show it for {count} keys; hint: does somebody else write there?",
        target.url
    ))
}

async fn list<F: Fetch>(line: &Line<'_, F>, url: &Url) -> Result<Listed, String> {
    let answer = line.call(url, Ask::Get, &[200]).await?;
    let unread =
        |error: serde_json::Error| format!("GET {url} was answered with no list of keys ({error}); hint: is that the right address?");
    serde_json::from_slice(&answer.body).map_err(unread)
}

/// The address of one key. A kid has no character in it that would be something else in a path, but `.` and `..` are paths.
fn below(url: &Url, kid: &Kid) -> Result<Url, String> {
    let kid = kid.as_str().replace('.', "%2E");
    format!("{}/{kid}", url.as_str().trim_end_matches('/')).parse().map_err(|error| format!("{url}: {error}"))
}
