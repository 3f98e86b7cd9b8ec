//! "Syncing": timelines, state, gaps, and the model of a room that a client builds from them.

use std::collections::BTreeMap;

use conformance_tests::{
    Client, Sync, bodies, event_ids, find_state, find_state_in, membership_of, room_in, timeline, v3,
};
use serde_json::{Value, json};

use crate::SERVER;

fn next(answer: &Value) -> String {
    answer["next_batch"].as_str().expect("a token").to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn limit(events: u32) -> Value {
    json!({ "room": { "timeline": { "limit": events } } })
}

#[tokio::test]
async fn an_initial_sync_has_state_before_the_timeline_and_the_timeline() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "name": "Tea", "topic": "old" })).await;
    alice.send_texts(&room, "", 1..=3).await;
    let topic = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "new" })).await;
    let last = alice.send_text(&room, "last").await;
    let answer = alice.sync(Sync::initial().filter(limit(2))).await;
    let section = room_in(&answer, "join", &room);
    assert_eq!(event_ids(timeline(&answer, &room)), [topic, last]);
    assert_eq!(section["timeline"]["limited"], true, "{section}");
    assert!(section["timeline"]["prev_batch"].is_string(), "{section}");
    let state = &section["state"]["events"];
    // The state is of the start of the timeline: the new topic comes in the timeline.
    assert_eq!(find_state_in(state, "m.room.topic", "").expect("a topic")["content"]["topic"], "old");
    for (event_type, key) in [("m.room.create", ""), ("m.room.name", ""), ("m.room.member", alice.user_id.as_str())] {
        assert!(find_state_in(state, event_type, key).is_some(), "{event_type} is missing: {section}");
    }
}

#[tokio::test]
async fn a_room_that_fits_in_the_timeline_needs_no_state() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let answer = alice.sync(Sync::initial().filter(limit(50))).await;
    let section = room_in(&answer, "join", &room);
    assert_eq!(timeline(&answer, &room)[0]["type"], "m.room.create");
    assert_ne!(section["timeline"]["limited"], true, "{section}");
    assert_eq!(list(&section["state"]["events"]).len(), 0, "{section}");
}

#[tokio::test]
async fn an_incremental_sync_has_what_is_new_and_nothing_else() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let (room, quiet) = (alice.create_room(json!({})).await, alice.create_room(json!({})).await);
    let since = alice.now().await;
    let ids = alice.send_texts(&room, "", 1..=3).await;
    let answer = alice.sync(Sync::since(&since)).await;
    let section = room_in(&answer, "join", &room);
    assert_eq!(event_ids(timeline(&answer, &room)), ids);
    assert_ne!(section["timeline"]["limited"], true, "{section}");
    assert_eq!(list(&section["state"]["events"]).len(), 0, "{section}");
    assert!(room_in(&answer, "join", &quiet).is_null(), "{answer}");
    let after = alice.sync(Sync::since(&next(&answer))).await;
    assert!(room_in(&after, "join", &room).is_null(), "{after}");
}

#[tokio::test]
async fn events_carry_no_room_id_in_sync() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let since = alice.now().await;
    alice.send_text(&room, "x").await;
    let answer = alice.sync(Sync::since(&since)).await;
    let event = &timeline(&answer, &room)[0];
    for key in ["event_id", "type", "sender", "content", "origin_server_ts"] {
        assert!(!event[key].is_null(), "{key} is required: {event}");
    }
    assert!(event["room_id"].is_null(), "{event}");
}

#[tokio::test]
async fn state_in_the_timeline_is_not_repeated_in_state() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let since = alice.now().await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "new" })).await;
    let answer = alice.sync(Sync::since(&since)).await;
    assert_eq!(timeline(&answer, &room).len(), 1);
    assert_eq!(list(&room_in(&answer, "join", &room)["state"]["events"]).len(), 0, "{answer}");
}

