//! People and the people they know: direct rooms, friend requests, friends, labels, remarks, the blacklist.
//!
//! LinkIM's meaning over Matrix's rooms and account data (spec/decisions/0016-contacts.md): a friend request is an invitation
//! into a direct room, friends are account data of each side, the blacklist is `m.ignored_user_list`.

mod blocking;
mod direct;
pub mod friends;
pub mod settings;

use std::sync::Arc;

use self::direct::Gates;
pub use self::{
    blocking::blocked,
    direct::{Direct, OpenError, are_friends},
};
use crate::{
    config::LinkIm,
    peers::{joining::Joining, leaving::Leaving},
    rooms::{append::Appenders, create::RoomCreation, membership::Membership},
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
}

impl Contacts {
    /// With these.
    pub fn new(with: Collaborators, policy: Policy) -> Self {
        let Collaborators { store, appenders, creation, membership, joining, leaving } = with;
        Self { store, appenders, creation, membership, joining, leaving, policy, gates: Gates::default() }
    }
}
