//! Statements on invitation codes.

use super::{Read, StoreError, WriteTx};
use crate::params;

/// How often a code may still be used; none if there is no such code.
pub fn uses_left(read: &dyn Read, hash: &[u8]) -> Result<Option<i64>, StoreError> {
    read.one("SELECT uses_left FROM invitation_codes WHERE hash = ?1", params![hash], |row| row.get(0))
}

/// Whether any code may still be used.
pub fn any_left(read: &dyn Read) -> Result<bool, StoreError> {
    Ok(read.one("SELECT 1 FROM invitation_codes WHERE uses_left > 0 LIMIT 1", &[], |_| Ok(()))?.is_some())
}

/// Makes a code.
pub fn insert(tx: &WriteTx<'_>, hash: &[u8], uses: i64, now: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO invitation_codes (hash, uses_left, changed_ts) VALUES (?1, ?2, ?3)",
        params![hash, uses, now],
    )?;
    Ok(())
}

/// Uses a code once. Answers whether a use was left.
pub fn take(tx: &WriteTx<'_>, hash: &[u8], now: i64) -> Result<bool, StoreError> {
    let taken = tx.execute(
        "UPDATE invitation_codes SET uses_left = uses_left - 1, changed_ts = ?2 WHERE hash = ?1 AND uses_left > 0",
        params![hash, now],
    )?;
    Ok(taken > 0)
}

/// Forgets up to `chunk` codes whose last use was before `before`. Answers how many.
pub fn sweep(tx: &WriteTx<'_>, before: i64, chunk: i64) -> Result<usize, StoreError> {
    tx.execute(
        "DELETE FROM invitation_codes WHERE hash IN \
         (SELECT hash FROM invitation_codes WHERE uses_left = 0 AND changed_ts < ?1 LIMIT ?2)",
        params![before, chunk],
    )
}
