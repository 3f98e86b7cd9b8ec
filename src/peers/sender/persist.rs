//! Writes now and then how far other servers are, and what is known of those that fail.
//!
//! One row, the head, stands for all servers that keep up. Only those that are behind for a while have a watermark of their
//! own, so that a message in a room with members of 500 servers writes as much as in one with two.

use std::{collections::HashMap, sync::PoisonError, time::Duration};

use ruma::OwnedServerName;

use super::{Core, Peer, transaction::Transaction};
use crate::{
    peers::reachability::Destination,
    store::{
        StoreError, WriteTx, destinations,
        destinations::{Attempts, DestinationRow, TransactionRow},
        outbox,
    },
};

/// Time between two flushes.
const FLUSH: Duration = Duration::from_secs(1);

/// Flushes between two looks at which servers fail.
const ATTEMPTS_EVERY: u64 = 5;

/// Flushes between two sweeps.
const SWEEP_EVERY: u64 = 3_600;

/// When a server was last reached is written when what is written is so old.
const REACHED_MS: i64 = 3_600 * 1_000;

/// Of so many servers in one flush.
const REACHED_AT_ONCE: usize = 20;

/// Messages in the outbox are dropped when their server has failed for so long.
const DEAD_MS: i64 = 30 * 24 * 3_600 * 1_000;

/// When a server was last reached.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reached {
    pub(super) now_ms: i64,
    /// What the store says.
    pub(super) written_ms: i64,
}

/// What the store says of servers that fail.
#[derive(Debug, Default)]
pub(super) struct Written {
    flushes: u64,
    pub(super) failing: HashMap<OwnedServerName, Destination>,
}

/// What a flush writes of attempts.
#[derive(Debug, Default)]
struct AttemptChanges {
    failing: Vec<(OwnedServerName, Attempts)>,
    reached: Vec<(i64, i64)>,
}

/// A stored row as what [`crate::peers::reachability::Reachability`] restores.
pub(super) fn destination(server: OwnedServerName, row: &DestinationRow) -> Destination {
    Destination {
        server,
        failures: u32::try_from(row.failures).unwrap_or(u32::MAX),
        failing_since_ms: row.failing_since_ts.unwrap_or(row.retry_ts),
        retry_at_ms: row.retry_ts,
        last_error: row.last_error.clone().unwrap_or_default(),
    }
}

impl Core {
    /// Flushes once a second until dropped.
    pub(super) async fn keep_flushing(&self) {
        loop {
            tokio::time::sleep(FLUSH).await;
            if let Err(error) = self.flush(false).await {
                tracing::debug!(%error, "could not write how far other servers are; tried again in a second");
            }
        }
    }

    /// Writes what changed. With `all`, also what is under way: for a stop.
    pub(super) async fn flush(&self, all: bool) -> Result<(), StoreError> {
        let mut written = self.written.lock().await;
        written.flushes += 1;
        let before = self.board.head();
        let flush = self.board.flush(all);
        let look = all || written.flushes % ATTEMPTS_EVERY == 1;
        let (attempts, failing) = if look { self.attempts(&written, all) } else { (AttemptChanges::default(), None) };
        let sweep = written.flushes.is_multiple_of(SWEEP_EVERY);
        let dead_before = sweep.then(|| self.clock.now_ms() - DEAD_MS);
        let nothing = flush.changes.is_empty() && flush.head == before;
        if nothing && attempts.failing.is_empty() && attempts.reached.is_empty() && !sweep {
            return Ok(());
        }
        let rows: Vec<Row> = flush.changes.iter().map(Row::from).collect();
        let (head, reached) = (flush.head, attempts.reached.clone());
        let outcome = self
            .store
            .write::<_, StoreError, _>(move |tx| {
                if head != before {
                    destinations::set_head(tx, head)?;
                }
                rows.iter().try_for_each(|row| row.write(tx))?;
                write_attempts(tx, &attempts)?;
                if let Some(before_ts) = dead_before {
                    outbox::drop_for_dead(tx, before_ts)?;
                    destinations::sweep(tx)?;
                }
                Ok(())
            })
            .await;
        self.board.flushed(&flush, outcome.is_ok());
        outcome?;
        if let Some(failing) = failing {
            written.failing = failing;
        }
        let mut all_reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        for (server, ts) in reached {
            if let Some(entry) = all_reached.get_mut(&server) {
                entry.written_ms = ts;
            }
        }
        Ok(())
    }

