//! What a verb will do, said before it is done: which keys change state, now and later, which tokens die, and until when verifiers'
//! caches may still accept a key that is gone.
//!
//! There is no second implementation: the change is that of [`super::apply`], what follows is that of [`crate::forecast`].

use serde::{Deserialize, Serialize};

use super::{Refusal, Verb, apply, goes_ahead, wants_key};
use crate::digest::Digest;
use crate::document::{Document, Intent, StateName};
use crate::forecast::{forecast, placeholder};
use crate::lifecycle::StepKind;
use crate::name::{EnvironmentName, Generation, Kid};
use crate::observed::Observed;
use crate::policy::VerifierShape;
use crate::rules::Rules;
use crate::time::Timestamp;
use crate::waits::Waits;

/// The most later steps that are told.
const MOST_LATER: usize = 12;

/// What a verb will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// The generation that was looked at.
    pub generation: Generation,
    /// What happens in the same swap.
    pub moves: Vec<Move>,
    /// What follows by itself, in order.
    pub later: Vec<Later>,
    /// What it waits for that time alone does not bring, as sentences.
    pub stuck: Vec<String>,
    /// Keys that leave the key set before their last token is dead.
    pub deaths: Vec<Death>,
    /// Keys that sign before every verifier can have fetched them.
    pub unheard: Vec<Unheard>,
    /// What else is worth knowing, as sentences.
    pub notes: Vec<String>,
    /// Names the outcome without its moments: if the keyset has moved on so that something else would happen, it differs.
    pub fingerprint: Digest,
}

/// A key that changes state in the swap. A key that does not exist yet is called `next-1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Which.
    pub kid: Kid,
    /// The state it leaves; `None` if it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<StateName>,
    /// The state it enters.
    pub to: StateName,
}

/// A step that follows by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Later {
    /// When, as far as is known.
    pub at: Timestamp,
    /// What.
    pub step: StepKind,
    /// On which key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<Kid>,
    /// Why, as half a sentence.
    pub why: String,
}

/// A key that leaves the key set although tokens that it signed may be alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// Which.
    pub kid: Kid,
    /// When the last of its tokens would have expired; `None` if it never signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_until: Option<Timestamp>,
    /// Until when verifiers that keep the stated facts may accept it out of their caches.
    pub cached_until: Timestamp,
}

/// A key that signs before every verifier can have fetched it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unheard {
    /// Which.
    pub kid: Kid,
    /// Until when verifiers may refuse tokens that it signed.
    pub until: Timestamp,
}

impl Preview {
    /// That nothing changes.
    pub fn nothing() -> Self {
        let (moves, later, stuck, deaths, unheard, notes) = Default::default();
        Self { generation: Generation(0), moves, later, stuck, deaths, unheard, notes, fingerprint: Digest::of(b"") }
    }
}

/// What `verb` will do to `document` at `observed.now`.
///
/// # Errors
/// If it is refused.
pub fn preview(document: &Document, verb: &Verb, rules: &Rules, intent: Intent, observed: &Observed) -> Result<Preview, Refusal> {
    let now = intent.at;
    let key = wants_key(document, verb, rules, now).then(|| placeholder(document, &rules.spec, 1, now)).flatten();
    let after = apply(document, verb, rules, intent, key)?;
    let waits = Waits::at(document, rules, now);
    let frozen_until = after.intents.frozen_until(now).unwrap_or(now);
    let horizon = frozen_until + (waits.propagation + waits.retention) * 2 + waits.window;
    let foretold = forecast(&after, rules, observed, horizon);
    let told = |step: &StepKind| !matches!(step, StepKind::Forget | StepKind::AdoptFacts);
    let later: Vec<Later> = foretold
        .steps
        .into_iter()
        .filter(|s| told(&s.step))
        .map(|s| Later { at: s.at, step: s.step, kid: s.kid, why: s.reason.text })
        .take(MOST_LATER)
        .collect();
    let moves = moves(document, &after);
    let unheard = unheard(document, &after, &later, &waits, now);
    Ok(Preview {
        generation: document.generation,
        deaths: deaths(document, &after, &waits, now),
        stuck: foretold.stuck.iter().map(ToString::to_string).collect(),
        notes: notes(document, &after, verb, rules),
        fingerprint: fingerprint(&moves, &after),
        moves,
        later,
        unheard,
    })
}

