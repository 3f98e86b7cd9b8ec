//! What was found: differences by kind, and how much was looked at.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write},
};

/// Differences of one kind that are kept with their text; more are counted.
const MAX_KEPT: usize = 100;

/// What disagrees with the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// SQLite's own check of the file.
    Integrity,
    /// A place in the server-wide order: given twice, or above the newest.
    Position,
    /// An event without a body, or a body that is no event of its room.
    Body,
    /// An event id that is not the reference hash of the body.
    EventId,
    /// A body that is not what its server hashed, and not redacted.
    ContentHash,
    /// A column of an event that is taken from its body.
    Column,
    /// Redactions and what they redacted.
    Redaction,
    /// Relations and threads.
    Relation,
    /// Edges of the DAG.
    Edge,
    /// Forward and backward extremities.
    Extremity,
    /// Edges of the auth DAG.
    AuthEdge,
    /// Rejected and soft-failed events.
    Verdict,
    /// State lines and their rows.
    Line,
    /// The state before an event.
    StateBefore,
    /// The state after an event.
    StateAfter,
    /// The current state of a room.
    CurrentState,
    /// The hash of a current state.
    StateHash,
    /// A remembered resolution.
    Resolution,
    /// Rooms and their heads.
    Head,
    /// Memberships.
    Membership,
    /// Which servers are in a room, and since when.
    Servers,
    /// Groups: whose they are, and what waits in them.
    Group,
    /// Whether an event counts, notifies, highlights.
    Class,
    /// Running numbers.
    Running,
    /// How far users have read, and what waits for them.
    Unread,
    /// Transactions.
    Transaction,
    /// A row that belongs to nothing.
    Orphan,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Integrity => "integrity",
            Self::Position => "position",
            Self::Body => "body",
            Self::EventId => "event id",
            Self::ContentHash => "content hash",
            Self::Column => "column",
            Self::Redaction => "redaction",
            Self::Relation => "relation",
            Self::Edge => "edge",
            Self::Extremity => "extremity",
            Self::AuthEdge => "auth edge",
            Self::Verdict => "verdict",
            Self::Line => "state line",
            Self::StateBefore => "state before",
            Self::StateAfter => "state after",
            Self::CurrentState => "current state",
            Self::StateHash => "state hash",
            Self::Resolution => "resolution",
            Self::Head => "room",
            Self::Membership => "membership",
            Self::Servers => "servers",
            Self::Group => "group",
            Self::Class => "class",
            Self::Running => "running numbers",
            Self::Unread => "unread",
            Self::Transaction => "transaction",
            Self::Orphan => "orphan",
        })
    }
}

/// Differences of one kind.
#[derive(Debug, Default)]
struct Found {
    kept: Vec<String>,
    count: u64,
}

/// What a check of the data found.
#[derive(Debug, Default)]
pub struct Report {
    /// Rooms looked at.
    pub rooms: u64,
    /// Events looked at.
    pub events: u64,
    found: BTreeMap<Kind, Found>,
}

impl Report {
    /// Notes a difference: where (a room, an event, a table) and what.
    pub(super) fn add(&mut self, kind: Kind, place: impl fmt::Display, what: impl fmt::Display) {
        let found = self.found.entry(kind).or_default();
        found.count += 1;
        if found.kept.len() < MAX_KEPT {
            found.kept.push(format!("{kind}: {place}: {what}"));
        }
    }

    /// Whether everything agrees.
    pub fn agrees(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether there is a difference of this kind.
    #[cfg(test)]
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.found.contains_key(&kind)
    }

    /// Writes one line a difference, at most 100 a kind, and a summary.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        let mut total = 0;
        for (kind, found) in &self.found {
            for line in &found.kept {
                writeln!(out, "{line}")?;
            }
            let more = found.count - found.kept.len() as u64;
            if more > 0 {
                writeln!(out, "{kind}: … and {more} more")?;
            }
            total += found.count;
        }
        let (rooms, events) = (self.rooms, self.events);
        match total {
            0 => writeln!(out, "ok: {rooms} rooms, {events} events; all that is derived from them agrees"),
            _ => writeln!(out, "{total} differences in {rooms} rooms, {events} events"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_cut() {
        let mut report = Report::default();
        for n in 0..250 {
            report.add(Kind::Edge, "somewhere", n);
        }
        let mut out = Vec::new();
        report.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 102);
        assert!(text.contains("edge: … and 150 more"), "{text}");
        assert!(text.contains("250 differences"), "{text}");
    }
}
