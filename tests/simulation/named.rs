//! Worlds with a name: each broke an earlier draft of the design.

use keyrota::document::{Document, StateName};
use keyrota::operator::Verb;
use keyrota::policy::{Audience, Window};
use keyrota::time::Span;

use crate::faults;
use crate::mutants::Mutant;
use crate::seeds::file;
use crate::world::{Act, World, rules};

pub type Named = fn(Option<Mutant>) -> Result<(), String>;

pub fn all() -> Vec<(&'static str, Named)> {
    vec![
        ("a fact lowered just before a rotation", fact_lowered),
        ("a verifier fact lowered just before a rotation", verifier_fact_lowered),
        ("a fact raised on one of three replicas", fact_raised_on_one),
        ("an outage right after an activation, longer than retention", outage_after_activation),
        ("a signers' file that could not be written", signer_file_stuck),
        ("a verifiers' file that could not be written", verifier_file_stuck),
        ("a replica cut off for hours while another rotates", replica_cut_off),
        ("a replica frozen for hours while another rotates", replica_frozen),
        ("a lone daemon frozen in the middle of a swap", frozen_in_swap),
        ("one of three clocks a day ahead for a minute", clock_ahead),
        ("a reboot every night", reboot_every_night),
        ("a reboot ten minutes before every window", reboot_before_window),
        ("a daily window with rotate_every a little over a day", daily_window),
        ("the active key revoked with no successor", revoked_without_successor),
        ("freeze and revoke together", freeze_and_revoke),
        ("a file reverted while the daemon was down", file_reverted),
        ("a brownfield target with an unknown key", brownfield),
        ("a document restored from yesterday", restored),
        ("a witness away while a rotation begins", witness_away),
        ("a store put back before the witness could be told", put_back_untold),
        ("rollback while a successor waits", rollback_with_successor),
        ("a policy flip-flop between replicas", flip_flop),
        ("a quick first hour of three replicas", first_hour),
        ("replicas that learn of everything as late as they may", late_learners),
        ("down from the announcement to past the propagation", down_over_propagation),
        ("shared caches that hold a key set for an hour", slow_caches),
        ("a signer that is stuck for hours and says so", stuck_signer),
        ("a restart while a signer is stuck", restart_with_a_stuck_signer),
        ("a week of plain rotation", plain),
    ]
}

pub const DAY: Span = Span::days(1);

/// A keyset that waits for signers up to twelve hours, with one that is stuck for six from just before the first change-over.
fn with_a_stuck_signer(seed: u64, mutant: Option<Mutant>) -> World {
    let mut rules = rules(DAY);
    rules.uptake_bound = Some(Span::hours(12));
    let mut world = World::new(seed, 1, rules, vec![file("/v", Audience::Verifiers)], mutant);
    world.at(Span::hours(1), Act::Signer { host: 0, name: "quick", stuck_for: Span::ZERO });
    world.at(DAY.saturating_sub(Span::minutes(5)), Act::Signer { host: 0, name: "stuck", stuck_for: Span::hours(6) });
    world
}

fn stuck_signer(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = with_a_stuck_signer(26, mutant);
    world.live(DAY * 4)?;
    let told = world.daemons[0].events.iter().any(|event| event.to_string().contains("although signer"));
    if told {
        return Err("the signer moved on in time, and was said to have overrun the bound".into());
    }
    world.must_have_converged()
}

fn restart_with_a_stuck_signer(mutant: Option<Mutant>) -> Result<(), String> {
    for seed in 0..4 {
        let mut world = with_a_stuck_signer(260 + seed, mutant);
        let at = DAY + Span::minutes(75 + 30 * seed);
        world.at(at, Act::Crash { daemon: 0, down_for: Span::minutes(1 + seed) });
        done(world, DAY * 4)?;
    }
    Ok(())
}

pub fn done(mut world: World, until: Span) -> Result<(), String> {
    world.live(until)?;
    world.must_have_converged()
}

/// The kids that have signed so far.
fn signed(world: &World) -> usize {
    world.exposure.kids_seen_active.len()
}

fn rotated(world: &World, at_least: usize) -> Result<(), String> {
    if signed(world) >= at_least { Ok(()) } else { Err(format!("only {} keys signed, not {at_least}", signed(world))) }
}

fn plain(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(1, 1, rules(DAY), vec![file("/v", Audience::Verifiers), file("/s", Audience::Signers)], mutant);
    world.live(DAY * 9)?;
    rotated(&world, 9)?;
    world.must_have_converged()
}

fn down_over_propagation(mutant: Option<Mutant>) -> Result<(), String> {
    for minute in 0..8 {
        let mut world = World::new(60 + minute, 1, rules(DAY), vec![], mutant);
        let announced = DAY.saturating_sub(Span::minutes(17));
        world.at(announced + Span::seconds(minute), Act::Crash { daemon: 0, down_for: Span::minutes(40 + minute) });
        done(world, DAY * 3)?;
    }
    Ok(())
}

