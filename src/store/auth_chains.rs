//! Auth chains: what authorises events, and what authorises that.

use std::collections::BTreeSet;

use super::{
    Read, StoreError,
    ids::{EventNid, RoomNid},
    rooms::auth_of_blob,
};
use crate::params;

/// Roots above which one pass over the room's edges costs less than a look-up for each event of the chain.
const MANY: usize = 64;

/// The auth events of state events and, recursively, theirs, ascending by number. A root is in it where another one's chain
/// has it.
pub fn of(read: &dyn Read, room: RoomNid, roots: &[EventNid]) -> Result<Vec<EventNid>, StoreError> {
    let chain = match roots.len() {
        0..=MANY => step_by_step(read, room, roots)?,
        _ => in_one_pass(read, room, roots)?,
    };
    Ok(chain.into_iter().map(EventNid).collect())
}

fn step_by_step(read: &dyn Read, room: RoomNid, roots: &[EventNid]) -> Result<BTreeSet<i64>, StoreError> {
    let mut chain = BTreeSet::new();
    let mut todo = roots.to_vec();
    while let Some(event) = todo.pop() {
        let auth =
            read.one("SELECT auth FROM auth_edges WHERE room = ?1 AND event = ?2", params![room, event], |row| {
                Ok(auth_of_blob(event, row.blob(0)?))
            })?;
        todo.extend(auth.unwrap_or_default().into_iter().filter(|auth| chain.insert(auth.0)));
    }
    Ok(chain)
}

/// An event is stored after its auth events, so from the newest down each is met after all that refer to it.
fn in_one_pass(read: &dyn Read, room: RoomNid, roots: &[EventNid]) -> Result<BTreeSet<i64>, StoreError> {
    let roots: BTreeSet<i64> = roots.iter().map(|nid| nid.0).collect();
    let newest = roots.last().copied().unwrap_or(i64::MIN);
    let mut chain = BTreeSet::new();
    read.each(
        "SELECT event, auth FROM auth_edges WHERE room = ?1 AND event <= ?2 ORDER BY event DESC",
        params![room, newest],
        &mut |row| {
            let event: EventNid = row.get(0)?;
            if roots.contains(&event.0) || chain.contains(&event.0) {
                chain.extend(auth_of_blob(event, row.blob(1)?).into_iter().map(|auth| auth.0));
            }
            Ok(())
        },
    )?;
    Ok(chain)
}
