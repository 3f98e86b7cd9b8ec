//! Stripped state that came with an invitation or a knock.

use super::{
    Read, StoreError, WriteTx,
    ids::{RoomNid, UserNid},
};
use crate::params;

/// The JSON array that /sync shows for an open invitation or knock.
pub fn get(read: &dyn Read, user: UserNid, room: RoomNid) -> Result<Option<String>, StoreError> {
    read.one("SELECT state FROM stripped_state WHERE user = ?1 AND room = ?2", params![user, room], |row| row.get(0))
}

/// Writes it, in place of what was there.
pub fn put(tx: &WriteTx<'_>, user: UserNid, room: RoomNid, state: &str) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO stripped_state (user, room, state) VALUES (?1, ?2, ?3) \
         ON CONFLICT (user, room) DO UPDATE SET state = excluded.state",
        params![user, room, state],
    )?;
    Ok(())
}

/// Deletes it: the invitation or knock is no longer open.
pub fn delete(tx: &WriteTx<'_>, user: UserNid, room: RoomNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM stripped_state WHERE user = ?1 AND room = ?2", params![user, room])?;
    Ok(())
}
