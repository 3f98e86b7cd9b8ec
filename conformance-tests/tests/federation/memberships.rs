//! Joining, inviting, leaving, kicking, banning, knocking across servers.

use conformance_tests::{
    Client, Sync, eventually, heard, invited, join_via, membership_is, same_state, shared_room, unique, v3,
};
use serde_json::{Value, json};

use crate::{own, pair};

#[tokio::test]
async fn an_invitation_shows_what_room_it_is() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = alice.create_room(json!({ "name": "Plans", "topic": "secret" })).await;
    let body = json!({ "user_id": bob.user_id, "reason": "come in" });
    alice.post(&v3!("/rooms/{}/invite", room), body).await.ok();
    let answer =
        bob.wait_until_sync_with(Sync::initial(), |answer| answer["rooms"]["invite"].get(&room).is_some()).await;
    let stripped = answer["rooms"]["invite"][&room]["invite_state"]["events"].as_array().expect("a list").clone();
    let content = |kind: &str, key: &str| {
        let event = stripped.iter().find(|event| event["type"] == kind && event["state_key"] == key);
        event.map_or(Value::Null, |event| event["content"].clone())
    };
    assert_eq!(content("m.room.name", "")["name"], "Plans");
    assert_eq!(content("m.room.member", &bob.user_id)["membership"], "invite");
    assert_eq!(content("m.room.member", &bob.user_id)["reason"], "come in");
    assert!(content("m.room.create", "").is_object(), "{stripped:?}");
    for event in &stripped {
        assert!(event.get("sender").is_some() && event.get("type").is_some(), "{event}");
    }
}

#[tokio::test]
async fn a_rejected_invitation_is_gone_on_both_sides() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = alice.create_room(json!({})).await;
    alice.invite(&room, &bob).await;
    invited(&bob, &room).await;
    bob.leave(&room).await;
    membership_is(&alice, &room, &bob.user_id, "leave").await;
    let answer = bob.sync(Sync::initial()).await;
    assert!(answer["rooms"]["invite"].get(&room).is_none(), "{answer}");
}

#[tokio::test]
async fn an_invitation_can_be_withdrawn() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = alice.create_room(json!({})).await;
    alice.invite(&room, &bob).await;
    invited(&bob, &room).await;
    let since = bob.now().await;
    alice.kick(&room, &bob).await;
    bob.wait_until_sync(&since, |answer| answer["rooms"]["leave"].get(&room).is_some()).await;
    let path = v3!("/join/{}", room) + &format!("?via={}", conformance_tests::encode(a.name()));
    bob.post(&path, json!({})).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn an_invitation_of_nobody_is_refused() {
    let [a, b] = pair();
    let alice = a.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let nobody = format!("@{}:{}", unique("nobody"), b.name());
    let reply = alice.post(&v3!("/rooms/{}/invite", room), json!({ "user_id": nobody })).await;
    assert!((400..500).contains(&reply.status), "{reply}");
    let state = alice.all_state(&room).await;
    assert!(state.iter().all(|event| event["state_key"] != nobody), "{state:?}");
}

#[tokio::test]
async fn anyone_joins_a_public_room_by_alias() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let alias = unique("open");
    let room = alice.create_room(json!({ "preset": "public_chat", "room_alias_name": alias })).await;
    let path = v3!("/join/{}", format!("#{alias}:{}", a.name()));
    assert_eq!(bob.post(&path, json!({})).await.ok()["room_id"], room);
    heard(&bob, &room, "found it", &[&alice]).await;
    heard(&alice, &room, "welcome", &[&bob]).await;
    same_state(&[&alice, &bob], &room).await;
}

