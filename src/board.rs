//! What listeners, metrics and `status` read: one consistent picture per keyset, swapped in whole, read without a lock.
//!
//! Writers are the reconcilers (through [`crate::reconcile::Ports::serve`] and `report`) and the daemon; readers never wait. What a
//! verifier gets is rendered once, when the document changes, not at every request.

pub mod tokens;
pub mod uptake;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http::HeaderValue;
use tokio::sync::SetOnce;
use tokio::sync::futures::Notified;

use crate::digest::Digest;
use crate::document::Document;
use crate::freshness::Freshness;
use crate::invariant::{self, Invariant};
use crate::name::{EnvironmentName, KeysetId, KeysetName};
use crate::policy::{SignerAccess, Stale, TokenPolicy};
use crate::reconcile::{Status, Trouble};
use crate::time::{Span, Timestamp};

/// Every environment that is served.
#[derive(Default)]
pub struct Board {
    /// How the certificate of the verifiers' listener stands; `None` without TLS.
    pub tls: ArcSwapOption<TlsStanding>,
    environments: ArcSwap<BTreeMap<EnvironmentName, Arc<EnvironmentBoard>>>,
}

/// One environment.
pub struct EnvironmentBoard {
    /// Its name.
    pub name: EnvironmentName,
    /// Whether this process may speak for the store.
    pub freshness: Arc<Freshness>,
    /// How its policy stands.
    pub policy: ArcSwap<PolicyStanding>,
    /// When a pass was last carried through.
    pub last_pass: ArcSwapOption<Timestamp>,
    /// Why the store does not answer; `None` if it did when it was last asked.
    pub store_trouble: ArcSwapOption<Trouble>,
    /// Set when every keyset of the policy has been looked at once.
    pub loaded: SetOnce<()>,
    keysets: ArcSwap<BTreeMap<KeysetName, Arc<Cell>>>,
}

/// How the certificate of a listener stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsStanding {
    /// The SHA-256 of the certificate in force (its fingerprint).
    pub certificate: Digest,
    /// When it was taken from its file.
    pub taken_at: Timestamp,
    /// Until when it is valid.
    pub expires_at: Timestamp,
    /// Why certificate and key as they stand in their files now are not in force, as a sentence.
    pub refused: Option<String>,
}

/// How a policy file stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyStanding {
    /// The digest of the policy in force.
    pub digest: Digest,
    /// When it was last taken.
    pub taken_at: Timestamp,
    /// Why the file as it stands now is not in force; empty if it is.
    pub faults: Vec<String>,
}

/// One keyset.
#[derive(Default)]
pub struct Cell {
    served: ArcSwapOption<Served>,
    status: ArcSwapOption<Status>,
    manner: ArcSwap<Mannered>,
    tokens: ArcSwapOption<tokens::Tokens>,
    changed: tokio::sync::Notify,
    /// What signers have reported.
    pub reports: uptake::Reports,
}

/// How a keyset is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manner {
    /// The max-age of its key set.
    pub cache_max_age: Span,
    /// What verifiers get while this process is not fresh.
    pub stale: Stale,
    /// Who, besides root and the daemon's own user, may read its document on the signer socket.
    pub signers: Vec<SignerAccess>,
    /// What tokens look like that are minted with it; `None`: none are.
    pub token: Option<Arc<TokenPolicy>>,
    /// The longest that they live, as the policy says.
    pub token_ttl: Span,
}

/// A manner with the header it amounts to, rendered once.
pub struct Mannered {
    /// The manner.
    pub manner: Manner,
    /// `Cache-Control` of a key set that is fresh.
    pub cache_control: HeaderValue,
}

/// What is given out.
pub struct Served {
    /// The document, for signers.
    pub document: Arc<Document>,
    /// The key set, for verifiers; `None` for HMAC secrets, API keys, and a keyset without a key.
    pub jwks: Option<Rendered>,
    /// What does not hold of the two, looked at from outside; empty unless keyrota itself is at fault.
    pub violated: Vec<Invariant>,
}

/// A key set, ready to be sent.
pub struct Rendered {
    /// The JSON.
    pub body: Bytes,
    /// A strong entity tag (RFC 9110 §8.8.3), with its quotes.
    pub etag: HeaderValue,
}

impl Default for Manner {
    fn default() -> Self {
        Self { cache_max_age: Span::minutes(1), stale: Stale::Serve, signers: Vec::new(), token: None, token_ttl: Span::ZERO }
    }
}

impl Default for Mannered {
    fn default() -> Self {
        Manner::default().into()
    }
}

impl From<Manner> for Mannered {
    fn from(manner: Manner) -> Self {
        let text = format!("public, max-age={}", manner.cache_max_age.whole_seconds());
        // Such a text is always a header; if it were not, nobody would cache.
        let cache_control = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("no-cache"));
        Self { manner, cache_control }
    }
}

