//! Who waits for news, and which rooms have some.
//!
//! Wake-ups say only «look again»: what there is to see stands in the store. So a wake-up too many costs a look, and none is
//! missed by whoever registers before looking: what was committed before the look is seen, what is committed later wakes.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use tokio::sync::watch;

use super::crowds::{CROWD, Crowds};
use crate::{
    params,
    presence::WakeWatchers,
    rooms::{append::Wake, recency::Recency, wake::WakeMembers},
    store::{
        Read, StoreError,
        ids::{RoomNid, UserNid},
    },
};

/// Rooms whose newest change is remembered; 100 bytes each.
const RECENT_ROOMS: usize = 20_000;

/// Users that are remembered between two polls; 200 bytes each.
const IDLE_USERS: usize = 20_000;

/// Appended events newer than what the wake-ups told are looked up one by one; they are those of one commit.
const UNTOLD_EVENTS: i64 = 2_000;

/// Wakes those who wait. One for the server.
pub struct Notifier {
    /// The store's position.
    visible: Arc<AtomicI64>,
    users: Arc<Mutex<Users>>,
    crowds: Crowds,
    rooms: Mutex<Rooms>,
    stopping: watch::Sender<bool>,
}

/// What is known of one user.
struct Entry {
    wake: watch::Sender<()>,
    waiters: usize,
    /// Position from which on every change was told to this entry.
    known_from: i64,
    /// Position of the newest change.
    changed: i64,
}

impl Entry {
    fn new(known_from: i64) -> Self {
        Self { wake: watch::Sender::new(()), waiters: 0, known_from, changed: known_from }
    }

    fn wake(&mut self, position: i64) {
        self.changed = self.changed.max(position);
        self.wake.send_replace(());
    }
}

/// Who waits, or did lately: between two polls the entry stays, so that the next poll knows whether there was anything.
#[derive(Default)]
struct Users {
    entries: HashMap<UserNid, Entry>,
    /// Entries with a waiter.
    waiting: usize,
    /// Users whose last waiter went, the longest ago first; some may wait again. Bound: [`IDLE_USERS`].
    idle: VecDeque<UserNid>,
}

impl Users {
    fn wake_one(&mut self, user: UserNid, position: i64) {
        if let Some(entry) = self.entries.get_mut(&user) {
            entry.wake(position);
        }
    }

    /// A large room has few who wait, a small one few members: the smaller side decides the cost.
    fn wake(&mut self, users: &HashSet<UserNid>, position: i64) {
        if users.len() <= self.entries.len() {
            for user in users {
                self.wake_one(*user, position);
            }
        } else {
            for (_, entry) in self.entries.iter_mut().filter(|(user, _)| users.contains(user)) {
                entry.wake(position);
            }
        }
    }

    fn release(&mut self, user: UserNid) {
        let Some(entry) = self.entries.get_mut(&user) else { return };
        entry.waiters -= 1;
        if entry.waiters > 0 {
            return;
        }
        self.waiting -= 1;
        self.idle.push_back(user);
        while self.idle.len() > IDLE_USERS
            && let Some(oldest) = self.idle.pop_front()
        {
            if self.entries.get(&oldest).is_some_and(|entry| entry.waiters == 0) {
                self.entries.remove(&oldest);
            }
        }
    }
}

