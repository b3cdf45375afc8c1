//! The tables of the embedded store, and what is read from and written to them. Nothing in here can open a sealed document.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use crate::name::{EnvironmentName, Generation, KeysetId, KeysetName};
use crate::sqlite::Kind;
use crate::sqlite::writer::Write;
use crate::store::Revision;
use crate::store::master_key::MasterKeyId;
use crate::store::seal::RandomId;

/// The embedded store's file. A removed keyset leaves a row without content, so that readers hear of it.
pub const KEYSETS: Kind = Kind {
    file_name: "keysets.db",
    what: "store of keysets",
    application_id: 0x6B72_6F74, // "krot"
    version: 1,
    schema: "
        CREATE TABLE store (
            only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
            id          BLOB NOT NULL CHECK (length(id) = 16),
            master_key  BLOB NOT NULL CHECK (length(master_key) = 16),
            last_change INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE keyset (
            environment TEXT NOT NULL,
            keyset      TEXT NOT NULL,
            generation  INTEGER NOT NULL,
            change      INTEGER NOT NULL,
            write_id    BLOB NOT NULL CHECK (length(write_id) = 16),
            sealed      BLOB,
            PRIMARY KEY (environment, keyset)
        ) STRICT;
        CREATE UNIQUE INDEX keyset_by_change ON keyset (environment, change);
    ",
};

/// Which write a row is from: its number in the store's sequence of changes, and its random id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowVersion {
    /// The number, which the store gives out once.
    pub change: i64,
    /// The id, which the sealed document is bound to.
    pub write: RandomId,
}

impl RowVersion {
    /// The version as the store's callers see it.
    pub fn revision(self) -> Revision {
        Revision(format!("{}-{}", self.change, self.write))
    }
}

/// One keyset's row, sealed.
#[derive(Debug)]
pub struct SealedRow {
    /// The document's generation.
    pub generation: Generation,
    /// Which write it is from.
    pub version: RowVersion,
    /// The sealed document; `None` if the keyset was removed.
    pub sealed: Option<Vec<u8>>,
}

/// What the store says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreRecord {
    /// Its random id.
    pub id: RandomId,
    /// The master key it is sealed under.
    pub master_key: MasterKeyId,
    /// The master key that it is being sealed under anew: whatever is written from now on bears it.
    pub next_key: Option<MasterKeyId>,
}

impl StoreRecord {
    /// The key under which new values are sealed.
    pub fn sealing(&self) -> MasterKeyId {
        self.next_key.unwrap_or(self.master_key)
    }
}

/// Files of old have no room yet for the change of a master key.
pub const ROOM_FOR_NEXT_KEY: &str = "
    CREATE TABLE IF NOT EXISTS rekey (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        next_key BLOB NOT NULL CHECK (length(next_key) = 16)
    ) STRICT;
";

/// A change to one row, if it still is what the writer saw.
#[derive(Debug)]
pub struct RowWrite {
    /// The environment.
    pub environment: EnvironmentName,
    /// The keyset.
    pub keyset: KeysetName,
    /// What the writer saw; `None` if nothing.
    pub expected: Option<Revision>,
    /// This write's id.
    pub write: RandomId,
    /// The new generation and the sealed document; `None` to remove the keyset.
    pub content: Option<(Generation, Vec<u8>)>,
    /// The master key that the content is sealed under.
    pub sealed_under: MasterKeyId,
}

/// What became of a [`RowWrite`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// It is written.
    Applied(RowVersion),
    /// Not written: the row is another than was expected.
    Conflict,
    /// Not written: the row's generation is not before the new one's.
    NotBeyond(Generation),
    /// Not written: the store's master key was changed meanwhile, and nothing may be sealed under the old one any more.
    OtherKey,
}

impl Write for RowWrite {
    type Outcome = Judged;

