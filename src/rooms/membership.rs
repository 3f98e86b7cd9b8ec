//! Memberships: joining, inviting, leaving, kicking, banning, knocking, forgetting.
//!
//! What the authorisation rules decide is left to them (`rooms/append`); here stands what they do not say: profiles in
//! member events, restricted joins, guests, what the invited are told, and what a kick may not undo.
//!
//! Source: Client-Server API, "Room membership".

use std::sync::Arc;

use ruma::{
    CanonicalJsonObject, OwnedRoomAliasId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomAliasId, RoomId, UserId,
};

use super::{
    append::{Along, AppendError, Appended, Appenders, LocalEvent},
    content::string,
    elsewhere::{InvitesElsewhere, Refusal, TellsElsewhere},
    invite_permission, predecessor,
    profile::MemberProfile,
    restricted::{self, Restriction},
    send_rules::{InviteRule, MembershipRule, Refused, WantedMembership},
    state,
    stripped::StrippedState,
};
use crate::{
    accounts::Session,
    store::{
        Read, Store, StoreError, aliases, ids,
        ids::{RoomKey, UserNid},
        members,
        members::MemberRow,
        room_servers, stripped_state,
    },
};

pub use crate::store::members::Membership as MembershipState;

/// Why a membership did not change.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// No such room here.
    #[error("no such room")]
    UnknownRoom,
    /// No such alias here.
    #[error("the alias {0} is not known")]
    UnknownAlias(OwnedRoomAliasId),
    /// It is not allowed.
    #[error("{0}")]
    Forbidden(String),
    /// The user's membership is not one that this changes.
    #[error("{0}")]
    BadState(String),
    /// The room does not let guests in.
    #[error("guests may not join this room")]
    NoGuests,
    /// Other servers' users can't be invited: this server talks to none.
    #[error("{0} is on another server, and this one talks to none")]
    RemoteUser(OwnedUserId),
    /// The user may join, but nobody of this server who is in the room may let them in.
    #[error("nobody in the room may let you in")]
    NobodyVouches,
    /// The user's server did not do it.
    #[error(transparent)]
    Elsewhere(Refusal),
    /// The user has all invitations rejected.
    #[error("{0} accepts no invitations")]
    InviteBlocked(OwnedUserId),
    /// A rule of the product refuses it.
    /// A rule of the product refuses the invitation.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A member event's content or state key has the wrong shape.
    #[error("{0}")]
    Malformed(String),
    /// A room that one is in cannot be forgotten.
    #[error("you are in this room, or invited to it")]
    NotLeft,
    /// The event could not be appended.
    #[error(transparent)]
    Append(AppendError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AppendError> for MembershipError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Denied(reason) => Self::Forbidden(reason),
            AppendError::Store(error) => Self::Store(error),
            other => Self::Append(other),
        }
    }
}

/// A change of somebody's membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The user joins; who is in already stays as they are.
    Join,
    /// The user joins, or says something new about themselves.
    JoinAgain,
    /// The user is invited.
    Invite,
    /// The user leaves, rejects an invitation or withdraws a knock; who is out already stays as they are.
    Leave,
    /// The user leaves or is made to, whatever they were before.
    Remove,
    /// The user, who is in, invited or knocking, is made to leave; who is none of these can't be (`Forbidden`).
    Kick,
    /// The user is banned.
    Ban,
    /// The user, who is banned, no longer is; who is not can't be unbanned (`BadState`).
    Unban,
    /// The user asks to be invited.
    Knock,
}

impl Change {
    fn membership(self) -> &'static str {
        match self {
            Self::Join | Self::JoinAgain => "join",
            Self::Invite => "invite",
            Self::Leave | Self::Remove | Self::Kick | Self::Unban => "leave",
            Self::Ban => "ban",
            Self::Knock => "knock",
        }
    }
}

/// A change that was looked into: what is left is to append it.
struct Prepared {
    room: Arc<RoomKey>,
    /// None: everything is so already.
    event: Option<LocalEvent>,
    /// What is written with it.
    along: Option<Along>,
}

