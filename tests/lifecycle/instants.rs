//! The moment of every step that time alone brings about: a millisecond earlier it is waited for, and it is known until when.

use keyrota::document::facts::Draining;
use keyrota::document::{Freeze, Stage};
use keyrota::key::Algorithm;
use keyrota::lifecycle::TOMBSTONES_KEPT;
use keyrota::observed::PlaceKind;
use keyrota::policy::Mode;
use keyrota::rules::Rules;
use keyrota::time::{Span, Timestamp};
use keyrota::waits::Waits;

use crate::fixture::{
    DRAIN, MAX_AGE, PROPAGATION, RETENTION, ROLLBACK, ROTATE_EVERY, Scene, by_ada, keyless, kid, pair_spec, signing, t0, unstored,
};
use crate::table::{Instant, now_does, waiting};

const fn minutes(n: u64) -> Span {
    Span::minutes(n)
}
const fn hours(n: u64) -> Span {
    Span::hours(n)
}

fn row(rule: &'static str, scene: Scene, at: Span, waits: &'static str, step: &'static str) -> Instant {
    Instant { rule, scene, at: t0() + at, waits, step }
}

fn frozen(scene: Scene, until: Span) -> Scene {
    scene.with(|s| s.document.intents.freeze = Some(Freeze { until: t0() + until, intent: by_ada(t0()) }))
}

fn changing_over() -> Vec<Instant> {
    let next = || signing().published("k2");
    let (target, probe) = (PlaceKind::Target, PlaceKind::Probe);
    let since = |at: Span| [("k2", t0() + at)];
    let lie = PROPAGATION.saturating_sub(Span::millis(1));
    let published = |scene: Scene, at: Span| {
        let stage = Stage::Published { since: t0() + at, not_before_active: t0() + at + PROPAGATION };
        scene.published("k2").with(|s| s.document.incoming[0].stage = stage)
    };
    vec![
        row("every verifier has had its chance", next(), PROPAGATION, "propagation", "activate k2"),
        row("the wait counts from published", published(signing(), hours(1)), hours(1) + PROPAGATION, "propagation", "activate k2"),
        row(
            "a file was repaired and has carried the key since",
            next().verifiers_read(target, "/jwks", &since(minutes(5))),
            minutes(5) + PROPAGATION,
            "propagation",
            "activate k2",
        ),
        row(
            "a probe lied until the last millisecond",
            next().verifiers_read(probe, "https://peer", &since(lie)),
            lie + PROPAGATION,
            "propagation",
            "activate k2",
        ),
        row(
            "the latest of all places counts",
            next()
                .verifiers_read(target, "/jwks", &since(minutes(5)))
                .verifiers_read(probe, "https://peer", &since(minutes(9)))
                .verifiers_read(probe, "https://other", &since(Span::ZERO)),
            minutes(9) + PROPAGATION,
            "propagation",
            "activate k2",
        ),
        row("the swap took three minutes", next().late("k2", t0() + minutes(3)), minutes(3) + PROPAGATION, "propagation", "activate k2"),
        row(
            "a restart costs a retry and the skew, not the whole wait",
            next().with(|s| s.observed.serving_since = t0() + minutes(18)),
            minutes(18 + 2 + 1),
            "serving",
            "activate k2",
        ),
        row("the window opens", next().windowed(), hours(3), "window", "activate k2"),
        row("ready after the window: tomorrow's", published(signing().windowed(), minutes(290)), hours(27), "window", "activate k2"),
        row(
            "one change-over in one window",
            next().windowed().with(|s| s.document.active.as_mut().unwrap().since = t0() + hours(3)),
            hours(27),
            "window",
            "activate k2",
        ),
        row("a freeze ends", frozen(next(), hours(2)), hours(2), "frozen", "activate k2"),
        row(
            "no key signs, and other replicas may lag",
            keyless().published("k2").with(|s| s.rules.shared_store = true),
            minutes(1),
            "store-refresh",
            "activate k2",
        ),
    ]
}

