//! The stream of receipts and typing of a room.
//!
//! Source: Client-Server API, "Receipts" (`m.receipt`), "Typing Notifications" (`m.typing`).

use std::collections::BTreeMap;

use ruma::{OwnedEventId, OwnedUserId};
use serde::Serialize;

use super::{body::Events, view::View};
use crate::store::{StoreError, ids, ids::RoomKey, receipts};

/// Receipts of other users that a client gets with a room that it does not have yet.
const MAX_RECEIPTS: usize = 1_000;

#[derive(Serialize)]
struct Receipt<'a> {
    ts: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<&'a str>,
}

/// Event → receipt type → user → receipt.
type Content<'a> = BTreeMap<OwnedEventId, BTreeMap<&'static str, BTreeMap<OwnedUserId, Receipt<'a>>>>;

/// What of a room is not stored as events.
#[derive(Debug, Default)]
pub(super) struct Ephemeral {
    /// `m.receipt` and `m.typing`.
    pub(super) events: Events,
    /// Whether the viewer has read further, here or on another device.
    pub(super) has_read: bool,
}

impl Ephemeral {
    /// Reads what is new, or for a client that does not have the room (`anew`) all of it.
    pub(super) fn read(view: &View<'_>, room: &RoomKey, anew: bool) -> Result<Self, StoreError> {
        let mut out = Self::default();
        out.receipts(view, room, anew)?;
        out.typing(view, room, anew)?;
        Ok(out)
    }

    fn wants(view: &View<'_>, room: &RoomKey, kind: &str) -> bool {
        let filter = &view.filter.room.ephemeral;
        // Neither kind has a sender or a `url`; the types alone can be asked.
        filter.allows_room(&room.room_id) && filter.allows_type(kind)
    }

    fn receipts(&mut self, view: &View<'_>, room: &RoomKey, anew: bool) -> Result<(), StoreError> {
        let me = view.viewer.user;
        let rows = match view.since.filter(|_| !anew) {
            Some(since) => receipts::since(view.read, room.nid, me, since)?,
            None => receipts::newest(view.read, room.nid, me, MAX_RECEIPTS)?,
        };
        self.has_read = rows.iter().any(|row| row.user == me);
        if rows.is_empty() || !Self::wants(view, room, "m.receipt") {
            return Ok(());
        }
        // «Receipts SHOULD be batched into one event per room and thread»: a user can have one in each thread on one event.
        let mut threads: BTreeMap<&str, Content<'_>> = BTreeMap::new();
        for row in &rows {
            if view.ignored()?.contains(&row.user) {
                continue;
            }
            let user = ids::user_id(view.read, row.user)?;
            let thread_id = Some(row.thread.as_str()).filter(|thread| !thread.is_empty());
            let kind = if row.private { "m.read.private" } else { "m.read" };
            let content = threads.entry(&row.thread).or_default();
            let of_event = content.entry(row.event_id.clone()).or_default();
            of_event.entry(kind).or_default().insert(user, Receipt { ts: row.ts, thread_id });
        }
        for content in threads.into_values() {
            self.push(view, "m.receipt", &content)?;
        }
        Ok(())
    }

    fn typing(&mut self, view: &View<'_>, room: &RoomKey, anew: bool) -> Result<(), StoreError> {
        if !Self::wants(view, room, "m.typing") || !(anew || view.typing.changed(room.nid, view.typing_since)) {
            return Ok(());
        }
        let mut user_ids = Vec::new();
        for user in view.typing.users(room.nid) {
            if !view.ignored()?.contains(&user) {
                user_ids.push(ids::user_id(view.read, user)?);
            }
        }
        if anew && user_ids.is_empty() {
            return Ok(());
        }
        self.push(view, "m.typing", &BTreeMap::from([("user_ids", user_ids)]))
    }

    fn push(&mut self, view: &View<'_>, kind: &str, content: &impl Serialize) -> Result<(), StoreError> {
        let content = serde_json::to_string(content).map_err(|e| StoreError::Damaged(e.to_string()))?;
        self.events.push(view.filter.fields(), |out| {
            out.push_str("{\"content\":");
            out.push_str(&content);
            out.push_str(",\"type\":\"");
            out.push_str(kind);
            out.push_str("\"}");
            Ok(())
        })
    }
}