/// Changes memberships.
pub struct Membership {
    pub(super) store: Store,
    pub(super) appenders: Arc<Appenders>,
    server_name: OwnedServerName,
    elsewhere: Option<Arc<dyn InvitesElsewhere>>,
    tells: Option<Arc<dyn TellsElsewhere>>,
    rules: Arc<[Arc<dyn MembershipRule>]>,
    invite_rule: Option<Arc<dyn InviteRule>>,
}

impl Membership {
    /// For the server of this name.
    pub fn new(store: Store, appenders: Arc<Appenders>, server_name: OwnedServerName) -> Self {
        Self { store, appenders, server_name, elsewhere: None, tells: None, rules: Arc::default(), invite_rule: None }
    }

    /// Refuses invitations of this server's users by this rule.
    #[must_use]
    pub fn inviting_by(mut self, rule: Arc<dyn InviteRule>) -> Self {
        self.invite_rule = Some(rule);
        self
    }

    /// Lets other servers' users be invited.
    #[must_use]
    pub fn inviting_elsewhere(mut self, elsewhere: Arc<dyn InvitesElsewhere>) -> Self {
        self.elsewhere = Some(elsewhere);
        self
    }

    /// Tells other servers of what befalls their users who are not in the room.
    #[must_use]
    pub fn telling_elsewhere(mut self, tells: Arc<dyn TellsElsewhere>) -> Self {
        self.tells = Some(tells);
        self
    }

    /// From now on with these rules.
    #[must_use]
    pub fn with_rules(mut self, rules: Vec<Arc<dyn MembershipRule>>) -> Self {
        self.rules = rules.into();
        self
    }

    /// The room that an alias points to.
    ///
    /// # Errors
    /// `UnknownAlias`, also for an alias of another server; or the store's.
    pub async fn resolve(&self, alias: &RoomAliasId) -> Result<OwnedRoomId, MembershipError> {
        let alias = alias.to_owned();
        self.store
            .read(move |read| match aliases::get(read, &alias)? {
                Some(row) => Ok(ids::room_by_nid(read, row.room)?.room_id.clone()),
                None => Err(MembershipError::UnknownAlias(alias)),
            })
            .await
    }

    /// Joins a room. Who is in it already is so still, without a new event.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn join(&self, by: &Session, room: &RoomId, reason: Option<String>) -> Result<(), MembershipError> {
        self.change(by, room, &by.user_id, Change::Join, with_reason(reason)).await.map(drop)
    }

    /// Asks to be invited.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn knock(&self, by: &Session, room: &RoomId, reason: Option<String>) -> Result<(), MembershipError> {
        self.change(by, room, &by.user_id, Change::Knock, with_reason(reason)).await.map(drop)
    }

    /// Leaves a room, rejects an invitation or withdraws a knock.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn leave(&self, by: &Session, room: &RoomId, reason: Option<String>) -> Result<(), MembershipError> {
        self.change(by, room, &by.user_id, Change::Leave, with_reason(reason)).await.map(drop)
    }

    /// Makes this change to a user's membership: `Invite`, `Kick`, `Ban` or `Unban`.
    ///
    /// # Errors
    /// [`MembershipError`]; what each change needs its variant says.
    pub async fn act_on(
        &self,
        by: &Session,
        room: &RoomId,
        user: &UserId,
        change: Change,
        reason: Option<String>,
    ) -> Result<(), MembershipError> {
        self.change(by, room, user, change, with_reason(reason)).await.map(drop)
    }

    /// Sets a member event as the client gives it: the same transitions, with more in the content.
    ///
    /// # Errors
    /// [`MembershipError`]; `Malformed` if the key is no user id or the content names no membership.
    pub async fn put(
        &self,
        by: &Session,
        room: &RoomId,
        user: &str,
        mut content: CanonicalJsonObject,
    ) -> Result<Appended, MembershipError> {
        let user = <&UserId>::try_from(user).map_err(|_| MembershipError::Malformed("not a user id".into()))?;
        let change = match string(&content, "membership") {
            Some("join") => Change::JoinAgain,
            Some("invite") => Change::Invite,
            Some("leave") => Change::Remove,
            Some("ban") => Change::Ban,
            Some("knock") => Change::Knock,
            _ => return Err(MembershipError::Malformed("membership is none of the known ones".into())),
        };
        // Who vouches for a restricted join is for the server to say.
        content.remove("join_authorised_via_users_server");
        let appended = self.change(by, room, user, change, content).await?;
        // Only `Change::Join` and `Change::Leave` may have nothing to do.
        appended.ok_or_else(|| MembershipError::BadState("nothing to change".into()))
    }

    async fn change(
        &self,
        by: &Session,
        room: &RoomId,
        target: &UserId,
        change: Change,
        content: CanonicalJsonObject,
    ) -> Result<Option<Appended>, MembershipError> {
        let request = Request {
            by: by.clone(),
            room: room.to_owned(),
            target: target.to_owned(),
            change,
            server_name: self.server_name.clone(),
            tells: self.tells.clone(),
            rules: self.rules.clone(),
            invite_rule: self.invite_rule.clone(),
        };
        let Prepared { room, event, along } = self.store.read(move |read| request.prepare(read, content)).await?;
        let Some(event) = event else { return Ok(None) };
        if change == Change::Invite && target.server_name() != self.server_name {
            let Some(elsewhere) = &self.elsewhere else { return Err(MembershipError::RemoteUser(target.to_owned())) };
            return elsewhere.invite(room, event).await.map(Some);
        }
        let appended = self.appenders.append(room.nid, vec![event], along).await?;
        Ok(appended.into_iter().next())
    }

    /// Forgets a room that the user left or was removed from.
    ///
    /// # Errors
    /// `NotLeft` if they are in it, invited or knocking; `UnknownRoom` if they never were.
    pub async fn forget(&self, by: &Session, room: &RoomId) -> Result<(), MembershipError> {
        let (user, room) = (by.user, room.to_owned());
        self.store
            .write(move |tx| {
                let room = ids::room(tx, &room)?.ok_or(MembershipError::UnknownRoom)?;
                let member = members::of(tx, user, room.nid)?.ok_or(MembershipError::UnknownRoom)?;
                match member.membership {
                    MembershipState::Leave | MembershipState::Ban => {}
                    _ => return Err(MembershipError::NotLeft),
                }
                if !member.forgotten {
                    members::forget(tx, user, room.nid, tx.next_position())?;
                }
                stripped_state::delete(tx, user, room.nid)?;
                Ok(())
            })
            .await
    }
}

