//! The checks on receipt of an event that ask for other events: by its auth events, by the state before it, by the current state.
//!
//! Source: Server-Server API, "Checks performed on receipt of a PDU", 4 to 6.

use std::{collections::BTreeMap, sync::Arc};

use linkim_federation::{Pdu, RoomVersionRules, check_against_state, check_auth_events};
use ruma::EventId;

use super::{
    PduCache,
    forks::{Judgement, NotJudged},
    resolution::{Resolver, Virtual},
};
use crate::{
    rooms::power::Power,
    store::{Read, StoreError, events, events::StateRef, ids::EventNid},
};

/// An event by which another one is authorised.
pub(super) type Auth = (EventNid, Arc<Pdu>);

/// The event's auth events; all must be here, with their own.
pub(super) fn auth_events(read: &dyn Read, pdu: &Pdu, pdus: &PduCache) -> Result<Vec<Auth>, NotJudged> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for id in pdu.auth_events() {
        match events::standing(read, id)?.filter(|known| !known.loose) {
            Some(known) => found.push((known.nid, super::resolution::load(read, known.nid, pdus)?)),
            None => missing.push(id.clone()),
        }
    }
    if missing.is_empty() { Ok(found) } else { Err(NotJudged::MissingAuth(missing)) }
}

/// Checks 4 to 6 of the spec's list, by the state before the event and, where that has a say, the current one. Of a member whom
/// these lack because they are still to be fetched, the event's auth events say what they are.
pub(super) fn checks(
    read: &dyn Read,
    rules: &RoomVersionRules,
    pdu: &Pdu,
    auth: &[(EventNid, Arc<Pdu>)],
    (before, current, partial): (&Virtual, Option<StateRef>, bool),
    resolver: &Resolver,
    pdus: &PduCache,
) -> Result<Judgement, StoreError> {
    let create = create_event(read, auth, before, resolver, pdus)?;
    let fetch = |id: &EventId| {
        let known = auth.iter().map(|(_, pdu)| pdu).chain(create.as_ref());
        known.into_iter().find(|pdu| pdu.event_id() == id).cloned()
    };
    if let Err(denied) = check_auth_events(rules, pdu, fetch) {
        return Ok(Judgement::Rejected(format!("by its auth events: {}", denied.reason())));
    }
    let by_auth: BTreeMap<(String, String), Arc<Pdu>> = auth
        .iter()
        .map(|(_, pdu)| pdu)
        .chain(create.as_ref())
        .filter_map(|pdu| Some(((pdu.event_type().to_string(), pdu.state_key()?.to_owned()), pdu.clone())))
        .collect();
    let in_auth =
        |kind: &ruma::events::StateEventType, key: &str| by_auth.get(&(kind.to_string(), key.to_owned())).cloned();
    if let Err(denied) = check_against_state(rules, pdu, in_auth) {
        return Ok(Judgement::Rejected(format!("by its auth events: {}", denied.reason())));
    }
    let failed = std::cell::RefCell::new(None);
    let look = |state: &Virtual, kind: &ruma::events::StateEventType, key: &str| {
        let found = resolver.event_at(read, state, &kind.to_string(), key, pdus).unwrap_or_else(|error| {
            failed.borrow_mut().get_or_insert(error);
            None
        });
        let lacking = partial && *kind == ruma::events::StateEventType::RoomMember;
        found.or_else(|| if lacking { in_auth(kind, key) } else { None })
    };
    let judgement = if let Err(denied) = check_against_state(rules, pdu, |kind, key| look(before, kind, key)) {
        Judgement::Rejected(format!("by the state before it: {}", denied.reason()))
    } else if let Some(current) = current.map(Virtual::stored)
        && let Err(denied) = check_against_state(rules, pdu, |kind, key| look(&current, kind, key))
    {
        Judgement::SoftFailed(format!("by the current state: {}", denied.reason()))
    } else {
        Judgement::Accepted
    };
    match failed.into_inner() {
        Some(error) => Err(error),
        None => Ok(judgement),
    }
}

/// The create event: in version 12 it is no auth event, the room's id names it.
fn create_event(
    read: &dyn Read,
    auth: &[(EventNid, Arc<Pdu>)],
    before: &Virtual,
    resolver: &Resolver,
    pdus: &PduCache,
) -> Result<Option<Arc<Pdu>>, StoreError> {
    if auth.iter().any(|(_, pdu)| pdu.event_type().to_string() == "m.room.create") {
        return Ok(None);
    }
    resolver.event_at(read, before, "m.room.create", "", pdus)
}

pub(super) fn power_before(
    read: &dyn Read,
    rules: &RoomVersionRules,
    before: &Virtual,
    resolver: &Resolver,
    pdus: &PduCache,
) -> Result<Power, StoreError> {
    let create = resolver.event_at(read, before, "m.room.create", "", pdus)?;
    let levels = resolver.event_at(read, before, "m.room.power_levels", "", pdus)?;
    Ok(Power::new(rules, create.as_deref(), levels.as_deref()))
}
