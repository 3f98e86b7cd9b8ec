//! What goes over the socket: one line of JSON each way, then the connection ends.

use serde::{Deserialize, Serialize};

use crate::peers::sender::DestinationLine;

/// Bytes of a request's line at most: a password has 4,096 at most, JSON may need six for each of them.
pub(super) const MAX_REQUEST: u64 = 32 * 1024;

/// Bytes of an answer's line at most.
pub(super) const MAX_REPLY: u64 = 8 * 1024 * 1024;

/// What the operator asks.
#[derive(Deserialize, Serialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Create a user.
    CreateUser {
        /// Its localpart.
        localpart: String,
        /// Its password.
        password: String,
        /// Whether it is an administrator.
        admin: bool,
    },
    /// Set a user's password and log out its devices.
    ResetPassword {
        /// Its localpart.
        localpart: String,
        /// The new password.
        password: String,
    },
    /// Deactivate a user for ever.
    Deactivate {
        /// Its localpart.
        localpart: String,
    },
    /// Make an invitation code.
    InviteCode {
        /// For how many registrations.
        uses: u32,
    },
    /// List the rooms, a page at a time.
    ListRooms {
        /// Where the page before ended; 0 for the first.
        after: i64,
    },
    /// Say how things stand with other servers, a page at a time.
    Federation {
        /// The last name of the page before; empty for the first.
        after: String,
    },
    /// Try a server now, however often it failed.
    FederationRetry {
        /// Its name.
        server: String,
    },
}

impl Request {
    /// What is asked, without secrets.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::CreateUser { .. } => "create-user",
            Self::ResetPassword { .. } => "reset-password",
            Self::Deactivate { .. } => "deactivate",
            Self::InviteCode { .. } => "invite-code",
            Self::ListRooms { .. } => "list-rooms",
            Self::Federation { .. } => "federation",
            Self::FederationRetry { .. } => "federation retry",
        }
    }
}

/// A room as the operator sees it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct RoomLine {
    /// Its id.
    pub room_id: String,
    /// Its version.
    pub version: String,
    /// Joined members.
    pub joined: i64,
    /// Those of this server among them.
    pub local_joined: i64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Whether its members are still to be fetched from other servers.
    #[serde(default)]
    pub partial: bool,
}

/// What is answered.
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// It was done.
    Done {
        /// What was done, in words.
        text: String,
    },
    /// Rooms.
    Rooms {
        /// A page of them.
        rooms: Vec<RoomLine>,
        /// Where the next page begins, if there is one.
        next: Option<i64>,
    },
    /// Other servers.
    Federation {
        /// A page of them.
        servers: Vec<DestinationLine>,
        /// Where the next page begins, if there is one.
        next: Option<String>,
        /// The time now, in milliseconds.
        now_ms: i64,
    },
    /// It was not done.
    Failed {
        /// Why, in words.
        error: String,
    },
}