fn making() -> Vec<Instant> {
    let aged = |by: Span| signing().with(|s| s.document.active.as_mut().unwrap().key.created_at = t0().minus(by));
    let lead = |due: Span| due.saturating_sub(PROPAGATION);
    let expires = |at: Span| signing().with(|s| s.document.active.as_mut().unwrap().key.expires_at = Some(t0() + at));
    let asked = || signing().with(|s| s.document.intents.rotate = Some(by_ada(t0())));
    vec![
        row("due by schedule", signing(), lead(ROTATE_EVERY), "schedule", "generate"),
        row("due by age", aged(Span::days(5)), lead(MAX_AGE.saturating_sub(Span::days(5))), "schedule", "generate"),
        row("due because its vendor lets it expire", expires(Span::days(3)), lead(Span::days(3)), "schedule", "generate"),
        row("a window may take a day to come", signing().windowed(), lead(Span::days(9)), "schedule", "generate"),
        row("due and frozen", frozen(signing(), Span::days(11)), Span::days(11), "frozen", "generate"),
        row("asked for and frozen", frozen(asked(), hours(1)), hours(1), "frozen", "generate"),
    ]
}

fn seeing_out() -> Vec<Instant> {
    let old = || signing().erased("k0");
    let orphaned = |scene: Scene| scene.with(|s| s.rules = Rules::orphan(&s.document));
    let lowered = |scene: Scene, until: Span| {
        let draining = Draining { value: hours(24), until: t0() + until };
        scene.with(|s| s.document.facts.token_ttl.draining.push(draining))
    };
    vec![
        row("nothing can be rolled back any more", signing().retiring("k0"), ROLLBACK, "rollback-window", "erase k0"),
        row(
            "the change-over's swap took three minutes",
            signing().retiring("k0").late("k0", t0() + minutes(3)),
            minutes(3) + ROLLBACK,
            "rollback-window",
            "erase k0",
        ),
        row("its last token is dead", old(), RETENTION, "retention", "retire k0"),
        row("its swap took five minutes", old().late("k0", t0() + minutes(5)), minutes(5) + RETENTION, "retention", "retire k0"),
        row(
            "a signer's file named it ten minutes longer",
            old().signers_read("/env", &[("k0", t0() + minutes(10))]),
            minutes(10) + RETENTION,
            "retention",
            "retire k0",
        ),
        row("in no policy any more, and still promised", orphaned(old()), RETENTION, "retention", "retire k0"),
        row("tokens were longer until two hours after", lowered(old(), hours(2)), hours(2), "", "retire k0"),
        row("the oldest goes first", old().with(|s| *s = s.clone().erased("k-older")), RETENTION, "retention", "retire k-older"),
    ]
}

fn unannounced() -> Vec<Instant> {
    let raised = |s: &mut Scene| {
        s.document.facts.token_ttl.raised_at = Some(t0());
        s.rules.facts.token_ttl = minutes(5);
    };
    let behind = || signing().staged("k2").verifiers_read(PlaceKind::Target, "/jwks", &[]);
    let expiring = |at: Span| signing().published("k2").with(|s| s.document.incoming[0].key.expires_at = Some(t0() + at));
    vec![
        row("a fact just raised is lowered when its tokens are gone", signing().with(raised), DRAIN, "", "adopt-facts"),
        row("it expired before it ever signed", expiring(minutes(10)), minutes(10), "", "discard k2"),
        row("it grew too old before it ever signed", behind(), MAX_AGE, "", "discard k2"),
        row(
            "a time in the future has come, but for the skew",
            signing().staged("k2").with(|s| s.document.updated_at = t0() + minutes(5)),
            minutes(4),
            "",
            "confirm-published k2",
        ),
    ]
}

#[test]
fn a_successor_takes_over_at_its_moment() {
    changing_over().iter().for_each(Instant::holds);
}

#[test]
fn a_successor_is_made_at_its_moment() {
    making().iter().for_each(Instant::holds);
}

#[test]
fn an_old_key_goes_at_its_moment() {
    seeing_out().iter().for_each(Instant::holds);
}

#[test]
fn what_is_not_announced_is_woken_for_all_the_same() {
    unannounced().iter().for_each(Instant::holds);
}

