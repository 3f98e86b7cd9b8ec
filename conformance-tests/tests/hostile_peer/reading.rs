//! Who is not in a room reads nothing of it; who is reads what its history visibility gives.
//!
//! Source: Server-Server API, "Backfilling and retrieving missing events", "Retrieving events"; Client-Server API, "Room
//! History Visibility".

use conformance_tests::peer::{PeerRoom, RawPeer};
use conformance_tests::{Reply, Server, encode, path};
use serde_json::{Value, json};

use crate::{raw, shared, shown, world, world_of};

/// All that can be asked of a room, about one of its events.
async fn ask_all(peer: &RawPeer, server: &Server, room: &str, event: &str) -> Vec<(&'static str, Reply)> {
    let v1 = "/_matrix/federation/v1";
    let (room, event_path) = (encode(room), encode(event));
    let missing = json!({ "latest_events": [event], "earliest_events": [], "limit": 10 });
    vec![
        ("backfill", peer.get(server, &format!("{v1}/backfill/{room}?v={event_path}&limit=10")).await),
        ("get_missing_events", peer.post(server, &format!("{v1}/get_missing_events/{room}"), &missing).await),
        ("state", peer.get(server, &format!("{v1}/state/{room}?event_id={event_path}")).await),
        ("state_ids", peer.get(server, &format!("{v1}/state_ids/{room}?event_id={event_path}")).await),
        ("event", peer.get(server, &format!("{v1}/event/{event_path}")).await),
        ("event_auth", peer.get(server, &format!("{v1}/event_auth/{room}/{event_path}")).await),
        ("timestamp_to_event", peer.get(server, &format!("{v1}/timestamp_to_event/{room}?ts=1&dir=f")).await),
    ]
}

#[tokio::test]
async fn who_is_not_in_a_room_reads_nothing_of_it() {
    let server = shared();
    let (outsider, alice) = (raw().await, server.register("alice").await);
    for preset in ["private_chat", "public_chat"] {
        let room = alice.create_room(json!({ "preset": preset, "name": "The Secret Room" })).await;
        let said = alice.send_text(&room, "a secret word").await;
        for (endpoint, reply) in ask_all(&outsider, &server, &room, &said).await {
            let error = (reply.status, reply.errcode());
            // The path of /event names no room: what is theirs and what is nowhere must look the same.
            let expected = if endpoint == "event" { (404, "M_NOT_FOUND") } else { (403, "M_FORBIDDEN") };
            assert_eq!(error, expected, "{endpoint} of a {preset}: {reply}");
            assert!(!reply.text.to_lowercase().contains("secret"), "{endpoint}: {reply}");
        }
    }
    // A room that is not there looks no different from one that is not theirs, or is not found.
    for (endpoint, reply) in ask_all(&outsider, &server, "!nowhere:localhost", "$nothing").await {
        assert!(matches!(reply.status, 403 | 404), "{endpoint}: {reply}");
    }
}

#[tokio::test]
async fn who_is_in_a_room_reads_it() {
    let server = shared();
    let world = world(&server).await;
    let said = world.alice.send_text(&world.room.id, "for all to read").await;
    for (endpoint, reply) in ask_all(&world.peer, &server, &world.room.id, &said).await {
        assert_eq!(reply.status, 200, "{endpoint}: {reply}");
        if matches!(endpoint, "backfill" | "event") {
            assert!(reply.text.contains("for all to read"), "{endpoint}: {reply}");
        }
    }
}

#[tokio::test]
async fn an_event_is_not_read_through_another_room() {
    let server = shared();
    let world = world(&server).await;
    let secret = world.alice.create_room(json!({ "preset": "private_chat" })).await;
    let said = world.alice.send_text(&secret, "a secret word").await;
    for (endpoint, reply) in ask_all(&world.peer, &server, &world.room.id, &said).await {
        assert!(!reply.text.contains("secret word"), "{endpoint}: {reply}");
        match endpoint {
            "timestamp_to_event" => {}
            "get_missing_events" | "backfill" => {
                let events = &reply.json[if endpoint == "backfill" { "pdus" } else { "events" }];
                assert!(reply.status >= 400 || *events == json!([]), "{endpoint}: {reply}");
            }
            _ => assert!(matches!(reply.status, 403 | 404), "{endpoint}: {reply}"),
        }
    }
}

