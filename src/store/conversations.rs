//! Statements that lists of conversations need: one seek a room for its place in the list, whatever happened in it.

use super::{
    Read, StoreError,
    ids::{RoomNid, UserNid},
};
use crate::params;

/// A room that a user is joined to, with what decides its place in their list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The room.
    pub room: RoomNid,
    /// Position of the user's joining.
    pub since: i64,
    /// Position of the newest change of the user's membership.
    pub changed: i64,
    /// Position of the newest message; 0: none.
    pub message_position: i64,
    /// Position of the newest event.
    pub last_position: i64,
    /// Position of the newest change of the room's state.
    pub state_position: i64,
}

/// The rooms that a user is joined to.
pub fn joined(read: &dyn Read, user: UserNid) -> Result<Vec<Joined>, StoreError> {
    read.all(
        "SELECT m.room, m.since, m.position, h.message_position, h.last_position, h.state_position FROM memberships m \
         JOIN room_heads h ON h.room = m.room WHERE m.user = ?1 AND m.membership = 1",
        params![user],
        |row| {
            Ok(Joined {
                room: row.get(0)?,
                since: row.get(1)?,
                changed: row.get(2)?,
                message_position: row.get(3)?,
                last_position: row.get(4)?,
                state_position: row.get(5)?,
            })
        },
    )
}

/// The rooms that a user is no longer joined to since a position.
pub fn left_since(read: &dyn Read, user: UserNid, after: i64) -> Result<Vec<RoomNid>, StoreError> {
    read.all(
        "SELECT room FROM memberships WHERE user = ?1 AND membership <> 1 AND position > ?2",
        params![user, after],
        |row| row.get(0),
    )
}

/// What of a user's account data of their rooms decides the order of their list, and whether a room is in it: (room, type,
/// content) of `m.tag` and `org.linkim.hidden`.
pub fn arranging_data(read: &dyn Read, user: UserNid) -> Result<Vec<(RoomNid, String, String)>, StoreError> {
    read.all(
        "SELECT room, type, content FROM account_data WHERE user = ?1 AND room > 0 \
         AND type IN ('m.tag', 'org.linkim.hidden')",
        params![user],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
}

/// The rooms in which a receipt of a user moved since a position.
pub fn receipts_since(read: &dyn Read, user: UserNid, after: i64) -> Result<Vec<RoomNid>, StoreError> {
    read.all(
        "SELECT m.room FROM memberships m WHERE m.user = ?1 AND m.membership = 1 AND (EXISTS (SELECT 1 FROM receipts r \
         WHERE r.room = m.room AND r.user = m.user AND r.position > ?2) OR EXISTS (SELECT 1 FROM private_receipts p \
         WHERE p.user = m.user AND p.room = m.room AND p.position > ?2))",
        params![user, after],
        |row| row.get(0),
    )
}

/// The rooms in which somebody may want to receive nothing.
pub fn rooms_with_recv_opt(read: &dyn Read) -> Result<Vec<RoomNid>, StoreError> {
    read.all(
        "SELECT DISTINCT room FROM account_data INDEXED BY account_data_recv_opt WHERE type = 'org.linkim.recv_opt'",
        params![],
        |row| row.get(0),
    )
}

/// The users who set `org.linkim.recv_opt` in a room, with its content.
pub fn recv_opts(read: &dyn Read, room: RoomNid) -> Result<Vec<(UserNid, String)>, StoreError> {
    read.all(
        "SELECT user, content FROM account_data INDEXED BY account_data_recv_opt WHERE room = ?1 \
         AND type = 'org.linkim.recv_opt'",
        params![room],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}
