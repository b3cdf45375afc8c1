//! Verbs from every state a keyset can be in: what is granted, what is refused and how, and what is said beforehand.

use keyrota::document::{Stage, StateName};
use keyrota::key::Origin;
use keyrota::lifecycle::StepKind;
use keyrota::name::Generation;
use keyrota::observed::{Observed, PlaceKind};
use keyrota::operator::{ImportRole, Preview, Refusal, Verb, apply, preview, wants_key};
use keyrota::policy::{Source, Start, VerifierShape};
use keyrota::rules::Standing;
use keyrota::time::{Span, Timestamp};

use crate::fixture::{MAX_AGE, PROPAGATION, RETENTION, ROLLBACK, Scene, by_ada, keyless, kid, made, pair_spec, signing, t0, unstored};
use crate::table::{now_does, waiting};

/// store 1m + cache 1m + verifier 15m + retry 2m + 2 x skew 1m.
const FORGETTING: Span = Span::minutes(21);
const MOMENT: Span = Span::millis(1);

fn revoke(name: &str) -> Verb {
    Verb::Revoke { kid: kid(name) }
}

/// Grants the verb, with the key that it takes.
fn asked(scene: &Scene, verb: &Verb) -> Result<Scene, Refusal> {
    let now = scene.observed.now;
    let key = wants_key(&scene.document, verb, &scene.rules, now).then(|| made(&scene.rules.spec, "fresh", now));
    let document = apply(&scene.document, verb, &scene.rules, by_ada(now), key)?;
    document.check().unwrap();
    Ok(Scene { document, ..scene.clone() })
}

fn shown(scene: &Scene, verb: &Verb) -> Preview {
    let now = scene.observed.now;
    preview(&scene.document, verb, &scene.rules, by_ada(now), &Observed::quiet(now)).unwrap()
}

#[track_caller]
fn refused(scene: &Scene, verb: &Verb, harmful: bool, says: &str) {
    let refusal = asked(scene, verb).expect_err("refused");
    let text = refusal.to_string();
    assert!(text.contains(says) && text.contains("; hint: "), "{text}");
    assert_eq!(refusal.is_unsafe(), harmful, "{text}");
}

fn accept(revoked: &[&str], seen: u64) -> Verb {
    let digests = revoked.iter().map(|name| keyrota::digest::Digest::of(name.as_bytes()));
    Verb::AcceptDocument { revoked: digests.collect(), seen: Generation(seen) }
}

fn orphan(scene: Scene) -> Scene {
    scene.with(|s| s.rules.standing = Standing::Orphaned)
}

fn external(scene: Scene) -> Scene {
    scene.with(|s| s.rules.source = Source::External)
}

fn frozen(scene: &Scene) -> Scene {
    asked(scene, &Verb::Freeze { until: t0() + Span::days(1) }).unwrap()
}

#[test]
fn every_wrong_use_is_a_sentence_with_a_hint() {
    let all = [Verb::Rotate, Verb::RotateNow, revoke("k1"), Verb::Compromise, Verb::RollBack, Verb::Unfreeze, accept(&[], 0)];
    for verb in &all {
        refused(&unstored(), verb, false, "has no key yet");
    }
    for verb in [Verb::Rotate, Verb::RotateNow] {
        refused(&orphan(signing()), &verb, true, "in no policy that is in force");
        refused(&external(signing()), &verb, true, "keyrota makes none");
        refused(&signing().with(|s| s.rules.standing = Standing::Broken), &verb, true, "policy file of test/sessions is broken");
        refused(&frozen(&signing()), &verb, true, "is frozen until 2026-03-02T00:00:00.000Z by ada (1000) (because)");
        refused(&keyless(), &verb, false, "no active key");
        refused(&asked(&signing(), &verb).unwrap(), &verb, false, "was asked for already, at 2026-03-01T00:00:00.000Z by ada (1000)");
    }
    refused(&signing().with(|s| s.rules.verifier = VerifierShape::SingleKey), &Verb::RotateNow, true, "holds a single key");
    refused(&signing(), &revoke("k9"), false, "no live key k9");
    refused(&asked(&signing(), &revoke("k1")).unwrap(), &revoke("k1"), false, "was revoked already");
    refused(&keyless(), &Verb::Compromise, false, "no live key that could be replaced");
    refused(&signing(), &Verb::Unfreeze, false, "is not frozen");
    refused(&signing(), &Verb::Freeze { until: t0() }, false, "is over");
    refused(&orphan(signing()), &Verb::Freeze { until: t0() + MOMENT }, false, "nothing is scheduled");
    refused(&signing(), &Verb::AcceptClock, false, "lies in the future");
    refused(&signing(), &Verb::Init, false, "exists already, at generation 7");
    refused(&orphan(unstored()), &Verb::Init, false, "in a policy that is in force");
    refused(&unstored().with(|s| s.rules.start = Start::Import), &Verb::Init, false, "is handed in, not made");
}

