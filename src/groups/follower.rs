//! Puts right what reached a group by another way than an action, after it happened: an owner who left, power levels edited by
//! hand, mutes that ended, a dissolution that was cut off.
//!
//! Everything is derived from the room's state, and doing it twice does nothing. So what a crash cuts off is found again at
//! the start, when each group is looked at once.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ruma::OwnedUserId;
use tokio::sync::Notify;

use super::{
    GroupError, Groups, MAX_MUTED_LEVELS, MUTED_LEVEL, Role, Roles, Settings,
    act::{Ground, Other, Plan},
    appoint::hand_over,
    levels, mutes,
    settings::{MUTE, SETTINGS, is_dissolved},
    silence::ROOMS_AT_ONCE,
    silent_server::OthersGroups,
};
use crate::{
    rooms::{append::Wake, state},
    store::{
        StoreError, groups, ids,
        ids::{RoomNid, UserNid},
        members::Membership,
    },
};

/// Groups read at once at the start.
const CHUNK: usize = 500;

/// How long the follower sleeps at most: a clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// After a failure.
const RETRY: Duration = Duration::from_secs(5);

/// Members among whom a new owner is looked for, the earliest first.
const SUCCESSORS: usize = 10;

/// Which groups changed. Bound: a number for each group of this server's.
#[derive(Default)]
pub struct Changes {
    inner: Mutex<Inner>,
    more: Notify,
    /// A group is to be dissolved.
    dissolving: Notify,
}

#[derive(Default)]
struct Inner {
    own: HashSet<RoomNid>,
    changed: BTreeSet<RoomNid>,
}

impl Changes {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches these groups, and has them looked at.
    pub(super) fn watch(&self, rooms: impl IntoIterator<Item = RoomNid>) {
        let mut inner = self.lock();
        for room in rooms {
            inner.own.insert(room);
            inner.changed.insert(room);
        }
        drop(inner);
        self.more.notify_one();
    }

    /// Has dissolutions gone on with.
    pub(super) fn dissolve(&self) {
        self.dissolving.notify_one();
    }

    fn take(&self) -> BTreeSet<RoomNid> {
        std::mem::take(&mut self.lock().changed)
    }
}

/// Notes changes of groups' states on the way to who else hears of them.
pub struct NoteChanges<W> {
    /// Who else.
    pub next: W,
    /// Where they are noted.
    pub changes: Arc<Changes>,
}

impl<W: Wake> Wake for NoteChanges<W> {
    fn room_changed(&self, room: RoomNid, position: i64, members: &HashSet<UserNid>, also: &[UserNid]) {
        self.next.room_changed(room, position, members, also);
    }

    fn room_changed_here(&self, room: RoomNid, position: i64, members: &HashSet<UserNid>) {
        self.next.room_changed_here(room, position, members);
    }

    fn state_changed(&self, room: RoomNid) {
        let mut inner = self.changes.lock();
        if inner.own.contains(&room) {
            inner.changed.insert(room);
            drop(inner);
            self.changes.more.notify_one();
        }
        self.next.state_changed(room);
    }
}

impl Groups {
    /// Follows the groups of this server until dropped.
    pub async fn follow(self: Arc<Self>) {
        tokio::join!(self.follow_changes(), self.finish_dissolutions(), self.finish_inviting());
    }

