//! Authorisation: whether an event is allowed by the state before it.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#authorization-rules>, with the rules of each room version.

use std::sync::Arc;

use ruma::events::{StateEventType, TimelineEventType};
use ruma::room_version_rules::RoomVersionRules;
use ruma::{EventId, OwnedEventId, UserId};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::pdu::Pdu;

/// An event is not allowed, for the reason inside.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Denied(String);

impl Denied {
    /// The reason, in words that may be logged and answered.
    pub fn reason(&self) -> &str {
        &self.0
    }
}

impl From<String> for Denied {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

/// Which state events an event must name in `auth_events`, by (type, state key), where the state has them. From version
/// 12 on the create event is not among them.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection>
///
/// # Errors
/// [`Denied`] if a membership event is malformed.
pub fn auth_types(
    event_type: &str,
    sender: &UserId,
    state_key: Option<&str>,
    content: &RawValue,
    rules: &RoomVersionRules,
) -> Result<Vec<(StateEventType, String)>, Denied> {
    let event_type = TimelineEventType::from(event_type);
    auth_types_of(&event_type, sender, state_key, content, rules)
}

pub(crate) fn auth_types_of(
    event_type: &TimelineEventType,
    sender: &UserId,
    state_key: Option<&str>,
    content: &RawValue,
    rules: &RoomVersionRules,
) -> Result<Vec<(StateEventType, String)>, Denied> {
    ruma::state_res::auth_types_for_event(event_type, sender, state_key, content, &rules.authorization).map_err(Denied)
}

/// Checks an event against what it names as its authority: that `auth_events` are the right ones (none twice, none
/// surplus, none rejected, none of another room, and the create event known), and that with them for the state it would
/// be allowed. "Checks performed on receipt of a PDU", step 4.
///
/// `fetch` gives an event of the room by its identifier; from version 12 on it is also asked for the create event, which
/// the room's identifier names.
///
/// # Errors
/// [`Denied`]: the event must be rejected.
pub fn check_auth_events(
    rules: &RoomVersionRules,
    pdu: &Pdu,
    fetch: impl Fn(&EventId) -> Option<Arc<Pdu>>,
) -> Result<(), Denied> {
    ruma::state_res::check_state_independent_auth_rules(&rules.authorization, pdu, &fetch)?;
    let mut named: Vec<Arc<Pdu>> = pdu.auth_events().iter().filter_map(|id| fetch(id)).collect();
    if rules.authorization.room_create_event_id_as_room_id && *pdu.event_type() != TimelineEventType::RoomCreate {
        named.extend(create_event_id(pdu).and_then(|id| fetch(&id)));
    }
    let state: Vec<_> =
        named.into_iter().map(|event| (StateEventType::from(event.event_type().to_string()), event)).collect();
    check_against_state(rules, pdu, |event_type, state_key| {
        let mut found =
            state.iter().filter(|(known, event)| known == event_type && event.state_key() == Some(state_key));
        found.next().map(|(_, event)| event.clone())
    })
}

/// Checks an event against a state of its room: the state before it (step 5), or the current one (step 6).
///
/// # Errors
/// [`Denied`]: the event must be rejected, or in step 6 soft-failed.
pub fn check_against_state(
    rules: &RoomVersionRules,
    pdu: &Pdu,
    fetch_state: impl Fn(&StateEventType, &str) -> Option<Arc<Pdu>>,
) -> Result<(), Denied> {
    Ok(ruma::state_res::check_state_dependent_auth_rules(&rules.authorization, pdu, fetch_state)?)
}

/// The create event of a room of version 12 or later: the room's identifier with `$` for `!`.
fn create_event_id(pdu: &Pdu) -> Option<OwnedEventId> {
    EventId::parse(format!("${}", pdu.room_id().as_str().trim_start_matches('!'))).ok()
}
