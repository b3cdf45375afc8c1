//! Who asks: an API key of a keyset that the policy names, old or new. Whoever is not let in gets one answer, whatever the reason.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

use super::super::{Refusal, reach::Exposed};
use super::fields::{Fields, decoded};
use super::refused::Refused;
use super::{Names, Room};
use crate::board::{Cell, EnvironmentBoard};
use crate::digest::Digest;
use crate::key::{Key, Material};
use crate::name::{KeysetId, KeysetName, Kid};
use crate::policy::{ProfileName, Serving, TokenPolicy};
use crate::secret::same_bytes;
use crate::time::Timestamp;
use crate::url::PublicOrigin;

/// What a request presents. The credential itself is not kept: its digest is what is compared.
#[derive(Debug)]
pub(super) struct Credential {
    digest: Digest,
    /// Whose it is said to be: an OAuth `client_id`, Amigo's `x-api-key-id`.
    said_to_be: Option<String>,
}

/// Somebody who was let in.
pub(super) struct Admitted {
    pub environment: Arc<EnvironmentBoard>,
    /// The keyset whose tokens are asked for.
    pub id: KeysetId,
    pub cell: Arc<Cell>,
    pub token: Arc<TokenPolicy>,
    /// The keyset of API keys.
    pub caller: KeysetName,
    kid: Kid,
}

/// A keyset that is served, whoever asks.
pub(super) struct Served {
    pub environment: Arc<EnvironmentBoard>,
    pub id: KeysetId,
    pub cell: Arc<Cell>,
    pub token: Arc<TokenPolicy>,
}

impl Credential {
    /// That of a request: `Authorization: Bearer`, `Authorization: Basic` or `client_secret` (RFC 6749 §2.3.1), or `x-api-key`.
    ///
    /// # Errors
    /// 401 without one, 400 with several, because nobody could tell which one counts.
    pub fn of(headers: &HeaderMap, fields: &mut Fields) -> Result<Self, Refused> {
        let mut found = Vec::new();
        for value in headers.get_all(AUTHORIZATION) {
            let value = value.to_str().map_err(|_| Refused::credential())?;
            let (scheme, rest) = value.split_once(' ').ok_or_else(Refused::credential)?;
            if scheme.eq_ignore_ascii_case("basic") {
                found.push(basic(rest.trim()).ok_or_else(Refused::credential)?);
            } else if scheme.eq_ignore_ascii_case("bearer") {
                found.push(Self::new(rest.trim(), None));
            } else {
                return Err(Refused::credential());
            }
        }
        for value in headers.get_all("x-api-key") {
            let text = |value: &http::HeaderValue| value.to_str().map(str::to_owned).map_err(|_| Refused::credential());
            let said_to_be = headers.get("x-api-key-id").map(text).transpose()?;
            found.push(Self::new(&text(value)?, said_to_be));
        }
        let (id, secret) = (fields.text("client_id")?, fields.text("client_secret")?.map(Zeroizing::new));
        if let Some(secret) = secret {
            found.push(Self::new(&secret, id));
        } else if let (Some(id), Some(one)) = (id, found.first_mut()) {
            one.said_to_be.get_or_insert(id);
        }
        if found.len() > 1 {
            return Err(Refused::malformed("the request has more than one credential", "present one API key, in one way"));
        }
        found.pop().ok_or_else(Refused::credential)
    }

    fn new(secret: &str, said_to_be: Option<String>) -> Self {
        Self { digest: Digest::of(secret.as_bytes()), said_to_be }
    }

    /// The key of these that it is, unless whoever made that key said that it has expired at `now`. Every digest is compared, and each in
    /// constant time, so that the time tells nothing.
    fn of_keyset(&self, cell: &Cell, now: Timestamp) -> Option<Kid> {
        let served = cell.served()?;
        let digests = served.document.live().filter_map(|live| match &live.key.material {
            Material::ApiKey { digest, .. } => Some((live.key, digest)),
            Material::Pair { .. } | Material::Hmac { .. } => None,
        });
        let same =
            |found, (key, digest): (_, &Digest)| if same_bytes(digest.as_bytes(), self.digest.as_bytes()) { Some(key) } else { found };
        let found: Option<&Key> = digests.fold(None, same);
        found.filter(|key| key.expires_at.is_none_or(|at| now < at)).map(|key| key.kid.clone())
    }

