//! Removing an orphaned keyset with everything it wrote: its targets, its document, what this host remembers of it.
//!
//! The removal from the store is the commit point. Before it the witness notes that it is under way, so that a crash in between leaves
//! either an orphan, to be removed again, or nothing that anybody misses.

use std::collections::BTreeMap;

use super::advance::Context;
use super::keyset::{Held, Keyset};
use super::operate::{Obstacle, Operated};
use super::sightings::sentence;
use super::{Ports, Reconciler, places};
use crate::digest::Digest;
use crate::document::Document;
use crate::event::Event;
use crate::name::{KeysetId, KeysetName};
use crate::operator::preview::of_removal;
use crate::operator::removable;
use crate::policy::Target;
use crate::rules::Rules;
use crate::store::{Store as _, SwapError};
use crate::time::Span;
use crate::witness::{PlaceMemory, Sighting, Witness as _};

/// What an operator asks for.
#[derive(Debug, Clone)]
pub struct Removal {
    /// Which keyset.
    pub keyset: KeysetName,
    /// Who asks.
    pub by: String,
    /// Why.
    pub reason: String,
    /// For how long the store is to let it be undone, if it has such a thing.
    pub recovery: Span,
    /// Only say what would happen.
    pub dry_run: bool,
    /// The fingerprint of the preview that the operator agreed to.
    pub seen: Option<Digest>,
}

impl<P: Ports> Reconciler<P> {
    /// Removes a keyset that no policy asks for, or says what that would mean.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn remove(&mut self, removal: &Removal, events: &mut Vec<Event>) -> Result<Operated, Obstacle> {
        let id = KeysetId { environment: self.environment.clone(), keyset: removal.keyset.clone() };
        if !self.recalled {
            self.recall().await.map_err(|e| Obstacle::Store(e.to_string()))?;
        }
        let Some(mut keyset) = self.keysets.remove(&removal.keyset) else { return Err(Obstacle::Unknown(id)) };
        let context = self.context_now();
        let removed = context.context().remove(&id, &mut keyset, removal, events).await;
        self.assign_taken(&removal.keyset, &mut keyset);
        self.put_back(removal.keyset.clone(), keyset);
        removed
    }

    /// What was written is gone, so there may be nothing left to watch.
    fn assign_taken(&mut self, name: &KeysetName, keyset: &mut Keyset) {
        if keyset.places.is_empty() && keyset.wanted.is_none() {
            self.watched.remove(name);
        }
        self.due.insert(name.clone());
    }
}

impl<P: Ports> Context<'_, P> {
    async fn remove(&self, id: &KeysetId, keyset: &mut Keyset, removal: &Removal, events: &mut Vec<Event>) -> Result<Operated, Obstacle> {
        self.newest(id, keyset, events).await?;
        let verdict = keyset.verdict();
        if verdict.is_fault() {
            return Err(Obstacle::Fault(format!("{id}: {}", sentence(&verdict, id))));
        }
        let (Some(document), Some(revision)) = (keyset.document().cloned(), keyset.held.as_ref().map(|h| h.revision.clone())) else {
            return Err(Obstacle::Unknown(id.clone()));
        };
        let rules = Rules::orphan(&document);
        // An environment whose whole policy is gone has wishes for nothing; one whose file is broken keeps its wishes.
        removable(&document, &rules, keyset.wanted.is_some())?;
        let fates = keyset.places.iter().map(|(place, memory)| what_becomes(place, memory));
        let mut preview = of_removal(&document, &rules, fates, self.ports.clock().wall);
        if removal.seen.is_some_and(|seen| seen != preview.fingerprint) {
            return Err(Obstacle::Moved(id.clone()));
        }
        if removal.dry_run {
            return Ok(Operated { preview, done: None });
        }
        let generation = document.generation;
        let written = keyset.places.clone();
        self.note_removing(id, keyset, &document, true).await?;
        preview.notes.extend(places::clear_all(self.ports, id, keyset, &document, false, events).await);
        if let Err(error) = self.ports.store().remove(&id.keyset, &revision, removal.recovery).await {
            // It stays, so what was taken away is written again in the next pass.
            keyset.places = written;
            self.note_removing(id, keyset, &document, false).await?;
            return Err(match error {
                SwapError::Conflict => Obstacle::Moved(id.clone()),
                SwapError::Indeterminate(_) => Obstacle::Indeterminate(error.to_string(), id.clone()),
                SwapError::Invalid(what) if what.contains("; hint: ") => Obstacle::Fault(what),
                SwapError::Unavailable(_) | SwapError::Invalid(_) => Obstacle::Store(error.to_string()),
            });
        }
        // What could not have been put back goes only now that nothing needs it any more.
        preview.notes.extend(places::clear_all(self.ports, id, keyset, &document, true, events).await);
        keyset.held = None;
        keyset.served = None;
        self.ports.serve(&id.keyset, None);
        self.ports.witness().forget(id).await.map_err(|e| Obstacle::Witness(e.to_string()))?;
        keyset.sighting = None;
        let (by, reason) = (removal.by.clone(), removal.reason.clone());
        events.push(Event::Removed { keyset: id.clone(), generation, by, reason });
        Ok(Operated { preview, done: Some(generation) })
    }

    async fn note_removing(&self, id: &KeysetId, keyset: &mut Keyset, document: &Document, removing: bool) -> Result<(), Obstacle> {
        let Some(digest) = keyset.held.as_ref().map(Held::digest) else { return Err(Obstacle::Unknown(id.clone())) };
        let sighting = Sighting {
            generation: document.generation,
            digest,
            places: keyset.places.clone(),
            signers_left: keyset.signers_left.clone(),
            probes: BTreeMap::new(),
            revoked: document.revoked_kids(),
            removing,
            restored: None,
        };
        self.ports.witness().note(id, &sighting).await.map_err(|e| Obstacle::Witness(e.to_string()))?;
        keyset.sighting = Some(sighting);
        Ok(())
    }
}

/// What becomes of a place when its keyset goes.
fn what_becomes(place: &str, memory: &PlaceMemory) -> String {
    match memory.target {
        Some(Target::Exec(_)) => format!("what {place} did with the keys stays: undo it by hand"),
        Some(Target::InkeepAgents(_) | Target::Algolia(_)) => format!("this keyset's keys are deleted at {place}"),
        Some(Target::AwsSecret(_)) => format!("{place} is scheduled for deletion, if keyrota may"),
        Some(Target::File(_)) | None => format!("{place} is removed"),
    }
}
