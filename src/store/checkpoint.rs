//! When the write-ahead log is copied into the database file.
//!
//! A checkpoint inside a commit would stall every send (20 to 90 ms, spec/decisions/0002-sqlite-settings.md). A helper thread
//! copies passively while commits go on; but under load some reader always looks at the log's end, so that it never starts
//! over. Once it has grown to [`HARD_PAGES`] the writer finishes the copy itself, between two transactions: by then little
//! is left to copy. Bound: the log stays under about [`HARD_PAGES`] pages plus one transaction.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
        mpsc,
    },
    time::Duration,
};

use rusqlite::Connection;

use super::{StoreError, sqlite};

/// Commits between two passive checkpoints, at most.
const COMMITS: u32 = 500;
/// Pages in the log above which the writer finishes a checkpoint: 64 MB.
const HARD_PAGES: i64 = 16_000;

/// Counts commits for the helper, and finishes its work when it must be.
pub(super) struct LogWatch {
    wake: mpsc::SyncSender<()>,
    pages: Arc<AtomicI64>,
    waiting: Arc<AtomicBool>,
    commits: u32,
}

impl LogWatch {
    /// Starts the helper thread for the database at `path`. It ends when the writer is gone.
    pub(super) fn start(path: &Path) -> Result<Self, StoreError> {
        let connection = sqlite::open(path, sqlite::Role::Checkpointer)?;
        let (wake, woken) = mpsc::sync_channel(1);
        let pages = Arc::new(AtomicI64::new(0));
        let waiting = Arc::new(AtomicBool::new(false));
        let (helper_pages, helper_waiting) = (pages.clone(), waiting.clone());
        std::thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || {
                while woken.recv().is_ok() {
                    helper_waiting.store(false, Ordering::Release);
                    match checkpoint(&connection, "PRAGMA wal_checkpoint(PASSIVE)") {
                        Ok(log) => helper_pages.store(log, Ordering::Release),
                        Err(error) => tracing::warn!(%error, "passive checkpoint failed"),
                    }
                }
            })
            .map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
        Ok(Self { wake, pages, waiting, commits: 0 })
    }

    /// To be called by the writer between two transactions.
    pub(super) fn after_commit(&mut self, connection: &Connection) {
        self.commits += 1;
        if self.commits >= COMMITS {
            self.commits = 0;
            if !self.waiting.swap(true, Ordering::AcqRel) {
                // Full means that the helper is awake already.
                let _ = self.wake.try_send(());
            }
        }
        if self.pages.load(Ordering::Acquire) > HARD_PAGES {
            self.finish(connection);
        }
    }

    /// Copies what is left of the log, so that the next transaction begins it anew.
    pub(super) fn finish(&mut self, connection: &Connection) {
        // Readers that hold an old snapshot may keep it from finishing: then it is tried again after the next passive one.
        let _ = connection.busy_timeout(Duration::from_millis(50));
        match checkpoint(connection, "PRAGMA wal_checkpoint(RESTART)") {
            Ok(_) => self.pages.store(0, Ordering::Release),
            Err(error) => tracing::warn!(%error, "checkpoint failed"),
        }
        let _ = connection.busy_timeout(Duration::from_secs(10));
    }
}

/// Runs the pragma; answers the pages in the log.
fn checkpoint(connection: &Connection, pragma: &str) -> Result<i64, StoreError> {
    Ok(connection.query_row(pragma, [], |row| row.get(1))?)
}
