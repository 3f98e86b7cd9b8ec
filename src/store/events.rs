//! Events and their bodies.

mod writing;

use std::sync::Arc;

use ruma::{EventId, OwnedEventId};

pub use self::writing::{NewEvent, insert, place, put_reason, put_transaction, redact, replace_loose};
pub(crate) use self::writing::{judged_again, set_flags};
use super::{
    Read, Row, StoreError, event_id, ids,
    ids::{DeviceNid, EventNid, RoomNid, UserNid},
};
use crate::params;

/// Bits of `events.flags`.
pub mod flag {
    /// Known for its place in auth chains only: no position, no state.
    pub const OUTLIER: i64 = 1;
    /// Failed the checks on receipt; never shown, never in a state.
    pub const REJECTED: i64 = 1 << 1;
    /// Allowed where it stands in the DAG but not by the current state: hidden from clients, never an extremity.
    pub const SOFT_FAILED: i64 = 1 << 2;
    /// Came as history.
    pub const BACKFILLED: i64 = 1 << 3;
    /// Judged while the room's state was partial; to be judged again.
    pub const PARTIAL_STATE: i64 = 1 << 4;
    /// The policy server was asked.
    pub const POLICY_CHECKED: i64 = 1 << 5;
    /// Its only previous event is the room's event with the next lower position.
    pub const LINEAR: i64 = 1 << 6;
    /// Counts as unread.
    pub const COUNTABLE: i64 = 1 << 7;
    /// Notifies everybody by default.
    pub const NOTIFY: i64 = 1 << 8;
    /// Highlights for everybody.
    pub const HIGHLIGHT: i64 = 1 << 9;
    /// We relay it to the room's other servers: our own events, and joins, leaves and knocks that came through us.
    pub const RELAY: i64 = 1 << 10;
    /// The state before it is what a peer says: its previous events were not all here.
    pub const TOLD: i64 = 1 << 11;
    /// With it this server came into the room: it took the place of all extremities.
    pub const ANEW: i64 = 1 << 12;
    /// Not for clients: outliers, rejected and soft-failed events.
    pub const HIDDEN: i64 = OUTLIER | REJECTED | SOFT_FAILED;
}

/// A state of a room: what (line, epoch) shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateRef {
    /// `state_lines.line`.
    pub line: i64,
    /// Newest epoch that counts.
    pub epoch: i64,
}

/// Running numbers of a room, up to and with an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// Events that count as unread.
    pub countable: i64,
    /// Events that notify everybody by default.
    pub notify: i64,
    /// Events that highlight for everybody.
    pub highlight: i64,
}

impl Running {
    /// With one more event of these flags.
    #[must_use]
    pub fn plus(self, flags: i64) -> Self {
        Self {
            countable: self.countable + i64::from(flags & flag::COUNTABLE != 0),
            notify: self.notify + i64::from(flags & flag::NOTIFY != 0),
            highlight: self.highlight + i64::from(flags & flag::HIGHLIGHT != 0),
        }
    }
}

/// An event without its body.
#[derive(Clone, Debug)]
pub struct EventRow {
    /// Its number.
    pub nid: EventNid,
    /// Its id.
    pub event_id: OwnedEventId,
    /// Its room.
    pub room: RoomNid,
    /// Its place in the server-wide order; None for outliers.
    pub position: Option<i64>,
    /// Its depth: the first part of the topological order.
    pub depth: i64,
    /// Its type.
    pub kind: Arc<str>,
    /// Number of its (type, state key), if it is a state event.
    pub state_key: Option<i64>,
    /// Who sent it.
    pub sender: UserNid,
    /// `origin_server_ts`, in milliseconds.
    pub origin_ts: i64,
    /// When it came here, in milliseconds.
    pub received_ts: i64,
    /// Bits of [`flag`].
    pub flags: i64,
    /// State before it; None for outliers.
    pub before: Option<StateRef>,
    /// State after it; None for outliers.
    pub after: Option<StateRef>,
    /// Root of its thread.
    pub thread: Option<EventNid>,
    /// The redaction that took its content.
    pub redacted_by: Option<EventNid>,
    /// The room's running numbers up to and with it.
    pub running: Running,
    /// Device whose transaction made it, and the transaction id.
    pub transaction: Option<(DeviceNid, String)>,
}

impl EventRow {
    /// Whether any of these bits is set.
    pub fn is(&self, flags: i64) -> bool {
        self.flags & flags != 0
    }

