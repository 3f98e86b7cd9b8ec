//! The service: what requests and other servers say goes in, rounds tell of it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use ruma::{OwnedUserId, UserId};
use tokio::sync::{Notify, watch};

use super::{
    Heard, MAX_STATUS, MAX_TOLD_AT_ONCE, Shown, State, TellsServers, WakeWatchers,
    audience::look_up,
    board::{Board, Change, MAX_EACH},
    person::GRACE_MS,
    telling::Telling,
};
use crate::{
    accounts::Session,
    clock::Clock,
    store::{
        Read, Snapshot, Store, StoreError, destinations, device_lists, ids,
        ids::{DeviceNid, RoomNid, UserNid},
        presence,
    },
};

/// Pause between two rounds: nobody hears of presence more often.
const ROUND: Duration = Duration::from_secs(1);

/// Longest pause without a round, should the clock have been set meanwhile.
const LONGEST: Duration = Duration::from_secs(60);

/// Who was seen so long before the last one who was seen before the start counts as online then.
const LAST_SEEN_MS: i64 = 15 * 60_000;

/// People told of in a round at most: each costs a look at their memberships.
const BATCH: usize = 1_000;

/// Why presence was not given or set.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// The viewer shares no room with the user.
    #[error("You are not allowed to see their presence")]
    Hidden,
    /// The status message is too long.
    #[error("status_msg has more than {MAX_STATUS} characters")]
    StatusTooLong,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who is online. Where presence is switched off it does nothing, and everybody is offline.
pub struct Presence {
    enabled: bool,
    store: Store,
    clock: Arc<dyn Clock>,
    wake: Arc<dyn WakeWatchers>,
    servers: OnceLock<Arc<dyn TellsServers>>,
    board: Mutex<Board>,
    telling: Mutex<Telling>,
    /// The board's, for those who only compare it.
    serial: AtomicI64,
    told: watch::Sender<i64>,
    sooner: Notify,
}

/// A /sync under way. Goes with its drop.
pub struct Syncing {
    presence: Arc<Presence>,
    user: UserNid,
    device: DeviceNid,
}

impl Drop for Syncing {
    fn drop(&mut self) {
        let now_ms = self.presence.clock.now_ms();
        let news = self.presence.board().sync_ends(self.user, self.device, now_ms);
        self.presence.noted(news);
    }
}

impl Presence {
    /// [`Presence::run`] must be running for anybody to be told.
    pub fn new(enabled: bool, store: Store, clock: Arc<dyn Clock>, wake: Arc<dyn WakeWatchers>) -> Self {
        Self {
            enabled,
            store,
            clock,
            wake,
            servers: OnceLock::new(),
            board: Mutex::default(),
            telling: Mutex::default(),
            serial: AtomicI64::new(0),
            told: watch::Sender::new(0),
            sooner: Notify::new(),
        }
    }

    /// Also tells other servers; to be called once.
    pub fn tell_servers(&self, servers: Arc<dyn TellsServers>) {
        if self.servers.set(servers).is_ok() {
            self.board().servers = true;
        }
    }

    /// Whether presence is kept.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn telling(&self) -> MutexGuard<'_, Telling> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the next round begin, if there is something for it or for a look that comes sooner than the others.
    fn noted(&self, news: bool) {
        if news {
            self.sooner.notify_one();
        }
    }

    /// A /sync of a session begins, with this `set_presence` (None: the request names none, which is as `online`, except that it
    /// does not end what a PUT set). Hold what it answers until the request is answered.
    pub fn syncing(self: &Arc<Self>, session: &Session, asked: Option<State>) -> Option<Syncing> {
        if !self.enabled {
            return None;
        }
        let now_ms = self.clock.now_ms();
        let who = (session.user, &session.user_id);
        let (counts, news) = self.board().sync_begins(who, session.device, asked, now_ms);
        self.noted(news);
        counts.then(|| Syncing { presence: self.clone(), user: session.user, device: session.device })
    }

    /// The user of a session does something: sends, reads, types.
    pub fn active(&self, session: &Session) {
        if self.enabled {
            let news = self.board().active(session.user, session.device, self.clock.now_ms());
            self.noted(news);
        }
    }

