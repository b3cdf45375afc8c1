//! Places outside the document that keyrota writes for signers and verifiers, and reads back.
//!
//! The port [`Targets`] brings one place in line with a document: it looks first, writes only what differs, and says since when the
//! place has held what it must. It never overwrites keys that the document does not know. It decides nothing: which
//! wait a read-back belongs to is the reconciler's business. It knows no rules, no store and no schedule.

mod file;
mod format;
mod holding;

use std::future::Future;
use std::path::{Path, PathBuf};

pub use file::replace_file;
pub use format::{ACCEPTED_SCHEMA, Part, Rendered, render};
use holding::holding;

use crate::digest::Digest;
use crate::document::Document;
use crate::name::{KeysetId, Kid};
use crate::policy::{FileTarget, TargetFormat};
use crate::time::Timestamp;

/// How a place stands after it was brought in line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Brought {
    /// It holds what it must, read back from the place itself.
    Agreed {
        /// The digest of that: what is to be expected there next time.
        content: Digest,
        /// The file's change time (ctime), which nobody can set back. 1970 where there is nothing to hold and nothing there.
        changed_at: Timestamp,
        /// Whether it was written just now.
        wrote: bool,
        /// Whether it was not what had last been written there: altered, damaged or removed by somebody else.
        drift: bool,
    },
    /// It holds keys that the document does not know, and was left alone.
    Foreign {
        /// Those that have a name. Empty if the content is no key material that can be read.
        kids: Vec<Kid>,
    },
}

/// What stands in a place, compared with what must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadBack {
    /// There is nothing.
    Missing,
    /// What must be there, with the right permissions, unchanged since then.
    Equal {
        /// The change time.
        changed_at: Timestamp,
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

/// Why a place could not be read or written. The place was left as it was, unless the text says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The path is not absolute, or has `..` in it.
    #[error("{0} is no path for a target; hint: an absolute path without `..`")]
    Path(PathBuf),
    /// The target itself is a symbolic link.
    #[error("{0} is a symbolic link, and writing would replace or follow it; hint: name the file that is meant")]
    Symlink(PathBuf),
    /// A directory on the way is a symbolic link that somebody could turn elsewhere.
    #[error("{path} is a symbolic link owned by uid {owner}, who could turn it elsewhere; hint: make it a directory, or root's")]
    ForeignSymlink {
        /// The link.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
    },
    /// Everybody may write where the target is.
    #[error("everybody may write to the directory {0}; hint: chmod o-w, or choose another directory")]
    WorldWritable(PathBuf),
    /// The target is a directory, a device, a socket.
    #[error("{0} is not a regular file; hint: move it away")]
    NotAFile(PathBuf),
    /// The group does not exist here.
    #[error("there is no group `{0}` on this host; hint: groupadd --system {0}, or correct the policy")]
    UnknownGroup(String),
    /// The daemon may not give the file to the group.
    #[error("{path} may not be given to group `{group}`; hint: make keyrota's user a member of it and restart the daemon")]
    GroupRefused {
        /// The file.
        path: PathBuf,
        /// The group.
        group: String,
    },
    /// The operating system forbids it.
    #[error("not permitted to {doing} {path}; hint: its owner and mode, and systemd's ReadWritePaths=, must let keyrota's user in")]
    Refused {
        /// What.
        doing: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// The disk, the quota or the file-size limit is exhausted.
    #[error("no room for {0}: the disk, the quota or the file-size limit is exhausted; hint: df -h, df -i, quota")]
    NoRoom(PathBuf),
    /// The file system is mounted read-only.
    #[error("{0} is on a read-only file system; hint: systemd's ReadWritePaths=, or the mount")]
    ReadOnly(PathBuf),
    /// What was read back is not what was written.
    #[error("{0} does not hold what was written to it a moment ago; hint: does somebody else write it too?")]
    NotKept(PathBuf),
    /// The place was to be removed and does not hold what keyrota wrote there.
    #[error("{0} does not hold what keyrota wrote there, so it was not removed; hint: remove it by hand if nobody needs it")]
    NotOurs(PathBuf),
    /// The keyset has a key that cannot be written in this format.
    #[error("the keyset cannot be written as {0:?}; hint: jwks and pem are for key pairs")]
    Format(TargetFormat),
    /// Something else went wrong.
    #[error("could not {doing} {path}: {why}; hint: see the kernel's log")]
    Io {
        /// What.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the operating system said.
        why: String,
    },
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
        target: &FileTarget,
        document: &Document,
        expected: Option<Digest>,
    ) -> impl Future<Output = Result<Brought, PublishError>> + Send;

    /// Takes away what was last written to `target`; whether there was something. Fails with [`PublishError::NotOurs`] if it holds
    /// something else.
    fn remove(&self, target: &FileTarget, expected: Digest) -> impl Future<Output = Result<bool, PublishError>> + Send;
}

