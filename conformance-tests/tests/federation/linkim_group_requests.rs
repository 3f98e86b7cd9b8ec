//! What an admin asks of a group of another server: done by that server, refused by it, or pending while it is away.

use conformance_tests::{Client, Server, encode, eventually, invited, membership_is, v3};
use serde_json::{Value, json};

use crate::{own, pair};

struct Group {
    id: String,
    room: String,
}

/// A group of alice's server with bob, and with carol, an admin, and dave of another.
async fn group(alice: &Client, bob: &Client, carol: &Client, dave: &Client) -> Group {
    let user_ids = [&bob.user_id, &carol.user_id, &dave.user_id];
    let made = alice.post("/group/create", json!({ "user_ids": user_ids, "group_name": "Team" })).await.done();
    let text = |key: &str| made[key].as_str().expect("a string").to_owned();
    let group = Group { id: text("groupID"), room: text("room_id") };
    for user in [carol, dave] {
        invited(user, &group.room).await;
        user.join(&group.room).await;
        membership_is(alice, &group.room, &user.user_id, "join").await;
    }
    alice.put("/group/promote/admin", json!({ "group_id": group.id, "user_id": carol.user_id })).await.done();
    role_is(carol, &group.room, "admin").await;
    membership_is(carol, &group.room, &bob.user_id, "join").await;
    group
}

async fn four(a: &Server, b: &Server) -> [Client; 4] {
    [a.register("alice").await, a.register("bob").await, b.register("carol").await, b.register("dave").await]
}

async fn role_is(by: &Client, group: &str, role: &str) {
    eventually(&format!("{} is {role}", by.user_id), || async {
        let info = by.get(&format!("/group/info?group_id={}", encode(group))).await;
        (info.json["detail"]["role"] == role).then_some(())
    })
    .await;
}

async fn level_is(by: &Client, group: &Group, user: &Client, level: Value) {
    eventually(&format!("{} is at {level}", user.user_id), || async {
        let levels = by.state(&group.room, "m.room.power_levels", "").await;
        (levels["users"][&user.user_id] == level).then_some(())
    })
    .await;
}

fn mute(group: &Group, user: &Client, seconds: i64) -> Value {
    json!({ "group_id": group.room, "user_id": user.user_id, "seconds": seconds })
}

/// How many events of this type are in the whole history.
async fn count(by: &Client, group: &Group, kind: &str) -> usize {
    by.whole_history(&group.room, 100).await.iter().filter(|event| event["type"] == kind).count()
}