#[test]
fn no_verb_leaves_a_keyset_without_a_key_that_lives_or_comes() {
    for (lonely, says) in [(orphan(signing()), "in no policy that is in force"), (external(signing()), "hand in the vendor's new key")] {
        refused(&lonely, &revoke("k1"), true, says);
        refused(&lonely, &Verb::Compromise, true, says);
        refused(
            &lonely.clone().retiring("k0").staged("k2").with(|s| s.rules.standing = Standing::Orphaned),
            &revoke("k1"),
            true,
            "in no policy that is in force",
        );
        let relieved = lonely.published("k2");
        assert_eq!(asked(&relieved, &revoke("k1")).unwrap().document.active.unwrap().key.kid, kid("k2"), "its successor signs");
        assert!(asked(&relieved, &revoke("k2")).is_ok(), "an incoming key may go");
    }
    let alone = asked(&signing(), &revoke("k1")).unwrap();
    assert_eq!(alone.document.incoming[0].key.kid, kid("fresh"), "its successor enters in the same swap");
    assert!(alone.document.active.is_none());
    let announced = asked(&signing().staged("k2"), &revoke("k1")).unwrap();
    assert_eq!(announced.document.incoming.len(), 1, "one that is on its way is enough");
    let broken = signing().with(|s| s.rules.standing = Standing::Broken);
    assert!(asked(&broken, &revoke("k1")).is_ok() && asked(&broken, &Verb::Compromise).is_ok(), "a leak does not wait for a policy");
    now_does("it is published next", &alone, "confirm-published fresh");
}

#[test]
fn a_compromise_replaces_every_key() {
    let scene = signing().retiring("k0").published("k2").staged("k3");
    let after = asked(&scene, &Verb::Compromise).unwrap().document;
    let live: Vec<_> = after.live().map(|l| (l.key.kid.to_string(), l.state)).collect();
    assert_eq!(live, [("fresh".to_owned(), StateName::Staged)]);
    for name in ["k0", "k1", "k2", "k3"] {
        assert!(after.tombstones.iter().any(|t| t.kid == kid(name) && t.end.state() == StateName::Revoked), "{name}");
    }
    assert!(asked(&frozen(&scene), &Verb::Compromise).is_ok(), "a freeze does not hold it");
}

#[test]
fn a_revocation_is_confirmed_when_no_place_and_no_cache_can_hold_it() {
    let revoked = asked(&signing().retiring("k0"), &revoke("k0")).unwrap();
    let last = waiting("caches may hold it", &revoked.clone().at(t0() + FORGETTING.saturating_sub(MOMENT)));
    assert_eq!(last.pending.iter().find(|p| p.step == StepKind::ConfirmRevoked).unwrap().at, Some(t0() + FORGETTING));
    now_does("none can", &revoked.clone().at(t0() + FORGETTING), "confirm-revoked k0");

    let late = revoked.at(t0() + FORGETTING);
    let held = late.clone().verifiers_read(PlaceKind::Target, "/jwks", &[("k1", t0()), ("k0", t0())]);
    let away = late.clone().verifiers_read(PlaceKind::Target, "/jwks", &[]);
    for scene in [held, away] {
        let wait = waiting("a place may hold it", &scene);
        let pending = wait.pending.iter().find(|p| p.step == StepKind::ConfirmRevoked).unwrap();
        assert_eq!((pending.at, pending.because.to_string().as_str()), (None, "/jwks still holds it, or cannot be read"));
    }
    let without = late.verifiers_read(PlaceKind::Target, "/jwks", &[("k1", t0())]);
    now_does("it was read back without it", &without, "confirm-revoked k0");
}

#[test]
fn rotate_now_goes_without_waits_but_never_before_the_key_can_be_fetched() {
    let published = asked(&signing().published("k2"), &Verb::RotateNow).unwrap();
    assert_eq!(published.document.active.as_ref().unwrap().key.kid, kid("k2"));
    assert_eq!(published.document.retiring[0].key.kid, kid("k1"), "tokens of the key before stay good");

    let alone = asked(&signing().windowed(), &Verb::RotateNow).unwrap();
    assert_eq!(alone.document.active.as_ref().unwrap().key.kid, kid("k1"), "the old key signs until the new one can be fetched");
    now_does("first the new key is announced", &alone, "confirm-published fresh");
    let stage = Stage::Published { since: t0(), not_before_active: t0() + PROPAGATION };
    let announced = alone.with(|s| s.document.incoming[0].stage = stage);
    now_does("then it signs, whatever window and wait say", &announced, "activate fresh");
    let over = asked(&signing().published("k2"), &Verb::RotateNow).unwrap();
    assert!(over.document.intents.rotate_now.is_none(), "a wish that came true is forgotten");
}

