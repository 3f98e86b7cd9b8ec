//! From where to where a page of history goes.
//!
//! History is in topological order: (depth, position). From a token of /sync, backwards is history of which everything that
//! came after the token is left out; forwards is the order of arrival, so that nothing that came after the token is missed,
//! on whatever branch it came.

use super::page_token::PageToken;
use crate::store::{
    Read, StoreError, event_pages,
    event_pages::EventPage,
    events,
    events::{EventRow, Topological},
    ids::RoomNid,
};

/// The place before everything.
pub(super) const BEGINNING: Topological = Topological { depth: -1, position: i64::MIN };

/// The place behind everything.
pub(super) const END: Topological = Topological { depth: i64::MAX, position: i64::MAX };

/// Which way a page goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Newest first.
    Backwards,
    /// Oldest first.
    Forwards,
}

/// The place just behind the event with this depth and position.
pub(super) fn behind(depth: i64, position: i64) -> Topological {
    Topological { depth, position }
}

/// Where the next rows come from.
pub(super) enum Scan {
    /// At or before a place in history, newest first.
    Back { from: Topological, up_to: i64 },
    /// After a place in history, oldest first.
    Forth { from: Topological, up_to: i64 },
    /// After a position, in the order of arrival.
    Stream { after: i64, up_to: i64 },
}

impl Scan {
    pub(super) fn new(read: &dyn Read, direction: Direction, from: Option<PageToken>, up_to: i64) -> Self {
        match (direction, from) {
            (Direction::Backwards, None) => Self::Back { from: END, up_to },
            // All that had come until then, on every branch: the place with the greatest depth is none of the newest
            // event's business.
            (Direction::Backwards, Some(PageToken::Sync(at))) => Self::Back { from: END, up_to: at.min(up_to) },
            (Direction::Backwards, Some(PageToken::Topological { depth, position })) => {
                Self::Back { from: behind(depth, position), up_to }
            }
            (Direction::Forwards, None) => Self::Forth { from: BEGINNING, up_to },
            (Direction::Forwards, Some(PageToken::Sync(at))) => Self::Stream { after: at.min(read.position()), up_to },
            (Direction::Forwards, Some(PageToken::Topological { depth, position })) => {
                Self::Forth { from: behind(depth, position), up_to }
            }
        }
    }

    /// The next rows, at most `limit`.
    pub(super) fn rows(&self, read: &dyn Read, room: RoomNid, limit: usize) -> Result<Vec<EventPage>, StoreError> {
        match *self {
            Self::Back { from, up_to } => event_pages::backwards(read, room, from, up_to, limit),
            Self::Forth { from, up_to } => event_pages::forwards(read, room, from, up_to, limit),
            Self::Stream { after, up_to } => event_pages::stream(read, room, after, up_to, limit),
        }
    }

    /// Goes past an event.
    pub(super) fn pass(&mut self, event: &EventRow) {
        let (depth, at) = event.topological();
        match self {
            Self::Back { from, .. } => *from = behind(depth, at.saturating_sub(1)),
            Self::Forth { from, .. } => *from = behind(depth, at),
            Self::Stream { after, .. } => *after = at,
        }
    }

    /// The place reached in history.
    pub(super) fn place(&self) -> Topological {
        match *self {
            Self::Back { from, .. } | Self::Forth { from, .. } => from,
            Self::Stream { .. } => END,
        }
    }

    /// The place reached.
    pub(super) fn token(&self, read: &dyn Read) -> PageToken {
        match *self {
            Self::Back { from: END, up_to } => PageToken::Sync(up_to.min(read.position())),
            Self::Back { from, .. } | Self::Forth { from, .. } => {
                PageToken::Topological { depth: from.depth, position: from.position }
            }
            Self::Stream { after, .. } => PageToken::Sync(after),
        }
    }
}

/// What a page must not go beyond: `to`.
pub(super) enum Bound {
    None,
    /// Backwards: events at or before the place.
    Back(Topological),
    /// Backwards to a token of /sync: events that had come by then are left out, and at their place in history it ends.
    BackTo(i64, Topological),
    /// Forwards: events after the place.
    Forth(Topological),
    /// Forwards to a token of /sync: events that came later are left out.
    ForthTo(i64),
}

/// What a bound says of an event.
#[derive(PartialEq, Eq)]
pub(super) enum Verdict {
    Within,
    LeftOut,
    Beyond,
}

impl Bound {
    pub(super) fn new(
        read: &dyn Read,
        room: RoomNid,
        direction: Direction,
        to: Option<PageToken>,
    ) -> Result<Self, StoreError> {
        Ok(match (direction, to) {
            (_, None) => Self::None,
            (Direction::Backwards, Some(PageToken::Topological { depth, position })) => {
                Self::Back(behind(depth, position))
            }
            (Direction::Backwards, Some(PageToken::Sync(at))) => {
                Self::BackTo(at, events::topological_at(read, room, at)?.unwrap_or(BEGINNING))
            }
            (Direction::Forwards, Some(PageToken::Topological { depth, position })) => {
                Self::Forth(behind(depth, position))
            }
            (Direction::Forwards, Some(PageToken::Sync(at))) => Self::ForthTo(at),
        })
    }

    pub(super) fn judge(&self, event: &EventRow, arrival_order: bool) -> Verdict {
        let (depth, position) = event.topological();
        let place = behind(depth, position);
        match *self {
            Self::Back(to) if place <= to => Verdict::Beyond,
            Self::BackTo(_, to) if place <= to => Verdict::Beyond,
            Self::BackTo(at, _) if position <= at => Verdict::LeftOut,
            Self::Forth(to) if place > to && arrival_order => Verdict::LeftOut,
            Self::Forth(to) if place > to => Verdict::Beyond,
            Self::ForthTo(at) if position > at && arrival_order => Verdict::Beyond,
            Self::ForthTo(at) if position > at => Verdict::LeftOut,
            _ => Verdict::Within,
        }
    }
}
