//! Announcements in groups with members on two servers.

use conformance_tests::{Client, encode, eventually, invited, membership_is, v3};
use serde_json::{Value, json};

use crate::pair;

/// A group of alice's and bob's server, with carol and dave of another.
async fn group(alice: &Client, here: &[&Client], there: &[&Client]) -> (String, String) {
    let user_ids: Vec<_> = here.iter().chain(there).map(|user| user.user_id.clone()).collect();
    let made = alice.post("/group/create", json!({ "user_ids": user_ids, "group_name": "Team" })).await.done();
    let text = |key: &str| made[key].as_str().expect("a string").to_owned();
    let (id, room) = (text("groupID"), text("room_id"));
    for user in there {
        invited(user, &room).await;
        user.join(&room).await;
        membership_is(alice, &room, &user.user_id, "join").await;
    }
    (id, room)
}

async fn confirmed(by: &Client, group: &str, users: &[&Client]) {
    let mut wanted: Vec<_> = users.iter().map(|user| user.user_id.clone()).collect();
    wanted.sort();
    eventually(&format!("{} sees who confirmed", by.user_id), || async {
        let page = by.get(&format!("/group/notice/readers?group_id={}&state=confirmed", encode(group))).await.done();
        let users = page["detail"].as_array().expect("a list").iter();
        let mut found: Vec<_> = users.map(|user| user["matrix_id"].as_str().expect("an id").to_owned()).collect();
        found.sort();
        (found == wanted).then_some(())
    })
    .await;
}

async fn notice_is(by: &Client, group: &str, text: &str) -> Value {
    eventually(&format!("{} reads {text}", by.user_id), || async {
        let notice = by.get(&format!("/group/notice?group_id={}", encode(group))).await.done();
        (notice["notice"] == text).then(|| notice["detail"].clone())
    })
    .await
}

#[tokio::test]
async fn members_of_another_server_read_and_confirm() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, a.register("bob").await);
    let (carol, dave) = (b.register("carol").await, b.register("dave").await);
    let (id, room) = group(&alice, &[&bob], &[&carol, &dave]).await;
    let body = json!({ "group_id": id, "new_notice": "for all", "must_confirm": true });
    let made = alice.put("/group/notice", body).await.done()["detail"].clone();
    let post = made["event_id"].as_str().expect("an id");
    assert_eq!(notice_is(&carol, &room, "for all").await["event_id"], post);
    eventually("it is pinned there", || async {
        let reply = carol.get(&v3!("/rooms/{}/state/m.room.pinned_events/", room)).await;
        (reply.status == 200 && reply.json["pinned"] == json!([post])).then_some(())
    })
    .await;

    carol.post("/group/notice/confirm", json!({ "group_id": room })).await.done();
    confirmed(&alice, &id, &[&carol]).await;
    let relation = json!({ "rel_type": "m.annotation", "event_id": post, "key": "✅" });
    let check = dave.send(&room, "m.reaction", json!({ "m.relates_to": relation })).await;
    confirmed(&alice, &id, &[&carol, &dave]).await;
    dave.redact(&room, &check, json!({})).await;
    confirmed(&alice, &id, &[&carol]).await;

    // Read positions come by receipts.
    dave.post(&v3!("/rooms/{}/receipt/m.read/{}", room, post), json!({})).await.ok();
    eventually("dave has read it", || async {
        let page = alice.get(&format!("/group/notice/readers?group_id={id}&state=read")).await.done();
        (page["read_count"] == 2).then_some(())
    })
    .await;
}

/// An admin announces with their own power: the group's server need not be there.
#[tokio::test]
async fn an_admin_of_another_server_announces() {
    let [a, b] = crate::own();
    let (alice, bob) = (a.register("alice").await, a.register("bob").await);
    let (carol, dave) = (b.register("carol").await, b.register("dave").await);
    let (id, room) = group(&alice, &[&bob], &[&carol, &dave]).await;
    alice.put("/group/promote/admin", json!({ "group_id": id, "user_id": carol.user_id })).await.done();
    let body = |text: &str| json!({ "group_id": room, "new_notice": text, "must_confirm": true });
    eventually("carol is an admin there", || async {
        let info = carol.get(&format!("/group/info?group_id={}", encode(&room))).await.done();
        (info["detail"]["role"] == "admin").then_some(())
    })
    .await;
    dave.put("/group/notice", body("mine")).await.refused(403, 1002);
    a.gate().close();
    carol.put("/group/notice", body("from afar")).await.done();
    dave.post("/group/notice/confirm", json!({ "group_id": room })).await.done();
    confirmed(&carol, &room, &[&dave]).await;
    a.gate().open();
    alice.send_text(&room, "back").await;
    let detail = notice_is(&bob, &id, "from afar").await;
    assert_eq!(detail["author"]["matrix_id"], carol.user_id);
    confirmed(&alice, &id, &[&dave]).await;
    // Another's announcement, changed: a new post in its place.
    let edit = json!({ "group_id": id, "new_notice": "from here", "edit": true });
    let changed = alice.put("/group/notice", edit).await.done()["detail"].clone();
    assert_ne!(changed["event_id"], detail["event_id"]);
    assert_eq!(notice_is(&dave, &room, "from here").await["must_confirm"], true);
}
