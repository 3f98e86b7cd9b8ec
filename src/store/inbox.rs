//! Statements on what other servers sent and nobody has worked off yet, and on their transactions.

use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, ServerName};

use super::{Read, Row, StoreError, WriteTx, event_id, events::flag, ids::RoomNid};
use crate::params;

/// An event to be staged.
#[derive(Clone, Debug)]
pub struct NewStaged {
    /// Its room, known here or not.
    pub room_id: OwnedRoomId,
    /// Its id.
    pub event_id: OwnedEventId,
    /// Its canonical JSON, without `unsigned`.
    pub json: Box<str>,
}

/// An event that waits.
#[derive(Clone, Debug)]
pub struct StagedRow {
    /// Its place in the order of arrival.
    pub seq: i64,
    /// Who sent it.
    pub origin: OwnedServerName,
    /// Its id.
    pub event_id: OwnedEventId,
    /// When it came, in milliseconds.
    pub received_ts: i64,
    /// Its canonical JSON.
    pub json: String,
}

/// What waits of one origin in one room.
#[derive(Clone, Debug)]
pub struct StagedCount {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The origin.
    pub origin: OwnedServerName,
    /// How many events.
    pub events: i64,
    /// Their bytes.
    pub bytes: i64,
    /// When the oldest of them came.
    pub oldest_ts: i64,
}

fn server(row: &Row<'_>, index: usize) -> Result<OwnedServerName, StoreError> {
    OwnedServerName::try_from(row.text(index)?).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn staged(row: &Row<'_>) -> Result<StagedRow, StoreError> {
    Ok(StagedRow {
        seq: row.get(0)?,
        origin: server(row, 1)?,
        event_id: event_id::decode(row.blob(2)?)?,
        received_ts: row.get(3)?,
        json: row.get(4)?,
    })
}

/// Stages an event; answers whether it was not staged by this origin already.
pub fn stage(tx: &WriteTx<'_>, origin: &ServerName, event: &NewStaged, now_ms: i64) -> Result<bool, StoreError> {
    let written = tx.execute(
        "INSERT INTO inbox_events (room_id, origin, event_id, received_ts, bytes, json) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (room_id, event_id, origin) DO NOTHING",
        params![
            event.room_id.as_str(),
            origin.as_str(),
            &event_id::encode(&event.event_id),
            now_ms,
            event.json.len() as i64,
            &*event.json
        ],
    )?;
    Ok(written > 0)
}

/// Waiting events of a room that came after `after`, in their order: `limit` at most, and only as many as fit into `bytes`,
/// but one at least.
pub fn next(
    read: &dyn Read,
    room: &RoomId,
    after: i64,
    limit: usize,
    bytes: usize,
) -> Result<Vec<StagedRow>, StoreError> {
    let (mut sum, mut last) = (0usize, after);
    read.each(
        "SELECT seq, bytes FROM inbox_events WHERE room_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
        params![room.as_str(), after, limit as i64],
        &mut |row| {
            let first = last == after;
            sum = sum.saturating_add(usize::try_from(row.get::<i64>(1)?).unwrap_or(usize::MAX));
            if first || sum <= bytes {
                last = row.get(0)?;
            }
            Ok(())
        },
    )?;
    read.all(
        "SELECT seq, origin, event_id, received_ts, json FROM inbox_events WHERE room_id = ?1 AND seq > ?2 \
         AND seq <= ?3 ORDER BY seq",
        params![room.as_str(), after, last],
        staged,
    )
}

/// The rows of one event that waits in a room, one for each origin that sent it.
pub fn of_event(read: &dyn Read, room: &RoomId, event: &EventId) -> Result<Vec<StagedRow>, StoreError> {
    read.all(
        "SELECT seq, origin, event_id, received_ts, json FROM inbox_events WHERE room_id = ?1 AND event_id = ?2 \
         ORDER BY seq",
        params![room.as_str(), &event_id::encode(event)],
        staged,
    )
}

/// What is known of an event that a peer names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its room.
    pub room: RoomNid,
    /// Bits of [`flag`].
    pub flags: i64,
    /// Whether it is a state event.
    pub is_state: bool,
    /// Whether the state after it is known, so that others can follow it.
    pub has_state: bool,
}

impl Known {
    /// Whether it is part of the room's DAG here, not just known for auth chains.
    pub fn is_placed(&self) -> bool {
        self.flags & flag::OUTLIER == 0
    }
}

