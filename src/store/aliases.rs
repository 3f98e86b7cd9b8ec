//! Room aliases of this server, and which servers are in a room.

use ruma::{OwnedRoomAliasId, RoomAliasId};

use super::{
    Read, StoreError, WriteTx,
    ids::{RoomNid, UserNid},
};
use crate::params;

/// An alias of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AliasRow {
    /// The room that it points to.
    pub room: RoomNid,
    /// Who made it.
    pub creator: UserNid,
}

/// An alias of this server, if there is one.
pub fn get(read: &dyn Read, alias: &RoomAliasId) -> Result<Option<AliasRow>, StoreError> {
    read.one("SELECT room, creator FROM aliases WHERE alias = ?1", params![alias.as_str()], |row| {
        Ok(AliasRow { room: row.get(0)?, creator: row.get(1)? })
    })
}

/// Aliases of this server that point to a room, sorted.
pub fn of_room(read: &dyn Read, room: RoomNid) -> Result<Vec<OwnedRoomAliasId>, StoreError> {
    read.all("SELECT alias FROM aliases WHERE room = ?1 ORDER BY alias", params![room], |row| {
        OwnedRoomAliasId::try_from(row.text(0)?).map_err(|e| StoreError::Damaged(e.to_string()))
    })
}

/// Makes an alias. Answers false, and changes nothing, if it is taken.
pub fn insert(
    tx: &WriteTx<'_>,
    alias: &RoomAliasId,
    room: RoomNid,
    creator: UserNid,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let made = tx.execute(
        "INSERT INTO aliases (alias, room, creator, created_ts) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![alias.as_str(), room, creator, now_ms],
    )?;
    Ok(made > 0)
}

/// Deletes an alias. Answers whether it was there.
pub fn delete(tx: &WriteTx<'_>, alias: &RoomAliasId) -> Result<bool, StoreError> {
    Ok(tx.execute("DELETE FROM aliases WHERE alias = ?1", params![alias.as_str()])? > 0)
}

/// Points all aliases of a room to another one.
pub fn move_all(tx: &WriteTx<'_>, from: RoomNid, to: RoomNid) -> Result<(), StoreError> {
    tx.execute("UPDATE aliases SET room = ?2 WHERE room = ?1", params![from, to])?;
    Ok(())
}

/// Servers that are in a room now, those that came first in front, at most `limit`.
pub fn servers(read: &dyn Read, room: RoomNid, limit: i64) -> Result<Vec<String>, StoreError> {
    read.all(
        "SELECT s.name FROM room_servers r JOIN servers s ON s.nid = r.server \
         WHERE r.room = ?1 AND r.to_position IS NULL ORDER BY r.from_position LIMIT ?2",
        params![room, limit],
        |row| row.get(0),
    )
}
