//! Binding the Unix sockets of the runtime directory.
//!
//! A socket is bound under a name of its own, given its mode and group, and then renamed into place: nobody can connect before the
//! mode is right, and a stale socket is replaced in one step. The directory is locked meanwhile, so that of two daemons that start
//! at once one is told of the other. A socket that somebody answers on is never taken away.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use tokio::net::UnixListener;

/// The name of the socket for documents.
pub const SIGNER_SOCKET: &str = "signer.sock";

/// The name of the socket for status and verbs.
pub const CONTROL_SOCKET: &str = "control.sock";

/// Why a socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The system said no.
    #[error("{path}: {what}: {source}; hint: {hint}")]
    System {
        /// Where.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// Somebody answers there.
    #[error("{0}: another process is listening; hint: is a keyrota running already? stop it, or use another --runtime-dir")]
    InUse(PathBuf),
    /// Something else is in the way.
    #[error("{0}: is there and is no socket; hint: remove it, or use another --runtime-dir")]
    NoSocket(PathBuf),
    /// Anybody could put a socket of their own there.
    #[error(
        "{path}: mode {mode:o}, owner {owner}: others could replace the sockets in it; hint: chmod 0755, owned by keyrota's user or root"
    )]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// Its owner's uid.
        owner: u32,
    },
}

/// A socket in its place; taken away when this is dropped, if it is still ours.
#[derive(Debug)]
pub struct Bound {
    path: PathBuf,
    inode: (u64, u64),
}

/// Binds `directory/name` with `mode`, and gives it to `group` where one is named.
///
/// # Errors
/// If somebody answers there, the directory is open to others, or the system says no.
pub fn bind(directory: &Path, name: &str, mode: u32, group: Option<u32>) -> Result<(UnixListener, Bound), SocketError> {
    let path = directory.join(name);
    let failed = |what, hint| {
        let path = path.clone();
        move |source| SocketError::System { path, what, source, hint }
    };
    check(directory)?;
    let locked = File::open(directory).map_err(failed("opening its directory", "create it, readable for keyrota's user"))?;
    rustix::fs::flock(&locked, FlockOperation::LockExclusive)
        .map_err(|e| failed("locking its directory", "use a --runtime-dir on a local file system")(e.into()))?;
    clear(&path)?;
    clear_drafts(directory, name).map_err(failed("clearing what a killed keyrota left", "remove the dot files in its directory"))?;
    let draft = directory.join(format!(".{name}.{}", std::process::id()));
    let listener = StdListener::bind(&draft)
        .map_err(failed("binding", "the directory must be writable for keyrota's user, and the whole path under 100 characters"))?;
    let placed = place(&draft, &path, mode, group).inspect_err(|_| drop(fs::remove_file(&draft)));
    placed.map_err(failed("setting mode and group", "keyrota's user must be a member of --control-group, or root"))?;
    let metadata = fs::symlink_metadata(&path).map_err(failed("looking at it", "use another --runtime-dir"))?;
    let bound = Bound { inode: (metadata.dev(), metadata.ino()), path: path.clone() };
    listener.set_nonblocking(true).map_err(failed("making it non-blocking", "please report this"))?;
    let listener = UnixListener::from_std(listener).map_err(failed("listening", "please report this"))?;
    Ok((listener, bound))
}

fn check(directory: &Path) -> Result<(), SocketError> {
    let hint = "create it for keyrota's user, or use another --runtime-dir";
    let failed = |source| SocketError::System { path: directory.to_owned(), what: "making or looking at it", source, hint };
    // The last part of the path is ours to make; what is above it says where this machine keeps such things.
    match fs::DirBuilder::new().mode(0o755).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let metadata = fs::metadata(directory).map_err(failed)?;
    if !metadata.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    let owner = metadata.uid();
    let trusted = owner == 0 || owner == rustix::process::geteuid().as_raw();
    if !trusted || metadata.mode() & 0o002 != 0 {
        return Err(SocketError::Open { path: directory.to_owned(), mode: metadata.mode() & 0o7777, owner });
    }
    Ok(())
}

/// Makes sure that nothing alive stands at `path`.
fn clear(path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(SocketError::NoSocket(path.to_owned())),
        _ => {}
    }
    match StdStream::connect(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Ok(()),
        // A listener whose queue is full is a listener, and so may be one that we may not ask.
        _ => Err(SocketError::InUse(path.to_owned())),
    }
}

/// Removes drafts of processes that were killed before they could rename them. The directory is locked, so nobody is at work on one.
fn clear_drafts(directory: &Path, name: &str) -> io::Result<()> {
    let prefix = format!(".{name}.");
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let pid = entry.file_name().to_str().and_then(|file| file.strip_prefix(&prefix)?.parse::<u32>().ok());
        if pid.is_some() && entry.file_type()?.is_socket() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn place(draft: &Path, path: &Path, mode: u32, group: Option<u32>) -> io::Result<()> {
    let metadata = fs::symlink_metadata(draft)?;
    // In a sandbox without chown(2) the group is the service's own, which needs no change.
    if let Some(group) = group.filter(|group| *group != metadata.gid()) {
        std::os::unix::fs::chown(draft, None, Some(group))?;
    }
    fs::set_permissions(draft, fs::Permissions::from_mode(mode))?;
    fs::rename(draft, path)
}

impl Drop for Bound {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        drop(StdListener::bind(&path).unwrap());
        let (listener, bound) = bind(folder.path(), "a.sock", 0o660, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        assert!(matches!(bind(folder.path(), "a.sock", 0o660, None), Err(SocketError::InUse(_))));
        drop((listener, bound));
        assert!(!path.exists(), "removed at exit");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[tokio::test]
    async fn what_is_no_socket_stays_and_so_does_a_successor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(folder.path(), "a.sock", 0o660, None), Err(SocketError::NoSocket(_))));
        fs::remove_file(&path).unwrap();
        let (_listener, bound) = bind(folder.path(), "a.sock", 0o660, None).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another").unwrap();
        drop(bound);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn what_a_killed_process_left_half_done_goes() {
        let folder = tempfile::tempdir().unwrap();
        let inside = |name: &str| folder.path().join(name);
        drop(std::os::unix::net::UnixListener::bind(inside(".a.sock.4000000")).unwrap());
        drop(std::os::unix::net::UnixListener::bind(inside(".b.sock.4000000")).unwrap());
        fs::write(inside(".a.sock.1"), "no socket").unwrap();
        let _bound = bind(folder.path(), "a.sock", 0o660, None).unwrap();
        assert!(!inside(".a.sock.4000000").exists());
        assert!(inside(".b.sock.4000000").exists() && inside(".a.sock.1").exists(), "only drafts of this socket are removed");
    }

    #[tokio::test]
    async fn a_missing_directory_is_made_and_an_open_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = bind(folder.path(), "a.sock", 0o660, None).unwrap_err();
        assert!(matches!(&refused, SocketError::Open { mode: 0o777, .. }), "{refused}");
        let (_listener, _bound) = bind(&folder.path().join("made"), "a.sock", 0o660, None).unwrap();
        assert_eq!(fs::metadata(folder.path().join("made")).unwrap().mode() & 0o777, 0o755);
        let missing = bind(&folder.path().join("no/where"), "a.sock", 0o660, None).unwrap_err();
        assert!(missing.to_string().contains("hint: create it"), "{missing}");
    }
}
