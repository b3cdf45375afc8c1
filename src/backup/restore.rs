//! Putting a back-up into an empty state directory: all of it or nothing.
//!
//! Everything is written into a directory beside the state directory, which then takes its place by one rename. A crash before that
//! leaves the state directory empty; what lies beside it is cleared by the next try.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, TryStreamExt as _};

use super::Contents;
use crate::name::KeysetId;
use crate::publish::replace_file;
use crate::secret::SecretBytes;
use crate::sqlite::file;
use crate::store::Store as _;
use crate::store::embedded::EmbeddedStore;
use crate::store::master_key::MasterKeySource;
use crate::witness::book::WitnessBook;
use crate::witness::{Sighting, Witness as _};

/// How many documents are written at once, so that they share their commits.
const AT_ONCE: usize = 256;

/// Why nothing was restored. Every text ends with a hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// There is something already.
    #[error("{0} is not empty: it holds {1}; hint: restore into an empty --state-dir, or move what is there away; nothing was written")]
    NotEmpty(PathBuf, String),
    /// The directory cannot be written or put into place.
    #[error("{0}; hint: the directory above the state directory must be on the same disk and writable for you; nothing was restored")]
    Directory(String),
    /// The new store refuses.
    #[error("{0}; nothing was restored")]
    Store(String),
}

/// What is to be put back, once it is certain that it can be.
pub struct Restoring<'a> {
    contents: &'a Contents,
    state_dir: PathBuf,
    draft: PathBuf,
    /// Whose the state directory is, if not ours.
    owner: Option<(u32, u32)>,
    /// Keeps a daemon that is being started, and another restore, from the directory.
    _alone: File,
}

