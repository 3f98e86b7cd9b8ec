//! One look for one connection: what happened after its place, in the order of places, from one snapshot.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use moka::sync::Cache;
use serde_json::json;

use super::{
    super::{account_data::AccountData, filter::Filter, notifier::Notifier, rooms, view::View},
    frames, own,
    position::Position,
    ring::{Ring, Run},
};
use crate::{
    numbers::Numbers,
    presence::Presence,
    rooms::{
        client_event::{Renderer, Viewer},
        typing::Typing,
    },
    store::{
        Read, StoreError, event_pages,
        feed::{self, PlacedData, PlacedReceipt},
        ids::{self, EventNid, RoomKey, RoomNid, UserNid},
        members::{MemberRow, Membership},
        rooms as room_heads,
    },
};

/// Frames of one look with a position; what is behind them comes with the next one.
const PAGE: usize = 200;

/// Bytes of the frames of one look, beyond the last one: what a slow client holds in memory.
const MAX_BYTES: usize = 256 * 1024;

/// A client may be this many events behind; one that is further loads its lists anew.
pub const MAX_BEHIND: usize = 10_000;

/// Members of a room up to which all hear of each other's receipts and presence.
pub const RECEIPTS_TOLD: i64 = 100;

/// Changes of presence in one look.
const MAX_PRESENCE: usize = 200;

/// Frames of events, kept for a moment, so that an event is written once for all who get it. None: the event has none.
pub(super) type Rendered = Cache<EventNid, Option<Bytes>>;

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// In the server-wide order.
    pub(super) position: i64,
    /// In the order of typing of this start.
    pub(super) typing: i64,
    /// In the order of presence of this start; None: the client knows of nobody.
    pub(super) presence: Option<i64>,
}

/// Conversations of which a user wants to hear nothing: their messages have no frames.
pub trait Unheard: Send + Sync {
    /// Whether anybody may want that in this room. Asked for each message of each connection, so it reads no database: a false
    /// alarm is allowed, a miss is not.
    fn concerns(&self, room: RoomNid) -> bool;

    /// Whether this user wants it.
    ///
    /// # Errors
    /// [`StoreError`].
    fn is_unheard(&self, read: &dyn Read, user: UserNid, room: RoomNid) -> Result<bool, StoreError>;
}

/// What a look reads from.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) notifier: Arc<Notifier>,
    pub(super) typing: Arc<Typing>,
    pub(super) presence: Option<Arc<Presence>>,
    pub(super) numbers: Arc<Numbers>,
    pub(super) unheard: Arc<dyn Unheard>,
    pub(super) rendered: Rendered,
    pub(super) ring: Arc<Ring>,
    pub(super) incarnation: i64,
}

/// What a look finds.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) frames: Vec<Bytes>,
    pub(super) place: Place,
    /// Whether there is more behind `place`.
    pub(super) more: bool,
    /// Rooms with events in it, of which the viewer sees what any member does.
    pub(super) plain: Vec<RoomNid>,
}

/// Something, where it happened: its position, its room (0: none) and what it is.
type Placed = (i64, RoomNid, Item);

/// Something with a place.
enum Item {
    Event(EventNid),
    Membership(MemberRow),
    Receipt(PlacedReceipt),
    /// All of one room, or global.
    AccountData(Vec<PlacedData>),
}

/// Looks.
pub(super) fn look(read: &dyn Read, viewer: &Viewer, place: Place, sources: &Sources) -> Result<Look, StoreError> {
    let filter = Filter::default();
    let mut view = View::new(read, viewer, &filter, &sources.typing);
    view.since = Some(place.position);
    view.typing_since = place.typing;
    sources.notifier.seen(read.position());
    let typing_serial = sources.typing.serial();
    let rows = rooms::candidates(&view, &sources.notifier, &AccountData::default())?;
    let rows: Vec<MemberRow> = rows.into_iter().filter(|row| !row.forgotten).collect();
    if is_far_behind(read, place.position, &rows)? {
        return lost(read.position(), "too_far_back", sources);
    }
    let mut looking =
        Looking { view: &view, sources, rooms: HashMap::new(), frames: Vec::new(), events: HashMap::new() };
    let (mut items, mut up_to) = looking.items(&rows, place.position)?;
    items.sort_by_key(|(position, ..)| *position);
    if items.len() > PAGE {
        items.truncate(PAGE);
        up_to = up_to.min(items.last().map_or(up_to, |(position, ..)| *position));
    }
    for (position, room, item) in items.into_iter().take_while(|(position, ..)| *position <= up_to) {
        looking.write(position, room, item)?;
        if looking.frames.iter().map(Bytes::len).sum::<usize>() > MAX_BYTES {
            up_to = position;
            break;
        }
    }
    let more = up_to < read.position();
    let mut next = Place { position: up_to, typing: typing_serial, ..place };
    looking.typing(&rows, place)?;
    if !more {
        next.presence = looking.presence(place.presence)?;
    }
    let plain = looking.publish(&rows, place.position, up_to)?;
    Ok(Look { frames: looking.frames, place: next, more, plain })
}

