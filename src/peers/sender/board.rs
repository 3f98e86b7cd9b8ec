//! Which servers are owed something, in memory. Servers that are owed nothing are not here: they have everything up to
//! `noted`.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Edu, Peer, transaction::Transaction};
use crate::store::ids::RoomNid;

/// Rooms with debts that are remembered for a server; beyond, all its rooms are looked at.
const MAX_ROOMS: usize = 500;

/// Droppable EDUs that wait for a server; the oldest gives way.
const MAX_DROPPABLE: usize = 50;

/// Flushes after which a server whose watermark stands still gets a row of its own, so that it does not hold back the head.
const PATIENCE: u64 = 5;

/// Rooms in which something may be owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dirty {
    /// In these at most.
    Rooms(HashSet<RoomNid>),
    /// In any.
    All,
}

impl Default for Dirty {
    fn default() -> Self {
        Self::Rooms(HashSet::new())
    }
}

impl Dirty {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Rooms(rooms) if rooms.is_empty())
    }

    fn add(&mut self, room: RoomNid) {
        match self {
            Self::Rooms(rooms) if rooms.len() < MAX_ROOMS || rooms.contains(&room) => {
                rooms.insert(room);
            }
            _ => *self = Self::All,
        }
    }

    fn join(&mut self, other: Self) {
        match other {
            Self::All => *self = Self::All,
            Self::Rooms(rooms) => rooms.into_iter().for_each(|room| self.add(room)),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Rooms(rooms) => rooms.len(),
            Self::All => MAX_ROOMS,
        }
    }
}

/// A server that is, or lately was, owed something.
struct Entry {
    peer: Peer,
    watermark: i64,
    dirty: Dirty,
    /// Whether something may be in its outbox.
    outbox: bool,
    droppable: VecDeque<(Arc<str>, Edu)>,
    /// Whether a task delivers.
    running: bool,
    /// The transaction under way, or one that failed and could not be stored.
    in_flight: Option<Arc<Transaction>>,
    /// Whether a transaction is stored, to be repeated.
    saved: bool,
    /// Whether its row has a watermark of its own.
    recorded: bool,
    /// Whether its rows are behind what is here.
    stale: bool,
    /// Outbox rows that are acknowledged.
    to_device: i64,
    events: i64,
    /// Dropped since the last flush.
    dropped: i64,
    /// The flush before which its watermark last moved.
    moved: u64,
    /// Since when something is owed.
    owed_since_ms: i64,
}

impl Entry {
    fn owes(&self) -> bool {
        !self.dirty.is_empty() || self.outbox || self.saved || self.in_flight.is_some()
    }

    fn idle(&self) -> bool {
        !self.running && !self.owes()
    }
}

/// What a delivery is to do next.
#[derive(Debug)]
pub(super) enum Look {
    /// Repeat this one.
    Kept(Arc<Transaction>),
    /// Repeat the one that is stored.
    Saved,
    /// Make one.
    Owed(Owing),
}

/// What is known of a server's debts.
#[derive(Debug)]
pub(super) struct Owing {
    /// What it has acknowledged.
    pub(super) watermark: i64,
    /// Up to where the rooms named are all those with debts.
    pub(super) up_to: i64,
    /// The rooms; None where there is a plan already.
    pub(super) dirty: Option<Dirty>,
    /// Whether something may be in its outbox.
    pub(super) outbox: bool,
    /// To-device messages up to there are acknowledged.
    pub(super) to_device: i64,
    /// Events of the outbox up to there are acknowledged.
    pub(super) events: i64,
    /// Droppable EDUs.
    pub(super) droppable: Vec<Edu>,
}

/// A row to be written.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) server: i64,
    /// Some: write it; with None inside, as far as the head.
    pub(super) watermark: Option<Option<i64>>,
    pub(super) dropped: i64,
    /// The transaction to be stored; None and `clear`: none is stored any more.
    pub(super) transaction: Option<Arc<Transaction>>,
    pub(super) clear: bool,
    pub(super) to_device: i64,
    pub(super) events: i64,
}

/// What a flush writes.
#[derive(Debug)]
pub(super) struct Flush {
    pub(super) head: i64,
    pub(super) changes: Vec<Change>,
}

/// Numbers for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sizes {
    pub(super) owed: usize,
    pub(super) dirty_rooms: usize,
    pub(super) droppable: usize,
    pub(super) oldest_ms: Option<i64>,
}

/// A server as it is taken up at the start.
pub(super) struct Resumed {
    pub(super) peer: Peer,
    pub(super) watermark: Option<i64>,
    pub(super) saved: bool,
    pub(super) outbox: bool,
    pub(super) owed_since_ms: i64,
}

#[derive(Default)]
struct State {
    noted: i64,
    head: i64,
    flushes: u64,
    /// Whether anything was marked since the head was written.
    marked: bool,
    entries: HashMap<i64, Entry>,
}

