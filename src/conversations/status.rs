//! How far a message has come with each of those who are to receive it: sent, delivered, read.
//!
//! Sent: it is durable here. Delivered: a device of theirs has received up to its place, or their server has acknowledged it and
//! took it. Read: their public receipt is at or behind it. All of it is computed from places (spec/decisions/0019).

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use ruma::OwnedUserId;

use super::message::Message;
use crate::{
    accounts::{Acknowledged, Session},
    numbers::MessageRef,
    rooms::ignored_users,
    store::{
        Read, Store, StoreError, destinations, events,
        events::{EventRow, flag},
        ids::{self, EventNid, RoomKey, UserNid},
        members,
        members::Membership,
        message_numbers, message_status,
        message_status::Recipient,
        rooms,
    },
    sync::ws::RECEIPTS_TOLD,
};

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It is on this server.
    Sent,
    /// A device of theirs, or their server, has it.
    Delivered,
    /// They have read it.
    Read,
}

impl Status {
    /// As replies spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }
}

/// With how many of those who are to receive it a message has come how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many are to receive it.
    pub recipients: usize,
    /// With how many it is delivered, those included who have read it.
    pub delivered: usize,
    /// How many have read it.
    pub read: usize,
}

impl Progress {
    /// How far it has come with all of them.
    pub fn status(self) -> Status {
        match self {
            Self { recipients: 0, .. } => Status::Sent,
            Self { recipients, read, .. } if read == recipients => Status::Read,
            Self { recipients, delivered, .. } if delivered == recipients => Status::Delivered,
            _ => Status::Sent,
        }
    }
}

/// Which of the recipients are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Those with whom the message has come so far and no further.
    pub status: Option<Status>,
    /// Those after this one.
    pub after: Option<UserNid>,
    /// So many at most.
    pub limit: usize,
}

/// One of those who are to receive it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Their number.
    pub user: UserNid,
    /// Their id.
    pub user_id: OwnedUserId,
    /// How far it has come.
    pub status: Status,
    /// When they said that they have read it, in milliseconds; 0: they have not.
    pub read_ts: i64,
}

/// How far a message has come with all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipts {
    /// The message's number.
    pub number: i64,
    /// The event that has its content.
    pub event_id: String,
    /// How many are to receive it.
    pub recipients: usize,
    /// With how many it is delivered, those included who have read it.
    pub delivered: usize,
    /// How many have read it.
    pub read: usize,
    /// A page of them, by number.
    pub page: Vec<Receiver>,
    /// After whom the next page begins; none: there is no more.
    pub next: Option<UserNid>,
}

/// Why it is not told.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// There is no such message, or the user is not in its conversation.
    #[error("no such message")]
    NoMessage,
    /// Somebody else sent it.
    #[error("only who sent a message may ask how far it has come")]
    NotSender,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Tells how far messages have come.
pub struct MessageStatus {
    store: Store,
    acknowledged: Arc<Acknowledged>,
}

impl MessageStatus {
    /// `acknowledged` has what is not written yet.
    pub fn new(store: Store, acknowledged: Arc<Acknowledged>) -> Self {
        Self { store, acknowledged }
    }

    /// How far a message has come that the user sent.
    ///
    /// # Errors
    /// [`StatusError`].
    pub async fn receipts(&self, by: &Session, message: MessageRef, wanted: Wanted) -> Result<Receipts, StatusError> {
        let (by, noted) = (by.user, Noted::of(&self.acknowledged));
        self.store
            .read(move |read| {
                let (number, row) = find(read, by, &message)?;
                let mut places = Places::read(read, row.sender, noted)?;
                places.refused_by = message_status::refused_by(read, row.nid)?;
                let thread = thread_name(read, row.thread)?;
                let position = row.position.unwrap_or(i64::MAX);
                let message = message_status::Message { room: row.room, position, sender: by, thread: &thread };
                let service = ids::room_by_nid(read, row.room)?.service;
                let mut out = Receipts {
                    number,
                    event_id: row.event_id.to_string(),
                    recipients: 0,
                    delivered: 0,
                    read: 0,
                    page: Vec::new(),
                    next: None,
                };
                for recipient in message_status::recipients(read, message)? {
                    if service == Some(recipient.user) {
                        continue;
                    }
                    let status = places.status(read, &recipient, (position, by))?;
                    out.recipients += 1;
                    out.delivered += usize::from(status >= Status::Delivered);
                    out.read += usize::from(status == Status::Read);
                    out.take(read, &recipient, status, wanted)?;
                }
                Ok(out)
            })
            .await
    }
}

impl Receipts {
    /// Takes a recipient into the page, if they belong there and it has place.
    fn take(
        &mut self,
        read: &dyn Read,
        recipient: &Recipient,
        status: Status,
        wanted: Wanted,
    ) -> Result<(), StoreError> {
        let is_wanted = wanted.after.is_none_or(|after| recipient.user > after)
            && wanted.status.is_none_or(|wanted| wanted == status);
        if !is_wanted {
            return Ok(());
        }
        if self.page.len() >= wanted.limit {
            self.next = self.page.last().map(|last| last.user);
            return Ok(());
        }
        let user_id = ids::user_id(read, recipient.user)?;
        let read_ts = if status == Status::Read { recipient.read_ts } else { 0 };
        self.page.push(Receiver { user: recipient.user, user_id, status, read_ts });
        Ok(())
    }
}

