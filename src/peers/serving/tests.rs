//! What servers in, out of and around a room are shown.

mod house;

use futures_util::StreamExt as _;
use ruma::{EventId, OwnedEventId, ServerName, server_name};
use serde_json::{Value, json};

use self::house::{House, house};
use super::*;
use crate::rooms::timeline::Direction;

fn b() -> &'static ServerName {
    server_name!("b.example")
}

fn c() -> &'static ServerName {
    server_name!("c.example")
}

/// The JSON of a listing, as it arrives.
async fn whole(listing: Listing) -> Value {
    let mut bytes = Vec::new();
    let mut stream = Box::pin(listing.into_stream());
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    serde_json::from_slice(&bytes).unwrap()
}

/// How a text was shown: in full, without its content, or not at all.
fn shown(events: &Value, id: &EventId, house: &House) -> char {
    match events.as_array().unwrap().iter().find(|event| house.id_of(event) == id) {
        Some(event) if event["content"]["body"].is_string() => 'x',
        Some(event) => {
            assert_eq!(event["content"], json!({}), "redacted");
            assert!(event["signatures"].is_object() && event["prev_events"].is_array(), "the graph holds");
            '-'
        }
        None => '.',
    }
}

async fn backfilled(house: &House, server: &ServerName, from: &EventId, limit: usize) -> Result<Value, ServeError> {
    let asked = Backfill { from: vec![from.to_owned()], limit };
    let text = house.serving.backfill(server, &house.room.room_id, asked).await?;
    Ok(serde_json::from_str(&text).unwrap())
}

/// Texts before b.example came, while its user was invited, while it was in, and after it left; then how a server in the
/// room, and one that left, are shown them.
#[tokio::test]
async fn the_table() {
    let table = [
        // (visibility, in the room, gone)
        (Some("world_readable"), "xxx", "xxxx"),
        (Some("shared"), "xxx", "xxx."),
        (None, "xxx", "xxx."),
        (Some("invited"), "-xx", ".xx."),
        (Some("joined"), "--x", "..x."),
    ];
    for version in ["6", "12"] {
        for (visibility, inside, gone) in table {
            let mut house = house(version, visibility).await;
            let mut texts = vec![house.say("stranger").await];
            house.invite("@bob:b.example").await;
            texts.push(house.say("invited").await);
            house.join("@bob:b.example").await;
            texts.push(house.say("joined").await);
            let all = backfilled(&house, b(), texts.last().unwrap(), 100).await.unwrap();
            let seen: String = texts.iter().map(|id| shown(&all, id, &house)).collect();
            assert_eq!(seen, inside, "{version} {visibility:?}, in the room");
            // Each by itself.
            for (id, expected) in texts.iter().zip(inside.chars()) {
                let event: Value = serde_json::from_str(&house.serving.event(b(), id).await.unwrap()).unwrap();
                assert_eq!(shown(&json!([event]), id, &house), expected, "{version} {visibility:?} /event");
            }
            house.leave("@bob:b.example").await;
            texts.push(house.say("gone").await);
            for (id, expected) in texts.iter().zip(gone.chars()) {
                let found = house.serving.event(b(), id).await;
                let seen = match &found {
                    Ok(event) => shown(&json!([serde_json::from_str::<Value>(event).unwrap()]), id, &house),
                    Err(_) => '.',
                };
                assert_eq!(seen, expected, "{version} {visibility:?}, gone");
                // What it may see it may also ask the past of; of anything else it learns nothing.
                let past = backfilled(&house, b(), id, 1).await;
                assert_eq!(past.is_ok(), expected == 'x', "{version} {visibility:?} /backfill");
                assert_eq!(house.serving.state_ids(b(), &house.room.room_id, id).await.is_ok(), expected == 'x');
            }
            let stranger = house.serving.event(c(), &texts[0]).await.is_ok();
            assert_eq!(stranger, visibility == Some("world_readable"), "{visibility:?}, a stranger");
        }
    }
}

#[tokio::test]
async fn a_server_in_the_room_knows_the_state_that_it_joined_whatever_the_visibility() {
    let mut house = house("12", Some("joined")).await;
    let old = house.set("m.room.topic", "", json!({ "topic": "old" })).await;
    let now = house.set("m.room.topic", "", json!({ "topic": "now" })).await;
    house.join("@bob:b.example").await;
    let event = |id: OwnedEventId| {
        let serving = &house.serving;
        async move { serde_json::from_str::<Value>(&serving.event(b(), &id).await.unwrap()).unwrap() }
    };
    assert_eq!(event(old).await["content"], json!({}), "it had been replaced");
    assert_eq!(event(now).await["content"]["topic"], "now");
    let levels = house.current("m.room.power_levels", "").await;
    assert!(event(levels).await["content"]["users"].is_object(), "what authorises others is whole");
}

