//! The document as bytes: what the store holds and what signers read. Stable and versioned: `keyrota.keyset.v1`.
//!
//! Flat fields come first, because consumers select top-level members; they and the material beside them are always of the same
//! generation. They repeat what `keys` says, so reading back takes `keys` and checks the flat `kid` against it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Active, Document, End, HeldFacts, HistoryEntry, Incoming, Intents, LiveKey, Retiring, RevokedGrants, Stage};
use super::{StateName, Stated, Tombstone};
use crate::digest::Digest;
use crate::jwk::{JwkSet, PublicJwk};
use crate::key::{Algorithm, Key, KeyClass, Material, Origin};
use crate::name::{EnvironmentName, Generation, KeysetId, KeysetName, Kid};
use crate::secret::{SecretBytes, SecretText};
use crate::time::Timestamp;

/// The schema's name, in every document.
pub const SCHEMA: &str = "keyrota.keyset.v1";

/// Bytes that are no keyset document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// Not JSON of this shape. The text never quotes the content, which is secret.
    #[error("not a keyset document at line {line}, column {column}; hint: was it edited by hand, or written by a newer keyrota?")]
    Malformed {
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// A document of another schema.
    #[error("a document of schema `{0}`, and this keyrota reads {SCHEMA}; hint: was it written by a newer keyrota?")]
    OtherSchema(String),
    /// JSON of the right shape that contradicts itself.
    #[error("a keyset document that contradicts itself: {0}; hint: was it edited by hand?")]
    Contradiction(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'a"))]
struct StoredDocument<'a> {
    #[serde(borrow)]
    schema: Cow<'a, str>,
    environment: EnvironmentName,
    keyset: KeysetName,
    generation: Generation,
    updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<Kid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    algorithm: Option<Algorithm>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    private_key: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    secret: Option<Cow<'a, str>>,
    next_refresh_hint_seconds: u64,
    class: KeyClass,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jwks: Option<JwkSet<Cow<'a, PublicJwk>>>,
    #[serde(borrow)]
    keys: Vec<StoredKey<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tombstones: Vec<StoredTombstone>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    spent_kids: Vec<Digest>,
    facts: Cow<'a, HeldFacts>,
    intents: Cow<'a, Intents>,
    #[serde(default, skip_serializing_if = "is_empty")]
    revoked_grants: Cow<'a, [RevokedGrants]>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    started_specs: Vec<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stated: Option<Stated>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rotated_at: Option<Timestamp>,
    lineage: Cow<'a, [(Generation, Digest)]>,
    history: Cow<'a, [HistoryEntry]>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'a"))]
struct StoredKey<'a> {
    kid: Kid,
    algorithm: Algorithm,
    bits: u32,
    state: StateName,
    since: Timestamp,
    created_at: Timestamp,
    origin: Origin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    published_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activated_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before_active: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify_until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_jwk: Option<Cow<'a, PublicJwk>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    private_key: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    secret: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret_sha256: Option<Digest>,
}

#[derive(Serialize, Deserialize)]
struct StoredTombstone {
    kid: Kid,
    algorithm: Algorithm,
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    published_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activated_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retiring_at: Option<Timestamp>,
    ended_at: Timestamp,
    #[serde(flatten)]
    end: StoredEnd,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "lowercase")]
enum StoredEnd {
    Retired,
    Discarded {
        why: String,
    },
    Revoked {
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirmed_at: Option<Timestamp>,
    },
}

fn is_empty(entries: &[RevokedGrants]) -> bool {
    entries.is_empty()
}

/// Names the schema that was found, but no more of it than fits on a line.
fn other_schema(found: &str) -> StoredError {
    StoredError::OtherSchema(found.chars().take(64).collect())
}

