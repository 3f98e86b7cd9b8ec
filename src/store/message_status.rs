//! Statements on how far a message has come: who is to receive it, what their devices have, what they have read. Nothing is
//! stored for a message and a member; all of it follows from places.

use super::{
    Read, StoreError, WriteTx,
    ids::{EventNid, RoomNid, UserNid},
};
use crate::params;

/// A member who is to receive a message, with the places that decide how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Who.
    pub user: UserNid,
    /// Their server's number.
    pub server: i64,
    /// Place up to which one of their devices has received; 0 for users of other servers.
    pub acknowledged: i64,
    /// Place of the newest event that they have read publicly, if it is known; `i64::MIN`: none.
    pub read: i64,
    /// When they said so, in milliseconds.
    pub read_ts: i64,
    /// Whether they have a list of ignored users.
    pub ignores: bool,
}

/// Which message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Where.
    pub room: RoomNid,
    /// Its place.
    pub position: i64,
    /// Who sent it.
    pub sender: UserNid,
    /// The thread that it is in, as receipts spell it: `main` or the root's id.
    pub thread: &'a str,
}

/// Those who are in the room since before the message, in the order of their numbers; the sender left out.
pub fn recipients(read: &dyn Read, message: Message<'_>) -> Result<Vec<Recipient>, StoreError> {
    read.all(
        "SELECT m.user, u.server, \
         COALESCE((SELECT MAX(d.acknowledged_position) FROM devices d WHERE d.user = m.user), 0), \
         COALESCE((SELECT MAX(r.ordering) FROM receipts r WHERE r.room = ?1 AND r.user = m.user \
         AND r.thread IN ('', ?4)), ?5), \
         COALESCE((SELECT MIN(r.ts) FROM receipts r WHERE r.room = ?1 AND r.user = m.user AND r.thread IN ('', ?4) \
         AND r.ordering >= ?2), 0), \
         CASE WHEN EXISTS (SELECT 1 FROM account_data a WHERE a.user = m.user AND a.room = 0 \
         AND a.type = 'm.ignored_user_list') THEN 1 ELSE 0 END \
         FROM memberships m JOIN users u ON u.nid = m.user \
         WHERE m.room = ?1 AND m.membership = 1 AND m.since <= ?2 AND m.user <> ?3 ORDER BY m.user",
        params![message.room, message.position, message.sender, message.thread, i64::MIN],
        |row| {
            Ok(Recipient {
                user: row.get(0)?,
                server: row.get(1)?,
                acknowledged: row.get(2)?,
                read: row.get(3)?,
                read_ts: row.get(4)?,
                ignores: row.get(5)?,
            })
        },
    )
}

/// A member with the places that decide how far messages of a thread have come with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Since when they are in the room.
    pub since: i64,
    /// The places; `read_ts` is not looked up.
    pub places: Recipient,
}

/// The members of a room who receive what `sender` sends, with how far they have received and read in a thread.
pub fn members(read: &dyn Read, room: RoomNid, sender: UserNid, thread: &str) -> Result<Vec<Member>, StoreError> {
    read.all(
        "SELECT m.user, u.server, m.since, \
         COALESCE((SELECT MAX(d.acknowledged_position) FROM devices d WHERE d.user = m.user), 0), \
         COALESCE((SELECT MAX(r.ordering) FROM receipts r WHERE r.room = ?1 AND r.user = m.user \
         AND r.thread IN ('', ?3)), ?4), \
         CASE WHEN EXISTS (SELECT 1 FROM account_data a WHERE a.user = m.user AND a.room = 0 \
         AND a.type = 'm.ignored_user_list') THEN 1 ELSE 0 END \
         FROM memberships m JOIN users u ON u.nid = m.user WHERE m.room = ?1 AND m.membership = 1 AND m.user <> ?2",
        params![room, sender, thread, i64::MIN],
        |row| {
            Ok(Member {
                since: row.get(2)?,
                places: Recipient {
                    user: row.get(0)?,
                    server: row.get(1)?,
                    acknowledged: row.get(3)?,
                    read: row.get(4)?,
                    read_ts: 0,
                    ignores: row.get(5)?,
                },
            })
        },
    )
}

/// Notes that a server does not take an event, at this time in milliseconds.
pub fn note_refused(tx: &WriteTx<'_>, event: EventNid, server: i64, ts: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO refused_events (event, server, ts) VALUES (?1, ?2, ?3) ON CONFLICT (event, server) DO NOTHING",
        params![event, server, ts],
    )?;
    Ok(())
}

/// The servers that do not take an event.
pub fn refused_by(read: &dyn Read, event: EventNid) -> Result<Vec<i64>, StoreError> {
    read.all("SELECT server FROM refused_events WHERE event = ?1", params![event], |row| row.get(0))
}

/// Forgets what was refused before this time in milliseconds, `limit` rows at most.
pub fn sweep(tx: &WriteTx<'_>, before: i64, limit: i64) -> Result<usize, StoreError> {
    tx.execute(
        "DELETE FROM refused_events WHERE (event, server) IN (SELECT event, server FROM refused_events WHERE ts < ?1 LIMIT ?2)",
        params![before, limit],
    )
}

/// Servers with a watermark of their own: (server, up to where it has acknowledged).
pub fn watermarks(read: &dyn Read) -> Result<Vec<(i64, i64)>, StoreError> {
    read.all("SELECT server, watermark FROM destinations WHERE watermark IS NOT NULL", params![], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}
