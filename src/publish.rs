//! Places outside the document that keyrota writes for signers and verifiers, and reads back.
//!
//! The port [`Targets`] brings one place in line with a document: it looks first, writes only what differs, and says since when the
//! place has held what it must. It never overwrites keys that the document does not know. It decides nothing: which
//! wait a read-back belongs to is the reconciler's business. It knows no rules, no store and no schedule.

mod aws_secret;
mod errand;
mod exec;
mod fault;
mod file;
mod format;
mod holding;
mod places;
mod vendor;

use std::future::Future;
use std::path::PathBuf;

pub use exec::{Handing, Programs};
pub use fault::PublishError;
pub use file::replace_file;
pub use format::{ACCEPTED_SCHEMA, Part, Rendered, render};
use holding::holding;
pub use places::Places;
pub use vendor::Vendors;

use crate::digest::Digest;
use crate::document::Document;
use crate::name::{Generation, KeysetId, Kid};
use crate::policy::{FileTarget, Target};
use crate::time::{Span, Timestamp};

/// How a place stands after it was brought in line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Brought {
    /// It holds what it must, read back from the place itself.
    Agreed {
        /// The digest of that: what is to be expected there next time.
        content: Digest,
        /// When the place last changed, if it tells: a file's change time (ctime), which nobody can set back, and 1970 where there is
        /// nothing to hold and nothing there. `None`: it is known to agree from the moment on at which that was seen.
        changed_at: Option<Timestamp>,
        /// Whether it was written just now.
        wrote: bool,
        /// Whether it was not what had last been written there: altered, damaged or removed by somebody else.
        drift: bool,
        /// What a program said while it wrote, where that may be told.
        said: Option<String>,
        /// What is not as it should be there all the same, and cannot be put right now.
        amiss: Option<Amiss>,
    },
    /// It is being looked at or written. Whoever owns the reconciler is told when that is done.
    UnderWay {
        /// Nothing tells what stands there if this process ends before that: nothing may be expected there.
        unsure: bool,
    },
    /// It holds what a later generation of the document says, and was left alone: the document is to be read again.
    Ahead {
        /// That generation.
        generation: Generation,
    },
    /// It holds keys that the document does not know, and was left alone.
    Foreign {
        /// Those that have a name. Empty if the content is no key material that can be read.
        kids: Vec<Kid>,
    },
}

/// What is not as it should be in a place that holds what it can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amiss {
    /// As a sentence with a hint.
    pub what: String,
    /// Living keys that it does not hold and cannot be given.
    pub lacks: Vec<Kid>,
    /// Revoked keys that it still holds.
    pub still: Vec<Kid>,
    /// Whether nothing is wrong: it ends by itself.
    pub expected: bool,
}

/// What stands in a place, compared with what must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadBack {
    /// There is nothing.
    Missing,
    /// What must be there, with the right permissions, unchanged since then.
    Equal {
        /// The change time, if the place tells it.
        changed_at: Option<Timestamp>,
    },
    /// It cannot be looked at just so; this is what is known of it.
    Known {
        /// As a sentence.
        what: String,
        /// Whether it is as it should be.
        good: bool,
    },
    /// Something else that only names keys that the document knows.
    Differs {
        /// Those keys.
        kids: Vec<Kid>,
    },
    /// Keys that the document does not know, or something that is no key material.
    Foreign {
        /// Those that have a name.
        kids: Vec<Kid>,
    },
}

/// What came of taking away what was written to a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Done,
    /// There was nothing.
    Nothing,
    /// It is being taken away, or could not be this time: whoever asks again hears what came of it.
    NotYet {
        /// What went wrong last, as a sentence.
        why: Option<String>,
    },
}

impl From<bool> for Removed {
    /// Whether there was something.
    fn from(was_there: bool) -> Self {
        if was_there { Self::Done } else { Self::Nothing }
    }
}

/// The places that the reconciler writes.
pub trait Targets: Send + Sync + 'static {
    /// Brings `target` in line with `document` of `keyset`, and says since when it agrees. `expected` is the digest of what was last
    /// written there ([`Brought::Agreed`]); `None` if nothing is known to have been.
    ///
    /// # Errors
    /// The place could not be read or written.
    fn bring(
        &self,
        keyset: &KeysetId,
        target: &Target,
        document: &Document,
        expected: Option<Digest>,
    ) -> impl Future<Output = Result<Brought, PublishError>> + Send;

    /// How `target` stands now: what [`Targets::bring`] would find. Changes nothing.
    ///
    /// # Errors
    /// The place could not be read.
    fn look(&self, keyset: &KeysetId, target: &Target, document: &Document) -> impl Future<Output = Result<ReadBack, PublishError>> + Send;

    /// Takes away what was last written to `target`, of which `expected` is the digest, and every key of `document`. Fails with
    /// [`PublishError::NotOurs`] if it holds something else. A place that takes its time is waited for so long.
    ///
    /// # Errors
    /// It could not be taken away, and will not be tried again.
    fn remove(
        &self,
        keyset: &KeysetId,
        target: &Target,
        document: &Document,
        expected: Option<Digest>,
        patience: Span,
    ) -> impl Future<Output = Result<Removed, PublishError>> + Send;
}

