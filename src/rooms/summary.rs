//! What somebody outside is told of a room: in the directory, in a space's hierarchy, in a summary.
//!
//! Source: Client-Server API, "Room summaries", "Published room directory", "Spaces".

use std::sync::Arc;

use moka::sync::Cache;
use ruma::{OwnedRoomId, RoomId};
use serde::Serialize;
use serde_json::Value;

use super::{restricted, state};
use crate::{
    accounts::Session,
    store::{
        Read, Store, StoreError, aliases, ids,
        ids::{RoomKey, RoomNid},
        members,
        members::Membership,
        rooms,
    },
};

/// Bytes of summaries kept in memory.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// What the directory shows of a room: the spec's `PublishedRoomsChunk`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the spec describes each under the same name")]
pub struct PublishedRoom {
    pub room_id: OwnedRoomId,
    pub num_joined_members: i64,
    pub world_readable: bool,
    pub guest_can_join: bool,
    pub join_rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canonical_alias: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_type: Option<String>,
}

/// All that is told of a room: the spec's `RoomSummary`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the spec describes each under the same name")]
pub struct Summary {
    #[serde(flatten)]
    pub published: PublishedRoom,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_room_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    pub room_version: String,
}

/// A summary as one user gets it.
#[derive(Clone, Debug, Serialize)]
pub struct OwnSummary {
    /// The room.
    #[serde(flatten)]
    pub summary: Summary,
    /// The user's membership, if they ever had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<&'static str>,
}

/// Whether everybody may read the room.
pub(super) fn is_world_readable(read: &dyn Read, room: RoomNid) -> Result<bool, StoreError> {
    let visibility: Option<Value> = state::current_content(read, room, "m.room.history_visibility", "")?;
    Ok(visibility.is_some_and(|content| content["history_visibility"] == "world_readable"))
}

/// Makes summaries, and keeps those of recently asked rooms. Bound: [`CACHE_BYTES`].
pub struct Summaries {
    store: Store,
    /// With the position of the state that each was made of: an older snapshot cannot see a newer one's.
    made: Cache<RoomNid, (i64, Arc<Summary>)>,
}

impl Summaries {
    /// Nothing made yet.
    pub fn new(store: Store) -> Self {
        let weigh = |_: &RoomNid, (_, summary): &(i64, Arc<Summary>)| {
            let texts = [&summary.published.name, &summary.published.topic, &summary.published.canonical_alias];
            let texts: usize = texts.into_iter().flatten().map(String::len).sum();
            u32::try_from(512 + texts + summary.allowed_room_ids.len() * 64).unwrap_or(u32::MAX)
        };
        Self { store, made: Cache::builder().max_capacity(CACHE_BYTES).weigher(weigh).build() }
    }

    /// The summary of a room that the user may know of; None if they may not, or if we do not have it.
    ///
    /// # Errors
    /// The store's.
    pub async fn for_user(self: &Arc<Self>, by: &Session, room: &str) -> Result<Option<OwnSummary>, StoreError> {
        let (summaries, by, room) = (self.clone(), by.clone(), room.to_owned());
        self.store
            .read(move |read| {
                let Some(room) = find(read, &room)? else { return Ok(None) };
                let summary = summaries.of(read, &room)?;
                if !is_open_to(read, &by, &room, &summary)? {
                    return Ok(None);
                }
                let member = members::of(read, by.user, room.nid)?.filter(|member| !member.forgotten);
                Ok(Some(OwnSummary {
                    summary: Summary::clone(&summary),
                    membership: member.map(|member| member.membership.as_str()),
                }))
            })
            .await
    }

    /// The summary of a room in this view.
    pub(super) fn of(&self, read: &dyn Read, room: &RoomKey) -> Result<Arc<Summary>, StoreError> {
        let head = rooms::head(read, room.nid)?;
        self.at(read, room, head.joined, head.state_position)
    }

    /// As [`Self::of`], where the room's members and the position of its state in this view are known.
    pub(super) fn at(
        &self,
        read: &dyn Read,
        room: &RoomKey,
        joined: i64,
        state_position: i64,
    ) -> Result<Arc<Summary>, StoreError> {
        if let Some((position, summary)) = self.made.get(&room.nid)
            && position == state_position
        {
            return Ok(summary);
        }
        let summary = Arc::new(make(read, room, joined)?);
        self.made.insert(room.nid, (state_position, summary.clone()));
        Ok(summary)
    }
}

