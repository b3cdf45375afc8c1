//! What this host has seen of a keyset: whether what the store holds goes on from there, and telling the witness of it.

use super::Ports;
use super::advance::{Context, RETRY, Then};
use super::keyset::{Held, Keyset};
use crate::clock::Reading;
use crate::document::Document;
use crate::event::{Event, Part};
use crate::name::KeysetId;
use crate::observed::{Fault, Observed};
use crate::time::Span;
use crate::witness::{Sighting, Verdict, Witness as _};

impl<P: Ports> Context<'_, P> {
    /// Whether the document continues what this host saw. A fault is told of only after a second look, but stops everything at once.
    pub(super) async fn ask_witness(
        &self,
        id: &KeysetId,
        keyset: &mut Keyset,
        lag: Span,
        now: Reading,
        events: &mut Vec<Event>,
    ) -> Option<String> {
        let verdict = keyset.verdict();
        if !verdict.is_fault() {
            if keyset.suspected.take().is_some() {
                keyset.works(id, Part::Witness, events);
            }
            return None;
        }
        let what = sentence(&verdict, id);
        if matches!(verdict, Verdict::Restored { .. }) {
            // Nothing lags here: this host was told so.
            keyset.suspected.get_or_insert(now.boot);
            keyset.trouble(id, Part::Witness, what.clone(), events);
            return Some(what);
        }
        let since = *keyset.suspected.get_or_insert(now.boot);
        if now.boot >= since + RETRY && matches!(self.reload(id, keyset, events).await, Then::GoOn) {
            // A copy that lagged is behind no longer than the store may lag. Either way nothing is decided on what was seen first.
            if keyset.verdict().is_fault() && now.boot >= since + lag {
                keyset.trouble(id, Part::Witness, what.clone(), events);
            }
        }
        Some(what)
    }

    /// What was seen is remembered before anything is decided on it. Answers why it could not be.
    pub(super) async fn note_sighting(
        &self,
        id: &KeysetId,
        keyset: &mut Keyset,
        document: &Document,
        observed: &Observed,
        events: &mut Vec<Event>,
    ) -> Option<String> {
        if !document.is_stored() || matches!(observed.fault, Some(Fault::Witness { .. })) {
            return None;
        }
        let (places, signers_left) = (keyset.places.clone(), keyset.signers_left.clone());
        let seen = keyset.sighting.as_ref();
        let probes = keyset.probe_memories(document);
        let known = |s: &Sighting| s.places == places && s.signers_left == signers_left && probes.as_ref().is_none_or(|p| s.probes == *p);
        if !keyset.unnoted && seen.is_some_and(|s| s.generation == document.generation && known(s)) {
            return None;
        }
        let digest = keyset.held.as_ref().map(Held::digest)?;
        let revoked = document.revoked_kids();
        let probes = probes.unwrap_or_default();
        let seen = Sighting::new(document.generation, digest);
        let sighting = Sighting { places, signers_left, probes, revoked, ..seen };
        let noted = self.ports.witness().note(id, &sighting).await;
        // What the witness could not be told of was seen all the same: this process knows it, and tells it again.
        keyset.sighting = Some(sighting);
        keyset.unnoted = noted.is_err();
        match noted {
            Ok(()) => {
                keyset.works(id, Part::Witness, events);
                None
            }
            Err(error) => {
                let what = format!("nothing rotates, because what was seen cannot be remembered: {error}");
                keyset.trouble(id, Part::Witness, what.clone(), events);
                Some(what)
            }
        }
    }
}

/// The verdict for whoever must decide how to go on; empty if nobody must.
pub(super) fn sentence(verdict: &Verdict, id: &KeysetId) -> String {
    let restored = format!("`keyrota restored {} --reason \"…\"`", id.environment);
    match verdict {
        Verdict::Vanished { seen } => format!(
            "generation {seen} of the document was seen here, and the store has none; \
             hint: put the store back, or `keyrota accept {id}`"
        ),
        Verdict::WentBack { seen, found } => format!(
            "generation {seen} of the document was seen here, and the store holds generation {found}; \
             hint: if a back-up was restored, {restored}; else `keyrota accept {id}`"
        ),
        Verdict::Forked { seen, found } => format!(
            "generation {found} of the document does not descend from generation {seen} that was seen here; \
             hint: two stores were mixed up? `keyrota accept {id}` takes what is there now"
        ),
        Verdict::Restored { made_at } => format!(
            "the document comes from a back-up of {made_at} and is held: what happened since is not known; \
             hint: {restored} rotates everything; `keyrota accept {id}` if nothing has changed since"
        ),
        Verdict::Continues | Verdict::BeyondLineage => String::new(),
    }
}
