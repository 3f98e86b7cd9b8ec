//! Announcements as members read them: the state event that holds what the owner or an admin announces, and the pinned post that
//! plain clients see. How they are made is in `announcing`, how members confirm them in `confirming`.
//!
//! The state event holds the whole text, so that who may not read the post, since they came later, reads it there.

use std::sync::Arc;

use linkim_federation::Pdu;
use ruma::{CanonicalJsonObject, EventId, OwnedEventId, OwnedUserId, UserId};
use serde::Deserialize;

use super::{Actor, GroupError, Groups, Roles, act::caller, confirming::has_confirmed};
use crate::{
    numbers::{MessageRef, message},
    rooms::{
        content::{number, object},
        state,
        visibility::Visibility,
    },
    store::{
        Read, StoreError, events,
        events::EventRow,
        ids,
        ids::{EventNid, RoomKey, RoomNid, UserNid},
        state as stored_state,
    },
};

/// Type of the state event that holds the current announcement. In a post's content: it is one.
pub(crate) const NOTICE: &str = "org.linkim.group.notice";

/// Characters of an announcement at most.
pub const MAX_NOTICE: usize = 5_000;

/// An announcement as its state event says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What is announced.
    pub text: String,
    /// Who announced it, or changed it last.
    pub author: OwnedUserId,
    /// When it was announced, in milliseconds.
    pub ts: i64,
    /// When it was changed, in milliseconds, if it was.
    pub edited_ts: Option<i64>,
    /// Whether members are asked to confirm it.
    pub must_confirm: bool,
    /// The post.
    pub post: OwnedEventId,
}

/// An announcement as members see it.
#[derive(Clone, Debug)]
pub struct ShownNotice {
    /// What it says.
    pub notice: Notice,
    /// The state event, by number: the cursor of the history.
    pub number: EventNid,
    /// The author's number.
    pub author: UserNid,
    /// The post's number, if it is here.
    pub post: Option<EventNid>,
    /// Whether the one who looks has confirmed it; None in the history.
    pub confirmed: Option<bool>,
}

#[derive(Deserialize)]
struct Content {
    text: String,
    ts: i64,
    edited_ts: Option<i64>,
    #[serde(default)]
    must_confirm: bool,
    event_id: OwnedEventId,
}

impl Notice {
    /// What a state event says; None if it takes the announcement away, or is none.
    pub(super) fn of_pdu(pdu: &Pdu) -> Option<Self> {
        let content: Content = serde_json::from_str(pdu.content().get()).ok()?;
        if content.text.is_empty() || content.text.chars().count() > MAX_NOTICE {
            return None;
        }
        Some(Self {
            text: content.text,
            // What the event says of its author is theirs to say; who sent it is signed.
            author: pdu.sender().to_owned(),
            ts: content.ts,
            edited_ts: content.edited_ts,
            must_confirm: content.must_confirm,
            post: content.event_id,
        })
    }

    pub(super) fn content(&self) -> CanonicalJsonObject {
        let mut content = unnamed(&self.text, &self.author, self.ts, self.edited_ts, self.must_confirm);
        name_post(&mut content, &self.post);
        content
    }
}

/// The content of the state event before its post is named.
pub(super) fn unnamed(
    text: &str,
    author: &UserId,
    ts: i64,
    edited_ts: Option<i64>,
    must_confirm: bool,
) -> CanonicalJsonObject {
    let mut content = object([
        ("author", author.as_str().into()),
        ("must_confirm", must_confirm.into()),
        ("text", text.into()),
        ("ts", number(ts)),
    ]);
    if let Some(ts) = edited_ts {
        content.insert("edited_ts".into(), number(ts));
    }
    content
}

/// Names the post in the content of the state event.
pub(super) fn name_post(content: &mut CanonicalJsonObject, post: &EventId) {
    content.insert("event_id".into(), post.as_str().into());
}

/// The current announcement with its state event; None also if the post was withdrawn.
pub(super) fn current(read: &dyn Read, room: RoomNid) -> Result<Option<(Notice, EventNid)>, StoreError> {
    let Some(nid) = state::current_nid(read, room, NOTICE, "")? else { return Ok(None) };
    let Some(notice) = Notice::of_pdu(&*state::load_pdu(read, nid)?) else { return Ok(None) };
    let withdrawn = post_of(read, room, &notice.post)?.is_some_and(|post| post.redacted_by.is_some());
    Ok((!withdrawn).then_some((notice, nid)))
}

/// The post, if it is here.
pub(super) fn post_of(read: &dyn Read, room: RoomNid, post: &EventId) -> Result<Option<EventRow>, StoreError> {
    Ok(events::by_id(read, post)?.filter(|row| row.room == room && !row.is(events::flag::HIDDEN)))
}

impl Groups {
    /// What is announced, for a member.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn notice(&self, room: &Arc<RoomKey>, by: &Actor) -> Result<Option<ShownNotice>, GroupError> {
        let (room, by) = (room.clone(), by.user);
        self.store
            .read(move |read| {
                let roles = Roles::of(read, &room)?;
                caller(read, &room, &roles, by)?;
                let Some((notice, nid)) = current(read, room.nid)? else { return Ok(None) };
                let confirmed = has_confirmed(read, room.nid, &notice.post, by)?;
                Ok(Some(shown(read, room.nid, notice, nid, Some(confirmed))?))
            })
            .await
    }

    /// What was announced and changed, the newest first, before the state event of this number; and whether there is more. What
    /// was announced before the member could read the group's history is left out.
    ///
    /// # Errors
    /// [`GroupError`]; `Argument` if the number is of no announcement of this group.
    pub async fn notices(
        &self,
        room: &Arc<RoomKey>,
        by: &Actor,
        before: Option<MessageRef>,
        limit: usize,
    ) -> Result<(Vec<ShownNotice>, bool), GroupError> {
        let (room, by) = (room.clone(), by.user);
        self.store
            .read(move |read| {
                let roles = Roles::of(read, &room)?;
                caller(read, &room, &roles, by)?;
                let mut history: Vec<EventNid> = match ids::state_key_nid(read, NOTICE, "")? {
                    Some(key) => stored_state::history(read, room.main_line, key)?
                        .into_iter()
                        .filter_map(|(_, event)| event)
                        .collect(),
                    None => Vec::new(),
                };
                if let Some(before) = before {
                    let cursor = message(read, room.nid, &before)?;
                    let at = cursor.and_then(|cursor| history.iter().rposition(|nid| *nid == cursor));
                    history.truncate(at.ok_or(GroupError::NoCursor)?);
                }
                let mut visibility = Visibility::new(read, &room, by)?;
                let mut found = Vec::new();
                for nid in history.into_iter().rev() {
                    if !visibility.allows(read, &events::by_nid(read, nid)?)? {
                        continue;
                    }
                    let Some(notice) = Notice::of_pdu(&*state::load_pdu(read, nid)?) else { continue };
                    if found.len() == limit {
                        return Ok((found, true));
                    }
                    found.push(shown(read, room.nid, notice, nid, None)?);
                }
                Ok((found, false))
            })
            .await
    }
}

fn shown(
    read: &dyn Read,
    room: RoomNid,
    notice: Notice,
    number: EventNid,
    confirmed: Option<bool>,
) -> Result<ShownNotice, StoreError> {
    let author = events::by_nid(read, number)?.sender;
    let post = post_of(read, room, &notice.post)?.map(|row| row.nid);
    Ok(ShownNotice { notice, number, author, post, confirmed })
}
