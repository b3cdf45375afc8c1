//! The keyset document: everything about one keyset as one value.
//!
//! A document is what the store holds, what signers read, and what [`crate::lifecycle::next`] decides on. The shapes below make
//! most illegal documents impossible to write: there is one slot for the active key, a retired key has no material, a revoked one
//! has a reason. What remains is checked when bytes are read back ([`stored`]) and by [`Document::check`].
//!
//! Every change goes through [`change::Draft::finish`], which counts the generation, remembers the digest of its predecessor, and notes
//! the change in the history. Nothing here reads a clock, a policy, or a file.

pub mod change;
pub mod facts;
pub mod history;
pub mod intents;
pub mod revoked_grants;
pub mod stored;
mod thrift;

use std::collections::BTreeSet;

pub use facts::{FactName, Facts, HeldFacts};
pub use history::{Change, HistoryEntry, Trigger};
pub use intents::{Freeze, Intent, Intents, Journey, Moved};
pub use revoked_grants::{Grants, RevokedGrants};

use crate::digest::Digest;
use crate::jwk::{JwkSet, PublicJwk};
use crate::key::{Algorithm, Key, KeyClass};
use crate::name::{Generation, KeysetId, Kid};
use crate::time::Timestamp;

/// How many digests of earlier generations a document carries, so that a witness can see that it continues what it saw.
pub const LINEAGE_LENGTH: usize = 16;

/// The most live keys a keyset may ever hold. Policies that would need more are refused.
pub const MOST_LIVE_KEYS: usize = 16;

/// Everything about one keyset.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    /// Which keyset.
    pub id: KeysetId,
    /// What kind of material its keys have. Never changes.
    pub class: KeyClass,
    /// One more with every change; zero for a keyset that was never stored.
    pub generation: Generation,
    /// When the last change was decided.
    pub updated_at: Timestamp,
    /// The key that signs now.
    pub active: Option<Active>,
    /// Keys that have not signed yet, oldest first.
    pub incoming: Vec<Incoming>,
    /// Keys that sign no more and whose tokens may be alive, latest retired first.
    pub retiring: Vec<Retiring>,
    /// Keys that are gone, latest first. Bounded.
    pub tombstones: Vec<Tombstone>,
    /// Digests of the kids of revoked keys whose tombstones are gone: they are refused for ever.
    pub spent_kids: BTreeSet<Digest>,
    /// The facts that were promised.
    pub facts: HeldFacts,
    /// What operators asked for and has not happened yet.
    pub intents: Intents,
    /// The refresh tokens that are accepted no more, if this keyset seals some. Bounded.
    pub revoked_grants: Vec<RevokedGrants>,
    /// Digests of the key specifications that have brought a rotation forward, so that two replicas with different policies
    /// cannot take turns for ever.
    pub started_specs: Vec<Digest>,
    /// What the policy stated that the last decision was made under.
    pub stated: Option<Stated>,
    /// When the signing key last changed over from one key to another.
    pub rotated_at: Option<Timestamp>,
    /// Generation and digest of the latest predecessors, latest first.
    pub lineage: Vec<(Generation, Digest)>,
    /// What happened lately, oldest first. Bounded.
    pub history: Vec<HistoryEntry>,
}

/// What a policy stated when something was decided under it: so that replicas with different policies can name the fields in which
/// they differ.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stated {
    /// When it was decided.
    pub at: Timestamp,
    /// Four characters of a digest for each field, in the order of [`crate::rules::FIELDS`].
    pub fields: String,
}

/// A key that has not signed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// The key.
    pub key: Key,
    /// How far its announcement has come.
    pub stage: Stage,
}

/// How far the announcement of an incoming key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Being written to the places that verifiers read.
    Staged {
        /// Since when.
        since: Timestamp,
    },
    /// Seen in every place that verifiers read.
    Published {
        /// Since when.
        since: Timestamp,
        /// When the propagation wait was expected to be over, as the last change saw it. For readers; decisions compute it anew.
        not_before_active: Timestamp,
    },
}

/// The key that signs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Active {
    /// The key; it can sign.
    pub key: Key,
    /// Since when it signs.
    pub since: Timestamp,
    /// When it had been seen in every place that verifiers read.
    pub published_at: Timestamp,
}

