//! What LinkIM remembers.
//!
//! SQL is written once, behind a seam ([`Read`], [`WriteTx`]) that an engine fills; here it is SQLite in WAL mode. All
//! changes go through one writer thread that commits in groups, durably ([`Store::write`]); every look-up runs on a snapshot
//! from a pool of readers ([`Store::read`]). One file per table family holds the statements.

pub mod account_data;
pub mod accounts;
pub mod aliases;
pub mod annotations;
pub mod announcements;
pub mod auth_chains;
pub mod backup;
pub mod backward_extremities;
mod checkpoint;
pub mod conversations;
pub mod debts;
pub mod destinations;
pub mod device_keys;
pub mod device_lists;
pub mod devices;
pub mod direct_rooms;
mod error;
pub mod event_id;
pub mod event_pages;
pub mod events;
pub mod filters;
pub mod friend_requests;
pub mod group_calls;
pub mod groups;
pub mod ids;
pub mod inbox;
pub mod invitation_codes;
pub mod key_backups;
pub mod knocks;
pub mod media;
pub mod members;
pub mod message_numbers;
pub mod messages;
mod migrate;
pub mod one_time_keys;
pub mod outbox;
pub mod partial_joins;
pub mod presence;
pub mod profiles;
mod readers;
pub mod receipts;
pub mod relations;
pub mod reports;
pub mod room_servers;
pub mod rooms;
pub mod server_keys;
pub mod server_standing;
mod sql;
mod sqlite;
pub mod state;
pub mod stripped_state;
pub mod sync;
pub mod third_party_ids;
pub mod to_device;
pub mod tokens;
pub mod unignored;
pub mod unread;
pub mod user_directory;
pub mod verification;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
        mpsc,
    },
};

pub use self::{
    error::StoreError,
    readers::Snapshot,
    sql::{Column, Param, Read, Row},
    writer::WriteTx,
};
use crate::params;

/// Readers in the pool: one for each of the runtime's workers (main.rs), on which short look-ups run, and two more, so that
/// two slow pages do not hold those up. Each costs its page cache.
fn readers_in_pool() -> usize {
    std::thread::available_parallelism().map_or(4, |cores| cores.get().max(4)) + 2
}

/// The database, open. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    readers: Arc<readers::Readers>,
    /// None once the store is closed.
    jobs: Mutex<Option<mpsc::SyncSender<writer::Job>>>,
    waiting: Arc<tokio::sync::Semaphore>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    visible: Arc<AtomicI64>,
    ids: Arc<ids::Ids>,
    incarnation: i64,
    restores: Vec<backup::Restored>,
    path: PathBuf,
}

