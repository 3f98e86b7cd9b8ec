//! What relates to an event: the aggregations that are bundled with it.
//!
//! Source: Client-Server API, "Aggregations of child events", "Threading", "Event replacements", "Reference relations".
//! Children that are redacted, hidden, invisible to the viewer or sent by somebody whom the viewer ignores do not count.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::client_event::{Renderer, push_json};
use crate::store::{StoreError, event_pages, event_pages::EventPage, ids, relations as rows};

/// References listed in an event's `m.relations` at most: the oldest ones.
const MAX_REFERENCES: usize = 100;

/// Newest edits, or newest events of a thread, looked at in search of one that may be shown.
const LOOKED_AT: usize = 16;

/// Appends `,"m.relations":{…}` if anything is to be bundled with the event.
pub(super) fn bundle(
    renderer: &mut Renderer<'_>,
    event: &EventPage,
    json: &str,
    with_thread: bool,
    out: &mut String,
) -> Result<(), StoreError> {
    let start = out.len();
    out.push_str(",\"m.relations\":");
    let first = out.len();
    if event.row.redacted_by.is_none() {
        replacement(renderer, event, json, out)?;
    }
    references(renderer, event, out)?;
    if with_thread {
        thread(renderer, event, out)?;
    }
    if out.len() == first {
        out.truncate(start);
    } else {
        // Every bundle begins with a comma; the first one's place is the brace's.
        out.replace_range(first..=first, "{");
        out.push('}');
    }
    Ok(())
}

/// The relation that an event's content states: (`rel_type`, `event_id`).
pub fn relates_to(json: &str) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Event {
        content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "m.relates_to")]
        relates_to: RelatesTo,
    }
    #[derive(Deserialize)]
    struct RelatesTo {
        rel_type: String,
        event_id: String,
    }
    let relates_to = serde_json::from_str::<Event>(json).ok()?.content.relates_to;
    Some((relates_to.rel_type, relates_to.event_id))
}

/// `m.replace`.
fn replacement(renderer: &mut Renderer<'_>, event: &EventPage, json: &str, out: &mut String) -> Result<(), StoreError> {
    match newest_edit(renderer, event, json)? {
        Some(edit) => {
            out.push_str(",\"m.replace\":");
            renderer.inner(&edit, out)
        }
        None => Ok(()),
    }
}

/// The most recent valid edit of an event that is not redacted, by `origin_server_ts`, then by event id.
///
/// # Errors
/// [`StoreError`].
pub fn newest_edit(
    renderer: &mut Renderer<'_>,
    event: &EventPage,
    json: &str,
) -> Result<Option<EventPage>, StoreError> {
    let read = renderer.read;
    if relates_to(json).is_some_and(|(kind, _)| kind == "m.replace") {
        return Ok(None);
    }
    let Some(kind) = ids::type_nid(read, &event.row.kind)? else { return Ok(None) };
    let mut edits = rows::edits(read, &event.row, kind, LOOKED_AT)?;
    edits.sort_by(|a, b| (b.origin_ts, b.event_id.as_str()).cmp(&(a.origin_ts, a.event_id.as_str())));
    for edit in edits {
        if !renderer.allows(&edit)? {
            continue;
        }
        let edit = event_pages::of(read, &edit)?;
        if &*edit.row.kind != "m.room.encrypted" && !has_new_content(&edit.json) {
            continue;
        }
        return Ok(Some(edit));
    }
    Ok(None)
}

fn has_new_content(json: &str) -> bool {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        content: Content<'a>,
    }
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow, rename = "m.new_content")]
        new_content: &'a RawValue,
    }
    serde_json::from_str::<Event<'_>>(json).is_ok_and(|e| e.content.new_content.get().starts_with('{'))
}

/// `m.reference`: the ids of the events that refer to it, oldest first.
fn references(renderer: &mut Renderer<'_>, event: &EventPage, out: &mut String) -> Result<(), StoreError> {
    let found = rows::references(renderer.read, &event.row, MAX_REFERENCES)?;
    if found.is_empty() {
        return Ok(());
    }
    let ignored = renderer.ignored()?;
    let mut any = false;
    for child in found {
        if ignored.contains(&child.sender) || !renderer.allows(&child)? {
            continue;
        }
        out.push_str(if any { "," } else { ",\"m.reference\":{\"chunk\":[" });
        any = true;
        out.push_str("{\"event_id\":");
        push_json(out, child.event_id.as_str());
        out.push('}');
    }
    if any {
        out.push_str("]}");
    }
    Ok(())
}

/// `m.thread`: the thread's newest event, how many it has, and whether the viewer took part.
fn thread(renderer: &mut Renderer<'_>, event: &EventPage, out: &mut String) -> Result<(), StoreError> {
    let read = renderer.read;
    let visibility = renderer.visibility()?;
    // Somebody who left is not told of what came later.
    let up_to = visibility.left_at(read)?.unwrap_or_else(|| read.position());
    let senders = rows::thread_senders(read, &event.row, up_to)?;
    if senders.is_empty() {
        return Ok(());
    }
    let ignored = renderer.ignored()?;
    let count: i64 = senders.iter().filter(|(sender, _)| !ignored.contains(sender)).map(|(_, count)| count).sum();
    let viewer = renderer.viewer.user;
    let participated = event.row.sender == viewer || senders.iter().any(|(sender, _)| *sender == viewer);
    let Some(latest) = latest(renderer, event, up_to)? else { return Ok(()) };
    out.push_str(",\"m.thread\":{\"latest_event\":");
    renderer.thread_event(&latest, out)?;
    // Writing to a String cannot fail.
    let _ = write!(out, ",\"count\":{count},\"current_user_participated\":{participated}}}");
    Ok(())
}

fn latest(renderer: &mut Renderer<'_>, root: &EventPage, up_to: i64) -> Result<Option<EventPage>, StoreError> {
    let ignored = renderer.ignored()?;
    for child in rows::thread_latest(renderer.read, &root.row, up_to, LOOKED_AT)? {
        if !ignored.contains(&child.sender) && renderer.allows(&child)? {
            return event_pages::of(renderer.read, &child).map(Some);
        }
    }
    Ok(None)
}
