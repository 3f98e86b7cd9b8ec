//! The one writer: group commit.
//!
//! Whatever changes the database is a job. The writer thread takes all waiting jobs into one transaction, each inside a
//! savepoint of its own, and commits once, with one flush to the disk; then it tells every job's caller. A job that fails is
//! rolled back alone. If the commit fails, all of its jobs fail and nothing of them is there.

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, atomic::Ordering, mpsc},
    time::Instant,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{Param, Read, Row, StoreError, checkpoint::LogWatch, ids::Ids, sqlite};

/// Jobs in one transaction at most. More make the first of them wait without saving flushes.
const MAX_JOBS: usize = 256;

/// Jobs waiting at most; callers beyond wait for a place.
pub(super) const QUEUE: usize = 4096;

/// Work for the writer thread.
pub(super) trait Work: Send {
    /// Runs in the transaction; answers whether its savepoint stays.
    fn run(&mut self, tx: &WriteTx<'_>) -> bool;

    /// Tells the caller, whether it ran or not: with an error, nothing of it is there.
    fn done(self: Box<Self>, committed: Result<(), StoreError>);
}

/// Work for the writer thread.
pub(super) type Job = Box<dyn Work>;

/// What jobs change the database through. Everything written through it is visible, all or nothing, once the commit is
/// durable.
pub struct WriteTx<'c> {
    connection: &'c Connection,
    ids: &'c Ids,
    position: Cell<i64>,
    backfill: Cell<i64>,
    /// To be called after the commit; a failed job's are dropped.
    hooks: RefCell<Vec<Hook>>,
    /// The first failure of the disk, which the job may have turned into an error of its own.
    disk: RefCell<Option<StoreError>>,
}

type Hook = Box<dyn FnOnce() + Send>;

impl WriteTx<'_> {
    /// Gives out the next place in the server-wide order. Visible to readers with the commit, never before.
    pub fn next_position(&self) -> i64 {
        self.position.set(self.position.get() + 1);
        self.position.get()
    }

    /// Gives out the next place of history: negative and descending.
    pub fn next_backfill_position(&self) -> i64 {
        self.backfill.set(self.backfill.get() - 1);
        self.backfill.get()
    }

    /// Runs a change; answers how many rows it touched.
    pub fn execute(&self, sql: &'static str, params: &[Param<'_>]) -> Result<usize, StoreError> {
        self.noted(sqlite::execute(self.connection, sql, params))
    }

    fn noted<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &answer
            && error.is_of_the_disk()
        {
            self.disk.borrow_mut().get_or_insert_with(|| error.again());
        }
        answer
    }

    /// Runs an `INSERT … RETURNING nid` and answers the nid.
    pub fn insert(&self, sql: &'static str, params: &[Param<'_>]) -> Result<i64, StoreError> {
        (self as &dyn Read)
            .one(sql, params, |row| row.get(0))?
            .ok_or_else(|| StoreError::Damaged("an insert returned no nid".into()))
    }

    /// Calls `hook` on the writer thread once the commit is durable and visible, in the order of registration. Keep it
    /// short: everybody's commits wait for it. If the job or the commit fails the hook is dropped.
    pub fn after_commit(&self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.borrow_mut().push(Box::new(hook));
    }
}

impl Read for WriteTx<'_> {
    fn position(&self) -> i64 {
        self.position.get()
    }

    fn ids(&self) -> &Ids {
        self.ids
    }

    fn uncommitted(&self) -> bool {
        true
    }

    fn each(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.noted(sqlite::each(self.connection, sql, params, each))
    }
}

