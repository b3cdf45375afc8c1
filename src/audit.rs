//! The audit trail: what happened to every keyset, by whom and why, as JSON lines in `audit.log` in the state directory, in an order
//! and of a content that nobody can change afterwards without it being seen.
//!
//! Each line bears the authentication code of the line before it and its own, under a key derived from the master key. The latest
//! code is noted in the witness and sent to the journal, so that a trail that was cut short is noticed. What a crash kept from being
//! written is written at the next start from the histories that documents carry, marked as recovered.
//!
//! Stated limits: whoever holds the master key can write a trail anew; whoever can write the state directory can put trail *and* witness
//! back to an earlier state together, which only a copy elsewhere (the journal, a log collector) shows.
//!
//! Invariant: never material. Lines are made of [`Event`]s, which have no way to a secret.

mod chain;
mod files;
mod key;
mod kind;
mod lines;
mod verify;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

pub use files::{FILE_NAME, Limits};
pub use key::TrailKey;
pub use kind::{Kind, catalogue};
pub use lines::Line;
pub use verify::{Flaw, Verified, verify};

use crate::event::Event;
use crate::name::{Generation, KeysetId};
use crate::time::{Span, Timestamp};
use crate::witness::book::{TrailHead, WitnessBook};
use files::Trail;

/// What the key of the trail is derived for.
pub const PURPOSE: &str = "keyrota audit trail 1";

/// Answers with the keys that may prove the trail now: that of the master key in use first, then, while it is being changed, that of
/// the next one.
pub type KeysInUse = Arc<dyn Fn() -> Vec<TrailKey> + Send + Sync>;

/// A history entry of a keyset that the trail does not know is written if it is not older than the trail's last line by more than this.
const OVERLAP: Span = Span::minutes(1);

/// The trail of a running daemon. Clones share it.
#[derive(Clone)]
pub struct Audit {
    orders: mpsc::UnboundedSender<Order>,
}

enum Order {
    /// What happened, and when.
    Write(Timestamp, Vec<Event>),
    /// Tell when everything before is on disk.
    Flush(tokio::sync::oneshot::Sender<()>),
    /// Write what was ordered, let go of everything, and tell.
    End(tokio::sync::oneshot::Sender<()>),
    /// The master key is being changed: the trail is proven by the next one from here on.
    ChangeKey { at: Timestamp, by: String, reason: String, done: tokio::sync::oneshot::Sender<Result<(), String>> },
}

/// Writes what is ordered until nobody orders any more.
struct Scribe {
    trail: Trail,
    witness: WitnessBook,
    /// The latest generation of each keyset that is in the trail.
    known: BTreeMap<KeysetId, Generation>,
    /// Entries before this are the business of a trail that was kept before.
    since: Timestamp,
    /// Lines that could not be written yet.
    waiting: Vec<Line>,
    failing: bool,
}

impl Audit {
    /// Opens the trail in the state directory, and starts the task that writes it.
    ///
    /// # Errors
    /// If the files cannot be read or written, as a sentence.
    pub async fn start(state_dir: &Path, keys: KeysInUse, witness: WitnessBook, limits: Limits) -> Result<Self, String> {
        let head = witness.trail_head().await.map_err(|e| e.to_string())?;
        let directory = state_dir.to_owned();
        let opening = tokio::task::spawn_blocking(move || Trail::open(&directory, keys, head, limits)).await;
        let (trail, found) = opening.map_err(|e| e.to_string())??;
        let since = found.last_at.map_or(Timestamp::EPOCH, |at| at.minus(OVERLAP));
        crate::daemon::tell_lines(&found.notes);
        let scribe = Scribe { trail, witness, known: found.known, since, waiting: found.notes, failing: false };
        let (orders, queue) = mpsc::unbounded_channel();
        tokio::spawn(scribe.work(queue));
        Ok(Self { orders })
    }

    /// Writes down what happened.
    pub fn record(&self, at: Timestamp, events: Vec<Event>) {
        if !events.is_empty() {
            let _ = self.orders.send(Order::Write(at, events));
        }
    }

    /// The trail is proven by the last of the keys in use from now on. Done again, it changes nothing.
    ///
    /// # Errors
    /// If that could not be written, as a sentence: the key before is still needed then.
    pub async fn change_key(&self, at: Timestamp, by: &str, reason: &str) -> Result<(), String> {
        let (done, changed) = tokio::sync::oneshot::channel();
        let _ = self.orders.send(Order::ChangeKey { at, by: by.to_owned(), reason: reason.to_owned(), done });
        changed.await.unwrap_or_else(|_| Err("the audit trail is not written any more".to_owned()))
    }

