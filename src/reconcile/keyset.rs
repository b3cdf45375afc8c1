//! What a reconciler keeps in memory about one keyset: all of it can be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::{Ports, Wanted};
use crate::digest::Digest;
use crate::document::Document;
use crate::event::{Event, Part};
use crate::lifecycle::overdue::Overdue;
use crate::lifecycle::{Because, Pending, StepKind, Wait};
use crate::name::{Generation, KeysetId, KeysetName, Kid};
use crate::probe::{ProbeStanding, Watch};
use crate::rules::Rules;
use crate::store::{Loaded, Revision};
use crate::time::{Span, Timestamp};
use crate::witness::{PlaceMemory, Sighting, Verdict};

/// The document in force, as far as this process knows.
pub(super) struct Held {
    pub document: Arc<Document>,
    pub revision: Revision,
    digest: OnceLock<Digest>,
}

impl Held {
    pub fn new(document: Document, revision: Revision) -> Self {
        Self { document: Arc::new(document), revision, digest: OnceLock::new() }
    }

    /// The document's digest, computed once: it takes writing the whole document out.
    pub fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| self.document.digest())
    }
}

/// One keyset.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "four independent things that are or are not so")]
pub(super) struct Keyset {
    pub wanted: Option<Wanted>,
    pub held: Option<Held>,
    /// The store has something of this name that cannot be read: never to be taken for "nothing".
    pub unreadable: bool,
    /// The document that was held before it could not be read any more.
    pub last_read: Option<Arc<Document>>,
    /// What this host saw last.
    pub sighting: Option<Sighting>,
    /// The witness could not be told of it yet.
    pub unnoted: bool,
    /// Since when (boot time) the document is not what the witness saw.
    pub suspected: Option<Span>,
    pub places: BTreeMap<String, PlaceMemory>,
    /// Places that are being written or looked at now.
    pub under_way: BTreeSet<String>,
    /// Since when signers who ask this process have left which retiring key, once that is certain.
    pub signers_left: BTreeMap<Kid, Timestamp>,
    pub late_commits: BTreeMap<Kid, Timestamp>,
    /// What was seen of the key sets that are looked at from outside, by address.
    pub probes: BTreeMap<String, Watch>,
    pub troubles: BTreeMap<Part, String>,
    /// Since when, by what was reported.
    pub troubled_since: BTreeMap<Part, Timestamp>,
    /// Since when it is judged by the rules that it has now.
    pub ruled_since: Option<Timestamp>,
    /// When to look again.
    pub deadline: Option<Timestamp>,
    /// The latest generation that an event has told of.
    pub told: Option<Generation>,
    /// Where it stands among the deadlines.
    pub queued: Option<Timestamp>,
    /// The generation that is served.
    pub served: Option<Generation>,
    /// A second look showed less than the first: the store's list of changes must be read again from the start.
    pub relist: bool,
    /// A place that holds what a later generation says than the one that is held, and that generation.
    pub outrun: Option<(String, Generation)>,
    /// When (boot time) the store was last asked because of that.
    pub followed: Option<Span>,
    /// What is overdue, by its label, as an event has told; and the steps that wait for a person, each told of once.
    pub late: Option<&'static str>,
    pub asked: BTreeSet<(StepKind, Option<Kid>)>,
    /// Why its vendor has no new key for it, as this pass has heard.
    pub no_key: Option<String>,
    /// There is more to do than one pass allows.
    pub again: bool,
}

/// How a keyset stood when it was last looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The document in force; `None` if there is none yet, or it cannot be read.
    pub document: Option<Arc<Document>>,
    /// The rules it is judged by.
    pub rules: Arc<Rules>,
    /// What it waits for.
    pub wait: Wait,
    /// Whether the change-over is late.
    pub overdue: Option<Overdue>,
    /// What does not work, by part.
    pub troubles: Vec<Trouble>,
    /// How the probes stand.
    pub probes: Vec<ProbeStanding>,
    /// The moment of the look.
    pub at: Timestamp,
}

impl Status {
    /// Whether the store could say what there is of the keyset. What never could be read since the start may be there all the same.
    pub fn is_known(&self) -> bool {
        let unreadable = |p: &Pending| p.step == StepKind::Any && matches!(p.because, Because::Store { .. });
        self.document.is_some() || !self.wait.pending.iter().any(unreadable)
    }
}

/// Something that does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// With what.
    pub part: Part,
    /// As a sentence.
    pub what: String,
    /// Since when, as this process has reported it.
    pub since: Timestamp,
}

impl Keyset {
    pub fn document(&self) -> Option<&Arc<Document>> {
        self.held.as_ref().map(|held| &held.document)
    }

    /// The document as people are told of it: what is held, or while that cannot be read, what was read last.
    pub fn known(&self) -> Option<&Arc<Document>> {
        self.document().or_else(|| self.last_read.as_ref().filter(|_| self.unreadable))
    }

