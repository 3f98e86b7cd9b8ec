//! The stream of account data, global and of rooms.
//!
//! Source: Client-Server API, "Client Config"; "Push Rules" for the rules that everybody begins with.

use std::collections::HashMap;

use ruma::push::Ruleset;

use super::{
    body::{Events, push_string},
    view::View,
};
use crate::{
    rooms::event_filter::RoomEventFilter,
    store::{StoreError, ids::RoomNid, sync},
};

const PUSH_RULES: &str = "m.push_rules";

/// (type, content as JSON).
pub(super) type Entry = (String, String);

/// What a client does not have yet.
#[derive(Debug, Default)]
pub(super) struct AccountData {
    /// Of no room.
    pub(super) global: Vec<Entry>,
    /// By room.
    pub(super) rooms: HashMap<RoomNid, Vec<Entry>>,
}

impl AccountData {
    /// Reads what changed since the view's place, or everything.
    pub(super) fn read(view: &View<'_>) -> Result<Self, StoreError> {
        let mut out = Self::default();
        for (room, kind, content) in sync::account_data(view.read, view.viewer.user, view.since.unwrap_or(i64::MIN))? {
            match room {
                None => out.global.push((kind, content)),
                Some(room) => out.rooms.entry(room).or_default().push((kind, content)),
            }
        }
        if view.since.is_none() && !out.global.iter().any(|(kind, _)| kind == PUSH_RULES) {
            let rules = serde_json::to_string(&Ruleset::server_default(&view.viewer.user_id))
                .map_err(|e| StoreError::Damaged(e.to_string()))?;
            out.global.push((PUSH_RULES.into(), format!("{{\"global\":{rules}}}")));
        }
        Ok(out)
    }
}

/// Account data as events.
pub(super) fn events(view: &View<'_>, filter: &RoomEventFilter, entries: &[Entry]) -> Result<Events, StoreError> {
    let mut out = Events::default();
    for (kind, content) in entries.iter().filter(|(kind, _)| filter.allows_type(kind)) {
        out.push(view.filter.fields(), |out| {
            out.push_str("{\"content\":");
            out.push_str(content);
            out.push_str(",\"type\":");
            push_string(out, kind);
            out.push('}');
            Ok(())
        })?;
    }
    Ok(out)
}
