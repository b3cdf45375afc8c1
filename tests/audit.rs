//! The audit trail: what is in it, and that whatever is done to it afterwards shows, and where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use keyrota::audit::{Audit, FILE_NAME, KeysInUse, Kind, Limits, TrailKey, Verified, catalogue, tail, verify};
use keyrota::document::change::{Cause, Draft, Promise};
use keyrota::document::{Document, Intent, Trigger};
use keyrota::event::Event;
use keyrota::key::KeyClass;
use keyrota::name::KeysetId;
use keyrota::secret::SecretBytes;
use keyrota::time::{Span, Timestamp};
use keyrota::witness::book::WitnessBook;
use serde_json::Value;

const SMALL: Limits = Limits { bytes: 600, files: 3 };

fn key(byte: u8) -> TrailKey {
    TrailKey::new(SecretBytes::new(vec![byte; 32]))
}

/// The keys in use: those of the master keys that are there.
fn keys(bytes: &'static [u8]) -> KeysInUse {
    Arc::new(|| bytes.iter().copied().map(key).collect())
}

fn at(minute: u64) -> Timestamp {
    Timestamp::EPOCH + Span::days(20_000) + Span::minutes(minute)
}

/// The document after so many wishes of an operator.
fn document(changes: u64) -> Document {
    let id: KeysetId = "demo/users".parse().unwrap();
    (1..=changes).fold(Document::empty(id, KeyClass::Hmac), |document, n| {
        let cause = Cause { now: at(n), trigger: Trigger::Operator, reason: format!("wish {n}"), by: Some("ada (1000)".into()) };
        let mut draft = Draft::of(&document, Some(document.digest()), cause, Promise::default());
        draft.request_rotation(Some(Intent::new("ada (1000)", at(n), "because")));
        draft.finish()
    })
}

fn changed(n: u64) -> Event {
    let document = document(n);
    Event::Changed { keyset: document.id.clone(), entry: document.history.last().unwrap().clone() }
}

fn seen(changes: u64) -> Event {
    Event::Seen { document: Arc::new(document(changes)) }
}

async fn open(dir: &Path, limits: Limits) -> (Audit, WitnessBook) {
    let witness = WitnessBook::open(dir).unwrap();
    (Audit::start(dir, keys(&[7]), witness.clone(), limits).await.unwrap(), witness)
}

/// Writes so many changes, each on its own, and ends.
async fn written(dir: &Path, changes: std::ops::RangeInclusive<u64>, limits: Limits) {
    let (audit, _witness) = open(dir, limits).await;
    for n in changes {
        audit.record(at(n), vec![changed(n)]);
        audit.flush().await;
    }
}

async fn judged(dir: &Path) -> Verified {
    let head = WitnessBook::open(dir).unwrap().trail_head().await.unwrap();
    verify(dir, &[key(7)], head.as_ref()).unwrap()
}

/// What is found wrong after `tamper` had its way with the lines.
async fn after(tamper: impl FnOnce(&mut Vec<String>)) -> Vec<(u64, String)> {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 1..=6, Limits::default()).await;
    assert!(judged(dir.path()).await.flaws.is_empty());
    let path = dir.path().join(FILE_NAME);
    let mut lines: Vec<String> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 7, "one more says that it begins");
    tamper(&mut lines);
    lines.push(String::new());
    fs::write(&path, lines.join("\n")).unwrap();
    judged(dir.path()).await.flaws.into_iter().map(|flaw| (flaw.line, flaw.what)).collect()
}

#[track_caller]
fn says(flaws: &[(u64, String)], line: u64, what: &str) {
    assert!(flaws.iter().any(|(at, says)| *at == line && says.contains(what)), "{line} {what}: {flaws:?}");
}

