//! The events that a room's worker has in hand: checked, and not yet taken by the appender.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use linkim_federation::{Pdu, content_hash_holds};
use ruma::{EventId, OwnedEventId, OwnedServerName, ServerName};

use super::order::in_order;

/// Where an event is staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Staged {
    pub(super) seq: i64,
    pub(super) origin: OwnedServerName,
    pub(super) received_ts: i64,
    pub(super) bytes: i64,
}

/// What the appender said an event lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lacks {
    /// It was not asked yet.
    Unknown,
    /// These previous events.
    Prev(Vec<OwnedEventId>),
    /// These auth events.
    Auth(Vec<OwnedEventId>),
}

/// An event in hand.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) pdu: Arc<Pdu>,
    /// None for one that was fetched.
    pub(super) staged: Vec<Staged>,
    pub(super) lacks: Lacks,
}

impl Held {
    /// Whether this server sent it.
    pub(super) fn is_of(&self, origin: &ServerName) -> bool {
        self.staged.iter().any(|staged| staged.origin == origin)
    }
}

/// The events in hand. Bound: what the worker takes and fetches at once.
#[derive(Debug, Default)]
pub(super) struct Hand {
    events: HashMap<OwnedEventId, Held>,
    /// In the order in which they came.
    order: Vec<OwnedEventId>,
    bytes: usize,
}

impl Hand {
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn contains(&self, id: &EventId) -> bool {
        self.events.contains_key(id)
    }

    /// An event in hand.
    pub(super) fn get(&self, id: &EventId) -> Option<&Held> {
        self.events.get(id)
    }

    /// Takes a staged event in hand. Of two copies the one with its content goes before one that had to be redacted because
    /// its hash does not hold: a liar may have sent the other.
    pub(super) fn stage(&mut self, pdu: Arc<Pdu>, staged: Staged) {
        if let Some(held) = self.events.get_mut(pdu.event_id()) {
            if held.staged.iter().all(|known| known.seq != staged.seq) {
                held.staged.push(staged);
            }
            if !content_hash_holds(&held.pdu) && content_hash_holds(&pdu) {
                self.bytes = self.bytes - held.pdu.json().len() + pdu.json().len();
                held.pdu = pdu;
                held.lacks = Lacks::Unknown;
            }
            return;
        }
        self.insert(Held { pdu, staged: vec![staged], lacks: Lacks::Unknown });
    }

    /// Takes a fetched event in hand; answers whether it is new.
    pub(super) fn fetched(&mut self, pdu: Arc<Pdu>) -> bool {
        let new = !self.contains(pdu.event_id());
        if new {
            self.insert(Held { pdu, staged: Vec::new(), lacks: Lacks::Unknown });
        }
        new
    }

    fn insert(&mut self, held: Held) {
        self.bytes += held.pdu.json().len();
        self.order.push(held.pdu.owned_event_id().clone());
        self.events.insert(held.pdu.owned_event_id().clone(), held);
    }

    /// Lets go of events.
    pub(super) fn remove_all(&mut self, ids: &BTreeSet<OwnedEventId>) -> Vec<Held> {
        let mut out = Vec::new();
        for id in ids {
            if let Some(held) = self.events.remove(id) {
                self.bytes -= held.pdu.json().len();
                out.push(held);
            }
        }
        self.order.retain(|id| !ids.contains(id));
        out
    }

    /// Notes what an event lacks.
    pub(super) fn lacks(&mut self, id: &EventId, lacks: Lacks) {
        if let Some(held) = self.events.get_mut(id) {
            held.lacks = lacks;
        }
    }

    /// All events, in the order in which they came.
    pub(super) fn all(&self) -> impl Iterator<Item = &Held> {
        self.order.iter().filter_map(|id| self.events.get(id))
    }

    /// All events, each after those it names.
    pub(super) fn in_order(&self) -> Vec<Arc<Pdu>> {
        in_order(self.all().map(|held| held.pdu.clone()).collect())
    }

    /// Previous events that are named and not in hand.
    pub(super) fn named(&self) -> BTreeSet<OwnedEventId> {
        let named = self.all().flat_map(|held| held.pdu.prev_events());
        named.filter(|id| !self.contains(id)).cloned().collect()
    }
}
