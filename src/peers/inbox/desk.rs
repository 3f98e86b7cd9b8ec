//! How much waits, of whom and where, and whether more is taken.
//!
//! Counted in memory from what the store said at the start. Space is reserved before the transaction that stages, so that two
//! transactions at once do not pass the bound together.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use ruma::{OwnedRoomId, OwnedServerName, RoomId, ServerName};

use crate::store::inbox::StagedCount;

/// How many events and bytes may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Events.
    pub events: i64,
    /// Bytes of their JSON.
    pub bytes: i64,
}

/// The bounds of what waits.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Of one origin.
    pub origin: Bound,
    /// In one room.
    pub room: Bound,
    /// Altogether.
    pub total: Bound,
}

const MEGABYTE: i64 = 1024 * 1024;

impl Default for Bounds {
    fn default() -> Self {
        Self {
            origin: Bound { events: 5_000, bytes: 50 * MEGABYTE },
            room: Bound { events: 10_000, bytes: 100 * MEGABYTE },
            total: Bound { events: 100_000, bytes: 500 * MEGABYTE },
        }
    }
}

/// Longest time for which an answer is held back.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// When a refused sender is asked to try again: workers take hundreds of events a second, a fetch takes seconds.
const RETRY_AFTER_MS: u64 = 5_000;

/// What waits somewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) events: i64,
    pub(super) bytes: i64,
}

impl Load {
    fn plus(self, other: Self) -> Self {
        Self { events: self.events + other.events, bytes: self.bytes + other.bytes }
    }

    fn minus(self, other: Self) -> Self {
        Self { events: (self.events - other.events).max(0), bytes: (self.bytes - other.bytes).max(0) }
    }

    fn exceeds(self, bound: Bound) -> bool {
        self.events > bound.events || self.bytes > bound.bytes
    }

    /// The fuller of its two measures: 1 is full.
    fn of(self, bound: Bound) -> f64 {
        (self.events as f64 / bound.events as f64).max(self.bytes as f64 / bound.bytes as f64)
    }
}

/// What waits. Bound: an entry for each origin and room of which something waits.
#[derive(Debug)]
pub(super) struct Desk {
    bounds: Bounds,
    total: Load,
    origins: HashMap<OwnedServerName, Load>,
    rooms: HashMap<OwnedRoomId, Load>,
    /// How many rows came at each time, for the age of the oldest.
    times: BTreeMap<i64, i64>,
}

/// Nothing was taken; the sender keeps it and tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) retry_after_ms: u64,
}

/// One event on its way in or out.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) room_id: OwnedRoomId,
    pub(super) bytes: i64,
}

impl Desk {
    pub(super) fn new(bounds: Bounds, counts: &[StagedCount]) -> Self {
        let mut desk = Self {
            bounds,
            total: Load::default(),
            origins: HashMap::new(),
            rooms: HashMap::new(),
            times: BTreeMap::new(),
        };
        for count in counts {
            let load = Load { events: count.events, bytes: count.bytes };
            desk.add(&count.origin, &count.room_id, load);
            *desk.times.entry(count.oldest_ts).or_default() += count.events;
        }
        desk
    }

    fn add(&mut self, origin: &ServerName, room: &RoomId, load: Load) {
        self.total = self.total.plus(load);
        let of_origin = self.origins.entry(origin.to_owned()).or_default();
        *of_origin = of_origin.plus(load);
        let of_room = self.rooms.entry(room.to_owned()).or_default();
        *of_room = of_room.plus(load);
    }

    /// Takes space for all of these events, or for none.
    pub(super) fn reserve(&mut self, origin: &ServerName, items: &[Item], now_ms: i64) -> Result<(), Full> {
        let mut rooms: HashMap<&RoomId, Load> = HashMap::new();
        let mut all = Load::default();
        for item in items {
            let load = Load { events: 1, bytes: item.bytes };
            all = all.plus(load);
            let of_room = rooms.entry(&item.room_id).or_default();
            *of_room = of_room.plus(load);
        }
        let full = self.total.plus(all).exceeds(self.bounds.total)
            || self.of_origin(origin).plus(all).exceeds(self.bounds.origin)
            || rooms.iter().any(|(room, load)| self.of_room(room).plus(*load).exceeds(self.bounds.room));
        if full {
            return Err(Full { retry_after_ms: RETRY_AFTER_MS });
        }
        for (room, load) in rooms {
            self.add(origin, room, load);
        }
        if all.events > 0 {
            *self.times.entry(now_ms).or_default() += all.events;
        }
        Ok(())
    }

