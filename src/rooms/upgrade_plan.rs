//! The events of a room that replaces another one.
//!
//! Source: Client-Server API, "Room upgrades", server behaviour, steps 2, 3 and 6.

use linkim_federation::RoomVersionRules;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomVersionId,
};

use super::{
    append::LocalEvent,
    content::{number, object, string},
    presets::{self, keep_tombstone_above},
    profile::MemberProfile,
};

/// State under the empty key that goes along, in the order in which the new room gets it. `m.room.power_levels` comes first,
/// as in every new room.
pub(super) const TRANSFERRED: [&str; 10] = [
    "m.room.power_levels",
    "m.room.canonical_alias",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.encryption",
    "m.room.server_acl",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
];

/// What is taken from the old room.
pub(super) struct OldRoom {
    pub(super) room_id: OwnedRoomId,
    pub(super) newest_event: Option<OwnedEventId>,
    /// Content of its create event.
    pub(super) create: CanonicalJsonObject,
    /// Its creators, if they stand above all levels.
    pub(super) creators: Vec<OwnedUserId>,
    /// (type, content) of [`TRANSFERRED`].
    pub(super) state: Vec<(&'static str, CanonicalJsonObject)>,
    /// (room, content) of the children of a space.
    pub(super) children: Vec<(String, CanonicalJsonObject)>,
    /// (user, content) of the banned.
    pub(super) banned: Vec<(OwnedUserId, CanonicalJsonObject)>,
    /// Its aliases of this server, which point to the new room afterwards.
    pub(super) aliases: Vec<OwnedRoomAliasId>,
}

impl OldRoom {
    /// The content of a transferred type.
    fn get(&self, kind: &str) -> Option<&CanonicalJsonObject> {
        self.state.iter().find(|(other, _)| *other == kind).map(|(_, content)| content)
    }

    /// Whether it has a content under this type that says anything.
    pub(super) fn has(&self, kind: &str) -> bool {
        self.get(kind).is_some_and(|content| !content.is_empty())
    }
}

/// What the new room shall be.
pub(super) struct Target<'t> {
    pub(super) creator: OwnedUserId,
    pub(super) version: &'t RoomVersionId,
    pub(super) rules: &'t RoomVersionRules,
    pub(super) additional_creators: Vec<OwnedUserId>,
    pub(super) profile: &'t MemberProfile,
}

impl Target<'_> {
    fn is_creator(&self, user: &str) -> bool {
        self.creator == user || self.additional_creators.iter().any(|other| other == user)
    }
}

/// The content of the new room's create event, and the events after it.
pub(super) fn plan(old: &OldRoom, target: &Target<'_>) -> (CanonicalJsonObject, Vec<LocalEvent>) {
    let mut events = Vec::new();
    let mut push = |kind: &str, key: &str, content| {
        events.push(LocalEvent::state(target.creator.clone(), kind, key, content));
    };
    let mut join = object([("membership", "join".into())]);
    target.profile.fill(&mut join);
    push("m.room.member", target.creator.as_str(), join);

    let levels = power_levels(old, target);
    let needed = needed(&levels, old);
    let own = level_of(&levels, target.creator.as_str());
    // In versions with levels alone, who upgrades may have too little power for what follows, and borrows it meanwhile.
    let borrows = !target.rules.authorization.explicitly_privilege_room_creators && own < needed;
    let mut first = levels.clone();
    if borrows && let Some(users) = member_object(&mut first, "users") {
        users.insert(target.creator.to_string(), number(needed));
    }
    push("m.room.power_levels", "", first);
    for (kind, content) in &old.state {
        let content = match *kind {
            "m.room.power_levels" => continue,
            "m.room.join_rules" => join_rules(content, target.rules),
            "m.room.canonical_alias" => match canonical_alias(content, &old.aliases) {
                Some(content) => content,
                None => continue,
            },
            _ => content.clone(),
        };
        push(kind, "", content);
    }
    for (room, content) in &old.children {
        push("m.space.child", room, content.clone());
    }
    for (user, content) in &old.banned {
        if !target.is_creator(user.as_str()) {
            push("m.room.member", user.as_str(), content.clone());
        }
    }
    if borrows {
        push("m.room.power_levels", "", levels);
    }
    (create_content(old, target), events)
}

fn create_content(old: &OldRoom, target: &Target<'_>) -> CanonicalJsonObject {
    let mut predecessor = object([("room_id", old.room_id.as_str().into())]);
    if let Some(event) = &old.newest_event {
        predecessor.insert("event_id".into(), event.as_str().into());
    }
    let mut content = object([("predecessor", predecessor.into()), ("room_version", target.version.as_str().into())]);
    for name in ["type", "m.federate"] {
        if let Some(value) = old.create.get(name) {
            content.insert(name.into(), value.clone());
        }
    }
    let authorization = &target.rules.authorization;
    if !authorization.use_room_create_sender {
        content.insert("creator".into(), target.creator.as_str().into());
    }
    let mut more: Vec<CanonicalJsonValue> = Vec::new();
    for user in &target.additional_creators {
        let value = CanonicalJsonValue::from(user.as_str());
        if *user != target.creator && !more.contains(&value) {
            more.push(value);
        }
    }
    if authorization.additional_room_creators && !more.is_empty() {
        content.insert("additional_creators".into(), more.into());
    }
    content
}