    async fn follow_changes(&self) {
        while let Err(error) = self.watch_all().await {
            tracing::warn!(%error, "the groups of this server could not be read");
            tokio::time::sleep(RETRY).await;
        }
        let (mut failed, mut others) = (BTreeSet::new(), OthersGroups::default());
        loop {
            let mut rooms = self.changes.take();
            rooms.append(&mut failed);
            for room in rooms {
                match self.put_right(room).await {
                    Ok(()) => {}
                    Err(error @ (GroupError::Busy | GroupError::Store(_))) => {
                        tracing::warn!(%error, "a change of a group was not followed; it is tried again");
                        failed.insert(room);
                    }
                    // A blocked room, say: tried again when it changes, and at the next start.
                    Err(error) => tracing::info!(%error, room = room.0, "a change of a group was not followed"),
                }
            }
            let mut sleep = match self.lift().await {
                Ok(sleep) => sleep,
                Err(error) => {
                    tracing::warn!(%error, "ended mutes were not lifted; it is tried again");
                    RETRY
                }
            };
            if let Err(error) = self.lift_for_silent_servers(&mut others).await {
                tracing::warn!(%error, "groups of other servers could not be looked at");
            }
            if !failed.is_empty() {
                sleep = sleep.min(RETRY);
            }
            tokio::select! {
                () = self.changes.more.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Removes who is left in dissolved groups: a task of its own, since it may take a while, and other groups' mutes end meanwhile.
    async fn finish_dissolutions(&self) {
        loop {
            let mut failed = false;
            match self.store.read::<_, StoreError, _>(|read| groups::dissolutions(read)).await {
                Ok(rooms) => {
                    for room in rooms {
                        if let Err(error) = self.remove_all(room).await {
                            tracing::warn!(%error, room = room.0, "a group was not dissolved; it is tried again");
                            failed = true;
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the groups that are to be dissolved could not be read");
                    failed = true;
                }
            }
            tokio::select! {
                () = self.changes.dissolving.notified() => {}
                () = tokio::time::sleep(RETRY), if failed => {}
            }
        }
    }

    async fn watch_all(&self) -> Result<(), StoreError> {
        let (mut after, service) = (RoomNid(i64::MIN), self.service.user);
        loop {
            let rooms = self.store.read(move |read| groups::of_service(read, service, after, CHUNK)).await?;
            let Some(last) = rooms.last() else { return Ok(()) };
            after = *last;
            self.changes.watch(rooms);
        }
    }

    /// Lifts the mutes that have ended; answers until when there is nothing to lift.
    async fn lift(&self) -> Result<Duration, GroupError> {
        let now_ms = self.clock.now_ms();
        let ended = self.store.read(move |read| groups::rooms_with_ended_mutes(read, now_ms, ROOMS_AT_ONCE)).await;
        let ended = ended.map_err(|error: StoreError| error)?;
        let any = !ended.is_empty();
        for room in ended {
            match self.lift_ended(room).await {
                Ok(()) => {}
                Err(error @ (GroupError::Busy | GroupError::Store(_))) => return Err(error),
                Err(error) => {
                    tracing::info!(%error, room = room.0, "the mutes of a group can't be lifted");
                    self.store.write::<_, StoreError, _>(move |tx| groups::delete_mutes(tx, room)).await?;
                }
            }
        }
        if any {
            return Ok(Duration::ZERO);
        }
        let next = self.store.read(|read| groups::next_mute_end(read)).await.map_err(|error: StoreError| error)?;
        let left = next.map_or(i64::MAX, |next| next.saturating_sub(self.clock.now_ms()).max(0));
        Ok(Duration::from_millis(left.unsigned_abs()).min(LONGEST_SLEEP))
    }

    async fn put_right(&self, room: RoomNid) -> Result<(), GroupError> {
        if self.store.read::<_, StoreError, _>(move |read| is_dissolved(read, room)).await? {
            return Ok(());
        }
        let key = self.room_key(room).await?;
        self.act_as(&key, self.service.user_id.clone(), |read, room, executor, now_ms| {
            let ground = Ground {
                read,
                room,
                roles: Roles::of(read, room)?,
                levels: state::current_content(read, room.nid, "m.room.power_levels", "")?.unwrap_or_default(),
                role: Role::Owner,
                executor,
                now_ms,
            };
            match succession(&ground)? {
                Some(plan) => Ok(plan),
                None => Ok(reconciled(&ground)?),
            }
        })
        .await
    }
}

/// Where the owner is gone: the earliest admin is the next, else the earliest member.
fn succession(ground: &Ground<'_>) -> Result<Option<Plan<()>>, StoreError> {
    let owner = ground.roles.owner();
    if let Some(owner) = owner
        && ground.member(owner)?.is_some()
    {
        let mut settings = Settings::of_room(ground.read, ground.room.nid)?;
        if settings.owner.as_deref() == Some(owner.as_str()) {
            return Ok(None);
        }
        settings.owner = Some(owner.to_string());
        return Ok(Some(Plan::new(vec![ground.state(SETTINGS, "", settings.content())], ())));
    }
    let Some(next) = successor(ground)? else { return Ok(None) };
    let events = hand_over(ground, &next, owner.map(|owner| (owner, 0)))?;
    let (room, user) = (ground.room.nid, next.user);
    Ok(Some(Plan::new(events, ()).beside(move |tx| groups::delete_mute(tx, room, user))))
}

fn successor(ground: &Ground<'_>) -> Result<Option<Other>, StoreError> {
    let mut admins = Vec::new();
    for user in ground.roles.power().listed().filter_map(|user| <&ruma::UserId>::try_from(user).ok()) {
        let Some(other) = ground.member(user)?.filter(|other| other.role >= Role::Admin) else { continue };
        let since = ground.membership(other.user)?.map_or(i64::MAX, |member| member.since);
        admins.push((since, other));
    }
    if let Some((_, admin)) = admins.into_iter().min_by_key(|(since, other)| (*since, other.user)) {
        return Ok(Some(admin));
    }
    for row in groups::earliest_members(ground.read, ground.room.nid, SUCCESSORS)? {
        if let Some(member) = ground.member(&ids::user_id(ground.read, row.user)?)? {
            return Ok(Some(member));
        }
    }
    Ok(None)
}

/// Whom the power levels still name as more than a member although they left: who comes back begins anew.
fn gone(ground: &Ground<'_>) -> Result<Vec<OwnedUserId>, StoreError> {
    let mut gone = Vec::new();
    for user in ground.roles.power().listed().filter_map(|user| <&ruma::UserId>::try_from(user).ok()) {
        if ground.roles.owner() == Some(user) || levels::listed(&ground.levels, user).is_none_or(|level| level <= 0) {
            continue;
        }
        let member = ids::user_nid(ground.read, user)?.map(|nid| ground.membership(nid)).transpose()?.flatten();
        if member.is_some_and(|member| matches!(member.membership, Membership::Leave | Membership::Ban)) {
            gone.push(user.to_owned());
        }
    }
    Ok(gone)
}

/// Makes the power levels and the table of ends say what the mutes and the memberships say.
fn reconciled(ground: &Ground<'_>) -> Result<Plan<()>, StoreError> {
    let (read, room) = (ground.read, ground.room.nid);
    let (mut events, mut levels, mut rows) = (Vec::new(), ground.levels.clone(), Vec::new());
    for user in gone(ground)? {
        levels::set(&mut levels, &user, 0);
    }
    let mut muted = levels::muted(&levels);
    let noted = groups::mutes(read, room)?;
    for mut mute in mutes::of_room(read, room)? {
        let Ok(user_id) = <&ruma::UserId>::try_from(&*mute.user_id) else { continue };
        let Some(user) = ids::user_nid(read, user_id)? else { continue };
        if !noted.contains(&(user, mute.until_ts)) {
            rows.push((user, mute.until_ts));
        }
        let level = levels::listed(&levels, user_id);
        if !mute.holds(ground.now_ms) || level.is_some_and(|level| level < 0) || ground.roles.owner() == Some(user_id) {
            continue;
        }
        // Somebody gave them another level by hand: that is what they are, once they may talk again.
        let given = level.unwrap_or(0);
        if given != mute.former_level && given != 0 {
            mute.former_level = given;
            let key = mutes::key(user_id);
            events.push(ground.state(MUTE, &key, mute.content(ground.executor)));
        }
        if muted < MAX_MUTED_LEVELS {
            muted += 1;
            levels::set(&mut levels, user_id, MUTED_LEVEL);
        }
    }
    if levels != ground.levels {
        events.push(ground.levels(levels));
    }
    let plan = Plan::new(events, ());
    if rows.is_empty() {
        return Ok(plan);
    }
    Ok(plan.beside(move |tx| rows.iter().try_for_each(|(user, until)| groups::put_mute(tx, room, *user, *until))))
}