/// The servers that are owed something.
#[derive(Default)]
pub(super) struct Board(Mutex<State>);

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that is owed at positions up to it has been marked.
    pub(super) fn noted(&self) -> i64 {
        self.lock().noted
    }

    /// Takes up what was stored: servers without a row have everything up to `head`.
    pub(super) fn resume(&self, head: i64, servers: Vec<Resumed>) {
        let mut state = self.lock();
        state.noted = head;
        state.head = head;
        for resumed in servers {
            let mut entry = entry(resumed.peer, resumed.watermark.unwrap_or(head), resumed.owed_since_ms);
            entry.recorded = resumed.watermark.is_some();
            entry.saved = resumed.saved;
            entry.outbox = resumed.outbox;
            if entry.recorded {
                entry.dirty = Dirty::All;
            }
            state.entries.insert(entry.peer.nid, entry);
        }
    }

    /// Marks what servers are owed up to `newest`; answers those whose delivery must be started.
    pub(super) fn mark(&self, marks: Vec<(Peer, Mark)>, newest: i64, now_ms: i64) -> Vec<Peer> {
        let mut state = self.lock();
        let before = state.noted;
        let flushes = state.flushes;
        let mut start = Vec::new();
        state.marked |= !marks.is_empty();
        for (peer, mark) in marks {
            let entry = state.entries.entry(peer.nid).or_insert_with(|| entry(peer, before, now_ms));
            if entry.idle() {
                entry.owed_since_ms = now_ms;
                entry.moved = flushes;
            }
            match mark {
                Mark::Room(room) => entry.dirty.add(room),
                Mark::Outbox => entry.outbox = true,
                Mark::Passing(key, edu) => {
                    entry.droppable.retain(|(old, _)| *old != key);
                    if entry.droppable.len() >= MAX_DROPPABLE {
                        entry.droppable.pop_front();
                        metrics::counter!("linkim_federation_edus_dropped_total").increment(1);
                    }
                    entry.droppable.push_back((key, edu));
                }
            }
            if !entry.running {
                entry.running = true;
                start.push(entry.peer.clone());
            }
        }
        state.noted = before.max(newest);
        start
    }

    /// Those that are owed something and have no delivery: it must be started.
    pub(super) fn start_all(&self) -> Vec<Peer> {
        let mut state = self.lock();
        let mut start = Vec::new();
        for entry in state.entries.values_mut().filter(|entry| !entry.running && entry.owes()) {
            entry.running = true;
            start.push(entry.peer.clone());
        }
        start.sort_by_key(|peer: &Peer| peer.nid);
        start
    }

    /// What the task of a server does next; None ends it. `planned`: it still has a plan to carry out.
    pub(super) fn begin(&self, server: i64, planned: bool) -> Option<Look> {
        let mut state = self.lock();
        let up_to = state.noted;
        let entry = state.entries.get_mut(&server)?;
        if let Some(kept) = &entry.in_flight {
            return Some(Look::Kept(kept.clone()));
        }
        if entry.saved {
            return Some(Look::Saved);
        }
        if !planned && entry.dirty.is_empty() && !entry.outbox && entry.droppable.is_empty() {
            entry.running = false;
            if !entry.recorded && !entry.stale {
                state.entries.remove(&server);
            }
            return None;
        }
        Some(Look::Owed(Owing {
            watermark: entry.watermark,
            up_to,
            dirty: (!planned).then(|| std::mem::take(&mut entry.dirty)),
            outbox: std::mem::take(&mut entry.outbox),
            to_device: entry.to_device,
            events: entry.events,
            droppable: entry.droppable.drain(..).map(|(_, edu)| edu).collect(),
        }))
    }

    /// Whether more than droppable EDUs is owed; drops those. For servers that can't be reached.
    pub(super) fn drop_passing(&self, server: i64) -> bool {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(&server) else { return false };
        metrics::counter!("linkim_federation_edus_dropped_total").increment(entry.droppable.len() as u64);
        entry.droppable.clear();
        entry.owes()
    }

    /// Gives back what was taken and is still owed.
    pub(super) fn put_back(&self, server: i64, dirty: Option<Dirty>, outbox: bool) {
        if let Some(entry) = self.lock().entries.get_mut(&server) {
            if let Some(dirty) = dirty {
                entry.dirty.join(dirty);
            }
            entry.outbox |= outbox;
        }
    }

    /// This transaction goes out.
    pub(super) fn sending(&self, server: i64, transaction: &Arc<Transaction>) {
        if let Some(entry) = self.lock().entries.get_mut(&server) {
            entry.owed_since_ms = transaction.owed_since_ms;
            entry.in_flight = Some(transaction.clone());
        }
    }

    /// It failed and had nothing in it that must arrive.
    pub(super) fn forget(&self, server: i64) {
        if let Some(entry) = self.lock().entries.get_mut(&server) {
            entry.in_flight = None;
        }
    }

    /// It failed and is stored now, with the watermark.
    pub(super) fn saved(&self, server: i64) {
        if let Some(entry) = self.lock().entries.get_mut(&server) {
            entry.in_flight = None;
            entry.saved = true;
            entry.recorded = true;
        }
    }

    /// A server's watermark.
    pub(super) fn watermark(&self, server: i64) -> Option<i64> {
        self.lock().entries.get(&server).map(|entry| entry.watermark)
    }

    /// Watermarks of all that are here.
    pub(super) fn watermarks(&self) -> HashMap<i64, i64> {
        self.lock().entries.iter().map(|(server, entry)| (*server, entry.watermark)).collect()
    }

    /// All that is owed up to `cut` was acknowledged, with the outbox up to these places. Answers the watermark before.
    pub(super) fn acknowledged(
        &self,
        server: i64,
        (cut, to_device, events): (i64, i64, i64),
        dropped: i64,
        now_ms: i64,
    ) -> i64 {
        let mut state = self.lock();
        let flushes = state.flushes;
        let Some(entry) = state.entries.get_mut(&server) else { return cut };
        let before = entry.watermark;
        if cut > entry.watermark {
            entry.watermark = cut;
            entry.moved = flushes;
        }
        entry.stale |=
            entry.recorded || entry.saved || to_device > entry.to_device || events > entry.events || dropped > 0;
        entry.to_device = entry.to_device.max(to_device);
        entry.events = entry.events.max(events);
        entry.dropped += dropped;
        entry.in_flight = None;
        entry.saved = false;
        entry.owed_since_ms = now_ms;
        before
    }

    /// The task of a server failed in an unforeseen way: all is looked at again when it is next owed something.
    pub(super) fn crashed(&self, server: i64) {
        if let Some(entry) = self.lock().entries.get_mut(&server) {
            entry.running = false;
            entry.dirty = Dirty::All;
            entry.outbox = true;
        }
    }

    /// What is to be written now. With `all`, every server that is owed something gets a row, and its transaction under way is
    /// stored: for a stop. To be followed by [`Self::flushed`].
    pub(super) fn flush(&self, all: bool) -> Flush {
        let mut state = self.lock();
        state.flushes += 1;
        let flushes = state.flushes;
        let mut head = state.noted;
        let mut changes = Vec::new();
        for (server, entry) in &mut state.entries {
            let stale = std::mem::take(&mut entry.stale);
            let watermark = if entry.idle() {
                entry.recorded.then_some(None)
            } else if entry.recorded || all || flushes.saturating_sub(entry.moved) > PATIENCE {
                (stale || all || !entry.recorded).then_some(Some(entry.watermark))
            } else {
                head = head.min(entry.watermark);
                None
            };
            let transaction = entry.in_flight.clone().filter(|transaction| all && transaction.durable);
            if stale || watermark.is_some() || transaction.is_some() {
                changes.push(Change {
                    server: *server,
                    watermark,
                    dropped: std::mem::take(&mut entry.dropped),
                    clear: !entry.saved,
                    transaction,
                    to_device: entry.to_device,
                    events: entry.events,
                });
            }
        }
        // Where nothing was owed, the next start finds nothing either.
        let head = if state.marked || all { head.max(state.head) } else { state.head };
        Flush { head, changes }
    }

    /// The flush was written, or failed.
    pub(super) fn flushed(&self, flush: &Flush, written: bool) {
        let mut state = self.lock();
        if written {
            state.head = flush.head;
            state.marked &= state.head < state.noted;
        }
        for change in &flush.changes {
            let Some(entry) = state.entries.get_mut(&change.server) else { continue };
            if !written {
                entry.stale = true;
                entry.dropped += change.dropped;
                continue;
            }
            if let Some(watermark) = change.watermark {
                entry.recorded = watermark.is_some();
            }
            if entry.idle() && !entry.stale && !entry.recorded {
                state.entries.remove(&change.server);
            }
        }
    }

    /// The head that is written.
    pub(super) fn head(&self) -> i64 {
        self.lock().head
    }

    pub(super) fn sizes(&self) -> Sizes {
        let state = self.lock();
        let mut sizes = Sizes::default();
        for entry in state.entries.values() {
            sizes.dirty_rooms += entry.dirty.len();
            sizes.droppable += entry.droppable.len();
            if !entry.idle() {
                sizes.owed += 1;
                sizes.oldest_ms = Some(sizes.oldest_ms.map_or(entry.owed_since_ms, |old| old.min(entry.owed_since_ms)));
            }
        }
        sizes
    }
}

/// Something that a server is owed.
#[derive(Clone, Debug)]
pub(super) enum Mark {
    /// In this room, by position.
    Room(RoomNid),
    /// In its outbox.
    Outbox,
    /// A droppable EDU with its key.
    Passing(Arc<str>, Edu),
}

fn entry(peer: Peer, watermark: i64, now_ms: i64) -> Entry {
    Entry {
        peer,
        watermark,
        dirty: Dirty::default(),
        outbox: false,
        droppable: VecDeque::new(),
        running: false,
        in_flight: None,
        saved: false,
        recorded: false,
        stale: false,
        to_device: 0,
        events: 0,
        dropped: 0,
        moved: 0,
        owed_since_ms: now_ms,
    }
}
