//! Which rooms changed since a place in some order, without asking each room.

use std::collections::{BTreeSet, HashMap};

use crate::store::ids::RoomNid;

/// Rooms by their newest change. Bound: `capacity` rooms; the one that has been quiet longest goes, and with it the answer
/// for places before its change.
#[derive(Debug)]
pub(crate) struct Recency {
    capacity: usize,
    newest: HashMap<RoomNid, i64>,
    by_place: BTreeSet<(i64, RoomNid)>,
    /// Changes at or below it may be missing.
    floor: i64,
}

impl Recency {
    /// Knows everything that changes from `floor` on.
    pub(crate) fn new(floor: i64, capacity: usize) -> Self {
        Self { capacity, newest: HashMap::new(), by_place: BTreeSet::new(), floor }
    }

    /// A room changed at `place`. Another room may have changed there, too: the place of what is no news, as history from before
    /// ours, is the newest that anything has, and that of a write that failed is given out again.
    pub(crate) fn touch(&mut self, room: RoomNid, place: i64) {
        match self.newest.get(&room) {
            Some(&old) if old >= place => return,
            Some(&old) => {
                self.by_place.remove(&(old, room));
            }
            None => {}
        }
        self.newest.insert(room, place);
        self.by_place.insert((place, room));
        while self.newest.len() > self.capacity
            && let Some((place, room)) = self.by_place.pop_first()
        {
            self.newest.remove(&room);
            self.floor = self.floor.max(place);
        }
    }

    /// Where a room's newest change stands, if it is remembered.
    pub(crate) fn of(&self, room: RoomNid) -> Option<i64> {
        self.newest.get(&room).copied()
    }

    /// Rooms that changed after `place`; None if that is further back than is remembered, or if they are more than `limit`.
    pub(crate) fn since(&self, place: i64, limit: usize) -> Option<Vec<RoomNid>> {
        if place < self.floor {
            return None;
        }
        let mut rooms = Vec::new();
        for room in self.by_place.range((place.saturating_add(1), RoomNid(i64::MIN))..).map(|(_, room)| *room) {
            if rooms.len() == limit {
                return None;
            }
            rooms.push(room);
        }
        Some(rooms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_counts_at_its_newest_change() {
        let mut recent = Recency::new(10, 8);
        recent.touch(RoomNid(1), 11);
        recent.touch(RoomNid(2), 12);
        recent.touch(RoomNid(1), 13);
        recent.touch(RoomNid(2), 9);
        assert_eq!(recent.since(10, 8), Some(vec![RoomNid(2), RoomNid(1)]));
        assert_eq!(recent.since(12, 8), Some(vec![RoomNid(1)]));
        assert_eq!(recent.since(13, 8), Some(vec![]));
        assert_eq!(recent.since(9, 8), None, "before it began");
        assert_eq!(recent.since(10, 1), None, "more than asked for");
    }

    #[test]
    fn a_room_that_changes_at_the_place_of_another_hides_nothing() {
        let mut recent = Recency::new(10, 8);
        recent.touch(RoomNid(1), 11);
        recent.touch(RoomNid(2), 11);
        assert_eq!(recent.since(10, 8), Some(vec![RoomNid(1), RoomNid(2)]));
        recent.touch(RoomNid(2), 12);
        assert_eq!(recent.since(10, 8), Some(vec![RoomNid(1), RoomNid(2)]));
        assert_eq!(recent.since(11, 8), Some(vec![RoomNid(2)]));
    }

    #[test]
    fn what_is_dropped_is_not_denied() {
        let mut recent = Recency::new(0, 2);
        for room in 1..=3 {
            recent.touch(RoomNid(room), room * 10);
        }
        assert_eq!(recent.since(9, 8), None, "room 1 changed at 10 and is forgotten");
        assert_eq!(recent.since(10, 8), Some(vec![RoomNid(2), RoomNid(3)]));
        assert_eq!(recent.of(RoomNid(1)), None);
    }
}
