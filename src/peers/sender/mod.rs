//! What we owe other servers, and that they get it.
//!
//! What is owed is derived, not stored (spec/decisions/0007): events that we relay and receipts of our users, at positions
//! beyond the server's watermark, over the stretches in which it is in the room. The write path leaves [`Notes`]; the
//! dispatcher finds the servers of the rooms noted and marks them on the board; each marked server has a delivery, which
//! looks up what is owed, sends it as transactions, one at a time, and ends when nothing is left. A transaction that failed is
//! stored, and repeated byte for byte. Watermarks are written now and then: what is sent twice is harmless.
//!
//! Source: Server-Server API, "Transactions", "EDUs".

mod board;
mod delivery;
mod dispatcher;
mod edu;
mod notes;
mod overview;
mod persist;
mod plan;
mod receipts;
mod transaction;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use ruma::{OwnedServerName, ServerName};
use tokio::sync::{Semaphore, watch};

use self::{
    board::{Board, Resumed},
    delivery::Delivery,
    dispatcher::Dispatcher,
    notes::{Noted, Passing, To},
};
pub use self::{
    edu::{Edu, OwedEdus, Peer},
    notes::{Notes, ServersHear, ServersHearReceipts},
    overview::{DestinationLine, Overview},
};
use super::{client::PeerClient, reachability::Reachability};
use crate::{
    accounts::Acknowledged,
    clock::Clock,
    config::Config,
    random::Random,
    rooms::elsewhere::TellsElsewhere,
    store::{
        Store, StoreError, WriteTx, debts, destinations, ids,
        ids::{EventNid, RoomNid},
        outbox,
    },
};

/// Typing that goes on is told again after so long: other servers forget it after a while.
const TYPING_REPEAT_MS: i64 = 20_000;

/// Requests under way at once to servers that answer.
const HEALTHY: usize = 200;

/// Requests under way at once to servers that have failed: each may take until its timeout.
const DOUBTFUL: usize = 50;

/// Pause before the store is asked again after it failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// At the start, deliveries begin so far apart.
const STAGGER: Duration = Duration::from_millis(5);

/// The longest that a delivery waits for its turn at the start.
const MAX_STAGGER: Duration = Duration::from_secs(10);

/// Told of servers that come into rooms: they may have to be told what events do not say. Must not block.
pub trait HearsArrivals: Send + Sync + 'static {
    /// A server, by its number, is in a room since lately; may be told twice.
    fn server_arrived(&self, room: RoomNid, server: i64);
}

/// What the sender is made of.
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// The database.
    pub store: Store,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for ids of transactions.
    pub random: Arc<dyn Random>,
    /// Requests.
    pub client: Arc<PeerClient>,
    /// Which servers fail.
    pub reachability: Arc<Reachability>,
    /// What the write path leaves.
    pub notes: Arc<Notes>,
    /// Device lists and signing keys.
    pub edus: Arc<dyn OwedEdus>,
}

/// What all tasks of the sender share.
struct Core {
    config: Arc<Config>,
    own: OwnedServerName,
    store: Store,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    client: Arc<PeerClient>,
    reachability: Arc<Reachability>,
    notes: Arc<Notes>,
    edus: Arc<dyn OwedEdus>,
    arrivals: OnceLock<Arc<dyn HearsArrivals>>,
    acknowledged: OnceLock<Arc<Acknowledged>>,
    board: Board,
    healthy: Semaphore,
    doubtful: Semaphore,
    /// When servers were last reached, and when that was last written. Bound: the servers of our rooms.
    reached: Mutex<HashMap<i64, persist::Reached>>,
    /// Held while the state of destinations is written.
    written: tokio::sync::Mutex<persist::Written>,
    stop: watch::Sender<bool>,
}

/// Sends what is owed.
pub struct Sender {
    core: Arc<Core>,
}

