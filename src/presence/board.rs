//! All people of whom something is known, and the order of their changes.
//!
//! A change gets its number when it is told ([`Board::told`]), up to a second after it happened: what happens within that
//! second is one change. Only the newest change of a person has a number.

mod reading;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use ruma::OwnedUserId;

use super::{
    Heard, Shown, State,
    person::{Home, Local, Remote},
};
use crate::store::ids::{DeviceNid, RoomNid, UserNid};

/// Users of this server, and users of others, of whom something is noted, at most: some 300 bytes each, and 8 a room.
pub(super) const MAX_EACH: usize = 50_000;

/// Other servers are told again of those who are there after so long: one that lost what it knew, or an update on the way,
/// knows again.
pub(super) const REPEAT_MS: i64 = 5 * 60_000;

#[derive(Debug)]
struct Person {
    user_id: OwnedUserId,
    home: Home,
    shown: Shown,
    /// Rooms that they were joined to with users of ours when their newest change was told, ascending; None before the first.
    rooms: Option<Arc<[RoomNid]>>,
    /// Number of the newest change; 0 before the first.
    serial: i64,
    /// Whether a change waits to be told.
    waits: bool,
    /// When they are looked at again.
    look_ms: Option<i64>,
    /// When other servers were last told.
    told_ms: i64,
}

/// Somebody's newest change.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its number.
    pub serial: i64,
    /// Who.
    pub user: UserNid,
    /// Who, as others call them.
    pub user_id: OwnedUserId,
    /// What they are.
    pub shown: Shown,
    /// The rooms, ascending, whose members may know.
    pub rooms: Arc<[RoomNid]>,
}

/// Whom to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) user: UserNid,
    pub(super) local: bool,
    /// Whether it is a change, or to be told to other servers again.
    pub(super) change: bool,
    /// Whether the status message must be read.
    pub(super) wants_status: bool,
}

/// What was looked up.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) user: UserNid,
    pub(super) change: bool,
    pub(super) rooms: Arc<[RoomNid]>,
    pub(super) status: Option<Option<Arc<str>>>,
    /// The account is locked or deactivated.
    pub(super) barred: bool,
}

/// Numbers for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Users of this server of whom something is noted.
    pub local: usize,
    /// Users of others.
    pub remote: usize,
    /// Changes that wait to be told.
    pub waiting: usize,
}

/// The people.
#[derive(Debug, Default)]
pub(super) struct Board {
    people: HashMap<UserNid, Person>,
    /// Users of this server among them.
    local: usize,
    serial: i64,
    changes: BTreeMap<i64, UserNid>,
    /// Those who were told as offline, users of others and ours apart, the longest ago first.
    gone: [BTreeSet<(i64, UserNid)>; 2],
    looks: BTreeSet<(i64, UserNid)>,
    /// Those whose change waits.
    waiting: VecDeque<UserNid>,
    /// Those of whom other servers are to be told again.
    again: VecDeque<UserNid>,
    /// Whether there are other servers to be told.
    pub(super) servers: bool,
}

impl Board {
    /// Makes room for one more, and their place.
    fn place(&mut self, user: UserNid, user_id: &OwnedUserId, home: impl FnOnce() -> Home) -> Option<&mut Person> {
        if !self.people.contains_key(&user) {
            let home = home();
            let local = matches!(home, Home::Here(_));
            let count = if local { self.local } else { self.people.len() - self.local };
            if count >= MAX_EACH && !self.give_way(local) {
                return None;
            }
            self.local += usize::from(local);
            let person = Person {
                user_id: user_id.clone(),
                home,
                shown: Shown::NOBODY,
                rooms: None,
                serial: 0,
                waits: false,
                look_ms: None,
                told_ms: 0,
            };
            self.people.insert(user, person);
        }
        self.people.get_mut(&user)
    }

    /// Forgets who has been offline longest; answers whether there was somebody.
    fn give_way(&mut self, local: bool) -> bool {
        let still = |user: &UserNid| {
            self.people.get(user).is_some_and(|person| person.shown.state == State::Offline && !person.waits)
        };
        let found = self.gone[usize::from(local)].iter().map(|(_, user)| *user).find(still);
        found.is_some_and(|user| self.forget(user))
    }

    fn forget(&mut self, user: UserNid) -> bool {
        let Some(person) = self.people.remove(&user) else { return false };
        let local = usize::from(matches!(person.home, Home::Here(_)));
        self.local -= local;
        self.changes.remove(&person.serial);
        self.gone[local].remove(&(person.serial, user));
        if let Some(look_ms) = person.look_ms {
            self.looks.remove(&(look_ms, user));
        }
        true
    }

