//! Servers that come back after a long time.

use super::fixture::{Does, RELAY, World, event, eventually};

#[tokio::test]
async fn a_room_that_owes_too_much_is_stood_for_by_its_newest_event_and_the_others_get_all() {
    let world = World::new().await;
    let busy = world.room(1, &["b.example"]).await;
    let mut quiet = Vec::new();
    for number in 2..=11 {
        quiet.push(world.room(number, &["b.example"]).await);
    }
    world.wire.behave(|_, _| Does::Fail);
    world.say(busy, 0).await;
    eventually("it is away", || !world.wire.sent().is_empty()).await;
    let (notes, rooms) = (world.notes.clone(), quiet.clone());
    world
        .write(move |tx| {
            for number in 1..=3_000 {
                event(tx, &notes, busy, number, "@alice:a.example", RELAY)?;
                if number % 30 == 0 {
                    let quiet = rooms[usize::try_from(number / 30 % 10).unwrap()];
                    event(tx, &notes, quiet, 10_000 + number, "@alice:a.example", RELAY)?;
                }
            }
            Ok(())
        })
        .await;
    world.wire.behave(|_, _| Does::Answer(200));
    let expected: Vec<i64> = (1..=100).map(|number| 10_000 + number * 30).collect();
    let of_quiet =
        |world: &World| world.wire.taken("b.example").into_iter().filter(|number| *number > 10_000).collect::<Vec<_>>();
    eventually("the quiet rooms are whole", || of_quiet(&world) == expected).await;
    world.say(busy, 5_000).await;
    eventually("the busy room goes on", || world.wire.taken("b.example").contains(&5_000)).await;
    let of_busy: Vec<i64> = world.wire.taken("b.example").into_iter().filter(|n| *n < 10_000).collect();
    assert_eq!(of_busy, [0, 3_000, 5_000]);
}

#[tokio::test]
async fn up_to_a_thousand_events_come_one_by_one() {
    let world = World::new().await;
    let room = world.room(1, &["b.example"]).await;
    world.wire.behave(|_, _| Does::Fail);
    world.say(room, 1).await;
    eventually("it is away", || !world.wire.sent().is_empty()).await;
    world.say_all(room, 2..=1_001).await;
    world.wire.behave(|_, _| Does::Answer(200));
    eventually("all arrive", || world.wire.taken("b.example").len() == 1_001).await;
    assert_eq!(world.wire.taken("b.example"), (1..=1_001).collect::<Vec<_>>());
}

#[tokio::test]
async fn extremities_of_others_stand_for_our_events_too() {
    let world = World::new().await;
    let room = world.room(1, &["b.example", "c.example"]).await;
    world.wire.behave(|server, _| if server == "b.example" { Does::Fail } else { Does::Answer(200) });
    world.say(room, 0).await;
    eventually("it is away", || world.wire.sent().iter().any(|sent| sent.to == "b.example")).await;
    world.say_all(room, 1..=1_500).await;
    let notes = world.notes.clone();
    // Carol's comes after ours, and is the only extremity.
    world.write(move |tx| event(tx, &notes, room, 9_000, "@carol:c.example", 0)).await;
    world.wire.behave(|_, _| Does::Answer(200));
    eventually("it arrives", || world.wire.taken("b.example").contains(&9_000)).await;
    assert_eq!(world.wire.taken("b.example"), [0, 9_000]);
}

#[tokio::test]
async fn a_server_kicked_while_it_was_away_gets_the_kick_alone() {
    let world = World::new().await;
    let room = world.room(1, &["b.example"]).await;
    world.wire.behave(|_, _| Does::Fail);
    world.say(room, 0).await;
    eventually("it is away", || !world.wire.sent().is_empty()).await;
    world.say_all(room, 1..=1_200).await;
    world.take_out(room, "b.example", 1_201).await;
    world.say_all(room, 1_202..=1_210).await;
    let other = world.room(2, &["b.example"]).await;
    world.say(other, 5_000).await;
    world.wire.behave(|_, _| Does::Answer(200));
    eventually("what is last arrives", || world.wire.taken("b.example").contains(&5_000)).await;
    assert_eq!(world.wire.taken("b.example"), [0, 1_201, 5_000]);
}
