//! The SQLite files in the state directory: how one is opened, judged, read and written. The embedded store and the witness's book
//! each have one.
//!
//! Invariant: a file is written only after it was seen to be keyrota's own, of the kind and version expected. An existing file is
//! never opened but through SQLite: closing any other descriptor would drop the locks that this process holds on it.
//!
//! Nothing in here knows what a keyset or a sighting is.

pub mod fault;
pub mod file;
pub mod readers;
pub mod writer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

pub use fault::{Fault, FaultKind};

use file::{FileError, Identity};

/// How long a connection waits for another process's lock before it says that the file is busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a write waits for it. The daemon's passes wait for their writes, and must be over while what they have read is fresh
/// (`store_refresh`: 5 s), or signers would be refused because some other program holds a file.
const WRITE_PATIENCE: Duration = Duration::from_secs(3);

/// FULL: what was acknowledged survives a power cut. `secure_delete`: what is erased is overwritten with zeros.
const SETTINGS_TO_WRITE: &str = "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON;";

/// What tells one kind of keyrota's files from another and from everybody else's.
#[derive(Debug)]
pub struct Kind {
    /// Its name within the state directory.
    pub file_name: &'static str,
    /// What it is called in messages.
    pub what: &'static str,
    /// SQLite's `application_id` (bytes 68 to 71 of the file), so that a foreign file is recognised.
    pub application_id: i32,
    /// The version of its tables (`user_version`).
    pub version: i32,
    /// The tables of a new file.
    pub schema: &'static str,
}

/// Why a file could not be opened. Nothing has been written to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// The directory or the file is not fit to hold secrets.
    #[error(transparent)]
    File(#[from] FileError),
    /// Somebody else's file.
    #[error("{path} is not keyrota's {what}: {found}; nothing was changed in it; hint: is --state-dir right? if so, move the file away")]
    Foreign {
        /// Which.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What it is.
        found: String,
    },
    /// Written by another version of keyrota.
    #[error("{path} has version {found} of keyrota's {what}, and this keyrota reads version {known}; hint: run the keyrota that wrote it")]
    OtherVersion {
        /// Which.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// The version found.
        found: i32,
        /// The version this program writes.
        known: i32,
    },
    /// SQLite could not.
    #[error("cannot open: {0}")]
    Sqlite(#[from] Fault),
}

/// One file that was judged to be ours.
#[derive(Debug, Clone)]
pub struct Database {
    path: PathBuf,
    identity: Identity,
}

impl Database {
    /// Opens the file of that kind in `state_dir`, or makes it, and answers with the connection that may write.
    ///
    /// # Errors
    /// If the directory or file can be changed or read by others, the file is not ours, or SQLite cannot open it.
    pub fn open(state_dir: &Path, kind: &'static Kind) -> Result<(Self, Connection), DatabaseError> {
        let directory = file::private_directory(state_dir)?;
        // Within this process because of the invariant above on descriptors; of several, because SQLite does not wait for others when
        // it turns a new file to its write-ahead log.
        let _one_at_a_time = file::alone_in(&directory)?;
        let path = directory.join(kind.file_name);
        let identity = file::private_file(&path)?;
        let connection = connect(&path)?;
        let fault = |e: rusqlite::Error| Fault::of(&e, &path);
        if is_blank(&connection, &path, kind)? {
            create(&connection, kind).map_err(fault)?;
        }
        judge(&connection, &path, kind)?;
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(fault)?;
        if mode != "wal" {
            let found = format!("its file system allows journal mode `{mode}` only, and keyrota needs `wal`; use a local file system");
            return Err(FileError::Unfit { path, found, hint: "choose a --state-dir on a local disk" }.into());
        }
        connection.execute_batch(SETTINGS_TO_WRITE).map_err(fault)?;
        Ok((Self { path, identity }, connection))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Another connection to it, for reading only.
    ///
    /// # Errors
    /// If SQLite cannot.
    pub fn reader(&self) -> Result<Connection, Fault> {
        self.check_in_place()?;
        let connection = connect(&self.path)?;
        connection.execute_batch("PRAGMA query_only = ON; PRAGMA foreign_keys = ON;").map_err(|e| self.fault(&e))?;
        Ok(connection)
    }

    /// Another connection to it that writes, beside the one that [`Database::open`] gave.
    ///
    /// # Errors
    /// If SQLite cannot.
    pub fn second_writer(&self) -> Result<Connection, Fault> {
        self.check_in_place()?;
        let connection = connect(&self.path)?;
        connection.execute_batch(SETTINGS_TO_WRITE).map_err(|e| self.fault(&e))?;
        Ok(connection)
    }

    /// Whether the path still names the file that was opened. If somebody replaced it, what is written here would be lost.
    ///
    /// # Errors
    /// If it was replaced or removed.
    pub fn check_in_place(&self) -> Result<(), Fault> {
        if file::identity(&self.path).is_ok_and(|now| now == self.identity) { Ok(()) } else { Err(Fault::replaced(&self.path)) }
    }

    /// What an error of SQLite means for this file.
    pub fn fault(&self, error: &rusqlite::Error) -> Fault {
        Fault::of(error, &self.path)
    }
}

fn connect(path: &Path) -> Result<Connection, Fault> {
    let fault = |e: rusqlite::Error| Fault::of(&e, path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fault)?;
    // A file that was tampered with must not make SQLite run what stands in its schema.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(fault)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(fault)?;
    connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;").map_err(fault)?;
    Ok(connection)
}

/// Application id, version and number of tables.
fn marks(connection: &Connection) -> rusqlite::Result<(i32, i32, i64)> {
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i32>(0));
    let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok((pragma("application_id")?, pragma("user_version")?, tables))
}

fn is_blank(connection: &Connection, path: &Path, kind: &'static Kind) -> Result<bool, DatabaseError> {
    match marks(connection) {
        Ok(found) => Ok(found == (0, 0, 0)),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            Err(DatabaseError::Foreign { path: path.to_owned(), what: kind.what, found: "not an SQLite file".to_owned() })
        }
        Err(error) => Err(Fault::of(&error, path).into()),
    }
}

fn create(connection: &Connection, kind: &Kind) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    // Another process may have been quicker.
    let made = match marks(connection) {
        Ok((0, 0, 0)) => {
            let (id, version) = (kind.application_id, kind.version);
            connection.execute_batch(&format!("PRAGMA application_id = {id}; PRAGMA user_version = {version}; {}", kind.schema))
        }
        other => other.map(|_| ()),
    };
    made.and_then(|()| connection.execute_batch("COMMIT")).inspect_err(|_| {
        let _ = connection.execute_batch("ROLLBACK");
    })
}

fn judge(connection: &Connection, path: &Path, kind: &'static Kind) -> Result<(), DatabaseError> {
    let (application_id, found, tables) = marks(connection).map_err(|e| Fault::of(&e, path))?;
    if application_id != kind.application_id {
        let found = format!("an SQLite file of another program (application id {application_id:#x}, {tables} tables and indexes)");
        return Err(DatabaseError::Foreign { path: path.to_owned(), what: kind.what, found });
    }
    if found != kind.version {
        return Err(DatabaseError::OtherVersion { path: path.to_owned(), what: kind.what, found, known: kind.version });
    }
    Ok(())
}
