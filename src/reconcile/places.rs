//! Places outside the document: bringing the files up to it, and remembering since when each place has agreed.
//!
//! A wait is counted from the start of a place's present *unbroken* agreement. Our own rewriting breaks nothing; somebody else's
//! does, and is seen by the file's change time even when the old content was put back.

use std::collections::BTreeMap;

use super::Ports;
use super::keyset::Keyset;
use crate::document::{Document, Facts};
use crate::event::{Event, Part};
use crate::name::{KeysetId, Kid};
use crate::observed::{PlaceKind, SignerPlace, VerifierPlace};
use crate::policy::{Audience, Target};
use crate::publish::{Amiss, Brought, Removed, Targets as _};
use crate::time::{Span, Timestamp};
use crate::witness::PlaceMemory;

/// How long an operator who removes a keyset waits for each place that takes its time.
const PATIENCE: Span = Span::seconds(20);

/// The name of the signer socket among the places.
const SIGNER_SOCKET: &str = "signer.sock";

/// The targets of a keyset: those of its policy, or, if it is in no policy any more, those it had.
pub(super) fn targets(keyset: &Keyset) -> Vec<Target> {
    match &keyset.wanted {
        Some(wanted) => wanted.targets.to_vec(),
        None => keyset.places.values().filter_map(|memory| memory.target.clone()).collect(),
    }
}

/// Takes away what was written to targets that are asked for no more. What cannot be taken away yet is kept in mind, and looked at again
/// in the next pass.
pub(super) async fn clear<P: Ports>(ports: &P, id: &KeysetId, keyset: &mut Keyset, document: &Document, events: &mut Vec<Event>) {
    let kept: Vec<String> = targets(keyset).iter().map(Target::name).collect();
    let places = &keyset.places;
    keyset.troubles.retain(|part, _| !matches!(part, Part::Target(name) if !kept.contains(name) && !places.contains_key(name)));
    let gone: Vec<String> = keyset.places.keys().filter(|name| !kept.contains(name)).cloned().collect();
    for name in gone {
        let Some(memory) = keyset.places.remove(&name) else { continue };
        let Some(target) = &memory.target else { continue };
        match ports.targets().remove(id, target, document, memory.content, Span::ZERO).await {
            Ok(Removed::Done) => events.push(Event::TargetRemoved { keyset: id.clone(), target: name.clone() }),
            Ok(Removed::Nothing) => {}
            Ok(Removed::NotYet { why }) => {
                keyset.places.insert(name.clone(), memory);
                if let Some(why) = why {
                    let what = format!("the keys at {name}, which is asked for no more, are not taken away yet: {why}");
                    keyset.trouble(id, Part::Target(name), what, events);
                }
                continue;
            }
            Err(error) => events.push(Event::TargetLeft { keyset: id.clone(), target: name.clone(), what: error.to_string() }),
        }
        keyset.works(id, Part::Target(name), events);
    }
}

/// Takes away what was written to this host's own places, or to `shared` ones; answers which had to be left, and why.
pub(super) async fn clear_all<P: Ports>(
    ports: &P,
    id: &KeysetId,
    keyset: &mut Keyset,
    document: &Document,
    shared: bool,
    events: &mut Vec<Event>,
) -> Vec<String> {
    let mut left = Vec::new();
    let is_shared = |memory: &PlaceMemory| memory.target.as_ref().is_some_and(Target::is_shared);
    let (now, later) = std::mem::take(&mut keyset.places).into_iter().partition(|(_, memory)| is_shared(memory) == shared);
    keyset.places = later;
    for (name, memory) in BTreeMap::<String, PlaceMemory>::into_iter(now) {
        let PlaceMemory { target: Some(target), content, .. } = memory else { continue };
        let why = match ports.targets().remove(id, &target, document, content, PATIENCE).await {
            Ok(Removed::Done) => {
                events.push(Event::TargetRemoved { keyset: id.clone(), target: name });
                continue;
            }
            Ok(Removed::Nothing) => continue,
            // Nobody will ask again: the keyset is forgotten.
            Ok(Removed::NotYet { why }) => why.unwrap_or_else(|| format!("it was not done within {PATIENCE}")),
            Err(error) => error.to_string(),
        };
        left.push(format!("{name} was left as it is: {why}"));
        events.push(Event::TargetLeft { keyset: id.clone(), target: name, what: why });
    }
    left
}

