//! The second secret of a keyset: its public keys, which several replicas write and none of them loses or fights over.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use keyrota::digest::Digest;
use keyrota::document::Document;
use keyrota::name::{Generation, KeysetId};
use keyrota::policy::{Audience, AwsSecretTarget, FileTarget, Sweep, Target, TargetFormat};
use keyrota::publish::{Brought, Places, Programs, PublishError, ReadBack, Removed, Targets as _, Vendors, render};
use keyrota::store::Store as _;
use keyrota::store::aws::calls::{Calls as _, Which};
use keyrota::time::Span;

use crate::aws_fake::{FakeCalls, FakeTime, Knobs};
use crate::contract::{ENVIRONMENT, pairs};
use crate::fixture::{Account, FakeStore, config, secret};

const NAME: &str = "keyrota/contract/a.jwks";

/// One replica's way to the places.
struct Replica {
    store: FakeStore,
    places: Places<FakeCalls, FakeTime>,
    target: Target,
    id: KeysetId,
}

impl Replica {
    fn of(account: &Account) -> Self {
        let store = account.store_of(&config(Sweep::List, Span::minutes(1)));
        let (done, _) = tokio::sync::mpsc::unbounded_channel();
        let places = Places::new(Programs::new(done.clone()), Vendors::new(Arc::default(), done), Some(store.clone()));
        let target = Target::AwsSecret(AwsSecretTarget { name: NAME.into() });
        Self { store, places, target, id: format!("{ENVIRONMENT}/a").parse().unwrap() }
    }

    async fn bring(&self, document: &Document, expected: Option<Digest>) -> Result<Brought, PublishError> {
        self.places.bring(&self.id, &self.target, document, expected).await
    }

    async fn remove(&self, expected: Digest) -> Result<Removed, PublishError> {
        self.places.remove(&self.id, &self.target, &document(1), Some(expected), Span::ZERO).await
    }

    /// Brings it and must succeed: whether it wrote, whether that was drift, and what is to be expected next time.
    async fn agrees(&self, document: &Document, expected: Option<Digest>) -> (bool, bool, Option<Digest>) {
        match self.bring(document, expected).await {
            Ok(Brought::Agreed { content, changed_at: None, wrote, drift, said: None, amiss: None }) => (wrote, drift, Some(content)),
            other => panic!("{other:?}"),
        }
    }
}

/// Generations 1, 2 and 3 of one keyset: one key, two, and the second alone.
fn document(generation: u64) -> Document {
    pairs("a", generation)
}

fn file_content(document: &Document) -> String {
    let (format, audience) = (TargetFormat::Jwks, Audience::Verifiers);
    let file = FileTarget { path: "/jwks".into(), format, audience, mode: 0o644, group: None, replace: false };
    let content = render(&file, document).unwrap().parts.remove(0).content.unwrap();
    String::from_utf8(content.expose().to_vec()).unwrap()
}

fn truth(account: &Account) -> String {
    account.calls.service().truth(NAME).unwrap().1
}

fn calls(account: &Account) -> Vec<(&'static str, u64)> {
    account.counted().into_iter().collect()
}

#[tokio::test]
async fn it_holds_what_a_file_holds_and_bears_our_tags() {
    let account = Account::new(1);
    let here = Replica::of(&account);
    let (wrote, drift, _) = here.agrees(&document(1), None).await;
    assert_eq!((wrote, drift), (true, false));
    assert_eq!(truth(&account), file_content(&document(1)));
    assert!(!truth(&account).contains("PRIVATE"));
    let described = account.calls.service().describe(NAME).unwrap();
    let tags: Vec<_> = described.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(tags, ["environment=contract", "keyset=a", "managed-by=keyrota", "team=identity"]);
}

