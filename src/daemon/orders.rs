//! Orders for keys: the reconciler asks, the forge works, and the reconciler is woken when the key is there. So a pass never waits
//! for an RSA key, and a quick key is still used in the pass that asked for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use crate::key::{Key, KeySpec};
use crate::keygen::{KeyForge, KeySource as _};
use crate::name::{KeysetId, KeysetName};
use crate::reconcile::{KeyOrders, Order};
use crate::time::Timestamp;

/// How long a pass waits for a key that may come at once.
const PATIENCE: Duration = Duration::from_millis(100);

/// The orders of one environment.
pub struct Orders {
    forge: Arc<KeyForge>,
    books: Arc<Mutex<BTreeMap<KeysetName, Ordered>>>,
    ready: mpsc::UnboundedSender<KeysetName>,
}

struct Ordered {
    spec: KeySpec,
    made: Option<Result<Key, String>>,
    done: Arc<Notify>,
}

impl Orders {
    /// Orders that are worked off by `forge`; names of keysets whose key is there are sent to `ready`.
    pub fn new(forge: Arc<KeyForge>, ready: mpsc::UnboundedSender<KeysetName>) -> Self {
        Self { forge, books: Arc::default(), ready }
    }

    /// Hands over what was made; a key of another kind than is wanted now is dropped.
    fn collect(&self, keyset: &KeysetName, spec: &KeySpec) -> Option<Order> {
        let mut books = lock(&self.books);
        let ordered = books.get(keyset)?;
        if ordered.spec != *spec {
            books.remove(keyset);
            return None;
        }
        if ordered.made.is_none() {
            return Some(Order::Making);
        }
        match books.remove(keyset)?.made? {
            Ok(key) => Some(Order::Ready(Box::new(key))),
            Err(why) => Some(Order::Failed(why)),
        }
    }

    fn place(&self, keyset: &KeysetName, spec: &KeySpec, now: Timestamp) -> Arc<Notify> {
        let done = Arc::new(Notify::new());
        lock(&self.books).insert(keyset.clone(), Ordered { spec: spec.clone(), made: None, done: Arc::clone(&done) });
        let (forge, books, ready) = (Arc::clone(&self.forge), Arc::clone(&self.books), self.ready.clone());
        let (keyset, spec) = (keyset.clone(), spec.clone());
        tokio::spawn(async move {
            let made = forge.generate(&spec, now).await.map_err(|e| e.to_string());
            if let Some(ordered) = lock(&books).get_mut(&keyset).filter(|o| o.spec == spec) {
                ordered.made = Some(made);
                ordered.done.notify_one();
            }
            let _ = ready.send(keyset);
        });
        done
    }
}

impl KeyOrders for Orders {
    async fn order(&self, keyset: &KeysetId, spec: &KeySpec, now: Timestamp) -> Order {
        let name = &keyset.keyset;
        if let Some(order) = self.collect(name, spec) {
            return order;
        }
        let done = self.place(name, spec, now);
        let _ = tokio::time::timeout(PATIENCE, done.notified()).await;
        self.collect(name, spec).unwrap_or(Order::Making)
    }
}

fn lock(books: &Mutex<BTreeMap<KeysetName, Ordered>>) -> MutexGuard<'_, BTreeMap<KeysetName, Ordered>> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}
