//! State resolution of room version 1.
//!
//! <https://spec.matrix.org/v1.19/rooms/v1/#state-resolution>

use std::sync::Arc;

use ruma::events::StateEventType;
use ruma::room_version_rules::RoomVersionRules;
use sha1::{Digest as _, Sha1};

use super::split::look_up;
use super::{ResolutionEvents, ResolveError, StateMap};
use crate::authorise::check_against_state;
use crate::pdu::Pdu;

pub(super) fn resolve(
    rules: &RoomVersionRules,
    states: &[&StateMap],
    events: &impl ResolutionEvents,
) -> Result<StateMap, ResolveError> {
    let Union { mut resolved, conflicts } = union(states, events)?;
    let mut resolution = Resolution { rules, events, resolved: &mut resolved };

    let (power_levels, rest) = take(conflicts, &StateEventType::RoomPowerLevels);
    let (join_rules, rest) = take(rest, &StateEventType::RoomJoinRules);
    let (members, others) = take(rest, &StateEventType::RoomMember);
    for pass in [power_levels, join_rules, members] {
        let chosen = pass.iter().filter_map(|conflict| resolution.last_allowed(conflict)).collect();
        resolution.add(chosen);
    }
    let chosen = others.iter().filter_map(|conflict| resolution.first_allowed(conflict)).collect();
    resolution.add(chosen);
    Ok(resolved)
}

/// The events that several states have under one key.
struct Conflict {
    key: i64,
    event_type: StateEventType,
    /// By ascending depth, then descending SHA-1 of the identifier.
    events: Vec<(i64, Arc<Pdu>)>,
}

struct Union {
    resolved: StateMap,
    conflicts: Vec<Conflict>,
}

/// "Start by setting R to the union of the states to be resolved, excluding any conflicting events." Unlike in later
/// versions there is no conflict where a key is present in some states only.
fn union(states: &[&StateMap], events: &impl ResolutionEvents) -> Result<Union, ResolveError> {
    let mut entries: StateMap = states.iter().flat_map(|state| state.iter().copied()).collect();
    entries.sort_unstable();
    entries.dedup();
    let mut union = Union { resolved: StateMap::with_capacity(entries.len()), conflicts: Vec::new() };
    for same_key in entries.chunk_by(|(a, _), (b, _)| a == b) {
        match same_key {
            [only] => union.resolved.push(*only),
            several => {
                let key = several[0].0;
                let (event_type, _) = events.key(key).ok_or(ResolveError::UnknownKey(key))?;
                let found = several.iter().filter_map(|(_, nid)| Some((*nid, events.event(*nid)?)));
                let mut found: Vec<_> = found.collect();
                found.sort_by_cached_key(|(_, event)| order(event));
                union.conflicts.push(Conflict { key, event_type, events: found });
            }
        }
    }
    Ok(union)
}

/// "Sort the list by ascending depth then descending sha1(event_id)."
fn order(event: &Pdu) -> (u64, std::cmp::Reverse<[u8; 20]>) {
    (event.depth(), std::cmp::Reverse(Sha1::digest(event.event_id().as_str()).into()))
}

fn take(conflicts: Vec<Conflict>, event_type: &StateEventType) -> (Vec<Conflict>, Vec<Conflict>) {
    conflicts.into_iter().partition(|conflict| conflict.event_type == *event_type)
}

/// The state that is being built up: R.
struct Resolution<'r, E> {
    rules: &'r RoomVersionRules,
    events: &'r E,
    resolved: &'r mut StateMap,
}

impl<E: ResolutionEvents> Resolution<'_, E> {
    /// "Add the first event in the list to R. For each subsequent event in the list, check that the event would be allowed
    /// by the authorisation rules for a room in state R. If the event would be allowed, then update R with the event and
    /// continue with the next event in the list. If it would not be allowed, stop."
    ///
    /// A pass has one such list for each key: the memberships of several users do not stop each other, and each list is
    /// checked against R as it was when the pass began, or the result would depend on the order of the keys.
    fn last_allowed(&self, conflict: &Conflict) -> Option<(i64, i64)> {
        let (mut chosen, later) = conflict.events.split_first()?;
        for next in later {
            if !self.allowed(&next.1, Some((conflict.key, &chosen.1))) {
                break;
            }
            chosen = next;
        }
        Some((conflict.key, chosen.0))
    }

    /// "For all other conflicts, just pick the event with the highest depth and lowest sha1(event_id) that passes
    /// authentication in R." If none passes, the one with the lowest depth stays: the text is silent, and a key that was in
    /// the states must not vanish.
    fn first_allowed(&self, conflict: &Conflict) -> Option<(i64, i64)> {
        let allowed = conflict.events.iter().rev().find(|(_, event)| self.allowed(event, None));
        let (nid, _) = allowed.or(conflict.events.first())?;
        Some((conflict.key, *nid))
    }

    fn allowed(&self, event: &Pdu, instead: Option<(i64, &Arc<Pdu>)>) -> bool {
        let verdict = check_against_state(self.rules, event, |event_type, state_key| {
            let key = self.events.key_nid(event_type, state_key)?;
            match instead {
                Some((at, event)) if at == key => Some(event.clone()),
                _ => self.events.event(look_up(self.resolved, key)?),
            }
        });
        verdict.is_ok()
    }

    fn add(&mut self, chosen: StateMap) {
        self.resolved.extend(chosen);
        self.resolved.sort_unstable();
    }
}
