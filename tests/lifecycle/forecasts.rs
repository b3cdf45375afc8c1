//! What is foretold is what will be done.

use keyrota::forecast::forecast;
use keyrota::lifecycle::{Decision, apply};
use keyrota::time::{Span, Timestamp};
use proptest::prelude::*;

use crate::arbitrary::{config, scene};
use crate::fixture::{made, signing, t0};
use crate::table::{decide, taken};

#[test]
fn two_rotations_are_foretold_to_the_minute() {
    let scene = signing();
    let told = forecast(&scene.document, &scene.rules, &scene.observed, t0() + Span::days(21));
    let lines: Vec<_> = told
        .steps
        .iter()
        .map(|s| format!("{} {} {}", s.at.since(t0()), s.step.as_str(), s.kid.as_ref().map_or("-", keyrota::name::Kid::as_str)))
        .collect();
    let expected = [
        "9d23h40m generate next-1",
        "9d23h40m confirm-published next-1",
        "10d activate next-1",
        "10d30m erase k1",
        "10d1h retire k1",
        "19d23h40m generate next-2",
        "19d23h40m confirm-published next-2",
        "20d activate next-2",
        "20d30m erase next-1",
        "20d1h retire next-1",
    ];
    assert_eq!(lines, expected);
    assert!(told.stuck.is_empty(), "only time is waited for");
    assert_eq!(told.end.active.map(|a| a.since), Some(t0() + Span::days(20)));
}

#[test]
fn what_stands_in_the_way_is_foretold() {
    let scene = signing().published("k2").with(|s| s.rules.mode = keyrota::policy::Mode::Approve);
    let told = forecast(&scene.document, &scene.rules, &scene.observed, t0() + Span::days(5));
    assert_eq!(told.steps, []);
    assert_eq!(told.stuck.iter().map(|p| p.because.name()).collect::<Vec<_>>(), ["approval"]);
}

proptest! {
    #![proptest_config(config())]

    /// The daemon's step and the foretold one differ in the lineage alone.
    #[test]
    fn a_foretold_document_is_the_one_that_will_be(scene in scene()) {
        let Decision::Do(step, reason) = decide(&scene) else { return Ok(()) };
        let now: Timestamp = scene.observed.now;
        let key = step.kid().is_none().then(|| made(&scene.rules.spec, &format!("made-{}", scene.document.generation.0), now));
        let mut foretold = apply(&scene.document, None, (&step, &reason), &scene.rules, now, key).unwrap();
        let done = taken(&scene, &step, &reason);
        prop_assert_eq!(&foretold.lineage, &scene.document.lineage);
        foretold.lineage.clone_from(&done.lineage);
        prop_assert_eq!(foretold, done);
    }
}
