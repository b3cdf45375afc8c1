//! Whose store it is: its id, and whether the master key that was found is the one that it is sealed under.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::OpenError;
use super::rows::{self, StoreRecord};
use super::seal::RandomId;
use crate::sqlite::{Database, DatabaseError, file};
use crate::store::master_key::{FoundKey, MasterKeyError, change};

/// What the store says of itself. Writes down which master key it is sealed under, if it holds nothing yet. A key that the store has
/// come to use takes its place, should a crash have kept it from that.
pub fn settle(database: &Database, connection: &Connection, found: &mut FoundKey) -> Result<StoreRecord, OpenError> {
    let fault = |e: rusqlite::Error| OpenError::from(DatabaseError::from(database.fault(&e)));
    let new_id = RandomId::new().map_err(OpenError::System)?;
    // Dropped without a commit, it is rolled back.
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(fault)?;
    let recorded = rows::store_record(&transaction).map_err(fault)?;
    if let Some(record) = recorded.filter(|record| record.master_key != found.key.id() && record.next_key.is_none()) {
        finish_change(database, &record, found)?;
    }
    match recorded {
        Some(record) if record.master_key == found.key.id() => return Ok(record),
        Some(record) if record.next_key.is_some() || !rows::is_empty(&transaction).map_err(fault)? => {
            let (store, key_file) = (database.path().to_owned(), found.path.clone());
            return Err(OpenError::WrongMasterKey { store, sealed_under: record.master_key, key_file, found: found.key.id() });
        }
        _ => {}
    }
    let record = StoreRecord { id: recorded.map_or(new_id, |r| r.id), master_key: found.key.id(), next_key: None };
    rows::write_store_record(&transaction, &record).map_err(fault)?;
    transaction.commit().map_err(fault)?;
    Ok(record)
}

/// The store is sealed under another key than was found: it may be the next one, whose file was not put into place, or another process
/// has just done that.
fn finish_change(database: &Database, record: &StoreRecord, found: &mut FoundKey) -> Result<(), OpenError> {
    if found.by_systemd {
        return Ok(());
    }
    let _alone = file::alone_in(database.path().parent().unwrap_or(Path::new("/"))).map_err(MasterKeyError::from)?;
    change::promote(&found.path, record.master_key)?;
    if let Some(key) = change::key_at(&found.path, false)? {
        found.key = key;
    }
    Ok(())
}
