//! Statements on the profiles of local users.

use super::{Read, StoreError, WriteTx, ids::UserNid};
use crate::params;

/// One field as JSON.
pub fn get(read: &dyn Read, user: UserNid, field: &str) -> Result<Option<String>, StoreError> {
    read.one("SELECT value FROM profiles WHERE user = ?1 AND field = ?2", params![user, field], |row| row.get(0))
}

/// All fields as (name, JSON), sorted by name.
pub fn all(read: &dyn Read, user: UserNid) -> Result<Vec<(String, String)>, StoreError> {
    read.all("SELECT field, value FROM profiles WHERE user = ?1 ORDER BY field", params![user], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// Stores a field's JSON at a place in the server-wide order.
pub fn set(tx: &WriteTx<'_>, user: UserNid, field: &str, value: &str, position: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO profiles (user, field, value, position) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (user, field) DO UPDATE SET value = excluded.value, position = excluded.position",
        params![user, field, value, position],
    )?;
    Ok(())
}

/// Deletes a field. Answers whether it was there.
pub fn delete(tx: &WriteTx<'_>, user: UserNid, field: &str) -> Result<bool, StoreError> {
    let deleted = tx.execute("DELETE FROM profiles WHERE user = ?1 AND field = ?2", params![user, field])?;
    Ok(deleted > 0)
}

/// Deletes all of a user's fields.
pub fn delete_of_user(tx: &WriteTx<'_>, user: UserNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM profiles WHERE user = ?1", params![user])?;
    Ok(())
}
