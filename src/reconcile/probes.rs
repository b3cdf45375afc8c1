//! Looks from outside, as far as a reconciler is concerned: it is handed them as values, and a keyset keeps what they amount to.

use std::collections::BTreeMap;

use super::keyset::Keyset;
use super::{Ports, Reconciler};
use crate::document::{Document, End};
use crate::event::{Event, Part};
use crate::name::{KeysetId, KeysetName};
use crate::observed::VerifierPlace;
use crate::policy::Probe;
use crate::probe::{Look, ProbeMemory, ProbeStanding, Watch};
use crate::time::Timestamp;

impl<P: Ports> Reconciler<P> {
    /// A place was looked at: it is taken into account, and the keyset is looked at in the next pass. A look at what is no probe of the
    /// keyset any more counts for nothing.
    pub fn saw(&mut self, keyset: &KeysetName, url: &str, look: &Look, events: &mut Vec<Event>) {
        let id = KeysetId { environment: self.environment.clone(), keyset: keyset.clone() };
        // What this host knew of the place is read first.
        let Some(known) = self.keysets.get_mut(keyset).filter(|_| self.recalled) else { return };
        let Some(probe) = known.wanted_probes().iter().find(|probe| probe.name() == url).cloned() else { return };
        let document = known.document().cloned();
        let wrong = known.probes.entry(url.to_owned()).or_default().see(&probe, look, document.as_deref());
        match wrong {
            Some(what) => known.trouble(&id, Part::Probe(url.to_owned()), what, events),
            None => known.works(&id, Part::Probe(url.to_owned()), events),
        }
        self.due.insert(keyset.clone());
    }
}

impl Keyset {
    fn wanted_probes(&self) -> &[Probe] {
        self.wanted.as_ref().map_or(&[], |wanted| &wanted.probes)
    }

    /// What this host knew of them before the process began.
    pub fn remember_probes(&mut self, memories: &BTreeMap<String, ProbeMemory>) {
        self.probes = memories.iter().map(|(url, memory)| (url.clone(), Watch::remembered(memory.clone()))).collect();
    }

    /// Lets go of what no policy asks to be looked at.
    pub fn keep_wanted_probes(&mut self) {
        let urls: Vec<String> = self.wanted_probes().iter().map(|probe| probe.name().to_owned()).collect();
        self.probes.retain(|url, _| urls.contains(url));
        self.troubles.retain(|part, _| !matches!(part, Part::Probe(url) if !urls.contains(url)));
    }

    /// What decisions need to know of the places that are looked at. One that was never looked at carries nothing.
    pub fn probe_places(&self, document: &Document, now: Timestamp) -> Vec<VerifierPlace> {
        let never = Watch::default();
        self.wanted_probes().iter().map(|probe| self.probes.get(probe.name()).unwrap_or(&never).place(probe, document, now)).collect()
    }

    /// What is to outlive the process; `None` while nothing waits for a probe, when writing every look down would serve nobody.
    pub fn probe_memories(&self, document: &Document) -> Option<BTreeMap<String, ProbeMemory>> {
        let unconfirmed = document.tombstones.iter().any(|t| matches!(t.end, End::Revoked { confirmed_at: None, .. }));
        let waited_for = !document.incoming.is_empty() || unconfirmed;
        waited_for.then(|| self.probes.iter().map(|(url, watch)| (url.clone(), watch.memory.clone())).collect())
    }

    /// How they stand, in the order of the policy.
    pub fn probe_standings(&self) -> Vec<ProbeStanding> {
        let never = Watch::default();
        let standing = |probe: &Probe| self.probes.get(probe.name()).unwrap_or(&never).standing(probe.name());
        self.wanted_probes().iter().map(standing).collect()
    }
}
