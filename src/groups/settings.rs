//! What a group is set to: the contents of our own state events, and the join modes.

use ruma::CanonicalJsonObject;
use serde::{Deserialize, Serialize};

use crate::{
    rooms::{
        content::{number, object, string},
        state,
    },
    store::{Read, StoreError, ids::RoomNid},
};

/// Type of the state event with the owner's name and what members may see of each other.
pub(crate) const SETTINGS: &str = "org.linkim.group.settings";

/// Type of the state event that says that the group was dissolved.
pub(crate) const STATUS: &str = "org.linkim.group.status";

/// Type of the state events that mute members; the state key is `_` and the user id.
pub(crate) const MUTE: &str = "org.linkim.group.mute";

/// In a create event's content: the room is a group.
pub(crate) const MARK: &str = "org.linkim.group";

/// In a join's or knock's content: how the user came to the group.
pub(crate) const JOIN_SOURCE: &str = "org.linkim.join_source";

/// In a join's content: who added the user.
pub(crate) const INVITER: &str = "org.linkim.inviter";

/// The content of [`SETTINGS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Settings {
    /// The owner's id.
    pub owner: Option<String>,
    /// 0: members may look at each other's profiles; 1: they may not.
    #[serde(default)]
    pub look_member_info: i64,
    /// 0: members may ask each other for friendship from the group; 1: they may not.
    #[serde(default)]
    pub apply_member_friend: i64,
}

impl Settings {
    pub(crate) fn of_room(read: &dyn Read, room: RoomNid) -> Result<Self, StoreError> {
        Ok(state::current_content(read, room, SETTINGS, "")?.unwrap_or_default())
    }

    pub(crate) fn content(&self) -> CanonicalJsonObject {
        let mut content = object([
            ("look_member_info", number(self.look_member_info)),
            ("apply_member_friend", number(self.apply_member_friend)),
        ]);
        if let Some(owner) = &self.owner {
            content.insert("owner".into(), owner.as_str().into());
        }
        content
    }
}

/// Whether a group was dissolved.
pub(crate) fn is_dissolved(read: &dyn Read, room: RoomNid) -> Result<bool, StoreError> {
    let status: Option<CanonicalJsonObject> = state::current_content(read, room, STATUS, "")?;
    Ok(status.is_some_and(|status| string(&status, "status") == Some("dissolved")))
}

/// How one comes into a group: OpenIM's `needVerification`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum JoinMode {
    /// 0: who asks needs an admin's approval; who is invited by a member needs none.
    #[default]
    Approval,
    /// 1: all need approval, but for those whom the owner or an admin invites.
    Invitation,
    /// 2: everybody may join.
    Open,
}

impl JoinMode {
    /// OpenIM's number.
    pub fn number(self) -> i64 {
        match self {
            Self::Approval => 0,
            Self::Invitation => 1,
            Self::Open => 2,
        }
    }

    /// The mode of OpenIM's number.
    pub fn of_number(number: i64) -> Option<Self> {
        [Self::Approval, Self::Invitation, Self::Open].into_iter().find(|mode| mode.number() == number)
    }

    /// Of a room's current state. Rules that LinkIM does not set are read as the closest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn of_room(read: &dyn Read, room: RoomNid, invite_level: i64) -> Result<Self, StoreError> {
        Ok(match join_rule(read, room)?.as_str() {
            "public" => Self::Open,
            _ if invite_level > 0 => Self::Invitation,
            _ => Self::Approval,
        })
    }

    /// The content of `m.room.join_rules`. `knock_restricted` with no room allowed: only the server itself vouches, so that
    /// who is added comes in by one event.
    pub(crate) fn join_rules(self) -> CanonicalJsonObject {
        match self {
            Self::Open => object([("join_rule", "public".into())]),
            Self::Approval | Self::Invitation => {
                object([("join_rule", "knock_restricted".into()), ("allow", Vec::new().into())])
            }
        }
    }

    /// The power that inviting takes.
    pub(crate) fn invite_level(self) -> i64 {
        match self {
            Self::Approval | Self::Open => 0,
            Self::Invitation => 50,
        }
    }
}

/// The room's join rule; without one the authorisation rules take `invite`.
pub(crate) fn join_rule(read: &dyn Read, room: RoomNid) -> Result<String, StoreError> {
    let rules: Option<CanonicalJsonObject> = state::current_content(read, room, "m.room.join_rules", "")?;
    let rule = rules.as_ref().and_then(|rules| string(rules, "join_rule"));
    Ok(rule.unwrap_or("invite").to_owned())
}
