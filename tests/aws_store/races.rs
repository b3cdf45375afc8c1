//! Thousands of lives of two to five writers, interleaved at every call, that crash, wait, lose answers and read the past. Judged from
//! outside, by what came into force: no update is lost, nobody is told a lie, and when the faults stop, everybody gets on.
//!
//! A failure prints its seed: `KEYROTA_AWS_SEED=<seed> cargo test --test aws_store one_life`; `KEYROTA_AWS_SEEDS=<count>` lives more.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use keyrota::digest::Digest;
use keyrota::document::change::{Cause, Draft, Promise};
use keyrota::document::{Document, Trigger};
use keyrota::name::Generation;
use keyrota::store::{Store as _, SwapError};
use keyrota::time::{Span, Timestamp};

use crate::aws_fake::{Chance, Knobs};
use crate::contract::{first, name};
use crate::fixture::{Account, FakeStore, secret};

/// What writers were told, by the digest of the document that it was about.
#[derive(Default)]
struct Told {
    done: Vec<Digest>,
    not_done: Vec<(Digest, SwapError)>,
    /// Good swaps of each writer since faults stopped.
    steps: Vec<usize>,
    swaps: usize,
    conflicts: usize,
    unknown: usize,
}

type Shared = Arc<Mutex<Told>>;
type Life = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The next document, as every replica would decide it at this time, but for the kid of a new key and the reason.
fn decide(document: Option<&Document>, now: Timestamp, mark: &str) -> Document {
    let Some(document) = document else { return first("a", mark) };
    let cause = Cause { now, trigger: Trigger::Schedule, reason: mark.into(), by: None };
    let mut draft = Draft::of(document, Some(document.digest()), cause, Promise::default());
    if document.incoming.len() < 3 {
        let mut key = first("a", mark).incoming[0].key.clone();
        key.kid = mark.parse().unwrap();
        draft.stage(key).unwrap();
    } else {
        let oldest = document.incoming[0].key.kid.clone();
        draft.discard(&oldest, "enough").unwrap();
        draft.forget(3);
    }
    draft.finish()
}

async fn live(account: Arc<Account>, told: Shared, writer: usize) {
    // Nobody lives twice, so no two documents are the same by accident.
    let life = account.time.now().as_millis();
    let store: FakeStore = account.store();
    let mut held = None;
    for step in 0.. {
        let now = Timestamp::from_millis(1_000_000 + i64::try_from(account.time.now().as_millis()).unwrap());
        let next = decide(held.as_ref().map(|(document, _)| document), now, &format!("w{writer}.{life}.{step}"));
        let expected = held.as_ref().map(|(_, revision)| revision);
        let swapped = store.swap(expected, &next).await;
        let digest = next.digest();
        {
            let mut told = told.lock().unwrap();
            told.swaps += 1;
            match &swapped {
                Ok(_) => {
                    told.done.push(digest);
                    told.steps[writer] += 1;
                }
                Err(SwapError::Indeterminate(_)) => told.unknown += 1,
                Err(error) => {
                    told.conflicts += usize::from(*error == SwapError::Conflict);
                    told.not_done.push((digest, error.clone()));
                }
            }
        }
        match swapped {
            Ok(revision) => held = Some((next, revision)),
            Err(_) => {
                // Whatever happened, the answer is to look again.
                if let Ok(found) = store.load(&name("a")).await {
                    held = found.map(|found| (found.document, found.revision));
                }
            }
        }
    }
}

/// Lets chance decide who makes the next step, for so many steps.
fn interleave(account: &Arc<Account>, told: &Shared, lives: &mut [Option<Life>], chance: &mut Chance, steps: usize, crashes: u64) {
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..steps {
        let writer = chance.index(lives.len());
        let longest = if chance.one_in(50) { Span::seconds(30) } else { Span::millis(40) };
        account.time.pass(chance.span(longest));
        if crashes > 0 && chance.one_in(crashes) {
            lives[writer] = None;
            continue;
        }
        let life = lives[writer].get_or_insert_with(|| Box::pin(live(Arc::clone(account), Arc::clone(told), writer)));
        assert!(life.as_mut().poll(&mut context) == Poll::Pending, "writers do not stop");
    }
}

/// What came into force, as documents in order.
fn in_force(account: &Account) -> Vec<Document> {
    let service = account.calls.service();
    let texts = service.in_force.iter().filter(|(of, _, _)| *of == secret("a"));
    texts.map(|(_, _, text)| Document::from_stored(text.as_bytes()).unwrap()).collect()
}