#[tokio::test]
async fn a_second_user_joins_through_the_own_server() {
    let [a, b] = pair();
    let (alice, bob, dora) = (a.register("alice").await, b.register("bob").await, b.register("dora").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    join_via(&bob, &room, a.name()).await;
    join_via(&dora, &room, a.name()).await;
    membership_is(&alice, &room, &dora.user_id, "join").await;
    heard(&alice, &room, "hello both", &[&bob, &dora]).await;
}

#[tokio::test]
async fn two_users_of_one_server_join_at_once() {
    let [a, b] = pair();
    let alice = a.register("alice").await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let users = [b.register("bob").await, b.register("dora").await, b.register("emil").await];
    let [one, two, three] = &users;
    tokio::join!(join_via(one, &room, a.name()), join_via(two, &room, a.name()), join_via(three, &room, a.name()));
    for user in &users {
        membership_is(&alice, &room, &user.user_id, "join").await;
    }
    same_state(&[&alice, one, two, three], &room).await;
    heard(&alice, &room, "all of you", &[one, two, three]).await;
}

#[tokio::test]
async fn a_private_room_lets_nobody_in_uninvited() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = alice.create_room(json!({ "preset": "private_chat" })).await;
    let path = v3!("/join/{}", room) + &format!("?via={}", conformance_tests::encode(a.name()));
    bob.post(&path, json!({})).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_room_that_is_not_there_is_not_found() {
    let [a, b] = pair();
    let bob = b.register("bob").await;
    let path = v3!("/join/{}", format!("!{}:{}", unique("nowhere"), a.name()));
    let reply = bob.post(&path, json!({})).await;
    assert_eq!(reply.status, 404, "{reply}");
}

#[tokio::test]
async fn who_leaves_hears_no_more_and_may_come_back() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    join_via(&bob, &room, a.name()).await;
    heard(&alice, &room, "before", &[&bob]).await;
    bob.leave(&room).await;
    membership_is(&alice, &room, &bob.user_id, "leave").await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "while bob was away" })).await;
    alice.send_texts(&room, "away ", 1..=5).await;
    join_via(&bob, &room, a.name()).await;
    assert_eq!(bob.state(&room, "m.room.topic", "").await["topic"], "while bob was away");
    heard(&alice, &room, "after", &[&bob]).await;
    heard(&bob, &room, "back", &[&alice]).await;
    same_state(&[&alice, &bob], &room).await;
}

#[tokio::test]
async fn who_is_kicked_is_told_and_who_is_banned_stays_out() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    join_via(&bob, &room, a.name()).await;
    let since = bob.now().await;
    alice.kick(&room, &bob).await;
    bob.wait_until_sync(&since, |answer| answer["rooms"]["leave"].get(&room).is_some()).await;
    join_via(&bob, &room, a.name()).await;
    let since = bob.now().await;
    alice.ban(&room, &bob).await;
    bob.wait_until_sync(&since, |answer| answer["rooms"]["leave"].get(&room).is_some()).await;
    let path = v3!("/join/{}", room) + &format!("?via={}", conformance_tests::encode(a.name()));
    bob.post(&path, json!({})).await.expect_error(403, "M_FORBIDDEN");
    alice.unban(&room, &bob).await;
    eventually("bob may come back", || async { (bob.post(&path, json!({})).await.status == 200).then_some(()) }).await;
    heard(&alice, &room, "again", &[&bob]).await;
}

#[tokio::test]
async fn a_moderator_of_another_server_kicks_and_bans() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let carol = a.register("carol").await;
    let room = shared_room(&alice, &[&bob, &carol], json!({})).await;
    alice.change_power_levels(&room, json!({ "users": { &bob.user_id: 50 } })).await;
    same_state(&[&alice, &bob], &room).await;
    let since = carol.now().await;
    bob.kick(&room, &carol).await;
    carol.wait_until_sync(&since, |answer| answer["rooms"]["leave"].get(&room).is_some()).await;
    membership_is(&alice, &room, &carol.user_id, "leave").await;
}

fn join_rule(rule: Value) -> Value {
    json!([{ "type": "m.room.join_rules", "state_key": "", "content": rule }])
}

async fn knock_via(client: &Client, room: &str, via: &str) {
    let path = v3!("/knock/{}", room) + &format!("?via={}", conformance_tests::encode(via));
    client.post(&path, json!({ "reason": "please" })).await.ok();
}

