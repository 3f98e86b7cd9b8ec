//! The numbers by which LinkIM's clients name users, conversations, groups and messages.
//!
//! They are the database's own numbers, so they are below 2^53 and cost no table: a user's, a room's (there called a thread), an
//! event's. A group's UUID is its room's number, sealed with a key of this database: it can be computed from the number and
//! the number from it, and says nothing of how many groups there are. Numbers are of this server alone and never leave in an event.

mod group_id;
mod names;

use std::sync::Arc;

use ruma::{OwnedServerName, OwnedUserId};

pub use self::{
    group_id::{GroupId, GroupIdKey},
    names::{GroupRef, MessageRef, ThreadRef, UserRef},
};
use crate::store::{
    Read, Store, StoreError, accounts, ids,
    ids::{RoomKey, UserNid},
    message_numbers,
};

/// A user, by number and by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The number.
    pub nid: UserNid,
    /// The id.
    pub user_id: OwnedUserId,
}

/// Finds what clients name.
pub struct Numbers {
    store: Store,
    server_name: OwnedServerName,
    groups: GroupIdKey,
}

impl Numbers {
    /// Of the server of this name.
    pub fn new(store: Store, server_name: OwnedServerName, groups: GroupIdKey) -> Self {
        Self { store, server_name, groups }
    }

    /// The user that is named. A user of another server gets a number when first named; one of this server must have an account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn user(&self, name: &UserRef) -> Result<Option<User>, StoreError> {
        let (name, own) = (name.clone(), self.server_name.clone());
        let found = self.store.read::<_, StoreError, _>(move |read| user(read, &own, &name)).await?;
        match found {
            Found::User(user) => Ok(Some(user)),
            Found::Nobody => Ok(None),
            Found::Stranger(user_id) => {
                let nid = {
                    let user_id = user_id.clone();
                    self.store.write::<_, StoreError, _>(move |tx| ids::intern_user(tx, &user_id)).await?
                };
                Ok(Some(User { nid, user_id }))
            }
        }
    }

    /// The room that a conversation's number or a room id names, if this server knows it. Whether the asker may know of it is
    /// the caller's to check.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn thread(&self, name: &ThreadRef) -> Result<Option<Arc<RoomKey>>, StoreError> {
        let name = name.clone();
        self.store.read_short(move |read| thread(read, &name)).await
    }

    /// The room that a group's UUID or a room id names, if this server knows it. As [`Self::thread`], nothing is checked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn group(&self, name: &GroupRef) -> Result<Option<Arc<RoomKey>>, StoreError> {
        match self.group_thread(name) {
            Some(thread) => self.thread(&thread).await,
            None => Ok(None),
        }
    }

    /// What a group's name is as a conversation's; none for a UUID that was not made here.
    pub fn group_thread(&self, name: &GroupRef) -> Option<ThreadRef> {
        match name {
            GroupRef::Uuid(id) => self.groups.room(*id).map(|room| ThreadRef::Number(room.0)),
            GroupRef::Room(room_id) => Some(ThreadRef::Room(room_id.clone())),
        }
    }

    /// The UUID of a room as a group.
    pub fn group_id(&self, room: ids::RoomNid) -> GroupId {
        self.groups.id(room)
    }

    /// The server's name.
    pub fn server_name(&self) -> &OwnedServerName {
        &self.server_name
    }
}

/// The room that a conversation's number or a room id names, in a running look-up. As [`Numbers::thread`].
///
/// # Errors
/// [`StoreError`].
pub fn thread(read: &dyn Read, name: &ThreadRef) -> Result<Option<Arc<RoomKey>>, StoreError> {
    match name {
        ThreadRef::Number(number) => ids::known_room(read, *number),
        ThreadRef::Room(room_id) => ids::room(read, room_id),
    }
}

/// The user that is named, in a running look-up; `own` is this server's name. A user of another server whom we never met is
/// nobody here.
///
/// # Errors
/// [`StoreError`].
pub fn known_user(read: &dyn Read, own: &OwnedServerName, name: &UserRef) -> Result<Option<User>, StoreError> {
    Ok(match user(read, own, name)? {
        Found::User(user) => Some(user),
        Found::Stranger(_) | Found::Nobody => None,
    })
}

/// The event that a message's number or an event id names, in this room. A restored message has taken the number of the one
/// that was withdrawn.
///
/// # Errors
/// [`StoreError`].
pub fn message(read: &dyn Read, room: ids::RoomNid, name: &MessageRef) -> Result<Option<ids::EventNid>, StoreError> {
    match name {
        MessageRef::Number(number) => message_numbers::event(read, room, *number),
        MessageRef::Event(event_id) => {
            Ok(crate::store::events::by_id(read, event_id)?.filter(|row| row.room == room).map(|row| row.nid))
        }
    }
}

enum Found {
    User(User),
    /// A user of another server whom we never met.
    Stranger(OwnedUserId),
    Nobody,
}

fn user(read: &dyn Read, own: &OwnedServerName, name: &UserRef) -> Result<Found, StoreError> {
    let found = match name {
        UserRef::Number(number) => ids::known_user(read, *number)?,
        UserRef::Id(user_id) => match ids::user_nid(read, user_id)? {
            Some(nid) => Some((nid, user_id.clone())),
            None if user_id.server_name() == own => None,
            None => return Ok(Found::Stranger(user_id.clone())),
        },
    };
    let Some((nid, user_id)) = found else { return Ok(Found::Nobody) };
    if user_id.server_name() == own && !accounts::exists(read, nid)? {
        return Ok(Found::Nobody);
    }
    Ok(Found::User(User { nid, user_id }))
}
