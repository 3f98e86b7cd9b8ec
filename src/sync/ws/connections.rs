//! Which sessions have connections open, so many at most, and how an ended session's connections hear of it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::{
    accounts::{EndReason, Ended, Session},
    store::ids::{DeviceNid, UserNid},
};

/// Connections of one user at once.
pub const MAX_OF_USER: usize = 20;

/// Frames of the moment that wait for one connection at most; what is beyond is not told.
const TOLD: usize = 32;

/// The user has as many connections as they may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_OF_USER} connections of one user")]
pub struct TooMany;

struct Open {
    id: u64,
    device: DeviceNid,
    mailbox: Arc<Mailbox>,
}

/// What a connection is to hear. An empty one has no memory of its own; a channel for [`TOLD`] frames has 1.5 KB.
#[derive(Default)]
struct Mailbox {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    /// Whether the session ended, and why.
    ended: Option<Option<EndReason>>,
    told: VecDeque<Bytes>,
}

impl Mailbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, reason: Option<EndReason>) {
        self.waiting().ended = Some(reason);
        self.news.notify_one();
    }

    /// A connection that does not keep up asks for what it misses.
    fn tell(&self, frame: Bytes) {
        let mut waiting = self.waiting();
        if waiting.told.len() < TOLD {
            waiting.told.push_back(frame);
            drop(waiting);
            self.news.notify_one();
        }
    }

    fn take(&self) -> Option<Heard> {
        let mut waiting = self.waiting();
        if let Some(reason) = waiting.ended {
            return Some(Heard::Ended(reason));
        }
        let frame = waiting.told.pop_front();
        if waiting.told.is_empty() {
            waiting.told = VecDeque::new();
        }
        frame.map(Heard::Told)
    }
}

#[derive(Default)]
struct Table {
    open: HashMap<UserNid, Vec<Open>>,
    next: u64,
}

/// The open connections; as many as listeners take, [`MAX_OF_USER`] a user.
pub(super) struct Connections {
    table: Mutex<Table>,
    count: watch::Sender<usize>,
}

impl Default for Connections {
    fn default() -> Self {
        Self { table: Mutex::default(), count: watch::Sender::new(0) }
    }
}

impl Connections {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection of a session.
    pub(super) fn open(self: &Arc<Self>, session: &Session) -> Result<Slot, TooMany> {
        let mailbox = Arc::<Mailbox>::default();
        let mut table = self.table();
        let id = table.next;
        let of_user = table.open.entry(session.user).or_default();
        if of_user.len() >= MAX_OF_USER {
            return Err(TooMany);
        }
        of_user.push(Open { id, device: session.device, mailbox: mailbox.clone() });
        table.next += 1;
        self.count.send_modify(|count| *count += 1);
        Ok(Slot { connections: self.clone(), user: session.user, id, mailbox })
    }

    /// Tells the connections of a session that it ended.
    pub(super) fn end(&self, ended: &Ended) {
        let mut table = self.table();
        let Some(of_user) = table.open.get_mut(&ended.user) else { return };
        for open in of_user.extract_if(.., |open| open.device == ended.device) {
            open.mailbox.end(ended.reason);
        }
        if of_user.is_empty() {
            table.open.remove(&ended.user);
        }
    }

    /// Gives a frame to the connections of a user that have place for it.
    pub(super) fn tell(&self, user: UserNid, frame: &Bytes) {
        for open in self.table().open.get(&user).into_iter().flatten() {
            open.mailbox.tell(frame.clone());
        }
    }

    /// Users with connections.
    pub(super) fn users(&self) -> Vec<UserNid> {
        self.table().open.keys().copied().collect()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Returns once there is none, or after `limit`.
    pub(super) async fn closed(&self, limit: Duration) {
        let mut count = self.count.subscribe();
        if tokio::time::timeout(limit, count.wait_for(|count| *count == 0)).await.is_err() {
            tracing::debug!("some connections of LinkIM's clients did not end in time");
        }
    }
}

/// A connection's place. Goes with its drop.
pub(super) struct Slot {
    connections: Arc<Connections>,
    user: UserNid,
    id: u64,
    mailbox: Arc<Mailbox>,
}

/// What a connection's place hears.
pub(super) enum Heard {
    /// The session ended.
    Ended(Option<EndReason>),
    /// A frame of the moment.
    Told(Bytes),
}

impl Slot {
    /// Returns once there is something. Safe to cancel.
    pub(super) async fn heard(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.mailbox.take() {
                return heard;
            }
            self.mailbox.news.notified().await;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.connections.table();
        if let Some(of_user) = table.open.get_mut(&self.user) {
            of_user.retain(|open| open.id != self.id);
            if of_user.is_empty() {
                table.open.remove(&self.user);
            }
        }
        self.connections.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    fn session(user: i64, device: i64) -> Session {
        Session {
            user: UserNid(user),
            user_id: user_id!("@alice:a.example").to_owned(),
            device: DeviceNid(device),
            device_id: "PHONE".into(),
            token: 3,
            guest: false,
            admin: false,
            suspended: false,
        }
    }

    #[tokio::test]
    async fn a_user_has_so_many_and_an_ended_session_none() {
        let connections = Arc::<Connections>::default();
        let mut slots: Vec<Slot> = (0..20).map(|n| connections.open(&session(1, n % 2)).unwrap()).collect();
        assert_eq!(connections.open(&session(1, 5)).err(), Some(TooMany));
        let _other = connections.open(&session(2, 9)).unwrap();
        let reason = Some(EndReason::PasswordChanged);
        connections.end(&Ended { user: UserNid(1), device: DeviceNid(0), reason });
        assert!(matches!(slots[0].heard().await, Heard::Ended(told) if told == reason));
        for n in 0..40 {
            connections.tell(UserNid(1), &Bytes::from(n.to_string()));
        }
        for n in 0..32 {
            assert!(matches!(slots[1].heard().await, Heard::Told(frame) if frame == n.to_string()));
        }
        let nothing = tokio::time::timeout(Duration::from_millis(1), slots[1].heard()).await;
        assert!(nothing.is_err(), "what is beyond so many is not told");
        assert_eq!(connections.count(), 21, "they close by themselves");
        slots.truncate(3);
        assert_eq!(connections.count(), 4);
        assert!(connections.open(&session(1, 5)).is_ok());
        drop(slots);
        assert_eq!(connections.users(), [UserNid(2)]);
    }
}