/// Makes a job of a closure; the receiver gets the closure's answer after the commit.
pub(super) fn job<T, E, F>(run: F) -> (Job, oneshot::Receiver<Result<T, E>>)
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
    F: FnOnce(&WriteTx<'_>) -> Result<T, E> + Send + 'static,
{
    let (tell, told) = oneshot::channel();
    (Box::new(Call { run: Some(run), answer: None, tell }), told)
}

struct Call<T, E, F> {
    run: Option<F>,
    answer: Option<Result<T, E>>,
    tell: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Work for Call<T, E, F>
where
    T: Send,
    E: From<StoreError> + Send,
    F: FnOnce(&WriteTx<'_>) -> Result<T, E> + Send,
{
    fn run(&mut self, tx: &WriteTx<'_>) -> bool {
        self.answer = self.run.take().map(|run| run(tx));
        matches!(self.answer, Some(Ok(_)))
    }

    fn done(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match (committed, self.answer) {
            (Ok(()), Some(answer)) => answer,
            // It panicked; the panic hook has logged it.
            (Ok(()), None) => Err(StoreError::Engine("the write failed".into()).into()),
            (Err(error), _) => Err(error.into()),
        };
        // A caller that went away no longer wants to know.
        let _ = self.tell.send(answer);
    }
}

/// What the writer thread owns.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) ids: Arc<Ids>,
    pub(super) visible: Arc<std::sync::atomic::AtomicI64>,
    pub(super) log: LogWatch,
    /// Whether the disk failed at the last attempt.
    pub(super) disk_failed: bool,
}

impl Writer {
    /// Runs until every sender of jobs is gone.
    pub(super) fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut batch = vec![first];
            while batch.len() < MAX_JOBS
                && let Ok(next) = jobs.try_recv()
            {
                batch.push(next);
            }
            let size = batch.len();
            let started = Instant::now();
            if self.commit(batch) {
                metrics::histogram!("linkim_commit_jobs").record(size as f64);
                metrics::histogram!("linkim_commit_seconds").record(started.elapsed().as_secs_f64());
                self.log.after_commit(&self.connection);
            } else {
                metrics::counter!("linkim_commit_failures_total").increment(1);
            }
        }
    }

    /// Runs the jobs in one transaction and tells their callers; answers whether it was committed.
    fn commit(&mut self, mut batch: Vec<Job>) -> bool {
        match self.transaction(&mut batch) {
            Ok((position, hooks)) => {
                self.visible.store(position, Ordering::Release);
                for hook in hooks {
                    hook();
                }
                for job in batch {
                    job.done(Ok(()));
                }
                if std::mem::take(&mut self.disk_failed) {
                    tracing::info!("the database can be written again");
                }
                true
            }
            Err(error) => {
                if !self.connection.is_autocommit()
                    && let Err(error) = self.connection.execute_batch("ROLLBACK")
                {
                    tracing::error!(%error, "could not roll back");
                }
                self.note_failure(&error, batch.len());
                for job in batch {
                    job.done(Err(error.again()));
                }
                false
            }
        }
    }

    /// Logs a failed commit; a series of failures of the disk once.
    fn note_failure(&mut self, error: &StoreError, jobs: usize) {
        if !error.is_of_the_disk() {
            tracing::error!(%error, jobs, "commit failed; nothing of it was written");
        } else if !std::mem::replace(&mut self.disk_failed, true) {
            tracing::error!("{error}: writes are refused with 503 until it can be written again; reads go on");
            // The log's space can be used again once it is copied, which mostly takes no more room.
            self.log.finish(&self.connection);
        } else {
            tracing::debug!(%error, jobs, "commit failed again");
        }
    }

    fn transaction(&self, batch: &mut [Job]) -> Result<(i64, Vec<Hook>), StoreError> {
        let connection = &self.connection;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let (position, backfill) = connection
            .prepare_cached("SELECT position, backfill FROM head")?
            .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        let tx = WriteTx {
            connection,
            ids: &self.ids,
            position: Cell::new(position),
            backfill: Cell::new(backfill),
            hooks: RefCell::new(Vec::new()),
            disk: RefCell::new(None),
        };
        for job in batch {
            run_job(&tx, &mut **job)?;
        }
        if tx.position.get() != position || tx.backfill.get() != backfill {
            tx.execute(
                "UPDATE head SET position = ?1, backfill = ?2 WHERE id = 1",
                &[Param::Int(tx.position.get()), Param::Int(tx.backfill.get())],
            )?;
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok((tx.position.get(), tx.hooks.into_inner()))
    }
}

/// Runs one job in its savepoint. An error is one of the whole transaction.
fn run_job(tx: &WriteTx<'_>, job: &mut dyn Work) -> Result<(), StoreError> {
    let connection = tx.connection;
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let hooks = tx.hooks.borrow().len();
    // A panic has been logged by the panic hook, and fails its own job alone.
    let kept = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job.run(tx))).unwrap_or(false);
    if let Some(error) = tx.disk.take() {
        return Err(error);
    }
    if connection.is_autocommit() {
        // SQLite rolls the whole transaction back where an error leaves it no choice; nothing may run outside one.
        return Err(StoreError::Engine("the transaction was rolled back".into()));
    }
    if !kept {
        tx.hooks.borrow_mut().truncate(hooks);
        connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    connection.prepare_cached("RELEASE job")?.execute([])?;
    Ok(())
}
