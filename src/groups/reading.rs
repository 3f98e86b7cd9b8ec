//! What members see of their groups: lists, members, what a group is like.

use std::{collections::BTreeMap, sync::Arc};

use ruma::{CanonicalJsonObject, OwnedUserId, UserId};

use super::{
    Actor, GroupError, Groups, JoinMode, Role, Roles, Settings,
    act::caller,
    levels, mutes,
    settings::{INVITER, JOIN_SOURCE},
};
use crate::{
    rooms::{content::string, state},
    store::{
        Read, StoreError, groups, ids,
        ids::{RoomKey, RoomNid, UserNid},
        members,
        members::{MemberRow, Membership},
        rooms,
    },
};

/// Members whose names one call looks at, at most.
const MAX_SCANNED: usize = 2_000;

/// Members read at once.
const CHUNK: usize = 200;

/// Members whose avatars make a group's.
const AVATARS: usize = 9;

/// What a group is like.
#[derive(Clone, Debug)]
pub struct GroupInfo {
    /// Its room.
    pub room: Arc<RoomKey>,
    /// Its name; empty if it has none.
    pub name: String,
    /// Where its own avatar is; empty if it has none.
    pub avatar: String,
    /// The owner, if they are in it.
    pub owner: Option<UserNid>,
    /// Joined members, the service user left out.
    pub members: i64,
    /// How one comes in.
    pub mode: JoinMode,
    /// Whether only the owner and admins may talk.
    pub muted: bool,
    /// What members may see of each other.
    pub settings: Settings,
    /// The asker's role.
    pub role: Role,
    /// When it was made, in milliseconds.
    pub created_ts: i64,
}

/// A member as the others see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The member's number.
    pub user: UserNid,
    /// The member's id.
    pub user_id: OwnedUserId,
    /// What they are.
    pub role: Role,
    /// Their name in the group; empty if they have none.
    pub nickname: String,
    /// Where their avatar is; empty if they have none.
    pub avatar: String,
    /// When they came in, in milliseconds.
    pub joined_ts: i64,
    /// How they came in: OpenIM's `joinSource`; 0 if it is not known.
    pub source: i64,
    /// Who added them, if somebody did.
    pub inviter: Option<OwnedUserId>,
    /// Until when they are muted, in milliseconds; 0: they are not.
    pub muted_until: i64,
}

/// Which members are wanted.
#[derive(Clone, Debug, Default)]
pub struct MemberFilter {
    /// Those of this role alone.
    pub role: Option<Role>,
    /// Those in whose nickname or id this stands, in whatever case.
    pub keyword: Option<String>,
    /// Those after this one.
    pub after: Option<UserNid>,
    /// So many at most.
    pub limit: usize,
}

/// A page of members, by number.
#[derive(Clone, Debug, Default)]
pub struct MemberPage {
    /// The members.
    pub members: Vec<Member>,
    /// After whom the next page begins; none: there is no more. A page may have few members, or none, and not be the last:
    /// one call looks at a bounded number of names.
    pub next: Option<UserNid>,
}

