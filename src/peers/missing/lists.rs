//! Answers with a whole state or auth chain, read as they arrive: of the events only those that are not here are kept.

use std::{collections::HashSet, sync::Arc, time::Duration};

use axum::body::Body;
use linkim_federation::{Pdu, RoomVersionRules};
use ruma::{OwnedEventId, ServerName};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::{Missing, MissingError, rules};
use crate::{
    peers::{
        body_pieces::{self, BrokenOff},
        client::{Call, PeerError},
        event_lists::{self, Answer, Batch, Bounds},
        transport::TransportError,
    },
    store::ids::RoomKey,
};

/// How long the body may take, once its head is here.
const BODY_TIME: Duration = Duration::from_secs(120);

/// How long nothing of it may come.
const STALLED: Duration = Duration::from_secs(30);

/// An event that a peer sent, and its id.
type Named = (OwnedEventId, Box<RawValue>);

impl Missing {
    /// The events of an answer that are not here and pass the first checks, in no order.
    ///
    /// # Errors
    /// [`MissingError`]
    pub(super) async fn lacking<T: Answer + Send + 'static>(
        &self,
        room: &RoomKey,
        via: &ServerName,
        what: &'static str,
        call: Call,
        bounds: Bounds,
    ) -> Result<Vec<Arc<Pdu>>, MissingError> {
        let _slot = self.requests.take(via).await;
        let opened = self.peers.stream(via, call).await;
        super::count(what, opened.as_ref().err());
        let body = opened?.body;
        let read = tokio::time::timeout(BODY_TIME, self.read_lists::<T>(room, via, body, bounds)).await;
        let read = read.unwrap_or_else(|_| Err(MissingError::Unreachable(PeerError::Timeout(via.to_owned()))));
        if let Err(MissingError::Unreachable(error)) = &read {
            self.peers.broke_off(via, error);
        }
        read
    }

    async fn read_lists<T: Answer + Send + 'static>(
        &self,
        room: &RoomKey,
        via: &ServerName,
        body: Body,
        bounds: Bounds,
    ) -> Result<Vec<Arc<Pdu>>, MissingError> {
        let rules = rules(room)?;
        let (pieces, to_parse) = mpsc::channel(body_pieces::PIECES);
        let (parsed, mut batches) = mpsc::channel::<Batch<T::Part>>(1);
        let parsing = tokio::task::spawn_blocking(move || event_lists::parse::<T>(to_parse, parsed, bounds));
        let checking = async {
            let (mut seen, mut out) = (HashSet::new(), Vec::new());
            while let Some(batch) = batches.recv().await {
                let mut named = named(batch.events, rules).await?;
                // Most events of a state are in the auth chain, too.
                named.retain(|(id, _)| seen.insert(id.clone()));
                let ids = named.iter().map(|(id, _)| id.clone()).collect();
                let missing: HashSet<OwnedEventId> = self.not_here(room, ids).await?.into_iter().collect();
                let events = named.into_iter().filter(|(id, _)| missing.contains(id)).map(|(_, event)| event);
                out.extend(self.checked(room, events.collect(), via).await?);
            }
            // Moved in here: after a failure the parser must not wait for room for ever.
            drop(batches);
            Ok::<_, MissingError>(out)
        };
        let (fed, checked) = tokio::join!(body_pieces::feed(body, STALLED, pieces), checking);
        let parsed = parsing.await.unwrap_or_else(|error| Err(error.to_string()));
        let checked = checked?;
        fed.map_err(|broken| {
            MissingError::Unreachable(match broken {
                BrokenOff::Stalled => PeerError::Timeout(via.to_owned()),
                BrokenOff::Broken(text) => PeerError::Transport(via.to_owned(), TransportError::Broken(text)),
            })
        })?;
        parsed.map_err(|error| MissingError::Unbacked(format!("{via} answered nonsense: {error}")))?;
        Ok(checked)
    }
}

/// Events with their ids; what is no event of the room's version is left out.
async fn named(events: Vec<Box<RawValue>>, rules: &'static RoomVersionRules) -> Result<Vec<Named>, MissingError> {
    let naming = tokio::task::spawn_blocking(move || {
        let named = events.into_iter().filter_map(|event| {
            let id = Pdu::from_peer(event.get().as_bytes(), rules).ok()?.owned_event_id().clone();
            Some((id, event))
        });
        named.collect()
    });
    naming.await.map_err(|error| MissingError::Unbacked(format!("parsing failed: {error}")))
}
