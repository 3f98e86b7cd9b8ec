//! Statements on how far other servers are with what we owe them.

use super::{Read, Row, StoreError, WriteTx};
use crate::params;

/// A server that is behind or failed, or was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationRow {
    /// Its number.
    pub server: i64,
    /// Its name.
    pub name: String,
    /// Up to where it has acknowledged; None: up to the head.
    pub watermark: Option<i64>,
    /// Attempts in a row that failed.
    pub failures: i64,
    /// When the next attempt may be, in milliseconds.
    pub retry_ts: i64,
    /// When the first of those attempts was.
    pub failing_since_ts: Option<i64>,
    /// Why the last of them failed.
    pub last_error: Option<String>,
    /// When it was last reached.
    pub last_success_ts: Option<i64>,
    /// PDUs and EDUs that it would not take.
    pub dropped: i64,
}

fn row(row: &Row<'_>) -> Result<DestinationRow, StoreError> {
    Ok(DestinationRow {
        server: row.get(0)?,
        name: row.get(1)?,
        watermark: row.get(2)?,
        failures: row.get(3)?,
        retry_ts: row.get(4)?,
        failing_since_ts: row.get(5)?,
        last_error: row.get(6)?,
        last_success_ts: row.get(7)?,
        dropped: row.get(8)?,
    })
}

/// All rows.
pub fn all(read: &dyn Read) -> Result<Vec<DestinationRow>, StoreError> {
    read.all(
        "SELECT d.server, s.name, d.watermark, d.failures, d.retry_ts, d.failing_since_ts, d.last_error, \
         d.last_success_ts, d.dropped FROM destinations d JOIN servers s ON s.nid = d.server ORDER BY s.name",
        params![],
        row,
    )
}

/// Names of the servers that are in a room or have a row, after `after` in alphabetical order, with their numbers.
pub fn known(read: &dyn Read, after: &str, limit: usize) -> Result<Vec<(i64, String)>, StoreError> {
    read.all(
        "SELECT nid, name FROM servers WHERE name > ?1 AND (nid IN (SELECT server FROM destinations) \
         OR nid IN (SELECT server FROM room_servers WHERE to_position IS NULL) \
         OR nid IN (SELECT server FROM outbox_to_device) OR nid IN (SELECT server FROM outbox_events)) \
         ORDER BY name LIMIT ?2",
        params![after, limit as i64],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// The number of a server, if it was ever met.
pub fn server_nid(read: &dyn Read, name: &str) -> Result<Option<i64>, StoreError> {
    read.one("SELECT nid FROM servers WHERE name = ?1", params![name], |row| row.get(0))
}

/// The name of a server. `Damaged` if the number is not one of ours.
pub fn server_name(read: &dyn Read, server: i64) -> Result<String, StoreError> {
    read.one("SELECT name FROM servers WHERE nid = ?1", params![server], |row| row.get(0))?
        .ok_or_else(|| StoreError::Damaged(format!("no server {server}")))
}

/// Up to where destinations without a watermark of their own have acknowledged.
pub fn head(read: &dyn Read) -> Result<i64, StoreError> {
    Ok(read.one("SELECT position FROM outbox_head WHERE id = 1", params![], |row| row.get(0))?.unwrap_or(0))
}

/// Moves the head.
pub fn set_head(tx: &WriteTx<'_>, position: i64) -> Result<(), StoreError> {
    tx.execute("UPDATE outbox_head SET position = ?1 WHERE id = 1", params![position])?;
    Ok(())
}

/// Writes how far a server is; None: as far as the head. Counts what it would not take since.
pub fn set_watermark(tx: &WriteTx<'_>, server: i64, watermark: Option<i64>, dropped: i64) -> Result<(), StoreError> {
    if watermark.is_none() && dropped == 0 {
        tx.execute("UPDATE destinations SET watermark = NULL WHERE server = ?1", params![server])?;
        return Ok(());
    }
    tx.execute(
        "INSERT INTO destinations (server, watermark, dropped) VALUES (?1, ?2, ?3) ON CONFLICT (server) DO UPDATE \
         SET watermark = excluded.watermark, dropped = destinations.dropped + excluded.dropped",
        params![server, watermark, dropped],
    )?;
    Ok(())
}

/// How attempts to reach a server went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Those in a row that failed.
    pub failures: i64,
    /// When the next one may be, in milliseconds.
    pub retry_ts: i64,
    /// When the first of those failed.
    pub failing_since_ts: Option<i64>,
    /// Why the last one failed.
    pub last_error: Option<String>,
    /// When one last succeeded; None leaves what is known.
    pub last_success_ts: Option<i64>,
}

/// Writes how attempts to reach a server went.
pub fn put_attempts(tx: &WriteTx<'_>, server: i64, attempts: &Attempts) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO destinations (server, failures, retry_ts, failing_since_ts, last_error, last_success_ts) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (server) DO UPDATE SET failures = excluded.failures, \
         retry_ts = excluded.retry_ts, failing_since_ts = excluded.failing_since_ts, \
         last_error = excluded.last_error, \
         last_success_ts = COALESCE(excluded.last_success_ts, destinations.last_success_ts)",
        params![
            server,
            attempts.failures,
            attempts.retry_ts,
            attempts.failing_since_ts,
            attempts.last_error.as_ref(),
            attempts.last_success_ts
        ],
    )?;
    Ok(())
}