/// What removing a keyset means: every key goes, whatever is alive of it. `fates` say what becomes of each place that it has written.
pub fn of_removal(document: &Document, rules: &Rules, fates: impl Iterator<Item = String>, now: Timestamp) -> Preview {
    let waits = Waits::at(document, rules, now);
    let gone = Document::empty(document.id.clone(), document.class);
    let deaths = deaths(document, &gone, &waits, now);
    let mut notes: Vec<String> = fates.collect();
    notes.push("the keyset goes for good: its name can be used anew, its kids are forgotten".to_owned());
    let kids: Vec<_> = deaths.iter().map(|d| d.kid.as_str()).collect();
    let fingerprint = Digest::of(format!("remove {kids:?}").as_bytes());
    Preview { generation: document.generation, deaths, notes, fingerprint, ..Preview::nothing() }
}

/// What purging an environment means, as sentences.
pub fn of_purge(environment: &EnvironmentName) -> Vec<String> {
    let targets = format!("every target of {environment} is looked at, and written anew if it holds what it should not");
    let file = "the embedded store's file is written anew without freed pages, and its log is cut; no key changes, no token dies";
    vec![targets, file.to_owned()]
}

/// Every key whose state differs.
fn moves(before: &Document, after: &Document) -> Vec<Move> {
    let state = |document: &Document, kid: &Kid| {
        let live = document.live_key(kid).map(|live| live.state);
        live.or_else(|| document.tombstones.iter().find(|t| t.kid == *kid).map(|t| t.end.state()))
    };
    let mut kids: Vec<Kid> = before.live().chain(after.live()).map(|live| live.key.kid.clone()).collect();
    kids.sort_unstable();
    kids.dedup();
    let changed = kids.into_iter().filter_map(|kid| {
        let (from, to) = (state(before, &kid), state(after, &kid)?);
        (from != Some(to)).then_some(Move { kid, from, to })
    });
    let mut moves: Vec<Move> = changed.collect();
    moves.sort_by_key(|m| m.to);
    moves
}

fn deaths(before: &Document, after: &Document, waits: &Waits, now: Timestamp) -> Vec<Death> {
    let cached_until = now + waits.facts.forgetting();
    let gone = before.live().filter(|live| after.live_key(&live.key.kid).is_none());
    gone.map(|live| {
        let retiring = before.retiring.iter().find(|r| r.key.kid == live.key.kid);
        let tokens_until = match live.state {
            StateName::Active => Some(now + waits.retention),
            StateName::Retiring => retiring.map(|r| r.verify_until).filter(|until| *until > now),
            _ => None,
        };
        Death { kid: live.key.kid.clone(), tokens_until, cached_until }
    })
    .collect()
}

/// Keys that begin to sign, in the swap or soon after it, before the propagation wait is over.
fn unheard(before: &Document, after: &Document, later: &[Later], waits: &Waits, now: Timestamp) -> Vec<Unheard> {
    let signs_now = before.active.as_ref().map(|a| &a.key.kid);
    let early = |kid: &Kid, published: Timestamp, at: Timestamp| {
        let until = published + waits.propagation;
        (at < until).then(|| Unheard { kid: kid.clone(), until })
    };
    let mut found = Vec::new();
    if let Some(active) = after.active.as_ref().filter(|a| Some(&a.key.kid) != signs_now) {
        // A key that is taken in as the active one is known to its verifiers already.
        let known = before.is_stored() && before.live_key(&active.key.kid).is_some();
        found.extend(early(&active.key.kid, active.published_at, now).filter(|_| known));
    }
    for step in later.iter().filter(|s| s.step == StepKind::Activate) {
        let Some(kid) = &step.kid else { continue };
        let announced = later.iter().find(|s| s.step == StepKind::ConfirmPublished && s.kid.as_ref() == Some(kid)).map(|s| s.at);
        let published = announced.or_else(|| after.live_key(kid).and_then(|live| live.published_at)).unwrap_or(step.at);
        let first_ever = before.active.is_none() && before.retiring.is_empty() && before.tombstones.is_empty();
        found.extend(early(kid, published, step.at).filter(|_| !first_ever));
    }
    found
}