impl Sender {
    /// Reads how far the other servers are. Nothing is sent before [`Self::start`].
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load(parts: Parts) -> Result<Self, StoreError> {
        let Parts { config, store, clock, random, client, reachability, notes, edus } = parts;
        let core = Arc::new(Core {
            own: config.server_name.clone(),
            config,
            store,
            clock,
            random,
            client,
            reachability,
            notes,
            edus,
            arrivals: OnceLock::new(),
            acknowledged: OnceLock::new(),
            board: Board::default(),
            healthy: Semaphore::new(HEALTHY),
            doubtful: Semaphore::new(DOUBTFUL),
            reached: Mutex::default(),
            written: tokio::sync::Mutex::default(),
            stop: watch::Sender::new(false),
        });
        core.load().await?;
        Ok(Self { core })
    }

    /// Starts to deliver, what was owed before first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn start(&self) -> Result<(), StoreError> {
        let dispatcher = Arc::new(Dispatcher::new(self.core.arrivals.get().cloned()));
        let (before, edus) = (self.core.board.noted(), self.core.edus.clone());
        let noted = self
            .core
            .store
            .read::<_, StoreError, _>(move |read| {
                let read: &dyn crate::store::Read = read;
                let mut rooms = debts::changed_rooms(read, before)?;
                rooms.extend(edus.rooms_after(read, before)?);
                Ok(Noted { rooms: rooms.into_iter().collect(), newest: read.position(), ..Noted::default() })
            })
            .await?;
        let mut start = dispatcher.clone().dispatch(&self.core, Arc::new(noted)).await?;
        start.extend(self.core.board.start_all());
        let mut wait = Duration::ZERO;
        for peer in start {
            self.core.start(peer, Some(wait));
            wait = (wait + STAGGER).min(MAX_STAGGER);
        }
        let core = self.core.clone();
        self.core.spawn(async move { dispatcher.run(core).await });
        let core = self.core.clone();
        self.core.spawn(async move { core.keep_flushing().await });
        Ok(())
    }

    /// Stops to deliver, and stores what is under way, so that it is repeated byte for byte.
    pub async fn stop(&self) {
        self.core.stop.send_replace(true);
        if let Err(error) = self.core.flush(true).await {
            tracing::warn!(%error, "could not write how far other servers are; they will be sent some things again");
        }
    }

    /// Owes an event to a server that is not in its room: a kick, a ban, a rescinded invitation, an answer to a knock.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn owe(&self, tx: &WriteTx<'_>, destination: &ServerName, event: EventNid) -> Result<(), StoreError> {
        if self.core.permitted(destination.as_str()).is_some() {
            outbox::put_event(tx, destination, event)?;
            self.wake_after(tx, destination)?;
        }
        Ok(())
    }

    /// Owes a to-device message to a server: the content of an `m.direct_to_device` EDU.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn to_device(
        &self,
        tx: &WriteTx<'_>,
        destination: &ServerName,
        message_id: &str,
        content: &str,
    ) -> Result<(), StoreError> {
        if self.core.permitted(destination.as_str()).is_some() {
            outbox::put_to_device(tx, destination, message_id, content)?;
            self.wake_after(tx, destination)?;
        }
        Ok(())
    }

    fn wake_after(&self, tx: &WriteTx<'_>, destination: &ServerName) -> Result<(), StoreError> {
        let server = ids::intern_server(tx, destination.as_str())?;
        let notes = self.core.notes.clone();
        tx.after_commit(move || notes.outbox_of(server));
        Ok(())
    }

    /// Sends an EDU that may be lost to a server: now or never. One with the same key that still waits is replaced.
    pub fn edu(&self, destination: OwnedServerName, key: impl Into<Arc<str>>, edu: Edu) {
        self.core.notes.passing(Passing::Edu { to: To::Server(destination), key: key.into(), edu });
    }

    /// As [`Self::edu`], to all servers of a room.
    pub fn edu_in_room(&self, room: RoomNid, key: impl Into<Arc<str>>, edu: Edu) {
        self.core.notes.passing(Passing::Edu { to: To::Room(room), key: key.into(), edu });
    }

    /// Has servers that come into rooms told to `arrivals`. To be called before [`Self::start`].
    pub fn tell_arrivals(&self, arrivals: Arc<dyn HearsArrivals>) {
        let _first = self.core.arrivals.set(arrivals);
    }

    /// Notes in `acknowledged` what other servers have received.
    pub fn note_in(&self, acknowledged: Arc<Acknowledged>) {
        let _first = self.core.acknowledged.set(acknowledged);
    }

    /// Where the write path leaves what is new.
    pub fn notes(&self) -> &Arc<Notes> {
        &self.core.notes
    }
}