/// The room of an id or an alias of this server.
fn find(read: &dyn Read, name: &str) -> Result<Option<Arc<RoomKey>>, StoreError> {
    if let Ok(alias) = <&ruma::RoomAliasId>::try_from(name) {
        return match aliases::get(read, alias)? {
            Some(row) => ids::room_by_nid(read, row.room).map(Some),
            None => Ok(None),
        };
    }
    match <&RoomId>::try_from(name) {
        Ok(room) => ids::room(read, room),
        Err(_) => Ok(None),
    }
}

/// Whether a user may know of a room: they are in it or invited, may join or knock, or everybody may read it.
pub(super) fn is_open_to(read: &dyn Read, by: &Session, room: &RoomKey, summary: &Summary) -> Result<bool, StoreError> {
    if summary.published.world_readable {
        return Ok(true);
    }
    let member = members::of(read, by.user, room.nid)?;
    match member.map(|member| member.membership) {
        Some(Membership::Join | Membership::Invite) => return Ok(true),
        Some(Membership::Ban) => return Ok(false),
        _ => {}
    }
    match summary.published.join_rule.as_str() {
        "public" | "knock" | "knock_restricted" => Ok(true),
        "restricted" => restricted::meets_condition(read, room, Some(by.user)),
        _ => Ok(false),
    }
}

fn make(read: &dyn Read, room: &RoomKey, joined: i64) -> Result<Summary, StoreError> {
    let content = |kind: &str| -> Result<Value, StoreError> {
        Ok(state::current_content(read, room.nid, kind, "")?.unwrap_or_default())
    };
    let text = |content: &Value, name: &str| -> Option<String> {
        content[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let join_rules = content("m.room.join_rules")?;
    // Without the event the authorisation rules take `invite`.
    let join_rule = text(&join_rules, "join_rule").unwrap_or_else(|| "invite".into());
    let restricted = matches!(join_rule.as_str(), "restricted" | "knock_restricted");
    let allowed = join_rules["allow"].as_array().into_iter().flatten();
    let allowed = allowed
        .filter(|condition| condition["type"] == "m.room_membership")
        .filter_map(|condition| condition["room_id"].as_str().map(str::to_owned));
    Ok(Summary {
        published: PublishedRoom {
            room_id: room.room_id.clone(),
            num_joined_members: joined,
            world_readable: is_world_readable(read, room.nid)?,
            guest_can_join: content("m.room.guest_access")?["guest_access"] == "can_join",
            name: text(&content("m.room.name")?, "name"),
            topic: topic(&content("m.room.topic")?),
            canonical_alias: text(&content("m.room.canonical_alias")?, "alias"),
            avatar_url: text(&content("m.room.avatar")?, "url"),
            room_type: text(&content("m.room.create")?, "type"),
            join_rule,
        },
        allowed_room_ids: if restricted { allowed.collect() } else { Vec::new() },
        encryption: text(&content("m.room.encryption")?, "algorithm"),
        room_version: room.version.to_string(),
    })
}

/// The plain text of a topic: the first such representation, else the plain field.
fn topic(content: &Value) -> Option<String> {
    let representations = content["m.topic"]["m.text"].as_array().into_iter().flatten();
    let plain = |block: &&Value| block["mimetype"].is_null() || block["mimetype"] == "text/plain";
    let block = representations.filter(plain).find_map(|block| block["body"].as_str());
    block.or_else(|| content["topic"].as_str()).filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_topic_is_the_first_plain_representation() {
        let html = json!({ "body": "<b>x</b>", "mimetype": "text/html" });
        for (content, plain) in [
            (json!({ "topic": "x" }), Some("x")),
            (json!({ "topic": "x", "m.topic": { "m.text": [html, { "body": "y" }] } }), Some("y")),
            (json!({ "topic": "x", "m.topic": { "m.text": [html] } }), Some("x")),
            (json!({ "topic": "" }), None),
            (json!({ "topic": 7 }), None),
            (json!({}), None),
        ] {
            assert_eq!(topic(&content).as_deref(), plain, "{content}");
        }
    }
}
