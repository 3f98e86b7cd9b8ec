//! What servers are sent, in which order, and what becomes of it when they, or we, are away.

mod catch_up;
mod edus;
mod failures;
mod fixture;

use self::fixture::{Does, RELAY, World, event, eventually};

/// `1..=last`, as a list.
fn up_to(last: i64) -> Vec<i64> {
    (1..=last).collect()
}

#[tokio::test]
async fn events_come_in_order_and_within_the_limits() {
    let world = World::new().await;
    let (one, two) = (world.room(1, &["b.example"]).await, world.room(2, &["b.example", "c.example"]).await);
    let notes = world.notes.clone();
    world
        .write(move |tx| {
            for number in 1..=230 {
                let room = if number % 3 == 0 { two } else { one };
                event(tx, &notes, room, number, "@alice:a.example", RELAY)?;
            }
            Ok(())
        })
        .await;
    eventually("b has all", || world.wire.taken("b.example").len() == 230).await;
    assert_eq!(world.wire.taken("b.example"), up_to(230));
    eventually("c has its room's", || world.wire.taken("c.example").len() == 76).await;
    assert!(world.wire.taken("c.example").iter().all(|number| number % 3 == 0));
    let sent = world.wire.sent();
    assert!(sent.iter().all(|sent| sent.numbers().len() <= 50));
    let mut ids: Vec<&String> = sent.iter().map(|sent| &sent.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), sent.len(), "each transaction has an id of its own");
    assert!(!sent.iter().any(|sent| sent.to == "a.example"));
}

#[tokio::test]
async fn only_what_we_relay_is_owed_and_not_to_whom_it_is_from() {
    let world = World::new().await;
    let room = world.room(1, &["b.example", "c.example"]).await;
    let notes = world.notes.clone();
    world
        .write(move |tx| {
            event(tx, &notes, room, 1, "@carol:c.example", 0)?;
            // A join that came to us by send_join.
            event(tx, &notes, room, 2, "@bob:b.example", RELAY)?;
            // Soft-failed.
            event(tx, &notes, room, 3, "@bob:b.example", RELAY | 1 << 2)?;
            event(tx, &notes, room, 4, "@alice:a.example", RELAY)?;
            Ok(())
        })
        .await;
    eventually("c has both", || world.wire.taken("c.example") == [2, 4]).await;
    eventually("b has the other's", || world.wire.taken("b.example") == [4]).await;
}

#[tokio::test]
async fn who_is_kicked_gets_the_kick_and_nothing_later() {
    let world = World::new().await;
    let room = world.room(1, &["b.example", "c.example"]).await;
    world.say(room, 1).await;
    eventually("both have it", || world.wire.taken("b.example") == [1] && world.wire.taken("c.example") == [1]).await;
    world.take_out(room, "b.example", 2).await;
    world.say(room, 3).await;
    eventually("the kick arrives", || world.wire.taken("b.example") == [1, 2]).await;
    world.say(room, 4).await;
    eventually("the other hears all", || world.wire.taken("c.example") == [1, 2, 3, 4]).await;
    assert_eq!(world.wire.taken("b.example"), [1, 2]);
}

#[tokio::test]
async fn a_server_outside_the_room_gets_what_it_is_owed_by_name() {
    let world = World::new().await;
    let room = world.room(1, &["c.example"]).await;
    world.say(room, 1).await;
    let notes = world.notes.clone();
    let nid = world.write(move |tx| Ok(event(tx, &notes, room, 2, "@alice:a.example", RELAY)?.0)).await;
    let sender = &world.sender;
    let core = sender.core.clone();
    world.write(move |tx| super::Sender { core }.owe(tx, ruma::server_name!("out.example"), nid)).await;
    eventually("it arrives", || world.wire.taken("out.example") == [2]).await;
    world.say(room, 3).await;
    eventually("the room hears all", || world.wire.taken("c.example") == [1, 2, 3]).await;
    assert_eq!(world.wire.taken("out.example"), [2]);
    sender.core.flush(false).await.unwrap();
    assert_eq!(world.count("SELECT COUNT(*) FROM outbox_events").await, 0, "acknowledged, so gone");
}

#[tokio::test]
async fn a_message_to_many_servers_writes_one_row() {
    let world = World::new().await;
    let names: Vec<&'static str> = (0..300).map(|n| &*Box::leak(format!("s{n}.example").into_boxed_str())).collect();
    let room = world.room(1, Box::leak(names.into_boxed_slice())).await;
    world.say(room, 1).await;
    eventually("all have it", || world.wire.sent().len() == 300).await;
    let board = &world.sender.core.board;
    eventually("nobody is owed anything", || board.sizes().owed == 0).await;
    world.sender.core.flush(false).await.unwrap();
    assert_eq!(world.count("SELECT COUNT(*) FROM destinations WHERE watermark IS NOT NULL").await, 0);
    assert_eq!(world.count("SELECT position FROM outbox_head").await, board.noted());
}

#[tokio::test]
async fn many_dirty_rooms_take_bounded_memory() {
    let world = World::new().await;
    let rooms = world
        .write(|tx| (0..10_000).map(|number| fixture::room(tx, number, &["b.example"])).collect::<Result<Vec<_>, _>>())
        .await;
    world.wire.behave(|_, _| Does::Hang);
    let last = *rooms.last().unwrap();
    world.say(last, 0).await;
    eventually("a request is under way", || world.wire.sent().len() == 1).await;
    let notes = world.notes.clone();
    world
        .write(move |tx| {
            for (number, room) in (1..).zip(rooms) {
                event(tx, &notes, room, number, "@alice:a.example", RELAY)?;
            }
            Ok(())
        })
        .await;
    let core = world.sender.core.clone();
    eventually("all is noted", || core.board.noted() == world.store.position()).await;
    let sizes = core.board.sizes();
    assert!(sizes.dirty_rooms <= 500, "{sizes:?}");
    // As after a kill: the one that hangs is repeated, among the rest.
    let world = world.reopened(false).await;
    world.wire.behave(|_, _| Does::Answer(200));
    world.sender.start().await.unwrap();
    eventually("all arrive", || world.wire.taken("b.example").len() > 10_000).await;
    assert_eq!(world.wire.taken("b.example"), (0..=10_000).collect::<Vec<_>>());
}
