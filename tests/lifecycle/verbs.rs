//! What operators can ask: granted or refused, and never half done.

use keyrota::digest::Digest;
use keyrota::document::{End, Freeze, Grants, MOST_LIVE_KEYS};
use keyrota::name::Generation;
use keyrota::operator::{Refusal, Verb, apply};
use keyrota::policy::Mode;
use keyrota::time::Span;
use proptest::prelude::*;
use proptest::sample::select;

use crate::arbitrary::{config, scene};
use crate::fixture::{ROLLBACK, Scene, by_ada, keyless, kid, signing, t0};
use crate::properties::is_sound;
use crate::table::{now_does, waiting};

fn verb() -> impl Strategy<Value = Verb> {
    let kid = (0..=MOST_LIVE_KEYS).prop_map(|n| kid(&format!("k{n}")));
    let seen = Generation(90);
    let restored = Verb::Restored { revoked: vec![Digest::of(b"k0"), Digest::of(b"k3")], seen };
    let plain = select(vec![
        Verb::Rotate,
        Verb::RotateNow,
        Verb::Compromise,
        Verb::RollBack,
        Verb::Unfreeze,
        Verb::AcceptClock,
        Verb::AcceptDocument { revoked: vec![Digest::of(b"k0"), Digest::of(b"k3")], seen },
        restored,
    ]);
    prop_oneof![
        4 => plain,
        2 => kid.clone().prop_map(|kid| Verb::Revoke { kid }),
        1 => kid.prop_map(|kid| Verb::Approve { kid }),
        1 => (0..90u64).prop_map(|days| Verb::Freeze { until: t0() + Span::days(days) }),
        2 => select(vec![Grants::All, Grants::about("ada")]).prop_map(|whom| Verb::RevokeGrants { whom, before: None }),
    ]
}

fn asked(scene: &Scene, verb: &Verb) -> Result<Scene, Refusal> {
    let document = apply(&scene.document, verb, &scene.rules, by_ada(scene.observed.now), None)?;
    Ok(Scene { document, ..scene.clone() })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_verb_is_refused_or_leaves_a_legal_document(scene in scene(), verbs in proptest::collection::vec(verb(), 1..5)) {
        let mut scene = scene;
        for verb in verbs {
            let Ok(after) = asked(&scene, &verb) else { continue };
            is_sound(&after.document);
            let before = match &verb {
                Verb::AcceptDocument { seen, .. } | Verb::Restored { seen, .. } => scene.document.generation.max(*seen),
                _ => scene.document.generation,
            };
            prop_assert_eq!(after.document.generation, before.next());
            prop_assert_eq!(&after.document.lineage[0], &(scene.document.generation, scene.document.digest()));
            let told = after.document.history.last().unwrap();
            prop_assert_eq!((told.by.as_deref(), told.generation), (Some("ada (1000)"), after.document.generation));
            match &verb {
                Verb::Revoke { kid } => prop_assert!(after.document.live_key(kid).is_none(), "it is out of every key set"),
                Verb::Compromise => prop_assert_eq!(after.document.live().count(), 0, "no key is left"),
                Verb::Restored { revoked, .. } => {
                    let dead = |k: &keyrota::name::Kid| revoked.contains(&Digest::of(k.as_str().as_bytes()));
                    prop_assert!(after.document.incoming.is_empty() && after.document.live().all(|l| !dead(&l.key.kid)));
                }
                Verb::AcceptDocument { revoked, .. } => {
                    let dead = |k: &keyrota::name::Kid| revoked.contains(&Digest::of(k.as_str().as_bytes()));
                    let kept = scene.document.live().filter(|l| !dead(&l.key.kid)).count();
                    prop_assert_eq!(after.document.live().count(), kept, "only what was revoked goes");
                    prop_assert!(after.document.live().all(|l| !dead(&l.key.kid)));
                }
                Verb::AcceptClock => prop_assert!(after.document.latest_record() <= scene.observed.now),
                _ => prop_assert_eq!(after.document.live().count(), scene.document.live().count(), "no key comes or goes"),
            }
            scene = after;
        }
    }
}

#[test]
fn revoking_the_active_key_lets_a_published_successor_sign_in_the_same_swap() {
    let revoke = Verb::Revoke { kid: kid("k1") };
    let after = asked(&signing().published("k2"), &revoke).unwrap();
    assert_eq!(after.document.active.as_ref().unwrap().key.kid, kid("k2"));
    assert!(matches!(&after.document.tombstones[0].end, End::Revoked { reason, .. } if reason == "because"));
    for (why, scene) in [
        ("it is only staged", signing().staged("k2")),
        ("it is tainted", signing().published("k2").with(|s| s.document.intents.tainted.push((kid("k2"), by_ada(t0()))))),
        ("it has expired", signing().published("k2").with(|s| s.document.incoming[0].key.expires_at = Some(t0()))),
    ] {
        assert_eq!(asked(&scene, &revoke).unwrap().document.active, None, "{why}");
    }
    now_does("a new key is made at once", &asked(&signing(), &revoke).unwrap(), "generate");
    assert!(asked(&keyless(), &revoke).is_err(), "there is no such key");
}

