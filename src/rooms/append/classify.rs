//! What an event means for unread counts, by the server-default push rules: once per event, not per member.
//!
//! Source: Client-Server API, "Push notifications", predefined rules.

use linkim_federation::Pdu;
use ruma::{OwnedUserId, UserId, events::TimelineEventType};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::store::events::flag;

/// Mentions of one event that are counted at most.
const MAX_MENTIONS: usize = 100;

#[derive(Default, Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    msgtype: Option<&'a RawValue>,
    #[serde(borrow, rename = "m.mentions")]
    mentions: Option<&'a RawValue>,
    #[serde(borrow, rename = "m.relates_to")]
    relates_to: Option<&'a RawValue>,
    #[serde(borrow, rename = "org.linkim.restores")]
    restores: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Mentions {
    #[serde(default)]
    user_ids: Vec<String>,
    #[serde(default)]
    room: bool,
}

#[derive(Default, Deserialize)]
struct RelatesTo {
    rel_type: Option<String>,
    event_id: Option<String>,
}

/// What an event is to those who read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Class {
    /// COUNTABLE, NOTIFY, HIGHLIGHT of [`flag`].
    pub(crate) flags: i64,
    /// Users mentioned by id.
    pub(crate) mentions: Vec<OwnedUserId>,
    /// (relation type, target id), as the event says.
    pub(crate) relation: Option<(String, ruma::OwnedEventId)>,
    /// The withdrawn message that it restores (`org.linkim.restores`).
    pub(crate) restores: Option<ruma::OwnedEventId>,
}

/// Classifies an event. `may_notify_room` tells whether its sender may mention the whole room.
pub(crate) fn classify(pdu: &Pdu, may_notify_room: impl FnOnce(&UserId) -> bool) -> Class {
    let content: Content<'_> = serde_json::from_str(pdu.content().get()).unwrap_or_default();
    let relates: RelatesTo =
        content.relates_to.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let relation = match (relates.rel_type, relates.event_id.map(ruma::OwnedEventId::try_from)) {
        (Some(kind), Some(Ok(target))) if kind.len() <= 255 => Some((kind, target)),
        _ => None,
    };
    let edit = relation.as_ref().is_some_and(|(kind, _)| kind == "m.replace");
    let mut class = Class { relation, ..Class::default() };
    match pdu.event_type() {
        TimelineEventType::RoomMessage if !edit => {
            class.flags = flag::COUNTABLE;
            class.restores = content.restores.and_then(|id| serde_json::from_str(id.get()).ok());
            // .m.rule.suppress_notices
            if content.msgtype.is_none_or(|kind| kind.get() != "\"m.notice\"") {
                class.flags |= flag::NOTIFY;
            }
        }
        TimelineEventType::RoomEncrypted if !edit => class.flags = flag::COUNTABLE | flag::NOTIFY,
        TimelineEventType::Sticker => class.flags = flag::COUNTABLE,
        // .m.rule.tombstone
        TimelineEventType::RoomTombstone if pdu.state_key() == Some("") => {
            class.flags = flag::COUNTABLE | flag::NOTIFY | flag::HIGHLIGHT;
        }
        _ => {}
    }
    // .m.rule.suppress_edits and the state rules come first: mentions count in messages alone.
    if class.flags & flag::COUNTABLE != 0
        && let Some(mentions) = content.mentions
    {
        let mentions: Mentions = serde_json::from_str(mentions.get()).unwrap_or_default();
        let users = mentions.user_ids.into_iter().take(MAX_MENTIONS);
        class.mentions = users.filter_map(|user| OwnedUserId::try_from(user).ok()).collect();
        // .m.rule.is_room_mention
        if mentions.room && may_notify_room(pdu.sender()) {
            class.flags |= flag::NOTIFY | flag::HIGHLIGHT;
        }
    }
    class
}
