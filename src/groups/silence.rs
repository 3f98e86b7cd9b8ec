//! Who may not talk: members muted for a time, and the whole group.

use std::sync::Arc;

use ruma::{CanonicalJsonObject, UserId};

use super::{
    Actor, GroupError, Groups, MAX_MUTED_LEVELS, MUTED_LEVEL, Mute, Role, act::Plan, calls::Action, levels, mutes,
    outranks, settings::MUTE,
};
use crate::{
    numbers::User,
    rooms::{append::LocalEvent, content::number, state},
    store::{
        Read, StoreError, groups, ids,
        ids::{RoomKey, RoomNid},
    },
};

/// Seconds of a mute at most: ten years.
pub const MAX_MUTE_SECONDS: i64 = 10 * 365 * 24 * 3_600;

/// Mutes that are lifted by one call at most.
pub(super) const LIFTED_AT_ONCE: usize = 200;

/// Rooms with ended mutes that are looked at before others have their turn.
pub(super) const ROOMS_AT_ONCE: usize = 100;

impl Groups {
    /// Mutes a member for so many seconds; 0 lifts the mute. The owner may mute everybody else, an admin ordinary members.
    /// Answers when it ends, in milliseconds; 0: it is lifted.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn mute(&self, room: &Arc<RoomKey>, by: &Actor, target: &User, seconds: i64) -> Result<i64, GroupError> {
        if !(0..=MAX_MUTE_SECONDS).contains(&seconds) {
            return Err(GroupError::Argument(format!("seconds is not between 0 and {MAX_MUTE_SECONDS}")));
        }
        let (target, by_id) = (target.user_id.clone(), by.user_id.clone());
        if self.elsewhere(room, by, Action::Mute { user_id: target.clone(), seconds }).await? {
            let of = room.nid;
            let mute = self.store.read::<_, StoreError, _>(move |read| mutes::of_user(read, of, &target)).await?;
            return Ok(mute.filter(|_| seconds > 0).map_or(0, |mute| mute.until_ts));
        }
        self.act(room, by, move |ground| {
            let other = ground.existing(&target)?;
            if !outranks(ground.role, other.role) {
                return Err(GroupError::NotPermitted("your role does not let you mute this member".into()));
            }
            let before = mutes::of_user(ground.read, ground.room.nid, &target)?;
            let listed = levels::listed(&ground.levels, &target);
            let former = before.as_ref().map(|mute| mute.former_level).or(listed.filter(|level| *level >= 0));
            let former_level = former.unwrap_or(0);
            let (room, user, key) = (ground.room.nid, other.user, mutes::key(&target));
            let mut levels = ground.levels.clone();
            if seconds == 0 {
                let mut events = Vec::new();
                if before.is_some() {
                    events.push(ground.state(MUTE, &key, CanonicalJsonObject::new()));
                }
                if listed.is_some_and(|level| level < 0) {
                    levels::set(&mut levels, &target, former_level);
                    events.push(ground.levels(levels));
                }
                return Ok(Plan::new(events, 0).beside(move |tx| groups::delete_mute(tx, room, user)));
            }
            let until_ts = ground.now_ms.saturating_add(seconds * 1_000);
            let mute = Mute { user_id: target.to_string(), until_ts, former_level };
            let mut events = vec![ground.state(MUTE, &key, mute.content(&by_id))];
            if listed.is_none_or(|level| level >= 0) && levels::muted(&levels) < MAX_MUTED_LEVELS {
                levels::set(&mut levels, &target, MUTED_LEVEL);
                events.push(ground.levels(levels));
            }
            Ok(Plan::new(events, until_ts).beside(move |tx| groups::put_mute(tx, room, user, until_ts)))
        })
        .await
    }

    /// Lets only the owner and the admins talk, or everybody again. The owner and the admins may.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn mute_all(&self, room: &Arc<RoomKey>, by: &Actor, mute: bool) -> Result<(), GroupError> {
        if self.elsewhere(room, by, Action::MuteAll { mute }).await? {
            return Ok(());
        }
        self.act(room, by, move |ground| {
            ground.needs(Role::Admin)?;
            let level = if mute { super::ADMIN_LEVEL } else { 0 };
            if levels::named(&ground.levels, "events_default") == level {
                return Ok(Plan::new(Vec::new(), ()));
            }
            let mut levels = ground.levels.clone();
            levels.insert("events_default".into(), number(level));
            Ok(Plan::new(vec![ground.levels(levels)], ()))
        })
        .await
    }

    /// Lifts the mutes of a room that have ended.
    pub(super) async fn lift_ended(&self, room: RoomNid) -> Result<(), GroupError> {
        let key = self.room_key(room).await?;
        self.act_as(&key, self.service.user_id.clone(), move |read, room, executor, now_ms| {
            let ended = groups::mutes(read, room.nid)?.into_iter().filter(|(_, until)| *until <= now_ms);
            let (mut lifted, mut rows) = (Vec::new(), Vec::new());
            for (user, _) in ended.take(LIFTED_AT_ONCE) {
                rows.push(user);
                // A newer one, of another hand, holds.
                let mute = mutes::of_user(read, room.nid, &ids::user_id(read, user)?)?;
                lifted.extend(mute.filter(|mute| !mute.holds(now_ms)));
            }
            let events = lifting(read, room, executor, &lifted)?;
            let room = room.nid;
            Ok(Plan::new(events, ())
                .beside(move |tx| rows.iter().try_for_each(|user| groups::delete_mute(tx, room, *user))))
        })
        .await
    }
}

/// The events by which mutes end.
pub(super) fn lifting(
    read: &dyn Read,
    room: &RoomKey,
    executor: &UserId,
    lifted: &[Mute],
) -> Result<Vec<LocalEvent>, StoreError> {
    let before: CanonicalJsonObject =
        state::current_content(read, room.nid, "m.room.power_levels", "")?.unwrap_or_default();
    let (mut events, mut levels) = (Vec::new(), before.clone());
    for mute in lifted {
        let Ok(user) = <&UserId>::try_from(&*mute.user_id) else { continue };
        let key = mutes::key(user);
        events.push(LocalEvent::state(executor.to_owned(), MUTE, key, CanonicalJsonObject::new()));
        if levels::listed(&levels, user).is_some_and(|level| level < 0) {
            levels::set(&mut levels, user, mute.former_level);
        }
    }
    if levels != before {
        events.push(LocalEvent::state(executor.to_owned(), "m.room.power_levels", "", levels));
    }
    Ok(events)
}
