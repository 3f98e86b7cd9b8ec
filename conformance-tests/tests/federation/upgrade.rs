//! An upgrade of a room carries the users of all servers.

use conformance_tests::{eventually, heard, join_via, v3};
use serde_json::json;

use crate::own;

#[tokio::test]
async fn everybody_follows_the_tombstone() {
    let [a, b] = own();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let create = json!({ "preset": "public_chat", "room_version": "10", "name": "old" });
    let old = alice.create_room(create).await;
    join_via(&bob, &old, a.name()).await;
    heard(&bob, &old, "here", &[&alice]).await;
    let answer = alice.post(&v3!("/rooms/{}/upgrade", old), json!({ "new_version": "12" })).await.ok();
    let new = answer["replacement_room"].as_str().expect("a room id").to_owned();
    eventually("the tombstone is seen", || async {
        let reply = bob.get(&v3!("/rooms/{}/state/m.room.tombstone", old)).await;
        (reply.status == 200 && reply.ok()["replacement_room"] == new).then_some(())
    })
    .await;
    // The replacement's id names no server from version 12 on: the old room's servers are the way.
    join_via(&bob, &new, a.name()).await;
    assert_eq!(bob.state(&new, "m.room.name", "").await["name"], "old");
    assert_eq!(bob.state(&new, "m.room.create", "").await["predecessor"]["room_id"], old);
    heard(&alice, &new, "moved", &[&bob]).await;
    heard(&bob, &new, "me too", &[&alice]).await;
}