#[tokio::test]
async fn whatever_is_done_to_it_shows_and_where() {
    assert!(after(|_| {}).await.is_empty());
    says(&after(|lines| lines[2] = lines[2].replace("ada", "eve")).await, 3, "line 3 was changed");
    says(&after(|lines| lines[2] = lines[2].replace("\"n\":3", "\"n\":4")).await, 3, "was changed");
    says(&after(|lines| drop(lines.remove(3))).await, 4, "lines 4 to 4 are missing");
    says(&after(|lines| drop(lines.drain(0..2))).await, 1, "lines 1 to 2 are missing");
    says(&after(|lines| lines.swap(2, 4)).await, 3, "are missing before this one");
    says(&after(|lines| lines.swap(2, 4)).await, 4, "moved");
    says(&after(|lines| lines.insert(4, lines[1].clone())).await, 5, "put in again");
    says(&after(|lines| lines.truncate(5)).await, 0, "lines 6 to 7 are missing at the end");
    says(&after(Vec::clear).await, 0, "lines 1 to 7 are missing at the end");
    says(&after(|lines| lines[5] = "nonsense".into()).await, 6, "no line of the trail");
    let forged = [key(8)];
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 1..=2, Limits::default()).await;
    assert_eq!(verify(dir.path(), &forged, None).unwrap().flaws.len(), 3, "another key proves nothing");
}

#[tokio::test]
async fn every_single_byte_counts() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 1..=2, Limits::default()).await;
    let path = dir.path().join(FILE_NAME);
    let good = fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] = if bad[at] == b'x' { b'y' } else { b'x' };
        fs::write(&path, &bad).unwrap();
        assert!(!judged(dir.path()).await.flaws.is_empty(), "byte {at}");
    }
}

#[tokio::test]
async fn a_line_says_who_and_why_and_never_more_than_that() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 1..=1, Limits::default()).await;
    let line: Value = serde_json::from_str(&tail(dir.path(), at(0), 10).unwrap().pop().unwrap()).unwrap();
    for (member, is) in [
        ("kind", "intent-noted"),
        ("environment", "demo"),
        ("keyset", "users"),
        ("actor", "ada (1000)"),
        ("reason", "wish 1"),
        ("trigger", "operator"),
    ] {
        assert_eq!(line[member], is, "{member}: {line}");
    }
    assert_eq!((&line["generation"], &line["n"]), (&1.into(), &2.into()));
    assert!(line.get("recovered").is_none());
    assert!(tail(dir.path(), at(2), 10).unwrap().iter().all(|line| !line.contains("wish")), "only since then");
}

#[tokio::test]
async fn the_chain_goes_on_across_files_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 1..=5, SMALL).await;
    written(dir.path(), 6..=9, SMALL).await;
    let verified = judged(dir.path()).await;
    assert!(verified.flaws.is_empty(), "{:?}", verified.flaws);
    assert_eq!(verified.last, 10);
    assert!(dir.path().join("audit.log.2").exists());
    written(dir.path(), 10..=30, SMALL).await;
    let verified = judged(dir.path()).await;
    assert!(verified.flaws.is_empty() && verified.first > 1, "the oldest files go, and are not missed: {verified:?}");
    assert!(!dir.path().join("audit.log.5").exists());
    fs::remove_file(dir.path().join("audit.log.2")).unwrap();
    let verified = judged(dir.path()).await;
    assert!(verified.flaws.iter().any(|flaw| flaw.file == "audit.log.1" && flaw.what.contains("are missing")), "{:?}", verified.flaws);
}

#[tokio::test]
async fn two_daemons_write_one_trail() {
    let dir = tempfile::tempdir().unwrap();
    let (one, _book) = open(dir.path(), SMALL).await;
    let (other, book) = open(dir.path(), SMALL).await;
    for n in 1..=12 {
        let (writer, reader) = if n % 3 == 0 { (&one, &other) } else { (&other, &one) };
        writer.record(at(n), vec![changed(n)]);
        writer.flush().await;
        reader.record(at(n), vec![seen(n)]);
        reader.flush().await;
    }
    let verified = verify(dir.path(), &[key(7)], book.trail_head().await.unwrap().as_ref()).unwrap();
    assert!(verified.flaws.is_empty(), "{:?}", verified.flaws);
    assert_eq!(verified.last, 13, "nothing is told twice");
}

