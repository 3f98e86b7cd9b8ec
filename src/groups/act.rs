//! How an action is done: decided by what the room's state says, executed by the service user, valid only if the roles by
//! which it was decided still held.
//!
//! A group's power levels are read, changed and written whole, by several admins at once and by plain clients. So the write is
//! a comparison: in its transaction the power levels before it must be those that were read, or all is undone and decided anew.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use ruma::{CanonicalJsonObject, OwnedUserId, UserId};

use super::{GroupError, Groups, Role, Roles, answers::Request, settings};
use crate::{
    accounts::Session,
    rooms::{
        append::{Along, AppendError, Appended, LocalEvent},
        state,
    },
    store::{
        Read, StoreError, WriteTx,
        events::StateRef,
        group_calls, ids,
        ids::{EventNid, RoomKey, UserNid},
        members,
        members::{MemberRow, Membership},
        state as stored_state,
    },
};

/// How often an action is decided anew at most.
const ATTEMPTS: usize = 8;

/// Who wants something: a session's user, or the admin of another server who asks through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The user's number.
    pub user: UserNid,
    /// The user's id.
    pub user_id: OwnedUserId,
    /// The event by which they ask through their server: it is answered with what is done.
    pub(super) request: Option<Request>,
}

impl From<&Session> for Actor {
    fn from(session: &Session) -> Self {
        Self { user: session.user, user_id: session.user_id.clone(), request: None }
    }
}

/// What an action is decided by.
pub(super) struct Ground<'r> {
    pub(super) read: &'r dyn Read,
    pub(super) room: &'r RoomKey,
    pub(super) roles: Roles<'r>,
    /// The content of the power levels.
    pub(super) levels: CanonicalJsonObject,
    /// The caller's role.
    pub(super) role: Role,
    /// In whose name it is done.
    pub(super) executor: &'r UserId,
    pub(super) now_ms: i64,
}

/// Somebody in the room.
pub(super) struct Other {
    pub(super) user: UserNid,
    pub(super) user_id: OwnedUserId,
    pub(super) role: Role,
}

impl Ground<'_> {
    /// A joined member other than the service user.
    pub(super) fn member(&self, user: &UserId) -> Result<Option<Other>, StoreError> {
        let Some(nid) = ids::user_nid(self.read, user)? else { return Ok(None) };
        let joined = self.membership(nid)?.is_some_and(|member| member.membership == Membership::Join);
        if !joined || self.room.service == Some(nid) {
            return Ok(None);
        }
        Ok(Some(Other { user: nid, user_id: user.to_owned(), role: self.roles.of_user(self.read, user)? }))
    }

    /// As [`Self::member`], of one who must be in the room.
    pub(super) fn existing(&self, user: &UserId) -> Result<Other, GroupError> {
        self.member(user)?.ok_or_else(|| GroupError::TargetNotInGroup(user.to_string()))
    }

    pub(super) fn membership(&self, user: UserNid) -> Result<Option<MemberRow>, StoreError> {
        members::of(self.read, user, self.room.nid)
    }

    /// Holds that the caller's role suffices.
    pub(super) fn needs(&self, role: Role) -> Result<(), GroupError> {
        if self.role >= role {
            return Ok(());
        }
        let who = if role == Role::Owner { "the owner" } else { "the owner and the admins" };
        Err(GroupError::NotPermitted(format!("only {who} of the group may do this")))
    }

    /// A state event in the executor's name.
    pub(super) fn state(&self, kind: &str, key: &str, content: CanonicalJsonObject) -> LocalEvent {
        LocalEvent::state(self.executor.to_owned(), kind, key, content)
    }

    /// The power levels as a state event.
    pub(super) fn levels(&self, levels: CanonicalJsonObject) -> LocalEvent {
        self.state("m.room.power_levels", "", levels)
    }
}

