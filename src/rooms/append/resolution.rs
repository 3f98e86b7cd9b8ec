//! Resolves states of a room that forked, and says what a state differs in, at the cost of what changed.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use linkim_federation::{AuthDag, Pdu, ResolutionEvents, RoomVersionRules, StateMap, resolve};
use ruma::{EventId, events::StateEventType};

use super::{PduCache, forks::key_of};
use crate::{
    rooms::state::load_pdu,
    store::{
        Read, StoreError, events,
        events::StateRef,
        ids::{self, EventNid, RoomKey, RoomNid},
        rooms, state,
    },
};

/// A state that may not be stored yet: a stored one, and what differs from it. Events are numbers, [`Resolver::NEW`] among
/// them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Virtual {
    /// None: the empty state.
    pub(super) base: Option<StateRef>,
    /// (key, event or none).
    pub(super) changes: BTreeMap<i64, Option<i64>>,
    /// Key of the memo of the resolution that made it.
    pub(super) memo: Option<[u8; 32]>,
    /// Its hash, where it is to be stored as a fork of its own.
    pub(super) hash: Option<u128>,
}

impl Virtual {
    /// A stored state.
    pub(super) fn stored(at: StateRef) -> Self {
        Self { base: Some(at), changes: BTreeMap::new(), memo: None, hash: None }
    }

    /// The state before everything.
    pub(super) fn empty() -> Self {
        Self { base: None, changes: BTreeMap::new(), memo: None, hash: None }
    }

    /// This state and the event being judged, if that is a state event.
    pub(super) fn with_new(&self, resolver: &Resolver, pdu: &Pdu) -> Self {
        let mut after = self.clone();
        after.memo = None;
        after.hash = None;
        if pdu.is_state() {
            after.changes.insert(resolver.new_key, Some(resolver.new_nid));
        }
        after
    }
}

/// A stored event, from memory if it is there. A redaction may overtake an insertion here and leave the older body: that
/// changes no verdict, since redaction keeps all that the rules look at.
pub(super) fn load(read: &dyn Read, nid: EventNid, pdus: &PduCache) -> Result<Arc<Pdu>, StoreError> {
    if let Some(pdu) = pdus.get(&nid) {
        return Ok(pdu);
    }
    let pdu = load_pdu(read, nid)?;
    if !read.uncommitted() {
        pdus.insert(nid, pdu.clone());
    }
    Ok(pdu)
}

/// The auth DAG of a room as dense integers. Bound: the room's state events, about 40 bytes each, while its appender is awake.
#[derive(Default)]
struct Graph {
    dag: AuthDag,
    index: HashMap<i64, u32>,
    nids: Vec<i64>,
}

impl Graph {
    fn load(read: &dyn Read, room: RoomNid) -> Result<Self, StoreError> {
        let mut graph = Self::default();
        for (event, auth) in rooms::auth_edges(read, room)? {
            if !graph.push(event.0, &auth) {
                return Err(StoreError::Damaged(format!("event {} comes before its auth events", event.0)));
            }
        }
        Ok(graph)
    }

    /// Adds an event; false if one of its auth events is not there.
    fn push(&mut self, nid: i64, auth: &[EventNid]) -> bool {
        let auth: Option<Vec<u32>> = auth.iter().map(|nid| self.index.get(&nid.0).copied()).collect();
        let Some(auth) = auth else { return false };
        let index = self.dag.push(&auth);
        self.index.insert(nid, index);
        self.nids.push(nid);
        true
    }
}

/// What an appender keeps for resolving its room's forks.
pub(super) struct Resolver {
    graph: Option<Graph>,
    /// The event being judged.
    new: Option<Arc<Pdu>>,
    /// Its number, if it is stored as an outlier; else [`Self::NEW`].
    pub(super) new_nid: i64,
    /// Number of its (type, state key); [`Self::NEW`] if that pair has none yet.
    new_key: i64,
    new_auth: Vec<EventNid>,
    /// Whether it is an accepted outlier that is now to be rejected.
    rejected_late: bool,
}

impl Default for Resolver {
    fn default() -> Self {
        Self {
            graph: None,
            new: None,
            new_nid: Self::NEW,
            new_key: Self::NEW,
            new_auth: Vec::new(),
            rejected_late: false,
        }
    }
}

impl Resolver {
    /// Stands for the event being judged, which has no number yet.
    pub(super) const NEW: i64 = i64::MAX;