#[tokio::test]
async fn a_knock_is_answered() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = alice.create_room(json!({ "initial_state": join_rule(json!({ "join_rule": "knock" })) })).await;
    knock_via(&bob, &room, a.name()).await;
    membership_is(&alice, &room, &bob.user_id, "knock").await;
    let answer = bob.sync(Sync::initial()).await;
    assert!(answer["rooms"]["knock"].get(&room).is_some(), "{answer}");
    alice.invite(&room, &bob).await;
    invited(&bob, &room).await;
    bob.join(&room).await;
    heard(&alice, &room, "come in", &[&bob]).await;
}

#[tokio::test]
async fn a_knock_can_be_withdrawn_and_refused() {
    let [a, b] = pair();
    let (alice, bob, dora) = (a.register("alice").await, b.register("bob").await, b.register("dora").await);
    let room = alice.create_room(json!({ "initial_state": join_rule(json!({ "join_rule": "knock" })) })).await;
    for user in [&bob, &dora] {
        knock_via(user, &room, a.name()).await;
        membership_is(&alice, &room, &user.user_id, "knock").await;
    }
    bob.leave(&room).await;
    membership_is(&alice, &room, &bob.user_id, "leave").await;
    let since = dora.now().await;
    alice.kick(&room, &dora).await;
    dora.wait_until_sync(&since, |answer| answer["rooms"]["leave"].get(&room).is_some()).await;
}

#[tokio::test]
async fn members_of_a_space_join_its_restricted_rooms() {
    let [a, b] = pair();
    let (alice, bob, dora) = (a.register("alice").await, b.register("bob").await, b.register("dora").await);
    let space = alice.create_room(json!({ "preset": "public_chat" })).await;
    let allow = json!([{ "type": "m.room_membership", "room_id": space }]);
    let rule = json!({ "join_rule": "restricted", "allow": allow });
    let room = alice.create_room(json!({ "initial_state": join_rule(rule) })).await;
    let path = v3!("/join/{}", room) + &format!("?via={}", conformance_tests::encode(a.name()));
    bob.post(&path, json!({})).await.expect_error(403, "M_FORBIDDEN");
    join_via(&bob, &space, a.name()).await;
    membership_is(&alice, &space, &bob.user_id, "join").await;
    join_via(&bob, &room, a.name()).await;
    let member = alice.state(&room, "m.room.member", &bob.user_id).await;
    assert_eq!(member["join_authorised_via_users_server"], alice.user_id, "{member}");
    heard(&bob, &room, "let in", &[&alice]).await;

    // The second one of that server cannot be authorised by it: nobody there may invite.
    join_via(&dora, &space, a.name()).await;
    membership_is(&alice, &space, &dora.user_id, "join").await;
    join_via(&dora, &room, a.name()).await;
    membership_is(&alice, &room, &dora.user_id, "join").await;
    same_state(&[&alice, &bob, &dora], &room).await;
}

#[tokio::test]
async fn a_server_that_the_rooms_acl_denies_is_shut_out() {
    let [a, b] = own();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = shared_room(&alice, &[&bob], json!({ "preset": "public_chat" })).await;
    let acl = json!({ "allow": ["*"], "deny": ["localhost"], "allow_ip_literals": true });
    // The pattern is held against the name without its port, so this denies everybody but us, who are never denied here.
    alice.set_state(&room, "m.room.server_acl", "", acl).await;
    let said = bob.send_text(&room, "from behind the wall").await;
    // What the server of the sender accepts is not what the room's other servers accept.
    let after = alice.send_text(&room, "after").await;
    eventually("the transaction was answered", || async {
        let reply = alice.get(&v3!("/rooms/{}/event/{}", room, after)).await;
        (reply.status == 200).then_some(())
    })
    .await;
    alice.get(&v3!("/rooms/{}/event/{}", room, said)).await.expect_status(404);
}
