//! Through which server a user knocked at a room that we are not in.

use ruma::{OwnedServerName, ServerName};

use super::{
    Read, StoreError, WriteTx, ids,
    ids::{RoomNid, UserNid},
};
use crate::params;

/// The server that took a user's knock.
///
/// # Errors
/// [`StoreError`].
pub fn server(read: &dyn Read, user: UserNid, room: RoomNid) -> Result<Option<OwnedServerName>, StoreError> {
    let name = read.one(
        "SELECT s.name FROM knocks k JOIN servers s ON s.nid = k.server WHERE k.user = ?1 AND k.room = ?2",
        params![user, room],
        |row| row.get::<String>(0),
    )?;
    Ok(name.and_then(|name| name.try_into().ok()))
}

/// Notes the server that took a user's knock.
///
/// # Errors
/// [`StoreError`].
pub fn put(tx: &WriteTx<'_>, user: UserNid, room: RoomNid, server: &ServerName) -> Result<(), StoreError> {
    let server = ids::intern_server(tx, server.as_str())?;
    tx.execute(
        "INSERT INTO knocks (user, room, server) VALUES (?1, ?2, ?3) \
         ON CONFLICT (user, room) DO UPDATE SET server = excluded.server",
        params![user, room, server],
    )?;
    Ok(())
}

/// Forgets it: the user knocks no longer.
///
/// # Errors
/// [`StoreError`].
pub fn delete(tx: &WriteTx<'_>, user: UserNid, room: RoomNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM knocks WHERE user = ?1 AND room = ?2", params![user, room])?;
    Ok(())
}
