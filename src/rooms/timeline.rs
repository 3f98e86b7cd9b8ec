//! Pages of a room's history, as a viewer is shown it.
//!
//! Source: Client-Server API, "Pagination", `GET /rooms/{roomId}/messages`, `GET /rooms/{roomId}/context/{eventId}`.

use std::collections::BTreeSet;

use ruma::EventId;

use super::{
    access::{OpenRoom, ReadError, Standing},
    event_filter::RoomEventFilter,
    gaps::{self, Gap},
    page_scan::{Bound, Scan, Verdict, behind},
    page_token::PageToken,
};

pub use super::page_scan::Direction;
use crate::store::{
    Read, StoreError, backward_extremities, event_pages,
    event_pages::EventPage,
    events::{EventRow, StateRef, Topological},
    ids,
    ids::UserNid,
    state::{self, Part},
};

/// Events on a page at most, whatever the client asks for.
pub const MAX_LIMIT: usize = 1000;

/// Events on a page if the client does not say.
pub const DEFAULT_LIMIT: usize = 10;

/// Rows read by one statement at most: bounds the memory of a page of the largest events to 8 MB.
const ROWS: usize = 128;

/// Rows read for one page at most, where a filter or the history visibility keeps most from being shown. The client goes on
/// from `end`.
const MAX_ROWS: usize = 2000;

/// Events near a time looked at in search of one that the viewer may see.
const NEAREST: usize = 64;

/// Bytes of JSON on a page after which no further event is added.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// What a page is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Where it begins; None: at the end of history, or, forwards, at its beginning.
    pub from: Option<PageToken>,
    /// Where it must not go beyond.
    pub to: Option<PageToken>,
    /// Which way.
    pub direction: Direction,
    /// Events at most.
    pub limit: usize,
    /// Which events.
    pub filter: RoomEventFilter,
    /// The edge of a gap that could not be filled now. The page ends there, so that the next one tries again.
    pub pause: Option<Topological>,
}

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Where it begins.
    pub start: PageToken,
    /// Where the next one begins; None: there is none.
    pub end: Option<PageToken>,
    /// The events, as a JSON array.
    pub chunk: String,
    /// The member events of their senders, as a JSON array, if the filter loads members lazily.
    pub state: Option<String>,
    /// The first gap that the page comes to, or that it begins in.
    pub gap: Option<Gap>,
}

/// An event amid others.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where to page backwards from.
    pub start: PageToken,
    /// Where to page forwards from.
    pub end: PageToken,
    /// The event.
    pub event: String,
    /// What came before, newest first, as a JSON array.
    pub before: String,
    /// What came after, oldest first, as a JSON array.
    pub after: String,
    /// The state after the last of them, as a JSON array.
    pub state: String,
    /// The newest gap in what came before.
    pub gap: Option<Gap>,
}

/// A page of a room's history.
///
/// # Errors
/// [`StoreError`].
pub fn page(open: &mut OpenRoom<'_>, asked: &Asked) -> Result<Page, StoreError> {
    let mut scan = Scan::new(open.read, asked.direction, asked.from, open.up_to());
    let start = asked.from.unwrap_or_else(|| scan.token(open.read));
    let first = scan.place();
    let mut chunk = Chunk::default();
    let more = match asked.filter.allows_room(&open.room.room_id) {
        true => {
            let bound = Bound::new(open.read, open.room.nid, asked.direction, asked.to)?;
            fill(open, &mut scan, &bound, asked.limit, &asked.filter, &mut chunk, asked.pause)?
        }
        false => false,
    };
    let gap = match scan {
        Scan::Back { from, .. } => gaps::between(open, (more || asked.to.is_some()).then_some(from), first)?,
        Scan::Forth { from, .. } => gaps::after(open, first, (more || asked.to.is_some()).then_some(from))?,
        // What is missing came before all that the token's owner has.
        Scan::Stream { .. } => None,
    };
    // Behind the gap at which the page pauses there may be nothing yet.
    let more = more || (asked.pause.is_some() && asked.to.is_none());
    let end = more.then(|| scan.token(open.read));
    let state = match (asked.filter.lazy_load_members, chunk.first) {
        (true, Some(at)) => Some(members_of(open, at, &chunk.senders)?),
        _ => None,
    };
    Ok(Page { start, end, chunk: chunk.array(), state, gap })
}