/// Writes every target of the keyset until it reads back equal: those for verifiers first.
pub(super) async fn project<P: Ports>(ports: &P, id: &KeysetId, keyset: &mut Keyset, document: &Document, events: &mut Vec<Event>) {
    let targets = targets(keyset);
    for audience in [Audience::Verifiers, Audience::Signers] {
        for target in targets.iter().filter(|t| t.audience() == audience) {
            let name = target.name();
            keyset.under_way.remove(&name);
            let memory = keyset.places.entry(name.clone()).or_default();
            let expected = memory.content;
            let wrong = match ports.targets().bring(id, target, document, expected).await {
                Ok(Brought::Agreed { content, changed_at, wrote, drift, said, amiss }) => {
                    let now = ports.clock().wall;
                    let altered = drift || (!wrote && changed_at.is_some() && memory.changed_at.is_some_and(|at| Some(at) != changed_at));
                    let since = if wrote || altered { now } else { changed_at.map_or(now, |at| at.min(now)) };
                    memory.agree(&held(carried(audience, document), amiss.as_ref()), altered, since);
                    memory.target = Some(target.clone());
                    memory.content = Some(content);
                    memory.changed_at = changed_at;
                    if wrote {
                        events.push(Event::TargetWritten { keyset: id.clone(), target: name.clone(), drift });
                    }
                    events.extend(said.map(|what| Event::TargetSaid { keyset: id.clone(), target: name.clone(), what }));
                    amiss.filter(|amiss| !amiss.expected).map(|amiss| format!("target {name}: {}", amiss.what))
                }
                Ok(Brought::UnderWay { unsure }) => {
                    memory.target = Some(target.clone());
                    memory.content = memory.content.filter(|_| !unsure);
                    // Nothing new is known of the place. But what it must not stand for any more does not count until it is done.
                    let kids = carried(audience, document);
                    memory.since.retain(|kid, _| kids.contains(kid));
                    keyset.under_way.insert(name);
                    continue;
                }
                Ok(Brought::Ahead { generation }) => {
                    keyset.outrun = Some((name, generation));
                    continue;
                }
                Ok(Brought::Foreign { kids }) => {
                    memory.since.clear();
                    let kids: Vec<_> = kids.iter().map(Kid::as_str).collect();
                    let kids = if kids.is_empty() { "no name can be read".to_owned() } else { kids.join(", ") };
                    let otherwise = match target {
                        Target::File(_) => "say `replace: true` for this target",
                        Target::AwsSecret(_) => "give this target another `name`",
                        Target::Exec(_) => "clear what `read_back` shows",
                        Target::InkeepAgents(_) => "delete it in that app",
                        Target::Algolia(_) => "delete it there",
                    };
                    Some(format!(
                        "{name} holds a key that this keyset does not know ({kids}), so it is not overwritten; hint: import that key, \
                         or {otherwise}"
                    ))
                }
                Err(error) => {
                    memory.since.clear();
                    Some(format!("target {name}: {error}"))
                }
            };
            match wrong {
                Some(what) => keyset.trouble(id, Part::Target(name), what, events),
                None => keyset.works(id, Part::Target(name), events),
            }
        }
    }
}

/// What decisions need to know of the places.
pub(super) fn observe(keyset: &Keyset, now: Timestamp) -> (Vec<VerifierPlace>, Vec<SignerPlace>) {
    let (mut verifiers, mut signers) = (Vec::new(), Vec::new());
    for target in targets(keyset) {
        let name = target.name();
        let since = keyset.places.get(&name).map(|memory| memory.since.clone()).unwrap_or_default();
        match target.audience() {
            Audience::Verifiers => {
                // While it is being written or looked at nobody can tell what it does not hold.
                let as_of = (!keyset.under_way.contains(&name)).then_some(now);
                verifiers.push(VerifierPlace { name, kind: PlaceKind::Target, carries: since, as_of });
            }
            Audience::Signers => signers.push(SignerPlace { name, left: since }),
        }
    }
    (verifiers, signers)
}

/// Since when signers who ask this process have been told of another key than the retiring ones.
///
/// A process that was down or cut off may have left signers on the old key. But once it has served without a gap for as long as
/// any signer may go on without asking, they have all moved, and no later restart brings them back: that moment is remembered.
pub(super) fn observe_signer_socket(
    keyset: &mut Keyset,
    document: &Document,
    facts: &Facts,
    serving_since: Timestamp,
    now: Timestamp,
) -> SignerPlace {
    let moved_within = facts.store_refresh + facts.signer_refresh + facts.clock_skew * 2;
    let mut left_since = BTreeMap::new();
    let mut settled = BTreeMap::new();
    for retiring in &document.retiring {
        let kid = &retiring.key.kid;
        let remembered = keyset.signers_left.get(kid).copied().filter(|left| *left >= retiring.since);
        let left = remembered.unwrap_or_else(|| retiring.since.max(serving_since));
        if now >= left + moved_within {
            settled.insert(kid.clone(), left);
        }
        left_since.insert(kid.clone(), left);
    }
    keyset.signers_left = settled;
    SignerPlace { name: SIGNER_SOCKET.into(), left: left_since }
}

/// Which kids a place that agrees with the document stands for: those it carries, or, for signers, those it does not tell to use.
fn carried(audience: Audience, document: &Document) -> Vec<Kid> {
    let active = document.active.as_ref().map(|a| &a.key.kid);
    let stands_for = |kid: &Kid| audience == Audience::Verifiers || Some(kid) != active;
    document.live().map(|live| live.key.kid.clone()).filter(stands_for).collect()
}

/// The same for a place where something is amiss: without what it lacks, and with what it has not let go of.
fn held(kids: Vec<Kid>, amiss: Option<&Amiss>) -> Vec<Kid> {
    let Some(amiss) = amiss else { return kids };
    let there = kids.into_iter().filter(|kid| !amiss.lacks.contains(kid));
    there.chain(amiss.still.iter().cloned()).collect()
}

impl PlaceMemory {
    /// The place agrees with the document now. `altered`: somebody else had changed it, so everything is counted anew.
    fn agree(&mut self, kids: &[Kid], altered: bool, since: Timestamp) {
        if altered {
            self.since.clear();
        }
        self.since.retain(|kid, _| kids.contains(kid));
        for kid in kids {
            self.since.entry(kid.clone()).or_insert(since);
        }
    }
}
