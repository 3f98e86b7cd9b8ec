//! The timeline of a room in one answer: the newest events of a stretch, as far as the viewer and the filter let them pass.
//!
//! Source: Client-Server API, "Syncing", `timeline`.

use std::sync::Arc;

use super::{
    body::{Events, Object, push_string},
    view::View,
};
use crate::{
    rooms::{client_event::Renderer, page_token::PageToken},
    store::{
        StoreError, event_pages,
        event_pages::EventPage,
        ids,
        ids::{EventNid, RoomKey},
        sync,
    },
};

/// Events that are read in search of those that pass, at most. Then the timeline is `limited`, and /messages goes on.
const MAX_SCANNED: usize = 1_000;

/// Which part of a room's events is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// Behind this position; 0: from the beginning.
    pub(super) after: i64,
    /// Up to and with this one.
    pub(super) up_to: i64,
    /// Shown whatever the room's history visibility: the viewer's own leaving.
    pub(super) always: Option<EventNid>,
}

/// The timeline of a room.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Oldest first.
    pub(super) events: Vec<EventPage>,
    /// Whether events of the stretch are left out before the first one.
    pub(super) limited: bool,
    /// Everything behind this position is shown or may not be.
    before: i64,
}

impl Timeline {
    /// Reads the newest events of a stretch.
    pub(super) fn read(
        view: &View<'_>,
        room: &Arc<RoomKey>,
        renderer: &mut Renderer<'_>,
        stretch: Stretch,
    ) -> Result<Self, StoreError> {
        let limit = view.filter.room.timeline_limit();
        let mut out = Self { before: stretch.up_to, ..Self::default() };
        let filter = &view.filter.room.timeline;
        if filter.types.as_ref().is_some_and(Vec::is_empty) || !filter.allows_room(&room.room_id) {
            return Ok(out);
        }
        let mut scanned = 0;
        let complete = loop {
            // One more than wanted tells whether there are more.
            let want = limit + 1 - out.events.len();
            let batch = event_pages::newest(view.read, room.nid, stretch.after, out.before, want)?;
            let exhausted = batch.len() < want;
            scanned += batch.len();
            if out.take(view, renderer, batch, limit, stretch.always)? {
                break false;
            }
            if exhausted {
                break true;
            }
            if scanned >= MAX_SCANNED {
                break false;
            }
        };
        out.events.reverse();
        let from_the_beginning = complete && stretch.after == 0;
        out.limited = !complete || view.lost || (from_the_beginning && sync::has_history(view.read, room.nid)?);
        Ok(out)
    }

    /// Takes what passes; answers whether there was more than `limit`.
    fn take(
        &mut self,
        view: &View<'_>,
        renderer: &mut Renderer<'_>,
        batch: Vec<EventPage>,
        limit: usize,
        always: Option<EventNid>,
    ) -> Result<bool, StoreError> {
        for page in batch {
            let position = page.row.position.unwrap_or(i64::MAX);
            if passes(view, &page)? && (always == Some(page.row.nid) || renderer.allows(&page.row)?) {
                if self.events.len() == limit {
                    return Ok(true);
                }
                self.events.push(page);
            }
            self.before = position - 1;
        }
        Ok(false)
    }

    /// The timeline as JSON.
    pub(super) fn write(
        &self,
        view: &View<'_>,
        renderer: &mut Renderer<'_>,
        out: &mut String,
    ) -> Result<(), StoreError> {
        let mut events = Events::default();
        for page in &self.events {
            events.push(view.filter.fields(), |out| renderer.event(page, out))?;
        }
        let mut timeline = Object::default();
        timeline.put("events", &events.array());
        timeline.put("limited", if self.limited { "true" } else { "false" });
        push_string(timeline.member("prev_batch"), &PageToken::Sync(self.before).to_string());
        out.push_str(&timeline.finish());
        Ok(())
    }
}

/// Whether the filter and the viewer's ignored users let an event into a timeline.
fn passes(view: &View<'_>, page: &EventPage) -> Result<bool, StoreError> {
    if page.row.state_key.is_none() && view.ignored()?.contains(&page.row.sender) {
        return Ok(false);
    }
    let filter = &view.filter.room.timeline;
    if filter.allows_everything() {
        return Ok(true);
    }
    Ok(filter.allows(&page.row.kind, &ids::user_id(view.read, page.row.sender)?, &page.json))
}
