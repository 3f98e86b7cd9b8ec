//! Fetches what other servers have and we lack: events before an event, the state before it, auth chains, single events.
//!
//! Whatever comes back is bounded in bytes and number, checked (format, signatures, hash) and of the room that was asked for,
//! before anybody sees it. Which server is asked, and whether it may be asked again, is for the caller to say; how it went
//! the client tells `Reachability`.
//!
//! Source: Server-Server API, "Backfilling and retrieving missing events", "Retrieving events", "Retrieving event
//! authorisation information".

mod auth;
mod lists;
mod state;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use linkim_federation::{Pdu, RoomVersionRules};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ruma::{EventId, OwnedEventId, ServerName};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    client::{Call, PeerClient, PeerError},
    events::EventChecker,
    slots::Slots,
};
use crate::{
    json::First,
    rooms::append::{AppendError, Appenders},
    store::{Store, StoreError, events, ids::RoomKey},
};

/// Requests to one server at once.
const REQUESTS_EACH: usize = 4;

/// Requests to all servers at once.
const REQUESTS: usize = 64;

/// Events that one request for missing events asks for. Servers give fewer: Synapse 20.
pub const MAX_MISSING: usize = 100;

/// Bytes of an answer with a few events.
const FEW_EVENTS_BYTES: usize = 8 * 1024 * 1024;

/// How long such a request may take.
const SHORT: Duration = Duration::from_secs(30);

/// What of a path component is not escaped.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum MissingError {
    /// The server is down or wants to be left alone: another may be asked, or the same later.
    #[error("{0}")]
    Unreachable(PeerError),
    /// The server answered that it won't or can't say.
    #[error("{0}")]
    Refused(PeerError),
    /// The server's answer does not back what it is asked about.
    #[error("{0}")]
    Unbacked(String),
    /// Appending failed.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl From<StoreError> for MissingError {
    fn from(error: StoreError) -> Self {
        Self::Append(AppendError::Store(error))
    }
}

impl From<PeerError> for MissingError {
    fn from(error: PeerError) -> Self {
        if error.is_outage() { Self::Unreachable(error) } else { Self::Refused(error) }
    }
}

/// Which events before others are asked for.
#[derive(Clone, Debug)]
pub struct Before {
    /// Events that we have, whose ancestors we lack.
    pub latest: Vec<OwnedEventId>,
    /// Events whose ancestors we have.
    pub earliest: Vec<OwnedEventId>,
    /// Nothing deeper in the past than this depth.
    pub min_depth: u64,
}

/// Fetches from other servers.
pub struct Missing {
    store: Store,
    appenders: Arc<Appenders>,
    checker: Arc<EventChecker>,
    peers: Arc<PeerClient>,
    requests: Slots,
    /// Answers that hold a whole state: one at a time.
    large: tokio::sync::Semaphore,
}

#[derive(Deserialize)]
struct Events<'a> {
    #[serde(borrow)]
    events: First<&'a RawValue, MAX_MISSING>,
}

#[derive(Deserialize)]
struct Transaction<'a> {
    #[serde(borrow)]
    pdus: First<&'a RawValue, 1>,
}

impl Missing {
    /// Asks with `peers`, checks with `checker`, hands outliers to `appenders`.
    pub fn new(store: Store, appenders: Arc<Appenders>, checker: Arc<EventChecker>, peers: Arc<PeerClient>) -> Self {
        let requests = Slots::new(REQUESTS_EACH, REQUESTS);
        Self { store, appenders, checker, peers, requests, large: tokio::sync::Semaphore::new(1) }
    }

    /// Events before `before.latest`, at most [`MAX_MISSING`], in no order. Those that fail their checks are left out.
    ///
    /// # Errors
    /// [`MissingError`]
    pub async fn events_before(
        &self,
        room: &RoomKey,
        before: &Before,
        via: &ServerName,
    ) -> Result<Vec<Arc<Pdu>>, MissingError> {
        let body = json!({
            "latest_events": before.latest,
            "earliest_events": before.earliest,
            "limit": MAX_MISSING,
            "min_depth": before.min_depth,
        });
        let uri = format!("/_matrix/federation/v1/get_missing_events/{}", component(room.room_id.as_str()));
        let call = Call::post(uri, body.to_string()).timeout(SHORT).limit(FEW_EVENTS_BYTES);
        let answer = self.ask(via, "get_missing_events", call).await?;
        let events: Events<'_> = parse(via, &answer)?;
        let events = events.events.items.into_iter().map(ToOwned::to_owned).collect();
        self.checked(room, events, via).await
    }

