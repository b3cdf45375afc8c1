//! The witness's book: what this host has seen of every keyset, in an SQLite file of its own beside the store.
//!
//! It holds no secrets, only generations, digests and times. Commits wait for the disk as the store's do: a note that an agreement
//! was broken must not be lost to a power cut, or the time before the break would count as unbroken afterwards. Notes that are made
//! at once share one commit, so the price is small.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, params};

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

/// A line to be written, or to be struck out.
#[derive(Debug)]
struct Entry {
    keyset: KeysetId,
    sighting: Option<String>,
}

impl Write for Entry {
    type Outcome = ();

    fn apply(&self, transaction: &Connection) -> rusqlite::Result<()> {
        let (environment, keyset) = (self.keyset.environment.as_str(), self.keyset.keyset.as_str());
        match &self.sighting {
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

impl WitnessBook {
    /// Opens `<state_dir>/witness.db`, or makes it. Blocks on the disk.
    ///
    /// # Errors
    /// If the directory or the file is not fit, or the file is not a witness of keyrota's. Nothing is overwritten.
    pub fn open(state_dir: &Path) -> Result<Self, WitnessError> {
        let (database, connection) = Database::open(state_dir, &WITNESS).map_err(|e| WitnessError(e.to_string()))?;
        let readers = Arc::new(Readers::new(database.clone()));
        let writer = Writer::start("witness-writer", database, connection).map_err(|e| WitnessError(e.to_string()))?;
        Ok(Self(Arc::new(Inner { readers, writer })))
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
        self.write(Entry { keyset: keyset.clone(), sighting: Some(sighting) }).await
    }

    async fn forget(&self, keyset: &KeysetId) -> Result<(), WitnessError> {
        self.write(Entry { keyset: keyset.clone(), sighting: None }).await
    }
}

impl From<Fault> for WitnessError {
    fn from(fault: Fault) -> Self {
        Self(fault.to_string())
    }
}

#[cfg(test)]
mod tests;
