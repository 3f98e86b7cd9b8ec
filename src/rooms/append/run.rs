//! Runs of events from other servers that follow the room's extremities: the ordinary case of a room that has not forked. They
//! are judged against the current state in memory and written as one batch, as local events are.
//!
//! The current state is the state before the first of them and, with what each changes, before the next: so check 5 and check 6
//! of the spec's list ask the same. Whatever does not pass ends the run, and goes the way of `forks`.
//!
//! Source: Server-Server API, "Checks performed on receipt of a PDU".

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use linkim_federation::{Pdu, auth_types, check_against_state, check_auth_events};
use ruma::{EventId, OwnedEventId};

use super::{
    Incoming, PduCache,
    head::{Entry, Head, Known, read_state},
    plan::{AuthRef, Batch},
    resolution::load,
};
use crate::store::{
    Read, StoreError, events,
    ids::{EventNid, RoomNid},
    rooms,
};

/// Events of a run at most.
const MAX_RUN: usize = 200;

/// What judging a run takes from the store.
pub(super) struct Facts {
    /// How many events of the run are new, and nothing that is here refers to them.
    fresh: usize,
    auth: HashMap<OwnedEventId, (EventNid, Arc<Pdu>)>,
    entries: Vec<(String, String, Option<Entry>)>,
}

/// How many of these events follow the room's extremities, and then each the one before it.
pub(super) fn length(head: &Head, events: &[Incoming]) -> usize {
    let mut before: BTreeSet<&EventId> = head.tips.iter().map(|tip| &*tip.event_id).collect();
    let mut count = 0;
    // What is judged by its auth events where the state has no member goes one by one.
    let most = if head.partial { 0 } else { MAX_RUN };
    for event in events.iter().take(most) {
        let prev: BTreeSet<&EventId> = event.pdu.prev_events().iter().map(|id| &**id).collect();
        if event.soft_fail.is_some() || prev.is_empty() || prev != before || event.pdu.room_id() != head.room.room_id {
            break;
        }
        before = BTreeSet::from([event.pdu.event_id()]);
        count += 1;
    }
    count
}

/// State keys that judging these events needs and that are not at hand.
pub(super) fn needed(head: &Head, run: &[Arc<Pdu>]) -> Vec<(String, String)> {
    let mut keys = vec![("m.room.create".to_owned(), String::new())];
    for pdu in run {
        let kind = pdu.event_type().to_string();
        // What authorises a malformed event is of no interest: it will not pass.
        let types = auth_types(&kind, pdu.sender(), pdu.state_key(), pdu.content(), head.rules).unwrap_or_default();
        keys.extend(types.into_iter().map(|(kind, key)| (kind.to_string(), key)));
        keys.push(("m.room.power_levels".to_owned(), String::new()));
    }
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|(kind, key)| matches!(head.known(kind, key), Known::No));
    keys
}

impl Facts {
    /// Reads them.
    pub(super) fn read(
        read: &dyn Read,
        room: RoomNid,
        run: &[Arc<Pdu>],
        keys: Vec<(String, String)>,
        pdus: &PduCache,
    ) -> Result<Self, StoreError> {
        let mut out = Self { fresh: 0, auth: HashMap::new(), entries: read_state(read, room, keys)? };
        for pdu in run {
            let id = pdu.event_id();
            if events::nid(read, id)?.is_some() || !rooms::children(read, room, id)?.is_empty() {
                break;
            }
            for id in pdu.auth_events() {
                if !out.auth.contains_key(id)
                    && let Some(known) = events::standing(read, id)?.filter(|known| !known.loose)
                {
                    out.auth.insert(id.clone(), (known.nid, load(read, known.nid, pdus)?));
                }
            }
            out.fresh += 1;
        }
        Ok(out)
    }

    /// Plans what passes all checks, from the first on; answers how many did.
    pub(super) fn plan(mut self, head: &mut Head, batch: &mut Batch, run: &[Incoming]) -> usize {
        for (kind, key, entry) in std::mem::take(&mut self.entries) {
            head.put(&kind, &key, entry);
        }
        let mut count = 0;
        for event in run.iter().take(self.fresh) {
            let Some(auth) = self.judge(head, batch, &event.pdu) else { break };
            batch.push_received(head, event, auth);
            count += 1;
        }
        count
    }

    /// The event's auth events, if it passes checks 4 to 6.
    fn judge(&self, head: &Head, batch: &Batch, pdu: &Arc<Pdu>) -> Option<Vec<AuthRef>> {
        let named = |id: &EventId| match batch.index_of(id) {
            Some(index) => Some((AuthRef::Batch(index), batch.planned[index].pdu.clone())),
            None => self.auth.get(id).map(|(nid, pdu)| (AuthRef::Stored(*nid), pdu.clone())),
        };
        let auth: Option<Vec<AuthRef>> = pdu.auth_events().iter().map(|id| Some(named(id)?.0)).collect();
        let auth = auth?;
        let create = batch.state(head, "m.room.create", "").map(|(_, pdu)| pdu);
        let fetch = |id: &EventId| {
            let create = create.as_ref().filter(|create| create.event_id() == id).cloned();
            named(id).map(|(_, pdu)| pdu).or(create)
        };
        check_auth_events(head.rules, pdu, fetch).ok()?;
        let state = |kind: &ruma::events::StateEventType, key: &str| {
            batch.state(head, &kind.to_string(), key).map(|(_, pdu)| pdu)
        };
        check_against_state(head.rules, pdu, state).ok()?;
        Some(auth)
    }
}
