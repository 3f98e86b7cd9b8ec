//! Joins through a server that lies, and joins of a server that lies.
//!
//! Source: Server-Server API, "Joining Rooms".

use std::sync::Arc;

use conformance_tests::peer::{Answer, Asked, Body, Event, PeerRoom, RawPeer};
use conformance_tests::{Client, Reply, encode, v3};
use serde_json::{Value, json};

use crate::{raw, shared, shown, world};

async fn join_through(alice: &Client, room: &PeerRoom, peer: &RawPeer) -> Reply {
    alice
        .post(&(v3!("/join/{}", room.id) + &format!("?via={0}&server_name={0}", encode(peer.name.as_str()))), json!({}))
        .await
}

/// Holds that Alice is not in a room, and that her server shows her nothing of it.
async fn not_joined(alice: &Client, room: &PeerRoom) {
    let joined = alice.get("/_matrix/client/v3/joined_rooms").await.ok();
    assert!(!joined["joined_rooms"].as_array().expect("a list").contains(&json!(room.id)), "{joined}");
    alice.get(&v3!("/rooms/{}/state", room.id)).await.expect_error(403, "M_FORBIDDEN");
    let sync = alice.sync(conformance_tests::Sync::initial()).await;
    assert!(sync["rooms"]["join"].get(&room.id).is_none(), "{sync}");
}

/// Changes the honest answer to send_join.
fn lying(peer: &RawPeer, room: &PeerRoom, lie: impl Fn(&mut Value) + Send + Sync + 'static) {
    let (room, name) = (room.clone(), peer.name.clone());
    peer.script(move |asked: &Asked| {
        // Nothing that is left out can be asked for.
        if asked.path.contains("/v1/event/") || asked.path.contains("/event_auth/") {
            return Some(Answer::error(404, "M_NOT_FOUND"));
        }
        if !asked.path.contains("/send_join/") {
            return None;
        }
        let (state, join) = (room.state_ids(), asked.json());
        let mut answer = json!({
            "origin": name, "state": room.events(&state), "auth_chain": room.events(&room.auth_chain(&state)),
            "event": join, "members_omitted": false, "servers_in_room": room.servers(),
        });
        lie(&mut answer);
        Some(Answer::json(answer))
    });
}

/// Drops the events of a type from both lists.
fn without(answer: &mut Value, kind: &str) {
    for list in ["state", "auth_chain"] {
        answer[list].as_array_mut().expect("a list").retain(|event| event["type"] != kind);
    }
}

#[tokio::test]
async fn an_honest_room_of_each_version_is_joined() {
    let server = shared();
    for version in 1..=12 {
        let (peer, alice) = (raw().await, server.register("alice").await);
        let mallory = peer.user("mallory");
        let room = peer.create_room(&mallory, &version.to_string());
        let said = peer.say(&room, &mallory, "before");
        let reply = join_through(&alice, &room, &peer).await;
        assert_eq!(reply.status, 200, "version {version}: {reply}");
        let since = alice.now().await;
        let after = peer.say(&room, &mallory, "welcome");
        peer.transact(&server, &[&after], &[]).await.ok();
        alice.wait_for_event(&since, &room.id, &after.id).await;
        assert_ne!(said.id, after.id);
    }
}

#[tokio::test]
async fn what_is_said_while_a_server_joins_is_there_afterwards() {
    let server = shared();
    let (peer, alice) = (raw().await, server.register("alice").await);
    let mallory = peer.user("mallory");
    let room = peer.create_room(&mallory, "11");
    let (answering, name) = (room.clone(), peer.name.clone());
    peer.script(move |asked: &Asked| {
        if !asked.path.contains("/send_join/") {
            return None;
        }
        let state = answering.state_ids();
        let answer = json!({
            "origin": name, "state": answering.events(&state),
            "auth_chain": answering.events(&answering.auth_chain(&state)),
            "event": asked.json(), "members_omitted": false, "servers_in_room": answering.servers(),
        });
        // The end of the answer is long in coming.
        Some(Answer::streamed(Body::Repeated {
            start: answer.to_string().into_bytes(),
            piece: b" ".to_vec(),
            times: 20,
            pause: std::time::Duration::from_millis(100),
        }))
    });
    let joining = {
        let (alice, room, path) = (alice.clone(), room.clone(), v3!("/join/{}", room.id));
        let path = path + &format!("?via={}", encode(peer.name.as_str()));
        tokio::spawn(async move { (room, alice.post(&path, json!({})).await) })
    };
    conformance_tests::eventually("the server sends its join", || {
        std::future::ready((peer.times_asked("/send_join/") > 0).then_some(()))
    })
    .await;
    let said = peer.say(&room, &mallory, "hello, whoever comes");
    let answer = peer.transact(&server, &[&said], &[]).await.ok();
    assert!(answer["pdus"][&said.id].get("error").is_none(), "{answer}");
    let (_, joined) = joining.await.expect("the join ends");
    joined.ok();
    conformance_tests::eventually("alice reads what was said while she came", || async {
        let reply = alice.get(&v3!("/rooms/{}/event/{}", room.id, said.id)).await;
        (reply.status == 200).then_some(())
    })
    .await;
}

