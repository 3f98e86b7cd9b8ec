//! Authorisation through this crate's interface: what an event may cite, and what a state allows.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection>, the "Authorisation rules" of the versions

use std::sync::Arc;

use linkim_federation::{Pdu, auth_types, check_against_state, check_auth_events};
use ruma::{EventId, UserId};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use crate::common::version;
use crate::room::{Room, Sent, USERS};

const ALICE: &str = USERS[0];
const BOB: &str = USERS[1];
const CAROL: &str = USERS[2];

fn sent(sender: &'static str, event_type: &'static str, state_key: &str, content: Value) -> Sent {
    Sent { sender, event_type, state_key: state_key.to_owned(), content, ts: 1 }
}

#[test]
fn the_auth_events_selection_is_that_of_the_specification() {
    let types = |number: usize, event_type: &str, state_key: Option<&str>, content: Value| {
        let sender = <&UserId>::try_from(ALICE).unwrap();
        let content = to_raw_value(&content).unwrap();
        let mut types: Vec<String> = auth_types(event_type, sender, state_key, &content, version(number))
            .unwrap()
            .into_iter()
            .map(|(event_type, key)| format!("{event_type}|{key}"))
            .collect();
        types.sort();
        types
    };
    let (create, levels, rules) = ("m.room.create|", "m.room.power_levels|", "m.room.join_rules|");
    let member = |user: &str| format!("m.room.member|{user}");
    for number in 1..=12 {
        let base = |more: &[String]| {
            let mut expected = vec![levels.to_owned(), member(ALICE)];
            expected.extend((number < 12).then(|| create.to_owned()));
            expected.extend_from_slice(more);
            expected.sort();
            expected
        };
        assert_eq!(types(number, "m.room.create", Some(""), json!({})), [""; 0]);
        assert_eq!(types(number, "m.room.message", None, json!({})), base(&[]));
        for membership in ["leave", "ban"] {
            let content = json!({"membership": membership});
            assert_eq!(types(number, "m.room.member", Some(BOB), content), base(&[member(BOB)]));
        }
        let join = json!({"membership": "join"});
        assert_eq!(types(number, "m.room.member", Some(ALICE), join), base(&[rules.to_owned()]));
        let invite = json!({"membership": "invite", "third_party_invite": {"signed": {"token": "t", "mxid": BOB}}});
        let expected = base(&[member(BOB), rules.to_owned(), "m.room.third_party_invite|t".to_owned()]);
        assert_eq!(types(number, "m.room.member", Some(BOB), invite), expected);
        let restricted = json!({"membership": "join", "join_authorised_via_users_server": CAROL});
        let via = if number < 8 { vec![rules.to_owned()] } else { vec![rules.to_owned(), member(CAROL)] };
        assert_eq!(types(number, "m.room.member", Some(ALICE), restricted), base(&via), "version {number}");
    }
    let sender = <&UserId>::try_from(ALICE).unwrap();
    let malformed = to_raw_value(&json!({"membership": 1})).unwrap();
    assert!(auth_types("m.room.member", sender, Some(ALICE), &malformed, version(11)).is_err());
}

/// The last event of a room, with other auth events.
fn citing(room: &Room, auth: &[&EventId]) -> Pdu {
    let last = room.events.last().unwrap();
    let mut event: Value = serde_json::from_str(last.json()).unwrap();
    event["auth_events"] = json!(auth);
    Pdu::from_trusted(last.event_id().to_owned(), event.to_string(), false).unwrap()
}

