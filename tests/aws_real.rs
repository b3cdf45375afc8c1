//! The store on the real AWS Secrets Manager: opt-in, because it costs money (under a cent) and needs an account.
//!
//! `KEYROTA_TEST_AWS=1 cargo test --test aws_real`, with credentials and region as for every AWS tool. It makes
//! a few secrets whose names begin with `keyrota-test/`, and deletes them without a recovery window. It needs, besides what keyrota
//! needs, secretsmanager:DeleteSecret on `keyrota-test/*`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[allow(dead_code, reason = "one life is enough where it costs")]
#[path = "contract/mod.rs"]
mod contract;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_secretsmanager::Client;
use contract::{ENVIRONMENT, create, name, next};
use keyrota::policy::{AwsStore as AwsConfig, Sweep};
use keyrota::store::aws::AwsStore;
use keyrota::store::aws::calls::{Calls as _, PREVIOUS};
use keyrota::store::aws::pace::{MachineTime, Pace, WRITES_A_SECOND};
use keyrota::store::aws::sdk::SdkCalls;
use keyrota::store::seal::RandomId;
use keyrota::store::{Store as _, SwapError};
use keyrota::time::Span;

fn config() -> AwsConfig {
    assert_eq!(
        std::env::var("KEYROTA_TEST_AWS").as_deref(),
        Ok("1"),
        "these tests write to a real account; hint: set KEYROTA_TEST_AWS=1 if that is meant"
    );
    let unique: String = RandomId::new().unwrap().to_string().chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    AwsConfig {
        prefix: format!("keyrota-test/{unique}/"),
        region: None,
        endpoint_url: None,
        kms_key_id: None,
        tags: BTreeMap::from([("purpose".into(), "keyrota's own tests: may be deleted".into())]),
        replica_regions: Vec::new(),
        profile: None,
        sweep: Sweep::List,
        sweep_every: Span::seconds(1),
    }
}

fn open(config: &AwsConfig) -> AwsStore<SdkCalls> {
    let pace = Arc::new(Pace::new(WRITES_A_SECOND));
    AwsStore::new(&ENVIRONMENT.parse().unwrap(), config, SdkCalls::new(config), MachineTime, pace, RandomId::new().unwrap())
}

async fn clean_up(secret: &str) {
    let client = Client::new(&aws_config::defaults(aws_config::BehaviorVersion::v2026_01_12()).load().await);
    client.delete_secret().secret_id(secret).force_delete_without_recovery(true).send().await.unwrap();
}

/// One life of a keyset: made, changed, raced for by four, put back by an operator, held.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_life_of_a_keyset() {
    let config = config();
    let secret = format!("{}a", config.prefix);
    let life = tokio::spawn(live(config, secret.clone()));
    let ended = life.await;
    clean_up(&secret).await;
    ended.unwrap();
}

async fn live(config: AwsConfig, secret: String) {
    let stores: Vec<_> = (0..4).map(|_| open(&config)).collect();
    let (mut document, mut revision) = create(&stores[0], "a").await;
    for round in 0..5 {
        let racers = stores.iter().enumerate().map(|(n, store)| {
            let (store, expected, candidate) = (store.clone(), revision.clone(), next(&document, &format!("{round}/{n}")));
            tokio::spawn(async move { (store.swap(Some(&expected), &candidate).await, candidate) })
        });
        let mut won = Vec::new();
        for racer in racers.collect::<Vec<_>>() {
            match racer.await.unwrap() {
                (Ok(revision), candidate) => won.push((candidate, revision)),
                (Err(error), _) => assert_eq!(error, SwapError::Conflict),
            }
        }
        assert_eq!(won.len(), 1, "exactly one wins");
        (document, revision) = won.remove(0);
        let read = stores[1].load(&name("a")).await.unwrap().unwrap();
        assert!(read.revision == revision && read.document == document, "round {round}: what is read is what won");
    }
    let described = stores[0].calls().describe(&secret).await.unwrap();
    assert_eq!(described.tags["managed-by"], "keyrota");
    let before = described.holder(PREVIOUS).cloned().unwrap();
    let current = keyrota::store::aws::calls::VersionId(revision.0.clone());
    stores[0].calls().move_current(&secret, &current, &before).await.unwrap();
    let read = open(&config).load(&name("a")).await.unwrap().unwrap();
    assert_eq!(read.revision.0, before.0);
    let held = open(&config).swap(Some(&read.revision), &next(&read.document, "against the operator")).await;
    assert!(matches!(held, Err(SwapError::Invalid(_))), "{held:?}");
}
