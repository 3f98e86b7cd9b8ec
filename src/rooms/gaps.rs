//! Where a room's history here has a gap that a reader comes to: the place to fetch earlier events for.
//!
//! A gap may stand at the beginning of what is here or in its middle, where this server was out of the room for a while. It
//! is known by the events that stand after it.

use ruma::OwnedEventId;

use super::{
    access::OpenRoom,
    page_scan::{BEGINNING, END},
};
use crate::store::{
    StoreError, backward_extremities,
    events::{self, Topological},
    ids::EventNid,
};

/// Events that one gap is known by at most.
const MAX_EDGES: i64 = 20;

/// A gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The event that stands after it and that the reader comes to: where there are several, the nearest.
    pub event: EventNid,
    /// Its place.
    pub at: Topological,
    /// Events that are missing right before the gap's edge, those of the newest events first.
    pub missing: Vec<OwnedEventId>,
    /// Whether its edge stands before the page, so that the page begins in the gap.
    pub before_page: bool,
}

/// The newest gap between two places that hides something from the viewer; of two places the one behind which it lies may be
/// that of an event before the page.
pub(super) fn between(
    open: &mut OpenRoom<'_>,
    oldest: Option<Topological>,
    newest: Topological,
) -> Result<Option<Gap>, StoreError> {
    let read = open.read;
    // The page begins below an event that stands at the gap's edge.
    let edge = backward_extremities::place_after(read, open.room.nid, newest)?;
    let (from, to) = (oldest.unwrap_or(BEGINNING), edge.unwrap_or(newest));
    let found = backward_extremities::between(read, open.room.nid, from, to, MAX_EDGES)?;
    let mut gap: Option<Gap> = None;
    for extremity in found {
        match &mut gap {
            Some(gap) => gap.missing.push(extremity.missing),
            None => {
                let row = events::by_nid(read, extremity.event)?;
                // Where they may not see what is there, nothing is fetched for them.
                if open.renderer.visibility()?.reaches_before(read, &row)? {
                    let before_page = extremity.at > newest;
                    let missing = vec![extremity.missing];
                    gap = Some(Gap { event: extremity.event, at: extremity.at, missing, before_page });
                }
            }
        }
    }
    Ok(gap)
}

/// The newest gap of all that hides something from the viewer.
///
/// # Errors
/// [`StoreError`].
pub fn newest(open: &mut OpenRoom<'_>) -> Result<Option<Gap>, StoreError> {
    between(open, None, END)
}

/// The oldest gap after a place, up to another, that hides something from the viewer.
pub(super) fn after(
    open: &mut OpenRoom<'_>,
    place: Topological,
    newest: Option<Topological>,
) -> Result<Option<Gap>, StoreError> {
    let (read, room) = (open.read, open.room.nid);
    let mut gap: Option<Gap> = None;
    for extremity in backward_extremities::after(read, room, place, newest.unwrap_or(END), MAX_EDGES)? {
        match &mut gap {
            // With the edge of another gap the newest of it all would be fetched.
            Some(gap) if gap.event == extremity.event => gap.missing.push(extremity.missing),
            Some(_) => break,
            None => {
                let row = events::by_nid(read, extremity.event)?;
                if open.renderer.visibility()?.reaches_before(read, &row)? {
                    let before_page = backward_extremities::place_after(read, room, place)? == Some(extremity.at);
                    let missing = vec![extremity.missing];
                    gap = Some(Gap { event: extremity.event, at: extremity.at, missing, before_page });
                }
            }
        }
    }
    Ok(gap)
}
