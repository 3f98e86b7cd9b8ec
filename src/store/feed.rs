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

/// Global account data of a user that changed after a place: (position, type, content), in the order of places.
pub fn account_data(read: &dyn Read, user: UserNid, after: i64) -> Result<Vec<(i64, String, String)>, StoreError> {
    read.all(
        "SELECT position, type, content FROM account_data WHERE user = ?1 AND position > ?2 AND room = 0 ORDER BY position",
        params![user, after],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
}