    fn apply(&self, transaction: &Connection) -> rusqlite::Result<Judged> {
        let (environment, keyset) = (self.environment.as_str(), self.keyset.as_str());
        let stored = transaction
            .prepare_cached(
                "SELECT generation, change, write_id FROM keyset WHERE environment = ?1 AND keyset = ?2 AND sealed IS NOT NULL",
            )?
            .query_row(params![environment, keyset], |row| Ok((generation(row, 0)?, version(row, 1)?)))
            .optional()?;
        if stored.map(|(_, version)| version.revision()) != self.expected {
            return Ok(Judged::Conflict);
        }
        if let (Some((stored, _)), Some((next, _))) = (stored, &self.content)
            && *next <= stored
        {
            return Ok(Judged::NotBeyond(stored));
        }
        if self.content.is_some() && store_record(transaction)?.is_none_or(|record| record.sealing() != self.sealed_under) {
            return Ok(Judged::OtherKey);
        }
        let change: i64 = transaction
            .prepare_cached("UPDATE store SET last_change = last_change + 1 RETURNING last_change")?
            .query_row([], |row| row.get(0))?;
        let generation = self.content.as_ref().map(|(generation, _)| *generation).or(stored.map(|(generation, _)| generation));
        let generation = generation.map_or(0, |g| i64::try_from(g.0).unwrap_or(i64::MAX));
        transaction
            .prepare_cached(
                "INSERT INTO keyset (environment, keyset, generation, change, write_id, sealed)
                 VALUES (:environment, :keyset, :generation, :change, :write, :sealed)
                 ON CONFLICT (environment, keyset) DO UPDATE SET
                     generation = excluded.generation, change = excluded.change,
                     write_id = excluded.write_id, sealed = excluded.sealed",
            )?
            .execute(named_params! {
                ":environment": environment, ":keyset": keyset, ":generation": generation, ":change": change,
                ":write": self.write.0, ":sealed": self.content.as_ref().map(|(_, sealed)| sealed),
            })?;
        Ok(Judged::Applied(RowVersion { change, write: self.write }))
    }
}

/// What the store says of itself; `None` if it was made just now.
pub fn store_record(connection: &Connection) -> rusqlite::Result<Option<StoreRecord>> {
    connection
        .prepare_cached("SELECT id, master_key, (SELECT next_key FROM rekey) FROM store")?
        .query_row([], |row| {
            let next_key: Option<[u8; 16]> = row.get(2)?;
            let (id, master_key) = (RandomId(row.get(0)?), MasterKeyId(row.get(1)?));
            Ok(StoreRecord { id, master_key, next_key: next_key.map(MasterKeyId) })
        })
        .optional()
}

/// Writes down what the store is and which key it is sealed under. Only for a store without keysets.
pub fn write_store_record(connection: &Connection, record: &StoreRecord) -> rusqlite::Result<()> {
    connection
        .execute(
            "INSERT INTO store (only_row, id, master_key, last_change) VALUES (1, ?1, ?2, 0)
             ON CONFLICT (only_row) DO UPDATE SET master_key = excluded.master_key",
            params![record.id.0, record.master_key.0],
        )
        .map(|_| ())
}

/// Whether no keyset has content.
pub fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM keyset WHERE sealed IS NOT NULL)", [], |row| row.get(0))
}

/// The row of one keyset, if it has content.
pub fn sealed_row(connection: &Connection, environment: &EnvironmentName, keyset: &KeysetName) -> rusqlite::Result<Option<SealedRow>> {
    connection
        .prepare_cached(
            "SELECT generation, change, write_id, sealed FROM keyset WHERE environment = ?1 AND keyset = ?2 AND sealed IS NOT NULL",
        )?
        .query_row(params![environment.as_str(), keyset.as_str()], |row| {
            Ok(SealedRow { generation: generation(row, 0)?, version: version(row, 1)?, sealed: row.get(3)? })
        })
        .optional()
}

/// The number of the last change in the whole store.
pub fn last_change(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT last_change FROM store")?.query_row([], |row| row.get(0))
}

