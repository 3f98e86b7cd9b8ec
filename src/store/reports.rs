//! Statements on what users reported to the operator.

use super::{
    StoreError, WriteTx,
    ids::{EventNid, RoomNid, UserNid},
};
use crate::params;

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A room.
    Room(RoomNid),
    /// An event of a room.
    Event(RoomNid, EventNid),
    /// A user.
    User(UserNid),
}

/// Stores a report and answers its number; those beyond the newest `keep` go.
pub fn insert(
    tx: &WriteTx<'_>,
    reporter: UserNid,
    subject: Subject,
    reason: &str,
    created_ts: i64,
    keep: i64,
) -> Result<i64, StoreError> {
    let (room, event, user) = match subject {
        Subject::Room(room) => (Some(room), None, None),
        Subject::Event(room, event) => (Some(room), Some(event), None),
        Subject::User(user) => (None, None, Some(user)),
    };
    let nid = tx.insert(
        "INSERT INTO reports (reporter, room, event, user, reason, created_ts) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         RETURNING nid",
        params![reporter, room, event, user, reason, created_ts],
    )?;
    tx.execute("DELETE FROM reports WHERE nid <= ?1", params![nid - keep])?;
    Ok(nid)
}
