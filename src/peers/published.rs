//! What other servers tell of rooms, as far as it can be shown.

use ruma::{MxcUri, OwnedRoomId, RoomAliasId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::rooms::summary::{PublishedRoom, Summary};

/// Characters of a name at most; further ones are cut off.
const MAX_NAME: usize = 1_000;

/// Characters of a topic at most.
const MAX_TOPIC: usize = 10_000;

/// Characters of anything else at most; longer ones are left out.
const MAX_WORD: usize = 255;

/// Bytes of an avatar's address at most.
const MAX_AVATAR: usize = 1_000;

/// Rooms named by a join rule at most.
const MAX_ALLOWED: usize = 50;

/// The spec's `RoomSummary` as it comes.
#[derive(Deserialize)]
struct Told {
    room_id: OwnedRoomId,
    #[serde(default)]
    num_joined_members: i64,
    #[serde(default)]
    world_readable: bool,
    #[serde(default)]
    guest_can_join: bool,
    join_rule: Option<String>,
    name: Option<String>,
    topic: Option<String>,
    canonical_alias: Option<String>,
    avatar_url: Option<String>,
    room_type: Option<String>,
    #[serde(default)]
    allowed_room_ids: Option<Vec<String>>,
    encryption: Option<String>,
    room_version: Option<String>,
}

/// A room that another server describes; None if the description has not the spec's shape.
pub(super) fn summary(json: &RawValue) -> Option<Summary> {
    let told: Told = serde_json::from_str(json.get()).ok()?;
    let word = |text: Option<String>| text.filter(|text| !text.is_empty() && text.chars().count() <= MAX_WORD);
    let cut = |text: Option<String>, max: usize| {
        text.filter(|text| !text.is_empty()).map(|text| text.chars().take(max).collect::<String>())
    };
    let alias = told.canonical_alias.filter(|alias| <&RoomAliasId>::try_from(alias.as_str()).is_ok());
    let avatar =
        told.avatar_url.filter(|url| url.len() <= MAX_AVATAR && <&MxcUri>::from(url.as_str()).validate().is_ok());
    let allowed = told.allowed_room_ids.unwrap_or_default();
    Some(Summary {
        published: PublishedRoom {
            room_id: told.room_id,
            num_joined_members: told.num_joined_members.max(0),
            world_readable: told.world_readable,
            guest_can_join: told.guest_can_join,
            // «If not specified, assume `public`».
            join_rule: word(told.join_rule).unwrap_or_else(|| "public".into()),
            name: cut(told.name, MAX_NAME),
            topic: cut(told.topic, MAX_TOPIC),
            canonical_alias: alias,
            avatar_url: avatar,
            room_type: word(told.room_type),
        },
        allowed_room_ids: allowed.into_iter().filter(|id| id.len() <= MAX_WORD).take(MAX_ALLOWED).collect(),
        encryption: word(told.encryption),
        room_version: word(told.room_version).unwrap_or_else(|| "1".into()),
    })
}

/// Bytes that a summary takes, about.
pub(super) fn size(summary: &Summary) -> usize {
    let room = &summary.published;
    let texts = [&room.name, &room.topic, &room.canonical_alias, &room.avatar_url, &room.room_type];
    512 + texts.into_iter().flatten().map(String::len).sum::<usize>() + summary.allowed_room_ids.len() * 64
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::to_raw_value};

    use super::*;

    #[test]
    fn what_cannot_be_shown_is_left_out() {
        let told = json!({
            "room_id": "!a:b.example", "num_joined_members": -4, "name": "x".repeat(5_000), "topic": "",
            "canonical_alias": "no alias", "avatar_url": "https://tracker.example/a.png", "room_type": "m.space",
            "allowed_room_ids": vec!["!c:b.example"; 80], "join_rule": "restricted",
        });
        let summary = summary(&to_raw_value(&told).unwrap()).unwrap();
        assert_eq!(summary.published.num_joined_members, 0);
        assert_eq!(summary.published.name.map(|name| name.len()), Some(MAX_NAME));
        assert_eq!(summary.published.topic, None);
        assert_eq!(summary.published.canonical_alias, None);
        assert_eq!(summary.published.avatar_url, None);
        assert_eq!(summary.allowed_room_ids.len(), MAX_ALLOWED);
    }

    #[test]
    fn a_description_without_a_room_is_none() {
        for told in [json!({}), json!({ "room_id": "a" }), json!([]), json!({ "room_id": "!a:b", "name": 7 })] {
            assert!(summary(&to_raw_value(&told).unwrap()).is_none(), "{told}");
        }
    }
}
