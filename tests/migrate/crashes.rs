//! A mover that dies at every call there is, and another that goes on.

use std::sync::Arc;

use keyrota::document::Document;
use keyrota::migrate::{Moved, Standing, Stopped};
use keyrota::policy::Sweep;
use keyrota::store::Store;
use keyrota::store::aws::AwsStore;
use keyrota::store::aws::pace::Pace;
use keyrota::store::embedded::{EmbeddedStore, EnvironmentStore};
use keyrota::store::master_key::MasterKeySource;
use keyrota::store::seal::RandomId;
use keyrota::time::Span;

use crate::aws_fake::{FakeCalls, FakeTime};
use crate::contract::ENVIRONMENT;
use crate::dying::{DyingCalls, DyingStore, Life};
use crate::fixture::{Account, config};
use crate::{assert_same_but_for_the_move, carry, end, held, memory, route, seasoned};

type DyingAws = AwsStore<DyingCalls<FakeCalls>, FakeTime>;

/// A process of its own with that life, on the account.
fn on_aws(account: &Account, life: &Life) -> DyingAws {
    let (config, pace) = (config(Sweep::List, Span::millis(1)), Arc::new(Pace::new(1_000_000)));
    let calls = DyingCalls(account.calls.clone(), life.clone());
    AwsStore::new(&ENVIRONMENT.parse().unwrap(), &config, calls, account.time.clone(), pace, RandomId::new().unwrap())
}

fn embedded(dir: &tempfile::TempDir) -> EnvironmentStore {
    EmbeddedStore::open(dir.path(), &MasterKeySource::Default).unwrap().environment(&ENVIRONMENT.parse().unwrap())
}

/// What holds whenever somebody looks: a keyset is never lost, and never two documents of it may change.
async fn assert_one_is_in_charge(source: &impl Store, target: &impl Store, before: &Document) {
    let (old, new) = (held(source, "a").await, held(target, "a").await);
    let sealed = |document: &Document| document.intents.moved_to().is_some();
    match (&old, &new) {
        (None, None) => panic!("the keyset is lost"),
        (Some(old), None) => assert_same_but_for_the_move(old, before),
        (None, Some(new)) => assert_same_but_for_the_move(new, before),
        (Some(old), Some(new)) => {
            assert!(sealed(old) && !sealed(new), "two documents may change");
            assert_same_but_for_the_move(new, before);
        }
    }
}

/// Goes the whole way with movers that live until their n-th call, for every n and both ways to die, until one of them lives to tell.
/// `ends` makes two processes that share what is stored: the first mortal, the second one not.
async fn every_death<S: Store, T: Store>(mut world: impl AsyncFnMut(&Life) -> (S, T, S, T)) -> u64 {
    let mut deaths = 0;
    for carried_out in [false, true] {
        for last in 1.. {
            let life = Life::until(last, carried_out);
            let (source, target, good_source, good_target) = world(&life).await;
            let before = seasoned(&good_source, "a").await;
            let first = whole_way(&source, &target).await;
            assert_one_is_in_charge(&good_source, &good_target, &before).await;
            if !life.is_over() {
                assert_eq!(first.unwrap().standing, Standing::Settled);
                break;
            }
            deaths += 1;
            let second = whole_way(&good_source, &good_target).await.unwrap();
            assert_eq!(second.standing, Standing::Settled, "death at call {last}");
            assert!(held(&good_source, "a").await.is_none());
            let arrived = held(&good_target, "a").await.unwrap();
            assert_same_but_for_the_move(&arrived, &before);
            assert_eq!(arrived.generation.0, before.generation.0 + 3, "sealed, copied, settled: once each, death at call {last}");
            assert!(arrived.intents.moved.is_none());
        }
    }
    deaths
}

async fn whole_way(source: &impl Store, target: &impl Store) -> Result<Moved, Stopped> {
    carry(source, target, &route(), "a").await?;
    end(source, target, &route(), "a").await
}

#[tokio::test]
async fn in_memory_a_move_survives_every_death() {
    let world = async |life: &Life| {
        let (source, target) = (memory(), memory());
        let unending = Life::unending();
        let good = (DyingStore(source.clone(), unending.clone()), DyingStore(target.clone(), unending));
        (DyingStore(source, life.clone()), DyingStore(target, life.clone()), good.0, good.1)
    };
    let deaths = every_death(world).await;
    assert!(deaths > 20, "it died {deaths} times");
}

#[tokio::test]
async fn to_aws_a_move_survives_every_death_between_two_calls_of_the_service() {
    let mut kept = Vec::new();
    let world = async |life: &Life| {
        let (dir, account) = (tempfile::tempdir().unwrap(), Account::endless());
        let unending = Life::unending();
        let good = (DyingStore(embedded(&dir), unending.clone()), on_aws(&account, &unending));
        let mortal = (DyingStore(embedded(&dir), life.clone()), on_aws(&account, life));
        kept.push(dir);
        (mortal.0, mortal.1, good.0, good.1)
    };
    let deaths = every_death(world).await;
    assert!(deaths > 20, "it died {deaths} times");
}

#[tokio::test]
async fn from_aws_a_move_survives_every_death_between_two_calls_of_the_service() {
    let mut kept = Vec::new();
    let world = async |life: &Life| {
        let (dir, account) = (tempfile::tempdir().unwrap(), Account::endless());
        let unending = Life::unending();
        let good = (on_aws(&account, &unending), DyingStore(embedded(&dir), unending));
        let mortal = (on_aws(&account, life), DyingStore(embedded(&dir), life.clone()));
        kept.push(dir);
        (mortal.0, mortal.1, good.0, good.1)
    };
    let deaths = every_death(world).await;
    assert!(deaths > 20, "it died {deaths} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_movers_at_once_make_one_copy() {
    let (source, target) = (memory(), memory());
    let before = seasoned(&source, "a").await;
    let movers = (0..16).map(|_| {
        let (source, target) = (source.clone(), target.clone());
        tokio::spawn(async move { carry(&source, &target, &route(), "a").await })
    });
    for mover in movers.collect::<Vec<_>>() {
        assert_eq!(mover.await.unwrap().unwrap().standing, Standing::There);
    }
    assert_eq!(held(&target, "a").await.unwrap().generation.0, before.generation.0 + 2);
    assert_one_is_in_charge(&source, &target, &before).await;
}
