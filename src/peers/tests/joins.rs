//! Users join rooms of another server, and are in them as users of that server are.

use serde_json::json;

use super::two_servers::{Network, Server};

/// Two servers on a network, with Alice on the one and Bob on the other.
macro_rules! two {
    ($network:ident, $a:ident, $b:ident, $alice:ident, $bob:ident) => {
        let $network = Network::default();
        let $a = Server::start(&$network, "a.example").await;
        let $b = Server::start(&$network, "b.example").await;
        let ($alice, $bob) = ($a.person("alice").await, $b.person("bob").await);
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_is_joined_through_another_server() {
    two!(network, a, b, alice, bob);
    for version in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"] {
        let body = json!({ "preset": "public_chat", "room_version": version, "name": format!("Room {version}") });
        let room = b.room(&bob, body).await;
        let joined = a.post(&format!("/join/{room}?via=b.example"), &alice, json!({ "reason": "tea" })).await;
        assert_eq!(joined.ok(), json!({ "room_id": room }), "version {version}");
        assert_eq!(a.membership(&room, &alice, &alice.id).await, "join", "version {version}");
        assert_eq!(a.membership(&room, &alice, &bob.id).await, "join", "version {version}");
        assert_eq!(b.membership(&room, &bob, &alice.id).await, "join", "version {version}");
        let event = b.get(&format!("/rooms/{room}/state/m.room.member/{}", alice.id), &bob).await.ok();
        assert_eq!(event["reason"], "tea", "version {version}");
        let name = a.get(&format!("/rooms/{room}/state/m.room.name"), &alice).await.ok();
        assert_eq!(name["name"], format!("Room {version}"));
        let sync = a.sync(&alice).await;
        let timeline = &sync["rooms"]["join"][&room]["timeline"]["events"];
        assert_eq!(timeline.as_array().unwrap().last().unwrap()["state_key"], alice.id.as_str());
        // And talk in it: their own send needs no other server.
        a.put(&format!("/rooms/{room}/send/m.room.message/1"), &alice, json!({ "msgtype": "m.text", "body": "x" }))
            .await
            .ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_user_joins_here_and_two_at_once_ask_once() {
    two!(network, a, b, alice, bob);
    let (carol, dave) = (a.person("carol").await, a.person("dave").await);
    let room = b.room(&bob, json!({ "preset": "public_chat" })).await;
    let path = format!("/join/{room}?server_name=b.example");
    let (first, second) = tokio::join!(a.post(&path, &alice, json!({})), a.post(&path, &carol, json!({})));
    first.ok();
    second.ok();
    assert_eq!(network.count("send_join"), 1, "the second found it here: {:?}", network.seen());
    a.post(&path, &dave, json!({})).await.ok();
    assert_eq!(network.count("make_join"), 1);
    // Who is in already stays as they are.
    a.post(&path, &alice, json!({})).await.ok();
    for person in [&alice, &carol, &dave] {
        assert_eq!(a.membership(&room, person, &person.id).await, "join");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_names_the_room_and_its_servers() {
    two!(network, a, b, alice, bob);
    let c = Server::start(&network, "c.example").await;
    let carol = c.person("carol").await;
    let room = b.room(&bob, json!({ "preset": "public_chat", "room_alias_name": "tea" })).await;
    let joined = c.post("/join/%23tea:b.example", &carol, json!({})).await.ok();
    assert_eq!(joined["room_id"], room);
    assert_eq!(network.count("/query/directory"), 1);
    assert_eq!(a.post("/join/%23none:b.example", &alice, json!({})).await.error(), (404, "M_NOT_FOUND"));
    network.set_down(&b.name, true);
    assert_eq!(a.post("/join/%23other:b.example", &alice, json!({})).await.error(), (502, "M_UNKNOWN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_asked_in_turn_and_the_last_word_is_handed_on() {
    two!(network, a, b, alice, bob);
    let c = Server::start(&network, "c.example").await;
    let room = b.room(&bob, json!({ "preset": "public_chat" })).await;
    c.stop(&network).await;
    let path = format!("/join/{room}?via=c.example&via=nobody.example&via=b.example");
    a.post(&path, &alice, json!({})).await.ok();
    // Not allowed: the peer's words.
    let closed = b.room(&bob, json!({ "preset": "private_chat" })).await;
    let refused = a.post(&format!("/join/{closed}?via=b.example"), &alice, json!({})).await;
    assert_eq!(refused.error(), (403, "M_FORBIDDEN"));
    // No such room there.
    let unknown = a.post("/join/!none:b.example", &alice, json!({})).await;
    assert_eq!(unknown.error(), (404, "M_NOT_FOUND"));
    // Nobody answers.
    network.set_down(&b.name, true);
    let away = a.post(&format!("/join/{closed}?via=b.example"), &alice, json!({})).await;
    assert_eq!(away.error(), (502, "M_UNKNOWN"));
    // Nobody to ask.
    let nobody = a.post("/join/!abcdefghijklmnopqrstuvwxyzabcdefghijklmnopq", &alice, json!({})).await;
    assert_eq!(nobody.error(), (404, "M_NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_version_2_is_asked_by_version_1() {
    two!(network, a, b, alice, bob);
    let room = b.room(&bob, json!({ "preset": "public_chat", "room_version": "6" })).await;
    network.tamper(|_, line, status, body| {
        if line.contains("/v2/send_join") {
            *status = http::StatusCode::NOT_FOUND;
            *body = json!({ "errcode": "M_UNRECOGNIZED", "error": "unknown" });
        }
    });
    a.post(&format!("/join/{room}?via=b.example"), &alice, json!({})).await.ok();
    assert_eq!(network.count("/v1/send_join"), 1);
    assert_eq!(a.membership(&room, &alice, &bob.id).await, "join");
}

/// Server-Server API, "Restricted rooms".
#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_room_takes_members_of_another_room() {
    two!(network, a, b, alice, bob);
    for version in ["8", "10", "11", "12"] {
        let allowed = b.room(&bob, json!({ "preset": "public_chat", "room_version": version })).await;
        let rule = json!({ "join_rule": "restricted",
            "allow": [{ "type": "m.room_membership", "room_id": allowed }] });
        let state = json!([{ "type": "m.room.join_rules", "content": rule }]);
        let room = b.room(&bob, json!({ "room_version": version, "initial_state": state })).await;
        let path = format!("/join/{room}?via=b.example");
        let refused = a.post(&path, &alice, json!({})).await;
        assert_eq!(refused.error(), (403, "M_FORBIDDEN"), "version {version}");
        a.post(&format!("/join/{allowed}?via=b.example"), &alice, json!({})).await.ok();
        a.post(&path, &alice, json!({})).await.ok();
        let member = a.get(&format!("/rooms/{room}/state/m.room.member/{}", alice.id), &alice).await.ok();
        assert_eq!(member["join_authorised_via_users_server"], bob.id.as_str(), "version {version}");
        assert_eq!(b.membership(&room, &bob, &alice.id).await, "join", "version {version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_all_of_ours_left_is_taken_up_again() {
    two!(network, a, b, alice, bob);
    let room = b.room(&bob, json!({ "preset": "public_chat" })).await;
    a.post(&format!("/join/{room}?via=b.example"), &alice, json!({})).await.ok();
    a.post(&format!("/rooms/{room}/leave"), &alice, json!({})).await.ok();
    assert_eq!(a.membership(&room, &alice, &alice.id).await, "leave");
    b.put(&format!("/rooms/{room}/state/m.room.name"), &bob, json!({ "name": "Since" })).await.ok();
    // No server named: those that were in the room when we left are known.
    a.post(&format!("/rooms/{room}/join"), &alice, json!({})).await.ok();
    assert_eq!(network.count("send_join"), 2);
    let name = a.get(&format!("/rooms/{room}/state/m.room.name"), &alice).await.ok();
    assert_eq!(name["name"], "Since");
}

/// Server-Server API, "Restricted rooms".
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_vouch_sends_the_user_to_another_server() {
    two!(network, a, b, alice, bob);
    let carol = a.person("carol").await;
    let allowed = b.room(&bob, json!({ "preset": "public_chat", "room_version": "10" })).await;
    let rule = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": allowed }] });
    let state = json!([{ "type": "m.room.join_rules", "content": rule }]);
    let body =
        json!({ "room_version": "10", "initial_state": state, "power_level_content_override": { "invite": 50 } });
    let room = b.room(&bob, body).await;
    a.post(&format!("/join/{allowed}?via=b.example"), &carol, json!({})).await.ok();
    b.post(&format!("/rooms/{room}/invite"), &bob, json!({ "user_id": alice.id })).await.ok();
    a.post(&format!("/rooms/{room}/join"), &alice, json!({})).await.ok();
    // Alice is in the room here, but may let nobody in: Bob's server does.
    a.post(&format!("/rooms/{room}/join"), &carol, json!({})).await.ok();
    let member = a.get(&format!("/rooms/{room}/state/m.room.member/{}", carol.id), &alice).await.ok();
    assert_eq!(member["join_authorised_via_users_server"], bob.id.as_str());
    assert_eq!(b.membership(&room, &bob, &carol.id).await, "join");
    network.set_down(&b.name, true);
    let dave = a.person("dave").await;
    assert_eq!(a.post(&format!("/rooms/{room}/join"), &dave, json!({})).await.error(), (403, "M_FORBIDDEN"));
    a.post(&format!("/rooms/{allowed}/join"), &dave, json!({})).await.ok();
    assert_eq!(a.post(&format!("/rooms/{room}/join"), &dave, json!({})).await.error(), (502, "M_UNKNOWN"));
}
