//! The rules about keys that have not signed yet: which are not wanted any more, which is the first to sign, which has been seen
//! everywhere.

use super::{Because, Case, Chosen, Step, StepKind, Wait, chosen};
use crate::document::{Incoming, Trigger};
use crate::observed::PlaceKind;
use crate::policy::{Source, Start};
use crate::time::Timestamp;

impl Case<'_> {
    /// An incoming key that is not wanted any more makes room for its successor.
    pub(super) fn discard_unfit(&self) -> Chosen {
        let now = self.observed.now;
        self.document.incoming.iter().find_map(|incoming| {
            let kid = &incoming.key.kid;
            let why = if self.document.intents.taints(kid) {
                "an operator said that it must not become active"
            } else if self.misfits(incoming) {
                "the policy asks for another algorithm or size"
            } else if incoming.key.expires_at.is_some_and(|at| at <= now) {
                "it expired before it ever signed"
            } else if self.too_old_at(incoming).is_some_and(|at| at <= now) {
                "it reached max_age before it ever signed"
            } else {
                return None;
            };
            chosen(Step::Discard { kid: kid.clone(), why: why.to_owned() }, Trigger::Schedule, why)
        })
    }

    /// The next moment at which an incoming key is no longer wanted, because it expires or grows too old.
    pub(super) fn next_discard(&self) -> Option<Timestamp> {
        self.document.incoming.iter().flat_map(|i| [i.key.expires_at, self.too_old_at(i)]).flatten().min()
    }

    fn too_old_at(&self, incoming: &Incoming) -> Option<Timestamp> {
        self.rules.in_force().then(|| incoming.key.created_at + self.rules.max_age)
    }

    /// Each distinct specification discards once: replicas with different policies do not take turns.
    fn misfits(&self, incoming: &Incoming) -> bool {
        self.rules.in_force() && !self.rules.spec.fits(&incoming.key) && !self.document.started_specs.contains(&self.rules.spec.digest())
    }

    /// Without an active key nothing signs: the best incoming one takes over as soon as it can be fetched everywhere, whatever
    /// window, mode or freeze say. Without an incoming one, one is made.
    pub(super) fn first_key(&self, wait: &mut Wait) -> Chosen {
        if self.document.active.is_some() || self.rules.is_orphaned() {
            return None;
        }
        if let Some((incoming, published_at)) = self.oldest_published() {
            let kid = &incoming.key.kid;
            let at = if self.rules.shared_store { published_at + self.waits.facts.store_refresh } else { published_at };
            if self.observed.now < at {
                wait.pending.push(self.pending(StepKind::Activate, Some(kid), Some(at), Because::StoreRefresh));
                return None;
            }
            return chosen(Step::Activate { kid: kid.clone() }, self.first_trigger(), "no key was active");
        }
        if !self.document.incoming.is_empty() {
            return None; // it is staged; publishing comes next
        }
        let begun = self.document.is_stored();
        let because = match () {
            () if self.rules.source == Source::External => Because::External,
            () if let Some(broken) = self.broken_policy().filter(|_| !begun) => broken,
            () if !begun && self.rules.start == Start::Import => Because::External,
            () if !begun && !self.observed.may_create => Because::Inception,
            () if self.is_full() => Because::Full,
            () if let Some(waiting) = self.vendor() => waiting,
            () => return self.generation(self.first_trigger(), "no key is active, and none is on its way"),
        };
        wait.pending.push(self.pending(StepKind::Generate, None, None, because));
        None
    }

    /// A keyset's very first key is no emergency; one that follows a revoked key is.
    fn first_trigger(&self) -> Trigger {
        let begun = !self.document.tombstones.is_empty() || !self.document.retiring.is_empty();
        if begun { Trigger::Emergency } else { Trigger::Schedule }
    }

    /// A staged key is published once every place that verifiers read and we write has been read back.
    pub(super) fn confirm_published(&self, wait: &mut Wait) -> Chosen {
        for incoming in self.document.incoming.iter().filter(|i| i.stage.published_at().is_none()) {
            let kid = &incoming.key.kid;
            let behind = self.observed.verifier_places.iter().find(|p| p.kind == PlaceKind::Target && !p.carries.contains_key(kid));
            match behind {
                None => {
                    let step = Step::ConfirmPublished { kid: kid.clone() };
                    return chosen(step, Trigger::Schedule, "every place that verifiers read has been read back");
                }
                Some(place) => {
                    let because = Because::Publish { place: place.name.clone() };
                    wait.pending.push(self.pending(StepKind::ConfirmPublished, Some(kid), None, because));
                }
            }
        }
        None
    }
}
