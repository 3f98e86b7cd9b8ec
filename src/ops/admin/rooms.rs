//! The list of rooms.

use serde::Deserialize;

use super::RoomLine;
use crate::{
    params,
    rooms::state,
    store::{Read, Snapshot, StoreError, ids::RoomNid},
};

/// Rooms of one page at most.
const PAGE: i64 = 500;

/// Characters of a name that are shown.
const MAX_NAME: usize = 100;

#[derive(Deserialize)]
struct Name {
    name: String,
}

/// The rooms after `after`, in the order in which this server came to know them, and where the next page begins.
pub(super) fn page(read: &Snapshot<'_>, after: i64) -> Result<(Vec<RoomLine>, Option<i64>), super::AdminError> {
    let read: &dyn Read = read;
    let found = read.all(
        "SELECT r.nid, r.room_id, r.version, COALESCE(h.joined, 0), COALESCE(h.local_joined, 0), r.partial FROM rooms r \
         LEFT JOIN room_heads h ON h.room = r.nid WHERE r.nid > ?1 ORDER BY r.nid LIMIT ?2",
        params![after, PAGE],
        |row| {
            let line = RoomLine {
                room_id: row.get(1)?,
                version: row.get(2)?,
                joined: row.get(3)?,
                local_joined: row.get(4)?,
                name: None,
                partial: row.get(5)?,
            };
            Ok((row.get::<RoomNid>(0)?, line))
        },
    )?;
    let next = found.last().filter(|_| found.len() as i64 == PAGE).map(|(nid, _)| nid.0);
    let lines: Result<Vec<RoomLine>, StoreError> = found
        .into_iter()
        .map(|(room, line)| {
            let name: Option<Name> = state::current_content(read, room, "m.room.name", "")?;
            // On a terminal a name must not move the cursor.
            let shown = |name: Name| name.name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
            Ok(RoomLine { name: name.map(shown), ..line })
        })
        .collect();
    Ok((lines?, next))
}
