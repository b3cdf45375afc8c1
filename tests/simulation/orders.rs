//! Worlds about operators' verbs, asked of a real daemon that may be overtaken, cut off or killed on the way.

use keyrota::document::Document;
use keyrota::key::Algorithm;
use keyrota::name::Kid;
use keyrota::operator::{ImportRole, Verb};
use keyrota::policy::{Audience, Mode};
use keyrota::time::Span;

use crate::mutants::Mutant;
use crate::outside::made;
use crate::seeds::file;
use crate::world::{Act, Wish, World, rules};

const DAY: Span = Span::days(1);

fn always(verb: Verb) -> Wish {
    Box::new(move |_| Some(verb.clone()))
}

fn revoke_active() -> Wish {
    Box::new(|d: &Document| d.active.as_ref().map(|a| Verb::Revoke { kid: a.key.kid.clone() }))
}

fn active(world: &World) -> Option<Kid> {
    world.document().and_then(|d| d.active.map(|a| a.key.kid))
}

/// Whether another key than `not` signs at that moment.
fn signs_another(world: &mut World, at: Span, not: &'static str) {
    let check = move |w: &World| match active(w) {
        Some(kid) if kid.as_str() != not => Ok(()),
        other => Err(format!("{other:?} signs, and {not} should not")),
    };
    world.at(at, Act::Check(Box::new(check)));
}

fn targets() -> Vec<keyrota::policy::Target> {
    vec![file("/v", Audience::Verifiers), file("/s", Audience::Signers)]
}

/// An emergency does not wait for verifiers, and every token of the key before stays good.
pub fn emergency_rotation(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(70, 1, rules(DAY * 5), targets(), mutant);
    world.at(DAY, Act::Order { daemon: 0, wish: always(Verb::RotateNow) });
    signs_another(&mut world, DAY + Span::minutes(5), "k1");
    world.live(DAY * 12)?;
    world.must_have_converged()
}

/// With a successor on its way, and a replica that hears of it late.
pub fn compromise_with_successor(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(71, 2, rules(DAY * 5), vec![], mutant);
    world.at(DAY, Act::Order { daemon: 0, wish: always(Verb::Rotate) });
    world.at(DAY + Span::minutes(6), Act::Order { daemon: 1, wish: always(Verb::Compromise) });
    signs_another(&mut world, DAY + Span::minutes(30), "k1");
    world.live(DAY * 12)?;
    world.must_have_converged()
}

/// The signing key leaks while the store is away from the daemon that is asked: nothing is done, and the next ask works.
pub fn revoked_at_the_second_try(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(72, 2, rules(DAY * 5), vec![], mutant);
    world.at(DAY, Act::StoreAway { hosts: vec![0], away: true });
    world.at(DAY + Span::minutes(1), Act::Order { daemon: 0, wish: revoke_active() });
    world.at(DAY + Span::minutes(2), Act::Order { daemon: 1, wish: revoke_active() });
    signs_another(&mut world, DAY + Span::minutes(30), "k1");
    world.at(DAY + Span::hours(3), Act::StoreAway { hosts: vec![0], away: false });
    world.live(DAY * 8)?;
    world.must_have_converged()
}

/// The daemon dies somewhere on the way of a verb, again and again.
pub fn killed_on_the_way(mutant: Option<Mutant>) -> Result<(), String> {
    for step in 0..12 {
        let mut world = World::new(80 + step, 1, rules(DAY * 5), targets(), mutant).troubled(100);
        let at = DAY + Span::millis(step * 25);
        world.at(DAY, Act::Order { daemon: 0, wish: revoke_active() });
        world.at(at, Act::Crash { daemon: 0, down_for: Span::minutes(step) });
        world.at(DAY * 2, Act::Order { daemon: 0, wish: always(Verb::Compromise) });
        world.at(DAY * 2 + Span::millis(step * 25), Act::Crash { daemon: 0, down_for: Span::minutes(1) });
        world.live(DAY * 9)?;
        world.must_have_converged()?;
    }
    Ok(())
}

