//! Making announcements: a new one, a change of one's own or of another's, taking one away.
//!
//! All is done with the power of the one who announces, not of the service user: an announcement is signed by their server, and
//! an admin on another server needs nobody's help.

use std::sync::Arc;

use ruma::{CanonicalJsonObject, CanonicalJsonValue, EventId, UserId};

use super::{
    Actor, GroupError, Groups, MAX_NOTICE, Notice, Role, ShownNotice,
    act::{Ground, Plan},
    announcements::{NOTICE, current, post_of},
    mutes,
};
use crate::{
    rooms::{append::LocalEvent, content::object, state},
    store::{
        Read, StoreError,
        ids::{RoomKey, RoomNid},
    },
};

/// Messages pinned in a group at most, of which an announcement is one: others fall off the end.
const MAX_PINNED: usize = 100;

/// What tells readers of plain clients that a confirmation is wanted, below the text of the post.
const HOW_TO_CONFIRM: &str = "\n\n(Please confirm with ✅ · 请用 ✅ 确认)";

/// What is to be announced.
#[derive(Clone, Debug, Default)]
pub struct NewNotice {
    /// The text; empty: the announcement is taken away.
    pub text: String,
    /// Whether members are asked to confirm it; None: as before where it is an edit, else no.
    pub must_confirm: Option<bool>,
    /// Whether the current announcement is changed, rather than a new one made.
    pub edit: bool,
}

/// The content of a post.
pub(super) fn message_content(text: &str, must_confirm: bool) -> CanonicalJsonObject {
    let body = if must_confirm { format!("{text}{HOW_TO_CONFIRM}") } else { text.to_owned() };
    object([
        ("body", body.into()),
        ("m.mentions", object([("room", true.into())]).into()),
        ("msgtype", "m.text".into()),
        (NOTICE, object([("must_confirm", must_confirm.into())]).into()),
    ])
}

/// The content of a changed post. It mentions nobody: who was told of the post was told.
pub(super) fn replacing(post: &EventId, text: &str, must_confirm: bool) -> CanonicalJsonObject {
    let mut new = message_content(text, must_confirm);
    new.insert("m.mentions".into(), CanonicalJsonObject::new().into());
    let mut content = new.clone();
    content.insert("m.new_content".into(), new.into());
    let relation = object([("event_id", post.as_str().into()), ("rel_type", "m.replace".into())]);
    content.insert("m.relates_to".into(), relation.into());
    content
}

/// What is pinned, with the post `new` first and without `old`.
fn pinned(
    read: &dyn Read,
    room: RoomNid,
    old: Option<&EventId>,
    new: Option<&EventId>,
) -> Result<CanonicalJsonObject, StoreError> {
    let before: CanonicalJsonObject =
        state::current_content(read, room, "m.room.pinned_events", "")?.unwrap_or_default();
    let rest = match before.get("pinned") {
        Some(CanonicalJsonValue::Array(pinned)) => pinned.clone(),
        _ => Vec::new(),
    };
    let is = |value: &CanonicalJsonValue, id: Option<&EventId>| matches!((value, id), (CanonicalJsonValue::String(value), Some(id)) if value == id.as_str());
    let mut pinned: Vec<CanonicalJsonValue> = new.map(|new| new.as_str().into()).into_iter().collect();
    pinned.extend(rest.into_iter().filter(|value| !is(value, old) && !is(value, new)));
    pinned.truncate(MAX_PINNED);
    Ok(object([("pinned", pinned.into())]))
}

/// Holds that the caller may announce.
fn may_announce(ground: &Ground<'_>, by: &UserId) -> Result<(), GroupError> {
    ground.needs(Role::Admin)?;
    let mute = mutes::of_user(ground.read, ground.room.nid, by)?;
    if ground.role < Role::Owner && mute.is_some_and(|mute| mute.holds(ground.now_ms)) {
        return Err(GroupError::NotPermitted("you are muted in this group".into()));
    }
    Ok(())
}

impl Groups {
    /// Announces something, changes what is announced or takes it away. The owner and the admins may. Answers what is announced
    /// then.
    ///
    /// # Errors
    /// [`GroupError`]; `NoNotice` if there is none to be changed.
    pub async fn announce(
        &self,
        room: &Arc<RoomKey>,
        by: &Actor,
        new: NewNotice,
    ) -> Result<Option<ShownNotice>, GroupError> {
        if new.text.chars().count() > MAX_NOTICE {
            return Err(GroupError::Argument(format!("an announcement has more than {MAX_NOTICE} characters")));
        }
        if new.text.trim().is_empty() {
            self.take_away(room, by).await?;
            return Ok(None);
        }
        let edited = if new.edit { self.change(room, by, &new).await? } else { false };
        if !edited {
            self.publish(room, by, new).await?;
        }
        self.notice(room, by).await
    }

