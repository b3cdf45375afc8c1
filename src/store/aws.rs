//! AWS Secrets Manager as the store: one secret per keyset, shared by any number of replicas.
//!
//! The service is the distributed engine: there is no leader and no lock of ours. Its one conditional write is the move of the label
//! `AWSCURRENT` from a version that must bear it to another one, so that move is our commit point (`swap`). Its reads are
//! eventually consistent, so no read is taken as proof that a write failed, and answers below what was seen before are asked for
//! again (`marks`). Foreign changes are noticed by a sweep on a timer of its own (`sweep`): between sweeps a keyset costs no call.
//!
//! The adapter knows no SDK: calls go through [`calls::Calls`], which `sdk` implements for the real service and tests for a strict
//! imitation of it. What the numbers rest on is in `docs/adr/0008-aws-secrets-manager.md`.

pub mod calls;
mod claim;
pub mod key_sets;
mod marks;
pub mod pace;
pub mod permissions;
mod read;
mod removal;
pub mod sdk;
mod swap;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::seal::RandomId;
use super::{Changes, Loaded, Mark, Revision, Store, StoreError, SwapError};
use crate::digest::Digest;
use crate::document::Document;
use crate::name::{EnvironmentName, KeysetId, KeysetName};
use crate::policy::{AwsStore as AwsConfig, Sweep};
use crate::secret::SecretText;
use crate::time::Span;
use calls::{CallError, CallFault, Calls, Manner, VersionId};
use marks::Marks;
use pace::{MachineTime, Pace, Time};

/// The most bytes that are sent as a value: the service takes 65,536, and 4 KiB stay free.
pub const LARGEST_VALUE: usize = 60 * 1024;

/// The tag that says whose a secret is, and its value.
pub const MANAGED_BY: (&str, &str) = ("managed-by", "keyrota");

/// How long a secret that cannot be used is left alone before it is looked at again.
const TROUBLE_REST: Span = Span::seconds(30);

/// How many keysets are under way at once: some three writes each, at twenty a second, are done within ten seconds.
const AT_ONCE: usize = 64;

/// One environment's secrets. Clones share what is known of them.
#[derive(Debug)]
pub struct AwsStore<C, T = MachineTime>(Arc<Inner<C, T>>);

impl<C, T> Clone for AwsStore<C, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Inner<C, T> {
    calls: C,
    time: T,
    environment: EnvironmentName,
    prefix: String,
    tags: BTreeMap<String, String>,
    manner: Manner,
    sweep: Sweep,
    sweep_every: Span,
    pace: Arc<Pace>,
    marks: Mutex<Marks>,
    /// Keysets that somebody here wants to know of, whether they exist or not.
    watched: Mutex<BTreeSet<KeysetName>>,
    swept: tokio::sync::Mutex<sweep::Swept>,
    key_sets: Mutex<key_sets::KeySets>,
    seed: u64,
    tries: AtomicU64,
}

impl<C: Calls, T: Time> AwsStore<C, T> {
    /// The secrets of `environment`. Calls nothing yet. `pace` is shared by everything in this process that writes to the account;
    /// `instance` names this process.
    pub fn new(environment: &EnvironmentName, config: &AwsConfig, calls: C, time: T, pace: Arc<Pace>, instance: RandomId) -> Self {
        let mut tags = config.tags.clone();
        tags.insert(MANAGED_BY.0.into(), MANAGED_BY.1.into());
        tags.insert("environment".into(), environment.to_string());
        let manner = Manner { kms_key_id: config.kms_key_id.clone(), replica_regions: config.replica_regions.clone() };
        Self(Arc::new(Inner {
            calls,
            time,
            environment: environment.clone(),
            prefix: config.prefix.clone(),
            tags,
            manner,
            sweep: config.sweep,
            sweep_every: config.sweep_every,
            pace,
            marks: Mutex::new(Marks::new(instance.to_string().replace('-', "_"))),
            watched: Mutex::default(),
            swept: tokio::sync::Mutex::default(),
            key_sets: Mutex::default(),
            seed: Digest::of(&instance.0).first_48_bits(),
            tries: AtomicU64::new(0),
        }))
    }