#[test]
fn a_rollback_is_granted_within_its_window_and_holds_the_successor() {
    let scene = signing().retiring("k0").published("k2");
    let last = asked(&scene.clone().at(t0() + ROLLBACK.saturating_sub(Span::millis(1))), &Verb::RollBack).unwrap();
    assert_eq!(last.document.active.as_ref().unwrap().key.kid, kid("k0"));
    assert_eq!(last.document.retiring[0].key.kid, kid("k1"));
    let wait = waiting("held", &last.at(t0() + Span::days(2)).with(|s| s.document.retiring.clear()));
    assert_eq!((wait.pending[0].because.name(), wait.pending[0].kid.clone()), ("approval", Some(kid("k2"))));

    let refused = asked(&scene.at(t0() + ROLLBACK), &Verb::RollBack).unwrap_err();
    assert!(matches!(refused, Refusal::TooLate { .. }), "{refused}");
    assert!(refused.to_string().contains("30m") && refused.to_string().contains("hint:"), "{refused}");
    for (why, scene) in [("nothing signed before", signing()), ("its private half is gone", signing().erased("k0"))] {
        assert!(asked(&scene, &Verb::RollBack).is_err(), "{why}");
    }
}

#[test]
fn only_an_incoming_key_is_approved_and_once_is_enough() {
    let scene = signing().published("k2").with(|s| s.rules.mode = Mode::Approve);
    let approve = |name| Verb::Approve { kid: kid(name) };
    let once = asked(&scene, &approve("k2")).unwrap();
    assert_eq!(once.document.intents.approved.len(), 1);
    let twice = asked(&once, &approve("k2")).unwrap_err();
    assert!(twice.to_string().contains("approved already") && twice.to_string().contains("ada (1000)"), "{twice}");
    assert!(asked(&scene, &approve("k1")).is_err() && asked(&scene, &approve("k9")).is_err());
    let automatic = scene.with(|s| s.rules.mode = Mode::Auto);
    assert!(asked(&automatic, &approve("k2")).unwrap_err().to_string().contains("needs no approval"));
}

#[test]
fn a_freeze_holds_until_it_ends_or_is_taken_back() {
    let until = t0() + Span::hours(2);
    let due = signing().published("k2").at(t0() + Span::hours(1));
    let frozen = asked(&due, &Verb::Freeze { until }).unwrap();
    assert_eq!(frozen.document.intents.freeze, Some(Freeze { until, intent: by_ada(due.observed.now) }));
    assert_eq!(waiting("frozen", &frozen).until, Some(until));
    now_does("thawed", &asked(&frozen, &Verb::Unfreeze).unwrap(), "activate k2");
}

#[test]
fn accepting_the_clock_restarts_the_waits_of_times_in_the_future() {
    let ahead = signing().published("k2").with(|s| {
        s.document.active.as_mut().unwrap().since = t0() + Span::days(1);
        s.document.updated_at = t0() + Span::days(1);
    });
    assert_eq!(waiting("ahead", &ahead).pending[0].because.name(), "clock");
    let accepted = asked(&ahead, &Verb::AcceptClock).unwrap();
    assert_eq!(waiting("accepted", &accepted).pending[0].because.name(), "propagation");
    assert_eq!(accepted.document.active.unwrap().since, t0());
}

/// What is taken back stays so, whatever document comes back; and of a keyset that seals nothing there is nothing to take back.
#[test]
fn refresh_tokens_are_taken_back_by_the_keyset_that_seals_them() {
    let all = Verb::RevokeGrants { whom: Grants::All, before: None };
    let scene = signing();
    assert!(matches!(asked(&scene, &all), Err(Refusal::Pointless { what, .. }) if what.contains("no refresh tokens are sealed")));
    let mut scene = scene;
    scene.rules.seals = true;
    let (now, seen) = (scene.observed.now, Generation(90));
    let before = now.minus(Span::minutes(5));
    let about = |name: &str| Verb::RevokeGrants { whom: Grants::about(name), before: Some(before) };
    let after = (0..64).fold(scene.clone(), |scene, n| asked(&scene, &about(&n.to_string())).unwrap());
    assert_eq!((after.document.revoked_grants.len(), after.document.revoked_grants[0].before), (64, before));
    assert!(matches!(asked(&after, &about("one more")), Err(Refusal::Illegal(_))));
    for verb in [all, Verb::Restored { revoked: Vec::new(), seen }, Verb::AcceptDocument { revoked: Vec::new(), seen }] {
        let revoked = asked(&after, &verb).unwrap().document.revoked_grants;
        assert_eq!((revoked.len(), &revoked[0].whom, revoked[0].before), (1, &Grants::All, now), "{verb:?}");
        // Token 46m and twice the skew of 1m later everything that was given before has expired.
        assert_eq!(revoked[0].until, now + Span::minutes(48));
    }
    let later =
        Scene { observed: keyrota::observed::Observed { now: before + Span::minutes(48), ..after.observed.clone() }, ..after.clone() };
    assert_eq!(asked(&later, &Verb::Rotate).unwrap().document.revoked_grants, [], "they go with the next change");
    for (before, says) in [(now + Span::millis(1), "still to come"), (now.minus(Span::minutes(48)), "has expired")] {
        let verb = Verb::RevokeGrants { whom: Grants::All, before: Some(before) };
        assert!(matches!(asked(&scene, &verb), Err(Refusal::Pointless { what, .. }) if what.contains(says)), "{says}");
    }
}