impl Document {
    /// The document as the bytes that the store holds and that signers read.
    pub fn to_stored(&self) -> SecretBytes {
        let active = self.active.as_ref().map(|a| &a.key);
        let private = |wanted: KeyClass| {
            active.filter(|k| (k.class() == KeyClass::Asymmetric) == (wanted == KeyClass::Asymmetric)).and_then(Key::secret)
        };
        let stored = StoredDocument {
            schema: SCHEMA.into(),
            environment: self.id.environment.clone(),
            keyset: self.id.keyset.clone(),
            generation: self.generation,
            updated_at: self.updated_at,
            kid: active.map(|k| k.kid.clone()),
            algorithm: active.map(|k| k.algorithm),
            private_key: private(KeyClass::Asymmetric).map(|s| s.expose().into()),
            public_key: active.and_then(Key::public_jwk).and_then(|jwk| jwk.numbers.to_spki_pem().ok()),
            secret: private(KeyClass::Hmac).map(|s| s.expose().into()),
            next_refresh_hint_seconds: self.facts.signer_refresh.value.whole_seconds().max(1),
            class: self.class,
            jwks: (self.class == KeyClass::Asymmetric).then(|| JwkSet { keys: self.jwks().keys.into_iter().map(Cow::Borrowed).collect() }),
            keys: self.live().map(|live| self.stored_key(live)).collect(),
            tombstones: self.tombstones.iter().map(stored_tombstone).collect(),
            spent_kids: self.spent_kids.iter().copied().collect(),
            facts: Cow::Borrowed(&self.facts),
            intents: Cow::Borrowed(&self.intents),
            revoked_grants: Cow::Borrowed(&self.revoked_grants),
            started_specs: self.started_specs.clone(),
            stated: self.stated.clone(),
            rotated_at: self.rotated_at,
            lineage: Cow::Borrowed(&self.lineage),
            history: Cow::Borrowed(&self.history),
        };
        // Room for the whole, so that no half-written copy is left behind by a growing buffer; and not much more, because it is wiped.
        let notes = stored.tombstones.len() + stored.lineage.len() + stored.history.len() + stored.revoked_grants.len();
        let certificates: usize = self.live().filter_map(|l| l.key.public_jwk()?.x5c.as_ref()).map(|[der]| der.len()).sum();
        let keys: usize = self.live().map(|l| 2048 + l.key.bits as usize).sum();
        let mut bytes = Vec::with_capacity(8192 + 2 * keys + 3 * certificates + 320 * notes + 48 * stored.spent_kids.len());
        // Writing these types to memory cannot fail; an empty document would be refused by every reader.
        if serde_json::to_writer(&mut bytes, &stored).is_err() {
            bytes.clear();
        }
        SecretBytes::new(bytes)
    }

    /// Names this document's content: the digest of its stored bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_stored().expose())
    }

    /// Reads stored bytes back.
    ///
    /// # Errors
    /// If they are no document of this schema, or one that contradicts itself. The error never quotes them.
    pub fn from_stored(bytes: &[u8]) -> Result<Self, StoredError> {
        #[derive(Deserialize)]
        struct SchemaOnly {
            schema: String,
        }
        let malformed = |e: serde_json::Error| StoredError::Malformed { line: e.line(), column: e.column() };
        let stored: StoredDocument<'_> = match serde_json::from_slice(bytes) {
            Ok(stored) => stored,
            Err(error) => {
                let other = serde_json::from_slice::<SchemaOnly>(bytes).ok().filter(|s| s.schema != SCHEMA);
                return Err(other.map_or_else(|| malformed(error), |s| other_schema(&s.schema)));
            }
        };
        if stored.schema != SCHEMA {
            return Err(other_schema(&stored.schema));
        }
        let flat_kid = stored.kid.clone();
        let mut document = stored.into_document().map_err(StoredError::Contradiction)?;
        document.check().map_err(StoredError::Contradiction)?;
        for jwk in document.live().filter_map(|live| live.key.public_jwk()) {
            let refused = |_| StoredError::Contradiction(format!("the public half of {} is malformed or weak", jwk.kid));
            jwk.numbers.check().map_err(refused)?;
        }
        document.let_go_of_spare_room();
        document.share_texts();
        if flat_kid.as_ref() != document.active.as_ref().map(|a| &a.key.kid) {
            return Err(StoredError::Contradiction("its `kid` is not that of the active key".into()));
        }
        Ok(document)
    }

    fn stored_key<'a>(&'a self, live: LiveKey<'a>) -> StoredKey<'a> {
        let key = live.key;
        let secret = key.secret().map(|s| Cow::Borrowed(s.expose()));
        let (private_key, secret) = if key.class() == KeyClass::Asymmetric { (secret, None) } else { (None, secret) };
        let incoming = self.incoming.iter().find(|i| i.key.kid == key.kid);
        StoredKey {
            kid: key.kid.clone(),
            algorithm: key.algorithm,
            bits: key.bits,
            state: live.state,
            since: live.since,
            created_at: key.created_at,
            origin: key.origin,
            expires_at: key.expires_at,
            published_at: live.published_at,
            activated_at: live.activated_at,
            not_before_active: incoming.and_then(|i| match i.stage {
                Stage::Published { not_before_active, .. } => Some(not_before_active),
                Stage::Staged { .. } => None,
            }),
            verify_until: self.retiring.iter().find(|r| r.key.kid == key.kid).map(|r| r.verify_until),
            public_jwk: key.public_jwk().map(Cow::Borrowed),
            private_key,
            secret,
            secret_sha256: match &key.material {
                Material::ApiKey { digest, .. } => Some(*digest),
                Material::Pair { .. } | Material::Hmac { .. } => None,
            },
        }
    }
}

