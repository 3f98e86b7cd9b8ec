//! Groups: LinkIM's meaning over rooms.
//!
//! A group is a room of version 12 that the server's own user made (`service_user`). Roles are power levels (`roles`,
//! `levels`); mutes, the owner's name and the end of a group are state events of ours (`settings`, `mutes`). What a member asks
//! for is checked against the roles and then done in the service user's name (`act` and the files named by what they do), so
//! that an admin needs no power that the roles would not give; what plain Matrix clients do on this server is held to the same
//! rules (`rules`), what admins on other servers do goes through events (`calls`, `answers`), and what reaches a group by another way, an owner who leaves, power levels edited by hand, is put right
//! after it happened (`follower`).

mod act;
mod announcement_readers;
#[cfg(test)]
mod announcement_tests;
mod announcements;
mod announcing;
mod answers;
mod appoint;
mod calls;
mod confirming;
mod create;
mod edit;
mod error;
mod follower;
mod inviting;
mod levels;
mod members;
mod mutes;
mod reading;
mod removal;
mod requests;
mod roles;
mod rules;
#[cfg(test)]
mod schemas_tests;
mod service_user;
mod settings;
mod silence;
mod silent_server;
#[cfg(test)]
mod silent_server_tests;

use std::sync::Arc;

use ruma::OwnedServerName;

pub use self::{
    act::Actor,
    announcement_readers::{ReadCounts, ReadState, Reader, ReaderFilter, ReaderPage},
    announcements::{MAX_NOTICE, Notice, ShownNotice},
    announcing::NewNotice,
    create::{Created, NewGroup},
    error::GroupError,
    follower::{Changes, NoteChanges},
    members::{Added, Refusal, Source},
    mutes::Mute,
    reading::{GroupInfo, Member, MemberFilter, MemberPage},
    requests::{Applied, RequestPage},
    roles::{Role, Roles, is_group, may_withdraw, outranks, role},
    rules::GroupRules,
    service_user::ServiceUser,
    settings::{JoinMode, Settings},
    silence::MAX_MUTE_SECONDS,
};
use crate::{
    clock::Clock,
    rooms::{append::Appenders, membership::Membership},
    store::Store,
};

/// The owner's level.
const OWNER_LEVEL: i64 = 100;

/// An admin's level.
const ADMIN_LEVEL: i64 = 50;

/// A muted member's level.
const MUTED_LEVEL: i64 = -1;

/// Muted members whom the power levels name at most: the event must stay well below its 65,536 bytes. More are muted by this
/// server alone.
const MAX_MUTED_LEVELS: usize = 800;

/// Users in one call at most.
pub const MAX_USERS: usize = 1_000;

/// Characters of a group's name at most.
pub const MAX_NAME: usize = 100;

/// Characters of a nickname in a group at most.
pub const MAX_NICKNAME: usize = 64;

/// Characters of the text of a request, an answer or a reason at most.
pub const MAX_TEXT: usize = 500;

/// Acts on groups.
pub struct Groups {
    store: Store,
    appenders: Arc<Appenders>,
    membership: Arc<Membership>,
    clock: Arc<dyn Clock>,
    server_name: OwnedServerName,
    service: ServiceUser,
    changes: Arc<Changes>,
    /// When this process began to hear of what others do.
    started_ms: i64,
}

impl Groups {
    /// For the server of this name, whose own user is `service`; `changes` notes changes of rooms' states.
    pub fn new(
        store: Store,
        appenders: Arc<Appenders>,
        membership: Arc<Membership>,
        clock: Arc<dyn Clock>,
        server_name: OwnedServerName,
        service: ServiceUser,
        changes: Arc<Changes>,
    ) -> Self {
        let started_ms = clock.now_ms();
        Self { store, appenders, membership, clock, server_name, service, changes, started_ms }
    }

    /// The server's own user.
    pub fn service(&self) -> &ServiceUser {
        &self.service
    }
}
