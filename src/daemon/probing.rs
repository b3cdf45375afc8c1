//! Probes at work: one task for each key set that a policy wants looked at, beside everything else. A look that hangs holds up only
//! itself, and what it finds is handed to the environment as a value.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use crate::clock::Reading;
use crate::https::HttpsClient;
use crate::name::KeysetName;
use crate::policy::Probe;
use crate::probe::{LastAnswer, Look, look};

/// How many looks of this process are under way at once.
pub const AT_ONCE: usize = 64;

/// How many looks may lie ready for an environment that is busy; then the probes wait, not the memory.
const READY: usize = 256;

/// A look at one place of a keyset.
pub struct Seen {
    /// Whose.
    pub keyset: KeysetName,
    /// At which address.
    pub url: String,
    /// What was seen.
    pub look: Look,
}

/// What looks share.
#[derive(Clone)]
pub struct Eyes {
    /// Asks over the network.
    pub client: Arc<HttpsClient>,
    /// How many may be under way.
    pub at_once: Arc<Semaphore>,
}

/// The probes of one environment.
pub struct Probing {
    eyes: Eyes,
    ready: mpsc::Sender<Seen>,
    running: BTreeMap<(KeysetName, String), (Probe, Looking)>,
}

/// A task that ends with this value.
struct Looking(AbortHandle);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Probing {
    /// None yet; what they see will come out of the receiver.
    pub fn new(eyes: Eyes) -> (Self, mpsc::Receiver<Seen>) {
        let (ready, seen) = mpsc::channel(READY);
        (Self { eyes, ready, running: BTreeMap::new() }, seen)
    }

    /// From now on these are looked at and no others. One that stays as it is goes on in its rhythm.
    pub fn want<'p>(&mut self, probes: impl Iterator<Item = (&'p KeysetName, &'p Probe)>) {
        let mut before = std::mem::take(&mut self.running);
        for (keyset, probe) in probes {
            let key = (keyset.clone(), probe.name().to_owned());
            let kept = before.remove(&key).filter(|(known, _)| known == probe);
            let running = kept.unwrap_or_else(|| (probe.clone(), self.begin(keyset.clone(), probe.clone())));
            self.running.insert(key, running);
        }
    }

    fn begin(&self, keyset: KeysetName, probe: Probe) -> Looking {
        let (eyes, ready) = (self.eyes.clone(), self.ready.clone());
        let task = tokio::spawn(async move {
            let mut last = LastAnswer::default();
            loop {
                let Ok(permit) = eyes.at_once.acquire().await else { return };
                let look = look(&*eyes.client, &probe, &mut last, Reading::now).await;
                drop(permit);
                let seen = Seen { keyset: keyset.clone(), url: probe.name().to_owned(), look };
                if ready.send(seen).await.is_err() {
                    return;
                }
                tokio::time::sleep(probe.every.to_std()).await;
            }
        });
        Looking(task.abort_handle())
    }
}
