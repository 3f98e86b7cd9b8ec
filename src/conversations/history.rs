//! A conversation's messages, newest first, in pages: by keyset on the order of arrival, from the store each time.

use std::{collections::HashSet, sync::Arc};

use super::{
    message::{self, Message},
    people::{People, Person},
    place::{self, ConversationRef, PlaceError},
    receiving,
    status::{Noted, note_progress},
};
use crate::{
    accounts::{Acknowledged, Session},
    clock::Clock,
    numbers::{self, MessageRef, Numbers},
    rooms::{
        access::{OpenRoom, ReadError, Standing},
        client_event::{Shape, Viewer},
        gaps,
        gaps::Gap,
        unread,
    },
    store::{
        Read, Store, StoreError, events,
        ids::{EventNid, RoomKey, RoomNid, UserNid},
        members,
        members::Membership,
        message_numbers, messages,
    },
};

/// Places of messages that are looked at for one page at most, where most are withdrawn or not for the viewer.
const MAX_SCANNED: usize = 10_000;

/// Places read by one statement at most.
const ROWS: usize = 256;

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before(i64);

impl Before {
    /// The newest message first.
    pub const NEWEST: Self = Self(i64::MAX);
}

/// A page.
#[derive(Debug)]
pub struct HistoryPage {
    /// Its messages, newest first.
    pub messages: Vec<Message>,
    /// The number to go on before; none: there is nothing more.
    pub next: Option<i64>,
}

/// The place before the message that a cursor names; none if the room has no such message.
///
/// # Errors
/// [`StoreError`].
pub fn before(read: &dyn Read, open: &OpenRoom<'_>, cursor: &MessageRef) -> Result<Option<Before>, StoreError> {
    let Some(event) = numbers::message(read, open.room.nid, cursor)? else { return Ok(None) };
    // A restored message stands at the place of the one that it restores.
    let number = message_numbers::of_event(read, event)?;
    let place = events::by_nid(read, EventNid(number))?;
    Ok(place.position.map(Before))
}

/// The messages before a place that the viewer may see, at most `size`.
///
/// # Errors
/// [`StoreError`].
pub fn page(read: &dyn Read, open: &mut OpenRoom<'_>, from: Before, size: usize) -> Result<HistoryPage, StoreError> {
    let room = open.room.nid;
    let floor = open.renderer.visibility()?.floor();
    let mut before = from.0.min(open.up_to().saturating_add(1));
    let mut out = HistoryPage { messages: Vec::with_capacity(size), next: None };
    let mut scanned = 0;
    loop {
        let rows = (size + 1 - out.messages.len()).min(ROWS);
        let places = messages::before(read, room, before, rows)?;
        let last = places.len() < rows;
        scanned += places.len();
        for (event, position) in places {
            if position <= floor {
                return Ok(out);
            }
            before = position;
            let Some(found) = message::at(read, room, &mut open.renderer, event)? else { continue };
            if out.messages.len() == size {
                out.next = out.messages.last().map(|message| message.number);
                return Ok(out);
            }
            out.messages.push(found);
        }
        if last {
            return Ok(out);
        }
        if scanned >= MAX_SCANNED {
            out.next = messages::before(read, room, before.saturating_add(1), 1)?.first().map(|(event, _)| event.0);
            return Ok(out);
        }
    }
}

