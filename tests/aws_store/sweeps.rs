//! How foreign changes are noticed, what that costs, and what lists that lag may not do.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use keyrota::name::KeysetName;
use keyrota::policy::Sweep;
use keyrota::store::{Changes, Mark, Store as _, SwapError};
use keyrota::time::Span;

use crate::aws_fake::Knobs;
use crate::contract::{create, name, next};
use crate::fixture::{Account, FakeStore, config, secret};

const MINUTE: Span = Span::minutes(1);

async fn thousand(account: &Account) -> (FakeStore, Vec<KeysetName>) {
    let names: Vec<_> = (0..1000).map(|n| format!("k{n}")).collect();
    join_all(names.iter().map(|keyset| create_with(account, keyset))).await;
    (account.store_of(&config(Sweep::List, MINUTE)), names.iter().map(|n| name(n)).collect())
}

async fn create_with(account: &Account, keyset: &str) {
    create(&account.store(), keyset).await;
}

/// The reconciler's way: ask what changed, load it, and ask from there the next time if that was all.
async fn catch_up(store: &FakeStore, mark: &mut Mark, held: &mut BTreeMap<KeysetName, String>) -> bool {
    let Changes { written, removed, mark: reached, .. } = store.changes(mark).await.unwrap();
    let news: Vec<_> = written.into_iter().filter(|(name, revision)| held.get(name) != Some(&revision.0)).collect();
    let names: Vec<_> = news.iter().map(|(name, _)| name.clone()).collect();
    let mut loaded = if names.is_empty() { BTreeMap::new() } else { store.load_many(&names).await.unwrap() };
    let mut all = true;
    for (name, listed) in news {
        if let Some(Ok(found)) = loaded.remove(&name) {
            all &= found.revision == listed;
            held.insert(name, found.revision.0);
        } else {
            all = false;
            held.remove(&name);
        }
    }
    for name in removed {
        held.remove(&name);
    }
    if all {
        *mark = reached;
    }
    all
}

#[tokio::test]
async fn idle_keysets_cost_one_list_call_a_hundred_and_sweep() {
    let account = Account::new(1);
    let (store, _) = thousand(&account).await;
    let (mut mark, mut held) = (Mark::default(), BTreeMap::new());
    account.time.pass(Span::hours(1));
    account.counted();
    assert!(catch_up(&store, &mut mark, &mut held).await);
    assert_eq!(held.len(), 1000);
    let start: Vec<_> = account.counted().into_iter().collect();
    assert_eq!(start, [("BatchGetSecretValue", 50), ("ListSecrets", 10)], "what a start costs");
    let began = account.time.now();
    while account.time.now() < began + Span::hours(1) {
        account.time.pass(Span::seconds(5));
        assert!(catch_up(&store, &mut mark, &mut held).await);
    }
    let idle = account.counted();
    println!("idle calls an hour for 1000 keysets: {idle:?}");
    assert_eq!(idle.keys().copied().collect::<Vec<_>>(), ["ListSecrets"], "and nothing for each keyset");
    assert!((550..=600).contains(&idle["ListSecrets"]), "{idle:?}");
}

/// `77143` as `77,143`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, rest) = digits.split_at(first);
    let groups = rest.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let all: Vec<String> = std::iter::once(head.to_owned()).filter(|head| !head.is_empty()).chain(groups).collect();
    all.join(",")
}

/// The documents say what is counted here: the calls of one sweep and of one change, times how many of them a month of 30 days has.
#[tokio::test]
async fn what_a_month_costs() {
    const MINUTES: u64 = 30 * 24 * 60;
    let account = Account::endless();
    let (_, names) = thousand(&account).await;
    let one_sweep = async |sweep: Sweep| {
        let store = account.store_of(&config(sweep, MINUTE));
        store.watch(names.iter().cloned());
        store.changes(&Mark::default()).await.unwrap();
        // By reading, a list comes with it once a minute at most.
        account.counted();
        account.time.pass(MINUTE);
        store.changes(&Mark::default()).await.unwrap();
        account.counted().values().sum::<u64>()
    };
    let (by_list, by_reading) = (one_sweep(Sweep::List).await, one_sweep(Sweep::Read).await);
    let store = account.store();
    let (document, revision) = create(&store, "one-more").await;
    account.counted();
    store.swap(Some(&revision), &next(&document, "a change")).await.unwrap();
    let a_change: u64 = account.counted().values().sum();
    // A rotation is six changes; there are 30/7 weeks in a month.
    let weekly = (1000 * 6 * a_change * 30 + 3) / 7;
    let rows = [
        ("sweeps by list, every minute", by_list * MINUTES),
        ("the same every five minutes", by_list * MINUTES / 5),
        ("sweeps by reading, every minute", by_reading * MINUTES),
        ("weekly rotations", weekly),
    ];
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    for (what, calls) in rows {
        // 5 cents for 10,000 calls, rounded to cents.
        let cents = (calls * 5 + 5000) / 10_000;
        let dollars = format!("{}.{:02}", cents / 100, cents % 100);
        println!("{what}: {} calls, ${dollars}", grouped(calls));
        let row = readme.lines().find(|line| line.starts_with(&format!("| {what}"))).unwrap_or_default();
        assert!(
            row.ends_with(&format!("| {} | {dollars} |", grouped(calls))),
            "{what}: {calls} calls, ${dollars}, and the README says {row}"
        );
    }
}