/// Targets that are files of this host. The work is done on tokio's threads for blocking calls.
#[derive(Debug, Clone, Copy)]
pub struct Files;

impl Targets for Files {
    async fn bring(
        &self,
        _keyset: &KeysetId,
        target: &FileTarget,
        document: &Document,
        expected: Option<Digest>,
    ) -> Result<Brought, PublishError> {
        let (target, document) = (target.clone(), document.clone());
        blocking(target.path.clone(), move || bring(&target, &document, expected)).await
    }

    async fn remove(&self, target: &FileTarget, expected: Digest) -> Result<bool, PublishError> {
        let target = target.clone();
        blocking(target.path.clone(), move || file::remove(&target, expected)).await
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
            return Ok(Brought::Agreed { content, changed_at, wrote: false, drift: altered && found.parts.is_empty() });
        }
        // What was ours and cannot be read any more is damage, not somebody else's key. And what is exactly what was last written
        // here is ours, even if the document went back since and does not know it any more.
        ReadBack::Foreign { kids } if !target.replace && !ours && (!kids.is_empty() || expected.is_none()) => {
            return Ok(Brought::Foreign { kids });
        }
        ReadBack::Missing | ReadBack::Differs { .. } | ReadBack::Foreign { .. } => file::write(target, &wanted)?,
    }
    match compare(target, document, &wanted, &file::read(target)?)? {
        ReadBack::Equal { changed_at } => Ok(Brought::Agreed { content, changed_at, wrote: true, drift: altered }),
        _ => Err(PublishError::NotKept(target.path.clone())),
    }
}

fn compare(target: &FileTarget, document: &Document, wanted: &Rendered, found: &file::Found) -> Result<ReadBack, PublishError> {
    if found.parts.is_empty() && wanted.parts.iter().any(|part| part.content.is_some()) {
        return Ok(ReadBack::Missing);
    }
    if found.digest() == wanted.digest() && file::permissions_hold(target, wanted, found)? {
        return Ok(ReadBack::Equal { changed_at: found.changed_at });
    }
    let held = holding(target.format, &found.parts, document);
    let foreign = held.nameless || !held.foreign.is_empty();
    Ok(if foreign { ReadBack::Foreign { kids: held.foreign } } else { ReadBack::Differs { kids: held.known } })
}

impl PublishError {
    /// A place that cannot be reached at all, as a double of [`Targets`] may say.
    pub fn away() -> Self {
        Self::Io { doing: "reach", path: PathBuf::new(), why: "the place is away".to_owned() }
    }

    /// What an error of the operating system means for a target.
    fn from_os(doing: &'static str, path: &Path, error: rustix::io::Errno) -> Self {
        use rustix::io::Errno;
        let path = path.to_owned();
        match error {
            Errno::ACCESS | Errno::PERM => Self::Refused { doing, path },
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Self::NoRoom(path),
            Errno::ROFS => Self::ReadOnly(path),
            Errno::LOOP => Self::Symlink(path),
            other => Self::Io { doing, path, why: other.to_string() },
        }
    }

    fn from_io(doing: &'static str, path: &Path, error: &std::io::Error) -> Self {
        match rustix::io::Errno::from_io_error(error) {
            Some(errno) => Self::from_os(doing, path, errno),
            None => Self::Io { doing, path: path.to_owned(), why: error.to_string() },
        }
    }
}
