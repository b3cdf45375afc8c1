//! The embedded store: keyset documents of all environments in one SQLite file, each sealed for its row.
//!
//! Invariant: a swap is answered with a revision only after the commit that holds it has reached the disk. Several processes may
//! have the file open: every swap compares and writes within one immediate transaction.
//!
//! Nothing in here knows what a document means. Documents leave it opened and checked against the row they stood in.

mod rows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rusqlite::Connection;

use super::master_key::{FoundKey, MasterKey, MasterKeyError, MasterKeyId, MasterKeySource};
use super::seal::{self, Place, RandomId};
use super::{Changes, Loaded, Mark, Revision, Store, StoreError, SwapError};
use crate::document::Document;
use crate::name::{EnvironmentName, KeysetId, KeysetName};
use crate::sqlite::readers::Readers;
use crate::sqlite::writer::{WriteFault, Writer};
use crate::sqlite::{Database, DatabaseError, Fault, FaultKind};
use crate::time::Span;
use rows::{Judged, RowWrite, SealedRow, StoreRecord};

/// The largest document that is stored, in bytes. The largest lawful ones are a tenth of it.
pub const LARGEST_DOCUMENT: usize = 2 * 1024 * 1024;

/// How many sealed documents are in memory at once while many are loaded.
const OPENED_AT_ONCE: usize = 512;

/// The fewest documents that are worth a thread of their own to open.
const WORTH_A_THREAD: usize = 64;

/// Why the store could not be opened. Nothing in it was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The file is not ours, not private, or SQLite cannot open it.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// There is no master key.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// There is a master key, and it is not this store's.
    #[error(
        "{store} is sealed under master key {sealed_under}, and {key_file} holds {found}; hint: give keyrota the key that was in use \
         when the store was made; nothing was changed"
    )]
    WrongMasterKey {
        /// The store's file.
        store: PathBuf,
        /// The id that the store remembers.
        sealed_under: MasterKeyId,
        /// Where the key was found.
        key_file: PathBuf,
        /// The id of the key found.
        found: MasterKeyId,
    },
    /// The system has no thread or randomness to give.
    #[error("the embedded store cannot start: {0}")]
    System(String),
}

/// All environments in one SQLite file. Clones share it. When the last one is dropped, it waits for what is queued to be committed and
/// closes the file.
#[derive(Debug, Clone)]
pub struct EmbeddedStore(Arc<Inner>);

/// One environment of an [`EmbeddedStore`].
#[derive(Debug, Clone)]
pub struct EnvironmentStore {
    inner: Arc<Inner>,
    environment: EnvironmentName,
}

#[derive(Debug)]
struct Inner {
    database: Database,
    id: RandomId,
    master: MasterKey,
    key_path: PathBuf,
    created_key: Option<PathBuf>,
    watch: Mutex<Watch>,
    readers: Arc<Readers>,
    // Last, so that it closes the file after the readers and folds the log into it.
    writer: Writer<RowWrite>,
}

/// A connection that never writes, so that `data_version` tells it of every write, this process's own included.
#[derive(Debug)]
struct Watch {
    connection: Connection,
    /// `data_version` and the last change that was read after it.
    seen: Option<(i64, i64)>,
}

impl EmbeddedStore {
    /// Opens `<state_dir>/keysets.db`, or makes it. Blocks on the disk.
    ///
    /// # Errors
    /// If the directory, the file or the master key is not fit; see [`OpenError`]. Nothing is overwritten.
    pub fn open(state_dir: &Path, master_key: &MasterKeySource) -> Result<Self, OpenError> {
        let (database, connection) = Database::open(state_dir, &rows::KEYSETS)?;
        let fault = |e: rusqlite::Error| DatabaseError::from(database.fault(&e));
        let found = master_key.find(state_dir, rows::is_empty(&connection).map_err(fault)?)?;
        let id = settle_identity(&database, &connection, &found)?;
        let watch = Mutex::new(Watch { connection: database.reader().map_err(DatabaseError::from)?, seen: None });
        let readers = Arc::new(Readers::new(database.clone()));
        let writer = Writer::start("keysets-writer", database.clone(), connection).map_err(|e| OpenError::System(e.to_string()))?;
        let created_key = found.created.then(|| found.path.clone());
        let key_path = found.path;
        Ok(Self(Arc::new(Inner { database, id, master: found.key, key_path, created_key, watch, readers, writer })))
    }

