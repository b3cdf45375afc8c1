//! Worlds whose replicas share AWS Secrets Manager: the real adapter over the strict imitation of the service, interleaved at every
//! call, with lists that are five minutes behind, reads that are seconds behind, lost answers and throttling.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyrota::policy::{AwsStore as AwsConfig, Sweep};
use keyrota::secret::SecretText;
use keyrota::store::aws::AwsStore;
use keyrota::store::aws::calls::{CallError, CallFault, Calls, Described, Made, NewSecret, Page, Value, VersionId, Which};
use keyrota::store::aws::pace::{Pace, Time};
use keyrota::store::seal::RandomId;
use keyrota::time::Span;

use crate::aws_fake::Chance;
use crate::aws_fake::{FakeCalls, FakeTime, Knobs, Service};
use crate::faults;
use crate::outside::{GiveWay, NAME, Outside, Shared, lock};
use crate::world::{Act, World, rules};

pub type SimAws = AwsStore<SimCalls, SimTime>;

/// The service in a world, and what of it the world has heard of.
pub struct Account {
    pub calls: FakeCalls,
    pub time: FakeTime,
    absorbed: usize,
    revisions: BTreeMap<VersionId, u64>,
    by_operators: u64,
}

/// One host's clock.
pub struct SimTime(Shared, usize);

impl Time for SimTime {
    fn boot(&self) -> Span {
        lock(&self.0).reading(self.1).boot
    }

    async fn sleep(&self, span: Span) {
        let until = self.boot() + span;
        while self.boot() < until {
            GiveWay(false).await;
        }
    }
}

/// One host's way to the service.
pub struct SimCalls(Shared, usize, FakeCalls);

pub fn open(shared: &Shared, host: usize, calls: &FakeCalls) -> SimAws {
    let config = AwsConfig {
        prefix: "keyrota/production/".into(),
        region: None,
        endpoint_url: None,
        kms_key_id: None,
        tags: BTreeMap::new(),
        replica_regions: Vec::new(),
        profile: None,
        sweep: Sweep::List,
        // The world decides when a daemon looks.
        sweep_every: Span::millis(1),
    };
    let calls = SimCalls(shared.clone(), host, calls.clone());
    let instance = RandomId([u8::try_from(host).unwrap(); 16]);
    AwsStore::new(&"production".parse().unwrap(), &config, calls, SimTime(shared.clone(), host), Arc::new(Pace::new(1000)), instance)
}

fn secret() -> String {
    format!("keyrota/production/{NAME}")
}

impl Account {
    fn new(seed: u64) -> Self {
        let time = FakeTime::default();
        let calls = FakeCalls::new(Service::new(seed, time.clone()));
        Self { calls, time, absorbed: 0, revisions: BTreeMap::new(), by_operators: 0 }
    }
}

/// From now on the world's documents are kept on an account of its own.
pub fn on_account(world: &World, seed: u64) {
    lock(&world.shared).account = Some(Account::new(seed));
}

impl Outside {
    /// The service's clock goes with the world's.
    fn set_service_clock(&mut self) {
        let since_birth = self.now.since(crate::world::BIRTH.parse().unwrap());
        if let Some(account) = &self.account {
            account.time.set(Span::hours(1) + since_birth);
        }
    }

    /// What came into force at the service becomes known to the world.
    fn absorb(&mut self) {
        let Some(account) = &mut self.account else { return };
        let news: Vec<_> = account.calls.service().in_force[account.absorbed..].to_vec();
        account.absorbed += news.len();
        for (_, version, text) in news.into_iter().filter(|(name, ..)| *name == secret()) {
            let document = keyrota::document::Document::from_stored(text.as_bytes()).unwrap();
            let revision = self.write(document);
            if let Some(account) = &mut self.account {
                account.revisions.insert(version, revision);
            }
        }
    }

    /// An operator's change, by a command that reaches the store at once.
    pub fn operator_writes(&mut self, next: keyrota::document::Document) {
        self.set_service_clock();
        let Some(account) = &mut self.account else {
            self.write(next);
            return;
        };
        account.by_operators += 1;
        let token = format!("00000000-0000-4000-8000-{:012}", account.by_operators);
        let text = String::from_utf8(next.to_stored().expose().to_vec()).unwrap();
        account.calls.service().put_raw(&secret(), &token, &text, &[]).unwrap();
        self.absorb();
    }
}

impl SimCalls {
    /// A call, if this host can reach the service; afterwards the world hears of what it did.
    async fn reaching<T>(&self, call: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
        let away = {
            let mut outside = lock(&self.0);
            outside.set_service_clock();
            outside.hosts[self.1].store_away
        };
        if away {
            GiveWay(false).await;
            return Err(CallError { fault: CallFault::Unreachable, sentence: "away".into() });
        }
        let mut call = std::pin::pin!(call);
        // Whatever is carried out is heard of in the same step, and the clock is right at every step.
        std::future::poll_fn(|context| {
            lock(&self.0).set_service_clock();
            let answer = call.as_mut().poll(context);
            lock(&self.0).absorb();
            answer
        })
        .await
    }
}

impl Calls for SimCalls {
    async fn create(&self, secret: &NewSecret<'_>) -> Result<Made, CallError> {
        self.reaching(self.2.create(secret)).await
    }

    async fn put(&self, secret: &str, token: &VersionId, value: &SecretText, label: &str) -> Result<(), CallError> {
        self.reaching(self.2.put(secret, token, value, label)).await
    }

