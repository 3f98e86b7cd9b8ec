//! Statements that tell what another server is owed: events that we relay, and receipts of our users, in the rooms that it is
//! in, over the stretches of positions in which it was.

use ruma::OwnedEventId;

use super::{
    Read, Row, StoreError, event_id,
    ids::{EventNid, RoomNid, UserNid},
    rooms::Stretch,
};
use crate::params;

fn stretch(row: &Row<'_>) -> Result<Stretch, StoreError> {
    Ok(Stretch { room: row.get(0)?, from: row.get(1)?, to: row.get(2)? })
}

/// Stretches of a server in a room that reach beyond a position, the older first.
pub fn stretches_in(read: &dyn Read, server: i64, room: RoomNid, after: i64) -> Result<Vec<Stretch>, StoreError> {
    read.all(
        "SELECT room, from_position, to_position FROM room_servers WHERE room = ?1 AND server = ?2 \
         AND (to_position IS NULL OR to_position > ?3) ORDER BY from_position",
        params![room, server, after],
        stretch,
    )
}

/// Stretches of a server that reach beyond a position in rooms that changed after it: the long way, a few seeks for each of
/// its rooms.
pub fn stretches(read: &dyn Read, server: i64, after: i64) -> Result<Vec<Stretch>, StoreError> {
    read.all(
        "SELECT s.room, s.from_position, s.to_position FROM room_servers s JOIN room_heads h ON h.room = s.room \
         WHERE s.server = ?1 AND (s.to_position IS NULL OR s.to_position > ?2) AND (h.last_position > ?2 \
         OR h.state_position > ?2 OR EXISTS (SELECT 1 FROM receipts r WHERE r.room = s.room AND r.position > ?2))",
        params![server, after],
        stretch,
    )
}

/// Rooms with other servers in which something changed after a position.
pub fn changed_rooms(read: &dyn Read, after: i64) -> Result<Vec<RoomNid>, StoreError> {
    read.all(
        "SELECT h.room FROM room_heads h WHERE EXISTS (SELECT 1 FROM room_servers s WHERE s.room = h.room) \
         AND (h.last_position > ?1 OR h.state_position > ?1 \
         OR EXISTS (SELECT 1 FROM receipts r WHERE r.room = h.room AND r.position > ?1))",
        params![after],
        |row| row.get(0),
    )
}

