//! Statements on stored /sync filters.

use super::{Read, StoreError, WriteTx, ids::UserNid};
use crate::params;

/// The JSON of a user's filter.
pub fn get(read: &dyn Read, user: UserNid, nid: i64) -> Result<Option<String>, StoreError> {
    read.one("SELECT json FROM filters WHERE user = ?1 AND nid = ?2", params![user, nid], |row| row.get(0))
}

/// The number of a user's filter of this hash.
pub fn find(read: &dyn Read, user: UserNid, hash: &[u8]) -> Result<Option<i64>, StoreError> {
    read.one("SELECT nid FROM filters WHERE user = ?1 AND hash = ?2", params![user, hash], |row| row.get(0))
}

/// Stores a filter; the user has none of this hash.
pub fn insert(tx: &WriteTx<'_>, user: UserNid, hash: &[u8], json: &str) -> Result<i64, StoreError> {
    tx.insert("INSERT INTO filters (user, hash, json) VALUES (?1, ?2, ?3) RETURNING nid", params![user, hash, json])
}

/// Deletes a user's oldest filters beyond the newest `keep`.
pub fn trim(tx: &WriteTx<'_>, user: UserNid, keep: i64) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM filters WHERE user = ?1 AND nid <= \
         (SELECT nid FROM filters WHERE user = ?1 ORDER BY nid DESC LIMIT 1 OFFSET ?2)",
        params![user, keep],
    )?;
    Ok(())
}

/// Deletes all of a user's.
pub fn delete_of_user(tx: &WriteTx<'_>, user: UserNid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM filters WHERE user = ?1", params![user])?;
    Ok(())
}