fn slow_caches(mutant: Option<Mutant>) -> Result<(), String> {
    let mut rules = rules(DAY);
    rules.facts.cache_max_age = Span::hours(1);
    rules.max_age = DAY * 2;
    done(World::new(25, 1, rules, vec![], mutant), DAY * 5)
}

fn fact_lowered(mutant: Option<Mutant>) -> Result<(), String> {
    let mut rules = rules(DAY * 3);
    rules.facts.token_ttl = Span::hours(24);
    let mut world = World::new(2, 1, rules, vec![], mutant);
    let edit = (DAY * 3).saturating_sub(Span::minutes(55));
    world.at(edit, Act::Edit { daemons: vec![0], edit: Box::new(|r| r.facts.token_ttl = Span::minutes(5)) });
    world.at(edit, Act::Truth(Box::new(|t| t.token_ttl = Span::minutes(5))));
    done(world, DAY * 12)
}

fn verifier_fact_lowered(mutant: Option<Mutant>) -> Result<(), String> {
    let mut rules = rules(DAY * 3);
    rules.facts.verifier_refresh = Span::hours(6);
    rules.max_age = DAY * 4;
    let mut world = World::new(3, 1, rules, vec![], mutant);
    let edit = (DAY * 3).saturating_sub(Span::hours(6));
    world.at(edit, Act::Edit { daemons: vec![0], edit: Box::new(|r| r.facts.verifier_refresh = Span::minutes(10)) });
    world.at(edit, Act::Truth(Box::new(|t| t.verifier_refresh = Span::minutes(10))));
    done(world, DAY * 12)
}

fn fact_raised_on_one(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(4, 3, rules(DAY), vec![], mutant);
    let edit = DAY * 2 + Span::hours(12);
    world.at(
        edit,
        Act::Edit {
            daemons: vec![1],
            edit: Box::new(|r| {
                r.facts.token_ttl = Span::hours(9);
                r.facts.verifier_refresh = Span::hours(3);
            }),
        },
    );
    world.at(
        edit,
        Act::Truth(Box::new(|t| {
            t.token_ttl = Span::hours(9);
            t.verifier_refresh = Span::hours(3);
        })),
    );
    done(world, DAY * 8)
}

fn outage_after_activation(mutant: Option<Mutant>) -> Result<(), String> {
    for second in 0..12 {
        let mut world = World::new(50 + second, 1, rules(DAY), vec![file("/s", Audience::Signers)], mutant);
        let crash = (DAY + Span::seconds(second * 8)).saturating_sub(Span::seconds(30));
        world.at(crash, Act::Crash { daemon: 0, down_for: Span::hours(5) });
        done(world, DAY * 4)?;
    }
    Ok(())
}

fn signer_file_stuck(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(6, 1, rules(DAY), vec![file("/s", Audience::Signers)], mutant);
    world.at(DAY.saturating_sub(Span::hours(3)), Act::FilesAway { host: 0, away: true });
    world.at(DAY + Span::hours(9), Act::FilesAway { host: 0, away: false });
    done(world, DAY * 4)
}

fn verifier_file_stuck(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(7, 1, rules(DAY), vec![file("/v", Audience::Verifiers)], mutant);
    world.at(DAY.saturating_sub(Span::hours(3)), Act::FilesAway { host: 0, away: true });
    world.at(DAY + Span::hours(9), Act::FilesAway { host: 0, away: false });
    done(world, DAY * 4)
}

fn replica_cut_off(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(8, 3, rules(Span::hours(8)), vec![], mutant);
    for day in 1..6 {
        let host = usize::try_from(day % 3).unwrap();
        world.at(DAY * day, Act::StoreAway { hosts: vec![host], away: true });
        world.at(DAY * day + Span::hours(17), Act::StoreAway { hosts: vec![host], away: false });
    }
    done(world, DAY * 8)
}

fn replica_frozen(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(9, 3, rules(Span::hours(8)), vec![], mutant);
    for day in 1..6 {
        world.at(DAY * day, Act::Freeze { daemon: usize::try_from(day % 3).unwrap(), lasts: Span::hours(11) });
    }
    done(world, DAY * 8)
}

fn frozen_in_swap(mutant: Option<Mutant>) -> Result<(), String> {
    for seed in 0..12 {
        let mut world = World::new(1000 + seed, 1, rules(Span::hours(4)), vec![], mutant);
        world.direct_signers = true;
        world.freeze_in_swap = Some(Span::hours(3));
        world.live(DAY * 2)?;
    }
    Ok(())
}

