//! Receive nothing: a user wants no messages of a conversation (`org.linkim.recv_opt`, OpenIM's `recvMsgOpt` 1).
//!
//! LinkIM's pushes and counts leave the conversation out. In a direct room the other one is refused, whichever API they use.

use std::{
    collections::HashSet,
    sync::{PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};

use super::direct;
use crate::{
    accounts::Session,
    rooms::{
        message_kind,
        send_rules::{Refused, SendRule, Wanted},
    },
    store::{
        Read, Store, StoreError, account_data, conversations,
        ids::{RoomKey, RoomNid, UserNid},
    },
};

/// The type of the account data, which the server alone writes.
pub(super) const TYPE: &str = "org.linkim.recv_opt";

/// Its content.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Content {
    /// 1: nothing. 0: as without it.
    pub(super) recv_opt: i64,
}

/// What the content of the account data says; 0 for what is not of its shape.
pub(super) fn of_content(content: &str) -> i64 {
    serde_json::from_str::<Content>(content).map_or(0, |content| content.recv_opt)
}

/// Whether a user receives the messages of a room.
///
/// # Errors
/// [`StoreError`].
pub fn receives(read: &dyn Read, user: UserNid, room: RoomNid) -> Result<bool, StoreError> {
    Ok(account_data::get(read, user, Some(room), TYPE)?.is_none_or(|content| of_content(&content) != 1))
}

/// Refuses messages to somebody who wants to receive nothing.
pub struct ReceiveNothing {
    /// Rooms in which somebody ever wanted it. Bound: the rows of `account_data_recv_opt`; 16 bytes each.
    rooms: RwLock<HashSet<RoomNid>>,
}

impl ReceiveNothing {
    /// Reads in which rooms somebody wants it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(store: &Store) -> Result<Self, StoreError> {
        let rooms = store.read::<_, StoreError, _>(|read| conversations::rooms_with_recv_opt(read)).await?;
        Ok(Self { rooms: RwLock::new(rooms.into_iter().collect()) })
    }

    /// Somebody said what they want in this room. Called before that is visible: a false alarm costs a look-up.
    pub(super) fn note(&self, room: RoomNid) {
        self.rooms.write().unwrap_or_else(PoisonError::into_inner).insert(room);
    }
}

impl SendRule for ReceiveNothing {
    fn concerns(&self, room: &RoomKey) -> bool {
        self.rooms.read().unwrap_or_else(PoisonError::into_inner).contains(&room.nid)
    }

    fn check(
        &self,
        read: &dyn Read,
        by: &Session,
        room: &RoomKey,
        wanted: Wanted<'_>,
    ) -> Result<Option<Refused>, StoreError> {
        if wanted.state_key.is_some() || !message_kind::is_message(wanted.kind) {
            return Ok(None);
        }
        let Some(peer) = direct::peer(read, room.nid, by.user)? else { return Ok(None) };
        let refuses = conversations::recv_opts(read, room.nid)?
            .into_iter()
            .any(|(user, content)| user == peer && of_content(&content) == 1);
        Ok(refuses.then_some(Refused::NotReceiving))
    }
}