#[tokio::test]
async fn between_sweeps_an_old_look_does_not_pass_for_a_new_one() {
    let account = Account::new(1);
    let store = account.store_of(&config(Sweep::List, MINUTE));
    let first = store.changes(&Mark::default()).await.unwrap().looked_at.unwrap();
    account.time.pass(Span::seconds(50));
    assert_eq!(store.changes(&Mark::default()).await.unwrap().looked_at, Some(first));
    account.time.pass(Span::seconds(15));
    assert!(store.changes(&Mark::default()).await.unwrap().looked_at.unwrap() >= first + MINUTE);
    account.calls.service().away = true;
    account.time.pass(MINUTE);
    assert!(store.changes(&Mark::default()).await.is_err(), "a sweep that is due and fails is an error");
}

/// A list that is five minutes behind shows our own writes as if they had not happened: no call, no change, no doubt.
#[tokio::test]
async fn a_list_behind_our_own_writes_changes_nothing() {
    let account = Account::new(1);
    account.calls.service().knobs = Knobs { stale: 1000, list_lag: Span::minutes(5), ..Knobs::default() };
    let store = account.store_of(&config(Sweep::List, Span::seconds(10)));
    let (mut mark, mut held) = (Mark::default(), BTreeMap::new());
    let (mut document, mut revision) = create(&store, "a").await;
    catch_up(&store, &mut mark, &mut held).await;
    for n in 0..40 {
        account.counted();
        document = next(&document, &n.to_string());
        revision = store.swap(Some(&revision), &document).await.unwrap();
        held.insert(name("a"), revision.0.clone());
        for _ in 0..20 {
            account.time.pass(Span::seconds(10));
            assert!(catch_up(&store, &mut mark, &mut held).await, "{n}: a list that lags is no reason not to be ready");
            assert_eq!(held.get(&name("a")), Some(&revision.0));
        }
        let calls = account.counted();
        assert!(!calls.contains_key("GetSecretValue") && !calls.contains_key("BatchGetSecretValue"), "{n}: {calls:?}");
    }
}

/// Whatever lags, another replica's change is seen within the bound that every wait counts with.
#[tokio::test]
async fn foreign_changes_are_seen_within_the_bound() {
    for sweep in [Sweep::List, Sweep::Read] {
        for seed in 0..150 {
            let account = Account::new(seed);
            let (read_lag, list_lag) = (Span::seconds(5), Span::minutes(4));
            account.calls.service().knobs = Knobs { stale: 600, read_lag, list_lag, list_steady: seed % 4 == 0, ..Knobs::default() };
            let every = Span::seconds(20);
            let (here, there) = (account.store_of(&config(sweep, every)), account.store());
            here.watch([name("a")]);
            let (mut mark, mut held) = (Mark::default(), BTreeMap::new());
            let (mut document, mut revision) = create(&there, "a").await;
            for n in 0..6 {
                let written = account.time.now();
                let bound = sweep.lag() + every * 2 + Span::seconds(5);
                loop {
                    let caught_up = catch_up(&here, &mut mark, &mut held).await;
                    if caught_up && held.get(&name("a")) == Some(&revision.0) {
                        break;
                    }
                    let looked_at = here.changes(&mark).await.unwrap().looked_at.unwrap();
                    let late = caught_up && looked_at > written + sweep.lag();
                    assert!(
                        !late,
                        "{sweep:?} seed {seed} change {n}: a look {} after it says all is seen",
                        looked_at.saturating_sub(written)
                    );
                    assert!(account.time.now() < written + bound * 2, "{sweep:?} seed {seed} change {n}: never seen");
                    account.time.pass(Span::seconds(2));
                }
                account.time.pass(Span::minutes(u64::from(seed % 3 == 0) * 20));
                document = next(&document, &n.to_string());
                // A copy that lags may look like another writer's work: then it is tried again.
                revision = loop {
                    match there.swap(Some(&revision), &document).await {
                        Ok(revision) => break revision,
                        Err(error) => assert_eq!(error, SwapError::Conflict, "{sweep:?} seed {seed} change {n}"),
                    }
                };
            }
        }
    }
}

#[tokio::test]
async fn a_secret_put_back_or_deleted_is_noticed() {
    let account = Account::new(1);
    let store = account.store_of(&config(Sweep::List, MINUTE));
    let (mut mark, mut held) = (Mark::default(), BTreeMap::new());
    let (one, at_one) = create(&store, "a").await;
    let at_two = store.swap(Some(&at_one), &next(&one, "two")).await.unwrap();
    catch_up(&store, &mut mark, &mut held).await;
    assert_eq!(held[&name("a")], at_two.0);
    account.calls.service().put_back(&secret("a"));
    account.time.pass(Span::minutes(7));
    while !catch_up(&store, &mut mark, &mut held).await {
        account.time.pass(Span::seconds(5));
    }
    assert_eq!(held[&name("a")], at_one.0);
    account.calls.service().purge(&secret("a"));
    account.time.pass(Span::minutes(7));
    while !catch_up(&store, &mut mark, &mut held).await {
        account.time.pass(Span::seconds(5));
    }
    assert!(held.is_empty());
}

#[tokio::test]
async fn a_sweep_finds_ours_among_others() {
    let account = Account::new(1);
    create_with(&account, "a").await;
    let calls = &account.calls;
    for other in ["keyrota/contract/a.jwks", "keyrota/contract/deeper/a", "keyrota/contract/untagged", "elsewhere/a"] {
        let write = crate::aws_fake::Write::Create {
            name: other.into(),
            token: keyrota::store::aws::calls::VersionId("0".repeat(32)),
            text: "theirs".into(),
            tags: BTreeMap::new(),
        };
        calls.service().carry_out(&write).unwrap();
    }
    let found = account.store().changes(&Mark::default()).await.unwrap();
    assert_eq!(found.written.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a"]);
}
