//! `m.typing` of other servers' users.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use ruma::{OwnedRoomId, OwnedUserId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{EduError, EduHandler};
use crate::{
    peers::inbox::acl::RoomPolicy,
    rooms::typing::{Typing, TypingError},
};

/// Hands `m.typing` to the rooms.
pub struct TypingEdus {
    typing: Arc<Typing>,
    policy: Arc<RoomPolicy>,
}

#[derive(Deserialize)]
struct Content {
    room_id: OwnedRoomId,
    user_id: OwnedUserId,
    typing: bool,
}

impl TypingEdus {
    /// Typing goes to `typing`, where `policy` lets the origin speak.
    pub fn new(typing: Arc<Typing>, policy: Arc<RoomPolicy>) -> Self {
        Self { typing, policy }
    }
}

impl EduHandler for TypingEdus {
    fn handle<'a>(&'a self, origin: &'a ServerName, content: &'a RawValue) -> BoxFuture<'a, Result<(), EduError>> {
        Box::pin(async move {
            let content: Content =
                serde_json::from_str(content.get()).map_err(|error| EduError::Ignored(error.to_string()))?;
            // «Receiving servers should verify that the user is in the room, and is a user belonging to the sending server.»
            if content.user_id.server_name() != origin {
                return Err(EduError::Ignored(format!("{} is not a user of {origin}", content.user_id)));
            }
            if !self.policy.permits(&content.room_id, origin).await? {
                return Err(EduError::Ignored(format!("{origin} is denied access to {}", content.room_id)));
            }
            match self.typing.set_remote(content.user_id, content.room_id, content.typing).await {
                Ok(()) => Ok(()),
                Err(error @ TypingError::NotJoined) => Err(EduError::Ignored(error.to_string())),
                Err(TypingError::Store(error)) => Err(error.into()),
            }
        })
    }

    fn durable(&self) -> bool {
        false
    }
}
