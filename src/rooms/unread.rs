//! How much a member has not read.
//!
//! Unread counts are differences of the room's running numbers: what came after `max(read, join)`. From that are taken, event
//! by event, the few that must not count: redacted ones, those of ignored users, and what the running numbers, which run
//! over all threads, say about threads. Threads themselves are counted from their unread events.
//!
//! Source: Client-Server API, "Receiving notifications", "Receipts", "Threading"; spec/decisions for the running numbers.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::store::{
    Read, StoreError, WriteTx, events,
    events::{Running, flag},
    ids::{EventNid, UserNid},
    members::MemberRow,
    rooms, unignored, unread,
    unread::{MAIN, WHOLE_ROOM},
};

/// Unread events of threads that are looked at, at most. Beyond it a room's thread counts stop growing.
const MAX_THREAD_EVENTS: usize = 10_000;

/// Events that [`settle`] passes over in one step at most; the next receipt takes the next step.
const SETTLE_STEP: usize = 500;

/// Counts of what is unread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Messages.
    pub countable: i64,
    /// Those that notify.
    pub notify: i64,
    /// Those that highlight.
    pub highlight: i64,
}

impl Unread {
    fn add(&mut self, flags: i64, times: i64) {
        let one = Running::default().plus(flags);
        self.countable += one.countable * times;
        self.notify += one.notify * times;
        self.highlight += one.highlight * times;
    }

    fn positive(self) -> Self {
        Self { countable: self.countable.max(0), notify: self.notify.max(0), highlight: self.highlight.max(0) }
    }
}

/// A member's unread counts in one room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomUnread {
    /// Of the main timeline.
    pub main: Unread,
    /// Of each thread that has any, by root.
    pub threads: BTreeMap<EventNid, Unread>,
    /// Unread messages that mention the member by id.
    pub mentions: i64,
    /// Unread messages that mention the whole room.
    pub room_mentions: i64,
}

impl RoomUnread {
    /// Of all threads and the main timeline together.
    pub fn total(&self) -> Unread {
        self.threads.values().fold(self.main, |sum, thread| Unread {
            countable: sum.countable + thread.countable,
            notify: sum.notify + thread.notify,
            highlight: sum.highlight + thread.highlight,
        })
    }
}

/// How far a member has read, thread by thread.
struct Marks {
    whole: i64,
    main: i64,
    threads: HashMap<i64, i64>,
}

impl Marks {
    fn read(read: &dyn Read, member: &MemberRow) -> Result<Self, StoreError> {
        let threads: HashMap<i64, i64> = unread::read_to(read, member.user, member.room)?.into_iter().collect();
        let mark = |thread: i64| threads.get(&thread).copied().unwrap_or(i64::MIN);
        let whole = mark(WHOLE_ROOM).max(member.since);
        Ok(Self { whole, main: mark(MAIN).max(whole), threads })
    }

    fn of(&self, thread: Option<EventNid>) -> i64 {
        match thread {
            None => self.main,
            Some(root) => self.threads.get(&root.0).map_or(self.whole, |mark| self.whole.max(*mark)),
        }
    }
}

/// Whose events do not count, and up to where.
struct Unheard<'a> {
    ignored: &'a HashSet<UserNid>,
    /// Those who were ignored: what they sent up to there stays out.
    until: HashMap<UserNid, i64>,
}

impl Unheard<'_> {
    fn is_empty(&self) -> bool {
        self.ignored.is_empty() && self.until.is_empty()
    }

    fn contains(&self, sender: UserNid, position: i64) -> bool {
        self.ignored.contains(&sender) || self.until.get(&sender).is_some_and(|until| position <= *until)
    }
}

/// What a joined member has not read, as of `read`. Events of `ignored` users do not count, and those of others that came while
/// the member ignored them.
///
/// # Errors
/// [`StoreError`].
pub fn of(read: &dyn Read, member: &MemberRow, ignored: &HashSet<UserNid>) -> Result<RoomUnread, StoreError> {
    let marks = Marks::read(read, member)?;
    let mut until = unignored::of(read, member.user)?;
    until.retain(|_, until| *until > marks.whole);
    let unheard = Unheard { ignored, until };
    let mut out = RoomUnread::default();
    if unheard.is_empty() {
        out.main = difference(read, member, marks.main)?;
    } else {
        for event in unread::counted_after(read, member.room, marks.main)? {
            if event.thread.is_none() && !event.redacted && !unheard.contains(event.sender, event.position) {
                out.main.add(event.flags, 1);
            }
        }
    }
    for event in unread::in_threads(read, member.room, marks.whole, MAX_THREAD_EVENTS)? {
        if unheard.is_empty() && event.position > marks.main {
            out.main.add(event.flags, -1);
        }
        let heard = !unheard.contains(event.sender, event.position);
        let counts = !event.redacted && heard && event.sender != member.user;
        if let Some(root) = event.thread
            && counts
            && event.position > marks.of(event.thread)
        {
            out.threads.entry(root).or_default().add(event.flags, 1);
        }
    }
    out.room_mentions = out.total().positive().highlight;
    for own in unread::personal(read, member.user, member.room, marks.whole)? {
        if own.redacted || unheard.contains(own.sender, own.position) || own.position <= marks.of(own.thread) {
            continue;
        }
        let counts = match own.thread {
            None => &mut out.main,
            Some(root) => out.threads.entry(root).or_default(),
        };
        counts.notify += own.notify;
        counts.highlight += own.highlight;
        out.mentions += 1;
    }
    out.main = out.main.positive();
    out.threads = out.threads.into_iter().map(|(root, counts)| (root, counts.positive())).collect();
    out.threads.retain(|_, counts| *counts != Unread::default());
    Ok(out)
}

/// By the running numbers: everything after a position that is not redacted in the main timeline.
fn difference(read: &dyn Read, member: &MemberRow, after: i64) -> Result<Unread, StoreError> {
    let Some((_, now)) = rooms::newest_event(read, member.room)? else { return Ok(Unread::default()) };
    let then = events::running_at(read, member.room, after)?;
    if now == then {
        return Ok(Unread::default());
    }
    let mut out = Unread {
        countable: now.countable - then.countable,
        notify: now.notify - then.notify,
        highlight: now.highlight - then.highlight,
    };
    for event in unread::redacted_in_main(read, member.room, after)? {
        out.add(event.flags & (flag::COUNTABLE | flag::NOTIFY | flag::HIGHLIGHT), -1);
    }
    Ok(out)
}

/// Moves the place up to which the member has read the whole room to where no thread has anything unread, after one of its
/// threads was read. So it follows whoever reads everything, and what lies between it and the newest event stays short.
pub(super) fn settle(tx: &WriteTx<'_>, member: &MemberRow) -> Result<(), StoreError> {
    let marks = Marks::read(tx, member)?;
    let passed = unread::in_threads(tx, member.room, marks.whole, SETTLE_STEP)?;
    let unread = passed.iter().find(|event| event.position > marks.of(event.thread));
    let mut whole = match (unread, passed.len() == SETTLE_STEP, passed.last()) {
        (Some(unread), ..) => unread.position - 1,
        (None, true, Some(last)) => last.position,
        (None, ..) => marks.main,
    };
    whole = whole.min(marks.main);
    if whole > marks.whole {
        unread::move_read_to(tx, member.user, member.room, WHOLE_ROOM, whole)?;
    }
    Ok(())
}
