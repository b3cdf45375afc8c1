//! What happened to keysets, counted since the start of the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::document::{Change, StateName, Trigger};
use crate::event::{Event, Part};
use crate::name::KeysetId;
use crate::time::Timestamp;

/// The counts of all keysets.
#[derive(Default)]
pub(super) struct Counts {
    keysets: Mutex<BTreeMap<KeysetId, Arc<Counted>>>,
}

/// The counts of one keyset.
#[derive(Default)]
pub(super) struct Counted(Mutex<Inner>);

#[derive(Default)]
pub(super) struct Inner {
    /// From which state to which, and what set it off. A new key comes from none and is not counted: its creation time tells of it.
    pub transitions: BTreeMap<(StateName, StateName, Trigger), u64>,
    pub targets: BTreeMap<String, Target>,
}

/// What happened to one publish target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub written: u64,
    pub repaired: u64,
    pub failed: u64,
    pub last_success: Option<Timestamp>,
    pub last_attempt: Option<Timestamp>,
    pub drift: bool,
    /// Messages that were given up; `None` for what is no webhook.
    pub dropped: Option<u64>,
}

/// What became of a message to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// It was taken.
    Delivered,
    /// An attempt failed; it is sent again.
    Failed,
    /// It was given up.
    Dropped,
}

impl Counts {
    pub fn of(&self, keyset: &KeysetId) -> Option<Arc<Counted>> {
        self.lock().get(keyset).cloned()
    }

    /// Lets go of keysets that are gone.
    pub fn retain(&self, keep: impl Fn(&KeysetId) -> bool) {
        self.lock().retain(|keyset, _| keep(keyset));
    }

    pub fn expect_targets(&self, keyset: &KeysetId, targets: impl Iterator<Item = String>) {
        let counted = self.entry(keyset);
        let mut inner = counted.lock();
        let mut before = std::mem::take(&mut inner.targets);
        inner.targets = targets.map(|name| before.remove_entry(&name).unwrap_or_else(|| (name, Target::default()))).collect();
    }

    pub fn posted(&self, keyset: &KeysetId, target: &str, what: Posted, now: Timestamp) {
        let counted = self.entry(keyset);
        let mut inner = counted.lock();
        // One that is not expected any more has no series either.
        let Some(target) = inner.targets.get_mut(target) else { return };
        target.last_attempt = Some(now);
        match what {
            Posted::Delivered => {
                target.written += 1;
                target.last_success = Some(now);
            }
            Posted::Failed => target.failed += 1,
            Posted::Dropped => *target.dropped.get_or_insert(0) += 1,
        }
    }

    pub fn record(&self, event: &Event, now: Timestamp) {
        match event {
            Event::Changed { keyset, entry } => {
                if let Change::KeyMoved { from: Some(from), to, .. } = entry.change {
                    *self.entry(keyset).lock().transitions.entry((from, to, entry.trigger)).or_default() += 1;
                }
            }
            Event::TargetWritten { keyset, target, drift } => {
                let counted = self.entry(keyset);
                let mut inner = counted.lock();
                let target = inner.targets.entry(target.clone()).or_default();
                if *drift {
                    target.repaired += 1;
                } else {
                    target.written += 1;
                }
                *target = Target { last_success: Some(now), last_attempt: Some(now), drift: false, ..*target };
            }
            Event::Trouble { keyset, part: Part::Target(name), .. } => {
                if let Some(target) = self.entry(keyset).lock().targets.get_mut(name) {
                    *target = Target { failed: target.failed + 1, last_attempt: Some(now), drift: true, ..*target };
                }
            }
            Event::TroubleOver { keyset, part: Part::Target(name) } => {
                if let Some(target) = self.entry(keyset).lock().targets.get_mut(name) {
                    // It was read back as it must be, whoever made it so.
                    *target = Target { last_success: Some(now), last_attempt: Some(now), drift: false, ..*target };
                }
            }
            Event::TargetRemoved { keyset, target } | Event::TargetLeft { keyset, target, .. } => {
                self.entry(keyset).lock().targets.remove(target);
            }
            Event::Seen { .. }
            | Event::TargetSaid { .. }
            | Event::Overtaken { .. }
            | Event::UptakeOverrun { .. }
            | Event::OperatorNeeded { .. }
            | Event::Overdue { .. }
            | Event::InTime { .. }
            | Event::Trouble { .. }
            | Event::TroubleOver { .. }
            | Event::StoreUnavailable { .. }
            | Event::StoreBack { .. }
            | Event::Accepted { .. }
            | Event::ClockAccepted { .. }
            | Event::Removed { .. }
            | Event::MasterKeyChanged { .. }
            | Event::BackedUp { .. }
            | Event::RestoredFromBackup { .. }
            | Event::ClockSet { .. }
            | Event::Migrated { .. }
            | Event::ClockBack => {}
        }
    }

