//! The direct room of two people, as messages need it: what is decided about it, `contacts` decides.

use std::sync::Arc;

use crate::{
    accounts::Session,
    numbers::User,
    store::{
        Read, StoreError,
        ids::{RoomKey, RoomNid, UserNid},
    },
};

/// stub
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// stub
    #[error("no such user")]
    NoUser,
    /// stub
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(super) fn peer(read: &dyn Read, room: RoomNid, user: UserNid) -> Result<Option<UserNid>, StoreError> {
    let _ = (read, room, user);
    Ok(None)
}

pub(super) fn between(read: &dyn Read, one: UserNid, other: UserNid) -> Result<Option<RoomNid>, StoreError> {
    let _ = (read, one, other);
    Ok(None)
}

pub(super) fn joined_by_both(
    read: &dyn Read,
    one: UserNid,
    other: UserNid,
) -> Result<Option<Arc<RoomKey>>, StoreError> {
    let _ = (read, one, other);
    Ok(None)
}

/// stub
pub struct DirectRooms;

impl DirectRooms {
    pub(super) fn friends_only(&self) -> bool {
        false
    }

    pub(super) async fn open(&self, by: &Session, peer: &User) -> Result<Arc<RoomKey>, OpenError> {
        let _ = (by, peer);
        Err(OpenError::NoUser)
    }
}
