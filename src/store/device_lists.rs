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

/// What is known of the device list of another server's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteList {
    /// The list's version, as their server counts.
    pub stream_id: i64,
    /// Whether an update was missed.
    pub stale: bool,
    /// Since when every update came here.
    pub position: i64,
}

/// The list of another server's user, if it is kept.
pub fn remote_list(read: &dyn Read, user: UserNid) -> Result<Option<RemoteList>, StoreError> {
    read.one("SELECT stream_id, stale, position FROM remote_device_lists WHERE user = ?1", params![user], |row| {
        Ok(RemoteList { stream_id: row.get(0)?, stale: row.get(1)?, position: row.get(2)? })
    })
}

/// Writes what is known of a list.
pub fn put_remote_list(tx: &WriteTx<'_>, user: UserNid, list: &RemoteList) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO remote_device_lists (user, stream_id, stale, position) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (user) DO UPDATE SET stream_id = excluded.stream_id, stale = excluded.stale, \
         position = excluded.position",
        params![user, list.stream_id, list.stale, list.position],
    )?;
    Ok(())
}

/// Updates of the list of another server's user, if it is kept, may have been missed.
pub(crate) fn doubt_remote_list(tx: &WriteTx<'_>, user: UserNid) -> Result<(), StoreError> {
    tx.execute("UPDATE remote_device_lists SET stale = 1 WHERE user = ?1", params![user])?;
    Ok(())
}

/// Drops the list of another server's user with all of their keys.
pub fn drop_remote_list(tx: &WriteTx<'_>, user: UserNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM remote_device_lists WHERE user = ?1", params![user])?;
    tx.execute("DELETE FROM device_keys WHERE user = ?1", params![user])?;
    Ok(())
}

/// Lists of which an update was missed, of users above `after`.
pub fn stale_lists(read: &dyn Read, after: UserNid, limit: usize) -> Result<Vec<UserNid>, StoreError> {
    read.all(
        "SELECT user FROM remote_device_lists WHERE stale = 1 AND user > ?1 ORDER BY user LIMIT ?2",
        params![after, limit as i64],
        |row| row.get(0),
    )
}

/// Whether a user is joined to a room that somebody of this server is joined to: then their server tells us of changed keys.
pub fn is_followed(read: &dyn Read, user: UserNid) -> Result<bool, StoreError> {
    followed_since(read, user, i64::MAX)
}

/// As [`is_followed`], since a position at the latest.
pub fn followed_since(read: &dyn Read, user: UserNid, position: i64) -> Result<bool, StoreError> {
    read.one(
        "SELECT 1 FROM memberships m JOIN room_servers s ON s.room = m.room AND s.to_position IS NULL \
         AND s.from_position <= ?2 AND s.server = (SELECT v.nid FROM servers v JOIN meta n ON n.value = v.name \
         WHERE n.name = 'server_name') WHERE m.user = ?1 AND m.membership = 1 AND m.since <= ?2 LIMIT 1",
        params![user, position],
        |_| Ok(()),
    )
    .map(|found| found.is_some())
}

/// Drops the lists of users that we share no room with any more, `limit` at most; answers how many.
pub fn sweep_remote_lists(tx: &WriteTx<'_>, limit: i64) -> Result<usize, StoreError> {
    let read: &dyn Read = tx;
    let gone: Vec<UserNid> = read.all(
        "SELECT r.user FROM remote_device_lists r WHERE NOT EXISTS (SELECT 1 FROM memberships m \
         JOIN room_heads h ON h.room = m.room AND h.local_joined > 0 \
         WHERE m.user = r.user AND m.membership = 1) LIMIT ?1",
        params![limit],
        |row| row.get(0),
    )?;
    for user in &gone {
        drop_remote_list(tx, *user)?;
        for usage in super::device_keys::Usage::ALL {
            super::device_keys::delete_cross_signing(tx, *user, usage)?;
        }
    }
    Ok(gone.len())
}

/// Notes at a position that a user of this server joined a room, if they have keys and other servers are there to hear of them.
pub(crate) fn joined(tx: &WriteTx<'_>, user: UserNid, room: RoomNid, position: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO device_list_joins (user, room, position) SELECT ?1, ?2, ?3 \
         WHERE EXISTS (SELECT 1 FROM device_keys WHERE user = ?1) AND EXISTS (SELECT 1 FROM room_servers \
         WHERE room = ?2 AND to_position IS NULL AND server <> (SELECT server FROM users WHERE nid = ?1)) \
         ON CONFLICT (user, room) DO UPDATE SET position = excluded.position",
        params![user, room, position],
    )?;
    Ok(())
}

/// A user of this server left a room.
pub(crate) fn left(tx: &WriteTx<'_>, user: UserNid, room: RoomNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM device_list_joins WHERE user = ?1 AND room = ?2", params![user, room])?;
    Ok(())
}

/// The first `limit` changes within a stretch of positions of keys of users of this server who share a room with the server of
/// this number, oldest first, each with
/// the place at which it is owed. A user's join to a room that it is in tells it once more of the device that changed last: if it
/// does not know that it is not up to date.
pub fn owed(
    read: &dyn Read,
    server: i64,
    after: i64,
    up_to: i64,
    limit: usize,
) -> Result<Vec<(i64, UserNid, Change)>, StoreError> {
    let mut found = read.all(
        "SELECT c.user, c.position, c.device_id, c.previous \
         FROM device_list_changes c INDEXED BY device_list_changes_position JOIN accounts a ON a.user = c.user \
         WHERE c.position > ?2 AND c.position <= ?3 AND EXISTS (SELECT 1 FROM memberships m JOIN room_servers s \
         ON s.room = m.room AND s.server = ?1 AND s.to_position IS NULL WHERE m.user = c.user AND m.membership = 1) \
         ORDER BY c.position LIMIT ?4",
        params![server, after, up_to, limit as i64],
        |row| {
            let change = Change { position: row.get(1)?, device_id: row.get(2)?, previous: row.get(3)? };
            Ok((change.position, row.get(0)?, change))
        },
    )?;
    found.extend(read.all(
        "SELECT j.user, c.position, c.device_id, c.previous, j.position \
         FROM device_list_joins j INDEXED BY device_list_joins_position \
         JOIN room_servers s ON s.room = j.room AND s.server = ?1 AND s.to_position IS NULL \
         JOIN device_list_changes c ON c.user = j.user AND c.position = (SELECT MAX(position) FROM device_list_changes \
         WHERE user = j.user AND device_id <> '' AND position < j.position) \
         WHERE j.position > ?2 AND j.position <= ?3 ORDER BY j.position LIMIT ?4",
        params![server, after, up_to, limit as i64],
        |row| {
            let change = Change { position: row.get(1)?, device_id: row.get(2)?, previous: row.get(3)? };
            Ok((row.get(4)?, row.get(0)?, change))
        },
    )?);
    found.sort_by_key(|(position, ..)| *position);
    found.truncate(limit);
    Ok(found)
}

/// Rooms whose servers are owed a change after a position.
pub fn rooms_with_changes(read: &dyn Read, after: i64) -> Result<Vec<RoomNid>, StoreError> {
    read.all(
        "SELECT m.room FROM device_list_changes c INDEXED BY device_list_changes_position \
         JOIN accounts a ON a.user = c.user JOIN memberships m ON m.user = c.user AND m.membership = 1 \
         WHERE c.position > ?1 \
         UNION SELECT room FROM device_list_joins INDEXED BY device_list_joins_position WHERE position > ?1",
        params![after],
        |row| row.get(0),
    )
}