struct Rooms {
    recent: Recency,
    /// Every event up to here is in `recent`.
    told: i64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Notifier {
    /// Begins at the position that `visible` shows now: the store's, before anything is appended.
    pub fn new(visible: Arc<AtomicI64>) -> Arc<Self> {
        let position = visible.load(Ordering::Acquire);
        let users = Arc::<Mutex<Users>>::default();
        let woken = users.clone();
        Arc::new(Self {
            visible,
            users,
            crowds: Crowds::start(move |some, position| {
                let mut users = lock(&woken);
                for user in some {
                    users.wake_one(*user, position);
                }
            }),
            rooms: Mutex::new(Rooms { recent: Recency::new(position, RECENT_ROOMS), told: position }),
            stopping: watch::Sender::new(false),
        })
    }

    /// A waiter for what concerns `user`. Register first, look second, then wait.
    pub fn register(self: &Arc<Self>, user: UserNid) -> Waiter {
        let stopping = self.stopping.subscribe();
        let mut users = lock(&self.users);
        // Under the lock: what becomes visible later finds the entry.
        let known_from = self.visible.load(Ordering::Acquire);
        let entry = users.entries.entry(user).or_insert_with(|| Entry::new(known_from));
        entry.waiters += 1;
        let wake = entry.wake.subscribe();
        users.waiting += usize::from(users.entries[&user].waiters == 1);
        Waiter { notifier: self.clone(), user, wake, stopping }
    }

    /// Whether there is certainly nothing for `user` after `since`, as far as wake-ups told: then a look would find nothing.
    /// Register first: what is committed but not told yet then wakes. `typing_unchanged`: whether nobody anywhere began or
    /// ceased to type since; it decides where the token may be older than the entry, which knows of no typing before it.
    pub fn is_quiet(&self, user: UserNid, since: i64, typing_unchanged: bool) -> bool {
        let users = lock(&self.users);
        // Of whom a crowd consists is not looked up: most polls come when none waits.
        self.crowds.all_woken()
            && users.entries.get(&user).is_some_and(|entry| {
                let known = if typing_unchanged { since >= entry.known_from } else { since > entry.known_from };
                known && since >= entry.changed
            })
    }

    /// A snapshot shows everything up to `position`. A reader may see a commit before the store says so; without this, typing
    /// that begins in between would be placed at that commit and pass for seen.
    pub(super) fn seen(&self, position: i64) {
        self.visible.fetch_max(position, Ordering::AcqRel);
    }

    /// Wakes these users: at once if they are few, or few of them are waiting, or were lately.
    fn wake(&self, members: &HashSet<UserNid>, position: i64) {
        let mut users = lock(&self.users);
        if members.len() > CROWD && users.entries.len() > CROWD {
            drop(users);
            if self.crowds.wake(members.iter().copied().collect(), position) {
                return;
            }
            users = lock(&self.users);
        }
        users.wake(members, position);
    }

    /// Later than anything that a token can have seen: for news that have no position, or one that is not known here.
    fn next_position(&self) -> i64 {
        self.visible.load(Ordering::Acquire) + 1
    }

    /// Rooms that changed after `since` as far as `read` shows, perhaps some more; None if that is too long ago to know or if
    /// they are more than `limit`.
    pub fn changed_rooms(&self, read: &dyn Read, since: i64, limit: usize) -> Result<Option<Vec<RoomNid>>, StoreError> {
        let (rooms, told) = {
            let rooms = lock(&self.rooms);
            (rooms.recent.since(since, limit), rooms.told)
        };
        let Some(mut rooms) = rooms else { return Ok(None) };
        // Between a commit and its wake-ups a snapshot already shows the commit. Event numbers are given from the same
        // sequence as positions, so the primary key finds those events.
        let from = told.max(since);
        if read.position() > from {
            if read.position() - from > UNTOLD_EVENTS {
                return Ok(None);
            }
            // Those that were known as outliers before have older numbers, and an index of their own.
            let news = "SELECT room FROM events WHERE nid > ?1 UNION ALL SELECT room FROM events \
                        INDEXED BY events_placed_later WHERE position > ?1 AND nid <> position AND position > 0";
            read.each(news, params![from], &mut |row| {
                let room = row.get(0)?;
                if !rooms.contains(&room) {
                    rooms.push(room);
                }
                Ok(())
            })?;
        }
        Ok(Some(rooms))
    }

    /// Ends all waiting, now and later: the server stops.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Users with a waiter: for metrics.
    pub fn waiting(&self) -> usize {
        lock(&self.users).waiting
    }
}

impl Wake for Notifier {
    fn room_changed(&self, room: RoomNid, position: i64, members: &HashSet<UserNid>, also: &[UserNid]) {
        {
            let mut rooms = lock(&self.rooms);
            rooms.recent.touch(room, position);
            rooms.told = rooms.told.max(position);
        }
        self.wake(members, position);
        let mut users = lock(&self.users);
        for user in also {
            users.wake_one(*user, position);
        }
    }

