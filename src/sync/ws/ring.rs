//! The newest events of rooms as frames, so that a message to a large room is looked for by one connection and taken from here
//! by the others.
//!
//! A run has every frame that a member of its room gets of the events of a stretch of positions. That holds for who is in
//! the room all along, has not cleared it and ignores nobody; others look for themselves.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use moka::sync::Cache;

use crate::store::ids::RoomNid;

/// Frames of one run at most; the oldest go.
const MAX_FRAMES: usize = 64;

/// Frames of a room's events behind `from`, up to `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) from: i64,
    pub(super) to: i64,
    /// With their positions, ascending.
    pub(super) frames: Vec<(i64, Bytes)>,
    /// Whether an event in it takes content away that frames before it may still have.
    pub(super) takes_away: bool,
}

impl Run {
    /// This one, and what another one adds to it.
    fn with(self, newer: Self) -> Self {
        let apart = newer.from > self.to || newer.to < self.from;
        if apart || newer.takes_away || newer.to < self.to {
            // One that ends earlier adds what lies before this one at most.
            let extends = !apart && newer.to < self.to && newer.from < self.from && !self.takes_away;
            return if extends {
                newer.with(self)
            } else if newer.to < self.to {
                self
            } else {
                newer
            };
        }
        let before = self.frames.into_iter().filter(|(position, _)| *position <= newer.from);
        let from = self.from.min(newer.from);
        let frames = before.chain(newer.frames).collect();
        Self { from, to: newer.to, frames, takes_away: self.takes_away }
    }

    fn trimmed(mut self) -> Self {
        if self.frames.len() > MAX_FRAMES {
            let gone = self.frames.drain(..self.frames.len() - MAX_FRAMES);
            if let Some((position, _)) = gone.last() {
                self.from = self.from.max(position);
            }
        }
        self
    }
}

/// Runs, one a room at most. Bound: as many bytes as it was made for, for so long.
pub(super) struct Ring {
    runs: Cache<RoomNid, Arc<Run>>,
}

impl Ring {
    pub(super) fn new(bytes: u64, kept: Duration) -> Self {
        let runs = Cache::builder()
            .weigher(|_, run: &Arc<Run>| {
                // An entry's own cost, about.
                let frames: usize = run.frames.iter().map(|(_, frame)| frame.len() + 50).sum();
                u32::try_from(frames + 150).unwrap_or(u32::MAX)
            })
            .max_capacity(bytes)
            .time_to_live(kept)
            .build();
        Self { runs }
    }

    /// What a look found of a room.
    pub(super) fn publish(&self, room: RoomNid, run: Run) {
        // Who comes in between loses what they add: then somebody looks again.
        let run = match self.runs.get(&room) {
            Some(known) if known.from <= run.from && run.to <= known.to => return,
            Some(known) => Arc::unwrap_or_clone(known).with(run),
            None => run,
        };
        self.runs.insert(room, Arc::new(run.trimmed()));
    }

    /// The frames of a room's events behind `since`, up to `up_to`, with their positions; None: not all of them are here.
    pub(super) fn between(&self, room: RoomNid, since: i64, up_to: i64) -> Option<Vec<(i64, Bytes)>> {
        let run = self.runs.get(&room).filter(|run| run.from <= since && up_to <= run.to)?;
        let wanted = run.frames.iter().filter(|(position, _)| since < *position && *position <= up_to);
        Some(wanted.cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: RoomNid = RoomNid(1);

    fn run(from: i64, to: i64, positions: &[i64]) -> Run {
        let frames = positions.iter().map(|position| (*position, Bytes::from(position.to_string()))).collect();
        Run { from, to, frames, takes_away: false }
    }

    fn ring() -> Ring {
        Ring::new(1_000_000, Duration::from_secs(10))
    }

    fn positions(ring: &Ring, since: i64, up_to: i64) -> Option<Vec<i64>> {
        Some(ring.between(ROOM, since, up_to)?.into_iter().map(|(position, _)| position).collect())
    }

    #[test]
    fn what_is_not_all_here_is_not_given() {
        let ring = ring();
        assert_eq!(positions(&ring, 10, 12), None);
        ring.publish(ROOM, run(10, 14, &[11, 13]));
        assert_eq!(positions(&ring, 10, 14), Some(vec![11, 13]));
        assert_eq!(positions(&ring, 11, 12), Some(vec![]));
        assert_eq!(positions(&ring, 9, 14), None);
        assert_eq!(positions(&ring, 10, 15), None);
        assert_eq!(ring.between(RoomNid(2), 10, 14), None);
    }

    #[test]
    fn runs_that_touch_become_one_and_others_give_way_to_the_newest() {
        let ring = ring();
        ring.publish(ROOM, run(10, 14, &[11, 13]));
        ring.publish(ROOM, run(14, 20, &[15, 20]));
        assert_eq!(positions(&ring, 10, 20), Some(vec![11, 13, 15, 20]));
        ring.publish(ROOM, run(12, 22, &[13, 15, 20, 21]));
        assert_eq!(positions(&ring, 10, 22), Some(vec![11, 13, 15, 20, 21]));
        // One that was looked for earlier and comes later.
        ring.publish(ROOM, run(5, 16, &[7, 11, 13, 15]));
        assert_eq!(positions(&ring, 5, 22), Some(vec![7, 11, 13, 15, 20, 21]));
        ring.publish(ROOM, run(30, 31, &[31]));
        assert_eq!((positions(&ring, 10, 22), positions(&ring, 30, 31)), (None, Some(vec![31])));
        ring.publish(ROOM, run(1, 2, &[2]));
        assert_eq!(positions(&ring, 30, 31), Some(vec![31]));
    }

    #[test]
    fn what_was_taken_away_is_not_shown_again() {
        let ring = ring();
        ring.publish(ROOM, run(10, 14, &[11, 13]));
        ring.publish(ROOM, Run { takes_away: true, ..run(14, 16, &[15]) });
        assert_eq!(positions(&ring, 10, 16), None);
        assert_eq!(positions(&ring, 14, 16), Some(vec![15]));
        ring.publish(ROOM, run(10, 14, &[11, 13]));
        assert_eq!(positions(&ring, 10, 16), None);
        ring.publish(ROOM, run(16, 18, &[18]));
        assert_eq!(positions(&ring, 14, 18), Some(vec![15, 18]));
    }

    #[test]
    fn the_oldest_go() {
        let ring = ring();
        let all: Vec<i64> = (1..=100).collect();
        ring.publish(ROOM, run(0, 100, &all));
        assert_eq!(positions(&ring, 35, 100), None);
        assert_eq!(positions(&ring, 36, 100).map(|found| found.len()), Some(64));
    }
}
