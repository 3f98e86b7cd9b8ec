//! Statements on where users ceased to ignore others: what those sent up to there is not unread.

use std::collections::{HashMap, HashSet};

use super::{Read, StoreError, WriteTx, ids::UserNid};
use crate::params;

/// Rows of a user at most.
const MAX_ROWS: i64 = 1000;

/// Up to where what these senders sent does not count as unread for the user.
pub fn of(read: &dyn Read, user: UserNid) -> Result<HashMap<UserNid, i64>, StoreError> {
    let rows = read.all("SELECT sender, position FROM unignored WHERE user = ?1", params![user], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(rows.into_iter().collect())
}

/// The user ignored some before, and others from this position on.
pub fn changed(
    tx: &WriteTx<'_>,
    user: UserNid,
    before: &HashSet<UserNid>,
    after: &HashSet<UserNid>,
    position: i64,
) -> Result<(), StoreError> {
    for sender in before.difference(after) {
        tx.execute(
            "INSERT INTO unignored (user, sender, position) VALUES (?1, ?2, ?3) \
             ON CONFLICT (user, sender) DO UPDATE SET position = excluded.position",
            params![user, *sender, position],
        )?;
    }
    tx.execute(
        "DELETE FROM unignored WHERE user = ?1 AND position < (SELECT position FROM unignored WHERE user = ?1 \
         ORDER BY position DESC LIMIT 1 OFFSET ?2)",
        params![user, MAX_ROWS - 1],
    )?;
    Ok(())
}
