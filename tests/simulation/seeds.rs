//! Random worlds by seed. A fixed handful in every run; `KEYROTA_SIM_SEEDS=<count>` lives that many more, from the clock.

use keyrota::operator::Verb;
use keyrota::policy::{Audience, FileTarget, Target, TargetFormat, Window};
use keyrota::time::Span;

use crate::aws_fake::Chance;
use crate::edge;
use crate::faults;
use crate::mutants::Mutant;
use crate::world::{Act, World, rules};

pub fn file(path: &str, audience: Audience) -> Target {
    FileTarget { path: path.into(), format: TargetFormat::Document, audience, mode: 0o600, group: None, replace: false }.into()
}

/// Lives one random world of half a year.
pub fn live(seed: u64, mutant: Option<Mutant>) -> Result<World, String> {
    let mut chance = Chance::new(seed ^ 0xC0FF_EE00);
    let daemons = 1 + usize::try_from(chance.below(4)).unwrap();
    let mut rules = rules(*chance.pick(&[Span::days(7), Span::days(1), Span::hours(8), Span::days(30)]));
    rules.shared_store = daemons > 1;
    if chance.one_in(4) && rules.rotate_every > Span::days(2) {
        rules.window = Some(Window::parse("0 0 3 * * *", Span::hours(2), "Europe/Paris").unwrap());
    }
    let files = daemons == 1 && chance.one_in(2);
    let targets = if files { vec![file("/v", Audience::Verifiers), file("/s", Audience::Signers)] } else { Vec::new() };
    let length = rules.rotate_every.max(Span::days(2)) * 12;
    let settle = rules.rotate_every * 3 + Span::days(4);
    let mut world = World::new(seed, daemons, rules, targets, mutant).troubled(chance.below(60));
    if daemons > 1 && chance.one_in(2) {
        world = world.lagging(Span::seconds(30));
    }
    let clocks = chance.one_in(3);
    for _ in 0..chance.below(25) {
        faults::schedule(&mut world, &mut chance, length, files, clocks);
    }
    for _ in 0..chance.below(3) {
        faults::hand_in(&mut world, &mut chance, length);
    }
    if chance.one_in(8) {
        faults::put_back(&mut world, &mut chance, length);
    }
    let days_are_short = world.daemons[0].wanted.rules.rotate_every <= Span::days(1);
    let edge = seed.is_multiple_of(3) && daemons == 1 && days_are_short;
    if edge {
        world = edge::unreliable_now_and_then(world, &mut Chance::new(seed ^ 0xED6E), length);
    }
    // What stopped for good is started again, and what an operator froze or held is let go.
    world.live(length + Span::days(2))?;
    let all: Vec<usize> = (0..daemons).collect();
    let over = length + Span::days(2);
    let put_back = world.put_back;
    for daemon in all.iter().copied().filter(|_| put_back) {
        world.at(over + Span::hours(1), Act::Order { daemon, wish: faults::go_on_from_here(false) });
        world.at(over + Span::hours(2), Act::Order { daemon, wish: faults::go_on_from_here(false) });
    }
    world.at(over, Act::StoreAway { hosts: all.clone(), away: false });
    for host in all {
        world.at(over, Act::FilesAway { host, away: false });
        world.at(over, Act::WitnessAway { host, away: false });
    }
    world.at(over, Act::Operator(Box::new(|_| Some(Verb::Unfreeze))));
    world.at(over + Span::millis(1), Act::Operator(Box::new(|d| d.incoming.first().map(|i| Verb::Approve { kid: i.key.kid.clone() }))));
    if edge {
        edge::change(&mut world, over, edge::catch_up);
    }
    crate::outside::lock(&world.shared).trouble = 0;
    world.live(over + settle)?;
    world.must_have_converged()?;
    Ok(world)
}

#[test]
fn fixed_seeds_keep_the_promise() {
    let (mut checks, mut rotations) = (0, 0);
    for seed in 0..300 {
        let world = live(seed, None).unwrap_or_else(|why| panic!("{why}"));
        checks += world.exposure.checks;
        rotations += world.exposure.kids_seen_active.len();
    }
    println!("{checks} checks over {rotations} keys that signed");
    assert!(rotations > 300 * 8, "the worlds hardly rotate: {rotations}");
}

#[test]
fn one_seed() {
    let seed = std::env::var("KEYROTA_SIM_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    live(seed, None).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn random_seeds_keep_the_promise() {
    let count: u64 = std::env::var("KEYROTA_SIM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(20);
    let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() << 20;
    for seed in start..start + count {
        live(seed, None).unwrap_or_else(|why| panic!("{why}"));
    }
}

#[test]
fn a_seed_lives_the_same_life_twice() {
    let one = live(7, None).unwrap_or_else(|why| panic!("{why}"));
    let two = live(7, None).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(one.steps, two.steps);
    assert_eq!(crate::outside::lock(&one.shared).log, crate::outside::lock(&two.shared).log);
}
