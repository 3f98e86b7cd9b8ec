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
    rooms::{client_event::Renderer, state::load_pdu},
    store::{
        StoreError, event_pages,
        event_pages::EventPage,
        events,
        events::StateRef,
        ids,
        ids::{EventNid, RoomKey, UserNid},
        partial_joins::Standing,
        state::{self, Part},
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
    /// Whether members are still to be fetched, and when they last were.
    pub(super) members: Standing,
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
            if *key < 0 || matches!(&*ids::state_key(view.read, *key)?.0, "m.room.name" | "m.room.canonical_alias") {
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
    let needed = view.filter.room.lazy_load_members().then(|| chosen.needed_members(whole, heroes));
    if whole {
        chosen.whole(changes, needed.as_ref())?;
    } else {
        chosen.delta(changes);
        if let Some(needed) = needed {
            chosen.leave_out_filled()?;
            chosen.add(&needed)?;
        }
    }
    if span.members.partial {
        chosen.add_senders()?;
    }
    let members = chosen.values.range(..0);
    for event in chosen.values.range(0..).chain(members).map(|(_, event)| *event) {
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

    fn at_end(&self) -> StateRef {
        StateRef { line: self.room.main_line, epoch: self.span.up_to }
    }

    /// All of the state; of the members only those `needed`, if that is given.
    fn whole(&mut self, changes: &Changes, needed: Option<&BTreeSet<i64>>) -> Result<(), StoreError> {
        let read = self.view.read;
        match (needed, self.span.current) {
            (None, true) => {
                for page in event_pages::current_state(read, self.room.nid, Part::All)? {
                    if let Some(key) = page.row.state_key {
                        self.values.insert(key, page.row.nid);
                        self.pages.insert(page.row.nid, page);
                    }
                }
            }
            (None, false) => self.values = state::full(read, self.at_end())?.into_iter().collect(),
            (Some(needed), current) => {
                self.values = match current {
                    true => state::current_others(read, self.room.nid)?.into_iter().collect(),
                    false => state::part(read, self.at_end(), Part::Others)?.into_iter().collect(),
                };
                for key in needed {
                    if let Some(event) = self.value_at_end(*key)? {
                        self.values.insert(*key, event);
                    }
                }
            }
        }
        if self.view.state_after.is_none() {
            self.go_back_to_start(changes)?;
        }
        let Some(needed) = needed else { return Ok(()) };
        let mut left_out = Vec::new();
        for key in self.values.keys().filter(|key| !needed.contains(key)) {
            if is_member(self.view, *key)? {
                left_out.push(*key);
            }
        }
        for key in left_out {
            self.values.remove(&key);
        }
        Ok(())
    }

    /// Gives the keys of which the timeline speaks their values at its start.
    fn go_back_to_start(&mut self, changes: &Changes) -> Result<(), StoreError> {
        let (keys, events) = self.in_timeline();
        for (key, value) in &changes.within {
            if !keys.contains(key) && value.is_none_or(|value| !events.contains(&value)) {
                continue;
            }
            match state::value(self.view.read, self.at_start(), *key)? {
                Some(event) => self.values.insert(*key, event),
                None => self.values.remove(key),
            };
        }
        Ok(())
    }

    /// Leaves out the members who were fetched after the join, all at once, and of whom nothing was said since: who lazy-loads
    /// members need not have them all, as they would not have had them with the join.
    fn leave_out_filled(&mut self) -> Result<(), StoreError> {
        let (read, line, filled) = (self.view.read, self.room.main_line, self.span.members.filled);
        if self.span.after.is_none_or(|after| filled <= after) || filled > self.span.up_to {
            return Ok(());
        }
        let since: HashSet<i64> =
            state::changes(read, line, filled, self.span.up_to)?.into_iter().map(|(key, _)| key).collect();
        for (key, _) in state::changes(read, line, filled - 1, filled)? {
            if is_member(self.view, key)? && !since.contains(&key) {
                self.values.remove(&key);
            }
        }
        Ok(())
    }

    /// Adds the timeline's senders of whom the state knows nothing yet, as the events say by which they were allowed.
    fn add_senders(&mut self) -> Result<(), StoreError> {
        let read = self.view.read;
        for page in &self.span.timeline.events {
            let key = ids::member_key(page.row.sender);
            if self.values.contains_key(&key) || page.row.state_key == Some(key) || self.value_at_end(key)?.is_some() {
                continue;
            }
            for id in load_pdu(read, page.row.nid)?.auth_events() {
                let known = events::standing(read, id)?;
                if let Some(known) = known.filter(|known| known.state_key == Some(key) && !known.loose) {
                    self.values.insert(key, known.nid);
                }
            }
        }
        Ok(())
    }

    fn value_at_end(&self, key: i64) -> Result<Option<EventNid>, StoreError> {
        match self.span.current {
            true => state::current_value(self.view.read, self.room.nid, key),
            false => state::value(self.view.read, self.at_end(), key),
        }
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

    /// The members that a client needs to show this answer: the timeline's senders and the heroes. Of changes all members
    /// stay, since «joins, leaves and profile changes which occur during the gap» must not be lost; of a whole state the
    /// viewer's own too.
    fn needed_members(&self, whole: bool, heroes: &[UserNid]) -> BTreeSet<i64> {
        let senders = self.span.timeline.events.iter().map(|page| page.row.sender);
        let own = whole.then_some(self.view.viewer.user);
        heroes.iter().copied().chain(senders).chain(own).map(ids::member_key).collect()
    }

    /// Adds members of whom the changes say nothing.
    fn add(&mut self, needed: &BTreeSet<i64>) -> Result<(), StoreError> {
        for key in needed {
            if self.values.contains_key(key) {
                continue;
            }
            let value = match self.view.state_after {
                Some(_) => self.value_at_end(*key)?,
                None => state::value(self.view.read, self.at_start(), *key)?,
            };
            if let Some(event) = value {
                self.values.insert(*key, event);
            }
        }
        Ok(())
    }
}

/// Whether a key is that of a member event.
fn is_member(view: &View<'_>, key: i64) -> Result<bool, StoreError> {
    Ok(key < 0 || &*ids::state_key(view.read, key)?.0 == MEMBER)
}
