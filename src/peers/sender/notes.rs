//! What the write path leaves for the sender: which rooms have something new. Noting is O(1) and happens on the writer's
//! thread; who is owed something is for the dispatcher to find.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ruma::OwnedServerName;
use tokio::sync::Notify;

use super::Edu;
use crate::{
    crypto::WakePeers,
    rooms::{append::Wake, typing::TypingElsewhere, wake::WakeMembers},
    store::ids::{RoomNid, UserNid},
};

/// Rooms noted at most; beyond, the dispatcher asks the store which ones changed.
const MAX_ROOMS: usize = 10_000;

/// Users noted at most; beyond, as with rooms.
const MAX_USERS: usize = 1_000;

/// Servers noted at most that have something in their outbox; beyond, the dispatcher asks the store.
const MAX_SERVERS: usize = 10_000;

/// Droppable EDUs that wait for the dispatcher at most; beyond, they are dropped.
const MAX_DROPPABLE: usize = 2_000;

/// Who gets a droppable EDU.
#[derive(Clone, Debug)]
pub(super) enum To {
    /// The servers of a room.
    Room(RoomNid),
    /// One server.
    Server(OwnedServerName),
}

/// A droppable EDU.
#[derive(Clone, Debug)]
pub(super) enum Passing {
    /// Somebody types, or no longer does.
    Typing { room: RoomNid, user: UserNid, typing: bool },
    /// Any other. A newer one with the same key takes its place.
    Edu { to: To, key: Arc<str>, edu: Edu },
}

/// What was noted since the last look.
#[derive(Default)]
pub(super) struct Noted {
    /// Rooms with something new.
    pub(super) rooms: HashSet<RoomNid>,
    /// More rooms, or rooms of more users, than are named.
    pub(super) more_rooms: bool,
    /// Users with changed keys.
    pub(super) users: HashSet<UserNid>,
    /// Servers with something in their outbox.
    pub(super) servers: HashSet<i64>,
    /// More servers than are named.
    pub(super) more_servers: bool,
    /// The newest position noted: all that is owed by position up to there is noted too.
    pub(super) newest: i64,
    /// Droppable EDUs.
    pub(super) passing: Vec<Passing>,
}

impl Noted {
    fn is_empty(&self) -> bool {
        self.rooms.is_empty()
            && !self.more_rooms
            && self.servers.is_empty()
            && !self.more_servers
            && self.users.is_empty()
            && self.passing.is_empty()
    }
}

/// The notes. Bound: 10,000 rooms, 1,000 users, 10,000 servers, 2,000 droppable EDUs.
#[derive(Default)]
pub struct Notes {
    noted: Mutex<Noted>,
    some: Notify,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A room has something at `position` that may be owed to its servers. To be called on the writer's thread after the commit
    /// (`WriteTx::after_commit`), whose order is that of the positions.
    pub fn room_at(&self, room: RoomNid, position: i64) {
        {
            let mut noted = self.lock();
            noted.newest = noted.newest.max(position);
            if noted.rooms.len() < MAX_ROOMS {
                noted.rooms.insert(room);
            } else if !noted.rooms.contains(&room) {
                noted.more_rooms = true;
            }
        }
        self.some.notify_one();
    }

    /// Nothing is owed at `position`: whoever looks next need not look for it, and nobody is woken. To be called as
    /// [`Self::room_at`] is.
    fn nothing_at(&self, position: i64) {
        let mut noted = self.lock();
        noted.newest = noted.newest.max(position);
    }

    /// A server, by number, has something new in its outbox. To be called after the commit.
    pub fn outbox_of(&self, server: i64) {
        {
            let mut noted = self.lock();
            if noted.servers.len() < MAX_SERVERS {
                noted.servers.insert(server);
            } else if !noted.servers.contains(&server) {
                noted.more_servers = true;
            }
        }
        self.some.notify_one();
    }

