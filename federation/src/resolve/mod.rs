//! State resolution: which state a room has where its history forked.
//!
//! Version 1's algorithm is in `v1.rs`, version 2's with version 12's changes in `v2.rs`.

use std::sync::Arc;

use ruma::EventId;
use ruma::events::StateEventType;
use ruma::room_version_rules::{RoomVersionRules, StateResolutionVersion};
use thiserror::Error;

use crate::auth_dag::AuthDag;
use crate::pdu::Pdu;

mod split;
mod v1;
mod v2;

/// A state of a room: (the local number of a (type, state key) pair, the local number of the event), ascending by the
/// first and without a pair twice.
pub type StateMap = Vec<(i64, i64)>;

/// What resolution asks of the caller's store. Everything is of one room.
pub trait ResolutionEvents {
    /// The event of a local number. One that is in a state, or in the auth chain of one, must be there; what is missing
    /// is left out of the resolution, as the algorithm cannot verify it.
    fn event(&self, nid: i64) -> Option<Arc<Pdu>>;
    /// The local number of an event.
    fn nid(&self, id: &EventId) -> Option<i64>;
    /// The (type, state key) of a local number.
    fn key(&self, key: i64) -> Option<(StateEventType, String)>;
    /// The local number of a (type, state key). Every state event that is stored must have one.
    fn key_nid(&self, event_type: &StateEventType, state_key: &str) -> Option<i64>;
    /// Where an event is in the auth DAG.
    fn dag_index(&self, nid: i64) -> Option<u32>;
    /// Which event is there in the auth DAG.
    fn nid_of_index(&self, index: u32) -> Option<i64>;
}

/// Why states could not be resolved. All of these mean that the caller's data contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// A state names an event that the auth DAG does not have.
    #[error("event {0} is in a state but not in the auth DAG")]
    NotInDag(i64),
    /// A local number of a (type, state key) is unknown.
    #[error("state key {0} is unknown")]
    UnknownKey(i64),
    /// A state event has no number for its (type, state key), or an event none at all.
    #[error("{0} has no local number")]
    Unnumbered(String),
    /// The algorithm stopped at an event that it needs and that is missing or malformed.
    #[error("{0}")]
    Algorithm(String),
}

/// Resolves several states into one, by the algorithm of the room version.
///
/// The order of `states` does not matter, nor does one that is given twice. No state gives an empty one.
///
/// # Errors
/// [`ResolveError`].
pub fn resolve(
    rules: &RoomVersionRules,
    states: &[StateMap],
    dag: &AuthDag,
    events: &impl ResolutionEvents,
) -> Result<StateMap, ResolveError> {
    let mut distinct: Vec<&StateMap> = states.iter().collect();
    distinct.sort_unstable();
    distinct.dedup();
    match distinct.as_slice() {
        [] => Ok(StateMap::new()),
        [only] => Ok((*only).clone()),
        _ => match &rules.state_res {
            StateResolutionVersion::V2(v2_rules) => v2::resolve(rules, v2_rules, &distinct, dag, events),
            _ => v1::resolve(rules, &distinct, events),
        },
    }
}
