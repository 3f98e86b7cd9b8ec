//! What other servers may read of our rooms.
//!
//! Every look begins by opening the room to the asking server ([`Guest::open`]): server ACL, then how it stands to the
//! room. Every event then passes [`ServerVisibility`]; nothing leaves here otherwise.
//!
//! Source: Server-Server API, "Backfilling and retrieving missing events", "Retrieving events", "Server Access Control Lists".

mod events;
mod guest;
mod history;
mod listing;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ruma::{OwnedServerName, RoomId, ServerName};
use tokio::sync::Semaphore;

use self::guest::Guest;
pub use self::{
    events::AtTimestamp,
    history::{Backfill, MAX_BACKFILL, MAX_MISSING, MissingEvents},
    listing::Listing,
};
use crate::{
    clock::Clock,
    rooms::server_acl::ServerAcls,
    store::{Snapshot, Store, StoreError},
};

/// Lists of a whole state or auth chain that are made at a time: each goes through all of a room's auth edges.
const LISTS_AT_ONCE: usize = 2;

/// Why something is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The server ACL of the room keeps the server out.
    #[error("the server ACL of the room denies your server")]
    Denied,
    /// The server is not in the room, and may not read what it asks for without that.
    #[error("your server is not in the room")]
    NotInRoom,
    /// There is no such thing here, or the server may not see it.
    #[error("{0}")]
    NotFound(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Serves rooms' events and states to other servers.
pub struct Serving {
    own: OwnedServerName,
    clock: Arc<dyn Clock>,
    store: Store,
    acls: Arc<ServerAcls>,
    lists: Semaphore,
}

impl Serving {
    /// As this server, from this store.
    pub fn new(own: OwnedServerName, clock: Arc<dyn Clock>, store: Store, acls: Arc<ServerAcls>) -> Self {
        Self { own, clock, store, acls, lists: Semaphore::new(LISTS_AT_ONCE) }
    }

    /// PDUs, a JSON array, as the transaction that some answers wrap them in.
    pub fn transaction(&self, pdus: &str) -> String {
        let now = self.clock.now_ms();
        format!("{{\"origin\":\"{}\",\"origin_server_ts\":{now},\"pdus\":{pdus}}}", self.own)
    }

    /// Runs `look` on a room that is open to a server, under one snapshot.
    async fn open<T, F>(&self, server: &ServerName, room_id: &RoomId, look: F) -> Result<T, ServeError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Guest<'_>) -> Result<T, ServeError> + Send + 'static,
    {
        let (acls, server, room_id) = (self.acls.clone(), server.to_owned(), room_id.to_owned());
        self.store.read(move |read: &Snapshot<'_>| look(&mut Guest::open(read, &acls, &room_id, &server)?)).await
    }

    /// As [`Self::open`], for what reads much of the store: few at a time.
    async fn open_for_list<T, F>(&self, server: &ServerName, room_id: &RoomId, look: F) -> Result<T, ServeError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Guest<'_>) -> Result<T, ServeError> + Send + 'static,
    {
        let Ok(_permit) = self.lists.acquire().await else { return Err(StoreError::Stopping.into()) };
        self.open(server, room_id, look).await
    }
}
