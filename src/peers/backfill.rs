//! History from before ours, fetched when a reader comes to where ours ends.
//!
//! Events come in stretches. Each stretch is checked, put in order, and appended with what is known of the state before it:
//! where its previous events are here, or come before it in the stretch, that follows from them; for the others the state is
//! fetched. One fetch a room at a time; whoever comes to the same room meanwhile waits for it.
//!
//! Source: Server-Server API, "Backfilling and retrieving missing events".

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use linkim_federation::{Pdu, rules};
use moka::sync::Cache;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ruma::{OwnedEventId, OwnedServerName, RoomId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{sync::watch, time::Instant};

use super::{
    candidates,
    client::{Call, PeerClient, PeerError},
    events::EventChecker,
    joining::Filling,
    missing::{Missing, MissingError},
    reachability::Reachability,
};
use crate::{
    clock::Clock,
    json::First,
    rooms::{
        append::{AppendError, Appenders, Incoming, Received},
        gaps::Gap,
        remote_receipts::RemoteReceipts,
    },
    store::{
        Store, StoreError, backward_extremities, events,
        events::flag,
        ids,
        ids::{EventNid, RoomKey, RoomNid},
        partial_joins, receipts,
    },
};

/// Events asked for at a time.
const STRETCH: usize = 100;

/// Bytes of an answer at most.
const MAX_ANSWER: usize = 10 * 1024 * 1024;

/// How long a server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Servers asked for one gap at most.
const MAX_SERVERS: usize = 4;

/// Events of a stretch whose state is fetched at most: a linear history needs it for its oldest alone.
const MAX_STATES: usize = 5;

/// How long one fetch may take, states included. It goes on when those who wait for it have gone.
const FETCH_TIME: Duration = Duration::from_secs(60);

/// How long a reader waits for a fetch.
const PATIENCE: Duration = Duration::from_secs(8);

/// Gaps that nobody could fill: for how long they are let be, and how many are remembered.
const LET_BE: Duration = Duration::from_secs(300);
const REMEMBERED: u64 = 10_000;

/// What became of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// There are earlier events now.
    Progress,
    /// Every server that was asked answered, and none has what is missing.
    Nowhere,
    /// Not now: servers were not reached, or not in time.
    NotNow,
}

/// Why a server gave no stretch of history.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error(transparent)]
    Missing(#[from] MissingError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("it has not what was asked for")]
    Nothing,
}

impl Failure {
    /// Whether the same server may have it another time.
    fn is_passing(&self) -> bool {
        match self {
            Self::Peer(error) => error.is_outage(),
            Self::Missing(MissingError::Unreachable(_) | MissingError::Append(_)) => true,
            Self::Missing(_) | Self::Nothing => false,
            Self::Append(_) | Self::Store(_) => true,
        }
    }
}

/// What is needed to fetch history.
pub struct Backfill {
    parts: Parts,
    /// Fetches under way. Bound: the rooms that are being read.
    flights: Mutex<HashMap<RoomNid, watch::Receiver<Option<Filled>>>>,
    nowhere: Cache<(RoomNid, OwnedEventId), ()>,
}

/// The services that [`Backfill`] calls.
pub struct Parts {
    /// Our name.
    pub own: OwnedServerName,
    /// The store.
    pub store: Store,
    /// The write path.
    pub appenders: Arc<Appenders>,
    /// Requests.
    pub peers: Arc<PeerClient>,
    /// The first checks.
    pub checker: Arc<EventChecker>,
    /// Fetches states and auth events.
    pub missing: Arc<Missing>,
    /// Who is not to be asked now.
    pub reachability: Arc<Reachability>,
    /// Receipts that wait for their events.
    pub receipts: Arc<RemoteReceipts>,
    /// Members that are still to be fetched.
    pub filling: Arc<Filling>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    pdus: First<Box<RawValue>, STRETCH>,
}

impl Backfill {
    /// From these.
    pub fn new(parts: Parts) -> Self {
        let nowhere = Cache::builder().max_capacity(REMEMBERED).time_to_live(LET_BE).build();
        Self { parts, flights: Mutex::default(), nowhere }
    }

