//! Resolves recomputed states, with everything looked up afresh.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use linkim_federation::{AuthDag, Pdu, ResolutionEvents, StateMap, check_auth_events, resolve};
use ruma::{EventId, events::StateEventType};

use super::{Kind, Report, Site, room::Room};
use crate::{
    rooms::state::load_pdu,
    store::{
        StoreError, event_id,
        events::flag,
        ids::{self, EventNid},
    },
};

/// Events kept parsed; when full, all are dropped.
const MAX_PDUS: usize = 20_000;

/// Resolutions remembered; when full, all are dropped.
const MAX_REMEMBERED: usize = 64;

/// A recomputed state: (key, event), and the hash of it.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) map: Arc<BTreeMap<i64, i64>>,
    pub(super) hash: u128,
}

/// Resolves states of one room.
pub(super) struct Resolver<'a> {
    site: &'a Site<'a>,
    room: &'a Room,
    dag: AuthDag,
    index: HashMap<i64, u32>,
    nids: Vec<i64>,
    pdus: RefCell<HashMap<i64, Arc<Pdu>>>,
    remembered: HashMap<Vec<u128>, State>,
    /// Outliers that were rejected only when they found their place among live events: from which position on.
    rejected_late: HashMap<i64, i64>,
    /// The moment, as a position: what was rejected later is not yet.
    now: i64,
    failed: RefCell<Option<StoreError>>,
}

impl<'a> Resolver<'a> {
    /// Builds the room's auth DAG from the bodies.
    pub(super) fn new(site: &'a Site<'a>, room: &'a Room, report: &mut Report) -> Self {
        let mut dag = AuthDag::new();
        let (mut index, mut nids) = (HashMap::new(), Vec::new());
        for event in &room.events {
            let Some(body) = event.body.as_ref().filter(|body| body.state_key.is_some()) else { continue };
            let auth: Vec<u32> = body
                .auth
                .iter()
                .filter_map(|id| room.by_id(id))
                .filter_map(|at| index.get(&room.events[at].nid).copied())
                .collect();
            if auth.len() < body.auth.len() && !event.loose {
                report.add(Kind::AuthEdge, &event.event_id, "is stored before its auth events, or without them");
            }
            index.insert(event.nid, dag.push(&auth));
            nids.push(event.nid);
        }
        Self {
            site,
            room,
            dag,
            index,
            nids,
            pdus: RefCell::default(),
            remembered: HashMap::new(),
            rejected_late: HashMap::new(),
            now: i64::MAX,
            failed: RefCell::default(),
        }
    }

    /// Finds out which outliers were rejected late: those whose auth events, as they were judged when the outlier came, would
    /// have it. It is an event's own number that tells when that was.
    pub(super) fn find_late_rejections(&mut self) {
        for event in self.room.events.iter().filter(|event| event.is(flag::REJECTED) && event.in_dag()) {
            let Some(place) = event.live().filter(|place| *place > event.nid) else { continue };
            // Auth events have lower numbers: whether they were rejected late is known here.
            self.at(event.nid);
            if self.allowed_by_auth(event.nid) == Some(true) {
                self.rejected_late.insert(event.nid, place);
            }
        }
        self.at(i64::MAX);
    }

    /// Whether an event's auth events would have it, as they are judged at the moment. None if it can't be read.
    pub(super) fn allowed_by_auth(&self, nid: i64) -> Option<bool> {
        let pdu = self.pdu(nid)?;
        Some(check_auth_events(self.room.rules, &pdu, |id: &EventId| self.pdu(self.nid(id)?)).is_ok())
    }

    /// Turns to another moment.
    pub(super) fn at(&mut self, now: i64) {
        let (earlier, later) = (self.now.min(now), self.now.max(now));
        if self.rejected_late.values().any(|from| *from > earlier && *from <= later) {
            self.remembered.clear();
        }
        self.now = now;
    }