    /// One event of a room, checked and not stored.
    ///
    /// # Errors
    /// [`MissingError`]
    pub async fn event(&self, room: &RoomKey, event: &EventId, via: &ServerName) -> Result<Arc<Pdu>, MissingError> {
        let uri = format!("/_matrix/federation/v1/event/{}", component(event.as_str()));
        let answer = self.ask(via, "event", Call::get(uri).timeout(SHORT).limit(FEW_EVENTS_BYTES)).await?;
        let transaction: Transaction<'_> = parse(via, &answer)?;
        let events = transaction.pdus.items.into_iter().map(ToOwned::to_owned).collect();
        let found = self.checked(room, events, via).await?;
        found
            .into_iter()
            .find(|pdu| pdu.event_id() == event)
            .ok_or_else(|| MissingError::Unbacked(format!("{via} answered another event than {event}")))
    }

    /// Sends a request in its turn; answers the body.
    async fn ask(&self, via: &ServerName, what: &'static str, call: Call) -> Result<Bytes, MissingError> {
        let _slot = self.requests.take(via).await;
        let answer = self.peers.bytes(via, call).await;
        count(what, answer.as_ref().err());
        Ok(answer?)
    }

    /// The events that pass the first checks and are of the room.
    async fn checked(
        &self,
        room: &RoomKey,
        events: Vec<Box<RawValue>>,
        via: &ServerName,
    ) -> Result<Vec<Arc<Pdu>>, MissingError> {
        let checked = self.checker.check(rules(room)?, events).await;
        let mut out = Vec::with_capacity(checked.len());
        for event in checked {
            match event {
                Ok(pdu) if pdu.room_id() == room.room_id => out.push(pdu),
                Ok(pdu) => tracing::debug!(%via, event = %pdu.event_id(), "an event of another room was answered"),
                Err(problem) => tracing::debug!(%via, %problem, "an event that was answered is dropped"),
            }
        }
        Ok(out)
    }

    /// Which of these events are not here, as part of the DAG or as outliers with their auth events.
    async fn not_here(&self, room: &RoomKey, ids: Vec<OwnedEventId>) -> Result<Vec<OwnedEventId>, MissingError> {
        let mut out = Vec::new();
        for chunk in ids.chunks(CHUNK) {
            let (chunk, room) = (chunk.to_vec(), room.nid);
            let missing = self.store.read::<_, StoreError, _>(move |read| {
                let mut missing = Vec::new();
                let mut foreign = None;
                for id in chunk {
                    match events::standing(read, &id)? {
                        Some(known) if known.room != room => foreign = Some(id),
                        Some(known) if !known.loose => {}
                        _ => missing.push(id),
                    }
                }
                Ok((missing, foreign))
            });
            let (missing, foreign) = missing.await?;
            if let Some(foreign) = foreign {
                return Err(MissingError::Unbacked(format!("{foreign} is an event of another room")));
            }
            out.extend(missing);
        }
        Ok(out)
    }
}

/// Events that are looked up under one snapshot, checked together, or written together.
const CHUNK: usize = 1_000;

/// Counts a request by how it went.
fn count(what: &'static str, error: Option<&PeerError>) {
    let result = match error {
        None => "ok",
        Some(error) if error.is_outage() => "unreachable",
        Some(_) => "refused",
    };
    metrics::counter!("linkim_missing_requests_total", "what" => what, "result" => result).increment(1);
}

/// The rules of a room's version.
fn rules(room: &RoomKey) -> Result<&'static RoomVersionRules, MissingError> {
    linkim_federation::rules(&room.version)
        .ok_or_else(|| MissingError::Unbacked(format!("room version {} is not known", room.version)))
}

/// A path component, escaped.
fn component(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

/// An answer as JSON.
fn parse<'a, T: Deserialize<'a>>(via: &ServerName, answer: &'a [u8]) -> Result<T, MissingError> {
    serde_json::from_slice(answer).map_err(|error| MissingError::Unbacked(format!("{via} answered nonsense: {error}")))
}

/// Without repetitions, in order.
fn distinct(ids: impl IntoIterator<Item = OwnedEventId>) -> Vec<OwnedEventId> {
    let mut seen = HashSet::new();
    ids.into_iter().filter(|id| seen.insert(id.clone())).collect()
}
