//! Redactions: each that may has taken its target's content, and no content was taken by anything else.

use super::{
    Kind, Report, Site,
    replay::Replayed,
    room::{Event, Room},
};
use crate::{
    params,
    store::{StoreError, event_id, events::flag},
};

/// Checks a room's redactions.
pub(super) fn check(site: &Site<'_>, room: &Room, replayed: &Replayed, report: &mut Report) -> Result<(), StoreError> {
    for event in &room.events {
        if let Some(by) = event.redacted_by {
            check_redacted(room, replayed, event, by, report);
        }
    }
    for (at, redaction) in room.events.iter().enumerate() {
        check_effect(room, replayed, at, redaction, report);
    }
    waiting(site, room, report)
}

/// Whether a redaction (by index) may redact an event, and is one of it.
fn redacts(room: &Room, replayed: &Replayed, at: usize, target: &Event) -> bool {
    let redaction = &room.events[at];
    let (Some(by), Some(of)) = (&redaction.body, &target.body) else { return false };
    let names = by.redacts.as_ref().is_some_and(|id| event_id::encode(id) == target.id);
    names
        && of.kind != "m.room.create"
        && !redaction.is(flag::HIDDEN)
        && (replayed.may_redact.contains(&at) || by.sender.server_name() == of.sender.server_name())
}

fn check_redacted(room: &Room, replayed: &Replayed, event: &Event, by: i64, report: &mut Report) {
    match room.by_nid(by) {
        None => report.add(
            Kind::Redaction,
            &event.event_id,
            format_args!("redacted by event {by}, which is not in the room"),
        ),
        Some(at) if !redacts(room, replayed, at, event) => {
            let by = &room.events[at].event_id;
            report.add(Kind::Redaction, &event.event_id, format_args!("redacted by {by}, which does not or may not"));
        }
        Some(_) => {}
    }
    if event.body.as_ref().is_some_and(|body| !body.redacted) {
        report.add(Kind::Redaction, &event.event_id, "redacted, and its body still has its content");
    }
}

/// A redaction whose target is here has been applied, or another one has.
fn check_effect(room: &Room, replayed: &Replayed, at: usize, redaction: &Event, report: &mut Report) {
    let Some(target) = redaction.body.as_ref().and_then(|body| body.redacts.as_ref()) else { return };
    let Some(target) = room.by_id(&event_id::encode(target)).map(|at| &room.events[at]) else { return };
    if target.redacted_by.is_none() && redacts(room, replayed, at, target) {
        report.add(Kind::Redaction, &target.event_id, format_args!("{} has not been applied", redaction.event_id));
    }
}

/// Redactions that wait for their target.
fn waiting(site: &Site<'_>, room: &Room, report: &mut Report) -> Result<(), StoreError> {
    site.read.each(
        "SELECT target, redaction FROM pending_redactions WHERE room = ?1",
        params![room.key.nid],
        &mut |row| {
            let (target, redaction): (Vec<u8>, i64) = (row.get(0)?, row.get(1)?);
            let named = room.by_nid(redaction).and_then(|at| room.events[at].body.as_ref()?.redacts.as_ref());
            if named.map(|id| event_id::encode(id)).as_ref() != Some(&target) {
                let what = format!("event {redaction} waits for an event that it does not redact");
                report.add(Kind::Redaction, &room.key.room_id, what);
            } else if room.by_id(&target).is_some() {
                report.add(
                    Kind::Redaction,
                    &room.key.room_id,
                    format_args!("event {redaction} waits for one that is here"),
                );
            }
            Ok(())
        },
    )
}