    /// Sets what the user of a session is. `status`: None leaves the status message, `Some(None)` clears it.
    ///
    /// # Errors
    /// [`PresenceError`]; nothing changed then.
    pub async fn put(
        &self,
        session: &Session,
        state: State,
        status: Option<Option<String>>,
    ) -> Result<(), PresenceError> {
        let status = status.map(|status| status.filter(|status| !status.is_empty()));
        if status.iter().flatten().any(|status| status.chars().count() > MAX_STATUS) {
            return Err(PresenceError::StatusTooLong);
        }
        if !self.enabled {
            return Ok(());
        }
        let status: Option<Option<Arc<str>>> = status.map(|status| status.map(Arc::from));
        if let Some(status) = status.clone() {
            let user = session.user;
            self.store
                .write::<_, StoreError, _>(move |tx| {
                    let read: &dyn Read = tx;
                    if presence::status(read, user)?.as_deref() != status.as_deref() {
                        presence::put_status(tx, user, status.as_deref())?;
                    }
                    Ok(())
                })
                .await?;
        }
        let now_ms = self.clock.now_ms();
        let news = self.board().put((session.user, &session.user_id), session.device, state, status, now_ms);
        self.noted(news);
        Ok(())
    }

    /// What a user is, for one who may know.
    ///
    /// # Errors
    /// [`PresenceError`].
    pub async fn get(&self, viewer: UserNid, target: &UserId) -> Result<Shown, PresenceError> {
        let target = target.to_owned();
        let (user, status) = self
            .store
            .read_short::<_, PresenceError, _>(move |read| {
                let read: &dyn Read = read;
                let user = ids::user_nid(read, &target)?.ok_or(PresenceError::Hidden)?;
                if !device_lists::share_room(read, viewer, user)? {
                    return Err(PresenceError::Hidden);
                }
                Ok((user, presence::status(read, user)?))
            })
            .await?;
        if !self.enabled {
            return Ok(Shown::NOBODY);
        }
        let now_ms = self.clock.now_ms();
        let mut board = self.board();
        let mut shown = board.current(user, now_ms).unwrap_or(Shown::NOBODY);
        if !board.knows_status(user) {
            shown.status = status.map(Arc::from);
        }
        Ok(shown)
    }

    /// What a user is now, as far as is in memory: of somebody who was not seen since the start it is
    /// [`Shown::NOBODY`].
    pub fn current(&self, user: UserNid) -> Shown {
        let now_ms = self.clock.now_ms();
        self.board().current(user, now_ms).unwrap_or(Shown::NOBODY)
    }

    /// The changes after `serial` that `viewer`, who is joined to `rooms` (ascending), may see, their own included, in order,
    /// `limit` at most; and the number up to which these are all. Whom the viewer ignores is for the caller to leave out.
    pub fn changes_since(&self, viewer: UserNid, rooms: &[RoomNid], serial: i64, limit: usize) -> (Vec<Change>, i64) {
        self.board().changes_since((viewer, rooms), serial, limit)
    }

    /// Those who are not offline, that `viewer`, who is joined to `rooms` (ascending), may see: the most recently active first,
    /// `limit` at most.
    pub fn present(&self, viewer: UserNid, rooms: &[RoomNid], limit: usize) -> Vec<Change> {
        self.board().present((viewer, rooms), limit)
    }

    /// The number of the newest change.
    pub fn serial(&self) -> i64 {
        self.serial.load(Ordering::Acquire)
    }

    /// A way to be told: has the number of the newest change, which grows once a second at most.
    pub fn subscribe(&self) -> watch::Receiver<i64> {
        self.told.subscribe()
    }

    /// Whether certainly no change after `serial` of anybody else concerns a user.
    pub fn is_quiet(&self, user: UserNid, serial: i64) -> bool {
        serial == self.serial() || self.board().is_quiet(user, serial)
    }

    /// Milliseconds since the Unix epoch, as this counts.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// What another server says of users of its own who share a room with one of ours.
    pub fn hear(&self, heard: Vec<Heard>) {
        if !self.enabled {
            return;
        }
        let now_ms = self.clock.now_ms();
        let mut news = false;
        let mut board = self.board();
        for heard in heard {
            news |= board.hear(heard, now_ms);
        }
        drop(board);
        self.noted(news);
    }

    /// The memberships of these users changed.
    pub(super) fn moved(&self, users: &[UserNid]) {
        if self.enabled && !users.is_empty() {
            let news = self.board().moved(users);
            self.noted(news);
        }
    }

    /// A server, by its number, came into a room: it is told who of ours is there.
    pub fn server_arrived(&self, room: RoomNid, server: i64) {
        if self.enabled && self.servers.get().is_some() {
            self.telling().arrived(room, server);
            self.noted(true);
        }
    }

    /// An account ended.
    pub(super) fn end(&self, user: UserNid) {
        if self.enabled {
            let news = self.board().end(user, self.clock.now_ms());
            self.noted(news);
        }
    }

