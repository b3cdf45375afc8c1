//! Where a move leads, where it does not, and what a document on its way may do.

use keyrota::document::Intent;
use keyrota::lifecycle::{Because, Decision};
use keyrota::migrate::course::Route;
use keyrota::migrate::{Move, Standing, Stopped};
use keyrota::name::{Generation, KeysetName};
use keyrota::observed::Observed;
use keyrota::operator::{Refusal, Verb, judge};
use keyrota::rules::Rules;
use keyrota::store::{RECOVERY, Store as _};
use keyrota::time::{Span, Timestamp};
use keyrota::witness::{Sighting, Verdict};

use crate::contract::{create, name};
use crate::{assert_same_but_for_the_move, carry, changed, end, held, intent, memory, route, seasoned};

#[tokio::test]
async fn the_copy_continues_what_every_witness_saw() {
    let (source, target) = (memory(), memory());
    let before = seasoned(&source, "a").await;
    assert_eq!(carry(&source, &target, &route(), "a").await.unwrap().standing, Standing::There);
    let (sealed, copy) = (held(&source, "a").await.unwrap(), held(&target, "a").await.unwrap());
    assert_same_but_for_the_move(&sealed, &before);
    assert_same_but_for_the_move(&copy, &before);
    assert_eq!(sealed.intents.moved_to().unwrap().store, "new store");
    assert_eq!(copy.intents.moved_from().unwrap().intent, intent());
    for seen in [&before, &sealed] {
        let sighting = Sighting {
            generation: seen.generation,
            digest: seen.digest(),
            places: std::collections::BTreeMap::new(),
            probes: std::collections::BTreeMap::new(),
            signers_left: std::collections::BTreeMap::new(),
            restored: None,
            revoked: Vec::new(),
            removing: false,
        };
        assert_eq!(Verdict::on(Some(&sighting), Some(&copy), || Some(copy.digest())), Verdict::Continues);
    }
}

#[tokio::test]
async fn a_target_that_has_moved_on_is_left_alone() {
    for (turns, ended) in [(0, false), (1, false), (40, false), (3, true)] {
        let (source, target) = (memory(), memory());
        seasoned(&source, "a").await;
        carry(&source, &target, &route(), "a").await.unwrap();
        if ended {
            end(&source, &target, &route(), "a").await.unwrap();
        }
        let now = if turns > 0 { changed(&target, "a", turns).await } else { held(&target, "a").await.unwrap() };
        assert_eq!(carry(&source, &target, &route(), "a").await.unwrap().standing, Standing::There);
        assert!(held(&target, "a").await.unwrap() == now, "after {turns} turns");
    }
}

#[tokio::test]
async fn what_somebody_else_put_there_is_not_overwritten_and_nothing_is_sealed() {
    let (source, target) = (memory(), memory());
    let before = seasoned(&source, "a").await;
    let (foreign, _) = create(&target, "a").await;
    let stopped = carry(&source, &target, &route(), "a").await.unwrap_err();
    assert!(matches!(&stopped, Stopped::Blocked(_)) && stopped.to_string().contains("no copy"), "{stopped}");
    assert!(stopped.to_string().contains("; hint: "), "{stopped}");
    assert!(held(&source, "a").await.unwrap() == before && held(&target, "a").await.unwrap() == foreign);
    let foreseen = Move { source: &source, target: &target, route: &route(), recovery: RECOVERY, intent: &intent() };
    let foreseen = foreseen.foresee(&[name("a"), name("b")]).await.unwrap();
    assert!(foreseen[&name("a")].is_err());
    assert_eq!(foreseen[&name("b")].as_ref().unwrap().standing, Standing::Absent);
}

