//! Which servers are in a room, and when they were: what other servers' reading is decided by, and whom to ask.

use ruma::{OwnedServerName, ServerName};

use super::{
    Read, StoreError,
    ids::{RoomNid, UserNid},
};
use crate::params;

/// A stretch of positions over which a server had a joined member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Position of the join that began it.
    pub from: i64,
    /// Position of the event that ended it; None: it goes on.
    pub to: Option<i64>,
}

impl Stretch {
    /// Whether the server was in the room once everything up to this position had happened.
    pub fn covers(self, position: i64) -> bool {
        self.from <= position && self.to.is_none_or(|to| position < to)
    }
}

/// The stretches of a server in a room, oldest first.
pub fn stretches(read: &dyn Read, room: RoomNid, server: &ServerName) -> Result<Vec<Stretch>, StoreError> {
    read.all(
        "SELECT r.from_position, r.to_position FROM servers s JOIN room_servers r ON r.server = s.nid \
         WHERE s.name = ?2 AND r.room = ?1 ORDER BY r.from_position",
        params![room, server.as_str()],
        |row| Ok(Stretch { from: row.get(0)?, to: row.get(1)? }),
    )
}

/// Whether a server is in a room now.
pub fn is_in(read: &dyn Read, room: RoomNid, server: &ServerName) -> Result<bool, StoreError> {
    Ok(stretches(read, room, server)?.last().is_some_and(|last| last.to.is_none()))
}

/// Users of a server that have or had a membership of a room, at most `limit`.
pub fn members(read: &dyn Read, room: RoomNid, server: &ServerName, limit: i64) -> Result<Vec<UserNid>, StoreError> {
    read.all(
        "SELECT m.user FROM memberships m JOIN users u ON u.nid = m.user JOIN servers s ON s.nid = u.server \
         WHERE m.room = ?1 AND s.name = ?2 LIMIT ?3",
        params![room, server.as_str(), limit],
        |row| row.get(0),
    )
}

/// Whether a user of a server is invited to a room.
pub fn has_invited(read: &dyn Read, room: RoomNid, server: &ServerName) -> Result<bool, StoreError> {
    read.one(
        "SELECT 1 FROM memberships m JOIN users u ON u.nid = m.user JOIN servers s ON s.nid = u.server \
         WHERE m.room = ?1 AND m.membership = 2 AND s.name = ?2 LIMIT 1",
        params![room, server.as_str()],
        |_| Ok(()),
    )
    .map(|found| found.is_some())
}

/// Servers with joined members, those with the most of them first, at most `limit`. Names that are none are left out.
pub fn by_members(read: &dyn Read, room: RoomNid, limit: i64) -> Result<Vec<OwnedServerName>, StoreError> {
    let names: Vec<String> = read.all(
        "SELECT s.name FROM memberships m JOIN users u ON u.nid = m.user JOIN servers s ON s.nid = u.server \
         WHERE m.room = ?1 AND m.membership = 1 GROUP BY s.nid, s.name ORDER BY COUNT(*) DESC, s.nid LIMIT ?2",
        params![room, limit],
        |row| row.get(0),
    )?;
    Ok(names.into_iter().filter_map(|name| OwnedServerName::try_from(name).ok()).collect())
}

/// Whether somebody with an account here is joined to a room.
pub fn has_local_members(read: &dyn Read, room: RoomNid) -> Result<bool, StoreError> {
    read.one("SELECT 1 FROM room_heads WHERE room = ?1 AND local_joined > 0", params![room], |_| Ok(()))
        .map(|found| found.is_some())
}
