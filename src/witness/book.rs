//! The witness's book: what this host has seen of every keyset, in an SQLite file of its own beside the store.
//!
//! It holds no secrets, only generations, digests and times. Commits wait for the disk as the store's do: a note that an agreement
//! was broken must not be lost to a power cut, or the time before the break would count as unbroken afterwards. Notes that are made
//! at once share one commit, so the price is small.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::{Sighting, Witness, WitnessError};
use crate::name::{EnvironmentName, KeysetId, KeysetName};
use crate::sqlite::readers::Readers;
use crate::sqlite::writer::{Write, Writer};
use crate::sqlite::{Database, Fault, Kind};

/// The witness's file.
const WITNESS: Kind = Kind {
    file_name: "witness.db",
    what: "witness of keysets",
    application_id: 0x6B72_7769, // "krwi"
    version: 1,
    schema: "
        CREATE TABLE sighting (
            environment TEXT NOT NULL,
            keyset      TEXT NOT NULL,
            sighting    TEXT NOT NULL,
            PRIMARY KEY (environment, keyset)
        ) STRICT, WITHOUT ROWID;
    ",
};

/// The witness in the state directory. Clones share it.
#[derive(Debug, Clone)]
pub struct WitnessBook(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    readers: Arc<Readers>,
    writer: Writer<Entry>,
}

/// A line to be written, or to be struck out; or the head of the audit trail.
#[derive(Debug)]
enum Entry {
    Sighting { keyset: KeysetId, sighting: Option<String> },
    Head(TrailHead),
}

/// How far the audit trail was written when it was last known to be on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailHead {
    /// The number of its last line.
    pub number: u64,
    /// That line's authentication code.
    pub code: String,
    /// The number of the oldest line that is kept.
    pub oldest: u64,
}

/// Books of old have no room for the trail's head yet.
const ROOM_FOR_HEAD: &str = "
    CREATE TABLE IF NOT EXISTS trail (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        number   INTEGER NOT NULL,
        code     TEXT NOT NULL,
        oldest   INTEGER NOT NULL
    ) STRICT;
";

impl Write for Entry {
    type Outcome = ();

    fn apply(&self, transaction: &Connection) -> rusqlite::Result<()> {
        let (keyset, sighting) = match self {
            Self::Sighting { keyset, sighting } => (keyset, sighting),
            Self::Head(head) => return write_head(transaction, head),
        };
        let (environment, keyset) = (keyset.environment.as_str(), keyset.keyset.as_str());
        match sighting {
            Some(sighting) => transaction
                .prepare_cached("INSERT OR REPLACE INTO sighting (environment, keyset, sighting) VALUES (?1, ?2, ?3)")?
                .execute(params![environment, keyset, sighting]),
            None => transaction
                .prepare_cached("DELETE FROM sighting WHERE environment = ?1 AND keyset = ?2")?
                .execute(params![environment, keyset]),
        }
        .map(|_| ())
    }
}

fn write_head(transaction: &Connection, head: &TrailHead) -> rusqlite::Result<()> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    transaction
        // Of two processes that write one trail the one that is further has the last word.
        .prepare_cached(
            "INSERT INTO trail (only_row, number, code, oldest) VALUES (1, ?1, ?2, ?3)
             ON CONFLICT (only_row) DO UPDATE SET number = excluded.number, code = excluded.code, oldest = excluded.oldest
             WHERE excluded.number > trail.number",
        )?
        .execute(params![number(head.number), head.code, number(head.oldest)])
        .map(|_| ())
}

fn read_head(connection: &Connection) -> rusqlite::Result<Option<TrailHead>> {
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    connection
        .query_row("SELECT number, code, oldest FROM trail", [], |row| {
            Ok(TrailHead { number: number(row.get(0)?), code: row.get(1)?, oldest: number(row.get(2)?) })
        })
        .optional()
}

impl WitnessBook {
    /// Opens `<state_dir>/witness.db`, or makes it. Blocks on the disk.
    ///
    /// # Errors
    /// If the directory or the file is not fit, or the file is not a witness of keyrota's. Nothing is overwritten.
    pub fn open(state_dir: &Path) -> Result<Self, WitnessError> {
        let (database, connection) = Database::open(state_dir, &WITNESS).map_err(|e| WitnessError(e.to_string()))?;
        connection.execute_batch(ROOM_FOR_HEAD).map_err(|e| WitnessError(e.to_string()))?;
        let readers = Arc::new(Readers::new(database.clone()));
        let writer = Writer::start("witness-writer", database, connection).map_err(|e| WitnessError(e.to_string()))?;
        Ok(Self(Arc::new(Inner { readers, writer })))
    }

    /// How far the audit trail is known to be written; `None` if it never was.
    ///
    /// # Errors
    /// If the book cannot be read.
    pub async fn trail_head(&self) -> Result<Option<TrailHead>, WitnessError> {
        self.0.readers.read(|connection| read_head(connection).map_err(|e| WitnessError(e.to_string()))).await
    }

    /// Notes how far the audit trail is written.
    ///
    /// # Errors
    /// If the book cannot be written.
    pub async fn note_trail_head(&self, head: &TrailHead) -> Result<(), WitnessError> {
        self.write(Entry::Head(head.clone())).await
    }

    async fn write(&self, entry: Entry) -> Result<(), WitnessError> {
        self.0.writer.write(entry).await.map_err(|fault| WitnessError(fault.to_string()))
    }
}

fn read_all(connection: &Connection, environment: &EnvironmentName) -> Result<BTreeMap<KeysetName, Sighting>, WitnessError> {
    let failed = |e: rusqlite::Error| WitnessError(e.to_string());
    let mut query = connection.prepare_cached("SELECT keyset, sighting FROM sighting WHERE environment = ?1").map_err(failed)?;
    let lines = query.query_map([environment.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).map_err(failed)?;
    lines
        .map(|line| {
            let (name, text) = line.map_err(failed)?;
            // A line that cannot be read must not count as "never seen".
            let hint = "hint: was it written by a newer keyrota?";
            let unreadable = |why: String| WitnessError(format!("its line on {environment}/{name}: {why}; {hint}"));
            let sighting = serde_json::from_str(&text).map_err(|e| unreadable(e.to_string()))?;
            Ok((name.parse().map_err(|e: crate::name::NameError| unreadable(e.to_string()))?, sighting))
        })
        .collect()
}

impl Witness for WitnessBook {
    async fn recall(&self, environment: &EnvironmentName) -> Result<BTreeMap<KeysetName, Sighting>, WitnessError> {
        let environment = environment.clone();
        self.0.readers.read(move |connection| read_all(connection, &environment)).await
    }

    async fn note(&self, keyset: &KeysetId, sighting: &Sighting) -> Result<(), WitnessError> {
        let sighting = serde_json::to_string(sighting).map_err(|e| WitnessError(e.to_string()))?;
        self.write(Entry::Sighting { keyset: keyset.clone(), sighting: Some(sighting) }).await
    }

    async fn forget(&self, keyset: &KeysetId) -> Result<(), WitnessError> {
        self.write(Entry::Sighting { keyset: keyset.clone(), sighting: None }).await
    }
}

impl From<Fault> for WitnessError {
    fn from(fault: Fault) -> Self {
        Self(fault.to_string())
    }
}

#[cfg(test)]
mod tests;
