//! Events together with their bodies, a page in one statement: what clients read.
//!
//! Each row also says, from the same statement, the two rare things that change how an event is shown, so that a page of
//! plain messages costs no look-up an event: whether other events relate to it in a way that is bundled with it, and
//! whether its sender's account is erased.

use std::collections::HashMap;

use ruma::EventId;

use super::{
    Read, Row, StoreError, event_id,
    events::{self, EventRow, StateRef, Topological},
    ids::{EventNid, RoomNid},
    members::Membership,
    state::{self, Part},
};
use crate::params;

/// An event and what is shown of it.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// The event.
    pub row: EventRow,
    /// Its canonical JSON, without `unsigned`.
    pub json: String,
    /// Whether an event may be known that is a thread's, an edit or a reference to it. Not asked for lists of state, which
    /// show no relations: false there.
    pub related: bool,
    /// Whether its sender's account is here and erased.
    pub erased: bool,
}

// An IN over an uncorrelated sub-select is evaluated once a statement; each row then costs three seeks at most in
// events_relation, and none of its reactions is looked at.
macro_rules! select {
    ($rest:literal) => {
        select!(
            "CASE WHEN EXISTS (SELECT 1 FROM events r WHERE r.relation_target = e.event_id AND r.relation_type IN \
             (SELECT t.nid FROM event_types t WHERE t.type IN ('m.thread', 'm.replace', 'm.reference'))) \
             THEN 1 ELSE 0 END",
            $rest
        )
    };
    ($related:literal, $rest:literal) => {
        concat!(
            "SELECT e.nid, e.event_id, e.room, e.position, e.depth, e.type, e.state_key, e.sender, e.origin_ts, \
             e.received_ts, e.flags, e.before_line, e.before_epoch, e.after_line, e.after_epoch, e.thread, \
             e.redacted_by, e.countable, e.notify, e.highlight, e.device, e.txn_id, j.json, ",
            $related,
            ", COALESCE(a.erased, 0) ",
            $rest
        )
    };
}

fn page(read: &dyn Read, row: &Row<'_>) -> Result<EventPage, StoreError> {
    Ok(EventPage { row: events::row(read, row)?, json: row.get(22)?, related: row.get(23)?, erased: row.get(24)? })
}

/// An event with its body. `Damaged` if the number is not one of ours.
pub fn by_nid(read: &dyn Read, nid: EventNid) -> Result<EventPage, StoreError> {
    read.one(
        select!(
            "FROM events e JOIN event_json j ON j.event = e.nid LEFT JOIN accounts a ON a.user = e.sender \
             WHERE e.nid = ?1"
        ),
        params![nid],
        |r| page(read, r),
    )?
    .ok_or_else(|| StoreError::Damaged(format!("no event {} with a body", nid.0)))
}

/// The event with this id and its body, whatever its room and flags.
pub fn by_id(read: &dyn Read, id: &EventId) -> Result<Option<EventPage>, StoreError> {
    read.one(
        select!(
            "FROM events e JOIN event_json j ON j.event = e.nid LEFT JOIN accounts a ON a.user = e.sender \
             WHERE e.event_id = ?1"
        ),
        params![&event_id::encode(id)],
        |r| page(read, r),
    )
}

/// The body of an event whose row is at hand.
pub fn of(read: &dyn Read, row: &EventRow) -> Result<EventPage, StoreError> {
    read.one(
        "SELECT j.json, CASE WHEN EXISTS (SELECT 1 FROM events r WHERE r.relation_target = ?2 AND r.relation_type IN \
         (SELECT t.nid FROM event_types t WHERE t.type IN ('m.thread', 'm.replace', 'm.reference'))) \
         THEN 1 ELSE 0 END, COALESCE((SELECT a.erased FROM accounts a WHERE a.user = ?3), 0) \
         FROM event_json j WHERE j.event = ?1",
        params![row.nid, &event_id::encode(&row.event_id), row.sender],
        |r| Ok(EventPage { row: row.clone(), json: r.get(0)?, related: r.get(1)?, erased: r.get(2)? }),
    )?
    .ok_or_else(|| StoreError::Damaged(format!("event {} has no body", row.nid.0)))
}