/// A key that signs no more and that verifiers still accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retiring {
    /// The key.
    pub key: Key,
    /// Since when it signs no more.
    pub since: Timestamp,
    /// When it had been seen in every place that verifiers read.
    pub published_at: Timestamp,
    /// When it began to sign; `None` if it was imported to be verified only.
    pub activated_at: Option<Timestamp>,
    /// When the retention wait was expected to be over, as the last change saw it. For readers; decisions compute it anew.
    pub verify_until: Timestamp,
}

/// What remains of a key that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Its name.
    pub kid: Kid,
    /// What it signed with.
    pub algorithm: Algorithm,
    /// When it was generated.
    pub created_at: Timestamp,
    /// When it was published, if it got that far.
    pub published_at: Option<Timestamp>,
    /// When it began to sign, if it got that far.
    pub activated_at: Option<Timestamp>,
    /// When it ceased to sign by an orderly change-over.
    pub retiring_at: Option<Timestamp>,
    /// When it left the key set.
    pub ended_at: Timestamp,
    /// Why.
    pub end: End,
}

/// Why a key is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Its retention wait was over.
    Retired,
    /// It never signed, and was not wanted any more.
    Discarded {
        /// Why not.
        why: String,
    },
    /// An operator said that it is compromised.
    Revoked {
        /// What the operator said.
        reason: String,
        /// When it had been seen gone from every place that verifiers read.
        confirmed_at: Option<Timestamp>,
    },
}

/// The states of a key by name, for output and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateName {
    /// Being announced.
    Staged,
    /// Announced everywhere.
    Published,
    /// Signing.
    Active,
    /// Verified, not signing.
    Retiring,
    /// Gone.
    Retired,
    /// Gone because compromised.
    Revoked,
}

impl StateName {
    /// Every state, in the order of a key's life.
    pub const ALL: [Self; 6] = [Self::Staged, Self::Published, Self::Active, Self::Retiring, Self::Retired, Self::Revoked];

    /// The name as it stands in documents and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Published => "published",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }
}

impl std::fmt::Display for StateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A live key with its state and times, whichever slot of the document it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveKey<'a> {
    /// The key.
    pub key: &'a Key,
    /// Its state.
    pub state: StateName,
    /// Since when it is in that state.
    pub since: Timestamp,
    /// When it had been seen in every place that verifiers read.
    pub published_at: Option<Timestamp>,
    /// When it began to sign.
    pub activated_at: Option<Timestamp>,
}

impl Stage {
    /// Since when the key is in this stage.
    pub const fn since(self) -> Timestamp {
        match self {
            Self::Staged { since } | Self::Published { since, .. } => since,
        }
    }

    /// When the key had been seen everywhere, if it has been.
    pub const fn published_at(self) -> Option<Timestamp> {
        match self {
            Self::Staged { .. } => None,
            Self::Published { since, .. } => Some(since),
        }
    }
}

impl End {
    /// The state a tombstone of this end is in. A discarded key counts as retired.
    pub const fn state(&self) -> StateName {
        match self {
            Self::Retired | Self::Discarded { .. } => StateName::Retired,
            Self::Revoked { .. } => StateName::Revoked,
        }
    }
}

impl Document {
    /// The document of a keyset that has never been stored: generation zero, no keys.
    pub fn empty(id: KeysetId, class: KeyClass) -> Self {
        Self {
            id,
            class,
            generation: Generation(0),
            updated_at: Timestamp::EPOCH,
            active: None,
            incoming: Vec::new(),
            retiring: Vec::new(),
            tombstones: Vec::new(),
            spent_kids: BTreeSet::new(),
            facts: HeldFacts::default(),
            intents: Intents::default(),
            revoked_grants: Vec::new(),
            started_specs: Vec::new(),
            stated: None,
            rotated_at: None,
            lineage: Vec::new(),
            history: Vec::new(),
        }
    }

    /// Whether it was ever stored.
    pub const fn is_stored(&self) -> bool {
        self.generation.0 > 0
    }

