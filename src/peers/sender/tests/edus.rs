//! Receipts, device lists, to-device messages, typing.

use std::sync::Arc;

use ruma::server_name;
use serde_json::json;

use super::{
    super::{Edu, Sender},
    fixture::{Does, Lists, Sent, World, eventually},
};
use crate::{rooms::typing::TypingElsewhere, store::ids};

fn edus(world: &World, server: &str, kind: &str) -> Vec<serde_json::Value> {
    let sent = world.wire.sent();
    let taken = sent.iter().filter(|sent: &&Sent| sent.to == server && sent.status == Some(200));
    taken.flat_map(|sent| sent.edus(kind)).collect()
}

#[tokio::test]
async fn receipts_are_sent_newest_only_and_each_thread_in_an_edu_of_its_own() {
    let world = World::new().await;
    let room = world.room(1, &["b.example"]).await;
    world.say_all(room, 1..=3).await;
    eventually("the events are there", || world.wire.taken("b.example") == [1, 2, 3]).await;
    world.wire.behave(|_, _| Does::Fail);
    world.say(room, 4).await;
    eventually("it is away", || world.wire.sent().iter().any(|sent| sent.status.is_none())).await;
    world.read_to(room, "@alice:a.example", "", 1).await;
    world.read_to(room, "@alice:a.example", "", 2).await;
    world.read_to(room, "@alice:a.example", "main", 3).await;
    world.read_to(room, "@anna:a.example", "", 3).await;
    world.wire.behave(|_, _| Does::Answer(200));
    eventually("receipts arrive", || edus(&world, "b.example", "m.receipt").len() == 2).await;
    let event = |number| json!([super::fixture::event_id(room, number)]);
    let expected = [
        json!({ "!room1:a.example": { "m.read": {
            "@alice:a.example": { "event_ids": event(2), "data": { "ts": 1002 } },
            "@anna:a.example": { "event_ids": event(3), "data": { "ts": 1003 } },
        } } }),
        json!({ "!room1:a.example": { "m.read": {
            "@alice:a.example": { "event_ids": event(3), "data": { "ts": 1003, "thread_id": "main" } },
        } } }),
    ];
    let mut found = edus(&world, "b.example", "m.receipt");
    // Which thread comes first is left to the order of positions.
    found.sort_by_key(|edu| edu.to_string().contains("thread_id"));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn device_lists_meet_the_cut() {
    let lists = Arc::new(Lists::default());
    let world = World::with(lists.clone()).await;
    let room = world.room(1, &["b.example"]).await;
    let notes = world.notes.clone();
    let first = world.store.position() + 1;
    lists.0.lock().unwrap().extend((first..first + 150).map(|position| (position, room)));
    world
        .write(move |tx| {
            let last = (0..150).map(|_| tx.next_position()).last().unwrap();
            tx.after_commit(move || notes.room_at(room, last));
            Ok(())
        })
        .await;
    world.say(room, 1).await;
    eventually("the event, which is behind them, arrives", || world.wire.taken("b.example") == [1]).await;
    let found = edus(&world, "b.example", "m.device_list_update");
    let positions: Vec<i64> = found.iter().map(|edu| edu["position"].as_i64().unwrap()).collect();
    assert_eq!(positions, (first..first + 150).collect::<Vec<_>>());
    assert!(world.wire.sent().iter().all(|sent| sent.body["edus"].as_array().unwrap().len() <= 100));
}

#[tokio::test]
async fn to_device_messages_arrive_in_order_and_are_deleted() {
    let world = World::new().await;
    world.wire.behave(|_, _| Does::Fail);
    for number in 0..90 {
        let core = world.sender.core.clone();
        let content = json!({ "message_id": number }).to_string();
        let put = move |tx: &crate::store::WriteTx<'_>| {
            Sender { core }.to_device(tx, server_name!("b.example"), "m", &content)
        };
        world.write(put).await;
    }
    // They survive a kill.
    let world = world.reopened(false).await;
    world.wire.behave(|_, _| Does::Answer(200));
    world.sender.start().await.unwrap();
    eventually("all arrive", || edus(&world, "b.example", "m.direct_to_device").len() >= 90).await;
    let found = edus(&world, "b.example", "m.direct_to_device");
    let ids: Vec<i64> = found.iter().map(|edu| edu["message_id"].as_i64().unwrap()).collect();
    assert_eq!(ids, (0..90).collect::<Vec<_>>());
    let board = &world.sender.core.board;
    eventually("nothing is owed", || board.sizes().owed == 0).await;
    world.sender.core.flush(false).await.unwrap();
    assert_eq!(world.count("SELECT COUNT(*) FROM outbox_to_device").await, 0);
}

#[tokio::test]
async fn typing_reaches_who_is_up_and_is_forgotten_for_who_is_down() {
    let world = World::new().await;
    let room = world.room(1, &["b.example", "c.example"]).await;
    world.wire.behave(|server, _| if server == "b.example" { Does::Answer(200) } else { Does::Fail });
    let user = world
        .write(|tx| {
            ids::intern_user(tx, ruma::user_id!("@carol:c.example"))?;
            ids::intern_user(tx, ruma::user_id!("@alice:a.example"))
        })
        .await;
    world.notes.typing(room, user, true);
    let typing = json!({ "room_id": "!room1:a.example", "user_id": "@alice:a.example", "typing": true });
    eventually("it arrives", || edus(&world, "b.example", "m.typing") == [typing.clone()]).await;
    eventually("the other is found to be away", || world.wire.sent().iter().any(|sent| sent.to == "c.example")).await;
    let board = &world.sender.core.board;
    eventually("nothing waits", || board.sizes().owed == 0).await;
    world.wire.behave(|_, _| Does::Answer(200));
    world.say(room, 1).await;
    eventually("the event arrives", || world.wire.taken("c.example") == [1]).await;
    assert!(edus(&world, "c.example", "m.typing").is_empty());
    // Going on is not told again at once, and others' users are not ours to tell of.
    world.notes.typing(room, user, true);
    let carol = world.write(|tx| ids::intern_user(tx, ruma::user_id!("@carol:c.example"))).await;
    world.notes.typing(room, carol, true);
    world.notes.typing(room, user, false);
    eventually("the end arrives", || edus(&world, "b.example", "m.typing").len() == 2).await;
    assert_eq!(edus(&world, "b.example", "m.typing")[1]["typing"], false);
}

#[tokio::test]
async fn of_droppable_edus_the_newest_is_sent() {
    let world = World::new().await;
    let room = world.room(1, &["b.example"]).await;
    world.wire.behave(|_, _| Does::Hang);
    world.say(room, 1).await;
    eventually("a request is under way", || world.wire.sent().len() == 1).await;
    for number in 0..100 {
        let edu = Edu::new("m.presence", &json!({ "n": number })).unwrap();
        world.sender.edu(server_name!("b.example").to_owned(), "presence", edu);
    }
    let board = &world.sender.core.board;
    eventually("one waits", || board.sizes().droppable == 1).await;
}
