//! LinkIM's groups with members on two servers.

use conformance_tests::{Client, Server, encode, eventually, heard, invited, membership_is, v3};
use serde_json::{Value, json};

use crate::{own, pair};

struct Group {
    id: String,
    room: String,
}

/// A group of alice's and bob's server, into which carol of another was invited and came.
async fn group(alice: &Client, bob: &Client, carol: &Client) -> Group {
    let body = json!({ "user_ids": [bob.user_id, carol.user_id], "group_name": "Team" });
    let made = alice.post("/group/create", body).await.done();
    assert_eq!(made["added"][0]["matrix_id"], bob.user_id, "{made}");
    assert_eq!(made["invited"][0]["matrix_id"], carol.user_id, "{made}");
    let text = |key: &str| made[key].as_str().expect("a string").to_owned();
    let group = Group { id: text("groupID"), room: text("room_id") };
    invited(carol, &group.room).await;
    carol.join(&group.room).await;
    membership_is(alice, &group.room, &carol.user_id, "join").await;
    membership_is(carol, &group.room, &bob.user_id, "join").await;
    group
}

async fn users_at(client: &Client, group: &Group, users: Value) {
    eventually(&format!("{} sees {users}", client.user_id), || async {
        let levels = client.state(&group.room, "m.room.power_levels", "").await;
        (levels["users"] == users).then_some(())
    })
    .await;
}

