//! The oracle: states of a DAG recomputed in full with ruma's state resolution, and random DAGs to put to it.

use super::*;

pub(super) type State = BTreeMap<(StateEventType, String), OwnedEventId>;

/// What the DAG must look like, recomputed in full for every event.
#[derive(Clone)]
pub(super) struct Oracle {
    rules: &'static RoomVersionRules,
    pub(super) pdus: HashMap<OwnedEventId, Arc<Pdu>>,
    pub(super) after: HashMap<OwnedEventId, State>,
    pub(super) before: HashMap<OwnedEventId, State>,
}

impl Oracle {
    pub(super) async fn new(f: &Fixture, room: &RoomKey, first: &[Appended]) -> Self {
        let rules = rules(&room.version).unwrap();
        let mut oracle = Self { rules, pdus: HashMap::new(), after: HashMap::new(), before: HashMap::new() };
        for appended in first {
            let nid = appended.nid;
            let pdu =
                f.store.read::<_, StoreError, _>(move |read| crate::rooms::state::load_pdu(read, nid)).await.unwrap();
            oracle.add(pdu);
        }
        oracle
    }

    pub(super) fn resolve(&self, states: Vec<State>) -> State {
        let maps: Vec<ruma::state_res::StateMap<OwnedEventId>> =
            states.into_iter().map(|state| state.into_iter().collect()).collect();
        let chains = maps.iter().map(|map| self.auth_chain(map.values())).collect();
        let v2 = self.rules.state_res.v2_rules().unwrap();
        ruma::state_res::resolve(
            &self.rules.authorization,
            v2,
            &maps,
            chains,
            |id| self.pdus.get(id).cloned(),
            |conflicted| Some(self.subgraph(conflicted.values().flatten())),
        )
        .unwrap()
        .into_iter()
        .collect()
    }

    /// The events of a state, and all that authorise them.
    pub(super) fn with_chain<'i>(&self, ids: impl Iterator<Item = &'i OwnedEventId>) -> Vec<Arc<Pdu>> {
        self.auth_chain(ids).into_iter().map(|id| self.pdus[&id].clone()).collect()
    }

    /// The same room where nothing has happened yet, though all events are known.
    pub(super) fn elsewhere(&self) -> Self {
        Self { after: HashMap::new(), before: HashMap::new(), ..self.clone() }
    }

    /// Adds an event of which not all previous events are there, with the state before it as a peer says: it is resolved with
    /// the states after those that are. What was rejected is in no such state. Answers whether the event is allowed.
    pub(super) fn add_told(&mut self, id: &EventId, told: &State) -> bool {
        let pdu = self.pdus[id].clone();
        let known: Vec<State> = pdu.prev_events().iter().filter_map(|id| self.after.get(id).cloned()).collect();
        let told: State =
            told.iter().filter(|(_, id)| !self.pdus[*id].rejected()).map(|(k, id)| (k.clone(), id.clone())).collect();
        let states = if known.len() == pdu.prev_events().len() && !known.is_empty() {
            known
        } else {
            [vec![told], known].concat()
        };
        let before = self.resolve(states);
        let by_auth = pdu.auth_events().iter().all(|id| !self.pdus[id].rejected());
        let by_state = check_against_state(self.rules, &pdu, |kind, key| {
            before.get(&(kind.clone(), key.to_owned())).map(|id| self.pdus[id].clone())
        });
        let allowed = by_auth && by_state.is_ok();
        let mut after = before.clone();
        if let (true, Some(key)) = (allowed, pdu.state_key()) {
            after.insert((pdu.event_type().to_string().into(), key.to_owned()), id.to_owned());
        }
        if !allowed {
            self.pdus.insert(id.to_owned(), Arc::new(Pdu::clone(&pdu).with_rejected(true)));
        }
        self.before.insert(id.to_owned(), before);
        self.after.insert(id.to_owned(), after);
        allowed
    }

    fn auth_chain<'i>(
        &self,
        ids: impl Iterator<Item = &'i OwnedEventId>,
    ) -> ruma::state_res::utils::event_id_set::EventIdSet<OwnedEventId> {
        let mut seen = HashSet::new();
        let mut todo: Vec<OwnedEventId> = ids.cloned().collect();
        while let Some(id) = todo.pop() {
            if seen.insert(id.clone()) {
                todo.extend(self.pdus[&id].auth_events().iter().cloned());
            }
        }
        seen.into_iter().collect()
    }

    /// Events on a path of auth events from one conflicted event to another, naively.
    fn subgraph<'i>(
        &self,
        ids: impl Iterator<Item = &'i OwnedEventId>,
    ) -> ruma::state_res::utils::event_id_set::EventIdSet<OwnedEventId> {
        let conflicted: HashSet<&OwnedEventId> = ids.collect();
        let above = |id: &OwnedEventId| -> HashSet<OwnedEventId> {
            let mut seen = HashSet::new();
            let mut todo = vec![id.clone()];
            while let Some(id) = todo.pop() {
                if seen.insert(id.clone()) {
                    todo.extend(self.pdus[&id].auth_events().iter().cloned());
                }
            }
            seen
        };
        let reachable: HashSet<OwnedEventId> = conflicted.iter().flat_map(|id| above(id)).collect();
        reachable.into_iter().filter(|id| above(id).iter().any(|up| conflicted.contains(up))).collect()
    }

    fn state_before(&self, pdu: &Pdu) -> State {
        let states: Vec<State> = pdu.prev_events().iter().map(|id| self.after[id].clone()).collect();
        if states.is_empty() { State::new() } else { self.resolve(states) }
    }

    /// Adds an event whose previous events are there; answers whether it is allowed where it stands.
    pub(super) fn add(&mut self, pdu: Arc<Pdu>) -> bool {
        self.pdus.insert(pdu.event_id().to_owned(), pdu.clone());
        let before = self.state_before(&pdu);
        let allowed = check_against_state(self.rules, &pdu, |kind, key| {
            before.get(&(kind.clone(), key.to_owned())).map(|id| self.pdus[id].clone())
        })
        .is_ok();
        let mut after = before.clone();
        if let (true, Some(key)) = (allowed, pdu.state_key()) {
            after.insert((pdu.event_type().to_string().into(), key.to_owned()), pdu.event_id().to_owned());
        }
        self.before.insert(pdu.event_id().to_owned(), before);
        self.after.insert(pdu.event_id().to_owned(), after);
        allowed
    }

    /// Builds an event of another server on these previous events.
    pub(super) fn build(
        &self,
        room: &RoomKey,
        sender: &ruma::UserId,
        (kind, state_key, content): (&str, Option<&str>, serde_json::Value),
        prev: &[OwnedEventId],
        ts: u64,
    ) -> Arc<Pdu> {
        let states = prev.iter().map(|id| self.after[id].clone()).collect();
        let state = self.resolve(states);
        let raw = RawValue::from_string(content.to_string()).unwrap();
        let auth: Vec<OwnedEventId> = auth_types(kind, sender, state_key, &raw, self.rules)
            .unwrap()
            .into_iter()
            .filter_map(|key| state.get(&key).cloned())
            .collect();
        fn references(ids: &[OwnedEventId]) -> Vec<EventReference<'_>> {
            ids.iter().map(|id| EventReference { event_id: id, reference_hash: None }).collect()
        }
        let depth = prev.iter().map(|id| self.pdus[id].depth()).max().unwrap_or(0) + 1;
        let template = EventTemplate {
            room_id: Some(&room.room_id),
            sender,
            event_type: kind,
            state_key,
            content: object(content),
            prev_events: &references(prev),
            auth_events: &references(&auth),
            depth,
            origin_server_ts: ts,
            redacts: None,
            event_id_v1: None,
        };
        let key = SigningKey::generate([3; 32], "1").unwrap();
        Arc::new(build_event(template, self.rules, sender.server_name(), &key).unwrap())
    }
}