/// What a peer is given of an event: the bodies in all that it can be asked by.
async fn bodies(peer: &RawPeer, server: &Server, room: &PeerRoom, event: &str, after: &str) -> String {
    let mut all = String::new();
    for (endpoint, reply) in ask_all(peer, server, &room.id, event).await {
        assert!(matches!(reply.status, 200 | 403 | 404), "{endpoint}: {reply}");
        all += &reply.text;
    }
    let uri = path!("/_matrix/federation/v1/backfill/{}?v={}&limit=100", room.id, after);
    all += &peer.get(server, &uri).await.text;
    let missing = json!({ "latest_events": [after], "earliest_events": [], "limit": 20 });
    let uri = path!("/_matrix/federation/v1/get_missing_events/{}", room.id);
    all + &peer.post(server, &uri, &missing).await.text
}

fn visibility(of: &str) -> Value {
    let state =
        json!([{ "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": of } }]);
    json!({ "preset": "public_chat", "initial_state": state })
}

#[tokio::test]
async fn what_was_said_before_a_server_came_is_as_visible_as_the_room_says() {
    let server = shared();
    for (of, readable) in [("joined", false), ("invited", false), ("shared", true), ("world_readable", true)] {
        let (peer, alice) = (raw().await, server.register("alice").await);
        let room = alice.create_room(visibility(of)).await;
        let before = alice.send_text(&room, "before they came").await;
        let held = peer.join(&server, &room, &peer.user("mallory")).await;
        let after = alice.send_text(&room, "after they came").await;
        let read = bodies(&peer, &server, &held, &before, &after).await;
        assert_eq!(read.contains("before they came"), readable, "{of}: {read}");
        let read = bodies(&peer, &server, &held, &after, &after).await;
        assert!(read.contains("after they came"), "{of}: {read}");
    }
}

#[tokio::test]
async fn who_has_left_reads_no_further() {
    let server = shared();
    for of in ["joined", "shared"] {
        let world = world_of(&server, visibility(of)).await;
        let during = world.alice.send_text(&world.room.id, "while they were here").await;
        let read = bodies(&world.peer, &server, &world.room, &during, &during).await;
        assert!(read.contains("while they were here"), "{of}: {read}");
        let leave = json!({ "membership": "leave" });
        let leave = world.peer.add(&world.room, &world.mallory, "m.room.member", Some(&world.mallory), leave);
        world.peer.transact(&server, &[&leave], &[]).await.ok();
        shown(&world.alice, &world.room.id, &leave.id).await;
        let after = world.alice.send_text(&world.room.id, "when they were gone").await;
        let read = bodies(&world.peer, &server, &world.room, &after, &after).await;
        assert!(!read.contains("when they were gone"), "{of}: {read}");
    }
}

#[tokio::test]
async fn nobody_is_given_more_than_is_asked_for_or_may_be() {
    let server = shared();
    let world = world(&server).await;
    let said = world.alice.send_texts(&world.room.id, "one of many ", 1..=150).await;
    let last = said.last().expect("some");
    let uri = path!("/_matrix/federation/v1/backfill/{}?v={}&limit=1000000", world.room.id, last);
    let all = world.peer.get(&server, &uri).await.ok();
    assert!(all["pdus"].as_array().expect("a list").len() <= 100, "{}", all["pdus"].as_array().map_or(0, Vec::len));
    let uri = path!("/_matrix/federation/v1/backfill/{}?v={}&limit=3", world.room.id, last);
    assert_eq!(world.peer.get(&server, &uri).await.ok()["pdus"].as_array().map(Vec::len), Some(3));
    let uri = path!("/_matrix/federation/v1/get_missing_events/{}", world.room.id);
    let body = json!({ "latest_events": [last], "earliest_events": [], "limit": 1_000_000 });
    let all = world.peer.post(&server, &uri, &body).await.ok();
    assert!(all["events"].as_array().expect("a list").len() <= 100);
    for query in ["", "?limit=5", "?v=%24x", "?v=x&limit=5", "?v=%24x&limit=0", "?v=%24x&limit=-1", "?v=%24x&limit=x"] {
        let uri = path!("/_matrix/federation/v1/backfill/{}", world.room.id) + query;
        let reply = world.peer.get(&server, &uri).await;
        assert_eq!(reply.status, 400, "{query}: {reply}");
    }
}
