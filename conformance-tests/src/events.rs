//! Finding events in answers.

use serde_json::Value;

/// The joined room's section of a `/sync` answer; `null` if the room is not in it.
pub fn room_in<'a>(answer: &'a Value, section: &str, room: &str) -> &'a Value {
    &answer["rooms"][section][room]
}

/// The timeline events of a room in `/sync`, joined or left; none if the room is not in it.
pub fn timeline<'a>(answer: &'a Value, room: &str) -> &'a [Value] {
    ["join", "leave"]
        .iter()
        .find_map(|section| room_in(answer, section, room)["timeline"]["events"].as_array())
        .map_or(&[], Vec::as_slice)
}

/// The ids of events, in order.
pub fn event_ids(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["event_id"].as_str()).collect()
}

/// The bodies of the messages among the events, in order.
pub fn bodies(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .filter(|event| event["type"] == "m.room.message")
        .filter_map(|event| event["content"]["body"].as_str())
        .collect()
}

/// The event with this id.
pub fn find_event<'a>(events: &'a [Value], event_id: &str) -> Option<&'a Value> {
    events.iter().find(|event| event["event_id"] == event_id)
}

/// The last state event of this type and key among events.
pub fn find_state<'a>(events: &'a [Value], event_type: &str, state_key: &str) -> Option<&'a Value> {
    events.iter().rev().find(|event| event["type"] == event_type && event["state_key"] == state_key)
}

/// As [`find_state`], in a JSON list; nothing if it is none.
pub fn find_state_in<'a>(events: &'a Value, event_type: &str, state_key: &str) -> Option<&'a Value> {
    find_state(events.as_array()?, event_type, state_key)
}

/// The `membership` of a user among events, or nothing.
pub fn membership_of<'a>(events: &'a [Value], user_id: &str) -> Option<&'a str> {
    find_state(events, "m.room.member", user_id)?["content"]["membership"].as_str()
}
