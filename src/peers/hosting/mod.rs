//! Rooms of ours that users of other servers join, leave and knock at, and invitations of our users to rooms of others.
//!
//! Source: Server-Server API, "Joining Rooms", "Knocking upon a room", "Inviting to a room", "Leaving Rooms".

mod accept;
mod answer;
mod exchange;
mod invited;
mod make;
mod member_event;

use std::sync::Arc;

use linkim_federation::{BuildError, RoomVersionRules, rules};
use ruma::{OwnedServerName, RoomId, RoomVersionId, ServerName};

pub use self::{
    accept::Accepted, answer::JoinAnswer, exchange::PartialInvitation, invited::SentInvitation, make::Made,
};
use super::{
    drafts::{DraftError, Signatory},
    events::EventChecker,
    inviting::Inviting,
    policy::PolicyServers,
};
use crate::{
    rooms::{
        append::{AppendError, Appenders},
        membership::MembershipError,
        send_rules::InviteRule,
        server_acl::ServerAcls,
    },
    store::{Read, Store, StoreError, ids, ids::RoomKey, partial_joins, room_servers, rooms},
};

/// Why another server's request was not done.
#[derive(Debug, thiserror::Error)]
pub enum HostingError {
    /// The room is not here, or we are not in it: which of the two is not told.
    #[error("this server is not in the room")]
    UnknownRoom,
    /// The room's members are still to be fetched (MSC3706).
    #[error("this server does not know the room's members yet")]
    Partial,
    /// The rules do not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// The other server does not know the room's version, or what is wanted is not in it.
    #[error("the room has version {0}")]
    Incompatible(RoomVersionId),
    /// This version of an invitation is not known here.
    #[error("this server does not know room version {0:?}")]
    UnknownVersion(String),
    /// We are in none of the rooms whose members may join.
    #[error("this server can't tell whether the user may join")]
    UnableToAuthorise,
    /// The user may join, but no user of ours can vouch.
    #[error("no user of this server may let the user in")]
    UnableToGrant,
    /// What was sent is not what may be sent there.
    #[error("{0}")]
    Invalid(String),
    /// Something is missing.
    #[error("{0}")]
    Missing(String),
    /// There is no such user.
    #[error("no such user")]
    UnknownUser,
    /// The user wants no invitations.
    #[error("the user accepts no invitations")]
    InviteBlocked,
    /// The event could not be appended.
    #[error(transparent)]
    Append(AppendError),
    /// An invitation could not be issued.
    #[error(transparent)]
    Membership(MembershipError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AppendError> for HostingError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Denied(reason) => Self::Forbidden(reason),
            AppendError::Store(error) => Self::Store(error),
            other => Self::Append(other),
        }
    }
}

impl From<DraftError> for HostingError {
    fn from(error: DraftError) -> Self {
        match error {
            DraftError::Denied(reason) => Self::Forbidden(reason),
            DraftError::Build(error) => error.into(),
            DraftError::Store(error) => Self::Store(error),
        }
    }
}

impl From<BuildError> for HostingError {
    fn from(error: BuildError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// Does what other servers ask about memberships.
pub struct Hosting {
    store: Store,
    appenders: Arc<Appenders>,
    checker: Arc<EventChecker>,
    acls: Arc<ServerAcls>,
    policy: Arc<PolicyServers>,
    inviting: Arc<Inviting>,
    signatory: Signatory,
    invite_rule: Option<Arc<dyn InviteRule>>,
}

impl Hosting {
    /// With these.
    pub fn new(
        store: Store,
        appenders: Arc<Appenders>,
        checker: Arc<EventChecker>,
        acls: Arc<ServerAcls>,
        policy: Arc<PolicyServers>,
        inviting: Arc<Inviting>,
        signatory: Signatory,
    ) -> Self {
        Self { store, appenders, checker, acls, policy, inviting, signatory, invite_rule: None }
    }

    /// Refuses invitations of this server's users by this rule, as far as who invites may be told.
    #[must_use]
    pub fn inviting_by(mut self, rule: Arc<dyn InviteRule>) -> Self {
        self.invite_rule = Some(rule);
        self
    }

    fn own(&self) -> &OwnedServerName {
        &self.signatory.server_name
    }
}

/// A room that we are in and that lets `origin` take part, with its rules.
fn open(
    read: &dyn Read,
    acls: &ServerAcls,
    own: &ServerName,
    room_id: &RoomId,
    origin: &ServerName,
) -> Result<(Arc<RoomKey>, &'static RoomVersionRules), HostingError> {
    let room = ids::room(read, room_id)?.ok_or(HostingError::UnknownRoom)?;
    if !room_servers::server_in_room(read, room.nid, own)? {
        return Err(HostingError::UnknownRoom);
    }
    if rooms::is_blocked(read, room.nid)? {
        return Err(HostingError::Forbidden("this server does not take part in the room".into()));
    }
    if !acls.permits(read, room.nid, origin)? {
        return Err(HostingError::Forbidden("the room's access control list shuts your server out".into()));
    }
    if partial_joins::is_partial(read, room.nid)? {
        return Err(HostingError::Partial);
    }
    let rules = rules(&room.version).ok_or_else(|| StoreError::Damaged(format!("room version {}", room.version)))?;
    Ok((room, rules))
}