    /// Sees what somebody is now. As with all that answers a bool here: whether there is something to tell, or the next look
    /// comes sooner.
    fn settle(&mut self, user: UserNid, now_ms: i64) -> bool {
        let servers = self.servers;
        let mut sooner = false;
        let Some(person) = self.people.get_mut(&user) else { return false };
        let (shown, mut next_ms) = person.home.shown(now_ms);
        let visible = |shown: &Shown| (shown.state, shown.currently_active, shown.status.clone());
        let news = visible(&shown) != visible(&person.shown);
        person.shown = shown;
        if servers && person.shown.state != State::Offline && matches!(person.home, Home::Here(_)) && person.serial > 0
        {
            let repeat_ms = person.told_ms + REPEAT_MS;
            if repeat_ms <= now_ms {
                person.told_ms = now_ms;
                self.again.push_back(user);
            }
            next_ms = Some(next_ms.unwrap_or(i64::MAX).min(person.told_ms + REPEAT_MS));
        }
        // A look that comes too early looks again; so a poll does not move it.
        if let Some(next_ms) = next_ms
            && person.look_ms.is_none_or(|look_ms| look_ms > next_ms)
        {
            if let Some(look_ms) = person.look_ms.replace(next_ms) {
                self.looks.remove(&(look_ms, user));
            }
            self.looks.insert((next_ms, user));
            sooner = self.looks.first() == Some(&(next_ms, user));
        }
        if news {
            self.wait(user);
        }
        news || sooner
    }

    /// Has a change told, if somebody is known.
    fn wait(&mut self, user: UserNid) -> bool {
        let Some(person) = self.people.get_mut(&user).filter(|person| !person.waits) else { return false };
        person.waits = true;
        self.waiting.push_back(user);
        true
    }

    fn local(&mut self, user: UserNid) -> Option<&mut Local> {
        match &mut self.people.get_mut(&user)?.home {
            Home::Here(local) => Some(local),
            Home::Elsewhere(_) => None,
        }
    }

    /// A /sync begins: whether its end must be told, and as the others.
    pub(super) fn sync_begins(
        &mut self,
        (user, user_id): (UserNid, &OwnedUserId),
        device: DeviceNid,
        asked: Option<State>,
        now_ms: i64,
    ) -> (bool, bool) {
        if asked == Some(State::Offline) && !self.people.contains_key(&user) {
            return (false, false);
        }
        self.place(user, user_id, || Home::Here(Local::default()));
        let Some(local) = self.local(user) else { return (false, false) };
        let counts = local.sync_begins(device, asked, now_ms);
        (counts, self.settle(user, now_ms))
    }

    /// It ends.
    pub(super) fn sync_ends(&mut self, user: UserNid, device: DeviceNid, now_ms: i64) -> bool {
        let Some(local) = self.local(user) else { return false };
        local.sync_ends(device, now_ms);
        self.settle(user, now_ms)
    }

    /// A PUT; `status`: a new status message.
    pub(super) fn put(
        &mut self,
        (user, user_id): (UserNid, &OwnedUserId),
        device: DeviceNid,
        state: State,
        status: Option<Option<Arc<str>>>,
        now_ms: i64,
    ) -> bool {
        self.place(user, user_id, || Home::Here(Local::default()));
        let Some(local) = self.local(user) else { return false };
        local.put(device, state, now_ms);
        if status.is_some() {
            local.status = status;
        }
        self.settle(user, now_ms)
    }

    /// Somebody does something.
    pub(super) fn active(&mut self, user: UserNid, device: DeviceNid, now_ms: i64) -> bool {
        let Some(local) = self.local(user) else { return false };
        local.active(device, now_ms);
        self.settle(user, now_ms)
    }

    /// An account ended.
    pub(super) fn end(&mut self, user: UserNid, now_ms: i64) -> bool {
        let Some(local) = self.local(user) else { return false };
        local.end();
        local.status = Some(None);
        self.settle(user, now_ms)
    }

    /// Another server speaks of a user of its own.
    pub(super) fn hear(&mut self, heard: Heard, now_ms: i64) -> bool {
        let Heard { user, user_id, shown } = heard;
        let new = shown.clone();
        // Nobody needs to hear that a stranger is offline.
        if shown.state == State::Offline && shown.status.is_none() && !self.people.contains_key(&user) {
            return false;
        }
        let place = self.place(user, &user_id, || Home::Elsewhere(Remote { said: new, heard_ms: now_ms }));
        let Some(Person { home: Home::Elsewhere(remote), .. }) = place else { return false };
        remote.said = shown;
        remote.heard_ms = now_ms;
        self.settle(user, now_ms)
    }

