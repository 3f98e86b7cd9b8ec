//! Announcements: the state event that holds what the owner or an admin announces, the pinned post that plain clients see, and
//! the confirmations of who took note of it.
//!
//! All is done with the power of the one who announces, not of the service user: an announcement is signed by their server, and
//! an admin on another server needs nobody's help. The state event holds the whole text, so that who may not read the post, since
//! they came later, reads it there.

use std::sync::Arc;

use linkim_federation::Pdu;
use ruma::{CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, OwnedUserId, UserId};
use serde::Deserialize;

use super::{
    Actor, GroupError, Groups, Role, Roles,
    act::{Ground, Plan, caller},
    mutes,
};
use crate::{
    numbers::{MessageRef, message},
    rooms::{
        append::{Along, AppendError, LocalEvent},
        content::{number, object},
        group_calls::CONFIRM,
        state,
        visibility::Visibility,
    },
    store::{
        Read, StoreError, annotations, announcements,
        announcements::Relations,
        events,
        events::EventRow,
        ids,
        ids::{EventNid, RoomKey, RoomNid, UserNid},
        rooms, state as stored_state,
    },
};

/// Type of the state event that holds the current announcement. In a post's content: it is one.
pub(crate) const NOTICE: &str = "org.linkim.group.notice";

/// Characters of an announcement at most.
pub const MAX_NOTICE: usize = 5_000;

/// Messages pinned in a group at most, of which an announcement is one: others fall off the end.
const MAX_PINNED: usize = 100;

/// What tells readers of plain clients that a confirmation is wanted, below the text of the post.
const HOW_TO_CONFIRM: &str = "\n\n(Please confirm with ✅ · 请用 ✅ 确认)";

/// The key of the reaction that confirms.
const CHECK_MARK: &str = "✅";

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
    fn of_pdu(pdu: &Pdu) -> Option<Self> {
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
        content.insert("event_id".into(), self.post.as_str().into());
        content
    }
}

