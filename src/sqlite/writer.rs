//! One thread that writes, and commits everything that is queued in one transaction: so that ten thousand writes at once cost a few
//! waits for the disk, and each still gets its own answer, after the commit that holds it.
//!
//! Invariant: an answer that something was written is given after the commit that holds it, never before. If the commit failed and
//! nobody can say whether it reached the disk, every write in it is answered so.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{Database, Fault, FaultKind, WRITE_PATIENCE};

/// The most writes in one transaction: enough to make the wait for the disk small beside the work, few enough to keep answers quick.
const LARGEST_BATCH: usize = 512;

/// How long after the last write the log file is folded into the database and cut, so that erased values do not linger in it.
const TIDY_AFTER: Duration = Duration::from_secs(2);

/// One write, which judges for itself within the transaction whether it applies.
pub trait Write: Send + 'static {
    /// What it answers.
    type Outcome: Send + 'static;

    /// Does it. May be called again after everything it did was rolled back.
    ///
    /// # Errors
    /// What SQLite answers; everything in the same transaction is then rolled back.
    fn apply(&self, transaction: &Connection) -> rusqlite::Result<Self::Outcome>;
}

/// Why a write has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteFault {
    /// For certain not written.
    #[error("{0}")]
    NotApplied(Fault),
    /// Written or not: nobody knows.
    #[error("{0}")]
    Unknown(Fault),
}

type Answer<W> = oneshot::Sender<Result<<W as Write>::Outcome, WriteFault>>;

enum Order<W: Write> {
    Write(W, Answer<W>),
    Tidy(oneshot::Sender<Result<(), Fault>>),
    Purge(oneshot::Sender<Result<(), Fault>>),
}

/// The writing thread. It ends when this is dropped, after all that is queued.
#[derive(Debug)]
pub struct Writer<W: Write> {
    orders: Option<mpsc::Sender<Order<W>>>,
    thread: Option<JoinHandle<()>>,
}

impl<W: Write> Writer<W> {
    /// Starts the thread, which owns the connection from now on.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn start(name: &str, database: Database, connection: Connection) -> std::io::Result<Self> {
        connection.busy_timeout(WRITE_PATIENCE).map_err(std::io::Error::other)?;
        let (orders, queue) = mpsc::channel();
        let desk = Desk { database, connection };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || desk.serve(&queue))?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    /// Queues a write and waits for the commit that holds it. It is carried out even if the caller waits no longer.
    ///
    /// # Errors
    /// If it was not written, or nobody knows whether it was.
    pub async fn write(&self, write: W) -> Result<W::Outcome, WriteFault> {
        let (answer, outcome) = oneshot::channel();
        self.order(Order::Write(write, answer)).map_err(WriteFault::NotApplied)?;
        outcome.await.unwrap_or_else(|_| Err(WriteFault::Unknown(Fault::stopped("the writer"))))
    }

    /// Folds the log file into the database and cuts it, after everything queued before.
    ///
    /// # Errors
    /// If somebody is reading, or the disk refuses; it is tried again by itself.
    pub async fn tidy(&self) -> Result<(), Fault> {
        let (answer, done) = oneshot::channel();
        self.order(Order::Tidy(answer))?;
        done.await.unwrap_or_else(|_| Err(Fault::stopped("the writer")))
    }

    /// Writes the whole database anew, so that no page that was freed is left in it, and then tidies.
    ///
    /// # Errors
    /// If somebody is reading, there is no room for a second copy, or the disk refuses.
    pub async fn purge(&self) -> Result<(), Fault> {
        let (answer, done) = oneshot::channel();
        self.order(Order::Purge(answer))?;
        done.await.unwrap_or_else(|_| Err(Fault::stopped("the writer")))
    }

    fn order(&self, order: Order<W>) -> Result<(), Fault> {
        let stopped = || Fault::stopped("the writer");
        self.orders.as_ref().ok_or_else(stopped)?.send(order).map_err(|_| stopped())
    }
}

impl<W: Write> Drop for Writer<W> {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to finish.
            let _ = thread.join();
        }
    }
}

/// What the thread has before it.
struct Desk {
    database: Database,
    connection: Connection,
}

