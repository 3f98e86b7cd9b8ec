//! What must be true of every member event that another server sends by itself: joins, leaves, knocks, invitations.

use std::sync::Arc;

use linkim_federation::{Pdu, RoomVersionRules};
use ruma::{EventId, RoomId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Hosting, HostingError};
use crate::{peers::told, store::StoreError};

/// What is read of its content.
#[derive(Deserialize)]
pub(super) struct Content {
    pub(super) membership: String,
    pub(super) join_authorised_via_users_server: Option<String>,
}

/// The content of a member event.
pub(super) fn content(pdu: &Pdu) -> Result<Content, HostingError> {
    serde_json::from_str(pdu.content().get())
        .map_err(|_| HostingError::Invalid("the content is not that of an m.room.member".into()))
}

impl Hosting {
    /// Checks all that can be seen of the event itself, but whose membership it is.
    pub(super) fn read_member_event(
        &self,
        (room_id, event_id): (&RoomId, &EventId),
        membership: &str,
        origin: &ServerName,
        event: &RawValue,
        rules: &RoomVersionRules,
    ) -> Result<Pdu, HostingError> {
        let invalid = |what: &str| HostingError::Invalid(what.to_owned());
        let pdu =
            Pdu::from_peer(event.get().as_bytes(), rules).map_err(|error| HostingError::Invalid(error.to_string()))?;
        if pdu.event_id() != event_id {
            return Err(invalid("the event has another id than the path"));
        }
        if pdu.room_id() != room_id {
            return Err(invalid("the event is of another room"));
        }
        if pdu.event_type().to_string() != "m.room.member" {
            return Err(invalid("the event is no m.room.member"));
        }
        if pdu.sender().server_name() != origin {
            return Err(invalid("the sender is not a user of your server"));
        }
        if content(&pdu)?.membership != membership {
            return Err(invalid("the event makes another membership"));
        }
        Ok(pdu)
    }

    /// Checks signatures and hash.
    pub(super) async fn verified(&self, pdu: Pdu, rules: &'static RoomVersionRules) -> Result<Arc<Pdu>, HostingError> {
        let text = told::whole(&pdu)?;
        let checked = match self.checker.check(rules, vec![text]).await.pop() {
            Some(Ok(checked)) => checked,
            Some(Err(problem)) => return Err(HostingError::Invalid(problem.to_string())),
            None => return Err(StoreError::Engine("an event was not checked".into()).into()),
        };
        // One whose hash does not hold comes back redacted. In a room it is taken so; but from its own server?
        if checked.json() != pdu.json() {
            return Err(HostingError::Invalid("the content hash does not hold".into()));
        }
        Ok(checked)
    }
}