#[test]
fn what_is_done_at_once() {
    let emergency = |scene: Scene| {
        frozen(scene.windowed(), Span::days(9)).with(|s| s.rules.mode = Mode::Approve).verifiers_read(PlaceKind::Probe, "peer", &[])
    };
    let tombstones = |s: &mut Scene| {
        let gone = keyrota::document::Tombstone {
            kid: kid("gone"),
            algorithm: Algorithm::EdDsa,
            created_at: t0(),
            published_at: None,
            activated_at: None,
            retiring_at: None,
            ended_at: t0(),
            end: keyrota::document::End::Retired,
        };
        let of = |n| keyrota::document::Tombstone { kid: kid(&format!("gone-{n}")), ..gone.clone() };
        s.document.tombstones = (0..=TOMBSTONES_KEPT).map(of).collect();
    };
    let es256 = |s: &mut Scene| s.rules.spec = pair_spec(Algorithm::ES256);
    let raised = |s: &mut Scene| s.rules.facts.token_ttl = hours(24);
    let lowered = |s: &mut Scene| s.rules.facts.token_ttl = minutes(1);
    let kept = |s: &mut Scene| s.rules.mode = Mode::Manual;
    let rows: Vec<(&str, Scene, &str)> = vec![
        ("the first key of a keyset", unstored(), "generate"),
        ("no key at all, in a keyset that once had one", keyless().with(|s| s.observed.may_create = false), "generate"),
        ("no key signs: mode, freeze and window do not count", emergency(keyless().published("k2")), "activate k2"),
        ("no key signs, and one was made: mode, freeze and window do not count", emergency(keyless()), "generate"),
        ("no place to write to", signing().staged("k2"), "confirm-published k2"),
        (
            "a probe does not hinder publishing",
            signing().staged("k2").verifiers_read(PlaceKind::Probe, "peer", &[]),
            "confirm-published k2",
        ),
        ("a raised fact", signing().with(raised), "adopt-facts"),
        ("a fact lowered that was not raised lately", signing().with(lowered), "adopt-facts"),
        ("facts come before everything", keyless().published("k2").with(raised), "adopt-facts"),
        ("another algorithm is asked for", signing().published("k2").with(es256), "discard k2"),
        ("another algorithm brings the rotation forward", signing().with(es256), "generate"),
        ("an operator asked", signing().with(|s| s.document.intents.rotate = Some(by_ada(t0()))), "generate"),
        (
            "an operator asked, who rotates by hand",
            signing().with(kept).with(|s| s.document.intents.rotate = Some(by_ada(t0()))),
            "generate",
        ),
        ("too many tombstones", signing().with(tombstones), "forget"),
    ];
    for (rule, scene, step) in rows {
        now_does(rule, &scene, step);
    }
}

#[test]
fn a_window_is_closed_at_the_moment_it_closes() {
    let scene = signing().published("k2").windowed();
    let closes = t0() + hours(5);
    now_does("the window's last millisecond", &scene.clone().at(closes.minus(Span::millis(1))), "activate k2");
    let wait = waiting("the window has closed", &scene.at(closes));
    assert_eq!(wait.pending[0].because.name(), "window");
    assert_eq!(wait.until, Some(t0() + hours(27)));
}

#[test]
fn another_specification_brings_one_rotation_forward_and_not_two() {
    let started = |s: &mut Scene| {
        s.rules.spec = pair_spec(Algorithm::ES256);
        s.document.started_specs.push(s.rules.spec.digest());
    };
    let wait = waiting("it has been started once", &signing().with(started));
    assert_eq!(wait.pending[0].because.name(), "schedule");
    let wait = waiting("the other replica's key is left alone", &signing().published("k2").with(started));
    assert_eq!(wait.pending[0].because.name(), "propagation");
}

#[test]
fn jitter_brings_a_rotation_forward_by_a_steady_share() {
    let generate_at = |name: &str| -> Timestamp {
        let scene = signing().with(|s| {
            s.rules.jitter = hours(24);
            s.document.active.as_mut().unwrap().key.kid = kid(name);
        });
        let active = scene.document.active.as_ref().unwrap();
        Waits::at(&scene.document, &scene.rules, t0()).generate_at(active, &scene.rules)
    };
    let latest = t0() + ROTATE_EVERY.saturating_sub(PROPAGATION);
    let found: std::collections::BTreeSet<_> = (0..50).map(|n| generate_at(&format!("kid-{n}"))).collect();
    assert!(found.iter().all(|at| *at <= latest && *at >= latest.minus(hours(24))));
    assert!(found.len() > 45, "spread: {found:?}");
    assert_eq!(generate_at("kid-1"), generate_at("kid-1"));
}
