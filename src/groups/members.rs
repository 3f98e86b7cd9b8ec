//! Coming into a group: who is added at once, who is invited, whose invitation becomes a request.
//!
//! A user of this server is added without being asked, by one join event that the service user vouches for (join rule
//! `knock_restricted`), unless they blocked the one who adds them or the owner, or take no strangers and that one is no friend:
//! those are invited, as are users of other servers, whose joining their own server must sign.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedUserId, UserId};

use super::{
    Actor, GroupError, Groups, MAX_USERS, Role,
    act::{Ground, Plan},
    inviting, levels,
    settings::{INVITER, JOIN_SOURCE, JoinMode, join_rule},
};
use crate::{
    accounts::UserSettings,
    contacts::friends,
    numbers::User,
    rooms::{
        append::LocalEvent,
        content::{number, object},
        ignored_users, invite_permission,
        profile::MemberProfile,
    },
    store::{
        Read, StoreError, accounts,
        accounts::AccountKind,
        groups::{self, Handled, RequestRow},
        ids,
        ids::{RoomKey, UserNid},
        members,
        members::Membership as State,
    },
};

/// Requests of a group that wait for an answer at most.
pub(super) const MAX_PENDING: i64 = 1_000;

/// What became of the users of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// They are in.
    pub added: Vec<UserNid>,
    /// They were invited, or their invitation is under way.
    pub invited: Vec<UserNid>,
    /// An admin must approve first.
    pub requested: Vec<UserNid>,
    /// Nothing was done.
    pub refused: Vec<Refusal>,
}

/// A user for whom nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who.
    pub user: UserNid,
    /// Why, for a person to read.
    pub why: String,
}

/// How a user comes in.
pub(super) enum Way {
    Join(MemberProfile),
    Invite,
    /// They are invited already.
    Invited,
    Refused(&'static str),
}

impl Groups {
    /// Adds users to a group, or invites them.
    ///
    /// # Errors
    /// [`GroupError`]; what hinders one user alone is in the answer.
    pub async fn add(
        &self,
        room: &Arc<RoomKey>,
        by: &Actor,
        users: Vec<User>,
        text: String,
    ) -> Result<Added, GroupError> {
        let users = distinct(users)?;
        let inviter = by.clone();
        let (mut added, invites) =
            self.act(room, by, move |ground| plan_adding(ground, &inviter, &users, &text)).await?;
        self.invite_each(room, by, invites, &mut added).await;
        Ok(added)
    }
}

/// Each user once; not more than a call may name.
pub(super) fn distinct(users: Vec<User>) -> Result<Vec<User>, GroupError> {
    if users.len() > MAX_USERS {
        return Err(GroupError::Argument(format!("more than {MAX_USERS} users")));
    }
    let mut seen = BTreeSet::new();
    Ok(users.into_iter().filter(|user| seen.insert(user.nid)).collect())
}

fn plan_adding(
    ground: &Ground<'_>,
    by: &Actor,
    users: &[User],
    text: &str,
) -> Result<Plan<(Added, Vec<User>)>, GroupError> {
    let own = ground.room.service.is_some_and(|_| *ground.executor != *by.user_id);
    let invite_level = levels::named(&ground.levels, "invite");
    let mode = JoinMode::of_room(ground.read, ground.room.nid, invite_level)?;
    let asks = own && mode == JoinMode::Invitation && ground.role == Role::Member;
    let rule = join_rule(ground.read, ground.room.nid)?;
    let owner = ground.roles.owner().map(ToOwned::to_owned);
    let (mut added, mut invites, mut events, mut rows) = (Added::default(), Vec::new(), Vec::new(), Vec::new());
    for user in users {
        match way(ground.read, Some(ground.room), user, by.user, owner.as_deref())? {
            Way::Refused(why) => added.refused.push(Refusal { user: user.nid, why: why.into() }),
            _ if asks => {
                rows.push(pending(user.nid, by.user, text, ground.now_ms));
                added.requested.push(user.nid);
            }
            Way::Invited => added.invited.push(user.nid),
            Way::Join(profile) if own => {
                let source = if ground.role == Role::Member { Source::Invitation } else { Source::Admin };
                events.extend(joins(ground.executor, &rule, &user.user_id, &profile, source, Some(&by.user_id)));
                added.added.push(user.nid);
            }
            Way::Join(_) | Way::Invite => invites.push(user.clone()),
        }
    }
    let full =
        groups::count_requests(ground.read, ground.room.nid, Handled::Pending)? + rows.len() as i64 > MAX_PENDING;
    if full && !rows.is_empty() {
        return Err(GroupError::Busy);
    }
    let (room, inviter, noted) = (ground.room.nid, by.user, invites.clone());
    Ok(Plan::new(events, (added, invites)).beside(move |tx| {
        rows.iter().try_for_each(|row| groups::put_request(tx, room, row))?;
        inviting::note(tx, room, inviter, &noted)
    }))
}

fn pending(user: UserNid, inviter: UserNid, text: &str, now_ms: i64) -> RequestRow {
    RequestRow {
        user,
        inviter: Some(inviter),
        text: text.to_owned(),
        source: Source::Invitation.number(),
        asked_ts: now_ms,
        handled: Handled::Pending,
        handler: None,
        handled_ts: None,
        answer: String::new(),
    }
}

/// How somebody came to a group: OpenIM's `joinSource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// 1: an admin added them.
    Admin,
    /// 2: a member invited them.
    Invitation,
    /// 3: they searched.
    Search,
    /// 4: by a QR code.
    QrCode,
}