#[tokio::test]
async fn the_groups_server_does_what_an_admin_elsewhere_asks() {
    let [a, b] = pair();
    let [alice, bob, carol, dave] = four(&a, &b).await;
    let group = group(&alice, &bob, &carol, &dave).await;

    let muted = carol.put("/group/mute/member", mute(&group, &bob, 600)).await.done();
    assert!(muted["muted_until_ts"].as_i64().is_some_and(|end| end > 0), "{muted}");
    level_is(&alice, &group, &bob, json!(-1)).await;
    let send = v3!("/rooms/{}/send/m.room.message/{}", group.room, bob.next_transaction());
    bob.put(&send, json!({ "msgtype": "m.text", "body": "x" })).await.expect_error(403, "M_FORBIDDEN");
    let lifted = carol.put("/group/mute/member", mute(&group, &bob, 0)).await.done();
    assert_eq!(lifted["muted_until_ts"], 0);
    level_is(&alice, &group, &bob, Value::Null).await;

    carol.put("/group/mute/all", json!({ "group_id": group.room, "mute": true })).await.done();
    assert_eq!(alice.state(&group.room, "m.room.power_levels", "").await["events_default"], 50);
    carol.put("/group/joinmode", json!({ "group_id": group.room, "join_mode": 1 })).await.done();
    assert_eq!(alice.state(&group.room, "m.room.power_levels", "").await["invite"], 50);
    carol.put("/group/settings", json!({ "group_id": group.room, "lookMemberInfo": 1 })).await.done();
    assert_eq!(alice.state(&group.room, "org.linkim.group.settings", "").await["look_member_info"], 1);
    carol.put("/group/mute/all", json!({ "group_id": group.room, "mute": false })).await.done();

    // Refused by the rules: of the owner, by the group's server.
    carol.put("/group/mute/member", mute(&group, &alice, 600)).await.refused(403, 1002);
    // Not even asked.
    let before = count(&alice, &group, "org.linkim.group.request").await;
    dave.put("/group/mute/member", mute(&group, &bob, 600)).await.refused(403, 1002);
    carol.delete("/group/dissolve", Some(json!({ "group_id": group.room }))).await.refused(403, 1002);
    assert_eq!(count(&alice, &group, "org.linkim.group.request").await, before);
    // A member's own event is refused by the authorisation rules.
    let own = v3!("/rooms/{}/send/org.linkim.group.request/{}", group.room, dave.next_transaction());
    let asked = json!({ "action": "mute_all", "arguments": { "mute": true } });
    dave.put(&own, asked).await.expect_error(403, "M_FORBIDDEN");

    // What is no action is answered as well.
    let event = carol.send(&group.room, "org.linkim.group.request", json!({ "action": "explode" })).await;
    eventually("it is refused", || async {
        let history = carol.whole_history(&group.room, 100).await;
        let answer = history.iter().find(|event_| event_["content"]["m.relates_to"]["event_id"] == event.as_str())?;
        assert_eq!(answer["type"], "org.linkim.group.result");
        assert_eq!([&answer["content"]["ok"], &answer["content"]["errcode"]], [&json!(false), &json!(1001)]);
        Some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_asked_while_the_groups_server_is_away_is_pending_then_done_once() {
    let [mut a, b] = own();
    let [alice, bob, carol, dave] = four(&a, &b).await;
    let group = group(&alice, &bob, &carol, &dave).await;
    a.kill9();
    let reply = carol.put("/group/mute/all", json!({ "group_id": group.room, "mute": true })).await;
    assert_eq!((reply.status, &reply.json["code"], &reply.json["pending"]), (202, &json!(0), &json!(true)), "{reply}");
    assert_eq!(carol.state(&group.room, "m.room.power_levels", "").await["events_default"], 0);
    a.restart();
    let (alice, bob) = (alice.at(&a.base), bob.at(&a.base));
    // What reminds carol's server of the other: it speaks.
    alice.send_text(&group.room, "back").await;
    eventually("it is done", || async {
        let levels = carol.state(&group.room, "m.room.power_levels", "").await;
        (levels["events_default"] == 50).then_some(())
    })
    .await;
    eventually("and answered", || async {
        (count(&carol, &group, "org.linkim.group.result").await == 1).then_some(())
    })
    .await;
    // Killed again: what was answered is not done again.
    alice.put("/group/mute/all", json!({ "group_id": group.id, "mute": false })).await.done();
    a.kill9();
    a.restart();
    let (alice, _) = (alice.at(&a.base), bob.at(&a.base));
    carol.put("/group/settings", json!({ "group_id": group.room, "lookMemberInfo": 1 })).await.done();
    assert_eq!(alice.state(&group.room, "m.room.power_levels", "").await["events_default"], 0);
    assert_eq!(count(&alice, &group, "org.linkim.group.result").await, 2);
}

#[tokio::test]
async fn an_owner_elsewhere_acts_alone_but_dissolves_through_the_groups_server() {
    let [a, b] = pair();
    let [alice, bob, carol, dave] = four(&a, &b).await;
    let group = group(&alice, &bob, &carol, &dave).await;
    alice.put("/group/promote/owner", json!({ "group_id": group.id, "user_id": carol.user_id })).await.done();
    role_is(&carol, &group.room, "owner").await;
    carol.put("/group/mute/all", json!({ "group_id": group.room, "mute": true })).await.done();
    assert_eq!(count(&carol, &group, "org.linkim.group.request").await, 0);
    carol.delete("/group/dissolve", Some(json!({ "group_id": group.room }))).await.done();
    for (user, id) in [(&bob, &group.id), (&dave, &group.room)] {
        eventually("it is over", || async {
            let reply = user.get(&format!("/group/info?group_id={}", encode(id))).await;
            (reply.json["errcode"] == 1204).then_some(())
        })
        .await;
    }
}
