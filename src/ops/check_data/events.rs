//! Event ids, content hashes, and the columns that are taken from the body.

use ruma::OwnedEventId;

use super::{
    Kind, Report, Site,
    room::{Body, Event, Named, Room},
};
use crate::store::{StoreError, event_id, events::flag, ids, ids::UserNid};

/// Checks every event by itself.
pub(super) fn check(site: &Site<'_>, room: &Room, report: &mut Report) -> Result<(), StoreError> {
    for event in &room.events {
        let Some(body) = &event.body else { continue };
        check_identity(site, event, body, report);
        check_columns(site, event, body, report)?;
        check_relation(site, room, event, body, report)?;
    }
    Ok(())
}

fn check_identity(site: &Site<'_>, event: &Event, body: &Body, report: &mut Report) {
    // The version by which its id was made may turn out to be another.
    if event.loose {
        return;
    }
    match &body.named {
        Named::Rightly => {}
        Named::Otherwise(id) => report.add(Kind::EventId, &event.event_id, format_args!("the body is that of {id}")),
        Named::Malformed(reason) => report.add(Kind::Body, &event.event_id, reason),
    }
    if !body.in_room {
        report.add(Kind::Body, &event.event_id, "the body names another room");
    }
    // One that came here redacted never had the content that was hashed; our own came whole, unless from elsewhere.
    let ours = body.sender.server_name() == site.server_name && event.is(flag::RELAY);
    let came_redacted = body.redacted && !ours;
    if event.redacted_by.is_none() && !body.hash_holds && !came_redacted {
        report.add(Kind::ContentHash, &event.event_id, "the content is not what its server hashed");
    }
}

fn check_columns(site: &Site<'_>, event: &Event, body: &Body, report: &mut Report) -> Result<(), StoreError> {
    let read = site.read;
    let mut differ = |column: &str, stored: &dyn std::fmt::Debug, wanted: &dyn std::fmt::Debug| {
        report.add(Kind::Column, &event.event_id, format_args!("{column} is {stored:?}, the body says {wanted:?}"));
    };
    let kind = ids::type_nid(read, &body.kind)?;
    if kind != Some(event.kind) {
        differ("type", &event.kind, &(kind, &body.kind));
    }
    let state_key = match &body.state_key {
        Some(key) => ids::state_key_nid(read, &body.kind, key)?,
        None => None,
    };
    if state_key != event.state_key || state_key.is_none() && body.state_key.is_some() {
        differ("state_key", &event.state_key, &(state_key, &body.state_key));
    }
    let sender = ids::user_nid(read, &body.sender)?;
    if sender != Some(UserNid(event.sender)) {
        differ("sender", &event.sender, &(sender, &body.sender));
    }
    if body.depth != event.depth {
        differ("depth", &event.depth, &body.depth);
    }
    if body.origin_ts != event.origin_ts {
        differ("origin_ts", &event.origin_ts, &body.origin_ts);
    }
    Ok(())
}

/// The relation, and the thread that it makes. A redaction takes the relation from the body but not from the columns.
fn check_relation(
    site: &Site<'_>,
    room: &Room,
    event: &Event,
    body: &Body,
    report: &mut Report,
) -> Result<(), StoreError> {
    if event.redacted_by.is_some() {
        return Ok(());
    }
    let wanted = match &body.relation {
        Some((kind, target)) => Some((ids::type_nid(site.read, kind)?.unwrap_or_default(), event_id::encode(target))),
        None => None,
    };
    if wanted != event.relation {
        let stored = event.relation.as_ref().map(|(kind, _)| kind);
        let what = format!("relation type {stored:?} is stored, the body says {:?}", body.relation);
        report.add(Kind::Relation, &event.event_id, what);
    }
    let (thread, known_before) = thread(room, event, body.relation.as_ref());
    // A target that came later may or may not have been noted.
    if event.thread != thread && (known_before || event.thread != 0) {
        let what = format!("thread {} is stored, its relation leads to {thread}", event.thread);
        report.add(Kind::Relation, &event.event_id, what);
    }
    Ok(())
}

/// The root of an event's thread, and whether what it relates to was here before it.
fn thread(room: &Room, event: &Event, relation: Option<&(String, OwnedEventId)>) -> (i64, bool) {
    let target = relation.and_then(|(kind, target)| Some((kind, room.by_id(&event_id::encode(target))?)));
    let Some((kind, target)) = target else { return (0, true) };
    let target = &room.events[target];
    let root = if kind == "m.thread" { target.nid } else { target.thread };
    (root, target.nid < event.nid)
}