fn clock_ahead(mutant: Option<Mutant>) -> Result<(), String> {
    let day = 86_400_000;
    let mut world = World::new(11, 3, rules(DAY * 2), vec![], mutant);
    for turn in 1..9 {
        let at = Span::hours(11) * turn;
        let host = usize::try_from(turn % 3).unwrap();
        world.at(at, Act::StepClock { host, by: day });
        world.at(at + Span::minutes(1), Act::StepClock { host, by: -day });
    }
    done(world, DAY * 9)
}

fn reboot_every_night(mutant: Option<Mutant>) -> Result<(), String> {
    let mut rules = rules(DAY * 3);
    rules.facts.token_ttl = DAY;
    let mut world = World::new(12, 1, rules, vec![], mutant);
    for night in 1..30 {
        world.at(DAY * night, Act::Crash { daemon: 0, down_for: Span::minutes(4) });
    }
    world.live(DAY * 30)?;
    rotated(&world, 9)?;
    world.must_have_converged()
}

fn reboot_before_window(mutant: Option<Mutant>) -> Result<(), String> {
    let mut rules = rules(DAY * 7);
    rules.window = Some(Window::parse("0 0 3 * * *", Span::hours(1), "UTC").unwrap());
    let mut world = World::new(13, 1, rules, vec![], mutant);
    for night in 1..30 {
        world.at(DAY * night + Span::minutes(170), Act::Crash { daemon: 0, down_for: Span::minutes(2) });
    }
    world.live(DAY * 30)?;
    rotated(&world, 4)?;
    world.must_have_converged()
}

fn daily_window(mutant: Option<Mutant>) -> Result<(), String> {
    let mut rules = rules(Span::hours(26));
    rules.window = Some(Window::parse("0 0 3 * * *", Span::hours(2), "Europe/Paris").unwrap());
    let mut world = World::new(14, 1, rules, vec![], mutant);
    for day in 1..20 {
        world.at(
            DAY * day,
            Act::Check(Box::new(|w: &World| {
                let live = w.document().map_or(0, |d| d.live().count());
                if live <= 4 { Ok(()) } else { Err(format!("{live} live keys")) }
            })),
        );
    }
    world.live(DAY * 20)?;
    if signed(&world) > 21 {
        return Err(format!("{} keys signed in 20 windows", signed(&world)));
    }
    world.must_have_converged()
}

fn revoke_active(document: &Document) -> Option<Verb> {
    document.active.as_ref().map(|a| Verb::Revoke { kid: a.key.kid.clone() })
}

fn revoked_without_successor(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(15, 3, rules(DAY * 2), vec![], mutant);
    world.at(DAY, Act::Operator(Box::new(revoke_active)));
    world.at(
        DAY + Span::minutes(5),
        Act::Check(Box::new(|w: &World| {
            let active = w.document().and_then(|d| d.active);
            active.map(|_| ()).ok_or_else(|| "five minutes after the revocation nothing signs".into())
        })),
    );
    done(world, DAY * 7)
}

fn freeze_and_revoke(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(16, 2, rules(DAY), vec![], mutant);
    let frozen_for = DAY * 3;
    world.at(Span::hours(12), Act::Operator(Box::new(move |d| Some(Verb::Freeze { until: d.updated_at + frozen_for }))));
    world.at(
        DAY * 2,
        Act::Check(Box::new(|w: &World| if signed(w) == 1 { Ok(()) } else { Err("it rotated although it was frozen".into()) })),
    );
    world.at(DAY * 2 + Span::minutes(1), Act::Operator(Box::new(revoke_active)));
    world.at(
        DAY * 2 + Span::minutes(10),
        Act::Check(Box::new(|w: &World| {
            let document = w.document().ok_or("no document")?;
            if document.active.is_some() { Ok(()) } else { Err("the freeze held up the successor of a revoked key".into()) }
        })),
    );
    done(world, DAY * 8)
}

fn file_reverted(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(17, 1, rules(DAY), vec![file("/v", Audience::Verifiers), file("/s", Audience::Signers)], mutant);
    for day in 1..6 {
        world.at((DAY * day).saturating_sub(Span::minutes(15)), Act::Crash { daemon: 0, down_for: Span::minutes(6) });
        world.at((DAY * day).saturating_sub(Span::minutes(12)), Act::Alter { host: 0 });
    }
    done(world, DAY * 9)
}

fn brownfield(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(18, 1, rules(DAY), vec![file("/v", Audience::Verifiers)], mutant);
    world.plant_foreign_file("/v");
    world.live(DAY * 3)?;
    let document = world.document().ok_or("no document")?;
    let staged = document.live().all(|l| l.state == StateName::Staged);
    let untouched = crate::outside::lock(&world.shared).hosts[0].files["/v"].foreign;
    if staged && untouched { Ok(()) } else { Err(format!("a foreign key was overwritten or ignored: {document:?}")) }
}