impl Groups {
    /// What a group is like, for one of its members.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn info(&self, room: &Arc<RoomKey>, by: &Actor) -> Result<GroupInfo, GroupError> {
        let (room, by) = (room.clone(), by.user);
        self.store.read(move |read| info(read, &room, by)).await
    }

    /// The groups that a user is in, by number after this one, and whether there are more.
    ///
    /// # Errors
    /// `Argument` if they never were in the group to begin after.
    pub async fn mine(
        &self,
        by: &Actor,
        after: Option<RoomNid>,
        limit: usize,
    ) -> Result<(Vec<GroupInfo>, bool), GroupError> {
        let by = by.user;
        self.store
            .read(move |read| {
                if let Some(after) = after
                    && members::of(read, by, after)?.is_none()
                {
                    return Err(GroupError::NoCursor);
                }
                let mut found = groups::of_member(read, by, after.unwrap_or(RoomNid(i64::MIN)), limit + 1)?;
                let more = found.len() > limit;
                found.truncate(limit);
                let infos = found.into_iter().map(|room| info(read, &ids::room_by_nid(read, room)?, by));
                Ok((infos.collect::<Result<_, _>>()?, more))
            })
            .await
    }

    /// A page of a group's members, for one of them.
    ///
    /// # Errors
    /// [`GroupError`]; `NoCursor` if the one to begin after never was in the group.
    pub async fn members(
        &self,
        room: &Arc<RoomKey>,
        by: &Actor,
        filter: MemberFilter,
    ) -> Result<MemberPage, GroupError> {
        let (room, by, now_ms) = (room.clone(), by.user, self.clock.now_ms());
        self.store
            .read(move |read| {
                let roles = Roles::of(read, &room)?;
                caller(read, &room, &roles, by)?;
                if let Some(after) = filter.after
                    && members::of(read, after, room.nid)?.is_none()
                {
                    return Err(GroupError::NoCursor);
                }
                Ok(page(read, &room, &roles, &filter, now_ms)?)
            })
            .await
    }

    /// As [`Self::members`], for services that act for nobody in particular.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn members_for_services(
        &self,
        room: &Arc<RoomKey>,
        filter: MemberFilter,
    ) -> Result<MemberPage, StoreError> {
        let (room, now_ms) = (room.clone(), self.clock.now_ms());
        self.store.read(move |read| page(read, &room, &Roles::of(read, &room)?, &filter, now_ms)).await
    }

    /// The name and the avatar of rooms, in their order, for services that act for nobody in particular; empty where there is
    /// none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn looks(&self, rooms: Vec<Arc<RoomKey>>) -> Result<Vec<(String, String)>, StoreError> {
        self.store
            .read(move |read| {
                let looks = rooms.iter().map(|room| {
                    Ok((text(read, room, "m.room.name", "name")?, text(read, room, "m.room.avatar", "url")?))
                });
                looks.collect()
            })
            .await
    }

    /// The members who joined first, whose avatars make the group's.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn first_members(&self, room: &Arc<RoomKey>, by: &Actor) -> Result<Vec<Member>, GroupError> {
        let (room, by, now_ms) = (room.clone(), by.user, self.clock.now_ms());
        self.store
            .read(move |read| {
                let roles = Roles::of(read, &room)?;
                caller(read, &room, &roles, by)?;
                let rows = groups::earliest_members(read, room.nid, AVATARS + 1)?;
                let rows = rows.into_iter().filter(|row| room.service != Some(row.user)).take(AVATARS);
                Ok(rows.map(|row| member(read, &room, &roles, &row, now_ms)).collect::<Result<_, StoreError>>()?)
            })
            .await
    }
}

fn info(read: &dyn Read, room: &Arc<RoomKey>, by: UserNid) -> Result<GroupInfo, GroupError> {
    let roles = Roles::of(read, room)?;
    let role = caller(read, room, &roles, by)?;
    let levels: CanonicalJsonObject =
        state::current_content(read, room.nid, "m.room.power_levels", "")?.unwrap_or_default();
    let created = rooms::create_event(read, room.nid)?.map(|nid| state::load_pdu(read, nid)).transpose()?;
    let owner = match roles.owner() {
        Some(owner) => joined(read, room, owner)?,
        None => None,
    };
    Ok(GroupInfo {
        name: text(read, room, "m.room.name", "name")?,
        avatar: text(read, room, "m.room.avatar", "url")?,
        owner,
        members: member_count(read, room)?,
        mode: JoinMode::of_room(read, room.nid, levels::named(&levels, "invite"))?,
        muted: levels::named(&levels, "events_default") > 0,
        settings: Settings::of_room(read, room.nid)?,
        role,
        created_ts: created.map_or(0, |pdu| i64::try_from(pdu.origin_server_ts()).unwrap_or(i64::MAX)),
        room: room.clone(),
    })
}

/// A text of a state event; empty if there is none.
fn text(read: &dyn Read, room: &RoomKey, kind: &str, name: &str) -> Result<String, StoreError> {
    let content: Option<CanonicalJsonObject> = state::current_content(read, room.nid, kind, "")?;
    Ok(content.as_ref().and_then(|content| string(content, name)).unwrap_or_default().to_owned())
}

/// The number of a joined member.
fn joined(read: &dyn Read, room: &RoomKey, user: &UserId) -> Result<Option<UserNid>, StoreError> {
    let Some(user) = ids::user_nid(read, user)? else { return Ok(None) };
    let member = members::of(read, user, room.nid)?;
    Ok(member.filter(|member| member.membership == Membership::Join).map(|member| member.user))
}

/// Joined members of a room, the service user left out.
fn member_count(read: &dyn Read, room: &RoomKey) -> Result<i64, StoreError> {
    Ok(rooms::head(read, room.nid)?.joined - rooms::hidden_members(read, room)?)
}

