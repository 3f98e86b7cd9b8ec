//! What somebody outside is told of a room: in the directory, in a space's hierarchy, in a summary.
//!
//! Source: Client-Server API, "Room summaries", "Published room directory", "Spaces".

use std::sync::Arc;

use moka::sync::Cache;
use ruma::{OwnedRoomId, RoomId, ServerName};
use serde::Serialize;
use serde_json::Value;

use super::{restricted, state};
use crate::{
    accounts::Session,
    store::{
        Read, Store, StoreError, aliases, events, ids,
        ids::{EventNid, RoomKey, RoomNid},
        members,
        members::Membership,
        rooms, server_standing,
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

/// State that summaries are made of, all under the empty key.
const SOURCES: [&str; 9] = [
    "m.room.create",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.encryption",
];

/// A summary that was made.
#[derive(Clone)]
struct Made {
    /// Position of the state that it was made of: an older snapshot cannot see a newer one's.
    state_position: i64,
    /// The events that it was made of, those redacted by then left out; 0 for none. A redaction changes no state.
    sources: [EventNid; 9],
    summary: Arc<Summary>,
}

/// Makes summaries, and keeps those of recently asked rooms. Bound: `CACHE_BYTES`.
pub struct Summaries {
    store: Store,
    made: Cache<RoomNid, Made>,
}

impl Summaries {
    /// Nothing made yet.
    pub fn new(store: Store) -> Self {
        let weigh = |_: &RoomNid, made: &Made| {
            let room = &made.summary.published;
            let texts = [&room.name, &room.topic, &room.canonical_alias, &room.avatar_url, &room.room_type];
            let texts: usize = texts.into_iter().flatten().map(String::len).sum();
            u32::try_from(512 + texts + made.summary.allowed_room_ids.len() * 64).unwrap_or(u32::MAX)
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

    /// Whether this server has somebody in a room, so that what it knows of it is the present.
    ///
    /// # Errors
    /// The store's.
    pub async fn is_resident(&self, room: &RoomId) -> Result<bool, StoreError> {
        let room = room.to_owned();
        self.store
            .read_short(move |read| match ids::room(read, &room)? {
                Some(room) => is_resident(read, room.nid),
                None => Ok(false),
            })
            .await
    }

    /// What another server told of a room that we are not in, as the user gets it; None if they may not know of it.
    ///
    /// # Errors
    /// The store's.
    pub async fn outside_for_user(&self, by: &Session, summary: Summary) -> Result<Option<OwnSummary>, StoreError> {
        let by = by.clone();
        self.store
            .read(move |read| {
                if !is_outside_open_to(read, &by, &summary)? {
                    return Ok(None);
                }
                let membership = match ids::room(read, &summary.published.room_id)? {
                    Some(room) => members::of(read, by.user, room.nid)?.filter(|member| !member.forgotten),
                    None => None,
                };
                Ok(Some(OwnSummary { summary, membership: membership.map(|member| member.membership.as_str()) }))
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
        if let Some(made) = self.made.get(&room.nid)
            && made.state_position == state_position
            && !events::any_redacted(read, &made.sources)?
        {
            return Ok(made.summary);
        }
        let mut sources = [EventNid(0); 9];
        let mut contents: [Value; 9] = Default::default();
        for (at, kind) in SOURCES.into_iter().enumerate() {
            let Some(nid) = state::current_nid(read, room.nid, kind, "")? else { continue };
            contents[at] = serde_json::from_str(state::load_pdu(read, nid)?.content().get()).unwrap_or_default();
            sources[at] = nid;
        }
        if events::any_redacted(read, &sources)? {
            // What is redacted stays so, and says nothing more that could change.
            for nid in sources.iter_mut().filter(|nid| nid.0 != 0) {
                if events::by_nid(read, *nid)?.redacted_by.is_some() {
                    *nid = EventNid(0);
                }
            }
        }
        let summary = Arc::new(make(room, joined - rooms::hidden_members(read, room)?, &contents));
        self.made.insert(room.nid, Made { state_position, sources, summary: summary.clone() });
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

/// Whether we have somebody in a room.
pub(super) fn is_resident(read: &dyn Read, room: RoomNid) -> Result<bool, StoreError> {
    server_standing::has_local_members(read, room)
}

/// As [`is_open_to`], of a room that we are not in, by what another server told of it.
pub(super) fn is_outside_open_to(read: &dyn Read, by: &Session, summary: &Summary) -> Result<bool, StoreError> {
    let room = &summary.published;
    if let Some(room) = ids::room(read, &room.room_id)? {
        match members::of(read, by.user, room.nid)?.map(|member| member.membership) {
            Some(Membership::Invite) => return Ok(true),
            Some(Membership::Ban) => return Ok(false),
            _ => {}
        }
    }
    if room.world_readable || matches!(room.join_rule.as_str(), "public" | "knock" | "knock_restricted") {
        return Ok(true);
    }
    if room.join_rule != "restricted" {
        return Ok(false);
    }
    for allowed in &summary.allowed_room_ids {
        let Ok(allowed) = <&RoomId>::try_from(allowed.as_str()) else { continue };
        let Some(allowed) = ids::room(read, allowed)? else { continue };
        if members::of(read, by.user, allowed.nid)?.is_some_and(|member| member.membership == Membership::Join) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether another server may know of a room: it is in it, or a user of its could be.
pub(super) fn is_open_to_server(
    read: &dyn Read,
    server: &ServerName,
    room: &RoomKey,
    summary: &Summary,
) -> Result<bool, StoreError> {
    if summary.published.world_readable || server_standing::is_in(read, room.nid, server)? {
        return Ok(true);
    }
    if server_standing::has_invited(read, room.nid, server)? {
        return Ok(true);
    }
    match summary.published.join_rule.as_str() {
        "public" | "knock" | "knock_restricted" => Ok(true),
        "restricted" => {
            for allowed in &summary.allowed_room_ids {
                let Ok(allowed) = <&RoomId>::try_from(allowed.as_str()) else { continue };
                let Some(allowed) = ids::room(read, allowed)? else { continue };
                if server_standing::is_in(read, allowed.nid, server)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => Ok(false),
    }
}

/// `contents` are those of [`SOURCES`], null where there is none.
fn make(room: &RoomKey, joined: i64, contents: &[Value; 9]) -> Summary {
    let [create, join_rules, visibility, guest_access, name, topic_event, avatar, canonical_alias, encryption] =
        contents;
    let text = |content: &Value, name: &str| -> Option<String> {
        content[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    };
    // Without the event the authorisation rules take `invite`.
    let join_rule = text(join_rules, "join_rule").unwrap_or_else(|| "invite".into());
    let restricted = matches!(join_rule.as_str(), "restricted" | "knock_restricted");
    let allowed = join_rules["allow"].as_array().into_iter().flatten();
    let allowed = allowed
        .filter(|condition| condition["type"] == "m.room_membership")
        .filter_map(|condition| condition["room_id"].as_str().map(str::to_owned));
    Summary {
        published: PublishedRoom {
            room_id: room.room_id.clone(),
            num_joined_members: joined,
            world_readable: visibility["history_visibility"] == "world_readable",
            guest_can_join: guest_access["guest_access"] == "can_join",
            name: text(name, "name"),
            topic: topic(topic_event),
            canonical_alias: text(canonical_alias, "alias"),
            avatar_url: text(avatar, "url"),
            room_type: text(create, "type"),
            join_rule,
        },
        allowed_room_ids: if restricted { allowed.collect() } else { Vec::new() },
        encryption: text(encryption, "algorithm"),
        room_version: room.version.to_string(),
    }
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
