//! Targets as files: found, replaced in one step, removed.
//!
//! A reader sees the old content or the new one, never a part: a temporary file beside the target is written, made durable and
//! renamed over it. A `pem` directory has two files, each replaced so; a reader between the two sees a new public half beside an old
//! private one, both of which are accepted at that moment.

mod place;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use place::{Making, Place};
use rustix::fs::{AtFlags, FlockOperation, Gid, Mode, OFlags};
use rustix::io::Errno;

use super::format::{self, PRIVATE_PEM, PUBLIC_PEM};
use super::{PublishError, Rendered};
use crate::digest::Digest;
use crate::policy::{Audience, FileTarget, TargetFormat};
use crate::secret::SecretBytes;
use crate::time::Timestamp;

/// The largest file that is read. Anything larger is nothing that keyrota wrote.
const LARGEST: u64 = 4 * 1024 * 1024;

/// What stands in a place.
pub struct Found {
    /// The files that exist.
    pub parts: Vec<FoundPart>,
    /// The latest change of any of them; 1970 where there are none.
    pub changed_at: Timestamp,
}

/// One file that exists.
pub struct FoundPart {
    /// Its name within the target's directory; `None` if the target is the file.
    pub file: Option<&'static str>,
    /// Its content.
    pub content: SecretBytes,
    mode: u32,
    group: u32,
}

impl Found {
    pub fn digest(&self) -> Digest {
        format::digest(self.parts.iter().map(|part| (part.file, &part.content)))
    }
}

/// The directory that a target's files are in.
struct Layout<'a> {
    directory: &'a Path,
    /// What a part calls its file, and the file's name there.
    files: Vec<(Option<&'static str>, &'a OsStr)>,
}

fn layout(target: &FileTarget) -> Result<Layout<'_>, PublishError> {
    if target.format == TargetFormat::Pem {
        let mut files = vec![PUBLIC_PEM];
        if target.audience == Audience::Signers {
            files.push(PRIVATE_PEM);
        }
        let files = files.into_iter().map(|file| (Some(file), OsStr::new(file))).collect();
        return Ok(Layout { directory: &target.path, files });
    }
    match (target.path.parent(), target.path.file_name()) {
        (Some(directory), Some(name)) => Ok(Layout { directory, files: vec![(None, name)] }),
        _ => Err(PublishError::Path(target.path.clone())),
    }
}

/// What stands in the place of `target` now.
pub fn read(target: &FileTarget) -> Result<Found, PublishError> {
    let Layout { directory, files } = layout(target)?;
    let Some(place) = Place::open(directory, None)? else {
        return Ok(Found { parts: Vec::new(), changed_at: Timestamp::EPOCH });
    };
    let mut found = Found { parts: Vec::new(), changed_at: Timestamp::EPOCH };
    for (file, name) in files {
        if let Some((part, changed_at)) = read_part(&place, file, name)? {
            found.parts.push(part);
            found.changed_at = found.changed_at.max(changed_at);
        }
    }
    Ok(found)
}

fn read_part(place: &Place, file: Option<&'static str>, name: &OsStr) -> Result<Option<(FoundPart, Timestamp)>, PublishError> {
    let path = place.entry(name);
    // NONBLOCK, so that a pipe in the place of the file cannot hang the daemon.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = match rustix::fs::openat(&place.dir, name, flags, Mode::empty()) {
        Ok(opened) => File::from(opened),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::NXIO) => return Err(PublishError::NotAFile(path)),
        Err(e) => return Err(PublishError::from_os("read", &path, e)),
    };
    let failed = |e: std::io::Error| PublishError::from_io("read", &path, &e);
    let about = opened.metadata().map_err(failed)?;
    if !about.is_file() || about.len() > LARGEST {
        return Err(PublishError::NotAFile(path));
    }
    // Room to spare, so that reading to the end does not grow the buffer and leave a copy behind.
    let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0) + 64);
    opened.take(LARGEST).read_to_end(&mut bytes).map_err(failed)?;
    let part = FoundPart { file, content: SecretBytes::new(bytes), mode: about.mode() & 0o7777, group: about.gid() };
    Ok(Some((part, moment(about.ctime(), about.ctime_nsec()))))
}