type Lie = Box<dyn Fn(&mut Value) + Send + Sync>;

#[tokio::test]
async fn answers_that_can_not_be_believed_are_not() {
    let server = shared();
    for version in ["1", "6", "11", "12"] {
        let (peer, alice) = (raw().await, server.register("alice").await);
        let mallory = peer.user("mallory");
        let room = peer.create_room(&mallory, version);
        let other = peer.create_room(&mallory, version);
        let others: Arc<Vec<Value>> = Arc::new(other.events(&other.state_ids()));
        let (all, create) = (others.clone(), others.iter().find(|event| event["type"] == "m.room.create").cloned());
        let create = create.expect("a create event");
        let user = alice.user_id.clone();
        let banned = json!({ "membership": "ban" });
        let banned = peer.sign(&room, room.draft(&mallory, "m.room.member", Some(&user), banned)).json;
        let wrong_version = {
            let mut draft = room.state_event("m.room.create", "").expect("one").json;
            draft["content"]["room_version"] = (if version == "11" { "10" } else { "11" }).into();
            peer.sign(&room, draft).json
        };
        let lies: Vec<(&str, Lie)> = vec![
            ("no create event", Box::new(|answer| without(answer, "m.room.create"))),
            ("no power levels", Box::new(|answer| without(answer, "m.room.power_levels"))),
            ("no join rules", Box::new(|answer| without(answer, "m.room.join_rules"))),
            ("nothing at all", Box::new(|answer| (answer["state"], answer["auth_chain"]) = (json!([]), json!([])))),
            (
                "another room's create event",
                Box::new(move |answer| {
                    without(answer, "m.room.create");
                    answer["state"].as_array_mut().expect("a list").push(create.clone());
                }),
            ),
            (
                "another room's state",
                Box::new(move |answer| {
                    answer["state"] = json!(*all);
                    answer["auth_chain"] = json!(*all);
                }),
            ),
            (
                "a create event of another version",
                Box::new(move |answer| {
                    without(answer, "m.room.create");
                    answer["state"].as_array_mut().expect("a list").push(wrong_version.clone());
                }),
            ),
            (
                "the user is banned",
                Box::new(move |answer| answer["state"].as_array_mut().expect("a list").push(banned.clone())),
            ),
            (
                "two of a kind",
                Box::new(|answer| {
                    let state = answer["state"].as_array_mut().expect("a list");
                    let mut twice =
                        state.iter().find(|event| event["type"] == "m.room.power_levels").cloned().expect("one");
                    twice["content"]["users_default"] = json!(100);
                    state.push(twice);
                    let twice = state.iter().find(|event| event["type"] == "m.room.join_rules").cloned().expect("one");
                    state.push(twice);
                }),
            ),
            ("state of numbers", Box::new(|answer| answer["state"] = json!([1, 2, 3]))),
            ("a state that is none", Box::new(|answer| answer["state"] = json!({}))),
            ("an empty answer", Box::new(|answer| *answer = json!({}))),
            ("a list", Box::new(|answer| *answer = json!([]))),
            (
                "a message in the state",
                Box::new(|answer| {
                    let state = answer["state"].as_array_mut().expect("a list");
                    for event in state {
                        event.as_object_mut().expect("an event").remove("state_key");
                    }
                }),
            ),
        ];
        for (what, lie) in lies {
            lying(&peer, &room, lie);
            let reply = join_through(&alice, &room, &peer).await;
            assert_eq!((reply.status, reply.errcode()), (502, "M_UNKNOWN"), "version {version}, {what}: {reply}");
            not_joined(&alice, &room).await;
        }
        peer.script_no_more();
        join_through(&alice, &room, &peer).await.ok();
    }
}