    /// The calls below.
    pub fn calls(&self) -> &C {
        &self.0.calls
    }

    /// These keysets are wanted here: sweeps that read look for them even before any list names them.
    pub fn watch(&self, keysets: impl IntoIterator<Item = KeysetName>) {
        *self.0.watched() = keysets.into_iter().collect();
    }
}

impl<C: Calls, T: Time> Inner<C, T> {
    fn secret_name(&self, keyset: &KeysetName) -> String {
        format!("{}{keyset}", self.prefix)
    }

    fn id(&self, keyset: &KeysetName) -> KeysetId {
        KeysetId { environment: self.environment.clone(), keyset: keyset.clone() }
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self) -> MutexGuard<'_, BTreeSet<KeysetName>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits before the next try, longer each time.
    async fn rest(&self, first: Span, tries: u32) {
        let count = self.tries.fetch_add(1, Ordering::Relaxed);
        let random = Digest::of(&(self.seed ^ count.rotate_left(40)).to_be_bytes()).first_48_bits();
        self.time.sleep(pace::back_off(first, tries, random)).await;
    }

    /// Waits until one more write may be sent.
    async fn write_allowed(&self) {
        let wait = self.pace.take(self.time.boot());
        if wait > Span::ZERO {
            self.time.sleep(wait).await;
        }
    }
}

impl<C: Calls, T: Time> Store for AwsStore<C, T> {
    async fn load(&self, keyset: &KeysetName) -> Result<Option<Loaded>, StoreError> {
        self.0.read_one(keyset).await
    }

    async fn load_many(&self, keysets: &[KeysetName]) -> Result<BTreeMap<KeysetName, Result<Loaded, StoreError>>, StoreError> {
        self.0.read_many(keysets).await
    }

    async fn swap(&self, expected: Option<&Revision>, next: &Document) -> Result<Revision, SwapError> {
        super::check_environment(&self.0.environment, next)?;
        let bytes = next.to_stored();
        let (length, id) = (bytes.expose().len(), &next.id);
        if length > LARGEST_VALUE {
            let limit = format!("keyset {id}: the document has {length} bytes, and at most {LARGEST_VALUE} are sent to Secrets Manager");
            return Err(SwapError::Invalid(format!("{limit}; hint: fewer keys at once, smaller keys, shorter reasons")));
        }
        let text = std::str::from_utf8(bytes.expose()).unwrap_or_default();
        if text.is_empty() {
            return Err(SwapError::Invalid(format!("keyset {id} could not be written out; hint: this is a fault of keyrota's")));
        }
        let value = SecretText::new(text.to_owned());
        match expected {
            None => self.0.create(next, &value).await,
            Some(Revision(parent)) => self.0.replace(&VersionId(parent.clone()), next, &value).await,
        }
    }

    /// Schedules the secret's deletion: until its recovery window is over it can be restored, and its name is taken.
    async fn remove(&self, keyset: &KeysetName, expected: &Revision, recovery: Span) -> Result<(), SwapError> {
        self.0.schedule_deletion(keyset, &VersionId(expected.0.clone()), recovery).await
    }

    async fn changes(&self, mark: &Mark) -> Result<Changes, StoreError> {
        let looked_at = self.0.keep_swept().await?;
        Ok(Changes { looked_at: Some(looked_at), ..self.0.marks().changes(mark) })
    }

    fn poll_every(&self) -> Span {
        self.0.sweep_every
    }

    fn at_once(&self) -> usize {
        AT_ONCE
    }
}

/// A call that failed while reading, as the store's users know it.
fn unread(error: CallError) -> StoreError {
    match error.fault {
        CallFault::InvalidRequest | CallFault::Kms | CallFault::Refused | CallFault::InvalidParameter => {
            StoreError::Invalid(error.sentence)
        }
        _ => StoreError::Unavailable(error.sentence),
    }
}