    async fn move_current(&self, secret: &str, from: &VersionId, to: &VersionId) -> Result<(), CallError> {
        lock(&self.0).writes_shared_place(self.1, secret);
        GiveWay(false).await;
        self.reaching(self.2.move_current(secret, from, to)).await
    }

    async fn get(&self, secret: &str, which: Which<'_>) -> Result<Value, CallError> {
        self.reaching(self.2.get(secret, which)).await
    }

    async fn get_many(&self, secrets: &[String]) -> Result<BTreeMap<String, Result<Value, CallError>>, CallError> {
        self.reaching(self.2.get_many(secrets)).await
    }

    async fn describe(&self, secret: &str) -> Result<Described, CallError> {
        self.reaching(self.2.describe(secret)).await
    }

    async fn delete(&self, secret: &str, window: Span) -> Result<(), CallError> {
        self.reaching(self.2.delete(secret, window)).await
    }

    async fn list(&self, prefix: &str, page: Option<&str>) -> Result<Page, CallError> {
        let page = self.reaching(self.2.list(prefix, page)).await?;
        let mut outside = lock(&self.0);
        let current = page.secrets.iter().find(|listed| listed.name == crate::aws::secret()).and_then(|listed| listed.current.clone());
        let shown = current.and_then(|version| outside.account.as_ref()?.revisions.get(&version).copied());
        outside.hosts[self.1].shown = shown.unwrap_or(0);
        Ok(page)
    }
}

/// Lives some months of two to five replicas on one account. `counted`: how much of the list's lag the waits count in.
fn live(seed: u64, counted: Span) -> Result<World, String> {
    let mut chance = Chance::new(seed ^ 0xA115_0000);
    let daemons = 2 + usize::try_from(chance.below(4)).unwrap();
    let mut rules = rules(*chance.pick(&[Span::days(7), Span::days(1), Span::days(30)]));
    rules.facts.store_refresh = Span::minutes(2) + Span::seconds(5) + counted;
    rules.max_age = rules.rotate_every + rules.facts.propagation();
    // In every fourth world verifiers read a second secret, which costs its time.
    let targets = if seed.is_multiple_of(4) { vec![crate::shared_place::target()] } else { Vec::new() };
    let length = rules.rotate_every.max(Span::days(2)) * 8;
    let settle = rules.rotate_every * 3 + Span::days(4);
    let mut world = World::new(seed, daemons, rules, targets, None);
    // What is left of it for the look itself, when a list is as far behind as it may be.
    world.fresh_for = Span::minutes(2) + Span::seconds(5);
    let account = Account::new(seed);
    let trouble = chance.below(40);
    account.calls.service().knobs = Knobs {
        throttled: trouble / 2,
        unreachable: trouble / 2,
        lost: trouble,
        stale: chance.below(1000),
        read_lag: Span::seconds(chance.below(6)),
        list_lag: Span::seconds(if chance.one_in(2) { 300 } else { chance.below(301) }),
        list_steady: chance.one_in(2),
        endless: false,
    };
    lock(&world.shared).account = Some(account);
    let clocks = chance.one_in(4);
    for _ in 0..chance.below(20) {
        faults::schedule(&mut world, &mut chance, length, false, clocks);
    }
    world.live(length + Span::days(2))?;
    let over = length + Span::days(2);
    let all: Vec<usize> = (0..daemons).collect();
    world.at(over, Act::StoreAway { hosts: all.clone(), away: false });
    for host in all {
        world.at(over, Act::WitnessAway { host, away: false });
    }
    let verb = |verb: fn(&keyrota::document::Document) -> Option<keyrota::operator::Verb>| Act::Operator(Box::new(verb));
    world.at(over, verb(|_| Some(keyrota::operator::Verb::Unfreeze)));
    let approve = |d: &keyrota::document::Document| d.incoming.first().map(|i| keyrota::operator::Verb::Approve { kid: i.key.kid.clone() });
    world.at(over + Span::millis(1), verb(approve));
    if let Some(account) = &lock(&world.shared).account {
        let knobs = account.calls.service().knobs;
        account.calls.service().knobs =
            Knobs { list_lag: knobs.list_lag, list_steady: knobs.list_steady, stale: knobs.stale, ..Knobs::default() };
    }
    world.live(over + settle)?;
    world.must_have_converged()?;
    Ok(world)
}

fn many(seeds: impl Iterator<Item = u64>) -> usize {
    let (mut checks, mut rotations) = (0, 0);
    for seed in seeds {
        let world = live(seed, Sweep::List.lag()).unwrap_or_else(|why| panic!("{why}"));
        checks += world.exposure.checks;
        rotations += world.exposure.kids_seen_active.len();
    }
    println!("{checks} checks over {rotations} keys that signed, on an account that replicas share");
    rotations
}

#[test]
fn replicas_on_one_account_keep_the_promise() {
    let rotations = many(0..40);
    assert!(rotations > 40 * 6, "the worlds hardly rotate: {rotations}");
}

#[test]
fn a_lag_that_is_not_counted_in_is_caught() {
    let caught = (0..60).filter(|seed| live(*seed, Span::ZERO).is_err()).count();
    println!("{caught} of 60 worlds caught it");
    assert!(caught > 0, "these worlds have no teeth");
}

#[test]
fn random_replicas_on_one_account_keep_the_promise() {
    let count: u64 = std::env::var("KEYROTA_SIM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10);
    let start = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() << 20;
    many(start..start + count);
}

/// `KEYROTA_SIM_SEED=<seed> cargo test --test simulation one_account`
#[test]
fn one_account() {
    let seed = std::env::var("KEYROTA_SIM_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    many(seed..=seed);
}
