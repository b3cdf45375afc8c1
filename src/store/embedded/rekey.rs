//! Changing the master key: every value is sealed anew under the next one, while both open values and everybody goes on working.
//!
//! The steps, each of which can be the last before a crash and is simply done again:
//!
//! 1. the next key is made beside the one in use (`master.key.next`);
//! 2. the store's record names it: from now on nothing is written under the old key, by no process;
//! 3. part by part, values under the old key are sealed anew. Their generation and revision stay, so nobody notices;
//! 4. the record says that the next key is the one in use. In the same transaction it is seen that no value needs the old one;
//! 5. the next key's file takes the place of the old one. If a crash comes in between, the next start does it.
//!
//! Invariant: until step 4 the old key is needed, after it the new one alone. What else is derived from the master key (the audit
//! trail's) changes over between 3 and 4, when both are there: that is the caller's business.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::rows::{self, StoreRecord};
use super::seal::{self, Place};
use super::{EmbeddedStore, Inner};
use crate::name::{EnvironmentName, KeysetId, KeysetName};
use crate::sqlite::{Fault, file};
use crate::store::master_key::{MasterKeyError, MasterKeyId, change};

/// How many values are sealed anew in one transaction: few enough that other writers hardly wait.
const RESEALED_AT_ONCE: usize = 128;

/// Why the master key was not changed, or not wholly. Every text ends with a hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RekeyError {
    /// It is not keyrota's to change.
    #[error(
        "the master key comes from systemd ({0}), which keyrota cannot write; hint: stop keyrota, put the key into its state directory \
         as master.key (mode 0600) without LoadCredential, start it, `keyrota rekey`, then make the new key the credential; nothing was \
         changed"
    )]
    BySystemd(String),
    /// The next key cannot be made or read.
    #[error("{0}; hint: the next master key is made in the same directory, which must be writable for it; the old key is still needed")]
    Key(String),
    /// A value does not open.
    #[error("{0}; until it is put back from a back-up or removed, the old master key stays in use")]
    Value(String),
    /// The store does not answer.
    #[error("{0}; hint: `keyrota rekey` goes on where it stopped; the old key is needed until then")]
    Store(String),
}

/// A change of the master key that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Underway {
    /// The key in use until it is done.
    pub old: MasterKeyId,
    /// The key after it.
    pub next: MasterKeyId,
    /// How many values the store holds.
    pub values: u64,
}

/// How far one part has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resealed {
    /// The last keyset of this part; `None`: there was none left.
    pub last: Option<KeysetId>,
    /// How many values this part has looked at.
    pub values: u64,
}

impl EmbeddedStore {
    /// The id of the master key in use, and how many values are sealed.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn sealed(&self) -> Result<(MasterKeyId, u64), RekeyError> {
        self.apart(|inner, connection| {
            let values = rows::count(connection).map_err(|e| inner.store(&e))?;
            Ok((inner.record(connection)?.master_key, values))
        })
        .await
    }

    /// Whether the master key is keyrota's to change.
    ///
    /// # Errors
    /// If it is not.
    pub fn rekey_allowed(&self) -> Result<(), RekeyError> {
        if self.0.keys.by_systemd() { Err(RekeyError::BySystemd(self.master_key_path().display().to_string())) } else { Ok(()) }
    }

    /// The change that is under way; `None` if there is none.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn rekey_underway(&self) -> Result<Option<Underway>, RekeyError> {
        self.apart(Inner::underway).await
    }

    /// Begins to change the master key, or goes on with a change that is under way (steps 1 and 2).
    ///
    /// # Errors
    /// If the key is not keyrota's to change, or the next one cannot be made. Nothing was changed then, or the old key is still needed.
    pub async fn rekey_begin(&self) -> Result<Underway, RekeyError> {
        self.rekey_allowed()?;
        self.apart(|inner, connection| {
            let record = inner.record(connection)?;
            if record.next_key.is_none() {
                inner.make_next(&record)?;
            }
            inner.name_next(connection)?;
            let record = inner.record(connection)?;
            inner.keys.follow(&record).ok_or_else(|| RekeyError::Store(inner.unknown_key()))?;
            inner.underway(connection)?.ok_or_else(|| RekeyError::Store("another keyrota has changed the master key just now".into()))
        })
        .await
    }

    /// Seals the next values anew, those behind `after` (step 3).
    ///
    /// # Errors
    /// If the store does not answer, or a value does not open: it keeps its old seal.
    pub async fn rekey_reseal(&self, after: Option<KeysetId>) -> Result<Resealed, RekeyError> {
        self.apart(move |inner, connection| inner.reseal(connection, after.as_ref())).await
    }

    /// The next key is the one in use from now on, if no value needs the old one; whether it is so (steps 4 and 5).
    ///
    /// # Errors
    /// If the store or the directory of the key does not take the change.
    pub async fn rekey_finish(&self) -> Result<bool, RekeyError> {
        self.apart(|inner, connection| {
            if !inner.use_next(connection)? {
                return Ok(false);
            }
            let record = inner.record(connection)?;
            let _alone = inner.alone()?;
            change::promote(inner.keys.path(), record.master_key).map_err(|e| RekeyError::Key(bare(&e)))?;
            inner.keys.follow(&record).ok_or_else(|| RekeyError::Store(inner.unknown_key()))?;
            Ok(true)
        })
        .await
    }

    /// Does it with a connection of its own, on a thread that may block.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &Connection) -> Result<T, RekeyError> + Send + 'static,
    ) -> Result<T, RekeyError> {
        let inner = Arc::clone(&self.0);
        let task = tokio::task::spawn_blocking(move || {
            let connection = inner.database.second_writer().map_err(|fault| RekeyError::Store(fault.to_string()))?;
            work(&inner, &connection)
        });
        task.await.unwrap_or_else(|_| Err(RekeyError::Store(Fault::stopped("the change of the master key").to_string())))
    }
}