/// The content of the state event before its post is named.
fn unnamed(text: &str, author: &UserId, ts: i64, edited_ts: Option<i64>, must_confirm: bool) -> CanonicalJsonObject {
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

/// The content of a confirmation.
pub(super) fn confirmation_content(post: &EventId) -> CanonicalJsonObject {
    let relation = object([("event_id", post.as_str().into()), ("rel_type", "m.reference".into())]);
    object([("m.relates_to", relation.into())])
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

/// What is pinned, without the post `old`.
fn pinned(read: &dyn Read, room: RoomNid, old: Option<&EventId>) -> Result<CanonicalJsonObject, StoreError> {
    let before: CanonicalJsonObject =
        state::current_content(read, room, "m.room.pinned_events", "")?.unwrap_or_default();
    let mut pinned = match before.get("pinned") {
        Some(CanonicalJsonValue::Array(pinned)) => pinned.clone(),
        _ => Vec::new(),
    };
    if let Some(old) = old {
        pinned.retain(|value| value.as_str() != Some(old.as_str()));
    }
    pinned.truncate(MAX_PINNED);
    Ok(object([("pinned", pinned.into())]))
}

/// Puts a post before what else is pinned.
fn pin_first(content: &mut CanonicalJsonObject, post: &EventId) {
    let Some(CanonicalJsonValue::Array(pinned)) = content.get_mut("pinned") else { return };
    pinned.insert(0, post.as_str().into());
    pinned.truncate(MAX_PINNED);
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
            let mut pins = pinned(read, room, Some(&notice.post))?;
            pin_first(&mut pins, &notice.post);
            let events = vec![
                LocalEvent::message(by_id.clone(), "m.room.message", replacement),
                LocalEvent::state(by_id.clone(), NOTICE, "", notice.content()),
                LocalEvent::state(by_id.clone(), "m.room.pinned_events", "", pins),
            ];
            Ok(Plan::new(events, true))
        })
        .await
    }

    /// Posts an announcement and makes it the current one, in one write: the state events name the post once it is built.
    async fn publish(&self, room: &Arc<RoomKey>, by: &Actor, new: NewNotice) -> Result<(), GroupError> {
        let by_id = by.user_id.clone();
        self.act(room, by, move |ground| {
            may_announce(ground, &by_id)?;
            let (read, room) = (ground.read, ground.room.nid);
            let before = current(read, room)?.map(|(before, _)| before).filter(|_| new.edit);
            let must_confirm = new.must_confirm.unwrap_or(before.is_some_and(|before| before.must_confirm));
            let old = state::current(read, room, NOTICE, "")?.and_then(|pdu| Notice::of_pdu(&pdu));
            let pins = pinned(read, room, old.as_ref().map(|old| &*old.post))?;
            let notice = unnamed(&new.text, &by_id, ground.now_ms, None, must_confirm);
            let post = message_content(&new.text, must_confirm);
            let events = vec![
                LocalEvent::message(by_id.clone(), "m.room.message", post),
                LocalEvent::state(by_id.clone(), NOTICE, "", notice).naming_first(|content, post| {
                    content.insert("event_id".into(), post.as_str().into());
                }),
                LocalEvent::state(by_id.clone(), "m.room.pinned_events", "", pins).naming_first(pin_first),
            ];
            Ok(Plan::new(events, ()))
        })
        .await
    }

    async fn take_away(&self, room: &Arc<RoomKey>, by: &Actor) -> Result<(), GroupError> {
        let by_id = by.user_id.clone();
        self.act(room, by, move |ground| {
            may_announce(ground, &by_id)?;
            let (read, room) = (ground.read, ground.room.nid);
            let Some(old) = state::current(read, room, NOTICE, "")?.and_then(|pdu| Notice::of_pdu(&pdu)) else {
                return Ok(Plan::new(Vec::new(), ()));
            };
            let pins = pinned(read, room, Some(&old.post))?;
            let events = vec![
                LocalEvent::state(by_id.clone(), NOTICE, "", CanonicalJsonObject::new()),
                LocalEvent::state(by_id.clone(), "m.room.pinned_events", "", pins),
            ];
            Ok(Plan::new(events, ()))
        })
        .await
    }

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
                    history.truncate(at.ok_or_else(|| GroupError::Argument("no such cursor".into()))?);
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

    /// Confirms the current announcement, in a member's name; once: a second time nothing is done. `post` names what the member
    /// has before them. Answers the confirmation.
    ///
    /// # Errors
    /// [`GroupError`]; `NoNotice` if there is no announcement, or another than this.
    pub async fn confirm(
        &self,
        room: &Arc<RoomKey>,
        by: &Actor,
        post: Option<MessageRef>,
    ) -> Result<OwnedEventId, GroupError> {
        let (of, user) = (room.clone(), by.user);
        let (notice, earlier, seen) = self
            .store
            .read::<_, GroupError, _>(move |read| {
                let roles = Roles::of(read, &of)?;
                caller(read, &of, &roles, user)?;
                let (notice, _) = current(read, of.nid)?.ok_or(GroupError::NoNotice)?;
                if let Some(wanted) = post {
                    // Its event need not be here.
                    let named = matches!(&wanted, MessageRef::Event(id) if *id == notice.post);
                    let nid = post_of(read, of.nid, &notice.post)?.map(|row| row.nid);
                    if !named && (nid.is_none() || message(read, of.nid, &wanted)? != nid) {
                        return Err(GroupError::NoNotice);
                    }
                }
                if !notice.must_confirm {
                    return Err(GroupError::Argument("this announcement asks for no confirmation".into()));
                }
                let earlier = confirmation(read, of.nid, &notice.post, user)?;
                Ok((notice, earlier, rooms::head(read, of.nid)?.last_position))
            })
            .await?;
        if let Some(earlier) = earlier {
            return Ok(earlier);
        }
        let event = LocalEvent::message(by.user_id.clone(), CONFIRM, confirmation_content(&notice.post));
        let (post, of) = (notice.post.clone(), room.nid);
        // Two devices at once: the second finds the first one's.
        let along: Along = Box::new(move |tx, _, appended| {
            let (Some(own), Some(wanted)) = (appended.first(), relations(tx, "m.reference", CONFIRM)?) else {
                return Ok(());
            };
            match announcements::of_sender_after(tx, of, &post, wanted, user, seen)?.iter().any(|nid| *nid != own.nid) {
                true => Err(StoreError::Engine("confirmed meanwhile".into())),
                false => Ok(()),
            }
        });
        match self.appenders.append(room.nid, vec![event], Some(along)).await {
            Ok(appended) => {
                let event = appended.into_iter().next().map(|appended| appended.event_id);
                Ok(event.ok_or_else(|| StoreError::Engine("an append of one event answered none".into()))?)
            }
            Err(AppendError::Store(error)) => {
                let (post, of) = (notice.post, room.nid);
                let first = self.store.read(move |read| confirmation(read, of, &post, user)).await;
                first.map_err(|error: StoreError| error)?.ok_or(GroupError::Store(error))
            }
            Err(error) => Err(error.into()),
        }
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

/// Whether a member confirmed a post, by an event or by a check mark.
fn has_confirmed(read: &dyn Read, room: RoomNid, post: &EventId, user: UserNid) -> Result<bool, StoreError> {
    if confirmation_nid(read, room, post, user)?.is_some() {
        return Ok(true);
    }
    let Some(relation) = ids::type_nid(read, "m.annotation")? else { return Ok(false) };
    for nid in annotations::of_sender(read, post, relation, user)? {
        let row = events::by_nid(read, nid)?;
        if row.room == room && &*row.kind == "m.reaction" && is_check_mark(&events::json(read, nid)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn confirmation(
    read: &dyn Read,
    room: RoomNid,
    post: &EventId,
    user: UserNid,
) -> Result<Option<OwnedEventId>, StoreError> {
    confirmation_nid(read, room, post, user)?.map(|nid| events::id(read, nid)).transpose()
}

fn confirmation_nid(
    read: &dyn Read,
    room: RoomNid,
    post: &EventId,
    user: UserNid,
) -> Result<Option<EventNid>, StoreError> {
    match relations(read, "m.reference", CONFIRM)? {
        Some(wanted) => announcements::of_sender(read, room, post, wanted, user),
        None => Ok(None),
    }
}

fn relations(read: &dyn Read, relation: &str, kind: &str) -> Result<Option<Relations>, StoreError> {
    let numbers = ids::type_nid(read, relation)?.zip(ids::type_nid(read, kind)?);
    Ok(numbers.map(|(relation, kind)| Relations { relation, kind }))
}

/// Whether this event is a reaction with a check mark.
fn is_check_mark(json: &str) -> bool {
    #[derive(Deserialize)]
    struct Event {
        content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "m.relates_to")]
        relation: Relation,
    }
    #[derive(Deserialize)]
    struct Relation {
        key: String,
    }
    // Clients append a variation selector, or don't.
    serde_json::from_str::<Event>(json)
        .is_ok_and(|event| event.content.relation.key.trim_end_matches('\u{fe0f}') == CHECK_MARK)
}

/// Who confirmed a post by a check mark, and when; a user as often as they did.
fn reactions(read: &dyn Read, room: RoomNid, post: &EventId) -> Result<Vec<(UserNid, i64)>, StoreError> {
    let Some(wanted) = relations(read, "m.annotation", "m.reaction")? else { return Ok(Vec::new()) };
    let found = announcements::bodies(read, room, post, wanted)?.into_iter();
    Ok(found.filter(|(_, _, json)| is_check_mark(json)).map(|(user, ts, _)| (user, ts)).collect())
}

/// Who confirmed a post, by an event or by a check mark, and when first.
pub(super) fn confirmations(read: &dyn Read, room: RoomNid, post: &EventId) -> Result<Vec<(UserNid, i64)>, StoreError> {
    let mut found = match relations(read, "m.reference", CONFIRM)? {
        Some(wanted) => announcements::senders(read, room, post, wanted)?,
        None => Vec::new(),
    };
    found.extend(reactions(read, room, post)?);
    Ok(found)
}
