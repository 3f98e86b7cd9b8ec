//! The stream of presence: who among those that share a room with the viewer came, went or became idle.
//!
//! Source: Client-Server API, "Presence" (`m.presence`); "Syncing", `presence`.

use std::collections::HashSet;

use super::{
    body::{Events, push_string},
    view::View,
};
use crate::{
    presence::{Change, Presence},
    store::{
        StoreError,
        ids::{RoomNid, UserNid},
        members,
        members::{MemberRow, Membership},
    },
};

/// Events of an answer at most; what is left comes with the next one. A client that has nothing is told of as many, those who
/// were active last.
const MAX_EVENTS: usize = 500;

/// The presence of an answer.
#[derive(Debug, Default)]
pub(super) struct PresenceChanges {
    /// `m.presence`.
    pub(super) events: Events,
    /// Whether others are among them. What the viewer is themselves ends no wait: the request for news is what made it so.
    pub(super) news: bool,
    /// The number of the newest change that the client has then.
    pub(super) up_to: i64,
}

impl PresenceChanges {
    /// Reads what changed after `since`, or with None who is there; `rooms`: the viewer's memberships of the rooms in which
    /// something may have changed.
    pub(super) fn read(
        view: &View<'_>,
        presence: &Presence,
        since: Option<i64>,
        rooms: &[MemberRow],
    ) -> Result<Self, StoreError> {
        // What changes from here on has a higher number, and is told again.
        let serial = presence.serial();
        let newly = newly_joined(view, rooms);
        let limit = view.filter.presence.limit.map_or(MAX_EVENTS, |limit| usize::try_from(limit).unwrap_or(0));
        let limit = limit.min(MAX_EVENTS);
        if since == Some(serial) && newly.is_empty() || limit == 0 || !view.filter.presence.allows_type("m.presence") {
            return Ok(Self { up_to: serial, ..Self::default() });
        }
        let viewer = view.viewer.user;
        let all = joined(view)?;
        let mut out = Writer { view, presence, events: Events::default(), limit, shown: HashSet::new() };
        let Some(since) = since else {
            out.add(presence.present(viewer, &all, MAX_EVENTS))?;
            return Ok(out.finish(serial));
        };
        if !newly.is_empty() {
            out.add(presence.present(viewer, &newly, MAX_EVENTS))?;
            // Else those who are there would take the place of those who changed, once and again.
            out.limit += limit;
        }
        let mut up_to = since;
        loop {
            let (changes, examined) = presence.changes_since(viewer, &all, up_to, MAX_EVENTS);
            let more = changes.len() == MAX_EVENTS;
            if let Some(left) = out.add(changes)? {
                return Ok(out.finish(left - 1));
            }
            up_to = examined;
            if !more {
                return Ok(out.finish(up_to));
            }
        }
    }
}

/// The viewer's rooms that the client does not have yet, ascending.
fn newly_joined(view: &View<'_>, rooms: &[MemberRow]) -> Vec<RoomNid> {
    let Some(since) = view.since else { return Vec::new() };
    let new = rooms.iter().filter(|row| row.membership == Membership::Join && row.since > since);
    let mut new: Vec<RoomNid> = new.map(|row| row.room).collect();
    new.sort_unstable();
    new
}

/// The viewer's rooms, ascending.
fn joined(view: &View<'_>) -> Result<Vec<RoomNid>, StoreError> {
    let rows = members::of_user(view.read, view.viewer.user)?.into_iter();
    let mut joined: Vec<RoomNid> = rows.filter(|row| row.membership == Membership::Join).map(|row| row.room).collect();
    joined.sort_unstable();
    Ok(joined)
}

struct Writer<'a> {
    view: &'a View<'a>,
    presence: &'a Presence,
    events: Events,
    limit: usize,
    shown: HashSet<UserNid>,
}

impl Writer<'_> {
    fn finish(self, up_to: i64) -> PresenceChanges {
        let news = self.shown.iter().any(|user| *user != self.view.viewer.user);
        PresenceChanges { events: self.events, news, up_to }
    }

    /// Adds those that pass; answers the number of the first one that finds no place.
    fn add(&mut self, changes: Vec<Change>) -> Result<Option<i64>, StoreError> {
        let now_ms = self.presence.now_ms();
        for change in changes {
            let passes = self.view.filter.presence.allows("m.presence", &change.user_id, "{}");
            if !passes || self.shown.contains(&change.user) || self.view.ignored()?.contains(&change.user) {
                continue;
            }
            if self.shown.len() >= self.limit {
                return Ok(Some(change.serial));
            }
            self.shown.insert(change.user);
            let content = serde_json::to_string(&change.shown.content(now_ms));
            let content = content.map_err(|error| StoreError::Damaged(error.to_string()))?;
            self.events.push(self.view.filter.fields(), |out| {
                out.push_str("{\"content\":");
                out.push_str(&content);
                out.push_str(",\"sender\":");
                push_string(out, change.user_id.as_str());
                out.push_str(",\"type\":\"m.presence\"}");
                Ok(())
            })?;
        }
        Ok(None)
    }
}
