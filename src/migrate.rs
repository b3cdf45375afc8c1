//! Moving keysets from one store to another: seal, copy, verify; and, when nobody reads the old store any more, settle and erase.
//!
//! The decision is [`course`], made anew from both stores before every swap; here it is carried out. Whatever fails or is killed is
//! simply begun again. Every write is a compare-and-swap, so a document that has moved on is never overwritten.
//!
//! Invariant: at no moment are there two documents of a keyset that both may change. The seal comes before the copy, and a copy is
//! made only of what is sealed.

pub mod course;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::document::{Document, Intent};
use crate::name::{Generation, KeysetName};
use crate::store::{Loaded, Revision, Store, StoreError, SwapError};
use crate::time::Span;
use course::{Blocked, Course, Ending, Route};

/// How often one keyset is looked at before it is left to another attempt: three looks are enough if nobody else is at it.
const LOOKS: usize = 12;

/// How one keyset stands after it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Neither store has it.
    Absent,
    /// The source holds it, and it is to be sealed and copied.
    Here,
    /// It is sealed, and to be copied.
    Sealed,
    /// It is sealed towards a store that holds nothing, and the seal is to be lifted.
    Stranded,
    /// The target holds it.
    There,
    /// The target holds it, and the source, which may be erased, as well.
    Both,
    /// The target holds it alone.
    Settled,
}

/// What became of one keyset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// How it stands now.
    pub standing: Standing,
    /// The generation in force.
    pub generation: Generation,
    /// How large the document is that the target is to hold, or holds.
    pub bytes: usize,
}

impl Moved {
    fn of(standing: Standing, document: Option<&Document>) -> Self {
        let bytes = document.map(|document| document.to_stored().expose().len()).unwrap_or_default();
        Self { standing, generation: document.map(|document| document.generation).unwrap_or_default(), bytes }
    }
}

/// Why a keyset was left where it is. It can be begun again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// It cannot go there.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// A store cannot be read.
    #[error(transparent)]
    Unread(#[from] StoreError),
    /// A store did not take a change.
    #[error("{0}")]
    Unwritten(SwapError),
    /// Others change it at the same time, again and again.
    #[error("it is being changed by others again and again; hint: ask again")]
    Busy,
}

/// Both ends of a move.
#[derive(Debug)]
pub struct Move<'a, S, T> {
    /// The store that the keysets leave.
    pub source: &'a S,
    /// The store that they go to.
    pub target: &'a T,
    /// What these are called.
    pub route: &'a Route,
    /// For how long the source lets a removal be undone, if it has such a thing.
    pub recovery: Span,
    /// Who moves them, when, and why.
    pub intent: &'a Intent,
}

/// What a store says of a keyset.
type Found = Result<Loaded, StoreError>;

impl<S: Store, T: Store> Move<'_, S, T> {
    /// How keysets stand, without changing anything: in as few calls as the stores allow. A keyset that would be stopped has its error.
    ///
    /// # Errors
    /// If a store does not answer.
    pub async fn foresee(&self, keysets: &[KeysetName]) -> Result<BTreeMap<KeysetName, Result<Moved, Stopped>>, StoreError> {
        let mut source = self.source.load_many(keysets).await?;
        let mut target = self.target.load_many(keysets).await?;
        let each = keysets.iter().map(|name| (name.clone(), self.foreseen(source.remove(name), target.remove(name))));
        Ok(each.collect())
    }

    fn foreseen(&self, source: Option<Found>, target: Option<Found>) -> Result<Moved, Stopped> {
        let (source, target) = (source.transpose()?, target.transpose()?);
        let (source, target) = (source.as_ref().map(|l| &l.document), target.as_ref().map(|l| &l.document));
        Ok(match course::course(source, target, self.route, self.intent)? {
            Course::Nothing => Moved::of(Standing::Absent, None),
            Course::Seal(next) => Moved::of(Standing::Here, Some(&next)),
            Course::Copy(next) => Moved::of(Standing::Sealed, Some(&next)),
            Course::Unseal(next) => Moved::of(Standing::Stranded, Some(&next)),
            Course::There => Moved::of(Standing::There, target),
        })
    }

    /// Takes one keyset there, from wherever it stands.
    ///
    /// # Errors
    /// Why it is left where it is; no document is lost by that.
    pub async fn carry(&self, keyset: &KeysetName) -> Result<Moved, Stopped> {
        for _ in 0..LOOKS {
            let (source, target) = (self.source.load(keyset).await?, self.target.load(keyset).await?);
            let (at, there) = (revision(source.as_ref()), revision(target.as_ref()));
            let (source, target) = (document(source.as_ref()), document(target.as_ref()));
            match course::course(source, target, self.route, self.intent)? {
                Course::Nothing => return Ok(Moved::of(Standing::Absent, None)),
                Course::Seal(next) => written(self.source.swap(at, &next).await)?,
                Course::Copy(next) | Course::Unseal(next) => written(self.target.swap(there, &next).await)?,
                Course::There => return Ok(Moved::of(Standing::There, target)),
            }
        }
        Err(Stopped::Busy)
    }

    /// How one keyset stands at the end, and what that end would still change.
    ///
    /// # Errors
    /// If it has not moved, or a store cannot be read.
    pub async fn foresee_end(&self, keyset: &KeysetName, keep: bool) -> Result<Moved, Stopped> {
        let (source, target) = (self.source.load(keyset).await?, self.target.load(keyset).await?);
        let (source, target) = (document(source.as_ref()), document(target.as_ref()));
        let next = course::ending(source, target, self.route, keep, self.intent)?;
        let standing = if next == Ending::Over { Standing::Settled } else { Standing::Both };
        Ok(Moved::of(standing, target))
    }

    /// Lets one keyset go on in the target, then empties the source of it unless that is to be kept.
    ///
    /// # Errors
    /// If it has not moved, or a store does not do its part. What is in force is in the target, whatever becomes of the source.
    pub async fn end(&self, keyset: &KeysetName, keep: bool) -> Result<Moved, Stopped> {
        for _ in 0..LOOKS {
            let (source, target) = (self.source.load(keyset).await?, self.target.load(keyset).await?);
            let (at, there) = (revision(source.as_ref()), revision(target.as_ref()));
            match course::ending(document(source.as_ref()), document(target.as_ref()), self.route, keep, self.intent)? {
                Ending::Settle(next) => written(self.target.swap(there, &next).await)?,
                Ending::Erase => {
                    if let Some(at) = at {
                        written(self.source.remove(keyset, at, self.recovery).await)?;
                    }
                }
                Ending::Over => return Ok(Moved::of(Standing::Settled, document(target.as_ref()))),
            }
        }
        Err(Stopped::Busy)
    }
}

fn document(loaded: Option<&Loaded>) -> Option<&Document> {
    loaded.map(|loaded| &loaded.document)
}

fn revision(loaded: Option<&Loaded>) -> Option<&Revision> {
    loaded.map(|loaded| &loaded.revision)
}

/// A write that may have been made, or not: the next look tells. Only one that was refused ends the attempt.
fn written<T>(answer: Result<T, SwapError>) -> Result<(), Stopped> {
    match answer {
        Ok(_) | Err(SwapError::Conflict | SwapError::Indeterminate(_)) => Ok(()),
        Err(error @ (SwapError::Unavailable(_) | SwapError::Invalid(_))) => Err(Stopped::Unwritten(error)),
    }
}
