//! Keeping documents small in memory: a daemon holds tens of thousands of them for days.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Change, Document, HistoryEntry};
use crate::key::Material;
use crate::name::Kid;

impl Document {
    /// Gives back what the lists took in advance.
    pub(super) fn let_go_of_spare_room(&mut self) {
        self.incoming.shrink_to_fit();
        self.retiring.shrink_to_fit();
        self.tombstones.shrink_to_fit();
        self.revoked_grants.shrink_to_fit();
        self.started_specs.shrink_to_fit();
        self.lineage.shrink_to_fit();
        self.history.shrink_to_fit();
    }

    /// Lets the many places that name the same kid, and the entries that give the same reason, share one text.
    pub(super) fn share_texts(&mut self) {
        let mut known = BTreeSet::new();
        let keys = self.active.iter_mut().map(|a| &mut a.key);
        let keys = keys.chain(self.incoming.iter_mut().map(|i| &mut i.key)).chain(self.retiring.iter_mut().map(|r| &mut r.key));
        for key in keys {
            share(&mut known, &mut key.kid);
            if let Material::Pair { public, .. } = &mut key.material {
                share(&mut known, &mut public.kid);
            }
        }
        for tombstone in &mut self.tombstones {
            share(&mut known, &mut tombstone.kid);
        }
        let mut reasons: BTreeSet<Arc<str>> = BTreeSet::new();
        for HistoryEntry { change, reason, .. } in &mut self.history {
            match change {
                Change::KeyMoved { kid, .. } | Change::PrivateErased { kid } | Change::RevocationConfirmed { kid } => {
                    share(&mut known, kid);
                }
                Change::Forgotten { .. } | Change::FactsAdopted | Change::IntentNoted { .. } | Change::TimesReset => {}
            }
            match reasons.get(reason) {
                Some(same) => *reason = Arc::clone(same),
                None => drop(reasons.insert(Arc::clone(reason))),
            }
        }
    }
}

fn share(known: &mut BTreeSet<Kid>, kid: &mut Kid) {
    match known.get(kid) {
        Some(same) => *kid = same.clone(),
        None => drop(known.insert(kid.clone())),
    }
}