fn moment(seconds: i64, nanoseconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000))
}

/// Whether mode and group of what was found are what was asked for.
pub fn permissions_hold(target: &FileTarget, wanted: &Rendered, found: &Found) -> Result<bool, PublishError> {
    let group = group_of(target)?.map(Gid::as_raw);
    Ok(found.parts.iter().all(|part| {
        let mode = wanted.parts.iter().find(|wanted| wanted.file == part.file).map(|wanted| wanted.mode);
        mode == Some(part.mode) && group.is_none_or(|group| group == part.group)
    }))
}

fn group_of(target: &FileTarget) -> Result<Option<Gid>, PublishError> {
    let Some(name) = &target.group else { return Ok(None) };
    let group = nix::unistd::Group::from_name(name);
    let known = group.map_err(|e| PublishError::Io { doing: "look up the group of", path: target.path.clone(), why: e.to_string() })?;
    known.map(|group| Some(Gid::from_raw(group.gid.as_raw()))).ok_or_else(|| PublishError::UnknownGroup(name.clone()))
}

/// Makes the place hold what is `wanted`, file by file.
pub fn write(target: &FileTarget, wanted: &Rendered) -> Result<(), PublishError> {
    let Layout { directory, files } = layout(target)?;
    let group = group_of(target)?;
    // Whoever may read the file may pass through the directories that are made for it.
    let readable = wanted.parts.iter().fold(target.mode, |mode, part| mode | part.mode) & 0o055;
    let making = Making { mode: 0o700 | readable | ((readable >> 2) & 0o011), group };
    let Some(place) = Place::open(directory, Some(making))? else { return Err(PublishError::Path(target.path.clone())) };
    for part in &wanted.parts {
        let Some((_, name)) = files.iter().find(|(file, _)| *file == part.file) else { continue };
        clear_leftovers(&place, name)?;
        match &part.content {
            Some(content) => replace(&place, name, content, part.mode, (group, target.group.as_deref()))?,
            None => drop(unlink(&place, name)?),
        }
    }
    rustix::fs::fsync(&place.dir).map_err(|e| PublishError::from_os("make durable", &place.path, e))
}

/// Removes the target's files if they are what was last written there; whether there were any.
pub fn remove(target: &FileTarget, expected: Digest) -> Result<bool, PublishError> {
    let found = read(target)?;
    if found.parts.is_empty() {
        return Ok(false);
    }
    if found.digest() != expected {
        return Err(PublishError::NotOurs(target.path.clone()));
    }
    let Layout { directory, files } = layout(target)?;
    let Some(place) = Place::open(directory, None)? else { return Ok(false) };
    for (_, name) in files {
        clear_leftovers(&place, name)?;
        unlink(&place, name)?;
    }
    rustix::fs::fsync(&place.dir).map_err(|e| PublishError::from_os("make durable", &place.path, e))?;
    Ok(true)
}

/// Replaces one file that is keyrota's own, or makes it: seen whole or not at all, and durable when this returns. `path` is absolute.
///
/// # Errors
/// If a directory on the way is not to be trusted, or the system refuses.
pub fn replace_file(path: &Path, content: &SecretBytes, mode: u32) -> Result<(), PublishError> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Err(PublishError::Path(path.to_owned())) };
    let making = Making { mode: 0o700, group: None };
    let Some(place) = Place::open(directory, Some(making))? else { return Err(PublishError::Path(path.to_owned())) };
    clear_leftovers(&place, name)?;
    replace(&place, name, content, mode, (None, None))?;
    rustix::fs::fsync(&place.dir).map_err(|e| PublishError::from_os("make durable", &place.path, e))
}

