//! Lifts ended mutes in groups of another server's that is silent: the owner's server does, with the owner's power.
//!
//! Only that one does, so that no two servers do the same at once; and only after ten minutes, so that the group's own server, if it
//! is merely slow or was away for a moment, does it itself. Silent is a server from whose users nothing came into the group for so
//! long after the mute ended, while this server was there to hear it: what is derived of a room's state after a start is not yet what
//! the others know.

use std::{collections::HashMap, sync::Arc};

use ruma::OwnedUserId;

use super::{
    GroupError, Groups, Mute, Roles,
    act::Plan,
    mutes,
    silence::{LIFTED_AT_ONCE, lifting},
};
use crate::store::{
    Read, StoreError, groups, ids,
    ids::{RoomKey, RoomNid},
    members,
    members::Membership,
};

/// For how long a group's own server must have been silent.
const SILENCE_MS: i64 = 10 * 60 * 1_000;

/// How often groups of others are looked at: silence is measured in minutes.
const EVERY_MS: i64 = 60 * 1_000;

/// Groups read at once.
const CHUNK: usize = 500;

/// The newest events among which one of the group's own server is looked for. In a group in which more came within ten minutes it may
/// be taken for silent, which does no harm: the mute has ended in any case.
const NEWEST: usize = 1_000;

/// What was seen of groups of others when they were last looked at. Bound: 32 bytes for each such group that a local user is in.
#[derive(Debug, Default)]
pub(super) struct OthersGroups {
    looked_ms: Option<i64>,
    seen: HashMap<RoomNid, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The newest change of the state that was looked at.
    state_position: i64,
    /// When the first mute ends, if this server may ever lift it.
    first_end: Option<i64>,
}

/// Mutes that are to be lifted, and by whom.
struct Overdue {
    owner: OwnedUserId,
    mutes: Vec<Mute>,
}

impl Groups {
    /// Looks at the groups of others if it is time to.
    pub(super) async fn lift_for_silent_servers(&self, others: &mut OthersGroups) -> Result<(), GroupError> {
        let now_ms = self.clock.now_ms();
        if others.looked_ms.is_some_and(|looked| now_ms - looked < EVERY_MS && now_ms >= looked) {
            return Ok(());
        }
        others.looked_ms = Some(now_ms);
        let mut after = RoomNid(i64::MIN);
        loop {
            let service = self.service.user;
            let found =
                self.store.read::<_, StoreError, _>(move |read| groups::of_others(read, service, after, CHUNK)).await?;
            let Some((last, _)) = found.last() else { return Ok(()) };
            after = *last;
            for (room, state_position) in found {
                if let Err(error) = self.look_at(room, state_position, others, now_ms).await {
                    tracing::info!(%error, room = room.0, "the ended mutes of a group of a silent server were not lifted");
                }
            }
        }
    }

    async fn look_at(
        &self,
        room: RoomNid,
        state_position: i64,
        others: &mut OthersGroups,
        now_ms: i64,
    ) -> Result<(), GroupError> {
        let seen = others.seen.get(&room).filter(|seen| seen.state_position == state_position).copied();
        let first_end = match seen {
            Some(seen) => seen.first_end,
            None => {
                let own = self.server_name.clone();
                let first_end = self.store.read::<_, StoreError, _>(move |read| first_end(read, room, &own)).await?;
                others.seen.insert(room, Seen { state_position, first_end });
                first_end
            }
        };
        let since_ms = now_ms - SILENCE_MS;
        if first_end.is_none_or(|end| end > since_ms) || self.started_ms > since_ms {
            return Ok(());
        }
        let key = self.room_key(room).await?;
        let (of, own) = (key.clone(), self.server_name.clone());
        let overdue = self.store.read::<_, StoreError, _>(move |read| overdue(read, &of, &own, since_ms)).await?;
        match overdue {
            Some(overdue) => self.lift_by_owner(&key, overdue, since_ms).await,
            None => Ok(()),
        }
    }

    async fn lift_by_owner(&self, room: &Arc<RoomKey>, overdue: Overdue, since_ms: i64) -> Result<(), GroupError> {
        let Overdue { owner, mutes } = overdue;
        self.act_as(room, owner, move |read, room, executor, _| {
            // As they are now, should this be decided anew.
            let mut lifted = Vec::new();
            for mute in &mutes {
                let Ok(user) = <&ruma::UserId>::try_from(&*mute.user_id) else { continue };
                let now = mutes::of_user(read, room.nid, user)?;
                lifted.extend(now.filter(|mute| mute.until_ts <= since_ms));
            }
            Ok(Plan::new(lifting(read, room, executor, &lifted)?, ()))
        })
        .await
    }
}

/// When the first of a group's mutes ends; None if it has none, or its owner is no user of this server.
fn first_end(read: &dyn Read, room: RoomNid, own: &ruma::ServerName) -> Result<Option<i64>, StoreError> {
    let room = ids::room_by_nid(read, room)?;
    if owner(read, &room, own)?.is_none() {
        return Ok(None);
    }
    Ok(mutes::of_room(read, room.nid)?.into_iter().map(|mute| mute.until_ts).min())
}

/// The owner, if they are a user of this server who is in the group.
fn owner(read: &dyn Read, room: &RoomKey, own: &ruma::ServerName) -> Result<Option<OwnedUserId>, StoreError> {
    let roles = Roles::of(read, room)?;
    let Some(owner) = roles.owner().filter(|owner| owner.server_name() == own) else { return Ok(None) };
    let Some(user) = ids::user_nid(read, owner)? else { return Ok(None) };
    let joined = members::of(read, user, room.nid)?.is_some_and(|member| member.membership == Membership::Join);
    Ok(joined.then(|| owner.to_owned()))
}

/// The mutes that ended by `since_ms` and still stand, if the group's own server has been silent since then.
fn overdue(
    read: &dyn Read,
    room: &RoomKey,
    own: &ruma::ServerName,
    since_ms: i64,
) -> Result<Option<Overdue>, StoreError> {
    let (Some(owner), Some(service)) = (owner(read, room, own)?, room.service) else { return Ok(None) };
    let mutes: Vec<_> = mutes::of_room(read, room.nid)?
        .into_iter()
        .filter(|mute| mute.until_ts <= since_ms)
        .take(LIFTED_AT_ONCE)
        .collect();
    if mutes.is_empty() || groups::heard_from_server_of(read, room.nid, service, since_ms, NEWEST)? {
        return Ok(None);
    }
    Ok(Some(Overdue { owner, mutes }))
}