pub(super) fn with_reason(reason: Option<String>) -> CanonicalJsonObject {
    reason.map(|reason| ("reason".to_owned(), reason.into())).into_iter().collect()
}

/// A change that somebody asks for.
struct Request {
    by: Session,
    room: OwnedRoomId,
    target: OwnedUserId,
    change: Change,
    server_name: OwnedServerName,
    tells: Option<Arc<dyn TellsElsewhere>>,
    rules: Arc<[Arc<dyn MembershipRule>]>,
    invite_rule: Option<Arc<dyn InviteRule>>,
}

impl Request {
    /// Looks into the change, and makes its event.
    fn prepare(self, read: &dyn Read, mut content: CanonicalJsonObject) -> Result<Prepared, MembershipError> {
        let room = ids::room(read, &self.room)?.ok_or(MembershipError::UnknownRoom)?;
        let target = ids::user_nid(read, &self.target)?;
        let member = match target {
            Some(target) => members::of(read, target, room.nid)?,
            None => None,
        };
        let before = member.map(|member: MemberRow| member.membership);
        let wanted = WantedMembership { target: &self.target, before, change: self.change };
        for rule in self.rules.iter() {
            if let Some(refused) = rule.check(read, &self.by, &room, wanted)? {
                return Err(refused.into());
            }
        }
        content.insert("membership".into(), self.change.membership().into());
        let own = self.target == self.by.user_id;
        match self.change {
            Change::Join if before == Some(MembershipState::Join) => {
                return Ok(Prepared { room, event: None, along: None });
            }
            Change::Leave if before == Some(MembershipState::Leave) => {
                return Ok(Prepared { room, event: None, along: None });
            }
            Change::Join | Change::JoinAgain if own => {
                self.check_join(read, &room, before, target, &mut content)?;
                MemberProfile::of(read, &self.target)?.fill(&mut content);
            }
            Change::Join | Change::JoinAgain => {}
            Change::Knock if own => MemberProfile::of(read, &self.target)?.fill(&mut content),
            Change::Knock => {}
            Change::Invite => {
                // Another server knows its users' profiles and wishes itself.
                if self.target.server_name() == self.server_name {
                    if invite_permission::is_blocked(read, &self.target)? {
                        return Err(MembershipError::InviteBlocked(self.target));
                    }
                    let is_direct = content.get("is_direct") == Some(&true.into());
                    if let Some(rule) = &self.invite_rule
                        && let Some(refused) = rule.check(read, &self.by.user_id, &self.target, is_direct)?
                    {
                        return Err(refused.into());
                    }
                    MemberProfile::of(read, &self.target)?.fill(&mut content);
                }
            }
            Change::Kick => {
                if matches!(before, None | Some(MembershipState::Leave | MembershipState::Ban)) {
                    return Err(MembershipError::Forbidden(format!("{} is not in the room", self.target)));
                }
            }
            Change::Unban if before != Some(MembershipState::Ban) => {
                return Err(MembershipError::BadState(format!("{} is not banned", self.target)));
            }
            Change::Unban | Change::Leave | Change::Remove | Change::Ban => {}
        }
        let event = LocalEvent::state(self.by.user_id.clone(), "m.room.member", self.target.as_str(), content);
        let along = self.along(read, &room, &event)?;
        Ok(Prepared { room, event: Some(event), along })
    }

