//! What a new room's rules are: the presets, and the power levels of each room version.
//!
//! Source: Client-Server API, `POST /createRoom`.

use linkim_federation::RoomVersionRules;
use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedUserId, UserId};

use super::content::{number, object};

/// Whether a room stands in the directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// It does.
    Public,
    /// It does not.
    #[default]
    Private,
}

/// A named set of rules for a new room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Who is invited may join.
    PrivateChat,
    /// As `PrivateChat`; who is invited at once has the creator's power.
    TrustedPrivateChat,
    /// Everybody may join.
    PublicChat,
}

impl Preset {
    /// The preset of a request that names none.
    pub fn of_visibility(visibility: Visibility) -> Self {
        match visibility {
            Visibility::Public => Self::PublicChat,
            Visibility::Private => Self::PrivateChat,
        }
    }

    /// The state that it sets: (type, content), in the order of the spec's table.
    pub(crate) fn state(self) -> [(&'static str, CanonicalJsonObject); 3] {
        let (join_rule, guest_access) = match self {
            Self::PrivateChat | Self::TrustedPrivateChat => ("invite", "can_join"),
            Self::PublicChat => ("public", "forbidden"),
        };
        [
            ("m.room.join_rules", object([("join_rule", join_rule.into())])),
            ("m.room.history_visibility", object([("history_visibility", "shared".into())])),
            ("m.room.guest_access", object([("guest_access", guest_access.into())])),
        ]
    }
}

/// Power that sending `m.room.tombstone` takes in rooms whose creators stand above all levels: more than any other user's,
/// so that an upgrade is theirs.
pub(crate) const CREATORS_TOMBSTONE: i64 = 150;

/// The power levels of a new room. `raised` have the creator's power by level, where levels can give it. `over` is laid on
/// top, member by member.
pub(crate) fn power_levels(
    rules: &RoomVersionRules,
    creator: &UserId,
    raised: &[OwnedUserId],
    over: &CanonicalJsonObject,
) -> CanonicalJsonObject {
    let privileged = rules.authorization.explicitly_privilege_room_creators;
    let tombstone = if privileged { CREATORS_TOMBSTONE } else { 100 };
    let events = object([
        ("m.room.avatar", number(50)),
        ("m.room.canonical_alias", number(50)),
        ("m.room.encryption", number(100)),
        ("m.room.history_visibility", number(100)),
        ("m.room.name", number(50)),
        ("m.room.power_levels", number(100)),
        ("m.room.server_acl", number(100)),
        ("m.room.tombstone", number(tombstone)),
    ]);
    let mut users = CanonicalJsonObject::new();
    if !privileged {
        for user in raised.iter().map(|user| &**user).chain([creator]) {
            users.insert(user.to_string(), number(100));
        }
    }
    let mut levels = object([
        ("ban", number(50)),
        ("events", events.into()),
        ("events_default", number(0)),
        ("invite", number(50)),
        ("kick", number(50)),
        ("redact", number(50)),
        ("state_default", number(50)),
        ("users", users.into()),
        ("users_default", number(0)),
    ]);
    levels.extend(over.clone());
    if privileged {
        keep_tombstone_above(&mut levels);
    }
    levels
}

/// Sees to it that sending `m.room.tombstone` explicitly takes more than `state_default`, as versions 12 and later demand.
/// A level that already does is left alone.
pub(crate) fn keep_tombstone_above(levels: &mut CanonicalJsonObject) {
    let state_default = integer(levels.get("state_default")).unwrap_or(50);
    let CanonicalJsonValue::Object(events) =
        levels.entry("events".to_owned()).or_insert_with(|| CanonicalJsonObject::new().into())
    else {
        return;
    };
    if integer(events.get("m.room.tombstone")).is_none_or(|level| level <= state_default) {
        let level = CREATORS_TOMBSTONE.max(state_default.saturating_add(50));
        events.insert("m.room.tombstone".to_owned(), number(level));
    }
}

fn integer(value: Option<&CanonicalJsonValue>) -> Option<i64> {
    match value {
        Some(CanonicalJsonValue::Integer(level)) => Some((*level).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use linkim_federation::rules;
    use ruma::{RoomVersionId, user_id};
    use serde_json::json;

    use super::*;

    fn levels(version: &RoomVersionId, raised: &[OwnedUserId], over: serde_json::Value) -> serde_json::Value {
        let over: CanonicalJsonObject = serde_json::from_value(over).unwrap();
        let levels = power_levels(rules(version).unwrap(), user_id!("@alice:x"), raised, &over);
        CanonicalJsonValue::Object(levels).into()
    }

    #[test]
    fn the_presets_are_the_table_of_the_spec() {
        for (preset, join_rule, guest_access) in [
            (Preset::PrivateChat, "invite", "can_join"),
            (Preset::TrustedPrivateChat, "invite", "can_join"),
            (Preset::PublicChat, "public", "forbidden"),
        ] {
            let state: Vec<(&str, serde_json::Value)> =
                preset.state().map(|(kind, content)| (kind, CanonicalJsonValue::Object(content).into())).into();
            assert_eq!(
                state,
                [
                    ("m.room.join_rules", json!({ "join_rule": join_rule })),
                    ("m.room.history_visibility", json!({ "history_visibility": "shared" })),
                    ("m.room.guest_access", json!({ "guest_access": guest_access })),
                ],
                "{preset:?}"
            );
        }
        assert_eq!(Preset::of_visibility(Visibility::Public), Preset::PublicChat);
        assert_eq!(Preset::of_visibility(Visibility::Private), Preset::PrivateChat);
    }

    #[test]
    fn creators_are_listed_up_to_version_11_only() {
        let raised = [user_id!("@bob:x").to_owned()];
        let older = levels(&RoomVersionId::V11, &raised, json!({}));
        assert_eq!(older["users"], json!({ "@alice:x": 100, "@bob:x": 100 }));
        assert_eq!(older["events"]["m.room.tombstone"], 100);
        let newer = levels(&RoomVersionId::V12, &raised, json!({}));
        assert_eq!(newer["users"], json!({}));
        assert_eq!(newer["events"]["m.room.tombstone"], 150);
    }

    #[test]
    fn the_override_replaces_whole_members() {
        let over = json!({ "events": { "m.room.name": 20 }, "events_default": 10, "org.example.own": 1 });
        let older = levels(&RoomVersionId::V11, &[], over.clone());
        assert_eq!(older["events"], json!({ "m.room.name": 20 }));
        assert_eq!((&older["events_default"], &older["org.example.own"]), (&json!(10), &json!(1)));
        assert_eq!(older["ban"], 50);
        // But version 12 must have a level for tombstones.
        let newer = levels(&RoomVersionId::V12, &[], over);
        assert_eq!(newer["events"], json!({ "m.room.name": 20, "m.room.tombstone": 150 }));
    }

    #[test]
    fn a_tombstone_always_takes_more_than_state_default() {
        let raised = levels(&RoomVersionId::V12, &[], json!({ "state_default": 200 }));
        assert_eq!(raised["events"]["m.room.tombstone"], 250);
        let equal = levels(&RoomVersionId::V12, &[], json!({ "events": { "m.room.tombstone": 50 } }));
        assert_eq!(equal["events"]["m.room.tombstone"], 150);
        let above = levels(&RoomVersionId::V12, &[], json!({ "events": { "m.room.tombstone": 51 } }));
        assert_eq!(above["events"]["m.room.tombstone"], 51);
    }
}
