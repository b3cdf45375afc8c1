//! Secrets that are removed: scheduled for deletion, gone for whoever does not want them, and back if somebody restores them.

use keyrota::store::{Changes, Mark, RECOVERY, Revision, Store as _, StoreError, SwapError};
use keyrota::time::Span;

use crate::aws_fake::Knobs;
use crate::contract::{create, first, name, next};
use crate::faults::{hint, load};
use crate::fixture::{Account, secret};

#[tokio::test]
async fn what_is_removed_is_scheduled_for_deletion_and_gone_for_everybody() {
    let account = Account::new(1);
    let (store, other) = (account.store(), account.store());
    let (_, revision) = create(&store, "a").await;
    create(&store, "b").await;
    let Changes { written, mark, .. } = other.changes(&Mark::default()).await.unwrap();
    assert_eq!(written.len(), 2);
    account.counted();
    store.remove(&name("a"), &revision, RECOVERY).await.unwrap();
    let calls: Vec<_> = account.counted().into_iter().collect();
    assert_eq!(calls, [("DeleteSecret", 1), ("DescribeSecret", 1)]);
    assert!(account.calls.service().describe(&secret("a")).unwrap().deleted_at.is_some(), "it can be restored");
    assert!(store.load(&name("a")).await.unwrap().is_none());
    assert!(!store.load_many(&[name("a"), name("b")]).await.unwrap().contains_key(&name("a")));
    // The other process hears of it when its list can be trusted.
    account.time.pass(Span::minutes(6));
    let heard = other.changes(&mark).await.unwrap();
    assert_eq!(heard.removed, [name("a")]);
    assert!(other.load(&name("a")).await.unwrap().is_none());
    let begun = account.store().changes(&Mark::default()).await.unwrap();
    assert_eq!(begun.written.len(), 1, "nobody who begins now hears of it");
    let refused = store.swap(None, &first("a", "anew")).await.unwrap_err();
    hint(&refused, &["scheduled for deletion", "restore-secret"]);
    account.calls.service().schedule_deletion(&secret("a"), false);
    account.time.pass(Span::minutes(6));
    assert_eq!(load(&store, "a").await.revision, revision, "it was restored");
}

#[tokio::test]
async fn a_list_that_lags_does_not_revive_it() {
    let account = Account::new(1);
    let store = account.store();
    let (_, revision) = create(&store, "a").await;
    account.time.pass(Span::minutes(6));
    let mark = store.changes(&Mark::default()).await.unwrap().mark;
    account.calls.service().knobs = Knobs { list_lag: Span::minutes(5), list_steady: true, ..Knobs::default() };
    store.remove(&name("a"), &revision, RECOVERY).await.unwrap();
    let heard = store.changes(&mark).await.unwrap();
    assert_eq!(heard.removed, [name("a")]);
    let mut mark = heard.mark;
    for _ in 0..8 {
        account.time.pass(Span::minutes(1));
        let heard = store.changes(&mark).await.unwrap();
        assert!(heard.written.is_empty() && heard.removed.is_empty(), "{heard:?}");
        mark = heard.mark;
    }
}

#[tokio::test]
async fn one_that_is_wanted_is_an_alarm_and_no_absence() {
    let account = Account::new(1);
    let (store, wanting) = (account.store(), account.store());
    let (_, revision) = create(&store, "a").await;
    wanting.watch([name("a")]);
    load(&wanting, "a").await;
    store.remove(&name("a"), &revision, RECOVERY).await.unwrap();
    account.time.pass(Span::minutes(1));
    let alarm = wanting.load(&name("a")).await.unwrap_err();
    assert!(matches!(alarm, StoreError::Invalid(_)));
    hint(&alarm, &["scheduled for deletion", "restore-secret"]);
}

#[tokio::test]
async fn only_what_was_seen_and_is_ours_is_removed() {
    let account = Account::new(1);
    let store = account.store();
    let (document, revision) = create(&store, "a").await;
    let later = store.swap(Some(&revision), &next(&document, "two")).await.unwrap();
    assert_eq!(store.remove(&name("a"), &revision, RECOVERY).await, Err(SwapError::Conflict), "it was changed");
    assert_eq!(store.remove(&name("absent"), &Revision("x".into()), RECOVERY).await, Err(SwapError::Conflict));
    for window in [Span::days(6), Span::days(31), Span::days(7) + Span::hours(1)] {
        hint(&store.remove(&name("a"), &later, window).await.unwrap_err(), &["recovery window", "--recovery-window 30d"]);
    }
    account.calls.service().untag(&secret("a"), "managed-by");
    hint(&store.remove(&name("a"), &later, RECOVERY).await.unwrap_err(), &["does not bear the tag"]);
    assert!(account.calls.service().truth(&secret("a")).is_some() && load(&store, "a").await.revision == later);
}

#[tokio::test]
async fn whoever_may_not_delete_is_told_what_to_type() {
    let account = Account::new(1);
    let store = account.store();
    let (_, revision) = create(&store, "a").await;
    account.calls.service().denied.insert("DeleteSecret");
    let refused = store.remove(&name("a"), &revision, Span::days(7)).await.unwrap_err();
    assert!(matches!(refused, SwapError::Invalid(_)), "{refused:?}");
    let command = format!("aws secretsmanager delete-secret --secret-id {} --recovery-window-in-days 7", secret("a"));
    hint(&refused, &["DeleteSecret", &command, "keyrota accept", "secretsmanager:DeleteSecret", "docs/aws.md"]);
    assert_eq!(load(&store, "a").await.revision, revision);
}

#[tokio::test]
async fn a_lost_answer_is_looked_into() {
    for seed in 1..40 {
        let account = Account::new(seed);
        let store = account.store();
        let (_, revision) = create(&store, "a").await;
        account.calls.service().knobs.lost = 500;
        let answer = store.remove(&name("a"), &revision, RECOVERY).await;
        account.calls.service().knobs.lost = 0;
        let scheduled = account.calls.service().describe(&secret("a")).unwrap().deleted_at.is_some();
        match answer {
            Ok(()) => assert!(scheduled, "seed {seed}"),
            Err(SwapError::Indeterminate(_)) => {}
            Err(error) => assert!(!scheduled, "seed {seed}: {error}"),
        }
    }
}
