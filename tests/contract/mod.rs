//! The contract of [`keyrota::store::Store`], run against every adapter: by `tests/store_contract.rs`, `tests/aws_store` and
//! `tests/aws_http.rs`.
//!
//! An adapter brings a [`Fixture`]: a place to keep documents that can be opened more than once, and a hand behind its back.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use keyrota::document::change::{Cause, Draft, Promise};
use keyrota::document::{Active, Document, Incoming, Intent, Stage, Trigger};
use keyrota::jwk::{OkpCurve, PublicJwk, PublicNumbers};
use keyrota::key::{Algorithm, Key, KeyClass, Material, Origin};
use keyrota::name::{Generation, KeysetId, KeysetName};
use keyrota::secret::SecretText;
use keyrota::store::{Changes, Mark, Revision, Store, StoreError, SwapError};
use keyrota::time::Timestamp;
use tokio::sync::Barrier;

/// One test for every rule of the contract.
#[allow(unused_macros, reason = "some test binaries use the documents only")]
macro_rules! store_contract {
    ($fixture:expr) => {
        $crate::contract::store_contract!(@each $fixture;
            an_empty_store_has_nothing, a_keyset_is_created_once, an_update_is_never_lost, of_nested_updates_one_wins,
            a_race_has_one_winner, a_race_to_create_has_one_winner, two_openings_race_for_one_place,
            a_generation_is_used_once, a_revision_is_used_once, another_environment_is_refused, unreadable_is_not_empty,
            one_bad_keyset_does_not_hide_the_others, what_is_loaded_is_what_is_in_force, changes_tell_of_every_write_once, changes_tell_of_removals,
            changes_tell_of_other_openings, a_foreign_mark_begins_anew, changes_miss_nothing_under_load, thousands_at_once);
    };
    // Some of the rules, where a place cannot bear all.
    (@each $fixture:expr; $($rule:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $rule() {
                $crate::contract::$rule(&$fixture).await;
            }
        )*
    };
}
#[allow(unused_imports, reason = "some test binaries use the documents only")]
pub(crate) use store_contract;

/// The environment that every fixture is for.
pub const ENVIRONMENT: &str = "contract";

/// A place for documents.
pub trait Fixture: Send + Sync {
    /// The adapter.
    type Store: Store + Clone;
    /// Another way in to the same place, as another process would have it.
    fn open(&self) -> Self::Store;
    /// Makes a stored keyset unreadable behind the store's back.
    fn damage(&self, keyset: &KeysetName) -> impl Future<Output = ()> + Send;
    /// Takes a keyset out.
    fn remove(&self, keyset: &KeysetName) -> impl Future<Output = ()> + Send;
}

/// The name of a keyset.
pub fn name(text: &str) -> KeysetName {
    text.parse().unwrap()
}

/// The first document of a keyset: one staged HMAC key with that secret.
pub fn first(keyset: &str, secret: &str) -> Document {
    let id: KeysetId = format!("{ENVIRONMENT}/{keyset}").parse().unwrap();
    let mut draft = draft(&Document::empty(id, KeyClass::Hmac), 1);
    let key = Key {
        kid: format!("kid-of-{keyset}").parse().unwrap(),
        algorithm: Algorithm::HS256,
        bits: 256,
        created_at: Timestamp::from_millis(1),
        origin: Origin::Generated,
        expires_at: None,
        material: Material::Hmac { secret: SecretText::new(secret.to_owned()) },
    };
    draft.stage(key).unwrap();
    draft.finish()
}

