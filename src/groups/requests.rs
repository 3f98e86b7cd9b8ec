//! Requests to join a group: knocks, of this server's users and of others', and members' invitations that need approval.

use std::{collections::BTreeMap, sync::Arc};

use ruma::{CanonicalJsonObject, CanonicalJsonValue};

use super::{
    Actor, Added, GroupError, Groups, JoinMode, Role, Roles,
    act::{Ground, Plan, caller},
    inviting, levels,
    members::{Source, Way, joins, way},
    removal::leave,
    settings::{JOIN_SOURCE, is_dissolved, join_rule},
};
use crate::{
    accounts::Session,
    numbers::User,
    rooms::{
        append::LocalEvent,
        content::{number, object, string},
        membership::Change,
        state,
    },
    store::{
        Read, StoreError,
        groups::{self, Handled, RequestRow},
        ids::{RoomKey, UserNid},
        members,
        members::{MemberRow, Membership},
    },
};

/// Answered requests of a group that are remembered.
const KEPT: usize = 1_000;

/// What became of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The user is in: the group is open, or they were invited.
    Joined,
    /// An admin must approve first.
    Asked,
}

/// A page of requests, by the user's number.
#[derive(Clone, Debug, Default)]
pub struct RequestPage {
    /// The requests.
    pub requests: Vec<RequestRow>,
    /// Whether there are more.
    pub more: bool,
}

impl Groups {
    /// Asks to be let into a group; where no approval is needed, joins it.
    ///
    /// # Errors
    /// [`GroupError`]; `Already` for a member.
    pub async fn apply(
        &self,
        room: &Arc<RoomKey>,
        session: &Session,
        text: String,
        source: Source,
    ) -> Result<Applied, GroupError> {
        let (of, user) = (room.clone(), session.user);
        let (before, mode) = self
            .store
            .read::<_, GroupError, _>(move |read| {
                if is_dissolved(read, of.nid)? {
                    return Err(GroupError::Dissolved);
                }
                let levels: CanonicalJsonObject =
                    state::current_content(read, of.nid, "m.room.power_levels", "")?.unwrap_or_default();
                let mode = JoinMode::of_room(read, of.nid, levels::named(&levels, "invite"))?;
                Ok((members::of(read, user, of.nid)?.map(|member| member.membership), mode))
            })
            .await?;
        let joins = mode == JoinMode::Open || before == Some(Membership::Invite);
        if before == Some(Membership::Join) {
            return Err(GroupError::Already("you are in this group already"));
        }
        let membership = if joins { "join" } else { "knock" };
        let mut content = object([("membership", membership.into()), (JOIN_SOURCE, number(source.number()))]);
        if !joins && !text.is_empty() {
            content.insert("reason".into(), text.into());
        }
        self.membership.put(session, &room.room_id, session.user_id.as_str(), content).await?;
        Ok(if joins { Applied::Joined } else { Applied::Asked })
    }