    /// What the rules of joining say beyond the authorisation rules: guests, and restricted rooms.
    fn check_join(
        &self,
        read: &dyn Read,
        room: &RoomKey,
        before: Option<MembershipState>,
        user: Option<UserNid>,
        content: &mut CanonicalJsonObject,
    ) -> Result<(), MembershipError> {
        if before == Some(MembershipState::Join) {
            return Ok(());
        }
        if self.by.guest {
            let access: Option<CanonicalJsonObject> =
                state::current_content(read, room.nid, "m.room.guest_access", "")?;
            if access.as_ref().and_then(|access| string(access, "guest_access")) != Some("can_join") {
                return Err(MembershipError::NoGuests);
            }
        }
        if matches!(before, Some(MembershipState::Invite | MembershipState::Ban)) {
            return Ok(());
        }
        match restricted::decide(read, room, user, &self.server_name)? {
            Restriction::None => Ok(()),
            Restriction::Via(member) => {
                content.insert("join_authorised_via_users_server".into(), member.as_str().into());
                Ok(())
            }
            Restriction::Unmet => {
                Err(MembershipError::Forbidden("you are in none of the rooms whose members may join".into()))
            }
            Restriction::NobodyVouches => Err(MembershipError::NobodyVouches),
        }
    }

    /// What is written with the event: what the invited and the knocking are told, and what who joins takes along from the
    /// room that this one replaces. For the rest there is nothing: the appender batches such events.
    fn along(&self, read: &dyn Read, room: &RoomKey, event: &LocalEvent) -> Result<Option<Along>, MembershipError> {
        let inviter = match self.change {
            Change::Invite => Some(&*self.by.user_id),
            Change::Knock => None,
            Change::Join => {
                let Some(old) = predecessor::of_member(read, self.by.user, room.nid)? else { return Ok(None) };
                let (user, new) = (self.by.user, room.room_id.clone());
                return Ok(Some(Box::new(move |tx, _, _| predecessor::carry_over(tx, user, &old, &new))));
            }
            _ => return self.telling(read, room),
        };
        let mut told = StrippedState::of_room(read, room.nid, inviter)?;
        told.push_local(event)?;
        let (told, target) = (told.json(), self.target.clone());
        Ok(Some(Box::new(move |tx, room, _| {
            let user = ids::intern_user(tx, &target)?;
            stripped_state::put(tx, user, room, &told)
        })))
    }

    /// That the server of the other user hears of it, where nobody of theirs is in the room: it would not be sent it else.
    fn telling(&self, read: &dyn Read, room: &RoomKey) -> Result<Option<Along>, MembershipError> {
        let server = self.target.server_name();
        let Some(tells) = self.tells.clone().filter(|_| server != self.server_name) else { return Ok(None) };
        if room_servers::server_in_room(read, room.nid, server)? {
            return Ok(None);
        }
        let server = server.to_owned();
        Ok(Some(Box::new(move |tx, _, appended| {
            appended.iter().filter(|event| !event.repeated).try_for_each(|event| tells.owe(tx, &server, event.nid))
        })))
    }
}
