//! The power levels of a group.

use ruma::{CanonicalJsonObject, CanonicalJsonValue, UserId};

use super::{
    ADMIN_LEVEL, MUTED_LEVEL, OWNER_LEVEL,
    settings::{JoinMode, MUTE, SETTINGS, STATUS},
};
use crate::rooms::content::{number, object};

/// Power that nobody but the service user has.
const NOBODY: i64 = 1_000;

/// The power levels of a new group.
pub(super) fn new(owner: &UserId, mode: JoinMode) -> CanonicalJsonObject {
    let events = object([
        ("m.room.avatar", number(ADMIN_LEVEL)),
        ("m.room.canonical_alias", number(ADMIN_LEVEL)),
        // Groups are not encrypted: LinkIM's clients read through the server.
        ("m.room.encryption", number(NOBODY)),
        ("m.room.history_visibility", number(OWNER_LEVEL)),
        ("m.room.name", number(ADMIN_LEVEL)),
        ("m.room.power_levels", number(OWNER_LEVEL)),
        // Everybody may withdraw their own; who else's is asked of `redact` and of roles.
        ("m.room.redaction", number(0)),
        ("m.room.server_acl", number(OWNER_LEVEL)),
        ("m.room.tombstone", number(OWNER_LEVEL)),
        ("m.room.topic", number(ADMIN_LEVEL)),
        ("org.linkim.group.confirm", number(MUTED_LEVEL)),
        ("org.linkim.group.notice", number(ADMIN_LEVEL)),
        ("org.linkim.group.request", number(ADMIN_LEVEL)),
        ("org.linkim.group.result", number(OWNER_LEVEL)),
        (MUTE, number(OWNER_LEVEL)),
        (SETTINGS, number(OWNER_LEVEL)),
        (STATUS, number(OWNER_LEVEL)),
    ]);
    object([
        ("ban", number(ADMIN_LEVEL)),
        ("events", events.into()),
        ("events_default", number(0)),
        ("invite", number(mode.invite_level())),
        ("kick", number(ADMIN_LEVEL)),
        ("redact", number(ADMIN_LEVEL)),
        ("state_default", number(ADMIN_LEVEL)),
        ("users", object([(owner.as_str(), number(OWNER_LEVEL))]).into()),
        ("users_default", number(0)),
    ])
}

/// The power levels of a dissolved group: nobody may do anything.
pub(super) fn dissolved() -> CanonicalJsonObject {
    let mut levels = object([("events", object([("m.room.tombstone", number(NOBODY + 1))]).into())]);
    for name in ["ban", "events_default", "invite", "kick", "redact", "state_default"] {
        levels.insert(name.into(), number(NOBODY));
    }
    levels.insert("users".into(), CanonicalJsonObject::new().into());
    levels.insert("users_default".into(), number(0));
    levels
}

/// Gives a user a level; 0 takes their entry away.
pub(super) fn set(levels: &mut CanonicalJsonObject, user: &UserId, level: i64) {
    let users = levels.entry("users".to_owned()).or_insert_with(|| CanonicalJsonObject::new().into());
    if let CanonicalJsonValue::Object(users) = users {
        match level {
            0 => users.remove(user.as_str()),
            level => users.insert(user.to_string(), number(level)),
        };
    }
}

/// The level of a user who has an entry.
pub(super) fn listed(levels: &CanonicalJsonObject, user: &UserId) -> Option<i64> {
    let CanonicalJsonValue::Object(users) = levels.get("users")? else { return None };
    integer(users.get(user.as_str()))
}

/// How many users are below 0.
pub(super) fn muted(levels: &CanonicalJsonObject) -> usize {
    let Some(CanonicalJsonValue::Object(users)) = levels.get("users") else { return 0 };
    users.values().filter(|level| integer(Some(level)).is_some_and(|level| level < 0)).count()
}

/// A level such as `invite` or `events_default`.
pub(super) fn named(levels: &CanonicalJsonObject, name: &str) -> i64 {
    integer(levels.get(name)).unwrap_or(0)
}

fn integer(value: Option<&CanonicalJsonValue>) -> Option<i64> {
    match value {
        Some(CanonicalJsonValue::Integer(level)) => Some((*level).into()),
        _ => None,
    }
}
