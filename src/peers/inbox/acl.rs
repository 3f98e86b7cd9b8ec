//! Whether a server may speak in a room.

use std::sync::Arc;

use ruma::{RoomId, ServerName};

use crate::{
    rooms::server_acl::ServerAcls,
    store::{Store, StoreError, ids},
};

/// Asks the rooms' server ACLs.
pub struct RoomPolicy {
    store: Store,
    acls: Arc<ServerAcls>,
}

impl RoomPolicy {
    /// By the ACLs in this store.
    pub fn new(store: Store, acls: Arc<ServerAcls>) -> Self {
        Self { store, acls }
    }

    /// Whether a server may speak in a room; in one that we don't know nobody may.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn permits(&self, room: &RoomId, server: &ServerName) -> Result<bool, StoreError> {
        let (room, server, acls) = (room.to_owned(), server.to_owned(), self.acls.clone());
        self.store
            .read_short(move |read| match ids::room(read, &room)? {
                Some(room) => acls.permits(read, room.nid, &server),
                None => Ok(false),
            })
            .await
    }
}
