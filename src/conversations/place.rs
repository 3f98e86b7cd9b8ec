//! Which conversation a request names.

use std::sync::Arc;

use super::direct;
use crate::{
    accounts::Session,
    numbers::{self, GroupRef, Numbers, ThreadRef, UserRef},
    store::{
        Read, Store, StoreError,
        ids::{self, RoomKey},
        members,
        members::Membership,
    },
};

/// A conversation, by one of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationRef {
    /// By its own number.
    Thread(ThreadRef),
    /// By a group's id.
    Group(GroupRef),
    /// By the other one of a direct room.
    With(UserRef),
}

/// Why a name is of no conversation of the user's.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// There is no such user.
    #[error("no such user")]
    NoUser,
    /// There is no such conversation.
    #[error("no such conversation")]
    NoConversation,
    /// There is no such group.
    #[error("no such group")]
    NoGroup,
    /// The user is not in it.
    #[error("you are not in this conversation")]
    NotMember,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The conversation that a name means to a user. Of a group or a number, whether the user is in it is not asked.
pub(super) fn find(
    read: &dyn Read,
    numbers: &Numbers,
    by: &Session,
    name: &ConversationRef,
) -> Result<Arc<RoomKey>, PlaceError> {
    match name {
        ConversationRef::Thread(thread) => numbers::thread(read, thread)?.ok_or(PlaceError::NoConversation),
        ConversationRef::Group(group) => {
            let thread = numbers.group_thread(group).ok_or(PlaceError::NoGroup)?;
            numbers::thread(read, &thread)?.ok_or(PlaceError::NoGroup)
        }
        ConversationRef::With(user) => {
            let peer = numbers::known_user(read, numbers.server_name(), user)?.ok_or(PlaceError::NoUser)?;
            let room = direct::between(read, by.user, peer.nid)?.ok_or(PlaceError::NoConversation)?;
            Ok(ids::room_by_nid(read, room)?)
        }
    }
}

impl ConversationRef {
    /// The room, of which the user must be a joined member.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub async fn joined(self, store: &Store, numbers: &Arc<Numbers>, by: &Session) -> Result<Arc<RoomKey>, PlaceError> {
        let (numbers, by) = (numbers.clone(), by.clone());
        store
            .read_short(move |read| {
                let room = find(read, &numbers, &by, &self)?;
                let member = members::of(read, by.user, room.nid)?;
                match member.is_some_and(|member| member.membership == Membership::Join) {
                    true => Ok(room),
                    false => Err(PlaceError::NotMember),
                }
            })
            .await
    }

    /// The room, whether or not the user is in it: what is done there asks for that itself.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub async fn room(self, store: &Store, numbers: &Arc<Numbers>, by: &Session) -> Result<Arc<RoomKey>, PlaceError> {
        let (numbers, by) = (numbers.clone(), by.clone());
        store.read_short(move |read| find(read, &numbers, &by, &self)).await
    }
}
