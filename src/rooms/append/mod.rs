//! The one write path: everything that becomes part of a room ends here.
//!
//! Each room has one appender. Work for a room queues there and merges, so that load turns into batch size. Local events are
//! built, authorised and signed against the event before them, then the batch is written in one transaction and answered
//! once it is durable; only then do wake-ups and followers hear of it.

mod actor;
mod again;
mod backfill;
mod calls;
mod checks;
mod classify;
mod commit;
mod complete;
mod countersign;
mod create;
mod effects;
mod fork_commit;
mod forks;
mod head;
mod import;
mod outliers;
mod outside;
mod plan;
mod receive;
mod resolution;
mod run;
mod told;
mod whereabouts;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use linkim_federation::{Pdu, SigningKey};
use ruma::{OwnedEventId, OwnedServerName, RoomId, RoomVersionId};
use tokio::sync::{Notify, mpsc, oneshot};

pub use self::calls::{
    Along, AppendError, Appended, Beside, Incoming, LocalEvent, NewRoom, OutsideMembership, PartialJoin, Received,
    RemoteJoin, Stored, Transaction,
};
pub(crate) use self::{
    classify::classify,
    effects::{group_service, membership},
};
use super::{direct::MemberWatcher, policy::Countersigns, state_hash::StateHashKey};
use crate::{
    clock::Clock,
    random::Random,
    store::{
        Store, StoreError, ids,
        ids::{EventNid, RoomKey, RoomNid, UserNid},
        rooms,
    },
};

/// Told of what became visible, after the commit, on the writer thread: be quick.
///
/// Nothing has a default: who passes it on must not forget a part of it.
pub trait Wake: Send + Sync + 'static {
    /// A room has something new at `position`. For `members`, its joined local members, and for `also`: those whom it newly
    /// concerns or no longer does.
    fn room_changed(&self, room: RoomNid, position: i64, members: &HashSet<UserNid>, also: &[UserNid]);

    /// The room's current state changed. Before [`Self::room_changed`].
    fn state_changed(&self, room: RoomNid);

    /// As [`Self::room_changed`], of message events that no other server is owed: they came from one, or there is none in the
    /// room.
    fn room_changed_here(&self, room: RoomNid, position: i64, members: &HashSet<UserNid>);
}

/// Nobody is told: for tests.
#[cfg(test)]
pub(crate) struct NoWake;

#[cfg(test)]
impl Wake for NoWake {
    fn room_changed(&self, _: RoomNid, _: i64, _: &HashSet<UserNid>, _: &[UserNid]) {}
    fn state_changed(&self, _: RoomNid) {}
    fn room_changed_here(&self, _: RoomNid, _: i64, _: &HashSet<UserNid>) {}
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
    /// Set once, after the services that reach other servers are made: they take the appenders.
    countersigns: OnceLock<Arc<dyn Countersigns>>,
}

type Awake = HashMap<RoomNid, mpsc::Sender<Work>>;

/// How long an appender stays awake without work.
const IDLE: Duration = Duration::from_secs(120);

/// Calls waiting for one room at most; more are answered `Busy`.
const QUEUE: usize = 2048;

/// Work for a room's appender.
enum Work {
    Append(actor::Call),
    Signed(Box<countersign::Signed>, Reply<countersign::SignedDone>),
    Receive(Vec<Incoming>, Option<Beside>, Reply<Vec<Received>>),
    Outliers(Vec<Arc<Pdu>>, Reply<Vec<Received>>),
    Backfill(Vec<Incoming>, Reply<Vec<Received>>),
    Import(Box<RemoteJoin>, Reply<(Arc<RoomKey>, Appended)>),
    Complete(OwnedEventId, Vec<OwnedEventId>, Reply<bool>),
    GiveUp(Reply<()>),
    Outside(Box<OutsideMembership>, Reply<Appended>),
    Members(Reply<LocalMembers>),
}