/// A transaction to be repeated byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionRow {
    /// Its id.
    pub txn_id: String,
    /// Its body.
    pub body: String,
    /// The watermark once it is acknowledged.
    pub cut: i64,
    /// Place of the last to-device message in it, or before it.
    pub to_device: i64,
    /// Place of the last event for a server outside the room in it, or before it.
    pub events: i64,
    /// When the oldest event in it came to be owed, in milliseconds.
    pub owed_since_ts: i64,
}

/// Keeps a transaction; there is one a server.
pub fn put_transaction(tx: &WriteTx<'_>, server: i64, row: &TransactionRow) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO destination_transactions (server, txn_id, body, cut, to_device, events, owed_since_ts) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (server) DO UPDATE SET txn_id = excluded.txn_id, \
         body = excluded.body, cut = excluded.cut, to_device = excluded.to_device, events = excluded.events, \
         owed_since_ts = excluded.owed_since_ts",
        params![server, &row.txn_id, &row.body, row.cut, row.to_device, row.events, row.owed_since_ts],
    )?;
    Ok(())
}

/// The transaction kept for a server.
pub fn transaction(read: &dyn Read, server: i64) -> Result<Option<TransactionRow>, StoreError> {
    read.one(
        "SELECT txn_id, body, cut, to_device, events, owed_since_ts FROM destination_transactions WHERE server = ?1",
        params![server],
        |row| {
            Ok(TransactionRow {
                txn_id: row.get(0)?,
                body: row.get(1)?,
                cut: row.get(2)?,
                to_device: row.get(3)?,
                events: row.get(4)?,
                owed_since_ts: row.get(5)?,
            })
        },
    )
}

/// Deletes the transaction kept for a server.
pub fn delete_transaction(tx: &WriteTx<'_>, server: i64) -> Result<(), StoreError> {
    tx.execute("DELETE FROM destination_transactions WHERE server = ?1", params![server])?;
    Ok(())
}

/// Servers with a transaction kept, and when its oldest event came to be owed.
pub fn with_transaction(read: &dyn Read) -> Result<Vec<(i64, i64)>, StoreError> {
    read.all("SELECT server, owed_since_ts FROM destination_transactions", params![], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// Deletes rows of servers that are owed nothing and share no room with us; answers how many.
pub fn sweep(tx: &WriteTx<'_>) -> Result<usize, StoreError> {
    tx.execute(
        "DELETE FROM destinations WHERE watermark IS NULL \
         AND server NOT IN (SELECT server FROM destination_transactions) \
         AND server NOT IN (SELECT server FROM outbox_to_device) AND server NOT IN (SELECT server FROM outbox_events) \
         AND server NOT IN (SELECT server FROM room_servers WHERE to_position IS NULL)",
        params![],
    )
}

/// Writes when a server was last reached.
pub fn put_reached(tx: &WriteTx<'_>, server: i64, ts: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO destinations (server, last_success_ts) VALUES (?1, ?2) \
         ON CONFLICT (server) DO UPDATE SET last_success_ts = excluded.last_success_ts",
        params![server, ts],
    )?;
    Ok(())
}
