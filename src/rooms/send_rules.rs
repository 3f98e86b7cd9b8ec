//! What the product forbids local users beyond the authorisation rules, whichever API they use.

use ruma::{CanonicalJsonObject, EventId, UserId};

use super::membership::{Change, MembershipState};
use crate::{
    accounts::Session,
    store::{Read, StoreError, ids::RoomKey},
};

/// An event that a local user wants to send.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its type.
    pub kind: &'a str,
    /// Its state key; none: not a state event.
    pub state_key: Option<&'a str>,
    /// Its content.
    pub content: &'a CanonicalJsonObject,
    /// What it redacts.
    pub redacts: Option<&'a EventId>,
}

/// Why a rule refuses an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The only other member of the direct room has blocked the sender.
    #[error("you are blocked by this user")]
    Blocked,
    /// The two are not friends, and this server lets only friends write to each other.
    #[error("you are not this user's friend")]
    NotFriends,
    /// The user wants no invitations of strangers into direct rooms.
    #[error("this user accepts no friend requests")]
    RefusesStrangers,
    /// The only other member of the direct room wants to receive nothing from it.
    #[error("this user does not receive messages from this conversation")]
    NotReceiving,
    /// The group's admins have muted the sender, until this time in milliseconds.
    #[error("you are muted in this group")]
    Muted {
        /// When it ends; none: when an admin ends it.
        until_ts: Option<i64>,
    },
    /// Only the group's owner and admins may talk.
    #[error("this group is muted")]
    GroupMuted,
    /// The group was dissolved.
    #[error("this group was dissolved")]
    Dissolved,
    /// The sender's role does not suffice.
    #[error("{0}")]
    NotPermitted(String),
}

/// A rule about what local users send. Of memberships [`MembershipRule`]s are asked.
pub trait SendRule: Send + Sync {
    /// Whether the rule may have something to say in this room. Asked for each event sent, so it reads no database: a false
    /// alarm is allowed, a miss is not.
    fn concerns(&self, room: &RoomKey) -> bool;

    /// Why the event is refused, if it is.
    ///
    /// # Errors
    /// [`StoreError`].
    fn check(
        &self,
        read: &dyn Read,
        by: &Session,
        room: &RoomKey,
        wanted: Wanted<'_>,
    ) -> Result<Option<Refused>, StoreError>;
}

/// A membership that a local user wants to change.
#[derive(Clone, Copy, Debug)]
pub struct WantedMembership<'a> {
    /// Whose.
    pub target: &'a UserId,
    /// What it is now.
    pub before: Option<MembershipState>,
    /// The change.
    pub change: Change,
}

/// A rule about which memberships local users change, in rooms that this server is in.
pub trait MembershipRule: Send + Sync {
    /// Why the change is refused, if it is.
    ///
    /// # Errors
    /// [`StoreError`].
    fn check(
        &self,
        read: &dyn Read,
        by: &Session,
        room: &RoomKey,
        wanted: WantedMembership<'_>,
    ) -> Result<Option<Refused>, StoreError>;
}

/// A rule about whom local users invite.
pub trait InviteRule: Send + Sync {
    /// Why the invitation of `target`, a user of this server, is refused, if it is. `is_direct`: into a room of the two.
    ///
    /// # Errors
    /// [`StoreError`].
    fn check(
        &self,
        read: &dyn Read,
        by: &UserId,
        target: &UserId,
        is_direct: bool,
    ) -> Result<Option<Refused>, StoreError>;
}