    /// Whether some event that is rejected was not at this moment.
    pub(super) fn rejects_more_later(&self) -> bool {
        self.rejected_late.values().any(|from| *from > self.now)
    }

    /// A stored event, with the verdict that it had at the moment; None, with the failure kept, if it can't be read.
    pub(super) fn pdu(&self, nid: i64) -> Option<Arc<Pdu>> {
        let pdu = self.stored_pdu(nid)?;
        match self.rejected_late.get(&nid) {
            Some(from) if *from > self.now => Some(Arc::new(Pdu::clone(&pdu).with_rejected(false))),
            _ => Some(pdu),
        }
    }

    fn stored_pdu(&self, nid: i64) -> Option<Arc<Pdu>> {
        if let Some(pdu) = self.pdus.borrow().get(&nid) {
            return Some(pdu.clone());
        }
        let pdu = self.keep(load_pdu(self.site.read, EventNid(nid)))?;
        let mut pdus = self.pdus.borrow_mut();
        if pdus.len() >= MAX_PDUS {
            pdus.clear();
        }
        pdus.insert(nid, pdu.clone());
        Some(pdu)
    }

    /// The event that (type, state key) has in a state.
    pub(super) fn event_in(&self, state: &State, kind: &str, key: &str) -> Option<Arc<Pdu>> {
        let key = self.keep(ids::state_key_nid(self.site.read, kind, key)).flatten()?;
        self.pdu(*state.map.get(&key)?)
    }

    /// Resolves states into one; the reason if that can't be done.
    pub(super) fn resolve(&mut self, mut states: Vec<State>) -> Result<State, String> {
        states.sort_unstable_by_key(|state| state.hash);
        states.dedup_by_key(|state| state.hash);
        if states.len() < 2 {
            return Ok(states.pop().unwrap_or_default());
        }
        let inputs: Vec<u128> = states.iter().map(|state| state.hash).collect();
        if let Some(known) = self.remembered.get(&inputs) {
            return Ok(known.clone());
        }
        let maps: Vec<StateMap> =
            states.iter().map(|state| state.map.iter().map(|(key, event)| (*key, *event)).collect()).collect();
        let resolved = resolve(self.room.rules, &maps, &self.dag, self).map_err(|error| error.to_string())?;
        let pairs: Vec<(i64, EventNid)> = resolved.iter().map(|(key, event)| (*key, EventNid(*event))).collect();
        let state = State { hash: self.site.hash_key.of(&pairs), map: Arc::new(resolved.into_iter().collect()) };
        if self.remembered.len() >= MAX_REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert(inputs, state.clone());
        Ok(state)
    }

    /// The first failure of the store since the last call, as a text.
    pub(super) fn take_failure(&self) -> Option<String> {
        self.failed.borrow_mut().take().map(|error| error.to_string())
    }

    fn keep<T>(&self, answer: Result<T, StoreError>) -> Option<T> {
        answer.map_err(|error| self.failed.borrow_mut().get_or_insert(error).to_string()).ok()
    }
}

impl ResolutionEvents for Resolver<'_> {
    fn event(&self, nid: i64) -> Option<Arc<Pdu>> {
        self.pdu(nid)
    }

    fn nid(&self, id: &EventId) -> Option<i64> {
        self.room.by_id(&event_id::encode(id)).map(|at| self.room.events[at].nid)
    }

    fn key(&self, key: i64) -> Option<(StateEventType, String)> {
        let (kind, key) = self.keep(ids::state_key(self.site.read, key))?;
        Some((StateEventType::from(&*kind), key.to_string()))
    }

    fn key_nid(&self, kind: &StateEventType, key: &str) -> Option<i64> {
        self.keep(ids::state_key_nid(self.site.read, &kind.to_string(), key)).flatten()
    }

    fn dag_index(&self, nid: i64) -> Option<u32> {
        self.index.get(&nid).copied()
    }

    fn nid_of_index(&self, index: u32) -> Option<i64> {
        self.nids.get(index as usize).copied()
    }
}
