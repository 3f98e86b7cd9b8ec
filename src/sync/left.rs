//! A room that the viewer left, was kicked or banned from, or whose invitation or knock came to nothing: `rooms.leave`.
//!
//! Source: Client-Server API, "Syncing"; "Room History Visibility" for what they may still see.

use std::sync::Arc;

use super::{
    account_data,
    account_data::Entry,
    body::{Events, Object},
    room_state,
    room_state::{Changes, Span},
    timeline::{Stretch, Timeline},
    view::View,
};
use crate::{
    rooms::visibility::membership_of,
    store::{
        StoreError, event_pages, events,
        events::{EventRow, StateRef},
        ids::RoomKey,
        members::{MemberRow, Membership},
        partial_joins, state,
    },
};

/// What a client has to hear of a room that the viewer is not in any more. It sees what happened up to the leaving, if it was
/// in the room; else the leaving alone.
pub(super) fn left(
    view: &View<'_>,
    room: &Arc<RoomKey>,
    member: &MemberRow,
    changed: &[Entry],
) -> Result<Object, StoreError> {
    let leaving = events::by_nid(view.read, member.event)?;
    let own = leaving.state_key;
    let main = |epoch: i64| StateRef { line: room.main_line, epoch };
    let at_since = match view.since {
        Some(since) => membership(view, main(since), own)?,
        None => Membership::Leave,
    };
    let since = view.since.filter(|_| at_since == Membership::Join);
    let was_in = since.is_some() || joined_before(view, &leaving)?;

    let mut renderer = view.renderer(room);
    let Some(up_to) = leaving.position else { return outlier(view, room, &leaving) };
    let stretch = Stretch { after: since.unwrap_or(0), up_to, always: Some(leaving.nid) };
    let timeline = Timeline::read(view, room, &mut renderer, stretch)?;
    let members = partial_joins::standing(view.read, room.nid)?;
    let span = Span { after: since, up_to, current: false, changed: up_to, members, timeline: &timeline };
    let state = if was_in {
        let changes = Changes::read(view, room, &span)?;
        let whole = since.is_none() || view.full_state;
        room_state::events(view, room, &mut renderer, &span, &changes, whole, &[])?
    } else {
        Events::default()
    };

    let mut out = Object::default();
    // Also without events: matrix-nio refuses a left room that has no state.
    out.put_events(view.state_after.unwrap_or("state"), &state);
    timeline.write(view, &mut renderer, out.member("timeline"))?;
    if view.filter.room.account_data.allows_room(&room.room_id) {
        let events = account_data::events(view, &view.filter.room.account_data, changed)?;
        out.put_some_events("account_data", &events);
    }
    Ok(out)
}

/// A leaving whose room's events are not here: it was told to us by the server that invited.
fn outlier(view: &View<'_>, room: &Arc<RoomKey>, leaving: &EventRow) -> Result<Object, StoreError> {
    let mut renderer = view.renderer(room);
    let page = event_pages::of(view.read, leaving)?;
    let mut events = Events::default();
    events.push(view.filter.fields(), |out| renderer.event(&page, out))?;
    let mut timeline = Object::default();
    timeline.put("events", &events.array());
    timeline.put("limited", "false");
    let mut out = Object::default();
    out.put_events(view.state_after.unwrap_or("state"), &Events::default());
    out.put("timeline", &timeline.finish());
    Ok(out)
}

/// Whether the viewer was in the room right before they left.
fn joined_before(view: &View<'_>, leaving: &EventRow) -> Result<bool, StoreError> {
    match leaving.before {
        Some(before) => Ok(membership(view, before, leaving.state_key)? == Membership::Join),
        None => Ok(false),
    }
}

fn membership(view: &View<'_>, at: StateRef, own: Option<i64>) -> Result<Membership, StoreError> {
    let Some(own) = own else { return Ok(Membership::Leave) };
    match state::value(view.read, at, own)? {
        Some(event) => Ok(membership_of(&events::json(view.read, event)?)),
        None => Ok(Membership::Leave),
    }
}