    /// What changed in how attempts to reach servers went, and all that fail now.
    fn attempts(
        &self,
        written: &Written,
        all: bool,
    ) -> (AttemptChanges, Option<HashMap<OwnedServerName, Destination>>) {
        let now: HashMap<OwnedServerName, Destination> =
            self.reachability.snapshot().into_iter().map(|row| (row.server.clone(), row)).collect();
        let mut changes = AttemptChanges::default();
        for (server, row) in &now {
            if written.failing.get(server) != Some(row) {
                let attempts = Attempts {
                    failures: row.failures.into(),
                    retry_ts: row.retry_at_ms,
                    failing_since_ts: Some(row.failing_since_ms),
                    last_error: Some(row.last_error.clone()),
                    last_success_ts: None,
                };
                changes.failing.push((server.clone(), attempts));
            }
        }
        for server in written.failing.keys().filter(|server| !now.contains_key(*server)) {
            changes.failing.push((server.clone(), Attempts::default()));
        }
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let old = |reached: &&Reached| reached.now_ms - reached.written_ms >= if all { 1 } else { REACHED_MS };
        let due = reached.iter().filter(|(_, reached)| old(reached)).map(|(server, reached)| (*server, reached.now_ms));
        changes.reached = due.take(if all { usize::MAX } else { REACHED_AT_ONCE }).collect();
        (changes, Some(now))
    }

    /// Stores a transaction that failed, with its server's watermark.
    pub(super) async fn keep(&self, peer: &Peer, transaction: &Transaction) -> Result<(), StoreError> {
        let _written = self.written.lock().await;
        // One from the store is there already.
        if transaction.pdus.is_some() {
            let (server, watermark, row) = (peer.nid, self.board.watermark(peer.nid), transaction.row());
            self.store
                .write::<_, StoreError, _>(move |tx| {
                    destinations::set_watermark(tx, server, watermark, 0)?;
                    destinations::put_transaction(tx, server, &row)
                })
                .await?;
        }
        self.board.saved(peer.nid);
        Ok(())
    }
}

/// A [`super::board::Change`], ready for the writer's thread.
struct Row {
    server: i64,
    watermark: Option<Option<i64>>,
    dropped: i64,
    transaction: Option<TransactionRow>,
    clear: bool,
    to_device: i64,
    events: i64,
}

impl From<&super::board::Change> for Row {
    fn from(change: &super::board::Change) -> Self {
        Self {
            server: change.server,
            watermark: change.watermark,
            dropped: change.dropped,
            transaction: change.transaction.as_ref().map(|transaction| transaction.row()),
            clear: change.clear,
            to_device: change.to_device,
            events: change.events,
        }
    }
}

impl Row {
    fn write(&self, tx: &WriteTx<'_>) -> Result<(), StoreError> {
        if self.watermark.is_some() || self.dropped > 0 {
            destinations::set_watermark(tx, self.server, self.watermark.flatten(), self.dropped)?;
        }
        match &self.transaction {
            Some(transaction) => destinations::put_transaction(tx, self.server, transaction)?,
            None if self.clear => destinations::delete_transaction(tx, self.server)?,
            None => {}
        }
        outbox::delete_acknowledged(tx, self.server, self.to_device, self.events)
    }
}

fn write_attempts(tx: &WriteTx<'_>, changes: &AttemptChanges) -> Result<(), StoreError> {
    for (server, attempts) in &changes.failing {
        // A server that is in none of our rooms has no number, and nothing is owed to it.
        if let Some(server) = destinations::server_nid(tx, server.as_str())? {
            destinations::put_attempts(tx, server, attempts)?;
        }
    }
    for (server, ts) in &changes.reached {
        destinations::put_reached(tx, *server, *ts)?;
    }
    Ok(())
}
