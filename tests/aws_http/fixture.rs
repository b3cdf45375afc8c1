//! A service over HTTP, and a hand behind keyrota's back in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::{BehaviorVersion, Region};
use keyrota::name::KeysetName;
use keyrota::policy::{AwsStore as AwsConfig, Sweep};
use keyrota::store::aws::AwsStore;
use keyrota::store::aws::pace::{Pace, Time};
use keyrota::store::aws::sdk::SdkCalls;
use keyrota::store::seal::RandomId;
use keyrota::time::Span;

use crate::contract::{ENVIRONMENT, Fixture};

pub type HttpStore = AwsStore<SdkCalls, QuickTime>;

/// The boot clock as the adapter sees it runs ahead, so that no test waits for lags that no emulator has. Rests are real, and short.
#[derive(Clone, Default)]
pub struct QuickTime(Arc<AtomicU64>);

impl QuickTime {
    fn pass(&self, span: Span) {
        self.0.fetch_add(span.as_millis(), Ordering::SeqCst);
    }
}

impl Time for QuickTime {
    fn boot(&self) -> Span {
        Span::hours(1) + Span::millis(self.0.fetch_add(1, Ordering::SeqCst))
    }

    async fn sleep(&self, span: Span) {
        self.pass(span);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A part of an emulator that no other test uses.
pub struct Emulated {
    config: AwsConfig,
    time: QuickTime,
    behind: tokio::sync::OnceCell<Client>,
}

/// Where the emulator listens that this variable names.
pub fn endpoint(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} does not say where the emulator is; hint: tests/run --only aws"))
}

pub fn config(endpoint: String) -> AwsConfig {
    static USED: AtomicU64 = AtomicU64::new(0);
    let part = USED.fetch_add(1, Ordering::SeqCst);
    AwsConfig {
        prefix: format!("keyrota/{}-{part}/", std::process::id()),
        region: Some("eu-west-3".into()),
        endpoint_url: Some(endpoint),
        kms_key_id: None,
        tags: BTreeMap::new(),
        replica_regions: Vec::new(),
        profile: None,
        sweep: Sweep::List,
        sweep_every: Span::millis(1),
    }
}

pub fn store(config: &AwsConfig, time: &QuickTime) -> HttpStore {
    let pace = Arc::new(Pace::new(1_000_000));
    AwsStore::new(&ENVIRONMENT.parse().unwrap(), config, SdkCalls::new(config), time.clone(), pace, RandomId::new().unwrap())
}

impl Emulated {
    pub fn new(variable: &str) -> Self {
        Self { config: config(endpoint(variable)), time: QuickTime::default(), behind: tokio::sync::OnceCell::new() }
    }

    async fn behind(&self) -> &Client {
        let connect = || async {
            let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).region(Region::new("eu-west-3"));
            Client::new(&loader.endpoint_url(self.config.endpoint_url.clone().unwrap()).load().await)
        };
        self.behind.get_or_init(connect).await
    }

    fn secret(&self, keyset: &KeysetName) -> String {
        format!("{}{keyset}", self.config.prefix)
    }
}

impl Fixture for Emulated {
    type Store = HttpStore;

    fn open(&self) -> HttpStore {
        store(&self.config, &self.time)
    }

    async fn damage(&self, keyset: &KeysetName) {
        let put = self.behind().await.put_secret_value().secret_id(self.secret(keyset)).secret_string("nonsense");
        put.send().await.unwrap();
    }

    async fn remove(&self, keyset: &KeysetName) {
        let delete = self.behind().await.delete_secret().secret_id(self.secret(keyset));
        delete.force_delete_without_recovery(true).send().await.unwrap();
        self.time.pass(Span::minutes(6));
    }
}