/// What is written beside the events of an action.
pub(super) type Beside = Box<dyn FnOnce(&WriteTx<'_>) -> Result<(), StoreError> + Send>;

/// What an action does.
pub(super) struct Plan<T> {
    pub(super) events: Vec<LocalEvent>,
    pub(super) beside: Option<Beside>,
    pub(super) answer: T,
}

impl<T> Plan<T> {
    pub(super) fn new(events: Vec<LocalEvent>, answer: T) -> Self {
        Self { events, beside: None, answer }
    }

    pub(super) fn beside(
        mut self,
        write: impl FnOnce(&WriteTx<'_>) -> Result<(), StoreError> + Send + 'static,
    ) -> Self {
        self.beside = Some(Box::new(write));
        self
    }

    /// With the answer to the request, if there is one.
    fn answering(mut self, request: Option<&Request>, executor: &UserId) -> Self {
        let Some(request) = request else { return self };
        let (before, nid) = (self.beside.take(), request.nid);
        self.events.push(request.done(executor));
        self.beside(move |tx| {
            before.map_or(Ok(()), |write| write(tx))?;
            group_calls::answered(tx, nid)
        })
    }
}

impl Groups {
    /// In whose name something is done: the service user's where the group is of this server, else the caller's own, with no
    /// more power than they have.
    pub(super) fn executor(&self, room: &RoomKey, by: &Actor) -> OwnedUserId {
        if room.service == Some(self.service.user) { self.service.user_id.clone() } else { by.user_id.clone() }
    }

    /// Does what `decide` plans, by a member of a group that was not dissolved. `decide` may be asked more than once.
    ///
    /// # Errors
    /// [`GroupError`]; nothing was changed then.
    pub(super) async fn act<T: Send + 'static>(
        &self,
        room: &Arc<RoomKey>,
        by: &Actor,
        decide: impl Fn(&Ground<'_>) -> Result<Plan<T>, GroupError> + Clone + Send + 'static,
    ) -> Result<T, GroupError> {
        let (executor, by, request) = (self.executor(room, by), by.user, by.request.clone());
        self.act_as(room, executor, move |read, room, executor, now_ms| {
            let roles = Roles::of(read, room)?;
            let role = caller(read, room, &roles, by)?;
            let levels = state::current_content(read, room.nid, "m.room.power_levels", "")?.unwrap_or_default();
            let plan = decide(&Ground { read, room, roles, levels, role, executor, now_ms })?;
            Ok(plan.answering(request.as_ref(), executor))
        })
        .await
    }

    /// Does what `decide` plans, whoever asks. `decide` may be asked more than once.
    ///
    /// # Errors
    /// [`GroupError`]; nothing was changed then.
    pub(super) async fn act_as<T: Send + 'static>(
        &self,
        room: &Arc<RoomKey>,
        executor: OwnedUserId,
        decide: impl Fn(&dyn Read, &RoomKey, &UserId, i64) -> Result<Plan<T>, GroupError> + Clone + Send + 'static,
    ) -> Result<T, GroupError> {
        for _ in 0..ATTEMPTS {
            let (decide, of, executor, now_ms) = (decide.clone(), room.clone(), executor.clone(), self.clock.now_ms());
            let (plan, levels) = self
                .store
                .read(move |read| {
                    let levels = state::current_nid(read, of.nid, "m.room.power_levels", "")?;
                    Ok::<_, GroupError>((decide(read, &of, &executor, now_ms)?, levels))
                })
                .await?;
            let Plan { events, beside, answer } = plan;
            if self.append(room, events, levels, beside).await? {
                return Ok(answer);
            }
        }
        Err(GroupError::Busy)
    }

    /// Appends the events if the room's power levels are these; false if they are not.
    async fn append(
        &self,
        room: &RoomKey,
        events: Vec<LocalEvent>,
        levels: Option<EventNid>,
        beside: Option<Beside>,
    ) -> Result<bool, GroupError> {
        if events.is_empty() {
            if let Some(beside) = beside {
                self.store.write::<_, StoreError, _>(beside).await?;
            }
            return Ok(true);
        }
        let (moved, line) = (Arc::new(AtomicBool::new(false)), room.main_line);
        let noted = moved.clone();
        let along: Along = Box::new(move |tx, room, appended| {
            if levels_before(tx, room, line, appended)? != levels {
                noted.store(true, Ordering::Release);
                // The error undoes the events.
                return Err(StoreError::Engine("the power levels are others by now".into()));
            }
            beside.map_or(Ok(()), |beside| beside(tx))
        });
        match self.appenders.append(room.nid, events, Some(along)).await {
            Ok(_) => Ok(true),
            Err(AppendError::Store(_)) if moved.load(Ordering::Acquire) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The power levels before these events, which were just written.
fn levels_before(
    tx: &WriteTx<'_>,
    room: ids::RoomNid,
    line: i64,
    appended: &[Appended],
) -> Result<Option<EventNid>, StoreError> {
    let Some(key) = ids::state_key_nid(tx, "m.room.power_levels", "")? else { return Ok(None) };
    match appended.first() {
        Some(first) => stored_state::value(tx, StateRef { line, epoch: first.position - 1 }, key),
        None => stored_state::current_value(tx, room, key),
    }
}

/// The role of a caller, who must be in the group; of a dissolved one that they were in they hear that.
pub(super) fn caller(read: &dyn Read, room: &RoomKey, roles: &Roles<'_>, by: UserNid) -> Result<Role, GroupError> {
    let member = members::of(read, by, room.nid)?.filter(|_| room.service != Some(by));
    if member.is_some() && settings::is_dissolved(read, room.nid)? {
        return Err(GroupError::Dissolved);
    }
    if member.is_none_or(|member| member.membership != Membership::Join) {
        return Err(GroupError::NotInGroup);
    }
    Ok(roles.of_user(read, &ids::user_id(read, by)?)?)
}
