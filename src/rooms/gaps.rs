//! Where a room's history here has a gap that a reader comes to: the place to fetch earlier events for.
//!
//! A gap may stand at the beginning of what is here or in its middle, where this server was out of the room for a while. It
//! is known by the events that stand after it.

use ruma::OwnedEventId;

use super::{access::OpenRoom, page_scan::BEGINNING};
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
    /// The newest event that stands after it.
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
