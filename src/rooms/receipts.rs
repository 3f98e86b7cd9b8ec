//! How far members have read: receipts and the fully-read marker.
//!
//! Source: Client-Server API, "Receipts", "Fully read markers", "Threading". A receipt never goes back; one that is behind
//! the present one changes nothing and is no error.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError},
};

use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;

use super::{
    append::{AppendError, Appenders},
    unread::settle,
    wake::WakeMembers,
};
use crate::{
    clock::Clock,
    store::{
        Read, Store, StoreError, WriteTx, account_data, events,
        events::{EventRow, flag},
        ids::{self, RoomNid, UserNid},
        members,
        members::{MemberRow, Membership},
        receipts,
        receipts::NewReceipt,
        unread,
    },
};

/// Account data that holds the fully-read marker.
const FULLY_READ: &str = "m.fully_read";

/// What is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptKind {
    /// `m.read`: seen by all members.
    Read,
    /// `m.read.private`: seen by the user alone.
    ReadPrivate,
    /// `m.fully_read`: the user's own marker, which counts nothing as read.
    FullyRead,
}

impl ReceiptKind {
    /// The kind of a receipt type; None for an unknown one.
    pub fn from_type(name: &str) -> Option<Self> {
        match name {
            "m.read" => Some(Self::Read),
            "m.read.private" => Some(Self::ReadPrivate),
            "m.fully_read" => Some(Self::FullyRead),
            _ => None,
        }
    }
}

/// The `thread_id` of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptThread {
    /// None: the whole room, whatever the threads.
    Unthreaded,
    /// `main`: what is in no thread.
    Main,
    /// The thread of this root.
    Root(OwnedEventId),
}

/// One marker to be moved.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Which.
    pub kind: ReceiptKind,
    /// Up to and with this event.
    pub event_id: OwnedEventId,
    /// In which thread. The fully-read marker has none.
    pub thread: ReceiptThread,
}

/// Why markers were not moved. None of a call was then.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The user is not joined, or there is no such room.
    #[error("You are not joined to this room")]
    NotJoined,
    /// The room has no such event.
    #[error("There is no such event in this room")]
    UnknownEvent,
    /// The event is not in the thread that was named.
    #[error("The event is not in the thread that thread_id names")]
    NotInThread,
    /// The fully-read marker was given a thread.
    #[error("m.fully_read takes no thread_id")]
    ThreadNotAllowed,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who has read how far.
pub struct Receipts {
    store: Store,
    appenders: Arc<Appenders>,
    wake: Arc<dyn WakeMembers>,
    clock: Arc<dyn Clock>,
}

/// Who hears of what a call changed.
#[derive(Debug, Default, Clone, Copy)]
struct Changed {
    room: Option<RoomNid>,
    public: bool,
}

impl Receipts {
    /// Receipts in `store`; `appenders` know the rooms' members, `wake` those who wait.
    pub fn new(store: Store, appenders: Arc<Appenders>, wake: Arc<dyn WakeMembers>, clock: Arc<dyn Clock>) -> Self {
        Self { store, appenders, wake, clock }
    }

    /// Moves markers of a user in a room forwards, all or none. At most a handful.
    ///
    /// # Errors
    /// [`ReceiptError`]; nothing is moved then.
    pub async fn set(&self, user: UserNid, room_id: OwnedRoomId, marks: Vec<Mark>) -> Result<(), ReceiptError> {
        let (wake, ts) = (self.wake.clone(), self.clock.now_ms());
        let changed = self
            .store
            .write::<_, ReceiptError, _>(move |tx| {
                let room = ids::room(tx, &room_id)?.ok_or(ReceiptError::NotJoined)?;
                let member = members::of(tx, user, room.nid)?
                    .filter(|member| member.membership == Membership::Join)
                    .ok_or(ReceiptError::NotJoined)?;
                let mut changed = Changed { room: Some(room.nid), ..Changed::default() };
                for mark in &marks {
                    set_one(tx, &wake, &member, mark, ts, &mut changed)?;
                }
                Ok(changed)
            })
            .await?;
        self.tell(changed).await;
        Ok(())
    }

    /// Wakes those who see the change. It is durable already, so a failure here only delays.
    async fn tell(&self, changed: Changed) {
        if let Some(room) = changed.room.filter(|_| changed.public) {
            match self.appenders.local_members(room).await {
                Ok(members) => {
                    let members: &HashSet<UserNid> = &members.read().unwrap_or_else(PoisonError::into_inner);
                    self.wake.tell(room, members);
                }
                Err(AppendError::Store(StoreError::Stopping)) => {}
                Err(error) => tracing::warn!(%error, "a receipt will be seen late"),
            }
        }
    }
}