#[tokio::test]
async fn a_gap_comes_with_the_state_that_changed_in_it() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "name": "unchanged" })).await;
    let since = alice.now().await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "first" })).await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "in the gap" })).await;
    alice.send_texts(&room, "", 1..=5).await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "in the timeline" })).await;
    let answer = alice.sync(Sync::since(&since).filter(limit(2))).await;
    let section = room_in(&answer, "join", &room);
    assert_eq!(section["timeline"]["limited"], true, "{section}");
    let state = &section["state"]["events"];
    assert_eq!(find_state_in(state, "m.room.topic", "").expect("a topic")["content"]["topic"], "in the gap");
    assert!(find_state_in(state, "m.room.name", "").is_none(), "only what changed: {section}");
}

#[tokio::test]
async fn state_after_is_of_the_end_of_the_timeline() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "topic": "old" })).await;
    let since = alice.now().await;
    alice.set_state(&room, "org.example.gap", "", json!({ "n": 1 })).await;
    alice.send_texts(&room, "", 1..=5).await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "new" })).await;
    for sync in [Sync::initial(), Sync::since(&since)] {
        let answer = alice.sync(sync.filter(limit(2)).with("use_state_after", "true")).await;
        let section = room_in(&answer, "join", &room);
        assert!(section["state"].is_null(), "state MUST be omitted: {section}");
        let state = &section["state_after"]["events"];
        assert_eq!(find_state_in(state, "m.room.topic", "").expect("a topic")["content"]["topic"], "new");
        assert!(find_state_in(state, "org.example.gap", "").is_some(), "{section}");
    }
    let since = alice.now().await;
    alice.send_text(&room, "no state").await;
    let answer = alice.sync(Sync::since(&since).with("use_state_after", "true")).await;
    let section = room_in(&answer, "join", &room);
    assert!(section["state_after"].is_object(), "required even if empty: {section}");
    assert_eq!(list(&section["state_after"]["events"]).len(), 0, "{section}");
}

#[tokio::test]
async fn full_state_gives_all_state_at_once_and_only_new_events() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "name": "Tea" })).await;
    let since = alice.now().await;
    // The timeout is ignored, or this would not answer in time.
    let sync = Sync::since(&since).with("full_state", "true").timeout(60_000);
    let answer = alice.sync(sync).await;
    let section = room_in(&answer, "join", &room);
    assert_eq!(timeline(&answer, &room).len(), 0, "{section}");
    let (state, all) = (list(&section["state"]["events"]), alice.all_state(&room).await);
    let ids = |events: &[Value]| {
        let mut ids: Vec<String> = event_ids(events).into_iter().map(str::to_owned).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(state), ids(&all));
}

#[tokio::test]
async fn a_room_joined_between_two_polls_comes_whole() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat", "name": "Tea" })).await;
    alice.send_texts(&room, "", 1..=30).await;
    let since = bob.now().await;
    bob.join(&room).await;
    let answer = bob.sync(Sync::since(&since).filter(limit(3))).await;
    let section = room_in(&answer, "join", &room);
    assert_eq!(section["timeline"]["limited"], true, "{section}");
    assert_eq!(membership_of(timeline(&answer, &room), &bob.user_id), Some("join"));
    let state = &section["state"]["events"];
    for (event_type, key) in [("m.room.create", ""), ("m.room.name", ""), ("m.room.member", alice.user_id.as_str())] {
        assert!(find_state_in(state, event_type, key).is_some(), "{event_type} is missing: {section}");
    }
}

#[tokio::test]
async fn a_room_that_was_left_and_joined_again_comes_whole() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let since = bob.now().await;
    bob.leave(&room).await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "meanwhile" })).await;
    alice.send_texts(&room, "", 1..=5).await;
    bob.join(&room).await;
    let answer = bob.sync(Sync::since(&since).filter(limit(1))).await;
    assert!(room_in(&answer, "leave", &room).is_null(), "the room is joined: {answer}");
    let state = &room_in(&answer, "join", &room)["state"]["events"];
    assert_eq!(find_state_in(state, "m.room.topic", "").expect("a topic")["content"]["topic"], "meanwhile");
}