#[tokio::test]
async fn a_line_that_a_crash_cut_off_is_mended_and_written_again() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 1..=3, Limits::default()).await;
    let path = dir.path().join(FILE_NAME);
    // The head was noted for line 3 only, and half of line 4 reached the disk.
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let head = {
        let other = tempfile::tempdir().unwrap();
        written(other.path(), 1..=2, Limits::default()).await;
        WitnessBook::open(other.path()).unwrap().trail_head().await.unwrap().unwrap()
    };
    fs::write(&path, [lines[..3].concat().as_str(), &lines[3][..40]].concat()).unwrap();
    let code = lines[2].split("\"mac\":\"").nth(1).unwrap().trim_end_matches("\"}\n").to_owned();
    rusqlite::Connection::open(dir.path().join("witness.db")).unwrap().execute("DELETE FROM trail", []).unwrap();
    WitnessBook::open(dir.path()).unwrap().note_trail_head(&keyrota::witness::book::TrailHead { code, ..head }).await.unwrap();

    let (audit, witness) = open(dir.path(), Limits::default()).await;
    audit.record(at(9), vec![seen(3)]);
    audit.flush().await;
    let verified = verify(dir.path(), &[key(7)], witness.trail_head().await.unwrap().as_ref()).unwrap();
    assert!(verified.flaws.is_empty(), "{:?}", verified.flaws);
    let told = tail(dir.path(), at(0), 100).unwrap();
    assert!(told.iter().any(|line| line.contains("trail-mended")), "{told:?}");
    let recovered: Vec<&String> = told.iter().filter(|line| line.contains("\"recovered\":true")).collect();
    assert!(recovered.len() == 1 && recovered[0].contains("wish 3"), "{told:?}");
}

#[tokio::test]
async fn what_others_did_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _witness) = open(dir.path(), Limits::default()).await;
    audit.record(at(1), vec![changed(1), seen(1), seen(3), seen(3), changed(4), seen(4)]);
    audit.flush().await;
    let told = tail(dir.path(), Timestamp::EPOCH, 100).unwrap();
    for n in 1..=4 {
        assert_eq!(told.iter().filter(|line| line.contains(&format!("\"wish {n}\""))).count(), 1, "wish {n}: {told:?}");
    }
    drop(audit);
    // Years later an old keyset is not told anew because its lines were dropped long ago.
    let (audit, _witness) = open(dir.path(), Limits::default()).await;
    let mut other = document(3);
    other.id = "demo/others".parse().unwrap();
    other.history.iter_mut().for_each(|entry| entry.at = at(0).minus(Span::days(300)));
    audit.record(at(9), vec![Event::Seen { document: Arc::new(other) }]);
    audit.flush().await;
    assert_eq!(tail(dir.path(), Timestamp::EPOCH, 100).unwrap().len(), told.len());
}

