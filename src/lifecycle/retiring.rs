//! The rules about keys that sign no more: when what signs is erased, when a key leaves the key set, when it is forgotten.

use super::{Because, Case, Chosen, Step, StepKind, TOMBSTONES_KEPT, Wait, chosen};
use crate::document::{End, Retiring, Tombstone, Trigger};
use crate::observed::{PlaceKind, VerifierPlace};
use crate::time::Timestamp;

impl Case<'_> {
    /// Nothing can be rolled back any more: what could sign is erased.
    pub(super) fn erase_private(&self, wait: &mut Wait) -> Chosen {
        for retiring in self.document.retiring.iter().rev().filter(|r| r.key.is_erasable()) {
            let at = self.since_retiring(retiring) + self.rules.rollback_window;
            if self.observed.now >= at {
                let step = Step::ErasePrivate { kid: retiring.key.kid.clone() };
                return chosen(step, Trigger::Schedule, "the rollback window is over");
            }
            wait.pending.push(self.pending(StepKind::ErasePrivate, Some(&retiring.key.kid), Some(at), Because::RollbackWindow));
        }
        None
    }

    /// Its last token is dead: the key leaves the key set.
    pub(super) fn retire(&self, wait: &mut Wait) -> Chosen {
        for retiring in self.document.retiring.iter().rev() {
            let kid = &retiring.key.kid;
            match self.unused_since(retiring) {
                Ok(since) if self.observed.now >= since + self.waits.retention => {
                    if let Some((at, because)) = self.held_by_signers(retiring, since + self.waits.retention) {
                        wait.pending.push(self.pending(StepKind::Retire, Some(kid), Some(at), because));
                        continue;
                    }
                    return chosen(Step::Retire { kid: kid.clone() }, Trigger::Schedule, &self.why_retired(retiring));
                }
                Ok(since) => {
                    let at = since + self.waits.retention;
                    wait.pending.push(self.pending(StepKind::Retire, Some(kid), Some(at), Because::Retention));
                }
                Err(because) => wait.pending.push(self.pending(StepKind::Retire, Some(kid), None, because)),
            }
        }
        None
    }

    /// A revoked key is confirmed to be gone when every place has been read back without it, and no verifier that keeps the facts can
    /// still have it in a cache.
    pub(super) fn confirm_revoked(&self, wait: &mut Wait) -> Chosen {
        for tombstone in self.document.tombstones.iter().rev() {
            if !matches!(tombstone.end, End::Revoked { confirmed_at: None, .. }) {
                continue;
            }
            let kid = &tombstone.kid;
            let at = tombstone.ended_at + self.waits.facts.forgetting();
            match self.observed.verifier_places.iter().find(|place| !self.is_without(place, tombstone)) {
                None if self.observed.now >= at => {
                    let step = Step::ConfirmRevoked { kid: kid.clone() };
                    return chosen(step, Trigger::Schedule, "every place is without it, and no cache can hold it any more");
                }
                None => wait.pending.push(self.pending(StepKind::ConfirmRevoked, Some(kid), Some(at), Because::Propagation)),
                Some(place) => {
                    let name = place.name.clone();
                    let because = match place.kind {
                        PlaceKind::Target => Because::StillHeld { place: name },
                        PlaceKind::Probe => Because::StillShown { place: name },
                    };
                    wait.pending.push(self.pending(StepKind::ConfirmRevoked, Some(kid), None, because));
                }
            }
        }
        None
    }

    /// A place that could not be read carries nothing either, so it must carry what lives. And what it says must be younger than the
    /// revocation: an answer out of a cache may be from before the key was ever announced.
    fn is_without(&self, place: &VerifierPlace, gone: &Tombstone) -> bool {
        let since_then = place.as_of.is_some_and(|as_of| as_of >= gone.ended_at);
        since_then && !place.carries.contains_key(&gone.kid) && self.document.live().all(|live| place.carries.contains_key(&live.key.kid))
    }

    /// Since when no place has told signers to use the key.
    fn unused_since(&self, retiring: &Retiring) -> Result<Timestamp, Because> {
        self.observed.signer_places.iter().try_fold(self.since_retiring(retiring), |since, place| {
            let left = place.left.get(&retiring.key.kid);
            left.map(|left| since.max(*left)).ok_or_else(|| Because::Publish { place: place.name.clone() })
        })
    }

    fn since_retiring(&self, retiring: &Retiring) -> Timestamp {
        self.observed.late_commits.get(&retiring.key.kid).map_or(retiring.since, |late| retiring.since.max(*late))
    }

    /// A document stays small.
    pub(super) fn forget(&self) -> Chosen {
        if self.document.tombstones.len() <= TOMBSTONES_KEPT {
            return None;
        }
        chosen(Step::Forget { keep: TOMBSTONES_KEPT }, Trigger::Schedule, "the record of keys that are gone is bounded")
    }
}
