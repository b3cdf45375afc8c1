//! The embedded store: keyset documents of all environments in one SQLite file, each sealed for its row.
//!
//! Invariant: a swap is answered with a revision only after the commit that holds it has reached the disk. Several processes may
//! have the file open: every swap compares and writes within one immediate transaction.
//!
//! Nothing in here knows what a document means. Documents leave it opened and checked against the row they stood in.

mod identity;
mod keyring;
mod rekey;
mod rows;
mod snapshot;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rusqlite::Connection;

use super::master_key::{MasterKeyError, MasterKeyId, MasterKeySource};
use super::seal::{self, Place, RandomId};
use super::{Changes, Loaded, Mark, Revision, Store, StoreError, SwapError};
use crate::document::Document;
use crate::name::{EnvironmentName, KeysetId, KeysetName};
use crate::secret::SecretBytes;
use crate::sqlite::readers::Readers;
use crate::sqlite::writer::{WriteFault, Writer};
use crate::sqlite::{Database, DatabaseError, Fault, FaultKind};
use crate::time::Span;
use keyring::{KeyHolder, Opener};
pub use rekey::{RekeyError, Resealed, Underway};
use rows::{Judged, RowWrite, SealedRow};

/// The largest document that is stored, in bytes. The largest lawful ones are a tenth of it.
pub const LARGEST_DOCUMENT: usize = 2 * 1024 * 1024;

/// How many sealed documents are in memory at once while many are loaded.
const OPENED_AT_ONCE: usize = 512;