#[tokio::test]
async fn history_goes_from_the_newest_to_the_oldest_within_its_bound() {
    let mut house = house("12", Some("shared")).await;
    let join = house.join("@bob:b.example").await;
    let mut texts = vec![join];
    for n in 0..120 {
        texts.push(house.say(&n.to_string()).await);
    }
    let all = backfilled(&house, b(), &texts[120], 1_000).await.unwrap();
    let ids: Vec<OwnedEventId> = all.as_array().unwrap().iter().map(|event| house.id_of(event)).collect();
    let expected: Vec<OwnedEventId> = texts.iter().rev().take(MAX_BACKFILL).cloned().collect();
    assert_eq!(ids, expected);
    assert_eq!(backfilled(&house, b(), &texts[5], 3).await.unwrap().as_array().unwrap().len(), 3);
    let unknown = EventId::parse("$acR1l0raoZnm60CBwAVgqbZqoO-mYU81xysh1u7XcJk").unwrap();
    assert_eq!(backfilled(&house, b(), &unknown, 5).await.unwrap(), json!([]));
}

#[tokio::test]
async fn missing_events_lie_between_what_is_named() {
    let mut house = house("12", Some("shared")).await;
    house.join("@bob:b.example").await;
    let mut texts = Vec::new();
    for n in 0..30 {
        texts.push(house.say(&n.to_string()).await);
    }
    let missing = |earliest: usize, latest: usize, limit: usize, min_depth: i64| {
        let asked = MissingEvents {
            earliest: vec![texts[earliest].clone()],
            latest: vec![texts[latest].clone()],
            limit,
            min_depth,
        };
        let house = &house;
        async move {
            let text = house.serving.missing_events(b(), &house.room.room_id, asked).await.unwrap();
            let events: Value = serde_json::from_str(&text).unwrap();
            events.as_array().unwrap().iter().map(|event| house.id_of(event)).collect::<Vec<_>>()
        }
    };
    assert_eq!(missing(2, 6, 10, 0).await, texts[3..6]);
    assert_eq!(missing(2, 6, 2, 0).await, texts[4..6], "those next to what is missing come first");
    assert_eq!(missing(0, 29, 1_000, 0).await, texts[29 - MAX_MISSING..29]);
    let depth = house.depth_of(&texts[5]).await;
    assert_eq!(missing(2, 8, 10, depth).await, texts[5..8]);
    assert_eq!(missing(3, 4, 10, 0).await, texts[0..0], "nothing lies in between");
}

#[tokio::test]
async fn events_that_are_no_part_of_the_room_are_no_history() {
    let mut house = house("12", Some("shared")).await;
    house.join("@bob:b.example").await;
    let (before, depth) = (house.say("before").await, 0);
    assert!(house.depth_of(&before).await > depth);
    let refused = house.remote_refused("@mallory:c.example", "m.room.message", json!({ "body": "let me in" })).await;
    let after = house.say("after").await;
    let all = backfilled(&house, b(), &after, 100).await.unwrap();
    assert_eq!(shown(&all, &refused, &house), '.');
    assert!(matches!(house.serving.event(b(), &refused).await, Err(ServeError::NotFound(_))));
    assert_eq!(shown(&all, &before, &house), 'x');
}

#[tokio::test]
async fn the_state_before_an_event_comes_with_its_auth_chain() {
    let mut house = house("12", Some("shared")).await;
    house.join("@bob:b.example").await;
    let topic = house.set("m.room.topic", "", json!({ "topic": "one" })).await;
    let text = house.say("after").await;
    let room = house.room.room_id.clone();
    let at = whole(house.serving.state_ids(b(), &room, &topic).await.unwrap()).await;
    let ids = |list: &Value| -> Vec<OwnedEventId> { serde_json::from_value(list.clone()).unwrap() };
    assert!(!ids(&at["pdu_ids"]).contains(&topic), "before the event");
    let at = whole(house.serving.state_ids(b(), &room, &text).await.unwrap()).await;
    let (state, chain) = (ids(&at["pdu_ids"]), ids(&at["auth_chain_ids"]));
    assert!(state.contains(&topic) && !chain.contains(&topic));
    let events = whole(house.serving.state(b(), &room, &text).await.unwrap()).await;
    let listed = |name: &str| -> Vec<OwnedEventId> {
        events[name].as_array().unwrap().iter().map(|event| house.id_of(event)).collect()
    };
    assert_eq!((listed("pdus"), listed("auth_chain")), (state.clone(), chain.clone()));
    // All that authorises is there: nothing in either list names an auth event that is in neither.
    for event in events["pdus"].as_array().unwrap().iter().chain(events["auth_chain"].as_array().unwrap()) {
        for auth in ids(&event["auth_events"]) {
            assert!(chain.contains(&auth), "{auth}");
        }
    }
    let auth = whole(house.serving.event_auth(b(), &room, &topic).await.unwrap()).await;
    let auth: Vec<OwnedEventId> =
        auth["auth_chain"].as_array().unwrap().iter().map(|event| house.id_of(event)).collect();
    assert!(auth.iter().all(|id| chain.contains(id)) && !auth.is_empty());
    let unknown = EventId::parse("$acR1l0raoZnm60CBwAVgqbZqoO-mYU81xysh1u7XcJk").unwrap();
    assert!(matches!(house.serving.state(b(), &room, &unknown).await, Err(ServeError::NotFound(_))));
    assert!(matches!(house.serving.state(c(), &room, &text).await, Err(ServeError::NotInRoom)));
}

