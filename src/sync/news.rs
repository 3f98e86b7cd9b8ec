//! What is known, between two looks, of what is new for one user: whether it is events of a few rooms and nothing else.
//!
//! News are told in the order of their positions: on the writer's thread, right after the commit. Receipts are told a moment
//! later; so they are announced in their transaction, and until they are told nobody counts as told of everything.

use std::collections::BTreeMap;

use crate::store::ids::RoomNid;

/// Rooms that are kept apart; with more, one has to look.
const ROOMS: usize = 4;

/// Announced changes that are waited for at most; 24 bytes each.
const MAX_ANNOUNCED: usize = 1_024;

/// What a wake-up tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct News {
    /// Up to where.
    pub(super) position: i64,
    /// The room, if it is events of one that was not joined or left by it; none: anything.
    pub(super) room: Option<RoomNid>,
}

impl News {
    /// Anything.
    pub(super) fn any(position: i64) -> Self {
        Self { position, room: None }
    }

    /// Events of a room.
    pub(super) fn of(room: RoomNid, position: i64) -> Self {
        Self { position, room: Some(room) }
    }
}

/// What one user was told of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// Behind it there is nothing but events of `rooms`.
    other: i64,
    /// Rooms with the positions of their newest events.
    rooms: [Option<(RoomNid, i64)>; ROOMS],
}

impl Told {
    /// Everything behind `position` will be told.
    pub(super) fn from(position: i64) -> Self {
        Self { other: position, rooms: [None; ROOMS] }
    }

    pub(super) fn note(&mut self, news: News) {
        let Some(room) = news.room else {
            self.other = self.other.max(news.position);
            return;
        };
        let known = self.rooms.iter_mut().flatten().find(|(known, _)| *known == room);
        if let Some((_, position)) = known {
            *position = news.position.max(*position);
            return;
        }
        // The room whose news are oldest gives way: who has not seen them looks.
        if let Some(place) = self.rooms.iter_mut().min_by_key(|place| place.map_or(i64::MIN, |(_, position)| position))
        {
            if let Some((_, position)) = *place {
                self.other = self.other.max(position);
            }
            *place = Some((room, news.position));
        }
    }

    /// The rooms with events behind `since`; None: there may be more than events.
    pub(super) fn since(&self, since: i64) -> Option<Vec<(RoomNid, i64)>> {
        let rooms = || self.rooms.iter().flatten().filter(|(_, position)| *position > since).copied().collect();
        (since >= self.other).then(rooms)
    }
}

/// Changes that were announced and are not told yet.
#[derive(Debug, Default)]
pub(super) struct Announced {
    changes: BTreeMap<i64, RoomNid>,
    /// What was announced up to here may be forgotten.
    forgotten: i64,
}

impl Announced {
    /// A room will have something at `position`. Comes to nothing if its transaction fails.
    pub(super) fn announce(&mut self, room: RoomNid, position: i64) {
        self.changes.insert(position, room);
        if self.changes.len() > MAX_ANNOUNCED
            && let Some((position, _)) = self.changes.pop_first()
        {
            self.forgotten = self.forgotten.max(position);
        }
    }

    /// The members of a room were told of everything up to `position`.
    pub(super) fn told(&mut self, room: RoomNid, position: i64) {
        self.changes.retain(|at, of| *of != room || *at > position);
    }

    /// Whether everything behind `since` was told.
    pub(super) fn all_told(&self, since: i64) -> bool {
        since >= self.forgotten && self.changes.last_key_value().is_none_or(|(position, _)| *position <= since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: RoomNid = RoomNid(1);

    #[test]
    fn events_of_few_rooms_are_known_and_anything_else_is_looked_for() {
        let mut told = Told::from(10);
        assert_eq!(told.since(9), None, "before it began");
        assert_eq!(told.since(10), Some(vec![]));
        told.note(News::of(A, 12));
        told.note(News::of(RoomNid(2), 13));
        told.note(News::of(A, 14));
        assert_eq!(told.since(10), Some(vec![(A, 14), (RoomNid(2), 13)]));
        assert_eq!(told.since(13), Some(vec![(A, 14)]));
        told.note(News::any(15));
        assert_eq!((told.since(14), told.since(15)), (None, Some(vec![])));
    }

    #[test]
    fn a_room_too_many_has_those_look_who_have_not_seen_the_oldest() {
        let mut told = Told::from(10);
        for n in 1..=5 {
            told.note(News::of(RoomNid(n), 10 + n));
        }
        assert_eq!(told.since(10), None);
        assert_eq!(told.since(11).map(|rooms| rooms.len()), Some(4));
    }

    #[test]
    fn what_is_announced_is_waited_for() {
        let mut announced = Announced::default();
        assert!(announced.all_told(0));
        announced.announce(A, 5);
        announced.announce(RoomNid(2), 7);
        announced.announce(A, 9);
        assert!(!announced.all_told(8));
        assert!(announced.all_told(9));
        announced.told(A, 8);
        assert!(!announced.all_told(8));
        announced.told(A, 9);
        assert!(!announced.all_told(6) && announced.all_told(7));
    }

    #[test]
    fn what_is_forgotten_counts_as_not_told() {
        let mut announced = Announced::default();
        for position in 1..=MAX_ANNOUNCED as i64 + 1 {
            announced.announce(A, position);
        }
        announced.told(A, i64::MAX);
        assert!(!announced.all_told(0) && announced.all_told(1));
    }
}
