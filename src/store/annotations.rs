//! Relations of one sender to one event.

use ruma::EventId;

use super::{
    Read, StoreError, event_id,
    ids::{EventNid, UserNid},
};
use crate::params;

/// Events of `sender` that relate to `target` by the relation type of this number, redacted and hidden ones left out.
pub fn of_sender(
    read: &dyn Read,
    target: &EventId,
    relation_type: i64,
    sender: UserNid,
) -> Result<Vec<EventNid>, StoreError> {
    read.all(
        // 7: flag::HIDDEN.
        "SELECT nid FROM events WHERE relation_target = ?1 AND relation_type = ?2 AND sender = ?3 \
         AND redacted_by IS NULL AND flags & 7 = 0",
        params![&event_id::encode(target), relation_type, sender],
        |row| row.get(0),
    )
}
