//! What an identity may do is seen without changing anything.

use keyrota::status_report::doctor::{Finding, Verdict};
use keyrota::store::aws::permissions::{Outcome, Tried};

use crate::contract::create;
use crate::fixture::{Account, secret};

fn outcome<'a>(tried: &'a [Tried], action: &str) -> &'a Outcome {
    &tried.iter().find(|tried| tried.action == action).unwrap().outcome
}

const ACTIONS: [&str; 8] = [
    "ListSecrets",
    "DescribeSecret",
    "GetSecretValue",
    "BatchGetSecretValue",
    "PutSecretValue",
    "UpdateSecretVersionStage",
    "CreateSecret",
    "DeleteSecret",
];

#[tokio::test]
async fn with_all_of_them_every_line_is_good_and_nothing_was_changed() {
    let account = Account::new(1);
    let store = account.store();
    create(&store, "a").await;
    let truth = account.calls.service().truth(&secret("a"));
    account.counted();
    let tried = store.permissions().await;
    assert_eq!(tried.iter().map(|tried| tried.action).collect::<Vec<_>>(), ACTIONS);
    assert!(tried.iter().all(|tried| tried.outcome == Outcome::Allowed), "{tried:?}");
    assert!(account.counted().values().all(|count| *count == 1), "each is tried once");
    assert_eq!(account.calls.service().truth(&secret("a")), truth);
    assert_eq!(account.calls.service().versions(&secret("a")), 1);
    assert_eq!(account.calls.service().list("", None).unwrap().secrets.len(), 1, "no other secret was made");
}

#[tokio::test]
async fn each_that_is_missing_is_named_with_its_action_and_resource() {
    for denied in ACTIONS {
        let account = Account::new(1);
        let store = account.store();
        create(&store, "a").await;
        account.calls.service().denied.insert(denied);
        let tried = store.permissions().await;
        for one in &tried {
            let finding = Finding::of_permission(one);
            match &one.outcome {
                Outcome::Denied(sentence) => {
                    assert!(one.action == denied && denied != "DeleteSecret", "{one:?}");
                    assert!(sentence.contains(denied), "{sentence}");
                    assert!(finding.verdict == Verdict::Broken && finding.whose.contains(denied) && finding.whose.contains("keyrota/"));
                    assert!(!finding.hint.is_empty());
                }
                Outcome::NotAllowed(_) => {
                    assert!(one.action == denied && denied == "DeleteSecret", "{one:?}");
                    assert_eq!(finding.verdict, Verdict::Ok, "keyrota need not delete");
                }
                // Without a list nobody knows a name that is taken.
                Outcome::NotTried(_) => assert!(one.action == "CreateSecret" && denied == "ListSecrets", "{one:?}"),
                outcome => assert!(*outcome == Outcome::Allowed && one.action != denied, "{one:?}"),
            }
        }
    }
}

#[tokio::test]
async fn in_an_empty_account_what_cannot_be_tried_is_said() {
    let account = Account::new(1);
    let tried = account.store().permissions().await;
    assert!(matches!(outcome(&tried, "CreateSecret"), Outcome::NotTried(_)));
    assert!(tried.iter().filter(|tried| tried.action != "CreateSecret").all(|tried| tried.outcome == Outcome::Allowed), "{tried:?}");
    assert!(account.calls.service().list("", None).unwrap().secrets.is_empty());
}

#[tokio::test]
async fn a_service_that_is_away_has_denied_nothing() {
    let account = Account::new(1);
    account.calls.service().away = true;
    let tried = account.store().permissions().await;
    assert!(tried.iter().all(|tried| matches!(tried.outcome, Outcome::Failed(_) | Outcome::NotTried(_))), "{tried:?}");
    assert!(tried.iter().all(|tried| Finding::of_permission(tried).verdict == Verdict::Warning));
}
