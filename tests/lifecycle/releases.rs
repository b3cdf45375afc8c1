//! What time alone does not bring about: who or what each step waits for, and that it is taken once they have come.

use keyrota::document::{Document, MOST_LIVE_KEYS};
use keyrota::key::Algorithm;
use keyrota::lifecycle::Because;
use keyrota::lifecycle::overdue::{held_up, overdue};
use keyrota::observed::{Fault, PlaceKind};
use keyrota::policy::{Mode, Source, Start, VerifierShape};
use keyrota::rules::Standing;
use keyrota::time::Span;

use crate::fixture::{PROPAGATION, RETENTION, ROTATE_EVERY, Scene, by_ada, keyless, kid, signing, t0, unstored};
use crate::table::{Release, waiting};

fn row(rule: &'static str, scene: Scene, waits: &'static str, step: &'static str, then: fn(&mut Scene)) -> Release {
    Release { rule, scene, waits, step, then }
}

fn approve(scene: &mut Scene) {
    scene.document.intents.approved.push((kid("k2"), by_ada(t0())));
}

fn ask(scene: &mut Scene) {
    scene.document.intents.rotate = Some(by_ada(t0()));
}

fn carry(scene: &mut Scene) {
    scene.observed.verifier_places[0].carries.insert(kid("k2"), t0());
}

fn sound(scene: &mut Scene) {
    scene.observed.fault = None;
}

fn by_people() -> Vec<Release> {
    let ready = || signing().published("k2").at(t0() + PROPAGATION);
    let due = || signing().at(t0() + ROTATE_EVERY);
    let mode = |scene: Scene, mode: Mode| scene.with(|s| s.rules.mode = mode);
    let alone = |s: &mut Scene| s.rules.verifier = VerifierShape::SingleKey;
    let vendor = |scene: Scene| scene.with(|s| s.observed.no_key = Some("the vendor is away".into()));
    let comes = |s: &mut Scene| s.observed.no_key = None;
    let held = |s: &mut Scene| s.document.intents.hold = Some(by_ada(t0()));
    vec![
        row("a change-over needs a word", mode(ready(), Mode::Approve), "approval", "activate k2", approve),
        row("asking for a rotation is not that word", mode(ready(), Mode::Approve).with(ask), "approval", "activate k2", approve),
        row("by hand: the rotation is asked for", mode(ready(), Mode::Manual), "manual", "activate k2", ask),
        row("by hand: the key is approved", mode(ready(), Mode::Manual), "manual", "activate k2", approve),
        row(
            "its verifier holds one key alone, whatever the mode",
            mode(ready(), Mode::Auto).with(alone),
            "approval",
            "activate k2",
            approve,
        ),
        row("held after a rollback", ready().with(held), "approval", "activate k2", approve),
        row("held after a rollback, and asked for", ready().with(held).with(ask), "approval", "activate k2", approve),
        row("by hand: nothing is made when it is due", mode(due(), Mode::Manual), "manual", "generate", ask),
        row("a vendor's key", unstored().with(|s| s.rules.source = Source::External), "external", "generate", |s| {
            s.rules.source = Source::Generated;
        }),
        row("its vendor has not made the first key", vendor(unstored()), "vendor", "generate", comes),
        row("its vendor has not made the next key", vendor(due()), "vendor", "generate", comes),
        row(
            "asked for without its waits, and its vendor has not made it",
            vendor(signing()).with(|s| s.document.intents.rotate_now = Some(by_ada(t0()))),
            "vendor",
            "generate",
            comes,
        ),
        row("the first key is handed in", unstored().with(|s| s.rules.start = Start::Import), "external", "generate", |s| {
            s.rules.start = Start::Generate;
        }),
        row("another day is its inception", unstored().with(|s| s.observed.may_create = false), "inception", "generate", |s| {
            s.observed.may_create = true;
        }),
    ]
}

fn by_sound_policies() -> Vec<Release> {
    let broken = |scene: Scene| scene.with(|s| s.rules.standing = Standing::Broken);
    let mend = |s: &mut Scene| s.rules.standing = Standing::InForce;
    vec![
        row("nothing begins", broken(unstored()), "policy", "generate", mend),
        row("no successor is made", broken(signing()).at(t0() + ROTATE_EVERY), "policy", "generate", mend),
        row("no key changes over", broken(signing().published("k2")).at(t0() + PROPAGATION), "policy", "activate k2", mend),
    ]
}

