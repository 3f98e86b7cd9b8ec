//! The blacklist: one list for both APIs, enforced on both.

use conformance_tests::{Client, Options, Server, Sync, bodies, room_in, timeline, unique, v3};
use serde_json::{Value, json};

use crate::SERVER;
use crate::friends::{about, account_data, befriend, friends, ids, requests, two};

async fn block(who: &Client, whom: &Client) {
    who.post("/account/blacklist/add", about(whom)).await.done();
}

async fn unblock(who: &Client, whom: &Client) {
    who.delete("/account/blacklist/delete", Some(about(whom))).await.done();
}

async fn blocked(of: &Client) -> Vec<String> {
    ids(&of.get("/account/blacklist/friendlists?platform=1").await.done())
}

/// The direct room of two friends.
async fn direct_room(one: &Client, other: &Client) -> String {
    befriend(one, other).await;
    account_data(one, "m.direct").await[&other.user_id][0].as_str().expect("a room").to_owned()
}

/// A room that is for nobody in particular, with all of these in it.
async fn group(host: &Client, guests: &[&Client]) -> String {
    let room = host.create_room(json!({ "preset": "private_chat" })).await;
    for guest in guests {
        host.invite(&room, guest).await;
        guest.join(&room).await;
    }
    room
}

fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

fn unread(answer: &Value, room: &str) -> i64 {
    room_in(answer, "join", room)["unread_notifications"]["notification_count"].as_i64().unwrap_or(0)
}

#[tokio::test]
async fn both_apis_have_one_list() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let carol = server.register(&unique("carol")).await;
    block(&alice, &bob).await;
    assert_eq!(blocked(&alice).await, std::slice::from_ref(&bob.user_id));
    let list = account_data(&alice, "m.ignored_user_list").await;
    assert_eq!(list, json!({ "ignored_users": { bob.user_id.clone(): {} } }));
    // A Matrix client adds somebody, and its own remarks stay.
    let path = v3!("/user/{}/account_data/m.ignored_user_list", alice.user_id);
    let both = json!({ "ignored_users": { bob.user_id.clone(): { "why": 1 }, carol.user_id.clone(): {} }, "x": 1 });
    alice.put(&path, both).await.ok();
    let mut wanted = [bob.user_id.clone(), carol.user_id.clone()];
    wanted.sort();
    assert_eq!(blocked(&alice).await, wanted);
    unblock(&alice, &carol).await;
    let list = account_data(&alice, "m.ignored_user_list").await;
    assert_eq!(list, json!({ "ignored_users": { bob.user_id.clone(): { "why": 1 } }, "x": 1 }));

    alice.post("/account/blacklist/add", about(&bob)).await.refused(409, 1003);
    alice.post("/account/blacklist/add", about(&alice)).await.refused(400, 1301);
    alice.post("/account/blacklist/add", json!({ "friend_id": "@nobody:a.example" })).await.refused(404, 1101);
    alice.post("/account/blacklist/add", json!({})).await.refused(400, 1001);
    alice.delete("/account/blacklist/delete", Some(about(&carol))).await.refused(404, 1004);
    let mut as_bob = about(&carol);
    as_bob["user_id"] = bob.user_id.clone().into();
    alice.post("/account/blacklist/add", as_bob).await.refused(403, 1002);
    server.anonymous().get("/account/blacklist/friendlists").await.refused(401, 1507);
}

#[tokio::test]
async fn who_is_blocked_is_no_listed_friend_but_stays_one() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    befriend(&alice, &bob).await;
    block(&alice, &bob).await;
    assert!(friends(&alice).await.is_empty());
    assert_eq!(friends(&bob).await, std::slice::from_ref(&alice.user_id));
    unblock(&alice, &bob).await;
    assert_eq!(friends(&alice).await, std::slice::from_ref(&bob.user_id));
}

#[tokio::test]
async fn nothing_is_sent_into_the_direct_room() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = direct_room(&alice, &bob).await;
    let said = bob.send_text(&room, "before").await;
    block(&alice, &bob).await;
    for (kind, content) in [
        ("m.room.message", text("hello")),
        ("m.call.invite", json!({ "call_id": "1", "version": "1", "lifetime": 1, "party_id": "a" })),
        ("m.reaction", json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": said, "key": "👍" } })),
        (
            "m.room.message",
            json!({ "msgtype": "m.text", "body": "* edited", "m.new_content": text("edited"),
                "m.relates_to": { "rel_type": "m.replace", "event_id": said } }),
        ),
        ("m.room.encrypted", json!({ "algorithm": "m.megolm.v1.aes-sha2" })),
    ] {
        let path = v3!("/rooms/{}/send/{}/{}", room, kind, bob.next_transaction());
        bob.put(&path, content).await.expect_error(403, "M_FORBIDDEN");
    }
    let topic = v3!("/rooms/{}/state/m.room.topic/", room);
    bob.put(&topic, json!({ "topic": "hear me" })).await.expect_error(403, "M_FORBIDDEN");
    // What was said can be taken back; and the blocker may speak.
    bob.redact(&room, &said, json!({})).await;
    alice.send_text(&room, "goodbye").await;
    unblock(&alice, &bob).await;
    bob.send_text(&room, "after").await;
}

#[tokio::test]
async fn a_block_by_a_matrix_client_counts_at_once_and_after_a_restart() {
    let mut server = Server::start(Options::default());
    let (alice, bob) = two(&server).await;
    let room = direct_room(&alice, &bob).await;
    bob.send_text(&room, "before").await;
    let path = v3!("/user/{}/account_data/m.ignored_user_list", alice.user_id);
    alice.put(&path, json!({ "ignored_users": { bob.user_id.clone(): {} } })).await.ok();
    let send = v3!("/rooms/{}/send/m.room.message/{}", room, "blocked");
    bob.put(&send, text("hello")).await.expect_error(403, "M_FORBIDDEN");
    server.kill9();
    server.restart();
    // Anew: what was connected to the old process is not.
    let (alice, bob) = (alice.at(&server.anonymous().base), bob.at(&server.anonymous().base));
    bob.put(&send, text("hello")).await.expect_error(403, "M_FORBIDDEN");
    alice.put(&path, json!({ "ignored_users": {} })).await.ok();
    bob.put(&send, text("hello")).await.ok();
}

