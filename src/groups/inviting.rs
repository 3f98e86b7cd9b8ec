//! Invites users into a group one by one: those of other servers, whose servers must sign, and those of this one who want to be asked.
//!
//! Another server may be slow, so a call does not wait for ever, and a crash may come between two invitations. Who is to be invited is
//! therefore noted with the call's own events, and what was cut off is done at the next start.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ruma::CanonicalJsonObject;
use tokio::task::JoinSet;

use super::{
    Actor, Added, GroupError, Groups, Refusal,
    settings::{INVITER, is_dissolved},
};
use crate::{
    accounts::Session,
    numbers::User,
    rooms::{
        append::AppendError,
        content::object,
        membership::{Membership, MembershipError},
        send_rules::Refused,
    },
    store::{
        Store, StoreError, WriteTx, groups,
        groups::InvitationRow,
        ids,
        ids::{RoomKey, RoomNid, UserNid},
        members,
        members::Membership as State,
    },
};

/// Invitations of a call that are under way at once.
const AT_ONCE: usize = 10;

/// How long a call waits for its invitations; they go on without it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Rows read at once at the start.
const CHUNK: usize = 100;

/// When those that the last process left are tried again.
const AGAIN_AFTER: [Duration; 5] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(60 * 60),
];

/// Notes whom a call is to invite.
pub(super) fn note(tx: &WriteTx<'_>, room: RoomNid, inviter: UserNid, users: &[User]) -> Result<(), StoreError> {
    users.iter().try_for_each(|user| groups::put_invitation(tx, &InvitationRow { room, user: user.nid, inviter }))
}

impl Groups {
    /// As who memberships are changed for somebody: the service user, or in groups of others they themselves.
    pub(super) fn session_of(&self, room: &RoomKey, by: &Actor) -> Session {
        let mut session = self.service.session();
        if room.service != Some(self.service.user) {
            (session.user, session.user_id) = (by.user, by.user_id.clone());
        }
        session
    }

    /// Invites users who were [noted](note), several at once, and notes what became of each.
    pub(super) async fn invite_each(&self, room: &Arc<RoomKey>, by: &Actor, users: Vec<User>, added: &mut Added) {
        if users.is_empty() {
            return;
        }
        let mut left: BTreeSet<UserNid> = users.iter().map(|user| user.nid).collect();
        let inviting = tokio::spawn(self.invitations(room, by).make(users));
        if let Ok(Ok(done)) = tokio::time::timeout(PATIENCE, inviting).await {
            for (user, outcome) in done {
                left.remove(&user);
                match outcome {
                    Outcome::Invited => added.invited.push(user),
                    Outcome::Refused(why) => added.refused.push(Refusal { user, why }),
                    Outcome::Failed => added.refused.push(Refusal { user, why: "the server failed".into() }),
                }
            }
        }
        added.invited.extend(left);
    }

