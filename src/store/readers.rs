//! The pool of readers: every look-up of one request runs under one snapshot.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{Param, Read, Row, StoreError, ids::Ids, sqlite};

/// A consistent state of the database, as old as its first look-up.
pub struct Snapshot<'c> {
    connection: &'c Connection,
    ids: &'c Ids,
    position: i64,
}

impl Read for Snapshot<'_> {
    fn position(&self) -> i64 {
        self.position
    }

    fn ids(&self) -> &Ids {
        self.ids
    }

    fn uncommitted(&self) -> bool {
        false
    }

    fn each(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        sqlite::each(self.connection, sql, params, each)
    }
}

/// Looks into a database that no server has open, under one snapshot on this thread. Changes nothing.
pub(super) fn inspect<T, E>(
    path: &std::path::Path,
    server_name: &str,
    read: impl FnOnce(&Snapshot<'_>) -> Result<T, E>,
) -> Result<T, E>
where
    E: From<StoreError>,
{
    let ids = Ids::default();
    let opened = || -> Result<(Connection, i64), StoreError> {
        std::fs::metadata(path).map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
        let connection = sqlite::open(path, sqlite::Role::Reader)?;
        super::migrate::check(&connection, path)?;
        super::check_name(&connection, path, server_name)?;
        connection.execute_batch("BEGIN")?;
        let position = connection.query_row("SELECT position FROM head WHERE id = 1", [], |row| row.get(0))?;
        Ok((connection, position))
    };
    let (connection, position) = opened()?;
    read(&Snapshot { connection: &connection, ids: &ids, position })
}

/// The pool. Bound: as many connections as permits; callers beyond wait.
pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
    ids: Arc<Ids>,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>, ids: Arc<Ids>) -> Self {
        Self { permits: Semaphore::new(connections.len()), idle: Mutex::new(connections), ids }
    }

    /// Runs `read` under a new snapshot, off the async threads.
    pub(super) async fn run<T, E, F>(self: &Arc<Self>, read: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Snapshot<'_>) -> Result<T, E> + Send + 'static,
    {
        let pool = self.clone();
        let Ok(_permit) = self.permits.acquire().await else { return Err(StoreError::Stopping.into()) };
        let work = tokio::task::spawn_blocking(move || pool.run_here(read));
        match work.await {
            Ok(answer) => answer,
            Err(error) => match error.try_into_panic() {
                // A panic fails the request that caused it, nothing else.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(StoreError::Stopping.into()),
            },
        }
    }

    /// Runs a `read` of a few statements under a new snapshot, on this thread: handing it to another one and back costs more
    /// than it does. It waits for a reader alone; a bound of its own below the runtime's workers made tasks wait for each
    /// other, whose waking costs as much as the handing over.
    pub(super) async fn run_short<T, E, F>(self: &Arc<Self>, read: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Snapshot<'_>) -> Result<T, E> + Send + 'static,
    {
        let Ok(_permit) = self.permits.acquire().await else { return Err(StoreError::Stopping.into()) };
        self.run_here(read)
    }

    /// Runs `read` under a new snapshot on this thread; the caller holds a permit.
    fn run_here<T, E, F>(&self, read: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnOnce(&Snapshot<'_>) -> Result<T, E>,
    {
        let taken = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(connection) = taken else { return Err(StoreError::Stopping.into()) };
        let lent = Lent { pool: self, connection: Some(connection) };
        let connection = lent.connection();
        let begun = || -> Result<i64, StoreError> {
            connection.prepare_cached("BEGIN")?.execute([])?;
            Ok(connection.prepare_cached("SELECT position FROM head WHERE id = 1")?.query_row([], |row| row.get(0))?)
        };
        let position = begun()?;
        let answer = read(&Snapshot { connection, ids: &self.ids, position });
        drop(lent);
        answer
    }
}

/// Gives the connection back, its snapshot ended, also after a panic.
struct Lent<'p> {
    pool: &'p Readers,
    connection: Option<Connection>,
}

impl Lent<'_> {
    fn connection(&self) -> &Connection {
        match &self.connection {
            Some(connection) => connection,
            None => unreachable!("taken only on drop"),
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if !connection.is_autocommit()
            && let Err(error) = connection.prepare_cached("COMMIT").and_then(|mut s| s.execute([]))
        {
            tracing::error!(%error, "could not end a snapshot");
        }
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}