    /// A key for message authentication that is derived from the master key; `None` if the back end fails.
    pub fn authentication_key(&self, purpose: &'static str) -> Option<aws_lc_rs::hmac::Key> {
        self.0.master.authentication_key(purpose)
    }

    /// Where the master key was found.
    pub fn master_key_path(&self) -> &Path {
        &self.0.key_path
    }

    /// The master key's file, if [`EmbeddedStore::open`] made it: the operator should hear of it and keep a copy.
    pub fn created_master_key(&self) -> Option<&Path> {
        self.0.created_key.as_deref()
    }

    /// The store of one environment.
    pub fn environment(&self, environment: &EnvironmentName) -> EnvironmentStore {
        EnvironmentStore { inner: Arc::clone(&self.0), environment: environment.clone() }
    }

    /// Folds the log file into the database and cuts it, so that nothing that was erased is left in either. Done by itself a few
    /// seconds after the last write, and when the store is closed.
    ///
    /// # Errors
    /// If somebody is reading, or the disk refuses.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        Ok(self.0.writer.tidy().await?)
    }

    /// Leaves nothing in the file that is not in force: writes it anew without freed pages, and cuts the log.
    ///
    /// # Errors
    /// As [`EmbeddedStore::checkpoint`], or if there is no room for a second copy.
    pub async fn purge(&self) -> Result<(), StoreError> {
        Ok(self.0.writer.purge().await?)
    }
}

/// The store's id. Writes down which master key it is sealed under, if it holds nothing yet.
fn settle_identity(database: &Database, connection: &Connection, found: &FoundKey) -> Result<RandomId, OpenError> {
    let fault = |e: rusqlite::Error| OpenError::from(DatabaseError::from(database.fault(&e)));
    let new_id = RandomId::new().map_err(OpenError::System)?;
    // Dropped without a commit, it is rolled back.
    let transaction = rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate).map_err(fault)?;
    let recorded = rows::store_record(&transaction).map_err(fault)?;
    match recorded {
        Some(record) if record.master_key == found.key.id() => return Ok(record.id),
        Some(record) if !rows::is_empty(&transaction).map_err(fault)? => {
            let (store, key_file) = (database.path().to_owned(), found.path.clone());
            return Err(OpenError::WrongMasterKey { store, sealed_under: record.master_key, key_file, found: found.key.id() });
        }
        _ => {}
    }
    let record = StoreRecord { id: recorded.map_or(new_id, |r| r.id), master_key: found.key.id() };
    rows::write_store_record(&transaction, &record).map_err(fault)?;
    transaction.commit().map_err(fault)?;
    Ok(record.id)
}

impl EnvironmentStore {
    async fn write(&self, write: RowWrite) -> Result<Revision, SwapError> {
        let id = self.id(&write.keyset);
        match self.inner.writer.write(write).await {
            Ok(Judged::Applied(version)) => Ok(version.revision()),
            Ok(Judged::Conflict) => Err(SwapError::Conflict),
            Ok(Judged::NotBeyond(stored)) => Err(super::not_beyond(&id, stored)),
            Err(WriteFault::NotApplied(fault)) if matches!(fault.kind, FaultKind::Refused) => Err(SwapError::Invalid(fault.to_string())),
            Err(WriteFault::NotApplied(fault)) => Err(SwapError::Unavailable(fault.to_string())),
            Err(WriteFault::Unknown(fault)) => Err(SwapError::Indeterminate(fault.to_string())),
        }
    }

    fn id(&self, keyset: &KeysetName) -> KeysetId {
        KeysetId { environment: self.environment.clone(), keyset: keyset.clone() }
    }
}

