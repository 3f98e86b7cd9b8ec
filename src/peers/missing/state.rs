//! The state before an event, as a peer says it.

use std::time::Duration;

use ruma::{EventId, OwnedEventId, ServerName};
use serde::{
    Deserialize,
    de::{IgnoredAny, MapAccess},
};

use super::{CHUNK, Missing, MissingError, component, distinct, parse};
use crate::{
    json::First,
    peers::{
        client::Call,
        event_lists::{Answer, Bounds},
    },
    store::{StoreError, events, ids::RoomKey},
};

/// Events of a state, and of its auth chain, at most.
const MAX_STATE: usize = 100_000;

/// Bytes of their ids: 100,000 and their auth chain, at about 50 bytes each.
const MAX_IDS_BYTES: usize = 16 * 1024 * 1024;

/// Missing events that are fetched one by one. Above, the whole state is.
const FEW: usize = 50;

/// Bytes of a whole state with its auth chain.
const MAX_STATE_BYTES: usize = 128 * 1024 * 1024;

/// How long the ids, and the whole, may take: a server may have to compute an old state first.
const IDS_TIME: Duration = Duration::from_secs(60);
const STATE_TIME: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
struct StateIds {
    pdu_ids: First<OwnedEventId, MAX_STATE>,
    auth_chain_ids: First<OwnedEventId, { 2 * MAX_STATE }>,
}

/// An answer with a whole state.
#[derive(Default)]
struct State;

impl Answer for State {
    type Part = ();
    const LISTS: &'static [(&'static str, ())] = &[("pdus", ()), ("auth_chain", ())];

    fn field<'de, A: MapAccess<'de>>(&mut self, _: &str, map: &mut A) -> Result<(), A::Error> {
        map.next_value::<IgnoredAny>().map(drop)
    }
}

impl Missing {
    /// The ids of the state before an event, as `via` says it, all of them here afterwards: in the DAG or as outliers. Events
    /// that `via` names and that nobody can verify are left out, as servers long gone leave some in every old room.
    ///
    /// # Errors
    /// [`MissingError`]; `Unbacked` if it is not a state of this room.
    pub async fn state_before(
        &self,
        room: &RoomKey,
        event: &EventId,
        via: &ServerName,
    ) -> Result<Vec<OwnedEventId>, MissingError> {
        let ids = self.state_ids(room, event, via).await?;
        let state = distinct(ids.pdu_ids.items);
        let all = distinct(state.iter().cloned().chain(ids.auth_chain_ids.items));
        let missing = self.not_here(room, all).await?;
        if missing.len() > FEW {
            self.whole_state(room, event, via).await?;
        } else if !missing.is_empty() {
            let fetched = self.each(room, missing, via).await?;
            self.add_outliers(room, fetched).await?;
        }
        self.those_here(room, state, via).await
    }

    async fn state_ids(&self, room: &RoomKey, event: &EventId, via: &ServerName) -> Result<StateIds, MissingError> {
        let (room_id, event_id) = (component(room.room_id.as_str()), component(event.as_str()));
        let uri = format!("/_matrix/federation/v1/state_ids/{room_id}?event_id={event_id}");
        let answer = self.ask(via, "state_ids", Call::get(uri).timeout(IDS_TIME).limit(MAX_IDS_BYTES)).await?;
        let ids: StateIds = parse(via, &answer)?;
        if ids.pdu_ids.more || ids.auth_chain_ids.more {
            return Err(MissingError::Unbacked(format!("{via} answered a state of more than {MAX_STATE} events")));
        }
        Ok(ids)
    }

    async fn whole_state(&self, room: &RoomKey, event: &EventId, via: &ServerName) -> Result<(), MissingError> {
        let _large = self.large.acquire().await;
        let (room_id, event_id) = (component(room.room_id.as_str()), component(event.as_str()));
        let uri = format!("/_matrix/federation/v1/state/{room_id}?event_id={event_id}");
        let bounds = Bounds { bytes: MAX_STATE_BYTES, events: 3 * MAX_STATE };
        let lacking = self.lacking::<State>(room, via, "state", Call::get(uri).timeout(STATE_TIME), bounds);
        self.add_outliers(room, lacking.await?).await.map(drop)
    }

    /// Those of a state that are here, which its create event must be.
    async fn those_here(
        &self,
        room: &RoomKey,
        state: Vec<OwnedEventId>,
        via: &ServerName,
    ) -> Result<Vec<OwnedEventId>, MissingError> {
        let named = state.len();
        let mut here = Vec::with_capacity(named);
        for chunk in state.chunks(CHUNK) {
            let (chunk, room) = (chunk.to_vec(), room.nid);
            let found = self.store.read::<_, StoreError, _>(move |read| {
                let mut found = Vec::with_capacity(chunk.len());
                for id in chunk {
                    let known = events::standing(read, &id)?;
                    if known.is_some_and(|known| known.room == room && known.state_key.is_some() && !known.loose) {
                        found.push(id);
                    }
                }
                Ok(found)
            });
            here.extend(found.await?);
        }
        if here.is_empty() {
            return Err(MissingError::Unbacked(format!("nothing of the state that {via} named can be had")));
        }
        if here.len() < named {
            tracing::debug!(room = %room.room_id, %via, left_out = named - here.len(), "a state has events that can't be had");
        }
        Ok(here)
    }
}