    /// Waiters are woken by [`Self::room_changed`], which follows.
    fn state_changed(&self, _: RoomNid) {}

    fn room_changed_here(&self, room: RoomNid, position: i64, members: &HashSet<UserNid>) {
        self.room_changed(room, position, members, &[]);
    }
}

impl crate::accounts::Wake for Notifier {
    fn wake_user(&self, user: UserNid) {
        WakeMembers::wake_user(self, user);
    }
}

impl WakeMembers for Notifier {
    /// The room is known as changed from here on, so that no snapshot shows the change before that. If the transaction fails
    /// the room is looked at for nothing.
    fn will_change(&self, room: RoomNid, position: i64) {
        lock(&self.rooms).recent.touch(room, position);
    }

    /// Waiters are woken by those who wrote it.
    fn receipt_written(&self, _: RoomNid, _: i64) {}

    fn wake_user(&self, user: UserNid) {
        lock(&self.users).wake_one(user, self.next_position());
    }

    fn wake_users(&self, users: &HashSet<UserNid>) {
        self.wake(users, self.next_position());
    }
}

impl WakeWatchers for Notifier {
    /// Only the wait ends: tokens say of themselves whether there is presence behind them, so that a poll in between stays quick.
    fn wake_waiting(&self, next: &mut dyn Iterator<Item = UserNid>, limit: usize) {
        let mut left = limit;
        while left > 0 {
            let some: Vec<UserNid> = next.take(CROWD).collect();
            let users = lock(&self.users);
            for entry in some.iter().filter_map(|user| users.entries.get(user)).filter(|entry| entry.waiters > 0) {
                entry.wake.send_replace(());
                left = left.saturating_sub(1);
            }
            if some.len() < CROWD {
                return;
            }
        }
    }
}

/// Why waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// There may be something new: look again.
    Changed,
    /// The server stops.
    Stopping,
}

/// Waits for news for one user. Goes with its drop.
pub struct Waiter {
    notifier: Arc<Notifier>,
    user: UserNid,
    wake: watch::Receiver<()>,
    stopping: watch::Receiver<bool>,
}