/// A number that changes whenever *another* connection has committed. Answered from memory shared between processes.
pub fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

/// Name and version of every row of an environment that was changed after `since`; the version is `None` where it was removed.
pub fn changed_since(
    connection: &Connection,
    environment: &EnvironmentName,
    since: i64,
) -> rusqlite::Result<Vec<(String, Option<RowVersion>)>> {
    connection
        .prepare_cached(
            "SELECT keyset, change, write_id, sealed IS NOT NULL FROM keyset WHERE environment = ?1 AND change > ?2 ORDER BY change",
        )?
        .query_map(params![environment.as_str(), since], |row| Ok((row.get(0)?, if row.get(3)? { Some(version(row, 1)?) } else { None })))?
        .collect()
}

fn generation(row: &Row<'_>, column: usize) -> rusqlite::Result<Generation> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map(Generation).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn version(row: &Row<'_>, first_column: usize) -> rusqlite::Result<RowVersion> {
    Ok(RowVersion { change: row.get(first_column)?, write: RandomId(row.get(first_column + 1)?) })
}

/// How many keysets have content.
pub fn count(connection: &Connection) -> rusqlite::Result<u64> {
    let count: i64 = connection.query_row("SELECT count(*) FROM keyset WHERE sealed IS NOT NULL", [], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Environment, keyset and row of everything that has content.
pub type NamedRow = (String, String, SealedRow);

/// The next rows with content behind `after`, in the order of their names, of all environments.
pub fn rows_behind(connection: &Connection, after: Option<&KeysetId>, most: usize) -> rusqlite::Result<Vec<NamedRow>> {
    let (environment, keyset) = after.map_or(("", ""), |id| (id.environment.as_str(), id.keyset.as_str()));
    connection
        .prepare_cached(
            "SELECT environment, keyset, generation, change, write_id, sealed FROM keyset
             WHERE (environment, keyset) > (?1, ?2) AND sealed IS NOT NULL ORDER BY environment, keyset LIMIT ?3",
        )?
        .query_map(params![environment, keyset, i64::try_from(most).unwrap_or(i64::MAX)], |row| {
            let sealed = SealedRow { generation: generation(row, 2)?, version: version(row, 3)?, sealed: row.get(5)? };
            Ok((row.get(0)?, row.get(1)?, sealed))
        })?
        .collect()
}

/// The store is being sealed under this key anew.
pub fn name_next_key(connection: &Connection, next: MasterKeyId) -> rusqlite::Result<()> {
    connection.execute("INSERT INTO rekey (only_row, next_key) VALUES (1, ?1)", params![next.0]).map(|_| ())
}

/// Puts the same document under another seal, if the row is still the one that was read.
pub fn reseal(connection: &Connection, id: &KeysetId, version: RowVersion, sealed: &[u8]) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE keyset SET sealed = ?5
             WHERE environment = ?1 AND keyset = ?2 AND change = ?3 AND write_id = ?4 AND sealed IS NOT NULL",
        )?
        .execute(params![id.environment.as_str(), id.keyset.as_str(), version.change, version.write.0, sealed])
        .map(|_| ())
}

/// Whether everything is sealed under this key (see [`crate::store::seal`]: the id stands behind the first byte).
pub fn all_under(connection: &Connection, key: MasterKeyId) -> rusqlite::Result<bool> {
    let other = "SELECT NOT EXISTS (SELECT 1 FROM keyset WHERE sealed IS NOT NULL AND substr(sealed, 2, 16) <> ?1)";
    connection.query_row(other, params![key.0], |row| row.get(0))
}

/// The store is sealed under this key, and under no other.
pub fn use_next_key(connection: &Connection, key: MasterKeyId) -> rusqlite::Result<()> {
    connection.execute("UPDATE store SET master_key = ?1", params![key.0])?;
    connection.execute("DELETE FROM rekey", []).map(|_| ())
}
