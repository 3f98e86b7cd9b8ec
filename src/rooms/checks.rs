//! What the content of state that others rely on must be before a local user may send it.

use linkim_federation::RoomVersionRules;
use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedRoomAliasId, RoomAliasId, ServerName, UserId};

use crate::store::{Read, StoreError, aliases, ids::RoomNid};

/// Why a content is refused.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// It has the wrong shape.
    #[error("{0}")]
    Shape(String),
    /// What is listed as an alias is none.
    #[error("{0:?} is not a room alias")]
    NoAlias(String),
    /// An alias does not point to the room.
    #[error("the alias {0} does not point to this room")]
    BadAlias(OwnedRoomAliasId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks `m.room.power_levels`: integers (up to version 9 also as strings), users that are user ids.
///
/// # Errors
/// [`ContentError::Shape`].
pub fn power_levels(content: &CanonicalJsonObject, rules: &RoomVersionRules) -> Result<(), ContentError> {
    let strings = !rules.authorization.integer_power_levels;
    let wrong = |name: &str| ContentError::Shape(format!("{name} is not an integer"));
    for name in ["users_default", "events_default", "state_default", "ban", "kick", "redact", "invite"] {
        if content.get(name).is_some_and(|value| !is_level(value, strings)) {
            return Err(wrong(name));
        }
    }
    for name in ["users", "events", "notifications"] {
        let levels = match content.get(name) {
            None => continue,
            Some(CanonicalJsonValue::Object(levels)) => levels,
            Some(_) => return Err(ContentError::Shape(format!("{name} is not an object"))),
        };
        if let Some((key, _)) = levels.iter().find(|(_, value)| !is_level(value, strings)) {
            return Err(wrong(&format!("{name}[{key:?}]")));
        }
        let no_user = |key: &&String| name == "users" && <&UserId>::try_from(key.as_str()).is_err();
        if let Some(key) = levels.keys().find(no_user) {
            return Err(ContentError::Shape(format!("{key:?} is not a user id")));
        }
    }
    Ok(())
}

fn is_level(value: &CanonicalJsonValue, strings: bool) -> bool {
    match value {
        CanonicalJsonValue::Integer(_) => true,
        CanonicalJsonValue::String(text) => strings && text.trim().parse::<i64>().is_ok(),
        _ => false,
    }
}

/// The aliases that a `m.room.canonical_alias` names: `alias`, then `alt_aliases`.
///
/// # Errors
/// [`ContentError::Shape`] or [`ContentError::NoAlias`].
pub fn listed_aliases(content: &CanonicalJsonObject) -> Result<Vec<OwnedRoomAliasId>, ContentError> {
    let mut texts: Vec<&str> = Vec::new();
    match content.get("alias") {
        None | Some(CanonicalJsonValue::Null) => {}
        Some(CanonicalJsonValue::String(alias)) if alias.is_empty() => {}
        Some(CanonicalJsonValue::String(alias)) => texts.push(alias),
        Some(_) => return Err(ContentError::Shape("alias is not a string".into())),
    }
    match content.get("alt_aliases") {
        None | Some(CanonicalJsonValue::Null) => {}
        Some(CanonicalJsonValue::Array(list)) => {
            for alias in list {
                let CanonicalJsonValue::String(alias) = alias else {
                    return Err(ContentError::Shape("an alt_alias is not a string".into()));
                };
                texts.push(alias);
            }
        }
        Some(_) => return Err(ContentError::Shape("alt_aliases is not a list".into())),
    }
    texts.into_iter().map(|text| RoomAliasId::parse(text).map_err(|_| ContentError::NoAlias(text.to_owned()))).collect()
}

/// Checks `m.room.canonical_alias`: every alias that `before` does not list already must point to the room. Those of other
/// servers cannot be looked up yet, so they are refused.
///
/// # Errors
/// [`ContentError`].
pub fn canonical_alias(
    read: &dyn Read,
    room: RoomNid,
    server_name: &ServerName,
    before: Option<&CanonicalJsonObject>,
    content: &CanonicalJsonObject,
) -> Result<(), ContentError> {
    let known = before.and_then(|before| listed_aliases(before).ok()).unwrap_or_default();
    for alias in listed_aliases(content)? {
        if known.contains(&alias) {
            continue;
        }
        let here =
            alias.server_name() == server_name && aliases::get(read, &alias)?.is_some_and(|row| row.room == room);
        if !here {
            return Err(ContentError::BadAlias(alias));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use linkim_federation::rules;
    use ruma::RoomVersionId;
    use serde_json::json;

    use super::*;

    fn content(value: serde_json::Value) -> CanonicalJsonObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn levels_are_integers_from_version_10_on() {
        let levels = content(json!({ "users": { "@a:x": "100" }, "ban": "50" }));
        assert!(power_levels(&levels, rules(&RoomVersionId::V9).unwrap()).is_ok());
        assert!(power_levels(&levels, rules(&RoomVersionId::V10).unwrap()).is_err());
        for wrong in [
            json!({ "users": [] }),
            json!({ "users": { "nobody": 1 } }),
            json!({ "events": { "m.room.name": {} } }),
            json!({ "invite": null }),
            json!({ "notifications": { "room": "x" } }),
        ] {
            for version in [RoomVersionId::V9, RoomVersionId::V12] {
                assert!(power_levels(&content(wrong.clone()), rules(&version).unwrap()).is_err(), "{wrong}");
            }
        }
        let right = content(json!({ "users": { "@a:x": 100 }, "org.example.own": "text" }));
        assert!(power_levels(&right, rules(&RoomVersionId::V12).unwrap()).is_ok());
    }

    #[test]
    fn aliases_are_listed_once_they_are_aliases() {
        let listed = listed_aliases(&content(json!({ "alias": "#a:x", "alt_aliases": ["#b:x"] }))).unwrap();
        assert_eq!(listed, ["#a:x", "#b:x"]);
        assert!(listed_aliases(&content(json!({ "alias": null, "alt_aliases": [] }))).unwrap().is_empty());
        assert!(listed_aliases(&content(json!({ "alias": "" }))).unwrap().is_empty());
        assert!(matches!(listed_aliases(&content(json!({ "alias": "a" }))), Err(ContentError::NoAlias(_))));
        for wrong in [json!({ "alias": 1 }), json!({ "alt_aliases": "#a:x" }), json!({ "alt_aliases": [1] })] {
            assert!(matches!(listed_aliases(&content(wrong)), Err(ContentError::Shape(_))));
        }
    }
}
