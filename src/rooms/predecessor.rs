//! What a user takes along into the room that replaces one of theirs: tags, the push rule of the room, its place among the
//! direct rooms.
//!
//! Source: Client-Server API, "Room upgrades": "When a user joins the new room, the server should automatically
//! transfer/replicate some of the user's personalized settings such as notifications, tags, etc."

use std::sync::Arc;

use ruma::RoomId;
use serde_json::Value;

use crate::store::{
    Read, StoreError, WriteTx, account_data, ids,
    ids::{RoomKey, RoomNid, UserNid},
    members, rooms,
};

/// The room that this one replaces, if the user was in it and it is here.
pub(super) fn of_member(read: &dyn Read, user: UserNid, room: RoomNid) -> Result<Option<Arc<RoomKey>>, StoreError> {
    let Some(predecessor) = rooms::predecessor(read, room)? else { return Ok(None) };
    let Ok(predecessor) = <&RoomId>::try_from(predecessor.as_str()) else { return Ok(None) };
    let Some(predecessor) = ids::room(read, predecessor)? else { return Ok(None) };
    Ok(members::of(read, user, predecessor.nid)?.map(|_| predecessor))
}

/// Takes the settings along. What the user has set for the new room already is left alone.
pub(super) fn carry_over(tx: &WriteTx<'_>, user: UserNid, from: &RoomKey, to: &RoomId) -> Result<(), StoreError> {
    let Some(new) = ids::room(tx, to)? else { return Ok(()) };
    if let Some(tags) = account_data::get(tx, user, Some(from.nid), "m.tag")?
        && account_data::get(tx, user, Some(new.nid), "m.tag")?.is_none()
    {
        account_data::insert(tx, user, Some(new.nid), "m.tag", &tags, tx.next_position())?;
    }
    let (from, to) = (from.room_id.as_str(), to.as_str());
    for (kind, change) in [("m.push_rules", push_rules as fn(&mut Value, &str, &str) -> bool), ("m.direct", direct)] {
        let Some(text) = account_data::get(tx, user, None, kind)? else { continue };
        // Clients write `m.direct` as they please.
        let Ok(mut content) = serde_json::from_str::<Value>(&text) else { continue };
        if change(&mut content, from, to) {
            account_data::update(tx, user, None, kind, &content.to_string(), tx.next_position())?;
        }
    }
    Ok(())
}

/// Adds the rule of the new room after that of the old one. Answers whether there is something to add.
fn push_rules(content: &mut Value, from: &str, to: &str) -> bool {
    let Some(Value::Array(rules)) = content.pointer_mut("/global/room") else { return false };
    let of = |rules: &[Value], room: &str| rules.iter().position(|rule| rule["rule_id"] == room);
    match (of(rules, from), of(rules, to)) {
        (Some(at), None) => {
            let mut rule = rules[at].clone();
            rule["rule_id"] = to.into();
            rules.insert(at + 1, rule);
            true
        }
        _ => false,
    }
}

/// Adds the new room beside the old one. Answers whether there is something to add.
fn direct(content: &mut Value, from: &str, to: &str) -> bool {
    let Value::Object(users) = content else { return false };
    let mut added = false;
    for rooms in users.values_mut().filter_map(Value::as_array_mut) {
        let has = |room: &str| rooms.iter().any(|other| other == room);
        if has(from) && !has(to) {
            rooms.push(to.into());
            added = true;
        }
    }
    added
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_new_room_gets_what_the_old_one_has_once() {
        let rule = |room: &str| json!({ "rule_id": room, "actions": [], "enabled": true, "default": false });
        let mut rules = json!({ "global": { "room": [rule("!a"), rule("!b")], "override": [] } });
        assert!(push_rules(&mut rules, "!a", "!n"));
        assert_eq!(rules, json!({ "global": { "room": [rule("!a"), rule("!n"), rule("!b")], "override": [] } }));
        assert!(!push_rules(&mut rules, "!a", "!n") && !push_rules(&mut rules, "!c", "!m"));
        assert!(!push_rules(&mut json!([]), "!a", "!n"));

        let mut rooms = json!({ "@bob:x": ["!a", "!b"], "@carol:x": ["!c"], "@dave:x": 7 });
        assert!(direct(&mut rooms, "!a", "!n"));
        assert_eq!(rooms, json!({ "@bob:x": ["!a", "!b", "!n"], "@carol:x": ["!c"], "@dave:x": 7 }));
        assert!(!direct(&mut rooms, "!a", "!n") && !direct(&mut json!("x"), "!a", "!n"));
    }
}
