//! A room that is open to another server.

use std::sync::Arc;

use linkim_federation::{Pdu, RoomVersionRules, redact, rules};
use ruma::{EventId, RoomId, ServerName};

use super::ServeError;
use crate::{
    rooms::{
        server_acl::ServerAcls,
        server_visibility::{ServerVisibility, Shown, Standing},
    },
    store::{
        Read, StoreError,
        event_pages::EventPage,
        events,
        events::{EventRow, flag},
        ids,
        ids::RoomKey,
    },
};

/// A room as one server may read it, within one snapshot.
pub(super) struct Guest<'r> {
    pub(super) read: &'r dyn Read,
    pub(super) room: Arc<RoomKey>,
    pub(super) visibility: ServerVisibility,
    rules: &'static RoomVersionRules,
}

impl<'r> Guest<'r> {
    /// Opens a room to a server that its ACL lets in.
    ///
    /// # Errors
    /// `NotFound` for a room that is not here, `Denied`, or the store's.
    pub(super) fn open(
        read: &'r dyn Read,
        acls: &ServerAcls,
        room_id: &RoomId,
        server: &ServerName,
    ) -> Result<Self, ServeError> {
        let room = ids::room(read, room_id)?.ok_or(ServeError::NotFound("no such room"))?;
        if !acls.permits(read, room.nid, server)? {
            return Err(ServeError::Denied);
        }
        let rules =
            rules(&room.version).ok_or_else(|| StoreError::Damaged(format!("a room of version {}", room.version)))?;
        Ok(Self { read, visibility: ServerVisibility::new(read, &room, server)?, room, rules })
    }

    /// Whether the server is in the room.
    pub(super) fn is_in(&self) -> bool {
        self.visibility.standing() == Standing::In
    }

    /// An event of the room's DAG.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn event(&self, id: &EventId) -> Result<Option<EventRow>, StoreError> {
        Ok(events::by_id(self.read, id)?.filter(|row| row.room == self.room.nid && !row.is(flag::OUTLIER)))
    }

    /// An event of the room's DAG that the server may build a question on: any if it is in the room, else one that it may
    /// see.
    ///
    /// # Errors
    /// `NotFound`; `NotInRoom` also where it is not known, to a server that is not in the room; or the store's.
    pub(super) fn anchor(&mut self, id: &EventId) -> Result<EventRow, ServeError> {
        let found = self.event(id)?;
        if self.is_in() {
            return found.ok_or(ServeError::NotFound("no such event in this room"));
        }
        let row = found.ok_or(ServeError::NotInRoom)?;
        match self.visibility.shows(self.read, &row)? {
            Shown::Whole => Ok(row),
            Shown::Redacted | Shown::Not => Err(ServeError::NotInRoom),
        }
    }

    /// The event's JSON as the server is shown it; None: not at all.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn json(&mut self, page: EventPage) -> Result<Option<String>, StoreError> {
        let shown = self.visibility.shows(self.read, &page.row)?;
        self.render(page, shown)
    }

    /// The event's JSON in the form that was decided on. Of a sender who asked for erasure it is the redacted one.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn render(&self, page: EventPage, shown: Shown) -> Result<Option<String>, StoreError> {
        Ok(match shown {
            Shown::Whole if !page.erased || page.row.state_key.is_some() => Some(page.json),
            Shown::Whole | Shown::Redacted => Some(self.redacted(page)?),
            Shown::Not => None,
        })
    }

    fn redacted(&self, page: EventPage) -> Result<String, StoreError> {
        let damaged = |error| StoreError::Damaged(format!("event {}: {error}", page.row.nid.0));
        let pdu = Pdu::from_trusted(page.row.event_id, page.json, false).map_err(damaged)?;
        Ok(redact(&pdu, self.rules).json().to_owned())
    }

    /// The event's PDU, as it is stored: for its place in the DAG.
    ///
    /// # Errors
    /// `Damaged`.
    pub(super) fn pdu(page: &EventPage) -> Result<Pdu, StoreError> {
        Pdu::from_trusted(page.row.event_id.clone(), page.json.as_str(), false)
            .map_err(|error| StoreError::Damaged(format!("event {}: {error}", page.row.nid.0)))
    }
}