#[tokio::test]
async fn who_is_blocked_invites_and_asks_for_nothing() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = bob.create_room(json!({ "preset": "private_chat" })).await;
    block(&alice, &bob).await;
    bob.post("/account/addfriend", about(&alice)).await.refused(403, 1302);
    let invite = json!({ "user_id": alice.user_id });
    bob.post(&v3!("/rooms/{}/invite", room), invite).await.expect_error(403, "M_FORBIDDEN");
    let direct = json!({ "is_direct": true, "invite": [alice.user_id] });
    bob.post(&v3!("/createRoom"), direct).await.expect_error(403, "M_FORBIDDEN");
    let member = v3!("/rooms/{}/state/m.room.member/{}", room, alice.user_id);
    bob.put(&member, json!({ "membership": "invite" })).await.expect_error(403, "M_FORBIDDEN");
    assert!(requests(&alice, "in").await.is_empty());
    unblock(&alice, &bob).await;
    bob.post("/account/addfriend", about(&alice)).await.done();
    // A request that was there is not shown while its maker is blocked.
    assert_eq!(requests(&alice, "in").await.len(), 1);
    block(&alice, &bob).await;
    assert!(requests(&alice, "in").await.is_empty());
}

#[tokio::test]
async fn a_group_hides_who_is_blocked_from_the_blocker_alone() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let carol = server.register(&unique("carol")).await;
    let room = group(&alice, &[&bob, &carol]).await;
    let said = alice.send_text(&room, "all read this").await;
    block(&alice, &bob).await;
    let since = alice.now().await;
    bob.send_text(&room, "hidden").await;
    bob.post(&v3!("/rooms/{}/receipt/m.read/{}", room, said), json!({})).await.ok();
    bob.put(&v3!("/rooms/{}/typing/{}", room, bob.user_id), json!({ "typing": true, "timeout": 30_000 })).await.ok();
    bob.set_state(&room, "m.room.member", &bob.user_id, json!({ "membership": "join", "displayname": "Robert" })).await;
    let shown = carol.send_text(&room, "shown").await;
    let answer = alice.wait_for_event(&since, &room, &shown).await;
    assert_eq!(bodies(timeline(&answer, &room)), ["shown"]);
    assert_eq!(unread(&answer, &room), 1);
    let all = alice.sync(Sync::initial()).await;
    let ephemeral = room_in(&all, "join", &room)["ephemeral"]["events"].to_string();
    assert!(!ephemeral.contains(&bob.user_id), "{ephemeral}");
    // State is still shown, as the specification demands.
    assert_eq!(alice.state(&room, "m.room.member", &bob.user_id).await["displayname"], "Robert");
    assert!(!alice.messages(&room, &[("dir", "b")]).await.to_string().contains("hidden"));
    assert!(carol.messages(&room, &[("dir", "b")]).await.to_string().contains("hidden"));
}

#[tokio::test]
async fn unblocking_counts_from_there_and_shows_what_was() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let carol = server.register(&unique("carol")).await;
    let room = group(&alice, &[&bob, &carol]).await;
    alice.send_text(&room, "all is read up to here").await;
    block(&alice, &bob).await;
    for n in 0..3 {
        bob.send_text(&room, &format!("while blocked {n}")).await;
    }
    carol.send_text(&room, "heard").await;
    assert_eq!(unread(&alice.sync(Sync::initial()).await, &room), 1);
    unblock(&alice, &bob).await;
    assert_eq!(unread(&alice.sync(Sync::initial()).await, &room), 1, "what came while blocked does not count");
    bob.send_text(&room, "heard again").await;
    assert_eq!(unread(&alice.sync(Sync::initial()).await, &room), 2);
    let history = alice.messages(&room, &[("dir", "b"), ("limit", "20")]).await.to_string();
    assert!(history.contains("while blocked 0"), "{history}");
    // Blocked anew, nothing of theirs counts; reading all, nothing at all.
    block(&alice, &bob).await;
    assert_eq!(unread(&alice.sync(Sync::initial()).await, &room), 1);
    unblock(&alice, &bob).await;
    assert_eq!(unread(&alice.sync(Sync::initial()).await, &room), 1);
}

#[tokio::test]
async fn a_block_can_be_kept_from_the_blocked() {
    let server = Server::start(Options { tables: "[linkim]\nreveal_block = false\n".into(), ..Options::default() });
    let (alice, bob) = two(&server).await;
    let room = direct_room(&alice, &bob).await;
    let carol = server.register(&unique("carol")).await;
    block(&alice, &bob).await;
    block(&alice, &carol).await;
    let since = alice.now().await;
    bob.send_text(&room, "into the void").await;
    let own = alice.send_text(&room, "mine").await;
    let answer = alice.wait_for_event(&since, &room, &own).await;
    assert_eq!(bodies(timeline(&answer, &room)), ["mine"]);
    carol.post("/account/addfriend", about(&alice)).await.done();
    assert_eq!(requests(&carol, "out").await.len(), 1);
    assert!(requests(&alice, "in").await.is_empty());
    let rooms = alice.sync(Sync::initial()).await["rooms"]["invite"].clone();
    assert!(rooms.as_object().is_none_or(serde_json::Map::is_empty), "{rooms}");
}
