//! Who is typing where. In memory alone: what a restart loses is over within seconds anyhow.
//!
//! Source: Client-Server API, "Typing Notifications".

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ruma::{OwnedRoomId, OwnedUserId};
use tokio::{sync::Notify, time::Instant};

use super::{
    append::{Appenders, Wake},
    recency::Recency,
    wake::WakeMembers,
};
use crate::store::{
    Store, StoreError, ids,
    ids::{RoomNid, UserNid},
    members,
    members::Membership,
};

/// Longest time for which one request can say that somebody types. Clients repeat it every few seconds.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(120);

/// Time that counts if the request names none.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Time that counts for users of other servers, which repeat that somebody types but do not say for how long: more than the
/// pause between two repetitions, which servers hold at 30 to 40 seconds.
pub const REMOTE_TIMEOUT: Duration = Duration::from_secs(60);

/// Users typing in one room at most; more are not noted.
const MAX_TYPING: usize = 200;

/// Rooms of which is known when somebody last began or ceased to type.
const RECENT_ROOMS: usize = 50_000;

/// Why typing was not noted.
#[derive(Debug, thiserror::Error)]
pub enum TypingError {
    /// The user is not joined, or there is no such room.
    #[error("You are not joined to this room")]
    NotJoined,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Told who types, for other servers. Must not block.
pub trait TypingElsewhere: Send + Sync + 'static {
    /// A user types in a room or no longer does; repeated while they type. One of another server may be among those who no
    /// longer do.
    fn typing(&self, room: RoomNid, user: UserNid, typing: bool);
}

/// Who is typing.
pub struct Typing {
    store: Store,
    appenders: Arc<Appenders>,
    wake: Arc<dyn WakeMembers>,
    notes: Arc<TypingNotes>,
    elsewhere: Option<Arc<dyn TypingElsewhere>>,
    /// Told when the next expiry may come sooner.
    sooner: Notify,
}

/// What is noted of who types, apart from who keeps it: the write path must end the typing of those who leave.
#[derive(Default)]
pub struct TypingNotes(Mutex<Board>);

impl TypingNotes {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the typing of whoever leaves a room, then wakes as before.
pub struct LeaversDontType {
    /// Who is told next of the change itself.
    pub next: Arc<dyn Wake>,
    /// Who is told that somebody ceased to type: whoever was already shown the leaving may have been shown the typing with it.
    pub wake: Arc<dyn WakeMembers>,
    /// Where the typing is noted.
    pub notes: Arc<TypingNotes>,
}

impl Wake for LeaversDontType {
    fn room_changed(&self, room: RoomNid, position: i64, members: &HashSet<UserNid>, also: &[UserNid]) {
        let mut ceased = false;
        if !also.is_empty() {
            let mut board = self.notes.board();
            for user in also.iter().filter(|user| !members.contains(user)) {
                ceased |= board.set(room, *user, None);
            }
        }
        self.next.room_changed(room, position, members, also);
        if ceased {
            self.wake.wake_users(members);
        }
    }

    fn room_changed_here(&self, room: RoomNid, position: i64, members: &HashSet<UserNid>) {
        self.next.room_changed_here(room, position, members);
    }

    fn state_changed(&self, room: RoomNid) {
        self.next.state_changed(room);
    }
}

/// The notes themselves. `serial` counts changes since the start; it is part of every sync token.
struct Board {
    serial: i64,
    rooms: HashMap<RoomNid, BTreeMap<UserNid, Instant>>,
    changed: Recency,
}

impl Default for Board {
    fn default() -> Self {
        Self { serial: 0, rooms: HashMap::new(), changed: Recency::new(0, RECENT_ROOMS) }
    }
}

impl Board {
    /// Notes that a user types until then, or no longer; answers whether that is news.
    fn set(&mut self, room: RoomNid, user: UserNid, until: Option<Instant>) -> bool {
        let news = match until {
            Some(until) => {
                let users = self.rooms.entry(room).or_default();
                if users.len() >= MAX_TYPING && !users.contains_key(&user) {
                    return false;
                }
                users.insert(user, until).is_none()
            }
            None => self.rooms.get_mut(&room).is_some_and(|users| users.remove(&user).is_some()),
        };
        if self.rooms.get(&room).is_some_and(BTreeMap::is_empty) {
            self.rooms.remove(&room);
        }
        if news {
            self.serial += 1;
            self.changed.touch(room, self.serial);
        }
        news
    }

    /// Takes out whoever was typing until `now` or earlier; answers them.
    fn expire(&mut self, now: Instant) -> Vec<(RoomNid, UserNid)> {
        let mut over: Vec<(RoomNid, UserNid)> = self
            .rooms
            .iter()
            .flat_map(|(room, users)| users.iter().map(move |(user, until)| (*room, *user, *until)))
            .filter(|(_, _, until)| *until <= now)
            .map(|(room, user, _)| (room, user))
            .collect();
        over.retain(|(room, user)| self.set(*room, *user, None));
        over.sort_unstable();
        over
    }

