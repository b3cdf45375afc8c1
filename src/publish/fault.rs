//! Why a place could not be read or written, as sentences.

use std::path::{Path, PathBuf};

use crate::policy::TargetFormat;

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
    /// A secret could not be read or written; a sentence with a hint.
    #[error("{0}")]
    Secret(String),
    /// A program or a vendor did not take the content, or does not show it; a sentence with a hint.
    #[error("{0}")]
    Errand(String),
    /// What was handed to a program cannot be taken back from here.
    #[error("what `{0}` did with the keys is not known here, so it is not undone; hint: undo it by hand")]
    HandedOver(String),
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

impl PublishError {
    /// A place that cannot be reached at all, as a double of [`super::Targets`] may say.
    pub fn away() -> Self {
        Self::Io { doing: "reach", path: PathBuf::new(), why: "the place is away".to_owned() }
    }

    /// What an error of the operating system means for a target.
    pub(super) fn from_os(doing: &'static str, path: &Path, error: rustix::io::Errno) -> Self {
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

    pub(super) fn from_io(doing: &'static str, path: &Path, error: &std::io::Error) -> Self {
        match rustix::io::Errno::from_io_error(error) {
            Some(errno) => Self::from_os(doing, path, errno),
            None => Self::Io { doing, path: path.to_owned(), why: error.to_string() },
        }
    }
}
