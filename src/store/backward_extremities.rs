//! Where our history of a room ends, or has a hole: events whose previous events are not here.

use ruma::OwnedEventId;

use super::{
    Read, Row, StoreError, event_id,
    events::Topological,
    ids::{EventNid, RoomNid},
};
use crate::params;

/// An event that is not here, and one of ours that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackwardExtremity {
    /// The event that is missing.
    pub missing: OwnedEventId,
    /// The event that names it.
    pub event: EventNid,
    /// The place of the event that names it.
    pub at: Topological,
}

/// Backward extremities whose events stand between two places, these included, newest first, at most `limit`.
pub fn between(
    read: &dyn Read,
    room: RoomNid,
    oldest: Topological,
    newest: Topological,
    limit: i64,
) -> Result<Vec<BackwardExtremity>, StoreError> {
    read.all(
        "SELECT b.missing, b.event, e.depth, e.position FROM backward_extremities b \
         JOIN events e ON e.nid = b.event WHERE b.room = ?1 AND e.position IS NOT NULL \
         AND (e.depth, e.position) >= (?2, ?3) AND (e.depth, e.position) <= (?4, ?5) \
         ORDER BY e.depth DESC, e.position DESC LIMIT ?6",
        params![room, oldest.depth, oldest.position, newest.depth, newest.position, limit],
        extremity,
    )
}

/// Backward extremities whose events stand after one place and not after another, oldest first, at most `limit`.
pub fn after(
    read: &dyn Read,
    room: RoomNid,
    after: Topological,
    newest: Topological,
    limit: i64,
) -> Result<Vec<BackwardExtremity>, StoreError> {
    read.all(
        "SELECT b.missing, b.event, e.depth, e.position FROM backward_extremities b \
         JOIN events e ON e.nid = b.event WHERE b.room = ?1 AND e.position IS NOT NULL \
         AND (e.depth, e.position) > (?2, ?3) AND (e.depth, e.position) <= (?4, ?5) \
         ORDER BY e.depth, e.position LIMIT ?6",
        params![room, after.depth, after.position, newest.depth, newest.position, limit],
        extremity,
    )
}

fn extremity(row: &Row<'_>) -> Result<BackwardExtremity, StoreError> {
    Ok(BackwardExtremity {
        missing: event_id::decode(row.blob(0)?)?,
        event: row.get(1)?,
        at: Topological { depth: row.get(2)?, position: row.get(3)? },
    })
}

/// Whether an event at the edge of a gap has a timestamp between these two, both included.
pub fn any_at(read: &dyn Read, room: RoomNid, from_ts: i64, to_ts: i64) -> Result<bool, StoreError> {
    read.one(
        "SELECT 1 FROM backward_extremities b JOIN events e ON e.nid = b.event WHERE b.room = ?1 \
         AND e.position IS NOT NULL AND e.origin_ts >= ?2 AND e.origin_ts <= ?3 LIMIT 1",
        params![room, from_ts, to_ts],
        |_| Ok(()),
    )
    .map(|found| found.is_some())
}

/// Which of these are still missing where they are named.
pub fn still(read: &dyn Read, room: RoomNid, missing: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, StoreError> {
    let mut out = Vec::new();
    for id in missing {
        let found = read.one(
            "SELECT 1 FROM backward_extremities WHERE room = ?1 AND missing = ?2 LIMIT 1",
            params![room, &event_id::encode(id)],
            |_| Ok(()),
        )?;
        if found.is_some() {
            out.push(id.clone());
        }
    }
    Ok(out)
}

/// The place of the event next after a place in topological order, whatever its flags.
pub fn place_after(read: &dyn Read, room: RoomNid, at: Topological) -> Result<Option<Topological>, StoreError> {
    read.one(
        "SELECT depth, position FROM events WHERE room = ?1 AND (depth, position) > (?2, ?3) \
         AND position IS NOT NULL ORDER BY depth, position LIMIT 1",
        params![room, at.depth, at.position],
        |row| Ok(Topological { depth: row.get(0)?, position: row.get(1)? }),
    )
}
