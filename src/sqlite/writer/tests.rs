//! Tests: many writes in one commit.

use super::*;
use crate::sqlite::{Database, Kind};
use futures_util::FutureExt as _;
use rusqlite::ffi::{SQLITE_BUSY, SQLITE_CORRUPT, SQLITE_FULL, SQLITE_IOERR_FSYNC, SQLITE_READONLY};
use std::sync::Arc;

const KIND: Kind = Kind {
    file_name: "test.db",
    what: "test",
    application_id: 77,
    version: 1,
    schema: "CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;
             CREATE TABLE note (n INTEGER PRIMARY KEY, text TEXT NOT NULL CHECK (text <> 'refused'),
                                parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED) STRICT;",
};

/// Answers how many notes there are with this one.
#[derive(Debug, Clone)]
struct Note {
    text: String,
    parent: Option<i64>,
}

impl Write for Note {
    type Outcome = i64;
    fn apply(&self, transaction: &Connection) -> rusqlite::Result<i64> {
        transaction.execute("INSERT INTO note (text, parent) VALUES (?1, ?2)", rusqlite::params![self.text, self.parent])?;
        transaction.query_row("SELECT count(*) FROM note", [], |row| row.get(0))
    }
}

fn note(text: &str) -> Note {
    Note { text: text.to_owned(), parent: None }
}

fn desk(dir: &tempfile::TempDir) -> Desk {
    let (database, connection) = Database::open(dir.path(), &KIND).unwrap();
    Desk { database, connection }
}

fn count(desk: &Desk) -> i64 {
    desk.database.reader().unwrap().query_row("SELECT count(*) FROM note", [], |row| row.get(0)).unwrap()
}

/// Frames of the log that end a transaction (<https://sqlite.org/fileformat2.html#the_write_ahead_log>).
fn commits_in_log(path: &std::path::Path) -> usize {
    let log = std::fs::read(path).unwrap();
    let page = u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
    log[32..].chunks(24 + page).filter(|frame| frame[4..8] != [0; 4]).count()
}

#[tokio::test]
async fn what_is_queued_at_once_shares_commits() {
    let dir = tempfile::tempdir().unwrap();
    let (database, connection) = Database::open(dir.path(), &KIND).unwrap();
    let other = database.clone();
    let writer = Arc::new(Writer::<Note>::start("test", database, connection).unwrap());
    // While somebody else holds the lock, everything queues up behind the first.
    let blocker = other.reader().unwrap();
    blocker.execute_batch("PRAGMA query_only = OFF; BEGIN IMMEDIATE").unwrap();
    let mut queued: Vec<_> = (0..300).map(|n| (n, Box::pin(writer.write(note(&n.to_string()))))).collect();
    for (_, write) in &mut queued {
        assert!(write.as_mut().now_or_never().is_none());
    }
    blocker.execute_batch("ROLLBACK").unwrap();
    let mut answers = Vec::new();
    for (n, write) in queued {
        answers.push((n + 1, write.await.unwrap()));
    }
    assert!(answers.iter().all(|(expected, got)| expected == got), "each has its own answer, in order");
    let commits = commits_in_log(&dir.path().join("test.db-wal"));
    assert!((1..=2).contains(&commits), "the first commit takes what was there, the second the rest: {commits}");
}

#[test]
fn one_write_that_is_refused_does_not_take_the_others_down() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(&dir);
    let outcomes = desk.settle(&[note("a"), note("refused"), note("b")]);
    assert!(matches!(outcomes.as_slice(), [Ok(1), Err(WriteFault::NotApplied(_)), Ok(2)]), "{outcomes:?}");
    assert_eq!(count(&desk), 2);
}

#[test]
fn a_failed_commit_is_told_to_every_write_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(&dir);
    // The foreign key is looked at by COMMIT itself.
    let orphan = Note { text: "orphan".to_owned(), parent: Some(1) };
    let failed = desk.commit(&[note("a"), orphan.clone()]).unwrap_err();
    assert!(matches!(&failed, WriteFault::NotApplied(fault) if fault.kind == FaultKind::Refused), "{failed}");
    assert_eq!(count(&desk), 0);
    let outcomes = desk.settle(&[note("a"), orphan, note("b")]);
    assert!(matches!(outcomes.as_slice(), [Ok(1), Err(WriteFault::NotApplied(_)), Ok(2)]), "{outcomes:?}");
}

#[test]
fn a_commit_that_may_have_reached_the_disk_is_answered_so() {
    let fault = |code| {
        let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        Fault::of(&error, std::path::Path::new("/x"))
    };
    for sure in [SQLITE_BUSY, SQLITE_FULL, SQLITE_READONLY] {
        assert!(matches!(after_failed_commit(fault(sure), true), WriteFault::NotApplied(_)));
        assert!(matches!(after_failed_commit(fault(sure), false), WriteFault::Unknown(_)), "not even rolled back");
    }
    for unsure in [SQLITE_IOERR_FSYNC, SQLITE_CORRUPT] {
        assert!(matches!(after_failed_commit(fault(unsure), true), WriteFault::Unknown(_)));
    }
}

#[test]
fn a_full_database_refuses_what_does_not_fit_and_keeps_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(&dir);
    let pages: i64 = desk.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    desk.connection.query_row(&format!("PRAGMA max_page_count = {}", pages + 2), [], |_| Ok(())).unwrap();
    let large = note(&"x".repeat(100_000));
    let outcomes = desk.settle(&[note("a"), large.clone(), note("b")]);
    let full = |o: &Result<i64, WriteFault>| matches!(o, Err(WriteFault::NotApplied(fault)) if fault.kind == FaultKind::Full);
    assert!(outcomes[0].is_ok() && full(&outcomes[1]) && outcomes[2].is_ok(), "{outcomes:?}");
    assert!(outcomes[1].as_ref().unwrap_err().to_string().contains("disk is full"));
    assert_eq!(count(&desk), 2);
    desk.connection.query_row("PRAGMA max_page_count = 100000", [], |_| Ok(())).unwrap();
    assert!(desk.settle(&[large]).iter().all(Result::is_ok), "goes on when there is room again");
}

#[test]
fn a_file_that_was_replaced_is_not_written_into_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(&dir);
    std::fs::rename(dir.path().join("test.db"), dir.path().join("old.db")).unwrap();
    std::fs::write(dir.path().join("test.db"), "").unwrap();
    let outcomes = desk.settle(&[note("a")]);
    assert!(matches!(&outcomes[0], Err(WriteFault::NotApplied(fault)) if fault.kind == FaultKind::Replaced), "{outcomes:?}");
}

#[test]
fn a_write_is_given_up_while_what_the_pass_has_read_is_fresh() {
    let fresh_for = crate::policy::StoreConfig::Embedded.fresh_for();
    assert!(WRITE_PATIENCE.as_millis() < u128::from(fresh_for.as_millis()), "{WRITE_PATIENCE:?} of {fresh_for}");
}
