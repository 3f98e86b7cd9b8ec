//! Statements that /sync alone needs: which rooms changed for a user, who stands for a room without a name.

use super::{
    Read, StoreError,
    ids::{RoomNid, UserNid},
    members,
    members::MemberRow,
};
use crate::params;

/// The rooms of a user in which something changed after a position: the long way, three seeks for each room of theirs.
pub fn changed_rooms(read: &dyn Read, user: UserNid, after: i64) -> Result<Vec<MemberRow>, StoreError> {
    read.all(
        "SELECT m.user, m.room, m.membership, m.event, m.position, m.since, m.forgotten FROM memberships m \
         LEFT JOIN room_heads h ON h.room = m.room WHERE m.user = ?1 AND m.forgotten = 0 AND (m.position > ?2 OR \
         (m.membership = 1 AND (h.last_position > ?2 OR h.state_position > ?2 \
         OR EXISTS (SELECT 1 FROM receipts r WHERE r.room = m.room AND r.position > ?2) \
         OR EXISTS (SELECT 1 FROM private_receipts p WHERE p.user = m.user AND p.room = m.room AND p.position > ?2))))",
        params![user, after],
        members::row,
    )
}

/// Joined and invited members of a room other than `but`, those who became it first. A scan of the room's members.
pub fn first_members(read: &dyn Read, room: RoomNid, but: UserNid, limit: usize) -> Result<Vec<UserNid>, StoreError> {
    read.all(
        "SELECT user FROM memberships WHERE room = ?1 AND membership IN (1, 2) AND user <> ?2 \
         ORDER BY since, user LIMIT ?3",
        params![room, but, limit as i64],
        |row| row.get(0),
    )
}

/// Joined members of a room other than `but`, in the order in which this server met them: without a scan.
pub fn some_members(read: &dyn Read, room: RoomNid, but: UserNid, limit: usize) -> Result<Vec<UserNid>, StoreError> {
    read.all(
        "SELECT user FROM memberships WHERE room = ?1 AND membership = 1 AND user <> ?2 ORDER BY user LIMIT ?3",
        params![room, but, limit as i64],
        |row| row.get(0),
    )
}

/// Those who left a room or are banned from it, other than `but`, the newest first.
pub fn former_members(read: &dyn Read, room: RoomNid, but: UserNid, limit: usize) -> Result<Vec<UserNid>, StoreError> {
    read.all(
        "SELECT user FROM memberships WHERE room = ?1 AND membership IN (4, 5) AND user <> ?2 \
         ORDER BY since DESC, user LIMIT ?3",
        params![room, but, limit as i64],
        |row| row.get(0),
    )
}

/// Whether a room has history beyond what arrived live: fetched already, or still to be fetched.
pub fn has_history(read: &dyn Read, room: RoomNid) -> Result<bool, StoreError> {
    read.one(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM events WHERE room = ?1 AND position < 0) \
         OR EXISTS (SELECT 1 FROM backward_extremities WHERE room = ?1)",
        params![room],
        |_| Ok(()),
    )
    .map(|found| found.is_some())
}

/// Account data of a user that changed after a position: (room or None for the global one, type, content).
pub fn account_data(
    read: &dyn Read,
    user: UserNid,
    after: i64,
) -> Result<Vec<(Option<RoomNid>, String, String)>, StoreError> {
    read.all(
        "SELECT room, type, content FROM account_data WHERE user = ?1 AND position > ?2 ORDER BY position",
        params![user, after],
        |row| {
            let room: i64 = row.get(0)?;
            Ok(((room != 0).then_some(RoomNid(room)), row.get(1)?, row.get(2)?))
        },
    )
}

/// All account data of a user in a room.
pub fn account_data_of_room(
    read: &dyn Read,
    user: UserNid,
    room: RoomNid,
) -> Result<Vec<(String, String)>, StoreError> {
    read.all(
        "SELECT type, content FROM account_data WHERE user = ?1 AND room = ?2 ORDER BY position",
        params![user, room],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}
