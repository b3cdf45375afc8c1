//! Orders for keys: the reconciler asks, the forge works or a vendor is asked, and the reconciler is woken when the key is there. So a
//! pass never waits for an RSA key, and a quick key is still used in the pass that asked for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use crate::document::Document;
use crate::key::{Key, KeySpec};
use crate::keygen::{KeyForge, KeySource as _};
use crate::name::{KeysetId, KeysetName};
use crate::policy::AlgoliaTarget;
use crate::publish::Vendors;
use crate::reconcile::{KeyOrders, Order};
use crate::time::Timestamp;

/// How long a pass waits for a key that may come at once.
const PATIENCE: Duration = Duration::from_millis(100);

/// The orders of one environment.
pub struct Orders {
    forge: Arc<KeyForge>,
    books: Arc<Mutex<BTreeMap<KeysetName, Ordered>>>,
    ready: mpsc::UnboundedSender<KeysetName>,
    vendors: Vendors,
    /// Which keysets' keys are made by a vendor, and by which.
    sources: Mutex<BTreeMap<KeysetName, AlgoliaTarget>>,
}

struct Ordered {
    spec: KeySpec,
    made: Option<Result<Key, String>>,
    done: Arc<Notify>,
}

impl Orders {
    /// Orders that are worked off by `forge`, or by `vendors`; names of keysets whose key is there are sent to `ready`.
    pub fn new(forge: Arc<KeyForge>, vendors: Vendors, ready: mpsc::UnboundedSender<KeysetName>) -> Self {
        Self { forge, books: Arc::default(), ready, vendors, sources: Mutex::default() }
    }

    /// From now on the keys of these keysets are made by these vendors.
    pub fn want(&self, sources: BTreeMap<KeysetName, AlgoliaTarget>) {
        *lock(&self.sources) = sources;
    }

    fn ask_vendor(&self, keyset: &KeysetId, document: &Document) -> Order {
        let Some(source) = lock(&self.sources).get(&keyset.keyset).cloned() else {
            return Order::Failed(format!("no policy in force says who makes the keys of {keyset}; hint: `keyrota check`"));
        };
        match self.vendors.order(keyset, &source, document) {
            Ok(Some(key)) => Order::Ready(Box::new(key)),
            Ok(None) => Order::Asked(format!("{source} is being asked for a key")),
            Err(error) => Order::Away(format!("{source} has made no key: {error}")),
        }
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
    async fn order(&self, keyset: &KeysetId, document: &Document, spec: &KeySpec, now: Timestamp) -> Order {
        if matches!(spec, KeySpec::Vendor { .. }) {
            return self.ask_vendor(keyset, document);
        }
        let name = &keyset.keyset;
        if let Some(order) = self.collect(name, spec) {
            return order;
        }
        let done = self.place(name, spec, now);
        let _ = tokio::time::timeout(PATIENCE, done.notified()).await;
        self.collect(name, spec).unwrap_or(Order::Making)
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
