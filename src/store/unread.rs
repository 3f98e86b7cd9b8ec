//! Statements on how far local users have read, and on what is unread beyond the rooms' running numbers.

use super::{
    Read, StoreError, WriteTx,
    ids::{EventNid, RoomNid, UserNid},
};
use crate::params;

/// `read_to.thread` of a read-up-to place that counts in the whole room: of an unthreaded receipt.
pub const WHOLE_ROOM: i64 = -1;

/// `read_to.thread` of the main timeline.
pub const MAIN: i64 = 0;

/// How far a user has read in a room: (thread, position). thread: [`WHOLE_ROOM`], [`MAIN`] or the number of a root.
pub fn read_to(read: &dyn Read, user: UserNid, room: RoomNid) -> Result<Vec<(i64, i64)>, StoreError> {
    read.all("SELECT thread, position FROM read_to WHERE user = ?1 AND room = ?2", params![user, room], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// Takes back the personal notifications of an event.
pub(crate) fn take_back(tx: &WriteTx<'_>, room: RoomNid, position: i64) -> Result<(), StoreError> {
    tx.execute("DELETE FROM personal_notifications WHERE room = ?1 AND position = ?2", params![room, position])?;
    Ok(())
}

/// Moves a read-up-to place forwards and deletes the personal notifications that are read by it. Answers whether it moved.
pub fn move_read_to(
    tx: &WriteTx<'_>,
    user: UserNid,
    room: RoomNid,
    thread: i64,
    position: i64,
) -> Result<bool, StoreError> {
    let moved = tx.execute(
        "INSERT INTO read_to (user, room, thread, position) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (user, room, thread) DO UPDATE SET position = excluded.position \
         WHERE excluded.position > read_to.position",
        params![user, room, thread, position],
    )?;
    if moved == 0 {
        return Ok(false);
    }
    if thread == WHOLE_ROOM {
        tx.execute(
            "DELETE FROM personal_notifications WHERE user = ?1 AND room = ?2 AND position <= ?3",
            params![user, room, position],
        )?;
        // What the whole room's place covers says nothing any more; so the rows are bounded by the threads in use.
        tx.execute(
            "DELETE FROM read_to WHERE user = ?1 AND room = ?2 AND thread <> ?3 AND position <= ?4",
            params![user, room, WHOLE_ROOM, position],
        )?;
    } else {
        tx.execute(
            "DELETE FROM personal_notifications WHERE user = ?1 AND room = ?2 AND position <= ?3 AND thread = ?4",
            params![user, room, position, thread],
        )?;
    }
    Ok(true)
}

/// An event that counts, as far as unread counts ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its position.
    pub position: i64,
    /// Its thread; None: the main timeline.
    pub thread: Option<EventNid>,
    /// Bits of `events::flag`.
    pub flags: i64,
    /// Who sent it.
    pub sender: UserNid,
    /// Whether it is redacted.
    pub redacted: bool,
}

macro_rules! counted {
    ($rest:literal) => {
        counted!($rest, "")
    };
    ($rest:literal, $limit:literal) => {
        // 7: flag::HIDDEN, 896: flag::COUNTABLE, NOTIFY or HIGHLIGHT.
        concat!(
            "SELECT position, thread, flags, sender, redacted_by IS NOT NULL FROM events ",
            $rest,
            " AND flags & 7 = 0 AND flags & 896 <> 0 ORDER BY position",
            $limit
        )
    };
}

fn counted(row: &super::Row<'_>) -> Result<Counted, StoreError> {
    let thread: i64 = row.get(1)?;
    Ok(Counted {
        position: row.get(0)?,
        thread: (thread != 0).then_some(EventNid(thread)),
        flags: row.get(2)?,
        sender: row.get(3)?,
        redacted: row.get(4)?,
    })
}

/// Counted events of a room's main timeline after a position that are redacted.
pub fn redacted_in_main(read: &dyn Read, room: RoomNid, after: i64) -> Result<Vec<Counted>, StoreError> {
    read.all(
        counted!(
            "INDEXED BY events_redacted WHERE room = ?1 AND position > ?2 AND redacted_by IS NOT NULL AND thread = 0"
        ),
        params![room, after],
        counted,
    )
}

/// Counted events of a room's threads after a position, oldest first, at most `limit`.
pub fn in_threads(read: &dyn Read, room: RoomNid, after: i64, limit: usize) -> Result<Vec<Counted>, StoreError> {
    read.all(
        counted!("INDEXED BY events_threads WHERE room = ?1 AND position > ?2 AND thread <> 0", " LIMIT ?3"),
        params![room, after, limit as i64],
        counted,
    )
}

/// All counted events of a room after a position.
pub fn counted_after(read: &dyn Read, room: RoomNid, after: i64) -> Result<Vec<Counted>, StoreError> {
    read.all(counted!("WHERE room = ?1 AND position > ?2"), params![room, after], counted)
}

/// What an event adds to one member's counts beyond the running numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Personal {
    /// The event's position.
    pub position: i64,
    /// Its thread; None: the main timeline.
    pub thread: Option<EventNid>,
    /// What it adds to the notifications.
    pub notify: i64,
    /// What it adds to the highlights.
    pub highlight: i64,
    /// Who sent it.
    pub sender: UserNid,
    /// Whether it is redacted.
    pub redacted: bool,
}

/// What concerns a member personally in a room after a position.
pub fn personal(read: &dyn Read, user: UserNid, room: RoomNid, after: i64) -> Result<Vec<Personal>, StoreError> {
    read.all(
        "SELECT p.position, p.thread, p.notify, p.highlight, e.sender, e.redacted_by IS NOT NULL \
         FROM personal_notifications p JOIN events e ON e.room = p.room AND e.position = p.position \
         WHERE p.user = ?1 AND p.room = ?2 AND p.position > ?3",
        params![user, room, after],
        |row| {
            let thread: i64 = row.get(1)?;
            Ok(Personal {
                position: row.get(0)?,
                thread: (thread != 0).then_some(EventNid(thread)),
                notify: row.get(2)?,
                highlight: row.get(3)?,
                sender: row.get(4)?,
                redacted: row.get(5)?,
            })
        },
    )
}
