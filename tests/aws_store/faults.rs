//! One fault at a time, and what the store makes of it.

use std::pin::pin;
use std::task::{Context, Waker};

use keyrota::document::change::{Cause, Draft, Promise};
use keyrota::document::{Document, Intent, Trigger};
use keyrota::name::Generation;
use keyrota::store::aws::LARGEST_VALUE;
use keyrota::store::{Loaded, Revision, Store as _, StoreError, SwapError};
use keyrota::time::{Span, Timestamp};

use crate::aws_fake::Knobs;
use crate::contract::{create, first, name, next};
use crate::fixture::{Account, FakeStore, secret};

/// Polls a future so many times and lets it go: a process that dies in the middle.
fn crash_after(polls: usize, future: impl Future) {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if future.as_mut().poll(&mut context).is_ready() {
            return;
        }
    }
}

pub fn hint(error: &impl ToString, says: &[&str]) {
    let text = error.to_string();
    assert!(text.contains("; hint: "), "{text}");
    for word in says {
        assert!(text.contains(word), "`{word}` is missing: {text}");
    }
}

pub async fn load(store: &FakeStore, keyset: &str) -> Loaded {
    store.load(&name(keyset)).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_change_costs_three_calls() {
    let account = Account::new(1);
    let store = account.store();
    let (one, at_one) = create(&store, "a").await;
    assert_eq!(account.counted().into_iter().collect::<Vec<_>>(), [("CreateSecret", 1)]);
    store.swap(Some(&at_one), &next(&one, "two")).await.unwrap();
    let calls: Vec<_> = account.counted().into_iter().collect();
    assert_eq!(calls, [("DescribeSecret", 1), ("PutSecretValue", 1), ("UpdateSecretVersionStage", 1)]);
    let (secret, _, _) = account.calls.service().in_force.last().cloned().unwrap();
    assert_eq!(secret, crate::fixture::secret("a"));
}

#[tokio::test]
async fn secrets_bear_tags_and_the_document() {
    let account = Account::new(1);
    create(&account.store(), "a").await;
    let described = account.calls.service().describe(&secret("a")).unwrap();
    let tags: Vec<_> = described.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(tags, ["environment=contract", "keyset=a", "managed-by=keyrota", "team=identity"]);
    let (_, text) = account.calls.service().truth(&secret("a")).unwrap();
    assert!(text.starts_with("{\"schema\":\"keyrota.keyset.v1\",\"environment\":\"contract\",\"keyset\":\"a\""), "{text}");
}

/// The same step at the same time, each with a key of its own, as replicas decide it.
fn step(document: &Document, kid: &str, at: i64) -> Document {
    let cause = Cause { now: Timestamp::from_millis(at), trigger: Trigger::Schedule, reason: format!("by {kid}"), by: None };
    let mut draft = Draft::of(document, Some(document.digest()), cause, Promise::default());
    let mut key = first("a", "a secret").incoming[0].key.clone();
    key.kid = kid.parse().unwrap();
    draft.stage(key).unwrap();
    draft.finish()
}

/// A replica dies between its claim and its commit: every other call gives way twice, so this is after the second call.
const CLAIMED: usize = 4;

#[tokio::test]
async fn a_crashed_claim_of_the_same_step_is_carried_through() {
    let account = Account::new(1);
    let (here, there) = (account.store(), account.store());
    let (one, at_one) = create(&here, "a").await;
    load(&there, "a").await;
    let theirs = step(&one, "theirs", 10_000);
    crash_after(CLAIMED, there.swap(Some(&at_one), &theirs));
    assert_eq!(account.calls.service().versions(&secret("a")), 2, "it was claimed");
    assert!(load(&here, "a").await.document == one, "and not committed");
    let ours = step(&one, "ours", 11_000);
    assert_eq!(here.swap(Some(&at_one), &ours).await, Err(SwapError::Conflict), "what is in force now is not ours: to be read again");
    assert!(load(&here, "a").await.document == theirs);
    assert_eq!(account.calls.service().versions(&secret("a")), 2, "no version was spent");
}

#[tokio::test]
async fn a_crashed_claim_of_another_time_or_step_is_passed_over() {
    for (theirs_at, ours_at) in [(10_000, 15_001), (15_001, 10_000), (10_000, 90_000)] {
        let account = Account::new(1);
        let (here, there) = (account.store(), account.store());
        let (one, at_one) = create(&here, "a").await;
        load(&there, "a").await;
        crash_after(CLAIMED, there.swap(Some(&at_one), &step(&one, "theirs", theirs_at)));
        let ours = step(&one, "ours", ours_at);
        here.swap(Some(&at_one), &ours).await.unwrap();
        assert!(load(&here, "a").await.document == ours);
    }
    let account = Account::new(1);
    let (here, there) = (account.store(), account.store());
    let (one, at_one) = create(&here, "a").await;
    load(&there, "a").await;
    crash_after(CLAIMED, there.swap(Some(&at_one), &next(&one, "something else")));
    let ours = step(&one, "ours", 2);
    here.swap(Some(&at_one), &ours).await.unwrap();
    assert!(load(&here, "a").await.document == ours);
}

#[tokio::test]
async fn crash_upon_crash_stalls_nobody() {
    let account = Account::new(1);
    let store = account.store();
    let (one, at_one) = create(&store, "a").await;
    for n in 0..30 {
        let crashing = account.store();
        load(&crashing, "a").await;
        // Far enough in time from each other that none is taken for another's.
        crash_after(80, async {
            crashing.calls().service().knobs.throttled = 0;
            let _ = Box::pin(crashing.swap(Some(&at_one), &step(&one, &format!("crash-{n}"), 10_000 + n * 100_000))).await;
            std::future::pending::<()>().await;
        });
        if load(&store, "a").await.document != one {
            // It got as far as its commit.
            return;
        }
    }
    let ours = step(&one, "ours", 1);
    store.swap(Some(&at_one), &ours).await.unwrap();
}

#[tokio::test]
async fn answers_that_are_lost_lose_no_change() {
    for seed in 0..400 {
        let account = Account::new(seed);
        let store = account.store();
        let (one, at_one) = create(&store, "a").await;
        account.calls.service().knobs = Knobs { lost: 400, throttled: 100, ..Knobs::default() };
        let two = next(&one, "two");
        let swapped = store.swap(Some(&at_one), &two).await;
        account.calls.service().knobs = Knobs::default();
        let in_force = account.calls.service().in_force.len() == 2;
        match swapped {
            Ok(revision) => {
                assert!(in_force, "seed {seed}: said to be done");
                assert_eq!(load(&store, "a").await.revision, revision);
            }
            Err(SwapError::Conflict | SwapError::Invalid(_)) => panic!("seed {seed}: nobody else was there: {swapped:?}"),
            Err(SwapError::Unavailable(_)) => {
                assert!(!in_force && account.calls.service().late.is_empty(), "seed {seed}: said not to be done");
            }
            Err(SwapError::Indeterminate(_)) => {}
        }
    }
}

#[tokio::test]
async fn a_lost_answer_to_the_creation_is_looked_into() {
    for seed in 0..400 {
        let account = Account::new(seed);
        let store = account.store();
        account.calls.service().knobs = Knobs { lost: 400, throttled: 100, unreachable: 50, ..Knobs::default() };
        let made = store.swap(None, &first("a", "s")).await;
        account.calls.service().knobs = Knobs::default();
        let there = account.calls.service().truth(&secret("a"));
        match made {
            Ok(revision) => assert_eq!(there.map(|(version, _)| version.0), Some(revision.0), "seed {seed}"),
            Err(SwapError::Unavailable(_)) => assert!(there.is_none(), "seed {seed}"),
            Err(SwapError::Indeterminate(_)) => {}
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
}

#[tokio::test]
async fn what_waits_to_be_deleted_is_not_made_anew() {
    let account = Account::new(1);
    let store = account.store();
    let (one, at_one) = create(&store, "a").await;
    account.calls.service().schedule_deletion(&secret("a"), true);
    let Err(error) = store.swap(None, &first("a", "s")).await else { panic!("it was made anew") };
    hint(&error, &["scheduled for deletion", "restore-secret --secret-id keyrota/contract/a"]);
    assert!(matches!(error, SwapError::Invalid(_)));
    let Err(error) = store.swap(Some(&at_one), &next(&one, "two")).await else { panic!("it was changed") };
    assert!(matches!(error, SwapError::Invalid(_)));
    let wanting = || {
        let store = account.store();
        store.watch([name("a")]);
        store
    };
    let Err(error) = wanting().load(&name("a")).await else { panic!("it was read") };
    hint(&error, &["scheduled for deletion"]);
    let many = wanting().load_many(&[name("a")]).await.unwrap();
    assert!(matches!(many[&name("a")], Err(StoreError::Invalid(_))));
    account.calls.service().schedule_deletion(&secret("a"), false);
    assert!(load(&account.store(), "a").await.document == one, "taken back, it goes on");
}

#[tokio::test]
async fn what_is_not_ours_is_neither_read_nor_written() {
    let account = Account::new(1);
    let store = account.store();
    let other = first("b", "s").to_stored();
    let other = String::from_utf8(other.expose().to_vec()).unwrap();
    for text in [Some("hunter2"), Some("{}"), Some(other.as_str()), None] {
        let (one, at_one) = create(&store, "a").await;
        let theirs = account.calls.service().write_over(&secret("a"), text);
        let Err(error) = account.store().load(&name("a")).await else { panic!("it was read") };
        hint(&error, &["keyrota/contract/a", &theirs.0, "AWSPREVIOUS"]);
        assert!(!error.to_string().contains("hunter2"), "a foreign secret is quoted");
        assert_eq!(store.swap(Some(&at_one), &next(&one, "two")).await, Err(SwapError::Conflict));
        assert_eq!(store.swap(None, &first("a", "s")).await, Err(SwapError::Conflict));
        assert_eq!(account.calls.service().describe(&secret("a")).unwrap().holder("AWSCURRENT"), Some(&theirs));
        account.calls.service().purge(&secret("a"));
        account.time.pass(Span::minutes(6));
        assert!(store.load(&name("a")).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_secret_without_our_tags_is_not_written_to() {
    for tag in ["managed-by", "environment", "keyset"] {
        let account = Account::new(1);
        let store = account.store();
        let (one, at_one) = create(&store, "a").await;
        account.calls.service().untag(&secret("a"), tag);
        let Err(error) = store.swap(Some(&at_one), &next(&one, "two")).await else { panic!("it was changed") };
        hint(&error, &[tag, "tag-resource"]);
        assert!(matches!(error, SwapError::Invalid(_)));
        assert!(load(&store, "a").await.document == one, "what is in it is still served");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_any_call() {
    let account = Account::new(1);
    let store = account.store();
    let huge = first("a", &"s".repeat(LARGEST_VALUE));
    let Err(error) = store.swap(None, &huge).await else { panic!("it was stored") };
    hint(&error, &[&LARGEST_VALUE.to_string()]);
    assert!(matches!(error, SwapError::Invalid(_)) && account.counted().is_empty());
}

/// A document beyond a generation, as an operator's acceptance makes it.
fn beyond(document: &Document, generation: u64) -> Document {
    let accepted = Document { generation: Generation(generation), ..document.clone() };
    let cause = Cause { now: Timestamp::from_millis(9), trigger: Trigger::Operator, reason: "accepted".into(), by: None };
    let mut draft = Draft::of(&accepted, Some(accepted.digest()), cause, Promise::default());
    draft.request_rotation(Some(Intent::new("operator", Timestamp::from_millis(9), "accepted")));
    draft.finish()
}

#[tokio::test]
async fn what_an_operator_put_back_is_held_until_somebody_decides() {
    let account = Account::new(1);
    let store = account.store();
    let (one, at_one) = create(&store, "a").await;
    let two = next(&one, "two");
    let at_two = store.swap(Some(&at_one), &two).await.unwrap();
    assert!(account.calls.service().put_back(&secret("a")));
    assert_eq!(store.swap(Some(&at_two), &next(&two, "three")).await, Err(SwapError::Conflict));
    for store in [store, account.store()] {
        let found = load(&store, "a").await;
        assert!(found.document == one && found.revision == at_one, "what is in force is what is read");
        for _ in 0..3 {
            let Err(error) = store.swap(Some(&at_one), &next(&one, "another two")).await else { panic!("the operator was overruled") };
            hint(&error, &["moved AWSCURRENT", &at_one.0, &at_two.0, "generation 2", "keyrota accept"]);
            assert!(matches!(error, SwapError::Invalid(_)));
        }
    }
    assert_eq!(account.calls.service().versions(&secret("a")), 2, "nothing was claimed");
    // Either the operator moves forward again ...
    assert!(account.calls.service().put_back(&secret("a")));
    let fresh = account.store();
    assert_eq!(load(&fresh, "a").await.revision, at_two);
    let three = next(&two, "three");
    let at_three = fresh.swap(Some(&at_two), &three).await.unwrap();
    // ... or accepts what is there, with a generation that was never used.
    assert!(account.calls.service().put_back(&secret("a")));
    let accepted = beyond(&two, 3);
    assert_eq!(accepted.generation, Generation(4));
    let at_four = fresh.swap(Some(&at_two), &accepted).await.unwrap();
    assert_ne!(at_four, at_three);
    assert!(load(&account.store(), "a").await.document == accepted);
}

#[tokio::test]
async fn a_lagging_read_is_asked_again_and_never_believed() {
    let account = Account::new(5);
    let store = account.store();
    let (mut document, mut revision) = create(&store, "a").await;
    account.calls.service().knobs = Knobs { stale: 500, read_lag: Span::seconds(1), ..Knobs::default() };
    for n in 0..60 {
        document = next(&document, &format!("{n}"));
        account.time.pass(Span::minutes(20));
        revision = store.swap(Some(&revision), &document).await.unwrap_or_else(|error| panic!("{n}: {error}"));
        match store.load(&name("a")).await {
            Ok(Some(found)) => assert!(found.document == document, "{n}: an older state was believed"),
            Ok(None) => panic!("{n}: nothing was believed"),
            Err(StoreError::Unavailable(what)) => assert!(what.contains("older state"), "{what}"),
            Err(error) => panic!("{n}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_secret_made_again_is_another_one() {
    let account = Account::new(1);
    let (here, there) = (account.store(), account.store());
    let (one, at_one) = create(&here, "a").await;
    let mut document = one.clone();
    let mut revision = at_one.clone();
    for n in 0..5 {
        document = next(&document, &n.to_string());
        revision = here.swap(Some(&revision), &document).await.unwrap();
    }
    account.calls.service().purge(&secret("a"));
    let (again, _) = create(&there, "a").await;
    assert!(load(&here, "a").await.document == again, "an earlier generation of another secret is no lagging answer");
    assert_eq!(here.swap(Some(&revision), &next(&document, "lost")).await, Err(SwapError::Conflict));
    assert_eq!(here.swap(Some(&Revision("not a version".into())), &next(&again, "x")).await, Err(SwapError::Conflict));
}