    /// (depth, position): the order of history. Outliers have none and come last.
    pub fn topological(&self) -> (i64, i64) {
        (self.depth, self.position.unwrap_or(i64::MAX))
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT nid, event_id, room, position, depth, type, state_key, sender, origin_ts, received_ts, flags, \
             before_line, before_epoch, after_line, after_epoch, thread, redacted_by, countable, notify, highlight, \
             device, txn_id FROM events ",
            $rest
        )
    };
}

/// The event of a row whose first 22 columns are those of `select!`.
pub(super) fn row(read: &dyn Read, row: &Row<'_>) -> Result<EventRow, StoreError> {
    let state = |line: usize| -> Result<Option<StateRef>, StoreError> {
        let at: Option<i64> = row.get(line)?;
        at.map(|at| Ok(StateRef { line: at, epoch: row.get(line + 1)? })).transpose()
    };
    let thread: i64 = row.get(15)?;
    let device: Option<DeviceNid> = row.get(20)?;
    Ok(EventRow {
        nid: row.get(0)?,
        event_id: event_id::decode(row.blob(1)?)?,
        room: row.get(2)?,
        position: row.get(3)?,
        depth: row.get(4)?,
        kind: ids::type_name(read, row.get(5)?)?,
        state_key: row.get(6)?,
        sender: row.get(7)?,
        origin_ts: row.get(8)?,
        received_ts: row.get(9)?,
        flags: row.get(10)?,
        before: state(11)?,
        after: state(13)?,
        thread: (thread != 0).then_some(EventNid(thread)),
        redacted_by: row.get(16)?,
        running: Running { countable: row.get(17)?, notify: row.get(18)?, highlight: row.get(19)? },
        transaction: match device {
            Some(device) => Some((device, row.get(21)?)),
            None => None,
        },
    })
}

/// The event with this number. `Damaged` if the number is not one of ours.
pub fn by_nid(read: &dyn Read, nid: EventNid) -> Result<EventRow, StoreError> {
    read.one(select!("WHERE nid = ?1"), params![nid], |r| row(read, r))?
        .ok_or_else(|| StoreError::Damaged(format!("no event {}", nid.0)))
}

/// The room of the event with this number, if it is one of ours.
pub fn room_of(read: &dyn Read, nid: EventNid) -> Result<Option<RoomNid>, StoreError> {
    read.one("SELECT room FROM events WHERE nid = ?1", params![nid], |row| row.get(0))
}

/// The event with this id, whatever its room and flags.
pub fn by_id(read: &dyn Read, id: &EventId) -> Result<Option<EventRow>, StoreError> {
    read.one(select!("WHERE event_id = ?1"), params![&event_id::encode(id)], |r| row(read, r))
}

/// The number of the event with this id.
pub fn nid(read: &dyn Read, id: &EventId) -> Result<Option<EventNid>, StoreError> {
    read.one("SELECT nid FROM events WHERE event_id = ?1", params![&event_id::encode(id)], |r| r.get(0))
}

/// What those need to know who name an event as an auth event or as part of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its number.
    pub nid: EventNid,
    /// Its room.
    pub room: RoomNid,
    /// Number of its (type, state key), if it is a state event.
    pub state_key: Option<i64>,
    /// Bits of [`flag`].
    pub flags: i64,
    /// An outlier whose auth events were not here when it came: it was never judged, and may not be referred to.
    pub loose: bool,
}

/// How the event with this id stands here.
pub fn standing(read: &dyn Read, id: &EventId) -> Result<Option<Standing>, StoreError> {
    read.one(
        // 1: flag::OUTLIER.
        "SELECT e.nid, e.room, e.state_key, e.flags, e.flags & 1 <> 0 AND NOT EXISTS (SELECT 1 FROM auth_edges a \
         WHERE a.room = e.room AND a.event = e.nid) FROM events e WHERE e.event_id = ?1",
        params![&event_id::encode(id)],
        |row| {
            Ok(Standing {
                nid: row.get(0)?,
                room: row.get(1)?,
                state_key: row.get(2)?,
                flags: row.get(3)?,
                loose: row.get(4)?,
            })
        },
    )
}

/// The id of the event with this number. `Damaged` if the number is not one of ours.
pub fn id(read: &dyn Read, nid: EventNid) -> Result<OwnedEventId, StoreError> {
    read.one("SELECT event_id FROM events WHERE nid = ?1", params![nid], |r| event_id::decode(r.blob(0)?))?
        .ok_or_else(|| StoreError::Damaged(format!("no event {}", nid.0)))
}

