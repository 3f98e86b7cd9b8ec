//! "Room aliases".

use conformance_tests::{Server, unique, v3};
use serde_json::json;

use crate::SERVER;

fn alias(server: &Server, name: &str) -> String {
    format!("#{}:{}", unique(name), server.name())
}

#[tokio::test]
async fn an_alias_is_made_resolved_listed_and_deleted() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let alias = alias(&server, "tea ünï/party");
    let path = v3!("/directory/room/{}", alias);
    alice.get(&path).await.expect_error(404, "M_NOT_FOUND");
    alice.put(&path, json!({ "room_id": room })).await.ok();
    // Resolving needs no token.
    let answer = server.anonymous().get(&path).await.ok();
    assert_eq!((&answer["room_id"], &answer["servers"]), (&json!(room), &json!([server.name()])));
    let listed = alice.get(&v3!("/rooms/{}/aliases", room)).await.ok();
    assert_eq!(listed["aliases"], json!([alias]));
    alice.delete(&path, None).await.ok();
    alice.get(&path).await.expect_error(404, "M_NOT_FOUND");
    alice.delete(&path, None).await.expect_error(404, "M_NOT_FOUND");
    assert_eq!(alice.get(&v3!("/rooms/{}/aliases", room)).await.ok()["aliases"], json!([]));
}

#[tokio::test]
async fn an_alias_that_exists_is_a_conflict() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let (room, other) = (alice.create_room(json!({})).await, alice.create_room(json!({})).await);
    let path = v3!("/directory/room/{}", alias(&server, "tea"));
    alice.put(&path, json!({ "room_id": room })).await.ok();
    alice.put(&path, json!({ "room_id": other })).await.expect_error(409, "M_UNKNOWN");
    assert_eq!(alice.get(&path).await.ok()["room_id"], room);
}

#[tokio::test]
async fn what_is_no_alias_of_this_server_is_refused() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    for wrong in ["nonsense", "#no-server", "!room:a.example", "@alice:a.example"] {
        let path = v3!("/directory/room/{}", wrong);
        alice.put(&path, json!({ "room_id": room })).await.expect_error(400, "M_INVALID_PARAM");
        alice.get(&path).await.expect_error(400, "M_INVALID_PARAM");
    }
    let foreign = alice.put(&v3!("/directory/room/{}", "#x:b.example"), json!({ "room_id": room })).await;
    assert!(matches!(foreign.status, 400 | 403), "{foreign}");
    let long = format!("#{}:a.example", "x".repeat(250));
    let reply = alice.put(&v3!("/directory/room/{}", long), json!({ "room_id": room })).await;
    assert_eq!(reply.status, 400, "an alias has 255 bytes\n{reply}");
}

#[tokio::test]
async fn an_alias_needs_a_room_that_exists() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for body in [json!({}), json!({ "room_id": 7 }), json!({ "room_id": "nonsense" })] {
        let reply = alice.put(&v3!("/directory/room/{}", alias(&server, "x")), body).await;
        assert_eq!(reply.status, 400, "{reply}");
    }
    let unknown = json!({ "room_id": "!nosuchroom:a.example" });
    let reply = alice.put(&v3!("/directory/room/{}", alias(&server, "x")), unknown).await;
    assert!(matches!(reply.status, 400 | 403 | 404), "{reply}");
}

#[tokio::test]
async fn strangers_make_and_delete_no_aliases() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let path = v3!("/directory/room/{}", alias(&server, "tea"));
    bob.put(&path, json!({ "room_id": room })).await.expect_error(403, "M_FORBIDDEN");
    alice.put(&path, json!({ "room_id": room })).await.ok();
    bob.join(&room).await;
    bob.delete(&path, None).await.expect_error(403, "M_FORBIDDEN");
    server.anonymous().delete(&path, None).await.expect_error(401, "M_MISSING_TOKEN");
    assert_eq!(alice.get(&path).await.ok()["room_id"], room);
}

#[tokio::test]
async fn who_made_an_alias_may_delete_it_without_power() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let path = v3!("/directory/room/{}", alias(&server, "bobs"));
    let made = bob.put(&path, json!({ "room_id": room })).await;
    // Whether members without power make aliases is the server's choice; deleting one's own follows from having made it.
    if made.status == 200 {
        bob.delete(&path, None).await.ok();
    } else {
        made.expect_error(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn the_aliases_of_a_room_are_for_its_members() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.get(&v3!("/rooms/{}/aliases", room)).await.expect_error(403, "M_FORBIDDEN");
    let readable = json!({ "history_visibility": "world_readable" });
    alice.set_state(&room, "m.room.history_visibility", "", readable).await;
    bob.get(&v3!("/rooms/{}/aliases", room)).await.ok();
}