/// The message's number and the event that has its content.
fn find(read: &dyn Read, by: UserNid, message: &MessageRef) -> Result<(i64, EventRow), StatusError> {
    let row = match message {
        MessageRef::Event(event_id) => events::by_id(read, event_id)?,
        MessageRef::Number(number) => match events::room_of(read, EventNid(*number))? {
            Some(room) => match message_numbers::event(read, room, *number)? {
                Some(event) => Some(events::by_nid(read, event)?),
                None => None,
            },
            None => None,
        },
    };
    let shown = |row: &EventRow| {
        row.state_key.is_none() && row.position.is_some() && row.redacted_by.is_none() && !row.is(flag::HIDDEN)
    };
    let row = row.filter(shown).ok_or(StatusError::NoMessage)?;
    let joined = members::of(read, by, row.room)?.is_some_and(|member| member.membership == Membership::Join);
    match (joined, row.sender == by) {
        (false, _) => Err(StatusError::NoMessage),
        (true, false) => Err(StatusError::NotSender),
        (true, true) => Ok((message_numbers::of_event(read, row.nid)?, row)),
    }
}

/// The thread that a message is in, as receipts spell it.
fn thread_name(read: &dyn Read, thread: Option<EventNid>) -> Result<String, StoreError> {
    match thread {
        Some(root) => Ok(events::id(read, root)?.to_string()),
        None => Ok("main".to_owned()),
    }
}

/// How far users and servers have received as far as it is not written yet.
pub(super) struct Noted {
    users: HashMap<UserNid, i64>,
    servers: HashMap<i64, i64>,
}

impl Noted {
    pub(super) fn of(acknowledged: &Acknowledged) -> Self {
        Self { users: acknowledged.by_user(), servers: acknowledged.by_server() }
    }
}

/// Says of those of the messages that `by` sent how far they have come. Of rooms with more than [`RECEIPTS_TOLD`] members
/// nothing: there each page would cost a look at all of them; it is told on request, message by message.
pub(super) fn note_progress(
    read: &dyn Read,
    room: &RoomKey,
    by: UserNid,
    noted: Noted,
    messages: &mut [Message],
) -> Result<(), StoreError> {
    let own = messages.iter_mut().filter(|message| message.sender == by);
    let own: Vec<&mut Message> = own.collect();
    if own.is_empty() || rooms::head(read, room.nid)?.joined > RECEIPTS_TOLD {
        return Ok(());
    }
    let mut places = Places::read(read, by, noted)?;
    let mut threads: HashMap<Option<EventNid>, Vec<message_status::Member>> = HashMap::new();
    for message in own {
        let members = match threads.entry(message.thread) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let mut members = message_status::members(read, room.nid, by, &thread_name(read, message.thread)?)?;
                members.retain(|member| room.service != Some(member.places.user));
                unknown.insert(members)
            }
        };
        places.refused_by = match members.iter().any(|member| Some(member.places.server) != places.own_server) {
            true => message_status::refused_by(read, message.event)?,
            false => Vec::new(),
        };
        let mut progress = Progress { recipients: 0, delivered: 0, read: 0 };
        for member in members.iter().filter(|member| member.since <= message.sent_at) {
            let status = places.status(read, &member.places, (message.sent_at, by))?;
            progress.recipients += 1;
            progress.delivered += usize::from(status >= Status::Delivered);
            progress.read += usize::from(status == Status::Read);
        }
        message.progress = Some(progress);
    }
    Ok(())
}

/// What decides about delivery, of all recipients.
struct Places {
    /// What is not written yet.
    noted: Noted,
    /// Servers with a place of their own; the others are at `head`.
    watermarks: HashMap<i64, i64>,
    head: i64,
    refused_by: Vec<i64>,
    own_server: Option<i64>,
}

impl Places {
    /// Of no message yet: nobody has refused it. `sender` asks, so they are ours.
    fn read(read: &dyn Read, sender: UserNid, noted: Noted) -> Result<Self, StoreError> {
        Ok(Self {
            noted,
            watermarks: message_status::watermarks(read)?.into_iter().collect(),
            head: destinations::head(read)?,
            refused_by: Vec::new(),
            own_server: destinations::server_nid(read, ids::user_id(read, sender)?.server_name().as_str())?,
        })
    }

    /// How far a message at `position` has come.
    fn status(
        &self,
        read: &dyn Read,
        of: &Recipient,
        (position, sender): (i64, UserNid),
    ) -> Result<Status, StoreError> {
        // What they ignore they don't receive.
        if of.ignores && ignored_users::of(read, of.user)?.contains(&sender) {
            return Ok(Status::Sent);
        }
        if of.read >= position {
            return Ok(Status::Read);
        }
        let has = if Some(of.server) == self.own_server {
            of.acknowledged.max(self.noted.users.get(&of.user).copied().unwrap_or(0)) >= position
        } else {
            let watermark = self.watermarks.get(&of.server).copied().unwrap_or(self.head);
            let noted = self.noted.servers.get(&of.server).copied().unwrap_or(i64::MIN);
            watermark.max(noted) >= position && !self.refused_by.contains(&of.server)
        };
        Ok(if has { Status::Delivered } else { Status::Sent })
    }
}