fn unlink(place: &Place, name: &OsStr) -> Result<bool, PublishError> {
    match rustix::fs::unlinkat(&place.dir, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(Errno::ISDIR) => Err(PublishError::NotAFile(place.entry(name))),
        Err(e) => Err(PublishError::from_os("remove", &place.entry(name), e)),
    }
}

fn replace(place: &Place, name: &OsStr, content: &SecretBytes, mode: u32, group: (Option<Gid>, Option<&str>)) -> Result<(), PublishError> {
    let path = place.entry(name);
    let temporary = temporary_name(name, &path)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(&place.dir, &temporary, flags, Mode::RUSR | Mode::WUSR);
    let file = File::from(opened.map_err(|e| PublishError::from_os("write beside", &path, e))?);
    let written = fill(&file, &path, content, mode, group).and_then(|()| {
        let renamed = rustix::fs::renameat(&place.dir, &temporary, &place.dir, name);
        renamed
            .map_err(|e| if e == Errno::ISDIR { PublishError::NotAFile(path.clone()) } else { PublishError::from_os("replace", &path, e) })
    });
    if written.is_err() {
        // The first error is the one that counts.
        let _ = rustix::fs::unlinkat(&place.dir, &temporary, AtFlags::empty());
    }
    written
}

fn fill(mut file: &File, path: &Path, content: &SecretBytes, mode: u32, group: (Option<Gid>, Option<&str>)) -> Result<(), PublishError> {
    // Held until the file is closed: whoever clears leftovers sees that this one is in use. Where locks are not to be had, a clearer
    // at the same moment makes the rename fail, and the next pass writes again.
    let _ = rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive);
    if let (Some(gid), Some(name)) = group {
        rustix::fs::fchown(file, None, Some(gid)).map_err(|e| match e {
            Errno::PERM => PublishError::GroupRefused { path: path.to_owned(), group: name.to_owned() },
            other => PublishError::from_os("give the group", path, other),
        })?;
    }
    // After the group, because changing it clears bits; before the content, because none of it may be seen by others.
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).map_err(|e| PublishError::from_os("set the mode of", path, e))?;
    file.write_all(content.expose()).map_err(|e| PublishError::from_io("write", path, &e))?;
    file.sync_all().map_err(|e| PublishError::from_io("make durable", path, &e))
}

const TEMPORARY: &str = ".keyrota-tmp-";
const TEMPORARY_DIGITS: usize = 16;

/// `.<name>.keyrota-tmp-<16 hexadecimal digits>`, never the same twice.
fn temporary_name(name: &OsStr, path: &Path) -> Result<OsString, PublishError> {
    let mut random = [0; TEMPORARY_DIGITS / 2];
    let failed = |_| PublishError::Io { doing: "choose a name beside", path: path.to_owned(), why: "no random bytes".to_owned() };
    aws_lc_rs::rand::fill(&mut random).map_err(failed)?;
    let mut temporary = prefix_of(name);
    temporary.push(format!("{:016x}", u64::from_be_bytes(random)));
    Ok(temporary)
}

fn prefix_of(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(TEMPORARY);
    prefix
}

/// Removes what a writer that crashed has left beside the file. One that is still at work holds a lock.
fn clear_leftovers(place: &Place, name: &OsStr) -> Result<(), PublishError> {
    let prefix = prefix_of(name);
    for entry in place.names()? {
        let digits = entry.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        if digits.is_none_or(|digits| digits.len() != TEMPORARY_DIGITS || !digits.iter().all(u8::is_ascii_hexdigit)) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(leftover) = rustix::fs::openat(&place.dir, &entry, flags, Mode::empty()) else { continue };
        if rustix::fs::flock(&leftover, FlockOperation::NonBlockingLockExclusive).is_ok() {
            unlink(place, &entry)?;
        }
    }
    Ok(())
}
