//! A room that the viewer is in: `rooms.join`.
//!
//! Source: Client-Server API, "Syncing".

use std::sync::Arc;

use super::{
    account_data,
    account_data::Entry,
    body::Object,
    ephemeral::Ephemeral,
    room_state,
    room_state::{Changes, Span},
    summary::Summary,
    timeline::{Stretch, Timeline},
    view::View,
};
use crate::{
    rooms::{unread, unread::Unread},
    store::{StoreError, events, ids::RoomKey, members::MemberRow, partial_joins, rooms, sync},
};

/// What a client has to hear of a joined room; None: nothing. `changed`: the room's account data that changed.
pub(super) fn joined(
    view: &View<'_>,
    room: &Arc<RoomKey>,
    member: &MemberRow,
    changed: &[Entry],
) -> Result<Option<Object>, StoreError> {
    // Who joined after the client's place has nothing of the room, or what they had before they left.
    let since = view.since.filter(|since| member.since <= *since);
    let anew = since.is_none();
    let whole = anew || view.full_state;
    let head = rooms::head(view.read, room.nid)?;
    let has_events = since.is_none_or(|since| head.last_position > since);
    let has_changes = since.is_none_or(|since| head.state_position > since);
    let members = partial_joins::standing(view.read, room.nid)?;
    let filled = since.is_some_and(|since| members.filled > since);

    let mut renderer = view.renderer(room);
    let up_to = view.read.position();
    let timeline = if has_events {
        Timeline::read(view, room, &mut renderer, Stretch { after: since.unwrap_or(0), up_to, always: None })?
    } else {
        Timeline::default()
    };
    let span = Span { after: since, up_to, current: true, changed: head.state_position, members, timeline: &timeline };
    let changes = Changes::read(view, room, &span)?;
    let summary = if whole || filled || (has_changes && changes.concern_summary(view)?) {
        Some(Summary::read(view, room, &head, (members, since))?)
    } else {
        None
    };
    let heroes = summary.as_ref().and_then(|summary| summary.heroes.as_deref()).unwrap_or_default();
    let shows_senders = view.filter.room.lazy_load_members() || members.partial;
    let needs_state = whole || has_changes || (shows_senders && !timeline.events.is_empty());
    let state = if needs_state {
        room_state::events(view, room, &mut renderer, &span, &changes, whole, heroes)?
    } else {
        Default::default()
    };
    let ephemeral = Ephemeral::read(view, room, anew)?;
    let own = if anew && view.since.is_some() {
        let all = sync::account_data_of_room(view.read, member.user, room.nid)?;
        account_data::events(view, &view.filter.room.account_data, &all)?
    } else {
        account_data::events(view, &view.filter.room.account_data, changed)?
    };
    let silent = timeline.events.is_empty()
        && state.is_empty()
        && summary.is_none()
        && ephemeral.events.is_empty()
        && !ephemeral.has_read
        && own.is_empty();
    if silent && !whole {
        return Ok(None);
    }

    let mut out = Object::default();
    if let Some(summary) = summary {
        summary.write(view, out.member("summary"))?;
    }
    match view.state_after {
        Some(name) => out.put_events(name, &state),
        None => out.put_some_events("state", &state),
    }
    if whole || !timeline.events.is_empty() || timeline.limited {
        timeline.write(view, &mut renderer, out.member("timeline"))?;
    }
    out.put_some_events("ephemeral", &ephemeral.events);
    if view.filter.room.account_data.allows_room(&room.room_id) {
        out.put_some_events("account_data", &own);
    }
    if whole || has_events || ephemeral.has_read {
        unread_notifications(view, member, &mut out)?;
    }
    Ok(Some(out))
}

/// `unread_notifications` and, if the filter asks for them, `unread_thread_notifications`.
fn unread_notifications(view: &View<'_>, member: &MemberRow, out: &mut Object) -> Result<(), StoreError> {
    let unread = unread::of(view.read, member, view.ignored()?)?;
    let by_thread = view.filter.room.timeline.unread_thread_notifications;
    counts(if by_thread { unread.main } else { unread.total() }, out.member("unread_notifications"));
    if by_thread && !unread.threads.is_empty() {
        let mut threads = Object::default();
        for (root, unread) in unread.threads {
            counts(unread, threads.member(events::id(view.read, root)?.as_str()));
        }
        out.put_object("unread_thread_notifications", threads);
    }
    Ok(())
}

fn counts(unread: Unread, out: &mut String) {
    let mut counts = Object::default();
    counts.put("highlight_count", &unread.highlight.to_string());
    counts.put("notification_count", &unread.notify.to_string());
    out.push_str(&counts.finish());
}

/// A room as a member of `rooms.join`, `rooms.leave`, ….
pub(super) fn put_room(section: &mut Object, room: &RoomKey, content: Object) {
    let out = section.member(room.room_id.as_str());
    out.push_str(&content.finish());
}
