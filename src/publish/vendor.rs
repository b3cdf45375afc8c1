//! Places behind a vendor's own API: asked over HTTPS, beside everything else, with time limits and rests.
//!
//! What stands there is compared with the document on every look, what is missing is brought, what is ours and lives no more is taken
//! away, and only what was read back afterwards counts. So a crash between any two calls leaves what the next look puts right. A key
//! that the document never knew is never touched. It decides nothing about keys.

mod inkeep_agents;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tokio::sync::mpsc;

use super::errand::{Errand, Errands};
use super::{Brought, PublishError, ReadBack, Removed};
use crate::credential;
use crate::digest::Digest;
use crate::document::Document;
use crate::https::{Answer, Ask, Fetch, HttpsClient, Request};
use crate::name::{KeysetId, KeysetName};
use crate::policy::{InkeepAgentsTarget, SecretPlace};
use crate::time::Span;
use crate::url::{Trust, Url};

/// How many vendors one environment speaks to at once.
const AT_ONCE: usize = 8;

/// An answer longer than this is nothing that a list of keys could be.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// The vendors of one environment. Clones share them.
#[derive(Clone)]
pub struct Vendors {
    errands: Errands,
    client: Arc<HttpsClient>,
}

impl Vendors {
    /// Nobody is spoken to yet. `done` hears of every keyset for which a vendor has been.
    pub fn new(client: Arc<HttpsClient>, done: mpsc::UnboundedSender<KeysetName>) -> Self {
        Self { errands: Errands::new(AT_ONCE, done), client }
    }

    /// As [`super::Targets::bring`]. Must be called within a runtime.
    ///
    /// # Errors
    /// What the last attempt failed with, while it rests.
    pub fn bring(
        &self,
        keyset: &KeysetId,
        target: &InkeepAgentsTarget,
        document: &Document,
        expected: Option<Digest>,
    ) -> Result<Brought, PublishError> {
        let wanted = inkeep_agents::Wanted::of(document)?;
        let errand = errand(keyset, target, wanted.digest());
        self.errands.ask(&errand, expected, |held| {
            let (client, target, errand) = (Arc::clone(&self.client), target.clone(), errand.clone());
            async move { inkeep_agents::bring(&*client, &target, &wanted, &errand, held).await }
        })
    }

    /// What is known of a place without asking anybody.
    pub fn known(&self, keyset: &KeysetId, target: &InkeepAgentsTarget) -> ReadBack {
        self.errands.known(&errand(keyset, target, Digest::of(b"")))
    }

    /// Takes away every key of ours, and waits so long for that. Must be called within a runtime.
    pub async fn remove(&self, keyset: &KeysetId, target: &InkeepAgentsTarget, document: &Document, patience: Span) -> Removed {
        let wanted = inkeep_agents::Wanted::nothing_of(document);
        let errand = errand(keyset, target, wanted.digest());
        let mut ends = self.errands.ends();
        let waiting = async {
            loop {
                let asked = self.errands.ask(&errand, None, |held| {
                    let (client, target, errand, wanted) = (Arc::clone(&self.client), target.clone(), errand.clone(), wanted.clone());
                    async move { inkeep_agents::bring(&*client, &target, &wanted, &errand, held).await }
                });
                match asked {
                    Ok(Brought::UnderWay { .. }) if patience > Span::ZERO => drop(ends.changed().await),
                    Ok(Brought::UnderWay { .. }) => return Removed::NotYet { why: None },
                    Ok(Brought::Agreed { wrote, .. }) => {
                        self.errands.forget(keyset, &target.to_string());
                        return if wrote { Removed::Done } else { Removed::Nothing };
                    }
                    Ok(other) => return Removed::NotYet { why: Some(format!("it was found to be {other:?}")) },
                    Err(error) => return Removed::NotYet { why: Some(error.to_string()) },
                }
            }
        };
        let in_time = tokio::time::timeout(patience.max(Span::seconds(1)).to_std(), waiting).await;
        in_time.unwrap_or_else(|_| Removed::NotYet { why: Some(format!("the vendor had not answered after {patience}")) })
    }
}

fn errand(keyset: &KeysetId, target: &InkeepAgentsTarget, wanted: Digest) -> Errand {
    Errand { keyset: keyset.clone(), place: target.to_string(), wanted, look_every: Some(target.every) }
}

/// How one vendor is spoken to.
struct Line<'a, F> {
    fetch: &'a F,
    trust: &'a Trust,
    timeout: Span,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl<F: Fetch> Line<'_, F> {
    /// One call. Fails with a sentence that names the call and never what was sent or answered.
    async fn call(&self, url: &Url, ask: Ask, lawful: &[u16]) -> Result<Answer, String> {
        let method = ask.method();
        let headers = self.headers.clone();
        let request = Request { url, trust: self.trust, ask, headers, within: self.timeout, at_most: LONGEST_ANSWER };
        let answer = self.fetch.fetch(request).await.map_err(|error| format!("{method} {url}: {error}"))?;
        if lawful.contains(&answer.status) {
            return Ok(answer);
        }
        let hint = match answer.status {
            401 | 403 => "is its API key still valid, and may it edit keys there?",
            404 => "is that the right address?",
            429 => "it asks for fewer calls; others may use up what is allowed",
            500.. => "its status page may say more",
            _ => "does its API still take keys of this kind?",
        };
        Err(format!("{method} {url} was answered with status {}; hint: {hint}", answer.status))
    }
}

/// A secret as the value of a header, marked so that nothing prints it. It is trimmed: files end with a new line.
async fn header_secret(place: &SecretPlace, prefix: &str) -> Result<HeaderValue, String> {
    let secret = credential::read(place).await.map_err(|error| error.to_string())?;
    let text = zeroize::Zeroizing::new(format!("{prefix}{}", secret.expose().trim()));
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    let value = HeaderValue::from_maybe_shared(bytes).ok().filter(|_| !secret.expose().trim().is_empty());
    let mut value = value.ok_or("its secret is no API key; hint: one line of visible characters")?;
    value.set_sensitive(true);
    Ok(value)
}