impl Inner {
    /// Opens a row and checks that what is in it belongs there.
    fn open_row(&self, id: &KeysetId, row: &SealedRow) -> Result<Loaded, StoreError> {
        let place = Place { store: self.id, keyset: id, generation: row.generation, write: row.version.write };
        let invalid = |why: String| StoreError::Invalid(why);
        let sealed = row.sealed.as_deref().unwrap_or_default();
        let bytes = seal::open(&self.master, &place, sealed).map_err(|e| invalid(e.to_string()))?;
        let document = Document::from_stored(bytes.expose()).map_err(|e| invalid(format!("{place}: {e}")))?;
        if document.id != *id || document.generation != row.generation {
            let (found, at) = (&document.id, document.generation);
            return Err(invalid(format!(
                "{place}: holds {found} at generation {at}; hint: this is a fault of keyrota's: please report it"
            )));
        }
        Ok(Loaded { document, revision: row.version.revision() })
    }

    fn load_rows(
        &self,
        connection: &Connection,
        environment: &EnvironmentName,
        names: &[KeysetName],
    ) -> Result<BTreeMap<KeysetName, Result<Loaded, StoreError>>, StoreError> {
        let fault = |e: rusqlite::Error| self.database.fault(&e);
        // One picture of all rows, whatever is written meanwhile.
        let transaction = connection.unchecked_transaction().map_err(fault)?;
        let mut loaded = BTreeMap::new();
        // Part by part, so that sealed and opened documents do not all stand in memory at once.
        for part in names.chunks(OPENED_AT_ONCE) {
            let mut sealed = Vec::with_capacity(part.len());
            for name in part {
                match rows::sealed_row(&transaction, environment, name).map_err(fault) {
                    Ok(Some(row)) => sealed.push((name, row)),
                    Ok(None) => {}
                    // One bad page does not hide the keysets on the others.
                    Err(fault) if fault.kind == FaultKind::Corrupt => {
                        loaded.insert(name.clone(), Err(StoreError::Invalid(format!("keyset {environment}/{name}: {fault}"))));
                    }
                    Err(fault) => return Err(fault.into()),
                }
            }
            self.open_rows(environment, &sealed, &mut loaded)?;
        }
        Ok(loaded)
    }

    /// Opens rows on all cores.
    fn open_rows(
        &self,
        environment: &EnvironmentName,
        sealed: &[(&KeysetName, SealedRow)],
        loaded: &mut BTreeMap<KeysetName, Result<Loaded, StoreError>>,
    ) -> Result<(), StoreError> {
        let open = |(name, row): &(&KeysetName, SealedRow)| {
            let id = KeysetId { environment: environment.clone(), keyset: (*name).clone() };
            ((*name).clone(), self.open_row(&id, row))
        };
        let share = sealed.len().div_ceil(thread::available_parallelism().map_or(1, usize::from)).max(WORTH_A_THREAD);
        thread::scope(|scope| {
            let others: Vec<_> =
                sealed.chunks(share).skip(1).map(|part| scope.spawn(move || part.iter().map(open).collect::<Vec<_>>())).collect();
            loaded.extend(sealed.iter().take(share).map(open));
            for other in others {
                loaded.extend(other.join().map_err(|_| StoreError::from(Fault::stopped("a thread that opens documents")))?);
            }
            Ok(())
        })
    }

    fn changes(&self, environment: &EnvironmentName, mark: &Mark) -> Result<Changes, StoreError> {
        self.database.check_in_place()?;
        let fault = |e: rusqlite::Error| self.database.fault(&e);
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let data_version = rows::data_version(&watch.connection).map_err(fault)?;
        let marked = self.marked(mark);
        if let Some((seen, last)) = watch.seen
            && seen == data_version
            && marked == Some(last)
        {
            return Ok(Changes { mark: mark.clone(), ..Changes::default() });
        }
        // One picture, so that the mark is not beyond the rows that were seen.
        let transaction = watch.connection.unchecked_transaction().map_err(fault)?;
        let last = rows::last_change(&transaction).map_err(fault)?;
        let since = marked.filter(|since| *since <= last).unwrap_or(0);
        let found = if since == last { Vec::new() } else { rows::changed_since(&transaction, environment, since).map_err(fault)? };
        drop(transaction);
        watch.seen = Some((data_version, last));
        drop(watch);
        let mut changes = Changes { mark: Mark(format!("{}-{last}", self.id)), ..Changes::default() };
        for (name, version) in found {
            let name: KeysetName = name.parse().map_err(|e| StoreError::Invalid(format!("a row of environment {environment}: {e}")))?;
            match version {
                Some(version) => changes.written.push((name, version.revision())),
                None => changes.removed.push(name),
            }
        }
        Ok(changes)
    }