#[tokio::test]
async fn a_document_of_far_later_generations_with_other_keys_is_no_copy() {
    let (source, target) = (memory(), memory());
    seasoned(&source, "a").await;
    let before = carry(&source, &memory(), &route(), "a").await.map(|_| ()).and(Ok::<_, Stopped>(()));
    before.unwrap();
    // The target that the copy went to is lost; in its place stands another keyset's life.
    let mut other = crate::contract::first("a", "another secret");
    other.incoming[0].key.kid = "another-kid".parse().unwrap();
    target.swap(None, &other).await.unwrap();
    changed(&target, "a", 40).await;
    assert!(matches!(carry(&source, &target, &route(), "a").await, Err(Stopped::Blocked(_))));
    assert!(matches!(end(&source, &target, &route(), "a").await, Err(Stopped::Blocked(_))), "the source would be lost");
    assert!(held(&source, "a").await.is_some());
}

#[tokio::test]
async fn the_way_back_goes_through_the_same_gates() {
    let (source, target) = (memory(), memory());
    let before = seasoned(&source, "a").await;
    carry(&source, &target, &route(), "a").await.unwrap();
    let back = route().reversed();
    carry(&target, &source, &back, "a").await.unwrap();
    let home = held(&source, "a").await.unwrap();
    assert_same_but_for_the_move(&home, &before);
    assert_eq!(home.generation.0, before.generation.0 + 4);
    assert!(held(&target, "a").await.unwrap().intents.moved_to().is_some(), "the copy is sealed now");
    end(&target, &source, &back, "a").await.unwrap();
    assert!(held(&target, "a").await.is_none());
    // And there again, and back with both stores full, after more changes than a lineage remembers.
    changed(&source, "a", 3).await;
    for (from, to, route, turns) in [(&source, &target, route(), 40), (&target, &source, back, 1)] {
        carry(from, to, &route, "a").await.unwrap();
        let kept =
            Move { source: from, target: to, route: &route, recovery: RECOVERY, intent: &intent() }.end(&name("a"), true).await.unwrap();
        assert_eq!(kept.standing, Standing::Settled);
        changed(to, "a", turns).await;
    }
    assert!(held(&source, "a").await.unwrap().intents.moved.is_none());
}

#[tokio::test]
async fn a_seal_towards_nothing_is_lifted() {
    let (source, target) = (memory(), memory());
    let before = seasoned(&source, "a").await;
    let sealed = {
        let lost = memory();
        carry(&source, &lost, &route(), "a").await.unwrap();
        held(&source, "a").await.unwrap()
    };
    carry(&target, &source, &route().reversed(), "a").await.unwrap();
    let again = held(&source, "a").await.unwrap();
    assert_same_but_for_the_move(&again, &before);
    assert_eq!(again.generation, sealed.generation.next());
}

#[tokio::test]
async fn what_is_on_its_way_elsewhere_stays_on_that_way() {
    let (source, target, third) = (memory(), memory(), memory());
    seasoned(&source, "a").await;
    carry(&source, &target, &route(), "a").await.unwrap();
    let astray = Route { source: "old store".into(), target: "third store".into() };
    let stopped = carry(&source, &third, &astray, "a").await.unwrap_err().to_string();
    assert!(stopped.contains("moved to the new store"), "{stopped}");
    let onward = Route { source: "new store".into(), target: "third store".into() };
    let stopped = carry(&target, &third, &onward, "a").await.unwrap_err().to_string();
    assert!(stopped.contains("has not ended") && stopped.contains("--erase-source"), "{stopped}");
    assert!(held(&third, "a").await.is_none());
}

#[tokio::test]
async fn nothing_is_erased_that_has_not_arrived() {
    let (source, target) = (memory(), memory());
    seasoned(&source, "a").await;
    assert!(matches!(end(&source, &target, &route(), "a").await, Err(Stopped::Blocked(_))), "it is not sealed");
    carry(&source, &target, &route(), "a").await.unwrap();
    target.lose(&name("a"));
    assert!(matches!(end(&source, &target, &route(), "a").await, Err(Stopped::Blocked(_))), "the copy is gone");
    assert!(held(&source, "a").await.is_some());
}

/// Rules under which everything is due at once.
fn hasty(document: &keyrota::document::Document) -> Rules {
    Rules {
        standing: keyrota::rules::Standing::InForce,
        rotate_every: Span::ZERO,
        mode: keyrota::policy::Mode::Auto,
        ..Rules::orphan(document)
    }
}