/// Events at or before `from` in topological order, newest first, at most `limit`; none that clients may not see, none
/// with a position above `up_to`.
pub fn backwards(
    read: &dyn Read,
    room: RoomNid,
    from: Topological,
    up_to: i64,
    limit: usize,
) -> Result<Vec<EventPage>, StoreError> {
    read.all(
        // 7: flag::HIDDEN.
        select!(
            "FROM events e JOIN event_json j ON j.event = e.nid LEFT JOIN accounts a ON a.user = e.sender \
             WHERE e.room = ?1 AND (e.depth, e.position) <= (?2, ?3) AND e.position IS NOT NULL AND e.position <= ?4 \
             AND e.flags & 7 = 0 ORDER BY e.depth DESC, e.position DESC LIMIT ?5"
        ),
        params![room, from.depth, from.position, up_to, limit as i64],
        |r| page(read, r),
    )
}

/// Events after `from` in topological order, oldest first, at most `limit`; none that clients may not see, none with a
/// position above `up_to`.
pub fn forwards(
    read: &dyn Read,
    room: RoomNid,
    from: Topological,
    up_to: i64,
    limit: usize,
) -> Result<Vec<EventPage>, StoreError> {
    read.all(
        select!(
            "FROM events e JOIN event_json j ON j.event = e.nid LEFT JOIN accounts a ON a.user = e.sender \
             WHERE e.room = ?1 AND (e.depth, e.position) > (?2, ?3) AND e.position IS NOT NULL AND e.position <= ?4 \
             AND e.flags & 7 = 0 ORDER BY e.depth, e.position LIMIT ?5"
        ),
        params![room, from.depth, from.position, up_to, limit as i64],
        |r| page(read, r),
    )
}

/// Events with `after < position <= up_to` in the order of their positions, oldest first, at most `limit`; none that
/// clients may not see.
pub fn stream(
    read: &dyn Read,
    room: RoomNid,
    after: i64,
    up_to: i64,
    limit: usize,
) -> Result<Vec<EventPage>, StoreError> {
    read.all(
        select!(
            "FROM events e JOIN event_json j ON j.event = e.nid LEFT JOIN accounts a ON a.user = e.sender \
             WHERE e.room = ?1 AND e.position > ?2 AND e.position <= ?3 AND e.flags & 7 = 0 \
             ORDER BY e.position LIMIT ?4"
        ),
        params![room, after, up_to, limit as i64],
        |r| page(read, r),
    )
}

/// Events with a timestamp of `ts` or later, nearest first. Reads all of the room's events up to `up_to`: timestamps are what
/// senders claim, so no order of ours follows them.
pub fn from_timestamp(
    read: &dyn Read,
    room: RoomNid,
    ts: i64,
    up_to: i64,
    limit: usize,
) -> Result<Vec<EventPage>, StoreError> {
    read.all(
        select!(
            "FROM events e JOIN event_json j ON j.event = e.nid LEFT JOIN accounts a ON a.user = e.sender \
             WHERE e.nid IN (SELECT n.nid FROM events n WHERE n.room = ?1 AND n.origin_ts >= ?2 AND n.position <= ?3 \
             AND n.flags & 7 = 0 ORDER BY n.origin_ts, n.depth, n.position LIMIT ?4) \
             ORDER BY e.origin_ts, e.depth, e.position"
        ),
        params![room, ts, up_to, limit as i64],
        |r| page(read, r),
    )
}

/// Events with a timestamp of `ts` or earlier, nearest first. As costly as [`from_timestamp`].
pub fn until_timestamp(
    read: &dyn Read,
    room: RoomNid,
    ts: i64,
    up_to: i64,
    limit: usize,
) -> Result<Vec<EventPage>, StoreError> {
    read.all(
        select!(
            "FROM events e JOIN event_json j ON j.event = e.nid LEFT JOIN accounts a ON a.user = e.sender \
             WHERE e.nid IN (SELECT n.nid FROM events n WHERE n.room = ?1 AND n.origin_ts <= ?2 AND n.position <= ?3 \
             AND n.flags & 7 = 0 ORDER BY n.origin_ts DESC, n.depth DESC, n.position DESC LIMIT ?4) \
             ORDER BY e.origin_ts DESC, e.depth DESC, e.position DESC"
        ),
        params![room, ts, up_to, limit as i64],
        |r| page(read, r),
    )
}