/// The look of a client whose place can't be gone on from.
pub(super) fn lost(position: i64, reason: &str, sources: &Sources) -> Result<Look, StoreError> {
    let at = Position { position, incarnation: sources.incarnation };
    let frames = vec![frames::frame("resync", Some(at), &json!({ "reason": reason }))?.into()];
    let place = Place { position, typing: sources.typing.serial(), presence: None };
    Ok(Look { frames, place, more: false, plain: Vec::new() })
}

/// Each event has a position of its own, so most need no counting.
fn is_far_behind(read: &dyn Read, since: i64, rows: &[MemberRow]) -> Result<bool, StoreError> {
    let limit = i64::try_from(MAX_BEHIND).unwrap_or(i64::MAX);
    if read.position() - since <= limit {
        return Ok(false);
    }
    let mut found = 0;
    for row in rows.iter().filter(|row| has_events(row, since)) {
        found += feed::count(read, row.room, since, read.position(), MAX_BEHIND + 1 - found)?;
        if found > MAX_BEHIND {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a room may have events after `since` that the viewer was in the room for.
fn has_events(row: &MemberRow, since: i64) -> bool {
    match row.membership {
        Membership::Join => true,
        Membership::Leave | Membership::Ban => row.position > since,
        Membership::Invite | Membership::Knock => false,
    }
}

struct Looking<'a> {
    view: &'a View<'a>,
    sources: &'a Sources,
    rooms: HashMap<RoomNid, (Arc<RoomKey>, Renderer<'a>)>,
    frames: Vec<Bytes>,
    /// Of each room with events.
    events: HashMap<RoomNid, RoomEvents>,
}

/// What a room's events gave.
#[derive(Default)]
struct RoomEvents {
    frames: Vec<(i64, Bytes)>,
    takes_away: bool,
}

impl Looking<'_> {
    fn at(&self, position: i64) -> Position {
        Position { position, incarnation: self.sources.incarnation }
    }

    fn read(&self) -> &dyn Read {
        self.view.read
    }

    /// What happened after `since`, and the place up to which it is all of it.
    fn items(&self, rows: &[MemberRow], since: i64) -> Result<(Vec<Placed>, i64), StoreError> {
        let (read, me) = (self.view.read, self.view.viewer.user);
        let mut up_to = read.position();
        let mut items = Vec::new();
        for data in feed::account_data(read, me, since)?.into_iter().filter(own::is_told) {
            match items.last_mut() {
                Some((position, room, Item::AccountData(entries)))
                    if (*position, *room) == (data.position, data.room) =>
                {
                    entries.push(data);
                }
                _ => items.push((data.position, data.room, Item::AccountData(vec![data]))),
            }
        }
        for row in rows {
            if row.position > since {
                items.push((row.position, row.room, Item::Membership(*row)));
            }
            if has_events(row, since) {
                let events = feed::events(read, row.room, since, read.position(), PAGE + 1)?;
                if events.len() > PAGE {
                    up_to = up_to.min(events.last().map_or(up_to, |(position, _)| *position));
                }
                // The viewer's own newest member event is told as their membership.
                let events = events.into_iter().filter(|(_, event)| *event != row.event || row.position <= since);
                items.extend(events.map(|(position, event)| (position, row.room, Item::Event(event))));
            }
            if row.membership == Membership::Join {
                let head = room_heads::head(read, row.room)?;
                let others = head.joined <= RECEIPTS_TOLD;
                let receipts = feed::receipts(read, row.room, me, others, since, PAGE + 1)?;
                if receipts.len() > PAGE {
                    up_to = up_to.min(receipts.last().map_or(up_to, |receipt| receipt.position));
                }
                items.extend(receipts.into_iter().map(|it| (it.position, row.room, Item::Receipt(it))));
            }
        }
        Ok((items, up_to))
    }

    fn room(&mut self, room: RoomNid) -> Result<Arc<RoomKey>, StoreError> {
        if let Some((key, _)) = self.rooms.get(&room) {
            return Ok(key.clone());
        }
        let key = ids::room_by_nid(self.view.read, room)?;
        self.rooms.insert(room, (key.clone(), self.view.renderer(&key)));
        Ok(key)
    }

    fn write(&mut self, position: i64, room: RoomNid, item: Item) -> Result<(), StoreError> {
        let (at, numbers) = (self.at(position), &self.sources.numbers.clone());
        let frame = match item {
            Item::Event(event) => {
                let key = self.room(room)?;
                let frame = self.event(&key, event, at)?;
                let events = self.events.entry(room).or_default();
                events.frames.extend(frame.clone().map(|frame| (position, frame)));
                frame
            }
            Item::Membership(row) => {
                let (key, ignored) = (self.room(room)?, self.view.ignored()?);
                frames::membership(self.read(), numbers, &key, &row, |user| ignored.contains(&user), at)?
                    .map(Bytes::from)
            }
            Item::Receipt(receipt) => {
                if self.view.ignored()?.contains(&receipt.user) {
                    return Ok(());
                }
                let key = self.room(room)?;
                Some(frames::receipt(self.read(), numbers, &key, &receipt, at)?.into())
            }
            Item::AccountData(entries) => {
                let key = if room == RoomNid(0) { None } else { Some(self.room(room)?) };
                Some(own::account_data(self.read(), numbers, key.as_deref(), &entries, at)?.into())
            }
        };
        self.frames.extend(frame);
        Ok(())
    }

    /// The frame of an event at which the viewer was in the room.
    fn event(&mut self, room: &Arc<RoomKey>, event: EventNid, at: Position) -> Result<Option<Bytes>, StoreError> {
        let read = self.view.read;
        let page = event_pages::by_nid(read, event)?;
        if &*page.row.kind == "m.room.redaction" {
            self.events.entry(room.nid).or_default().takes_away = true;
        }
        if page.row.state_key.is_none()
            && (self.view.ignored()?.contains(&page.row.sender)
                // A withdrawn message; the redaction itself is told.
                || (page.row.redacted_by.is_some() && &*page.row.kind != "m.room.redaction"))
        {
            return Ok(None);
        }
        if frames::is_message(&page.row) && self.is_unheard(room.nid, page.row.sender)? {
            return Ok(None);
        }
        let Some((_, renderer)) = self.rooms.get_mut(&room.nid) else { return Ok(None) };
        let visibility = renderer.visibility()?;
        if visibility.membership(read, &page.row)? != Membership::Join || !visibility.allows(read, &page.row)? {
            return Ok(None);
        }
        if let Some(known) = self.sources.rendered.get(&event) {
            return Ok(known);
        }
        let frame = frames::event(read, &self.sources.numbers, room, &page, at)?.map(Bytes::from);
        self.sources.rendered.insert(event, frame.clone());
        Ok(frame)
    }

    /// Whether the viewer wants nothing of what others say in this room.
    fn is_unheard(&self, room: RoomNid, sender: UserNid) -> Result<bool, StoreError> {
        Ok(sender != self.view.viewer.user && self.wants_nothing_of(room)?)
    }

    fn wants_nothing_of(&self, room: RoomNid) -> Result<bool, StoreError> {
        let unheard = &self.sources.unheard;
        Ok(unheard.concerns(room) && unheard.is_unheard(self.view.read, self.view.viewer.user, room)?)
    }

    /// Gives what the events of rooms gave to others, where the viewer saw what any member sees; answers in which.
    fn publish(&mut self, rows: &[MemberRow], since: i64, up_to: i64) -> Result<Vec<RoomNid>, StoreError> {
        let mut plain = Vec::new();
        if self.events.is_empty() || !self.view.ignored()?.is_empty() {
            return Ok(plain);
        }
        for row in rows {
            // Who came, or changed what they are called, since then was told of that in place of an event.
            if row.membership != Membership::Join || row.position > since {
                continue;
            }
            if self.wants_nothing_of(row.room)? {
                continue;
            }
            let Some(events) = self.events.remove(&row.room) else { continue };
            let Some((_, renderer)) = self.rooms.get_mut(&row.room) else { continue };
            if renderer.visibility()?.floor() <= since {
                plain.push(row.room);
                let RoomEvents { frames, takes_away } = events;
                self.sources.ring.publish(row.room, Run { from: since, to: up_to, frames, takes_away });
            }
        }
        Ok(plain)
    }

    fn typing(&mut self, rows: &[MemberRow], place: Place) -> Result<(), StoreError> {
        for row in rows.iter().filter(|row| row.membership == Membership::Join) {
            if !self.view.typing.changed(row.room, place.typing) {
                continue;
            }
            let ignored = self.view.ignored()?;
            let users: Vec<UserNid> =
                self.view.typing.users(row.room).into_iter().filter(|user| !ignored.contains(user)).collect();
            // A client that knows of nobody need not hear that nobody types.
            if users.is_empty() && place.presence.is_none() {
                continue;
            }
            let key = self.room(row.room)?;
            self.frames.push(frames::typing(self.read(), &self.sources.numbers, &key, &users)?.into());
        }
        Ok(())
    }

    /// Writes who came and went; answers how far the client has it then.
    fn presence(&mut self, since: Option<i64>) -> Result<Option<i64>, StoreError> {
        let Some(presence) = self.sources.presence.clone() else { return Ok(Some(0)) };
        let me = self.view.viewer.user;
        // What changes from here on has a higher number, and is told again.
        let serial = presence.serial();
        if since.is_some_and(|since| presence.is_quiet(me, since)) {
            return Ok(Some(serial));
        }
        // Those who are known from large rooms alone are not told of: 5,000 members who came at once were 17 million frames.
        let rooms = feed::small_rooms(self.view.read, me, RECEIPTS_TOLD)?;
        let (changes, next) = match since {
            None => (presence.present(me, &rooms, MAX_PRESENCE), serial),
            Some(since) => presence.changes_since(me, &rooms, since, MAX_PRESENCE),
        };
        let now_ms = presence.now_ms();
        for change in changes {
            if change.user != me && !self.view.ignored()?.contains(&change.user) {
                self.frames.push(frames::presence(&change, now_ms)?.into());
            }
        }
        Ok(Some(next))
    }
}