#[tokio::test]
async fn a_change_costs_four_calls_and_nothing_due_costs_none() {
    let account = Account::new(1);
    let (here, there) = (Replica::of(&account), Replica::of(&account));
    let (_, _, expected) = here.agrees(&document(1), None).await;
    assert_eq!(calls(&account), [("CreateSecret", 1), ("GetSecretValue", 2)], "looked, made, and read back");
    assert!(!there.agrees(&document(1), None).await.0, "the other replica finds it in line");
    assert_eq!(calls(&account), [("GetSecretValue", 1)]);
    for _ in 0..100 {
        account.time.pass(Span::seconds(5));
        assert!(!here.agrees(&document(1), expected).await.0);
    }
    assert_eq!(calls(&account), []);
    here.agrees(&document(2), expected).await;
    let change = [("DescribeSecret", 1), ("GetSecretValue", 1), ("PutSecretValue", 1), ("UpdateSecretVersionStage", 1)];
    assert_eq!(calls(&account), change, "and read back");
    let (wrote, drift, _) = there.agrees(&document(2), expected).await;
    assert_eq!((wrote, drift), (false, false));
    assert_eq!(calls(&account), [("DescribeSecret", 1), ("GetSecretValue", 1)], "whoever comes second writes nothing");
}

#[tokio::test]
async fn a_lagging_replica_leaves_a_later_key_set_alone_and_does_not_fight() {
    let account = Account::new(1);
    let (ahead, behind) = (Replica::of(&account), Replica::of(&account));
    let (_, _, expected) = behind.agrees(&document(1), None).await;
    ahead.agrees(&document(3), None).await;
    let versions = account.calls.service().versions(NAME);
    for generation in [1, 2] {
        let brought = behind.bring(&document(generation), expected).await;
        match generation {
            // It was in line when it was last seen, and costs nothing until a list shows that it is not any more.
            1 => assert!(matches!(brought, Ok(Brought::Agreed { wrote: false, .. })), "{brought:?}"),
            _ => assert_eq!(brought, Ok(Brought::Ahead { generation: Generation(3) })),
        }
    }
    account.time.pass(Span::minutes(2));
    behind.store.changes(&keyrota::store::Mark::default()).await.unwrap();
    assert_eq!(behind.bring(&document(1), expected).await, Ok(Brought::Ahead { generation: Generation(3) }), "a sweep has shown it");
    assert_eq!(truth(&account), file_content(&document(3)));
    assert_eq!(account.calls.service().versions(NAME), versions, "nothing was written");
}

/// The same when its reads are too old to show the later key set: its move of the label is bound to what it saw.
#[tokio::test]
async fn a_lagging_replica_whose_reads_lag_too_loses() {
    let mut rescued = 0;
    for seed in 0..60 {
        let account = Account::new(seed);
        let (ahead, behind) = (Replica::of(&account), Replica::of(&account));
        let (_, _, expected) = behind.agrees(&document(1), None).await;
        account.time.pass(Span::seconds(2));
        ahead.agrees(&document(3), None).await;
        account.calls.service().knobs = Knobs { stale: 900, read_lag: Span::seconds(4), ..Knobs::default() };
        let versions = account.calls.service().versions(NAME);
        let brought = behind.bring(&document(2), expected).await;
        assert!(!matches!(brought, Ok(Brought::Agreed { .. })), "seed {seed}: {brought:?}");
        assert_eq!(truth(&account), file_content(&document(3)), "seed {seed}");
        rescued += usize::from(account.calls.service().versions(NAME) > versions);
    }
    assert!(rescued > 0, "in some of these worlds the claim was made, and only the move of the label failed");
}

#[tokio::test]
async fn replicas_of_one_generation_write_one_version() {
    let account = Account::new(1);
    let replicas: Vec<_> = (0..8).map(|_| Replica::of(&account)).collect();
    let documents = [document(1), document(2)];
    for (round, document) in documents.iter().enumerate() {
        let brought = futures_util::future::join_all(replicas.iter().map(|replica| replica.bring(document, None))).await;
        assert!(brought.iter().all(|b| matches!(b, Ok(Brought::Agreed { drift: false, .. }))), "{brought:?}");
        assert_eq!(account.calls.service().versions(NAME), round + 1);
    }
}