/// The canonical JSON of an event, without `unsigned`. `Damaged` if there is none.
pub fn json(read: &dyn Read, nid: EventNid) -> Result<String, StoreError> {
    read.one("SELECT json FROM event_json WHERE event = ?1", params![nid], |r| r.get(0))?
        .ok_or_else(|| StoreError::Damaged(format!("event {} has no body", nid.0)))
}

/// A place in a room's history: between the event with this (depth, position) and the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topological {
    /// Depth of the event before the place.
    pub depth: i64,
    /// Position of the event before the place.
    pub position: i64,
}

/// Events at or before `from` in topological order, newest first, at most `limit`; none that clients may not see, none
/// newer than `up_to`.
pub fn backwards(
    read: &dyn Read,
    room: RoomNid,
    from: Topological,
    up_to: i64,
    limit: usize,
) -> Result<Vec<EventRow>, StoreError> {
    read.all(
        // 7: flag::HIDDEN.
        select!(
            "WHERE room = ?1 AND (depth, position) <= (?2, ?3) AND position IS NOT NULL AND position <= ?4 \
             AND flags & 7 = 0 ORDER BY depth DESC, position DESC LIMIT ?5"
        ),
        params![room, from.depth, from.position, up_to, limit as i64],
        |r| row(read, r),
    )
}

/// The place in history just behind everything with `position <= at`: that of the newest such event in topological order
/// among the newest ones by position.
pub fn topological_at(read: &dyn Read, room: RoomNid, at: i64) -> Result<Option<Topological>, StoreError> {
    read.one(
        "SELECT depth, position FROM events WHERE room = ?1 AND position <= ?2 AND position IS NOT NULL \
         ORDER BY position DESC LIMIT 1",
        params![room, at],
        |r| Ok(Topological { depth: r.get(0)?, position: r.get(1)? }),
    )
}

/// The running numbers of a room at a position: those of its newest event at or below it.
pub fn running_at(read: &dyn Read, room: RoomNid, position: i64) -> Result<Running, StoreError> {
    let found = read.one(
        "SELECT countable, notify, highlight FROM events WHERE room = ?1 AND position <= ?2 AND position > 0 \
         ORDER BY position DESC LIMIT 1",
        params![room, position],
        |r| Ok(Running { countable: r.get(0)?, notify: r.get(1)?, highlight: r.get(2)? }),
    )?;
    Ok(found.unwrap_or_default())
}

/// Events of a room that came after a position, oldest first.
pub(crate) fn since(read: &dyn Read, room: RoomNid, position: i64) -> Result<Vec<EventNid>, StoreError> {
    read.all(
        "SELECT nid FROM events WHERE room = ?1 AND position > ?2 ORDER BY position",
        params![room, position],
        |row| row.get(0),
    )
}

/// Why an event was rejected or soft-failed.
pub fn reason(read: &dyn Read, event: EventNid) -> Result<Option<String>, StoreError> {
    read.one("SELECT reason FROM rejections WHERE event = ?1", params![event], |row| row.get(0))
}

/// Whether an event relates to another one, which need not be here.
pub fn relates_to(read: &dyn Read, event: EventNid, target: &EventId) -> Result<bool, StoreError> {
    read.one(
        "SELECT 1 FROM events WHERE nid = ?1 AND relation_target = ?2",
        params![event, &event_id::encode(target)],
        |_| Ok(()),
    )
    .map(|found| found.is_some())
}

/// Whether one of these events is redacted.
pub fn any_redacted(read: &dyn Read, nids: &[EventNid; 9]) -> Result<bool, StoreError> {
    let [a, b, c, d, e, f, g, h, i] = *nids;
    read.one(
        "SELECT 1 FROM events WHERE nid IN (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) AND redacted_by IS NOT NULL LIMIT 1",
        params![a, b, c, d, e, f, g, h, i],
        |_| Ok(()),
    )
    .map(|found| found.is_some())
}

/// The event that an earlier request of this device with this key made.
pub fn of_transaction(read: &dyn Read, device: DeviceNid, key: &[u8]) -> Result<Option<OwnedEventId>, StoreError> {
    read.one(
        "SELECT e.event_id FROM transactions t JOIN events e ON e.nid = t.event WHERE t.device = ?1 AND t.key = ?2",
        params![device, key],
        |r| event_id::decode(r.blob(0)?),
    )
}
