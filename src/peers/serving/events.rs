//! Single events for other servers: `/event`, `/event_auth`, `/timestamp_to_event`.

use ruma::{EventId, OwnedEventId, RoomId, ServerName};

use super::{Guest, Listing, ServeError, Serving, listing::Section};
use crate::{
    rooms::{server_visibility::Shown, timeline::Direction},
    store::{
        Snapshot, auth_chains, event_pages, events,
        events::{EventRow, flag},
        ids,
    },
};

/// Events near a time looked at in search of one that the server may see.
const NEAREST: usize = 64;

/// An event and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtTimestamp {
    /// Its id.
    pub event_id: OwnedEventId,
    /// `origin_server_ts`.
    pub origin_server_ts: i64,
}

impl Serving {
    /// One event, also one that is known for auth chains and states alone.
    ///
    /// # Errors
    /// `NotFound` where it is not here, or is none of the server's business; or [`ServeError`].
    pub async fn event(&self, server: &ServerName, event_id: &EventId) -> Result<String, ServeError> {
        let (acls, server, event_id) = (self.acls.clone(), server.to_owned(), event_id.to_owned());
        self.store
            .read(move |read: &Snapshot<'_>| {
                let unknown = ServeError::NotFound("no such event");
                let Some(page) = event_pages::by_id(read, &event_id)? else { return Err(unknown) };
                let room = ids::room_by_nid(read, page.row.room)?;
                Guest::open(read, &acls, &room.room_id, &server)?.json(page)?.ok_or(unknown)
            })
            .await
    }

    /// The auth chain of an event: the body of the answer.
    ///
    /// # Errors
    /// [`ServeError`]
    pub async fn event_auth(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Listing, ServeError> {
        let event_id = event_id.to_owned();
        let found = self.open_for_list(server, room_id, move |guest| {
            let row = auth_anchor(guest, &event_id)?;
            let pdu = Guest::pdu(&event_pages::of(guest.read, &row)?)?;
            let mut chain = Vec::new();
            for id in pdu.auth_events() {
                chain.extend(events::nid(guest.read, id)?);
            }
            let behind = auth_chains::of(guest.read, guest.room.nid, &chain)?;
            chain.extend(behind);
            chain.sort_unstable();
            chain.dedup();
            let whole = guest.visibility.shows(guest.read, &row)? == Shown::Whole;
            Ok((chain, whole))
        });
        let (chain, whole) = found.await?;
        let section = Section::Events { name: "auth_chain", events: chain, whole };
        Ok(Listing::new(self, room_id, server, vec![section]))
    }

    /// The event nearest to a time, in one direction, that the server may see.
    ///
    /// # Errors
    /// [`ServeError`]
    pub async fn at_timestamp(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        ts: i64,
        direction: Direction,
    ) -> Result<AtTimestamp, ServeError> {
        self.open(server, room_id, move |guest| {
            if !guest.is_in() {
                return Err(ServeError::NotInRoom);
            }
            let (read, room) = (guest.read, guest.room.nid);
            let near = match direction {
                Direction::Forwards => event_pages::from_timestamp(read, room, ts, i64::MAX, NEAREST)?,
                Direction::Backwards => event_pages::until_timestamp(read, room, ts, i64::MAX, NEAREST)?,
            };
            for page in near {
                if guest.visibility.shows(read, &page.row)? == Shown::Whole {
                    let (event_id, origin_server_ts) = (page.row.event_id, page.row.origin_ts);
                    return Ok(AtTimestamp { event_id, origin_server_ts });
                }
            }
            Err(ServeError::NotFound("no event near that time"))
        })
        .await
    }
}

/// The event whose auth chain is asked for. A server in the room may also ask it of what is known for auth chains alone.
fn auth_anchor(guest: &mut Guest<'_>, event_id: &EventId) -> Result<EventRow, ServeError> {
    if guest.is_in()
        && let Some(row) = events::by_id(guest.read, event_id)?
        && row.room == guest.room.nid
        && row.is(flag::OUTLIER)
    {
        return Ok(row);
    }
    guest.anchor(event_id)
}