    /// A page of a group's requests, for its owner and admins: those that wait, or those that were answered.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn requests(
        &self,
        room: &Arc<RoomKey>,
        by: &Actor,
        handled: Option<Handled>,
        after: Option<UserNid>,
        limit: usize,
    ) -> Result<RequestPage, GroupError> {
        let (room, by) = (room.clone(), by.user);
        self.store
            .read(move |read| {
                let roles = Roles::of(read, &room)?;
                if caller(read, &room, &roles, by)? < Role::Admin {
                    return Err(GroupError::NotPermitted("only the owner and the admins see requests".into()));
                }
                let after = after.unwrap_or(UserNid(i64::MIN));
                Ok(page(read, &room, handled.unwrap_or(Handled::Pending), after, limit)?)
            })
            .await
    }

    /// Answers a request. Who is let in is in the group, if they are of this server; others are invited. The owner and the
    /// admins may, once.
    ///
    /// # Errors
    /// [`GroupError`]; `NoRequest` if there is none, `Handled` if it was answered before.
    pub async fn handle_request(
        &self,
        room: &Arc<RoomKey>,
        by: &Actor,
        target: &User,
        approve: bool,
        answer: String,
    ) -> Result<Added, GroupError> {
        let (user, by_actor, own) = (target.clone(), by.clone(), self.server_name.clone());
        let reason = Some(answer.clone()).filter(|reason| !reason.is_empty());
        let (mut added, invites, kicks) = self
            .act(room, by, move |ground| {
                ground.needs(Role::Admin)?;
                let knock = ground.membership(user.nid)?.filter(|member| member.membership == Membership::Knock);
                let request = match (&knock, groups::request_of(ground.read, ground.room.nid, user.nid)?) {
                    (Some(knock), _) => of_knock(ground.read, knock)?,
                    (None, Some(row)) if row.handled == Handled::Pending => row,
                    (None, Some(_)) => return Err(GroupError::Handled),
                    (None, None) => return Err(GroupError::NoRequest),
                };
                let mut done = Done::default();
                if approve {
                    done.let_in(ground, &user, &by_actor, request.source)?;
                } else if knock.is_some() && user.user_id.server_name() == own {
                    done.events.push(ground.state("m.room.member", user.user_id.as_str(), leave(&answer)));
                } else if knock.is_some() {
                    done.kicks.push(user.clone());
                }
                let row = RequestRow {
                    handled: if approve { Handled::Approved } else { Handled::Rejected },
                    handler: Some(by_actor.user),
                    handled_ts: Some(ground.now_ms),
                    answer: answer.clone(),
                    ..request
                };
                let (room, inviter, noted) = (ground.room.nid, by_actor.user, done.invites.clone());
                Ok(Plan::new(done.events, (done.added, done.invites, done.kicks)).beside(move |tx| {
                    groups::put_request(tx, room, &row)?;
                    inviting::note(tx, room, inviter, &noted)?;
                    groups::trim_requests(tx, room, KEPT)
                }))
            })
            .await?;
        let executor = self.session_of(room, by);
        for user in kicks {
            self.membership.act_on(&executor, &room.room_id, &user.user_id, Change::Kick, reason.clone()).await?;
        }
        self.invite_each(room, by, invites, &mut added).await;
        Ok(added)
    }
}

/// What the answer to a request does.
#[derive(Default)]
struct Done {
    events: Vec<LocalEvent>,
    added: Added,
    /// To be invited once the answer is noted.
    invites: Vec<User>,
    /// To be told no, through their server.
    kicks: Vec<User>,
}

impl Done {
    fn let_in(&mut self, ground: &Ground<'_>, user: &User, by: &Actor, source: i64) -> Result<(), GroupError> {
        let source = Source::of_number(source).unwrap_or(Source::Search);
        match way(ground.read, Some(ground.room), user, by.user, None)? {
            Way::Join(profile) if *ground.executor != *by.user_id => {
                let (rule, by) = (join_rule(ground.read, ground.room.nid)?, Some(&*by.user_id));
                self.events.extend(joins(ground.executor, &rule, &user.user_id, &profile, source, by));
                self.added.added.push(user.nid);
            }
            Way::Join(_) | Way::Invite => self.invites.push(user.clone()),
            Way::Invited => self.added.invited.push(user.nid),
            Way::Refused(why) => return Err(GroupError::NotPermitted(format!("{} {why}", user.user_id))),
        }
        Ok(())
    }
}

/// A knock as a request.
fn of_knock(read: &dyn Read, knock: &MemberRow) -> Result<RequestRow, StoreError> {
    let pdu = state::load_pdu(read, knock.event)?;
    let content: CanonicalJsonObject = serde_json::from_str(pdu.content().get()).unwrap_or_default();
    let source = match content.get(JOIN_SOURCE) {
        Some(CanonicalJsonValue::Integer(source)) => Source::of_number((*source).into()),
        _ => None,
    };
    let text = string(&content, "reason").unwrap_or_default();
    Ok(RequestRow {
        user: knock.user,
        inviter: None,
        text: text.chars().take(super::MAX_TEXT).collect(),
        source: source.unwrap_or(Source::Search).number(),
        asked_ts: i64::try_from(pdu.origin_server_ts()).unwrap_or(i64::MAX),
        handled: Handled::Pending,
        handler: None,
        handled_ts: None,
        answer: String::new(),
    })
}

fn page(
    read: &dyn Read,
    room: &RoomKey,
    handled: Handled,
    after: UserNid,
    limit: usize,
) -> Result<RequestPage, StoreError> {
    let mut found = BTreeMap::new();
    for row in groups::requests_after(read, room.nid, handled, after, limit + 1)? {
        found.insert(row.user, row);
    }
    if handled == Handled::Pending {
        for knock in groups::members_after(read, room.nid, Membership::Knock, after, limit + 1)? {
            found.insert(knock.user, of_knock(read, &knock)?);
        }
    }
    let more = found.len() > limit;
    Ok(RequestPage { requests: found.into_values().take(limit).collect(), more })
}
