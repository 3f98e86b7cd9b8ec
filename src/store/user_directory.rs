//! Statements of the user directory.

use super::{Read, StoreError, accounts::AccountKind, ids::UserNid};
use crate::params;

/// Calls `each` with every user that can be found: number, id, and of users of this server the display name as JSON. Left out
/// are deactivated accounts, the server's own, and those of other servers who made groups there.
pub fn each(
    read: &dyn Read,
    each: &mut dyn FnMut(UserNid, String, Option<String>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    read.each(
        "SELECT u.nid, u.user_id, p.value FROM users u \
         LEFT JOIN accounts a ON a.user = u.nid \
         LEFT JOIN profiles p ON p.user = u.nid AND p.field = 'displayname' \
         WHERE (a.user IS NULL AND NOT EXISTS (SELECT 1 FROM rooms r WHERE r.service = u.nid)) \
         OR (a.deactivated_ts IS NULL AND a.kind <> ?1)",
        params![AccountKind::Service.number()],
        &mut |row| each(row.get(0)?, row.get(1)?, row.get(2)?),
    )
}
