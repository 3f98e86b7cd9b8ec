//! Rejected invitations, knocks, and knocks taken back.

use serde_json::{Value, json};

use super::two_servers::{Network, Person, Server};
use crate::peers::fixture::eventually;

async fn two() -> (Network, Server, Server, Person, Person) {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let b = Server::start(&network, "b.example").await;
    let (alice, bob) = (a.person("alice").await, b.person("bob").await);
    (network, a, b, alice, bob)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_reaches_the_room() {
    let (_network, a, b, alice, bob) = two().await;
    for version in ["1", "3", "6", "8", "10", "11", "12"] {
        let room = b.room(&bob, json!({ "room_version": version })).await;
        b.post(&format!("/rooms/{room}/invite"), &bob, json!({ "user_id": alice.id })).await.ok();
        assert_ne!(a.sync(&alice).await["rooms"]["invite"][&room], Value::Null, "version {version}");
        a.post(&format!("/rooms/{room}/leave"), &alice, json!({ "reason": "no" })).await.ok();
        assert_eq!(b.membership(&room, &bob, &alice.id).await, "leave", "version {version}");
        let event = b.get(&format!("/rooms/{room}/state/m.room.member/{}", alice.id), &bob).await.ok();
        assert_eq!(event["reason"], "no");
        assert_eq!(a.sync(&alice).await["rooms"]["invite"][&room], Value::Null, "version {version}");
        // Twice does no harm.
        a.post(&format!("/rooms/{room}/leave"), &alice, json!({})).await.ok();
        // And they can be invited again.
        b.post(&format!("/rooms/{room}/invite"), &bob, json!({ "user_id": alice.id })).await.ok();
        assert_ne!(a.sync(&alice).await["rooms"]["invite"][&room], Value::Null, "version {version}: again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_got_rid_of_whoever_is_away() {
    let (network, a, b, alice, bob) = two().await;
    for version in ["1", "6", "12"] {
        let room = b.room(&bob, json!({ "room_version": version })).await;
        b.post(&format!("/rooms/{room}/invite"), &bob, json!({ "user_id": alice.id })).await.ok();
        network.set_down(&b.name, true);
        a.post(&format!("/rooms/{room}/leave"), &alice, json!({})).await.ok();
        assert_eq!(a.sync(&alice).await["rooms"]["invite"][&room], Value::Null, "version {version}");
        network.set_down(&b.name, false);
        assert_eq!(b.membership(&room, &bob, &alice.id).await, "invite", "version {version}: they never heard of it");
        a.post(&format!("/rooms/{room}/forget"), &alice, json!({})).await.ok();
        // The invitation stands there: they may still come.
        a.post(&format!("/join/{room}?via=b.example"), &alice, json!({})).await.ok();
        assert_eq!(a.membership(&room, &alice, &alice.id).await, "join", "version {version}");
    }
    // Nor is it of any use to refuse.
    let room = b.room(&bob, json!({})).await;
    b.post(&format!("/rooms/{room}/invite"), &bob, json!({ "user_id": alice.id })).await.ok();
    network.tamper(|_, line, status, body| {
        if line.contains("make_leave") {
            *status = http::StatusCode::FORBIDDEN;
            *body = json!({ "errcode": "M_FORBIDDEN", "error": "stay" });
        }
    });
    a.post(&format!("/rooms/{room}/leave"), &alice, json!({})).await.ok();
    assert_eq!(a.sync(&alice).await["rooms"]["invite"][&room], Value::Null);
}

/// A deactivated account has no invitation left, be the inviting server there or not; nor a knock.
#[tokio::test(flavor = "multi_thread")]
async fn a_deactivated_account_rejects_what_it_has_elsewhere() {
    let (network, a, b, alice, bob) = two().await;
    let c = Server::start(&network, "c.example").await;
    let carol = c.person("carol").await;
    let open = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let (there, away) = (b.room(&bob, json!({ "invite": [alice.id] })).await, c.room(&carol, json!({})).await);
    c.post(&format!("/rooms/{away}/invite"), &carol, json!({ "user_id": alice.id })).await.ok();
    let knocked = b.room(&bob, json!({ "initial_state": open })).await;
    a.post(&format!("/knock/{knocked}?via=b.example"), &alice, json!({})).await.ok();
    assert_eq!(a.waiting_for(&alice.id).await, 3);
    network.set_down(&c.name, true);
    let identifier = json!({ "type": "m.id.user", "user": alice.id });
    let auth = json!({ "type": "m.login.password", "identifier": identifier, "password": "secret" });
    a.post("/account/deactivate", &alice, json!({ "auth": auth })).await.ok();
    eventually("nothing is left here", async || a.waiting_for(&alice.id).await == 0).await;
    for room in [&there, &knocked] {
        assert_eq!(b.membership(room, &bob, &alice.id).await, "leave");
    }
    assert_eq!(c.membership(&away, &carol, &alice.id).await, "invite", "it never heard of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_knock_is_heard_and_can_be_taken_back_or_answered() {
    let (network, a, b, alice, bob) = two().await;
    for version in ["7", "8", "10", "11", "12"] {
        let state = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
        let room = b.room(&bob, json!({ "room_version": version, "initial_state": state, "name": "Tea" })).await;
        let path = format!("/knock/{room}?via=b.example");
        a.post(&path, &alice, json!({ "reason": "let me in" })).await.ok();
        assert_eq!(b.membership(&room, &bob, &alice.id).await, "knock", "version {version}");
        let knocked = a.sync(&alice).await["rooms"]["knock"][&room]["knock_state"]["events"].clone();
        let names: Vec<&Value> = knocked.as_array().unwrap().iter().map(|event| &event["content"]["name"]).collect();
        assert!(names.contains(&&json!("Tea")), "version {version}: {knocked}");
        a.post(&format!("/rooms/{room}/leave"), &alice, json!({})).await.ok();
        assert_eq!(b.membership(&room, &bob, &alice.id).await, "leave", "version {version}");
        assert_eq!(a.sync(&alice).await["rooms"]["knock"][&room], Value::Null);
        a.post(&path, &alice, json!({})).await.ok();
        b.post(&format!("/rooms/{room}/invite"), &bob, json!({ "user_id": alice.id })).await.ok();
        let sync = a.sync(&alice).await;
        assert_ne!(sync["rooms"]["invite"][&room], Value::Null, "version {version}: the answer");
        assert_eq!(sync["rooms"]["knock"][&room], Value::Null);
        a.post(&format!("/rooms/{room}/join"), &alice, json!({})).await.ok();
    }
    // Closed rooms, and versions that know no knocks.
    let closed = b.room(&bob, json!({})).await;
    let refused = a.post(&format!("/knock/{closed}?via=b.example"), &alice, json!({})).await;
    assert_eq!(refused.error(), (403, "M_FORBIDDEN"));
    let old = b.room(&bob, json!({ "room_version": "6" })).await;
    let refused = a.post(&format!("/knock/{old}?via=b.example"), &alice, json!({})).await;
    assert_eq!(refused.error(), (400, "M_INCOMPATIBLE_ROOM_VERSION"));
    assert_eq!(refused.body["room_version"], "6");
    network.set_down(&b.name, true);
    assert_eq!(a.post(&format!("/knock/{closed}?via=b.example"), &alice, json!({})).await.error(), (502, "M_UNKNOWN"));
}
