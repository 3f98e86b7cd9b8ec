//! Going out of a group: members are removed, leave, or the group ends for all.

use std::sync::Arc;

use ruma::{CanonicalJsonObject, UserId};

use super::{
    Actor, GroupError, Groups, Role,
    act::{Ground, Plan},
    calls::Action,
    levels,
    members::distinct,
    outranks,
    settings::STATUS,
};
use crate::{
    numbers::User,
    rooms::{
        append::LocalEvent,
        content::{number, object},
        membership::Change,
    },
    store::{
        StoreError, groups, ids,
        ids::{RoomKey, RoomNid, UserNid},
        members::Membership,
        rooms,
    },
};

/// Members removed by one append when a group is dissolved: other rooms are written between two of them.
const REMOVED_AT_ONCE: usize = 50;

impl Groups {
    /// Removes members. The owner may remove everybody else, an admin ordinary members; who is not in the group is passed
    /// over. Answers who was removed.
    ///
    /// # Errors
    /// [`GroupError`]; `NotPermitted` also if one of them may not be removed: then none is.
    pub async fn kick(
        &self,
        room: &Arc<RoomKey>,
        by: &Actor,
        users: Vec<User>,
        reason: String,
    ) -> Result<Vec<UserNid>, GroupError> {
        let users = distinct(users)?;
        self.act(room, by, move |ground| {
            ground.needs(Role::Admin)?;
            let (mut events, mut removed, mut levels) = (Vec::new(), Vec::new(), ground.levels.clone());
            for user in &users {
                let Some(other) = ground.member(&user.user_id)? else { continue };
                if !outranks(ground.role, other.role) {
                    let text = format!("your role does not let you remove {}", other.user_id);
                    return Err(GroupError::NotPermitted(text));
                }
                events.push(ground.state("m.room.member", other.user_id.as_str(), leave(&reason)));
                // What they were goes; a mute stays, lest they come back without it.
                if levels::listed(&levels, &other.user_id).is_some_and(|level| level > 0) {
                    levels::set(&mut levels, &other.user_id, 0);
                }
                removed.push(other.user);
            }
            if levels != ground.levels {
                events.insert(0, ground.levels(levels));
            }
            Ok(Plan::new(events, removed))
        })
        .await
    }

    /// Leaves a group.
    ///
    /// # Errors
    /// [`GroupError`]; `NotPermitted` for the owner, who must hand the group on or dissolve it.
    pub async fn leave(&self, room: &Arc<RoomKey>, by: &Actor, reason: String) -> Result<(), GroupError> {
        let by_id = by.user_id.clone();
        self.act(room, by, move |ground| {
            if ground.roles.owner() == Some(&by_id) {
                let text = "the owner of a group hands it on or dissolves it, before leaving";
                return Err(GroupError::NotPermitted(text.into()));
            }
            let mut events = Vec::new();
            events.extend(without_level(ground, &by_id));
            events.push(LocalEvent::state(by_id.clone(), "m.room.member", by_id.as_str(), leave(&reason)));
            Ok(Plan::new(events, ()))
        })
        .await
    }

    /// Dissolves a group: from now on nobody can do anything in it, then all are removed. The owner may. Answers once the
    /// group is silent; the rest goes on, also after a restart.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn dissolve(&self, room: &Arc<RoomKey>, by: &Actor) -> Result<(), GroupError> {
        if self.elsewhere(room, by, Action::Dissolve {}).await? {
            return Ok(());
        }
        let (by_id, own) = (by.user_id.clone(), room.service == Some(self.service.user));
        self.act(room, by, move |ground| {
            ground.needs(Role::Owner)?;
            if !own {
                return Err(GroupError::NotPermitted("only a group of this server can be dissolved here".into()));
            }
            let status = dissolved(&by_id, ground.now_ms);
            let events = vec![
                ground.levels(levels::dissolved()),
                ground.state("m.room.join_rules", "", object([("join_rule", "invite".into())])),
                ground.state(STATUS, "", status),
            ];
            let room = ground.room.nid;
            Ok(Plan::new(events, ()).beside(move |tx| {
                groups::start_dissolution(tx, room)?;
                groups::delete_mutes(tx, room)?;
                groups::delete_requests(tx, room)?;
                groups::delete_invitations_of(tx, room)?;
                rooms::set_listed(tx, room, false)
            }))
        })
        .await?;
        self.changes.dissolve();
        Ok(())
    }

    /// Removes all who are left in a dissolved group.
    pub(super) async fn remove_all(&self, room: RoomNid) -> Result<(), GroupError> {
        let service = self.service.user;
        let own = self.server_name.clone();
        for membership in [Membership::Join, Membership::Invite, Membership::Knock] {
            let mut after = UserNid(i64::MIN);
            loop {
                let rows = self
                    .store
                    .read::<_, StoreError, _>(move |read| {
                        let rows = groups::members_after(read, room, membership, after, REMOVED_AT_ONCE)?;
                        rows.iter()
                            .map(|row| Ok((row.user, ids::user_id(read, row.user)?)))
                            .collect::<Result<Vec<_>, _>>()
                    })
                    .await?;
                let Some((last, _)) = rows.last() else { break };
                after = *last;
                // The server of one who is not in the room must be told by itself.
                let (told, here): (Vec<_>, Vec<_>) = rows
                    .into_iter()
                    .filter(|(user, _)| *user != service)
                    .partition(|(_, id)| membership != Membership::Join && id.server_name() != own);
                let leaves = here.iter().map(|(_, user_id)| {
                    LocalEvent::state(self.service.user_id.clone(), "m.room.member", user_id.as_str(), leave(""))
                });
                let leaves: Vec<_> = leaves.collect();
                if !leaves.is_empty() {
                    self.appenders.append(room, leaves, None).await?;
                }
                if told.is_empty() {
                    continue;
                }
                let key = self.room_key(room).await?;
                for (_, user_id) in told {
                    let session = self.service.session();
                    if let Err(error) =
                        self.membership.act_on(&session, &key.room_id, &user_id, Change::Kick, None).await
                    {
                        tracing::info!(%error, %user_id, "an invitation to a dissolved group was not taken back");
                    }
                }
            }
        }
        self.store.write::<_, StoreError, _>(move |tx| groups::end_dissolution(tx, room)).await?;
        Ok(())
    }

    pub(super) async fn room_key(&self, room: RoomNid) -> Result<Arc<RoomKey>, StoreError> {
        self.store.read_short(move |read| ids::room_by_nid(read, room)).await
    }
}

/// The content of a leave, with its reason if there is one.
pub(super) fn leave(reason: &str) -> CanonicalJsonObject {
    let mut content = object([("membership", "leave".into())]);
    if !reason.is_empty() {
        content.insert("reason".into(), reason.into());
    }
    content
}

/// The content of the status of a dissolved group.
pub(super) fn dissolved(by: &UserId, now_ms: i64) -> CanonicalJsonObject {
    object([("by", by.as_str().into()), ("status", "dissolved".into()), ("ts", number(now_ms))])
}

/// Takes an admin's level from one who goes, where the executor is another.
fn without_level(ground: &Ground<'_>, user: &UserId) -> Option<LocalEvent> {
    levels::listed(&ground.levels, user).filter(|level| *level > 0 && ground.executor != user)?;
    let mut levels = ground.levels.clone();
    levels::set(&mut levels, user, 0);
    Some(ground.levels(levels))
}
