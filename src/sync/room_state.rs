//! The state of a room in one answer: what changed of it, or all of it, at the start or at the end of the timeline.
//!
//! Source: Client-Server API, "Syncing", `state` and `state_after`; "Lazy-loading room members".
//!
//! With `state` a client takes the state at the start of the timeline and applies the timeline's state events. What a state
//! resolution changes has no event there; so a key that the timeline does not speak of has its value at the end. What
//! the timeline speaks of, the client takes from there, be it overruled or not: that is what `state_after` mends.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{body::Events, timeline::Timeline, view::View};
use crate::{
    rooms::client_event::Renderer,
    store::{
        StoreError, event_pages,
        event_pages::EventPage,
        events::StateRef,
        ids,
        ids::{EventNid, RoomKey, UserNid},
        state,
    },
};

const MEMBER: &str = "m.room.member";

/// The stretch of a room's state that an answer covers.
pub(super) struct Span<'t> {
    /// The client has the state at this position; None: none of it.
    pub(super) after: Option<i64>,
    /// The state at this position is the newest that the viewer may see.
    pub(super) up_to: i64,
    /// Whether that is the room's current state.
    pub(super) current: bool,
    /// Position of the newest change up to there.
    pub(super) changed: i64,
    /// What is shown of the timeline.
    pub(super) timeline: &'t Timeline,
}

impl Span<'_> {
    /// The epoch of the main line at which the timeline starts.
    fn start(&self, room: &RoomKey) -> i64 {
        match self.timeline.events.first() {
            None => self.up_to,
            Some(first) => match (first.row.before, first.row.position) {
                (Some(before), _) if before.line == room.main_line => before.epoch,
                (_, Some(position)) => position - 1,
                _ => self.up_to,
            },
        }
    }
}

/// What became of each key: the newest value of a stretch.
type Values = BTreeMap<i64, Option<EventNid>>;

/// The changes that an answer covers, before and within the timeline.
#[derive(Debug, Default)]
pub(super) struct Changes {
    before: Values,
    within: Values,
}

impl Changes {
    /// Reads them. Without a change: one comparison.
    pub(super) fn read(view: &View<'_>, room: &RoomKey, span: &Span<'_>) -> Result<Self, StoreError> {
        let start = span.start(room);
        let changes = |after: i64, up_to: i64| -> Result<Values, StoreError> {
            if span.changed <= after || up_to <= after {
                return Ok(Values::new());
            }
            Ok(state::changes(view.read, room.main_line, after, up_to)?.into_iter().collect())
        };
        let before = match span.after {
            Some(after) => changes(after, start)?,
            None => Values::new(),
        };
        Ok(Self { before, within: changes(start.max(span.after.unwrap_or(0)), span.up_to)? })
    }

