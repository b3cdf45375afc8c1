//! Places behind a vendor's own API: asked over HTTPS, beside everything else, with time limits and rests.
//!
//! What stands there is compared with the document on every look, what is missing is brought, what is ours and lives no more is taken
//! away, and only what was read back afterwards counts. So a crash between any two calls leaves what the next look puts right. A key
//! that the document never knew is never touched, unless its name says that it was made for this keyset. It decides nothing about keys.

mod algolia;
mod inkeep_agents;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tokio::sync::mpsc;

use super::errand::{Errand, Errands};
use super::{Brought, PublishError, ReadBack, Removed};
use crate::clock::Reading;
use crate::credential;
use crate::digest::Digest;
use crate::document::Document;
use crate::https::{Answer, Ask, Fetch, HttpsClient, Request};
use crate::key::Key;
use crate::name::{KeysetId, KeysetName};
use crate::policy::{AlgoliaTarget, InkeepAgentsTarget, SecretPlace};
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
    /// Keys that vendors are asked for. They wait for no place that hangs.
    orders: Errands,
    /// Keys that were made and not fetched yet, each with the order that it is for.
    made: Arc<Mutex<BTreeMap<KeysetName, (Digest, Key)>>>,
    client: Arc<HttpsClient>,
}

impl Vendors {
    /// Nobody is spoken to yet. `done` hears of every keyset for which a vendor has been.
    pub fn new(client: Arc<HttpsClient>, done: mpsc::UnboundedSender<KeysetName>) -> Self {
        let (errands, orders) = (Errands::new(AT_ONCE, done.clone()), Errands::new(AT_ONCE, done));
        Self { errands, orders, made: Arc::default(), client }
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
        self.take_away(&errand, patience, |held| {
            let (client, target, errand, wanted) = (Arc::clone(&self.client), target.clone(), errand.clone(), wanted.clone());
            async move { inkeep_agents::bring(&*client, &target, &wanted, &errand, held).await }
        })
        .await
    }

    /// As [`super::Targets::bring`], for a vendor that makes the keys itself: what is there is looked at, and what is dead deleted. Must
    /// be called within a runtime.
    ///
    /// # Errors
    /// What the last attempt failed with, while it rests.
    pub fn tend(
        &self,
        keyset: &KeysetId,
        target: &AlgoliaTarget,
        document: &Document,
        expected: Option<Digest>,
    ) -> Result<Brought, PublishError> {
        let wanted = algolia::Wanted::of(document, algolia::Leaving::Stays);
        let errand = algolia_errand(keyset, target, wanted.digest());
        self.errands.ask(&errand, expected, |_| {
            let (client, target, errand) = (Arc::clone(&self.client), target.clone(), errand.clone());
            async move { algolia::bring(&*client, &target, &wanted, &errand).await }
        })
    }

    /// How such a vendor stands: what is known, and if that is well, whether a key could be made now.
    pub async fn examine(&self, keyset: &KeysetId, target: &AlgoliaTarget) -> ReadBack {
        match self.errands.known(&algolia_errand(keyset, target, Digest::of(b""))) {
            ReadBack::Known { what, good: true } => match algolia::examine(&*self.client, target).await {
                Ok(found) => ReadBack::Known { what: format!("{what}; {found}"), good: true },
                Err(found) => ReadBack::Known { what: found, good: false },
            },
            known => known,
        }
    }

    /// Takes away the keys that such a vendor made: with patience all of them, because the keyset goes; without, those that are dead,
    /// because its policy has another source now and tokens of the others live. Must be called within a runtime.
    pub async fn leave(&self, keyset: &KeysetId, target: &AlgoliaTarget, document: &Document, patience: Span) -> Removed {
        let leaving = if patience > Span::ZERO { algolia::Leaving::Keyset } else { algolia::Leaving::Source };
        let wanted = algolia::Wanted::of(document, leaving);
        let errand = algolia_errand(keyset, target, wanted.digest());
        self.take_away(&errand, patience, |_| {
            let (client, target, errand, wanted) = (Arc::clone(&self.client), target.clone(), errand.clone(), wanted.clone());
            async move { algolia::bring(&*client, &target, &wanted, &errand).await }
        })
        .await
    }

    /// The next key of the keyset of which `document` is in force, made by its vendor for the document's successor and no other; `None`:
    /// it is being asked. Must be called within a runtime.
    ///
    /// # Errors
    /// What the last attempt failed with, while it rests.
    pub fn order(&self, keyset: &KeysetId, target: &AlgoliaTarget, document: &Document) -> Result<Option<Key>, PublishError> {
        let order = algolia::Order::of(document);
        let wanted = order.digest(target);
        let errand = Errand { keyset: keyset.clone(), place: target.to_string(), wanted, look_every: None };
        // What was fetched and then not recorded is asked for anew: it is found there.
        for _ in 0..2 {
            let asked = self.orders.ask(&errand, None, |_| {
                let (client, made, order) = (Arc::clone(&self.client), Arc::clone(&self.made), order.clone());
                let (target, errand) = (target.clone(), errand.clone());
                async move {
                    let key = algolia::make(&*client, &target, &order, Reading::now().wall).await?;
                    made.lock().unwrap_or_else(PoisonError::into_inner).insert(errand.keyset.keyset.clone(), (errand.wanted, key));
                    Ok(errand.agreed(true, false, None))
                }
            })?;
            if matches!(asked, Brought::UnderWay { .. }) {
                return Ok(None);
            }
            self.orders.forget(keyset, &errand.place);
            let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).remove(&keyset.keyset);
            if let Some((_, key)) = made.filter(|(with, _)| *with == wanted) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// Has a place looked at until it holds nothing more that is to be taken away, or patience ends.
    async fn take_away<W, F>(&self, errand: &Errand, patience: Span, work: W) -> Removed
    where
        W: Fn(Option<Digest>) -> F,
        F: Future<Output = Result<Brought, String>> + Send + 'static,
    {
        let mut ends = self.errands.ends();
        let waiting = async {
            loop {
                match self.errands.ask(errand, None, &work) {
                    Ok(Brought::UnderWay { .. }) if patience > Span::ZERO => drop(ends.changed().await),
                    Ok(Brought::UnderWay { .. }) => return Removed::NotYet { why: None },
                    Ok(Brought::Agreed { amiss: Some(amiss), .. }) => {
                        return Removed::NotYet { why: Some(amiss.what).filter(|_| !amiss.expected) };
                    }
                    Ok(Brought::Agreed { wrote, .. }) => {
                        self.errands.forget(&errand.keyset, &errand.place);
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

fn algolia_errand(keyset: &KeysetId, target: &AlgoliaTarget, wanted: Digest) -> Errand {
    Errand { keyset: keyset.clone(), place: target.to_string(), wanted, look_every: Some(target.every) }
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
