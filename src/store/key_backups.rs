//! Statements on backups of room keys.

use super::{Read, Row, StoreError, WriteTx, ids::UserNid};
use crate::params;

/// Versions of a user's that have keys, at most; the oldest go.
const MAX_VERSIONS: i64 = 100;

/// A version of a user's backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Its number.
    pub version: i64,
    /// `algorithm`.
    pub algorithm: String,
    /// `auth_data` as JSON.
    pub auth_data: String,
    /// Changes with each change of its keys.
    pub etag: i64,
    /// How many keys it has.
    pub count: i64,
}

/// A room key in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomKey {
    /// `first_message_index`.
    pub first_message_index: i64,
    /// `forwarded_count`.
    pub forwarded_count: i64,
    /// `is_verified`.
    pub is_verified: bool,
    /// `session_data` as JSON.
    pub session_data: String,
}

/// Which keys of a backup are meant.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Those of this room alone.
    pub room: Option<&'a str>,
    /// The one of this session alone.
    pub session: Option<&'a str>,
}

fn backup(row: &Row<'_>) -> Result<Backup, StoreError> {
    Ok(Backup {
        version: row.get(0)?,
        algorithm: row.get(1)?,
        auth_data: row.get(2)?,
        etag: row.get(3)?,
        count: row.get(4)?,
    })
}

/// The newest version of a user's that is not deleted.
pub fn current(read: &dyn Read, user: UserNid) -> Result<Option<Backup>, StoreError> {
    read.one(
        "SELECT version, algorithm, auth_data, etag, count FROM key_backups WHERE user = ?1 AND deleted = 0 \
         ORDER BY version DESC LIMIT 1",
        params![user],
        backup,
    )
}

/// A version of a user's that is not deleted.
pub fn get(read: &dyn Read, user: UserNid, version: i64) -> Result<Option<Backup>, StoreError> {
    read.one(
        "SELECT version, algorithm, auth_data, etag, count FROM key_backups \
         WHERE user = ?1 AND version = ?2 AND deleted = 0",
        params![user, version],
        backup,
    )
}

/// Makes a new version; answers its number, which is a place in the server-wide order: no number is given out again, not even
/// after a restore.
pub fn create(tx: &WriteTx<'_>, user: UserNid, algorithm: &str, auth_data: &str) -> Result<i64, StoreError> {
    let read: &dyn Read = tx;
    let version = tx.next_position();
    tx.execute(
        "INSERT INTO key_backups (user, version, algorithm, auth_data, etag) VALUES (?1, ?2, ?3, ?4, ?2)",
        params![user, version, algorithm, auth_data],
    )?;
    // Each new version takes at most one old one with it.
    let old = read.one(
        "SELECT version FROM key_backups WHERE user = ?1 AND deleted = 0 ORDER BY version DESC LIMIT 1 OFFSET ?2",
        params![user, MAX_VERSIONS],
        |row| row.get::<i64>(0),
    )?;
    if let Some(old) = old {
        delete(tx, user, old)?;
    }
    Ok(version)
}

/// Replaces the `auth_data` of a version.
pub fn set_auth_data(tx: &WriteTx<'_>, user: UserNid, version: i64, auth_data: &str) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE key_backups SET auth_data = ?3 WHERE user = ?1 AND version = ?2",
        params![user, version, auth_data],
    )?;
    Ok(())
}

/// Deletes a version and its keys. Answers whether there ever was one of this number.
pub fn delete(tx: &WriteTx<'_>, user: UserNid, version: i64) -> Result<bool, StoreError> {
    let known = tx.execute(
        "UPDATE key_backups SET deleted = 1, auth_data = '{}', count = 0 WHERE user = ?1 AND version = ?2",
        params![user, version],
    )?;
    tx.execute("DELETE FROM key_backup_keys WHERE user = ?1 AND version = ?2", params![user, version])?;
    Ok(known > 0)
}