fn bare(error: &MasterKeyError) -> String {
    let text = error.to_string();
    text.split_once("; hint: ").map_or(text.clone(), |(what, _)| what.to_owned())
}

fn begun(connection: &Connection) -> rusqlite::Result<Transaction<'_>> {
    Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
}

impl Inner {
    fn store(&self, error: &rusqlite::Error) -> RekeyError {
        RekeyError::Store(self.database.fault(error).to_string())
    }

    fn record(&self, connection: &Connection) -> Result<StoreRecord, RekeyError> {
        let record = rows::store_record(connection).map_err(|e| self.store(&e))?;
        record.ok_or_else(|| RekeyError::Store("the store does not say which master key it is sealed under".to_owned()))
    }

    fn underway(&self, connection: &Connection) -> Result<Option<Underway>, RekeyError> {
        let record = self.record(connection)?;
        let values = rows::count(connection).map_err(|e| self.store(&e))?;
        Ok(record.next_key.map(|next| Underway { old: record.master_key, next, values }))
    }

    /// Of those who make or replace key files in this directory, one at a time.
    fn alone(&self) -> Result<std::fs::File, RekeyError> {
        let directory = self.database.path().parent().unwrap_or(Path::new("/"));
        file::alone_in(directory).map_err(|e| RekeyError::Store(e.to_string()))
    }

    fn make_next(&self, record: &StoreRecord) -> Result<(), RekeyError> {
        let _alone = self.alone()?;
        let failed = |e: MasterKeyError| RekeyError::Key(bare(&e));
        // Of a change that was finished and whose file was not put into place.
        change::promote(self.keys.path(), record.master_key).map_err(failed)?;
        change::make_next(self.keys.path()).map(drop).map_err(failed)
    }

    /// The record names the key that lies ready; another process may have been first.
    fn name_next(&self, connection: &Connection) -> Result<MasterKeyId, RekeyError> {
        let fault = |e: rusqlite::Error| self.store(&e);
        let missing = || RekeyError::Key(format!("{} is not there", change::next_path(self.keys.path()).display()));
        let found = change::next_key(self.keys.path()).map_err(|e| RekeyError::Key(bare(&e)))?.map(|key| key.id());
        let transaction = begun(connection).map_err(fault)?;
        let record = self.record(&transaction)?;
        let next = match (record.next_key, found) {
            (Some(named), Some(found)) if named == found => return Ok(named),
            (None, Some(found)) if found != record.master_key => found,
            _ => return Err(missing()),
        };
        rows::name_next_key(&transaction, next).map_err(fault)?;
        transaction.commit().map_err(fault)?;
        Ok(next)
    }

    fn reseal(&self, connection: &Connection, after: Option<&KeysetId>) -> Result<Resealed, RekeyError> {
        let fault = |e: rusqlite::Error| self.store(&e);
        let record = self.record(connection)?;
        let Some(next) = record.next_key else { return Ok(Resealed { last: None, values: 0 }) };
        let ring = self.keys.follow(&record).ok_or_else(|| RekeyError::Store(self.unknown_key()))?;
        let part = rows::rows_behind(connection, after, RESEALED_AT_ONCE).map_err(fault)?;
        let (mut last, mut anew) = (None, Vec::new());
        for (environment, keyset, row) in &part {
            let id = self.row_id(environment, keyset)?;
            let sealed = row.sealed.as_deref().unwrap_or_default();
            if seal::sealed_under(sealed) != Some(next) {
                let key = seal::sealed_under(sealed).and_then(|id| ring.by_id(id)).unwrap_or_else(|| ring.sealing());
                let place = Place { store: self.id, keyset: &id, generation: row.generation, write: row.version.write };
                let document = seal::open(key, &place, sealed).map_err(|e| RekeyError::Value(e.to_string()))?;
                let sealed = seal::seal(ring.sealing(), &place, &document).map_err(|e| RekeyError::Value(e.to_string()))?;
                anew.push((id.clone(), row.version, sealed));
            }
            last = Some(id);
        }
        if !anew.is_empty() {
            let transaction = begun(connection).map_err(fault)?;
            for (id, version, sealed) in &anew {
                // If it has been written since, it bears the next key already.
                rows::reseal(&transaction, id, *version, sealed).map_err(fault)?;
            }
            transaction.commit().map_err(fault)?;
        }
        Ok(Resealed { last, values: part.len() as u64 })
    }

    fn row_id(&self, environment: &str, keyset: &str) -> Result<KeysetId, RekeyError> {
        let strange =
            |_| RekeyError::Value(format!("{}: a row bears a name that is none: {environment}/{keyset}", self.database.path().display()));
        let environment: EnvironmentName = environment.parse().map_err(strange)?;
        let keyset: KeysetName = keyset.parse().map_err(strange)?;
        Ok(KeysetId { environment, keyset })
    }

    fn use_next(&self, connection: &Connection) -> Result<bool, RekeyError> {
        let fault = |e: rusqlite::Error| self.store(&e);
        let transaction = begun(connection).map_err(fault)?;
        let record = self.record(&transaction)?;
        let Some(next) = record.next_key else { return Ok(true) }; // another process has done it
        if !rows::all_under(&transaction, next).map_err(fault)? {
            return Ok(false);
        }
        rows::use_next_key(&transaction, next).map_err(fault)?;
        transaction.commit().map_err(fault)?;
        Ok(true)
    }
}
