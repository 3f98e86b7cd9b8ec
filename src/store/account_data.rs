//! Statements on account data, global and per room.

use super::{
    Read, StoreError, WriteTx,
    ids::{RoomNid, UserNid},
};
use crate::params;

/// The content of one type; `room` none: global.
pub fn get(read: &dyn Read, user: UserNid, room: Option<RoomNid>, kind: &str) -> Result<Option<String>, StoreError> {
    read.one(
        "SELECT content FROM account_data WHERE user = ?1 AND room = ?2 AND type = ?3",
        params![user, room_number(room), kind],
        |row| row.get(0),
    )
}

/// Stores the content of one type at a place in the server-wide order. Answers whether it was there before.
pub fn update(
    tx: &WriteTx<'_>,
    user: UserNid,
    room: Option<RoomNid>,
    kind: &str,
    content: &str,
    position: i64,
) -> Result<bool, StoreError> {
    let updated = tx.execute(
        "UPDATE account_data SET content = ?4, position = ?5 WHERE user = ?1 AND room = ?2 AND type = ?3",
        params![user, room_number(room), kind, content, position],
    )?;
    Ok(updated > 0)
}

/// Stores the content of a type that is not there.
pub fn insert(
    tx: &WriteTx<'_>,
    user: UserNid,
    room: Option<RoomNid>,
    kind: &str,
    content: &str,
    position: i64,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO account_data (user, room, type, content, position) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![user, room_number(room), kind, content, position],
    )?;
    Ok(())
}

/// How many types a user has, globally or in a room.
pub fn count(read: &dyn Read, user: UserNid, room: Option<RoomNid>) -> Result<i64, StoreError> {
    let count = read.one(
        "SELECT COUNT(*) FROM account_data WHERE user = ?1 AND room = ?2",
        params![user, room_number(room)],
        |row| row.get(0),
    )?;
    Ok(count.unwrap_or(0))
}

/// Deletes all of a user's.
pub fn delete_of_user(tx: &WriteTx<'_>, user: UserNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM account_data WHERE user = ?1", params![user])?;
    Ok(())
}

fn room_number(room: Option<RoomNid>) -> i64 {
    room.map_or(0, |room| room.0)
}
