//! Who is what in a group, and what each may do to whom.
//!
//! Roles are power levels: owner 100, admin 50, everybody else member. A muted member is at -1; what they were stands in the
//! mute. In rooms that are no groups of LinkIM's the same reading is the closest: who has at least 100, or made a room of
//! version 12, shows as owner, who has at least 50 as admin.

use std::collections::HashMap;

use linkim_federation::{Pdu, rules};
use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{
    ADMIN_LEVEL, OWNER_LEVEL,
    settings::{SETTINGS, Settings},
};
use crate::{
    rooms::{
        power::{Level, Power},
        state,
    },
    store::{
        Read, StoreError, ids,
        ids::{EventNid, RoomKey, UserNid},
        members,
        members::Membership,
        state as stored_state,
    },
};

/// Power-level events looked back at to find who has been at 100 longest.
const LOOK_BACK: usize = 200;

/// What somebody is in a group, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// An ordinary member.
    Member,
    /// Helps the owner.
    Admin,
    /// The one whose group it is.
    Owner,
}

/// Whether a room is a group of LinkIM's.
pub fn is_group(room: &RoomKey) -> bool {
    room.service.is_some()
}

/// What a joined member is; None for who is not in the room, and for the service user.
///
/// # Errors
/// [`StoreError`].
pub fn role(read: &dyn Read, room: &RoomKey, user: UserNid) -> Result<Option<Role>, StoreError> {
    let joined = members::of(read, user, room.nid)?.is_some_and(|member| member.membership == Membership::Join);
    if !joined || room.service == Some(user) {
        return Ok(None);
    }
    let user_id = ids::user_id(read, user)?;
    Roles::of(read, room)?.of_user(read, &user_id).map(Some)
}

/// Whether somebody may withdraw another's message. `sender` is what the other one is now: None if they left.
pub fn may_withdraw(caller: Role, sender: Option<Role>) -> bool {
    outranks(caller, sender.unwrap_or(Role::Member))
}

/// Whether somebody may remove, mute or silence another: the owner anybody else, an admin ordinary members.
pub fn outranks(caller: Role, other: Role) -> bool {
    caller >= Role::Admin && caller > other
}

/// The roles of a room at one moment.
pub struct Roles<'r> {
    room: &'r RoomKey,
    power: Power,
    owner: Option<OwnedUserId>,
}

impl<'r> Roles<'r> {
    /// Of the room's current state.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn of(read: &dyn Read, room: &'r RoomKey) -> Result<Self, StoreError> {
        let power = Power::of_room(read, room)?;
        let owner = if is_group(room) { owner(read, room, &power)? } else { None };
        Ok(Self { room, power, owner })
    }

    /// The owner of a group, whether or not they are still in it. None in other rooms.
    pub fn owner(&self) -> Option<&UserId> {
        self.owner.as_deref()
    }

    /// What a member is; who is no member gets what they would be.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn of_user(&self, read: &dyn Read, user: &UserId) -> Result<Role, StoreError> {
        if self.owner.as_deref() == Some(user) {
            return Ok(Role::Owner);
        }
        let level = match self.power.of(user) {
            Level::Infinite => OWNER_LEVEL,
            Level::Number(level) if level < 0 && is_group(self.room) => {
                super::mutes::of_user(read, self.room.nid, user)?.map_or(0, |mute| mute.former_level)
            }
            Level::Number(level) => level,
        };
        Ok(match level {
            OWNER_LEVEL.. if is_group(self.room) => Role::Admin,
            OWNER_LEVEL.. => Role::Owner,
            ADMIN_LEVEL.. => Role::Admin,
            _ => Role::Member,
        })
    }

    /// The power levels.
    pub fn power(&self) -> &Power {
        &self.power
    }
}

/// The owner: who is named in the settings, if they are at 100; else who has been at 100 longest.
fn owner(read: &dyn Read, room: &RoomKey, power: &Power) -> Result<Option<OwnedUserId>, StoreError> {
    let settings: Settings = state::current_content(read, room.nid, SETTINGS, "")?.unwrap_or_default();
    let at_100 = |user: &UserId| power.of(user) >= Level::Number(OWNER_LEVEL);
    if let Some(owner) = settings.owner.and_then(|owner| OwnedUserId::try_from(owner).ok())
        && at_100(&owner)
    {
        return Ok(Some(owner));
    }
    let mut candidates = Vec::new();
    for user in power.listed().filter_map(|user| <&UserId>::try_from(user).ok()).filter(|user| at_100(user)) {
        let Some(nid) = ids::user_nid(read, user)? else { continue };
        let Some(member) = members::of(read, nid, room.nid)? else { continue };
        if member.membership == Membership::Join {
            candidates.push((member.since, user.to_owned()));
        }
    }
    candidates.sort_unstable();
    longest(read, room, candidates.into_iter().map(|(_, user)| user).collect())
}

/// Of those who are at 100 now, the one who has been it longest; of equals the first.
fn longest(read: &dyn Read, room: &RoomKey, mut left: Vec<OwnedUserId>) -> Result<Option<OwnedUserId>, StoreError> {
    if left.len() > 1
        && let Some(key) = ids::state_key_nid(read, "m.room.power_levels", "")?
    {
        let history = stored_state::history(read, room.main_line, key)?;
        for (_, event) in history.into_iter().rev().take(LOOK_BACK) {
            let Some(event) = event else { break };
            let before = users_at_100(read, room, event)?;
            let still: Vec<_> = left.iter().filter(|user| before.contains_key(user.as_str())).cloned().collect();
            if still.is_empty() {
                break;
            }
            left = still;
            if left.len() == 1 {
                break;
            }
        }
    }
    Ok(left.into_iter().next())
}

fn users_at_100(read: &dyn Read, room: &RoomKey, event: EventNid) -> Result<HashMap<String, ()>, StoreError> {
    let pdu: std::sync::Arc<Pdu> = state::load_pdu(read, event)?;
    let Some(rules) = rules(&room.version) else { return Ok(HashMap::new()) };
    let power = Power::new(rules, None, Some(&pdu));
    let at_100 =
        |user: &&str| <&UserId>::try_from(*user).is_ok_and(|user| power.of(user) >= Level::Number(OWNER_LEVEL));
    Ok(power.listed().filter(at_100).map(|user| (user.to_owned(), ())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OpenIM's table (spec/decisions/0017-groups.md).
    #[test]
    fn who_may_act_on_whom() {
        use Role::{Admin, Member, Owner};
        for (caller, other, may) in [
            (Owner, Admin, true),
            (Owner, Member, true),
            (Owner, Owner, false),
            (Admin, Owner, false),
            (Admin, Admin, false),
            (Admin, Member, true),
            (Member, Owner, false),
            (Member, Admin, false),
            (Member, Member, false),
        ] {
            assert_eq!(outranks(caller, other), may, "{caller:?} {other:?}");
            assert_eq!(may_withdraw(caller, Some(other)), may, "{caller:?} {other:?}");
        }
        assert!(may_withdraw(Admin, None) && !may_withdraw(Member, None));
    }
}