/// An event that the viewer may see, with up to `limit` others around it.
///
/// # Errors
/// `NotFound`, or [`StoreError`].
pub fn context(
    open: &mut OpenRoom<'_>,
    event_id: &EventId,
    limit: usize,
    filter: &RoomEventFilter,
) -> Result<Context, ReadError> {
    around(open, event_id, (limit / 2, limit - limit / 2), filter)
}

/// As [`context`], with up to so many others before the event and after it.
///
/// # Errors
/// `NotFound`, or [`StoreError`].
pub fn around(
    open: &mut OpenRoom<'_>,
    event_id: &EventId,
    (earlier, later): (usize, usize),
    filter: &RoomEventFilter,
) -> Result<Context, ReadError> {
    let event = visible(open, event_id)?;
    let (depth, position) = event.row.topological();
    let mut shown = Chunk::default();
    shown.add(open, &event)?;
    let (mut before, mut after) = (Chunk::default(), Chunk::default());
    let mut back = Scan::Back { from: behind(depth, position - 1), up_to: open.up_to() };
    let mut forth = Scan::Forth { from: behind(depth, position), up_to: open.up_to() };
    let mut gap = None;
    if filter.allows_room(&open.room.room_id) {
        let more = fill(open, &mut back, &Bound::None, earlier, filter, &mut before, None)?;
        fill(open, &mut forth, &Bound::None, later, filter, &mut after, None)?;
        if earlier > 0 {
            gap = gaps::between(open, more.then_some(back.place()), behind(depth, position))?
                .filter(|gap| !gap.before_page);
        }
    }
    let at = after.last.or(event.row.after);
    let mut senders = shown.senders;
    senders.extend(before.senders.iter().chain(&after.senders));
    let state = match at {
        Some(at) => context_state(open, at, filter, &senders)?,
        None => "[]".to_owned(),
    };
    let read = open.read;
    Ok(Context {
        start: back.token(read),
        end: forth.token(read),
        event: shown.text,
        before: before.array(),
        after: after.array(),
        state,
        gap,
    })
}

/// An event of the room that the viewer may see.
///
/// # Errors
/// `NotFound`, or `NoPart` where the viewer stands outside, or [`StoreError`].
pub fn visible(open: &mut OpenRoom<'_>, event_id: &EventId) -> Result<EventPage, ReadError> {
    let outside = open.standing == Standing::Outside;
    if let Some(event) = event_pages::by_id(open.read, event_id)?.filter(|event| event.row.room == open.room.nid) {
        // An invitation alone opens nothing.
        let seen = match outside {
            true => open.renderer.visibility()?.is_public(open.read, &event.row)?,
            false => open.renderer.allows(&event.row)?,
        };
        if seen {
            return Ok(event);
        }
    }
    Err(if outside { ReadError::NoPart } else { ReadError::NotFound("Event") })
}

/// What is known of a time.
#[derive(Clone, Debug)]
pub struct AtTimestamp {
    /// The event nearest to it that the viewer may see.
    pub event: Option<EventRow>,
    /// Whether an event that is not here may be nearer.
    pub near_gap: bool,
}

/// The event nearest to a time, in one direction, that the viewer may see.
///
/// # Errors
/// [`ReadError::Store`]
pub fn at_timestamp(open: &mut OpenRoom<'_>, ts: i64, direction: Direction) -> Result<AtTimestamp, ReadError> {
    let up_to = open.up_to();
    let (read, room) = (open.read, open.room.nid);
    let near = match direction {
        Direction::Forwards => event_pages::from_timestamp(read, room, ts, up_to, NEAREST)?,
        Direction::Backwards => event_pages::until_timestamp(read, room, ts, up_to, NEAREST)?,
    };
    let mut event = None;
    for page in near {
        if open.renderer.allows(&page.row)? {
            event = Some(page.row);
            break;
        }
    }
    // What is missing is older than the event at the edge of its gap. So it may lie between the time and the event found if
    // that edge is not older than the time or than the event, whichever way, and nothing stands in between.
    let (from, to) = match direction {
        Direction::Forwards => (ts, event.as_ref().map_or(i64::MAX, |event| event.origin_ts)),
        Direction::Backwards => {
            let next = event_pages::from_timestamp(read, room, ts.saturating_add(1), i64::MAX, 1)?;
            let next = next.first().map_or(i64::MAX, |next| next.row.origin_ts);
            (event.as_ref().map_or(i64::MIN, |event| event.origin_ts.saturating_add(1)), next)
        }
    };
    let near_gap = backward_extremities::any_at(read, room, from, to)?;
    Ok(AtTimestamp { event, near_gap })
}

