//! Stripped state: what somebody who was invited, or who knocks, is told of a room.
//!
//! Source: Client-Server API, "Stripped state".

use ruma::{CanonicalJsonObject, UserId};
use serde::Serialize;

use super::{append::LocalEvent, state};
use crate::store::{Read, StoreError, ids::RoomNid};

/// The state that is told, the required create event first. All under the empty state key.
pub(crate) const KINDS: [&str; 7] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
];

#[derive(Serialize)]
struct Stripped<'e, C: ?Sized> {
    #[serde(rename = "type")]
    kind: &'e str,
    state_key: &'e str,
    sender: &'e UserId,
    content: &'e C,
}

/// Stripped state under construction: the text of a JSON array.
#[derive(Clone, Debug, Default)]
pub(crate) struct StrippedState {
    events: Vec<String>,
}

impl StrippedState {
    /// What the room's current state tells, and the member event of `inviter`.
    pub(crate) fn of_room(read: &dyn Read, room: RoomNid, inviter: Option<&UserId>) -> Result<Self, StoreError> {
        let mut stripped = Self::default();
        let member = inviter.map(|user| ("m.room.member", user.as_str()));
        for (kind, key) in KINDS.into_iter().map(|kind| (kind, "")).chain(member) {
            if let Some(pdu) = state::current(read, room, kind, key)? {
                stripped.push(kind, key, pdu.sender(), pdu.content())?;
            }
        }
        Ok(stripped)
    }

    /// Adds an event that is about to be appended.
    pub(crate) fn push_local(&mut self, event: &LocalEvent) -> Result<(), StoreError> {
        self.push(&event.kind, event.state_key.as_deref().unwrap_or_default(), &event.sender, &event.content)
    }

    /// Adds the create event of a room that is about to be made.
    pub(crate) fn push_create(&mut self, creator: &UserId, content: &CanonicalJsonObject) -> Result<(), StoreError> {
        self.push("m.room.create", "", creator, content)
    }

    fn push<C: Serialize + ?Sized>(
        &mut self,
        kind: &str,
        key: &str,
        sender: &UserId,
        content: &C,
    ) -> Result<(), StoreError> {
        let event = Stripped { kind, state_key: key, sender, content };
        self.events.push(serde_json::to_string(&event).map_err(|e| StoreError::Damaged(e.to_string()))?);
        Ok(())
    }

    /// The JSON array.
    pub(crate) fn json(&self) -> String {
        format!("[{}]", self.events.join(","))
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;
    use crate::rooms::content::object;

    #[test]
    fn an_event_keeps_the_four_members_that_the_spec_allows() {
        let mut stripped = StrippedState::default();
        let alice = user_id!("@alice:a.example");
        stripped.push_create(alice, &object([("room_version", "12".into())])).unwrap();
        let invite = object([("membership", "invite".into())]);
        stripped.push_local(&LocalEvent::state(alice.to_owned(), "m.room.member", "@bob:a.example", invite)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&stripped.json()).unwrap();
        assert_eq!(
            json,
            serde_json::json!([
                { "type": "m.room.create", "state_key": "", "sender": "@alice:a.example",
                  "content": { "room_version": "12" } },
                { "type": "m.room.member", "state_key": "@bob:a.example", "sender": "@alice:a.example",
                  "content": { "membership": "invite" } },
            ])
        );
    }
}