    /// Turns to another event; `stored` if that is an outlier in its place of the auth DAG.
    pub(super) fn begin(
        &mut self,
        read: &dyn Read,
        pdu: &Arc<Pdu>,
        stored: Option<EventNid>,
    ) -> Result<(), StoreError> {
        if self.graph.as_ref().is_some_and(|graph| graph.index.contains_key(&Self::NEW)) {
            // The last one was never written.
            self.graph = None;
        }
        self.rejected_late = false;
        self.new = Some(pdu.clone());
        self.new_nid = stored.map_or(Self::NEW, |nid| nid.0);
        self.new_key = key_of(read, pdu)?.unwrap_or(Self::NEW);
        self.new_auth.clear();
        for id in pdu.auth_events() {
            self.new_auth.extend(events::nid(read, id)?);
        }
        Ok(())
    }

    /// The event being judged, an accepted outlier, is rejected from here on. What is remembered was resolved with it.
    pub(super) fn reject_late(&mut self) {
        self.rejected_late = true;
    }

    /// An event was written: it takes its place in the auth DAG.
    pub(super) fn written(&mut self, nid: EventNid, auth: &[EventNid]) {
        let Some(graph) = &mut self.graph else { return };
        if graph.index.contains_key(&nid.0) {
            return;
        }
        let renamed = match graph.index.remove(&Self::NEW) {
            Some(index) => {
                graph.index.insert(nid.0, index);
                graph.nids[index as usize] = nid.0;
                true
            }
            None => graph.push(nid.0, auth),
        };
        if !renamed {
            self.graph = None;
        }
    }

    /// Resolves states. `current` is the room's current state: where the result is best written as a change of it, it is.
    pub(super) fn resolve(
        &mut self,
        read: &dyn Read,
        room: &RoomKey,
        rules: &RoomVersionRules,
        mut states: Vec<Virtual>,
        current: StateRef,
        pdus: &PduCache,
    ) -> Result<Virtual, StoreError> {
        states.iter_mut().for_each(|state| (state.memo, state.hash) = (None, None));
        states.sort_unstable();
        states.dedup();
        if states.len() < 2 {
            return Ok(states.pop().unwrap_or(Virtual::empty()));
        }
        let memo = memo_key(&states);
        if let Some(memo) = memo
            && !self.rejected_late
            && let Some(found) = state::resolution(read, room.nid, &memo)?
        {
            return Ok(Virtual::stored(found));
        }
        self.graph(read, room.nid)?;
        let Some(graph) = &self.graph else { return Err(StoreError::Damaged("no auth DAG".into())) };
        let full = materialise(read, &states)?;
        let lookup = Lookup {
            read,
            pdus,
            graph,
            new: self.new.as_ref().filter(|pdu| pdu.is_state() && self.new_nid == Self::NEW),
            new_key: self.new_key,
            rejected: self.rejected_late.then_some(self.new_nid),
            failed: RefCell::new(None),
        };
        let started = std::time::Instant::now();
        let resolved = resolve(rules, &full, &graph.dag, &lookup);
        metrics::histogram!("linkim_resolution_seconds").record(started.elapsed().as_secs_f64());
        if let Some(error) = lookup.failed.into_inner() {
            return Err(error);
        }
        let resolved = resolved.map_err(|error| StoreError::Damaged(format!("state resolution: {error}")))?;
        let mut result = nearest(read, &resolved, &states, &full, current)?;
        result.memo = memo;
        Ok(result)
    }

    /// Sees that the auth DAG is loaded, the event being judged included.
    fn graph(&mut self, read: &dyn Read, room: RoomNid) -> Result<(), StoreError> {
        let mut graph = match self.graph.take() {
            Some(graph) => graph,
            None => Graph::load(read, room)?,
        };
        let new = self.new_nid == Self::NEW && self.new.as_ref().is_some_and(|pdu| pdu.is_state());
        if new && !graph.index.contains_key(&Self::NEW) {
            let auth = self.new_auth.clone();
            if !graph.push(Self::NEW, &auth) {
                return Err(StoreError::Damaged("an auth event is not in the auth DAG".into()));
            }
        }
        self.graph = Some(graph);
        Ok(())
    }