impl Store {
    /// Opens the database file, made and migrated as needed, for the server of this name.
    ///
    /// # Errors
    /// `TooNew`, `WrongServerName`, or what the file system and the engine say.
    pub fn open(path: &Path, server_name: &str) -> Result<Self, StoreError> {
        let mut connection = sqlite::open(path, sqlite::Role::Writer)?;
        migrate::migrate(&mut connection, path)?;
        claim(&connection, path, server_name)?;
        connection.execute("UPDATE head SET incarnation = incarnation + 1", [])?;
        let (position, incarnation) = connection.query_row("SELECT position, incarnation FROM head", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })?;
        let restores = backup::restores(&connection)?;
        let ids = Arc::new(ids::Ids::default());
        let visible = Arc::new(AtomicI64::new(position));
        let readers =
            (0..readers_in_pool()).map(|_| sqlite::open(path, sqlite::Role::Reader)).collect::<Result<Vec<_>, _>>()?;
        let (jobs, queue) = mpsc::sync_channel(writer::QUEUE);
        let writer = writer::Writer {
            connection,
            ids: ids.clone(),
            visible: visible.clone(),
            log: checkpoint::LogWatch::start(path)?,
            disk_failed: false,
        };
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || writer.run(&queue))
            .map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
        Ok(Self {
            inner: Arc::new(Inner {
                readers: Arc::new(readers::Readers::new(readers, ids.clone())),
                jobs: Mutex::new(Some(jobs)),
                waiting: Arc::new(tokio::sync::Semaphore::new(writer::QUEUE)),
                writer: Mutex::new(Some(thread)),
                visible,
                ids,
                incarnation,
                restores,
                path: path.to_owned(),
            }),
        })
    }

    /// Runs look-ups under one snapshot, off the async threads. Keep it short: it holds back the log's checkpoint.
    pub async fn read<T, E, F>(&self, read: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Snapshot<'_>) -> Result<T, E> + Send + 'static,
    {
        self.inner.readers.run(read).await
    }

    /// As [`Self::read`], for look-ups that are certain to be a few statements on a few rows: they may run on the caller's
    /// thread.
    pub async fn read_short<T, E, F>(&self, read: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Snapshot<'_>) -> Result<T, E> + Send + 'static,
    {
        self.inner.readers.run_short(read).await
    }

    /// Runs changes in a savepoint of the next transaction; returns once they are durable. If `write` answers an error,
    /// nothing of it is there.
    pub async fn write<T, E, F>(&self, write: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&WriteTx<'_>) -> Result<T, E> + Send + 'static,
    {
        let Ok(permit) = self.inner.waiting.acquire().await else { return Err(StoreError::Stopping.into()) };
        let (job, told) = writer::job(write);
        {
            let jobs = self.inner.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            // The semaphore has as many permits as the queue has places, so the send never blocks.
            if jobs.as_ref().is_none_or(|jobs| jobs.send(job).is_err()) {
                return Err(StoreError::Stopping.into());
            }
        }
        let answer = told.await.unwrap_or_else(|_| Err(StoreError::Engine("the write did not run".into()).into()));
        drop(permit);
        answer
    }

    /// Writes that wait for their commit, those of the commit under way included.
    pub fn write_queue_length(&self) -> usize {
        writer::QUEUE.saturating_sub(self.inner.waiting.available_permits())
    }

    /// Newest place of the server-wide order that readers see.
    pub fn position(&self) -> i64 {
        self.inner.visible.load(Ordering::Acquire)
    }

    /// [`Self::position`], for those who look at it often.
    pub fn visible(&self) -> Arc<AtomicI64> {
        self.inner.visible.clone()
    }

    /// How often the server started on this database: part of every sync token.
    pub fn incarnation(&self) -> i64 {
        self.inner.incarnation
    }

    /// The places at which this database went back to a backup.
    pub fn restores(&self) -> &[backup::Restored] {
        &self.inner.restores
    }

    /// The numbers of strings.
    pub fn ids(&self) -> &ids::Ids {
        &self.inner.ids
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Refuses new writes, waits for those accepted, and folds the log into the database file.
    pub fn close(&self) {
        self.inner.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer had panicked");
        }
    }
}

/// Looks into a database that no server has open, under one snapshot on this thread. Changes nothing.
///
/// # Errors
/// `TooNew`, `TooOld`, `WrongServerName`, `Io` if there is no such file, and what `read` answers.
pub fn inspect<T, E>(path: &Path, server_name: &str, read: impl FnOnce(&Snapshot<'_>) -> Result<T, E>) -> Result<T, E>
where
    E: From<StoreError>,
{
    readers::inspect(path, server_name, read)
}

/// Writes the server's name into a new database, or compares it.
fn claim(connection: &rusqlite::Connection, path: &Path, server_name: &str) -> Result<(), StoreError> {
    connection
        .execute("INSERT INTO meta (name, value) VALUES ('server_name', ?1) ON CONFLICT DO NOTHING", [server_name])?;
    check_name(connection, path, server_name)
}

/// Compares the server's name with the database's.
fn check_name(connection: &rusqlite::Connection, path: &Path, server_name: &str) -> Result<(), StoreError> {
    let found: String =
        connection.query_row("SELECT value FROM meta WHERE name = 'server_name'", [], |row| row.get(0))?;
    if found == server_name {
        return Ok(());
    }
    Err(StoreError::WrongServerName { path: path.to_owned(), found, expected: server_name.to_owned() })
}

/// A secret of this database of 32 bytes, made with `random` at its first use and kept in `meta`.
pub fn secret(tx: &WriteTx<'_>, name: &str, random: [u8; 32]) -> Result<[u8; 32], StoreError> {
    tx.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        params![name, random.as_slice()],
    )?;
    let read: &dyn Read = tx;
    let kept = read.one("SELECT value FROM meta WHERE name = ?1", params![name], |row| row.get::<Vec<u8>>(0))?;
    kept.and_then(|kept| kept.try_into().ok())
        .ok_or_else(|| StoreError::Damaged(format!("meta {name} has not 32 bytes")))
}

#[cfg(test)]
mod tests;
