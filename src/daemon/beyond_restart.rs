//! Which failures to start no restart will mend: settings, policies and keys that somebody has to put right. `run` ends with 78 on
//! them, so that a service manager does not try for ever.

use crate::http::sockets::SocketError;
use crate::http::tls::TlsError;
use crate::sqlite::DatabaseError;
use crate::sqlite::file::FileError;
use crate::store::embedded::OpenError;
use crate::store::master_key::MasterKeyError;
use crate::systemd::handed::HandedError;

/// A setting that is wrong, as a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongSetting(pub String);

/// Whether trying again is of no use.
pub fn is_beyond_restart(error: &anyhow::Error) -> bool {
    let store = error.downcast_ref().is_some_and(|error: &OpenError| match error {
        OpenError::Database(error) => of_database(error),
        OpenError::MasterKey(MasterKeyError::File(error)) => of_file(error),
        OpenError::MasterKey(_) | OpenError::WrongMasterKey { .. } => true,
        // Another daemon may be changing the key just now.
        OpenError::HalfChanged { .. } | OpenError::System(_) => false,
    });
    let socket = error.downcast_ref().is_some_and(|e| matches!(e, SocketError::NoSocket(_) | SocketError::Open { .. }));
    // A file that is not there yet may come; one that holds the wrong thing stays as it is.
    let tls = error.downcast_ref().is_some_and(|error| matches!(error, TlsError::Unfit { .. }));
    store || socket || tls || error.is::<WrongSetting>() || error.is::<HandedError>()
}

const fn of_database(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::File(error) => of_file(error),
        DatabaseError::Foreign { .. } | DatabaseError::OtherVersion { .. } => true,
        DatabaseError::Sqlite(_) => false,
    }
}

const fn of_file(error: &FileError) -> bool {
    matches!(error, FileError::Unfit { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_must_mend_is_told_from_what_may_pass() {
        let mend = [
            anyhow::Error::from(WrongSetting("there is no group `x`".into())),
            anyhow::Error::from(HandedError::Unknown("x".into())).context("at the start"),
            OpenError::MasterKey(MasterKeyError::LostBesideStore { state_dir: "/x".into() }).into(),
            OpenError::Database(DatabaseError::OtherVersion { path: "/x".into(), what: "store", found: 9, known: 1 }).into(),
            SocketError::NoSocket("/x".into()).into(),
            TlsError::Unfit { path: "/x".into(), what: "no PEM".into(), hint: "PEM" }.into(),
        ];
        for error in mend {
            assert!(is_beyond_restart(&error), "{error}");
        }
        let pass = [
            anyhow::anyhow!("cannot listen on 127.0.0.1:8480"),
            OpenError::System("no thread to be had".into()).into(),
            SocketError::InUse("/x".into()).into(),
            TlsError::Unreadable { path: "/x".into(), why: "no".into() }.into(),
            OpenError::Database(DatabaseError::File(FileError::System { verb: "open", path: "/x".into(), cause: "no".into() })).into(),
        ];
        for error in pass {
            assert!(!is_beyond_restart(&error), "{error}");
        }
    }
}
