//! Statements on messages to devices.

use super::{Read, StoreError, WriteTx, ids::DeviceNid};
use crate::params;

/// Messages that wait for a device at most, or a few more: the oldest go.
pub const MAX_WAITING: i64 = 10_000;

/// The bound is looked at once in so many messages: to count those of a device reads them all.
const LOOK_EVERY: i64 = 64;

/// A message to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its place in the server-wide order.
    pub position: i64,
    /// Who sent it.
    pub sender: String,
    /// Its type.
    pub kind: String,
    /// Its content as JSON.
    pub content: String,
}

/// Writes a message for a device, at a new place in the server-wide order. Answers whether an older one had to go for it.
pub fn insert(
    tx: &WriteTx<'_>,
    device: DeviceNid,
    sender: &str,
    kind: &str,
    content: &str,
) -> Result<bool, StoreError> {
    let position = tx.next_position();
    tx.execute(
        "INSERT INTO to_device (device, position, sender, type, content) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![device, position, sender, kind, content],
    )?;
    if position % LOOK_EVERY != 0 {
        return Ok(false);
    }
    let read: &dyn Read = tx;
    let oldest = read.one(
        "SELECT position FROM to_device WHERE device = ?1 ORDER BY position DESC LIMIT 1 OFFSET ?2",
        params![device, MAX_WAITING],
        |row| row.get::<i64>(0),
    )?;
    let Some(oldest) = oldest else { return Ok(false) };
    Ok(acknowledge(tx, device, oldest)? > 0)
}

/// A device's oldest messages after a position.
pub fn after(read: &dyn Read, device: DeviceNid, position: i64, limit: usize) -> Result<Vec<Message>, StoreError> {
    read.all(
        "SELECT position, sender, type, content FROM to_device WHERE device = ?1 AND position > ?2 \
         ORDER BY position LIMIT ?3",
        params![device, position, limit as i64],
        |row| Ok(Message { position: row.get(0)?, sender: row.get(1)?, kind: row.get(2)?, content: row.get(3)? }),
    )
}

/// Whether there are messages up to a position.
pub fn any_up_to(read: &dyn Read, device: DeviceNid, position: i64) -> Result<bool, StoreError> {
    read.one("SELECT 1 FROM to_device WHERE device = ?1 AND position <= ?2 LIMIT 1", params![device, position], |_| {
        Ok(())
    })
    .map(|found| found.is_some())
}

/// Deletes a device's messages up to a position: it has them. Answers how many.
pub fn acknowledge(tx: &WriteTx<'_>, device: DeviceNid, position: i64) -> Result<usize, StoreError> {
    tx.execute("DELETE FROM to_device WHERE device = ?1 AND position <= ?2", params![device, position])
}

/// Notes that a device's request of this key was done. Answers false if it was before.
pub fn begin_transaction(tx: &WriteTx<'_>, device: DeviceNid, key: &[u8], now: i64) -> Result<bool, StoreError> {
    let written = tx.execute(
        "INSERT INTO to_device_transactions (device, key, created_ts) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![device, key, now],
    )?;
    Ok(written > 0)
}

/// Notes that a message of this key came from another server. Answers false if it did before.
pub fn receive(tx: &WriteTx<'_>, key: &[u8], now: i64) -> Result<bool, StoreError> {
    let written = tx.execute(
        "INSERT INTO to_device_received (key, received_ts) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        params![key, now],
    )?;
    Ok(written > 0)
}

/// Forgets requests of before `before`, `limit` at most; answers how many.
pub fn sweep_transactions(tx: &WriteTx<'_>, before: i64, limit: i64) -> Result<usize, StoreError> {
    tx.execute(
        "DELETE FROM to_device_transactions WHERE (device, key) IN \
         (SELECT device, key FROM to_device_transactions WHERE created_ts < ?1 LIMIT ?2)",
        params![before, limit],
    )
}

/// Forgets messages that came before `before`, `limit` at most; answers how many.
pub fn sweep_received(tx: &WriteTx<'_>, before: i64, limit: i64) -> Result<usize, StoreError> {
    tx.execute(
        "DELETE FROM to_device_received WHERE key IN \
         (SELECT key FROM to_device_received WHERE received_ts < ?1 LIMIT ?2)",
        params![before, limit],
    )
}

/// Deletes all of a device's.
pub fn delete_of_device(tx: &WriteTx<'_>, device: DeviceNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM to_device WHERE device = ?1", params![device])?;
    tx.execute("DELETE FROM to_device_transactions WHERE device = ?1", params![device])?;
    Ok(())
}