impl Waiter {
    /// Returns once there is something since the registration, or since the last return. Safe to cancel.
    pub async fn changed(&mut self) -> Woken {
        tokio::select! {
            biased;
            _ = self.stopping.wait_for(|stopping| *stopping) => Woken::Stopping,
            woken = self.wake.changed() => match woken {
                Ok(()) => Woken::Changed,
                Err(_) => Woken::Stopping,
            },
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        lock(&self.notifier.users).release(self.user);
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Poll};

    use super::*;

    const ALICE: UserNid = UserNid(1);
    const BOB: UserNid = UserNid(2);
    const ROOM: RoomNid = RoomNid(7);

    /// Whether `waiter` returns without anything more happening.
    async fn is_woken(waiter: &mut Waiter) -> bool {
        let mut waiting = pin!(waiter.changed());
        std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_ready())).await
    }

    #[tokio::test]
    async fn what_happens_between_registering_and_waiting_wakes() {
        let notifier = Notifier::new(Arc::default());
        let mut waiter = notifier.register(ALICE);
        assert!(!is_woken(&mut waiter).await);
        notifier.room_changed(ROOM, 1, &HashSet::from([ALICE]), &[]);
        assert!(is_woken(&mut waiter).await);
        assert!(!is_woken(&mut waiter).await, "one change wakes once");
    }

    #[tokio::test]
    async fn all_devices_of_a_user_wake_and_nobody_else() {
        let notifier = Notifier::new(Arc::default());
        let (mut phone, mut laptop, mut bob) =
            (notifier.register(ALICE), notifier.register(ALICE), notifier.register(BOB));
        notifier.wake_user(ALICE);
        assert!(is_woken(&mut phone).await);
        assert!(is_woken(&mut laptop).await);
        assert!(!is_woken(&mut bob).await);
        notifier.room_changed(ROOM, 1, &HashSet::new(), &[BOB]);
        assert!(is_woken(&mut bob).await);
    }

    #[tokio::test]
    async fn many_members_and_few_waiters_or_the_reverse() {
        let notifier = Notifier::new(Arc::default());
        let mut alice = notifier.register(ALICE);
        notifier.room_changed(ROOM, 1, &(1..1000).map(UserNid).collect(), &[]);
        assert!(is_woken(&mut alice).await);
        let _others: Vec<_> = (2..100).map(|n| notifier.register(UserNid(n))).collect();
        notifier.room_changed(ROOM, 2, &HashSet::from([ALICE]), &[]);
        assert!(is_woken(&mut alice).await);
    }

    #[tokio::test]
    async fn a_crowd_is_woken_and_nobody_of_it_is_told_of_quiet() {
        let visible = Arc::new(AtomicI64::new(10));
        let notifier = Notifier::new(visible.clone());
        let crowd: HashSet<UserNid> = (0..1000).map(UserNid).collect();
        let waiters: Vec<_> = crowd.iter().map(|user| notifier.register(*user)).collect();
        let mut other = notifier.register(UserNid(5000));
        visible.store(11, Ordering::Release);
        notifier.room_changed(ROOM, 11, &crowd, &[]);
        for user in &crowd {
            assert!(!notifier.is_quiet(*user, 10, true), "after the change is told, woken already or not");
        }
        for mut waiter in waiters {
            let woken = tokio::time::timeout(std::time::Duration::from_secs(20), waiter.changed()).await;
            assert_eq!(woken.expect("a member of the crowd was not woken"), Woken::Changed);
        }
        assert!(!is_woken(&mut other).await);
    }

    #[tokio::test]
    async fn waiters_are_counted() {
        let notifier = Notifier::new(Arc::default());
        let (first, second) = (notifier.register(ALICE), notifier.register(ALICE));
        drop(first);
        assert_eq!(notifier.waiting(), 1);
        drop(second);
        assert_eq!(notifier.waiting(), 0);
    }

    #[tokio::test]
    async fn quiet_is_said_only_where_nothing_was_told() {
        let visible = Arc::new(AtomicI64::new(10));
        let notifier = Notifier::new(visible.clone());
        assert!(!notifier.is_quiet(ALICE, 10, true), "nobody knows of a user without an entry");
        let waiter = notifier.register(ALICE);
        assert!(notifier.is_quiet(ALICE, 10, true));
        assert!(!notifier.is_quiet(ALICE, 9, true), "before the entry was made");
        assert!(!notifier.is_quiet(ALICE, 10, false), "somebody may have typed before the entry was made");
        drop(waiter);
        visible.store(11, Ordering::Release);
        notifier.room_changed(ROOM, 11, &HashSet::from([ALICE]), &[]);
        assert!(!notifier.is_quiet(ALICE, 10, true));
        assert!(notifier.is_quiet(ALICE, 11, false));
        WakeMembers::wake_user(&*notifier, ALICE);
        assert!(!notifier.is_quiet(ALICE, 11, false), "news without a position are later than any token");
    }

    #[tokio::test]
    async fn presence_wakes_so_many_of_those_who_wait_and_spoils_no_quiet() {
        let notifier = Notifier::new(Arc::default());
        let waiters: Vec<_> = (0..600).map(|n| notifier.register(UserNid(n))).collect();
        // Those who do not wait cost nothing of the limit.
        let mut next = (10_000..11_000).chain(0..600).map(UserNid);
        notifier.wake_waiting(&mut next, 300);
        let woken = |waiters: &[Waiter]| waiters.iter().filter(|it| it.wake.has_changed().unwrap()).count();
        assert!((300..=300 + CROWD).contains(&woken(&waiters)), "{}", woken(&waiters));
        notifier.wake_waiting(&mut next, 600);
        assert_eq!(woken(&waiters), 600);
        assert!(notifier.is_quiet(UserNid(1), 0, true));
    }

    #[tokio::test]
    async fn stopping_ends_waits_old_and_new() {
        let notifier = Notifier::new(Arc::default());
        let mut before = notifier.register(ALICE);
        notifier.stop();
        assert_eq!(before.changed().await, Woken::Stopping);
        assert_eq!(notifier.register(BOB).changed().await, Woken::Stopping);
    }
}
