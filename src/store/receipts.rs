//! Statements on read receipts. Ordering is the position of the event read: a receipt never goes to a lower one.

use ruma::{EventId, OwnedEventId};

use super::{
    Read, Row, StoreError, WriteTx, event_id,
    ids::{EventNid, RoomNid, UserNid},
};
use crate::params;

/// A receipt, as those who may see it are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptRow {
    /// Who has read.
    pub user: UserNid,
    /// `''`: unthreaded; `main`; or the id of the thread's root.
    pub thread: String,
    /// When, in milliseconds.
    pub ts: i64,
    /// Whether it is the user's own alone (`m.read.private`).
    pub private: bool,
    /// Up to where.
    pub event_id: OwnedEventId,
}

fn receipt(row: &Row<'_>) -> Result<ReceiptRow, StoreError> {
    Ok(ReceiptRow {
        user: row.get(0)?,
        thread: row.get(1)?,
        ts: row.get(2)?,
        private: row.get(3)?,
        event_id: event_id::decode(row.blob(4)?)?,
    })
}

/// Receipts of a room that changed after a position: the public ones, and the private ones of `viewer`.
pub fn since(read: &dyn Read, room: RoomNid, viewer: UserNid, after: i64) -> Result<Vec<ReceiptRow>, StoreError> {
    read.all(
        "SELECT r.user, r.thread, r.ts, 0, e.event_id FROM receipts r JOIN events e ON e.nid = r.event \
         WHERE r.room = ?1 AND r.position > ?3 \
         UNION ALL SELECT p.user, p.thread, p.ts, 1, e.event_id FROM private_receipts p \
         JOIN events e ON e.nid = p.event WHERE p.user = ?2 AND p.room = ?1 AND p.position > ?3",
        params![room, viewer, after],
        receipt,
    )
}

/// The `limit` newest public receipts of a room, and all of `viewer`'s own. Some may occur twice.
pub fn newest(read: &dyn Read, room: RoomNid, viewer: UserNid, limit: usize) -> Result<Vec<ReceiptRow>, StoreError> {
    read.all(
        "SELECT * FROM (SELECT r.user, r.thread, r.ts, 0, e.event_id FROM receipts r JOIN events e ON e.nid = r.event \
         WHERE r.room = ?1 ORDER BY r.position DESC LIMIT ?3) AS newest \
         UNION ALL SELECT r.user, r.thread, r.ts, 0, e.event_id FROM receipts r JOIN events e ON e.nid = r.event \
         WHERE r.room = ?1 AND r.user = ?2 \
         UNION ALL SELECT p.user, p.thread, p.ts, 1, e.event_id FROM private_receipts p \
         JOIN events e ON e.nid = p.event WHERE p.user = ?2 AND p.room = ?1",
        params![room, viewer, limit as i64],
        receipt,
    )
}

/// A receipt to be written.
#[derive(Clone, Debug)]
pub struct NewReceipt<'a> {
    /// Where.
    pub room: RoomNid,
    /// Who has read.
    pub user: UserNid,
    /// As in [`ReceiptRow`].
    pub thread: &'a str,
    /// Up to where.
    pub event: EventNid,
    /// Position of that event.
    pub ordering: i64,
    /// When, in milliseconds.
    pub ts: i64,
    /// Its place in the server-wide order.
    pub position: i64,
}

/// Writes a public receipt, unless there is one that is as far. Answers whether it was written.
pub fn put(tx: &WriteTx<'_>, receipt: &NewReceipt<'_>) -> Result<bool, StoreError> {
    let written = tx.execute(
        "INSERT INTO receipts (room, user, thread, event, ordering, ts, position) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
         ON CONFLICT (room, user, thread) DO UPDATE SET event = excluded.event, ordering = excluded.ordering, \
         ts = excluded.ts, position = excluded.position WHERE excluded.ordering > receipts.ordering",
        &values(receipt),
    )?;
    Ok(written > 0)
}

/// Writes a private receipt, as [`put`] does.
pub fn put_private(tx: &WriteTx<'_>, receipt: &NewReceipt<'_>) -> Result<bool, StoreError> {
    let written = tx.execute(
        "INSERT INTO private_receipts (room, user, thread, event, ordering, ts, position) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
         ON CONFLICT (user, room, thread) DO UPDATE SET event = excluded.event, ordering = excluded.ordering, \
         ts = excluded.ts, position = excluded.position WHERE excluded.ordering > private_receipts.ordering",
        &values(receipt),
    )?;
    Ok(written > 0)
}

fn values<'a>(receipt: &NewReceipt<'a>) -> [super::Param<'a>; 7] {
    [
        receipt.room.into(),
        receipt.user.into(),
        receipt.thread.into(),
        receipt.event.into(),
        receipt.ordering.into(),
        receipt.ts.into(),
        receipt.position.into(),
    ]
}

/// A public receipt of a user of another server, whose event is not here yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingReceipt {
    /// Who has read.
    pub user: UserNid,
    /// As in [`ReceiptRow`].
    pub thread: String,
    /// When, in milliseconds.
    pub ts: i64,
}

/// Threads of a room in which one user's receipts can wait for their events.
const MAX_PENDING_THREADS: i64 = 20;

/// Keeps a public receipt until its event comes, in place of the one that waits in that thread.
pub fn put_pending(
    tx: &WriteTx<'_>,
    room: RoomNid,
    event: &EventId,
    receipt: &PendingReceipt,
) -> Result<(), StoreError> {
    let read: &dyn Read = tx;
    let others = read.one(
        "SELECT COUNT(*) FROM pending_receipts WHERE room = ?1 AND user = ?2 AND thread <> ?3",
        params![room, receipt.user, &receipt.thread],
        |row| row.get::<i64>(0),
    )?;
    if others.is_some_and(|others| others >= MAX_PENDING_THREADS) {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO pending_receipts (room, event_id, user, thread, ts) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (room, user, thread) DO UPDATE SET event_id = excluded.event_id, ts = excluded.ts",
        params![room, &event_id::encode(event), receipt.user, &receipt.thread, receipt.ts],
    )?;
    Ok(())
}

/// Drops the receipt of a user that waits in a thread: a newer one came.
pub fn drop_pending(tx: &WriteTx<'_>, room: RoomNid, user: UserNid, thread: &str) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM pending_receipts WHERE room = ?1 AND user = ?2 AND thread = ?3",
        params![room, user, thread],
    )?;
    Ok(())
}

/// Whether receipts wait for an event.
pub fn is_awaited(read: &dyn Read, room: RoomNid, event: &EventId) -> Result<bool, StoreError> {
    read.one(
        "SELECT 1 FROM pending_receipts WHERE room = ?1 AND event_id = ?2 LIMIT 1",
        params![room, &event_id::encode(event)],
        |_| Ok(()),
    )
    .map(|found| found.is_some())
}

/// Takes out the receipts that waited for an event.
pub fn take_pending(tx: &WriteTx<'_>, room: RoomNid, event: &EventId) -> Result<Vec<PendingReceipt>, StoreError> {
    let event = event_id::encode(event);
    let read: &dyn Read = tx;
    let found = read.all(
        "SELECT user, thread, ts FROM pending_receipts WHERE room = ?1 AND event_id = ?2",
        params![room, &event],
        |row| Ok(PendingReceipt { user: row.get(0)?, thread: row.get(1)?, ts: row.get(2)? }),
    )?;
    if !found.is_empty() {
        tx.execute("DELETE FROM pending_receipts WHERE room = ?1 AND event_id = ?2", params![room, &event])?;
    }
    Ok(found)
}
