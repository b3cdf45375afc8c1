//! How the tables of [`super::instants`] and [`super::releases`] are held against the decision.

use keyrota::document::Document;
use keyrota::lifecycle::{Decision, Pending, Reason, Step, Wait, apply, next};
use keyrota::time::{Span, Timestamp};

use crate::fixture::{Scene, made};

/// At the instant `at` this step is taken; until then it is waited for, for this reason.
pub struct Instant {
    pub rule: &'static str,
    pub scene: Scene,
    pub at: Timestamp,
    /// The name of what is waited for; empty for a step that is not announced.
    pub waits: &'static str,
    /// The step, and the kid it is about.
    pub step: &'static str,
}

/// As long as nobody does anything this step waits; when somebody does, it is taken.
pub struct Release {
    pub rule: &'static str,
    pub scene: Scene,
    pub waits: &'static str,
    pub step: &'static str,
    pub then: fn(&mut Scene),
}

pub fn decide(scene: &Scene) -> Decision {
    next(&scene.document, &scene.rules, &scene.observed)
}

pub fn waiting(rule: &str, scene: &Scene) -> Wait {
    match decide(scene) {
        Decision::Wait(wait) => wait,
        Decision::Do(step, _) => panic!("{rule}: does {step:?} at {}", scene.observed.now),
    }
}

/// The document after a step, which may be one that needs a new key.
pub fn taken(scene: &Scene, step: &Step, reason: &Reason) -> Document {
    let now = scene.observed.now;
    let key = match step {
        Step::Generate { spec } => Some(made(spec, &format!("made-{}", scene.document.generation.0), now)),
        _ => None,
    };
    apply(&scene.document, Some(scene.document.digest()), (step, reason), &scene.rules, now, key).unwrap()
}

pub fn told(step: &Step) -> String {
    let kind = step.kind().as_str();
    step.kid().map_or_else(|| kind.to_owned(), |kid| format!("{kind} {kid}"))
}

fn named(pending: &Pending) -> String {
    let kind = pending.step.as_str();
    pending.kid.as_ref().map_or_else(|| kind.to_owned(), |kid| format!("{kind} {kid}"))
}

/// The step is taken now, the document stays legal, and a second look at the same moment does not take it again.
fn does(rule: &str, scene: &Scene, step: &str) {
    let Decision::Do(found, reason) = decide(scene) else {
        panic!("{rule}: {step} is not taken at {}: {:?}", scene.observed.now, decide(scene))
    };
    assert_eq!(told(&found), step, "{rule}");
    let document = taken(scene, &found, &reason);
    document.check().unwrap();
    assert_eq!(document.generation, scene.document.generation.next(), "{rule}");
    assert_eq!(document.history.last().map(|h| &*h.reason), Some(reason.text.as_str()), "{rule}: the history says why");
    let again = decide(&Scene { document, ..scene.clone() });
    assert!(!matches!(&again, Decision::Do(repeated, _) if told(repeated) == step), "{rule}: {step} is taken twice");
}

/// The step waits for this, as far as is known until then.
fn announced(rule: &str, wait: &Wait, step: &str, because: &str, at: Option<Timestamp>) {
    let found = wait.pending.iter().find(|p| named(p) == step).unwrap_or_else(|| panic!("{rule}: {step} is not among {wait:?}"));
    assert_eq!(found.because.name(), because, "{rule}");
    assert_eq!(found.at, at, "{rule}: when {step} comes");
}

impl Instant {
    pub fn holds(&self) {
        let Self { rule, scene, at, waits, step } = self;
        for before in [Span::millis(1), Span::seconds(1)] {
            let early = scene.clone().at(at.minus(before));
            let wait = waiting(rule, &early);
            assert_eq!(wait.until, Some(*at), "{rule}: when to look again");
            if !waits.is_empty() {
                announced(rule, &wait, step, waits, Some(*at));
            }
        }
        does(rule, &scene.clone().at(*at), step);
    }
}

impl Release {
    pub fn holds(&self) {
        let Self { rule, scene, waits, step, then } = self;
        announced(rule, &waiting(rule, scene), step, waits, None);
        let mut released = scene.clone();
        then(&mut released);
        does(rule, &released, step);
    }
}

/// This is done now.
pub fn now_does(rule: &str, scene: &Scene, step: &str) {
    does(rule, scene, step);
}
