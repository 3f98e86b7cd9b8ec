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

type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Work for the writer thread: runs in the transaction; answers whether its savepoint stays, and whom to tell.
pub(super) type Job = Box<dyn FnOnce(&WriteTx<'_>) -> (bool, Done) + Send>;

/// What jobs change the database through. Everything written through it is visible, all or nothing, once the commit is
/// durable.
pub struct WriteTx<'c> {
    connection: &'c Connection,
    ids: &'c Ids,
    position: Cell<i64>,
    backfill: Cell<i64>,
    /// To be called after the commit; a failed job's are dropped.
    hooks: RefCell<Vec<Box<dyn FnOnce() + Send>>>,
}

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
        sqlite::execute(self.connection, sql, params)
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
        sqlite::each(self.connection, sql, params, each)
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
    let job: Job = Box::new(move |tx| {
        let answer = run(tx);
        let keep = answer.is_ok();
        let done: Done = Box::new(move |committed| {
            // A caller that went away no longer wants to know.
            let _ = tell.send(match committed {
                Ok(()) => answer,
                Err(error) => Err(error.into()),
            });
        });
        (keep, done)
    });
    (job, told)
}

/// What the writer thread owns.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) ids: Arc<Ids>,
    pub(super) visible: Arc<std::sync::atomic::AtomicI64>,
    pub(super) log: LogWatch,
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
            self.commit(batch);
            metrics::histogram!("linkim_commit_jobs").record(size as f64);
            metrics::histogram!("linkim_commit_seconds").record(started.elapsed().as_secs_f64());
            self.log.after_commit(&self.connection);
        }
    }

    fn commit(&mut self, batch: Vec<Job>) {
        let mut told: Vec<Done> = Vec::with_capacity(batch.len());
        let outcome = self.transaction(batch, &mut told);
        match outcome {
            Ok((position, hooks)) => {
                self.visible.store(position, Ordering::Release);
                for hook in hooks {
                    hook();
                }
                for done in told {
                    done(Ok(()));
                }
            }
            Err(error) => {
                if !self.connection.is_autocommit()
                    && let Err(error) = self.connection.execute_batch("ROLLBACK")
                {
                    tracing::error!(%error, "could not roll back");
                }
                tracing::error!(%error, jobs = told.len(), "commit failed; nothing of it was written");
                let text = error.to_string();
                let full = matches!(error, StoreError::Full);
                for done in told {
                    done(Err(if full { StoreError::Full } else { StoreError::Engine(text.clone()) }));
                }
            }
        }
    }

    #[expect(clippy::type_complexity, reason = "one use")]
    fn transaction(
        &self,
        batch: Vec<Job>,
        told: &mut Vec<Done>,
    ) -> Result<(i64, Vec<Box<dyn FnOnce() + Send>>), StoreError> {
        let connection = &self.connection;
        let begun = connection.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::from).and_then(|()| {
            Ok(connection.prepare_cached("SELECT position, backfill FROM head")?.query_row([], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })?)
        });
        let (position, backfill) = match begun {
            Ok(head) => head,
            Err(error) => {
                // The jobs never ran; dropping them drops their senders, which their callers see as a store that stops.
                drop(batch);
                return Err(error);
            }
        };
        let tx = WriteTx {
            connection,
            ids: &self.ids,
            position: Cell::new(position),
            backfill: Cell::new(backfill),
            hooks: RefCell::new(Vec::new()),
        };
        let mut failure = None;
        for job in batch {
            if failure.is_some() || connection.is_autocommit() {
                // SQLite rolled the whole transaction back (full disk, I/O error): later jobs must not run outside one.
                failure.get_or_insert(StoreError::Full);
                drop(job);
                continue;
            }
            if let Err(error) = self.run_job(&tx, job, told) {
                failure = Some(error);
            }
        }
        if let Some(error) = failure {
            return Err(error);
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

    fn run_job(&self, tx: &WriteTx<'_>, job: Job, told: &mut Vec<Done>) -> Result<(), StoreError> {
        let connection = &self.connection;
        connection.prepare_cached("SAVEPOINT job")?.execute([])?;
        let hooks = tx.hooks.borrow().len();
        let run = std::panic::AssertUnwindSafe(|| job(tx));
        let kept = match std::panic::catch_unwind(run) {
            Ok((kept, done)) => {
                told.push(done);
                kept
            }
            // The panic hook has logged it; the job's sender is dropped, its caller answers 500.
            Err(_) => false,
        };
        if connection.is_autocommit() {
            return Err(StoreError::Full);
        }
        if !kept {
            tx.hooks.borrow_mut().truncate(hooks);
            connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
        }
        connection.prepare_cached("RELEASE job")?.execute([])?;
        Ok(())
    }
}
