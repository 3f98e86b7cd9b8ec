//! The one write path: everything that becomes part of a room ends here.
//!
//! Each room has one appender. Work for a room queues there and merges, so that load turns into batch size. Local events are
//! built, authorised and signed against the event before them, then the batch is written in one transaction and answered
//! once it is durable; only then do wake-ups and followers hear of it.

mod actor;
mod classify;
mod commit;
mod create;
mod effects;
mod fork_commit;
mod forks;
mod head;
mod plan;
mod resolution;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use linkim_federation::{Pdu, SigningKey};
use ruma::{CanonicalJsonObject, OwnedEventId, OwnedServerName, OwnedUserId, RoomVersionId};
use tokio::sync::{mpsc, oneshot};

pub(crate) use self::{classify::classify, effects::membership};
use super::state_hash::StateHashKey;
use crate::{
    clock::Clock,
    random::Random,
    store::{
        Store, StoreError, WriteTx,
        ids::{DeviceNid, EventNid, RoomKey, RoomNid, UserNid},
    },
};

/// An event that a local user (or the server in their name) wants to add.
#[derive(Clone, Debug)]
pub struct LocalEvent {
    /// Who sends it.
    pub sender: OwnedUserId,
    /// Its type.
    pub kind: String,
    /// Its state key, if it is a state event.
    pub state_key: Option<String>,
    /// Its content.
    pub content: CanonicalJsonObject,
    /// What it redacts, for `m.room.redaction`; put where the room version wants it.
    pub redacts: Option<OwnedEventId>,
    /// `origin_server_ts` in milliseconds; None: now.
    pub origin_server_ts: Option<i64>,
    /// The request that sends it, for idempotence.
    pub transaction: Option<Transaction>,
}

impl LocalEvent {
    /// A message-like event.
    pub fn message(sender: OwnedUserId, kind: impl Into<String>, content: CanonicalJsonObject) -> Self {
        Self {
            sender,
            kind: kind.into(),
            state_key: None,
            content,
            redacts: None,
            origin_server_ts: None,
            transaction: None,
        }
    }

    /// A state event.
    pub fn state(
        sender: OwnedUserId,
        kind: impl Into<String>,
        state_key: impl Into<String>,
        content: CanonicalJsonObject,
    ) -> Self {
        Self { state_key: Some(state_key.into()), ..Self::message(sender, kind, content) }
    }
}

/// The request that sends an event: repeated, it gets the first one's event.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The device that sends.
    pub device: DeviceNid,
    /// Hash of the request's path, transaction id included.
    pub key: [u8; 16],
    /// The transaction id, shown to the device in `unsigned`.
    pub txn_id: String,
}

/// An event that is now durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its number.
    pub nid: EventNid,
    /// Its id.
    pub event_id: OwnedEventId,
    /// Its place in the server-wide order.
    pub position: i64,
    /// Whether it was there before: a repeated transaction, or state that already says the same.
    pub repeated: bool,
}

/// A room to be made.
#[derive(Clone, Debug)]
pub struct NewRoom {
    /// Its version.
    pub version: RoomVersionId,
    /// Who makes it.
    pub creator: OwnedUserId,
    /// Content of its create event, `room_version` included.
    pub create_content: CanonicalJsonObject,
}

/// Changes that must be true together with the events: aliases, the directory, account data. Runs in their transaction.
pub type Along = Box<dyn FnOnce(&WriteTx<'_>, RoomNid, &[Appended]) -> Result<(), StoreError> + Send>;

/// What became of an event that came with its place in the DAG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Part of the room now.
    Accepted(Appended),
    /// Part of the DAG, hidden from clients: allowed where it stands, not by the current state.
    SoftFailed(Appended, String),
    /// Stored as refused, with the reason.
    Rejected(Appended, String),
    /// It was here already.
    Known(EventNid),
    /// Nothing was done: these previous events are not here.
    MissingPrev(Vec<OwnedEventId>),
    /// Nothing was done: these auth events are not here.
    MissingAuth(Vec<OwnedEventId>),
    /// Nothing was done: it can't be an event of this room.
    Malformed(&'static str),
}

/// Why events were not appended. Nothing of the call was written then.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The authorisation rules refuse it, by the room's current state.
    #[error("{0}")]
    Denied(String),
    /// An event would be larger than 65,536 bytes.
    #[error("the event is too large")]
    TooLarge,
    /// An event has not the form that the room version wants.
    #[error("{0}")]
    Malformed(String),
    /// Nobody is there to append: the room is blocked by an administrator.
    #[error("the room is blocked")]
    Blocked,
    /// The room's queue is full.
    #[error("too much is waiting to be appended")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Told of what became visible, after the commit, on the writer thread: be quick.
pub trait Wake: Send + Sync + 'static {
    /// A room has something new at `position`. For `members`, its joined local members, and for `also`: those whom it newly
    /// concerns or no longer does.
    fn room_changed(&self, room: RoomNid, position: i64, members: &HashSet<UserNid>, also: &[UserNid]);
}

/// A room's joined members with an account here, kept by its appender while it is awake.
pub type LocalMembers = Arc<RwLock<HashSet<UserNid>>>;

/// Stored events in memory, by number. Bound: `PDU_CACHE_BYTES` of JSON.
pub type PduCache = moka::sync::Cache<EventNid, Arc<Pdu>>;

/// JSON kept in the cache of events.
const PDU_CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// What signs local events.
pub struct Signer {
    /// Our name.
    pub server_name: OwnedServerName,
    /// Our key.
    pub key: SigningKey,
    /// For ids of rooms and, in versions 1 and 2, of events.
    pub random: Arc<dyn Random>,
}

