//! Who has read an announcement, who has confirmed it: one pass over members, receipts and relations.

use std::{collections::HashMap, sync::Arc};

use super::{
    Actor, GroupError, Groups, Member, Role, Roles,
    act::caller,
    announcements::{NOTICE, current, post_of},
    confirming::confirmations,
    reading::member,
};
use crate::{
    numbers::{MessageRef, message},
    rooms::state,
    store::{
        Read, StoreError, announcements, events,
        ids::{RoomKey, UserNid},
        members,
    },
};

/// Which members are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReadState {
    /// They have read up to the announcement, or confirmed it.
    Read,
    /// They have not.
    Unread,
    /// They have confirmed it.
    Confirmed,
    /// They have not.
    Unconfirmed,
}

/// How many members are what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// Members, the author left out.
    pub members: usize,
    /// Of them, those who have read it.
    pub read: usize,
    /// Of them, those who have confirmed it.
    pub confirmed: usize,
}

/// A member who is in the wanted state, and since when, in milliseconds: when they read or confirmed it.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Who.
    pub member: Member,
    /// When; none for who has not.
    pub ts: Option<i64>,
}

/// A page of readers, by number.
#[derive(Clone, Debug, Default)]
pub struct ReaderPage {
    /// They.
    pub readers: Vec<Reader>,
    /// Whether there are more.
    pub more: bool,
    /// Of all members.
    pub counts: ReadCounts,
}

/// Which page of whom.
#[derive(Clone, Debug)]
pub struct ReaderFilter {
    /// Those in this state.
    pub state: ReadState,
    /// Of this announcement's post; None: the current one's.
    pub post: Option<MessageRef>,
    /// After this member.
    pub after: Option<UserNid>,
    /// So many at most.
    pub limit: usize,
}

impl Groups {
    /// Who has read or confirmed an announcement, or has not, for the owner and the admins.
    ///
    /// # Errors
    /// [`GroupError`]; `NoNotice` if there is no such announcement, `Argument` if the one to begin after never was in the group.
    pub async fn readers(
        &self,
        room: &Arc<RoomKey>,
        by: &Actor,
        filter: ReaderFilter,
    ) -> Result<ReaderPage, GroupError> {
        let (room, by, now_ms) = (room.clone(), by.user, self.clock.now_ms());
        self.store
            .read(move |read| {
                let roles = Roles::of(read, &room)?;
                if caller(read, &room, &roles, by)? < Role::Admin {
                    let text = "only the owner and the admins see who has read an announcement";
                    return Err(GroupError::NotPermitted(text.into()));
                }
                let post = post(read, &room, filter.post.as_ref())?;
                if let Some(after) = filter.after
                    && members::of(read, after, room.nid)?.is_none()
                {
                    return Err(GroupError::NoCursor);
                }
                let Found { wanted, counts } = find(read, &room, &post, filter.state)?;
                let mut wanted = wanted.into_iter().filter(|(user, _)| filter.after.is_none_or(|after| *user > after));
                let mut readers = Vec::new();
                for (user, ts) in wanted.by_ref().take(filter.limit) {
                    let Some(row) = members::of(read, user, room.nid)? else { continue };
                    readers.push(Reader { member: member(read, &room, &roles, &row, now_ms)?, ts });
                }
                Ok(ReaderPage { readers, more: wanted.next().is_some(), counts })
            })
            .await
    }
}

/// A post, and from which position on whoever read has read it.
pub(super) struct Post {
    pub(super) event_id: ruma::OwnedEventId,
    pub(super) position: Option<i64>,
    pub(super) author: UserNid,
}

/// The post that is asked for.
fn post(read: &dyn Read, room: &RoomKey, named: Option<&MessageRef>) -> Result<Post, GroupError> {
    let Some(named) = named else {
        let (notice, nid) = current(read, room.nid)?.ok_or(GroupError::NoNotice)?;
        let row = events::by_nid(read, nid)?;
        // A post that is not here is older than its state event.
        let position = post_of(read, room.nid, &notice.post)?.map_or(row.position, |post| post.position);
        return Ok(Post { event_id: notice.post, position, author: row.sender });
    };
    let nid = message(read, room.nid, named)?.ok_or(GroupError::NoNotice)?;
    let row = events::by_nid(read, nid)?;
    if row.is(events::flag::HIDDEN) || !is_post(read, &row)? {
        return Err(GroupError::NoNotice);
    }
    Ok(Post { event_id: row.event_id, position: row.position, author: row.sender })
}

fn is_post(read: &dyn Read, row: &events::EventRow) -> Result<bool, StoreError> {
    if &*row.kind != "m.room.message" {
        return Ok(false);
    }
    let pdu = state::load_pdu(read, row.nid)?;
    let content: HashMap<String, serde_json::Value> = serde_json::from_str(pdu.content().get()).unwrap_or_default();
    Ok(content.contains_key(NOTICE) && !content.contains_key("m.new_content"))
}

pub(super) struct Found {
    pub(super) wanted: Vec<(UserNid, Option<i64>)>,
    pub(super) counts: ReadCounts,
}

/// All members in a state, by number.
pub(super) fn find(read: &dyn Read, room: &RoomKey, post: &Post, state: ReadState) -> Result<Found, StoreError> {
    let confirmed = earliest(confirmations(read, room.nid, &post.event_id)?);
    let mut readers = match post.position {
        Some(position) => announcements::read_past(read, room.nid, position)?.into_iter().collect(),
        None => HashMap::new(),
    };
    // Nobody confirms what they have not read.
    for (user, ts) in &confirmed {
        readers.entry(*user).or_insert(*ts);
    }
    let mut found = Found { wanted: Vec::new(), counts: ReadCounts::default() };
    for (user, _) in announcements::members(read, room.nid)? {
        if room.service == Some(user) || post.author == user {
            continue;
        }
        let (read_ts, confirmed_ts) = (readers.get(&user).copied(), confirmed.get(&user).copied());
        found.counts.members += 1;
        found.counts.read += usize::from(read_ts.is_some());
        found.counts.confirmed += usize::from(confirmed_ts.is_some());
        let (is, ts) = match state {
            ReadState::Read => (read_ts.is_some(), read_ts),
            ReadState::Unread => (read_ts.is_none(), None),
            ReadState::Confirmed => (confirmed_ts.is_some(), confirmed_ts),
            ReadState::Unconfirmed => (confirmed_ts.is_none(), None),
        };
        if is {
            found.wanted.push((user, ts));
        }
    }
    Ok(found)
}

fn earliest(confirmations: Vec<(UserNid, i64)>) -> HashMap<UserNid, i64> {
    let mut earliest: HashMap<UserNid, i64> = HashMap::with_capacity(confirmations.len());
    for (user, ts) in confirmations {
        earliest.entry(user).and_modify(|first| *first = ts.min(*first)).or_insert(ts);
    }
    earliest
}
