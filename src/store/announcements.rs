//! Statements on who has read and who has confirmed an announcement: each one pass, whatever the group's size.

use super::{
    Read, StoreError, event_id,
    ids::{EventNid, RoomNid, UserNid},
};
use crate::params;

/// Joined members by number, with their member events.
pub fn members(read: &dyn Read, room: RoomNid) -> Result<Vec<(UserNid, EventNid)>, StoreError> {
    read.all(
        "SELECT user, event FROM memberships WHERE room = ?1 AND membership = 1 ORDER BY user",
        params![room],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Whose public receipts of the main timeline are at or after a position, and when they were sent, in milliseconds.
pub fn read_past(read: &dyn Read, room: RoomNid, position: i64) -> Result<Vec<(UserNid, i64)>, StoreError> {
    read.all(
        "SELECT user, MIN(ts) FROM receipts WHERE room = ?1 AND thread IN ('', 'main') AND ordering >= ?2 GROUP BY user",
        params![room, position],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Which relations to one event are wanted: numbers of the relation's and the event's type.
#[derive(Clone, Copy, Debug)]
pub struct Relations {
    /// The relation's type.
    pub relation: i64,
    /// The event's type.
    pub kind: i64,
}

/// Who sent events of this kind that relate to `target`, and when the first of each was made, in milliseconds. Redacted and
/// hidden ones are left out.
pub fn senders(
    read: &dyn Read,
    room: RoomNid,
    target: &ruma::EventId,
    wanted: Relations,
) -> Result<Vec<(UserNid, i64)>, StoreError> {
    read.all(
        // 7: flag::HIDDEN.
        "SELECT sender, MIN(origin_ts) FROM events INDEXED BY events_relation WHERE relation_target = ?1 \
         AND relation_type = ?2 AND room = ?3 AND type = ?4 AND redacted_by IS NULL AND flags & 7 = 0 \
         AND position IS NOT NULL GROUP BY sender",
        params![&event_id::encode(target), wanted.relation, room, wanted.kind],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// As [`senders`], each event with its JSON.
pub fn bodies(
    read: &dyn Read,
    room: RoomNid,
    target: &ruma::EventId,
    wanted: Relations,
) -> Result<Vec<(UserNid, i64, String)>, StoreError> {
    read.all(
        "SELECT e.sender, e.origin_ts, j.json FROM events e INDEXED BY events_relation \
         JOIN event_json j ON j.event = e.nid WHERE e.relation_target = ?1 AND e.relation_type = ?2 AND e.room = ?3 \
         AND e.type = ?4 AND e.redacted_by IS NULL AND e.flags & 7 = 0 AND e.position IS NOT NULL",
        params![&event_id::encode(target), wanted.relation, room, wanted.kind],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
}

/// A user's event of this kind that relates to `target`, the first of them, if there is one.
pub fn of_sender(
    read: &dyn Read,
    room: RoomNid,
    target: &ruma::EventId,
    wanted: Relations,
    sender: UserNid,
) -> Result<Option<EventNid>, StoreError> {
    read.one(
        "SELECT nid FROM events INDEXED BY events_relation WHERE relation_target = ?1 AND relation_type = ?2 AND room = ?3 \
         AND type = ?4 AND sender = ?5 AND redacted_by IS NULL AND flags & 7 = 0 AND position IS NOT NULL \
         ORDER BY position LIMIT 1",
        params![&event_id::encode(target), wanted.relation, room, wanted.kind, sender],
        |row| row.get(0),
    )
}

/// As [`of_sender`], all of them that came after a position: what came since one looked.
pub fn of_sender_after(
    read: &dyn Read,
    room: RoomNid,
    target: &ruma::EventId,
    wanted: Relations,
    sender: UserNid,
    after: i64,
) -> Result<Vec<EventNid>, StoreError> {
    read.all(
        // By place, not by relation: thousands may have confirmed before, but little has come since.
        "SELECT nid FROM events INDEXED BY events_position WHERE room = ?1 AND position > ?2 AND relation_target = ?3 \
         AND relation_type = ?4 AND type = ?5 AND sender = ?6 AND redacted_by IS NULL AND flags & 7 = 0",
        params![room, after, &event_id::encode(target), wanted.relation, wanted.kind, sender],
        |row| row.get(0),
    )
}
