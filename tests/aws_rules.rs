//! The imitation of AWS Secrets Manager, held to what is known of the real one, rule by rule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod aws_fake;

use std::collections::BTreeMap;

use aws_fake::{FakeTime, Service, Write};
use keyrota::store::aws::calls::{CURRENT, CallFault, PREVIOUS, STAGED, VersionId, Which};
use keyrota::time::Span;

const NAME: &str = "keyrota/test/a";

fn token(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

fn version(n: usize) -> VersionId {
    VersionId(token(n))
}

fn create(service: &mut Service, name: &str, n: usize, text: &str) -> Result<String, CallFault> {
    service.carry_out(&Write::Create { name: name.into(), token: version(n), text: text.into(), tags: BTreeMap::new() })
}

fn move_current(service: &mut Service, from: usize, to: usize) -> Result<(), CallFault> {
    service.carry_out(&Write::Move { secret: NAME.into(), from: version(from), to: version(to) }).map(drop)
}

fn current(service: &mut Service) -> VersionId {
    service.get(NAME, Which::Current).unwrap().version
}

/// A secret with one version, 0.
fn one() -> (Service, FakeTime) {
    let time = FakeTime::default();
    let mut service = Service::new(1, time.clone());
    create(&mut service, NAME, 0, "zero").unwrap();
    (service, time)
}

#[test]
fn create_with_a_value_is_create_if_absent() {
    let (mut service, _) = one();
    assert_eq!(current(&mut service), version(0), "the version's id is the token");
    assert!(create(&mut service, NAME, 0, "zero").is_ok(), "same token, same value");
    assert_eq!(create(&mut service, NAME, 0, "other"), Err(CallFault::Exists));
    assert_eq!(create(&mut service, NAME, 1, "zero"), Err(CallFault::Exists));
    service.schedule_deletion(NAME, true);
    assert_eq!(create(&mut service, NAME, 0, "zero"), Err(CallFault::InvalidRequest), "a name that waits to be deleted");
    service.purge(NAME);
    let arn = service.describe(NAME);
    assert_eq!(arn, Err(CallFault::NotFound));
    create(&mut service, NAME, 0, "zero").unwrap();
}

#[test]
fn a_secret_made_again_has_another_arn() {
    let (mut service, _) = one();
    let before = service.describe(NAME).unwrap().arn;
    service.purge(NAME);
    create(&mut service, NAME, 0, "zero").unwrap();
    assert_ne!(service.describe(NAME).unwrap().arn, before);
    assert_eq!(service.describe(&before), Err(CallFault::NotFound));
}

#[test]
fn put_has_no_condition_and_tokens_are_used_once() {
    let (mut service, _) = one();
    service.put_raw(NAME, &token(1), "one", &[]).unwrap();
    assert_eq!(current(&mut service), version(1), "without labels it moves AWSCURRENT");
    assert!(service.describe(NAME).unwrap().bears(&version(0), PREVIOUS));
    service.put_raw(NAME, &token(2), "two", &[STAGED]).unwrap();
    assert_eq!(current(&mut service), version(1), "with labels it leaves AWSCURRENT alone");
    assert!(service.describe(NAME).unwrap().bears(&version(2), STAGED));
    assert_eq!(service.put_raw(NAME, &token(2), "two", &[]), Ok(()), "same token, same bytes: succeeds");
    assert_eq!(current(&mut service), version(1), "and does nothing");
    assert_eq!(service.put_raw(NAME, &token(2), "other", &[STAGED]), Err(CallFault::Exists));
    service.put_raw(NAME, &token(3), "three", &[STAGED]).unwrap();
    let described = service.describe(NAME).unwrap();
    assert_eq!(described.holder(STAGED), Some(&version(3)), "a label is on one version");
    assert!(!described.labels.contains_key(&version(2)), "a version without labels is not shown");
    assert_eq!(service.get(NAME, Which::Version(&version(2))).unwrap().version, version(2), "and can be read by its id");
    service.schedule_deletion(NAME, true);
    assert_eq!(service.put_raw(NAME, &token(4), "four", &[]), Err(CallFault::InvalidRequest));
}

#[test]
fn the_label_move_is_conditional_and_not_idempotent() {
    let (mut service, _) = one();
    service.put_raw(NAME, &token(1), "one", &[STAGED]).unwrap();
    service.put_raw(NAME, &token(2), "two", &[STAGED]).unwrap();
    assert_eq!(move_current(&mut service, 1, 2), Err(CallFault::InvalidParameter), "1 does not hold the label");
    assert_eq!(move_current(&mut service, 0, 9), Err(CallFault::NotFound), "there is no version 9");
    assert_eq!(current(&mut service), version(0), "and AWSCURRENT is not lost");
    move_current(&mut service, 0, 1).unwrap();
    assert_eq!(current(&mut service), version(1));
    assert!(service.describe(NAME).unwrap().bears(&version(0), PREVIOUS), "AWSPREVIOUS moves along");
    assert_eq!(move_current(&mut service, 0, 1), Err(CallFault::InvalidParameter), "a second time it fails");
    service.schedule_deletion(NAME, true);
    assert_eq!(move_current(&mut service, 1, 2), Err(CallFault::InvalidRequest));
}

#[test]
fn an_operator_can_put_the_previous_version_back() {
    let (mut service, _) = one();
    assert!(!service.put_back(NAME), "there is none");
    service.put_raw(NAME, &token(1), "one", &[]).unwrap();
    assert!(service.put_back(NAME));
    let described = service.describe(NAME).unwrap();
    assert_eq!((described.holder(CURRENT), described.holder(PREVIOUS)), (Some(&version(0)), Some(&version(1))));
}

#[test]
fn deletion_waits_and_can_be_taken_back() {
    let (mut service, _) = one();
    service.schedule_deletion(NAME, true);
    assert!(matches!(service.get(NAME, Which::Current), Err(CallFault::InvalidRequest)));
    assert!(service.describe(NAME).unwrap().deleted_at.is_some(), "it can still be described");
    assert_eq!(service.list("keyrota/", None).unwrap().secrets.len(), 1, "and listed, when asked for");
    service.schedule_deletion(NAME, false);
    assert_eq!(current(&mut service), version(0));
}

#[test]
fn limits_of_names_tokens_and_values() {
    let (mut service, _) = one();
    for bad in ["", "a b", "ä", &"n".repeat(513)] {
        assert_eq!(create(&mut service, bad, 0, "x"), Err(CallFault::InvalidParameter), "{bad}");
    }
    for bad in [&"t".repeat(31), &"t".repeat(65)] {
        assert_eq!(service.put_raw(NAME, bad, "x", &[]), Err(CallFault::InvalidParameter));
    }
    service.put_raw(NAME, &token(1), &"x".repeat(65_536), &[STAGED]).unwrap();
    assert_eq!(service.put_raw(NAME, &token(2), &"x".repeat(65_537), &[STAGED]), Err(CallFault::InvalidParameter));
}

#[test]
fn twenty_labels_over_all_versions() {
    let (mut service, _) = one();
    for n in 1..20 {
        service.put_raw(NAME, &token(n), "x", &[&format!("LABEL{n}")]).unwrap();
    }
    assert_eq!(service.put_raw(NAME, &token(20), "x", &["LABEL20"]), Err(CallFault::Quota));
    assert!(service.put_raw(NAME, &token(21), "x", &["LABEL1"]).is_ok(), "moving one takes no room");
}

#[test]
fn a_hundred_versions_and_none_goes_within_a_day() {
    let (mut service, time) = one();
    for n in 1..100 {
        service.put_raw(NAME, &token(n), "x", &[]).unwrap();
    }
    assert_eq!(service.put_raw(NAME, &token(100), "x", &[]), Err(CallFault::Quota));
    assert_eq!(current(&mut service), version(99), "what was refused changed nothing");
    time.pass(Span::hours(25));
    service.put_raw(NAME, &token(101), "x", &[]).unwrap();
    assert_eq!(service.versions(NAME), 100);
    assert!(matches!(service.get(NAME, Which::Version(&version(0))), Err(CallFault::NotFound)), "the oldest unlabelled one is pruned");
    assert!(service.get(NAME, Which::Version(&version(99))).is_ok());
    service.put_raw(NAME, &token(0), "other bytes", &[STAGED]).unwrap();
}

#[test]
fn lists_come_a_hundred_a_page_and_may_lag() {
    let (mut service, time) = one();
    for n in 1..250 {
        create(&mut service, &format!("keyrota/test/b{n}"), n, "x").unwrap();
    }
    create(&mut service, "elsewhere/a", 999, "x").unwrap();
    let (mut seen, mut page, mut pages) = (0, None, 0);
    loop {
        let found = service.list("keyrota/test/", page.as_deref()).unwrap();
        (seen, pages, page) = (seen + found.secrets.len(), pages + 1, found.next);
        if page.is_none() {
            break;
        }
    }
    assert_eq!((seen, pages), (250, 3));
    time.pass(Span::hours(1));
    service.put_raw(NAME, &token(1), "one", &[]).unwrap();
    service.knobs.stale = 1000;
    service.knobs.list_lag = Span::minutes(5);
    let shown: Vec<_> = (0..200).map(|_| service.list(NAME, None).unwrap().secrets[0].current.clone().unwrap()).collect();
    assert!(shown.contains(&version(0)) && shown.contains(&version(1)), "some copies lag");
    time.pass(Span::minutes(5) + Span::millis(1));
    let shown: Vec<_> = (0..200).map(|_| service.list(NAME, None).unwrap().secrets[0].current.clone().unwrap()).collect();
    assert!(shown.iter().all(|v| *v == version(1)), "by so much and no more");
}

#[test]
fn reads_may_lag_and_show_nothing() {
    let (mut service, _) = one();
    service.knobs.stale = 500;
    service.knobs.read_lag = Span::seconds(10);
    let answers: Vec<_> = (0..200).map(|_| service.get(NAME, Which::Current).is_ok()).collect();
    assert!(answers.contains(&true) && answers.contains(&false));
}