/// How often a write is sealed anew because the master key was changed under it.
const MOST_KEY_CHANGES: usize = 4;

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
    /// Its master key is being changed, and one of the two keys is not there.
    #[error(
        "the master key of {store} is being changed, and key {missing} is not there; hint: put it back as {key_file} (or the same name \
         with .next behind it), then `keyrota rekey` goes on; nothing was changed"
    )]
    HalfChanged {
        /// The store's file.
        store: PathBuf,
        /// The key that is missing.
        missing: MasterKeyId,
        /// Where the key in use was found.
        key_file: PathBuf,
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
    keys: KeyHolder,
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
        connection.execute_batch(rows::ROOM_FOR_NEXT_KEY).map_err(fault)?;
        let mut found = master_key.find(state_dir, rows::is_empty(&connection).map_err(fault)?)?;
        let record = identity::settle(&database, &connection, &mut found)?;
        let watch = Mutex::new(Watch { connection: database.reader().map_err(DatabaseError::from)?, seen: None });
        let readers = Arc::new(Readers::new(database.clone()));
        let writer = Writer::start("keysets-writer", database.clone(), connection).map_err(|e| OpenError::System(e.to_string()))?;
        let created_key = found.created.then(|| found.path.clone());
        let (store, key_file) = (database.path().to_owned(), found.path.clone());
        let keys = KeyHolder::new(found, &record)?.map_err(|missing| OpenError::HalfChanged { store, missing, key_file })?;
        Ok(Self(Arc::new(Inner { database, id: record.id, keys, created_key, watch, readers, writer })))
    }

    /// 32 bytes for a key with another purpose, derived from each master key that opens the store now: of the one in use first, then,
    /// while it is being changed, of the next. Looks into the store whether another process has changed it. Empty if the back end fails.
    /// Blocks on the disk.
    pub fn derived_keys(&self, purpose: &'static str) -> Vec<SecretBytes> {
        let record = self.0.database.reader().ok().and_then(|connection| rows::store_record(&connection).ok().flatten());
        let ring = record.and_then(|record| self.0.keys.follow(&record)).unwrap_or_else(|| self.0.keys.ring());
        ring.leaving().into_iter().chain([ring.sealing()]).filter_map(|key| key.derived_key(purpose)).collect()
    }

    /// Where the master key was found.
    pub fn master_key_path(&self) -> &Path {
        self.0.keys.path()
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

impl EnvironmentStore {
    async fn write(&self, write: RowWrite) -> Result<Written, SwapError> {
        let id = self.id(&write.keyset);
        match self.inner.writer.write(write).await {
            Ok(Judged::Applied(version)) => Ok(Written::As(version.revision())),
            Ok(Judged::OtherKey) => Ok(Written::UnderOldKey),
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

    /// Looks at the store's record, and at the key files if it asks for others than are known.
    async fn follow_key(&self) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        let read = move |connection: &Connection| {
            let record = rows::store_record(connection).map_err(|e| inner.database.fault(&e))?;
            let followed = record.is_none_or(|record| inner.keys.follow(&record).is_some());
            if followed { Ok(()) } else { Err(StoreError::Unavailable(inner.unknown_key())) }
        };
        self.inner.readers.read(read).await
    }
}

/// What became of a write.
enum Written {
    As(Revision),
    /// Not written, because the master key it was sealed under is leaving.
    UnderOldKey,
}

impl Inner {
    fn unknown_key(&self) -> String {
        let path = self.keys.path().display();
        format!("its master key was changed, and the new one is not at {path}; hint: another keyrota changed it: put the new key there")
    }

    fn opener(&self, connection: &Connection) -> Result<Opener<'_>, StoreError> {
        let record = rows::store_record(connection).map_err(|e| self.database.fault(&e))?;
        let gone = || StoreError::Invalid("the store does not say which master key it is sealed under; hint: restore a back-up".to_owned());
        Ok(Opener::new(&self.keys, record.ok_or_else(gone)?))
    }

    /// Opens a row and checks that what is in it belongs there.
    fn open_row(&self, opener: &Opener<'_>, id: &KeysetId, row: &SealedRow) -> Result<Loaded, StoreError> {
        let place = Place { store: self.id, keyset: id, generation: row.generation, write: row.version.write };
        let invalid = |why: String| StoreError::Invalid(why);
        let sealed = row.sealed.as_deref().unwrap_or_default();
        let bytes = seal::open(&opener.key(seal::sealed_under(sealed)), &place, sealed).map_err(|e| invalid(e.to_string()))?;
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
        let opener = self.opener(&transaction)?;
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
            self.open_rows(&opener, environment, &sealed, &mut loaded)?;
        }
        Ok(loaded)
    }

    /// Opens rows on all cores.
    fn open_rows(
        &self,
        opener: &Opener<'_>,
        environment: &EnvironmentName,
        sealed: &[(&KeysetName, SealedRow)],
        loaded: &mut BTreeMap<KeysetName, Result<Loaded, StoreError>>,
    ) -> Result<(), StoreError> {
        let open = |(name, row): &(&KeysetName, SealedRow)| {
            let id = KeysetId { environment: environment.clone(), keyset: (*name).clone() };
            ((*name).clone(), self.open_row(opener, &id, row))
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
        if let Some(record) = rows::store_record(&transaction).map_err(fault)? {
            // A key that another process has put into its place is taken up, and one that left is dropped.
            let _ = self.keys.follow(&record);
        }
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
            // One picture of the row and of what the store says of itself.
            let transaction = connection.unchecked_transaction().map_err(|e| inner.database.fault(&e))?;
            let row = rows::sealed_row(&transaction, &id.environment, &id.keyset).map_err(|e| inner.database.fault(&e))?;
            let opener = inner.opener(&transaction)?;
            row.map(|row| inner.open_row(&opener, &id, &row)).transpose()
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
        for _ in 0..MOST_KEY_CHANGES {
            let ring = self.inner.keys.ring();
            let sealed = seal::seal(ring.sealing(), &place, &bytes).map_err(|e| SwapError::Unavailable(e.to_string()))?;
            let (environment, keyset) = (self.environment.clone(), next.id.keyset.clone());
            let (content, sealed_under) = (Some((next.generation, sealed)), ring.sealing().id());
            let asked = RowWrite { environment, keyset, expected: expected.cloned(), write, content, sealed_under };
            match self.write(asked).await? {
                Written::As(revision) => return Ok(revision),
                Written::UnderOldKey => self.follow_key().await.map_err(|e| SwapError::Unavailable(e.to_string()))?,
            }
        }
        Err(SwapError::Unavailable("its master key is being changed again and again; hint: ask again".to_owned()))
    }

    async fn remove(&self, keyset: &KeysetName, expected: &Revision, _: Span) -> Result<(), SwapError> {
        let write = RandomId::new().map_err(SwapError::Unavailable)?;
        let (environment, keyset, expected) = (self.environment.clone(), keyset.clone(), Some(expected.clone()));
        let sealed_under = self.inner.keys.ring().sealing().id();
        self.write(RowWrite { environment, keyset, expected, write, content: None, sealed_under }).await.map(|_| ())
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