/// Deletes all of a user's.
pub fn delete_of_user(tx: &WriteTx<'_>, user: UserNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM key_backup_keys WHERE user = ?1", params![user])?;
    tx.execute("DELETE FROM key_backups WHERE user = ?1", params![user])?;
    Ok(())
}

/// Writes how many keys a version has after a change of them; its etag becomes another.
pub fn set_count(tx: &WriteTx<'_>, user: UserNid, backup: &mut Backup) -> Result<(), StoreError> {
    backup.etag = tx.next_position();
    tx.execute(
        "UPDATE key_backups SET etag = ?3, count = ?4 WHERE user = ?1 AND version = ?2",
        params![user, backup.version, backup.etag, backup.count],
    )?;
    Ok(())
}

/// One key.
pub fn key(
    read: &dyn Read,
    user: UserNid,
    version: i64,
    room_id: &str,
    session_id: &str,
) -> Result<Option<RoomKey>, StoreError> {
    let mut found = None;
    each_key(read, user, version, Scope { room: Some(room_id), session: Some(session_id) }, &mut |_, _, key| {
        found = Some(key);
        Ok(())
    })?;
    Ok(found)
}

/// Calls `each` with (room, session, key) of a version, in the order of rooms.
pub fn each_key(
    read: &dyn Read,
    user: UserNid,
    version: i64,
    scope: Scope<'_>,
    each: &mut dyn FnMut(&str, &str, RoomKey) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut row = |row: &Row<'_>| {
        let key = RoomKey {
            first_message_index: row.get(2)?,
            forwarded_count: row.get(3)?,
            is_verified: row.get(4)?,
            session_data: row.get(5)?,
        };
        each(row.text(0)?, row.text(1)?, key)
    };
    match scope {
        Scope { room: Some(room), session: Some(session) } => read.each(
            "SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data \
             FROM key_backup_keys WHERE user = ?1 AND version = ?2 AND room_id = ?3 AND session_id = ?4",
            params![user, version, room, session],
            &mut row,
        ),
        Scope { room: Some(room), session: None } => read.each(
            "SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data \
             FROM key_backup_keys WHERE user = ?1 AND version = ?2 AND room_id = ?3 ORDER BY session_id",
            params![user, version, room],
            &mut row,
        ),
        Scope { room: None, .. } => read.each(
            "SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data \
             FROM key_backup_keys WHERE user = ?1 AND version = ?2 ORDER BY room_id, session_id",
            params![user, version],
            &mut row,
        ),
    }
}

/// Writes a key.
pub fn put_key(
    tx: &WriteTx<'_>,
    user: UserNid,
    version: i64,
    (room_id, session_id): (&str, &str),
    key: &RoomKey,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO key_backup_keys (user, version, room_id, session_id, first_message_index, forwarded_count, \
         is_verified, session_data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
         ON CONFLICT (user, version, room_id, session_id) DO UPDATE SET \
         first_message_index = excluded.first_message_index, forwarded_count = excluded.forwarded_count, \
         is_verified = excluded.is_verified, session_data = excluded.session_data",
        params![
            user,
            version,
            room_id,
            session_id,
            key.first_message_index,
            key.forwarded_count,
            key.is_verified,
            &key.session_data
        ],
    )?;
    Ok(())
}

/// Deletes keys of a version; answers how many.
pub fn delete_keys(tx: &WriteTx<'_>, user: UserNid, version: i64, scope: Scope<'_>) -> Result<usize, StoreError> {
    match scope {
        Scope { room: Some(room), session: Some(session) } => tx.execute(
            "DELETE FROM key_backup_keys WHERE user = ?1 AND version = ?2 AND room_id = ?3 AND session_id = ?4",
            params![user, version, room, session],
        ),
        Scope { room: Some(room), session: None } => tx.execute(
            "DELETE FROM key_backup_keys WHERE user = ?1 AND version = ?2 AND room_id = ?3",
            params![user, version, room],
        ),
        Scope { room: None, .. } => {
            tx.execute("DELETE FROM key_backup_keys WHERE user = ?1 AND version = ?2", params![user, version])
        }
    }
}