    /// Writes what was recorded and lets go of the files.
    pub async fn end(self) {
        let closed = self.orders.clone();
        drop(self);
        let (done, written) = tokio::sync::oneshot::channel();
        let _ = closed.send(Order::End(done));
        let _ = written.await;
    }

    /// Waits until everything that was recorded is on disk, or cannot be written.
    pub async fn flush(&self) {
        let (done, written) = tokio::sync::oneshot::channel();
        let _ = self.orders.send(Order::Flush(done));
        let _ = written.await;
    }
}

impl Scribe {
    async fn work(mut self, mut queue: mpsc::UnboundedReceiver<Order>) {
        let (mut orders, mut ended) = (Vec::new(), None);
        self.write().await;
        while queue.recv_many(&mut orders, 1024).await > 0 {
            let mut asked = Vec::new();
            for order in orders.drain(..) {
                match order {
                    Order::Write(at, events) => events.iter().for_each(|event| self.take(at, event)),
                    Order::Flush(done) => asked.push(done),
                    Order::End(done) => ended = Some(done),
                    Order::ChangeKey { at, by, reason, done } => {
                        self.write().await;
                        let _ = done.send(self.change_key(at, by, reason).await);
                    }
                }
            }
            self.write().await;
            for done in asked {
                let _ = done.send(());
            }
            if let Some(done) = ended.take() {
                drop(self);
                let _ = done.send(());
                return;
            }
        }
    }

    /// The lines of an event, unless the trail has them already.
    fn take(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::Changed { keyset, entry } => {
                let known = self.known.entry(keyset.clone()).or_insert(entry.generation);
                *known = (*known).max(entry.generation);
                self.waiting.push(Line::of_change(at, keyset, entry, false));
            }
            Event::Seen { document } => {
                let known = self.known.get(&document.id).copied();
                let missed = document.history.iter().filter(|entry| match known {
                    Some(known) => entry.generation > known,
                    None => entry.at >= self.since,
                });
                let missed: Vec<_> = missed.map(|entry| Line::of_change(at, &document.id, entry, true)).collect();
                crate::daemon::tell_lines(&missed);
                self.waiting.extend(missed);
                self.known.insert(document.id.clone(), known.map_or(document.generation, |known| known.max(document.generation)));
            }
            other => self.waiting.extend(Line::of_event(at, other)),
        }
    }

    async fn change_key(&self, at: Timestamp, by: String, reason: String) -> Result<(), String> {
        let trail = self.trail.clone();
        let changing = tokio::task::spawn_blocking(move || trail.change_key(at, &by, &reason));
        let head = changing.await.map_err(|e| e.to_string())??;
        self.note(&head).await;
        Ok(())
    }

    async fn note(&self, head: &TrailHead) {
        crate::daemon::tell_head(head);
        if let Err(error) = self.witness.note_trail_head(head).await {
            tracing::warn!("the head of the audit trail was not noted: {error}");
        }
    }

    async fn write(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let lines = std::mem::take(&mut self.waiting);
        let trail = self.trail.clone();
        let written = tokio::task::spawn_blocking(move || match trail.append(&lines) {
            Ok(head) => Ok(head),
            Err(why) => Err((lines, why)),
        });
        match written.await {
            Ok(Ok(head)) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the audit trail is written again");
                }
                self.note(&head).await;
            }
            Ok(Err((lines, why))) => {
                // Kept, and tried again with whatever happens next; the histories of documents hold them too.
                self.waiting = lines;
                self.waiting.truncate(MOST_WAITING);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!("the audit trail cannot be written, and nothing is lost as long as documents remember it: {why}");
                }
            }
            Err(_) => tracing::error!("lines of the audit trail were lost; hint: they are recovered at the next start"),
        }
    }
}

/// The most lines that wait in memory for a disk that is full.
const MOST_WAITING: usize = 100_000;

/// The trail's lines since a moment, oldest first, at most `most` of the latest; they are not verified.
///
/// # Errors
/// If a file cannot be read.
pub fn tail(state_dir: &Path, since: Timestamp, most: usize) -> Result<Vec<String>, String> {
    let mut kept = std::collections::VecDeque::new();
    for path in files::existing(state_dir)? {
        let text = std::fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        for line in text.lines().filter(|line| chain::at(line).is_none_or(|at| at >= since)) {
            if kept.len() == most {
                kept.pop_front();
            }
            kept.push_back(line.to_owned());
        }
    }
    Ok(kept.into())
}

/// Shares the trail's state between the task and the threads that write.
type Shared<T> = Arc<std::sync::Mutex<T>>;
