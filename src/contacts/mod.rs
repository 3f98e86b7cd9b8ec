//! People and the people they know: direct rooms, friend requests, friends, labels, remarks, the blacklist.
//!
//! LinkIM's meaning over Matrix's rooms and account data (spec/decisions/0016-contacts.md): a friend request is an invitation
//! into a direct room, friends are account data of each side, the blacklist is `m.ignored_user_list`.

mod addresses;
mod blacklist;
mod blocking;
mod crossing;
mod direct;
mod error;
mod following;
mod friend_list;
pub mod friends;
mod labels;
mod people;
mod remarks;
mod requests;
mod rules;
mod search;

use std::sync::Arc;

use self::direct::Gates;
pub use self::{
    addresses::Addresses,
    blocking::blocked,
    crossing::Crossings,
    direct::{Direct, OpenError, are_friends},
    error::ContactError,
    following::Following,
    friend_list::FriendEntry,
    labels::MAX_LABELS,
    people::{Person, person},
    requests::{Direction, Requested, ShownRequest},
    rules::ContactRules,
    search::Found,
};
use crate::{
    accounts::{AccountData, Tags},
    clock::Clock,
    config::LinkIm,
    peers::{joining::Joining, leaving::Leaving},
    rooms::{append::Appenders, create::RoomCreation, membership::Membership, user_directory::UserDirectory},
    store::Store,
};

/// Characters of a request's text at most.
pub const MAX_REQUEST_TEXT: usize = 500;

/// What of the configuration decides about contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether only friends may write to each other directly (`linkim.friend_verify`).
    pub friend_verify: bool,
    /// Whether who is blocked is told so (`linkim.reveal_block`); else what they send is accepted and hidden.
    pub reveal_block: bool,
}

impl From<&LinkIm> for Policy {
    fn from(config: &LinkIm) -> Self {
        Self { friend_verify: config.friend_verify, reveal_block: config.reveal_block }
    }
}

/// The contacts of this server's users.
pub struct Contacts {
    store: Store,
    appenders: Arc<Appenders>,
    creation: Arc<RoomCreation>,
    membership: Arc<Membership>,
    joining: Arc<Joining>,
    leaving: Arc<Leaving>,
    data: Arc<AccountData>,
    tags: Arc<Tags>,
    directory: Arc<UserDirectory>,
    clock: Arc<dyn Clock>,
    policy: Policy,
    gates: Gates,
}

/// What [`Contacts`] acts through.
pub struct Collaborators {
    /// The database.
    pub store: Store,
    /// The write path.
    pub appenders: Arc<Appenders>,
    /// Makes direct rooms.
    pub creation: Arc<RoomCreation>,
    /// Invites.
    pub membership: Arc<Membership>,
    /// Accepts invitations.
    pub joining: Arc<Joining>,
    /// Rejects them.
    pub leaving: Arc<Leaving>,
    /// Where friends, labels, remarks and the blacklist are.
    pub data: Arc<AccountData>,
    /// Where plain clients see labels.
    pub tags: Arc<Tags>,
    /// Finds people by name.
    pub directory: Arc<UserDirectory>,
    /// Says since when people are friends.
    pub clock: Arc<dyn Clock>,
}

impl Contacts {
    /// With these.
    pub fn new(with: Collaborators, policy: Policy) -> Self {
        Self {
            store: with.store,
            appenders: with.appenders,
            creation: with.creation,
            membership: with.membership,
            joining: with.joining,
            leaving: with.leaving,
            data: with.data,
            tags: with.tags,
            directory: with.directory,
            clock: with.clock,
            policy,
            gates: Gates::default(),
        }
    }
}

#[cfg(test)]
mod schemas_tests;
#[cfg(test)]
mod tests;