/// Servers that are in a room, or were at some position after `after`.
pub fn servers(read: &dyn Read, room: RoomNid, after: i64) -> Result<Vec<(i64, Option<i64>)>, StoreError> {
    read.all(
        "SELECT server, to_position FROM room_servers WHERE room = ?1 AND (to_position IS NULL OR to_position > ?2)",
        params![room, after],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// The numbers of the other servers that are in a room and came after a position.
pub fn arrived(read: &dyn Read, room: RoomNid, after: i64) -> Result<Vec<i64>, StoreError> {
    read.all(
        "SELECT server FROM room_servers WHERE room = ?1 AND to_position IS NULL AND from_position > ?2 AND server NOT IN \
         (SELECT nid FROM servers WHERE name = (SELECT value FROM meta WHERE name = 'server_name'))",
        params![room, after],
        |row| row.get(0),
    )
}

/// An event that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Its number.
    pub event: EventNid,
    /// Its position.
    pub position: i64,
    /// When it came here, in milliseconds.
    pub received_ts: i64,
}

/// The first `limit` events of a room in `(after, up_to]` that we relay and that are not of `server` itself: those it has.
pub fn events(
    read: &dyn Read,
    room: RoomNid,
    (after, up_to): (i64, i64),
    server: i64,
    limit: usize,
) -> Result<Vec<Owed>, StoreError> {
    read.all(
        // 1024: flag::RELAY; 7: flag::HIDDEN.
        "SELECT e.nid, e.position, e.received_ts FROM events e JOIN users u ON u.nid = e.sender \
         WHERE e.room = ?1 AND e.position > ?2 AND e.position <= ?3 AND e.flags & 1031 = 1024 AND u.server <> ?4 \
         ORDER BY e.position LIMIT ?5",
        params![room, after, up_to, server, limit as i64],
        |row| Ok(Owed { event: row.get(0)?, position: row.get(1)?, received_ts: row.get(2)? }),
    )
}

/// How many events [`events`] would answer, at most `limit`.
pub fn count(
    read: &dyn Read,
    room: RoomNid,
    (after, up_to): (i64, i64),
    server: i64,
    limit: usize,
) -> Result<usize, StoreError> {
    let counted = read.one(
        "SELECT COUNT(*) FROM (SELECT 1 FROM events e JOIN users u ON u.nid = e.sender \
         WHERE e.room = ?1 AND e.position > ?2 AND e.position <= ?3 AND e.flags & 1031 = 1024 AND u.server <> ?4 \
         LIMIT ?5) AS owed",
        params![room, after, up_to, server, limit as i64],
        |row| row.get::<i64>(0),
    )?;
    Ok(usize::try_from(counted.unwrap_or(0)).unwrap_or(0))
}

/// The newest event of a room in `(after, up_to]` that [`events`] would answer.
pub fn newest(
    read: &dyn Read,
    room: RoomNid,
    (after, up_to): (i64, i64),
    server: i64,
) -> Result<Option<Owed>, StoreError> {
    read.one(
        "SELECT e.nid, e.position, e.received_ts FROM events e JOIN users u ON u.nid = e.sender \
         WHERE e.room = ?1 AND e.position > ?2 AND e.position <= ?3 AND e.flags & 1031 = 1024 AND u.server <> ?4 \
         ORDER BY e.position DESC LIMIT 1",
        params![room, after, up_to, server],
        |row| Ok(Owed { event: row.get(0)?, position: row.get(1)?, received_ts: row.get(2)? }),
    )
}

/// The newest `limit` forward extremities of a room in `(after, up_to]`, whoever made them but `server`, in their order.
pub fn extremities(
    read: &dyn Read,
    room: RoomNid,
    (after, up_to): (i64, i64),
    server: i64,
    limit: usize,
) -> Result<Vec<Owed>, StoreError> {
    let mut found = read.all(
        "SELECT e.nid, e.position, e.received_ts FROM forward_extremities f JOIN events e ON e.nid = f.event \
         JOIN users u ON u.nid = e.sender WHERE f.room = ?1 AND e.position > ?2 AND e.position <= ?3 \
         AND e.flags & 7 = 0 AND u.server <> ?4 ORDER BY e.position DESC LIMIT ?5",
        params![room, after, up_to, server, limit as i64],
        |row| Ok(Owed { event: row.get(0)?, position: row.get(1)?, received_ts: row.get(2)? }),
    )?;
    found.reverse();
    Ok(found)
}

/// A public receipt of a local user that is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwedReceipt {
    /// Its position.
    pub position: i64,
    /// The room.
    pub room: RoomNid,
    /// Who has read.
    pub user: UserNid,
    /// `''`: unthreaded; `main`; or the id of the thread's root.
    pub thread: String,
    /// Up to where.
    pub event_id: OwnedEventId,
    /// When, in milliseconds.
    pub ts: i64,
}

/// The first `limit` public receipts of local users in a room with a position in `(after, up_to]`.
pub fn receipts(
    read: &dyn Read,
    room: RoomNid,
    (after, up_to): (i64, i64),
    limit: usize,
) -> Result<Vec<OwedReceipt>, StoreError> {
    read.all(
        "SELECT r.position, r.user, r.thread, e.event_id, r.ts FROM receipts r JOIN accounts a ON a.user = r.user \
         JOIN events e ON e.nid = r.event WHERE r.room = ?1 AND r.position > ?2 AND r.position <= ?3 \
         ORDER BY r.position LIMIT ?4",
        params![room, after, up_to, limit as i64],
        |row| {
            Ok(OwedReceipt {
                position: row.get(0)?,
                room,
                user: row.get(1)?,
                thread: row.get(2)?,
                event_id: event_id::decode(row.blob(3)?)?,
                ts: row.get(4)?,
            })
        },
    )
}
