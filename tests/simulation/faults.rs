//! Random lives: what chance does to a world.

use keyrota::document::{Document, FactName};
use keyrota::key::Algorithm;
use keyrota::name::{Generation, Kid};
use keyrota::operator::{ImportRole, Verb};
use keyrota::rules::Rules;
use keyrota::time::{Span, Timestamp};

use crate::aws_fake::Chance;
use crate::exposure::Truth;
use crate::outside::made;
use crate::world::{Act, Wish, World};

/// Schedules a random fault at a random moment before `until`.
/// In a world whose clocks are set nobody is restarted: a process that begins with a wrong clock cannot know it.
pub fn schedule(world: &mut World, chance: &mut Chance, until: Span, files: bool, clocks: bool) {
    let at = chance.span(until) + Span::minutes(1); // a clock that is wrong from the start cannot be told
    let daemons = world.daemons.len();
    let one = usize::try_from(chance.below(daemons as u64)).unwrap();
    let all: Vec<usize> = (0..daemons).collect();
    let some = if chance.one_in(2) { all.clone() } else { vec![one] };
    let outage = chance.span(Span::hours(30));
    match chance.below(14) {
        0 | 1 if !clocks => world.at(at, Act::Crash { daemon: one, down_for: chance.span(Span::hours(8)) }),
        3 | 4 => {
            world.at(at, Act::StoreAway { hosts: some.clone(), away: true });
            world.at(at + outage, Act::StoreAway { hosts: some, away: false });
        }
        5 => {
            world.at(at, Act::WitnessAway { host: one, away: true });
            world.at(at + chance.span(Span::hours(5)), Act::WitnessAway { host: one, away: false });
        }
        6 if files => {
            world.at(at, Act::FilesAway { host: one, away: true });
            world.at(at + outage, Act::FilesAway { host: one, away: false });
        }
        7 if files => world.at(at, Act::Alter { host: one }),
        0 | 1 | 8 if clocks => {
            let by = i64::try_from(chance.below(2 * 86_400_000)).unwrap() - 86_400_000;
            world.at(at, Act::StepClock { host: one, by });
            world.at(at + chance.span(Span::hours(2)), Act::StepClock { host: one, by: -by });
        }
        0..=2 | 6..=8 => world.at(at, Act::Freeze { daemon: one, lasts: chance.span(Span::hours(8)) }),
        9 => edit_facts(world, chance, at, all),
        10 => {
            world.at(at, Act::BreakPolicy { daemon: one, broken: true });
            world.at(at + chance.span(Span::hours(20)), Act::BreakPolicy { daemon: one, broken: false });
        }
        _ => world.at(at, Act::Order { daemon: one, wish: verb(chance) }),
    }
}

/// A back-up is put back. In the days after, operators say at each daemon that this is how it is, or that it was a back-up.
pub fn put_back(world: &mut World, chance: &mut Chance, until: Span) {
    let at = chance.span(until) + Span::hours(1);
    world.at(at, Act::Restore { from: chance.span(Span::days(3)) });
    let back_up = chance.one_in(2);
    for day in 0..3 {
        for daemon in 0..world.daemons.len() {
            let asked = at + Span::days(day) + Span::minutes(20) + chance.span(Span::hours(6));
            world.at(asked, Act::Order { daemon, wish: go_on_from_here(back_up) });
        }
    }
}

/// `keyrota restored`, or `keyrota accept`, as always if nothing is left; what only the host knows is filled in there.
pub fn go_on_from_here(back_up: bool) -> Wish {
    Box::new(move |document: &Document| {
        let (revoked, seen) = (Vec::new(), Generation(0));
        Some(if back_up && document.is_stored() { Verb::Restored { revoked, seen } } else { Verb::AcceptDocument { revoked, seen } })
    })
}

/// A vendor's key is handed in, to be the next one or to be verified only.
pub fn hand_in(world: &mut World, chance: &mut Chance, until: Span) {
    let daemon = usize::try_from(chance.below(world.daemons.len() as u64)).unwrap();
    let role = if chance.one_in(2) { ImportRole::Next } else { ImportRole::VerifyOnly };
    let wish = move |document: &Document| {
        let kid: Kid = format!("vendor-{}", document.generation).parse().unwrap();
        let key = made(kid, Algorithm::EdDsa, document.updated_at);
        Some(Verb::Import { key: Box::new(key), role })
    };
    world.at(chance.span(until) + Span::minutes(1), Act::Order { daemon, wish: Box::new(wish) });
}

/// The operator changes a fact: those who mint and verify go faster at once, and slower only when the document says so.
fn edit_facts(world: &mut World, chance: &mut Chance, at: Span, all: Vec<usize>) {
    let name = *chance.pick(&[FactName::TokenTtl, FactName::VerifierRefresh, FactName::SignerRefresh]);
    let value = match chance.below(3) {
        0 => Span::minutes(10),
        1 => Span::hours(1),
        _ => Span::hours(3),
    };
    // Replicas get the new file one after the other.
    for daemon in all {
        let edit = Box::new(move |rules: &mut Rules| *rules.facts.of_mut(name) = value);
        world.at(at + chance.span(Span::minutes(10)), Act::Edit { daemons: vec![daemon], edit });
    }
    let other_ways = Box::new(move |truth: &mut Truth| match name {
        FactName::TokenTtl => truth.token_ttl = value,
        FactName::VerifierRefresh => truth.verifier_refresh = value,
        _ => truth.signer_refresh = value,
    });
    world.at(at, Act::Truth(other_ways));
}

fn verb(chance: &mut Chance) -> Wish {
    let which = chance.below(11);
    let which_key = usize::try_from(chance.below(8)).unwrap();
    let frozen_for = chance.span(Span::days(5));
    Box::new(move |document: &Document| {
        let now: Timestamp = document.updated_at;
        match which {
            0 | 1 => Some(Verb::Rotate),
            2 => {
                let live: Vec<_> = document.live().map(|l| l.key.kid.clone()).collect();
                live.get(which_key % live.len().max(1)).cloned().map(|kid| Verb::Revoke { kid })
            }
            3 => Some(Verb::RollBack),
            4 => Some(Verb::Freeze { until: now + frozen_for }),
            5 => Some(Verb::Unfreeze),
            6 => Some(Verb::RotateNow),
            7 => Some(Verb::Compromise),
            // The key that signs, which is what an emergency is mostly about.
            8 => document.active.as_ref().map(|a| Verb::Revoke { kid: a.key.kid.clone() }),
            _ => document.incoming.first().map(|i| Verb::Approve { kid: i.key.kid.clone() }),
        }
    })
}
