//! Typing and receipts of other servers' users.

use ruma::{RoomVersionId, user_id};
use serde_json::{Value, json};

use crate::{
    peers::fixture::{World, eventually, json_of},
    store::{ids, receipts},
};

fn receipt(room: &str, user: &str, event: &str, thread: Option<&str>) -> Value {
    let mut data = json!({ "ts": 5 });
    if let Some(thread) = thread {
        data["thread_id"] = json!(thread);
    }
    let receipts = json!({ room: { "m.read": { user: { "event_ids": [event], "data": data } } } });
    json!({ "edu_type": "m.receipt", "content": receipts })
}

/// (user, event, thread) of a room's receipts.
async fn receipts_of(world: &World, room: ids::RoomNid) -> Vec<(String, String, String)> {
    world
        .read(move |read| {
            let nobody = ids::UserNid(-1);
            let rows = receipts::newest(read, room, nobody, 100)?;
            rows.into_iter()
                .map(|row| Ok((ids::user_id(read, row.user)?.to_string(), row.event_id.to_string(), row.thread)))
                .collect()
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_is_of_members_and_of_the_origin() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    world.join(&room, bob).await;
    let typing = |user: &str, typing: bool| json!({ "edu_type": "m.typing", "content": { "room_id": room.room_id, "user_id": user, "typing": typing } });
    let edus = [typing("@alice:a.example", true), typing("@eve:b.example", true), typing("@x:c.example", true)];
    world.try_send(&world.b.name, "1", &[], &edus).await.unwrap();
    assert_eq!(world.typing.users(room.nid), []);
    world.try_send(&world.b.name, "2", &[], &[typing(bob.as_str(), true)]).await.unwrap();
    assert_eq!(world.typing.users(room.nid).len(), 1);
    world.try_send(&world.b.name, "3", &[], &[typing(bob.as_str(), false)]).await.unwrap();
    assert_eq!(world.typing.users(room.nid), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_go_forward_and_wait_for_their_events() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    let join = world.join(&room, bob).await;
    let chain = world.chain(&room, bob, join.event_id(), join.depth() + 1, 3).await;
    world.send(&world.b.name, &[json_of(&chain[0])]).await;
    world.arrived(&chain[0]).await;
    let id = |at: usize| chain[at].event_id().as_str();
    let (here, bob) = (room.room_id.as_str(), bob.as_str());
    let edus = [
        receipt(here, bob, id(0), None),
        receipt(here, bob, join.event_id().as_str(), None),
        receipt(here, "@eve:b.example", id(0), None),
        receipt(here, "@alice:a.example", id(0), None),
        receipt("!nowhere:b.example", bob, id(0), None),
        // No event of that thread.
        receipt(here, bob, id(0), Some(join.event_id().as_str())),
        receipt(here, bob, id(0), Some("main")),
    ];
    world.try_send(&world.b.name, "1", &[], &edus).await.unwrap();
    let entry = |at: usize, thread: &str| (bob.to_owned(), id(at).to_owned(), thread.to_owned());
    assert_eq!(receipts_of(&world, room.nid).await, [entry(0, "main"), entry(0, "")]);
    // The receipt comes before the events.
    world.try_send(&world.b.name, "2", &[], &[receipt(here, bob, id(2), None)]).await.unwrap();
    assert_eq!(receipts_of(&world, room.nid).await, [entry(0, "main"), entry(0, "")]);
    world.send(&world.b.name, &[json_of(&chain[1]), json_of(&chain[2])]).await;
    eventually("the receipt takes effect", async || {
        receipts_of(&world, room.nid).await == [entry(2, ""), entry(0, "main")]
    })
    .await;
    let waiting = world.read(|read| read.one("SELECT COUNT(*) FROM pending_receipts", &[], |row| row.get::<i64>(0)));
    assert_eq!(waiting.await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_for_what_never_comes_are_bounded() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    world.join(&room, bob).await;
    let edus: Vec<Value> = (0..60)
        .map(|at| {
            let thread = format!("$thread{at}");
            receipt(room.room_id.as_str(), bob.as_str(), &format!("$event{at}"), Some(&thread))
        })
        .collect();
    world.try_send(&world.b.name, "1", &[], &edus).await.unwrap();
    let waiting = world.read(|read| read.one("SELECT COUNT(*) FROM pending_receipts", &[], |row| row.get::<i64>(0)));
    assert_eq!(waiting.await, Some(20));
}
