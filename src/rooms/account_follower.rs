//! Carries what happens to accounts into their rooms: changed profiles into member events, deactivation into leaving.
//!
//! Derived work, done after the commit. What a crash leaves undone of a deactivation is found again at the start; a profile
//! that did not reach a room is brought there by its next change.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedUserId};
use tokio::sync::Notify;

use super::{
    append::{AppendError, Appenders, LocalEvent},
    membership::Membership,
};
use crate::{
    accounts::{DeactivationWatcher, FieldName, ProfileWatcher},
    params,
    store::{
        Read, Store, StoreError, ids,
        ids::{RoomNid, UserNid},
        members,
        members::Membership as MembershipState,
    },
};

/// What is to be done. Bound: one entry an account and kind.
#[derive(Default)]
pub struct AccountFollower {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Default)]
struct Waiting {
    profiles: BTreeSet<UserNid>,
    deactivated: BTreeSet<UserNid>,
}

impl AccountFollower {
    fn add(&self, add: impl FnOnce(&mut Waiting)) {
        add(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.more.notify_one();
    }

    /// Does the work until dropped.
    pub async fn run(self: Arc<Self>, store: Store, appenders: Arc<Appenders>, membership: Arc<Membership>) {
        match store.read(still_joined).await {
            Ok(users) => self.add(|waiting| waiting.deactivated.extend(users)),
            Err(error) => tracing::warn!(%error, "could not look for deactivated accounts in rooms"),
        }
        loop {
            let work = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            for user in work.profiles {
                if let Err(error) = profile(&store, &membership, user).await {
                    tracing::warn!(%error, "a changed profile did not reach its rooms");
                }
            }
            for user in work.deactivated {
                if let Err(error) = leave_all(&store, &appenders, user).await {
                    tracing::warn!(%error, "a deactivated account did not leave its rooms; tried again at the next start");
                }
            }
            self.more.notified().await;
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
fn still_joined(read: &crate::store::Snapshot<'_>) -> Result<Vec<UserNid>, StoreError> {
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

async fn leave_all(store: &Store, appenders: &Appenders, user: UserNid) -> Result<(), StoreError> {
    let (user_id, rooms) = store
        .read::<_, StoreError, _>(move |read| {
            let rooms: Vec<RoomNid> = members::of_user(read, user)?
                .into_iter()
                .filter(|m| !matches!(m.membership, MembershipState::Leave | MembershipState::Ban))
                .map(|m| m.room)
                .collect();
            Ok((ids::user_id(read, user)?, rooms))
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

fn leave_event(user: &OwnedUserId) -> LocalEvent {
    let leave = CanonicalJsonValue::String("leave".into());
    let content = CanonicalJsonObject::from([("membership".to_owned(), leave)]);
    LocalEvent::state(user.clone(), "m.room.member", user.as_str(), content)
}