#[tokio::test]
async fn auth_events_that_are_left_out_are_asked_for() {
    let server = shared();
    let (peer, alice) = (raw().await, server.register("alice").await);
    let mallory = peer.user("mallory");
    let room = peer.create_room(&mallory, "11");
    // The first power levels are authority for what came before the second.
    let levels = room.state_event("m.room.power_levels", "").expect("one").json["content"].clone();
    let first = room.state_id("m.room.power_levels", "").expect("one");
    peer.add(&room, &mallory, "m.room.power_levels", Some(""), levels);
    let (held, name) = (room.clone(), peer.name.clone());
    peer.script(move |asked| {
        if !asked.path.contains("/send_join/") {
            return None;
        }
        let state = held.state_ids();
        let mut chain = held.auth_chain(&state);
        chain.retain(|id| *id != first);
        let answer = json!({
            "origin": name, "state": held.events(&state), "auth_chain": held.events(&chain), "event": asked.json(),
            "members_omitted": false, "servers_in_room": [name],
        });
        Some(Answer::json(answer))
    });
    join_through(&alice, &room, &peer).await.ok();
    assert!(peer.times_asked("/v1/event/") + peer.times_asked("/event_auth/") > 0);
}

#[tokio::test]
async fn a_member_whose_server_never_signed_is_left_out() {
    let server = shared();
    for version in ["1", "6", "12"] {
        let (peer, alice) = (raw().await, server.register("alice").await);
        let third = raw().await;
        let mallory = peer.user("mallory");
        let room = peer.create_room(&mallory, version);
        let victim = third.user("victim");
        let mut draft = room.draft(&victim, "m.room.member", Some(&victim), json!({ "membership": "join" }));
        if let Some(id) = draft.get_mut("event_id") {
            *id = format!("${}:{}", conformance_tests::unique("forged"), peer.name).into();
        }
        let forged = peer.sign(&room, draft);
        let text = forged.json.clone();
        lying(&peer, &room, move |answer| answer["state"].as_array_mut().expect("a list").push(text.clone()));
        // The join may be refused for it, or go on without; what is forged is never believed.
        let reply = join_through(&alice, &room, &peer).await;
        if reply.status == 200 {
            let members = alice.all_state(&room.id).await;
            assert!(members.iter().all(|event| event["state_key"] != victim.as_str()), "version {version}");
        } else {
            assert_eq!(reply.status, 502, "{reply}");
            not_joined(&alice, &room).await;
        }
    }
}

#[tokio::test]
async fn a_template_that_was_not_asked_for_is_not_signed() {
    let server = shared();
    for version in ["1", "6", "12"] {
        let (peer, alice) = (raw().await, server.register("alice").await);
        let mallory = peer.user("mallory");
        let room = peer.create_room(&mallory, version);
        for (pointer, value) in [
            ("/event/state_key", json!(mallory)),
            ("/event/sender", json!(format!("@root:{}", server.name()))),
            ("/event/type", json!("m.room.power_levels")),
            ("/event/room_id", json!("!other:elsewhere.example")),
            ("/event/content/membership", json!("ban")),
            ("/event/auth_events", json!({})),
            ("/event/prev_events", json!(vec!["$x"; 100])),
            ("/event", json!("x".repeat(1000))),
        ] {
            let held = room.clone();
            peer.script(move |asked| {
                let user = asked.path.contains("/make_join/").then(|| asked.path.rsplit('/').next()).flatten()?;
                let mut event = held.draft(user, "m.room.member", Some(user), json!({ "membership": "join" }));
                event.as_object_mut().expect("an object").remove("event_id");
                let mut made = json!({ "room_version": held.version, "event": event });
                *made.pointer_mut(pointer).expect("a place") = value.clone();
                Some(Answer::json(made))
            });
            join_through(&alice, &room, &peer).await.expect_error(502, "M_UNKNOWN");
            not_joined(&alice, &room).await;
        }
        assert_eq!(peer.times_asked("/send_join/"), 0, "nothing was signed");
    }
}

#[tokio::test]
async fn a_version_that_we_do_not_know_is_said() {
    let server = shared();
    let (peer, alice) = (raw().await, server.register("alice").await);
    let room = peer.create_room(&peer.user("mallory"), "11");
    let held = room.clone();
    peer.script(move |asked| {
        let user = asked.path.contains("/make_join/").then(|| asked.path.rsplit('/').next()).flatten()?;
        let event = held.draft(user, "m.room.member", Some(user), json!({ "membership": "join" }));
        Some(Answer::json(json!({ "room_version": "org.example.99", "event": event })))
    });
    join_through(&alice, &room, &peer).await.expect_error(400, "M_INCOMPATIBLE_ROOM_VERSION");
    not_joined(&alice, &room).await;
}