#[tokio::test]
async fn the_same_token_gives_the_same_news_again() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let since = alice.now().await;
    let ids = alice.send_texts(&room, "", 1..=4).await;
    let first = alice.sync(Sync::since(&since)).await;
    let second = alice.sync(Sync::since(&since)).await;
    for answer in [&first, &second] {
        assert_eq!(event_ids(timeline(answer, &room)), ids);
    }
    // Having gone on does not spend the old token either.
    alice.sync(Sync::since(&next(&second))).await;
    let more = alice.send_text(&room, "more").await;
    let third = alice.sync(Sync::since(&since)).await;
    let mut wanted = ids;
    wanted.push(more);
    assert_eq!(event_ids(timeline(&third, &room)), wanted);
}

#[tokio::test]
async fn two_devices_that_poll_at_once_both_hear_everything() {
    let server = SERVER.get();
    let (phone, bob) = (server.register("alice").await, server.register("bob").await);
    let laptop = server.new_device(&phone).await;
    let room = phone.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let follow = |device: Client, since: String| {
        let room = room.clone();
        tokio::spawn(async move {
            let mut heard = Vec::new();
            device
                .wait_until_sync(&since, |answer| {
                    heard.extend(bodies(timeline(answer, &room)).into_iter().map(str::to_owned));
                    heard.last().is_some_and(|last| last == "12")
                })
                .await;
            heard
        })
    };
    let mut devices = Vec::new();
    for device in [&phone, &laptop, &phone] {
        devices.push(follow(device.clone(), device.now().await));
    }
    bob.send_texts(&room, "", 1..=12).await;
    let wanted: Vec<String> = (1..=12).map(|number| number.to_string()).collect();
    for device in devices {
        assert_eq!(device.await.expect("the task ends"), wanted);
    }
}

#[tokio::test]
async fn a_follower_under_load_misses_nothing_and_hears_nothing_twice() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let mut rooms = Vec::new();
    for _ in 0..3 {
        rooms.push(alice.create_room(json!({ "preset": "public_chat" })).await);
    }
    let mut senders = Vec::new();
    let since = alice.now().await;
    for number in 0..3 {
        let user = server.register("sender").await;
        let rooms = rooms.clone();
        senders.push(tokio::spawn(async move {
            let mut sent = Vec::new();
            for room in &rooms {
                user.join(room).await;
            }
            for message in 0..15 {
                sent.push(user.send_text(&rooms[(message + number) % 3], &format!("{number}/{message}")).await);
            }
            sent
        }));
    }
    let (mut heard, mut limited) = (Vec::new(), false);
    let collect = alice.wait_until_sync(&since, |answer| {
        for room in &rooms {
            limited |= room_in(answer, "join", room)["timeline"]["limited"] == true;
            let messages = timeline(answer, room).iter().filter(|event| event["type"] == "m.room.message");
            heard.extend(messages.filter_map(|event| event["event_id"].as_str()).map(str::to_owned));
        }
        heard.len() >= 45
    });
    collect.await;
    assert!(!limited, "no gap is expected from so few events");
    let mut sent = Vec::new();
    for sender in senders {
        sent.extend(sender.await.expect("the task ends"));
    }
    heard.sort_unstable();
    sent.sort_unstable();
    assert_eq!(heard, sent);
}

/// The current state of a room as a client keeps it: type and key to event id.
type Model = BTreeMap<(String, String), String>;

fn apply(model: &mut Model, events: &[Value]) {
    for event in events.iter().filter(|event| event["state_key"].is_string()) {
        let text = |key: &str| event[key].as_str().expect("a string").to_owned();
        model.insert((text("type"), text("state_key")), text("event_id"));
    }
}

