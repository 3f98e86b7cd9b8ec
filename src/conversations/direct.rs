//! The direct room of two people, as messages need it: what is decided about it, `contacts` decides.

use std::sync::Arc;

use crate::{
    accounts::Session,
    contacts::Contacts,
    numbers::User,
    store::{
        Read, StoreError, direct_rooms,
        ids::{self, RoomKey, RoomNid, UserNid},
        members::Membership,
    },
};

pub(super) use crate::contacts::OpenError;

/// The other one of a direct room.
///
/// # Errors
/// [`StoreError`].
pub(super) fn peer(read: &dyn Read, room: RoomNid, user: UserNid) -> Result<Option<UserNid>, StoreError> {
    direct_rooms::peer(read, room, user)
}

/// The direct room of two people.
pub(super) fn between(read: &dyn Read, one: UserNid, other: UserNid) -> Result<Option<RoomNid>, StoreError> {
    direct_rooms::between(read, one, other)
}

/// The direct room of two people, if both are in it.
pub(super) fn joined_by_both(
    read: &dyn Read,
    one: UserNid,
    other: UserNid,
) -> Result<Option<Arc<RoomKey>>, StoreError> {
    let room = direct_rooms::canonical(read, one, other)?;
    let both =
        |room: &direct_rooms::DirectRoom| (room.own, room.other) == (Some(Membership::Join), Some(Membership::Join));
    room.filter(both).map(|room| ids::room_by_nid(read, room.room)).transpose()
}

/// Opens direct rooms for messages.
pub struct DirectRooms {
    contacts: Arc<Contacts>,
    friends_only: bool,
}

impl DirectRooms {
    /// `friends_only`: whether only friends may write to each other (`linkim.friend_verify`).
    pub fn new(contacts: Arc<Contacts>, friends_only: bool) -> Self {
        Self { contacts, friends_only }
    }

    /// Whether a room that is there does not suffice.
    pub(super) fn friends_only(&self) -> bool {
        self.friends_only
    }

    /// The room in which the user can talk to somebody, made if need be; who has to be asked first is asked with this text.
    pub(super) async fn open(&self, by: &Session, peer: &User, text: &str) -> Result<Arc<RoomKey>, OpenError> {
        Ok(self.contacts.open_direct(by, peer, text).await?.room)
    }
}
