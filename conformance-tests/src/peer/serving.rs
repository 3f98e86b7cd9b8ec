//! What an honest peer answers.

use linkim_federation::server_keys::build_key_document;
use serde_json::{Value, json};

use super::event::Event;
use super::room::{PeerRoom, named, now_ms};
use super::{Answer, Asked, Shared, lock};

/// An hour and a day: what a key document says of its validity.
const VALID_MS: u64 = 25 * 3600 * 1000;

/// The honest answer to a request.
pub(super) fn answer(shared: &Shared, asked: &Asked) -> Answer {
    let found = match asked.path.as_str() {
        "/_matrix/key/v2/server" => Some(Answer::json(own_keys(shared))),
        "/_matrix/federation/v1/version" => Some(Answer::json(json!({ "server": { "name": "raw", "version": "1" } }))),
        path if path.starts_with("/_matrix/federation/v1/send/") => Some(Answer::json(json!({ "pdus": {} }))),
        path if path.starts_with("/_matrix/federation/v1/query/profile") => Some(Answer::json(json!({}))),
        path if path.starts_with("/_matrix/federation/v1/user/devices/") => {
            let user = path.rsplit('/').next().unwrap_or_default();
            Some(Answer::json(json!({ "user_id": user, "stream_id": 1, "devices": [] })))
        }
        _ => lock(&shared.rooms).iter().find_map(|room| of_room(shared, room, asked)),
    };
    found.unwrap_or_else(|| Answer::error(404, "M_UNRECOGNIZED"))
}

fn own_keys(shared: &Shared) -> Value {
    let document =
        build_key_document(&shared.name, std::slice::from_ref(&shared.key), &Default::default(), now_ms() + VALID_MS);
    serde_json::from_str(document.json()).expect("a key document")
}

/// The answer to a request that is about this room; `None` if it is not.
fn of_room(shared: &Shared, room: &PeerRoom, asked: &Asked) -> Option<Answer> {
    let rest = asked.after("/_matrix/federation/v1/").or_else(|| asked.after("/_matrix/federation/v2/"))?;
    let (endpoint, rest) = rest.split_once('/')?;
    if endpoint == "event" {
        return Some(transaction(shared, vec![room.event(rest)?.json]));
    }
    let (id, rest) = rest.split_once('/').unwrap_or((rest, ""));
    if id != room.id {
        return None;
    }
    let before = || asked.query("event_id").first().and_then(|id| room.state_before(id));
    match endpoint {
        "make_join" => Some(make_join(room, rest)),
        "send_join" => Some(send_join(shared, room, asked)),
        "state_ids" => {
            let state = before()?;
            Some(Answer::json(json!({ "auth_chain_ids": room.auth_chain(&state), "pdu_ids": state })))
        }
        "state" => {
            let state = before()?;
            let chain = room.events(&room.auth_chain(&state));
            Some(Answer::json(json!({ "auth_chain": chain, "pdus": room.events(&state) })))
        }
        "event_auth" => {
            let chain = room.auth_chain(&[rest.to_owned()]);
            Some(Answer::json(json!({ "auth_chain": room.events(&chain) })))
        }
        "get_missing_events" => {
            let body = asked.json();
            let (latest, earliest) = (named(&body["latest_events"]), named(&body["earliest_events"]));
            let limit = body["limit"].as_u64().unwrap_or(10).try_into().unwrap_or(10);
            let mut events = room.ancestors(&latest, &earliest, limit);
            events.reverse();
            Some(Answer::json(json!({ "events": events })))
        }
        "backfill" => {
            let from = asked.query("v");
            let limit = asked.query("limit").first().and_then(|limit| limit.parse().ok()).unwrap_or(10);
            let mut events = room.events(&from);
            events.extend(room.ancestors(&from, &[], limit));
            events.truncate(limit);
            Some(transaction(shared, events))
        }
        _ => None,
    }
}

fn transaction(shared: &Shared, pdus: Vec<Value>) -> Answer {
    Answer::json(json!({ "origin": shared.name, "origin_server_ts": now_ms(), "pdus": pdus }))
}

fn make_join(room: &PeerRoom, user: &str) -> Answer {
    let mut event = room.draft(user, "m.room.member", Some(user), json!({ "membership": "join" }));
    event.as_object_mut().expect("an object").remove("event_id");
    Answer::json(json!({ "room_version": room.version, "event": event }))
}

fn send_join(shared: &Shared, room: &PeerRoom, asked: &Asked) -> Answer {
    let event = Event::received(asked.json(), room.rules);
    let state = room.state_ids();
    let mut of = state.clone();
    of.extend(named(&event.json["auth_events"]));
    let chain = room.events(&room.auth_chain(&of));
    room.add(&event);
    let answer = json!({
        "origin": shared.name, "state": room.events(&state), "auth_chain": chain, "event": event.json,
        "members_omitted": false, "servers_in_room": room.servers(),
    });
    match asked.path.starts_with("/_matrix/federation/v1/") {
        true => Answer::json(json!([200, answer])),
        false => Answer::json(answer),
    }
}