    /// Gives back the space of an event that is gone, or was not staged after all.
    pub(super) fn release(&mut self, origin: &ServerName, item: &Item, received_ts: i64) {
        let load = Load { events: 1, bytes: item.bytes };
        self.total = self.total.minus(load);
        if let Some(of_origin) = self.origins.get_mut(origin) {
            *of_origin = of_origin.minus(load);
            if of_origin.events == 0 {
                self.origins.remove(origin);
            }
        }
        if let Some(of_room) = self.rooms.get_mut(&item.room_id) {
            *of_room = of_room.minus(load);
            if of_room.events == 0 {
                self.rooms.remove(&item.room_id);
            }
        }
        // What waited at the start stands under the time of the oldest of its kind.
        let time = self.times.range(..=received_ts).next_back().map(|(time, _)| *time);
        if let Some(time) = time
            && let Some(left) = self.times.get_mut(&time)
        {
            *left -= 1;
            if *left <= 0 {
                self.times.remove(&time);
            }
        }
    }

    /// How long the answer to this origin is held back, after something of it in these rooms was staged: nothing while
    /// everything is less than half full, then more and more.
    pub(super) fn delay<'r>(&self, origin: &ServerName, rooms: impl Iterator<Item = &'r RoomId>) -> Duration {
        let filled = rooms
            .map(|room| self.of_room(room).of(self.bounds.room))
            .chain([self.total.of(self.bounds.total), self.of_origin(origin).of(self.bounds.origin)])
            .fold(0.0, f64::max);
        MAX_DELAY.mul_f64(((filled - 0.5) * 2.0).clamp(0.0, 1.0))
    }

    fn of_origin(&self, origin: &ServerName) -> Load {
        self.origins.get(origin).copied().unwrap_or_default()
    }

    /// What waits in a room.
    pub(super) fn of_room(&self, room: &RoomId) -> Load {
        self.rooms.get(room).copied().unwrap_or_default()
    }

    /// All that waits.
    pub(super) fn total(&self) -> Load {
        self.total
    }

    /// When the oldest event that waits came.
    pub(super) fn oldest_ts(&self) -> Option<i64> {
        self.times.first_key_value().map(|(time, _)| *time)
    }
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, server_name};

    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            origin: Bound { events: 10, bytes: 1_000 },
            room: Bound { events: 15, bytes: 10_000 },
            total: Bound { events: 30, bytes: 20_000 },
        }
    }

    fn items(room: &RoomId, count: usize, bytes: i64) -> Vec<Item> {
        vec![Item { room_id: room.to_owned(), bytes }; count]
    }

    #[test]
    fn each_bound_holds_and_draining_makes_room() {
        let (a, b) = (server_name!("a.example"), server_name!("b.example"));
        let (one, two) = (room_id!("!one:a.example"), room_id!("!two:a.example"));
        let mut desk = Desk::new(bounds(), &[]);
        assert_eq!(desk.delay(a, [one].into_iter()), Duration::ZERO);
        desk.reserve(a, &items(one, 6, 10), 1).unwrap();
        let delay = desk.delay(a, [one].into_iter());
        assert!(delay > Duration::ZERO && delay < MAX_DELAY, "{delay:?}");
        assert!(desk.reserve(a, &items(two, 5, 10), 2).is_err(), "all of the transaction or nothing");
        desk.reserve(a, &items(two, 4, 10), 2).unwrap();
        assert_eq!(desk.delay(a, [].into_iter()), MAX_DELAY);
        assert!(desk.reserve(b, &items(one, 10, 10), 3).is_err(), "the room is full");
        desk.reserve(b, &items(one, 9, 10), 3).unwrap();
        assert!(desk.reserve(a, &items(two, 1, 1), 3).is_err());
        desk.release(a, &items(one, 1, 10)[0], 1);
        desk.reserve(a, &items(two, 1, 1), 3).unwrap();
    }

    #[test]
    fn bytes_count_too_and_nothing_is_left_behind() {
        let a = server_name!("a.example");
        let room = room_id!("!one:a.example");
        let mut desk = Desk::new(bounds(), &[]);
        assert!(desk.reserve(a, &items(room, 2, 600), 1).is_err());
        assert_eq!(desk.total(), Load::default(), "what was refused takes no space");
        desk.reserve(a, &items(room, 1, 600), 1).unwrap();
        desk.reserve(a, &items(room, 1, 300), 7).unwrap();
        assert_eq!(desk.oldest_ts(), Some(1));
        desk.release(a, &items(room, 1, 600)[0], 1);
        assert_eq!(desk.oldest_ts(), Some(7));
        desk.release(a, &items(room, 1, 300)[0], 7);
        assert!(desk.origins.is_empty() && desk.rooms.is_empty() && desk.times.is_empty());
    }

    #[test]
    fn what_waited_at_the_start_counts() {
        let count = StagedCount {
            room_id: room_id!("!one:a.example").to_owned(),
            origin: server_name!("a.example").to_owned(),
            events: 10,
            bytes: 100,
            oldest_ts: 4,
        };
        let mut desk = Desk::new(bounds(), &[count]);
        let room = room_id!("!one:a.example");
        let item = items(room, 1, 10);
        assert!(desk.reserve(server_name!("a.example"), &item, 9).is_err());
        desk.release(server_name!("a.example"), &item[0], 6);
        assert_eq!((desk.total().events, desk.oldest_ts()), (9, Some(4)));
    }
}
