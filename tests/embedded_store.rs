//! What only the embedded store promises: its file, its master key, its seals, and that neither a full disk, a read-only one nor
//! `kill -9` loses what was acknowledged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[allow(dead_code, reason = "the documents of the contract, without its rules")]
mod contract;
mod embedded_store {
    pub mod crash;
    pub mod disk;
    pub mod foreign;
    pub mod rekey;
    pub mod seal;
    pub mod secrecy;
}

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use keyrota::store::embedded::{EmbeddedStore, EnvironmentStore, OpenError};
use keyrota::store::master_key::MasterKeySource;

/// Opens the store of the contract's environment, with the key beside it.
fn open(dir: &Path) -> EnvironmentStore {
    in_environment(&EmbeddedStore::open(dir, &MasterKeySource::Default).unwrap())
}

fn in_environment(store: &EmbeddedStore) -> EnvironmentStore {
    store.environment(&contract::ENVIRONMENT.parse().unwrap())
}

/// The message of a store that must not open.
fn refused(dir: &Path, key: &MasterKeySource) -> OpenError {
    let error = EmbeddedStore::open(dir, key).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("hint: "), "{error}");
    error
}

/// Somebody else's hand in the file.
fn hand_in(dir: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(dir.join("keysets.db")).unwrap()
}

/// A key file of that content, mode 0600.
fn key_file(dir: &Path, content: &str) -> PathBuf {
    let path = dir.join(format!("{}.key", &content[..8]));
    fs::write(&path, content.repeat(64 / content.len())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// All bytes of all files in the directory, as another process reads them: a descriptor of our own, once closed, would drop the
/// locks that SQLite holds in this process.
fn raw_bytes(dir: &Path) -> Vec<u8> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let output = Command::new("cat").args(files).output().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Tells a child process what to do: see [`child`].
const TASK: &str = "KEYROTA_TEST_TASK";
/// And where.
const PLACE: &str = "KEYROTA_TEST_PLACE";

/// This test program again, to carry out one task in that place, and nothing else.
fn child_command(task: &str, place: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]).env(TASK, task).env(PLACE, place);
    command
}

/// The same with a view of the file systems of its own, which `mount` has changed before: a shell command that finds the place in
/// `$KEYROTA_TEST_PLACE`.
fn child_with_mounts(task: &str, place: &Path, mount: &str) -> Command {
    let own = child_command(task, place);
    let mut command = Command::new("unshare");
    // Root mounts by its own right, others within a user namespace.
    command.arg(if rustix::process::geteuid().is_root() { "-m" } else { "-rm" }).arg("--");
    command.args(["sh", "-c", &format!("{mount} && exec \"$0\" \"$@\"")]).arg(own.get_program()).args(own.get_args());
    command.env(TASK, task).env(PLACE, place);
    command
}

/// In the tests' own process this has nothing to do; in a child it carries out the task.
#[test]
fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let place = PathBuf::from(std::env::var(PLACE).unwrap());
    if let Some(prefix) = task.strip_prefix("swap ") {
        return embedded_store::crash::swap_for_ever(&place, prefix);
    }
    match task.as_str() {
        "fill" => embedded_store::disk::fill(&place),
        "read-only" => embedded_store::disk::find_read_only(&place),
        other => panic!("no task {other}"),
    }
}