    /// Fetches events for a gap that a reader came to. Waits 8 seconds at most; what takes longer goes on for the next one.
    ///
    /// # Errors
    /// The store's.
    pub async fn fill(self: &Arc<Self>, room_id: &RoomId, gap: &Gap) -> Result<Filled, StoreError> {
        let id = room_id.to_owned();
        let room = self.parts.store.read_short(move |read| ids::room(read, &id)).await?;
        let Some(room) = room else { return Ok(Filled::Nowhere) };
        if gap.missing.iter().all(|missing| self.nowhere.contains_key(&(room.nid, missing.clone()))) {
            return Ok(Filled::Nowhere);
        }
        // History is taken once the state that it leads up to is whole.
        if !self.parts.filling.whole(room_id, PATIENCE).await? {
            return Ok(Filled::NotNow);
        }
        let mut flight = self.flight(room, gap);
        let landed = tokio::time::timeout(PATIENCE, flight.wait_for(Option::is_some)).await;
        Ok(match landed {
            Ok(Ok(filled)) => (*filled).unwrap_or(Filled::NotNow),
            // It failed, or it takes its time.
            Ok(Err(_)) | Err(_) => Filled::NotNow,
        })
    }

    /// The room's fetch that is under way, else one that begins now.
    fn flight(self: &Arc<Self>, room: Arc<RoomKey>, gap: &Gap) -> watch::Receiver<Option<Filled>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        // One whose task has gone can't land any more.
        if let Some(flight) = flights.get(&room.nid)
            && flight.has_changed().is_ok()
        {
            return flight.clone();
        }
        let (land, flight) = watch::channel(None);
        flights.insert(room.nid, flight.clone());
        let (this, missing, event) = (self.clone(), gap.missing.clone(), gap.event);
        tokio::spawn(async move {
            let fetched = tokio::time::timeout(FETCH_TIME, this.fetch(&room, missing, event)).await;
            let filled = fetched.unwrap_or(Ok(Filled::NotNow)).unwrap_or_else(|error| {
                tracing::warn!(%error, room = %room.room_id, "could not fetch history");
                Filled::NotNow
            });
            this.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&room.nid);
            land.send_replace(Some(filled));
        });
        flight
    }

    async fn fetch(
        &self,
        room: &Arc<RoomKey>,
        missing: Vec<OwnedEventId>,
        event: EventNid,
    ) -> Result<Filled, StoreError> {
        let (nid, own, named) = (room.nid, self.parts.own.clone(), missing.clone());
        if self.parts.store.read_short(move |read| partial_joins::is_partial(read, nid)).await? {
            return Ok(Filled::NotNow);
        }
        let found = self.parts.store.read::<_, StoreError, _>(move |read| {
            let still = backward_extremities::still(read, nid, &named)?;
            Ok((still.len() == named.len(), candidates::of_past(read, nid, Some(event), &own)?))
        });
        let (unchanged, servers) = found.await?;
        if !unchanged {
            // Somebody else was here before.
            return Ok(Filled::Progress);
        }
        let now_ms = self.parts.clock.now_ms();
        let (servers, resting): (Vec<_>, Vec<_>) =
            servers.into_iter().partition(|server| self.parts.reachability.may_try(server, now_ms).is_ok());
        let mut nowhere = resting.is_empty();
        for server in servers.into_iter().take(MAX_SERVERS) {
            match self.stretch(room, &missing, &server).await {
                Ok(()) => return Ok(Filled::Progress),
                Err(failure) => {
                    tracing::debug!(%server, room = %room.room_id, %failure, "no history from a server");
                    nowhere &= !failure.is_passing();
                }
            }
        }
        if !nowhere {
            return Ok(Filled::NotNow);
        }
        for id in missing {
            self.nowhere.insert((room.nid, id), ());
        }
        Ok(Filled::Nowhere)
    }

    /// Has an event of the room here, with those before it, from a server that has it. Answers whether it is here.
    ///
    /// # Errors
    /// The store's.
    pub async fn around(
        &self,
        room_id: &RoomId,
        event: &OwnedEventId,
        server: &ServerName,
    ) -> Result<bool, StoreError> {
        let (id, wanted) = (room_id.to_owned(), event.clone());
        let Some(room) = self.parts.store.read_short(move |read| ids::room(read, &id)).await? else { return Ok(false) };
        if let Err(failure) = self.stretch(&room, std::slice::from_ref(event), server).await {
            tracing::debug!(%server, room = %room_id, %failure, "an event could not be had");
        }
        let found = self.parts.store.read_short(move |read| events::by_id(read, &wanted)).await?;
        Ok(found.is_some_and(|row| row.room == room.nid && !row.is(flag::OUTLIER)))
    }

    /// One stretch of history from one server: some events were new, or it is a failure.
    async fn stretch(&self, room: &RoomKey, from: &[OwnedEventId], server: &ServerName) -> Result<(), Failure> {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut uri = format!("/_matrix/federation/v1/backfill/{}?limit={STRETCH}", encode(room.room_id.as_str()));
        for id in from {
            uri.push_str("&v=");
            uri.push_str(&encode(id.as_str()));
        }
        let call = Call::get(uri).timeout(TIMEOUT).limit(MAX_ANSWER);
        let answer: Answer = self.parts.peers.json(server, call).await?;
        let rules = rules(&room.version).ok_or(Failure::Nothing)?;
        let checked = self.parts.checker.check(rules, answer.pdus.items).await;
        let events = checked.into_iter().filter_map(|event| match event {
            Ok(pdu) => Some(pdu).filter(|pdu| pdu.room_id() == room.room_id),
            Err(problem) => {
                tracing::debug!(%server, room = %room.room_id, %problem, "an event of history is left out");
                None
            }
        });
        let events = self.unknown(room.nid, history(events.collect(), from)).await?;
        if events.is_empty() {
            return Err(Failure::Nothing);
        }
        let incoming = self.with_states(room, events, server).await?;
        self.append(room, incoming, server).await
    }

    /// Those of the events that are not in the DAG yet.
    async fn unknown(&self, room: RoomNid, events: Vec<Arc<Pdu>>) -> Result<Vec<Arc<Pdu>>, StoreError> {
        self.parts
            .store
            .read(move |read| {
                let mut unknown = Vec::with_capacity(events.len());
                for pdu in events {
                    // An id of versions 1 and 2 may be that of an event of another room.
                    if events::by_id(read, pdu.event_id())?.is_none_or(|row| row.room == room && row.is(flag::OUTLIER))
                    {
                        unknown.push(pdu);
                    }
                }
                Ok(unknown)
            })
            .await
    }

    /// The events with the state before those whose previous events are neither here nor among them.
    async fn with_states(
        &self,
        room: &RoomKey,
        events: Vec<Arc<Pdu>>,
        server: &ServerName,
    ) -> Result<Vec<Incoming>, Failure> {
        let named: Vec<OwnedEventId> = events.iter().flat_map(|pdu| pdu.prev_events()).cloned().collect();
        let nid = room.nid;
        let here = self.parts.store.read::<_, StoreError, _>(move |read| {
            let mut here = HashSet::new();
            for id in named {
                if events::by_id(read, &id)?.is_some_and(|row| row.room == nid && row.after.is_some()) {
                    here.insert(id);
                }
            }
            Ok(here)
        });
        let mut here: HashSet<OwnedEventId> = here.await?;
        let mut out = Vec::with_capacity(events.len());
        let (mut states, mut failure) = (0, None);
        for pdu in events {
            let mut state_before = None;
            if !pdu.prev_events().iter().all(|id| here.contains(id)) {
                if states == MAX_STATES {
                    continue;
                }
                states += 1;
                match self.parts.missing.state_before(room, pdu.event_id(), server).await {
                    Ok(state) => state_before = Some(state),
                    Err(error) => {
                        failure = Some(error);
                        continue;
                    }
                }
            }
            here.insert(pdu.owned_event_id().clone());
            out.push(Incoming { pdu, relay: false, soft_fail: None, state_before });
        }
        match failure {
            Some(error) if out.is_empty() => Err(error.into()),
            _ => Ok(out),
        }
    }

    /// The receipts that waited for these events take effect.
    async fn read_up_to(&self, room: RoomNid, arrived: Vec<OwnedEventId>) -> Result<(), StoreError> {
        let waited = self.parts.store.read::<_, StoreError, _>(move |read| {
            let mut waited = Vec::new();
            for event in arrived {
                if receipts::is_awaited(read, room, &event)? {
                    waited.push(event);
                }
            }
            Ok(waited)
        });
        let waited = waited.await?;
        if waited.is_empty() {
            return Ok(());
        }
        let receipts = self.parts.receipts.clone();
        let write = self.parts.store.write::<_, StoreError, _>(move |tx| {
            let mut read = false;
            for event in &waited {
                read |= receipts.arrived(tx, room, event)?;
            }
            Ok(read)
        });
        if write.await? {
            self.parts.receipts.tell(room).await;
        }
        Ok(())
    }

    /// Appends the events; auth events that are lacking are fetched once.
    async fn append(&self, room: &RoomKey, incoming: Vec<Incoming>, server: &ServerName) -> Result<(), Failure> {
        let until = Instant::now() + FETCH_TIME;
        let (mut waiting, mut progress, mut fetched) = (incoming, false, false);
        loop {
            let received = self.parts.appenders.backfill(room.nid, waiting.clone()).await?;
            let mut again = Vec::new();
            let mut lacking = Vec::new();
            let mut arrived = Vec::new();
            for (event, received) in waiting.into_iter().zip(received) {
                match received {
                    Received::Accepted(appended) => {
                        progress = true;
                        arrived.push(appended.event_id);
                    }
                    Received::SoftFailed(..) | Received::Rejected(..) => progress = true,
                    Received::MissingAuth(ids) => {
                        lacking.push((event.pdu.owned_event_id().clone(), ids));
                        again.push(event);
                    }
                    Received::MissingPrev(_) | Received::MissingState(_) => again.push(event),
                    Received::Known(_) => {}
                    Received::Malformed(reason) => {
                        tracing::debug!(%server, event = %event.pdu.event_id(), reason, "an event of history is left out");
                    }
                }
            }
            self.read_up_to(room.nid, arrived).await?;
            if lacking.is_empty() || fetched || Instant::now() > until {
                return if progress { Ok(()) } else { Err(Failure::Nothing) };
            }
            fetched = true;
            for (event, ids) in lacking.into_iter().take(MAX_STATES) {
                self.parts.missing.auth_events(room, &event, &ids, server).await?;
            }
            waiting = again;
        }
    }
}

