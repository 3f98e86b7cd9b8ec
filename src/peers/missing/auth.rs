//! Auth events that are not here.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use linkim_federation::Pdu;
use ruma::{EventId, OwnedEventId, ServerName};
use serde::de::{IgnoredAny, MapAccess};

use super::{CHUNK, Missing, MissingError, component};
use crate::{
    peers::{
        client::Call,
        event_lists::{Answer, Bounds},
        inbox::order::in_auth_order,
    },
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

/// An answer with the auth chain of an event.
#[derive(Default)]
struct AuthChain;

impl Answer for AuthChain {
    type Part = ();
    const LISTS: &'static [(&'static str, ())] = &[("auth_chain", ())];

    fn field<'de, A: MapAccess<'de>>(&mut self, _: &str, map: &mut A) -> Result<(), A::Error> {
        map.next_value::<IgnoredAny>().map(drop)
    }
}

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
        let bounds = Bounds { bytes: MAX_CHAIN_BYTES, events: MAX_CHAIN };
        let lacking = self.lacking::<AuthChain>(room, via, "event_auth", Call::get(uri).timeout(CHAIN_TIME), bounds);
        self.add_outliers(room, lacking.await?).await.map(drop)
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