impl Signer {
    /// A new id for an event of a room of version 1 or 2.
    fn event_id_v1(&self) -> Result<OwnedEventId, AppendError> {
        let localpart = self.random.letters(18);
        let id = format!("${localpart}:{}", self.server_name);
        OwnedEventId::try_from(id).map_err(|error| AppendError::Malformed(error.to_string()))
    }
}

/// What all appenders share.
struct Shared {
    store: Store,
    clock: Arc<dyn Clock>,
    signer: Signer,
    site: Arc<commit::Site>,
    /// `origin_server_ts` of the newest create event made here.
    last_created_ms: AtomicI64,
}

impl Shared {
    /// The time of a new create event: now, but later than that of every one before. From version 12 on a room is named by
    /// the hash of its create event, so two rooms that one user makes alike in one millisecond would be the same.
    fn create_time_ms(&self) -> i64 {
        let now = self.clock.now_ms();
        let later = |last: i64| Some(now.max(last.saturating_add(1)));
        match self.last_created_ms.fetch_update(Ordering::AcqRel, Ordering::Acquire, later) {
            Ok(last) | Err(last) => now.max(last.saturating_add(1)),
        }
    }
}

/// All appenders. One is awake for each room in use; it goes to sleep after `IDLE` without work. Bound: the rooms used
/// within that time, a few KB each.
pub struct Appenders {
    shared: Arc<Shared>,
    awake: Arc<Mutex<Awake>>,
}

type Awake = HashMap<RoomNid, mpsc::Sender<Work>>;

/// How long an appender stays awake without work.
const IDLE: Duration = Duration::from_secs(120);

/// Calls waiting for one room at most; more are answered `Busy`.
const QUEUE: usize = 2048;

/// Work for a room's appender.
enum Work {
    Append(actor::Call),
    Receive(Arc<Pdu>, oneshot::Sender<Result<Received, StoreError>>),
    Members(oneshot::Sender<Result<LocalMembers, StoreError>>),
}

impl Appenders {
    /// Appenders for this store. `hash_key` keys the hashes of room states.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        signer: Signer,
        hash_key: StateHashKey,
        wake: Arc<dyn Wake>,
    ) -> Self {
        let pdus = PduCache::builder()
            .max_capacity(PDU_CACHE_BYTES)
            .weigher(|_, pdu: &Arc<Pdu>| u32::try_from(pdu.json().len()).unwrap_or(u32::MAX))
            .build();
        let site = Arc::new(commit::Site { server_name: signer.server_name.clone(), hash_key, wake, pdus });
        Self {
            shared: Arc::new(Shared { store, clock, signer, site, last_created_ms: AtomicI64::new(0) }),
            awake: Arc::default(),
        }
    }

    /// Appends events of a room, each built upon the one before it: all of them or none.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was written then.
    pub async fn append(
        &self,
        room: RoomNid,
        events: Vec<LocalEvent>,
        along: Option<Along>,
    ) -> Result<Vec<Appended>, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.send(room, Work::Append(actor::Call { events, along, reply }))?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Engine("the appender failed".into()).into()))
    }

    /// Makes a room: its create event, then `events`, all of them or none. The answer's first event is the create event.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was written then.
    pub async fn create(
        &self,
        new: NewRoom,
        events: Vec<LocalEvent>,
        along: Option<Along>,
    ) -> Result<(Arc<RoomKey>, Vec<Appended>), AppendError> {
        create::create(&self.shared, new, events, along).await
    }

    /// Judges and stores an event that comes with its place in the DAG. Its format, signatures and hash were checked.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was written then.
    pub async fn receive(&self, room: RoomNid, pdu: Arc<Pdu>) -> Result<Received, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.send(room, Work::Receive(pdu, reply))?;
        Ok(answer.await.unwrap_or_else(|_| Err(StoreError::Engine("the appender failed".into())))?)
    }

    /// The room's joined local members.
    ///
    /// # Errors
    /// [`AppendError`] if the room can't be loaded.
    pub async fn local_members(&self, room: RoomNid) -> Result<LocalMembers, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.send(room, Work::Members(reply))?;
        Ok(answer.await.unwrap_or_else(|_| Err(StoreError::Engine("the appender failed".into())))?)
    }

    /// Appenders that are awake.
    pub fn awake(&self) -> usize {
        self.awake.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Calls that wait for their room's appender, all rooms together.
    pub fn queue_length(&self) -> usize {
        let awake = self.awake.lock().unwrap_or_else(PoisonError::into_inner);
        awake.values().map(|queue| queue.max_capacity() - queue.capacity()).sum()
    }

    /// Hands work to the room's appender, waking it if need be. All under the lock, under which an appender also goes to
    /// sleep: so none sleeps with work in its queue, and no room ever has two.
    fn send(&self, room: RoomNid, work: Work) -> Result<(), AppendError> {
        let mut awake = self.awake.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = awake.entry(room).or_insert_with(|| self.wake(room));
        match sender.try_send(work) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(AppendError::Busy),
            // It panicked; what was in its hands failed, the room goes on.
            Err(mpsc::error::TrySendError::Closed(work)) => {
                *sender = self.wake(room);
                sender.try_send(work).map_err(|_| AppendError::Busy)
            }
        }
    }

    fn wake(&self, room: RoomNid) -> mpsc::Sender<Work> {
        let (sender, queue) = mpsc::channel(QUEUE);
        let appender = actor::Appender::new(self.shared.clone(), room, queue);
        tokio::spawn(appender.run(Arc::downgrade(&self.awake)));
        sender
    }
}

#[cfg(test)]
mod tests;
