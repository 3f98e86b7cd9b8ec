//! How far a message has come with each of those who are to receive it: sent, delivered, read.
//!
//! Sent: it is durable here. Delivered: a device of theirs has received up to its place, or their server has acknowledged it and
//! took it. Read: their public receipt is at or behind it. All of it is computed from places (spec/decisions/0019).

use std::{collections::HashMap, sync::Arc};

use ruma::OwnedUserId;

use crate::{
    accounts::{Acknowledged, Session},
    numbers::MessageRef,
    rooms::ignored_users,
    store::{
        Read, Store, StoreError, destinations, events,
        events::{EventRow, flag},
        ids::{self, EventNid, UserNid},
        members,
        members::Membership,
        message_numbers, message_status,
        message_status::{Message, Recipient},
    },
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
        let (by, noted) = (by.user, self.acknowledged.by_user());
        self.store
            .read(move |read| {
                let (number, row) = find(read, by, &message)?;
                let places = Places::read(read, &row, noted)?;
                let thread = thread_of(read, &row)?;
                let position = row.position.unwrap_or(i64::MAX);
                let message = Message { room: row.room, position, sender: by, thread: &thread };
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
                    let status = places.status(read, &recipient, message)?;
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
fn thread_of(read: &dyn Read, row: &EventRow) -> Result<String, StoreError> {
    match row.thread {
        Some(root) => Ok(events::id(read, root)?.to_string()),
        None => Ok("main".to_owned()),
    }
}

/// What decides about delivery, of all recipients.
struct Places {
    /// What is noted of local users and not written yet.
    noted: HashMap<UserNid, i64>,
    /// Servers with a place of their own; the others are at `head`.
    watermarks: HashMap<i64, i64>,
    head: i64,
    refused_by: Vec<i64>,
    own_server: Option<i64>,
}

impl Places {
    fn read(read: &dyn Read, row: &EventRow, noted: HashMap<UserNid, i64>) -> Result<Self, StoreError> {
        Ok(Self {
            noted,
            watermarks: message_status::watermarks(read)?.into_iter().collect(),
            head: destinations::head(read)?,
            refused_by: message_status::refused_by(read, row.nid)?,
            // The sender asks, so they are ours.
            own_server: destinations::server_nid(read, ids::user_id(read, row.sender)?.server_name().as_str())?,
        })
    }

    fn status(&self, read: &dyn Read, of: &Recipient, message: Message<'_>) -> Result<Status, StoreError> {
        // What they ignore they don't receive.
        if of.ignores && ignored_users::of(read, of.user)?.contains(&message.sender) {
            return Ok(Status::Sent);
        }
        if of.read >= message.position {
            return Ok(Status::Read);
        }
        let has = if Some(of.server) == self.own_server {
            of.acknowledged.max(self.noted.get(&of.user).copied().unwrap_or(0)) >= message.position
        } else {
            let watermark = self.watermarks.get(&of.server).copied().unwrap_or(self.head);
            watermark >= message.position && !self.refused_by.contains(&of.server)
        };
        Ok(if has { Status::Delivered } else { Status::Sent })
    }
}
