//! What holds of every decision on every legal document.

use keyrota::document::{Document, FactName, StateName};
use keyrota::lifecycle::{Decision, Step};
use keyrota::time::{Span, Timestamp};
use proptest::prelude::*;

use crate::arbitrary::{config, scene};
use crate::fixture::Scene;
use crate::table::{decide, taken};

/// Sixteen keys, each published and superseded or erased and retired, and a successor: nothing takes more steps at one moment.
const MOST_STEPS: usize = 40;

/// The document is legal, can be written and read back, and keeps its secrets.
pub fn is_sound(document: &Document) {
    assert_eq!(document.check(), Ok(()));
    assert!(document.live().filter(|k| k.state == StateName::Active).count() <= 1);
    let stored = document.to_stored();
    assert_eq!(&Document::from_stored(stored.expose()).unwrap(), document);
    assert_eq!(document.digest(), keyrota::digest::Digest::of(stored.expose()));
    let jwks = serde_json::to_value(document.jwks()).unwrap();
    for jwk in jwks["keys"].as_array().unwrap() {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k", "oth"] {
            assert!(jwk.get(private).is_none(), "{private} in a key set");
        }
    }
    let stored_without = document.without_secrets().to_stored();
    let shown = [jwks.to_string(), format!("{document:?}"), String::from_utf8_lossy(stored_without.expose()).into_owned()];
    assert!(shown.iter().all(|text| !text.contains("(the secret of")), "a secret is shown");
}

/// Facts in force are never lower than before, for as long as anything minted or cached under them may live.
fn keeps_promises(before: &Document, after: &Document, scene: &Scene) {
    let now = scene.observed.now;
    let drain = before.facts.in_force(&scene.rules.facts, now).drain();
    let until = now + drain;
    for name in FactName::ALL {
        let (old, new) = (before.facts.of(name), after.facts.of(name));
        let moments = old.draining.iter().chain(&new.draining).flat_map(|d| [d.until.minus(Span::millis(1)), d.until]);
        let moments = moments.chain([now, until.minus(Span::millis(1))]).filter(|at| *at >= now && (*at < until || *at == now));
        let value = |document: &Document, at: Timestamp| document.facts.promised(at).get(name);
        for at in moments.filter(|_| drain > Span::ZERO) {
            assert!(value(after, at) >= value(before, at), "{}: at {at} {:?} after {:?}", name.as_str(), new, old);
        }
        // What was draining already goes on to its end.
        for old in old.draining.iter().filter(|d| d.until > now) {
            assert!(value(after, old.until.minus(Span::millis(1))) >= old.value, "{}: {old:?} is cut short: {new:?}", name.as_str());
        }
    }
}

/// A step changes what it says and nothing else.
fn touches_only_its_key(before: &Document, after: &Document, step: &Step) {
    let made = matches!(step, Step::Generate { .. });
    let superseded = before.active.as_ref().map(|a| &a.key.kid).filter(|_| matches!(step, Step::Activate { .. }));
    for live in before.live().filter(|k| Some(&k.key.kid) != step.kid() && Some(&k.key.kid) != superseded) {
        assert_eq!(after.live_key(&live.key.kid), Some(live), "{step:?}");
    }
    let kids = |d: &Document| d.live().count() + d.tombstones.len();
    let forgotten = if let Step::Forget { keep } = step { before.tombstones.len() - keep } else { 0 };
    assert_eq!(kids(after), kids(before) + usize::from(made) - forgotten, "{step:?}");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_legal_document_can_be_written_and_read(scene in scene()) {
        is_sound(&scene.document);
    }

    #[test]
    fn every_step_is_legal_and_the_steps_of_one_moment_come_to_an_end(scene in scene()) {
        let mut scene = scene;
        let mut taken_so_far = Vec::new();
        loop {
            let (step, reason) = match decide(&scene) {
                Decision::Do(step, reason) => (step, reason),
                Decision::Wait(wait) => {
                    prop_assert!(wait.until.is_none_or(|until| until > scene.observed.now), "{wait:?} lies behind");
                    break;
                }
            };
            prop_assert!(scene.observed.fault.is_none(), "a step in spite of a fault");
            prop_assert!(!taken_so_far.contains(&step) || matches!(step, Step::Generate { .. }), "{step:?} twice: {taken_so_far:?}");
            let document = taken(&scene, &step, &reason);
            is_sound(&document);
            prop_assert_eq!(document.generation, scene.document.generation.next());
            prop_assert_eq!(&document.lineage[0], &(scene.document.generation, scene.document.digest()));
            keeps_promises(&scene.document, &document, &scene);
            touches_only_its_key(&scene.document, &document, &step);
            scene.document = document;
            taken_so_far.push(step);
            prop_assert!(taken_so_far.len() <= MOST_STEPS, "no end: {taken_so_far:?}");
        }
    }

    #[test]
    fn a_decision_depends_on_what_it_is_given_alone(scene in scene()) {
        prop_assert_eq!(decide(&scene), decide(&scene.clone()));
        let stored = scene.document.to_stored();
        let read_back = Document::from_stored(stored.expose()).unwrap();
        prop_assert_eq!(decide(&scene), decide(&Scene { document: read_back, ..scene.clone() }));
    }

    #[test]
    fn a_private_half_or_a_key_never_goes_before_its_time(scene in scene()) {
        let Decision::Do(step, _) = decide(&scene) else { return Ok(()) };
        let now = scene.observed.now;
        let since = |kid: &keyrota::name::Kid| scene.document.retiring.iter().find(|r| r.key.kid == *kid).map(|r| r.since).unwrap();
        match &step {
            Step::ErasePrivate { kid } => prop_assert!(now >= since(kid) + scene.rules.rollback_window),
            Step::Retire { kid } => prop_assert!(now >= since(kid) + scene.document.facts.promised(now).retention()),
            Step::Activate { kid } if scene.document.active.is_some() && scene.document.intents.rotate_now.is_none() => {
                let published = scene.document.live_key(kid).and_then(|k| k.published_at).unwrap();
                prop_assert!(now >= published + scene.document.facts.promised(now).propagation());
            }
            _ => {}
        }
    }
}
