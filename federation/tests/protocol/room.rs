//! A room of a test: events that follow one another in a DAG, the state after each, and the numbers that a store would
//! give them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use linkim_federation::{AuthDag, Pdu, ResolutionEvents, RoomVersionRules, StateMap, auth_types, check_against_state};
use ruma::events::StateEventType;
use ruma::state_res::StateMap as RumaStateMap;
use ruma::state_res::utils::event_id_set::EventIdSet;
use ruma::{EventId, OwnedEventId};
use serde_json::{Value, json};

use crate::common::version;

/// The state of the room by (type, state key).
pub(crate) type State = BTreeMap<(String, String), OwnedEventId>;

pub(crate) const USERS: [&str; 6] = [
    "@alice:a.example",
    "@bob:b.example",
    "@carol:c.example",
    "@dave:a.example",
    "@erin:b.example",
    "@frank:c.example",
];

/// A room as its history made it.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) number: usize,
    /// In the order in which they were made.
    pub(crate) events: Vec<Arc<Pdu>>,
    by_id: HashMap<OwnedEventId, Arc<Pdu>>,
    /// The state after each event.
    pub(crate) after: HashMap<OwnedEventId, State>,
    /// Events that no other follows.
    pub(crate) tips: BTreeSet<OwnedEventId>,
}

/// What is to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) sender: &'static str,
    pub(crate) event_type: &'static str,
    pub(crate) state_key: String,
    pub(crate) content: Value,
    pub(crate) ts: u64,
}

impl Room {
    /// A room with its creator, power levels and join rules.
    pub(crate) fn new(number: usize, join_rule: &str) -> Self {
        let mut room =
            Self { number, events: vec![], by_id: HashMap::new(), after: HashMap::new(), tips: BTreeSet::new() };
        let alice = USERS[0];
        let mut content = json!({"room_version": number.to_string()});
        if number < 11 {
            content["creator"] = json!(alice);
        }
        let sent = |event_type, state_key: &str, content| Sent {
            sender: alice,
            event_type,
            state_key: state_key.to_owned(),
            content,
            ts: 1,
        };
        let mut users = json!({USERS[1]: 50});
        if number < 12 {
            users[alice] = json!(100);
        }
        for sent in [
            sent("m.room.create", "", content),
            sent("m.room.member", alice, json!({"membership": "join"})),
            sent("m.room.power_levels", "", json!({"users": users})),
            sent("m.room.join_rules", "", json!({"join_rule": join_rule})),
        ] {
            let parents: Vec<OwnedEventId> = room.tips.iter().cloned().collect();
            room.send(&parents, &sent).expect("the first events are allowed");
        }
        room
    }

    pub(crate) fn rules(&self) -> &'static RoomVersionRules {
        version(self.number)
    }

    pub(crate) fn event(&self, id: &EventId) -> Option<Arc<Pdu>> {
        self.by_id.get(id).cloned()
    }

    /// Sends an event after the given ones, if it is allowed there.
    pub(crate) fn send(&mut self, parents: &[OwnedEventId], sent: &Sent) -> Option<OwnedEventId> {
        let before = self.state_before(parents);
        let depth = parents.iter().map(|id| self.by_id[id].depth()).max().unwrap_or(0) + 1;
        let mut event = json!({
            "content": sent.content, "depth": depth, "hashes": {}, "origin_server_ts": sent.ts, "sender": sent.sender,
            "signatures": {}, "state_key": sent.state_key, "type": sent.event_type,
            "prev_events": parents, "auth_events": [],
        });
        let create = sent.event_type == "m.room.create";
        if self.number < 12 {
            event["room_id"] = json!("!room:a.example");
        } else if !create {
            event["room_id"] = json!(self.events[0].room_id());
        }
        let content = serde_json::value::to_raw_value(&sent.content).unwrap();
        let sender = <&ruma::UserId>::try_from(sent.sender).unwrap();
        let types = auth_types(sent.event_type, sender, Some(&sent.state_key), &content, self.rules()).ok()?;
        let auth = types.iter().filter_map(|(event_type, key)| before.get(&(event_type.to_string(), key.clone())));
        event["auth_events"] = auth.map(|id| json!(id)).collect();

        let pdu = Arc::new(Pdu::from_trusted(self.next_id(), event.to_string(), false).unwrap());
        check_against_state(self.rules(), &pdu, |event_type, key| {
            self.event(before.get(&(event_type.to_string(), key.to_owned()))?)
        })
        .ok()?;
        let mut after = before;
        after.insert((sent.event_type.to_owned(), sent.state_key.clone()), pdu.event_id().to_owned());
        self.add(pdu, after)
    }

    fn add(&mut self, pdu: Arc<Pdu>, after: State) -> Option<OwnedEventId> {
        let id = pdu.event_id().to_owned();
        for parent in pdu.prev_events() {
            self.tips.remove(parent);
        }
        self.tips.insert(id.clone());
        self.by_id.insert(id.clone(), pdu.clone());
        self.after.insert(id.clone(), after);
        self.events.push(pdu);
        Some(id)
    }

    /// Identifiers whose order says nothing about the order of the events.
    fn next_id(&self) -> OwnedEventId {
        let scrambled = (self.events.len() as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let server = if self.number < 3 { ":a.example" } else { "" };
        EventId::parse(format!("${scrambled:016x}{server}")).unwrap()
    }

    pub(crate) fn state_before(&self, parents: &[OwnedEventId]) -> State {
        match parents {
            [] => State::new(),
            [only] => self.after[only].clone(),
            several => {
                let states: Vec<State> = several.iter().map(|id| self.after[id].clone()).collect();
                if self.number == 1 { self.resolve_numbered(&states) } else { self.resolve_plainly(&states) }
            }
        }
    }

    fn resolve_numbered(&self, states: &[State]) -> State {
        let store = Store::of(self, &self.events);
        let maps: Vec<StateMap> = states.iter().map(|state| store.numbered(state)).collect();
        store.named(&linkim_federation::resolve(self.rules(), &maps, &store.dag, &store).unwrap())
    }

    /// ruma's resolution on whole states, with auth chains and subgraph walked event by event: the oracle.
    pub(crate) fn resolve_plainly(&self, states: &[State]) -> State {
        let maps: Vec<RumaStateMap<OwnedEventId>> = states
            .iter()
            .map(|state| {
                let entries = state.iter();
                entries
                    .map(|((kind, key), id)| ((StateEventType::from(kind.as_str()), key.clone()), id.clone()))
                    .collect()
            })
            .collect();
        let chains = states.iter().map(|state| state.values().flat_map(|id| self.chain_with(id)).collect()).collect();
        let resolved = ruma::state_res::resolve(
            &self.rules().authorization,
            self.rules().state_res.v2_rules().expect("version 2 or later"),
            &maps,
            chains,
            |id| self.event(id),
            |conflicted| {
                let set: BTreeSet<&OwnedEventId> = conflicted.values().flatten().collect();
                let between = self.events.iter().filter(|event| {
                    let below = self.chain_with(event.event_id());
                    set.iter().any(|from| self.chain_with(from).contains(event.event_id()))
                        && set.iter().any(|to| below.contains(*to))
                });
                Some(between.map(|event| event.event_id().to_owned()).collect::<EventIdSet<_>>())
            },
        )
        .unwrap();
        resolved.into_iter().map(|((kind, key), id)| ((kind.to_string(), key), id)).collect()
    }

    /// An event and its auth chain.
    fn chain_with(&self, id: &EventId) -> BTreeSet<OwnedEventId> {
        let mut found = BTreeSet::new();
        let mut waiting = vec![id.to_owned()];
        while let Some(id) = waiting.pop() {
            if found.insert(id.clone()) {
                waiting.extend(self.by_id[&id].auth_events().iter().cloned());
            }
        }
        found
    }
}

