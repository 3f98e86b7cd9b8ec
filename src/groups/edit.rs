//! What a group is called, looks like and is set to, and what a member is called in it.

use std::sync::Arc;

use ruma::{CanonicalJsonObject, CanonicalJsonValue};

use super::{
    Actor, GroupError, Groups, JoinMode, MAX_NICKNAME, Role, Settings, act::Plan, calls::Action, create::check_name,
    levels, settings::SETTINGS,
};
use crate::{
    rooms::{
        append::LocalEvent,
        content::{number, object},
        profile::NICKNAME_OVERRIDE,
        state,
    },
    store::{account_data, ids::RoomKey},
};

/// Characters of an avatar's address at most.
const MAX_ADDRESS: usize = 1_000;

impl Groups {
    /// Gives a group another name. The owner and the admins may.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn rename(&self, room: &Arc<RoomKey>, by: &Actor, name: String) -> Result<(), GroupError> {
        check_name(&name)?;
        self.set(room, by, "m.room.name", object([("name", name.into())])).await
    }

    /// Gives a group another avatar; an empty address takes it away. The owner and the admins may.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn set_avatar(&self, room: &Arc<RoomKey>, by: &Actor, address: String) -> Result<(), GroupError> {
        if address.chars().count() > MAX_ADDRESS {
            return Err(GroupError::Argument(format!("the avatar's address has more than {MAX_ADDRESS} characters")));
        }
        let content = if address.is_empty() { CanonicalJsonObject::new() } else { object([("url", address.into())]) };
        self.set(room, by, "m.room.avatar", content).await
    }

    async fn set(
        &self,
        room: &Arc<RoomKey>,
        by: &Actor,
        kind: &'static str,
        content: CanonicalJsonObject,
    ) -> Result<(), GroupError> {
        self.act(room, by, move |ground| {
            ground.needs(Role::Admin)?;
            Ok(Plan::new(vec![ground.state(kind, "", content.clone())], ()))
        })
        .await
    }

    /// Sets what members may see of each other; what is None stays. The owner and the admins may.
    ///
    /// # Errors
    /// [`GroupError`]; `Argument` if one is neither 0 nor 1.
    pub async fn set_settings(
        &self,
        room: &Arc<RoomKey>,
        by: &Actor,
        look_member_info: Option<i64>,
        apply_member_friend: Option<i64>,
    ) -> Result<(), GroupError> {
        if [look_member_info, apply_member_friend].into_iter().flatten().any(|value| !matches!(value, 0 | 1)) {
            return Err(GroupError::Argument("lookMemberInfo and applyMemberFriend are 0 or 1".into()));
        }
        if self.elsewhere(room, by, Action::Settings { look_member_info, apply_member_friend }).await? {
            return Ok(());
        }
        self.act(room, by, move |ground| {
            ground.needs(Role::Admin)?;
            let before = Settings::of_room(ground.read, ground.room.nid)?;
            let settings = Settings {
                owner: ground.roles.owner().map(ToString::to_string),
                look_member_info: look_member_info.unwrap_or(before.look_member_info),
                apply_member_friend: apply_member_friend.unwrap_or(before.apply_member_friend),
            };
            Ok(Plan::new(vec![ground.state(SETTINGS, "", settings.content())], ()))
        })
        .await
    }

    /// Sets how one comes in. The owner and the admins may.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn set_join_mode(&self, room: &Arc<RoomKey>, by: &Actor, mode: JoinMode) -> Result<(), GroupError> {
        if self.elsewhere(room, by, Action::JoinMode { join_mode: mode.number() }).await? {
            return Ok(());
        }
        self.act(room, by, move |ground| {
            ground.needs(Role::Admin)?;
            let mut events = vec![ground.state("m.room.join_rules", "", mode.join_rules())];
            if levels::named(&ground.levels, "invite") != mode.invite_level() {
                let mut levels = ground.levels.clone();
                levels.insert("invite".into(), number(mode.invite_level()));
                events.push(ground.levels(levels));
            }
            Ok(Plan::new(events, ()))
        })
        .await
    }

    /// Gives a member another name in this group; it stays when their profile changes.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn set_nickname(&self, room: &Arc<RoomKey>, by: &Actor, nickname: String) -> Result<(), GroupError> {
        if nickname.trim().is_empty() || nickname.chars().count() > MAX_NICKNAME {
            return Err(GroupError::Argument(format!("a nickname has 1 to {MAX_NICKNAME} characters")));
        }
        let by_actor = by.clone();
        self.act(room, by, move |ground| {
            let key = by_actor.user_id.as_str();
            let mut content: CanonicalJsonObject =
                state::current_content(ground.read, ground.room.nid, "m.room.member", key)?.unwrap_or_default();
            for name in ["reason", "join_authorised_via_users_server", "third_party_invite", "is_direct"] {
                content.remove(name);
            }
            content.insert("displayname".into(), nickname.as_str().into());
            let event = LocalEvent::state(by_actor.user_id.clone(), "m.room.member", key, content);
            let own = CanonicalJsonValue::Object(nickname_override(&nickname)).to_string();
            let (user, room) = (by_actor.user, Some(ground.room.nid));
            Ok(Plan::new(vec![event], ()).beside(move |tx| {
                let position = tx.next_position();
                if !account_data::update(tx, user, room, NICKNAME_OVERRIDE, &own, position)? {
                    account_data::insert(tx, user, room, NICKNAME_OVERRIDE, &own, position)?;
                }
                Ok(())
            }))
        })
        .await
    }
}

/// The room account data that remembers a nickname.
pub(super) fn nickname_override(nickname: &str) -> CanonicalJsonObject {
    object([("nickname", nickname.into())])
}
