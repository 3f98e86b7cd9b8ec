//! Power levels, on every kind of write.

use conformance_tests::{Client, Reply, Server, v3};
use serde_json::{Value, json};

use crate::SERVER;

/// Alice's room with bob at `level` and carol at 0.
async fn room(server: &Server, version: &str, levels: Value, level: i64) -> (Client, Client, Client, String) {
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let carol = server.register("carol").await;
    let room = alice.create_room(json!({ "preset": "public_chat", "room_version": version })).await;
    for user in [&bob, &carol] {
        user.join(&room).await;
    }
    let mut change = levels;
    change["users"][&bob.user_id] = json!(level);
    alice.change_power_levels(&room, change).await;
    (alice, bob, carol, room)
}

fn held(reply: Reply, allowed: bool, what: &str) {
    if allowed {
        assert_eq!(reply.status, 200, "{what} is allowed\n{reply}");
    } else {
        assert_eq!((reply.status, reply.errcode()), (403, "M_FORBIDDEN"), "{what} is forbidden\n{reply}");
    }
}

/// A topic that the room has not had.
async fn set_topic(client: &Client, room: &str) -> Reply {
    let topic = client.next_transaction();
    client.put(&v3!("/rooms/{}/state/m.room.topic/", room), json!({ "topic": topic })).await
}

#[tokio::test]
async fn each_write_needs_its_level_and_no_more() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let (carol, stranger) = (server.register("carol").await, server.register("stranger").await);
    for version in ["1", "6", "11", "12"] {
        for level in [9, 10, 20, 25, 30, 35, 40, 50, 60] {
            let levels = json!({
                "events_default": 10, "state_default": 40, "invite": 20, "kick": 30, "ban": 50, "redact": 60,
                "events": { "org.example.special": 25, "m.room.topic": 35, "m.room.redaction": 10 },
                "users": { bob.user_id.clone(): level },
            });
            let room = alice.create_room(json!({ "preset": "public_chat", "room_version": version })).await;
            bob.join(&room).await;
            carol.join(&room).await;
            alice.change_power_levels(&room, levels).await;
            let alices = alice.send_text(&room, "alice's").await;
            let case = |what: &str| format!("version {version}: {what} at {level}");

            let send = async |event_type: &str| {
                let path = v3!("/rooms/{}/send/{}/{}", room, event_type, bob.next_transaction());
                bob.put(&path, json!({ "msgtype": "m.text", "body": "x" })).await
            };
            held(send("m.room.message").await, level >= 10, &case("a message"));
            held(send("org.example.special").await, level >= 25, &case("a special event"));
            held(set_topic(&bob, &room).await, level >= 35, &case("a topic"));
            let other = bob.put(&v3!("/rooms/{}/state/org.example.state/", room), json!({})).await;
            held(other, level >= 40, &case("other state"));

            let act = async |action: &str, on: &Client| {
                bob.post(&v3!("/rooms/{}/{}", room, action), json!({ "user_id": on.user_id })).await
            };
            held(act("invite", &stranger).await, level >= 20, &case("an invitation"));
            held(act("kick", &carol).await, level >= 30, &case("a kick"));
            held(act("ban", &stranger).await, level >= 50, &case("a ban"));

            let redact = v3!("/rooms/{}/redact/{}/{}", room, alices, bob.next_transaction());
            held(bob.put(&redact, json!({})).await, level >= 60, &case("a redaction of another's event"));
        }
    }
}

#[tokio::test]
async fn an_unban_needs_the_levels_of_ban_and_kick() {
    let server = SERVER.get();
    for (ban, kick, allowed) in [(50, 30, true), (60, 30, false), (30, 60, false)] {
        let (alice, bob, carol, room) = room(&server, "12", json!({ "ban": ban, "kick": kick }), 50).await;
        alice.ban(&room, &carol).await;
        let reply = bob.post(&v3!("/rooms/{}/unban", room), json!({ "user_id": carol.user_id })).await;
        held(reply, allowed, &format!("an unban with ban {ban} and kick {kick}"));
    }
}

#[tokio::test]
async fn users_default_counts_for_those_not_listed() {
    let server = SERVER.get();
    let (alice, bob, carol, room) = room(&server, "12", json!({ "users_default": 50 }), 0).await;
    carol.set_state(&room, "m.room.topic", "", json!({ "topic": "carol's" })).await;
    held(set_topic(&bob, &room).await, false, "the topic by bob, listed at 0");
    alice.change_power_levels(&room, json!({ "users_default": 0 })).await;
    held(set_topic(&carol, &room).await, false, "the topic by carol");
}

/// Bob, at 50, sends the current levels with a change.
async fn change(bob: &Client, room: &str, edit: impl FnOnce(&mut Value)) -> Reply {
    let mut levels = bob.state(room, "m.room.power_levels", "").await;
    edit(&mut levels);
    bob.put(&v3!("/rooms/{}/state/m.room.power_levels/", room), levels).await
}