fn restored(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(19, 2, rules(Span::hours(8)), vec![], mutant);
    world.at(DAY * 2, Act::Restore { from: Span::hours(9) });
    world.at(DAY * 2 + Span::minutes(20), told_that_it_went_back());
    world.live(DAY * 3)
}

fn told_that_it_went_back() -> Act {
    Act::Check(Box::new(|w: &World| {
        let told = w.daemons.iter().flat_map(|d| &d.events).any(|e| e.to_string().contains("keyrota restored"));
        if told { Ok(()) } else { Err("nobody was told that the store went back".into()) }
    }))
}

fn witness_away(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(28, 1, rules(DAY), vec![], mutant);
    world.at(DAY.saturating_sub(Span::hours(2)), Act::WitnessAway { host: 0, away: true });
    world.at(DAY + Span::hours(2), Act::WitnessAway { host: 0, away: false });
    let told_of_it = |w: &World| {
        let told: Vec<_> = w.daemons[0].events.iter().map(ToString::to_string).filter(|told| told.contains("the witness")).collect();
        let lawful = told.len() == 3 && told[1].contains("overdue") && told[2].ends_with("works again");
        if lawful { Ok(()) } else { Err(format!("the witness was away once, and this was told: {told:?}")) }
    };
    world.at(DAY + Span::hours(2) + Span::minutes(2), Act::Check(Box::new(told_of_it)));
    done(world, DAY * 6)
}

/// The witness is away while a rotation begins, and when it is back the store holds what the witness knew: the process saw more.
fn put_back_untold(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(27, 1, rules(DAY), vec![], mutant);
    world.at(DAY.saturating_sub(Span::hours(2)), Act::WitnessAway { host: 0, away: true });
    world.at(DAY + Span::hours(1), Act::Restore { from: Span::hours(2) });
    world.at(DAY + Span::hours(2), Act::WitnessAway { host: 0, away: false });
    world.at(DAY + Span::hours(3), told_that_it_went_back());
    world.at(DAY + Span::hours(4), Act::Order { daemon: 0, wish: faults::go_on_from_here(false) });
    done(world, DAY * 6)
}

fn rollback_with_successor(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(20, 1, rules(DAY), vec![], mutant);
    world.at(DAY + Span::minutes(3), Act::Operator(Box::new(|_| Some(Verb::Rotate))));
    world.at(DAY + Span::minutes(4), Act::Operator(Box::new(|_| Some(Verb::RollBack))));
    world.at(
        DAY + Span::hours(3),
        Act::Check(Box::new(|w: &World| {
            let document = w.document().ok_or("no document")?;
            let restored = document.active.as_ref().is_some_and(|a| a.key.kid.as_str() == "k1");
            if restored && document.intents.hold.is_some() { Ok(()) } else { Err(format!("not rolled back and held: {document:?}")) }
        })),
    );
    let approve = |d: &Document| d.incoming.first().map(|i| Verb::Approve { kid: i.key.kid.clone() });
    world.at(DAY + Span::hours(4), Act::Operator(Box::new(approve)));
    done(world, DAY * 6)
}

fn flip_flop(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = World::new(21, 2, rules(DAY * 7), vec![], mutant);
    let respecify = |algorithm| {
        Box::new(move |r: &mut keyrota::rules::Rules| {
            r.spec = keyrota::key::KeySpec::Pair { algorithm, rsa_bits: 2048, kid: keyrota::key::KidFormat::Thumbprint, certificate: None };
            r.facts.token_ttl = Span::hours(2);
        })
    };
    world.at(DAY, Act::Edit { daemons: vec![1], edit: respecify(keyrota::key::Algorithm::RS256) });
    world.live(DAY * 6)?;
    if signed(&world) > 3 {
        return Err(format!("replicas with different policies took turns: {} keys signed in six days", signed(&world)));
    }
    let swaps = crate::outside::lock(&world.shared).swaps;
    if swaps > 60 { Err(format!("{swaps} swaps in six days")) } else { Ok(()) }
}

fn first_hour(mutant: Option<Mutant>) -> Result<(), String> {
    for seed in 0..20 {
        let mut world = World::new(2200 + seed, 3, rules(DAY), vec![], mutant);
        world.live(Span::hours(2))?;
    }
    Ok(())
}

fn late_learners(mutant: Option<Mutant>) -> Result<(), String> {
    for seed in 0..6 {
        let mut rules = rules(Span::hours(6));
        rules.facts.margin = Span::ZERO;
        rules.facts.store_refresh = Span::minutes(20);
        let world = World::new(2300 + seed, 4, rules, vec![], mutant);
        done(world, DAY * 5)?;
    }
    Ok(())
}

#[test]
fn every_named_world_keeps_the_promise() {
    for (name, world) in all() {
        if let Err(why) = world(None) {
            panic!("{name}: {why}");
        }
    }
}
