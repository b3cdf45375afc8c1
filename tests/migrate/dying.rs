//! A process that dies at its n-th call to the outside, before the call is carried out or before its answer arrives; and what it
//! calls: a store, or AWS itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keyrota::document::Document;
use keyrota::name::KeysetName;
use keyrota::secret::SecretText;
use keyrota::store::aws::calls::{CallError, CallFault, Calls, Described, Made, NewSecret, Page, Value, VersionId, Which};
use keyrota::store::{Changes, Loaded, Mark, Revision, Store, StoreError, SwapError};
use keyrota::time::Span;

/// How long a process lives.
#[derive(Clone)]
pub struct Life {
    made: Arc<AtomicU64>,
    last: u64,
    /// Whether the last call is carried out.
    carried_out: bool,
}

#[derive(PartialEq)]
enum Fate {
    Good,
    /// Carried out, and nobody hears of it.
    Last,
    Dead,
}

impl Life {
    pub fn until(last: u64, carried_out: bool) -> Self {
        Self { made: Arc::default(), last, carried_out }
    }

    pub fn unending() -> Self {
        Self::until(u64::MAX, false)
    }

    pub fn is_over(&self) -> bool {
        self.made.load(Ordering::SeqCst) >= self.last
    }

    fn call(&self) -> Fate {
        let number = self.made.fetch_add(1, Ordering::SeqCst) + 1;
        match number {
            number if number < self.last => Fate::Good,
            number if number == self.last && self.carried_out => Fate::Last,
            _ => Fate::Dead,
        }
    }
}

#[derive(Clone)]
pub struct DyingStore<S>(pub S, pub Life);

const DEAD: &str = "the process is dead";

impl<S: Store> DyingStore<S> {
    async fn read<T>(&self, read: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
        if self.1.call() == Fate::Good { read.await } else { Err(StoreError::Unavailable(DEAD.into())) }
    }

    async fn write<T>(&self, write: impl Future<Output = Result<T, SwapError>> + Send) -> Result<T, SwapError> {
        match self.1.call() {
            Fate::Good => write.await,
            Fate::Last => write.await.and(Err(SwapError::Unavailable(DEAD.into()))),
            Fate::Dead => Err(SwapError::Unavailable(DEAD.into())),
        }
    }
}

impl<S: Store> Store for DyingStore<S> {
    async fn load(&self, keyset: &KeysetName) -> Result<Option<Loaded>, StoreError> {
        self.read(self.0.load(keyset)).await
    }

    async fn load_many(&self, keysets: &[KeysetName]) -> Result<BTreeMap<KeysetName, Result<Loaded, StoreError>>, StoreError> {
        self.read(self.0.load_many(keysets)).await
    }

    async fn swap(&self, expected: Option<&Revision>, next: &Document) -> Result<Revision, SwapError> {
        self.write(self.0.swap(expected, next)).await
    }

    async fn remove(&self, keyset: &KeysetName, expected: &Revision, recovery: Span) -> Result<(), SwapError> {
        self.write(self.0.remove(keyset, expected, recovery)).await
    }

    async fn changes(&self, mark: &Mark) -> Result<Changes, StoreError> {
        self.read(self.0.changes(mark)).await
    }

    fn poll_every(&self) -> Span {
        self.0.poll_every()
    }
}

#[derive(Clone)]
pub struct DyingCalls<C>(pub C, pub Life);

impl<C: Calls> DyingCalls<C> {
    async fn call<T>(&self, call: impl Future<Output = Result<T, CallError>> + Send) -> Result<T, CallError> {
        let dead = || CallError { fault: CallFault::Unreachable, sentence: DEAD.into() };
        match self.1.call() {
            Fate::Good => call.await,
            Fate::Last => call.await.and(Err(dead())),
            Fate::Dead => Err(dead()),
        }
    }
}

impl<C: Calls> Calls for DyingCalls<C> {
    async fn create(&self, secret: &NewSecret<'_>) -> Result<Made, CallError> {
        self.call(self.0.create(secret)).await
    }

    async fn put(&self, secret: &str, token: &VersionId, value: &SecretText, label: &str) -> Result<(), CallError> {
        self.call(self.0.put(secret, token, value, label)).await
    }

    async fn move_current(&self, secret: &str, from: &VersionId, to: &VersionId) -> Result<(), CallError> {
        self.call(self.0.move_current(secret, from, to)).await
    }

    async fn get(&self, secret: &str, which: Which<'_>) -> Result<Value, CallError> {
        self.call(self.0.get(secret, which)).await
    }

    async fn get_many(&self, secrets: &[String]) -> Result<BTreeMap<String, Result<Value, CallError>>, CallError> {
        self.call(self.0.get_many(secrets)).await
    }

    async fn describe(&self, secret: &str) -> Result<Described, CallError> {
        self.call(self.0.describe(secret)).await
    }

    async fn list(&self, prefix: &str, page: Option<&str>) -> Result<Page, CallError> {
        self.call(self.0.list(prefix, page)).await
    }

    async fn delete(&self, secret: &str, window: Span) -> Result<(), CallError> {
        self.call(self.0.delete(secret, window)).await
    }
}
