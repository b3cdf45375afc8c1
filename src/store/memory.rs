//! A store that lives in memory: for tests and the simulation. As strict as the lasting ones, and forgotten with the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Changes, Loaded, Mark, Revision, Store, StoreError, SwapError};
use crate::document::Document;
use crate::name::{EnvironmentName, KeysetName};
use crate::time::Span;

/// The documents of one environment, in memory. Clones share them.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    environment: EnvironmentName,
    rows: Arc<Mutex<Rows>>,
}

#[derive(Debug, Default)]
struct Rows {
    last_change: u64,
    by_name: BTreeMap<KeysetName, Row>,
}

#[derive(Debug)]
struct Row {
    change: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Document(Box<Document>),
    Damaged,
    Removed,
}

impl Row {
    fn revision(&self) -> Revision {
        Revision(format!("memory-{}", self.change))
    }

    fn load(&self, name: &KeysetName) -> Option<Result<Loaded, StoreError>> {
        match &self.content {
            Content::Document(document) => Some(Ok(Loaded { document: (**document).clone(), revision: self.revision() })),
            Content::Damaged => Some(Err(StoreError::Invalid(format!("keyset {name}: damaged; hint: a test did this")))),
            Content::Removed => None,
        }
    }
}

impl MemoryStore {
    /// An empty store of one environment.
    pub fn new(environment: EnvironmentName) -> Self {
        Self { environment, rows: Arc::default() }
    }

    /// Takes a keyset out, as somebody with access to the store might; whether it was there.
    pub fn lose(&self, keyset: &KeysetName) -> bool {
        self.rows().put(keyset, Content::Removed)
    }

    /// Makes a keyset unreadable, as a failing disk might; whether it was there.
    pub fn damage(&self, keyset: &KeysetName) -> bool {
        self.rows().put(keyset, Content::Damaged)
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn put(&mut self, keyset: &KeysetName, content: Content) -> bool {
        let Some(row) = self.by_name.get_mut(keyset).filter(|row| !matches!(row.content, Content::Removed)) else { return false };
        self.last_change += 1;
        *row = Row { change: self.last_change, content };
        true
    }
}

impl Store for MemoryStore {
    async fn load(&self, keyset: &KeysetName) -> Result<Option<Loaded>, StoreError> {
        self.rows().by_name.get(keyset).and_then(|row| row.load(keyset)).transpose()
    }

    async fn load_many(&self, keysets: &[KeysetName]) -> Result<BTreeMap<KeysetName, Result<Loaded, StoreError>>, StoreError> {
        let rows = self.rows();
        Ok(keysets.iter().filter_map(|name| Some((name.clone(), rows.by_name.get(name)?.load(name)?))).collect())
    }

    async fn swap(&self, expected: Option<&Revision>, next: &Document) -> Result<Revision, SwapError> {
        super::check_environment(&self.environment, next)?;
        let mut rows = self.rows();
        let stored = rows.by_name.get(&next.id.keyset).filter(|row| !matches!(row.content, Content::Removed));
        if stored.map(Row::revision).as_ref() != expected {
            return Err(SwapError::Conflict);
        }
        if let Some(Row { content: Content::Document(stored), .. }) = stored {
            super::check_succession(stored.generation, next)?;
        }
        rows.last_change += 1;
        let row = Row { change: rows.last_change, content: Content::Document(Box::new(next.clone())) };
        let revision = row.revision();
        rows.by_name.insert(next.id.keyset.clone(), row);
        Ok(revision)
    }

    async fn remove(&self, keyset: &KeysetName, expected: &Revision, _: Span) -> Result<(), SwapError> {
        let mut rows = self.rows();
        let stored = rows.by_name.get(keyset).filter(|row| !matches!(row.content, Content::Removed));
        if stored.map(Row::revision).as_ref() != Some(expected) {
            return Err(SwapError::Conflict);
        }
        rows.put(keyset, Content::Removed);
        Ok(())
    }

    async fn changes(&self, mark: &Mark) -> Result<Changes, StoreError> {
        let rows = self.rows();
        let since = mark.0.parse().ok().filter(|seen| *seen <= rows.last_change).unwrap_or(0);
        let mut changes = Changes { mark: Mark(rows.last_change.to_string()), ..Changes::default() };
        for (name, row) in rows.by_name.iter().filter(|(_, row)| row.change > since) {
            match row.content {
                Content::Removed => changes.removed.push(name.clone()),
                Content::Document(_) | Content::Damaged => changes.written.push((name.clone(), row.revision())),
            }
        }
        Ok(changes)
    }

    fn poll_every(&self) -> Span {
        Span::seconds(1)
    }
}
