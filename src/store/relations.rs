//! Events that relate to another one.
//!
//! A redaction breaks a relation, so redacted children are left out everywhere, as are those that clients may not see.

use super::{
    Read, StoreError, event_id, events,
    events::{EventRow, Topological},
    ids,
    ids::{EventNid, RoomNid, UserNid},
};
use crate::params;

// INDEXED BY: left alone, the planner takes the room's events in order and looks at each.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT nid, event_id, room, position, depth, type, state_key, sender, origin_ts, received_ts, flags, \
             before_line, before_epoch, after_line, after_epoch, thread, redacted_by, countable, notify, highlight, \
             device, txn_id FROM events INDEXED BY events_relation WHERE relation_target = ?1 AND relation_type = ?2 AND room = ?3 \
             AND redacted_by IS NULL AND position IS NOT NULL AND flags & 7 = 0 ",
            $rest
        )
    };
}

/// Edits of an event by its sender, newest by timestamp first; `kind` is the number of the event's type.
pub fn edits(read: &dyn Read, of: &EventRow, kind: i64, limit: usize) -> Result<Vec<EventRow>, StoreError> {
    let Some(replace) = ids::type_nid(read, "m.replace")? else { return Ok(Vec::new()) };
    read.all(
        select!("AND sender = ?4 AND type = ?5 AND state_key IS NULL ORDER BY origin_ts DESC LIMIT ?6"),
        params![&event_id::encode(&of.event_id), replace, of.room, of.sender, kind, limit as i64],
        |r| events::row(read, r),
    )
}

/// Events that refer to one (`m.reference`), in topological order.
pub fn references(read: &dyn Read, to: &EventRow, limit: usize) -> Result<Vec<EventRow>, StoreError> {
    let Some(reference) = ids::type_nid(read, "m.reference")? else { return Ok(Vec::new()) };
    read.all(
        select!("ORDER BY depth, position LIMIT ?4"),
        params![&event_id::encode(&to.event_id), reference, to.room, limit as i64],
        |r| events::row(read, r),
    )
}

/// Who sent how many events of a thread, up to a position.
pub fn thread_senders(read: &dyn Read, root: &EventRow, up_to: i64) -> Result<Vec<(UserNid, i64)>, StoreError> {
    let Some(thread) = ids::type_nid(read, "m.thread")? else { return Ok(Vec::new()) };
    read.all(
        "SELECT sender, COUNT(*) FROM events INDEXED BY events_relation WHERE relation_target = ?1 AND relation_type = ?2 AND room = ?3 \
         AND redacted_by IS NULL AND position <= ?4 AND flags & 7 = 0 GROUP BY sender",
        params![&event_id::encode(&root.event_id), thread, root.room, up_to],
        |r| Ok((r.get(0)?, r.get(1)?)),
    )
}

/// Events of a thread up to a position, newest in topological order first.
pub fn thread_latest(read: &dyn Read, root: &EventRow, up_to: i64, limit: usize) -> Result<Vec<EventRow>, StoreError> {
    let Some(thread) = ids::type_nid(read, "m.thread")? else { return Ok(Vec::new()) };
    read.all(
        select!("AND position <= ?4 ORDER BY depth DESC, position DESC LIMIT ?5"),
        params![&event_id::encode(&root.event_id), thread, root.room, up_to, limit as i64],
        |r| events::row(read, r),
    )
}

/// The newest events of a room's threads: (position, root), newest first, all with `position < before`. A root occurs as
/// often as its thread has events there.
pub fn thread_events(
    read: &dyn Read,
    room: RoomNid,
    before: i64,
    limit: usize,
) -> Result<Vec<(i64, EventNid)>, StoreError> {
    let Some(thread) = ids::type_nid(read, "m.thread")? else { return Ok(Vec::new()) };
    read.all(
        "SELECT position, thread FROM events INDEXED BY events_threads WHERE room = ?1 AND position < ?2 \
         AND thread <> 0 AND relation_type = ?3 AND redacted_by IS NULL AND flags & 7 = 0 \
         ORDER BY position DESC LIMIT ?4",
        params![room, before, thread, limit as i64],
        |r| Ok((r.get(0)?, r.get(1)?)),
    )
}

