//! Who may not talk in a group.

use conformance_tests::{Client, Options, Server, eventually, v3};
use serde_json::json;

use crate::SERVER;
use crate::groups::{Group, group, people, role};

async fn talk(by: &Client, group: &Group) -> u16 {
    let path = v3!("/rooms/{}/send/m.room.message/{}", group.room, by.next_transaction());
    by.put(&path, json!({ "msgtype": "m.text", "body": "hello" })).await.status
}

async fn mute(by: &Client, group: &Group, on: &Client, seconds: i64) -> i64 {
    let body = json!({ "group_id": group.id, "user_id": on.user_id, "seconds": seconds });
    by.put("/group/mute/member", body).await.done()["muted_until_ts"].as_i64().expect("a time")
}

#[tokio::test]
async fn a_muted_member_is_silent_until_the_end() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let until = mute(&alice, &group, &bob, 3).await;
    assert_eq!(talk(&bob, &group).await, 403);
    // A confirmation of an announcement may be sent.
    bob.send(&group.room, "org.linkim.group.confirm", json!({})).await;
    let state = carol.state(&group.room, "org.linkim.group.mute", &format!("_{}", bob.user_id)).await;
    assert_eq!(state["until_ts"], until);
    assert_eq!(carol.state(&group.room, "m.room.power_levels", "").await["users"][&bob.user_id], -1);
    eventually("the mute ends", || async { (talk(&bob, &group).await == 200).then_some(()) }).await;
    let levels = carol.state(&group.room, "m.room.power_levels", "").await;
    assert_eq!(levels["users"], json!({ &alice.user_id: 100 }));
    mute(&alice, &group, &bob, 600).await;
    assert_eq!(talk(&bob, &group).await, 403);
    assert_eq!(mute(&alice, &group, &bob, 0).await, 0);
    assert_eq!(talk(&bob, &group).await, 200);
}

#[tokio::test]
async fn a_muted_admin_is_one_again() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let body = json!({ "group_id": group.id, "user_id": bob.user_id });
    alice.put("/group/promote/admin", body.clone()).await.done();
    mute(&alice, &group, &bob, 600).await;
    assert_eq!(talk(&bob, &group).await, 403);
    assert_eq!(role(&carol, &group, &bob).await, "admin");
    mute(&alice, &group, &bob, 0).await;
    assert_eq!(carol.state(&group.room, "m.room.power_levels", "").await["users"][&bob.user_id], 50);
    // What is changed while they are muted holds afterwards.
    mute(&alice, &group, &bob, 600).await;
    alice.put("/group/demote/member", body).await.done();
    assert_eq!(talk(&bob, &group).await, 403);
    mute(&alice, &group, &bob, 0).await;
    assert_eq!(role(&carol, &group, &bob).await, "member");
}

#[tokio::test]
async fn in_a_muted_group_owner_and_admins_talk() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    alice.put("/group/promote/admin", json!({ "group_id": group.id, "user_id": bob.user_id })).await.done();
    bob.put("/group/mute/all", json!({ "group_id": group.id, "mute": true })).await.done();
    assert_eq!([talk(&alice, &group).await, talk(&bob, &group).await, talk(&carol, &group).await], [200, 200, 403]);
    alice.put("/group/mute/all", json!({ "group_id": group.id, "mute": false })).await.done();
    assert_eq!(talk(&carol, &group).await, 200);
}

/// Power levels that a plain client edits are made to say again what the mutes say.
#[tokio::test]
async fn a_mute_outlives_power_levels_set_by_hand() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    mute(&alice, &group, &bob, 600).await;
    let mut levels = alice.state(&group.room, "m.room.power_levels", "").await;
    levels["users"] = json!({ &alice.user_id: 100, &carol.user_id: 50 });
    alice.set_state(&group.room, "m.room.power_levels", "", levels).await;
    assert_eq!(talk(&bob, &group).await, 403);
    eventually("bob is at -1 again", || async {
        let levels = carol.state(&group.room, "m.room.power_levels", "").await;
        (levels["users"] == json!({ &alice.user_id: 100, &carol.user_id: 50, &bob.user_id: -1 })).then_some(())
    })
    .await;
    assert_eq!(role(&bob, &group, &carol).await, "admin");
}

/// A mute that ends while the server is down is lifted when it is back.
#[tokio::test]
async fn a_mute_ends_across_a_restart() {
    let mut server = Server::start(Options::default());
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    mute(&alice, &group, &bob, 1).await;
    let muted = std::time::Instant::now();
    mute(&alice, &group, &carol, 600).await;
    server.kill9();
    eventually("the mute's time is over", || async {
        (muted.elapsed() > std::time::Duration::from_secs(1)).then_some(())
    })
    .await;
    server.restart();
    let base = server.anonymous().base;
    let (alice, bob, carol) = (alice.at(&base), bob.at(&base), carol.at(&base));
    eventually("bob may talk", || async { (talk(&bob, &group).await == 200).then_some(()) }).await;
    assert_eq!(talk(&carol, &group).await, 403);
    let levels = alice.state(&group.room, "m.room.power_levels", "").await;
    assert_eq!(levels["users"], json!({ &alice.user_id: 100, &carol.user_id: -1 }));
}

/// The power levels have place for 800; beyond, this server enforces alone, until there is place.
#[tokio::test]
async fn a_mute_holds_without_a_place_in_the_power_levels() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let levels = alice.state(&group.room, "m.room.power_levels", "").await;
    let mut full = levels.clone();
    for number in 0..800 {
        full["users"][format!("@m{number}:b.example")] = json!(-1);
    }
    alice.set_state(&group.room, "m.room.power_levels", "", full).await;
    mute(&alice, &group, &bob, 600).await;
    assert!(alice.state(&group.room, "m.room.power_levels", "").await["users"].get(&bob.user_id).is_none());
    assert_eq!([talk(&bob, &group).await, talk(&carol, &group).await], [403, 200]);
    alice.set_state(&group.room, "m.room.power_levels", "", levels).await;
    eventually("bob is at -1", || async {
        let levels = carol.state(&group.room, "m.room.power_levels", "").await;
        (levels["users"] == json!({ &alice.user_id: 100, &bob.user_id: -1 })).then_some(())
    })
    .await;
}