    /// From now on verifiers and signers are given what is held. If that does not continue what this host saw, or is a copy that
    /// lags, what they are given already is the better answer.
    pub fn serve<P: Ports>(&mut self, ports: &P, name: &KeysetName) {
        let generation = self.document().map(|document| document.generation);
        let verdict = self.verdict();
        if matches!(verdict, Verdict::Restored { .. }) {
            return; // keys may have been revoked since the copy was made: nobody is given any of it
        }
        let worse = verdict.is_fault() || generation < self.served;
        if !(worse && self.served.is_some()) {
            self.served = generation;
            ports.serve(name, self.document());
        }
    }

    /// How what is held compares with what this host saw.
    pub fn verdict(&self) -> Verdict {
        Verdict::on(self.sighting.as_ref(), self.document().map(|d| &**d), || self.held.as_ref().map(Held::digest))
    }

    /// The store holds this now.
    pub fn take(&mut self, found: Loaded, events: &mut Vec<Event>) {
        self.unreadable = false;
        let held = Held::new(found.document, found.revision);
        if self.told < Some(held.document.generation) {
            self.told = Some(held.document.generation);
            events.push(Event::Seen { document: Arc::clone(&held.document) });
        }
        self.held = Some(held);
    }

    /// The store holds something that cannot be read.
    pub fn lose(&mut self) {
        self.unreadable = true;
        if let Some(held) = self.held.take() {
            self.last_read = Some(held.document);
        }
    }

    /// Whether another replica has decided under other rules since this one has these; if so, in which fields they differ.
    pub fn compare_policies(&mut self, id: &KeysetId, rules: &Rules, events: &mut Vec<Event>) {
        let stated = self.document().and_then(|document| document.stated.clone());
        let since = self.ruled_since.map(|since| since + rules.facts.clock_skew);
        let differing = match (stated, since) {
            (Some(stated), Some(since)) if rules.in_force() && stated.at > since => (stated.at, rules.differing(&stated.fields)),
            _ => (Timestamp::EPOCH, Vec::new()),
        };
        match differing {
            (_, fields) if fields.is_empty() => self.works(id, Part::Policy, events),
            (at, fields) => {
                let what = format!(
                    "another replica decided at {at} under a policy that differs in {}; hint: give all replicas the same file, and reload; \
                     keyrota_policy_hash tells which have it",
                    fields.join(", ")
                );
                self.trouble(id, Part::Policy, what, events);
            }
        }
    }

    /// Notes a trouble; an event tells of it once.
    pub fn trouble(&mut self, id: &KeysetId, part: Part, what: String, events: &mut Vec<Event>) {
        if self.troubles.get(&part) != Some(&what) {
            events.push(Event::Trouble { keyset: id.clone(), part: part.clone(), what: what.clone() });
            self.troubles.insert(part, what);
        }
    }

    /// Notes that a trouble is over.
    pub fn works(&mut self, id: &KeysetId, part: Part, events: &mut Vec<Event>) {
        if self.troubles.remove(&part).is_some() {
            events.push(Event::TroubleOver { keyset: id.clone(), part });
        }
    }

    /// Tells of what begins to wait for a person, and of what becomes late or is late no more.
    pub fn tell_of_waiting(&mut self, id: &KeysetId, wait: &Wait, late: Option<&Overdue>, now: Timestamp, events: &mut Vec<Event>) {
        let for_somebody: Vec<_> = wait
            .pending
            .iter()
            .filter(|waiting| waiting.at.is_none_or(|at| at <= now))
            .filter(|waiting| matches!(waiting.because, Because::External | Because::Approval))
            .collect();
        // What is missing is missed for the key that it would replace.
        let active = self.document().and_then(|document| document.active.as_ref()).map(|active| active.key.kid.clone());
        let before = std::mem::take(&mut self.asked);
        for waiting in for_somebody {
            let asked = (waiting.step, waiting.kid.clone().or_else(|| active.clone()));
            if !before.contains(&asked) {
                let (kid, waiting) = (asked.1.clone(), waiting.to_string());
                events.push(Event::OperatorNeeded { keyset: id.clone(), kid, waiting });
            }
            self.asked.insert(asked);
        }
        // One that was never begun is not late.
        let late = late.filter(|_| self.document().is_some());
        let label = late.map(|late| late.because.label());
        if std::mem::replace(&mut self.late, label) != label {
            events.push(late.map_or_else(
                || Event::InTime { keyset: id.clone() },
                |late| Event::Overdue { keyset: id.clone(), since: late.since, because: late.because.to_string() },
            ));
        }
    }

    /// Whether it has places, or had some from which not everything was taken away yet.
    pub fn has_places(&self) -> bool {
        !self.places.is_empty() || self.wanted.as_ref().is_some_and(|wanted| !wanted.targets.is_empty())
    }

    /// Neither the policy nor the store nor the witness knows it.
    pub fn is_forgotten(&self) -> bool {
        self.wanted.is_none() && self.held.is_none() && self.sighting.is_none() && !self.unreadable
    }

    /// What does not work at this moment.
    pub fn troubles_at(&mut self, now: Timestamp) -> Vec<Trouble> {
        self.troubled_since.retain(|part, _| self.troubles.contains_key(part));
        let since = &mut self.troubled_since;
        let trouble = |(part, what): (&Part, &String)| {
            let since = *since.entry(part.clone()).or_insert(now);
            Trouble { part: part.clone(), what: what.clone(), since }
        };
        self.troubles.iter().map(trouble).collect()
    }
}
