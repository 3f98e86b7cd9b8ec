//! Power levels as they bear on decisions that are not the authorisation rules': redactions, mentions of the room, who may
//! authorise a restricted join. The authorisation rules themselves are in the protocol crate.

use std::collections::HashMap;

use linkim_federation::{Pdu, RoomVersionRules, rules};
use ruma::UserId;
use serde::Deserialize;
use serde_json::Value;

use super::state;
use crate::store::{Read, StoreError, ids::RoomKey};

/// A user's power: in version 12 a creator's is above every number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A number.
    Number(i64),
    /// A creator's, from version 12 on.
    Infinite,
}

#[derive(Default, Deserialize)]
struct Content {
    #[serde(default)]
    users: HashMap<String, Value>,
    users_default: Option<Value>,
    invite: Option<Value>,
    redact: Option<Value>,
    events_default: Option<Value>,
    state_default: Option<Value>,
    #[serde(default)]
    events: HashMap<String, Value>,
    #[serde(default)]
    notifications: HashMap<String, Value>,
}

/// The power levels of a room at one moment.
pub struct Power {
    content: Content,
    has_event: bool,
    creators: Vec<String>,
    infinite: bool,
}

/// An integer as power levels spell it: older versions allow it as a string.
fn number(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_i64(),
    }
}

impl Power {
    /// Of the room's current state.
    pub fn of_room(read: &dyn Read, room: &RoomKey) -> Result<Self, StoreError> {
        let rules =
            rules(&room.version).ok_or_else(|| StoreError::Damaged(format!("room version {}", room.version)))?;
        let create = state::current(read, room.nid, "m.room.create", "")?;
        let levels = state::current(read, room.nid, "m.room.power_levels", "")?;
        Ok(Self::new(rules, create.as_deref(), levels.as_deref()))
    }

    /// From the room's create event and its power levels, if it has any.
    pub fn new(rules: &RoomVersionRules, create: Option<&Pdu>, levels: Option<&Pdu>) -> Self {
        let content: Content =
            levels.and_then(|pdu| serde_json::from_str(pdu.content().get()).ok()).unwrap_or_default();
        let mut creators = Vec::new();
        if let Some(create) = create {
            let fields: HashMap<String, Value> = serde_json::from_str(create.content().get()).unwrap_or_default();
            if rules.authorization.use_room_create_sender {
                creators.push(create.sender().to_string());
            } else if let Some(Value::String(creator)) = fields.get("creator") {
                creators.push(creator.clone());
            }
            if let (true, Some(Value::Array(more))) =
                (rules.authorization.additional_room_creators, fields.get("additional_creators"))
            {
                creators.extend(more.iter().filter_map(|user| user.as_str().map(str::to_owned)));
            }
        }
        Self {
            content,
            has_event: levels.is_some(),
            creators,
            infinite: rules.authorization.explicitly_privilege_room_creators,
        }
    }

    /// The creators that the room's version counts: their ids.
    pub fn creators(&self) -> &[String] {
        &self.creators
    }

    /// The users whom the power levels name.
    pub fn listed(&self) -> impl Iterator<Item = &str> {
        self.content.users.keys().map(String::as_str)
    }

    /// The power of a user.
    pub fn of(&self, user: &UserId) -> Level {
        let creator = self.creators.iter().any(|creator| creator == user.as_str());
        if creator && self.infinite {
            return Level::Infinite;
        }
        if !self.has_event {
            return Level::Number(if creator { 100 } else { 0 });
        }
        let own = self.content.users.get(user.as_str()).and_then(number);
        Level::Number(own.or_else(|| self.content.users_default.as_ref().and_then(number)).unwrap_or(0))
    }

    /// What redacting somebody else's event takes.
    pub fn to_redact(&self) -> Level {
        self.named(self.content.redact.as_ref(), 50)
    }

    /// What inviting takes.
    pub fn to_invite(&self) -> Level {
        self.named(self.content.invite.as_ref(), 0)
    }

    /// What mentioning the whole room takes.
    pub fn to_notify_room(&self) -> Level {
        self.named(self.content.notifications.get("room"), 50)
    }

    /// What sending an event of this type takes.
    pub fn to_send(&self, kind: &str, is_state: bool) -> Level {
        let default = if is_state {
            self.named(self.content.state_default.as_ref(), if self.has_event { 50 } else { 0 })
        } else {
            self.named(self.content.events_default.as_ref(), 0)
        };
        self.content.events.get(kind).and_then(number).map_or(default, Level::Number)
    }

    fn named(&self, value: Option<&Value>, default: i64) -> Level {
        Level::Number(value.and_then(number).unwrap_or(default))
    }
}
