//! State resolution of room versions 2 to 12, with ruma's algorithm for the engine.
//!
//! <https://spec.matrix.org/v1.19/rooms/v2/#state-resolution>, <https://spec.matrix.org/v1.19/rooms/v12/#state-resolution>
//!
//! ruma hashes the (type, state key) strings and identifiers of all entries of all states, and takes the auth chains as
//! sets of identifiers. For 20 states of 10,000 entries that is most of the cost, and nearly all of it says that the
//! states agree. So what can be done on integers is done here, and ruma is given less. Each reduction gives the same
//! result:
//!
//! 1. *Split.* The unconflicted state map and the conflicted state set are defined by equality of (key, event) pairs, and
//!    local numbers are equal exactly where the strings are.
//! 2. *States.* ruma uses the states for nothing but that split, and of the conflicted ones only the set of events. So
//!    it is given as few states as produce the same: each distinct event of a conflicted key is in exactly one of them,
//!    at least two states in all, so none is in every state; and a selection of the unconflicted entries is in all of
//!    them. Twenty branches that changed different members make two large states, not twenty.
//! 3. *The selection.* The algorithm uses the unconflicted map in two places. In step 2 (not in version 12, which starts
//!    with an empty map) it is the initial state of the iterative auth checks, where it is only ever asked for the keys
//!    that the auth-events selection names for the event being checked, plus, in step 3, for the power levels. Events
//!    being checked are those of the full conflicted set. So the selection is: the keys that the auth-events selection
//!    names for any event of the full conflicted set, and the power levels. In step 5 the whole unconflicted map overrides
//!    the result; that is done here, on integers, with all of it.
//! 4. *The auth difference.* ruma takes the full auth chains C1 … Cn only to compute ∪C − ∩C. Given the two sets
//!    [D, ∅], it computes D ∪ ∅ − D ∩ ∅ = D. D comes from one pass over the auth DAG.
//! 5. *The subgraph* (version 12) is likewise computed on the DAG from the same conflicted state set, and handed over.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ruma::events::StateEventType;
use ruma::room_version_rules::{RoomVersionRules, StateResolutionV2Rules};
use ruma::state_res::StateMap as RumaStateMap;
use ruma::state_res::utils::event_id_set::EventIdSet;
use ruma::{EventId, OwnedEventId};

use super::split::{Split, look_up, overlay, split};
use super::{ResolutionEvents, ResolveError, StateMap};
use crate::auth_dag::AuthDag;
use crate::authorise::auth_types_of;
use crate::pdu::Pdu;

pub(super) fn resolve(
    rules: &RoomVersionRules,
    v2_rules: &StateResolutionV2Rules,
    states: &[&StateMap],
    dag: &AuthDag,
    events: &impl ResolutionEvents,
) -> Result<StateMap, ResolveError> {
    let split = split(states);
    if split.conflicted.is_empty() {
        return Ok(split.unconflicted);
    }
    let known = Known { events, seen: RefCell::default() };
    let sets = Sets::of(&split, states.len(), dag, events, v2_rules)?;
    let full_conflicted = sets.full_conflicted(&split, &known);
    let selection = selection(rules, &split, &full_conflicted, events)?;
    let maps = ruma_maps(&split, selection, &known)?;

    let resolved = ruma::state_res::resolve(
        &rules.authorization,
        v2_rules,
        &maps,
        vec![known.ids(&sets.difference), EventIdSet::new()],
        |id| known.by_id(id),
        |_| Some(known.ids(&sets.subgraph)),
    )
    .map_err(|error| ResolveError::Algorithm(error.to_string()))?;

    let mut numbered = StateMap::with_capacity(resolved.len());
    for ((event_type, state_key), id) in resolved {
        let key = events.key_nid(&event_type, &state_key);
        let key = key.ok_or_else(|| ResolveError::Unnumbered(format!("({event_type}, {state_key})")))?;
        let nid = known.nid(&id).ok_or_else(|| ResolveError::Unnumbered(id.to_string()))?;
        numbered.push((key, nid));
    }
    numbered.sort_unstable();
    Ok(overlay(&numbered, split.unconflicted))
}

/// The sets of events that the auth DAG gives, by local number.
struct Sets {
    difference: Vec<i64>,
    subgraph: Vec<i64>,
}

