//! The directory of a target, opened so that nobody else can turn the way to it.
//!
//! Every component is opened from the one before, so that what was judged is what is used. Links owned by root or by ourselves are
//! followed (`/var/run`), those of others are refused. Nobody else may be able to write to the directory, or to swap it above.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::super::PublishError;

const WORLD_WRITABLE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// An open directory and the path that led there.
pub struct Place {
    pub dir: OwnedFd,
    pub path: PathBuf,
}

/// How directories that are missing are made.
#[derive(Clone, Copy)]
pub struct Making {
    pub mode: u32,
    pub group: Option<Gid>,
}

impl Place {
    /// Opens the directory at `path`; `None` if it or one above it does not exist and `making` does not say to make it.
    pub fn open(path: &Path, making: Option<Making>) -> Result<Option<Self>, PublishError> {
        let mut components = path.components();
        if components.next() != Some(Component::RootDir) {
            return Err(PublishError::Path(path.to_owned()));
        }
        let mut walked = PathBuf::from("/");
        // A path descriptor needs no permission to read what is passed through.
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
        let mut dir = rustix::fs::open("/", flags, Mode::empty()).map_err(|e| PublishError::from_os("open", &walked, e))?;
        for component in components {
            let Component::Normal(name) = component else { return Err(PublishError::Path(path.to_owned())) };
            let above = Self { dir, path: walked.clone() };
            above.judge_as_ancestor()?;
            walked.push(name);
            let link = above.judge_link(name, &walked)?;
            let follow = if link { OFlags::empty() } else { OFlags::NOFOLLOW };
            dir = match rustix::fs::openat(&above.dir, name, flags | follow, Mode::empty()) {
                Ok(dir) => dir,
                Err(Errno::NOENT) => match making {
                    Some(making) => above.make(name, &walked, making)?,
                    None => return Ok(None),
                },
                Err(e) => return Err(PublishError::from_os("open the directory", &walked, e)),
            };
        }
        let place = Self { dir, path: walked }.reopened()?;
        if place.stat()?.st_mode & WORLD_WRITABLE != 0 { Err(PublishError::WorldWritable(place.path)) } else { Ok(Some(place)) }
    }

    /// The same directory, to be listed and made durable.
    fn reopened(self) -> Result<Self, PublishError> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let dir = rustix::fs::openat(&self.dir, ".", flags, Mode::empty());
        let dir = dir.map_err(|e| PublishError::from_os("read the directory", &self.path, e))?;
        Ok(Self { dir, path: self.path })
    }

    /// The path of an entry, for messages.
    pub fn entry(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }

    pub fn stat(&self) -> Result<Stat, PublishError> {
        rustix::fs::fstat(&self.dir).map_err(|e| PublishError::from_os("look at", &self.path, e))
    }

    /// The names of all entries.
    pub fn names(&self) -> Result<Vec<OsString>, PublishError> {
        use std::os::unix::ffi::OsStrExt as _;
        let failed = |e| PublishError::from_os("list", &self.path, e);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.dir).map_err(failed)? {
            names.push(OsStr::from_bytes(entry.map_err(failed)?.file_name().to_bytes()).to_owned());
        }
        Ok(names)
    }

    /// Where everybody may write, only the sticky bit keeps them from swapping what is below.
    fn judge_as_ancestor(&self) -> Result<(), PublishError> {
        let mode = self.stat()?.st_mode;
        let swappable = mode & WORLD_WRITABLE != 0 && mode & STICKY == 0;
        if swappable { Err(PublishError::WorldWritable(self.path.clone())) } else { Ok(()) }
    }

    /// Whether the entry is a link that may be followed.
    fn judge_link(&self, name: &OsStr, path: &Path) -> Result<bool, PublishError> {
        match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                let own = stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw();
                if own { Ok(true) } else { Err(PublishError::ForeignSymlink { path: path.to_owned(), owner: stat.st_uid }) }
            }
            Ok(_) | Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(PublishError::from_os("look at", path, e)),
        }
    }

    /// Should a crash lose the new entry, the next pass makes it again.
    fn make(&self, name: &OsStr, path: &Path, making: Making) -> Result<OwnedFd, PublishError> {
        let failed = |doing| move |e| PublishError::from_os(doing, path, e);
        match rustix::fs::mkdirat(&self.dir, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(failed("make the directory")(e)),
        }
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let dir = rustix::fs::openat(&self.dir, name, flags, Mode::empty()).map_err(failed("open the directory"))?;
        if making.group.is_some() {
            rustix::fs::fchown(&dir, None, making.group).map_err(failed("give the group"))?;
        }
        rustix::fs::fchmod(&dir, Mode::from_raw_mode(making.mode)).map_err(failed("set the mode of"))?;
        rustix::fs::fsync(&dir).map_err(failed("make durable"))?;
        Ok(dir)
    }
}
