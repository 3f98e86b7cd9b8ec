//! Telling apart what the states agree on and what they do not.

use super::StateMap;

/// The entries of several states, each ascending by key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    /// Entries that every state has, with the same event.
    pub(super) unconflicted: StateMap,
    /// All others: the key, and for each state the event that it has there.
    pub(super) conflicted: Vec<(i64, Vec<Option<i64>>)>,
}

/// Walks all states at once, so the cost is linear in their entries and nothing is hashed.
pub(super) fn split(states: &[&StateMap]) -> Split {
    let mut split = Split::default();
    let mut rest: Vec<&[(i64, i64)]> = states.iter().map(|state| state.as_slice()).collect();
    while let Some(key) = rest.iter().filter_map(|state| state.first()).map(|(key, _)| *key).min() {
        let mut first = None;
        let mut agreed = true;
        for state in &rest {
            let event = state.first().filter(|(at, _)| *at == key).map(|(_, event)| *event);
            agreed = agreed && event.is_some() && *first.get_or_insert(event) == event;
        }
        if let (true, Some(Some(event))) = (agreed, first) {
            split.unconflicted.push((key, event));
            for state in &mut rest {
                *state = &state[1..];
            }
            continue;
        }
        let entry = rest.iter_mut().map(|state| match state.split_first() {
            Some(((at, event), others)) if *at == key => {
                *state = others;
                Some(*event)
            }
            _ => None,
        });
        split.conflicted.push((key, entry.collect()));
    }
    split
}

/// The event under a key of a state.
pub(super) fn look_up(state: &StateMap, key: i64) -> Option<i64> {
    state.binary_search_by_key(&key, |(key, _)| *key).ok().map(|at| state[at].1)
}

/// Puts one state's entries over another's.
pub(super) fn overlay(under: &StateMap, over: StateMap) -> StateMap {
    let mut merged = StateMap::with_capacity(under.len() + over.len());
    let mut under = under.iter().copied().peekable();
    for entry in over {
        while let Some(below) = under.next_if(|below| below.0 < entry.0) {
            merged.push(below);
        }
        under.next_if(|below| below.0 == entry.0);
        merged.push(entry);
    }
    merged.extend(under);
    merged
}
