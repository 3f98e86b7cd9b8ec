//! Who waits for news, and which rooms have some.
//!
//! Wake-ups say only «look again»: what there is to see stands in the store. So a wake-up too many costs a look, and none is
//! missed by whoever registers before looking: what was committed before the look is seen, what is committed later wakes.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{
    params,
    rooms::{append::Wake, recency::Recency, wake::WakeMembers},
    store::{
        Read, StoreError,
        ids::{RoomNid, UserNid},
    },
};

/// Rooms whose newest change is remembered; 100 bytes each.
const RECENT_ROOMS: usize = 20_000;

/// Appended events newer than what the wake-ups told are looked up one by one; they are those of one commit.
const UNTOLD_EVENTS: i64 = 2_000;

/// Wakes those who wait. One for the server.
pub struct Notifier {
    waiting: Mutex<HashMap<UserNid, Entry>>,
    rooms: Mutex<Rooms>,
    stopping: watch::Sender<bool>,
}

/// Bound: one for each user with a waiter.
struct Entry {
    wake: watch::Sender<()>,
    waiters: usize,
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
    /// Begins at `position`: the store's, before anything is appended.
    pub fn new(position: i64) -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            rooms: Mutex::new(Rooms { recent: Recency::new(position, RECENT_ROOMS), told: position }),
            stopping: watch::Sender::new(false),
        })
    }

    /// A waiter for what concerns `user`. Register first, look second, then wait.
    pub fn register(self: &Arc<Self>, user: UserNid) -> Waiter {
        let stopping = self.stopping.subscribe();
        let mut waiting = lock(&self.waiting);
        let entry = waiting.entry(user).or_insert_with(|| Entry { wake: watch::Sender::new(()), waiters: 0 });
        entry.waiters += 1;
        Waiter { notifier: self.clone(), user, wake: entry.wake.subscribe(), stopping }
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
            read.each("SELECT room FROM events WHERE nid > ?1", params![from], &mut |row| {
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
        lock(&self.waiting).len()
    }
}

impl Wake for Notifier {
    fn room_changed(&self, room: RoomNid, position: i64, members: &HashSet<UserNid>, also: &[UserNid]) {
        {
            let mut rooms = lock(&self.rooms);
            rooms.recent.touch(room, position);
            rooms.told = rooms.told.max(position);
        }
        self.wake_users(members);
        for user in also {
            self.wake_user(*user);
        }
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

    fn wake_user(&self, user: UserNid) {
        if let Some(entry) = lock(&self.waiting).get(&user) {
            entry.wake.send_replace(());
        }
    }

    fn wake_users(&self, users: &HashSet<UserNid>) {
        let waiting = lock(&self.waiting);
        // A large room has few who wait, a small one few members: the smaller side decides the cost.
        if users.len() <= waiting.len() {
            for entry in users.iter().filter_map(|user| waiting.get(user)) {
                entry.wake.send_replace(());
            }
        } else {
            for (_, entry) in waiting.iter().filter(|(user, _)| users.contains(user)) {
                entry.wake.send_replace(());
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
        let mut waiting = lock(&self.notifier.waiting);
        if let Some(entry) = waiting.get_mut(&self.user) {
            entry.waiters -= 1;
            if entry.waiters == 0 {
                waiting.remove(&self.user);
            }
        }
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
        let notifier = Notifier::new(0);
        let mut waiter = notifier.register(ALICE);
        assert!(!is_woken(&mut waiter).await);
        notifier.room_changed(ROOM, 1, &HashSet::from([ALICE]), &[]);
        assert!(is_woken(&mut waiter).await);
        assert!(!is_woken(&mut waiter).await, "one change wakes once");
    }

    #[tokio::test]
    async fn all_devices_of_a_user_wake_and_nobody_else() {
        let notifier = Notifier::new(0);
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
        let notifier = Notifier::new(0);
        let mut alice = notifier.register(ALICE);
        notifier.room_changed(ROOM, 1, &(1..1000).map(UserNid).collect(), &[]);
        assert!(is_woken(&mut alice).await);
        let _others: Vec<_> = (2..100).map(|n| notifier.register(UserNid(n))).collect();
        notifier.room_changed(ROOM, 2, &HashSet::from([ALICE]), &[]);
        assert!(is_woken(&mut alice).await);
    }

    #[tokio::test]
    async fn entries_go_with_the_last_waiter() {
        let notifier = Notifier::new(0);
        let (first, second) = (notifier.register(ALICE), notifier.register(ALICE));
        drop(first);
        assert_eq!(notifier.waiting(), 1);
        drop(second);
        assert_eq!(notifier.waiting(), 0);
    }

    #[tokio::test]
    async fn stopping_ends_waits_old_and_new() {
        let notifier = Notifier::new(0);
        let mut before = notifier.register(ALICE);
        notifier.stop();
        assert_eq!(before.changed().await, Woken::Stopping);
        assert_eq!(notifier.register(BOB).changed().await, Woken::Stopping);
    }
}
