//! A small pool of connections that read, each used by one blocking task at a time.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{Database, Fault};

/// How many reads run at once. More would only wait for the same disk.
const MOST_READERS: usize = 4;

/// Connections that read.
#[derive(Debug)]
pub struct Readers {
    database: Database,
    idle: Mutex<Vec<Connection>>,
    free: Semaphore,
}

impl Readers {
    /// A pool that opens its connections when they are wanted.
    pub const fn new(database: Database) -> Self {
        Self { database, idle: Mutex::new(Vec::new()), free: Semaphore::const_new(MOST_READERS) }
    }

    /// Runs `read` with a connection on a thread that may block.
    ///
    /// # Errors
    /// What `read` answers, or that no connection could be opened.
    pub async fn read<T, E>(self: &Arc<Self>, read: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Fault> + Send + 'static,
    {
        let pool = Arc::clone(self);
        // The permit is held by the caller: if it goes away, the read ends unheard and its connection comes back all the same.
        let _permit = self.free.acquire().await.map_err(|_| Fault::stopped("the reader"))?;
        let task = tokio::task::spawn_blocking(move || {
            pool.database.check_in_place()?;
            let connection = match pool.idle().pop() {
                Some(connection) => connection,
                None => pool.database.reader()?,
            };
            let answer = read(&connection);
            let mut idle = pool.idle();
            if idle.len() < MOST_READERS && connection.is_autocommit() {
                idle.push(connection);
            }
            answer
        });
        task.await.unwrap_or_else(|_| Err(Fault::stopped("the reader").into()))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
