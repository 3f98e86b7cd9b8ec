//! Long lists of events, written while they are sent.
//!
//! Which events they are is decided under one snapshot; their bodies are read in short stretches, so that a state of 50,000
//! events is neither in memory at once nor holds a snapshot while a slow server reads it. Events do not change but by
//! redaction.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, stream};
use ruma::{OwnedRoomId, OwnedServerName, RoomId, ServerName};

use super::{Guest, ServeError, Serving};
use crate::{
    rooms::{server_acl::ServerAcls, server_visibility::Shown},
    store::{Snapshot, Store, StoreError, event_pages, events, ids::EventNid},
};

/// Events that are read at a time.
const TOGETHER: usize = 128;

/// A member of the answer: a name, and a list.
pub(super) enum Section {
    /// Of events.
    Events {
        /// The name.
        name: &'static str,
        /// Which.
        events: Vec<EventNid>,
        /// Whether all are shown as they are; else each is judged.
        whole: bool,
    },
    /// Of their ids.
    Ids {
        /// The name.
        name: &'static str,
        /// Whose.
        events: Vec<EventNid>,
    },
}

/// An answer whose members are lists of events: a JSON object, piece by piece.
pub struct Listing {
    store: Store,
    acls: Arc<ServerAcls>,
    room_id: OwnedRoomId,
    server: OwnedServerName,
    pieces: VecDeque<Piece>,
    /// Whether the list being written has something in it already.
    begun: bool,
}

enum Piece {
    Text(String),
    Events(Arc<[EventNid]>, bool),
    Ids(Arc<[EventNid]>),
}

impl Listing {
    pub(super) fn new(serving: &Serving, room_id: &RoomId, server: &ServerName, sections: Vec<Section>) -> Self {
        let mut pieces = VecDeque::new();
        let mut open = "{";
        for section in sections {
            let (Section::Events { name, ref events, .. } | Section::Ids { name, ref events }) = section;
            pieces.push_back(Piece::Text(format!("{open}\"{name}\":[")));
            open = "],";
            for chunk in events.chunks(TOGETHER) {
                pieces.push_back(match section {
                    Section::Events { whole, .. } => Piece::Events(chunk.into(), whole),
                    Section::Ids { .. } => Piece::Ids(chunk.into()),
                });
            }
        }
        pieces.push_back(Piece::Text("]}".to_owned()));
        Self {
            store: serving.store.clone(),
            acls: serving.acls.clone(),
            room_id: room_id.to_owned(),
            server: server.to_owned(),
            pieces,
            begun: false,
        }
    }

    /// The answer's bytes. An error ends it: the receiver sees a body that is cut off.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static {
        stream::unfold(Some(self), |listing| async move {
            let mut listing = listing?;
            let piece = listing.pieces.pop_front()?;
            match listing.write(piece).await {
                Ok(bytes) => Some((Ok(bytes), Some(listing))),
                Err(error) => {
                    tracing::warn!(%error, room = %listing.room_id, "a list of events is cut off");
                    Some((Err(error), None))
                }
            }
        })
    }

    async fn write(&mut self, piece: Piece) -> Result<Bytes, StoreError> {
        let items = match piece {
            Piece::Text(text) => {
                self.begun = false;
                return Ok(text.into());
            }
            Piece::Events(events, whole) => self.events(events, whole).await?,
            Piece::Ids(events) => {
                let read = move |read: &Snapshot<'_>| -> Result<Vec<String>, StoreError> {
                    events.iter().map(|nid| Ok(format!("\"{}\"", events::id(read, *nid)?))).collect()
                };
                self.store.read(read).await?
            }
        };
        let mut text = String::with_capacity(items.iter().map(|item| item.len() + 1).sum());
        for item in items {
            if std::mem::replace(&mut self.begun, true) {
                text.push(',');
            }
            text.push_str(&item);
        }
        Ok(text.into())
    }

    async fn events(&self, events: Arc<[EventNid]>, whole: bool) -> Result<Vec<String>, StoreError> {
        let (acls, room_id, server) = (self.acls.clone(), self.room_id.clone(), self.server.clone());
        self.store
            .read(move |read: &Snapshot<'_>| {
                let mut guest = match Guest::open(read, &acls, &room_id, &server) {
                    Ok(guest) => guest,
                    Err(ServeError::Store(error)) => return Err(error),
                    // Kept out since the list was begun.
                    Err(_) => return Ok(Vec::new()),
                };
                let mut items = Vec::with_capacity(events.len());
                for page in event_pages::by_nids(read, &events)? {
                    let json = match whole {
                        true => guest.render(page, Shown::Whole)?,
                        false => guest.json(page)?,
                    };
                    items.extend(json);
                }
                Ok(items)
            })
            .await
    }
}
