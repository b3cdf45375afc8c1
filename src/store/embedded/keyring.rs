//! The master keys that open the store now: one, or two while it is being changed.
//!
//! Which of them counts is what the store's file says, never what lies in the directory; whoever meets a value under a key that is not
//! on the ring looks again, because another process may have changed the key.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use super::rows::StoreRecord;
use crate::store::master_key::change::{key_at, next_key};
use crate::store::master_key::{FoundKey, MasterKey, MasterKeyError, MasterKeyId};

/// The keys that open the store.
#[derive(Debug)]
pub struct Keyring {
    /// The key that new values are sealed under.
    sealing: Arc<MasterKey>,
    /// The key that is being changed, as long as values may be sealed under it.
    leaving: Option<Arc<MasterKey>>,
}

/// Where the key is, and the ring as this process last saw it.
#[derive(Debug)]
pub struct KeyHolder {
    path: PathBuf,
    by_systemd: bool,
    ring: ArcSwap<Keyring>,
}

impl Keyring {
    /// The ring that the store's record asks for, out of the keys that were found.
    fn of(record: &StoreRecord, found: &[Arc<MasterKey>]) -> Result<Self, MasterKeyId> {
        let take = |id: MasterKeyId| found.iter().find(|key| key.id() == id).cloned().ok_or(id);
        let sealing = take(record.sealing())?;
        let leaving = record.next_key.is_some().then(|| take(record.master_key)).transpose()?;
        Ok(Self { sealing, leaving })
    }

    /// The key that new values are sealed under.
    pub fn sealing(&self) -> &Arc<MasterKey> {
        &self.sealing
    }

    /// The key that was in use before, while its values are being sealed anew.
    pub fn leaving(&self) -> Option<&Arc<MasterKey>> {
        self.leaving.as_ref()
    }

    /// The key of that name.
    pub fn by_id(&self, id: MasterKeyId) -> Option<&Arc<MasterKey>> {
        [Some(&self.sealing), self.leaving.as_ref()].into_iter().flatten().find(|key| key.id() == id)
    }
}

impl KeyHolder {
    /// The ring of a store that was just opened with `found`.
    ///
    /// # Errors
    /// If a key that the record asks for is not there: its id.
    pub fn new(found: FoundKey, record: &StoreRecord) -> Result<Result<Self, MasterKeyId>, MasterKeyError> {
        let FoundKey { key, path, by_systemd, .. } = found;
        let keys: Vec<_> = std::iter::once(key).chain(next_key(&path)?).map(Arc::new).collect();
        Ok(Keyring::of(record, &keys).map(|ring| Self { path, by_systemd, ring: ArcSwap::from_pointee(ring) }))
    }

    /// The file of the key in use.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether systemd keeps the key.
    pub const fn by_systemd(&self) -> bool {
        self.by_systemd
    }

    /// The ring as it is known.
    pub fn ring(&self) -> Arc<Keyring> {
        self.ring.load_full()
    }

    /// The ring that the store's record asks for: the files are looked at again if that is not what is known. `None` if a key that it
    /// asks for is not there or cannot be read: then what was known stays.
    pub fn follow(&self, record: &StoreRecord) -> Option<Arc<Keyring>> {
        let known = self.ring();
        if known.sealing.id() == record.sealing() && known.leaving.is_some() == record.next_key.is_some() {
            return Some(known);
        }
        // What is known counts too: the file of a key that has just left is gone, and a reader may still need it.
        let mut keys: Vec<_> = std::iter::once(Arc::clone(&known.sealing)).chain(known.leaving.clone()).collect();
        let found = [key_at(&self.path, self.by_systemd).ok().flatten(), next_key(&self.path).ok().flatten()];
        keys.extend(found.into_iter().flatten().map(Arc::new));
        let ring = Arc::new(Keyring::of(record, &keys).ok()?);
        self.ring.store(Arc::clone(&ring));
        Some(ring)
    }
}

/// Opens many values with one view of the ring, and looks again once if a value needs it.
pub struct Opener<'a> {
    holder: &'a KeyHolder,
    known: Arc<Keyring>,
    again: OnceLock<Option<Arc<Keyring>>>,
    record: StoreRecord,
}

impl<'a> Opener<'a> {
    /// With the ring as it is known, and the record that stood in the store together with the values.
    pub fn new(holder: &'a KeyHolder, record: StoreRecord) -> Self {
        Self { holder, known: holder.ring(), again: OnceLock::new(), record }
    }

    /// The key of that name; the one that seals if there is none, whose error then says what is wrong.
    pub fn key(&self, id: Option<MasterKeyId>) -> Arc<MasterKey> {
        let Some(id) = id else { return Arc::clone(self.known.sealing()) };
        let known = self.known.by_id(id).cloned();
        let again = || self.again.get_or_init(|| self.holder.follow(&self.record)).as_ref();
        known.or_else(|| again()?.by_id(id).cloned()).unwrap_or_else(|| Arc::clone(self.known.sealing()))
    }
}
