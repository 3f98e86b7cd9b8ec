//! What a server is owed by position, as far as one look through its rooms finds it: enough for several transactions, so
//! that a server which comes back does not cost a look through all its rooms for each of them.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{
    Peer,
    board::{Dirty, Owing},
};
use crate::store::{
    Read, StoreError,
    debts::{self, Owed, OwedReceipt},
    ids::RoomNid,
    rooms::Stretch,
};

/// Events owed in one room that are sent one by one; beyond, its newest extremities stand for them.
pub(super) const MAX_A_ROOM: usize = 1_000;

/// Events and receipts in a plan at most, each.
const MAX_PLANNED: usize = 1_000;

/// Extremities that stand for a room at most: as many as an event names.
const MAX_HEADS: usize = 20;

/// Rooms whose events were counted that are remembered.
const MAX_COUNTED: usize = 10_000;

/// All that is owed in (the watermark, `up_to`].
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Events, in order.
    pub(super) events: VecDeque<Owed>,
    /// Receipts, in order of position.
    pub(super) receipts: VecDeque<OwedReceipt>,
    /// For rooms that are owed too much: the events that stand for it, room by room. They go out first.
    pub(super) heads: VecDeque<Vec<Owed>>,
    /// How far it goes.
    pub(super) up_to: i64,
}

impl Plan {
    /// Whether it is carried out, where everything up to `watermark` was acknowledged.
    pub(super) fn is_done(&self, watermark: i64) -> bool {
        self.heads.is_empty() && self.up_to <= watermark
    }
}

/// What is remembered of a server that is far behind, for as long as its delivery runs.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// Rooms whose events up to a position were stood for by extremities. What is lost with it is found to be too much again.
    skipped: HashMap<RoomNid, i64>,
    /// Rooms of which is known that they owe at most so many events up to a position.
    counted: HashMap<RoomNid, (i64, usize)>,
}

/// Looks through the rooms that owe.
pub(super) fn plan(read: &dyn Read, peer: &Peer, owing: &Owing, catch_up: &mut CatchUp) -> Result<Plan, StoreError> {
    let after = owing.watermark;
    catch_up.skipped.retain(|_, up_to| *up_to > after);
    let mut stretches = Vec::new();
    match &owing.dirty {
        Some(Dirty::All) => stretches = debts::stretches(read, peer.nid, after)?,
        Some(Dirty::Rooms(rooms)) => {
            for room in rooms {
                stretches.extend(debts::stretches_in(read, peer.nid, *room, after)?);
            }
        }
        None => {}
    }
    let mut out = Plan { up_to: owing.up_to.max(after), ..Plan::default() };
    let mut events = Lowest::default();
    let mut receipts = Lowest::default();
    for stretch in &stretches {
        let low = after.max(stretch.from);
        let high = out.up_to.min(stretch.to.unwrap_or(i64::MAX));
        if low >= high {
            continue;
        }
        let from = low.max(catch_up.skipped.get(&stretch.room).copied().unwrap_or(0));
        if catch_up.is_too_much(read, stretch.room, (from, high), peer.nid)? {
            let heads = heads(read, stretch, (from, high), peer.nid)?;
            catch_up.skipped.insert(stretch.room, high);
            if !heads.is_empty() {
                out.heads.push_back(heads);
            }
        } else {
            let bounds = (from, events.bound(high));
            if bounds.0 < bounds.1 {
                for owed in debts::events(read, stretch.room, bounds, peer.nid, MAX_PLANNED + 1)? {
                    events.add(owed.position, owed);
                }
            }
        }
        let bounds = (low, receipts.bound(high));
        if bounds.0 < bounds.1 {
            for receipt in debts::receipts(read, stretch.room, bounds, MAX_PLANNED + 1)? {
                receipts.add(receipt.position, receipt);
            }
        }
    }
    let up_to = events.complete_to(receipts.complete_to(out.up_to));
    out.up_to = up_to;
    out.events = events.taken(up_to);
    out.receipts = receipts.taken(up_to);
    Ok(out)
}

impl CatchUp {
    /// Whether more events are owed in a room than are sent one by one.
    fn is_too_much(
        &mut self,
        read: &dyn Read,
        room: RoomNid,
        (from, high): (i64, i64),
        server: i64,
    ) -> Result<bool, StoreError> {
        // There are at most as many events as positions.
        let positions = |from: i64| usize::try_from(high.saturating_sub(from)).unwrap_or(0);
        if positions(from) <= MAX_A_ROOM {
            return Ok(false);
        }
        if let Some((up_to, count)) = self.counted.get(&room)
            && count + positions(*up_to) <= MAX_A_ROOM
        {
            return Ok(false);
        }
        let count = debts::count(read, room, (from, high), server, MAX_A_ROOM + 1)?;
        if self.counted.len() >= MAX_COUNTED {
            self.counted.clear();
        }
        self.counted.insert(room, (high, count));
        Ok(count > MAX_A_ROOM)
    }
}

/// What stands for the events of a room in a range: its newest extremities, whoever made them, from which all others are
/// found. Where the server has left, the last event that it is owed: what came later is not its business.
fn heads(read: &dyn Read, stretch: &Stretch, range: (i64, i64), server: i64) -> Result<Vec<Owed>, StoreError> {
    if stretch.to.is_some() {
        return Ok(debts::newest(read, stretch.room, range, server)?.into_iter().collect());
    }
    // Also those beyond the range: the one that stands for our events may have come just now.
    let heads = debts::extremities(read, stretch.room, (range.0, i64::MAX), server, MAX_HEADS)?;
    if heads.is_empty() {
        // All extremities are its own.
        return Ok(debts::newest(read, stretch.room, range, server)?.into_iter().collect());
    }
    Ok(heads)
}

/// The lowest [`MAX_PLANNED`] of many things by position, and one more that shows where they end.
struct Lowest<T>(BTreeMap<i64, T>);

impl<T> Default for Lowest<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Lowest<T> {
    /// Things above it need not be looked for.
    fn bound(&self, high: i64) -> i64 {
        if self.0.len() > MAX_PLANNED {
            self.0.last_key_value().map_or(high, |(last, _)| high.min(*last - 1))
        } else {
            high
        }
    }

    fn add(&mut self, position: i64, thing: T) {
        self.0.insert(position, thing);
        if self.0.len() > MAX_PLANNED + 1 {
            self.0.pop_last();
        }
    }

    /// Up to where all things are here.
    fn complete_to(&self, up_to: i64) -> i64 {
        if self.0.len() > MAX_PLANNED {
            self.0.last_key_value().map_or(up_to, |(last, _)| up_to.min(*last - 1))
        } else {
            up_to
        }
    }

    fn taken(self, up_to: i64) -> VecDeque<T> {
        self.0.into_iter().take_while(|(position, _)| *position <= up_to).map(|(_, thing)| thing).collect()
    }
}
