//! The reading side of rooms, as handlers call it: one snapshot, one room, one viewer.

use std::sync::Arc;

use ruma::{OwnedRoomId, RoomId};

use super::{
    access::{self, OpenRoom, ReadError},
    client_event::{Shape, Viewer},
};
use crate::{
    accounts::Session,
    clock::Clock,
    store::{Read, Store, StoreError},
};

/// Opens rooms to viewers.
pub struct Reading {
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Reading {
    /// Reads from this store; ages of events are counted by this clock.
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Runs `look` on a room that is open to the session's user, under one snapshot. Events are shown with `room_id`.
    ///
    /// # Errors
    /// `NoPart` if the room is not open to the user, or what `look` answers.
    pub async fn open<T, F>(&self, session: &Session, room_id: &RoomId, look: F) -> Result<T, ReadError>
    where
        T: Send + 'static,
        F: FnOnce(&mut OpenRoom<'_>) -> Result<T, ReadError> + Send + 'static,
    {
        let (viewer, room_id) = (self.viewer(session), room_id.to_owned());
        self.store
            .read(move |snapshot| look(&mut OpenRoom::open(snapshot, &room_id, Shape::ClientWithRoom, &viewer)?))
            .await
    }

    /// As [`Self::open`], for a look at events that the user names: also into a room that is closed now, but once was not.
    ///
    /// # Errors
    /// `NoPart` for a room that is not here, or what `look` answers.
    pub async fn open_for_events<T, F>(&self, session: &Session, room_id: &RoomId, look: F) -> Result<T, ReadError>
    where
        T: Send + 'static,
        F: FnOnce(&mut OpenRoom<'_>) -> Result<T, ReadError> + Send + 'static,
    {
        let (viewer, room_id) = (self.viewer(session), room_id.to_owned());
        self.store
            .read(move |snapshot| {
                look(&mut OpenRoom::open_for_events(snapshot, &room_id, Shape::ClientWithRoom, &viewer)?)
            })
            .await
    }

    /// Runs `look` for the session's user on the rooms together, under one snapshot.
    ///
    /// # Errors
    /// What `look` answers.
    pub async fn across<T, F>(&self, session: &Session, look: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Read, &Viewer) -> Result<T, StoreError> + Send + 'static,
    {
        let viewer = self.viewer(session);
        self.store.read(move |snapshot| look(snapshot, &viewer)).await
    }

    fn viewer(&self, session: &Session) -> Viewer {
        Viewer {
            user: session.user,
            user_id: session.user_id.clone(),
            device: Some(session.device),
            now_ms: self.clock.now_ms(),
        }
    }

    /// The ids of the rooms that the session's user is joined to.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn joined_rooms(&self, session: &Session) -> Result<Vec<OwnedRoomId>, StoreError> {
        let user = session.user;
        self.store.read(move |snapshot| access::joined_rooms(snapshot, user)).await
    }
}
