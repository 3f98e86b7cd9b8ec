//! What other servers send us: staged durably before it is answered, then worked off room by room.
//!
//! A transaction's events are read one by one ([`reading`]), staged in one write, and only then answered ([`transactions`]); a
//! few that can be appended at once are not staged ([`live`]).
//! Each room with staged events has a worker that hands them to the room's appender, each after those it names, and fetches
//! what they lack ([`worker`], [`fetching`]). A staged event goes away once the appender has it, or once it is clear that
//! nobody can back it. Before too much waits, senders are answered slowly, then refused, so that they keep their copies
//! ([`desk`]; spec/decisions/0006-refusing-in-place-of-dropping.md).

pub mod acl;
mod desk;
pub mod edus;
mod fetching;
mod hand;
mod live;
pub(crate) mod order;
mod outside;
mod pauses;
mod reading;
#[cfg(test)]
mod tests;
mod transactions;
mod wire;
mod worker;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ruma::{OwnedRoomId, OwnedServerName, RoomId, RoomVersionId};
use tokio::{
    sync::{Notify, Semaphore},
    task::AbortHandle,
    time::Instant,
};

pub use self::{
    desk::{Bound, Bounds},
    transactions::TransactionError,
    wire::{Transaction, WireError},
};
use self::{
    desk::{Desk, Item},
    edus::Edus,
    hand::Staged,
    transactions::Gates,
    worker::Worker,
};
use super::{events::EventChecker, missing::Missing, policy::PolicyServers, reachability::Reachability, slots::Slots};
use crate::{
    clock::Clock,
    rooms::{append::Appenders, remote_receipts::RemoteReceipts, server_acl::ServerAcls},
    store::{Store, StoreError, inbox},
};

/// Rooms whose events are checked and appended at once; the others wait in turn.
const WORKING: usize = 8;

/// Rooms of which something is fetched at once: from one origin, and altogether.
const FETCHING_EACH: usize = 4;
const FETCHING: usize = 32;

/// How long events of a room that nobody here knows are kept after a start, for a join that goes on.
const GRACE: Duration = Duration::from_secs(600);

/// What the inbox works with.
pub struct Parts {
    /// Our name.
    pub server_name: OwnedServerName,
    /// Where events are staged.
    pub store: Store,
    /// Who takes them.
    pub appenders: Arc<Appenders>,
    /// The checks before that.
    pub checker: Arc<EventChecker>,
    /// Fetches what they lack.
    pub missing: Arc<Missing>,
    /// Whom to ask.
    pub reachability: Arc<Reachability>,
    /// Receipts that wait for their events.
    pub receipts: Arc<RemoteReceipts>,
    /// Who may speak in a room.
    pub acls: Arc<ServerAcls>,
    /// What policy servers say, the last of the checks.
    pub policy: Arc<PolicyServers>,
    /// What else transactions carry.
    pub edus: Edus,
    /// How much may wait.
    pub bounds: Bounds,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What waits, and those who work it off.
pub struct Inbox {
    shared: Arc<Shared>,
    gates: Gates,
}

/// What workers share.
struct Shared {
    parts: Parts,
    desk: Mutex<Desk>,
    rooms: Mutex<Rooms>,
    working: Semaphore,
    fetching: Slots,
    started: Instant,
}

/// Rooms with a worker, and rooms that are being joined. Bound: the rooms with staged events; the joins under way.
#[derive(Default)]
struct Rooms {
    workers: HashMap<OwnedRoomId, AtWork>,
    expected: HashMap<OwnedRoomId, Expected>,
    stopped: bool,
}

struct AtWork {
    /// Whether something was staged since the worker last looked.
    news: bool,
    wake: Arc<Notify>,
    abort: AbortHandle,
}

struct Expected {
    version: RoomVersionId,
    joins: usize,
}

/// A room is being joined: events for it are staged, and worked off once this is dropped.
pub struct Expecting {
    shared: Arc<Shared>,
    room_id: OwnedRoomId,
}

impl Drop for Expecting {
    fn drop(&mut self) {
        {
            let mut rooms = self.shared.rooms();
            if let Some(expected) = rooms.expected.get_mut(&self.room_id) {
                expected.joins -= 1;
                if expected.joins == 0 {
                    rooms.expected.remove(&self.room_id);
                }
            }
        }
        if self.shared.desk().of_room(&self.room_id).events > 0 {
            self.shared.wake(&self.room_id);
        }
    }
}

impl Inbox {
    /// Takes up what was staged before, and works it off.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn start(parts: Parts) -> Result<Self, StoreError> {
        let counts = parts.store.read::<_, StoreError, _>(|read| inbox::counts(read)).await?;
        let shared = Arc::new(Shared {
            desk: Mutex::new(Desk::new(parts.bounds, &counts)),
            rooms: Mutex::default(),
            working: Semaphore::new(WORKING),
            fetching: Slots::new(FETCHING_EACH, FETCHING),
            started: Instant::now(),
            parts,
        });
        for count in &counts {
            shared.wake(&count.room_id);
        }
        Ok(Self { shared, gates: Gates::default() })
    }