    /// An account may have been locked: then its user is offline from the next round on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn account_changed(&self, user_id: OwnedUserId) -> Result<(), StoreError> {
        if !self.enabled {
            return Ok(());
        }
        let user = self.store.read_short::<_, StoreError, _>(move |read| ids::user_nid(read, &user_id)).await?;
        self.moved(user.as_slice());
        Ok(())
    }

    /// Tells whoever is to be told, once a second at most. Runs until it is dropped.
    pub async fn run(&self) {
        if !self.enabled {
            return;
        }
        let started_ms = self.clock.now_ms();
        let resume = async {
            tokio::time::sleep(Duration::from_millis(GRACE_MS.unsigned_abs())).await;
            if let Err(error) = self.resume(started_ms).await {
                tracing::warn!(%error, "some who were online before the start may be shown so for long");
            }
        };
        tokio::join!(resume, self.rounds());
    }

    /// Tells as offline who was online before `started_ms` and is not here now.
    pub(crate) async fn resume(&self, started_ms: i64) -> Result<(), StoreError> {
        let seen = self
            .store
            .read::<_, StoreError, _>(move |read| presence::seen_last(read, started_ms, LAST_SEEN_MS, MAX_EACH));
        let seen = seen.await?;
        let news = self.board().resume(seen);
        self.noted(news);
        Ok(())
    }

    async fn rounds(&self) {
        loop {
            if self.telling().is_empty() {
                let next_ms = self.board().next_look();
                let wait = next_ms.map_or(LONGEST, |ms| {
                    Duration::from_millis(u64::try_from(ms - self.clock.now_ms()).unwrap_or(0)).min(LONGEST)
                });
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = self.sooner.notified() => {}
                }
            }
            match self.round().await {
                Ok(()) => {}
                Err(StoreError::Stopping) => return,
                Err(error) => tracing::warn!(%error, "presence will be seen late"),
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    /// One round.
    pub(crate) async fn round(&self) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let taken = {
            let mut board = self.board();
            board.look(now_ms);
            board.take(BATCH)
        };
        if !taken.is_empty() {
            let with_servers = self.servers.get().is_some();
            let asked = taken.clone();
            let found = self.store.read::<_, StoreError, _>(move |read| look_up(read, &asked, with_servers)).await;
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    self.board().put_back(&taken);
                    return Err(error);
                }
            };
            let serial = {
                let mut board = self.board();
                board.told(found.facts, now_ms);
                board.serial()
            };
            self.serial.store(serial, Ordering::Release);
            self.told.send_if_modified(|told| std::mem::replace(told, serial) != serial);
            let mut telling = self.telling();
            telling.watchers(found.watchers);
            found.servers.iter().for_each(|(server, users)| telling.server(*server, users));
        }
        let arrivals = self.telling().take_arrivals();
        for (room, servers) in arrivals {
            let here = self.board().present_in(room);
            let mut telling = self.telling();
            servers.into_iter().for_each(|server| telling.server(server, &here));
        }
        self.telling().wake(&*self.wake);
        self.tell().await?;
        let more = self.board().has_news();
        self.noted(more);
        Ok(())
    }

    /// Tells other servers.
    async fn tell(&self) -> Result<(), StoreError> {
        let Some(servers) = self.servers.get() else { return Ok(()) };
        let taken = self.telling().take_servers();
        if taken.is_empty() {
            return Ok(());
        }
        let numbers: Vec<i64> = taken.iter().map(|(server, _)| *server).collect();
        let names = self.store.read_short::<_, StoreError, _>(move |read: &Snapshot<'_>| {
            numbers.into_iter().map(|server| destinations::server_name(read, server)).collect::<Result<Vec<_>, _>>()
        });
        let now_ms = self.clock.now_ms();
        for (name, (_, users)) in names.await?.into_iter().zip(taken) {
            let Ok(name) = ruma::OwnedServerName::try_from(name) else { continue };
            let people = self.board().of(users);
            for people in people.chunks(MAX_TOLD_AT_ONCE) {
                servers.tell(name.clone(), people, now_ms);
            }
        }
        Ok(())
    }

    /// Brings the gauges up to date.
    pub fn refresh_gauges(&self) {
        let sizes = self.board().sizes();
        let (watchers, owed) = self.telling().sizes();
        metrics::gauge!("linkim_presence_users", "home" => "here").set(sizes.local as f64);
        metrics::gauge!("linkim_presence_users", "home" => "elsewhere").set(sizes.remote as f64);
        metrics::gauge!("linkim_presence_changes_waiting").set(sizes.waiting as f64);
        metrics::gauge!("linkim_presence_users_to_wake").set(watchers as f64);
        metrics::gauge!("linkim_presence_owed_to_servers").set(owed as f64);
    }
}
