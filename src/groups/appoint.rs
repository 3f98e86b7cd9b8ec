//! Who becomes what: admins are made and unmade, the group is handed on.

use std::sync::Arc;

use ruma::UserId;

use super::{
    ADMIN_LEVEL, Actor, GroupError, Groups, OWNER_LEVEL, Role, Settings,
    act::{Ground, Other, Plan},
    levels, mutes,
    settings::{MUTE, SETTINGS},
};
use crate::{
    numbers::User,
    rooms::append::LocalEvent,
    store::{StoreError, groups, ids::RoomKey},
};

impl Groups {
    /// Makes an admin of a member. The owner may.
    ///
    /// # Errors
    /// [`GroupError`]; `Already` if they are one, or the owner.
    pub async fn promote(&self, room: &Arc<RoomKey>, by: &Actor, target: &User) -> Result<(), GroupError> {
        self.set_level(room, by, target, Role::Member, ADMIN_LEVEL, "this member is an admin already, or the owner")
            .await
    }

    /// Makes a member of an admin. The owner may.
    ///
    /// # Errors
    /// [`GroupError`]; `Already` if they are none.
    pub async fn demote(&self, room: &Arc<RoomKey>, by: &Actor, target: &User) -> Result<(), GroupError> {
        self.set_level(room, by, target, Role::Admin, 0, "this member is no admin").await
    }

    async fn set_level(
        &self,
        room: &Arc<RoomKey>,
        by: &Actor,
        target: &User,
        from: Role,
        level: i64,
        otherwise: &'static str,
    ) -> Result<(), GroupError> {
        let target = target.user_id.clone();
        self.act(room, by, move |ground| {
            ground.needs(Role::Owner)?;
            let other = ground.existing(&target)?;
            if other.role != from {
                return Err(GroupError::Already(otherwise));
            }
            Ok(Plan::new(with_level(ground, &other, level)?, ()))
        })
        .await
    }

    /// Hands the group on: the target becomes its owner and is no longer muted, the owner becomes an admin.
    ///
    /// # Errors
    /// [`GroupError`]; `Already` if it is their own.
    pub async fn transfer(&self, room: &Arc<RoomKey>, by: &Actor, target: &User) -> Result<(), GroupError> {
        let (target, by_id) = (target.user_id.clone(), by.user_id.clone());
        self.act(room, by, move |ground| {
            ground.needs(Role::Owner)?;
            if target == by_id {
                return Err(GroupError::Already("the group is yours already"));
            }
            let other = ground.existing(&target)?;
            let (room, user) = (ground.room.nid, other.user);
            let events = hand_over(ground, &other, Some((&by_id, ADMIN_LEVEL)))?;
            Ok(Plan::new(events, ()).beside(move |tx| groups::delete_mute(tx, room, user)))
        })
        .await
    }
}

/// The events by which a member has another level, also below a mute.
fn with_level(ground: &Ground<'_>, other: &Other, level: i64) -> Result<Vec<LocalEvent>, StoreError> {
    let mut events = Vec::new();
    if let Some(mut mute) = mutes::of_user(ground.read, ground.room.nid, &other.user_id)? {
        mute.former_level = level;
        events.push(ground.state(MUTE, &mutes::key(&other.user_id), mute.content(ground.executor)));
    }
    if levels::listed(&ground.levels, &other.user_id).is_none_or(|listed| listed >= 0) || events.is_empty() {
        let mut levels = ground.levels.clone();
        levels::set(&mut levels, &other.user_id, level);
        events.push(ground.levels(levels));
    }
    Ok(events)
}

/// The events by which a group is somebody's: the power levels last, since they may take the executor's own power.
pub(super) fn hand_over(
    ground: &Ground<'_>,
    to: &Other,
    from: Option<(&UserId, i64)>,
) -> Result<Vec<LocalEvent>, StoreError> {
    let mut events = Vec::new();
    if mutes::of_user(ground.read, ground.room.nid, &to.user_id)?.is_some() {
        events.push(ground.state(MUTE, &mutes::key(&to.user_id), Default::default()));
    }
    let mut settings = Settings::of_room(ground.read, ground.room.nid)?;
    settings.owner = Some(to.user_id.to_string());
    events.push(ground.state(SETTINGS, "", settings.content()));
    let mut levels = ground.levels.clone();
    levels::set(&mut levels, &to.user_id, OWNER_LEVEL);
    if let Some((from, level)) = from {
        levels::set(&mut levels, from, level);
    }
    events.push(ground.levels(levels));
    Ok(events)
}