type Reply<T> = oneshot::Sender<Result<T, AppendError>>;

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
        let site = Arc::new(commit::Site {
            server_name: signer.server_name.clone(),
            hash_key,
            wake,
            pdus,
            watcher: OnceLock::new(),
            calls: Arc::default(),
        });
        Self {
            shared: Arc::new(Shared { store, clock, signer, site, last_created_ms: AtomicI64::new(0) }),
            awake: Arc::default(),
            countersigns: OnceLock::new(),
        }
    }

    /// Has local events of rooms with a policy server signed by it from now on. Without this they go unsigned.
    pub fn countersign_with(&self, countersigns: Arc<dyn Countersigns>) {
        // A second one changes nothing.
        let _ = self.countersigns.set(countersigns);
    }

    /// Wakes those who wait for what admins ask of groups, and for the answers.
    pub fn calls(&self) -> Arc<Notify> {
        self.shared.site.calls.clone()
    }

    /// Has `watcher` told of each change of a membership from now on.
    pub fn watch_members(&self, watcher: Arc<dyn MemberWatcher>) {
        // A second one changes nothing.
        let _ = self.shared.site.watcher.set(watcher);
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

    /// Judges and stores events that come with their place in the DAG, each after those that it names; one answer each, in
    /// order. Format, signatures and hashes were checked. A run of events that follow the room's extremities becomes one batch.
    ///
    /// # Errors
    /// [`AppendError`]; those before the one that failed may have been written.
    pub async fn receive(&self, room: RoomNid, events: Vec<Incoming>) -> Result<Vec<Received>, AppendError> {
        self.ask(room, |reply| Work::Receive(events, None, reply)).await
    }

    /// As [`Self::receive`]; what is to be true together with the events is written in their transactions.
    ///
    /// # Errors
    /// [`AppendError`]; those before the one that failed may have been written.
    pub async fn receive_with(
        &self,
        room: RoomNid,
        events: Vec<Incoming>,
        beside: Beside,
    ) -> Result<Vec<Received>, AppendError> {
        self.ask(room, |reply| Work::Receive(events, Some(beside), reply)).await
    }

    /// Stores state events known for auth chains and states only; one answer each, in order. Each is judged by its auth events
    /// alone, which must be here or among them. Those that are here already are left as they are.
    ///
    /// # Errors
    /// [`AppendError`]; those before the one that failed may have been written.
    pub async fn add_outliers(&self, room: RoomNid, events: Vec<Arc<Pdu>>) -> Result<Vec<Received>, AppendError> {
        self.ask(room, |reply| Work::Outliers(events, reply)).await
    }

    /// Judges and stores history from before ours, oldest first; one answer each, in order. `state_before` where previous
    /// events are not here. Nobody hears of it, it counts as read, and it changes nothing in the room's current state.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was written then.
    pub async fn backfill(&self, room: RoomNid, events: Vec<Incoming>) -> Result<Vec<Received>, AppendError> {
        self.ask(room, |reply| Work::Backfill(events, reply)).await
    }

    /// Makes a room, or takes one up again, from a resident server's answer to our join event. Answers once the user is in it.
    ///
    /// # Errors
    /// `Malformed` if the state can't be that of this room, `Denied` if it does not allow the join. Outliers may have been
    /// written then, nothing else.
    pub async fn import(&self, join: RemoteJoin) -> Result<(Arc<RoomKey>, Appended), AppendError> {
        let room = self.ensure(&join.room_id, &join.version).await?;
        self.ask(room.nid, |reply| Work::Import(Box::new(join), reply)).await
    }

    /// Fills in the members that the answer to our join left out: `state` is the whole state before the join, all of whose
    /// events must be here, outliers counting. What came since is judged again. False if nothing was to be filled in of this
    /// `join`.
    ///
    /// # Errors
    /// `Malformed` if that can't be the state before the join, `Denied` if it does not allow it; nothing was written then.
    pub async fn complete(
        &self,
        room: RoomNid,
        join: OwnedEventId,
        state: Vec<OwnedEventId>,
    ) -> Result<bool, AppendError> {
        self.ask(room, |reply| Work::Complete(join, state, reply)).await
    }

    /// Gives up filling in the members of a room that all of ours have left; in one with a member of ours, does nothing.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn give_up_partial(&self, room: RoomNid) -> Result<(), AppendError> {
        self.ask(room, Work::GiveUp).await
    }

    /// Notes a membership of a local user in a room that we are not in. The room gets a row if it has none; the event becomes
    /// an outlier.
    ///
    /// # Errors
    /// `Malformed` if the event is no membership of a local user in this room; where we are in the room after all, what
    /// [`Self::receive`] finds.
    pub async fn outside(&self, change: OutsideMembership) -> Result<Appended, AppendError> {
        let room = self.ensure(&change.room_id, &change.version).await?;
        self.ask(room.nid, |reply| Work::Outside(Box::new(change), reply)).await
    }

    /// The room's joined local members.
    ///
    /// # Errors
    /// [`AppendError`] if the room can't be loaded.
    pub async fn local_members(&self, room: RoomNid) -> Result<LocalMembers, AppendError> {
        self.ask(room, Work::Members).await
    }

    /// The row of a room, made if need be.
    async fn ensure(&self, room_id: &RoomId, version: &RoomVersionId) -> Result<Arc<RoomKey>, AppendError> {
        if linkim_federation::rules(version).is_none() {
            return Err(AppendError::Malformed(format!("room version {version} is not known")));
        }
        let (id, version) = (room_id.to_owned(), version.clone());
        let known = self.shared.store.read_short::<_, StoreError, _>({
            let id = id.clone();
            move |read| ids::room(read, &id)
        });
        match known.await? {
            Some(room) => Ok(room),
            None => {
                let make =
                    self.shared.store.write::<_, StoreError, _>(move |tx| rooms::ensure(tx, &id, version.as_str()));
                Ok(make.await?)
            }
        }
    }

    async fn ask<T>(&self, room: RoomNid, work: impl FnOnce(Reply<T>) -> Work) -> Result<T, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.send(room, work(reply))?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Engine("the appender failed".into()).into()))
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