    /// Whether they can change the room's summary: its members, or whether it has a name.
    pub(super) fn concern_summary(&self, view: &View<'_>) -> Result<bool, StoreError> {
        for key in self.before.keys().chain(self.within.keys()) {
            if matches!(&*ids::state_key(view.read, *key)?.0, MEMBER | "m.room.name" | "m.room.canonical_alias") {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The state to be sent: its events, by key.
struct Chosen<'a, 'v> {
    view: &'a View<'v>,
    room: &'a RoomKey,
    span: &'a Span<'a>,
    start: i64,
    values: BTreeMap<i64, EventNid>,
    /// Bodies that are at hand.
    pages: HashMap<EventNid, EventPage>,
}

/// The state section of a room: `whole` or what changed. `heroes` are members whom the client needs for the room's name.
pub(super) fn events(
    view: &View<'_>,
    room: &Arc<RoomKey>,
    renderer: &mut Renderer<'_>,
    span: &Span<'_>,
    changes: &Changes,
    whole: bool,
    heroes: &[UserNid],
) -> Result<Events, StoreError> {
    let mut out = Events::default();
    let filter = &view.filter.room.state;
    if filter.types.as_ref().is_some_and(Vec::is_empty) || !filter.allows_room(&room.room_id) {
        return Ok(out);
    }
    let start = span.start(room);
    let mut chosen = Chosen { view, room, span, start, values: BTreeMap::new(), pages: HashMap::new() };
    if whole {
        chosen.whole(changes)?;
    } else {
        chosen.delta(changes);
    }
    if view.filter.room.lazy_load_members() {
        chosen.load_lazily(whole, heroes)?;
    }
    for (_, event) in chosen.values {
        let page = match chosen.pages.remove(&event) {
            Some(page) => page,
            None => event_pages::by_nid(view.read, event)?,
        };
        let passes = filter.allows_everything()
            || filter.allows(&page.row.kind, &ids::user_id(view.read, page.row.sender)?, &page.json);
        if passes {
            out.push(view.filter.fields(), |out| renderer.state_event(&page, out))?;
        }
    }
    Ok(out)
}

impl Chosen<'_, '_> {
    /// Keys and events of which the timeline speaks.
    fn in_timeline(&self) -> (HashSet<i64>, HashSet<EventNid>) {
        let rows = self.span.timeline.events.iter().map(|page| &page.row);
        let state = rows.filter_map(|row| Some((row.state_key?, row.nid)));
        state.unzip()
    }

    fn at_start(&self) -> StateRef {
        StateRef { line: self.room.main_line, epoch: self.start }
    }

    /// All of the state.
    fn whole(&mut self, changes: &Changes) -> Result<(), StoreError> {
        let read = self.view.read;
        if self.span.current && !self.view.filter.room.lazy_load_members() {
            for page in event_pages::current_state(read, self.room.nid)? {
                if let Some(key) = page.row.state_key {
                    self.values.insert(key, page.row.nid);
                    self.pages.insert(page.row.nid, page);
                }
            }
        } else if self.span.current {
            self.values = state::current(read, self.room.nid)?.into_iter().collect();
        } else {
            let end = StateRef { line: self.room.main_line, epoch: self.span.up_to };
            self.values = state::full(read, end)?.into_iter().collect();
        }
        if self.view.state_after.is_some() {
            return Ok(());
        }
        let (keys, events) = self.in_timeline();
        for (key, value) in &changes.within {
            if !keys.contains(key) && value.is_none_or(|value| !events.contains(&value)) {
                continue;
            }
            match state::value(read, self.at_start(), *key)? {
                Some(event) => self.values.insert(*key, event),
                None => self.values.remove(key),
            };
        }
        Ok(())
    }

    /// What changed. That a key has no value any more cannot be told to clients.
    fn delta(&mut self, changes: &Changes) {
        let mut values = changes.before.clone();
        let (keys, events) = match self.view.state_after {
            Some(_) => Default::default(),
            None => self.in_timeline(),
        };
        for (key, value) in &changes.within {
            if !keys.contains(key) && value.is_none_or(|value| !events.contains(&value)) {
                values.insert(*key, *value);
            }
        }
        self.values = values.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    }

    /// Leaves out the members that a client does not need to show this answer, and adds those that it needs: the timeline's
    /// senders and the heroes. Of changes all members stay, since «joins, leaves and profile changes which occur during
    /// the gap» must not be lost; of a whole state the viewer's own too.
    fn load_lazily(&mut self, whole: bool, heroes: &[UserNid]) -> Result<(), StoreError> {
        let read = self.view.read;
        let mut needed: BTreeSet<UserNid> = heroes.iter().copied().collect();
        needed.extend(self.span.timeline.events.iter().map(|page| page.row.sender));
        if whole {
            needed.insert(self.view.viewer.user);
        }
        let mut keys = HashSet::with_capacity(needed.len());
        for user in needed {
            if let Some(key) = ids::state_key_nid(read, MEMBER, ids::user_id(read, user)?.as_str())? {
                keys.insert(key);
            }
        }
        if whole {
            let mut left_out = Vec::new();
            for key in self.values.keys().filter(|key| !keys.contains(key)) {
                if &*ids::state_key(read, *key)?.0 == MEMBER {
                    left_out.push(*key);
                }
            }
            for key in left_out {
                self.values.remove(&key);
            }
            return Ok(());
        }
        for key in keys {
            if self.values.contains_key(&key) {
                continue;
            }
            let value = match self.view.state_after {
                Some(_) if self.span.current => state::current_value(read, self.room.nid, key)?,
                Some(_) => state::value(read, StateRef { line: self.room.main_line, epoch: self.span.up_to }, key)?,
                None => state::value(read, self.at_start(), key)?,
            };
            if let Some(event) = value {
                self.values.insert(key, event);
            }
        }
        Ok(())
    }
}