/// What leaked is gone at once, however long the next key takes: the key that signs with no successor, all of them, and a key that is
/// the only one on its way.
pub fn revoked_while_keys_are_slow(mutant: Option<Mutant>) -> Result<(), String> {
    let sole_incoming = |d: &Document| d.incoming.first().map(|i| Verb::Revoke { kid: i.key.kid.clone() });
    let wishes: [fn() -> Wish; 2] = [revoke_active, || always(Verb::Compromise)];
    for (seed, wish) in (90..).zip(wishes) {
        let mut world = World::new(seed, 1, rules(DAY * 5), targets(), mutant);
        world.at(DAY, Act::SlowKeys { lasts: Span::hours(1) });
        world.at(DAY + Span::minutes(1), Act::Order { daemon: 0, wish: wish() });
        let gone = |w: &World| match w.document() {
            Some(d) if d.live().next().is_none() => Ok(()),
            other => Err(format!("a leaked key waits for its successor: {other:?}")),
        };
        world.at(DAY + Span::minutes(2), Act::Check(Box::new(gone)));
        signs_another(&mut world, DAY + Span::hours(1) + Span::minutes(5), "k1");
        // Once more, while the key that follows is announced.
        world.at(DAY * 2, Act::Order { daemon: 0, wish: always(Verb::Rotate) });
        world.at(DAY * 2 + Span::minutes(1), Act::SlowKeys { lasts: Span::hours(1) });
        world.at(DAY * 2 + Span::minutes(1), Act::Order { daemon: 0, wish: Box::new(sole_incoming) });
        let none_on_its_way = |w: &World| match w.document() {
            Some(d) if d.incoming.is_empty() && d.active.is_some() => Ok(()),
            other => Err(format!("a key on its way was to be gone: {other:?}")),
        };
        world.at(DAY * 2 + Span::minutes(2), Act::Check(Box::new(none_on_its_way)));
        world.live(DAY * 10)?;
        world.must_have_converged()?;
    }
    Ok(())
}

/// Nothing changes over without an operator's word, and with it the change-over is as safe as any.
pub fn approved_by_hand(mutant: Option<Mutant>) -> Result<(), String> {
    let mut rules = rules(DAY);
    rules.mode = Mode::Approve;
    rules.max_age = DAY * 30;
    let mut world = World::new(73, 1, rules, vec![], mutant);
    let held = |w: &World| match active(w) {
        Some(kid) if kid.as_str() == "k1" => Ok(()),
        other => Err(format!("{other:?} signs, and nobody approved of it")),
    };
    world.at(DAY * 3, Act::Check(Box::new(held)));
    let approve = |d: &Document| d.incoming.first().map(|i| Verb::Approve { kid: i.key.kid.clone() });
    world.at(DAY * 3 + Span::minutes(1), Act::Order { daemon: 0, wish: Box::new(approve) });
    signs_another(&mut world, DAY * 3 + Span::minutes(10), "k1");
    world.live(DAY * 5)
}

/// The bad key's tokens stay good after a rollback.
pub fn rolled_back_at_once(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(74, 1, rules(DAY), targets(), mutant);
    world.at(DAY + Span::minutes(9), Act::Order { daemon: 0, wish: always(Verb::RollBack) });
    let approve = |d: &Document| d.incoming.first().map(|i| Verb::Approve { kid: i.key.kid.clone() });
    world.at(DAY * 2, Act::Order { daemon: 0, wish: Box::new(approve) });
    world.live(DAY * 6)?;
    world.must_have_converged()
}

#[test]
fn these_worlds_keep_the_promise() {
    for (name, world) in named() {
        world(None).unwrap_or_else(|why| panic!("{name}: {why}"));
    }
}

/// Before any key signs, one of two is revoked: the other goes on waiting until every replica has seen it.
pub fn revoked_before_any_signs(mutant: Option<Mutant>) -> Result<(), String> {
    for n in 0..6 {
        let mut world = World::new(90 + n, 4, rules(DAY * 5), vec![], mutant);
        let hand_in = |d: &Document| {
            let key = Box::new(made("vendor-1".parse().unwrap(), Algorithm::EdDsa, d.updated_at));
            Some(Verb::Import { key, role: ImportRole::Next })
        };
        let revoke = |d: &Document| d.incoming.first().map(|i| Verb::Revoke { kid: i.key.kid.clone() });
        world.at(Span::minutes(1), Act::Order { daemon: 2, wish: Box::new(hand_in) });
        world.at(Span::seconds(70), Act::Order { daemon: 1, wish: Box::new(revoke) });
        world.live(DAY * 12)?;
        world.must_have_converged()?;
    }
    Ok(())
}

pub fn named() -> Vec<(&'static str, crate::named::Named)> {
    vec![
        ("an emergency rotation", emergency_rotation),
        ("a compromise with a successor on its way", compromise_with_successor),
        ("a revocation at the second try", revoked_at_the_second_try),
        ("a daemon killed on the way of a verb", killed_on_the_way),
        ("a leak while keys take an hour to make", revoked_while_keys_are_slow),
        ("change-overs approved by hand", approved_by_hand),
        ("a revocation before any key signs", revoked_before_any_signs),
        ("a rollback right after the change-over", rolled_back_at_once),
    ]
}
