//! Invitations across servers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, routing::put};
use http::StatusCode;
use linkim_federation::{SigningKey, rules};
use ruma::{CanonicalJsonObject, RoomVersionId, UserId};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::two_servers::{Network, Person, RawServer, Server};

async fn two() -> (Network, Server, Server, Person, Person) {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let b = Server::start(&network, "b.example").await;
    let (alice, bob) = (a.person("alice").await, b.person("bob").await);
    (network, a, b, alice, bob)
}

/// The stripped state that somebody is told with an invitation.
async fn told(server: &Server, who: &Person, room: &str) -> Vec<Value> {
    let sync = server.sync(who).await;
    sync["rooms"]["invite"][room]["invite_state"]["events"].as_array().cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_invites_and_the_invited_join_through_the_inviter() {
    let (network, a, b, alice, bob) = two().await;
    for version in ["1", "3", "6", "8", "10", "11", "12"] {
        let room = b.room(&bob, json!({ "room_version": version, "name": "Tea" })).await;
        b.post(&format!("/rooms/{room}/invite"), &bob, json!({ "user_id": alice.id, "reason": "come" })).await.ok();
        assert_eq!(b.membership(&room, &bob, &alice.id).await, "invite", "version {version}");
        let told = told(&a, &alice, &room).await;
        let kinds: Vec<&str> = told.iter().filter_map(|event| event["type"].as_str()).collect();
        assert!(kinds.contains(&"m.room.create") && kinds.contains(&"m.room.name"), "version {version}: {kinds:?}");
        let own = told.iter().find(|event| event["state_key"] == alice.id.as_str()).unwrap();
        assert_eq!((own["sender"].as_str(), own["content"]["reason"].as_str()), (Some(bob.id.as_str()), Some("come")));
        for event in &told {
            let mut fields: Vec<&String> = event.as_object().unwrap().keys().collect();
            fields.sort();
            assert_eq!(fields, ["content", "sender", "state_key", "type"], "stripped");
        }
        // No server is named: the inviter's is known.
        a.post(&format!("/rooms/{room}/join"), &alice, json!({})).await.ok();
        assert_eq!(b.membership(&room, &bob, &alice.id).await, "join", "version {version}");
        assert_eq!(a.sync(&alice).await["rooms"]["invite"][&room], Value::Null);
    }
    assert_eq!(network.count("/v1/invite"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_room_and_a_member_event_invite_too() {
    let (network, a, b, alice, bob) = two().await;
    let body = json!({ "preset": "trusted_private_chat", "is_direct": true, "invite": [alice.id, "@none:a.example"] });
    let room = b.room(&bob, body).await;
    assert_eq!(b.membership(&room, &bob, &alice.id).await, "invite");
    let own = told(&a, &alice, &room).await.into_iter().find(|event| event["state_key"] == alice.id.as_str()).unwrap();
    assert_eq!(own["content"]["is_direct"], true);
    // Who does not exist is not invited, and the room is there all the same.
    assert_eq!(b.membership(&room, &bob, ruma::user_id!("@none:a.example")).await, "none");
    let other = b.room(&bob, json!({})).await;
    let path = format!("/rooms/{other}/state/m.room.member/{}", alice.id);
    b.put(&path, &bob, json!({ "membership": "invite" })).await.ok();
    assert!(!told(&a, &alice, &other).await.is_empty());
    network.set_down(&a.name, true);
    // A server that is away holds up nobody's room.
    b.room(&bob, json!({ "invite": [alice.id] })).await;
}

/// Signs an invitation as the invited user's server does.
fn signed(key: &SigningKey, server: &str, body: &Value) -> Value {
    let rules = rules(&RoomVersionId::try_from(body["room_version"].as_str().unwrap()).unwrap()).unwrap();
    let event: CanonicalJsonObject = serde_json::from_value(body["event"].clone()).unwrap();
    let mut redacted = ruma::canonical_json::redact(event, &rules.redaction, None).unwrap();
    key.sign_json(&mut redacted, server);
    json!({ "event": { "signatures": redacted["signatures"] } })
}

/// Ten are asked before any of them answers, and never more than ten.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_room_invites_ten_at_once() {
    let network = Network::default();
    let b = Server::start(&network, "b.example").await;
    let bob = b.person("bob").await;
    let (asked, running, most) =
        (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (first_ten, key) = (Arc::new(Barrier::new(10)), SigningKey::generate([9; 32], "raw").unwrap());
    let most_at_once = most.clone();
    let invite = put(move |body: String| async move {
        let body: Value = serde_json::from_str(&body).unwrap();
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        if asked.fetch_add(1, Ordering::SeqCst) < 10 {
            first_ten.wait().await;
        }
        let answer = signed(&key, "c.example", &body);
        running.fetch_sub(1, Ordering::SeqCst);
        answer.to_string()
    });
    let path = "/_matrix/federation/v2/invite/{room}/{event}";
    RawServer::start(&network, "c.example", Router::new().route(path, invite));
    let users: Vec<_> = (0..25).map(|n| UserId::parse(format!("@user{n}:c.example")).unwrap()).collect();
    let room = b.room(&bob, json!({ "invite": users })).await;
    for user in &users {
        assert_eq!(b.membership(&room, &bob, user).await, "invite", "{user}");
    }
    assert_eq!(most_at_once.load(Ordering::SeqCst), 10);
    // What comes next stands on all of them.
    let path = format!("/rooms/{room}/send/m.room.message/1");
    b.put(&path, &bob, json!({ "msgtype": "m.text", "body": "all here" })).await.ok();
    assert_eq!(b.membership(&room, &bob, &users[0]).await, "invite");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_invited_server_may_refuse() {
    let (network, a, b, alice, bob) = two().await;
    let room = b.room(&bob, json!({})).await;
    let path = format!("/rooms/{room}/invite");
    let none = b.post(&path, &bob, json!({ "user_id": "@none:a.example" })).await;
    assert_eq!(none.error(), (404, "M_NOT_FOUND"));
    let block = format!("/user/{}/account_data/m.invite_permission_config", alice.id);
    a.put(&block, &alice, json!({ "default_action": "block" })).await.ok();
    let blocked = b.post(&path, &bob, json!({ "user_id": alice.id })).await;
    assert_eq!(blocked.error(), (403, "M_INVITE_BLOCKED"));
    network.set_down(&a.name, true);
    assert_eq!(b.post(&path, &bob, json!({ "user_id": alice.id })).await.error(), (502, "M_UNKNOWN"));
    assert_eq!(b.membership(&room, &bob, &alice.id).await, "none", "nothing was appended");
    // Who may not invite does not even ask.
    let carol = b.person("carol").await;
    let asked = network.count("/invite/");
    assert_eq!(b.post(&path, &carol, json!({ "user_id": alice.id })).await.error(), (403, "M_FORBIDDEN"));
    assert_eq!(network.count("/invite/"), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_none_is_found_out() {
    let (network, a, b, alice, bob) = two().await;
    let room = b.room(&bob, json!({})).await;
    let lies: [fn(&mut Value); 3] = [
        |answer| {
            answer["event"]["signatures"].as_object_mut().unwrap().remove("a.example");
        },
        |answer| {
            let signatures = answer["event"]["signatures"]["a.example"].as_object_mut().unwrap();
            for signature in signatures.values_mut() {
                *signature = json!("c2lnbmVk");
            }
        },
        |answer| *answer = json!({ "event": {} }),
    ];
    for lie in lies {
        network.tamper(move |_, line, status, body| {
            if line.contains("/v2/invite") && *status == StatusCode::OK {
                lie(body);
            }
        });
        let answer = b.post(&format!("/rooms/{room}/invite"), &bob, json!({ "user_id": alice.id })).await;
        assert_eq!(answer.error(), (502, "M_UNKNOWN"));
        assert_eq!(b.membership(&room, &bob, &alice.id).await, "none");
    }
    // What else of the event was changed does not matter: ours is the one that is sent.
    network.tamper(|_, line, _, body| {
        if line.contains("/v2/invite") {
            body["event"]["content"]["membership"] = json!("join");
        }
    });
    b.post(&format!("/rooms/{room}/invite"), &bob, json!({ "user_id": alice.id })).await.ok();
    assert_eq!(b.membership(&room, &bob, &alice.id).await, "invite");
    drop(a);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_rooms_invite_by_version_1_where_version_2_is_unknown() {
    let (network, a, b, alice, bob) = two().await;
    network.tamper(|_, line, status, body| {
        if line.contains("/v2/invite") {
            *status = StatusCode::NOT_FOUND;
            *body = json!({ "errcode": "M_UNRECOGNIZED", "error": "unknown" });
        }
    });
    let room = b.room(&bob, json!({ "room_version": "1", "name": "Tea" })).await;
    b.post(&format!("/rooms/{room}/invite"), &bob, json!({ "user_id": alice.id })).await.ok();
    assert_eq!(network.count("/v1/invite"), 1);
    assert!(told(&a, &alice, &room).await.iter().any(|event| event["content"]["name"] == "Tea"));
}