#[test]
fn a_rotation_that_was_asked_for_keeps_every_wait() {
    let scene = asked(&signing(), &Verb::Rotate).unwrap();
    now_does("it begins", &scene, "generate");
    let coming = signing().published("k2").with(|s| s.document.intents.rotate = Some(by_ada(t0())));
    let wait = waiting("it waits", &coming.clone().at(t0() + PROPAGATION.saturating_sub(MOMENT)));
    assert_eq!(wait.until, Some(t0() + PROPAGATION));
    now_does("it happens", &coming.at(t0() + PROPAGATION), "activate k2");
}

#[test]
fn a_rollback_is_refused_from_its_very_end_on() {
    let scene = signing().retiring("k0");
    assert!(asked(&scene.clone().at(t0() + ROLLBACK.saturating_sub(MOMENT)), &Verb::RollBack).is_ok());
    refused(&scene.at(t0() + ROLLBACK), &Verb::RollBack, true, "the rollback window of 30m was over");
    refused(&signing(), &Verb::RollBack, true, "no key signed before");
    refused(&signing().erased("k0"), &Verb::RollBack, true, "has been erased");
    let verified = signing().retiring("k0").with(|s| s.document.retiring[0].activated_at = None);
    refused(&verified, &Verb::RollBack, true, "verified only");
    let back = asked(&signing().retiring("k0"), &Verb::RollBack).unwrap();
    let active = back.document.active.as_ref().unwrap();
    assert_eq!(active.key.created_at, t0().minus(Span::days(9)), "its age counts from its creation");
    assert_eq!(asked(&back, &Verb::RollBack).unwrap().document.active.unwrap().key.kid, kid("k1"), "and back again");
}

#[test]
fn a_preview_names_what_moves_what_dies_and_until_when() {
    let scene = signing().retiring("k0").published("k2");
    let preview = shown(&scene, &revoke("k1"));
    let moves: Vec<_> = preview.moves.iter().map(|m| (m.kid.to_string(), m.from, m.to)).collect();
    let published = Some(StateName::Published);
    let expected = [("k2", published, StateName::Active), ("k1", Some(StateName::Active), StateName::Revoked)];
    assert_eq!(moves, expected.map(|(kid, from, to)| (kid.to_owned(), from, to)));
    assert_eq!((preview.deaths.len(), preview.deaths[0].kid.clone()), (1, kid("k1")));
    assert_eq!(preview.deaths[0].tokens_until, Some(t0() + RETENTION), "a signer may go on for a while");
    assert_eq!(preview.deaths[0].cached_until, t0() + FORGETTING);
    assert_eq!(preview.unheard[0].until, t0() + PROPAGATION, "the successor was published only now");
    let waited = shown(&scene.at(t0() + PROPAGATION), &revoke("k1"));
    assert!(waited.unheard.is_empty(), "every verifier has it");

    let emergency = shown(&signing(), &revoke("k1"));
    let steps: Vec<_> = emergency.later.iter().map(|l| (l.step, l.kid.clone(), l.at)).collect();
    let next = Some(kid("next-1"));
    assert_eq!(steps[..2], [(StepKind::ConfirmPublished, next.clone(), t0()), (StepKind::Activate, next, t0())]);
    assert!(emergency.notes.iter().any(|n| n.contains("nobody can sign")), "{:?}", emergency.notes);
    assert_eq!(emergency.unheard[0].kid, kid("next-1"));
}

#[test]
fn a_preview_of_a_plain_rotation_kills_nothing() {
    let preview = shown(&signing(), &Verb::Rotate);
    assert!(preview.moves.is_empty() && preview.deaths.is_empty() && preview.unheard.is_empty());
    let activates = preview.later.iter().find(|l| l.step == StepKind::Activate).unwrap();
    assert_eq!(activates.at, t0() + PROPAGATION);
}

#[test]
fn a_freeze_says_when_it_outlasts_the_key() {
    let stale: Timestamp = t0().minus(Span::hours(1)) + MAX_AGE;
    let notes = |until| shown(&signing(), &Verb::Freeze { until }).notes.join("\n");
    assert!(!notes(stale).contains("max_age"));
    assert!(notes(stale + MOMENT).contains("passes max_age 12d at 2026-03-12T23:00:00.000Z"), "{}", notes(stale + MOMENT));
}