impl Source {
    /// OpenIM's number.
    pub fn number(self) -> i64 {
        match self {
            Self::Admin => 1,
            Self::Invitation => 2,
            Self::Search => 3,
            Self::QrCode => 4,
        }
    }

    /// The source of OpenIM's number.
    pub fn of_number(number: i64) -> Option<Self> {
        [Self::Admin, Self::Invitation, Self::Search, Self::QrCode].into_iter().find(|s| s.number() == number)
    }
}

/// How a user can be brought into a room; `room` none: into one that is about to be made.
pub(super) fn way(
    read: &dyn Read,
    room: Option<&RoomKey>,
    user: &User,
    by: UserNid,
    owner: Option<&UserId>,
) -> Result<Way, StoreError> {
    let before = match room {
        Some(room) => members::of(read, user.nid, room.nid)?.map(|member| member.membership),
        None => None,
    };
    match before {
        Some(State::Join) => return Ok(Way::Refused("is in the group already")),
        Some(State::Ban) => return Ok(Way::Refused("is banned from the group")),
        Some(State::Invite) if accounts::get(read, user.nid)?.is_none() => return Ok(Way::Invited),
        _ => {}
    }
    let Some(account) = accounts::get(read, user.nid)? else { return Ok(Way::Invite) };
    if account.deactivated_ts.is_some()
        || !matches!(account.kind, AccountKind::Person | AccountKind::ApplicationService)
    {
        return Ok(Way::Refused("has no account that can be in groups"));
    }
    if invite_permission::is_blocked(read, &user.user_id)? {
        return Ok(Way::Refused("accepts no invitations"));
    }
    let ignored = ignored_users::of(read, user.nid)?;
    let owner = owner.map(|owner| ids::user_nid(read, owner)).transpose()?.flatten();
    let refuses = ignored.contains(&by) || owner.is_some_and(|owner| ignored.contains(&owner));
    if refuses || wishes_to_be_asked(read, user.nid, by)? {
        return Ok(if before == Some(State::Invite) { Way::Invited } else { Way::Invite });
    }
    Ok(Way::Join(MemberProfile::load(read, user.nid)?))
}

/// Whether a user set that strangers may not add them, and `by` is one.
fn wishes_to_be_asked(read: &dyn Read, user: UserNid, by: UserNid) -> Result<bool, StoreError> {
    Ok(!UserSettings::of(read, user)?.strangers_may_add && !friends::has(read, user, &ids::user_id(read, by)?)?)
}

/// The events by which a local user is in: one join that the service user vouches for, or where the join rule knows no such
/// thing, an invitation and a join.
pub(super) fn joins(
    service: &UserId,
    join_rule: &str,
    user: &OwnedUserId,
    profile: &MemberProfile,
    source: Source,
    inviter: Option<&UserId>,
) -> Vec<LocalEvent> {
    let mut content = object([("membership", "join".into()), (JOIN_SOURCE, number(source.number()))]);
    if let Some(inviter) = inviter {
        content.insert(INVITER.into(), inviter.as_str().into());
    }
    profile.fill(&mut content);
    let mut events = Vec::new();
    match join_rule {
        "public" => {}
        "restricted" | "knock_restricted" => {
            content.insert("join_authorised_via_users_server".into(), service.as_str().into());
        }
        _ => {
            let mut invite = object([("membership", "invite".into())]);
            profile.fill(&mut invite);
            events.push(LocalEvent::state(service.to_owned(), "m.room.member", user.as_str(), invite));
        }
    }
    events.push(LocalEvent::state(user.clone(), "m.room.member", user.as_str(), content));
    events
}
