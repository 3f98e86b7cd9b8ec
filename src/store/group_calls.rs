//! Statements on requests of admins on other servers that wait to be executed.

use super::{
    Read, StoreError, WriteTx,
    ids::{EventNid, RoomNid},
};
use crate::params;

/// Requests of a group that wait at most.
const MAX_WAITING: i64 = 1_000;

/// Notes a request that is to be executed; false if too many of its group wait.
pub fn insert(tx: &WriteTx<'_>, room: RoomNid, event: EventNid) -> Result<bool, StoreError> {
    let read: &dyn Read = tx;
    let waiting =
        read.one("SELECT COUNT(*) FROM group_calls WHERE room = ?1", params![room], |row| row.get::<i64>(0))?;
    if waiting.is_some_and(|waiting| waiting >= MAX_WAITING) {
        return Ok(false);
    }
    tx.execute("INSERT INTO group_calls (event, room) VALUES (?1, ?2) ON CONFLICT DO NOTHING", params![event, room])?;
    Ok(true)
}

/// Forgets a request that was answered.
///
/// # Errors
/// Also if it is not there: somebody else answered it, and the transaction must not.
pub fn answered(tx: &WriteTx<'_>, event: EventNid) -> Result<(), StoreError> {
    match tx.execute("DELETE FROM group_calls WHERE event = ?1", params![event])? {
        0 => Err(StoreError::Engine("this request was answered already".into())),
        _ => Ok(()),
    }
}

/// Requests that wait, oldest first, after this one.
pub fn waiting(read: &dyn Read, after: EventNid, limit: usize) -> Result<Vec<(EventNid, RoomNid)>, StoreError> {
    read.all(
        "SELECT event, room FROM group_calls WHERE event > ?1 ORDER BY event LIMIT ?2",
        params![after, limit as i64],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}