    fn entry(&self, keyset: &KeysetId) -> Arc<Counted> {
        let mut keysets = self.lock();
        if let Some(counted) = keysets.get(keyset) {
            return Arc::clone(counted);
        }
        Arc::clone(keysets.entry(keyset.clone()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<KeysetId, Arc<Counted>>> {
        self.keysets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::HistoryEntry;
    use crate::name::Generation;
    use crate::time::Span;

    #[test]
    fn transitions_and_targets_are_counted_where_they_belong() {
        let id: KeysetId = "demo/users".parse().unwrap();
        let counts = Counts::default();
        let at = Timestamp::EPOCH + Span::hours(1);
        let moved = |from| Event::Changed {
            keyset: id.clone(),
            entry: HistoryEntry {
                generation: Generation(2),
                at,
                trigger: Trigger::Schedule,
                reason: "".into(),
                by: None,
                change: Change::KeyMoved { kid: "k".parse().unwrap(), from, to: StateName::Published },
            },
        };
        let expect = |names: &[&str]| counts.expect_targets(&id, names.iter().map(|name| (*name).to_owned()));
        expect(&["/a.pem", "/b.pem"]);
        counts.record(&moved(None), at);
        counts.record(&moved(Some(StateName::Staged)), at);
        counts.record(&moved(Some(StateName::Staged)), at);
        counts.record(&Event::TargetWritten { keyset: id.clone(), target: "/a.pem".into(), drift: false }, at);
        let what = "/b.pem holds a key that this keyset does not know, and so does /a.pem".to_owned();
        counts.record(&Event::Trouble { keyset: id.clone(), part: Part::Target("/b.pem".into()), what }, at);
        let counted = counts.of(&id).unwrap();
        let inner = counted.lock();
        assert_eq!(inner.transitions, [((StateName::Staged, StateName::Published, Trigger::Schedule), 2)].into());
        let written = Target { written: 1, last_success: Some(at), last_attempt: Some(at), ..Target::default() };
        let failed = Target { failed: 1, last_attempt: Some(at), drift: true, ..Target::default() };
        assert_eq!(inner.targets, [("/a.pem".to_owned(), written), ("/b.pem".to_owned(), failed)].into());
        drop(inner);
        expect(&["/b.pem"]);
        assert_eq!(counted.lock().targets.len(), 1, "a target that is not wanted any more vanishes, the other keeps its count");
        assert_eq!(counted.lock().targets.get("/b.pem"), Some(&failed));
        let later = at + Span::hours(1);
        counts.record(&Event::TroubleOver { keyset: id.clone(), part: Part::Target("/b.pem".into()) }, later);
        let over = Target { failed: 1, last_success: Some(later), last_attempt: Some(later), drift: false, ..Target::default() };
        assert_eq!(counted.lock().targets.get("/b.pem"), Some(&over), "it agrees again although nothing had to be written");
        counts.retain(|_| false);
        assert!(counts.of(&id).is_none());
    }
}