#[tokio::test]
async fn refusals_and_breakdowns_are_told_apart() {
    let server = shared();
    for endpoint in ["/make_join/", "/send_join/"] {
        let answers: Vec<(Answer, u16)> = vec![
            (Answer::error(403, "M_FORBIDDEN"), 403),
            (Answer::error(404, "M_NOT_FOUND"), 404),
            (Answer::error(500, "M_UNKNOWN"), 502),
            (Answer::redirect("/elsewhere"), 502),
            (Answer::streamed(Body::Whole(b"<html>".to_vec())), 502),
            (Answer::streamed(Body::BrokenOff(b"{\"room_version\":".to_vec())), 502),
        ];
        let alice = server.register("alice").await;
        for (answer, status) in answers {
            let peer = raw().await;
            let room = peer.create_room(&peer.user("mallory"), "11");
            let given = answer.clone();
            peer.script(move |asked| asked.path.contains(endpoint).then(|| given.clone()));
            let reply = join_through(&alice, &room, &peer).await;
            assert_eq!(reply.status, status, "{endpoint} {answer:?}: {reply}");
            not_joined(&alice, &room).await;
            assert_eq!(peer.times_asked("/elsewhere"), 0, "redirections are not followed");
        }
    }
}

/// As a host: what a server may not have signed in is refused.
#[tokio::test]
async fn joins_that_are_none_are_refused() {
    let server = shared();
    let world = world(&server).await;
    let room = &world.room;
    let eve = world.peer.user("eve");
    let join = || room.draft(&eve, "m.room.member", Some(&eve), json!({ "membership": "join" }));
    let bad: Vec<(&str, Value)> = vec![
        (
            "of another's user",
            room.draft(
                &world.alice.user_id,
                "m.room.member",
                Some(&world.alice.user_id),
                json!({ "membership": "join" }),
            ),
        ),
        ("for another", room.draft(&world.mallory, "m.room.member", Some(&eve), json!({ "membership": "join" }))),
        ("a leave", room.draft(&eve, "m.room.member", Some(&eve), json!({ "membership": "leave" }))),
        ("no membership", room.draft(&eve, "m.room.member", Some(&eve), json!({}))),
        ("a message", room.draft(&eve, "m.room.message", None, json!({ "membership": "join" }))),
        ("another type", room.draft(&eve, "m.room.topic", Some(&eve), json!({ "membership": "join" }))),
    ];
    for (what, draft) in bad {
        let event = world.peer.sign(room, draft);
        let reply = world.peer.send_join(&server, &room.id, &event).await;
        assert_eq!((reply.status, reply.errcode()), (400, "M_INVALID_PARAM"), "{what}: {reply}");
    }
    let honest = world.peer.sign(room, join());
    let mut unsigned = honest.clone();
    unsigned.json["signatures"] = json!({});
    world.peer.send_join(&server, &room.id, &unsigned).await.expect_error(400, "M_INVALID_PARAM");
    let other_id = Event { id: format!("${}", "A".repeat(43)), ..honest.clone() };
    world.peer.send_join(&server, &room.id, &other_id).await.expect_error(400, "M_INVALID_PARAM");
    let reply = world.peer.send_join(&server, "!nowhere:localhost", &honest).await;
    assert!(matches!(reply.status, 403 | 404), "{reply}");
    let members = world.alice.all_state(&room.id).await;
    assert!(members.iter().all(|event| event["state_key"] != eve.as_str()));
    world.peer.send_join(&server, &room.id, &honest).await.ok();
    shown(&world.alice, &room.id, &honest.id).await;
}

#[tokio::test]
async fn a_private_room_lets_nobody_in() {
    let server = shared();
    let (peer, alice) = (raw().await, server.register("alice").await);
    let room = alice.create_room(json!({ "preset": "private_chat" })).await;
    let uri = format!("/_matrix/federation/v1/make_join/{}/{}?ver=12", encode(&room), encode(&peer.user("eve")));
    peer.get(&server, &uri).await.expect_error(403, "M_FORBIDDEN");
    let uri = format!("/_matrix/federation/v1/make_join/{}/{}?ver=1", encode(&room), encode(&peer.user("eve")));
    let reply = peer.get(&server, &uri).await;
    reply.expect_one_of(&[(403, "M_FORBIDDEN"), (400, "M_INCOMPATIBLE_ROOM_VERSION")]);
    // For the user of another server.
    let uri = format!("/_matrix/federation/v1/make_join/{}/{}?ver=12", encode(&room), encode("@eve:elsewhere.example"));
    peer.get(&server, &uri).await.expect_error(403, "M_FORBIDDEN");
}