/// A trail whose master key was changed from 7 to 8 after three lines, and then from 8 to 9.
async fn rekeyed(dir: &Path) {
    for (before, both, after) in [(&[7][..], &[7, 8][..], &[8][..]), (&[8], &[8, 9], &[9])] {
        let (before, both, after): (&'static [u8], &'static [u8], &'static [u8]) = (before, both, after);
        for (keys_now, changes) in [(before, false), (both, true), (after, false)] {
            let witness = WitnessBook::open(dir).unwrap();
            let audit = Audit::start(dir, keys(keys_now), witness, Limits::default()).await.unwrap();
            audit.record(at(u64::from(keys_now[0])), vec![Event::ClockBack]);
            if changes {
                audit.change_key(at(50), "ada (1000)", "an administrator left").await.unwrap();
                audit.change_key(at(51), "ada (1000)", "asked twice").await.unwrap();
            }
            audit.record(at(60), vec![Event::ClockBack]);
            audit.end().await;
        }
    }
}

async fn judged_with(dir: &Path, keys: &[u8]) -> Vec<String> {
    let head = WitnessBook::open(dir).unwrap().trail_head().await.unwrap();
    let keys: Vec<_> = keys.iter().copied().map(key).collect();
    verify(dir, &keys, head.as_ref()).unwrap().flaws.into_iter().map(|flaw| flaw.what).collect()
}

#[tokio::test]
async fn the_chain_goes_on_under_a_new_key_and_the_latest_proves_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    rekeyed(dir.path()).await;
    let path = dir.path().join(FILE_NAME);
    let text = fs::read_to_string(&path).unwrap();
    let changes = text.lines().filter(|line| line.contains("trail-key-changed")).count();
    assert_eq!((changes, text.contains("asked twice")), (2, false), "{text}");
    assert_eq!(judged_with(dir.path(), &[9]).await, Vec::<String>::new(), "{text}");
    assert_eq!(judged_with(dir.path(), &[9, 10]).await, Vec::<String>::new(), "while it is being changed again");
    assert!(judged_with(dir.path(), &[8]).await.iter().any(|what| what.contains("was changed")), "an old key proves no new line");

    // Whoever has the old keys cannot write the old lines anew.
    for (line, from) in [(1, "begins"), (3, "\"n\":4"), (8, "agree again")] {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert!(lines[line].contains("\"n\":") || from == "begins");
        lines[line] = lines[line].replacen("clock", "clack", 1).replacen("begins", "began", 1);
        if lines[line] == text.lines().nth(line).unwrap() {
            continue;
        }
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        assert!(!judged_with(dir.path(), &[9]).await.is_empty(), "line {line}");
    }
    // Nor can somebody without any key put in a line that says the key changes here.
    let change = text.lines().find(|line| line.contains("trail-key-changed")).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.push(change);
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    assert!(!judged_with(dir.path(), &[9]).await.is_empty());
}

#[tokio::test]
async fn a_second_daemon_goes_on_under_the_key_that_the_first_changed_to() {
    let dir = tempfile::tempdir().unwrap();
    let witness = WitnessBook::open(dir.path()).unwrap();
    let first = Audit::start(dir.path(), keys(&[7, 8]), witness.clone(), Limits::default()).await.unwrap();
    let second = Audit::start(dir.path(), keys(&[7, 8]), witness.clone(), Limits::default()).await.unwrap();
    second.record(at(1), vec![Event::ClockBack]);
    second.flush().await;
    first.change_key(at(2), "ada (1000)", "because").await.unwrap();
    second.record(at(3), vec![Event::ClockBack]);
    second.flush().await;
    first.record(at(4), vec![Event::ClockBack]);
    first.flush().await;
    assert_eq!(judged_with(dir.path(), &[8]).await, Vec::<String>::new());
}

#[test]
fn the_journals_catalogue_explains_every_kind() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/keyrota.catalog");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, catalogue()).unwrap();
    }
    let shipped = fs::read_to_string(&path).unwrap();
    assert_eq!(shipped, catalogue(), "UPDATE_GOLDEN=1 writes it anew");
    let ids: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.message_id()).collect();
    assert_eq!(ids.len(), Kind::ALL.len(), "each has an id of its own");
    for kind in Kind::ALL {
        let (id, name) = (kind.message_id(), kind.as_str());
        assert!(shipped.contains(&format!("\n-- {id}\nSubject: ")), "{name}");
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{id}");
    }
    // A field that is named in it is one that is sent.
    let sent = ["ENVIRONMENT", "KEYSET", "KID", "TO", "GENERATION", "ACTOR", "REASON", "AUDIT_LINE", "AUDIT_MAC"];
    let named: Vec<_> = shipped.split('@').skip(1).step_by(2).collect();
    assert!(named.len() > 20 && named.iter().all(|name| sent.iter().any(|field| *name == format!("KEYROTA_{field}"))), "{named:?}");
}
