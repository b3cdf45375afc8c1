//! The port to where keyset documents live: load, compare-and-swap, and what has changed.
//!
//! The swap is the commit point of every change. An adapter never retries a swap blindly, never takes an unreadable store for an
//! empty one, and never answers `Conflict` unless nothing was applied. One contract suite (`tests/store_contract.rs`) is run by
//! every adapter.

pub mod aws;
pub mod embedded;
pub mod master_key;
pub mod memory;
pub mod seal;

use std::collections::BTreeMap;
use std::future::Future;

use crate::document::Document;
use crate::name::{EnvironmentName, Generation, KeysetId, KeysetName};
use crate::time::Span;

/// The store's own, opaque version of one document: what compare-and-swap compares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub String);

/// Up to where a reader has seen the store's changes. Opaque; the default is "nothing yet".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mark(pub String);

/// A document with the revision it was read at.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The document.
    pub document: Document,
    /// Its revision.
    pub revision: Revision,
}

/// What has changed since a mark.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Where to go on from.
    pub mark: Mark,
    /// Keysets that were written, with the revision seen.
    pub written: Vec<(KeysetName, Revision)>,
    /// Keysets that are there no more.
    pub removed: Vec<KeysetName>,
    /// When (boot time) the look at the store began that this rests on; `None`: now. An adapter that asks its store less often than
    /// it is asked itself must not let an old look pass for a new one.
    pub looked_at: Option<Span>,
}

/// Why a store could not be read. An error is never to be taken for "there is nothing".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It did not answer, or answered that it cannot now.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It answered with something that is no document of ours, or cannot be opened with our key.
    #[error("the store holds something that cannot be read: {0}")]
    Invalid(String),
}

/// Why a swap has no revision to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwapError {
    /// Not applied: somebody else's change came first. Reload and decide again.
    #[error("another writer changed the keyset first")]
    Conflict,
    /// Not applied: the store cannot now.
    #[error("the store is unavailable, nothing was changed: {0}")]
    Unavailable(String),
    /// Nobody knows whether it was applied. Forget what is in memory and reload.
    #[error("the store did not say whether the change was made: {0}")]
    Indeterminate(String),
    /// Not applied, and never will be: too large, not allowed.
    #[error("the store refuses the change: {0}")]
    Invalid(String),
}

/// Where the documents of one environment live.
pub trait Store: Send + Sync + 'static {
    /// One document; `None` if the store was read and has none of that name.
    fn load(&self, keyset: &KeysetName) -> impl Future<Output = Result<Option<Loaded>, StoreError>> + Send;

    /// Many documents in as few calls as the store allows. A keyset that is not there is missing from the answer; one that cannot
    /// be read has its own error, and does not hide the others.
    fn load_many(
        &self,
        keysets: &[KeysetName],
    ) -> impl Future<Output = Result<BTreeMap<KeysetName, Result<Loaded, StoreError>>, StoreError>> + Send;

    /// Writes `next`, if the store still holds `expected` (`None`: if it holds nothing of that name). A document whose generation
    /// is not beyond the stored one's is refused as [`SwapError::Invalid`].
    fn swap(&self, expected: Option<&Revision>, next: &Document) -> impl Future<Output = Result<Revision, SwapError>> + Send;

    /// Removes a keyset for good, if the store still holds `expected`. Whoever looks afterwards finds nothing of that name and hears of
    /// it through [`Store::changes`]; the name can be used anew. An adapter whose store keeps what was deleted may write a last
    /// version that says so and bears no key, and answer as if nothing were there. A store that lets a removal be undone does so for
    /// `recovery`; the others have no use for it.
    fn remove(&self, keyset: &KeysetName, expected: &Revision, recovery: Span) -> impl Future<Output = Result<(), SwapError>> + Send;

    /// What has changed since `mark`, this process's own writes included. Cheap when nothing has.
    fn changes(&self, mark: &Mark) -> impl Future<Output = Result<Changes, StoreError>> + Send;

    /// How often [`Store::changes`] is to be asked.
    fn poll_every(&self) -> Span;

    /// How many keysets may be under way at once. A store whose writes have a rate must not be given more than it writes within a few
    /// seconds, or else decisions grow old in its queue.
    fn at_once(&self) -> usize {
        512
    }
}

/// For how long a removal can be undone, unless somebody says otherwise, in a store that has such a thing.
pub const RECOVERY: Span = Span::days(30);

/// A document of another environment has no place in a store.
fn check_environment(own: &EnvironmentName, next: &Document) -> Result<(), SwapError> {
    if next.id.environment == *own {
        return Ok(());
    }
    Err(SwapError::Invalid(format!("keyset {} does not belong to environment {own}; hint: this is a fault of keyrota's", next.id)))
}

/// A generation is used once, so a successor's is greater than what is stored.
fn check_succession(stored: Generation, next: &Document) -> Result<(), SwapError> {
    if next.generation > stored { Ok(()) } else { Err(not_beyond(&next.id, stored)) }
}

fn not_beyond(id: &KeysetId, stored: Generation) -> SwapError {
    let what = format!("keyset {id} is at generation {stored} already, and a generation is used once");
    SwapError::Invalid(format!("{what}; hint: this is a fault of keyrota's: please report it"))
}