#[tokio::test]
async fn what_somebody_else_owns_is_refused() {
    let account = Account::new(1);
    let here = Replica::of(&account);
    let strangers = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"theirs","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    account.calls.service().create_foreign(NAME, strangers);
    assert_eq!(here.bring(&document(1), None).await, Ok(Brought::Foreign { kids: vec!["theirs".parse().unwrap()] }));
    account.calls.service().write_over(NAME, Some("{\"password\":\"hunter2\"}"));
    assert_eq!(here.bring(&document(1), None).await, Ok(Brought::Foreign { kids: Vec::new() }));
    // Even a key set of our own keys, in a secret that does not bear our tags.
    account.calls.service().write_over(NAME, Some(&file_content(&document(1))));
    let refused = here.bring(&document(2), None).await.unwrap_err().to_string();
    assert!(refused.contains("does not bear the tag managed-by=keyrota") && refused.contains("; hint: "), "{refused}");
    assert_eq!(account.calls.service().versions(NAME), 3, "nothing of ours");
}

#[tokio::test]
async fn drift_is_noticed_by_the_sweep_and_repaired() {
    let account = Account::new(1);
    let here = Replica::of(&account);
    let (_, _, expected) = here.agrees(&document(2), None).await;
    for altered in [Some(r#"{"keys":[]}"#), Some("nonsense"), None] {
        account.calls.service().write_over(NAME, altered);
        account.time.pass(Span::minutes(2));
        here.store.changes(&keyrota::store::Mark::default()).await.unwrap();
        let (wrote, drift, _) = here.agrees(&document(2), expected).await;
        assert_eq!((wrote, drift), (true, true), "{altered:?}");
        assert_eq!(truth(&account), file_content(&document(2)));
    }
    // An operator puts the version before back: the same version is put into force again, and no other is made.
    let versions = account.calls.service().versions(NAME);
    assert!(account.calls.service().put_back(NAME));
    account.time.pass(Span::minutes(6));
    here.store.changes(&keyrota::store::Mark::default()).await.unwrap();
    assert!(here.agrees(&document(2), expected).await.0);
    assert_eq!(account.calls.service().versions(NAME), versions);
}

#[tokio::test]
async fn a_list_that_lags_is_no_drift() {
    let account = Account::new(1);
    account.calls.service().knobs = Knobs { list_lag: Span::minutes(4), list_steady: true, ..Knobs::default() };
    let here = Replica::of(&account);
    let (_, _, expected) = here.agrees(&document(1), None).await;
    account.time.pass(Span::minutes(10));
    here.agrees(&document(2), expected).await;
    account.counted();
    for _ in 0..4 {
        account.time.pass(Span::minutes(1));
        here.store.changes(&keyrota::store::Mark::default()).await.unwrap();
        let (wrote, drift, _) = here.agrees(&document(2), expected).await;
        assert_eq!((wrote, drift), (false, false));
    }
    assert_eq!(account.counted().get("GetSecretValue"), None, "the list showed the version before, as it may");
}

#[tokio::test]
async fn lost_answers_and_faults_lose_nothing() {
    for seed in 0..120 {
        let account = Account::new(seed);
        let here = Replica::of(&account);
        account.calls.service().knobs =
            Knobs { lost: 300, throttled: 100, unreachable: 100, stale: 300, read_lag: Span::seconds(3), ..Knobs::default() };
        let mut expected = None;
        for generation in 1..=3 {
            let mut tries = 0;
            expected = loop {
                match here.bring(&document(generation), expected).await {
                    Ok(Brought::Agreed { content, .. }) => break Some(content),
                    Ok(other) => panic!("seed {seed}: {other:?}"),
                    Err(error) => assert!(error.to_string().contains("; hint: "), "{error}"),
                }
                tries += 1;
                account.time.pass(Span::seconds(5));
                assert!(tries < 200, "seed {seed}: it never comes to an end");
            };
            assert_eq!(truth(&account), file_content(&document(generation)), "seed {seed}: what was read back is there");
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_call_is_made_good_by_whoever_comes_next() {
    for polls in 0..24 {
        let account = Account::new(1);
        let (here, there) = (Replica::of(&account), Replica::of(&account));
        let (_, _, expected) = here.agrees(&document(1), None).await;
        {
            let document = document(2);
            let mut dying = pin!(here.bring(&document, expected));
            let mut context = Context::from_waker(Waker::noop());
            for _ in 0..polls {
                if dying.as_mut().poll(&mut context).is_ready() {
                    break;
                }
            }
        }
        let left = truth(&account);
        assert!([1, 2].map(document).iter().any(|document| file_content(document) == left), "never half of it");
        there.agrees(&document(2), expected).await;
        assert_eq!(truth(&account), file_content(&document(2)), "after {polls} polls");
        assert_eq!(account.calls.service().versions(NAME), 2, "a claim that was left behind is carried through");
        there.agrees(&document(3), expected).await;
        assert_eq!(truth(&account), file_content(&document(3)));
    }
}

#[tokio::test]
async fn what_waits_to_be_deleted_is_said_and_not_made_anew() {
    let account = Account::new(1);
    let here = Replica::of(&account);
    let (_, _, expected) = here.agrees(&document(1), None).await;
    account.calls.service().schedule_deletion(NAME, true);
    account.time.pass(Span::minutes(2));
    here.store.changes(&keyrota::store::Mark::default()).await.unwrap();
    // The list may lag, and then it does not any more.
    account.time.pass(Span::minutes(6));
    here.store.changes(&keyrota::store::Mark::default()).await.unwrap();
    for document in [document(1), document(2)] {
        let said = here.bring(&document, expected).await.unwrap_err().to_string();
        assert!(said.contains("scheduled for deletion") && said.contains("restore-secret"), "{said}");
    }
    account.calls.service().schedule_deletion(NAME, false);
    here.agrees(&document(2), expected).await;
}

#[tokio::test]
async fn it_is_deleted_where_that_is_allowed_and_otherwise_said() {
    let account = Account::new(1);
    let here = Replica::of(&account);
    let (_, _, expected) = here.agrees(&document(1), None).await;
    let expected = expected.unwrap();
    account.calls.service().denied.insert("DeleteSecret");
    let refused = here.remove(expected).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("aws secretsmanager delete-secret --secret-id {NAME}")), "{refused}");
    assert!(account.calls.service().describe(NAME).unwrap().deleted_at.is_none());
    account.calls.service().denied.clear();
    let theirs = account.calls.service().write_over(NAME, Some("somebody's own"));
    assert_eq!(here.remove(expected).await, Err(PublishError::NotOurs(NAME.into())));
    assert_eq!(account.calls.get(NAME, Which::Current).await.unwrap().version, theirs);
    account.calls.service().put_back(NAME);
    assert_eq!(here.remove(expected).await, Ok(Removed::Done));
    assert!(account.calls.service().describe(NAME).unwrap().deleted_at.is_some());
}

#[tokio::test]
async fn a_keyset_without_keys_has_an_empty_set_there() {
    let account = Account::new(1);
    let here = Replica::of(&account);
    let empty = Document { active: None, incoming: Vec::new(), ..document(3) };
    assert!(!here.agrees(&empty, None).await.0);
    assert_eq!(account.calls.service().versions(NAME), 0, "none is made for nothing");
    let (_, _, expected) = here.agrees(&document(2), None).await;
    here.agrees(&empty, expected).await;
    assert_eq!(truth(&account), r#"{"keys":[]}"#);
}

#[tokio::test]
async fn the_doctor_sees_it_as_it_is() {
    let account = Account::new(1);
    let here = Replica::of(&account);
    let look = || async { here.places.look(&here.id, &here.target, &document(2)).await };
    assert_eq!(look().await, Ok(ReadBack::Missing));
    here.agrees(&document(2), None).await;
    assert_eq!(look().await, Ok(ReadBack::Equal { changed_at: None }));
    account.calls.service().write_over(NAME, Some(r#"{"keys":[]}"#));
    assert!(matches!(look().await, Ok(ReadBack::Differs { .. })));
    assert!(secret("a").len() < NAME.len(), "a name of its own, beside the keyset's secret");
}
