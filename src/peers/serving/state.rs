//! A room's state before an event, for other servers: `/state` and `/state_ids`.

use ruma::{EventId, RoomId, ServerName};

use super::{Guest, Listing, ServeError, Serving, listing::Section};
use crate::{
    rooms::server_visibility::Shown,
    store::{auth_chains, events::flag, ids::EventNid, state},
};

/// The state before an event.
struct StateBefore {
    state: Vec<EventNid>,
    auth_chain: Vec<EventNid>,
    /// Whether the server may see the event: then also all of the state before it.
    whole: bool,
}

impl Serving {
    /// The state before an event and its auth chain: the body of the answer of `/state`.
    ///
    /// # Errors
    /// [`ServeError`]
    pub async fn state(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Listing, ServeError> {
        let StateBefore { state, auth_chain, whole } = self.state_before(server, room_id, event_id).await?;
        let sections = vec![
            Section::Events { name: "auth_chain", events: auth_chain, whole },
            Section::Events { name: "pdus", events: state, whole },
        ];
        Ok(Listing::new(self, room_id, server, sections))
    }

    /// As [`Self::state`], ids alone: the body of the answer of `/state_ids`.
    ///
    /// # Errors
    /// [`ServeError`]
    pub async fn state_ids(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Listing, ServeError> {
        let StateBefore { state, auth_chain, .. } = self.state_before(server, room_id, event_id).await?;
        let sections = vec![
            Section::Ids { name: "auth_chain_ids", events: auth_chain },
            Section::Ids { name: "pdu_ids", events: state },
        ];
        Ok(Listing::new(self, room_id, server, sections))
    }

    async fn state_before(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<StateBefore, ServeError> {
        let event_id = event_id.to_owned();
        self.open_for_list(server, room_id, move |guest| state_before(guest, &event_id)).await
    }
}

fn state_before(guest: &mut Guest<'_>, event_id: &EventId) -> Result<StateBefore, ServeError> {
    let row = guest.anchor(event_id)?;
    // What is only partly known would mislead.
    let before = row.before.filter(|_| !row.is(flag::PARTIAL_STATE));
    let before = before.ok_or(ServeError::NotFound("the state at this event is not known here"))?;
    let state: Vec<EventNid> = state::full(guest.read, before)?.into_iter().map(|(_, nid)| nid).collect();
    let auth_chain = auth_chains::of(guest.read, guest.room.nid, &state)?;
    let whole = guest.visibility.shows(guest.read, &row)? == Shown::Whole;
    Ok(StateBefore { state, auth_chain, whole })
}