    fn next_expiry(&self) -> Option<Instant> {
        self.rooms.values().flat_map(BTreeMap::values).min().copied()
    }
}

impl Typing {
    /// `notes` are those that [`LeaversDontType`] has. [`Typing::run`] must be running for notes to expire.
    pub fn new(store: Store, appenders: Arc<Appenders>, wake: Arc<dyn WakeMembers>, notes: Arc<TypingNotes>) -> Self {
        Self { store, appenders, wake, notes, elsewhere: None, sooner: Notify::new() }
    }

    /// Also tells `elsewhere`.
    #[must_use]
    pub fn telling(mut self, elsewhere: Arc<dyn TypingElsewhere>) -> Self {
        self.elsewhere = Some(elsewhere);
        self
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.notes.board()
    }

    /// A member types, for `timeout` ([`MAX_TIMEOUT`] at most), or with None no longer does.
    ///
    /// # Errors
    /// [`TypingError`].
    pub async fn set(&self, user: UserNid, room_id: OwnedRoomId, timeout: Option<Duration>) -> Result<(), TypingError> {
        let room = self
            .store
            .read::<_, TypingError, _>(move |read| {
                let room = ids::room(read, &room_id)?.ok_or(TypingError::NotJoined)?;
                match members::of(read, user, room.nid)? {
                    Some(member) if member.membership == Membership::Join => Ok(room.nid),
                    _ => Err(TypingError::NotJoined),
                }
            })
            .await?;
        let until = timeout.map(|timeout| Instant::now() + timeout.min(MAX_TIMEOUT));
        let news = self.note(room, user, until);
        if (news || until.is_some())
            && let Some(elsewhere) = &self.elsewhere
        {
            elsewhere.typing(room, user, until.is_some());
        }
        if news {
            self.tell(room, until.map(|_| user)).await;
        }
        Ok(())
    }

    /// A member with an account on another server types, or no longer does. Over after [`REMOTE_TIMEOUT`] unless repeated.
    ///
    /// # Errors
    /// [`TypingError`].
    pub async fn set_remote(
        &self,
        user_id: OwnedUserId,
        room_id: OwnedRoomId,
        typing: bool,
    ) -> Result<(), TypingError> {
        let (room, user) = self
            .store
            .read_short::<_, TypingError, _>(move |read| {
                let room = ids::room(read, &room_id)?.ok_or(TypingError::NotJoined)?;
                let user = ids::user_nid(read, &user_id)?.ok_or(TypingError::NotJoined)?;
                match members::of(read, user, room.nid)? {
                    Some(member) if member.membership == Membership::Join => Ok((room.nid, user)),
                    _ => Err(TypingError::NotJoined),
                }
            })
            .await?;
        if self.note(room, user, typing.then(|| Instant::now() + REMOTE_TIMEOUT)) {
            self.tell(room, None).await;
        }
        Ok(())
    }

    /// Notes that a user types until then, or no longer; answers whether that is news.
    fn note(&self, room: RoomNid, user: UserNid, until: Option<Instant>) -> bool {
        let news = self.board().set(room, user, until);
        if until.is_some() {
            self.sooner.notify_one();
        }
        news
    }

