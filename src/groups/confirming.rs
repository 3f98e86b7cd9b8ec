//! Confirming announcements: by an event of LinkIM's, or by a check mark from a plain client.

use std::sync::Arc;

use ruma::{CanonicalJsonObject, EventId, OwnedEventId};
use serde::Deserialize;

use super::{
    Actor, GroupError, Groups, Roles,
    act::caller,
    announcements::{current, post_of},
};
use crate::{
    numbers::{MessageRef, message},
    rooms::{
        append::{Along, AppendError, LocalEvent},
        content::object,
        group_calls::CONFIRM,
    },
    store::{
        Read, StoreError, annotations, announcements,
        announcements::Relations,
        events, ids,
        ids::{EventNid, RoomKey, RoomNid, UserNid},
        rooms,
    },
};

/// The key of the reaction that confirms.
const CHECK_MARK: &str = "✅";

/// The content of a confirmation.
pub(super) fn confirmation_content(post: &EventId) -> CanonicalJsonObject {
    let relation = object([("event_id", post.as_str().into()), ("rel_type", "m.reference".into())]);
    object([("m.relates_to", relation.into())])
}

impl Groups {
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

/// Whether a member confirmed a post, by an event or by a check mark.
pub(super) fn has_confirmed(read: &dyn Read, room: RoomNid, post: &EventId, user: UserNid) -> Result<bool, StoreError> {
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