fn notes(before: &Document, after: &Document, verb: &Verb, rules: &Rules) -> Vec<String> {
    let mut notes = Vec::new();
    let active = after.active.as_ref();
    match verb {
        Verb::Freeze { until } => {
            if let Some(freeze) = &before.intents.freeze {
                notes.push(format!("it takes the place of the freeze until {} by {}", freeze.until, freeze.intent.by));
            }
            if let Some(stale) = active.map(|a| a.key.created_at + rules.max_age).filter(|stale| stale < until) {
                notes.push(format!("its signing key passes max_age {} at {stale}, before the freeze ends", rules.max_age));
            }
            notes.push("revocations, `compromise` and a missing active key go on in spite of it".to_owned());
        }
        Verb::RevokeGrants { .. } => {
            notes.extend(after.revoked_grants.last().map(|entry| {
                format!(
                    "refresh tokens {} up to {} are refused by every replica within {}",
                    entry.whom,
                    entry.before,
                    after.facts.promised(entry.before).store_refresh
                )
            }));
            notes.push("access tokens that were got with them are accepted until they expire".to_owned());
            let (kept, most) = (after.revoked_grants.len(), crate::document::revoked_grants::MOST);
            notes.push(format!("{kept} of at most {most} such revocations are kept, each until everything that it is about has expired"));
        }
        Verb::AcceptClock => {
            notes.push("times that lie in the future are set to now, and what waited for them waits anew".to_owned());
        }
        Verb::Import { role: super::ImportRole::Active, .. } => {
            notes.push("every verifier is taken to hold it already: nothing is waited for".to_owned());
        }
        Verb::Rotate if !before.incoming.is_empty() => {
            notes.push("a successor is on its way already: no other is made".to_owned());
        }
        Verb::RollBack => {
            if let Some(active) = active {
                notes.push(format!("the age of {} goes on counting from {}", active.key.kid, active.key.created_at));
            }
            if !after.incoming.is_empty() {
                notes.push("incoming keys are held until `keyrota approve` lets them go on".to_owned());
            }
        }
        Verb::Approve { .. } if rules.verifier == VerifierShape::SingleKey => {
            if let Some(active) = active {
                let kid = &active.key.kid;
                notes.push(format!("the verifier holds one key: every token of {kid} that is alive at the cut-over dies with it"));
            }
        }
        Verb::Revoke { .. } | Verb::Compromise | Verb::Restored { .. } if after.active.is_none() && before.active.is_some() => {
            notes.push("until its new key is published nobody can sign: signers get a document without an active key".to_owned());
            if goes_ahead(verb) {
                notes.push("the key leaves now; if making the new one takes longer, that follows as soon as it is made".to_owned());
            }
        }
        _ => {}
    }
    notes
}

fn fingerprint(moves: &[Move], after: &Document) -> Digest {
    let moves: Vec<String> = moves.iter().map(|m| format!("{} {:?} {}", m.kid, m.from, m.to)).collect();
    let active = after.active.as_ref().map(|a| &a.key.kid);
    let incoming: Vec<&Kid> = after.incoming.iter().map(|i| &i.key.kid).collect();
    Digest::of(format!("{moves:?} {active:?} {incoming:?}").as_bytes())
}
