//! What presence asks of the memberships, and the status messages.

use ruma::OwnedUserId;

use super::{
    Read, StoreError, WriteTx, ids,
    ids::{RoomNid, UserNid},
};
use crate::params;

/// The rooms that a user is joined to together with users of this server, in ascending order.
///
/// # Errors
/// [`StoreError`].
pub fn rooms(read: &dyn Read, user: UserNid) -> Result<Vec<RoomNid>, StoreError> {
    read.all(
        "SELECT m.room FROM memberships m JOIN room_heads h ON h.room = m.room \
         WHERE m.user = ?1 AND m.membership = 1 AND h.local_joined > 0 ORDER BY m.room",
        params![user],
        |row| row.get(0),
    )
}

/// The numbers of the other servers that are in a room.
///
/// # Errors
/// [`StoreError`].
pub fn servers(read: &dyn Read, room: RoomNid) -> Result<Vec<i64>, StoreError> {
    read.all(
        "SELECT r.server FROM room_servers r WHERE r.room = ?1 AND r.to_position IS NULL AND r.server NOT IN \
         (SELECT nid FROM servers WHERE name = (SELECT value FROM meta WHERE name = 'server_name'))",
        params![room],
        |row| row.get(0),
    )
}

/// Accounts with a device that was last used before `before_ms`, and at most `within_ms` earlier than the last of all those;
/// `limit` at most.
///
/// # Errors
/// [`StoreError`].
pub fn seen_last(
    read: &dyn Read,
    before_ms: i64,
    within_ms: i64,
    limit: usize,
) -> Result<Vec<(UserNid, OwnedUserId)>, StoreError> {
    let users: Vec<UserNid> = read.all(
        "SELECT DISTINCT user FROM devices WHERE last_seen_ts < ?1 AND last_seen_ts >= \
         (SELECT COALESCE(MAX(last_seen_ts), 0) FROM devices WHERE last_seen_ts < ?1) - ?2 LIMIT ?3",
        params![before_ms, within_ms, limit as i64],
        |row| row.get(0),
    )?;
    users.into_iter().map(|user| Ok((user, ids::user_id(read, user)?))).collect()
}

/// The status message of an account, if it has one.
///
/// # Errors
/// [`StoreError`].
pub fn status(read: &dyn Read, user: UserNid) -> Result<Option<String>, StoreError> {
    read.one("SELECT status_msg FROM presence_status WHERE user = ?1", params![user], |row| row.get::<String>(0))
}

/// Sets or clears it.
///
/// # Errors
/// [`StoreError`].
pub fn put_status(tx: &WriteTx<'_>, user: UserNid, status: Option<&str>) -> Result<(), StoreError> {
    let Some(status) = status else {
        tx.execute("DELETE FROM presence_status WHERE user = ?1", params![user])?;
        return Ok(());
    };
    tx.execute(
        "INSERT INTO presence_status (user, status_msg) VALUES (?1, ?2) \
         ON CONFLICT (user) DO UPDATE SET status_msg = excluded.status_msg",
        params![user, status],
    )?;
    Ok(())
}