async fn role(by: &Client, group: &str, user: &Client) -> String {
    let members = by.get(&format!("/group/members?group_id={}", encode(group))).await.done();
    let members = members["detail"].as_array().expect("a list");
    let found = members.iter().find(|member| member["matrix_id"] == user.user_id);
    found.map(|member| member["role"].as_str().expect("a role").to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn a_group_spans_servers() {
    let [a, b] = pair();
    let (alice, bob, carol) = (a.register("alice").await, a.register("bob").await, b.register("carol").await);
    let group = group(&alice, &bob, &carol).await;
    heard(&alice, &group.room, "welcome", &[&bob, &carol]).await;
    heard(&carol, &group.room, "thanks", &[&alice, &bob]).await;
    // The other server knows what it is, and hides the service user as well.
    let info = carol.get(&format!("/group/info?group_id={}", encode(&group.room))).await.done();
    assert_eq!([&info["detail"]["member_count"], &info["detail"]["role"]], [&json!(3), &json!("member")]);

    // A muted member's own server refuses.
    let mute = |seconds: i64| {
        let body = json!({ "group_id": group.id, "user_id": carol.user_id, "seconds": seconds });
        alice.put("/group/mute/member", body)
    };
    mute(600).await.done();
    users_at(&carol, &group, json!({ &alice.user_id: 100, &carol.user_id: -1 })).await;
    let path = v3!("/rooms/{}/send/m.room.message/{}", group.room, carol.next_transaction());
    carol.put(&path, json!({ "msgtype": "m.text", "body": "x" })).await.expect_error(403, "M_FORBIDDEN");
    mute(0).await.done();
    users_at(&carol, &group, json!({ &alice.user_id: 100 })).await;
    heard(&carol, &group.room, "again", &[&alice]).await;

    // The group goes to the other server's user, who acts there by their own power.
    let hand_on = json!({ "group_id": group.id, "user_id": carol.user_id });
    alice.put("/group/promote/owner", hand_on).await.done();
    users_at(&carol, &group, json!({ &alice.user_id: 50, &carol.user_id: 100 })).await;
    eventually("carol is the owner on her server", || async {
        (role(&carol, &group.room, &carol).await == "owner").then_some(())
    })
    .await;
    assert_eq!(role(&alice, &group.id, &carol).await, "owner");
    carol.put("/group/name", json!({ "group_id": group.room, "new_name": "Hers" })).await.done();
    eventually("the name is there", || async {
        let name = alice.get(&format!("/group/name?group_id={}", group.id)).await.done();
        (name["name"] == "Hers").then_some(())
    })
    .await;
    carol.put("/group/promote/admin", json!({ "group_id": group.room, "user_id": bob.user_id })).await.done();
    users_at(&alice, &group, json!({ &alice.user_id: 50, &bob.user_id: 50, &carol.user_id: 100 })).await;
    let back = json!({ "group_id": group.room, "user_id": alice.user_id });
    carol.put("/group/promote/owner", back).await.done();
    users_at(&alice, &group, json!({ &alice.user_id: 100, &bob.user_id: 50, &carol.user_id: 50 })).await;

    alice.delete("/group/dissolve", Some(json!({ "group_id": group.id }))).await.done();
    membership_is(&carol, &group.room, &carol.user_id, "leave").await;
    carol.get(&format!("/group/info?group_id={}", encode(&group.room))).await.refused(410, 1204);
}

/// Where the owner of another server leaves, the group's server finds the next one.
#[tokio::test]
async fn the_owner_of_another_server_leaves() {
    let [a, b] = pair();
    let (alice, bob, carol) = (a.register("alice").await, a.register("bob").await, b.register("carol").await);
    let group = group(&alice, &bob, &carol).await;
    let hand_on = json!({ "group_id": group.id, "user_id": carol.user_id });
    alice.put("/group/promote/owner", hand_on).await.done();
    users_at(&carol, &group, json!({ &alice.user_id: 50, &carol.user_id: 100 })).await;
    carol.leave(&group.room).await;
    users_at(&alice, &group, json!({ &alice.user_id: 100 })).await;
    assert_eq!(role(&bob, &group.id, &alice).await, "owner");
}

#[tokio::test]
async fn who_asks_from_another_server_is_let_in() {
    let [a, b] = pair();
    let (alice, bob, carol) = (a.register("alice").await, a.register("bob").await, b.register("carol").await);
    let group = group(&alice, &bob, &carol).await;
    let (dave, eve) = (b.register("dave").await, b.register("eve").await);
    for (user, text) in [(&dave, "please"), (&eve, "me too")] {
        let body = json!({ "group_id": group.room, "text": text, "via": [a.name()] });
        assert_eq!(user.post("/group/join", body).await.done()["joined"], false);
    }
    eventually("both are waiting", || async {
        let waiting = alice.get(&format!("/group/requests?group_id={}", group.id)).await.done();
        (waiting["detail"].as_array().expect("a list").len() == 2).then_some(())
    })
    .await;
    let handle = |user: &Client, result: i64| {
        let body = json!({ "group_id": group.id, "user_id": user.user_id, "result": result });
        alice.put("/group/requests/handle", body)
    };
    let approved = handle(&dave, 1).await.done();
    assert_eq!(approved["invited"][0]["matrix_id"], dave.user_id, "{approved}");
    invited(&dave, &group.room).await;
    dave.join(&group.room).await;
    membership_is(&alice, &group.room, &dave.user_id, "join").await;
    let since = eve.now().await;
    handle(&eve, -1).await.done();
    eve.wait_until_sync(&since, |answer| answer["rooms"]["leave"].get(&group.room).is_some()).await;
}

/// By LinkIM's API, too: an invitation is accepted, an open group is joined, also by who was in it before.
#[tokio::test]
async fn who_is_invited_or_finds_it_open_is_in_at_once() {
    let [a, b] = pair();
    let (alice, bob, carol) = (a.register("alice").await, a.register("bob").await, b.register("carol").await);
    let body = json!({ "user_ids": [bob.user_id, carol.user_id], "group_name": "Team" });
    let made = alice.post("/group/create", body).await.done();
    let (id, room) = (&made["groupID"], made["room_id"].as_str().expect("a string"));
    invited(&carol, room).await;
    let join = async |user: &Client| user.post("/group/join", json!({ "group_id": room, "via": [a.name()] })).await;
    assert_eq!(join(&carol).await.done()["joined"], true);
    membership_is(&alice, room, &carol.user_id, "join").await;

    // Nobody of that server is left in it, so what it knows of the group is old.
    let kick = json!({ "group_id": id, "user_ids": [carol.user_id] });
    alice.delete("/group/kickout", Some(kick)).await.done();
    membership_is(&carol, room, &carol.user_id, "leave").await;
    alice.put("/group/name", json!({ "group_id": id, "new_name": "Crew" })).await.done();
    alice.post("/group/invite", json!({ "group_id": id, "user_ids": [carol.user_id] })).await.done();
    invited(&carol, room).await;
    assert_eq!(join(&carol).await.done()["joined"], true);
    let info = carol.get(&format!("/group/info?group_id={}", encode(room))).await.done();
    assert_eq!([&info["detail"]["group_name"], &info["detail"]["role"]], ["Crew", "member"]);
    carol.post("/group/leave", json!({ "group_id": room })).await.done();
    membership_is(&alice, room, &carol.user_id, "leave").await;

    alice.put("/group/joinmode", json!({ "group_id": id, "join_mode": 2 })).await.done();
    let eve = b.register("eve").await;
    for user in [&eve, &carol] {
        assert_eq!(join(user).await.done()["joined"], true);
        membership_is(&alice, room, &user.user_id, "join").await;
    }
}
/// Invitations go to other servers one by one, after the group was made; those that a kill cut off are made at the next start.
#[tokio::test]
async fn invitations_that_a_kill_cut_off_are_made_at_the_next_start() {
    let [mut a, b] = own();
    let (alice, bob) = (a.register("alice").await, a.register("bob").await);
    let (carol, dave) = (b.register("carol").await, b.register("dave").await);
    signal(&b, "STOP");
    let user_ids = [&bob.user_id, &carol.user_id, &dave.user_id];
    let body = json!({ "user_ids": user_ids, "group_name": "Team" });
    let asking = alice.clone();
    let asked = tokio::spawn(async move { asking.post("/group/create", body).await });
    let room = eventually("bob is in the group", || async {
        let groups = bob.get("/groups").await.done();
        groups["detail"][0]["room_id"].as_str().map(str::to_owned)
    })
    .await;
    a.kill9();
    assert!(!asked.await.is_ok_and(|reply| reply.status == 200), "the other server can't have answered");
    signal(&b, "CONT");
    a.restart();
    let alice = alice.at(&a.base);
    for user in [&carol, &dave] {
        membership_is(&alice, &room, &user.user_id, "invite").await;
        invited(user, &room).await;
        user.join(&room).await;
        membership_is(&alice, &room, &user.user_id, "join").await;
    }
}

fn signal(server: &Server, name: &str) {
    let sent = std::process::Command::new("kill").args([&format!("-{name}"), &server.pid().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "SIG{name} can be sent");
}

/// A group's room is the group: another in its place would be a room of whoever upgrades it, above all owners.
#[tokio::test]
async fn a_group_is_not_upgraded_on_any_server() {
    let [a, b] = pair();
    let (alice, bob, carol) = (a.register("alice").await, a.register("bob").await, b.register("carol").await);
    let group = group(&alice, &bob, &carol).await;
    let refused = async |user: &Client| {
        let upgrade = json!({ "new_version": "12" });
        let path = v3!("/rooms/{}/upgrade", group.room);
        user.post(&path, upgrade).await.expect_error(403, "M_FORBIDDEN");
        let path = v3!("/rooms/{}/state/m.room.tombstone", group.room);
        let tombstone = json!({ "body": "gone", "replacement_room": "!other:b.example" });
        user.put(&path, tombstone).await.expect_error(403, "M_FORBIDDEN");
    };
    for user in [&alice, &bob, &carol] {
        refused(user).await;
    }
    let hand_on = json!({ "group_id": group.id, "user_id": carol.user_id });
    alice.put("/group/promote/owner", hand_on).await.done();
    users_at(&carol, &group, json!({ &alice.user_id: 50, &carol.user_id: 100 })).await;
    refused(&carol).await;
    heard(&carol, &group.room, "still here", &[&alice, &bob]).await;
}