    /// Makes the invitations that the last process left. Those that fail are tried again a few times: this server has just started,
    /// and others may need to reach it before they sign anything. One of a call of this process may be among them; whoever comes
    /// second finds that there is nothing to do.
    pub(super) async fn finish_inviting(&self) {
        let pauses = AGAIN_AFTER.into_iter().map(Some).chain([None]);
        for pause in pauses {
            match self.finish_some(pause.is_none()).await {
                Ok(0) => return,
                Ok(left) => tracing::info!(left, "invitations into groups that were cut off could not be made yet"),
                Err(error) => tracing::warn!(%error, "invitations into groups that were cut off could not be made"),
            }
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Tries all; answers how many are left. With `last`, those that are refused are forgotten.
    async fn finish_some(&self, last: bool) -> Result<usize, GroupError> {
        let (mut after, mut left) = ((RoomNid(i64::MIN), UserNid(i64::MIN)), 0);
        loop {
            let rows = self.store.read::<_, StoreError, _>(move |read| groups::invitations(read, after, CHUNK)).await?;
            let Some(row) = rows.last() else { return Ok(left) };
            after = (row.room, row.user);
            let mut calls: BTreeMap<(RoomNid, UserNid), Vec<UserNid>> = BTreeMap::new();
            for InvitationRow { room, inviter, user } in rows {
                calls.entry((room, inviter)).or_default().push(user);
            }
            for ((room, inviter), users) in calls {
                left += self.finish_call(room, inviter, users, last).await?;
            }
        }
    }

    async fn finish_call(
        &self,
        room: RoomNid,
        inviter: UserNid,
        users: Vec<UserNid>,
        last: bool,
    ) -> Result<usize, GroupError> {
        let (room, by, users) = self
            .store
            .read::<_, StoreError, _>(move |read| {
                let users =
                    users.into_iter().map(|nid| Ok::<_, StoreError>(User { nid, user_id: ids::user_id(read, nid)? }));
                let by = Actor { user: inviter, user_id: ids::user_id(read, inviter)?, request: None };
                Ok((ids::room_by_nid(read, room)?, by, users.collect::<Result<Vec<_>, _>>()?))
            })
            .await?;
        let invitations = Invitations { keeps_refused: !last, ..self.invitations(&room, &by) };
        let done = invitations.make(users).await;
        Ok(done.iter().filter(|(_, outcome)| !matches!(outcome, Outcome::Invited)).count())
    }

    fn invitations(&self, room: &Arc<RoomKey>, by: &Actor) -> Invitations {
        Invitations {
            store: self.store.clone(),
            membership: self.membership.clone(),
            room: room.clone(),
            executor: self.session_of(room, by),
            content: object([("membership", "invite".into()), (INVITER, by.user_id.as_str().into())]),
            keeps_refused: false,
        }
    }
}

/// What became of an invitation.
#[derive(Debug)]
enum Outcome {
    Invited,
    Refused(String),
    /// The store failed: it stays noted.
    Failed,
}

/// Invitations into one group by one member.
#[derive(Clone)]
struct Invitations {
    store: Store,
    membership: Arc<Membership>,
    room: Arc<RoomKey>,
    executor: Session,
    content: CanonicalJsonObject,
    /// Whether one that was refused stays noted, to be tried again.
    keeps_refused: bool,
}

impl Invitations {
    /// Makes them, several at once.
    async fn make(self, users: Vec<User>) -> Vec<(UserNid, Outcome)> {
        let (mut running, mut done) = (JoinSet::new(), Vec::new());
        for user in users {
            if running.len() >= AT_ONCE {
                done.extend(running.join_next().await.and_then(Result::ok));
            }
            let this = self.clone();
            running.spawn(async move { (user.nid, this.one(&user).await) });
        }
        while let Some(one) = running.join_next().await {
            done.extend(one.ok());
        }
        done
    }

    /// Makes one, and forgets that it was to be made.
    async fn one(&self, user: &User) -> Outcome {
        let outcome = match self.invite(user).await {
            Ok(()) => Outcome::Invited,
            Err(
                error
                @ (MembershipError::Store(_) | MembershipError::Append(AppendError::Store(_) | AppendError::Busy)),
            ) => {
                tracing::warn!(%error, user = %user.user_id, "an invitation was not written");
                return Outcome::Failed;
            }
            Err(error) => Outcome::Refused(error.to_string()),
        };
        if self.keeps_refused && matches!(outcome, Outcome::Refused(_)) {
            return outcome;
        }
        let (room, nid) = (self.room.nid, user.nid);
        let forgotten = self.store.write::<_, StoreError, _>(move |tx| groups::delete_invitation(tx, room, nid)).await;
        if let Err(error) = forgotten {
            tracing::warn!(%error, user = %user.user_id, "an invitation that was made stays noted");
        }
        outcome
    }

    async fn invite(&self, user: &User) -> Result<(), MembershipError> {
        let (room, nid) = (self.room.nid, user.nid);
        let (membership, dissolved) = self
            .store
            .read::<_, StoreError, _>(move |read| {
                Ok((members::of(read, nid, room)?.map(|member| member.membership), is_dissolved(read, room)?))
            })
            .await?;
        if dissolved {
            return Err(MembershipError::Refused(Refused::Dissolved));
        }
        if matches!(membership, Some(State::Invite | State::Join)) {
            return Ok(());
        }
        let content = self.content.clone();
        self.membership.put(&self.executor, &self.room.room_id, user.user_id.as_str(), content).await.map(drop)
    }
}
