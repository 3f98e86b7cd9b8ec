//! What readers ask the board.

use ruma::OwnedUserId;

use super::{Board, Change, Person};
use crate::{
    presence::{Shown, State, person::Home},
    store::ids::{RoomNid, UserNid},
};

/// Changes that are compared to say that none concerns somebody, at most.
const COMPARED: usize = 64;

/// Whether two ascending lists have an element in common.
fn meet(one: &[RoomNid], other: &[RoomNid]) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    short.iter().any(|room| long.binary_search(room).is_ok())
}

impl Board {
    fn change(&self, user: UserNid) -> Option<Change> {
        let person = self.people.get(&user)?;
        Some(Change {
            serial: person.serial,
            user,
            user_id: person.user_id.clone(),
            shown: person.shown.clone(),
            rooms: person.rooms.clone().unwrap_or_default(),
        })
    }

    fn concerns(&self, other: UserNid, user: UserNid, rooms: &[RoomNid]) -> bool {
        let shares = |person: &Person| person.rooms.as_ref().is_some_and(|theirs| meet(theirs, rooms));
        other == user || self.people.get(&other).is_some_and(shares)
    }

    /// The changes after a number that concern `user`, who is joined to `rooms` (ascending), in order, `limit` at most; and the
    /// number up to which these are all.
    pub(in crate::presence) fn changes_since(
        &self,
        (user, rooms): (UserNid, &[RoomNid]),
        serial: i64,
        limit: usize,
    ) -> (Vec<Change>, i64) {
        let mut found = Vec::new();
        for (serial, other) in self.changes.range(serial.saturating_add(1)..) {
            if !self.concerns(*other, user, rooms) {
                continue;
            }
            if found.len() >= limit {
                return (found, serial - 1);
            }
            found.extend(self.change(*other));
        }
        (found, self.serial)
    }

    /// Whether certainly no change of others after a number concerns somebody.
    pub(in crate::presence) fn is_quiet(&self, user: UserNid, serial: i64) -> bool {
        if serial == self.serial {
            return true;
        }
        let Some(viewer) = self.people.get(&user).filter(|viewer| !viewer.waits) else { return false };
        let Some(rooms) = &viewer.rooms else { return false };
        let mut later = self.changes.range(serial.saturating_add(1)..).map(|(_, user)| *user);
        !later.by_ref().take(COMPARED).any(|other| other != user && self.concerns(other, user, rooms))
            && later.next().is_none()
    }

    /// Those who are not offline and concern `user`, who is joined to `rooms` (ascending): the most recently active first,
    /// `limit` at most.
    pub(in crate::presence) fn present(&self, (user, rooms): (UserNid, &[RoomNid]), limit: usize) -> Vec<Change> {
        let present = self.people.iter().filter(|(_, person)| person.shown.state != State::Offline);
        let mut found: Vec<(Option<i64>, UserNid)> = present
            .filter(|(other, _)| self.concerns(**other, user, rooms))
            .map(|(other, person)| (person.shown.last_active_ms, *other))
            .collect();
        found.sort_unstable_by(|one, other| other.cmp(one));
        found.into_iter().take(limit).filter_map(|(_, user)| self.change(user)).collect()
    }

    /// Users of this server who are not offline and in a room.
    pub(in crate::presence) fn present_in(&self, room: RoomNid) -> Vec<UserNid> {
        let here = self.people.iter().filter(|(_, person)| {
            person.shown.state != State::Offline
                && matches!(person.home, Home::Here(_))
                && person.rooms.as_ref().is_some_and(|rooms| rooms.binary_search(&room).is_ok())
        });
        here.map(|(user, _)| *user).collect()
    }

    /// What to tell of these.
    pub(in crate::presence) fn of(
        &self,
        users: impl IntoIterator<Item = UserNid>,
    ) -> Vec<(UserNid, OwnedUserId, Shown)> {
        let known = users.into_iter().filter_map(|user| Some((user, self.people.get(&user)?)));
        known.map(|(user, person)| (user, person.user_id.clone(), person.shown.clone())).collect()
    }
}
