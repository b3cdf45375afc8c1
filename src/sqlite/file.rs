//! Directories and files that hold secrets: who may own them, who may read and change them, and that they are no symbolic links.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Why a directory or file is not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is not what it must be.
    #[error("{path}: {found}; hint: {hint}")]
    Unfit {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// The system refused.
    #[error("cannot {verb} {path}: {cause}; hint: does the daemon's user own the state directory, and can it be written?")]
    System {
        /// What was tried.
        verb: &'static str,
        /// With which.
        path: PathBuf,
        /// The system's words.
        cause: String,
    },
}

/// Which file it is, whatever it is called: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

/// Makes the directory (0700) if it is not there, and answers with its real path. A symbolic link *to* the directory is followed:
/// systemd makes one for services with a dynamic user.
///
/// # Errors
/// If it is not a directory, belongs to somebody else than root or this user, or can be written by others.
pub fn private_directory(path: &Path) -> Result<PathBuf, FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(system("create", path))?;
    let real = path.canonicalize().map_err(system("find", path))?;
    let found = fs::metadata(&real).map_err(system("look at", &real))?;
    check_owner(&real, &found)?;
    if found.mode() & 0o022 != 0 {
        let found = format!("the directory has mode {:04o}, so others can put files there", found.mode() & 0o7777);
        return Err(FileError::Unfit { path: real, found, hint: "chmod 700" });
    }
    Ok(real)
}

/// Makes the empty file (0600) if it is not there, and checks it if it is.
///
/// # Errors
/// If it is a symbolic link or no regular file, belongs to somebody else than root or this user, or can be read by others.
pub fn private_file(path: &Path) -> Result<Identity, FileError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            file.sync_all().map_err(system("write", path))?;
            sync_parent(path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(system("create", path)(error)),
    }
    let found = fs::symlink_metadata(path).map_err(system("look at", path))?;
    check_private(path, &found)?;
    Ok(Identity { device: found.dev(), inode: found.ino() })
}

/// Which file the path names now. Symbolic links are not followed.
///
/// # Errors
/// If there is none.
pub fn identity(path: &Path) -> io::Result<Identity> {
    fs::symlink_metadata(path).map(|found| Identity { device: found.dev(), inode: found.ino() })
}

/// Checks that what was found at `path` is a regular file that only root or this user can read and write.
///
/// # Errors
/// If it is not.
pub fn check_private(path: &Path, found: &Metadata) -> Result<(), FileError> {
    let unfit = |found: String, hint| Err(FileError::Unfit { path: path.to_owned(), found, hint });
    if found.is_symlink() {
        return unfit("a symbolic link, which keyrota does not follow to secrets".to_owned(), "name the file itself");
    }
    if !found.is_file() {
        return unfit("not a regular file".to_owned(), "move it away");
    }
    check_owner(path, found)?;
    if found.mode() & 0o077 != 0 {
        let mode = format!("the file has mode {:04o}, so others can read it", found.mode() & 0o7777);
        return unfit(mode, "chmod 600; and if others may have read it, replace the keys");
    }
    Ok(())
}

/// Writes the names in the file's directory to the disk, so that a new file is there after a power cut.
///
/// # Errors
/// If the system refuses.
pub fn sync_parent(path: &Path) -> Result<(), FileError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(system("sync", parent))
}

/// An error of the system with what was tried.
pub fn system(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |error| FileError::System { verb, path: path.to_owned(), cause: error.to_string() }
}

fn check_owner(path: &Path, found: &Metadata) -> Result<(), FileError> {
    let own = rustix::process::geteuid().as_raw();
    if [0, own].contains(&found.uid()) {
        return Ok(());
    }
    let found = format!("belongs to user {}, and keyrota runs as user {own}", found.uid());
    Err(FileError::Unfit { path: path.to_owned(), found, hint: "chown it to the daemon's user, or choose another --state-dir" })
}

/// Of those who make things in this directory at once, whether threads or processes, one goes on and the others wait here, for as
/// long as the answer is held.
///
/// # Errors
/// If the directory cannot be opened, or its file system knows no locks.
pub fn alone_in(directory: &Path) -> Result<File, FileError> {
    let opened = File::open(directory).map_err(system("open", directory))?;
    let locked = rustix::fs::flock(&opened, rustix::fs::FlockOperation::LockExclusive);
    locked.map_err(|errno| system("lock", directory)(errno.into()))?;
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_is_made_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let state = private_directory(&dir.path().join("a/b")).unwrap();
        let first = private_file(&state.join("f")).unwrap();
        assert_eq!((mode(&state), mode(&state.join("f"))), (0o700, 0o600));
        assert_eq!(private_file(&state.join("f")), Ok(first));
    }

    #[test]
    fn what_others_can_reach_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        private_file(&file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(private_file(&file).unwrap_err().to_string().contains("mode 0640"));
        symlink(&file, dir.path().join("link")).unwrap();
        assert!(private_file(&dir.path().join("link")).unwrap_err().to_string().contains("symbolic link"));
        assert!(private_file(dir.path()).is_err(), "a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(private_directory(dir.path()).unwrap_err().to_string().contains("mode 0770"));
    }
}