/// Those of the events that are asked for, or come before one that is, each after its previous events: nobody is made to
/// store what they did not ask for.
fn history(events: Vec<Arc<Pdu>>, from: &[OwnedEventId]) -> Vec<Arc<Pdu>> {
    let by_id: HashMap<OwnedEventId, Arc<Pdu>> =
        events.into_iter().map(|pdu| (pdu.owned_event_id().clone(), pdu)).collect();
    let mut todo: Vec<(&OwnedEventId, bool)> = from.iter().map(|id| (id, false)).collect();
    let mut met = HashSet::new();
    let mut found = Vec::new();
    while let Some((id, past_is_done)) = todo.pop() {
        let Some(pdu) = by_id.get(id) else { continue };
        if past_is_done {
            found.push(pdu.clone());
        } else if met.insert(id) {
            todo.push((id, true));
            todo.extend(pdu.prev_events().iter().map(|id| (id, false)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use linkim_federation::{EventReference, EventTemplate, SigningKey, build_event};
    use ruma::{CanonicalJsonObject, room_id, user_id};

    use super::*;

    fn event(body: &str, prev: &[&Arc<Pdu>]) -> Arc<Pdu> {
        let prev: Vec<EventReference<'_>> =
            prev.iter().map(|pdu| EventReference { event_id: pdu.event_id(), reference_hash: None }).collect();
        let sender = user_id!("@b:b.example");
        let template = EventTemplate {
            room_id: Some(room_id!("!a:a.example")),
            sender,
            event_type: "m.room.message",
            state_key: None,
            content: CanonicalJsonObject::from([("body".to_owned(), body.to_owned().into())]),
            prev_events: &prev,
            auth_events: &[],
            depth: 1,
            origin_server_ts: 1,
            redacts: None,
            event_id_v1: None,
        };
        let key = SigningKey::generate([3; 32], "1").unwrap();
        let rules = rules(&ruma::RoomVersionId::V11).unwrap();
        Arc::new(build_event(template, rules, sender.server_name(), &key).unwrap())
    }

    #[test]
    fn history_is_what_was_asked_for_in_the_order_of_the_graph() {
        let unknown = event("not here", &[]);
        let a = event("a", &[&unknown]);
        let (b, c) = (event("b", &[&a]), event("c", &[&a]));
        let d = event("d", &[&b, &c]);
        let other = event("other", &[&a]);
        let sent = vec![other.clone(), d.clone(), c.clone(), b.clone(), a.clone(), d.clone()];
        let from = [d.owned_event_id().clone(), unknown.owned_event_id().clone()];
        let found = history(sent, &from);
        let place = |pdu: &Arc<Pdu>| found.iter().position(|found| found.event_id() == pdu.event_id());
        assert_eq!(found.len(), 4, "once each, and none that was not asked for");
        assert_eq!((place(&a), place(&d), place(&other)), (Some(0), Some(3), None));
    }
}