/// The room as one server stored it: numbers in the order of arrival.
pub(crate) struct Store {
    arrived: Vec<Arc<Pdu>>,
    by_id: HashMap<OwnedEventId, usize>,
    keys: Vec<(String, String)>,
    pub(crate) dag: AuthDag,
}

impl Store {
    /// `arrived` has every event after its auth events.
    pub(crate) fn of(room: &Room, arrived: &[Arc<Pdu>]) -> Self {
        let mut store = Self { arrived: arrived.to_vec(), by_id: HashMap::new(), keys: vec![], dag: AuthDag::new() };
        for (at, event) in arrived.iter().enumerate() {
            let auth: Vec<u32> = event.auth_events().iter().map(|id| store.by_id[id] as u32).collect();
            store.dag.push(&auth);
            store.by_id.insert(event.event_id().to_owned(), at);
            let key = (event.event_type().to_string(), event.state_key().unwrap().to_owned());
            if !store.keys.contains(&key) {
                store.keys.push(key);
            }
        }
        assert_eq!(store.arrived.len(), room.events.len());
        store
    }

    pub(crate) fn numbered(&self, state: &State) -> StateMap {
        let number = |key: &(String, String)| self.keys.iter().position(|known| known == key).unwrap();
        let mut map: StateMap =
            state.iter().map(|(key, id)| (key_number(number(key)), event_number(self.by_id[id]))).collect();
        map.sort_unstable();
        map
    }

    pub(crate) fn named(&self, map: &StateMap) -> State {
        assert!(map.is_sorted_by(|(a, _), (b, _)| a < b), "ascending, no key twice");
        let id = |number: i64| self.event(number).unwrap().event_id().to_owned();
        map.iter().map(|(key, event)| (self.keys[(key - 7) as usize / 2].clone(), id(*event))).collect()
    }
}

/// Numbers of events, keys and the auth DAG differ, so that one mistaken for another is noticed.
fn event_number(at: usize) -> i64 {
    at as i64 * 3 + 1000
}

fn key_number(at: usize) -> i64 {
    at as i64 * 2 + 7
}

impl ResolutionEvents for Store {
    fn event(&self, nid: i64) -> Option<Arc<Pdu>> {
        self.arrived.get((nid - 1000) as usize / 3).cloned()
    }
    fn nid(&self, id: &EventId) -> Option<i64> {
        self.by_id.get(id).map(|at| event_number(*at))
    }
    fn key(&self, key: i64) -> Option<(StateEventType, String)> {
        let (kind, key) = self.keys.get((key - 7) as usize / 2)?;
        Some((StateEventType::from(kind.as_str()), key.clone()))
    }
    fn key_nid(&self, event_type: &StateEventType, state_key: &str) -> Option<i64> {
        let found = self.keys.iter().position(|(kind, key)| *kind == event_type.to_string() && key == state_key);
        found.map(key_number)
    }
    fn dag_index(&self, nid: i64) -> Option<u32> {
        Some((nid - 1000) as u32 / 3)
    }
    fn nid_of_index(&self, index: u32) -> Option<i64> {
        Some(event_number(index as usize))
    }
}
