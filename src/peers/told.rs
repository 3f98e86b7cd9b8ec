//! What servers tell each other of a room to which somebody is invited, or at which they knock.
//!
//! Source: Server-Server API, `PUT /invite` (`invite_room_state`), `PUT /send_knock` (`knock_room_state`): since v1.16 whole
//! events, the create event among them; older servers send stripped state.

use linkim_federation::{Pdu, RoomVersionRules};
use ruma::{OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use super::events::{EventChecker, EventProblem};
use crate::{
    rooms::{state, stripped::KINDS},
    store::{Read, StoreError, ids::RoomNid},
};

/// What is wrong where the create event is not told.
pub(super) const NO_CREATE: &str = "no m.room.create is told";

/// Events that are told at most.
const MAX_EVENTS: usize = 100;

/// Bytes of events that are told at most.
const MAX_BYTES: usize = 512 * 1024;

/// Events that the room's current state tells, whole: those of `rooms/stripped`, and the member event of `member`.
///
/// # Errors
/// [`StoreError`].
pub(super) fn of_room(
    read: &dyn Read,
    room: RoomNid,
    member: Option<&UserId>,
) -> Result<Vec<Box<RawValue>>, StoreError> {
    let mut told = Vec::new();
    let member = member.map(|user| ("m.room.member", user.as_str()));
    for (kind, key) in KINDS.into_iter().map(|kind| (kind, "")).chain(member) {
        if let Some(pdu) = state::current(read, room, kind, key)? {
            told.push(whole(&pdu)?);
        }
    }
    Ok(told)
}

/// An event as JSON.
pub(super) fn whole(pdu: &Pdu) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(pdu.json().to_owned()).map_err(|error| StoreError::Damaged(error.to_string()))
}

/// What another server told, stripped.
pub(super) struct Told {
    /// Stripped state events.
    pub(super) events: Vec<Box<RawValue>>,
    /// The first thing that the spec does not allow; the entry was left out.
    pub(super) problem: Option<String>,
}

/// Why nothing is taken of what another server told.
#[derive(Debug, thiserror::Error)]
pub(super) enum TooMuch {
    /// More than [`MAX_EVENTS`] or [`MAX_BYTES`].
    #[error("it tells too much of the room")]
    TooMuch,
}

#[derive(Serialize)]
struct Stripped<'e> {
    #[serde(rename = "type")]
    kind: &'e str,
    state_key: &'e str,
    sender: &'e UserId,
    content: &'e RawValue,
}

#[derive(Deserialize)]
struct OldStripped {
    #[serde(rename = "type")]
    kind: String,
    state_key: String,
    sender: OwnedUserId,
    content: Box<RawValue>,
}

/// Reads what another server told of a room. Whole events are verified, and left out if they are wrong; stripped ones, which
/// older servers send, can't be verified and are taken as they are in room versions before 12.
///
/// # Errors
/// [`TooMuch`].
pub(super) async fn read(
    told: Vec<Box<RawValue>>,
    room_id: &RoomId,
    rules: &'static RoomVersionRules,
    checker: &EventChecker,
) -> Result<Told, TooMuch> {
    if told.len() > MAX_EVENTS || told.iter().map(|event| event.get().len()).sum::<usize>() > MAX_BYTES {
        return Err(TooMuch::TooMuch);
    }
    let mut events = Vec::with_capacity(told.len());
    let mut problem: Option<String> = None;
    let mut note = |what: String| {
        problem.get_or_insert(what);
    };
    let mut has_create = false;
    let texts = told.clone();
    for (answer, text) in checker.check(rules, told).await.into_iter().zip(texts) {
        match answer {
            Ok(pdu) if pdu.room_id() != room_id => note("an event of another room is told".into()),
            Ok(pdu) => {
                has_create |= pdu.event_type().to_string() == "m.room.create" && pdu.state_key() == Some("");
                events.extend(strip(&pdu));
            }
            Err(EventProblem::Malformed(what)) => {
                note(what);
                if !rules.authorization.room_create_event_id_as_room_id
                    && let Some((stripped, is_create)) = old(&text)
                {
                    has_create |= is_create;
                    events.push(stripped);
                }
            }
            Err(other) => note(other.to_string()),
        }
    }
    if !has_create {
        problem.get_or_insert_with(|| NO_CREATE.into());
    }
    Ok(Told { events, problem })
}

/// The stripped form of a state event.
pub(super) fn strip(pdu: &Pdu) -> Option<Box<RawValue>> {
    let kind = pdu.event_type().to_string();
    let stripped = Stripped { kind: &kind, state_key: pdu.state_key()?, sender: pdu.sender(), content: pdu.content() };
    to_raw_value(&stripped).ok()
}

/// An entry that an older server stripped, and whether it is the create event. Nothing but the four members is kept; what
/// looks like a whole event, and is a wrong one, is not taken.
fn old(text: &RawValue) -> Option<(Box<RawValue>, bool)> {
    let value: Value = serde_json::from_str(text.get()).ok()?;
    if value.get("signatures").is_some() || value.get("hashes").is_some() {
        return None;
    }
    let old: OldStripped = serde_json::from_str(text.get()).ok()?;
    if !old.content.get().starts_with('{') || old.kind.len() > 255 || old.state_key.len() > 255 {
        return None;
    }
    let is_create = old.kind == "m.room.create" && old.state_key.is_empty();
    let stripped = Stripped { kind: &old.kind, state_key: &old.state_key, sender: &old.sender, content: &old.content };
    Some((to_raw_value(&stripped).ok()?, is_create))
}