#[tokio::test]
async fn nobody_gives_more_than_they_have() {
    let server = SERVER.get();
    for version in ["1", "6", "10", "11", "12"] {
        let levels = json!({ "events": { "m.room.power_levels": 50, "org.example.high": 80, "org.example.low": 20 } });
        let (alice, bob, carol, room) = room(&server, version, levels, 50).await;
        let to =
            async |user: &str, level: i64| change(&bob, &room, |levels| levels["users"][user] = json!(level)).await;
        held(to(&carol.user_id, 51).await, false, &format!("{version}: carol to 51"));
        held(to(&bob.user_id, 51).await, false, &format!("{version}: bob to 51"));
        held(to(&carol.user_id, 50).await, true, &format!("{version}: carol to 50"));
        // Carol is an equal now.
        held(to(&carol.user_id, 49).await, false, &format!("{version}: an equal down"));
        if version != "12" {
            held(to(&alice.user_id, 10).await, false, &format!("{version}: alice down"));
        }
        for (key, level, allowed) in [
            ("org.example.high", 10, false),
            ("org.example.low", 60, false),
            ("org.example.low", 30, true),
            ("org.example.new", 50, true),
            ("org.example.newer", 51, false),
        ] {
            let reply = change(&bob, &room, |levels| levels["events"][key] = json!(level)).await;
            held(reply, allowed, &format!("{version}: {key} to {level}"));
        }
        for (key, level, allowed) in [("ban", 51, false), ("ban", 40, true), ("events_default", 50, true)] {
            let reply = change(&bob, &room, |levels| levels[key] = json!(level)).await;
            held(reply, allowed, &format!("{version}: {key} to {level}"));
        }
        held(to(&bob.user_id, 10).await, true, &format!("{version}: bob steps down"));
        held(to(&bob.user_id, 50).await, false, &format!("{version}: bob climbs back"));
    }
}

#[tokio::test]
async fn a_creator_in_version_12_stands_above_every_level() {
    let server = SERVER.get();
    let (alice, bob, carol, room) = room(&server, "12", json!({}), 0).await;
    let huge = 9_007_199_254_740_991i64;
    alice.change_power_levels(&room, json!({ "users": { bob.user_id.clone(): huge } })).await;
    held(bob.post(&v3!("/rooms/{}/kick", room), json!({ "user_id": alice.user_id })).await, false, "to kick a creator");
    held(bob.post(&v3!("/rooms/{}/ban", room), json!({ "user_id": alice.user_id })).await, false, "to ban a creator");
    let listed = change(&bob, &room, |levels| levels["users"][&alice.user_id] = json!(0)).await;
    assert!(matches!(listed.status, 400 | 403), "a creator cannot be listed\n{listed}");
    alice.change_power_levels(&room, json!({ "users": { bob.user_id.clone(): 0 } })).await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "still alice's" })).await;
    held(set_topic(&carol, &room).await, false, "carol's topic");
}

#[tokio::test]
async fn the_creator_in_version_11_can_be_outranked_by_stepping_down() {
    let server = SERVER.get();
    let (alice, bob, _, room) = room(&server, "11", json!({}), 100).await;
    alice.change_power_levels(&room, json!({ "users": { alice.user_id.clone(): 0 } })).await;
    held(
        bob.post(&v3!("/rooms/{}/kick", room), json!({ "user_id": alice.user_id })).await,
        true,
        "to kick who stepped down",
    );
}

#[tokio::test]
async fn levels_as_text_count_before_version_10_alone() {
    let server = SERVER.get();
    for (version, allowed) in [("9", true), ("10", false), ("12", false)] {
        let (alice, bob, _, room) = room(&server, version, json!({}), 0).await;
        let mut levels = alice.state(&room, "m.room.power_levels", "").await;
        levels["users"][&bob.user_id] = json!("50");
        let reply = alice.put(&v3!("/rooms/{}/state/m.room.power_levels/", room), levels).await;
        if allowed {
            // A server may refuse to make what it must accept from others.
            if reply.status == 200 {
                bob.set_state(&room, "m.room.topic", "", json!({ "topic": "bob's" })).await;
            }
        } else {
            assert!(matches!(reply.status, 400 | 403), "{reply}");
            held(set_topic(&bob, &room).await, false, "a topic");
        }
    }
}

#[tokio::test]
async fn a_change_of_levels_holds_from_the_next_event_on() {
    let server = SERVER.get();
    let (alice, bob, _, room) = room(&server, "12", json!({}), 0).await;
    for number in 0..5 {
        alice.change_power_levels(&room, json!({ "events_default": 50 })).await;
        let path = v3!("/rooms/{}/send/m.room.message/{}", room, bob.next_transaction());
        held(bob.put(&path, json!({ "msgtype": "m.text", "body": "x" })).await, false, "a message");
        alice.change_power_levels(&room, json!({ "events_default": 0 })).await;
        bob.send_text(&room, &format!("{number}")).await;
    }
}

#[tokio::test]
async fn the_last_event_of_many_at_once_decides_consistently() {
    let server = SERVER.get();
    let (alice, bob, _, room) = room(&server, "12", json!({}), 50).await;
    // Bob's topics race with alice taking his power: once she has, none follows.
    let racing = {
        let (bob, room) = (bob.clone(), room.clone());
        tokio::spawn(async move {
            let mut refused = 0;
            for number in 0..40 {
                let path = v3!("/rooms/{}/state/m.room.topic/", room);
                let reply = bob.put(&path, json!({ "topic": format!("{number}") })).await;
                refused += usize::from(reply.status == 403);
            }
            refused
        })
    };
    alice.change_power_levels(&room, json!({ "users": { bob.user_id.clone(): 0 } })).await;
    racing.await.expect("the task ends");
    held(set_topic(&bob, &room).await, false, "a topic");
    let history = alice.whole_history(&room, 100).await;
    let fall = history
        .iter()
        .rposition(|event| event["type"] == "m.room.power_levels")
        .expect("the levels are in the history");
    assert!(history[fall..].iter().all(|event| event["type"] != "m.room.topic"), "a topic after the fall");
}
