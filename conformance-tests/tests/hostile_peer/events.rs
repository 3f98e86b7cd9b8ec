//! Events that are not of their room's form, or that its rules do not allow: each is dropped or rejected by itself, and the rest
//! of its transaction is kept.
//!
//! Source: Server-Server API, "Checks performed on receipt of a PDU"; room versions, "Event format".

use conformance_tests::v3;
use serde_json::{Value, json};

use crate::{VERSIONS, World, not_shown, of_version, raw, shared, shown, still_there, world, world_of};

#[tokio::test]
async fn an_honest_event_of_each_version_arrives() {
    let server = shared();
    for version in 1..=12 {
        let world = world_of(&server, of_version(&version.to_string())).await;
        let since = world.alice.now().await;
        let event = world.say("hello");
        let answer = world.peer.transact(&server, &[&event], &[]).await.ok();
        assert_eq!(answer["pdus"][&event.id], json!({}), "version {version}: {answer}");
        world.alice.wait_for_event(&since, &world.room.id, &event.id).await;
        let seen = world.alice.event(&world.room.id, &event.id).await;
        assert_eq!((&seen["content"]["body"], &seen["sender"]), (&json!("hello"), &json!(world.mallory)));
    }
}

/// The ids of the current state as Alice sees it.
async fn state_ids(world: &World) -> Vec<String> {
    let state = world.alice.all_state(&world.room.id).await;
    let mut ids: Vec<String> = conformance_tests::event_ids(&state).into_iter().map(str::to_owned).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn what_the_rules_do_not_allow_is_rejected_and_never_shown() {
    let server = shared();
    for version in VERSIONS {
        let world = world_of(&server, of_version(version)).await;
        let (room, mallory, alice) = (&world.room, world.mallory.as_str(), world.alice.user_id.as_str());
        let eve = world.peer.user("eve");
        let text = json!({ "msgtype": "m.text", "body": "x" });
        let drafts = [
            ("a message of nobody in the room", room.draft(&eve, "m.room.message", None, text)),
            ("state without power", room.draft(mallory, "m.room.topic", Some(""), json!({ "topic": "mine" }))),
            (
                "power for oneself",
                room.draft(mallory, "m.room.power_levels", Some(""), json!({ "users": { mallory: 100 } })),
            ),
            ("a kick", room.draft(mallory, "m.room.member", Some(alice), json!({ "membership": "leave" }))),
            ("a ban", room.draft(mallory, "m.room.member", Some(alice), json!({ "membership": "ban" }))),
            ("a join for another", room.draft(mallory, "m.room.member", Some(&eve), json!({ "membership": "join" }))),
            (
                "a membership that is none",
                room.draft(mallory, "m.room.member", Some(mallory), json!({ "membership": 7 })),
            ),
            ("a state key of another", room.draft(mallory, "org.example.x", Some(alice), json!({}))),
            (
                "a second create event",
                room.draft(mallory, "m.room.create", Some(""), json!({ "room_version": version })),
            ),
        ];
        let before = state_ids(&world).await;
        for (what, draft) in drafts {
            let bad = world.peer.sign(room, draft);
            world.beside_a_good_one(&server, &bad).await;
            not_shown(&world.alice, &room.id, &bad).await;
            assert_eq!(state_ids(&world).await, before, "version {version}: {what}");
        }
    }
}

#[tokio::test]
async fn what_follows_a_rejected_event_is_kept() {
    let server = shared();
    let world = world(&server).await;
    let topic = world.room.draft(&world.mallory, "m.room.topic", Some(""), json!({ "topic": "mine" }));
    let rejected = world.peer.sign(&world.room, topic);
    let mut draft = world.draft("after what was rejected");
    draft["prev_events"] = world.room.references(std::slice::from_ref(&rejected.id));
    world.room.keep(&rejected);
    let after = world.peer.sign(&world.room, draft);
    world.peer.transact(&server, &[&rejected, &after], &[]).await.ok();
    shown(&world.alice, &world.room.id, &after.id).await;
    not_shown(&world.alice, &world.room.id, &rejected).await;
    let reply = world.alice.get(&v3!("/rooms/{}/state/m.room.topic", world.room.id)).await;
    assert_eq!(reply.status, 404, "{reply}");
}

#[tokio::test]
async fn what_stands_on_a_rejected_authority_is_rejected() {
    let server = shared();
    let world = world(&server).await;
    let powers = json!({ "users": { &world.alice.user_id: 100, &world.mallory: 100 } });
    let powers = world.room.draft(&world.mallory, "m.room.power_levels", Some(""), powers);
    let powers = world.peer.sign(&world.room, powers);
    world.room.keep(&powers);
    let mut topic = world.room.draft(&world.mallory, "m.room.topic", Some(""), json!({ "topic": "mine" }));
    let mut auth = world.room.auth_events(&world.mallory, "m.room.topic", Some(""), &json!({}));
    let old = world.room.state_id("m.room.power_levels", "").expect("power levels");
    auth.retain(|id| *id != old);
    auth.push(powers.id.clone());
    topic["auth_events"] = world.room.references(&auth);
    let topic = world.peer.sign(&world.room, topic);
    world.peer.transact(&server, &[&powers], &[]).await.ok();
    world.beside_a_good_one(&server, &topic).await;
    for bad in [&powers, &topic] {
        not_shown(&world.alice, &world.room.id, bad).await;
    }
}

#[tokio::test]
async fn nobody_signs_for_the_users_of_another_server() {
    let server = shared();
    for version in VERSIONS {
        let world = world_of(&server, of_version(version)).await;
        let third = raw().await;
        let third_user = third.user("third");
        third.join(&server, &world.room.id, &third_user).await;
        for sender in [world.alice.user_id.as_str(), &third_user] {
            let content = json!({ "msgtype": "m.text", "body": "forged" });
            let mut draft = world.room.draft(sender, "m.room.message", None, content);
            if let Some(id) = draft.get_mut("event_id") {
                // An id of the peer's own: its signature is needed for that, but does not suffice.
                *id = format!("${}:{}", conformance_tests::unique("forged"), world.peer.name).into();
            }
            let forged = world.peer.sign(&world.room, draft);
            world.beside_a_good_one(&server, &forged).await;
            not_shown(&world.alice, &world.room.id, &forged).await;
        }
    }
}

#[tokio::test]
async fn an_event_of_another_servers_is_taken_from_whom_it_comes() {
    let server = shared();
    let world = world(&server).await;
    let third = raw().await;
    let third_user = third.user("third");
    let room = third.join(&server, &world.room.id, &third_user).await;
    let relayed = third.say(&room, &third_user, "through another");
    world.peer.transact(&server, &[&relayed], &[]).await.ok();
    shown(&world.alice, &world.room.id, &relayed.id).await;
}

/// What each change makes of an event, by the version of its room.
#[tokio::test]
async fn an_event_of_another_format_is_dropped() {
    let server = shared();
    for version in VERSIONS {
        let world = world_of(&server, of_version(version)).await;
        let ids: Vec<String> = world.room.tips();
        let twenty_one: Vec<Value> = (0..21).map(|n| json!(format!("${n}:{}", world.peer.name))).collect();
        let as_pairs: Value = ids.iter().map(|id| json!([id, { "sha256": "AAAA" }])).collect();
        let mut changes: Vec<(&str, &str, Value)> = vec![
            ("the depth is text", "depth", json!("7")),
            ("the depth is negative", "depth", json!(-1)),
            ("the time is text", "origin_server_ts", json!("7")),
            ("the sender is no user", "sender", json!("mallory")),
            ("the type is a number", "type", json!(7)),
            ("the content is a list", "content", json!([])),
            ("more than 20 events before it", "prev_events", twenty_one.clone().into()),
            ("more than 10 auth events", "auth_events", twenty_one[..11].to_vec().into()),
            ("events before it are no list", "prev_events", json!({})),
            ("the state key is a number", "state_key", json!(7)),
            ("the type is too long", "type", json!("x".repeat(256))),
            ("the state key is too long", "state_key", json!("x".repeat(256))),
        ];
        changes.push(match version {
            "1" => ("references as of version 3", "prev_events", json!(ids)),
            _ => ("references as of version 1", "prev_events", as_pairs),
        });
        for (what, field, value) in changes {
            let mut draft = world.draft("another format");
            draft[field] = value;
            if version == "1"
                && field == "prev_events"
                && draft["prev_events"][0].is_string()
                && what.starts_with("more")
            {
                draft["prev_events"] = twenty_one.iter().map(|id| json!([id, { "sha256": "AAAA" }])).collect();
            }
            // Signed as it stands, where that can be said of it at all.
            let bad = match draft["type"].is_string() && draft["content"].is_object() {
                true => world.peer.sign(&world.room, draft),
                false => {
                    let mut event = world.peer.sign(&world.room, world.draft("another format"));
                    event.json[field] = draft[field].clone();
                    event
                }
            };
            world.beside_a_good_one(&server, &bad).await;
            not_shown(&world.alice, &world.room.id, &bad).await;
            still_there(&server, &world.alice, &world.peer).await;
            let state = world.alice.all_state(&world.room.id).await;
            assert!(state.iter().all(|event| event["type"] != "x".repeat(256)), "version {version}: {what}");
        }
    }
}

#[tokio::test]
async fn numbers_that_canonical_json_forbids_are_dropped_from_version_6_on() {
    let server = shared();
    for number in ["1.5", "9007199254740992", "-9007199254740992", "1e3", "-0.0"] {
        let world = world_of(&server, of_version("6")).await;
        let good = world.say("good");
        let mut bad = world.peer.sign(&world.room, world.draft("NUMBER"));
        bad.json["content"]["n"] = "NUMBER".into();
        let uri = format!("/_matrix/federation/v1/send/{}", conformance_tests::unique("txn"));
        let body = conformance_tests::peer::transaction(world.peer.name.as_str(), &[&bad, &good], &[]);
        let body = body.to_string().replace("\"n\":\"NUMBER\"", &format!("\"n\":{number}"));
        let mut sending = world.peer.sending(&server, "PUT", &uri, None);
        sending.sent_body = Some(body.clone().into_bytes());
        sending.body = sending.sent_body.clone();
        let answer = world.peer.send(&server, sending).await.ok();
        assert_eq!(answer["pdus"][&good.id], json!({}), "{number}: {answer}");
        shown(&world.alice, &world.room.id, &good.id).await;
        not_shown(&world.alice, &world.room.id, &bad).await;
    }
}

#[tokio::test]
async fn an_event_that_is_too_large_is_dropped() {
    let server = shared();
    for version in VERSIONS {
        let world = world_of(&server, of_version(version)).await;
        let bad = world.peer.sign(&world.room, world.draft(&"x".repeat(65_536)));
        let answer = world.beside_a_good_one(&server, &bad).await;
        // Under its id, if that can be said of an event that is none.
        assert_ne!(answer["pdus"][&bad.id], json!({}), "version {version}: {answer}");
        not_shown(&world.alice, &world.room.id, &bad).await;
        // The largest that may be.
        let small = world.peer.sign(&world.room, world.draft("")).json.to_string().len();
        let largest = world.peer.sign(&world.room, world.draft(&"x".repeat(65_536 - small - 16)));
        world.peer.transact(&server, &[&largest], &[]).await.ok();
        shown(&world.alice, &world.room.id, &largest.id).await;
    }
}

#[tokio::test]
async fn an_event_for_a_room_that_we_are_not_in_is_answered_so() {
    let server = shared();
    let world = world(&server).await;
    let elsewhere = world.peer.create_room(&world.mallory, "11");
    let bad = world.peer.say(&elsewhere, &world.mallory, "elsewhere");
    let answer = world.beside_a_good_one(&server, &bad).await;
    // Without the room its version is not known, and with it what the event's id is.
    let errors: Vec<&Value> =
        answer["pdus"].as_object().into_iter().flatten().map(|(_, answer)| &answer["error"]).collect();
    assert!(errors.len() <= 2 && errors.iter().filter(|error| error.is_string()).count() <= 1, "{answer}");
    world.alice.get(&v3!("/rooms/{}/state", elsewhere.id)).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_server_that_is_not_in_the_room_adds_nothing_to_it() {
    let server = shared();
    let world = world(&server).await;
    let outsider = raw().await;
    let eve = outsider.user("eve");
    let draft = world.room.draft(&eve, "m.room.message", None, json!({ "msgtype": "m.text", "body": "let me in" }));
    let bad = outsider.sign(&world.room, draft);
    let join = world.room.draft(&eve, "m.room.member", Some(&eve), json!({ "membership": "join" }));
    let with_power = world.room.draft(&eve, "m.room.power_levels", Some(""), json!({ "users": { &eve: 100 } }));
    outsider.transact(&server, &[&bad, &outsider.sign(&world.room, with_power)], &[]).await.ok();
    world.never_shown(&server, &bad).await;
    // A join of a public room is allowed, however it comes.
    let join = outsider.sign(&world.room, join);
    outsider.transact(&server, &[&join], &[]).await.ok();
    shown(&world.alice, &world.room.id, &join.id).await;
}

#[tokio::test]
async fn authority_of_another_room_authorises_nothing() {
    let server = shared();
    let world = world(&server).await;
    let other = world.alice.create_room(json!({ "preset": "public_chat" })).await;
    let other = world.peer.join(&server, &other, &world.mallory).await;
    let mut draft = world.draft("authorised elsewhere");
    let auth = other.auth_events(&world.mallory, "m.room.message", None, &json!({}));
    draft["auth_events"] = other.references(&auth);
    let bad = world.peer.sign(&world.room, draft);
    let mut draft = world.draft("from elsewhere");
    draft["prev_events"] = other.references(&other.tips());
    let follows = world.peer.sign(&world.room, draft);
    for bad in [bad, follows] {
        world.beside_a_good_one(&server, &bad).await;
        not_shown(&world.alice, &world.room.id, &bad).await;
    }
}

#[tokio::test]
async fn a_redaction_without_power_takes_nothing() {
    let server = shared();
    for version in ["3", "11", "12"] {
        let world = world_of(&server, of_version(version)).await;
        let said = world.alice.send_text(&world.room.id, "stays").await;
        let mut draft = world.room.draft(&world.mallory, "m.room.redaction", None, json!({ "redacts": said }));
        if version == "3" {
            draft["content"] = json!({});
            draft["redacts"] = said.as_str().into();
        }
        let redaction = world.peer.sign(&world.room, draft);
        world.beside_a_good_one(&server, &redaction).await;
        assert_eq!(world.alice.event(&world.room.id, &said).await["content"]["body"], "stays", "version {version}");
    }
}

#[tokio::test]
async fn the_greatest_depth_stops_nobody() {
    let server = shared();
    let world = world(&server).await;
    let mut draft = world.draft("as deep as can be");
    draft["depth"] = (2_u64.pow(53) - 1).into();
    let deep = world.peer.sign(&world.room, draft);
    world.room.add(&deep);
    world.peer.transact(&server, &[&deep], &[]).await.ok();
    shown(&world.alice, &world.room.id, &deep.id).await;
    let reply = world.alice.send_text(&world.room.id, "still here").await;
    shown(&world.alice, &world.room.id, &reply).await;
    let mut draft = world.draft("and so does this");
    draft["depth"] = (2_u64.pow(53) - 1).into();
    let event = world.peer.sign(&world.room, draft);
    world.peer.transact(&server, &[&event], &[]).await.ok();
    shown(&world.alice, &world.room.id, &event.id).await;
}
