//! What an edited policy changes for a keyset, like a diff: old and new values, and what follows.

use super::Known;
use crate::cli::moment;
use crate::document::{Document, FactName, Facts};
use crate::forecast::{Forecast, forecast};
use crate::lifecycle::StepKind;
use crate::observed::Observed;
use crate::policy::most_live_keys;
use crate::rules::Rules;
use crate::time::Timestamp;
use crate::waits::Waits;

/// One thing that changes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// What: the name of a policy's field, or of a wait.
    pub what: String,
    /// What it was; `None` if it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// What it will be; `None` if it will not be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// What follows, as a sentence; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What the new `rules` change about a keyset; `told` is what will happen under them.
pub fn between(known: &Known, document: &Document, rules: &Rules, told: &Forecast, now: Timestamp, until: Timestamp) -> Vec<Change> {
    let mut changes = Changes::default();
    if !document.is_stored() && known.rules.is_none() {
        changes.note("keyset", None, Some(format!("{}, a new key every {}", rules.spec.algorithm(), rules.rotate_every)), "is added");
        return changes.0;
    }
    if rules.is_orphaned() {
        let note = "is in the policy no more: it rotates no more, and stays served until it is removed by an operator";
        changes.note("keyset", Some("rotated".to_owned()), None, note);
        return changes.0;
    }
    let before = known.rules.as_ref().filter(|before| !before.is_orphaned());
    specification(&mut changes, before, document, rules);
    if let Some(before) = before {
        settings(&mut changes, before, rules);
    }
    let stated = before.map_or_else(|| held(document), |before| before.facts);
    facts(&mut changes, &stated, document, rules, now);
    waits(&mut changes, &stated, before, document, rules, now);
    if let Some(before) = before {
        let was = forecast(document, before, &Observed::quiet(now), until);
        let date = |told: &Forecast| told.steps.iter().find(|s| s.step == StepKind::Activate).map(|s| moment::full(s.at));
        changes.differ("next change-over", date(&was), date(told), "");
    }
    changes.0
}

#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn note(&mut self, what: &str, old: Option<String>, new: Option<String>, note: impl Into<String>) {
        self.0.push(Change { what: what.to_owned(), old, new, note: note.into() });
    }

    fn differ(&mut self, what: &str, old: Option<String>, new: Option<String>, note: impl Into<String>) {
        if old != new {
            self.note(what, old, new, note);
        }
    }
}

/// What the document was last told, without what it still promises from before.
fn held(document: &Document) -> Facts {
    let mut facts = Facts::default();
    for name in FactName::ALL {
        *facts.of_mut(name) = document.facts.of(name).value;
    }
    facts
}

fn specification(changes: &mut Changes, before: Option<&Rules>, document: &Document, rules: &Rules) {
    let words = |algorithm: &str, bits: Option<u32>| bits.map_or_else(|| algorithm.to_owned(), |bits| format!("{algorithm} {bits} bits"));
    let asked = words(rules.spec.algorithm().as_str(), rules.spec.bits());
    let active = document.active.as_ref();
    let was = match (before, active) {
        (Some(before), _) => words(before.spec.algorithm().as_str(), before.spec.bits()),
        (None, Some(active)) if !rules.spec.fits(&active.key) => {
            words(active.key.algorithm.as_str(), rules.spec.bits().map(|_| active.key.bits))
        }
        _ => return,
    };
    let note = match active {
        Some(active) if rules.spec.fits(&active.key) => "the active key fits",
        _ if document.started_specs.contains(&rules.spec.digest()) => "has been asked for before, so the next regular rotation brings it",
        Some(_) => "brings the next rotation forward to now",
        None => "",
    };
    changes.differ("algorithm", Some(was), Some(asked), note);
}

fn settings(changes: &mut Changes, before: &Rules, rules: &Rules) {
    let spans = [
        ("rotate_every", before.rotate_every, rules.rotate_every),
        ("max_age", before.max_age, rules.max_age),
        ("rollback_window", before.rollback_window, rules.rollback_window),
        ("jitter", before.jitter, rules.jitter),
    ];
    for (what, old, new) in spans {
        changes.differ(what, Some(old.to_string()), Some(new.to_string()), "");
    }
    let window = |r: &Rules| r.window.as_ref().map(ToString::to_string);
    let bound = |rules: &Rules| rules.uptake_bound.map(|bound| bound.to_string());
    changes.differ("uptake_bound", bound(before), bound(rules), "");
    changes.differ("rotation_window", window(before), window(rules), "");
    let words: [(&str, String, String); 3] = [
        ("mode", word(&before.mode), word(&rules.mode)),
        ("source", word(&before.source), word(&rules.source)),
        ("verifier", word(&before.verifier), word(&rules.verifier)),
    ];
    for (what, old, new) in words {
        changes.differ(what, Some(old), Some(new), "");
    }
}

/// How the policy file spells it.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(ToOwned::to_owned)).unwrap_or_default()
}

fn facts(changes: &mut Changes, stated: &Facts, document: &Document, rules: &Rules, now: Timestamp) {
    let adopted = document.facts.adopting(&rules.facts, now);
    for name in FactName::ALL {
        let (old, new) = (stated.get(name), rules.facts.get(name));
        let drains = adopted.as_ref().and_then(|held| held.of(name).draining.iter().filter(|d| d.value > new).map(|d| d.until).max());
        let note = match () {
            () if new >= old => "counts from the reload on".to_owned(),
            () => match drains.or_else(|| document.facts.next_change(&rules.facts, now)) {
                Some(until) => format!("{old} goes on counting until {}, for what was promised under it", moment::full(until)),
                None => String::new(),
            },
        };
        changes.differ(name.as_str(), Some(old.to_string()), Some(new.to_string()), note);
    }
}

fn waits(changes: &mut Changes, stated: &Facts, before: Option<&Rules>, document: &Document, rules: &Rules, now: Timestamp) {
    let old = document.facts.in_force(stated, now);
    let in_force = Waits::at(document, rules, now);
    let goal = &rules.facts;
    let both = [
        ("propagation", old.propagation(), in_force.propagation, goal.propagation()),
        ("retention", old.retention(), in_force.retention, goal.retention()),
    ];
    for (what, old, at_once, later) in both {
        let note = if at_once == later { String::new() } else { format!("at first {at_once}, while old facts count") };
        changes.differ(what, Some(old.to_string()), Some(later.to_string()), note);
    }
    if let Some(before) = before {
        let window = Waits::at(document, before, now).window;
        let most = |facts: &Facts, every, window, bound| most_live_keys(facts, every, window, bound).map(|n| format!("at most {n}"));
        let (old, new) = (
            most(stated, before.rotate_every, window, before.uptake_bound),
            most(goal, rules.rotate_every, in_force.window, rules.uptake_bound),
        );
        changes.differ("live keys", old, new, "");
    }
}