    /// Whether it is whose it is said to be: the keyset's, which outlives its keys, or the key's.
    fn is_whose_it_says(&self, keyset: &KeysetName, kid: &Kid) -> bool {
        self.said_to_be.as_deref().is_none_or(|said| said == keyset.as_str() || said == kid.as_str())
    }
}

/// `Basic` (RFC 7617), both halves form-encoded as RFC 6749 §2.3.1 has it.
fn basic(encoded: &str) -> Option<Credential> {
    let pair = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    let colon = pair.iter().position(|b| *b == b':')?;
    let secret = Zeroizing::new(decoded(&pair[colon + 1..])?);
    Some(Credential::new(&secret, Some(decoded(&pair[..colon])?)))
}

impl Room {
    /// The origin under which clients know this listener.
    ///
    /// # Errors
    /// 403, if nothing secret may travel here.
    pub fn origin(&self) -> Result<&PublicOrigin, Refused> {
        self.reach.as_ref().as_ref().map_err(|exposed: &Exposed| Refused::exposed(exposed))
    }

    /// The keyset of that name, if its tokens are served and this process may speak for its store.
    ///
    /// # Errors
    /// 503 while its environment is not loaded or not fresh, and 401 if there is no such keyset here: as if the credential were wrong.
    pub async fn served(&self, (environment, keyset): &Names) -> Result<Served, Refused> {
        let environment = self.service.desk.board.environment(environment).ok_or_else(Refused::credential)?;
        let now = (self.service.desk.clock)();
        if !environment.loaded.initialized() {
            let left = self.service.patient_until.saturating_sub(now.boot);
            let loaded = tokio::time::timeout(left.to_std(), environment.loaded.wait()).await;
            loaded.map_err(|_| Refused::away(Refusal::not_loaded(environment.name.as_str()), "loading"))?;
        }
        if !environment.freshness.is_fresh((self.service.desk.clock)()) {
            return Err(Refused::away(Refusal::not_fresh(environment.name.as_str()), "stale"));
        }
        let name: KeysetName = keyset.parse().map_err(|_| Refused::credential())?;
        let cell = environment.keyset(keyset).ok_or_else(Refused::credential)?;
        let token = cell.manner().manner.token.clone().filter(|token| token.serving.is_some()).ok_or_else(Refused::credential)?;
        Ok(Served { id: environment.id(&name), environment, cell, token })
    }

    /// Lets somebody in, and counts the request.
    ///
    /// # Errors
    /// 401, 429, 503.
    pub async fn admit(&self, names: &Names, credential: &Credential) -> Result<Admitted, Refused> {
        let Served { environment, id, cell, token } = self.served(names).await?;
        let serving = token.serving.as_ref().ok_or_else(Refused::credential)?;
        let mut found = None;
        for caller in &serving.callers {
            let kid = environment.keyset(caller.keyset.as_str()).and_then(|keys| credential.of_keyset(&keys, self.now()));
            found = found.or(kid.map(|kid| (caller.keyset.clone(), kid)));
        }
        let (caller, kid) = found.filter(|(keyset, kid)| credential.is_whose_it_says(keyset, kid)).ok_or_else(Refused::credential)?;
        self.service.pace.admit(&id, &kid, serving.rate, (self.service.desk.clock)().boot).map_err(Refused::too_many)?;
        Ok(Admitted { environment, id, cell, token, caller, kid })
    }
}

impl Admitted {
    /// Whether the policy lets this caller ask for that subject; a token about nobody is for whom everybody may be asked.
    pub fn may_ask_for(&self, subject: Option<&str>) -> bool {
        let callers = self.token.serving.iter().flat_map(|Serving { callers, .. }| callers);
        let mut patterns = callers.filter(|caller| caller.keyset == self.caller).flat_map(|caller| &caller.subjects);
        patterns.any(|pattern| subject.map_or_else(|| pattern.is_everybody(), |subject| pattern.names(subject)))
    }

    /// Whether the keyset mints tokens of that profile, whose vendor's shape was asked for.
    ///
    /// # Errors
    /// 404.
    pub fn is_of(&self, profile: ProfileName) -> Result<(), Refused> {
        let is = self.token.profile.name();
        if is == profile { Ok(()) } else { Err(Refused::not_here(profile, is)) }
    }

    /// The name of the key that was presented.
    pub const fn kid(&self) -> &Kid {
        &self.kid
    }
}