    /// The event that (kind, key) has in a state.
    pub(super) fn event_at(
        &self,
        read: &dyn Read,
        at: &Virtual,
        kind: &str,
        key: &str,
        pdus: &PduCache,
    ) -> Result<Option<Arc<Pdu>>, StoreError> {
        let number = match ids::state_key_nid(read, kind, key)? {
            Some(number) => number,
            None if self.is_new_key(kind, key) => Self::NEW,
            None => return Ok(None),
        };
        match value(read, at, number)? {
            Some(Self::NEW) => Ok(self.new.clone()),
            Some(nid) => load(read, EventNid(nid), pdus).map(Some),
            None => Ok(None),
        }
    }

    fn is_new_key(&self, kind: &str, key: &str) -> bool {
        self.new.as_ref().is_some_and(|pdu| pdu.state_key() == Some(key) && pdu.event_type().to_string() == kind)
    }
}

/// What `other` has otherwise than a stored state: (key, event or none).
pub(super) fn difference(
    read: &dyn Read,
    stored: StateRef,
    other: &Virtual,
) -> Result<Vec<(i64, Option<i64>)>, StoreError> {
    let mut keys: BTreeSet<i64> = other.changes.keys().copied().collect();
    match other.base {
        Some(base) => keys.extend(touched(read, stored, base)?),
        None => keys.extend(state::full(read, stored)?.into_iter().map(|(key, _)| key)),
    }
    let mut out = Vec::new();
    let here = Virtual::stored(stored);
    for key in keys {
        let new = value(read, other, key)?;
        if value(read, &here, key)? != new {
            out.push((key, new));
        }
    }
    Ok(out)
}

fn value(read: &dyn Read, at: &Virtual, key: i64) -> Result<Option<i64>, StoreError> {
    match (at.changes.get(&key), at.base) {
        (Some(value), _) => Ok(*value),
        (None, Some(base)) if key != Resolver::NEW => Ok(state::value(read, base, key)?.map(|nid| nid.0)),
        _ => Ok(None),
    }
}

/// Names a resolution by its inputs, if all of them are stored.
fn memo_key(states: &[Virtual]) -> Option<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    for state in states {
        let base = state.base.filter(|_| state.changes.is_empty())?;
        hasher.update(&base.line.to_le_bytes());
        hasher.update(&base.epoch.to_le_bytes());
    }
    Some(*hasher.finalize().as_bytes())
}

/// The states from a line down to the one that stands alone.
fn chain(read: &dyn Read, at: StateRef) -> Result<Vec<StateRef>, StoreError> {
    let mut chain = vec![at];
    let mut next = state::line(read, at.line)?.base;
    while let Some(base) = next {
        chain.push(base);
        next = state::line(read, base.line)?.base;
    }
    Ok(chain)
}

/// Keys in which two stored states may differ: what changed on either side since the line they share.
fn touched(read: &dyn Read, a: StateRef, b: StateRef) -> Result<BTreeSet<i64>, StoreError> {
    let (a, b) = (chain(read, a)?, chain(read, b)?);
    let shared = a.iter().enumerate().find_map(|(i, x)| {
        let j = b.iter().position(|y| y.line == x.line)?;
        Some((i, j))
    });
    let mut keys = BTreeSet::new();
    let mut add = |line, after, up_to| -> Result<(), StoreError> {
        keys.extend(state::changes(read, line, after, up_to)?.into_iter().map(|(key, _)| key));
        Ok(())
    };
    let (upper_a, upper_b) = match shared {
        Some((i, j)) => {
            let (x, y) = (a[i].epoch, b[j].epoch);
            add(a[i].line, x.min(y), x.max(y))?;
            (&a[..i], &b[..j])
        }
        // A line that was written as a full copy shares nothing.
        None => (&a[..], &b[..]),
    };
    for at in upper_a.iter().chain(upper_b) {
        add(at.line, i64::MIN, at.epoch)?;
    }
    Ok(keys)
}

/// All states in full, ascending by key. Only the first is read as a whole.
pub(super) fn materialise(read: &dyn Read, states: &[Virtual]) -> Result<Vec<StateMap>, StoreError> {
    let mut first: Option<(StateRef, BTreeMap<i64, i64>)> = None;
    let mut all = Vec::with_capacity(states.len());
    for state in states {
        let mut map = match (state.base, &first) {
            (None, _) => BTreeMap::new(),
            (Some(base), Some((other, map))) => {
                let mut map = map.clone();
                for key in touched(read, *other, base)? {
                    match state::value(read, base, key)? {
                        Some(nid) => map.insert(key, nid.0),
                        None => map.remove(&key),
                    };
                }
                map
            }
            (Some(base), None) => {
                let map: BTreeMap<i64, i64> =
                    state::full(read, base)?.into_iter().map(|(key, nid)| (key, nid.0)).collect();
                first = Some((base, map.clone()));
                map
            }
        };
        for (key, event) in &state.changes {
            match event {
                Some(nid) => map.insert(*key, *nid),
                None => map.remove(key),
            };
        }
        all.push(map.into_iter().collect());
    }
    Ok(all)
}