fn page(
    read: &dyn Read,
    room: &RoomKey,
    roles: &Roles<'_>,
    filter: &MemberFilter,
    now_ms: i64,
) -> Result<MemberPage, StoreError> {
    let keyword = filter.keyword.as_deref().map(str::to_lowercase);
    let mut rows = Rows::new(read, room, roles, filter)?;
    let mut page = MemberPage::default();
    let mut scanned = 0;
    while let Some(row) = rows.next(read)? {
        if page.members.len() == filter.limit || scanned == MAX_SCANNED {
            return Ok(page);
        }
        scanned += 1;
        page.next = Some(row.user);
        if room.service == Some(row.user) {
            continue;
        }
        if filter.role.is_some() && Some(roles.of_user(read, &ids::user_id(read, row.user)?)?) != filter.role {
            continue;
        }
        let member = member(read, room, roles, &row, now_ms)?;
        let fits = |keyword: &String| {
            member.nickname.to_lowercase().contains(keyword) || member.user_id.localpart().contains(keyword)
        };
        if keyword.as_ref().is_none_or(fits) {
            page.members.push(member);
        }
    }
    page.next = None;
    Ok(page)
}

/// The members that may be on a page, by number: those whom the power levels name where a role above member is wanted, else
/// all, read as they are needed.
enum Rows<'r> {
    Named(std::collections::btree_map::IntoIter<UserNid, MemberRow>),
    All { room: &'r RoomKey, after: UserNid, read: std::vec::IntoIter<MemberRow>, last: bool },
}

impl<'r> Rows<'r> {
    fn new(read: &dyn Read, room: &'r RoomKey, roles: &Roles<'_>, filter: &MemberFilter) -> Result<Self, StoreError> {
        let after = filter.after.unwrap_or(UserNid(i64::MIN));
        if filter.role.is_none_or(|role| role == Role::Member) {
            return Ok(Self::All { room, after, read: Vec::new().into_iter(), last: false });
        }
        let mut named = BTreeMap::new();
        let creators = roles.power().creators().iter().map(String::as_str);
        for user in roles.power().listed().chain(creators).filter_map(|user| <&UserId>::try_from(user).ok()) {
            let Some(nid) = ids::user_nid(read, user)?.filter(|nid| *nid > after) else { continue };
            if let Some(row) = members::of(read, nid, room.nid)?.filter(|row| row.membership == Membership::Join) {
                named.insert(nid, row);
            }
        }
        Ok(Self::Named(named.into_iter()))
    }

    fn next(&mut self, read: &dyn Read) -> Result<Option<MemberRow>, StoreError> {
        match self {
            Self::Named(rows) => Ok(rows.next().map(|(_, row)| row)),
            Self::All { room, after, read: chunk, last } => {
                if chunk.len() == 0 && !*last {
                    let rows = groups::members_after(read, room.nid, Membership::Join, *after, CHUNK)?;
                    *last = rows.len() < CHUNK;
                    *chunk = rows.into_iter();
                }
                let row = chunk.next();
                if let Some(row) = &row {
                    *after = row.user;
                }
                Ok(row)
            }
        }
    }
}

pub(super) fn member(
    read: &dyn Read,
    room: &RoomKey,
    roles: &Roles<'_>,
    row: &MemberRow,
    now_ms: i64,
) -> Result<Member, StoreError> {
    let user_id = ids::user_id(read, row.user)?;
    let pdu = state::load_pdu(read, row.event)?;
    let content: CanonicalJsonObject = serde_json::from_str(pdu.content().get()).unwrap_or_default();
    let text = |name| string(&content, name).unwrap_or_default().to_owned();
    let joined_ts = match groups::time_at(read, room.nid, row.since)? {
        Some(ts) => ts,
        None => i64::try_from(pdu.origin_server_ts()).unwrap_or(i64::MAX),
    };
    let source = match content.get(JOIN_SOURCE) {
        Some(ruma::CanonicalJsonValue::Integer(source)) => (*source).into(),
        _ => 0,
    };
    let mute = mutes::of_user(read, room.nid, &user_id)?;
    Ok(Member {
        user: row.user,
        role: roles.of_user(read, &user_id)?,
        nickname: text("displayname"),
        avatar: text("avatar_url"),
        joined_ts,
        source,
        inviter: string(&content, INVITER).and_then(|user| OwnedUserId::try_from(user).ok()),
        muted_until: mute.filter(|mute| mute.holds(now_ms)).map_or(0, |mute| mute.until_ts),
        user_id,
    })
}