/// Events of a page, written down.
#[derive(Default)]
struct Chunk {
    text: String,
    count: usize,
    senders: BTreeSet<UserNid>,
    /// State after the first and the last of them.
    first: Option<StateRef>,
    last: Option<StateRef>,
}

impl Chunk {
    fn add(&mut self, open: &mut OpenRoom<'_>, event: &EventPage) -> Result<(), StoreError> {
        if self.count > 0 {
            self.text.push(',');
        }
        open.renderer.event(event, &mut self.text)?;
        self.count += 1;
        self.senders.insert(event.row.sender);
        self.first = self.first.or(event.row.after);
        self.last = event.row.after.or(self.last);
        Ok(())
    }

    fn array(self) -> String {
        format!("[{}]", self.text)
    }
}

/// Adds events to a chunk; answers whether there may be more behind them.
fn fill(
    open: &mut OpenRoom<'_>,
    scan: &mut Scan,
    bound: &Bound,
    limit: usize,
    filter: &RoomEventFilter,
    chunk: &mut Chunk,
    pause: Option<Topological>,
) -> Result<bool, StoreError> {
    let ignored = open.renderer.ignored()?;
    let plain = filter.allows_everything();
    let mut seen = 0;
    let mut rows = (limit + 1).min(ROWS);
    loop {
        let events = scan.rows(open.read, open.room.nid, rows)?;
        let last = events.len() < rows;
        seen += events.len();
        for event in &events {
            let verdict = bound.judge(&event.row, matches!(scan, Scan::Stream { .. }));
            if verdict == Verdict::Beyond {
                return Ok(false);
            }
            let (depth, place) = event.row.topological();
            let at = behind(depth, place);
            let paused = pause.is_some_and(|pause| match scan {
                Scan::Back { .. } => at < pause,
                Scan::Forth { .. } | Scan::Stream { .. } => at >= pause,
            });
            if paused || chunk.count == limit || chunk.text.len() > MAX_BYTES {
                return Ok(true);
            }
            scan.pass(&event.row);
            let hidden = verdict == Verdict::LeftOut
                || (event.row.state_key.is_none() && ignored.contains(&event.row.sender))
                || !(plain || passes(open.read, filter, event)?)
                || !open.renderer.allows(&event.row)?;
            if !hidden {
                chunk.add(open, event)?;
            }
        }
        if last {
            return Ok(false);
        }
        if seen >= MAX_ROWS {
            return Ok(true);
        }
        rows = ROWS;
    }
}

fn passes(read: &dyn Read, filter: &RoomEventFilter, event: &EventPage) -> Result<bool, StoreError> {
    let sender = ids::user_id(read, event.row.sender)?;
    Ok(filter.allows(&event.row.kind, &sender, &event.json))
}

/// The member events of users in a state, as a JSON array.
fn members_of(open: &mut OpenRoom<'_>, at: StateRef, users: &BTreeSet<UserNid>) -> Result<String, StoreError> {
    let mut out = String::from("[");
    for event in &member_events(open, at, users)? {
        if out.len() > 1 {
            out.push(',');
        }
        open.renderer.state_event(event, &mut out)?;
    }
    out.push(']');
    Ok(out)
}

fn member_events(open: &OpenRoom<'_>, at: StateRef, users: &BTreeSet<UserNid>) -> Result<Vec<EventPage>, StoreError> {
    let mut events = Vec::with_capacity(users.len());
    for user in users {
        if let Some(event) = state::value(open.read, at, ids::member_key(*user))? {
            events.push(event_pages::by_nid(open.read, event)?);
        }
    }
    Ok(events)
}

/// A state as /context shows it: what the filter lets through; of the members, if they are loaded lazily, the senders alone.
fn context_state(
    open: &mut OpenRoom<'_>,
    at: StateRef,
    filter: &RoomEventFilter,
    senders: &BTreeSet<UserNid>,
) -> Result<String, StoreError> {
    let mut events = super::state_view::events(open, at, Part::Others)?;
    if filter.lazy_load_members {
        events.retain(|event| &*event.row.kind != "m.room.member");
        events.extend(member_events(open, at, senders)?);
    } else {
        events.extend(super::state_view::events(open, at, Part::Members)?);
    }
    let mut out = String::from("[");
    for event in events {
        if !passes(open.read, filter, &event)? {
            continue;
        }
        if out.len() > 1 {
            out.push(',');
        }
        open.renderer.state_event(&event, &mut out)?;
    }
    out.push(']');
    Ok(out)
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
