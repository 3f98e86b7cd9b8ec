//! A transaction as it comes, and what can be said of its parts before anything is looked up.
//!
//! Source: Server-Server API, "Transactions". Pure, so that the fuzz targets read what other servers send with the same code.

use linkim_federation::Pdu;
use ruma::{OwnedRoomId, OwnedServerName, RoomId, RoomVersionId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::First;

/// Events in a transaction at most («Must not include more than 50 PDUs»).
pub(super) const MAX_PDUS: usize = 50;

/// EDUs in a transaction at most («Must not include more than 100 EDUs»).
pub(super) const MAX_EDUS: usize = 100;

/// Why a body is no transaction of its sender's.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// It lacks what a transaction has.
    #[error("the body is no transaction: {0}")]
    Malformed(String),
    /// It has more than it may.
    #[error("a transaction has at most {MAX_PDUS} PDUs and {MAX_EDUS} EDUs")]
    TooMany,
    /// It names another server than the one that signed it.
    #[error("the transaction says that it comes from {0}")]
    Origin(OwnedServerName),
}

/// What a transaction carries.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Events.
    pub pdus: Vec<Box<RawValue>>,
    /// What is no event.
    pub edus: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Body<'a> {
    origin: OwnedServerName,
    #[serde(borrow)]
    pdus: First<&'a RawValue, MAX_PDUS>,
    #[serde(borrow, default)]
    edus: First<&'a RawValue, MAX_EDUS>,
}

impl Transaction {
    /// Reads the body of a transaction that `origin` signed. Its events and EDUs are not looked into: one that is malformed costs
    /// itself alone.
    ///
    /// # Errors
    /// [`WireError`]
    pub fn read(origin: &ServerName, body: &[u8]) -> Result<Self, WireError> {
        let body: Body<'_> = serde_json::from_slice(body).map_err(|error| WireError::Malformed(error.to_string()))?;
        if body.origin != origin {
            return Err(WireError::Origin(body.origin));
        }
        if body.pdus.more || body.edus.more {
            return Err(WireError::TooMany);
        }
        let owned = |items: Vec<&RawValue>| items.into_iter().map(ToOwned::to_owned).collect();
        Ok(Self { pdus: owned(body.pdus.items), edus: owned(body.edus.items) })
    }
}

/// The members of an event that decide how the others are read.
#[derive(Deserialize)]
pub(super) struct Outline {
    pub(super) room_id: Option<OwnedRoomId>,
    pub(super) event_id: Option<String>,
}

impl Outline {
    /// `None` if it is no event at all.
    pub(super) fn read(json: &RawValue) -> Option<Self> {
        serde_json::from_str(json.get()).ok()
    }
}

/// The `event_id` in a text that has one: events of room versions 1 and 2 do.
pub(super) fn named_id(json: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        event_id: String,
    }
    serde_json::from_str::<Named>(json.get()).ok().map(|named| named.event_id)
}

/// The id under which an event is refused whose room version is not known, or which is malformed: the one inside, or what it
/// has by newer rules, if it has one at all.
pub(super) fn guessed_id(json: &RawValue, room: Option<&RoomId>, named: Option<String>) -> Option<String> {
    if named.is_some() {
        return named;
    }
    let version = match room {
        Some(room) if room.server_name().is_some() => RoomVersionId::V11,
        _ => RoomVersionId::V12,
    };
    let rules = linkim_federation::rules(&version)?;
    Some(Pdu::from_peer(json.get().as_bytes(), rules).ok()?.event_id().to_string())
}

/// An EDU: its type and its content.
pub(super) fn read_edu(json: &RawValue) -> Option<(String, &RawValue)> {
    #[derive(Deserialize)]
    struct Edu<'a> {
        #[serde(borrow, rename = "edu_type")]
        kind: &'a RawValue,
        #[serde(borrow)]
        content: &'a RawValue,
    }
    let edu: Edu<'_> = serde_json::from_str(json.get()).ok()?;
    Some((serde_json::from_str(edu.kind.get()).unwrap_or_default(), edu.content))
}

#[cfg(test)]
mod tests {
    use ruma::server_name;
    use serde_json::{Value, json};

    use super::*;

    fn reads(body: &Value) -> Result<Transaction, WireError> {
        Transaction::read(server_name!("b.example"), body.to_string().as_bytes())
    }

    #[test]
    fn the_limits_are_the_specs() {
        let body = |pdus: usize, edus: usize| json!({ "origin": "b.example", "origin_server_ts": 1, "pdus": vec![json!({}); pdus], "edus": vec![json!({}); edus] });
        assert_eq!(reads(&body(50, 100)).unwrap().pdus.len(), 50);
        assert!(matches!(reads(&body(51, 0)), Err(WireError::TooMany)));
        assert!(matches!(reads(&body(0, 101)), Err(WireError::TooMany)));
    }

    #[test]
    fn the_origin_is_who_signed_and_edus_may_be_left_out() {
        assert!(reads(&json!({ "origin": "b.example", "pdus": [7] })).is_ok(), "a malformed event costs itself alone");
        assert!(matches!(reads(&json!({ "origin": "c.example", "pdus": [] })), Err(WireError::Origin(_))));
        assert!(matches!(reads(&json!({ "origin": "b.example" })), Err(WireError::Malformed(_))));
        assert!(matches!(reads(&json!({ "pdus": [] })), Err(WireError::Malformed(_))));
    }
}
