//! The two files of a master key that is being changed: the one in use, and the next one beside it until it takes its place.
//!
//! Invariant: the key in use is replaced by one rename, and only by a key that the store has told is in use now. Nothing in here knows
//! what the keys seal.

use std::fs;
use std::path::{Path, PathBuf};

use super::{MasterKey, MasterKeyError, MasterKeyId, Privacy, create, read, remove};
use crate::sqlite::file;

/// The file of the next key.
pub fn next_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".next");
    path.with_file_name(name)
}

/// The key in that file; `None` if it is not there.
///
/// # Errors
/// If it cannot be read, can be read by others, or is no key.
pub fn key_at(path: &Path, by_systemd: bool) -> Result<Option<MasterKey>, MasterKeyError> {
    read(path, if by_systemd { Privacy::BySystemd } else { Privacy::ByMode })
}

/// The next key beside that file; `None` if none is on its way.
///
/// # Errors
/// As [`key_at`].
pub fn next_key(path: &Path) -> Result<Option<MasterKey>, MasterKeyError> {
    read(&next_path(path), Privacy::ByMode)
}

/// The next key beside that file, made if it is not there yet. Whoever calls sees to it that nobody else does at the same time.
///
/// # Errors
/// If it cannot be written or read.
pub fn make_next(path: &Path) -> Result<MasterKey, MasterKeyError> {
    let next = next_path(path);
    let draft = next.with_extension("next-draft");
    remove(&draft)?; // of a process that was killed while it made one
    if let Some(key) = next_key(path)? {
        return Ok(key);
    }
    create(&draft, &next)?;
    let gone = || MasterKeyError::Missing { path: next.clone(), hint: "it was removed just now: start again" };
    next_key(path)?.ok_or_else(gone)
}

/// The next key takes the place of the one in use, if `in_use` names it; whether it did.
///
/// # Errors
/// If the system refuses.
pub fn promote(path: &Path, in_use: MasterKeyId) -> Result<bool, MasterKeyError> {
    if next_key(path)?.is_none_or(|next| next.id() != in_use) {
        return Ok(false);
    }
    fs::rename(next_path(path), path).map_err(file::system("replace", path))?;
    file::sync_parent(path)?;
    Ok(true)
}