fn by_places() -> Vec<Release> {
    let target = PlaceKind::Target;
    vec![
        row("a file is written", signing().staged("k2").verifiers_read(target, "/jwks", &[]), "publish", "confirm-published k2", carry),
        row(
            "a file lost the key after it was published",
            signing().published("k2").verifiers_read(target, "/jwks", &[]).at(t0() + PROPAGATION),
            "publish",
            "activate k2",
            carry,
        ),
        row(
            "a peer does not show the key yet",
            signing().published("k2").verifiers_read(PlaceKind::Probe, "https://peer", &[]).at(t0() + PROPAGATION),
            "probe",
            "activate k2",
            carry,
        ),
        row(
            "a signer's file still names the old key",
            signing().erased("k0").signers_read("/env", &[]).at(t0() + RETENTION),
            "publish",
            "retire k0",
            |s| s.observed.signer_places[0].left.extend([(kid("k0"), t0())]),
        ),
    ]
}

fn by_room() -> Vec<Release> {
    let crowd = |scene: Scene, to: usize| (scene.document.live().count()..to).fold(scene, |s, n| s.erased(&format!("old-{n}")));
    let leave = |s: &mut Scene| drop(s.document.retiring.pop());
    let unused = |scene: Scene| scene.signers_read("/env", &[]);
    vec![
        row("no room for a successor", unused(crowd(signing(), MOST_LIVE_KEYS)).at(t0() + ROTATE_EVERY), "full", "generate", leave),
        row("no room for a first key", unused(crowd(keyless(), MOST_LIVE_KEYS)), "full", "generate", leave),
    ]
}

fn by_sound_minds() -> Vec<Release> {
    let faulty = |fault: Fault| keyless().published("k2").with(|s| s.observed.fault = Some(fault));
    let what = || "something".to_owned();
    let row = |rule, fault, waits| Release { rule, scene: faulty(fault), waits, step: "any", then: sound };
    vec![
        row("clocks parted", Fault::ClocksParted { by: Span::hours(24) }, "clock"),
        row("another class", Fault::Class { what: what() }, "policy"),
        row("an unreadable document", Fault::Unreadable { what: what() }, "store"),
        row("another document", Fault::Witness { what: what() }, "witness"),
    ]
}

#[test]
fn people_are_waited_for() {
    by_people().iter().for_each(Release::holds);
}

#[test]
fn a_policy_that_is_broken_is_waited_for_and_said_to_be_late() {
    by_sound_policies().iter().for_each(Release::holds);
    let late = signing().at(t0() + ROTATE_EVERY + Span::hours(1)).with(|s| s.rules.standing = Standing::Broken);
    let late = overdue(&late.document, &late.rules, &late.observed).expect("a change-over was due an hour ago");
    assert_eq!((late.because.label(), late.since), ("policy", t0() + ROTATE_EVERY));
}

#[test]
fn a_broken_policy_keeps_what_was_promised_and_replaces_a_missing_key() {
    let broken = |s: &mut Scene| s.rules.standing = Standing::Broken;
    for (scene, step) in [
        (signing().erased("k0").at(t0() + RETENTION), "retire k0"),
        (signing().retiring("k0").at(t0() + RETENTION), "erase k0"),
        (keyless().published("k2"), "activate k2"),
        (keyless(), "generate"),
    ] {
        crate::table::now_does("its policy is broken", &scene.with(broken), step);
    }
    let refitted = signing().published("k2").with(|s| s.rules.spec = crate::fixture::pair_spec(Algorithm::ES256)).with(broken);
    assert_eq!(waiting("nothing is thrown away on its word", &refitted).pending[0].because.name(), "propagation");
}

#[test]
fn places_are_waited_for() {
    by_places().iter().for_each(Release::holds);
}

#[test]
fn room_is_waited_for() {
    by_room().iter().for_each(Release::holds);
}

