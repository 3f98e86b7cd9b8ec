//! State resolution of versions 2 to 12 against ruma's on whole inputs, and that the order of arrival does not matter.

use std::sync::Arc;

use linkim_federation::{Pdu, ResolutionEvents, ResolveError, StateMap, resolve};
use proptest::prelude::*;
use ruma::EventId;
use ruma::events::StateEventType;
use serde_json::json;

use crate::history::{any_steps, room_of};
use crate::room::{Room, Sent, State, Store, USERS};

fn resolve_in(room: &Room, store: &Store, states: &[State]) -> State {
    let maps: Vec<StateMap> = states.iter().map(|state| store.numbered(state)).collect();
    store.named(&resolve(room.rules(), &maps, &store.dag, store).unwrap())
}

fn tip_states(room: &Room) -> Vec<State> {
    room.tips.iter().map(|id| room.after[id].clone()).collect()
}

/// An order of arrival in which every event comes after its auth events, by the keys in `order`.
fn arrival(room: &Room, order: &[u8]) -> Vec<Arc<Pdu>> {
    let mut waiting = room.events.clone();
    let mut arrived: Vec<Arc<Pdu>> = Vec::new();
    let mut turn = 0;
    while !waiting.is_empty() {
        let there =
            |event: &Arc<Pdu>| event.auth_events().iter().all(|id| arrived.iter().any(|known| known.event_id() == id));
        let ready: Vec<usize> = (0..waiting.len()).filter(|at| there(&waiting[*at])).collect();
        let chosen = ready[usize::from(order[turn % order.len()]) % ready.len()];
        arrived.push(waiting.remove(chosen));
        turn += 1;
    }
    arrived
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn ruma_resolves_whole_states_the_same(
        number in 2..=12_usize,
        join_rule in prop::sample::select(vec!["public", "invite"]),
        steps in any_steps(60),
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 2..6),
    ) {
        let room = room_of(number, join_rule, &steps);
        let store = Store::of(&room, &room.events);
        // The ends of the branches, and any states at all: what a peer claims need not be a set of ends.
        let picked = picks.iter().map(|index| room.after[room.events[index.index(room.events.len())].event_id()].clone());
        for states in [tip_states(&room), picked.collect()] {
            prop_assert_eq!(resolve_in(&room, &store, &states), room.resolve_plainly(&states));
        }
    }

    #[test]
    fn the_order_of_arrival_does_not_matter(
        number in 1..=12_usize,
        steps in any_steps(60),
        order in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let room = room_of(number, "public", &steps);
        let mut states = tip_states(&room);
        let first = resolve_in(&room, &Store::of(&room, &room.events), &states);
        states.reverse();
        states.push(states[0].clone());
        let second = resolve_in(&room, &Store::of(&room, &arrival(&room, &order)), &states);
        prop_assert_eq!(first, second);
    }

    /// What all agree on stays, and nothing comes out that no state or auth chain has.
    #[test]
    fn agreement_stays(number in 1..=12_usize, steps in any_steps(40)) {
        let room = room_of(number, "public", &steps);
        let states = tip_states(&room);
        let resolved = resolve_in(&room, &Store::of(&room, &room.events), &states);
        for (key, id) in &states[0] {
            if states.iter().all(|state| state.get(key) == Some(id)) {
                prop_assert_eq!(resolved.get(key), Some(id));
            }
        }
        for (key, id) in &resolved {
            let event = room.event(id).unwrap();
            prop_assert_eq!(&event.event_type().to_string(), &key.0);
            prop_assert_eq!(event.state_key(), Some(key.1.as_str()));
        }
        let alone = resolve_in(&room, &Store::of(&room, &room.events), &states[..1]);
        prop_assert_eq!(&alone, &states[0]);
    }
}

/// A store that contradicts itself gives an error, and never a state.
#[test]
fn contradictions_of_the_store_are_errors() {
    struct Broken<'s> {
        store: &'s Store,
        without: &'static str,
    }
    impl ResolutionEvents for Broken<'_> {
        fn event(&self, nid: i64) -> Option<Arc<Pdu>> {
            self.store.event(nid)
        }
        fn nid(&self, id: &EventId) -> Option<i64> {
            self.store.nid(id)
        }
        fn key(&self, key: i64) -> Option<(StateEventType, String)> {
            self.store.key(key).filter(|_| self.without != "key")
        }
        fn key_nid(&self, event_type: &StateEventType, state_key: &str) -> Option<i64> {
            self.store.key_nid(event_type, state_key).filter(|_| self.without != "key_nid")
        }
        fn dag_index(&self, nid: i64) -> Option<u32> {
            self.store.dag_index(nid).filter(|_| self.without != "dag_index")
        }
        fn nid_of_index(&self, index: u32) -> Option<i64> {
            self.store.nid_of_index(index)
        }
    }
    let mut room = Room::new(11, "public");
    let fork: Vec<_> = room.tips.iter().cloned().collect();
    for topic in ["a", "b"] {
        let topic = json!({"topic": topic});
        let sent =
            Sent { sender: USERS[0], event_type: "m.room.topic", state_key: String::new(), content: topic, ts: 1 };
        room.send(&fork, &sent).unwrap();
    }
    let store = Store::of(&room, &room.events);
    let maps: Vec<StateMap> = tip_states(&room).iter().map(|state| store.numbered(state)).collect();
    let resolve = |without| resolve(room.rules(), &maps, &store.dag, &Broken { store: &store, without });
    assert!(resolve("nothing").is_ok());
    assert!(matches!(resolve("key"), Err(ResolveError::UnknownKey(_))));
    assert!(matches!(resolve("dag_index"), Err(ResolveError::NotInDag(_))));
    assert!(matches!(resolve("key_nid"), Err(ResolveError::Unnumbered(_))));
}

/// The rooms of the properties do fork and conflict; a generator that never did would prove nothing.
#[test]
fn the_random_rooms_have_conflicts_in_everything_that_resolution_treats_apart() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut conflicted = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..100 {
        let steps = any_steps(60).new_tree(&mut runner).unwrap().current();
        let room = room_of(11, "public", &steps);
        let states = tip_states(&room);
        for (kind, key) in states.iter().flat_map(State::keys).collect::<std::collections::BTreeSet<_>>() {
            let mut events = states.iter().map(|state| state.get(&(kind.clone(), key.clone())));
            let first = events.next().unwrap();
            if events.any(|other| other != first) {
                *conflicted.entry(kind.clone()).or_default() += 1;
            }
        }
    }
    for kind in ["m.room.member", "m.room.power_levels", "m.room.join_rules", "m.room.topic"] {
        assert!(conflicted.get(kind).is_some_and(|count| *count >= 20), "{kind}: {conflicted:?}");
    }
}