/// Events with `after < position <= up_to` in the order of their positions, newest first, at most `limit`; none that
/// clients may not see.
pub fn newest(
    read: &dyn Read,
    room: RoomNid,
    after: i64,
    up_to: i64,
    limit: usize,
) -> Result<Vec<EventPage>, StoreError> {
    read.all(
        select!(
            "FROM events e JOIN event_json j ON j.event = e.nid LEFT JOIN accounts a ON a.user = e.sender \
             WHERE e.room = ?1 AND e.position > ?2 AND e.position <= ?3 AND e.flags & 7 = 0 \
             ORDER BY e.position DESC LIMIT ?4"
        ),
        params![room, after, up_to, limit as i64],
        |r| page(read, r),
    )
}

/// A part of the current state of a room, ascending by state key number.
pub fn current_state(read: &dyn Read, room: RoomNid, part: Part) -> Result<Vec<EventPage>, StoreError> {
    let (low, high) = part.keys();
    read.all(
        select!(
            "0",
            "FROM current_state s JOIN events e ON e.nid = s.event JOIN event_json j ON j.event = e.nid \
             LEFT JOIN accounts a ON a.user = e.sender WHERE s.room = ?1 \
             AND s.state_key BETWEEN ?2 AND ?3 ORDER BY s.state_key"
        ),
        params![room, low, high],
        |r| page(read, r),
    )
}

/// The member events of a room's current members with this membership.
pub fn current_members(read: &dyn Read, room: RoomNid, membership: Membership) -> Result<Vec<EventPage>, StoreError> {
    read.all(
        select!(
            "0",
            "FROM memberships m JOIN events e ON e.nid = m.event JOIN event_json j ON j.event = e.nid \
             LEFT JOIN accounts a ON a.user = e.sender WHERE m.room = ?1 AND m.membership = ?2"
        ),
        params![room, membership as i64],
        |r| page(read, r),
    )
}

/// The bodies alone of the member events of a room's current members with this membership.
pub fn each_current_member(
    read: &dyn Read,
    room: RoomNid,
    membership: Membership,
    mut each: impl FnMut(&str) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    read.each(
        "SELECT j.json FROM memberships m JOIN event_json j ON j.event = m.event WHERE m.room = ?1 AND m.membership = ?2",
        params![room, membership as i64],
        &mut |row| each(row.text(0)?),
    )
}

/// A part of an old state of a room, ascending by state key number.
pub fn state_at(read: &dyn Read, at: StateRef, part: Part) -> Result<Vec<EventPage>, StoreError> {
    let events: Vec<EventNid> = state::part(read, at, part)?.into_iter().map(|(_, event)| event).collect();
    by_nids(read, &events)
}

/// Events of one statement of [`by_nids`].
const TOGETHER: usize = 16;

/// Events with their bodies, in the order in which they are asked for. `Damaged` if a number is not one of ours.
pub fn by_nids(read: &dyn Read, nids: &[EventNid]) -> Result<Vec<EventPage>, StoreError> {
    let mut out = Vec::with_capacity(nids.len());
    for chunk in nids.chunks(TOGETHER) {
        let Ok(all) = <[EventNid; TOGETHER]>::try_from(chunk) else {
            for nid in chunk {
                out.push(by_nid(read, *nid)?);
            }
            continue;
        };
        let found = read.all(
            select!(
                "0",
                "FROM events e JOIN event_json j ON j.event = e.nid LEFT JOIN accounts a ON a.user = e.sender \
                 WHERE e.nid IN (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
            ),
            &all.map(Into::into),
            |r| page(read, r),
        )?;
        let mut found: HashMap<EventNid, EventPage> = found.into_iter().map(|page| (page.row.nid, page)).collect();
        for nid in chunk {
            let page = found.remove(nid);
            out.push(page.ok_or_else(|| StoreError::Damaged(format!("no event {} with a body", nid.0)))?);
        }
    }
    Ok(out)
}
