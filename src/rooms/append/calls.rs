//! What an appender is asked, and what it answers.

use std::sync::Arc;

use linkim_federation::Pdu;
use ruma::{CanonicalJsonObject, EventId, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomVersionId};
use serde_json::value::RawValue;

use crate::{
    rooms::policy::PolicyRefusal,
    store::{
        StoreError, WriteTx,
        ids::{DeviceNid, EventNid, RoomNid},
    },
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
    /// Completes the content with the id of the call's first event, a new one, which is known only once that is built.
    pub names_first: Option<NamesFirst>,
}

/// Puts an event's id into a content.
pub type NamesFirst = fn(&mut CanonicalJsonObject, &EventId);

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
            names_first: None,
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

    /// With the id of the call's first event.
    pub fn naming_first(self, names: NamesFirst) -> Self {
        Self { names_first: Some(names), ..self }
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
    /// Its place in the server-wide order: negative for history, 0 for an outlier, which has none.
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

/// An event that came from another server. Its format, its signatures and its hash were checked.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The event.
    pub pdu: Arc<Pdu>,
    /// Whether we relay it to the room's other servers: joins, leaves and knocks that came to us by send_join and its kin.
    pub relay: bool,
    /// A verdict reached before, by a policy server: if nothing worse is found, it is soft-failed with this reason.
    pub soft_fail: Option<String>,
    /// Where previous events cannot be had: the ids of the state before it, as a peer says. All must be here; outliers count.
    pub state_before: Option<Vec<OwnedEventId>>,
}

impl Incoming {
    /// An event with nothing more to be said of it.
    pub fn new(pdu: Arc<Pdu>) -> Self {
        Self { pdu, relay: false, soft_fail: None, state_before: None }
    }
}

/// The answer of a resident server to our join event, verified: signatures and hashes of all events were checked.
#[derive(Clone, Debug)]
pub struct RemoteJoin {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Its version.
    pub version: RoomVersionId,
    /// The join event.
    pub join: Arc<Pdu>,
    /// The state before it.
    pub state: Vec<Arc<Pdu>>,
    /// Auth events of the state and of the join, their auth events, and so on. Those of the state need not be repeated.
    pub auth_chain: Vec<Arc<Pdu>>,
    /// Given if the state lacks members.
    pub partial: Option<PartialJoin>,
}

/// What is known of a room whose members are still to be fetched.
#[derive(Clone, Debug)]
pub struct PartialJoin {
    /// The servers in it.
    pub servers_in_room: Vec<OwnedServerName>,
    /// The server that answered.
    pub via: OwnedServerName,
}

/// A membership of a local user in a room that we are not in: an invitation, a knock, or the end of one.
#[derive(Clone, Debug)]
pub struct OutsideMembership {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Its version.
    pub version: RoomVersionId,
    /// The member event, whose signatures were checked.
    pub event: Arc<Pdu>,
    /// What the other server lets the user know of the room.
    pub stripped: Option<Vec<Box<RawValue>>>,
}

/// Changes that must be true together with the events: aliases, the directory, account data. Runs in their transaction.
pub type Along = Box<dyn FnOnce(&WriteTx<'_>, RoomNid, &[Appended]) -> Result<(), StoreError> + Send>;

/// What is written in the transaction that stores events which came from another server. It is called for those that are
/// accepted, and for those that are stored without that: soft-failed, or rejected. It may be called for the same events again
/// where the transaction failed.
pub type Beside = Arc<dyn Fn(&WriteTx<'_>, RoomNid, Stored<'_>) -> Result<(), StoreError> + Send + Sync>;

/// Events that came from another server, as they are stored.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// The events.
    pub events: &'a [Appended],
    /// Whether they are part of the room for clients, too.
    pub accepted: bool,
}

/// What became of an event that came with its place in the DAG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Part of the room now; an outlier: allowed by its auth events.
    Accepted(Appended),
    /// Part of the DAG, hidden from clients: allowed where it stands, not by the current state.
    SoftFailed(Appended, String),
    /// Stored as refused, with the reason.
    Rejected(Appended, String),
    /// It was here already.
    Known(EventNid),
    /// Nothing was done: these previous events are not here.
    MissingPrev(Vec<OwnedEventId>),
    /// Nothing was done: these auth events are not here.
    MissingAuth(Vec<OwnedEventId>),
    /// Nothing was done: these events of the state before it, as a peer says, are not here.
    MissingState(Vec<OwnedEventId>),
    /// Nothing was done: it can't be an event of this room.
    Malformed(&'static str),
}

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
    /// The room's policy server did not sign.
    #[error(transparent)]
    Policy(#[from] PolicyRefusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