/// Generations of a keyset of key pairs: the first has one key, the second another one besides, the third that one alone. Their private
/// halves are nothing.
#[allow(dead_code, reason = "some test binaries use the other documents only")]
pub fn pairs(keyset: &str, generation: u64) -> Document {
    let key = |kid: &str, x: &str| {
        let numbers = PublicNumbers::Okp { crv: OkpCurve::Ed25519, x: x.into() };
        let public = PublicJwk::new(kid.parse().unwrap(), Algorithm::EdDsa, numbers);
        let private = Some(SecretText::new("-----BEGIN PRIVATE KEY-----".to_owned()));
        let (created_at, origin, material) = (Timestamp::from_millis(1), Origin::Generated, Material::Pair { public, private });
        Key { kid: kid.parse().unwrap(), algorithm: Algorithm::EdDsa, bits: 256, created_at, origin, expires_at: None, material }
    };
    let one = || key("one", "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE");
    let two = || key("two", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let (active, incoming) = match generation {
        1 => (one(), None),
        2 => (one(), Some(two())),
        _ => (two(), None),
    };
    let since = Timestamp::from_millis(1);
    Document {
        generation: Generation(generation),
        updated_at: since,
        active: Some(Active { key: active, since, published_at: since }),
        incoming: incoming.into_iter().map(|key| Incoming { key, stage: Stage::Staged { since } }).collect(),
        ..Document::empty(format!("{ENVIRONMENT}/{keyset}").parse().unwrap(), KeyClass::Asymmetric)
    }
}

/// A successor of `document`, told from its siblings by `what`.
pub fn next(document: &Document, what: &str) -> Document {
    let mut draft = draft(document, 2);
    draft.request_rotation(Some(Intent::new("contract", Timestamp::from_millis(2), what)));
    draft.finish()
}

fn draft(document: &Document, at: i64) -> Draft {
    let cause = Cause { now: Timestamp::from_millis(at), trigger: Trigger::Operator, reason: "a test".into(), by: None };
    Draft::of(document, Some(document.digest()), cause, Promise::default())
}

/// Stores a first document.
pub async fn create(store: &impl Store, keyset: &str) -> (Document, Revision) {
    let document = first(keyset, "a secret");
    let revision = store.swap(None, &document).await.unwrap();
    (document, revision)
}

pub async fn loaded(store: &impl Store, keyset: &str) -> Option<(Document, Revision)> {
    store.load(&name(keyset)).await.unwrap().map(|l| (l.document, l.revision))
}

pub async fn an_empty_store_has_nothing(fixture: &impl Fixture) {
    let store = fixture.open();
    assert!(loaded(&store, "absent").await.is_none());
    assert!(store.load_many(&[name("absent")]).await.unwrap().is_empty());
    assert!(store.load_many(&[]).await.unwrap().is_empty());
    let changes = store.changes(&Mark::default()).await.unwrap();
    assert!(changes.written.is_empty() && changes.removed.is_empty());
    assert!(store.poll_every().as_millis() > 0);
    let swapped = store.swap(Some(&Revision("nonsense".into())), &first("absent", "s")).await;
    assert_eq!(swapped, Err(SwapError::Conflict), "nothing is not what was expected");
}

pub async fn a_keyset_is_created_once(fixture: &impl Fixture) {
    let store = fixture.open();
    let (document, revision) = create(&store, "a").await;
    assert_eq!(store.swap(None, &first("a", "another secret")).await, Err(SwapError::Conflict));
    assert!(loaded(&store, "a").await == Some((document, revision)), "what is loaded is what was stored");
    assert!(loaded(&store, "b").await.is_none());
}

pub async fn an_update_is_never_lost(fixture: &impl Fixture) {
    let store = fixture.open();
    let (one, at_one) = create(&store, "a").await;
    let two = next(&one, "two");
    let at_two = store.swap(Some(&at_one), &two).await.unwrap();
    assert_ne!(at_one, at_two);
    for stale in [Some(&at_one), None, Some(&Revision(String::new()))] {
        assert_eq!(store.swap(stale, &next(&two, "lost")).await, Err(SwapError::Conflict));
    }
    assert!(loaded(&store, "a").await == Some((two, at_two)));
}

pub async fn of_nested_updates_one_wins(fixture: &impl Fixture) {
    let store = fixture.open();
    create(&store, "a").await;
    let (outer_saw, outer_at) = loaded(&store, "a").await.unwrap();
    let (inner_saw, inner_at) = loaded(&store, "a").await.unwrap();
    let inner = store.swap(Some(&inner_at), &next(&inner_saw, "inner")).await;
    let outer = store.swap(Some(&outer_at), &next(&outer_saw, "outer")).await;
    assert!(inner.is_ok());
    assert_eq!(outer, Err(SwapError::Conflict));
    let (now, revision) = loaded(&store, "a").await.unwrap();
    assert!(now == next(&inner_saw, "inner"));
    assert!(store.swap(Some(&revision), &next(&now, "outer, decided again")).await.is_ok());
}

/// Sixteen at a time swap from the same revision; answers the winner's document.
async fn race<S: Store + Clone>(stores: &[S], expected: Option<Revision>, candidates: Vec<Document>) -> (Document, Revision) {
    let start = Arc::new(Barrier::new(candidates.len()));
    let racers = candidates.into_iter().zip(stores.iter().cycle().cloned()).map(|(candidate, store)| {
        let (start, expected) = (Arc::clone(&start), expected.clone());
        tokio::spawn(async move {
            start.wait().await;
            (store.swap(expected.as_ref(), &candidate).await, candidate)
        })
    });
    let mut won = Vec::new();
    for racer in join_all(racers.collect::<Vec<_>>()).await {
        match racer.unwrap() {
            (Ok(revision), document) => won.push((document, revision)),
            (Err(error), _) => assert_eq!(error, SwapError::Conflict),
        }
    }
    assert_eq!(won.len(), 1, "exactly one wins");
    won.remove(0)
}

async fn many_races<S: Store + Clone>(stores: &[S]) {
    let (mut document, mut revision) = create(&stores[0], "a").await;
    for round in 0..50 {
        let candidates = (0..16).map(|racer| next(&document, &format!("{round}/{racer}"))).collect();
        (document, revision) = race(stores, Some(revision), candidates).await;
        for store in stores {
            assert!(loaded(store, "a").await == Some((document.clone(), revision.clone())), "everybody sees the winner");
        }
    }
}

pub async fn a_race_has_one_winner(fixture: &impl Fixture) {
    many_races(&[fixture.open()]).await;
}

pub async fn two_openings_race_for_one_place(fixture: &impl Fixture) {
    many_races(&[fixture.open(), fixture.open()]).await;
}

pub async fn a_race_to_create_has_one_winner(fixture: &impl Fixture) {
    let stores = [fixture.open(), fixture.open()];
    for round in 0..10 {
        let keyset = format!("a{round}");
        let candidates = (0..16).map(|racer| first(&keyset, &format!("secret {racer}"))).collect();
        let won = race(&stores, None, candidates).await;
        assert!(loaded(&stores[0], &keyset).await == Some(won));
    }
}

pub async fn a_generation_is_used_once(fixture: &impl Fixture) {
    let store = fixture.open();
    let (one, at_one) = create(&store, "a").await;
    let two = next(&one, "two");
    let at_two = store.swap(Some(&at_one), &two).await.unwrap();
    for reused in [&one, &next(&one, "another two")] {
        assert!(matches!(store.swap(Some(&at_two), reused).await, Err(SwapError::Invalid(_))));
    }
    assert!(loaded(&store, "a").await == Some((two, at_two)));
}

pub async fn a_revision_is_used_once(fixture: &impl Fixture) {
    let store = fixture.open();
    let mut seen = BTreeSet::new();
    for life in 0..3 {
        let (mut document, mut revision) = create(&store, "a").await;
        let first_of_life = revision.clone();
        for step in 0..20 {
            assert!(seen.insert(revision.clone()), "{revision:?} was used before");
            document = next(&document, &format!("{life}/{step}"));
            revision = store.swap(Some(&revision), &document).await.unwrap();
        }
        assert!(seen.insert(revision));
        fixture.remove(&name("a")).await;
        assert_eq!(store.swap(Some(&first_of_life), &document).await, Err(SwapError::Conflict));
        assert!(loaded(&store, "a").await.is_none());
    }
}

pub async fn another_environment_is_refused(fixture: &impl Fixture) {
    let store = fixture.open();
    let elsewhere = Document::empty("elsewhere/a".parse().unwrap(), KeyClass::Hmac);
    assert!(matches!(store.swap(None, &next(&elsewhere, "here")).await, Err(SwapError::Invalid(_))));
    assert!(store.changes(&Mark::default()).await.unwrap().written.is_empty());
}

pub async fn unreadable_is_not_empty(fixture: &impl Fixture) {
    let store = fixture.open();
    create(&store, "a").await;
    fixture.damage(&name("a")).await;
    assert!(matches!(store.load(&name("a")).await, Err(StoreError::Invalid(_))));
    assert_eq!(store.swap(None, &first("a", "s")).await, Err(SwapError::Conflict), "it is not there to be created");
    assert!(matches!(fixture.open().load(&name("a")).await, Err(StoreError::Invalid(_))));
}

pub async fn one_bad_keyset_does_not_hide_the_others(fixture: &impl Fixture) {
    let store = fixture.open();
    let mut stored = BTreeMap::new();
    for n in 0..300 {
        let keyset = format!("k{n}");
        let (document, _) = create(&store, &keyset).await;
        stored.insert(name(&keyset), document);
    }
    fixture.damage(&name("k7")).await;
    let mut wanted: Vec<_> = stored.keys().cloned().collect();
    wanted.push(name("absent"));
    let answer = store.load_many(&wanted).await.unwrap();
    assert_eq!(answer.len(), stored.len(), "all but the absent one");
    for (keyset, result) in answer {
        match result {
            Ok(loaded) => assert!(loaded.document == stored[&keyset] && keyset != name("k7")),
            Err(error) => assert!(keyset == name("k7") && matches!(error, StoreError::Invalid(_)), "{keyset}: {error}"),
        }
    }
}

pub async fn what_is_loaded_is_what_is_in_force(fixture: &impl Fixture) {
    let store = fixture.open();
    let (mut document, mut revision) = create(&store, "a").await;
    for step in 0..3 {
        document = next(&document, &step.to_string());
        revision = store.swap(Some(&revision), &document).await.unwrap();
        // To somebody who has just come, too.
        for store in [store.clone(), fixture.open()] {
            let many = store.load_many(&[name("a")]).await.unwrap().remove(&name("a")).unwrap().unwrap();
            assert!(many.document == document && many.revision == revision, "{step}");
            assert!(loaded(&store, "a").await == Some((document.clone(), revision.clone())), "{step}");
        }
    }
}

fn written(changes: &Changes) -> BTreeMap<KeysetName, Revision> {
    assert_eq!(changes.written.iter().map(|(n, _)| n).collect::<BTreeSet<_>>().len(), changes.written.len(), "each once");
    changes.written.iter().cloned().collect()
}

pub async fn changes_tell_of_every_write_once(fixture: &impl Fixture) {
    let store = fixture.open();
    let nothing = store.changes(&Mark::default()).await.unwrap();
    let (a, at_a) = create(&store, "a").await;
    let (_, at_b) = create(&store, "b").await;
    let both = BTreeMap::from([(name("a"), at_a.clone()), (name("b"), at_b.clone())]);
    let since_start = store.changes(&nothing.mark).await.unwrap();
    assert_eq!(written(&since_start), both, "own writes included");
    assert_eq!(written(&store.changes(&Mark::default()).await.unwrap()), both);
    for _ in 0..3 {
        let quiet = store.changes(&since_start.mark).await.unwrap();
        assert!(quiet.written.is_empty() && quiet.removed.is_empty());
        assert_eq!(quiet.mark, since_start.mark);
    }
    let at_a2 = store.swap(Some(&at_a), &next(&a, "two")).await.unwrap();
    let later = store.changes(&since_start.mark).await.unwrap();
    assert_eq!(written(&later), BTreeMap::from([(name("a"), at_a2.clone())]));
    // A mark can be used again: a reader that lost its place sees the same, as it is now.
    assert_eq!(written(&store.changes(&nothing.mark).await.unwrap()), BTreeMap::from([(name("a"), at_a2.clone()), (name("b"), at_b)]));
    assert_eq!(store.swap(Some(&at_a), &next(&a, "lost")).await, Err(SwapError::Conflict));
    assert!(store.changes(&later.mark).await.unwrap().written.is_empty(), "what was not written is no change");
    assert_eq!(loaded(&store, "a").await.map(|(_, r)| r), Some(at_a2), "the revision told is the revision loaded");
}

pub async fn changes_tell_of_removals(fixture: &impl Fixture) {
    let store = fixture.open();
    create(&store, "a").await;
    create(&store, "b").await;
    let mark = store.changes(&Mark::default()).await.unwrap().mark;
    fixture.remove(&name("a")).await;
    let gone = store.changes(&mark).await.unwrap();
    assert_eq!((gone.written.len(), gone.removed.as_slice()), (0, [name("a")].as_slice()));
    assert!(loaded(&store, "a").await.is_none());
    assert_eq!(store.load_many(&[name("a"), name("b")]).await.unwrap().len(), 1);
    let (_, again) = create(&store, "a").await;
    let back = store.changes(&gone.mark).await.unwrap();
    assert_eq!((written(&back), back.removed.len()), (BTreeMap::from([(name("a"), again)]), 0));
}

pub async fn changes_tell_of_other_openings(fixture: &impl Fixture) {
    let (here, there) = (fixture.open(), fixture.open());
    let mut mark = here.changes(&Mark::default()).await.unwrap().mark;
    for n in 0..20 {
        let keyset = format!("k{n}");
        let (document, revision) = create(if n % 2 == 0 { &there } else { &here }, &keyset).await;
        let seen = here.changes(&mark).await.unwrap();
        assert_eq!(written(&seen), BTreeMap::from([(name(&keyset), revision.clone())]));
        mark = seen.mark;
        assert!(loaded(&here, &keyset).await == Some((document, revision)));
        assert!(here.changes(&mark).await.unwrap().written.is_empty());
    }
}

pub async fn a_foreign_mark_begins_anew(fixture: &impl Fixture) {
    let store = fixture.open();
    let (_, revision) = create(&store, "a").await;
    let own = store.changes(&Mark::default()).await.unwrap().mark;
    // Digits that lie beyond what this store has come to: it was put back to an earlier state.
    let beyond = Mark(own.0.clone() + "000");
    for mark in [Mark("nonsense".into()), Mark("-1".into()), beyond] {
        let changes = store.changes(&mark).await.unwrap();
        assert_eq!((written(&changes), changes.mark), (BTreeMap::from([(name("a"), revision.clone())]), own.clone()));
    }
}

pub async fn changes_miss_nothing_under_load(fixture: &impl Fixture) {
    let (here, there) = (fixture.open(), fixture.open());
    let writers = (0..200).map(|n| {
        let store = if n % 2 == 0 { here.clone() } else { there.clone() };
        tokio::spawn(async move {
            let (document, revision) = create(&store, &format!("k{n}")).await;
            store.swap(Some(&revision), &next(&document, "two")).await.unwrap()
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut seen = BTreeMap::new();
    let mut mark = Mark::default();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let changes = here.changes(&mark).await.unwrap();
        seen.extend(written(&changes));
        mark = changes.mark;
    }
    seen.extend(written(&here.changes(&mark).await.unwrap()));
    let latest: Vec<_> = try_join_all(writers).await.unwrap();
    assert_eq!(seen.len(), latest.len());
    assert_eq!(seen.into_values().collect::<BTreeSet<_>>(), latest.into_iter().collect::<BTreeSet<_>>());
}

pub async fn thousands_at_once(fixture: &impl Fixture) {
    const KEYSETS: usize = 3000;
    let store = fixture.open();
    let names: Vec<_> = (0..KEYSETS).map(|n| format!("k{n}")).collect();
    let created = join_all(names.iter().map(|keyset| create(&store, keyset))).await;
    let swapped = join_all(created.iter().map(|(document, revision)| async {
        let successor = next(document, "two");
        (store.swap(Some(revision), &successor).await.unwrap(), successor)
    }));
    let swapped = swapped.await;
    let wanted: Vec<_> = names.iter().map(|n| name(n)).collect();
    let mut stored = fixture.open().load_many(&wanted).await.unwrap();
    for (keyset, (revision, document)) in wanted.iter().zip(swapped) {
        let loaded = stored.remove(keyset).unwrap().unwrap();
        assert!(loaded.document == document && loaded.revision == revision, "{keyset}");
    }
    assert!(stored.is_empty());
}