    /// Ends notes when their time is over, and tells the members. Runs until it is dropped.
    pub async fn run(&self) {
        loop {
            let next = self.board().next_expiry();
            match next {
                Some(next) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(next) => {}
                        () = self.sooner.notified() => {}
                    }
                }
                None => self.sooner.notified().await,
            }
            let over = self.board().expire(Instant::now());
            if let Some(elsewhere) = &self.elsewhere {
                over.iter().for_each(|(room, user)| elsewhere.typing(*room, *user, false));
            }
            let mut rooms: Vec<RoomNid> = over.into_iter().map(|(room, _)| room).collect();
            rooms.dedup();
            for room in rooms {
                self.tell(room, None).await;
            }
        }
    }

    /// Tells the members. If `new`, who began to type, is none of them, they left between the look at their membership and
    /// the note: it ends.
    async fn tell(&self, room: RoomNid, new: Option<UserNid>) {
        match self.appenders.local_members(room).await {
            Ok(members) => {
                let members = members.read().unwrap_or_else(PoisonError::into_inner);
                if let Some(user) = new.filter(|user| !members.contains(user)) {
                    self.board().set(room, user, None);
                }
                self.wake.wake_users(&members);
            }
            Err(error) => tracing::debug!(%error, "typing will be seen late"),
        }
    }

    /// The number of the newest change.
    pub fn serial(&self) -> i64 {
        self.board().serial
    }

    /// Who is typing in a room.
    pub fn users(&self, room: RoomNid) -> Vec<UserNid> {
        self.board().rooms.get(&room).map(|users| users.keys().copied().collect()).unwrap_or_default()
    }

    /// Whether somebody began or ceased to type in a room after the change of this number.
    pub fn changed(&self, room: RoomNid, after: i64) -> bool {
        self.board().changed.of(room).is_some_and(|serial| serial > after)
    }

    /// Rooms that changed after the change of this number; None if they are more than `limit` or too long ago to know.
    pub fn changed_rooms(&self, after: i64, limit: usize) -> Option<Vec<RoomNid>> {
        self.board().changed.since(after, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: RoomNid = RoomNid(1);
    const ALICE: UserNid = UserNid(1);
    const BOB: UserNid = UserNid(2);

    #[test]
    fn going_on_is_no_news() {
        let mut board = Board::default();
        let now = Instant::now();
        let later = |s| Some(now + Duration::from_secs(s));
        assert!(board.set(ROOM, ALICE, later(5)));
        assert!(!board.set(ROOM, ALICE, later(9)));
        assert_eq!(board.serial, 1);
        assert!(board.set(ROOM, ALICE, None));
        assert!(!board.set(ROOM, ALICE, None));
        assert_eq!(board.changed.since(1, 9), Some(vec![ROOM]));
        assert_eq!(board.changed.since(2, 9), Some(vec![]));
    }

    #[test]
    fn each_ends_at_its_own_time() {
        let mut board = Board::default();
        let now = Instant::now();
        board.set(ROOM, ALICE, Some(now + Duration::from_secs(5)));
        board.set(ROOM, BOB, Some(now + Duration::from_secs(9)));
        assert_eq!(board.expire(now + Duration::from_secs(4)), []);
        assert_eq!(board.next_expiry(), Some(now + Duration::from_secs(5)));
        assert_eq!(board.expire(now + Duration::from_secs(5)), [(ROOM, ALICE)]);
        assert_eq!(board.rooms[&ROOM].keys().copied().collect::<Vec<_>>(), [BOB]);
        assert_eq!(board.expire(now + Duration::from_secs(60)), [(ROOM, BOB)]);
        assert!(board.rooms.is_empty(), "nothing is kept for a silent room");
    }

    #[test]
    fn who_leaves_types_no_more() {
        #[derive(Default)]
        struct Told(Mutex<Vec<Vec<UserNid>>>);
        impl Wake for Told {
            fn room_changed(&self, _: RoomNid, _: i64, _: &HashSet<UserNid>, also: &[UserNid]) {
                self.0.lock().unwrap().push(also.to_vec());
            }
            fn state_changed(&self, _: RoomNid) {}
            fn room_changed_here(&self, _: RoomNid, _: i64, _: &HashSet<UserNid>) {}
        }
        impl WakeMembers for Told {
            fn will_change(&self, _: RoomNid, _: i64) {}
            fn receipt_written(&self, _: RoomNid, _: i64) {}
            fn wake_user(&self, _: UserNid) {}
            fn wake_users(&self, users: &HashSet<UserNid>) {
                self.0.lock().unwrap().push(users.iter().copied().collect());
            }
        }
        let told = Arc::new(Told::default());
        let wake = LeaversDontType { next: told.clone(), wake: told.clone(), notes: Arc::default() };
        let until = Some(Instant::now() + Duration::from_secs(5));
        for user in [ALICE, BOB] {
            wake.notes.board().set(ROOM, user, until);
        }
        // Bob's name changed, then he left.
        wake.room_changed(ROOM, 1, &HashSet::from([ALICE, BOB]), &[BOB]);
        assert_eq!(wake.notes.board().serial, 2);
        wake.room_changed(ROOM, 2, &HashSet::from([ALICE]), &[BOB]);
        assert_eq!(wake.notes.board().rooms[&ROOM].keys().copied().collect::<Vec<_>>(), [ALICE]);
        assert_eq!(wake.notes.board().changed.since(2, 9), Some(vec![ROOM]), "it is news");
        // Twice of Bob's member events, once to Alice, who stays, of the typing.
        assert_eq!(*told.0.lock().unwrap(), [[BOB], [BOB], [ALICE]]);
    }

    #[test]
    fn a_crowd_is_bounded() {
        let mut board = Board::default();
        let until = Some(Instant::now() + Duration::from_secs(5));
        for user in 0..MAX_TYPING as i64 {
            assert!(board.set(ROOM, UserNid(user), until));
        }
        assert!(!board.set(ROOM, UserNid(-1), until));
        assert!(board.set(ROOM, UserNid(0), None));
        assert!(board.set(ROOM, UserNid(-1), until));
    }
}