/// Writes a result as the change of whichever stored state it is nearest to.
pub(super) fn nearest(
    read: &dyn Read,
    result: &StateMap,
    states: &[Virtual],
    full: &[StateMap],
    current: StateRef,
) -> Result<Virtual, StoreError> {
    let current_map = materialise(read, &[Virtual::stored(current)])?.pop().unwrap_or_default();
    let mut best = (Some(current), changes_between(&current_map, result));
    for (state, map) in states.iter().zip(full) {
        if !state.changes.is_empty() || best.1.is_empty() {
            continue;
        }
        let changes = changes_between(map, result);
        if changes.len() < best.1.len() {
            best = (state.base, changes);
        }
    }
    Ok(Virtual { base: best.0, changes: best.1, memo: None, hash: None })
}

/// What turns one state into another.
fn changes_between(from: &StateMap, to: &StateMap) -> BTreeMap<i64, Option<i64>> {
    let mut changes = BTreeMap::new();
    let (mut a, mut b) = (from.iter().peekable(), to.iter().peekable());
    loop {
        match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if x.0 == y.0 => {
                if x.1 != y.1 {
                    changes.insert(y.0, Some(y.1));
                }
                a.next();
                b.next();
            }
            (Some(x), y) if y.is_none_or(|y| x.0 < y.0) => {
                changes.insert(x.0, None);
                a.next();
            }
            (_, Some(y)) => {
                changes.insert(y.0, Some(y.1));
                b.next();
            }
            _ => return changes,
        }
    }
}

/// Gives the protocol crate what it asks for. It can't be told of a failing store, so the failure is kept aside.
struct Lookup<'a> {
    read: &'a dyn Read,
    pdus: &'a PduCache,
    graph: &'a Graph,
    new: Option<&'a Arc<Pdu>>,
    new_key: i64,
    /// An event that is stored as accepted and is not any more.
    rejected: Option<i64>,
    failed: RefCell<Option<StoreError>>,
}

impl Lookup<'_> {
    fn keep<T>(&self, answer: Result<T, StoreError>) -> Option<T> {
        answer.map_err(|error| self.failed.borrow_mut().get_or_insert(error).to_string()).ok()
    }

    fn is_new_key(&self, kind: &StateEventType, key: &str) -> bool {
        self.new.is_some_and(|pdu| pdu.state_key() == Some(key) && pdu.event_type().to_string() == kind.to_string())
    }
}

impl ResolutionEvents for Lookup<'_> {
    fn event(&self, nid: i64) -> Option<Arc<Pdu>> {
        if nid == Resolver::NEW {
            return self.new.cloned();
        }
        let pdu = self.keep(load(self.read, EventNid(nid), self.pdus))?;
        match self.rejected == Some(nid) {
            true => Some(Arc::new(Pdu::clone(&pdu).with_rejected(true))),
            false => Some(pdu),
        }
    }

    fn nid(&self, id: &EventId) -> Option<i64> {
        if self.new.is_some_and(|pdu| pdu.event_id() == id) {
            return Some(Resolver::NEW);
        }
        self.keep(events::nid(self.read, id)).flatten().map(|nid| nid.0)
    }

    fn key(&self, key: i64) -> Option<(StateEventType, String)> {
        if key == self.new_key
            && let Some(pdu) = self.new
        {
            return Some((pdu.event_type().to_string().into(), pdu.state_key()?.to_owned()));
        }
        let (kind, key) = self.keep(ids::state_key(self.read, key))?;
        Some((StateEventType::from(&*kind), key.to_string()))
    }

    fn key_nid(&self, kind: &StateEventType, key: &str) -> Option<i64> {
        if self.is_new_key(kind, key) {
            return Some(self.new_key);
        }
        self.keep(ids::state_key_nid(self.read, &kind.to_string(), key)).flatten()
    }

    fn dag_index(&self, nid: i64) -> Option<u32> {
        self.graph.index.get(&nid).copied()
    }

    fn nid_of_index(&self, index: u32) -> Option<i64> {
        self.graph.nids.get(index as usize).copied()
    }
}
