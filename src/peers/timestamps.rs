//! The event nearest to a time, as servers know that have been in a room longer.
//!
//! Source: Server-Server API, `GET /timestamp_to_event/{roomId}`.

use std::{sync::Arc, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ruma::{OwnedEventId, OwnedServerName, RoomId};
use serde::Deserialize;

use super::{
    candidates,
    client::{Call, PeerClient},
};
use crate::{
    rooms::timeline::Direction,
    store::{Store, StoreError, ids},
};

/// How long a server may take, as a client waits.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Servers asked at most.
const MAX_SERVERS: usize = 3;

/// Bytes of an answer at most.
const MAX_ANSWER: usize = 16 * 1024;

/// An event that another server names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteEvent {
    /// Its id.
    pub event_id: OwnedEventId,
    /// Its `origin_server_ts`, as that server says.
    pub origin_server_ts: i64,
    /// Who says so.
    pub server: OwnedServerName,
}

/// Asks other servers for events by time.
pub struct RemoteTimestamps {
    own: OwnedServerName,
    store: Store,
    peers: Arc<PeerClient>,
}

#[derive(Deserialize)]
struct Answer {
    event_id: OwnedEventId,
    origin_server_ts: i64,
}

impl RemoteTimestamps {
    /// Asks through this client.
    pub fn new(own: OwnedServerName, store: Store, peers: Arc<PeerClient>) -> Self {
        Self { own, store, peers }
    }

    /// The event nearest to a time that the first server to answer knows of.
    ///
    /// # Errors
    /// The store's.
    pub async fn nearest(
        &self,
        room: &RoomId,
        ts: i64,
        direction: Direction,
    ) -> Result<Option<RemoteEvent>, StoreError> {
        let (id, own) = (room.to_owned(), self.own.clone());
        let servers = self.store.read::<_, StoreError, _>(move |read| match ids::room(read, &id)? {
            Some(room) => candidates::of_past(read, room.nid, None, &own),
            None => Ok(Vec::new()),
        });
        let dir = match direction {
            Direction::Forwards => 'f',
            Direction::Backwards => 'b',
        };
        let path = utf8_percent_encode(room.as_str(), NON_ALPHANUMERIC);
        for server in servers.await?.into_iter().take(MAX_SERVERS) {
            let call = Call::get(format!("/_matrix/federation/v1/timestamp_to_event/{path}?ts={ts}&dir={dir}"));
            match self.peers.json::<Answer>(&server, call.timeout(TIMEOUT).limit(MAX_ANSWER)).await {
                Ok(Answer { event_id, origin_server_ts }) => {
                    let right = match direction {
                        Direction::Forwards => origin_server_ts >= ts,
                        Direction::Backwards => origin_server_ts <= ts,
                    };
                    if right {
                        return Ok(Some(RemoteEvent { event_id, origin_server_ts, server }));
                    }
                }
                Err(error) => tracing::debug!(%server, %room, %error, "no event at a time from a server"),
            }
        }
        Ok(None)
    }
}