    /// The change that a mark names; `None` for a mark of another store, or none at all.
    fn marked(&self, mark: &Mark) -> Option<i64> {
        let (store, change) = mark.0.split_once('-')?;
        (store == self.id.to_string()).then(|| change.parse().ok())?
    }
}

impl Store for EnvironmentStore {
    async fn load(&self, keyset: &KeysetName) -> Result<Option<Loaded>, StoreError> {
        let (inner, id) = (Arc::clone(&self.inner), self.id(keyset));
        let read = move |connection: &Connection| {
            let row = rows::sealed_row(connection, &id.environment, &id.keyset).map_err(|e| inner.database.fault(&e))?;
            row.map(|row| inner.open_row(&id, &row)).transpose()
        };
        self.inner.readers.read(read).await
    }

    async fn load_many(&self, keysets: &[KeysetName]) -> Result<BTreeMap<KeysetName, Result<Loaded, StoreError>>, StoreError> {
        let (inner, environment, names) = (Arc::clone(&self.inner), self.environment.clone(), keysets.to_vec());
        self.inner.readers.read(move |connection| inner.load_rows(connection, &environment, &names)).await
    }

    async fn swap(&self, expected: Option<&Revision>, next: &Document) -> Result<Revision, SwapError> {
        super::check_environment(&self.environment, next)?;
        let bytes = next.to_stored();
        let length = bytes.expose().len();
        if length == 0 || length > LARGEST_DOCUMENT || i64::try_from(next.generation.0).is_err() {
            let (id, at) = (&next.id, next.generation);
            let limit = format!("keyset {id} at generation {at}: {length} bytes, and at most {LARGEST_DOCUMENT} can be stored");
            return Err(SwapError::Invalid(format!("{limit}; hint: fewer keys at once, shorter reasons")));
        }
        let write = RandomId::new().map_err(SwapError::Unavailable)?;
        let place = Place { store: self.inner.id, keyset: &next.id, generation: next.generation, write };
        let sealed = seal::seal(&self.inner.master, &place, &bytes).map_err(|e| SwapError::Unavailable(e.to_string()))?;
        let (environment, keyset) = (self.environment.clone(), next.id.keyset.clone());
        let content = Some((next.generation, sealed));
        self.write(RowWrite { environment, keyset, expected: expected.cloned(), write, content }).await
    }

    async fn remove(&self, keyset: &KeysetName, expected: &Revision, _: Span) -> Result<(), SwapError> {
        let write = RandomId::new().map_err(SwapError::Unavailable)?;
        let (environment, keyset, expected) = (self.environment.clone(), keyset.clone(), Some(expected.clone()));
        self.write(RowWrite { environment, keyset, expected, write, content: None }).await.map(|_| ())
    }

    async fn changes(&self, mark: &Mark) -> Result<Changes, StoreError> {
        let (inner, environment, mark) = (Arc::clone(&self.inner), self.environment.clone(), mark.clone());
        let task = tokio::task::spawn_blocking(move || inner.changes(&environment, &mark));
        task.await.unwrap_or_else(|_| Err(Fault::stopped("the reader").into()))
    }

    fn poll_every(&self) -> Span {
        Span::seconds(1)
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault.kind {
            FaultKind::Corrupt => Self::Invalid(fault.to_string()),
            _ => Self::Unavailable(fault.to_string()),
        }
    }
}