impl TellsElsewhere for Sender {
    fn owe(&self, tx: &WriteTx<'_>, destination: &ServerName, event: EventNid) -> Result<(), StoreError> {
        Self::owe(self, tx, destination, event)
    }
}

impl Core {
    /// The server of this name, unless it is this one or the configuration does not permit to talk to it.
    fn permitted(&self, name: &str) -> Option<OwnedServerName> {
        OwnedServerName::try_from(name).ok().filter(|name| *name != self.own && self.config.federation.permits(name))
    }

    /// Whether a server may be tried.
    fn is_up(&self, server: &ServerName) -> bool {
        self.reachability.may_try(server, self.clock.now_ms()).is_ok()
    }

    fn has_failed(&self, server: &ServerName) -> bool {
        self.reachability.has_failed(server)
    }

    /// Never given twice, not even after a backup was restored.
    fn transaction_id(&self) -> String {
        format!("{}{}", self.clock.now_ms(), self.random.letters(8))
    }

    /// Runs until its end or the stop.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut stopping = self.stop.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => {}
                () = work => {}
            }
        });
    }

    /// Starts the delivery to a server, after a while if so.
    fn start(self: &Arc<Self>, peer: Peer, after: Option<Duration>) {
        let core = self.clone();
        self.spawn(async move {
            if let Some(after) = after {
                tokio::time::sleep(after).await;
            }
            let server = peer.nid;
            let delivery = Delivery::new(core.clone(), peer);
            // The panic hook has logged it; the server's debts are looked at again when it is next owed something.
            if AssertUnwindSafe(delivery.run()).catch_unwind().await.is_err() {
                core.board.crashed(server);
            }
        });
    }

    /// A server has acknowledged a transaction.
    fn reached(&self, server: i64, now_ms: i64) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached.entry(server).or_default().now_ms = now_ms;
    }

    /// Takes up what was stored.
    async fn load(&self) -> Result<(), StoreError> {
        let (head, rows, kept, outbox) = self
            .store
            .read::<_, StoreError, _>(|read| {
                let read: &dyn crate::store::Read = read;
                let kept: HashMap<i64, i64> = destinations::with_transaction(read)?.into_iter().collect();
                let mut outbox = HashMap::new();
                for server in outbox::servers(read)? {
                    outbox.insert(server, destinations::server_name(read, server)?);
                }
                Ok((destinations::head(read)?, destinations::all(read)?, kept, outbox))
            })
            .await?;
        let now_ms = self.clock.now_ms();
        let mut resumed: HashMap<i64, Resumed> = HashMap::new();
        let mut failing = Vec::new();
        {
            let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
            for row in rows {
                let Some(name) = self.permitted(&row.name) else { continue };
                if let Some(ts) = row.last_success_ts {
                    reached.insert(row.server, persist::Reached { now_ms: ts, written_ms: ts });
                }
                if row.failures > 0 {
                    failing.push(persist::destination(name.clone(), &row));
                }
                let saved = kept.get(&row.server);
                if row.watermark.is_some() || saved.is_some() {
                    let since = saved.copied().unwrap_or(now_ms);
                    let (peer, saved) = (Peer { nid: row.server, name }, saved.is_some());
                    let entry = Resumed { peer, watermark: row.watermark, saved, outbox: false, owed_since_ms: since };
                    resumed.insert(row.server, entry);
                }
            }
        }
        for (server, name) in outbox {
            let Some(name) = self.permitted(&name) else { continue };
            let entry = resumed.entry(server).or_insert_with(|| Resumed {
                peer: Peer { nid: server, name },
                watermark: None,
                saved: false,
                outbox: false,
                owed_since_ms: now_ms,
            });
            entry.outbox = true;
        }
        self.written.lock().await.failing = failing.iter().map(|row| (row.server.clone(), row.clone())).collect();
        self.reachability.restore(failing);
        self.board.resume(head, resumed.into_values().collect());
        Ok(())
    }
}