#[test]
fn an_outcome_that_differs_has_another_name() {
    let name = |scene: &Scene, verb: &Verb| shown(scene, verb).fingerprint;
    let scene = signing().published("k2");
    assert_eq!(name(&scene, &revoke("k1")), name(&scene.clone().at(t0() + Span::minutes(1)), &revoke("k1")), "time alone changes nothing");
    assert_ne!(name(&scene, &revoke("k1")), name(&signing().published("k3"), &revoke("k1")));
    assert_ne!(name(&scene, &revoke("k1")), name(&signing().staged("k2"), &revoke("k1")));
    assert_ne!(name(&signing(), &Verb::Rotate), name(&scene, &Verb::Rotate));
}

#[test]
fn what_a_back_up_revived_goes_and_the_rest_is_rotated() {
    let digest = |name: &str| keyrota::digest::Digest::of(name.as_bytes());
    let scene = signing().retiring("k0").published("k2").staged("k3");
    let verb = Verb::Restored { revoked: vec![digest("k0")], seen: Generation(40) };
    let after = asked(&scene, &verb).unwrap().document;
    assert_eq!(after.generation, Generation(41), "no generation is used again");
    assert!(after.live_key(&kid("k0")).is_none() && after.live_key(&kid("k2")).is_none() && after.live_key(&kid("k3")).is_none());
    assert_eq!(after.active.as_ref().unwrap().key.kid, kid("k1"), "its tokens may be alive");
    assert_eq!(after.incoming[0].key.kid, kid("fresh"));
    assert!(after.intents.rotate.is_some());
    let leaked = Verb::Restored { revoked: vec![digest("k1")], seen: Generation(40) };
    assert!(asked(&signing(), &leaked).unwrap().document.active.is_none(), "a key that was revoked signs no more");
}

#[test]
fn what_is_accepted_is_taken_as_it_is_but_for_revocations() {
    let scene = signing().retiring("k0").published("k2");
    let after = asked(&scene, &accept(&[], 40)).unwrap().document;
    assert_eq!((after.generation, after.live().count()), (Generation(41), 3), "nothing goes, and no generation is used again");
    assert_eq!(after.lineage[0], (scene.document.generation, scene.document.digest()), "what it descends from is told as it was");
    let after = asked(&scene, &accept(&["k1", "k0"], 0)).unwrap().document;
    assert_eq!(after.generation, scene.document.generation.next());
    assert!(after.live_key(&kid("k0")).is_none() && after.live_key(&kid("k1")).is_none(), "revoked is revoked");
    assert!(after.active.is_none(), "its successor takes over as soon as the daemon looks");
    assert_eq!(after.incoming[0].key.kid, kid("k2"));
}

#[test]
fn an_imported_key_is_admitted_as_what_it_is() {
    let key = |name: &str| {
        let mut key = made(&pair_spec(keyrota::key::Algorithm::EdDsa), name, t0());
        key.origin = Origin::Imported;
        Box::new(key)
    };
    let import = |name: &str, role| Verb::Import { key: key(name), role };
    let next = asked(&signing(), &import("v1", ImportRole::Next)).unwrap();
    assert_eq!((next.document.incoming[0].key.kid.clone(), next.document.active.unwrap().key.kid), (kid("v1"), kid("k1")));
    refused(&signing(), &import("v1", ImportRole::Active), true, "signs with k1 already");
    let brownfield = unstored().with(|s| s.rules.start = Start::Import);
    let begun = asked(&brownfield, &import("v1", ImportRole::Active)).unwrap().document;
    assert_eq!((begun.active.as_ref().unwrap().key.kid.clone(), begun.generation), (kid("v1"), Generation(1)));
    assert_eq!(begun.facts.token_ttl.value, brownfield.rules.facts.token_ttl, "it holds the facts from its first moment");
    let verified = asked(&signing(), &import("v0", ImportRole::VerifyOnly)).unwrap().document;
    assert!(!verified.retiring[0].key.can_sign(), "what signs is not kept of a key that is only verified");
    assert_eq!(verified.retiring[0].verify_until, t0() + RETENTION);

    refused(&signing(), &import("k1", ImportRole::Next), false, "was used before");
    refused(&orphan(signing()), &import("v1", ImportRole::Next), false, "no policy in force");
    let old = Verb::Import { key: Box::new(keyrota::key::Key { expires_at: Some(t0()), ..*key("v1") }), role: ImportRole::Next };
    refused(&signing(), &old, false, "has expired already");
    let half = Verb::Import { key: Box::new(key("v1").erased()), role: ImportRole::Next };
    refused(&signing(), &half, false, "only the public half");
    let other = Verb::Import { key: Box::new(made(&pair_spec(keyrota::key::Algorithm::ES256), "v1", t0())), role: ImportRole::Next };
    refused(&signing(), &other, false, "asks for EdDSA, and this key is for ES256");
}
