//! Which servers are in a room, over which stretches of positions.
//!
//! A stretch begins with the position at which the server's first user joins and ends with that at which the last one leaves;
//! the event at either end is owed to the server.

use ruma::{OwnedServerName, ServerName};

use super::{
    Read, Row, StoreError, WriteTx,
    ids::{RoomNid, UserNid},
};
use crate::params;

/// A stretch of positions over which a server is or was in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The room.
    pub room: RoomNid,
    /// Position of the event by which the server's first user joined.
    pub from: i64,
    /// Position of the event by which its last user left; None while it is in the room.
    pub to: Option<i64>,
}

/// A user of a server joined.
pub(crate) fn joined(tx: &WriteTx<'_>, room: RoomNid, user: UserNid, position: i64) -> Result<(), StoreError> {
    let counted = tx.execute(
        "UPDATE room_servers SET joined = joined + 1 \
         WHERE room = ?1 AND server = (SELECT server FROM users WHERE nid = ?2) AND to_position IS NULL",
        params![room, user],
    )?;
    if counted == 0 {
        // The last may have left and the first joined by one resolution, at one position.
        tx.execute(
            "INSERT INTO room_servers (room, server, from_position, to_position, joined) \
             SELECT ?1, server, ?3, NULL, 1 FROM users WHERE nid = ?2 \
             ON CONFLICT (room, server, from_position) DO UPDATE SET to_position = NULL, joined = 1",
            params![room, user, position],
        )?;
    }
    Ok(())
}

/// A server that is said to be in a room, whose members are still to be fetched.
pub(crate) fn named(tx: &WriteTx<'_>, room: RoomNid, server: i64, position: i64) -> Result<(), StoreError> {
    let read: &dyn Read = tx;
    let open = read.one(
        "SELECT 1 FROM room_servers WHERE room = ?1 AND server = ?2 AND to_position IS NULL",
        params![room, server],
        |_| Ok(()),
    )?;
    if open.is_none() {
        tx.execute(
            "INSERT INTO room_servers (room, server, from_position, to_position, joined) VALUES (?1, ?2, ?3, NULL, 0) \
             ON CONFLICT (room, server, from_position) DO UPDATE SET to_position = NULL, joined = 0",
            params![room, server, position],
        )?;
    }
    Ok(())
}

/// Ends the stretches of servers without a known member.
pub(crate) fn close_empty(tx: &WriteTx<'_>, room: RoomNid, position: i64) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE room_servers SET to_position = ?2 WHERE room = ?1 AND to_position IS NULL AND joined = 0",
        params![room, position],
    )?;
    Ok(())
}

/// Replaces the stretches that reach to `from` or beyond by these: (server, stretch, joined members).
pub(crate) fn rewrite(
    tx: &WriteTx<'_>,
    room: RoomNid,
    from: i64,
    stretches: &[(i64, Stretch, i64)],
) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM room_servers WHERE room = ?1 AND (from_position >= ?2 OR to_position IS NULL OR to_position >= ?2)",
        params![room, from],
    )?;
    for (server, stretch, joined) in stretches {
        tx.execute(
            "INSERT INTO room_servers (room, server, from_position, to_position, joined) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![room, *server, stretch.from, stretch.to, *joined],
        )?;
    }
    Ok(())
}

/// A user of a server is not joined any more. While the room's members are still to be fetched, others of the server may be.
pub(crate) fn left(tx: &WriteTx<'_>, room: RoomNid, user: UserNid, position: i64) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE room_servers SET joined = joined - 1, to_position = CASE WHEN joined > 1 \
         OR (SELECT partial FROM rooms WHERE nid = ?1) <> 0 THEN NULL ELSE ?3 END \
         WHERE room = ?1 AND server = (SELECT server FROM users WHERE nid = ?2) AND to_position IS NULL",
        params![room, user, position],
    )?;
    Ok(())
}

/// The other servers that are in a room.
///
/// # Errors
/// [`StoreError`].
pub fn servers(read: &dyn Read, room: RoomNid) -> Result<Vec<OwnedServerName>, StoreError> {
    read.all(
        "SELECT s.name FROM room_servers r JOIN servers s ON s.nid = r.server WHERE r.room = ?1 \
         AND r.to_position IS NULL AND s.name <> (SELECT value FROM meta WHERE name = 'server_name')",
        params![room],
        name,
    )
}

/// The other servers that are or ever were in a room.
///
/// # Errors
/// [`StoreError`].
pub fn ever(read: &dyn Read, room: RoomNid) -> Result<Vec<OwnedServerName>, StoreError> {
    read.all(
        "SELECT DISTINCT s.name FROM room_servers r JOIN servers s ON s.nid = r.server WHERE r.room = ?1 \
         AND s.name <> (SELECT value FROM meta WHERE name = 'server_name')",
        params![room],
        name,
    )
}

fn name(row: &Row<'_>) -> Result<OwnedServerName, StoreError> {
    OwnedServerName::try_from(row.text(0)?).map_err(|error| StoreError::Damaged(error.to_string()))
}

/// Whether a server has a joined user in a room.
///
/// # Errors
/// [`StoreError`].
pub fn server_in_room(read: &dyn Read, room: RoomNid, server: &ServerName) -> Result<bool, StoreError> {
    read.one(
        "SELECT 1 FROM room_servers WHERE room = ?1 AND server = (SELECT nid FROM servers WHERE name = ?2) \
         AND to_position IS NULL",
        params![room, server.as_str()],
        |_| Ok(()),
    )
    .map(|found| found.is_some())
}

/// The rooms that a server is in; `server` is its number.
///
/// # Errors
/// [`StoreError`].
pub fn rooms_of_server(read: &dyn Read, server: i64) -> Result<Vec<RoomNid>, StoreError> {
    read.all(
        "SELECT room FROM room_servers WHERE server = ?1 AND to_position IS NULL ORDER BY room",
        params![server],
        |row| row.get(0),
    )
}

/// The stretches of a server that are open or end at `from` or later, by room and position: where events that it may be owed
/// lie, if it has all before `from`.
///
/// # Errors
/// [`StoreError`].
pub fn stretches(read: &dyn Read, server: i64, from: i64) -> Result<Vec<Stretch>, StoreError> {
    let mut found = read.all(
        "SELECT room, from_position, to_position FROM room_servers WHERE server = ?1 AND to_position IS NULL",
        params![server],
        stretch,
    )?;
    found.extend(read.all(
        "SELECT room, from_position, to_position FROM room_servers WHERE server = ?1 AND to_position >= ?2",
        params![server, from],
        stretch,
    )?);
    found.sort_unstable_by_key(|stretch| (stretch.room, stretch.from));
    Ok(found)
}

fn stretch(row: &Row<'_>) -> Result<Stretch, StoreError> {
    Ok(Stretch { room: row.get(0)?, from: row.get(1)?, to: row.get(2)? })
}

/// Everything about a room, for check-data: (server, stretch, joined members).
pub(crate) fn of_room(read: &dyn Read, room: RoomNid) -> Result<Vec<(i64, Stretch, i64)>, StoreError> {
    read.all(
        "SELECT room, from_position, to_position, server, joined FROM room_servers WHERE room = ?1 \
         ORDER BY server, from_position",
        params![room],
        |row| Ok((row.get(3)?, stretch(row)?, row.get(4)?)),
    )
}
