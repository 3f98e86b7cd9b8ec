//! Where a room is: here, elsewhere, and through which servers it can be reached.

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedServerName, RoomAliasId, RoomId, RoomOrAliasId, RoomVersionId, ServerName};
use serde::Deserialize;

use super::{client::PeerError, directory::RemoteDirectory, handshake::HandshakeError};
use crate::{
    rooms::{
        append::AppendError,
        elsewhere::Refusal,
        membership::{Membership, MembershipError, MembershipState},
    },
    store::{
        Read, Store, StoreError, events,
        events::flag,
        ids,
        ids::{EventNid, RoomNid, UserNid},
        knocks, members, partial_joins, room_servers, rooms,
    },
};

/// Characters of another server's words that are handed on at most.
const MAX_WORDS: usize = 500;

/// Why a membership did not change, here or elsewhere.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// As in rooms that are here.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// No server did it.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The task failed.
    #[error("the task failed: {0}")]
    Task(String),
}

impl From<AppendError> for ChangeError {
    fn from(error: AppendError) -> Self {
        Self::Membership(error.into())
    }
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> Self {
        Self::Membership(error.into())
    }
}

impl From<&HandshakeError> for Refusal {
    fn from(error: &HandshakeError) -> Self {
        #[derive(Default, Deserialize)]
        struct Body {
            room_version: Option<String>,
        }
        let text = error.to_string().chars().take(MAX_WORDS).collect();
        match error {
            HandshakeError::Peer(PeerError::Status { status, errcode, body, .. }) => Self {
                status: Some(status.as_u16()),
                errcode: errcode.clone(),
                text,
                room_version: serde_json::from_slice::<Body>(body).unwrap_or_default().room_version,
            },
            HandshakeError::Version(version) => Self {
                status: Some(400),
                errcode: "M_INCOMPATIBLE_ROOM_VERSION".into(),
                text,
                room_version: Some(version.clone()),
            },
            _ => Self { status: None, errcode: String::new(), text, room_version: None },
        }
    }
}

/// What is known here of a room, and of a user's part in it.
#[derive(Clone, Debug, Default)]
pub struct Here {
    /// The room, if it has a row.
    pub nid: Option<RoomNid>,
    /// Its version.
    pub version: Option<RoomVersionId>,
    /// Whether its state here is the room's: we are in it, or nobody else is.
    pub in_room: bool,
    /// Whether the room's members are still to be fetched.
    pub partial: bool,
    /// The user's membership.
    pub membership: Option<MembershipState>,
    /// The user's member event.
    pub event: Option<EventNid>,
    /// The server that invited the user, or that took their knock.
    pub inviter: Option<OwnedServerName>,
    /// Where we are not in the room: other servers that were when we last knew.
    pub servers: Vec<OwnedServerName>,
}

impl Here {
    /// Whether the user can join by our word alone. Where the members are still to be fetched, they may be banned for all we
    /// know; who is in the room already is so.
    pub fn joins_here(&self) -> bool {
        self.in_room && (!self.partial || self.membership == Some(MembershipState::Join))
    }
}

/// Finds rooms.
pub struct Whereabouts {
    store: Store,
    membership: Arc<Membership>,
    directory: Arc<RemoteDirectory>,
    server_name: OwnedServerName,
}

impl Whereabouts {
    /// For the server of this name.
    pub fn new(
        store: Store,
        membership: Arc<Membership>,
        directory: Arc<RemoteDirectory>,
        server_name: OwnedServerName,
    ) -> Self {
        Self { store, membership, directory, server_name }
    }

    /// The room that is named, and the servers that its alias names.
    ///
    /// # Errors
    /// `UnknownAlias`, or that the alias' server does not say.
    pub async fn resolve(&self, target: &RoomOrAliasId) -> Result<(OwnedRoomId, Vec<OwnedServerName>), ChangeError> {
        let Ok(alias) = <&RoomAliasId>::try_from(target) else {
            let room = RoomId::parse(target.as_str())
                .map_err(|_| MembershipError::Malformed("neither a room id nor an alias".into()))?;
            return Ok((room, Vec::new()));
        };
        match self.membership.resolve(alias).await {
            Err(MembershipError::UnknownAlias(_)) if alias.server_name() != self.server_name => {
                self.ask_alias(alias).await
            }
            found => Ok((found?, Vec::new())),
        }
    }

    async fn ask_alias(&self, alias: &RoomAliasId) -> Result<(OwnedRoomId, Vec<OwnedServerName>), ChangeError> {
        let unknown = || MembershipError::UnknownAlias(alias.to_owned());
        match self.directory.resolve(alias).await {
            Ok(Some(found)) => Ok((found.room_id.clone(), found.servers.clone())),
            Ok(None) | Err(PeerError::Refused(_)) => Err(unknown().into()),
            Err(error) => Err(HandshakeError::from(error).into()),
        }
    }

    /// The other servers that are in a room.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn servers(&self, room_id: &RoomId) -> Result<Vec<OwnedServerName>, StoreError> {
        let room_id = room_id.to_owned();
        self.store.read(move |read| look_for_servers(read, &room_id)).await
    }

    /// What is known here of a room, and of the user's part in it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of(&self, room_id: &RoomId, user: UserNid) -> Result<Here, StoreError> {
        let (room_id, own) = (room_id.to_owned(), self.server_name.clone());
        self.store.read(move |read| look(read, &room_id, user, &own)).await
    }
}

fn look_for_servers(read: &dyn Read, room_id: &RoomId) -> Result<Vec<OwnedServerName>, StoreError> {
    match ids::room(read, room_id)? {
        Some(room) => room_servers::servers(read, room.nid),
        None => Ok(Vec::new()),
    }
}

fn look(read: &dyn Read, room_id: &RoomId, user: UserNid, own: &ServerName) -> Result<Here, StoreError> {
    let Some(room) = ids::room(read, room_id)? else { return Ok(Here::default()) };
    let has_state = rooms::create_event(read, room.nid)?.is_some();
    let inside = has_state && room_servers::server_in_room(read, room.nid, own)?;
    let mut servers = if has_state && !inside { room_servers::servers(read, room.nid)? } else { Vec::new() };
    // Of a room that all of ours left before its members were here nobody else may be known; that says nothing.
    let given_up = has_state && !inside && servers.is_empty() && is_given_up(read, room.nid)?;
    if given_up {
        servers = room_servers::ever(read, room.nid)?;
    }
    let member = members::of(read, user, room.nid)?;
    let membership = member.map(|member| member.membership);
    let inviter = match member {
        Some(member) if membership == Some(MembershipState::Invite) => {
            let sender = events::by_nid(read, member.event)?.sender;
            Some(ids::user_id(read, sender)?.server_name().to_owned())
        }
        Some(_) if membership == Some(MembershipState::Knock) => knocks::server(read, user, room.nid)?,
        _ => None,
    };
    Ok(Here {
        nid: Some(room.nid),
        version: Some(room.version.clone()),
        in_room: inside || (has_state && servers.is_empty() && !given_up),
        partial: inside && partial_joins::is_partial(read, room.nid)?,
        membership,
        event: member.map(|member| member.event),
        inviter: inviter.filter(|server| server != own),
        servers,
    })
}

/// Whether the newest event of a room came while its members were still to be fetched.
fn is_given_up(read: &dyn Read, room: RoomNid) -> Result<bool, StoreError> {
    match rooms::newest_event(read, room)? {
        Some((newest, _)) => Ok(events::by_nid(read, newest)?.is(flag::PARTIAL_STATE)),
        None => Ok(false),
    }
}