    /// The keys that have material, in the order: active, incoming, retiring.
    pub fn live(&self) -> impl Iterator<Item = LiveKey<'_>> {
        let active = self.active.iter().map(|a| LiveKey {
            key: &a.key,
            state: StateName::Active,
            since: a.since,
            published_at: Some(a.published_at),
            activated_at: Some(a.since),
        });
        let incoming = self.incoming.iter().map(|i| LiveKey {
            key: &i.key,
            state: if i.stage.published_at().is_some() { StateName::Published } else { StateName::Staged },
            since: i.stage.since(),
            published_at: i.stage.published_at(),
            activated_at: None,
        });
        let retiring = self.retiring.iter().map(|r| LiveKey {
            key: &r.key,
            state: StateName::Retiring,
            since: r.since,
            published_at: Some(r.published_at),
            activated_at: r.activated_at,
        });
        active.chain(incoming).chain(retiring)
    }

    /// The live key of that name.
    pub fn live_key(&self, kid: &Kid) -> Option<LiveKey<'_>> {
        self.live().find(|k| k.key.kid == *kid)
    }

    /// Whether `kid` was ever used here, as far as the document remembers (for ever, if it was revoked).
    pub fn knows(&self, kid: &Kid) -> bool {
        self.live_key(kid).is_some()
            || self.tombstones.iter().any(|t| t.kid == *kid)
            || self.spent_kids.contains(&Digest::of(kid.as_str().as_bytes()))
    }

    /// The kids of all keys that were ever revoked here, as digests, in order.
    pub fn revoked_kids(&self) -> Vec<Digest> {
        let tombstones = self.tombstones.iter().filter(|t| t.end.state() == StateName::Revoked);
        let recent = tombstones.map(|t| Digest::of(t.kid.as_str().as_bytes()));
        recent.chain(self.spent_kids.iter().copied()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The key set that verifiers fetch: every live key's public half. Empty for HMAC secrets and API keys.
    pub fn jwks(&self) -> JwkSet<&PublicJwk> {
        JwkSet { keys: self.live().filter_map(|k| k.key.public_jwk()).collect() }
    }

    /// The latest moment that any record in it bears. One that lies in the future tells of a clock that is wrong.
    pub fn latest_record(&self) -> Timestamp {
        self.live().map(|k| k.since).chain([self.updated_at]).max().unwrap_or(self.updated_at)
    }

    /// The same document with words in the place of every secret: what `status --output json` shows and `plan --state` reads.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut shown = self.clone();
        shown.active = shown.active.map(|a| Active { key: a.key.without_secrets(), ..a });
        shown.incoming = shown.incoming.into_iter().map(|i| Incoming { key: i.key.without_secrets(), ..i }).collect();
        shown.retiring = shown.retiring.into_iter().map(|r| Retiring { key: r.key.without_secrets(), ..r }).collect();
        shown
    }

    /// What must hold of every document and its shape does not force.
    ///
    /// # Errors
    /// A sentence that names the first thing that does not hold.
    pub fn check(&self) -> Result<(), String> {
        let mut kids = BTreeSet::new();
        for live in self.live() {
            let kid = &live.key.kid;
            if !kids.insert(kid) {
                return Err(format!("kid {kid} stands twice"));
            }
            if live.key.class() != self.class {
                return Err(format!("key {kid} is {:?} in a keyset of {:?}", live.key.class(), self.class));
            }
            if live.state != StateName::Retiring && !live.key.can_sign() {
                return Err(format!("key {kid} is {} and has no private half", live.state));
            }
            if live.key.public_jwk().is_some_and(|jwk| jwk.kid != *kid || jwk.alg != live.key.algorithm) {
                return Err(format!("the JWK of {kid} bears another kid or algorithm"));
            }
        }
        if let Some(gone) = self.tombstones.iter().find(|t| kids.contains(&t.kid)) {
            return Err(format!("kid {} is both alive and gone", gone.kid));
        }
        if self.revoked_grants.len() > revoked_grants::MOST {
            return Err(format!("{} revocations of refresh tokens, more than {}", self.revoked_grants.len(), revoked_grants::MOST));
        }
        if kids.len() > MOST_LIVE_KEYS {
            return Err(format!("{} live keys, more than {MOST_LIVE_KEYS}", kids.len()));
        }
        Ok(())
    }
}

/// Never shows material: [`Key`] does not.
impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document")
            .field("id", &self.id)
            .field("generation", &self.generation.0)
            .field("updated_at", &self.updated_at)
            .field("active", &self.active)
            .field("incoming", &self.incoming)
            .field("retiring", &self.retiring)
            .field("tombstones", &self.tombstones)
            .field("intents", &self.intents)
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}