impl StoredDocument<'_> {
    fn into_document(self) -> Result<Document, String> {
        let id = KeysetId { environment: self.environment, keyset: self.keyset };
        let mut document = Document {
            generation: self.generation,
            updated_at: self.updated_at,
            tombstones: self.tombstones.into_iter().map(tombstone).collect(),
            spent_kids: self.spent_kids.into_iter().collect(),
            facts: self.facts.into_owned(),
            intents: self.intents.into_owned(),
            revoked_grants: self.revoked_grants.into_owned(),
            started_specs: self.started_specs,
            stated: self.stated,
            rotated_at: self.rotated_at,
            lineage: self.lineage.into_owned(),
            history: self.history.into_owned(),
            ..Document::empty(id, self.class)
        };
        for stored in self.keys {
            stored.place(&mut document)?;
        }
        Ok(document)
    }
}

impl StoredKey<'_> {
    fn place(self, document: &mut Document) -> Result<(), String> {
        let kid = self.kid.clone();
        let missing = |field: &str| format!("key {kid} has no {field}");
        let (state, since) = (self.state, self.since);
        let (published_at, activated_at) = (self.published_at, self.activated_at);
        let (not_before_active, verify_until) = (self.not_before_active, self.verify_until);
        let key = self.into_key()?;
        let published = || published_at.ok_or_else(|| missing("published_at"));
        match state {
            StateName::Staged => document.incoming.push(Incoming { key, stage: Stage::Staged { since } }),
            StateName::Published => {
                let not_before_active = not_before_active.ok_or_else(|| missing("not_before_active"))?;
                document.incoming.push(Incoming { key, stage: Stage::Published { since, not_before_active } });
            }
            StateName::Active => {
                if document.active.is_some() {
                    return Err("two keys are active".into());
                }
                document.active = Some(Active { key, since, published_at: published()? });
            }
            StateName::Retiring => {
                let verify_until = verify_until.ok_or_else(|| missing("verify_until"))?;
                document.retiring.push(Retiring { key, since, published_at: published()?, activated_at, verify_until });
            }
            StateName::Retired | StateName::Revoked => return Err(format!("key {kid} is {state} and yet among the live ones")),
        }
        Ok(())
    }

    fn into_key(self) -> Result<Key, String> {
        let wrong = || format!("key {} lacks the material of its class, or has another's", self.kid);
        let own = |text: Cow<'_, str>| SecretText::new(text.into_owned());
        let material = match (self.algorithm.class(), self.public_jwk, self.private_key, self.secret, self.secret_sha256) {
            (KeyClass::Asymmetric, Some(public), private, None, None) => {
                Material::Pair { public: public.into_owned(), private: private.map(own) }
            }
            (KeyClass::Hmac, None, None, Some(secret), None) => Material::Hmac { secret: own(secret) },
            (KeyClass::ApiKey, None, None, secret, Some(digest)) => Material::ApiKey { secret: secret.map(own), digest },
            _ => return Err(wrong()),
        };
        Ok(Key {
            kid: self.kid,
            algorithm: self.algorithm,
            bits: self.bits,
            created_at: self.created_at,
            origin: self.origin,
            expires_at: self.expires_at,
            material,
        })
    }
}

fn stored_tombstone(t: &Tombstone) -> StoredTombstone {
    StoredTombstone {
        kid: t.kid.clone(),
        algorithm: t.algorithm,
        created_at: t.created_at,
        published_at: t.published_at,
        activated_at: t.activated_at,
        retiring_at: t.retiring_at,
        ended_at: t.ended_at,
        end: match &t.end {
            End::Retired => StoredEnd::Retired,
            End::Discarded { why } => StoredEnd::Discarded { why: why.clone() },
            End::Revoked { reason, confirmed_at } => StoredEnd::Revoked { reason: reason.clone(), confirmed_at: *confirmed_at },
        },
    }
}

fn tombstone(t: StoredTombstone) -> Tombstone {
    Tombstone {
        kid: t.kid,
        algorithm: t.algorithm,
        created_at: t.created_at,
        published_at: t.published_at,
        activated_at: t.activated_at,
        retiring_at: t.retiring_at,
        ended_at: t.ended_at,
        end: match t.end {
            StoredEnd::Retired => End::Retired,
            StoredEnd::Discarded { why } => End::Discarded { why },
            StoredEnd::Revoked { reason, confirmed_at } => End::Revoked { reason, confirmed_at },
        },
    }
}
