//! The state before an event, where that is known from a peer alone: its previous events are not here.

use std::collections::BTreeMap;

use linkim_federation::Pdu;
use ruma::OwnedEventId;

use super::{
    forks::NotJudged,
    resolution::{Virtual, materialise, nearest},
};
use crate::store::{
    Read, StoreError, events,
    events::{EventRow, StateRef, flag},
    ids::{EventNid, RoomKey, RoomNid},
    rooms, state,
};

/// The state of these events, as a change of whichever of the states `near` and the current one differs least from it. Events
/// that were rejected are left out.
pub(super) fn state(
    read: &dyn Read,
    room: &RoomKey,
    told: &[OwnedEventId],
    current: StateRef,
    near: Vec<StateRef>,
) -> Result<Virtual, NotJudged> {
    let create = rooms::create_event(read, room.nid)?;
    let (map, missing) = keys(read, room.nid, told)?;
    if !missing.is_empty() {
        return Err(NotJudged::MissingState(missing));
    }
    if !map.values().any(|event| create == Some(EventNid(*event))) {
        return Err(NotJudged::Malformed("the state before it is not one of this room"));
    }
    let mut bases = Vec::new();
    for at in near {
        // A deeper one would be copied whole.
        if state::line(read, at.line)?.level < state::MAX_LEVEL {
            bases.push(Virtual::stored(at));
        }
    }
    let full = materialise(read, &bases)?;
    Ok(nearest(read, &map.into_iter().collect(), &bases, &full, current)?)
}

/// Which event each key has, and what is not here of it.
pub(super) fn keys(
    read: &dyn Read,
    room: RoomNid,
    told: &[OwnedEventId],
) -> Result<(BTreeMap<i64, i64>, Vec<OwnedEventId>), NotJudged> {
    let mut map = BTreeMap::new();
    let mut missing = Vec::new();
    for id in told {
        match events::standing(read, id)?.filter(|known| known.room == room && !known.loose) {
            Some(known) if known.flags & flag::REJECTED != 0 => {}
            Some(known) => {
                let key =
                    known.state_key.ok_or(NotJudged::Malformed("the state before it has an event without key"))?;
                map.insert(key, known.nid.0);
            }
            None => missing.push(id.clone()),
        }
    }
    Ok((map, missing))
}

/// Stored states that are likely to be near to the one before an event: those after its previous events that are here, and
/// those before the events that wait for it.
pub(super) fn near(read: &dyn Read, room: RoomNid, pdu: &Pdu, prev: &[EventRow]) -> Result<Vec<StateRef>, StoreError> {
    let mut near: Vec<StateRef> = prev.iter().filter_map(|row| row.after).collect();
    for child in rooms::waiting_for(read, room, pdu.event_id())?.into_iter().take(1) {
        near.extend(events::by_nid(read, child)?.before);
    }
    near.sort_unstable();
    near.dedup();
    Ok(near)
}
