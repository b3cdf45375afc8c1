//! AWS Secrets Manager as this project knows it, in memory and strict: what each call does, its limits, and everything that may go
//! wrong with it. `tests/aws_rules.rs` holds it to the rules one by one. Used by several test binaries, each of which uses a part.
#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "../chance/mod.rs"]
mod chance;
mod service;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use keyrota::secret::SecretText;
use keyrota::store::aws::calls::{CallError, CallFault, Calls, Described, Made, NewSecret, Page, Value, VersionId, Which};
use keyrota::store::aws::pace::Time;
use keyrota::time::Span;

pub use chance::Chance;
#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub use service::{Knobs, Service, Write};

/// A clock that everybody shares: it moves a millisecond whenever it is read, and by as much as anybody sleeps.
#[derive(Clone, Default)]
pub struct FakeTime(Arc<AtomicU64>);

impl FakeTime {
    pub fn now(&self) -> Span {
        Span::millis(self.0.load(Ordering::SeqCst))
    }

    pub fn set(&self, now: Span) {
        self.0.store(now.as_millis(), Ordering::SeqCst);
    }

    pub fn pass(&self, span: Span) {
        self.0.fetch_add(span.as_millis(), Ordering::SeqCst);
    }
}

impl Time for FakeTime {
    fn boot(&self) -> Span {
        Span::millis(self.0.fetch_add(1, Ordering::SeqCst))
    }

    async fn sleep(&self, span: Span) {
        self.pass(span);
        GiveWay(false).await;
    }
}

/// Gives way once.
pub struct GiveWay(pub bool);

impl Future for GiveWay {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// One client of the service. Every call gives way before and after it is carried out.
#[derive(Clone)]
pub struct FakeCalls(Arc<Mutex<Service>>);

/// What becomes of a call.
enum Fate {
    Good,
    Fails(CallFault),
    /// Carried out, and the answer is lost.
    Unheard,
    /// Not carried out, and nobody says so.
    Swallowed,
    /// Carried out some time later.
    Late,
}

impl FakeCalls {
    pub fn new(service: Service) -> Self {
        Self(Arc::new(Mutex::new(service)))
    }

    pub fn service(&self) -> MutexGuard<'_, Service> {
        self.0.lock().unwrap()
    }

    fn begin(&self, operation: &'static str) -> MutexGuard<'_, Service> {
        let mut service = self.service();
        *service.counts.entry(operation).or_default() += 1;
        service.something_late_happens();
        service
    }

    async fn read<T>(&self, operation: &'static str, read: impl Fn(&mut Service) -> Result<T, CallFault> + Send) -> Result<T, CallError> {
        GiveWay(false).await;
        let answer = {
            let mut service = self.begin(operation);
            match fate(&mut service, operation, false) {
                Fate::Good => read(&mut service),
                Fate::Fails(fault) => Err(fault),
                Fate::Unheard | Fate::Swallowed | Fate::Late => Err(CallFault::Unknown),
            }
        };
        GiveWay(false).await;
        answer.map_err(|fault| error(fault, operation))
    }

    async fn write(&self, operation: &'static str, write: Write) -> Result<String, CallError> {
        GiveWay(false).await;
        let answer = {
            let mut service = self.begin(operation);
            match fate(&mut service, operation, true) {
                Fate::Good => service.carry_out(&write),
                Fate::Fails(fault) => Err(fault),
                Fate::Unheard => service.carry_out(&write).and(Err(CallFault::Unknown)),
                Fate::Swallowed => Err(CallFault::Unknown),
                Fate::Late => {
                    service.late.push(write);
                    Err(CallFault::Unknown)
                }
            }
        };
        GiveWay(false).await;
        answer.map_err(|fault| error(fault, operation))
    }
}

fn fate(service: &mut Service, operation: &str, write: bool) -> Fate {
    let knobs = service.knobs;
    if service.away {
        return Fate::Fails(CallFault::Unreachable);
    }
    if service.denied.contains(operation) {
        return Fate::Fails(CallFault::Denied);
    }
    if service.chance.below(1000) < knobs.throttled {
        return Fate::Fails(CallFault::Throttled);
    }
    if service.chance.below(1000) < knobs.unreachable {
        return Fate::Fails(CallFault::Unreachable);
    }
    if service.chance.below(1000) >= knobs.lost {
        return Fate::Good;
    }
    match service.chance.below(3) {
        0 => Fate::Unheard,
        1 if write => Fate::Late,
        _ => Fate::Swallowed,
    }
}

fn error(fault: CallFault, operation: &str) -> CallError {
    CallError { fault, sentence: format!("{operation}: {}; hint: a test did this", fault.as_str()) }
}

impl Calls for FakeCalls {
    async fn create(&self, secret: &NewSecret<'_>) -> Result<Made, CallError> {
        let (name, token) = (secret.name.to_owned(), secret.token.clone());
        let version = token.clone();
        let write = Write::Create { name, token, text: secret.value.expose().to_owned(), tags: secret.tags.clone() };
        self.write("CreateSecret", write).await.map(|arn| Made { arn, version })
    }

    async fn put(&self, secret: &str, token: &VersionId, value: &SecretText, label: &str) -> Result<(), CallError> {
        let (secret, token, text) = (secret.to_owned(), token.clone(), value.expose().to_owned());
        self.write("PutSecretValue", Write::Put { secret, token, text, labels: vec![label.to_owned()] }).await.map(drop)
    }

    async fn move_current(&self, secret: &str, from: &VersionId, to: &VersionId) -> Result<(), CallError> {
        let write = Write::Move { secret: secret.to_owned(), from: from.clone(), to: to.clone() };
        self.write("UpdateSecretVersionStage", write).await.map(drop)
    }

    async fn get(&self, secret: &str, which: Which<'_>) -> Result<Value, CallError> {
        self.read("GetSecretValue", |service| service.get(secret, which)).await
    }

    async fn get_many(&self, secrets: &[String]) -> Result<BTreeMap<String, Result<Value, CallError>>, CallError> {
        const OPERATION: &str = "BatchGetSecretValue";
        self.read(OPERATION, |service| {
            if secrets.is_empty() || secrets.len() > 20 {
                return Err(CallFault::InvalidParameter);
            }
            let each = |name: &String| (name.clone(), service.get(name, Which::Current).map_err(|fault| error(fault, OPERATION)));
            Ok(secrets.iter().map(each).collect())
        })
        .await
    }

    async fn describe(&self, secret: &str) -> Result<Described, CallError> {
        self.read("DescribeSecret", |service| service.describe(secret)).await
    }

    async fn delete(&self, secret: &str, window: Span) -> Result<(), CallError> {
        self.write("DeleteSecret", Write::Delete { secret: secret.to_owned(), window }).await.map(drop)
    }

    async fn list(&self, prefix: &str, page: Option<&str>) -> Result<Page, CallError> {
        self.read("ListSecrets", |service| service.list(prefix, page)).await
    }
}
