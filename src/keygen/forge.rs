//! A fixed pool of threads that generate keys in the order asked, at the lowest priority, so that a thousand RSA keys on the way
//! never keep a verifier waiting.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use tokio::sync::oneshot;

use super::{KeySource, KeygenError, generate};
use crate::key::{Key, KeySpec};
use crate::time::Timestamp;

/// The nicest a thread can be.
const LOWEST_PRIORITY: i32 = 19;

/// Generates keys on threads of its own. Dropping it ends them after the keys that are under way. An order whose future was
/// dropped before its turn costs nothing.
#[derive(Debug)]
pub struct KeyForge {
    orders: mpsc::Sender<Order>,
}

struct Order {
    spec: KeySpec,
    now: Timestamp,
    answer: oneshot::Sender<Result<Key, KeygenError>>,
}

impl KeyForge {
    /// A forge of one thread per core.
    ///
    /// # Errors
    /// The operating system starts no thread.
    pub fn start() -> std::io::Result<Self> {
        Self::with_threads(thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }

    /// A forge of that many threads.
    ///
    /// # Errors
    /// The operating system starts no thread.
    pub fn with_threads(threads: NonZeroUsize) -> std::io::Result<Self> {
        let (orders, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads.get() {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name("keyrota-keygen".to_owned()).spawn(move || work(&queue))?;
        }
        Ok(Self { orders })
    }

    /// One key per specification, in their order, on all threads at once.
    pub async fn generate_many(&self, specs: &[KeySpec], now: Timestamp) -> Vec<Result<Key, KeygenError>> {
        let ordered: Vec<_> = specs.iter().map(|spec| self.order(spec, now)).collect();
        let mut keys = Vec::with_capacity(specs.len());
        // The last first: by then the others are there, so that nobody is woken for each of them.
        for answer in ordered.into_iter().rev() {
            keys.push(answer.await.unwrap_or(Err(KeygenError::Stopped)));
        }
        keys.reverse();
        keys
    }

    /// Queues an order at once. If nobody is there to take it, the answer's sender is dropped with it.
    fn order(&self, spec: &KeySpec, now: Timestamp) -> oneshot::Receiver<Result<Key, KeygenError>> {
        let (answer, receiver) = oneshot::channel();
        drop(self.orders.send(Order { spec: spec.clone(), now, answer }));
        receiver
    }
}

impl KeySource for KeyForge {
    async fn generate(&self, spec: &KeySpec, now: Timestamp) -> Result<Key, KeygenError> {
        self.order(spec, now).await.unwrap_or(Err(KeygenError::Stopped))
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Order>>) {
    // On Linux priority 0 means this thread alone. Where it is not allowed, keys are made at ordinary priority.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LOWEST_PRIORITY);
    loop {
        // Only one thread waits in recv; the others wait for the lock. The guard is gone before the work begins.
        let order = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Order { spec, now, answer }) = order else { return };
        if answer.is_closed() {
            continue; // whoever asked has gone away
        }
        drop(answer.send(generate(&spec, now)));
    }
}