impl Desk {
    fn serve<W: Write>(self, queue: &mpsc::Receiver<Order<W>>) {
        let mut untidy = false;
        loop {
            let first = if untidy { queue.recv_timeout(TIDY_AFTER) } else { queue.recv().map_err(Into::into) };
            let mut next = match first {
                Ok(order) => Some(order),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    untidy = self.tidy().is_err();
                    continue;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
            let (mut writes, mut answers) = (Vec::new(), Vec::new());
            let mut asked_to_tidy = None;
            let mut asked_to_purge = None;
            while let Some(order) = next {
                match order {
                    Order::Write(write, answer) => {
                        writes.push(write);
                        answers.push(answer);
                    }
                    Order::Tidy(answer) => {
                        asked_to_tidy = Some(answer);
                        break;
                    }
                    Order::Purge(answer) => {
                        asked_to_purge = Some(answer);
                        break;
                    }
                }
                next = if writes.len() < LARGEST_BATCH { queue.try_recv().ok() } else { None };
            }
            if !writes.is_empty() {
                untidy = true;
                for (answer, outcome) in answers.into_iter().zip(self.settle(&writes)) {
                    let _ = answer.send(outcome);
                }
            }
            if let Some(answer) = asked_to_purge {
                let here = self.database.check_in_place();
                let vacuumed = here.and_then(|()| self.connection.execute_batch("VACUUM").map_err(|e| self.database.fault(&e)));
                let done = vacuumed.and_then(|()| self.tidy());
                untidy = done.is_err();
                let _ = answer.send(done);
            }
            if let Some(answer) = asked_to_tidy {
                let done = self.tidy();
                untidy = done.is_err();
                let _ = answer.send(done);
            }
        }
    }

    /// One outcome for each write. If one of many cannot be written at all, or all together do not fit, each is tried alone.
    fn settle<W: Write>(&self, writes: &[W]) -> Vec<Result<W::Outcome, WriteFault>> {
        match self.commit(writes) {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(WriteFault::NotApplied(fault)) if writes.len() > 1 && matches!(fault.kind, FaultKind::Full | FaultKind::Refused) => {
                writes.iter().flat_map(|write| self.settle(std::slice::from_ref(write))).collect()
            }
            Err(fault) => writes.iter().map(|_| Err(fault.clone())).collect(),
        }
    }

    /// All writes in one transaction.
    fn commit<W: Write>(&self, writes: &[W]) -> Result<Vec<W::Outcome>, WriteFault> {
        self.database.check_in_place().map_err(WriteFault::NotApplied)?;
        let not_applied = |error: rusqlite::Error| {
            self.roll_back();
            WriteFault::NotApplied(self.database.fault(&error))
        };
        self.roll_back(); // In case the last transaction could not even be rolled back.
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(not_applied)?;
        let outcomes =
            writes.iter().map(|write| write.apply(&self.connection)).collect::<rusqlite::Result<Vec<_>>>().map_err(not_applied)?;
        match self.connection.execute_batch("COMMIT") {
            Ok(()) => Ok(outcomes),
            Err(error) => {
                self.roll_back();
                Err(after_failed_commit(self.database.fault(&error), self.connection.is_autocommit()))
            }
        }
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit() {
            // If this fails too, the next batch tries again, and until then nothing is written.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    fn tidy(&self) -> Result<(), Fault> {
        let fault = |e: rusqlite::Error| self.database.fault(&e);
        // Never wait for readers here: writers would wait behind.
        self.connection.busy_timeout(Duration::ZERO).map_err(fault)?;
        let done = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        self.connection.busy_timeout(WRITE_PATIENCE).map_err(fault)?;
        if done.map_err(fault)? == 0 { Ok(()) } else { Err(Fault::busy(self.database.path())) }
    }
}

/// What a failed commit means. When no space was left or the lock was not had, the record that ends the transaction was never
/// written. After a failing disk it may have been: it would come to light at the next start.
fn after_failed_commit(fault: Fault, rolled_back: bool) -> WriteFault {
    let sure = matches!(fault.kind, FaultKind::Full | FaultKind::Busy | FaultKind::ReadOnly | FaultKind::Refused);
    if sure && rolled_back { WriteFault::NotApplied(fault) } else { WriteFault::Unknown(fault) }
}

#[cfg(test)]
mod tests;
