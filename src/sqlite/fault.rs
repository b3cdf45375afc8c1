//! What SQLite's errors mean to an operator: a sentence with a hint, and a kind that callers branch on.

use std::path::Path;

use rusqlite::ErrorCode;

/// What kind of trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Another process holds the lock for too long.
    Busy,
    /// No space is left.
    Full,
    /// The file or its file system cannot be written.
    ReadOnly,
    /// The disk failed.
    Io,
    /// The file is damaged.
    Corrupt,
    /// The file was replaced or removed while it was open.
    Replaced,
    /// This one write is not possible, others may be.
    Refused,
    /// Anything else.
    Other,
}

/// A trouble with an SQLite file, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    sentence: String,
}

impl Fault {
    /// What `error` means for the file at `path`. The sentence names the file and SQLite's own words, never a value of a row.
    pub fn of(error: &rusqlite::Error, path: &Path) -> Self {
        let (kind, what, hint) = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
                (FaultKind::Busy, "is locked by another process", "it is tried again; does a back-up tool hold it?")
            }
            Some(ErrorCode::DiskFull) => (FaultKind::Full, "cannot grow: its disk is full", "make room; nothing that was stored is lost"),
            Some(ErrorCode::ReadOnly) => (FaultKind::ReadOnly, "cannot be written", "is the file system mounted read-only?"),
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
                (FaultKind::ReadOnly, "cannot be opened for writing", "does the daemon's user own the file and its directory?")
            }
            Some(ErrorCode::SystemIoFailure) => (FaultKind::Io, "could not be read or written", "look at the kernel's log for disk errors"),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                (FaultKind::Corrupt, "is damaged", "stop keyrota, keep a copy, and restore the file from a back-up")
            }
            Some(ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => {
                (FaultKind::Refused, "does not take this value", "this is a fault of keyrota's: please report it")
            }
            Some(_) => (FaultKind::Other, "cannot be used", "the code in brackets is explained on sqlite.org/rescode.html"),
            None => (FaultKind::Corrupt, "holds something unexpected", "was it changed by another program?"),
        };
        let code = match error {
            rusqlite::Error::SqliteFailure(e, _) => format!("SQLite error {}: {e}", e.extended_code),
            other => other.to_string(),
        };
        Self { kind, sentence: format!("{} {what} ({code}); hint: {hint}", path.display()) }
    }

    /// The file was replaced or removed while it was open.
    pub fn replaced(path: &Path) -> Self {
        let hint = "stop every keyrota that uses it before a file is restored, then start again";
        let sentence = format!("{} was replaced or removed while keyrota had it open; hint: {hint}", path.display());
        Self { kind: FaultKind::Replaced, sentence }
    }

    /// Somebody is reading or writing just now.
    pub fn busy(path: &Path) -> Self {
        let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None);
        Self::of(&error, path)
    }

    /// The thread that should have done it has ended.
    pub fn stopped(what: &str) -> Self {
        Self { kind: FaultKind::Other, sentence: format!("{what} has stopped; hint: the daemon is going down, or must be restarted") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn each_code_has_its_kind_and_its_hint() {
        for (code, kind) in [
            (ffi::SQLITE_BUSY, FaultKind::Busy),
            (ffi::SQLITE_BUSY_RECOVERY, FaultKind::Busy),
            (ffi::SQLITE_FULL, FaultKind::Full),
            (ffi::SQLITE_READONLY, FaultKind::ReadOnly),
            (ffi::SQLITE_READONLY_DBMOVED, FaultKind::ReadOnly),
            (ffi::SQLITE_CANTOPEN, FaultKind::ReadOnly),
            (ffi::SQLITE_IOERR_FSYNC, FaultKind::Io),
            (ffi::SQLITE_CORRUPT, FaultKind::Corrupt),
            (ffi::SQLITE_NOTADB, FaultKind::Corrupt),
            (ffi::SQLITE_TOOBIG, FaultKind::Refused),
            (ffi::SQLITE_NOMEM, FaultKind::Other),
        ] {
            let fault = Fault::of(&rusqlite::Error::SqliteFailure(ffi::Error::new(code), None), Path::new("/x/keysets.db"));
            assert_eq!(fault.kind, kind, "{fault}");
            assert!(fault.to_string().starts_with("/x/keysets.db ") && fault.to_string().contains("; hint: "), "{fault}");
        }
    }
}
