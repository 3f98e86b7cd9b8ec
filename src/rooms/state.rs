//! What a room's state says, for those who decide by it.

use std::sync::Arc;

use linkim_federation::Pdu;
use serde::de::DeserializeOwned;

use crate::store::{
    Read, StoreError, events, ids,
    ids::{EventNid, RoomNid},
    state,
};

/// The stored event as a PDU, with whether it was rejected.
pub fn load_pdu(read: &dyn Read, nid: EventNid) -> Result<Arc<Pdu>, StoreError> {
    let row = events::by_nid(read, nid)?;
    let json = events::json(read, nid)?;
    let rejected = row.is(events::flag::REJECTED);
    Pdu::from_trusted(row.event_id, json, rejected)
        .map(Arc::new)
        .map_err(|error| StoreError::Damaged(format!("event {}: {error}", nid.0)))
}

/// The event that (type, state key) has in the room's current state.
pub fn current_nid(read: &dyn Read, room: RoomNid, kind: &str, key: &str) -> Result<Option<EventNid>, StoreError> {
    match ids::state_key_nid(read, kind, key)? {
        Some(key) => state::current_value(read, room, key),
        None => Ok(None),
    }
}

/// The event that (type, state key) has in the room's current state, as a PDU.
pub fn current(read: &dyn Read, room: RoomNid, kind: &str, key: &str) -> Result<Option<Arc<Pdu>>, StoreError> {
    current_nid(read, room, kind, key)?.map(|nid| load_pdu(read, nid)).transpose()
}

/// The content of (type, state key) in the room's current state; None also if it has not the shape of `T`.
pub fn current_content<T: DeserializeOwned>(
    read: &dyn Read,
    room: RoomNid,
    kind: &str,
    key: &str,
) -> Result<Option<T>, StoreError> {
    Ok(current(read, room, kind, key)?.and_then(|pdu| serde_json::from_str(pdu.content().get()).ok()))
}
