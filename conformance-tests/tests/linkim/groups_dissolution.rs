//! The end of a group.

use conformance_tests::{Client, Options, Server, eventually, path, unique, v3};
use serde_json::json;

use crate::SERVER;
use crate::groups::{Group, group, people};

async fn is_out(user: &Client, group: &Group) -> bool {
    let joined = user.get(&v3!("/joined_rooms")).await.ok();
    !joined["joined_rooms"].as_array().expect("a list").contains(&json!(group.room))
}

#[tokio::test]
async fn a_dissolved_group_is_over_but_readable() {
    let server = SERVER.get();
    let [alice, bob, carol, dave] = people(&server, ["alice", "bob", "carol", "dave"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let said = bob.send_text(&group.room, "remember").await;
    dave.post("/group/join", json!({ "group_id": group.id })).await.done();
    let end = json!({ "group_id": group.id });
    bob.delete("/group/dissolve", Some(end.clone())).await.refused(403, 1002);
    alice.put("/group/promote/admin", json!({ "group_id": group.id, "user_id": bob.user_id })).await.done();
    bob.delete("/group/dissolve", Some(end.clone())).await.refused(403, 1002);
    alice.delete("/group/dissolve", Some(end.clone())).await.done();
    // Silent at once.
    let path = v3!("/rooms/{}/send/m.room.message/{}", group.room, alice.next_transaction());
    alice.put(&path, json!({ "msgtype": "m.text", "body": "x" })).await.expect_error(403, "M_FORBIDDEN");
    for user in [&alice, &bob, &carol] {
        eventually("all are out", || async { is_out(user, &group).await.then_some(()) }).await;
        user.get(&path!("/group/info?group_id={}", group.id)).await.refused(410, 1204);
        user.get(&path!("/group/members?group_id={}", group.id)).await.refused(410, 1204);
        assert_eq!(user.event(&group.room, &said).await["content"]["body"], "remember");
        user.post(&v3!("/rooms/{}/join", group.room), json!({})).await.expect_error(403, "M_FORBIDDEN");
    }
    alice.delete("/group/dissolve", Some(end)).await.refused(410, 1204);
    alice.put("/group/name", json!({ "group_id": group.id, "new_name": "x" })).await.refused(410, 1204);
    carol.post("/group/join", json!({ "group_id": group.id })).await.refused(410, 1204);
    assert_eq!(alice.get("/groups").await.done()["detail"], json!([]));
}

/// Killed in the middle, it goes on at the next start.
#[tokio::test]
async fn a_dissolution_survives_a_kill() {
    let mut server = Server::start(Options::default());
    let alice = server.register(&unique("alice")).await;
    let mut others = Vec::new();
    for _ in 0..30 {
        others.push(server.register(&unique("member")).await);
    }
    let group = group(&alice, &others.iter().collect::<Vec<_>>()).await;
    alice.delete("/group/dissolve", Some(json!({ "group_id": group.id }))).await.done();
    server.kill9();
    server.restart();
    let base = server.anonymous().base;
    for user in others.iter().chain([&alice]) {
        let user = user.at(&base);
        eventually("all are out", || async { is_out(&user, &group).await.then_some(()) }).await;
        user.get(&path!("/group/info?group_id={}", group.id)).await.refused(410, 1204);
    }
}