impl Board {
    /// The environments.
    pub fn environments(&self) -> Arc<BTreeMap<EnvironmentName, Arc<EnvironmentBoard>>> {
        self.environments.load_full()
    }

    /// One environment.
    pub fn environment(&self, name: &str) -> Option<Arc<EnvironmentBoard>> {
        self.environments.load().get(name).cloned()
    }

    /// Adds or replaces an environment.
    #[allow(clippy::needless_pass_by_value, reason = "the board takes it over; rcu may have to try more than once")]
    pub fn put(&self, environment: Arc<EnvironmentBoard>) {
        self.environments.rcu(|map| {
            let mut map = (**map).clone();
            map.insert(environment.name.clone(), Arc::clone(&environment));
            map
        });
    }

    /// Takes an environment off the board.
    pub fn take_off(&self, name: &EnvironmentName) {
        self.environments.rcu(|map| {
            let mut map = (**map).clone();
            map.remove(name);
            map
        });
    }
}

impl EnvironmentBoard {
    /// An environment without keysets.
    pub fn new(name: EnvironmentName, freshness: Arc<Freshness>, policy: PolicyStanding) -> Self {
        Self {
            name,
            freshness,
            policy: ArcSwap::from_pointee(policy),
            last_pass: ArcSwapOption::empty(),
            store_trouble: ArcSwapOption::empty(),
            loaded: SetOnce::new(),
            keysets: ArcSwap::default(),
        }
    }

    /// The keysets.
    pub fn keysets(&self) -> Arc<BTreeMap<KeysetName, Arc<Cell>>> {
        self.keysets.load_full()
    }

    /// One keyset.
    pub fn keyset(&self, name: &str) -> Option<Arc<Cell>> {
        self.keysets.load().get(name).cloned()
    }

    /// The cell of a keyset, made if there is none. Many at once cost one copy of the map.
    #[allow(clippy::needless_pass_by_value, reason = "rcu may have to go through the names more than once")]
    pub fn ensure<'a>(&self, names: impl Iterator<Item = &'a KeysetName> + Clone) {
        let known = self.keysets.load();
        if names.clone().all(|name| known.contains_key(name)) {
            return;
        }
        self.keysets.rcu(|map| {
            let mut map = (**map).clone();
            for name in names.clone() {
                map.entry(name.clone()).or_default();
            }
            map
        });
    }

    /// Takes a keyset off the board.
    pub fn take_off(&self, name: &KeysetName) {
        if self.keysets.load().contains_key(name) {
            self.keysets.rcu(|map| {
                let mut map = (**map).clone();
                map.remove(name);
                map
            });
        }
    }

    /// The names of its keysets.
    pub fn id(&self, keyset: &KeysetName) -> KeysetId {
        KeysetId { environment: self.name.clone(), keyset: keyset.clone() }
    }
}

impl Cell {
    /// From now on this is given out.
    pub fn serve(&self, document: Option<&Arc<Document>>) {
        self.served.store(document.map(|document| Arc::new(Served::of(document))));
        self.tokens.store(None);
        self.changed.notify_waiters();
    }

    /// Becomes ready when something else is given out than when this was called.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// What is given out.
    pub fn served(&self) -> Option<Arc<Served>> {
        self.served.load_full()
    }

    /// How the keyset stands.
    pub fn report(&self, status: Option<Status>) {
        self.status.store(status.map(Arc::new));
    }

    /// How the keyset stands; `None` before it was looked at.
    pub fn status(&self) -> Option<Arc<Status>> {
        self.status.load_full()
    }

    /// Sets how it is served.
    pub fn set_manner(&self, manner: Manner) {
        self.manner.store(Arc::new(manner.into()));
    }

    /// How it is served.
    pub fn manner(&self) -> Arc<Mannered> {
        self.manner.load_full()
    }
}

impl Served {
    /// What is given out of a document.
    pub fn of(document: &Arc<Document>) -> Self {
        let jwks = Rendered::of(document);
        let violated = invariant::violated(document, jwks.as_ref().map(|rendered| &*rendered.body));
        Self { document: Arc::clone(document), jwks, violated }
    }
}

impl Rendered {
    /// The key set of a document. Never an empty one: common clients throw on it.
    pub fn of(document: &Document) -> Option<Self> {
        let set = document.jwks();
        if set.keys.is_empty() {
            return None;
        }
        let body: Bytes = serde_json::to_vec(&set).ok()?.into();
        let etag = HeaderValue::try_from(format!("\"{}\"", Digest::of(&body))).ok()?;
        Some(Self { body, etag })
    }
}