/// What is known of an event, in as little as one seek: peers name 100,000 at once.
pub fn known(read: &dyn Read, event: &EventId) -> Result<Option<Known>, StoreError> {
    read.one(
        "SELECT room, flags, state_key IS NOT NULL, after_line IS NOT NULL FROM events WHERE event_id = ?1",
        params![&event_id::encode(event)],
        |row| Ok(Known { room: row.get(0)?, flags: row.get(1)?, is_state: row.get(2)?, has_state: row.get(3)? }),
    )
}

/// The lowest depth of a room's events that have a place here.
pub fn lowest_depth(read: &dyn Read, room: RoomNid) -> Result<Option<i64>, StoreError> {
    read.one(
        "SELECT depth FROM events WHERE room = ?1 AND position IS NOT NULL ORDER BY depth LIMIT 1",
        params![room],
        |row| row.get(0),
    )
}

/// Joined members of a room with an account here; None if the room has no state here.
pub fn local_joined(read: &dyn Read, room: RoomNid) -> Result<Option<i64>, StoreError> {
    read.one("SELECT local_joined FROM room_heads WHERE room = ?1", params![room], |row| row.get(0))
}

/// Takes a staged event away; answers whether it was there.
pub fn unstage(tx: &WriteTx<'_>, seq: i64) -> Result<bool, StoreError> {
    Ok(tx.execute("DELETE FROM inbox_events WHERE seq = ?1", params![seq])? > 0)
}

/// What waits, by room and origin. A scan of the table: for the start.
pub fn counts(read: &dyn Read) -> Result<Vec<StagedCount>, StoreError> {
    read.all(
        "SELECT room_id, origin, COUNT(*), SUM(bytes), MIN(received_ts) FROM inbox_events GROUP BY room_id, origin",
        params![],
        |row| {
            let room_id =
                OwnedRoomId::try_from(row.text(0)?).map_err(|error| StoreError::Damaged(error.to_string()))?;
            Ok(StagedCount {
                room_id,
                origin: server(row, 1)?,
                events: row.get(2)?,
                bytes: row.get(3)?,
                oldest_ts: row.get(4)?,
            })
        },
    )
}

/// When the oldest waiting event came, in milliseconds.
pub fn oldest(read: &dyn Read) -> Result<Option<i64>, StoreError> {
    read.one("SELECT received_ts FROM inbox_events ORDER BY seq LIMIT 1", params![], |row| row.get(0))
}

/// The answer that a transaction got, if one with this body came under this id.
pub fn answered(
    read: &dyn Read,
    origin: &ServerName,
    txn_id: &str,
    body: &[u8; 16],
) -> Result<Option<String>, StoreError> {
    read.one(
        "SELECT answer FROM inbox_transactions WHERE origin = ?1 AND txn_id = ?2 AND body = ?3",
        params![origin.as_str(), txn_id, body.as_slice()],
        |row| row.get(0),
    )
}

/// Transactions of an origin that are remembered.
const REMEMBERED: i64 = 100;

/// Remembers the answer to a transaction, and forgets the oldest beyond the bound.
pub fn put_answer(
    tx: &WriteTx<'_>,
    origin: &ServerName,
    txn_id: &str,
    body: &[u8; 16],
    answer: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO inbox_transactions (origin, txn_id, body, answer, received_ts) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (origin, txn_id) DO UPDATE SET body = excluded.body, answer = excluded.answer, \
         received_ts = excluded.received_ts",
        params![origin.as_str(), txn_id, body.as_slice(), answer, now_ms],
    )?;
    tx.execute(
        "DELETE FROM inbox_transactions WHERE origin = ?1 AND received_ts < (SELECT received_ts \
         FROM inbox_transactions WHERE origin = ?1 ORDER BY received_ts DESC LIMIT 1 OFFSET ?2)",
        params![origin.as_str(), REMEMBERED],
    )?;
    Ok(())
}

/// Forgets transactions that came before, `limit` at most; answers how many.
pub fn sweep_answers(tx: &WriteTx<'_>, before_ms: i64, limit: i64) -> Result<usize, StoreError> {
    tx.execute(
        "DELETE FROM inbox_transactions WHERE (origin, txn_id) IN \
         (SELECT origin, txn_id FROM inbox_transactions WHERE received_ts < ?1 LIMIT ?2)",
        params![before_ms, limit],
    )
}
