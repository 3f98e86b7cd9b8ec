//! Statements on the messages of a room, as LinkIM's clients page through them: in the order of arrival.

use super::{
    Read, StoreError,
    ids::{EventNid, RoomNid},
};
use crate::params;

/// Places of messages before a position, newest first, at most `limit`: (event, position). Redacted ones are among them; those
/// that took another's number are not, they stand at its place.
pub fn before(read: &dyn Read, room: RoomNid, before: i64, limit: usize) -> Result<Vec<(EventNid, i64)>, StoreError> {
    read.all(
        // 7: flag::HIDDEN, 128: flag::COUNTABLE.
        "SELECT e.nid, e.position FROM events e WHERE e.room = ?1 AND e.position < ?2 AND e.flags & 135 = 128 \
         AND e.state_key IS NULL AND NOT EXISTS (SELECT 1 FROM message_numbers n WHERE n.event = e.nid) \
         ORDER BY e.position DESC LIMIT ?3",
        params![room, before, limit as i64],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// The newest event of a room that clients may see, at or below a position.
pub fn newest(read: &dyn Read, room: RoomNid, up_to: i64) -> Result<Option<EventNid>, StoreError> {
    read.one(
        // 7: flag::HIDDEN.
        "SELECT nid FROM events WHERE room = ?1 AND position <= ?2 AND flags & 7 = 0 ORDER BY position DESC LIMIT 1",
        params![room, up_to],
        |row| row.get(0),
    )
}

/// Bodies of unencrypted messages of a room before a position, newest first, at most `limit`: (event, position, JSON). No edits,
/// nothing redacted.
pub fn bodies_before(
    read: &dyn Read,
    room: RoomNid,
    message: i64,
    before: i64,
    limit: usize,
) -> Result<Vec<(EventNid, i64, String)>, StoreError> {
    read.all(
        "SELECT e.nid, e.position, j.json FROM events e JOIN event_json j ON j.event = e.nid WHERE e.room = ?1 \
         AND e.position < ?2 AND e.flags & 135 = 128 AND e.type = ?3 AND e.state_key IS NULL AND e.redacted_by IS NULL \
         ORDER BY e.position DESC LIMIT ?4",
        params![room, before, message, limit as i64],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
}
