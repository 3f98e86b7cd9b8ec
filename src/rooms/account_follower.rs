//! Carries what happens to accounts into their rooms: changed profiles into member events, deactivation into leaving.
//!
//! Derived work, done after the commit. What a crash leaves undone of a deactivation is found again at the start; a profile
//! that did not reach a room is brought there by its next change.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{StreamExt as _, stream};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedUserId};
use tokio::sync::Notify;

use super::{
    append::{AppendError, Appenders, LocalEvent},
    elsewhere::{self, RejectsElsewhere},
    membership::Membership,
};
use crate::{
    accounts::{DeactivationWatcher, FieldName, ProfileWatcher},
    params,
    store::{
        Read, Snapshot, Store, StoreError, ids,
        ids::{RoomNid, UserNid},
        members,
        members::Membership as MembershipState,
    },
};

/// Invitations that are rejected at once: each may wait for other servers.
const REJECTED_AT_ONCE: usize = 10;

/// What is to be done. Bound: one entry an account and kind.
#[derive(Default)]
pub struct AccountFollower {
    waiting: Mutex<Waiting>,
    more: Notify,
    more_outside: Notify,
}

#[derive(Default)]
struct Waiting {
    profiles: BTreeSet<UserNid>,
    deactivated: BTreeSet<UserNid>,
    /// Those of them whose invitations to rooms elsewhere are to be rejected.
    outside: BTreeSet<UserNid>,
}

impl AccountFollower {
    fn add(&self, add: impl FnOnce(&mut Waiting)) {
        add(&mut self.lock());
        self.more.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the work until dropped. `elsewhere` is for what deactivated accounts have in rooms that this server is not in.
    pub async fn run(
        self: Arc<Self>,
        store: Store,
        appenders: Arc<Appenders>,
        membership: Arc<Membership>,
        elsewhere: Arc<dyn RejectsElsewhere>,
    ) {
        match store.read(still_joined).await {
            Ok(users) => self.add(|waiting| waiting.deactivated.extend(users)),
            Err(error) => tracing::warn!(%error, "could not look for deactivated accounts in rooms"),
        }
        tokio::join!(self.follow(&store, &appenders, &membership), self.follow_elsewhere(&store, &*elsewhere));
    }

    /// The work that no other server holds up.
    async fn follow(&self, store: &Store, appenders: &Appenders, membership: &Membership) {
        loop {
            let (profiles, deactivated) = {
                let mut waiting = self.lock();
                (std::mem::take(&mut waiting.profiles), std::mem::take(&mut waiting.deactivated))
            };
            for user in profiles {
                if let Err(error) = profile(store, membership, user).await {
                    tracing::warn!(%error, "a changed profile did not reach its rooms");
                }
            }
            for user in deactivated {
                if let Err(error) = leave_all(store, appenders, user).await {
                    tracing::warn!(%error, "a deactivated account did not leave its rooms; tried again at the next start");
                }
                self.lock().outside.insert(user);
                self.more_outside.notify_one();
            }
            self.more.notified().await;
        }
    }

    /// The invitations that other servers are told to be rejected.
    async fn follow_elsewhere(&self, store: &Store, elsewhere: &dyn RejectsElsewhere) {
        loop {
            let users = std::mem::take(&mut self.lock().outside);
            for user in users {
                if let Err(error) = reject_all(store, elsewhere, user).await {
                    tracing::warn!(%error, "a deactivated account keeps its invitations; tried again at the next start");
                }
            }
            self.more_outside.notified().await;
        }
    }
}

impl ProfileWatcher for AccountFollower {
    fn profile_changed(&self, user: UserNid, field: &FieldName) {
        if matches!(field.as_str(), "displayname" | "avatar_url") {
            self.add(|waiting| {
                waiting.profiles.insert(user);
            });
        }
    }
}

impl DeactivationWatcher for AccountFollower {
    fn deactivated(&self, user: UserNid) {
        self.add(|waiting| {
            waiting.deactivated.insert(user);
        });
    }
}

/// Deactivated accounts that are still in a room, or invited or knocking.
fn still_joined(read: &Snapshot<'_>) -> Result<Vec<UserNid>, StoreError> {
    (read as &dyn Read).all(
        "SELECT DISTINCT a.user FROM accounts a JOIN memberships m ON m.user = a.user \
         WHERE a.deactivated_ts IS NOT NULL AND m.membership IN (1, 2, 3)",
        params![],
        |row| row.get(0),
    )
}

async fn profile(store: &Store, membership: &Membership, user: UserNid) -> Result<(), StoreError> {
    let user_id = store.read::<_, StoreError, _>(move |read| ids::user_id(read, user)).await?;
    membership.profile_changed(&user_id).await
}

/// Leaves the rooms that this server is in.
async fn leave_all(store: &Store, appenders: &Appenders, user: UserNid) -> Result<(), StoreError> {
    let (user_id, rooms) = store
        .read::<_, StoreError, _>(move |read| {
            let (user_id, rooms) = still_in(read, user)?;
            let mut here = Vec::with_capacity(rooms.len());
            for room in rooms {
                if elsewhere::is_here(read, room, user_id.server_name())? {
                    here.push(room);
                }
            }
            Ok((user_id, here))
        })
        .await?;
    for room in rooms {
        match appenders.append(room, vec![leave_event(&user_id)], None).await {
            Ok(_) => {}
            Err(AppendError::Store(error)) => return Err(error),
            Err(error) => tracing::warn!(%error, %user_id, "a deactivated account could not leave a room"),
        }
    }
    Ok(())
}

/// Rejects what the user has in rooms that this server is not in.
async fn reject_all(store: &Store, elsewhere: &dyn RejectsElsewhere, user: UserNid) -> Result<(), StoreError> {
    let (user_id, rooms) = store
        .read::<_, StoreError, _>(move |read| {
            let (user_id, rooms) = still_in(read, user)?;
            let rooms = rooms.into_iter().map(|room| Ok(ids::room_by_nid(read, room)?.room_id.clone()));
            Ok((user_id, rooms.collect::<Result<Vec<_>, StoreError>>()?))
        })
        .await?;
    let (user_id, rejecting) = (&user_id, stream::iter(rooms));
    rejecting
        .for_each_concurrent(REJECTED_AT_ONCE, async |room| {
            if let Err(error) = elsewhere.reject(user, user_id, &room).await {
                tracing::warn!(%error, %user_id, %room, "an invitation of a deactivated account could not be rejected");
            }
        })
        .await;
    Ok(())
}

/// A user's id, and the rooms that they are in, invited to or knocking at.
fn still_in(read: &Snapshot<'_>, user: UserNid) -> Result<(OwnedUserId, Vec<RoomNid>), StoreError> {
    let rooms = members::of_user(read, user)?
        .into_iter()
        .filter(|m| !matches!(m.membership, MembershipState::Leave | MembershipState::Ban))
        .map(|m| m.room)
        .collect();
    Ok((ids::user_id(read, user)?, rooms))
}

fn leave_event(user: &OwnedUserId) -> LocalEvent {
    let leave = CanonicalJsonValue::String("leave".into());
    let content = CanonicalJsonObject::from([("membership".to_owned(), leave)]);
    LocalEvent::state(user.clone(), "m.room.member", user.as_str(), content)
}