/// The new room's power levels: the old one's, as its version spells them.
fn power_levels(old: &OldRoom, target: &Target<'_>) -> CanonicalJsonObject {
    let rules = target.rules;
    let none = CanonicalJsonObject::new();
    let Some(levels) = old.get("m.room.power_levels") else {
        let raised: Vec<OwnedUserId> = old.creators.clone();
        return presets::power_levels(rules, &target.creator, &raised, &none);
    };
    let mut levels = levels.clone();
    if rules.authorization.integer_power_levels {
        spell_as_integers(&mut levels);
    }
    let privileged = rules.authorization.explicitly_privilege_room_creators;
    let users = member_object(&mut levels, "users");
    if let Some(users) = users {
        if privileged {
            users.retain(|user, _| !target.is_creator(user));
        } else {
            for user in &old.creators {
                users.insert(user.to_string(), number(100));
            }
        }
    }
    if privileged {
        keep_tombstone_above(&mut levels);
    } else if !old.creators.is_empty()
        && let Some(events) = member_object(&mut levels, "events")
        && integer(events.get("m.room.tombstone")).is_some_and(|level| level > 100)
    {
        // Nobody stands above 100 any more.
        events.insert("m.room.tombstone".into(), number(100));
    }
    levels
}

/// Numbers in strings become numbers; what is none goes, and so its default holds.
fn spell_as_integers(levels: &mut CanonicalJsonObject) {
    let spelled = |value: &mut CanonicalJsonValue| {
        if let CanonicalJsonValue::String(text) = value
            && let Ok(level) = text.trim().parse::<i64>()
        {
            *value = number(level);
        }
        matches!(value, CanonicalJsonValue::Integer(_))
    };
    for name in ["users", "events", "notifications"] {
        match levels.get_mut(name) {
            Some(CanonicalJsonValue::Object(map)) => map.retain(|_, value| spelled(value)),
            Some(_) => drop(levels.remove(name)),
            None => {}
        }
    }
    for name in ["users_default", "events_default", "state_default", "ban", "kick", "redact", "invite"] {
        if levels.get_mut(name).is_some_and(|value| !spelled(value)) {
            levels.remove(name);
        }
    }
}

/// The power that sending everything takes, and that setting these levels takes.
fn needed(levels: &CanonicalJsonObject, old: &OldRoom) -> i64 {
    let state_default = integer(levels.get("state_default")).unwrap_or(50);
    let events = match levels.get("events") {
        Some(CanonicalJsonValue::Object(events)) => Some(events),
        _ => None,
    };
    let of = |kind: &str| events.and_then(|events| integer(events.get(kind))).unwrap_or(state_default);
    let kinds = TRANSFERRED.into_iter().chain((!old.children.is_empty()).then_some("m.space.child"));
    let ban = if old.banned.is_empty() { 0 } else { integer(levels.get("ban")).unwrap_or(50) };
    // A ban also takes more power than the banned have.
    let users = match levels.get("users") {
        Some(CanonicalJsonValue::Object(users)) => users.values().filter_map(|level| integer(Some(level))).max(),
        _ => None,
    };
    let above = if old.banned.is_empty() { 0 } else { users.unwrap_or(0).saturating_add(1) };
    kinds.map(of).max().unwrap_or(state_default).max(ban).max(above)
}

fn level_of(levels: &CanonicalJsonObject, user: &str) -> i64 {
    let own = match levels.get("users") {
        Some(CanonicalJsonValue::Object(users)) => integer(users.get(user)),
        _ => None,
    };
    own.or_else(|| integer(levels.get("users_default"))).unwrap_or(0)
}

/// Join rules, where the new version knows them; else the room is one for the invited.
fn join_rules(content: &CanonicalJsonObject, rules: &RoomVersionRules) -> CanonicalJsonObject {
    let known = match string(content, "join_rule") {
        Some("knock") => rules.authorization.knocking,
        Some("restricted") => rules.authorization.restricted_join_rule,
        Some("knock_restricted") => rules.authorization.knock_restricted_join_rule,
        _ => true,
    };
    if known { content.clone() } else { object([("join_rule", "invite".into())]) }
}

/// The aliases of the old room's canonical alias that will point to the new room; None if there are none.
fn canonical_alias(content: &CanonicalJsonObject, moved: &[OwnedRoomAliasId]) -> Option<CanonicalJsonObject> {
    let moves = |value: &CanonicalJsonValue| matches!(value, CanonicalJsonValue::String(alias) if moved.iter().any(|moved| moved == alias.as_str()));
    let mut kept = content.clone();
    kept.retain(|name, value| name != "alias" || moves(value));
    if let Some(CanonicalJsonValue::Array(list)) = kept.get_mut("alt_aliases") {
        list.retain(moves);
    }
    let names = kept.contains_key("alias")
        || matches!(kept.get("alt_aliases"), Some(CanonicalJsonValue::Array(list)) if !list.is_empty());
    names.then_some(kept)
}

/// The old room's power levels with which only those send and invite who have power (step 6).
pub(super) fn silence(mut levels: CanonicalJsonObject) -> CanonicalJsonObject {
    let silent = integer(levels.get("users_default")).unwrap_or(0).saturating_add(1).max(50);
    for name in ["events_default", "invite"] {
        let level = integer(levels.get(name)).unwrap_or(0).max(silent);
        levels.insert(name.into(), number(level));
    }
    levels
}

fn member_object<'c>(content: &'c mut CanonicalJsonObject, name: &str) -> Option<&'c mut CanonicalJsonObject> {
    match content.entry(name.to_owned()).or_insert_with(|| CanonicalJsonObject::new().into()) {
        CanonicalJsonValue::Object(object) => Some(object),
        _ => None,
    }
}

fn integer(value: Option<&CanonicalJsonValue>) -> Option<i64> {
    match value {
        Some(CanonicalJsonValue::Integer(level)) => Some((*level).into()),
        Some(CanonicalJsonValue::String(text)) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
#[path = "upgrade_plan_tests.rs"]
mod tests;
