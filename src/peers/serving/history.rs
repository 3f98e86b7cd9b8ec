//! Walks of the DAG for other servers: `/backfill` and `/get_missing_events`.

use std::collections::{BinaryHeap, HashSet, VecDeque};

use ruma::{EventId, OwnedEventId, RoomId, ServerName};

use super::{Guest, ServeError, Serving};
use crate::store::{
    StoreError, event_pages,
    events::{EventRow, flag},
};

/// Events of one answer of `/backfill` at most.
pub const MAX_BACKFILL: usize = 100;

/// Events of one answer of `/get_missing_events` at most.
pub const MAX_MISSING: usize = 20;

/// Events that a question may name in one list; further ones are passed over. An event has at most 20 previous events.
const MAX_NAMED: usize = 100;

/// Events walked for one answer at most, where most are not shown.
const MAX_WALKED: usize = 1_000;

/// What `/backfill` is asked for.
#[derive(Clone, Debug)]
pub struct Backfill {
    /// `v`: where to begin, themselves included.
    pub from: Vec<OwnedEventId>,
    /// How many events.
    pub limit: usize,
}

/// What `/get_missing_events` is asked for.
#[derive(Clone, Debug)]
pub struct MissingEvents {
    /// What the asker has: not gone behind by way of these.
    pub earliest: Vec<OwnedEventId>,
    /// What it wants the previous events of.
    pub latest: Vec<OwnedEventId>,
    /// How many events.
    pub limit: usize,
    /// Least `depth`.
    pub min_depth: i64,
}

impl Serving {
    /// The events named and those before them, newest first, as a JSON array of PDUs.
    ///
    /// # Errors
    /// [`ServeError`]
    pub async fn backfill(&self, server: &ServerName, room_id: &RoomId, asked: Backfill) -> Result<String, ServeError> {
        self.open(server, room_id, move |guest| {
            if !guest.is_in() {
                // Without one that it may see there is nothing behind that it may ask for.
                let mut seen = Err(ServeError::NotInRoom);
                for id in asked.from.iter().take(MAX_NAMED) {
                    seen = seen.or_else(|_| guest.anchor(id).map(drop));
                }
                seen?;
            }
            backfill(guest, &asked)
        })
        .await
    }

    /// The events between those that the asker has and those whose previous ones it lacks, oldest first, as a JSON array.
    ///
    /// # Errors
    /// [`ServeError`]
    pub async fn missing_events(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        asked: MissingEvents,
    ) -> Result<String, ServeError> {
        self.open(server, room_id, move |guest| {
            if !guest.is_in() {
                return Err(ServeError::NotInRoom);
            }
            missing_events(guest, &asked)
        })
        .await
    }
}

fn backfill(guest: &mut Guest<'_>, asked: &Backfill) -> Result<String, ServeError> {
    let limit = asked.limit.min(MAX_BACKFILL);
    let mut walk = Walk::default();
    for id in asked.from.iter().take(MAX_NAMED) {
        walk.push(guest, id)?;
    }
    let mut out = Array::default();
    for _ in 0..MAX_WALKED {
        if out.count == limit {
            break;
        }
        let Some(row) = walk.next() else { break };
        let page = event_pages::of(guest.read, &row)?;
        for id in Guest::pdu(&page)?.prev_events() {
            walk.push(guest, id)?;
        }
        // Neither is history: one is not part of the room, the other is for nobody to see.
        if row.is(flag::REJECTED | flag::SOFT_FAILED) {
            continue;
        }
        if let Some(json) = guest.json(page)? {
            out.push(&json);
        }
    }
    Ok(out.text())
}

fn missing_events(guest: &mut Guest<'_>, asked: &MissingEvents) -> Result<String, ServeError> {
    let named = asked.earliest.iter().take(MAX_NAMED).chain(asked.latest.iter().take(MAX_NAMED));
    let mut seen: HashSet<OwnedEventId> = named.cloned().collect();
    let mut waiting = VecDeque::new();
    for id in asked.latest.iter().take(MAX_NAMED) {
        let Some(row) = guest.event(id)? else { continue };
        waiting.extend(previous(guest, &row, &mut seen)?);
    }
    let limit = asked.limit.min(MAX_MISSING);
    let mut found = Vec::new();
    for _ in 0..MAX_WALKED {
        if found.len() == limit {
            break;
        }
        let Some(id) = waiting.pop_front() else { break };
        let Some(row) = guest.event(&id)?.filter(|row| row.depth >= asked.min_depth) else { continue };
        waiting.extend(previous(guest, &row, &mut seen)?);
        // A soft-failed event is part of the DAG: the asker decides for itself.
        if let Some(json) = guest.json(event_pages::of(guest.read, &row)?)? {
            found.push((row.topological(), json));
        }
    }
    found.sort_by_key(|(place, _)| *place);
    let mut out = Array::default();
    found.iter().for_each(|(_, json)| out.push(json));
    Ok(out.text())
}

/// The previous events of an event that were not seen yet.
fn previous(
    guest: &Guest<'_>,
    row: &EventRow,
    seen: &mut HashSet<OwnedEventId>,
) -> Result<Vec<OwnedEventId>, StoreError> {
    let pdu = Guest::pdu(&event_pages::of(guest.read, row)?)?;
    Ok(pdu.prev_events().iter().filter(|id| seen.insert((*id).clone())).cloned().collect())
}

/// Events to go on from, the one latest in topological order next.
#[derive(Default)]
struct Walk {
    seen: HashSet<OwnedEventId>,
    waiting: BinaryHeap<ByPlace>,
}

struct ByPlace(EventRow);

impl ByPlace {
    fn place(&self) -> (i64, i64, i64) {
        let (depth, position) = self.0.topological();
        (depth, position, self.0.nid.0)
    }
}

impl PartialEq for ByPlace {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for ByPlace {}

impl PartialOrd for ByPlace {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByPlace {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place().cmp(&other.place())
    }
}

impl Walk {
    fn push(&mut self, guest: &Guest<'_>, id: &EventId) -> Result<(), StoreError> {
        if self.seen.insert(id.to_owned())
            && let Some(row) = guest.event(id)?
        {
            self.waiting.push(ByPlace(row));
        }
        Ok(())
    }

    fn next(&mut self) -> Option<EventRow> {
        self.waiting.pop().map(|next| next.0)
    }
}

/// A JSON array of events.
#[derive(Default)]
struct Array {
    text: String,
    count: usize,
}

impl Array {
    fn push(&mut self, json: &str) {
        if self.count > 0 {
            self.text.push(',');
        }
        self.text.push_str(json);
        self.count += 1;
    }

    fn text(self) -> String {
        format!("[{}]", self.text)
    }
}
