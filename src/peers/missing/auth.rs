//! Auth events that are not here.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use linkim_federation::Pdu;
use ruma::{EventId, OwnedEventId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{CHUNK, Missing, MissingError, component, distinct, parse, rules};
use crate::{
    json::First,
    peers::{client::Call, inbox::order::in_auth_order},
    rooms::append::Received,
    store::ids::RoomKey,
};

/// Single events that are fetched at once.
const PARALLEL: usize = 4;

/// Events of an auth chain that are looked at. Matrix HQ has about 50,000.
const MAX_CHAIN: usize = 100_000;

/// Bytes of an auth chain.
const MAX_CHAIN_BYTES: usize = 64 * 1024 * 1024;

/// How long it may take.
const CHAIN_TIME: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct AuthChain<'a> {
    #[serde(borrow)]
    auth_chain: First<&'a RawValue, MAX_CHAIN>,
}

/// An event that a peer sent, and its id.
pub(super) type Named = (OwnedEventId, Box<RawValue>);

impl Missing {
    /// Has these auth events of an event here, as outliers: each by itself, and if those lack auth events in turn, the whole
    /// chain. That all are here afterwards is not promised: the appender will say.
    ///
    /// # Errors
    /// [`MissingError`] if nothing could be fetched.
    pub async fn auth_events(
        &self,
        room: &RoomKey,
        event: &EventId,
        lacking: &[OwnedEventId],
        via: &ServerName,
    ) -> Result<(), MissingError> {
        let fetched = self.each(room, lacking.to_vec(), via).await?;
        let complete = fetched.len() == lacking.len();
        if complete && self.add_outliers(room, fetched).await? {
            return Ok(());
        }
        self.auth_chain(room, event, via).await
    }

    /// Has the auth chain of an event here, as outliers.
    ///
    /// # Errors
    /// [`MissingError`]
    pub async fn auth_chain(&self, room: &RoomKey, event: &EventId, via: &ServerName) -> Result<(), MissingError> {
        let _large = self.large.acquire().await;
        let (room_id, event_id) = (component(room.room_id.as_str()), component(event.as_str()));
        let uri = format!("/_matrix/federation/v1/event_auth/{room_id}/{event_id}");
        let call = Call::get(uri).timeout(CHAIN_TIME).limit(MAX_CHAIN_BYTES);
        let answer = self.ask(via, "event_auth", call).await?;
        let named = self
            .named(room, via, answer, |via, answer| Ok(parse::<AuthChain<'_>>(via, answer)?.auth_chain.items))
            .await?;
        self.take_outliers(room, named, via).await
    }

    /// Fetches single events, a few at a time; those that can't be had are left out.
    pub(super) async fn each(
        &self,
        room: &RoomKey,
        ids: Vec<OwnedEventId>,
        via: &ServerName,
    ) -> Result<Vec<Arc<Pdu>>, MissingError> {
        let fetches = ids.into_iter().map(|id| async move { self.event(room, &id, via).await });
        let mut answers = stream::iter(fetches).buffer_unordered(PARALLEL);
        let mut out = Vec::new();
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(pdu) => out.push(pdu),
                Err(MissingError::Refused(error)) => tracing::debug!(%via, %error, "an event can't be had"),
                Err(MissingError::Unbacked(error)) => tracing::debug!(%via, error, "an event can't be had"),
                Err(error) => return Err(error),
            }
        }
        Ok(out)
    }

    /// The events of an answer with their ids; what is no event of the room's version is left out. Parsing tens of thousands
    /// takes a second, so it does not happen on the async threads.
    pub(super) async fn named(
        &self,
        room: &RoomKey,
        via: &ServerName,
        answer: Bytes,
        events: impl for<'a> Fn(&ServerName, &'a Bytes) -> Result<Vec<&'a RawValue>, MissingError> + Send + 'static,
    ) -> Result<Vec<Named>, MissingError> {
        let (rules, via) = (rules(room)?, via.to_owned());
        let parsing = tokio::task::spawn_blocking(move || {
            let mut seen = HashSet::new();
            let mut out = Vec::new();
            for event in events(&via, &answer)? {
                let Ok(pdu) = Pdu::from_peer(event.get().as_bytes(), rules) else { continue };
                if seen.insert(pdu.owned_event_id().clone()) {
                    out.push((pdu.owned_event_id().clone(), event.to_owned()));
                }
            }
            Ok(out)
        });
        parsing.await.unwrap_or_else(|error| Err(MissingError::Unbacked(format!("parsing failed: {error}"))))
    }

    /// Checks those events that are not here and stores them as outliers.
    pub(super) async fn take_outliers(
        &self,
        room: &RoomKey,
        named: Vec<Named>,
        via: &ServerName,
    ) -> Result<(), MissingError> {
        let ids = distinct(named.iter().map(|(id, _)| id.clone()));
        let missing: HashSet<OwnedEventId> = self.not_here(room, ids).await?.into_iter().collect();
        let events = named.into_iter().filter(|(id, _)| missing.contains(id)).map(|(_, event)| event).collect();
        let checked = self.checked(room, events, via).await?;
        self.add_outliers(room, checked).await?;
        Ok(())
    }

    /// Stores events as outliers, each after its auth events. Answers whether none lacked an auth event.
    pub(super) async fn add_outliers(&self, room: &RoomKey, events: Vec<Arc<Pdu>>) -> Result<bool, MissingError> {
        let mut complete = true;
        let ordered = in_auth_order(events.into_iter().filter(|pdu| pdu.is_state()).collect());
        for chunk in ordered.chunks(CHUNK) {
            let answers = self.appenders.add_outliers(room.nid, chunk.to_vec()).await?;
            for (pdu, answer) in chunk.iter().zip(answers) {
                match answer {
                    Received::Accepted(_) | Received::Known(_) => {}
                    Received::MissingAuth(_) => complete = false,
                    other => tracing::debug!(event = %pdu.event_id(), ?other, "an outlier"),
                }
            }
        }
        Ok(complete)
    }
}