#[test]
fn an_event_must_cite_exactly_what_authorises_it() {
    for number in 1..=12 {
        let mut room = Room::new(number, "public");
        let fork: Vec<_> = room.tips.iter().cloned().collect();
        let join = room.send(&fork, &sent(BOB, "m.room.member", BOB, json!({"membership": "join"}))).unwrap();
        let renamed = json!({"membership": "join", "displayname": "b"});
        let renamed = room.send(std::slice::from_ref(&join), &sent(BOB, "m.room.member", BOB, renamed)).unwrap();
        room.send(std::slice::from_ref(&join), &sent(BOB, "m.room.topic", "", json!({"topic": "x"}))).unwrap();
        let rules = room.rules();
        let check = |pdu: &Pdu| check_auth_events(rules, pdu, |id| room.event(id));

        let pdu = room.events.last().unwrap().clone();
        assert_eq!(check(&pdu), Ok(()), "version {number}");
        let ids: Vec<&EventId> = pdu.auth_events().iter().map(|id| &**id).collect();
        let denied = |auth: &[&EventId]| check(&citing(&room, auth)).unwrap_err().reason().to_owned();

        let twice = [ids.as_slice(), &[&renamed]].concat();
        assert!(denied(&twice).contains("duplicate"), "version {number}");
        let join_rules = room.events[3].event_id();
        assert!(denied(&[ids.as_slice(), &[join_rules]].concat()).contains("unexpected"));
        assert!(denied(&[ids.as_slice(), &[ruma::event_id!("$nowhere:a.example")]].concat()).contains("find"));
        let without_member: Vec<&EventId> = ids.iter().copied().filter(|id| *id != join).collect();
        assert!(denied(&without_member).contains("not `join`"));
        let create = room.events[0].event_id();
        if number < 12 {
            let without_create: Vec<&EventId> = ids.iter().copied().filter(|id| *id != create).collect();
            assert!(denied(&without_create).contains("m.room.create"));
        } else {
            assert!(!ids.contains(&create));
            let unknown = check_auth_events(rules, &pdu, |id| room.event(id).filter(|_| id != create));
            assert!(unknown.is_err(), "the room's identifier must name a known create event");
            let rejected = |id: &EventId| {
                let event = room.event(id)?;
                Some(if id == create { Arc::new(Pdu::clone(&event).with_rejected(true)) } else { event })
            };
            assert!(check_auth_events(rules, &pdu, rejected).is_err());
        }
        let rejected = check_auth_events(rules, &pdu, |id| {
            let event = room.event(id)?;
            Some(if id == join { Arc::new(Pdu::clone(&event).with_rejected(true)) } else { event })
        });
        assert!(rejected.unwrap_err().reason().contains("rejected"));
    }
}

#[test]
fn a_version_12_room_is_named_by_a_create_event_and_by_no_other() {
    let room = Room::new(12, "public");
    let levels = room.events[2].clone();
    // A room named after Alice's membership: the event exists and is accepted, but makes no room.
    let text = levels
        .json()
        .replace(room.events[0].room_id().as_str(), &format!("!{}", &room.events[1].event_id().as_str()[1..]));
    let pdu = Pdu::from_trusted(ruma::event_id!("$other").to_owned(), text, false).unwrap();
    assert!(check_auth_events(room.rules(), &pdu, |id| room.event(id)).is_err());
    let create = Pdu::from_trusted(
        ruma::event_id!("$other").to_owned(),
        room.events[0].json().replacen('{', r#"{"room_id":"!r:a.example","#, 1),
        false,
    );
    assert!(check_auth_events(room.rules(), &create.unwrap(), |_| None).is_err(), "it has a room_id");
    assert_eq!(check_auth_events(room.rules(), &room.events[0], |_| None), Ok(()));
}

/// Levels that a room's rules read: integers always, strings up to version 9, floats up to 5.
#[test]
fn power_levels_are_read_in_the_forms_of_their_version() {
    for number in 1..=11 {
        for (level, loose) in [(json!(50), false), (json!("50"), true), (json!(" +050 "), true), (json!(50.57), true)] {
            if level.is_f64() && number >= 6 {
                continue;
            }
            let mut room = Room::new(number, "public");
            let fork: Vec<_> = room.tips.iter().cloned().collect();
            let join = room.send(&fork, &sent(BOB, "m.room.member", BOB, json!({"membership": "join"}))).unwrap();
            let levels = json!({"users": {ALICE: 100, BOB: level}});
            let set = room.send(&[join], &sent(ALICE, "m.room.power_levels", "", levels));
            assert_eq!(set.is_some(), !loose || number < 10, "version {number}: {level}");
            if let Some(set) = set {
                let named = room.send(&[set], &sent(BOB, "m.room.name", "", json!({"name": "x"})));
                assert!(named.is_some(), "version {number}: {level} is 50");
            }
        }
    }
}

#[test]
fn a_state_denies_with_a_reason() {
    let room = Room::new(11, "invite");
    let stranger = sent(CAROL, "m.room.topic", "", json!({"topic": "x"}));
    let pdu = json!({
        "auth_events": [], "content": stranger.content, "depth": 9, "origin_server_ts": 1, "prev_events": [],
        "room_id": "!room:a.example", "sender": CAROL, "state_key": "", "type": "m.room.topic",
    });
    let pdu = Pdu::from_trusted(ruma::event_id!("$x").to_owned(), pdu.to_string(), false).unwrap();
    let denied = check_against_state(room.rules(), &pdu, |event_type, key| {
        let kind = event_type.to_string();
        room.events
            .iter()
            .find(|event| event.event_type().to_string() == kind && event.state_key() == Some(key))
            .cloned()
    });
    assert_eq!(denied.unwrap_err().reason(), "sender's membership is not `join`");
    assert!(check_against_state(room.rules(), &pdu, |_, _| None).is_err(), "no create event");
}