#[tokio::test]
async fn what_a_client_makes_of_its_syncs_is_the_state_of_the_room() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    for (size, state_after) in [(1, false), (1, true), (3, false), (4, true), (20, false)] {
        let follower = server.new_device(&alice).await;
        let (mut model, mut since) = (Model::new(), None::<String>);
        for round in 0..6u64 {
            // A small generator with a fixed seed: the same story in every run.
            let mut random = (round + 1).wrapping_mul(6_364_136_223_846_793_005) + u64::from(size);
            for _ in 0..(round * 3 % 8) {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (choice, key) = ((random >> 33) % 5, ((random >> 40) % 3).to_string());
                match choice {
                    0 => drop(alice.send_text(&room, "x").await),
                    1 => drop(alice.set_state(&room, "org.example.a", &key, json!({ "r": random >> 20 })).await),
                    2 => drop(alice.set_state(&room, "org.example.b", &key, json!({ "r": random >> 20 })).await),
                    3 => bob.join(&room).await,
                    _ => {
                        bob.join(&room).await;
                        bob.leave(&room).await;
                    }
                }
            }
            let mut sync = since.as_deref().map_or_else(Sync::initial, Sync::since).filter(limit(size));
            if state_after {
                sync = sync.with("use_state_after", "true");
            }
            let answer = follower.sync(sync).await;
            since = Some(next(&answer));
            let section = room_in(&answer, "join", &room);
            if state_after {
                apply(&mut model, list(&section["state_after"]["events"]));
            } else {
                apply(&mut model, list(&section["state"]["events"]));
                apply(&mut model, timeline(&answer, &room));
            }
            let mut truth = Model::new();
            apply(&mut truth, &alice.all_state(&room).await);
            assert_eq!(model, truth, "limit {size}, state_after {state_after}, round {round}");
        }
    }
}

#[tokio::test]
async fn a_timeline_filter_does_not_hide_changes_of_state() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let since = alice.now().await;
    alice.send_texts(&room, "", 1..=3).await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "new" })).await;
    alice.send_texts(&room, "", 4..=9).await;
    let filter = json!({ "room": { "timeline": { "limit": 2, "types": ["m.room.message"] } } });
    let answer = alice.sync(Sync::since(&since).filter(filter)).await;
    assert_eq!(bodies(timeline(&answer, &room)), ["8", "9"]);
    let state = &room_in(&answer, "join", &room)["state"]["events"];
    assert_eq!(find_state_in(state, "m.room.topic", "").expect("a topic")["content"]["topic"], "new");
}

#[tokio::test]
async fn a_token_that_was_never_given_is_refused_or_answered_in_full() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    alice.create_room(json!({})).await;
    for token in ["nonsense", "", "-1", "9".repeat(400).as_str(), "1.2.3.4.5.6.7", "💥"] {
        let reply = alice.try_sync(Sync::since(token)).await;
        assert!(matches!(reply.status, 200 | 400), "{reply}");
        if reply.status == 400 {
            assert!(matches!(reply.errcode(), "M_INVALID_PARAM" | "M_UNKNOWN" | "M_BAD_JSON"), "{reply}");
        }
    }
}

#[tokio::test]
async fn mistyped_parameters_are_refused() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for (key, value) in [
        ("timeout", "soon"),
        ("timeout", "-1"),
        ("full_state", "perhaps"),
        ("set_presence", "asleep"),
        ("use_state_after", "perhaps"),
    ] {
        let path = v3!("/sync?{}={}", key, value);
        let reply = alice.get(&path).await;
        assert_eq!(reply.status, 400, "{key}={value}\n{reply}");
    }
}

#[tokio::test]
async fn every_presence_is_accepted() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for presence in ["offline", "online", "unavailable"] {
        alice.sync(Sync::initial().with("set_presence", presence)).await;
    }
}

#[tokio::test]
async fn unknown_parameters_are_ignored() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    alice.sync(Sync::initial().with("org.example.unknown", "1")).await;
}

#[tokio::test]
async fn an_older_state_change_of_the_member_is_visible_to_the_model_of_a_rejoiner() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let since = alice.now().await;
    bob.leave(&room).await;
    bob.join(&room).await;
    let answer = alice.sync(Sync::since(&since)).await;
    let memberships: Vec<&str> = timeline(&answer, &room)
        .iter()
        .filter(|event| event["state_key"] == bob.user_id)
        .filter_map(|event| event["content"]["membership"].as_str())
        .collect();
    assert_eq!(memberships, ["leave", "join"]);
    assert_eq!(
        find_state(timeline(&answer, &room), "m.room.member", &bob.user_id).expect("bob")["content"]["membership"],
        "join"
    );
}
