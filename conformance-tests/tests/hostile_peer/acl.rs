//! A server that the room's access control list shuts out.
//!
//! Source: Client-Server API, "Server Access Control Lists (ACLs) for rooms"; Server-Server API, the same.

use conformance_tests::peer::RawPeer;
use conformance_tests::{encode, v3};
use serde_json::{Value, json};

use crate::{authority, not_shown, raw, shared, shown};

fn deny(server: &str) -> Value {
    json!({ "allow": ["*"], "deny": [server], "allow_ip_literals": true })
}

#[tokio::test]
async fn a_server_that_is_shut_out_neither_speaks_nor_reads() {
    let server = shared();
    // Its name is an address, so that the list can tell it from the others of these tests.
    let (peer, alice) = (RawPeer::start_as("127.0.0.1", authority()).await, server.register("alice").await);
    let mallory = peer.user("mallory");
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let open = alice.create_room(json!({ "preset": "public_chat" })).await;
    let room = peer.join(&server, &room, &mallory).await;
    let open = peer.join(&server, &open, &mallory).await;
    alice.set_state(&room.id, "m.room.server_acl", "", deny("127.0.0.1")).await;

    // «the PDU MUST be ignored with an appropriate error included in the response for the respective event ID»
    let since = alice.now().await;
    let (shut_out, elsewhere) = (peer.say(&room, &mallory, "shut out"), peer.say(&open, &mallory, "elsewhere"));
    let typing =
        json!({ "edu_type": "m.typing", "content": { "room_id": room.id, "user_id": mallory, "typing": true } });
    let answer = peer.transact(&server, &[&shut_out, &elsewhere], &[typing]).await.ok();
    assert!(answer["pdus"][&shut_out.id]["error"].is_string(), "{answer}");
    assert_eq!(answer["pdus"][&elsewhere.id], json!({}), "{answer}");
    let synced = alice.wait_for_event(&since, &open.id, &elsewhere.id).await;
    assert!(!synced.to_string().contains("\"m.typing\""), "{synced}");
    not_shown(&alice, &room.id, &shut_out).await;

    let v1 = "/_matrix/federation/v1";
    let (id, event, eve) = (encode(&room.id), encode(&shut_out.id), encode(&peer.user("eve")));
    let missing = json!({ "latest_events": [shut_out.id], "earliest_events": [] });
    let replies = [
        ("make_join", peer.get(&server, &format!("{v1}/make_join/{id}/{eve}?ver=12")).await),
        ("make_leave", peer.get(&server, &format!("{v1}/make_leave/{id}/{}", encode(&mallory))).await),
        ("make_knock", peer.get(&server, &format!("{v1}/make_knock/{id}/{eve}?ver=12")).await),
        ("backfill", peer.get(&server, &format!("{v1}/backfill/{id}?v={event}&limit=5")).await),
        ("state", peer.get(&server, &format!("{v1}/state/{id}?event_id={event}")).await),
        ("state_ids", peer.get(&server, &format!("{v1}/state_ids/{id}?event_id={event}")).await),
        ("event_auth", peer.get(&server, &format!("{v1}/event_auth/{id}/{event}")).await),
        ("get_missing_events", peer.post(&server, &format!("{v1}/get_missing_events/{id}"), &missing).await),
    ];
    for (endpoint, reply) in replies {
        assert_eq!((reply.status, reply.errcode()), (403, "M_FORBIDDEN"), "{endpoint}: {reply}");
    }
    let join = room.draft(&peer.user("eve"), "m.room.member", Some(&peer.user("eve")), json!({ "membership": "join" }));
    let join = peer.sign(&room, join);
    peer.send_join(&server, &room.id, &join).await.expect_error(403, "M_FORBIDDEN");
    not_shown(&alice, &room.id, &join).await;
}

#[tokio::test]
async fn an_event_of_a_shut_out_server_is_not_smuggled_in_by_another() {
    let server = shared();
    let (shut, peer) = (RawPeer::start_as("127.0.0.1", authority()).await, raw().await);
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let of_shut = shut.join(&server, &room, &shut.user("mallory")).await;
    let of_peer = peer.join(&server, &room, &peer.user("carol")).await;
    alice.set_state(&room, "m.room.server_acl", "", deny("127.0.0.1")).await;
    // The list is about who sends the transaction, not about whose the event is: what was said before may still come.
    let said = shut.say(&of_shut, &shut.user("mallory"), "through another");
    let carol = peer.say(&of_peer, &peer.user("carol"), "carol speaks");
    peer.transact(&server, &[&said, &carol], &[]).await.ok();
    shown(&alice, &room, &carol.id).await;
    let state = alice.get(&v3!("/rooms/{}/state/m.room.server_acl", room)).await.ok();
    assert_eq!(state["deny"], json!(["127.0.0.1"]));
}