#[test]
fn with_a_fault_nothing_at_all_is_decided() {
    for Release { rule, scene, waits, .. } in by_sound_minds() {
        let wait = waiting(rule, &scene);
        assert_eq!(wait.pending.len(), 1, "{rule}");
        assert_eq!((wait.pending[0].step.as_str(), wait.pending[0].because.name(), wait.until), ("any", waits, None), "{rule}");
        crate::table::now_does(rule, &scene.with(sound), "activate k2");
    }
}

#[test]
fn a_tainted_key_is_discarded_and_never_signs() {
    let taint = |s: &mut Scene| s.document.intents.tainted.push((kid("k2"), by_ada(t0())));
    for scene in [signing().published("k2"), signing().staged("k2"), keyless().published("k2")] {
        crate::table::now_does("tainted", &scene.at(t0() + PROPAGATION).with(taint), "discard k2");
    }
}

#[test]
fn an_external_key_that_is_due_is_asked_for_from_that_moment() {
    let wait = waiting("external", &signing().with(|s| s.rules.source = Source::External));
    let generate = &wait.pending[0];
    assert_eq!((generate.step.as_str(), generate.because.name()), ("generate", "external"));
    assert_eq!(generate.at, Some(t0() + ROTATE_EVERY.saturating_sub(PROPAGATION)));
}

#[test]
fn while_a_vendor_has_not_made_a_key_old_ones_retire_and_what_is_late_is_told() {
    let away = |s: &mut Scene| s.observed.no_key = Some("the vendor is away".into());
    let scene = signing().erased("k0").at(t0() + ROTATE_EVERY + RETENTION);
    crate::table::now_does("made at once", &scene.clone(), "generate");
    crate::table::now_does("the vendor is away", &scene.with(away), "retire k0");
    let late = signing().at(t0() + ROTATE_EVERY + Span::hours(1)).with(away);
    let late = overdue(&late.document, &late.rules, &late.observed).unwrap();
    assert_eq!((late.because.label(), late.because.to_string().as_str()), ("vendor", "the vendor is away"));
}

#[test]
fn what_cannot_be_carried_out_is_late_because_of_that() {
    let away = || Because::Store { what: "the store is away".into() };
    let held_up_by = |scene: &Scene, because: Because| {
        let late = overdue(&scene.document, &scene.rules, &scene.observed);
        held_up(&scene.document, &scene.rules, &scene.observed, late, because).map(|late| (late.because.label(), late.since))
    };
    let late = signing().at(t0() + ROTATE_EVERY + Span::hours(1));
    assert_eq!(held_up_by(&late, away()), Some(("store", t0() + ROTATE_EVERY)));
    assert_eq!(held_up_by(&late, Because::Making), Some(("keygen", t0() + ROTATE_EVERY)));
    assert_eq!(held_up_by(&signing(), away()), None, "in time");
    let keyless = keyless();
    assert_eq!(held_up_by(&keyless, away()), Some(("store", keyless.document.updated_at)), "without a key at once");
    assert_eq!(held_up_by(&unstored(), away()), Some(("store", unstored().observed.serving_since)));
    assert_eq!(held_up_by(&keyless, Because::Making), None, "a first key is made");
    let orphan = keyless.with(|s| s.rules = keyrota::rules::Rules::orphan(&s.document));
    assert_eq!(held_up_by(&orphan, away()), None, "it wants no key");
}

#[test]
fn an_orphan_rotates_no_more() {
    let orphan = |s: &mut Scene| s.rules = keyrota::rules::Rules::orphan(&s.document);
    let later = t0() + ROTATE_EVERY * 40;
    for scene in [signing(), signing().published("k2"), keyless(), keyless().published("k2")] {
        let wait = waiting("orphaned", &scene.at(later).with(orphan));
        assert_eq!((wait.pending.len(), wait.until), (0, None), "{wait:?}");
    }
}

#[test]
fn a_quiet_keyset_is_not_looked_at_before_something_is_due() {
    let quiet: Document = signing().document;
    assert_eq!(waiting("quiet", &signing()).until, Some(t0() + ROTATE_EVERY.saturating_sub(PROPAGATION)), "{quiet:?}");
}
