//! Statements on whose keys changed, and who must hear of it: those who share a room.

use super::{
    Read, StoreError, WriteTx,
    ids::{RoomNid, UserNid},
};
use crate::params;

/// Changes of a user's devices that are kept: whoever is further behind asks for the whole list.
const MAX_CHANGES: i64 = 100;

/// A change of one device of an account here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place in the server-wide order.
    pub position: i64,
    /// The device; empty: the cross-signing keys.
    pub device_id: String,
    /// The place of the change of a device before it, if there was one.
    pub previous: Option<i64>,
}

/// Notes at a new place in the server-wide order that a user's keys changed. `device_id`: of which device of an account here;
/// empty for cross-signing keys, and for any change of another server's user.
pub fn put(tx: &WriteTx<'_>, user: UserNid, device_id: &str) -> Result<(), StoreError> {
    let previous = stream_id(tx, user)?;
    if device_id.is_empty() {
        tx.execute("DELETE FROM device_list_changes WHERE user = ?1 AND device_id = ''", params![user])?;
    } else {
        tx.execute(
            "DELETE FROM device_list_changes WHERE user = ?1 AND device_id <> '' AND position <= \
             (SELECT position FROM device_list_changes WHERE user = ?1 AND device_id <> '' \
             ORDER BY position DESC LIMIT 1 OFFSET ?2)",
            params![user, MAX_CHANGES - 1],
        )?;
    }
    tx.execute(
        "INSERT INTO device_list_changes (user, position, device_id, previous) VALUES (?1, ?2, ?3, ?4)",
        params![user, tx.next_position(), device_id, previous],
    )?;
    Ok(())
}

/// The place of the newest change of a user's devices: the stream id of the list.
pub fn stream_id(read: &dyn Read, user: UserNid) -> Result<Option<i64>, StoreError> {
    read.one(
        "SELECT position FROM device_list_changes WHERE user = ?1 AND device_id <> '' ORDER BY position DESC LIMIT 1",
        params![user],
        |row| row.get(0),
    )
}

/// The changes of a user's keys within a stretch of positions, oldest first.
pub fn changes(read: &dyn Read, user: UserNid, after: i64, up_to: i64) -> Result<Vec<Change>, StoreError> {
    read.all(
        "SELECT position, device_id, previous FROM device_list_changes \
         WHERE user = ?1 AND position > ?2 AND position <= ?3 ORDER BY position",
        params![user, after, up_to],
        |row| Ok(Change { position: row.get(0)?, device_id: row.get(1)?, previous: row.get(2)? }),
    )
}

/// Whose keys changed after a position, each once.
pub fn changed_after(read: &dyn Read, after: i64) -> Result<Vec<UserNid>, StoreError> {
    read.all(
        "SELECT DISTINCT user FROM device_list_changes INDEXED BY device_list_changes_position WHERE position > ?1",
        params![after],
        |row| row.get(0),
    )
}

/// Notes at a new place that keys of `user` look different to `viewer` alone.
pub fn put_own(tx: &WriteTx<'_>, viewer: UserNid, user: UserNid) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO own_key_changes (viewer, user, position) VALUES (?1, ?2, ?3) \
         ON CONFLICT (viewer, user) DO UPDATE SET position = excluded.position",
        params![viewer, user, tx.next_position()],
    )?;
    Ok(())
}

/// Whose keys look different to `viewer` alone since a position.
pub fn own_changed_after(read: &dyn Read, viewer: UserNid, after: i64) -> Result<Vec<UserNid>, StoreError> {
    read.all("SELECT user FROM own_key_changes WHERE viewer = ?1 AND position > ?2", params![viewer, after], |row| {
        row.get(0)
    })
}

/// Whether two users are joined to the same room; a user is with themselves.
pub fn share_room(read: &dyn Read, one: UserNid, other: UserNid) -> Result<bool, StoreError> {
    if one == other {
        return Ok(true);
    }
    read.one(
        "SELECT 1 FROM memberships a JOIN memberships b ON b.room = a.room AND b.user = ?2 AND b.membership = 1 \
         WHERE a.user = ?1 AND a.membership = 1 LIMIT 1",
        params![one, other],
        |_| Ok(()),
    )
    .map(|found| found.is_some())
}

/// Everybody who is joined to a room with `user`, other than they.
pub fn sharing(read: &dyn Read, user: UserNid) -> Result<Vec<UserNid>, StoreError> {
    read.all(
        "SELECT DISTINCT b.user FROM memberships a JOIN memberships b ON b.room = a.room AND b.membership = 1 \
         WHERE a.user = ?1 AND a.membership = 1 AND b.user <> ?1",
        params![user],
        |row| row.get(0),
    )
}

/// The accounts here that are joined to a room with `user`, and `user`.
pub fn observers(read: &dyn Read, user: UserNid) -> Result<Vec<UserNid>, StoreError> {
    let mut found = read.all(
        "SELECT DISTINCT b.user FROM memberships a JOIN memberships b ON b.room = a.room AND b.membership = 1 \
         JOIN accounts l ON l.user = b.user WHERE a.user = ?1 AND a.membership = 1 AND b.user <> ?1",
        params![user],
        |row| row.get(0),
    )?;
    found.push(user);
    Ok(found)
}

/// Joined members of a room.
pub fn members(read: &dyn Read, room: RoomNid) -> Result<Vec<UserNid>, StoreError> {
    read.all("SELECT user FROM memberships WHERE room = ?1 AND membership = 1", params![room], |row| row.get(0))
}
