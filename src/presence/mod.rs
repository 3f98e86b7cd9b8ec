//! Who is online, idle or away.
//!
//! In memory: [`person`] decides what one person is, [`board`] knows all of them and the order of their changes, [`Presence`]
//! looks up whom a change concerns and tells them, once a second at most (spec/decisions/0012). Only status messages are
//! stored.
//!
//! Source: Client-Server API, "Presence"; Server-Server API, "Presence".

mod audience;
mod board;
mod follow;
mod person;
mod service;
mod telling;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ruma::{OwnedServerName, OwnedUserId};
use serde::{Deserialize, Serialize};

pub use self::{
    board::{Change, Sizes},
    follow::{EndsPresence, PresenceFollows},
    service::{Presence, PresenceError, Syncing},
};
use crate::store::ids::UserNid;

/// Characters of a status message at most. The spec names no bound.
pub const MAX_STATUS: usize = 255;

/// What somebody is; of several devices the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum State {
    /// Not connected, or not willing to be seen.
    Offline,
    /// Connected and idle.
    Unavailable,
    /// Connected and active in the last minutes.
    Online,
}

impl State {
    /// As events spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Unavailable => "unavailable",
            Self::Online => "online",
        }
    }
}

/// A text is none of the states.
#[derive(Debug, thiserror::Error)]
#[error("presence is not online, unavailable or offline")]
pub struct NoState;

// By way of a text: read directly, a number counts as malformed JSON.
impl TryFrom<String> for State {
    type Error = NoState;

    fn try_from(text: String) -> Result<Self, NoState> {
        [Self::Offline, Self::Unavailable, Self::Online].into_iter().find(|state| state.as_str() == text).ok_or(NoState)
    }
}

/// What others see of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The state.
    pub state: State,
    /// When they last did something, in milliseconds since the Unix epoch, if that is known.
    pub last_active_ms: Option<i64>,
    /// Whether they are using a client now: no further updates of `last_active_ms` come until this ends.
    pub currently_active: bool,
    /// The status message.
    pub status: Option<Arc<str>>,
}

impl Shown {
    /// Somebody of whom nothing is known.
    pub const NOBODY: Self =
        Self { state: State::Offline, last_active_ms: None, currently_active: false, status: None };

    /// Milliseconds since they last did something.
    pub fn last_active_ago(&self, now_ms: i64) -> Option<i64> {
        self.last_active_ms.map(|ms| (now_ms - ms).max(0))
    }

    /// The content of an `m.presence` event, and the answer of `GET /presence/{userId}/status`.
    pub fn content(&self, now_ms: i64) -> Content<'_> {
        Content {
            presence: self.state,
            last_active_ago: self.last_active_ago(now_ms),
            currently_active: (self.state == State::Online).then_some(self.currently_active),
            status_msg: self.status.as_deref(),
        }
    }
}

/// [`Shown`] as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Content<'a> {
    presence: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_active_ago: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currently_active: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_msg: Option<&'a str>,
}

/// What another server says of one of its users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Their number.
    pub user: UserNid,
    /// Who.
    pub user_id: OwnedUserId,
    /// What they are; `status` has [`MAX_STATUS`] characters at most.
    pub shown: Shown,
}

/// Whoever holds long polls.
pub trait WakeWatchers: Send + Sync + 'static {
    /// Takes users until `limit` of them were woken who wait, or none is left; those who do not wait need not be woken. They
    /// are to look again; nothing that has a position is new.
    fn wake_waiting(&self, users: &mut dyn Iterator<Item = UserNid>, limit: usize);
}

/// Tells other servers. Must not block.
pub trait TellsServers: Send + Sync + 'static {
    /// What users of this server are, for a server that shares a room with each of them; may be lost. At most
    /// [`MAX_TOLD_AT_ONCE`] of them.
    fn tell(&self, server: OwnedServerName, users: &[(UserNid, OwnedUserId, Shown)], now_ms: i64);
}

/// People that one EDU tells of at most.
pub const MAX_TOLD_AT_ONCE: usize = 100;