    /// Tells that a room is being joined, or joined again: what others send into it meanwhile is kept for after the join.
    pub fn expect(&self, room_id: OwnedRoomId, version: RoomVersionId) -> Expecting {
        let mut rooms = self.shared.rooms();
        rooms.expected.entry(room_id.clone()).or_insert(Expected { version, joins: 0 }).joins += 1;
        drop(rooms);
        Expecting { shared: self.shared.clone(), room_id }
    }

    /// Brings the gauges of `/metrics` up to date.
    pub fn refresh_metrics(&self) {
        let (load, oldest) = {
            let desk = self.shared.desk();
            (desk.total(), desk.oldest_ts())
        };
        let age_ms = oldest.map_or(0, |oldest| (self.shared.parts.clock.now_ms() - oldest).max(0));
        metrics::gauge!("linkim_inbox_staged_events").set(load.events as f64);
        metrics::gauge!("linkim_inbox_staged_bytes").set(load.bytes as f64);
        metrics::gauge!("linkim_inbox_oldest_age_seconds").set(age_ms as f64 / 1000.0);
        metrics::gauge!("linkim_inbox_workers").set(self.shared.rooms().workers.len() as f64);
    }

    /// Stops the workers. What is staged stays staged.
    pub fn stop(&self) {
        let mut rooms = self.shared.rooms();
        rooms.stopped = true;
        for (_, at_work) in rooms.workers.drain() {
            at_work.abort.abort();
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Events of a room wait no longer.
    fn release(&self, room: &RoomId, gone: &[Staged]) {
        let mut desk = self.desk();
        for row in gone {
            let item = Item { room_id: room.to_owned(), bytes: row.bytes };
            desk.release(&row.origin, &item, row.received_ts);
        }
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was staged in a room, or something changed for what is: its worker looks, a new one if it has none.
    fn wake(self: &Arc<Self>, room: &RoomId) {
        let mut rooms = self.rooms();
        if rooms.stopped {
            return;
        }
        if let Some(at_work) = rooms.workers.get_mut(room)
            && !at_work.abort.is_finished()
        {
            at_work.news = true;
            at_work.wake.notify_one();
            return;
        }
        let wake = Arc::new(Notify::new());
        let worker = Worker::new(self.clone(), room.to_owned(), wake.clone());
        let abort = tokio::spawn(worker.run()).abort_handle();
        rooms.workers.insert(room.to_owned(), AtWork { news: false, wake, abort });
    }

    /// A worker has nothing left to do: answers whether it may end. All under the lock under which rooms are woken, so that
    /// nothing is staged without a worker that will look.
    fn may_end(&self, room: &RoomId) -> bool {
        let mut rooms = self.rooms();
        match rooms.workers.get_mut(room) {
            Some(at_work) if at_work.news => {
                at_work.news = false;
                false
            }
            _ => {
                rooms.workers.remove(room);
                true
            }
        }
    }

    /// The version of a room that is being joined.
    fn expected(&self, room: &RoomId) -> Option<RoomVersionId> {
        self.rooms().expected.get(room).map(|expected| expected.version.clone())
    }
}