/// What only the user's own devices see is told with the commit, in the order of positions.
fn tell_own(tx: &WriteTx<'_>, wake: &Arc<dyn WakeMembers>, user: UserNid) {
    let wake = wake.clone();
    tx.after_commit(move || wake.wake_user(user));
}

fn set_one(
    tx: &WriteTx<'_>,
    wake: &Arc<dyn WakeMembers>,
    member: &MemberRow,
    mark: &Mark,
    ts: i64,
    changed: &mut Changed,
) -> Result<(), ReceiptError> {
    let event = event_of(tx, member.room, mark)?;
    if mark.kind == ReceiptKind::FullyRead {
        if mark.thread != ReceiptThread::Unthreaded {
            return Err(ReceiptError::ThreadNotAllowed);
        }
        if set_fully_read(tx, member, &event)? {
            tell_own(tx, wake, member.user);
        }
        return Ok(());
    }
    let (thread, number) = thread_of(tx, &event, &mark.thread)?;
    let ordering = event.position.unwrap_or(i64::MIN);
    let position = tx.next_position();
    let receipt = NewReceipt { room: member.room, user: member.user, thread, event: event.nid, ordering, ts, position };
    let written = match mark.kind {
        ReceiptKind::Read => receipts::put(tx, &receipt)?,
        _ => receipts::put_private(tx, &receipt)?,
    };
    if written {
        wake.will_change(member.room, position);
        if mark.kind == ReceiptKind::Read {
            changed.public = true;
            wake.will_tell(member.room, position);
            let (wake, room) = (wake.clone(), member.room);
            tx.after_commit(move || wake.receipt_written(room, position));
        } else {
            tell_own(tx, wake, member.user);
        }
    }
    if unread::move_read_to(tx, member.user, member.room, number, ordering)? && number != unread::WHOLE_ROOM {
        settle(tx, member)?;
    }
    Ok(())
}

/// The event of a mark: one that clients may see, in the room.
fn event_of(read: &dyn Read, room: RoomNid, mark: &Mark) -> Result<EventRow, ReceiptError> {
    events::by_id(read, &mark.event_id)?
        .filter(|event| event.room == room && event.position.is_some() && !event.is(flag::HIDDEN))
        .ok_or(ReceiptError::UnknownEvent)
}

/// The thread as receipts spell it and as `read_to` numbers it. A root is in the main timeline, and in its own thread too:
/// whoever opens an empty thread has read it up to there.
fn thread_of<'m>(read: &dyn Read, event: &EventRow, thread: &'m ReceiptThread) -> Result<(&'m str, i64), ReceiptError> {
    match thread {
        ReceiptThread::Unthreaded => Ok(("", unread::WHOLE_ROOM)),
        ReceiptThread::Main if event.thread.is_none() => Ok(("main", unread::MAIN)),
        ReceiptThread::Main => Err(ReceiptError::NotInThread),
        ReceiptThread::Root(root) => {
            let nid = events::nid(read, root)?.ok_or(ReceiptError::NotInThread)?;
            if event.thread == Some(nid) || event.nid == nid {
                Ok((root.as_str(), nid.0))
            } else {
                Err(ReceiptError::NotInThread)
            }
        }
    }
}

#[derive(Deserialize)]
struct FullyRead {
    event_id: OwnedEventId,
}

/// Answers whether the marker moved.
fn set_fully_read(tx: &WriteTx<'_>, member: &MemberRow, event: &EventRow) -> Result<bool, StoreError> {
    let (user, room) = (member.user, Some(member.room));
    let present = account_data::get(tx, user, room, FULLY_READ)?;
    let present = present.and_then(|content| serde_json::from_str::<FullyRead>(&content).ok());
    if let Some(present) = present
        && let Some(present) = events::by_id(tx, &present.event_id)?
        && present.room == member.room
        && present.position >= event.position
    {
        return Ok(false);
    }
    let content = serde_json::json!({ "event_id": event.event_id }).to_string();
    let position = tx.next_position();
    if !account_data::update(tx, user, room, FULLY_READ, &content, position)? {
        account_data::insert(tx, user, room, FULLY_READ, &content, position)?;
    }
    Ok(true)
}
