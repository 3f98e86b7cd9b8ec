//! Which part of a room a user may read at all, before each event is judged by itself.
//!
//! Source: Client-Server API, "Room History Visibility", "Leaving rooms", "Guest Access".

use std::sync::Arc;

use ruma::{OwnedRoomId, RoomId};

use super::{
    client_event::{Renderer, Shape, Viewer},
    visibility::HistoryVisibility,
};
use crate::store::{
    Read, StoreError,
    events::StateRef,
    ids,
    ids::{RoomKey, UserNid},
    members,
    members::Membership,
    partial_joins, rooms,
};

/// How a user stands to a room that they may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Joined: everything up to now.
    Joined,
    /// Was joined, until the event at this position; did not forget the room.
    Left {
        /// Position of the leave, kick or ban.
        at: i64,
        /// Whether anybody may read what came later.
        world_readable: bool,
    },
    /// Never joined; anybody may read.
    Peeking,
    /// Never joined, and the room can't be read now. What was said while anybody could read can, event by event: the rules ask
    /// for the history visibility at the event.
    Outside,
}

/// Why something of a room is not shown.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The user has no part in the room, or there is no such room: which of the two is not told.
    #[error("You aren't a member of the room and weren't previously a member of the room")]
    NoPart,
    /// There is no such thing in the room, or the user may not see it: which of the two is not told.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The room's members are still to be fetched from other servers.
    #[error("This server does not know the room's members yet")]
    MembersMissing,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A room that is open to a viewer, within one snapshot.
pub struct OpenRoom<'a> {
    /// What never changes about it.
    pub room: Arc<RoomKey>,
    /// How the viewer stands to it.
    pub standing: Standing,
    /// Shows its events to the viewer.
    pub renderer: Renderer<'a>,
    pub(super) read: &'a dyn Read,
}

impl<'a> OpenRoom<'a> {
    /// Opens a room to a viewer; its events will be shown in `shape`.
    ///
    /// # Errors
    /// `NoPart`, or [`StoreError`].
    pub fn open(read: &'a dyn Read, room_id: &RoomId, shape: Shape, viewer: &'a Viewer) -> Result<Self, ReadError> {
        match Self::open_for_events(read, room_id, shape, viewer)? {
            Self { standing: Standing::Outside, .. } => Err(ReadError::NoPart),
            open => Ok(open),
        }
    }

    /// As [`Self::open`], for a look at events that the viewer names: also where the viewer stands outside.
    ///
    /// # Errors
    /// `NoPart` for a room that is not here or that the viewer forgot, or [`StoreError`].
    pub fn open_for_events(
        read: &'a dyn Read,
        room_id: &RoomId,
        shape: Shape,
        viewer: &'a Viewer,
    ) -> Result<Self, ReadError> {
        let room = ids::room(read, room_id)?.ok_or(ReadError::NoPart)?;
        let mut renderer = Renderer::new(read, room.clone(), shape, viewer);
        let visibility = renderer.visibility()?;
        let standing = if visibility.now() == Some(Membership::Join) {
            Standing::Joined
        } else {
            let world_readable = visibility.current(read)? == HistoryVisibility::WorldReadable;
            let left = visibility.left_at(read)?;
            let forgotten = || -> Result<bool, StoreError> {
                Ok(members::of(read, viewer.user, room.nid)?.is_some_and(|member| member.forgotten))
            };
            match left {
                Some(at) if !forgotten()? => Standing::Left { at, world_readable },
                _ if world_readable => Standing::Peeking,
                Some(_) => return Err(ReadError::NoPart),
                None => Standing::Outside,
            }
        };
        Ok(Self { room, standing, renderer, read })
    }

    /// Holds that the room's members are here.
    ///
    /// # Errors
    /// `MembersMissing`, or [`StoreError`].
    pub fn needs_members(&self) -> Result<(), ReadError> {
        match partial_joins::is_partial(self.read, self.room.nid)? {
            true => Err(ReadError::MembersMissing),
            false => Ok(()),
        }
    }

    /// Newest position of which anything is shown: of a room that the viewer left, that of their leaving.
    pub fn up_to(&self) -> i64 {
        match self.standing {
            Standing::Left { at, world_readable: false } => at,
            _ => self.read.position(),
        }
    }

    /// The state that the viewer is shown as the room's: the current one, or that at their leaving.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn state(&self) -> StateRef {
        let epoch = match self.standing {
            Standing::Left { at, .. } => at,
            _ => i64::MAX,
        };
        StateRef { line: self.room.main_line, epoch }
    }

    /// Whether a state is the current one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn is_current(&self, state: StateRef) -> Result<bool, StoreError> {
        Ok(state.line == self.room.main_line
            && (state.epoch == i64::MAX || state.epoch >= rooms::head(self.read, self.room.nid)?.state_position))
    }
}

/// The ids of the rooms that a user is joined to.
///
/// # Errors
/// [`StoreError`].
pub fn joined_rooms(read: &dyn Read, user: UserNid) -> Result<Vec<OwnedRoomId>, StoreError> {
    members::of_user(read, user)?
        .into_iter()
        .filter(|member| member.membership == Membership::Join)
        .map(|member| Ok(ids::room_by_nid(read, member.room)?.room_id.clone()))
        .collect()
}