    /// The memberships of these users changed, or what they may: their rooms are looked up again, and they are told anew.
    pub(super) fn moved(&mut self, users: &[UserNid]) -> bool {
        users.iter().fold(false, |any, user| self.wait(*user) | any)
    }

    /// Users of ours who were online before the start, as far as anybody was told: those who did not come back are told as
    /// offline.
    pub(super) fn resume(&mut self, users: Vec<(UserNid, OwnedUserId)>) -> bool {
        let mut any = false;
        for (user, user_id) in users {
            if !self.people.contains_key(&user) {
                self.place(user, &user_id, || Home::Here(Local::default()));
                any |= self.wait(user);
            }
        }
        any
    }

    /// Looks at those whose time has come.
    pub(super) fn look(&mut self, now_ms: i64) {
        while let Some(&(look_ms, user)) = self.looks.first()
            && look_ms <= now_ms
        {
            self.looks.pop_first();
            if let Some(person) = self.people.get_mut(&user) {
                person.look_ms = None;
            }
            self.settle(user, now_ms);
        }
    }

    /// Whether there is something to tell.
    pub(super) fn has_news(&self) -> bool {
        !self.waiting.is_empty() || !self.again.is_empty()
    }

    /// When the next look is due.
    pub(super) fn next_look(&self) -> Option<i64> {
        self.looks.first().map(|(look_ms, _)| *look_ms)
    }

    /// Those of whom is to be told, `limit` at most.
    pub(super) fn take(&mut self, limit: usize) -> Vec<Taken> {
        let changes = self.waiting.len().min(limit);
        let again = self.again.len().min(limit - changes);
        let users = self.waiting.drain(..changes).map(|user| (user, true));
        let users: Vec<_> = users.chain(self.again.drain(..again).map(|user| (user, false))).collect();
        let taken = users.into_iter().filter_map(|(user, change)| {
            let person = self.people.get_mut(&user)?;
            // What happens from here on is another change.
            person.waits &= !change;
            let wants_status = matches!(&person.home, Home::Here(local) if local.status.is_none());
            Some(Taken { user, local: matches!(person.home, Home::Here(_)), change, wants_status })
        });
        taken.collect()
    }

    /// Gives back what was taken, for it could not be looked up.
    pub(super) fn put_back(&mut self, taken: &[Taken]) {
        for taken in taken {
            if taken.change {
                self.wait(taken.user);
            } else {
                self.again.push_back(taken.user);
            }
        }
    }

    /// Numbers the changes, with what was looked up. From here on readers find them.
    pub(super) fn told(&mut self, facts: Vec<Facts>, now_ms: i64) {
        for facts in facts {
            let Facts { user, change, rooms, status, barred } = facts;
            if let Some(local) = self.local(user) {
                if barred {
                    local.end();
                }
                if local.status.is_none() {
                    local.status = status;
                }
            }
            let Some(person) = self.people.get_mut(&user) else { continue };
            let stranger = rooms.is_empty() && matches!(person.home, Home::Elsewhere(_));
            person.rooms = Some(rooms);
            if !change {
                continue;
            }
            if stranger {
                self.forget(user);
                continue;
            }
            let gone = &mut self.gone[usize::from(matches!(person.home, Home::Here(_)))];
            gone.remove(&(person.serial, user));
            self.changes.remove(&person.serial);
            self.serial += 1;
            person.serial = self.serial;
            person.told_ms = now_ms;
            self.changes.insert(self.serial, user);
            // Looks at the next time for other servers, and sees what the facts change: that is told with this change.
            let waited = person.waits;
            self.settle(user, now_ms);
            let Some(person) = self.people.get_mut(&user) else { continue };
            if person.waits && !waited {
                person.waits = false;
                self.waiting.pop_back();
            }
            if person.shown.state == State::Offline {
                self.gone[usize::from(matches!(person.home, Home::Here(_)))].insert((person.serial, user));
            }
        }
    }

    /// The number of the newest change.
    pub(super) fn serial(&self) -> i64 {
        self.serial
    }

    /// What somebody is now; None if nothing is known of them.
    pub(super) fn current(&mut self, user: UserNid, now_ms: i64) -> Option<Shown> {
        self.settle(user, now_ms);
        self.people.get(&user).map(|person| person.shown.clone())
    }

    /// Whether somebody's status message is known.
    pub(super) fn knows_status(&self, user: UserNid) -> bool {
        self.people.get(&user).is_some_and(|person| match &person.home {
            Home::Here(local) => local.status.is_some(),
            Home::Elsewhere(_) => true,
        })
    }

    /// How much is noted.
    pub(super) fn sizes(&self) -> Sizes {
        Sizes { local: self.local, remote: self.people.len() - self.local, waiting: self.waiting.len() }
    }
}
