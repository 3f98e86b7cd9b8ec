//! Statements that /ws alone needs: what happened after a place, in the order of places.

use ruma::OwnedEventId;

use super::{
    Read, StoreError, event_id,
    ids::{EventNid, RoomNid, UserNid},
};
use crate::params;

/// Events of a room with `after < position <= up_to` as (position, number), in that order, at most `limit`; none that clients
/// may not see.
pub fn events(
    read: &dyn Read,
    room: RoomNid,
    after: i64,
    up_to: i64,
    limit: usize,
) -> Result<Vec<(i64, EventNid)>, StoreError> {
    read.all(
        // 7: flag::HIDDEN.
        "SELECT position, nid FROM events WHERE room = ?1 AND position > ?2 AND position <= ?3 AND flags & 7 = 0 \
         ORDER BY position LIMIT ?4",
        params![room, after, up_to, limit as i64],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// As [`events`], the newest `limit` of them, the newest first.
pub fn newest(
    read: &dyn Read,
    room: RoomNid,
    after: i64,
    up_to: i64,
    limit: usize,
) -> Result<Vec<EventNid>, StoreError> {
    read.all(
        "SELECT nid FROM events WHERE room = ?1 AND position > ?2 AND position <= ?3 AND flags & 7 = 0 \
         ORDER BY position DESC LIMIT ?4",
        params![room, after, up_to, limit as i64],
        |row| row.get(0),
    )
}

/// Events without state key in all rooms with `after < position <= up_to` that were made here, or came as news, the newest
/// `limit` of them, the newest first; none that clients may not see.
pub fn newest_anywhere(read: &dyn Read, after: i64, up_to: i64, limit: usize) -> Result<Vec<EventNid>, StoreError> {
    read.all(
        // Numbers of events are given from the same sequence as positions; no index of positions spans rooms.
        "SELECT nid FROM events WHERE nid > ?1 AND nid <= ?2 AND position = nid AND state_key IS NULL AND flags & 7 = 0 \
         ORDER BY nid DESC LIMIT ?3",
        params![after, up_to, limit as i64],
        |row| row.get(0),
    )
}

/// Joined members of a room since before a place whose accounts are on other servers, with the servers' numbers.
pub fn members_elsewhere(
    read: &dyn Read,
    room: RoomNid,
    since: i64,
    own_server: i64,
) -> Result<Vec<(UserNid, i64)>, StoreError> {
    read.all(
        "SELECT m.user, u.server FROM memberships m JOIN users u ON u.nid = m.user \
         WHERE m.room = ?1 AND m.membership = 1 AND m.since <= ?2 AND u.server <> ?3",
        params![room, since, own_server],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// How many members a room has; of one that nobody here is in, 0.
pub fn joined(read: &dyn Read, room: RoomNid) -> Result<i64, StoreError> {
    let joined = read.one("SELECT joined FROM room_heads WHERE room = ?1", params![room], |row| row.get(0))?;
    Ok(joined.unwrap_or(0))
}

/// The rooms that a user is joined to with `limit` members at most, in the order of their numbers.
pub fn small_rooms(read: &dyn Read, user: UserNid, limit: i64) -> Result<Vec<RoomNid>, StoreError> {
    read.all(
        "SELECT m.room FROM memberships m JOIN room_heads h ON h.room = m.room \
         WHERE m.user = ?1 AND m.membership = 1 AND h.joined <= ?2 ORDER BY m.room",
        params![user, limit],
        |row| row.get(0),
    )
}

/// How many events a room has with `after < position <= up_to`, those included that clients may not see; counted up to `limit`.
pub fn count(read: &dyn Read, room: RoomNid, after: i64, up_to: i64, limit: usize) -> Result<usize, StoreError> {
    let count = read.one(
        "SELECT COUNT(*) FROM (SELECT 1 FROM events WHERE room = ?1 AND position > ?2 AND position <= ?3 LIMIT ?4) AS some",
        params![room, after, up_to, limit as i64],
        |row| row.get::<i64>(0),
    )?;
    Ok(usize::try_from(count.unwrap_or(0)).unwrap_or(usize::MAX))
}

/// A receipt with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedReceipt {
    /// Its place in the server-wide order.
    pub position: i64,
    /// Who has read.
    pub user: UserNid,
    /// Up to where.
    pub event: EventNid,
    /// That event's id.
    pub event_id: OwnedEventId,
    /// When, in milliseconds.
    pub ts: i64,
    /// `''`: unthreaded; `main`; or the id of the thread's root.
    pub thread: String,
    /// Whether it is the user's own alone.
    pub private: bool,
}

/// Receipts of a room that changed after a place, in the order of their places, at most `limit`: `viewer`'s own, and with
/// `others` the public ones of all.
pub fn receipts(
    read: &dyn Read,
    room: RoomNid,
    viewer: UserNid,
    others: bool,
    after: i64,
    limit: usize,
) -> Result<Vec<PlacedReceipt>, StoreError> {
    let sql = if others {
        "SELECT r.position, r.user, r.event, e.event_id, r.ts, r.thread, 0 FROM receipts r JOIN events e ON e.nid = r.event \
         WHERE r.room = ?1 AND r.position > ?3 \
         UNION ALL SELECT p.position, p.user, p.event, e.event_id, p.ts, p.thread, 1 FROM private_receipts p \
         JOIN events e ON e.nid = p.event WHERE p.user = ?2 AND p.room = ?1 AND p.position > ?3 ORDER BY 1 LIMIT ?4"
    } else {
        "SELECT r.position, r.user, r.event, e.event_id, r.ts, r.thread, 0 FROM receipts r JOIN events e ON e.nid = r.event \
         WHERE r.room = ?1 AND r.user = ?2 AND r.position > ?3 \
         UNION ALL SELECT p.position, p.user, p.event, e.event_id, p.ts, p.thread, 1 FROM private_receipts p \
         JOIN events e ON e.nid = p.event WHERE p.user = ?2 AND p.room = ?1 AND p.position > ?3 ORDER BY 1 LIMIT ?4"
    };
    read.all(sql, params![room, viewer, after, limit as i64], |row| {
        Ok(PlacedReceipt {
            position: row.get(0)?,
            user: row.get(1)?,
            event: row.get(2)?,
            event_id: event_id::decode(row.blob(3)?)?,
            ts: row.get(4)?,
            thread: row.get(5)?,
            private: row.get(6)?,
        })
    })
}

/// A user's account data with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedData {
    /// Its place in the server-wide order.
    pub position: i64,
    /// Of which room; 0: global.
    pub room: RoomNid,
    /// Its type.
    pub kind: String,
    /// Its content.
    pub content: String,
}

/// Account data of a user that changed after a place, in the order of places.
pub fn account_data(read: &dyn Read, user: UserNid, after: i64) -> Result<Vec<PlacedData>, StoreError> {
    read.all(
        "SELECT position, room, type, content FROM account_data WHERE user = ?1 AND position > ?2 ORDER BY position, room",
        params![user, after],
        |row| {
            Ok(PlacedData { position: row.get(0)?, room: row.get(1)?, kind: row.get(2)?, content: row.get(3)? })
        },
    )
}

/// What an event relates to; also of an event that was redacted, whose content says nothing any more.
pub fn relation_target(read: &dyn Read, event: EventNid) -> Result<Option<OwnedEventId>, StoreError> {
    read.one(
        "SELECT relation_target FROM events WHERE nid = ?1 AND relation_target IS NOT NULL",
        params![event],
        |row| event_id::decode(row.blob(0)?),
    )
}