/// The newest message that the viewer may see.
///
/// # Errors
/// [`StoreError`].
pub fn newest(read: &dyn Read, open: &mut OpenRoom<'_>) -> Result<Option<Message>, StoreError> {
    Ok(page(read, open, Before::NEWEST, 1)?.messages.pop())
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// No conversation of the user's is named.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The cursor is no message of the conversation.
    #[error("last_msg_id is no message of this conversation")]
    UnknownCursor,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ReadError> for HistoryError {
    fn from(error: ReadError) -> Self {
        match error {
            // Lists of members alone wait for them.
            ReadError::NoPart | ReadError::NotFound(_) | ReadError::MembersMissing => PlaceError::NotMember.into(),
            ReadError::Store(error) => Self::Store(error),
        }
    }
}

/// A page as its reader wants it.
#[derive(Debug)]
pub struct ShownPage<T> {
    /// The conversation's room.
    pub room: Arc<RoomKey>,
    /// What the reader made of its messages, newest first.
    pub messages: Vec<T>,
    /// The number to go on before; none: there is nothing more.
    pub next: Option<i64>,
    /// Messages by others in the conversation that are not read.
    pub unread: i64,
    /// Where nothing more is here: what is missing before it, to be had of other servers.
    pub gap: Option<Gap>,
}

/// Reads conversations.
pub struct HistoryReader {
    store: Store,
    clock: Arc<dyn Clock>,
    numbers: Arc<Numbers>,
    acknowledged: Arc<Acknowledged>,
}

impl HistoryReader {
    /// From this store; `acknowledged` says what of the reader's messages others have received.
    pub fn new(store: Store, clock: Arc<dyn Clock>, numbers: Arc<Numbers>, acknowledged: Arc<Acknowledged>) -> Self {
        Self { store, clock, numbers, acknowledged }
    }

    /// A page of a conversation before `cursor`, or from its end, for who is in it or was; `show` makes of each message, with
    /// its sender, what the caller wants.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn page<T: Send + 'static>(
        &self,
        by: &Session,
        at: ConversationRef,
        cursor: Option<MessageRef>,
        size: usize,
        show: impl Fn(Message, &Person) -> T + Send + 'static,
    ) -> Result<ShownPage<T>, HistoryError> {
        let (numbers, by, noted) = (self.numbers.clone(), by.clone(), Noted::of(&self.acknowledged));
        let viewer = viewer(&by, self.clock.now_ms());
        self.store
            .read(move |read| {
                let room = place::find(read, &numbers, &by, &at)?;
                let mut open = OpenRoom::open(read, &room.room_id, Shape::Client, &viewer)?;
                // Who may merely look in is no member.
                if open.standing == Standing::Peeking {
                    return Err(PlaceError::NotMember.into());
                }
                let from = match cursor {
                    Some(cursor) => before(read, &open, &cursor)?.ok_or(HistoryError::UnknownCursor)?,
                    None => Before::NEWEST,
                };
                let mut found = page(read, &mut open, from, size)?;
                if open.standing == Standing::Joined {
                    note_progress(read, &room, by.user, noted, &mut found.messages)?;
                }
                let gap = match (found.next, open.standing) {
                    (None, Standing::Joined) => gaps::newest(&mut open)?,
                    _ => None,
                };
                let mut people = People::new(read, numbers.server_name(), room.nid);
                let mut messages = Vec::with_capacity(found.messages.len());
                for message in found.messages {
                    let sender = people.get(message.sender)?;
                    messages.push(show(message, &sender));
                }
                let ignored = open.renderer.ignored()?;
                let unread = unread_of(read, by.user, room.nid, &ignored)?;
                Ok(ShownPage { room, messages, next: found.next, unread, gap })
            })
            .await
    }
}

/// Messages by others that a member has not read; of a room that they left, or from which they receive nothing, none.
fn unread_of(read: &dyn Read, user: UserNid, room: RoomNid, ignored: &HashSet<UserNid>) -> Result<i64, StoreError> {
    let member = members::of(read, user, room)?.filter(|member| member.membership == Membership::Join);
    match member {
        Some(member) if receiving::receives(read, user, room)? => {
            Ok(unread::of(read, &member, ignored)?.total().countable)
        }
        _ => Ok(0),
    }
}

/// Who looks.
pub(super) fn viewer(by: &Session, now_ms: i64) -> Viewer {
    Viewer { user: by.user, user_id: by.user_id.clone(), device: Some(by.device), now_ms }
}