fn judge(account: &Account, told: &Told) -> Result<usize, String> {
    let history = in_force(account);
    let digests: Vec<_> = history.iter().map(Document::digest).collect();
    for (n, pair) in history.windows(2).enumerate() {
        if pair[1].generation != pair[0].generation.next() || pair[1].lineage.first() != Some(&(pair[0].generation, digests[n])) {
            return Err(format!("generation {} came into force after {} and does not continue it", pair[1].generation, pair[0].generation));
        }
    }
    if history.first().is_some_and(|first| first.generation != Generation::FIRST) {
        return Err("the first generation is missing".into());
    }
    let unique: BTreeSet<_> = digests.iter().collect();
    if let Some(lost) = told.done.iter().find(|done| !unique.contains(done)) {
        return Err(format!("{lost} was said to be done and never came into force"));
    }
    if let Some((lie, error)) = told.not_done.iter().find(|(digest, _)| unique.contains(digest)) {
        return Err(format!("{lie} came into force, and its writer was told: {error}"));
    }
    let twice = told.done.len() - told.done.iter().collect::<BTreeSet<_>>().len();
    if twice > 0 {
        return Err(format!("{twice} changes were said to be done twice"));
    }
    Ok(history.len())
}

/// Lives one seed; answers how many changes came into force, swaps, conflicts and unknown ends.
fn one(seed: u64) -> Result<[usize; 4], String> {
    let mut chance = Chance::new(seed ^ 0x00AB_5EED);
    let account = Arc::new(Account::new(seed));
    let writers = 2 + chance.index(4);
    let faults = |chance: &mut Chance, most: u64| if chance.one_in(3) { 0 } else { chance.below(most) };
    let knobs = Knobs {
        throttled: faults(&mut chance, 150),
        unreachable: faults(&mut chance, 100),
        lost: faults(&mut chance, 250),
        stale: faults(&mut chance, 600),
        read_lag: chance.span(Span::seconds(5)),
        list_lag: Span::minutes(5),
        list_steady: chance.one_in(4),
        endless: !chance.one_in(4),
    };
    let crashes = if chance.one_in(3) { 0 } else { 20 + chance.below(200) };
    account.calls.service().knobs = knobs;
    let told: Shared = Arc::new(Mutex::new(Told { steps: vec![0; writers], ..Told::default() }));
    let mut lives: Vec<Option<Life>> = (0..writers).map(|_| None).collect();
    interleave(&account, &told, &mut lives, &mut chance, 1500, crashes);
    judge(&account, &told.lock().unwrap())?;
    // The faults stop, and a day passes, so that versions can be pruned again.
    account.calls.service().knobs = Knobs { endless: true, ..Knobs::default() };
    account.time.pass(Span::hours(25));
    told.lock().unwrap().steps = vec![0; writers];
    interleave(&account, &told, &mut lives, &mut chance, 600 * writers, 0);
    let together: usize = told.lock().unwrap().steps.iter().sum();
    if together < 20 {
        return Err(format!("all writers together got on only {together} times after the faults"));
    }
    // Together, one may be unlucky for long; alone nobody has an excuse.
    told.lock().unwrap().steps = vec![0; writers];
    for (writer, life) in lives.iter_mut().enumerate() {
        let life = life.take().unwrap_or_else(|| Box::pin(live(Arc::clone(&account), Arc::clone(&told), writer)));
        let mut alone = [Some(life)];
        interleave(&account, &told, &mut alone, &mut chance, 150, 0);
    }
    let told = told.lock().unwrap();
    let history = judge(&account, &told)?;
    if let Some(stuck) = told.steps.iter().position(|steps| *steps < 3) {
        return Err(format!("writer {stuck} got on only {} times after the faults", told.steps[stuck]));
    }
    Ok([history, told.swaps, told.conflicts, told.unknown])
}

fn many(seeds: impl Iterator<Item = u64>) -> [usize; 4] {
    let mut sums = [0; 4];
    for seed in seeds {
        let counted = one(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        for (sum, count) in sums.iter_mut().zip(counted) {
            *sum += count;
        }
    }
    let [changes, swaps, conflicts, unknown] = sums;
    println!("{changes} changes came into force in {swaps} swaps; {conflicts} conflicts, {unknown} unknown ends; nothing was lost");
    sums
}

#[test]
fn fixed_lives_lose_nothing() {
    let [changes, _, conflicts, unknown] = many(0..400);
    assert!(changes > 400 * 50, "the lives hardly change anything: {changes}");
    assert!(conflicts > 1000 && unknown > 100, "the lives hardly meet: {conflicts}, {unknown}");
}

#[test]
fn random_lives_lose_nothing() {
    let count: u64 = std::env::var("KEYROTA_AWS_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(50);
    let start = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() << 20;
    many(start..start + count);
}

#[test]
fn one_life() {
    let seed = std::env::var("KEYROTA_AWS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    many(seed..=seed);
}
