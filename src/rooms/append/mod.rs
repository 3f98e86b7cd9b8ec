//! The one write path: everything that becomes part of a room ends here.
//!
//! Each room has one appender. Work for a room queues there and merges, so that load turns into batch size. Local events are
//! built, authorised and signed against the event before them, then the batch is written in one transaction and answered
//! once it is durable; only then do wake-ups and followers hear of it.

use std::{
    collections::HashSet,
    sync::{Arc, RwLock},
};

use ruma::{CanonicalJsonObject, OwnedEventId, OwnedUserId, RoomVersionId};

use crate::store::{
    StoreError, WriteTx,
    ids::{DeviceNid, EventNid, RoomKey, RoomNid, UserNid},
};

/// An event that a local user (or the server in their name) wants to add.
#[derive(Clone, Debug)]
pub struct LocalEvent {
    /// Who sends it.
    pub sender: OwnedUserId,
    /// Its type.
    pub kind: String,
    /// Its state key, if it is a state event.
    pub state_key: Option<String>,
    /// Its content.
    pub content: CanonicalJsonObject,
    /// What it redacts, for `m.room.redaction`; put where the room version wants it.
    pub redacts: Option<OwnedEventId>,
    /// `origin_server_ts` in milliseconds; None: now.
    pub origin_server_ts: Option<i64>,
    /// The request that sends it, for idempotence.
    pub transaction: Option<Transaction>,
}

impl LocalEvent {
    /// A message-like event.
    pub fn message(sender: OwnedUserId, kind: impl Into<String>, content: CanonicalJsonObject) -> Self {
        Self {
            sender,
            kind: kind.into(),
            state_key: None,
            content,
            redacts: None,
            origin_server_ts: None,
            transaction: None,
        }
    }

    /// A state event.
    pub fn state(
        sender: OwnedUserId,
        kind: impl Into<String>,
        state_key: impl Into<String>,
        content: CanonicalJsonObject,
    ) -> Self {
        Self { state_key: Some(state_key.into()), ..Self::message(sender, kind, content) }
    }
}

/// The request that sends an event: repeated, it gets the first one's event.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The device that sends.
    pub device: DeviceNid,
    /// Hash of the request's path, transaction id included.
    pub key: [u8; 16],
    /// The transaction id, shown to the device in `unsigned`.
    pub txn_id: String,
}

/// An event that is now durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its number.
    pub nid: EventNid,
    /// Its id.
    pub event_id: OwnedEventId,
    /// Its place in the server-wide order.
    pub position: i64,
    /// Whether it was there before: a repeated transaction, or state that already says the same.
    pub repeated: bool,
}

/// A room to be made.
#[derive(Clone, Debug)]
pub struct NewRoom {
    /// Its version.
    pub version: RoomVersionId,
    /// Who makes it.
    pub creator: OwnedUserId,
    /// Content of its create event, `room_version` included.
    pub create_content: CanonicalJsonObject,
}

/// Changes that must be true together with the events: aliases, the directory, account data. Runs in their transaction.
pub type Along = Box<dyn FnOnce(&WriteTx<'_>, RoomNid, &[Appended]) -> Result<(), StoreError> + Send>;

/// Why events were not appended. Nothing of the call was written then.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The authorisation rules refuse it, by the room's current state.
    #[error("{0}")]
    Denied(String),
    /// An event would be larger than 65,536 bytes.
    #[error("the event is too large")]
    TooLarge,
    /// An event has not the form that the room version wants.
    #[error("{0}")]
    Malformed(String),
    /// Nobody is there to append: the room is blocked by an administrator.
    #[error("the room is blocked")]
    Blocked,
    /// The room's queue is full.
    #[error("too much is waiting to be appended")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Told of what became visible, after the commit, on the writer thread: be quick.
pub trait Wake: Send + Sync + 'static {
    /// A room has something new at `position`. For `members`, its joined local members, and for `also`: those whom it newly
    /// concerns or no longer does.
    fn room_changed(&self, room: RoomNid, position: i64, members: &HashSet<UserNid>, also: &[UserNid]);
}

/// A room's joined members with an account here, kept by its appender while it is awake.
pub type LocalMembers = Arc<RwLock<HashSet<UserNid>>>;

/// All appenders. One is awake for each room in use.
pub struct Appenders {}

impl Appenders {
    /// Appends events of a room, each built upon the one before it: all of them or none.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was written then.
    pub async fn append(
        &self,
        room: RoomNid,
        events: Vec<LocalEvent>,
        along: Option<Along>,
    ) -> Result<Vec<Appended>, AppendError> {
        let _ = (room, events, along);
        Err(AppendError::Busy)
    }

    /// Makes a room: its create event, then `events`, all of them or none. The answer's first event is the create event.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was written then.
    pub async fn create(
        &self,
        new: NewRoom,
        events: Vec<LocalEvent>,
        along: Option<Along>,
    ) -> Result<(Arc<RoomKey>, Vec<Appended>), AppendError> {
        let _ = (new, events, along);
        Err(AppendError::Busy)
    }

    /// The room's joined local members.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn local_members(&self, room: RoomNid) -> Result<LocalMembers, StoreError> {
        let _ = room;
        Err(StoreError::Stopping)
    }
}
