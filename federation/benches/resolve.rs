//! What a resolution costs: a room of 10,000 members whose history forked into 20 branches.
//!
//! `cargo bench -p linkim-federation --bench resolve`

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use linkim_federation::{AuthDag, Pdu, ResolutionEvents, StateMap, resolve, rules};
use ruma::events::StateEventType;
use ruma::{EventId, OwnedEventId, RoomVersionId};
use serde_json::{Value, json};

const MEMBERS: usize = 10_000;
const BRANCHES: usize = 20;
#[derive(Default)]
struct Store {
    events: Vec<Arc<Pdu>>,
    by_id: HashMap<OwnedEventId, i64>,
    keys: Vec<(StateEventType, String)>,
    by_key: HashMap<(StateEventType, String), i64>,
    dag: AuthDag,
    version_12: bool,
}

impl Store {
    fn add(&mut self, sender: &str, event_type: &str, state_key: &str, content: &Value, auth: &[i64]) -> (i64, i64) {
        let nid = self.events.len() as i64;
        let ids: Vec<&EventId> = auth.iter().map(|nid| self.events[*nid as usize].event_id()).collect();
        let mut event = json!({
            "auth_events": ids, "content": content, "depth": nid, "hashes": {}, "origin_server_ts": 1_700_000_000 + nid,
            "prev_events": [], "sender": sender, "signatures": {}, "state_key": state_key, "type": event_type,
        });
        if !self.version_12 {
            event["room_id"] = json!("!room:a.example");
        } else if nid > 0 {
            event["room_id"] = json!(self.events[0].room_id());
        }
        let scrambled = (nid as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let id = EventId::parse(format!("${scrambled:016x}aaaaaaaaaaaaaaaaaaaaaaaaaaa")).unwrap();
        self.by_id.insert(id.clone(), nid);
        self.events.push(Arc::new(Pdu::from_trusted(id, event.to_string(), false).unwrap()));
        self.dag.push(&auth.iter().map(|nid| *nid as u32).collect::<Vec<_>>());
        let key = (StateEventType::from(event_type), state_key.to_owned());
        let next = self.keys.len() as i64;
        let number = *self.by_key.entry(key.clone()).or_insert(next);
        if number == next {
            self.keys.push(key);
        }
        (number, nid)
    }
}

impl ResolutionEvents for Store {
    fn event(&self, nid: i64) -> Option<Arc<Pdu>> {
        self.events.get(nid as usize).cloned()
    }
    fn nid(&self, id: &EventId) -> Option<i64> {
        self.by_id.get(id).copied()
    }
    fn key(&self, key: i64) -> Option<(StateEventType, String)> {
        self.keys.get(key as usize).cloned()
    }
    fn key_nid(&self, event_type: &StateEventType, state_key: &str) -> Option<i64> {
        self.by_key.get(&(event_type.clone(), state_key.to_owned())).copied()
    }
    fn dag_index(&self, nid: i64) -> Option<u32> {
        Some(nid as u32)
    }
    fn nid_of_index(&self, index: u32) -> Option<i64> {
        Some(i64::from(index))
    }
}

fn put(state: &mut StateMap, (key, event): (i64, i64)) {
    match state.binary_search_by_key(&key, |(key, _)| *key) {
        Ok(at) => state[at].1 = event,
        Err(at) => state.insert(at, (key, event)),
    }
}

/// In every branch Alice kicks some members that the other branches know nothing of, others leave and set new names, and
/// the power levels and the topic change. `changes` is how many memberships each branch touches.
fn forked(version_12: bool, changes: usize) -> (Store, Vec<StateMap>) {
    let mut store = Store { version_12, ..Store::default() };
    let mut state = StateMap::new();
    let alice = "@alice:a.example";
    let levels = |levels: i64| {
        let mut users: serde_json::Map<_, _> =
            (0..50).map(|at| (format!("@user{at}:b.example"), json!(10 + levels))).collect();
        if !version_12 {
            users.insert(alice.to_owned(), json!(100));
        }
        json!({"users": users})
    };
    let create = store.add(alice, "m.room.create", "", &json!({"room_version": "11"}), &[]);
    let base: &[i64] = if version_12 { &[] } else { &[0] };
    let with = |more: &[i64]| [base, more].concat();
    let join = store.add(alice, "m.room.member", alice, &json!({"membership": "join"}), base);
    let first_levels = store.add(alice, "m.room.power_levels", "", &levels(0), &with(&[join.1]));
    let rules =
        store.add(alice, "m.room.join_rules", "", &json!({"join_rule": "public"}), &with(&[join.1, first_levels.1]));
    for entry in [create, join, first_levels, rules] {
        put(&mut state, entry);
    }
    let user = |at: usize| format!("@user{at}:b.example");
    let mut joined = Vec::new();
    for at in 0..MEMBERS {
        let auth = with(&[first_levels.1, rules.1]);
        let entry = store.add(&user(at), "m.room.member", &user(at), &json!({"membership": "join"}), &auth);
        put(&mut state, entry);
        joined.push(entry.1);
    }
    let mut states = Vec::new();
    for branch in 0..BRANCHES {
        let mut state = state.clone();
        let changed =
            store.add(alice, "m.room.power_levels", "", &levels(branch as i64 + 1), &with(&[join.1, first_levels.1]));
        put(&mut state, changed);
        put(&mut state, store.add(alice, "m.room.topic", "", &json!({"topic": branch}), &with(&[join.1, changed.1])));
        for change in 0..changes {
            let at = (branch * changes + change) * 7 % MEMBERS;
            let (who, own) = (user(at), joined[at]);
            let (sender, content, auth) = match change % 3 {
                0 => (alice, json!({"membership": "leave"}), with(&[join.1, changed.1, own])),
                1 => (who.as_str(), json!({"membership": "leave"}), with(&[changed.1, own])),
                _ => {
                    let content = json!({"membership": "join", "displayname": "new"});
                    (who.as_str(), content, with(&[changed.1, own, rules.1]))
                }
            };
            let entry = store.add(sender, "m.room.member", &who, &content, &auth);
            put(&mut state, entry);
        }
        states.push(state);
    }
    (store, states)
}

fn resolution(criterion: &mut Criterion) {
    for (name, version, version_12) in [("11", RoomVersionId::V11, false), ("12", RoomVersionId::V12, true)] {
        let rules = rules(&version).unwrap();
        for changes in [50, 500] {
            let (store, states) = forked(version_12, changes);
            for count in [2, BRANCHES] {
                let title = format!("version {name}, {count} states, {changes} changes in each");
                criterion.bench_function(&title, |bench| {
                    bench.iter(|| black_box(resolve(rules, &states[..count], &store.dag, &store).unwrap()));
                });
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = resolution
}
criterion_main!(benches);