    /// Changes one's own announcement in its place; false if the current one is another's, or its post cannot be changed.
    async fn change(&self, room: &Arc<RoomKey>, by: &Actor, new: &NewNotice) -> Result<bool, GroupError> {
        let (by_id, user, new) = (by.user_id.clone(), by.user, new.clone());
        self.act(room, by, move |ground| {
            may_announce(ground, &by_id)?;
            let (read, room) = (ground.read, ground.room.nid);
            let (before, _) = current(read, room)?.ok_or(GroupError::NoNotice)?;
            let own =
                before.author == by_id && post_of(read, room, &before.post)?.is_some_and(|post| post.sender == user);
            if !own {
                return Ok(Plan::new(Vec::new(), false));
            }
            let must_confirm = new.must_confirm.unwrap_or(before.must_confirm);
            let notice = Notice { text: new.text.clone(), edited_ts: Some(ground.now_ms), must_confirm, ..before };
            let replacement = replacing(&notice.post, &notice.text, must_confirm);
            // Pinned again, lest another's announcement of this moment stay pinned in its place.
            let pins = pinned(read, room, None, Some(&notice.post))?;
            let events = vec![
                LocalEvent::message(by_id.clone(), "m.room.message", replacement),
                LocalEvent::state(by_id.clone(), NOTICE, "", notice.content()),
                LocalEvent::state(by_id.clone(), "m.room.pinned_events", "", pins),
            ];
            Ok(Plan::new(events, true))
        })
        .await
    }

    /// Posts an announcement, then makes it the current one: the state event names the post, so it cannot be written with it.
    /// A post whose announcement fails is withdrawn; a crash between the two leaves it as a message like others.
    async fn publish(&self, room: &Arc<RoomKey>, by: &Actor, new: NewNotice) -> Result<(), GroupError> {
        let (by_id, asked) = (by.user_id.clone(), new.clone());
        let ((must_confirm, ts), appended) = self
            .act_appended(room, by, move |ground| {
                may_announce(ground, &by_id)?;
                let before = current(ground.read, ground.room.nid)?.map(|(before, _)| before);
                let before = before.filter(|_| asked.edit).is_some_and(|before| before.must_confirm);
                let must_confirm = asked.must_confirm.unwrap_or(before);
                let post = message_content(&asked.text, must_confirm);
                let events = vec![LocalEvent::message(by_id.clone(), "m.room.message", post)];
                Ok(Plan::new(events, (must_confirm, ground.now_ms)))
            })
            .await?;
        let post = appended.into_iter().next().map(|appended| appended.event_id);
        let post = post.ok_or_else(|| StoreError::Engine("an append of one event answered none".into()))?;
        let author = by.user_id.clone();
        let notice = Notice { text: new.text, author, ts, edited_ts: None, must_confirm, post: post.clone() };
        let by_id = by.user_id.clone();
        let made = self
            .act(room, by, move |ground| {
                may_announce(ground, &by_id)?;
                let (read, room) = (ground.read, ground.room.nid);
                let old = state::current(read, room, NOTICE, "")?.and_then(|pdu| Notice::of_pdu(&pdu));
                let pins = pinned(read, room, old.as_ref().map(|old| &*old.post), Some(&notice.post))?;
                let events = vec![
                    LocalEvent::state(by_id.clone(), NOTICE, "", notice.content()),
                    LocalEvent::state(by_id.clone(), "m.room.pinned_events", "", pins),
                ];
                Ok(Plan::new(events, ()))
            })
            .await;
        if made.is_err() {
            let mut redaction = LocalEvent::message(by.user_id.clone(), "m.room.redaction", CanonicalJsonObject::new());
            redaction.redacts = Some(post);
            if let Err(error) = self.appenders.append(room.nid, vec![redaction], None).await {
                tracing::warn!(%error, "the post of an announcement that failed was not withdrawn");
            }
        }
        made
    }

    async fn take_away(&self, room: &Arc<RoomKey>, by: &Actor) -> Result<(), GroupError> {
        let by_id = by.user_id.clone();
        self.act(room, by, move |ground| {
            may_announce(ground, &by_id)?;
            let (read, room) = (ground.read, ground.room.nid);
            let Some(old) = state::current(read, room, NOTICE, "")?.and_then(|pdu| Notice::of_pdu(&pdu)) else {
                return Ok(Plan::new(Vec::new(), ()));
            };
            let pins = pinned(read, room, Some(&old.post), None)?;
            let events = vec![
                LocalEvent::state(by_id.clone(), NOTICE, "", CanonicalJsonObject::new()),
                LocalEvent::state(by_id.clone(), "m.room.pinned_events", "", pins),
            ];
            Ok(Plan::new(events, ()))
        })
        .await
    }
}