#[tokio::test]
async fn a_sealed_document_is_decided_on_by_nobody_and_refuses_every_verb() {
    let (source, target) = (memory(), memory());
    seasoned(&source, "a").await;
    carry(&source, &target, &route(), "a").await.unwrap();
    let sealed = held(&source, "a").await.unwrap();
    let (rules, now) = (hasty(&sealed), Timestamp::from_millis(10_000_000));
    let Decision::Wait(wait) = keyrota::lifecycle::next(&sealed, &rules, &Observed::quiet(now)) else { panic!("it does something") };
    let [pending] = wait.pending.as_slice() else { panic!("{wait:?}") };
    assert!(matches!(pending.because, Because::MovedTo { .. }) && wait.until.is_none());
    let said = pending.because.to_string();
    assert!(said.contains("new store") && said.contains("ada (1000)") && said.contains("; hint: "), "{said}");
    let kid = sealed.live().next().unwrap().key.kid.clone();
    let seen = Generation(0);
    for verb in [
        Verb::Rotate,
        Verb::RotateNow,
        Verb::Revoke { kid: kid.clone() },
        Verb::Compromise,
        Verb::RollBack,
        Verb::Freeze { until: now + Span::hours(1) },
        Verb::Unfreeze,
        Verb::Approve { kid },
        Verb::AcceptClock,
        Verb::AcceptDocument { revoked: Vec::new(), seen },
        Verb::Restored { revoked: Vec::new(), seen },
    ] {
        let refused = judge(&sealed, &verb, &rules, now).unwrap_err();
        assert!(matches!(refused, Refusal::Unsafe { .. }) && refused.to_string().contains("new store"), "{verb:?}: {refused}");
    }
}

#[tokio::test]
async fn what_has_arrived_rotates_when_nobody_reads_the_old_store() {
    let (source, target) = (memory(), memory());
    seasoned(&source, "a").await;
    carry(&source, &target, &route(), "a").await.unwrap();
    let mut arrived = held(&target, "a").await.unwrap();
    // The staged key of the contract, as if it had been signing for long.
    let incoming = arrived.incoming.pop().unwrap();
    let since = Timestamp::from_millis(1);
    arrived.active = Some(keyrota::document::Active { key: incoming.key, since, published_at: since });
    let now = Timestamp::from_millis(10_000_000);
    let rules = Rules { source: keyrota::policy::Source::Generated, ..hasty(&arrived) };
    let Decision::Wait(wait) = keyrota::lifecycle::next(&arrived, &rules, &Observed::quiet(now)) else { panic!("it rotates") };
    assert!(
        wait.pending.iter().any(|pending| matches!(&pending.because, Because::MovedFrom { store } if store == "old store")),
        "{wait:?}"
    );
    for verb in [Verb::Rotate, Verb::RotateNow] {
        assert!(matches!(judge(&arrived, &verb, &rules, now), Err(Refusal::Unsafe { .. })), "{verb:?}");
    }
    assert!(judge(&arrived, &Verb::Compromise, &rules, now).is_ok(), "an emergency does not wait");
    arrived.intents.moved = None;
    assert!(matches!(keyrota::lifecycle::next(&arrived, &rules, &Observed::quiet(now)), Decision::Do(..)));
}

#[tokio::test]
async fn an_intent_of_the_longest_words_fits() {
    let (source, target) = (memory(), memory());
    seasoned(&source, "a").await;
    let long = Intent::new("a", Timestamp::from_millis(9), &"why ".repeat(1000));
    let keyset: KeysetName = name("a");
    Move { source: &source, target: &target, route: &route(), recovery: RECOVERY, intent: &long }.carry(&keyset).await.unwrap();
    let stored = held(&target, "a").await.unwrap().to_stored();
    assert!(keyrota::document::Document::from_stored(stored.expose()).is_ok());
    assert!(stored.expose().len() < 8 * 1024, "{} bytes", stored.expose().len());
}
