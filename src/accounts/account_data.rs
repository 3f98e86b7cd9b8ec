//! Account data: what a user's clients keep here for each other, globally and per room.
//!
//! Source: Client-Server API, "Client Config".

use std::sync::Arc;

use ruma::{OwnedRoomId, RoomId};

use super::{IgnoreWatcher, Wake};
use crate::{
    rooms::ignored_users,
    store::{
        Read, Store, StoreError, WriteTx, account_data,
        ids::{self, RoomNid, UserNid},
        unignored,
    },
};

/// Longest content, in bytes of its JSON.
const MAX_CONTENT: usize = 64 * 1024;

/// Types that a user can have globally, and in each room.
const MAX_TYPES: i64 = 1000;

/// Longest type, in bytes.
const MAX_TYPE: usize = 255;

/// Longest content of a type that only the server writes: what it holds is bounded by count (friends, to begin with).
const MAX_OWN_CONTENT: usize = 2 * 1024 * 1024;

/// Types that only the server writes: other things change with them.
const SERVER_MANAGED: [&str; 7] = [
    "m.fully_read",
    "m.push_rules",
    "org.linkim.friends",
    "org.linkim.friend_labels",
    "org.linkim.friend_remarks",
    "org.linkim.history_floor",
    "org.linkim.recv_opt",
];

/// Why account data is not taken.
#[derive(Debug, thiserror::Error)]
pub enum AccountDataError {
    /// Only the server writes this type.
    #[error("Cannot set {0} through this API")]
    ServerManaged(String),
    /// The type is longer than 255 bytes.
    #[error("The type is longer than {MAX_TYPE} bytes")]
    TypeTooLong,
    /// The content is larger than 64 KiB.
    #[error("The content is larger than {MAX_CONTENT} bytes")]
    TooLarge,
    /// The user has 1,000 types here already.
    #[error("There are {MAX_TYPES} types already")]
    TooMany,
    /// We do not know the room.
    #[error("Unknown room")]
    UnknownRoom,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The account data of this server's users.
pub struct AccountData {
    store: Store,
    wake: Arc<dyn Wake>,
    ignoring: Option<Arc<dyn IgnoreWatcher>>,
}

impl AccountData {
    /// `wake` tells the user's long polls of each change.
    pub fn new(store: Store, wake: Arc<dyn Wake>) -> Self {
        Self { store, wake, ignoring: None }
    }

    /// Also tells `watcher` of whom users ignore.
    #[must_use]
    pub fn watched_by(mut self, watcher: Arc<dyn IgnoreWatcher>) -> Self {
        self.ignoring = Some(watcher);
        self
    }

    /// The content of a type as JSON; `room` none: the global one.
    pub async fn get(
        &self,
        user: UserNid,
        room: Option<OwnedRoomId>,
        kind: String,
    ) -> Result<Option<String>, StoreError> {
        self.store
            .read(move |read| {
                let room = match &room {
                    Some(room_id) => match ids::room(read, room_id)? {
                        Some(room) => Some(room.nid),
                        None => return Ok(None),
                    },
                    None => None,
                };
                account_data::get(read, user, room, &kind)
            })
            .await
    }

    /// Stores what a client sends; `content` is the JSON of an object.
    pub async fn set(
        self: &Arc<Self>,
        user: UserNid,
        room: Option<OwnedRoomId>,
        kind: String,
        content: String,
    ) -> Result<(), AccountDataError> {
        if SERVER_MANAGED.contains(&kind.as_str()) {
            return Err(AccountDataError::ServerManaged(kind));
        }
        let this = self.clone();
        self.store
            .write(move |tx| {
                let room = room.map(|room_id| room_nid(tx, &room_id)).transpose()?;
                this.put(tx, user, room, &kind, &content)
            })
            .await
    }

    /// Stores a type in a running transaction, at a new place in the server-wide order; after the commit the user's long polls
    /// are told. For the server's own types, too.
    pub fn put(
        &self,
        tx: &WriteTx<'_>,
        user: UserNid,
        room: Option<RoomNid>,
        kind: &str,
        content: &str,
    ) -> Result<(), AccountDataError> {
        if content.len() > MAX_CONTENT {
            return Err(AccountDataError::TooLarge);
        }
        self.put_own(tx, user, room, kind, content)
    }

    /// As [`Self::put`], for what only the server writes, which may be longer.
    pub fn put_own(
        &self,
        tx: &WriteTx<'_>,
        user: UserNid,
        room: Option<RoomNid>,
        kind: &str,
        content: &str,
    ) -> Result<(), AccountDataError> {
        if kind.len() > MAX_TYPE {
            return Err(AccountDataError::TypeTooLong);
        }
        if content.len() > MAX_OWN_CONTENT {
            return Err(AccountDataError::TooLarge);
        }
        let position = tx.next_position();
        let ignores = room.is_none() && kind == ignored_users::KIND;
        let before = if ignores { ignored_users::of(tx, user)? } else { Default::default() };
        if !account_data::update(tx, user, room, kind, content, position)? {
            if account_data::count(tx, user, room)? >= MAX_TYPES {
                return Err(AccountDataError::TooMany);
            }
            account_data::insert(tx, user, room, kind, content, position)?;
        }
        if ignores {
            let after = ignored_users::of(tx, user)?;
            unignored::changed(tx, user, &before, &after, position)?;
            if let Some(watcher) = self.ignoring.clone() {
                tx.after_commit(move || watcher.ignored_changed(position));
            }
        }
        let wake = self.wake.clone();
        tx.after_commit(move || wake.wake_user(user));
        Ok(())
    }
}

/// The number of a room, or the error that we do not know it.
pub(super) fn room_nid(read: &dyn Read, room_id: &RoomId) -> Result<RoomNid, AccountDataError> {
    let room = ids::room(read, room_id)?;
    room.map(|room| room.nid).ok_or(AccountDataError::UnknownRoom)
}