/// Targets that are files of this host. The work is done on tokio's threads for blocking calls.
#[derive(Debug, Clone, Copy)]
pub struct Files;

impl Files {
    /// As [`Targets::bring`].
    ///
    /// # Errors
    /// As there.
    pub async fn bring(self, target: &FileTarget, document: &Document, expected: Option<Digest>) -> Result<Brought, PublishError> {
        let (target, document) = (target.clone(), document.clone());
        blocking(target.path.clone(), move || bring(&target, &document, expected)).await
    }

    /// As [`Targets::remove`].
    ///
    /// # Errors
    /// As there.
    pub async fn remove(self, target: &FileTarget, expected: Digest) -> Result<bool, PublishError> {
        let target = target.clone();
        blocking(target.path.clone(), move || file::remove(&target, expected)).await
    }

    /// What stands in `target` now, as [`read_back`].
    ///
    /// # Errors
    /// As there.
    pub async fn look(self, target: &FileTarget, document: &Document) -> Result<ReadBack, PublishError> {
        let (target, document) = (target.clone(), document.clone());
        blocking(target.path.clone(), move || read_back(&target, &document)).await
    }
}

async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce() -> Result<T, PublishError> + Send + 'static,
) -> Result<T, PublishError> {
    let gone = |why: tokio::task::JoinError| PublishError::Io { doing: "finish the work on", path, why: why.to_string() };
    tokio::task::spawn_blocking(work).await.map_err(gone)?
}

/// What stands in `target`, compared with what `document` says must.
///
/// # Errors
/// The place could not be read.
pub fn read_back(target: &FileTarget, document: &Document) -> Result<ReadBack, PublishError> {
    compare(target, document, &render(target, document)?, &file::read(target)?)
}

/// As [`Targets::bring`], on the calling thread.
///
/// # Errors
/// As there.
pub fn bring(target: &FileTarget, document: &Document, expected: Option<Digest>) -> Result<Brought, PublishError> {
    let wanted = render(target, document)?;
    let (found, content) = (file::read(target)?, wanted.digest());
    let altered = expected.is_some_and(|expected| found.digest() != expected);
    let ours = expected.is_some() && !altered;
    match compare(target, document, &wanted, &found)? {
        ReadBack::Equal { changed_at } => {
            // Content that is right is no drift, whoever wrote it. But when somebody removed what had to go anyway, nobody knows when.
            let drift = altered && found.parts.is_empty();
            return Ok(Brought::Agreed { content, changed_at, wrote: false, drift, said: None, amiss: None });
        }
        // What was ours and cannot be read any more is damage, not somebody else's key. And what is exactly what was last written
        // here is ours, even if the document went back since and does not know it any more.
        ReadBack::Foreign { kids } if !target.replace && !ours && (!kids.is_empty() || expected.is_none()) => {
            return Ok(Brought::Foreign { kids });
        }
        ReadBack::Missing | ReadBack::Known { .. } | ReadBack::Differs { .. } | ReadBack::Foreign { .. } => file::write(target, &wanted)?,
    }
    match compare(target, document, &wanted, &file::read(target)?)? {
        ReadBack::Equal { changed_at } => Ok(Brought::Agreed { content, changed_at, wrote: true, drift: altered, said: None, amiss: None }),
        _ => Err(PublishError::NotKept(target.path.clone())),
    }
}

fn compare(target: &FileTarget, document: &Document, wanted: &Rendered, found: &file::Found) -> Result<ReadBack, PublishError> {
    if found.parts.is_empty() && wanted.parts.iter().any(|part| part.content.is_some()) {
        return Ok(ReadBack::Missing);
    }
    if found.digest() == wanted.digest() && file::permissions_hold(target, wanted, found)? {
        return Ok(ReadBack::Equal { changed_at: Some(found.changed_at) });
    }
    let held = holding(target.format, &found.parts, document);
    let foreign = held.nameless || !held.foreign.is_empty();
    Ok(if foreign { ReadBack::Foreign { kids: held.foreign } } else { ReadBack::Differs { kids: held.known } })
}