/// A small generator, so that a failure can be repeated from its seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

/// Random events of several remote users on random previous events, oldest first.
pub(super) fn random_dag(
    oracle: &mut Oracle,
    room: &RoomKey,
    start: &OwnedEventId,
    seed: u64,
    count: usize,
) -> Vec<Arc<Pdu>> {
    let mut dice = Dice(seed);
    let users = [
        user_id!("@b:b.example").to_owned(),
        user_id!("@c:c.example").to_owned(),
        user_id!("@alice:a.example").to_owned(),
    ];
    let mut known = vec![start.clone()];
    let mut made = Vec::new();
    for n in 0..count {
        let mut prev: Vec<OwnedEventId> =
            (0..1 + dice.roll(3)).map(|_| known[known.len() - 1 - dice.roll(known.len().min(6))].clone()).collect();
        prev.sort_unstable();
        prev.dedup();
        let user = users[dice.roll(users.len())].clone();
        let other = users[dice.roll(users.len())].clone();
        let (kind, key, content) = match dice.roll(8) {
            0 | 1 => ("m.room.member", Some(user.to_string()), json!({ "membership": "join", "n": n })),
            2 => ("m.room.member", Some(other.to_string()), json!({ "membership": "ban", "n": n })),
            3 => ("m.room.member", Some(user.to_string()), json!({ "membership": "leave", "n": n })),
            4 => ("m.room.message", None, json!({ "body": n, "msgtype": "m.text" })),
            5 => ("m.room.join_rules", Some(String::new()), json!({ "join_rule": "public", "n": n })),
            _ => ("m.room.topic", Some(String::new()), json!({ "topic": n.to_string() })),
        };
        let pdu = oracle.build(room, &user, (kind, key.as_deref(), content), &prev, 1_000 + n as u64 % 7);
        // An event that its own server would refuse is refused by all; some are kept to see that.
        let allowed = oracle.add(pdu.clone());
        if allowed || dice.roll(4) == 0 {
            known.push(pdu.event_id().to_owned());
            made.push(pdu);
        }
    }
    made
}