#[tokio::test]
async fn the_state_before_what_may_not_be_seen_is_redacted() {
    let mut house = house("12", Some("joined")).await;
    let old = house.set("m.room.topic", "", json!({ "topic": "old" })).await;
    let text = house.say("early").await;
    house.set("m.room.topic", "", json!({ "topic": "now" })).await;
    house.join("@bob:b.example").await;
    let late = house.say("late").await;
    let room = house.room.room_id.clone();
    let topic = |events: Value| {
        let topic = events["pdus"].as_array().unwrap().iter().find(|event| event["type"] == "m.room.topic").cloned();
        topic.unwrap()["content"].clone()
    };
    assert_eq!(topic(whole(house.serving.state(b(), &room, &text).await.unwrap()).await), json!({}), "{old}");
    let late = whole(house.serving.state(b(), &room, &late).await.unwrap()).await;
    assert_eq!(topic(late), json!({ "topic": "now" }));
}

#[tokio::test]
async fn the_server_acl_keeps_a_server_out_of_all_of_it() {
    let mut house = house("12", Some("world_readable")).await;
    house.join("@bob:b.example").await;
    let text = house.say("hello").await;
    let room = house.room.room_id.clone();
    house.set("m.room.server_acl", "", json!({ "allow": ["*"], "deny": ["b.example"] })).await;
    let denied = |error: Option<ServeError>| matches!(error, Some(ServeError::Denied));
    assert!(denied(backfilled(&house, b(), &text, 1).await.err()));
    assert!(denied(house.serving.event(b(), &text).await.err()));
    assert!(denied(house.serving.state(b(), &room, &text).await.err()));
    assert!(denied(house.serving.state_ids(b(), &room, &text).await.err()));
    assert!(denied(house.serving.event_auth(b(), &room, &text).await.err()));
    assert!(denied(house.serving.at_timestamp(b(), &room, 0, Direction::Forwards).await.err()));
    let asked = MissingEvents { earliest: vec![], latest: vec![text.clone()], limit: 5, min_depth: 0 };
    assert!(denied(house.serving.missing_events(b(), &room, asked).await.err()));
    assert!(house.serving.event(c(), &text).await.is_ok(), "others are let in");
}

#[tokio::test]
async fn the_nearest_event_is_one_that_may_be_seen() {
    let mut house = house("12", Some("joined")).await;
    let early = house.say("early").await;
    // Its server's clock says 1970.
    let join = house.join("@bob:b.example").await;
    let text = house.say("late").await;
    let room = house.room.room_id.clone();
    let first = house.serving.at_timestamp(b(), &room, 0, Direction::Forwards).await.unwrap();
    assert_eq!(first.event_id, join);
    let ts = house.ts_of(&early).await;
    let next = house.serving.at_timestamp(b(), &room, ts, Direction::Forwards).await.unwrap();
    assert_ne!(next.event_id, early);
    let last = house.serving.at_timestamp(b(), &room, i64::MAX, Direction::Backwards).await.unwrap();
    assert_eq!(last.event_id, text);
    assert!(matches!(
        house.serving.at_timestamp(b(), &room, i64::MAX, Direction::Forwards).await,
        Err(ServeError::NotFound(_))
    ));
    assert!(matches!(house.serving.at_timestamp(c(), &room, 0, Direction::Forwards).await, Err(ServeError::NotInRoom)));
}

#[tokio::test]
async fn an_event_of_another_room_is_none_of_this_one() {
    let mut house = house("12", Some("shared")).await;
    house.join("@bob:b.example").await;
    let here = house.say("here").await;
    let other = house.another_room().await;
    let (room, elsewhere) = (house.room.room_id.clone(), other);
    assert_eq!(backfilled(&house, b(), &elsewhere, 5).await.unwrap(), json!([]));
    assert!(matches!(house.serving.state(b(), &room, &elsewhere).await, Err(ServeError::NotFound(_))));
    assert!(matches!(house.serving.event(b(), &elsewhere).await, Err(ServeError::NotFound(_))));
    assert!(house.serving.event(b(), &here).await.is_ok());
}

/// Twenty answers' worth of events: many pieces, one answer.
#[tokio::test]
async fn a_long_list_is_one_answer() {
    let mut house = house("12", Some("shared")).await;
    house.join("@bob:b.example").await;
    for n in 0..300 {
        house.set("org.example.entry", &n.to_string(), json!({ "n": n })).await;
    }
    let text = house.say("after").await;
    let room = house.room.room_id.clone();
    let state = whole(house.serving.state(b(), &room, &text).await.unwrap()).await;
    let ids = whole(house.serving.state_ids(b(), &room, &text).await.unwrap()).await;
    assert_eq!(state["pdus"].as_array().unwrap().len(), ids["pdu_ids"].as_array().unwrap().len());
    assert!(state["pdus"].as_array().unwrap().len() > 300);
}