impl Sets {
    fn of(
        split: &Split,
        states: usize,
        dag: &AuthDag,
        events: &impl ResolutionEvents,
        v2_rules: &StateResolutionV2Rules,
    ) -> Result<Self, ResolveError> {
        let index = |nid: i64| events.dag_index(nid).ok_or(ResolveError::NotInDag(nid));
        let shared = split.unconflicted.iter().map(|(_, nid)| index(*nid)).collect::<Result<Vec<_>, _>>()?;
        let mut sets = vec![Vec::new(); states];
        for (_, entry) in &split.conflicted {
            for (set, nid) in sets.iter_mut().zip(entry) {
                if let Some(nid) = nid {
                    set.push(index(*nid)?);
                }
            }
        }
        let nids = |indices: Vec<u32>| indices.into_iter().filter_map(|index| events.nid_of_index(index)).collect();
        let subgraph = if v2_rules.consider_conflicted_state_subgraph {
            dag.conflicted_subgraph(&sets.concat())
        } else {
            Vec::new()
        };
        Ok(Self { difference: nids(dag.auth_difference_with_shared(&shared, &sets)), subgraph: nids(subgraph) })
    }

    /// The events of the full conflicted set that are there.
    fn full_conflicted(&self, split: &Split, known: &Known<'_, impl ResolutionEvents>) -> Vec<Arc<Pdu>> {
        let conflicted = split.conflicted.iter().flat_map(|(_, entry)| entry.iter().flatten());
        let mut nids: Vec<i64> = conflicted.chain(&self.difference).chain(&self.subgraph).copied().collect();
        nids.sort_unstable();
        nids.dedup();
        nids.into_iter().filter_map(|nid| known.by_nid(nid)).collect()
    }
}

/// The unconflicted entries that the auth rules can ask for, by the number of their key.
fn selection(
    rules: &RoomVersionRules,
    split: &Split,
    full_conflicted: &[Arc<Pdu>],
    events: &impl ResolutionEvents,
) -> Result<Vec<(i64, i64)>, ResolveError> {
    let mut wanted: HashSet<(StateEventType, String)> = HashSet::new();
    wanted.insert((StateEventType::RoomPowerLevels, String::new()));
    for event in full_conflicted {
        // A malformed membership event names no keys: the algorithm skips it before it looks anything up.
        let types = auth_types_of(event.event_type(), event.sender(), event.state_key(), event.content(), rules);
        wanted.extend(types.unwrap_or_default());
    }
    let keys = wanted.iter().filter_map(|(event_type, state_key)| events.key_nid(event_type, state_key));
    Ok(keys.filter_map(|key| Some((key, look_up(&split.unconflicted, key)?))).collect())
}

/// States for ruma that split into the same conflicted state set and the selection.
fn ruma_maps(
    split: &Split,
    selection: Vec<(i64, i64)>,
    known: &Known<'_, impl ResolutionEvents>,
) -> Result<Vec<RumaStateMap<OwnedEventId>>, ResolveError> {
    let id = |nid: i64| known.by_nid(nid).map(|event| event.owned_event_id().clone());
    let key = |key: i64| known.events.key(key).ok_or(ResolveError::UnknownKey(key));
    let mut maps = vec![RumaStateMap::new(); 2];
    for (number, entry) in &split.conflicted {
        let key = key(*number)?;
        let mut distinct: Vec<i64> = entry.iter().copied().flatten().collect();
        distinct.sort_unstable();
        distinct.dedup();
        for (at, id) in distinct.into_iter().filter_map(id).enumerate() {
            if at == maps.len() {
                maps.push(RumaStateMap::new());
            }
            maps[at].insert(key.clone(), id);
        }
    }
    for (number, nid) in selection {
        let key = key(number)?;
        if let Some(id) = id(nid) {
            maps.iter_mut().for_each(|map| {
                map.insert(key.clone(), id.clone());
            });
        }
    }
    Ok(maps)
}

/// The events that were looked up so far: the algorithm asks for the same ones many times, by identifier.
struct Known<'e, E> {
    events: &'e E,
    seen: RefCell<HashMap<OwnedEventId, Found>>,
}

/// An event with its local number, or that there is none.
type Found = Option<(i64, Arc<Pdu>)>;

impl<E: ResolutionEvents> Known<'_, E> {
    fn by_nid(&self, nid: i64) -> Option<Arc<Pdu>> {
        let event = self.events.event(nid)?;
        self.seen.borrow_mut().insert(event.owned_event_id().clone(), Some((nid, event.clone())));
        Some(event)
    }

    fn by_id(&self, id: &EventId) -> Option<Arc<Pdu>> {
        self.find(id).map(|(_, event)| event)
    }

    fn nid(&self, id: &EventId) -> Option<i64> {
        self.find(id).map(|(nid, _)| nid)
    }

    fn find(&self, id: &EventId) -> Found {
        if let Some(found) = self.seen.borrow().get(id) {
            return found.clone();
        }
        let found = self.events.nid(id).and_then(|nid| Some((nid, self.events.event(nid)?)));
        self.seen.borrow_mut().insert(id.to_owned(), found.clone());
        found
    }

    fn ids(&self, nids: &[i64]) -> EventIdSet<OwnedEventId> {
        nids.iter().filter_map(|nid| self.by_nid(*nid)).map(|event| event.owned_event_id().clone()).collect()
    }
}
