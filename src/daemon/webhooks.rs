//! Webhooks at work: a bounded queue and a task for each, beside everything else, so that a receiver that is away holds up nobody.
//!
//! Messages of one receiver go out in order; one that is not taken is sent again, ever more slowly, until it is a day old. What finds
//! the queue full, and what is not delivered when the process ends, is lost to the receiver: the audit trail has it all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;

use crate::audit::Line;
use crate::clock::Reading;
use crate::digest::Digest;
use crate::event::Event;
use crate::https::HttpsClient;
use crate::metrics::{Metrics, Posted};
use crate::name::{KeysetId, KeysetName};
use crate::policy::Webhook;
use crate::time::Timestamp;
use crate::webhook::{LONGEST_AGE, Message, delay, send};

/// How many messages wait for one receiver.
const LONGEST_QUEUE: usize = 1000;

/// How long the end of the process waits for what is on its way.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// The webhooks of one environment.
pub struct Webhooks {
    client: Arc<HttpsClient>,
    metrics: Arc<Metrics>,
    running: BTreeMap<KeysetName, Vec<Posting>>,
}

/// One receiver.
struct Posting {
    webhook: Webhook,
    queue: mpsc::Sender<Message>,
    task: JoinHandle<()>,
}

impl Webhooks {
    /// None yet.
    pub const fn new(client: Arc<HttpsClient>, metrics: Arc<Metrics>) -> Self {
        Self { client, metrics, running: BTreeMap::new() }
    }

    /// From now on these are told and no others. One that stays as it is keeps its queue; of one that goes what waits is dropped.
    pub fn want<'w>(&mut self, webhooks: impl Iterator<Item = (KeysetId, &'w [Webhook])>) {
        let mut before = std::mem::take(&mut self.running);
        let mut unwanted = Vec::new();
        for (id, wanted) in webhooks.filter(|(_, wanted)| !wanted.is_empty()) {
            let mut known = before.remove(&id.keyset).unwrap_or_default();
            let mut kept = Vec::new();
            for webhook in wanted {
                let place = known.iter().position(|posting| posting.webhook == *webhook);
                kept.push(place.map_or_else(|| self.begin(&id, webhook), |place| known.swap_remove(place)));
            }
            unwanted.extend(known);
            self.running.insert(id.keyset, kept);
        }
        unwanted.extend(before.into_values().flatten());
        for posting in unwanted {
            posting.task.abort();
        }
    }

    /// Tells whoever wants to know. What another process did is told by that one.
    pub fn tell(&self, events: &[Event], at: Timestamp) {
        if self.running.is_empty() {
            return;
        }
        for (number, event) in events.iter().enumerate() {
            let line = match event {
                Event::Changed { keyset, entry } => Some(Line::of_change(at, keyset, entry, false)),
                other => Line::of_event(at, other),
            };
            let Some(line) = line else { continue };
            let Some(postings) = line.keyset.as_ref().and_then(|keyset| self.running.get(keyset)) else { continue };
            let Ok(body) = serde_json::to_vec(&line) else { continue };
            let id = format!("keyrota_{}", Digest::of(&[body.as_slice(), format!("{number}").as_bytes()].concat()));
            let message = Message { id, at, body: body.into() };
            for posting in postings.iter().filter(|posting| posting.webhook.wants(line.kind.as_str())) {
                self.post(&line, posting, message.clone());
            }
        }
    }

    fn post(&self, line: &Line, posting: &Posting, message: Message) {
        let Err(TrySendError::Full(_)) = posting.queue.try_send(message) else { return };
        let (Some(environment), Some(keyset)) = (line.environment.clone(), line.keyset.clone()) else { return };
        let (id, name) = (KeysetId { environment, keyset }, posting.webhook.name());
        self.metrics.posted(&id, &name, Posted::Dropped, Reading::now().wall);
        tracing::warn!("{id}: {name}: {LONGEST_QUEUE} messages wait already, so this one is dropped: {}", line.says);
    }

    fn begin(&self, id: &KeysetId, webhook: &Webhook) -> Posting {
        let (queue, messages) = mpsc::channel(LONGEST_QUEUE);
        let work = work(Arc::clone(&self.client), Arc::clone(&self.metrics), id.clone(), webhook.clone(), messages);
        Posting { webhook: webhook.clone(), queue, task: tokio::spawn(work) }
    }

    /// Nothing more will be told: gives what is on its way a moment.
    pub async fn finish(self) {
        let tasks: Vec<_> = self.running.into_values().flatten().map(|posting| posting.task).collect();
        let all = futures_util::future::join_all(tasks);
        let _ = tokio::time::timeout(LAST_WORDS, all).await;
    }
}

async fn work(client: Arc<HttpsClient>, metrics: Arc<Metrics>, id: KeysetId, webhook: Webhook, mut messages: mpsc::Receiver<Message>) {
    let name = webhook.name();
    while let Some(message) = messages.recv().await {
        let mut failed = 0;
        loop {
            let now = Reading::now().wall;
            if now.since(message.at) > LONGEST_AGE {
                metrics.posted(&id, &name, Posted::Dropped, now);
                tracing::warn!("{id}: {name}: message {} is older than {LONGEST_AGE} and is given up", message.id);
                break;
            }
            match send(&*client, &webhook, &message, now).await {
                Ok(()) => {
                    metrics.posted(&id, &name, Posted::Delivered, Reading::now().wall);
                    if failed > 0 {
                        tracing::info!("{id}: {name} works again");
                    }
                    break;
                }
                Err(error) => {
                    failed += 1;
                    metrics.posted(&id, &name, Posted::Failed, Reading::now().wall);
                    if failed == 1 {
                        tracing::warn!("{id}: {name}: {error}; it is sent again until it is {LONGEST_AGE} old");
                    }
                    tokio::time::sleep(delay(&message, failed).to_std()).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::Kind;
    use crate::event::EventKind;

    #[test]
    fn whatever_the_trail_tells_of_a_keyset_can_be_asked_for() {
        use Kind::{AuditHead, ClockAccepted, ClockBack, ClockSet, StoreBack, StoreUnavailable, TrailBegun, TrailBroken, TrailMended};
        use Kind::{BackedUp, MasterKeyChanged, RestoredFromBackup, TrailKeyChanged};
        let of_environments = [StoreUnavailable, StoreBack, ClockAccepted, ClockSet, ClockBack];
        let of_the_host =
            [TrailBegun, TrailMended, TrailBroken, TrailKeyChanged, AuditHead, MasterKeyChanged, BackedUp, RestoredFromBackup];
        let of_no_keyset = [&of_environments[..], &of_the_host[..]].concat();
        for kind in Kind::ALL.iter().filter(|kind| !of_no_keyset.contains(kind)) {
            let named: EventKind = serde_json::from_value(kind.as_str().into()).unwrap_or_else(|e| panic!("{}: {e}", kind.as_str()));
            assert_eq!(named.as_str(), kind.as_str());
        }
    }
}