/// Whether a thread has an event with `from <= position <= up_to`.
pub fn thread_has(read: &dyn Read, root: EventNid, from: i64, up_to: i64) -> Result<bool, StoreError> {
    let Some(thread) = ids::type_nid(read, "m.thread")? else { return Ok(false) };
    read.one(
        "SELECT 1 FROM events WHERE thread = ?1 AND position >= ?2 AND position <= ?3 AND thread <> 0 \
         AND relation_type = ?4 AND redacted_by IS NULL AND flags & 7 = 0 LIMIT 1",
        params![root, from, up_to, thread],
        |_| Ok(()),
    )
    .map(|found| found.is_some())
}

/// Which children of an event are asked for, and from where in topological order.
#[derive(Clone, Copy, Debug)]
pub struct Children {
    /// Number of the relation type; None: any.
    pub relation: Option<i64>,
    /// Number of the event type; None: any.
    pub kind: Option<i64>,
    /// How many relations deep; 1: direct children alone.
    pub levels: i64,
    /// Events at or below this position are left out.
    pub after: i64,
    /// Events above this position are left out.
    pub up_to: i64,
    /// Events at or before this place, newest first; or, if `forwards`, after it, oldest first.
    pub from: Topological,
    /// Direction.
    pub forwards: bool,
    /// At most so many.
    pub limit: usize,
}

macro_rules! tree {
    ($rest:literal) => {
        concat!(
            "WITH RECURSIVE tree (nid, event_id, level) AS (\
             SELECT c.nid, c.event_id, 1 FROM events c INDEXED BY events_relation WHERE c.relation_target = ?1 AND c.room = ?2 \
             AND (?3 IS NULL OR c.relation_type = ?3) AND (?4 IS NULL OR c.type = ?4) AND c.redacted_by IS NULL \
             AND c.position <= ?6 AND c.flags & 7 = 0 \
             UNION \
             SELECT c.nid, c.event_id, t.level + 1 FROM tree t JOIN events c INDEXED BY events_relation ON c.relation_target = t.event_id \
             WHERE t.level < ?5 AND c.room = ?2 AND (?3 IS NULL OR c.relation_type = ?3) \
             AND (?4 IS NULL OR c.type = ?4) AND c.redacted_by IS NULL AND c.position <= ?6 AND c.flags & 7 = 0) \
             SELECT e.nid, e.event_id, e.room, e.position, e.depth, e.type, e.state_key, e.sender, e.origin_ts, \
             e.received_ts, e.flags, e.before_line, e.before_epoch, e.after_line, e.after_epoch, e.thread, \
             e.redacted_by, e.countable, e.notify, e.highlight, e.device, e.txn_id FROM events e \
             WHERE e.nid IN (SELECT nid FROM tree) AND e.position > ?10 ",
            $rest
        )
    };
}

/// Children of an event.
pub fn children(read: &dyn Read, of: &EventRow, asked: &Children) -> Result<Vec<EventRow>, StoreError> {
    let sql = if asked.forwards {
        tree!("AND (e.depth, e.position) > (?7, ?8) ORDER BY e.depth, e.position LIMIT ?9")
    } else {
        tree!("AND (e.depth, e.position) <= (?7, ?8) ORDER BY e.depth DESC, e.position DESC LIMIT ?9")
    };
    read.all(
        sql,
        params![
            &event_id::encode(&of.event_id),
            of.room,
            asked.relation,
            asked.kind,
            asked.levels,
            asked.up_to,
            asked.from.depth,
            asked.from.position,
            asked.limit as i64,
            asked.after
        ],
        |r| events::row(read, r),
    )
}