    pub(super) fn passing(&self, passing: Passing) {
        {
            let mut noted = self.lock();
            if noted.passing.len() >= MAX_DROPPABLE {
                metrics::counter!("linkim_federation_edus_dropped_total").increment(1);
                return;
            }
            noted.passing.push(passing);
        }
        self.some.notify_one();
    }

    /// Waits until something is noted; takes it.
    pub(super) async fn take(&self) -> Noted {
        loop {
            let noted = self.take_now();
            if !noted.is_empty() {
                return noted;
            }
            self.some.notified().await;
        }
    }

    /// Takes what is noted.
    pub(super) fn take_now(&self) -> Noted {
        std::mem::take(&mut *self.lock())
    }

    /// Rooms and servers noted, and droppable EDUs.
    pub(super) fn length(&self) -> usize {
        let noted = self.lock();
        noted.rooms.len() + noted.users.len() + noted.servers.len() + noted.passing.len()
    }
}

impl WakePeers for Notes {
    fn keys_changed(&self, user: UserNid, position: i64) {
        {
            let mut noted = self.lock();
            noted.newest = noted.newest.max(position);
            if noted.users.len() < MAX_USERS {
                noted.users.insert(user);
            } else if !noted.users.contains(&user) {
                noted.more_rooms = true;
            }
        }
        self.some.notify_one();
    }
}

impl TypingElsewhere for Notes {
    fn typing(&self, room: RoomNid, user: UserNid, typing: bool) {
        self.passing(Passing::Typing { room, user, typing });
    }
}

/// Notes what becomes visible in rooms, then wakes as before.
pub struct ServersHear {
    /// Who is told next of events.
    pub next: Arc<dyn Wake>,
    /// Where it is noted.
    pub notes: Arc<Notes>,
}

impl Wake for ServersHear {
    fn room_changed(&self, room: RoomNid, position: i64, members: &HashSet<UserNid>, also: &[UserNid]) {
        self.notes.room_at(room, position);
        self.next.room_changed(room, position, members, also);
    }

    fn room_changed_here(&self, room: RoomNid, position: i64, members: &HashSet<UserNid>) {
        self.notes.nothing_at(position);
        self.next.room_changed_here(room, position, members);
    }

    fn state_changed(&self, room: RoomNid) {
        self.next.state_changed(room);
    }
}

/// Notes receipts, then wakes as before.
pub struct ServersHearReceipts {
    /// Who is told next.
    pub next: Arc<dyn WakeMembers>,
    /// Where it is noted.
    pub notes: Arc<Notes>,
}

impl WakeMembers for ServersHearReceipts {
    fn will_change(&self, room: RoomNid, position: i64) {
        self.next.will_change(room, position);
    }

    fn receipt_written(&self, room: RoomNid, position: i64) {
        self.notes.room_at(room, position);
        self.next.receipt_written(room, position);
    }

    fn wake_user(&self, user: UserNid) {
        self.next.wake_user(user);
    }

    fn wake_users(&self, users: &HashSet<UserNid>) {
        self.next.wake_users(users);
    }
}

/// When typing was last told: a repeat within [`super::TYPING_REPEAT_MS`] is not sent again. Bound: 10,000.
#[derive(Default)]
pub(super) struct TypingTold(HashMap<(RoomNid, UserNid), i64>);

impl TypingTold {
    /// Whether it is to be sent.
    pub(super) fn news(&mut self, room: RoomNid, user: UserNid, typing: bool, now_ms: i64) -> bool {
        let key = (room, user);
        if !typing {
            return self.0.remove(&key).is_some();
        }
        if self.0.get(&key).is_some_and(|told| now_ms - told < super::TYPING_REPEAT_MS) {
            return false;
        }
        if self.0.len() >= MAX_ROOMS {
            self.0.retain(|_, told| now_ms - *told < super::TYPING_REPEAT_MS);
            if self.0.len() >= MAX_ROOMS {
                return false;
            }
        }
        self.0.insert(key, now_ms);
        true
    }
}