impl<'a> Restoring<'a> {
    /// Looks whether the directory is fit; makes it if it is not there.
    ///
    /// # Errors
    /// If it is not empty, or cannot be written.
    pub fn into_empty(contents: &'a Contents, state_dir: &Path) -> Result<Self, RestoreError> {
        let unfit = |e: file::FileError| RestoreError::Directory(first_part(&e.to_string()));
        // Whoever restores as root for the daemon's user finds a directory that is not root's: that is as it should be.
        let state_dir = match state_dir.canonicalize() {
            Ok(real) => real,
            Err(_) => file::private_directory(state_dir).map_err(unfit)?,
        };
        let alone = file::alone_in(&state_dir).map_err(unfit)?;
        let failed = |verb: &'static str, path: &Path| {
            let path = path.to_owned();
            move |e: io::Error| RestoreError::Directory(format!("cannot {verb} {}: {e}", path.display()))
        };
        let mut found = fs::read_dir(&state_dir).map_err(failed("read", &state_dir))?;
        if let Some(first) = found.next() {
            let name = first.map_err(failed("read", &state_dir))?.file_name();
            return Err(RestoreError::NotEmpty(state_dir, name.to_string_lossy().into_owned()));
        }
        let about = fs::metadata(&state_dir).map_err(failed("look at", &state_dir))?;
        let owner = (about.uid() != rustix::process::geteuid().as_raw()).then(|| (about.uid(), about.gid()));
        let mut name = std::ffi::OsString::from(".");
        name.push(state_dir.file_name().unwrap_or_default());
        name.push(".restoring");
        let draft = state_dir.with_file_name(name);
        match fs::remove_dir_all(&draft) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("clear", &draft)(e)),
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).create(&draft).map_err(failed("create", &draft))?;
        Ok(Self { contents, state_dir, draft, owner, _alone: alone })
    }

    /// Writes everything beside the state directory; `tell` may add to it before it takes its place.
    ///
    /// # Errors
    /// If anything cannot be written. Nothing is left behind then.
    pub async fn write<F>(
        self,
        key: &MasterKeySource,
        tell: impl FnOnce(EmbeddedStore, WitnessBook, PathBuf) -> F,
    ) -> Result<(), RestoreError>
    where
        F: Future<Output = Result<(), String>>,
    {
        let written = self.fill(key, tell).await.and_then(|()| self.take_place());
        if written.is_err() {
            let _ = fs::remove_dir_all(&self.draft); // the first error is the one that counts
        }
        written
    }

    async fn fill<F>(&self, key: &MasterKeySource, tell: impl FnOnce(EmbeddedStore, WitnessBook, PathBuf) -> F) -> Result<(), RestoreError>
    where
        F: Future<Output = Result<(), String>>,
    {
        let refused = |what: String| RestoreError::Store(what);
        let store = EmbeddedStore::open(&self.draft, key).map_err(|e| refused(e.to_string()))?;
        let witness = WitnessBook::open(&self.draft).map_err(|e| refused(e.to_string()))?;
        let put = |document| {
            let (store, witness) = (store.clone(), witness.clone());
            async move {
                let seen = self.to_be_held(document);
                store.environment(&document.id.environment).swap(None, document).await.map_err(|e| refused(e.to_string()))?;
                witness.note(&document.id, &seen).await.map_err(|e| refused(e.to_string()))
            }
        };
        futures_util::stream::iter(self.contents.documents.iter().map(put)).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        for seen in &self.contents.seen {
            let id = KeysetId { environment: seen.environment.clone(), keyset: seen.keyset.clone() };
            if self.contents.documents.iter().all(|document| document.id != id) {
                witness.note(&id, &elsewhere(&seen.sighting)).await.map_err(|e| refused(e.to_string()))?;
            }
        }
        for (environment, text) in &self.contents.policies {
            let path = self.draft.join("policies").join(format!("{environment}.yaml"));
            let text = SecretBytes::new(text.clone().into_bytes());
            replace_file(&path, &text, 0o600).map_err(|e| RestoreError::Directory(first_part(&e.to_string())))?;
        }
        tell(store, witness, self.draft.clone()).await.map_err(refused)
    }

    /// What the witness is to say of a document: that it comes from a back-up, and which kids are known to be revoked.
    fn to_be_held(&self, document: &crate::document::Document) -> Sighting {
        let mut revoked = document.revoked_kids();
        revoked.extend(self.contents.seen_of(&document.id).into_iter().flat_map(|seen| seen.revoked.iter().copied()));
        revoked.sort_unstable();
        revoked.dedup();
        let restored = Some(self.contents.made_at);
        Sighting { revoked, restored, ..Sighting::new(document.generation, document.digest()) }
    }

    /// The one step by which it becomes the state directory.
    fn take_place(&self) -> Result<(), RestoreError> {
        let failed = |e: io::Error| RestoreError::Directory(format!("cannot put {} into place: {e}", self.state_dir.display()));
        if let Some(owner) = self.owner {
            give(&self.draft, owner).map_err(failed)?;
        }
        File::open(&self.draft).and_then(|directory| directory.sync_all()).map_err(failed)?;
        fs::rename(&self.draft, &self.state_dir).map_err(failed)?;
        file::sync_parent(&self.state_dir).map_err(|e| RestoreError::Directory(first_part(&e.to_string())))
    }
}

/// The seen documents of another store: which document, not which files of the lost host carried it.
fn elsewhere(seen: &Sighting) -> Sighting {
    Sighting { revoked: seen.revoked.clone(), ..Sighting::new(seen.generation, seen.digest) }
}

/// Hands everything in a directory to the user and group whose it is.
fn give(directory: &Path, (user, group): (u32, u32)) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give(&entry.path(), (user, group))?;
        } else {
            std::os::unix::fs::lchown(entry.path(), Some(user), Some(group))?;
        }
    }
    std::os::unix::fs::lchown(directory, Some(user), Some(group))
}

fn first_part(text: &str) -> String {
    text.split_once("; hint: ").map_or(text, |(what, _)| what).to_owned()
}
