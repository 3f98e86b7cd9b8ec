//! Transactions that fail.

use super::{
    fixture::{Does, Sent, World, event_id, eventually},
    up_to,
};

fn bodies(world: &World, server: &str) -> Vec<Sent> {
    world.wire.sent().into_iter().filter(|sent| sent.to == server).collect()
}

#[tokio::test]
async fn a_failed_transaction_is_repeated_byte_for_byte_also_after_a_restart() {
    let world = World::new().await;
    let room = world.room(1, &["b.example"]).await;
    world.wire.behave(|_, _| Does::Answer(502));
    world.say(room, 1).await;
    eventually("it failed twice", || bodies(&world, "b.example").len() >= 2).await;
    world.say(room, 2).await;
    let world = world.reopened(true).await;
    let before = bodies(&world, "b.example");
    world.wire.behave(|_, _| Does::Answer(200));
    world.sender.start().await.unwrap();
    eventually("both arrive", || world.wire.taken("b.example") == [1, 2]).await;
    let after = bodies(&world, "b.example");
    for sent in &after[..=before.len()] {
        assert_eq!((&sent.id, &sent.text), (&after[0].id, &after[0].text));
        assert_eq!(sent.numbers(), [1]);
    }
    let last = after.last().unwrap();
    assert_eq!(last.numbers(), [2]);
    assert_ne!(last.id, after[0].id);
    let board = &world.sender.core.board;
    eventually("nothing is owed", || board.sizes().owed == 0).await;
    world.sender.core.flush(false).await.unwrap();
    assert_eq!(world.count("SELECT COUNT(*) FROM destination_transactions").await, 0);
}

#[tokio::test]
async fn an_event_that_a_server_does_not_take_is_noted_before_the_watermark_passes_it() {
    let world = World::new().await;
    let room = world.room(1, &["b.example", "c.example"]).await;
    world.wire.behave(move |to, _| match to {
        "b.example" => Does::Refuse(event_id(room, 2)),
        _ => Does::Answer(200),
    });
    world.say_all(room, 1..=3).await;
    let board = &world.sender.core.board;
    eventually("both have all", || board.sizes().owed == 0 && world.wire.taken("c.example") == [1, 2, 3]).await;
    let refused = "SELECT COUNT(*) FROM refused_events r JOIN servers s ON s.nid = r.server \
                   JOIN event_json j ON j.event = r.event WHERE s.name = 'b.example' AND j.json = '{\"n\":2}'";
    assert_eq!(world.count(refused).await, 1);
    assert_eq!(world.count("SELECT COUNT(*) FROM refused_events").await, 1);
}

#[tokio::test]
async fn one_under_way_at_a_stop_is_repeated() {
    let world = World::new().await;
    let room = world.room(1, &["b.example"]).await;
    world.wire.behave(|_, _| Does::Hang);
    world.say_all(room, 1..=60).await;
    eventually("it is under way", || bodies(&world, "b.example").len() == 1).await;
    let world = world.reopened(true).await;
    world.wire.behave(|_, _| Does::Answer(200));
    world.sender.start().await.unwrap();
    eventually("all arrive", || world.wire.taken("b.example").len() == 60).await;
    assert_eq!(world.wire.taken("b.example"), up_to(60));
    let sent = bodies(&world, "b.example");
    assert_eq!((&sent[0].id, &sent[0].text), (&sent[1].id, &sent[1].text));
}

#[tokio::test]
async fn a_kill_before_the_watermark_is_written_repeats_and_leaves_no_gap() {
    let world = World::new().await;
    let room = world.room(1, &["b.example", "c.example"]).await;
    world.say_all(room, 1..=70).await;
    eventually("all arrive", || world.wire.taken("b.example").len() == 70).await;
    // Killed before the first flush, and more was said that nobody was sent.
    world.wire.behave(|_, _| Does::Hang);
    world.say_all(room, 71..=80).await;
    let world = world.reopened(false).await;
    world.wire.behave(|_, _| Does::Answer(200));
    world.sender.start().await.unwrap();
    eventually("the newest arrives", || world.wire.taken("b.example").contains(&80)).await;
    let taken = world.wire.taken("b.example");
    let mut once = taken.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once, up_to(80));
    assert_eq!(taken[70..].iter().filter(|number| **number > 70).count(), 10, "what was new came once");
}

#[tokio::test]
async fn to_hear_from_a_server_ends_its_pause() {
    let world = World::new().await;
    let room = world.room(1, &["b.example"]).await;
    let b = ruma::server_name!("b.example");
    // Longer than the test may take: the pause is asked for by name, as a restored row would be.
    world.wire.behave(|_, _| Does::Fail);
    world.say(room, 1).await;
    eventually("it is away", || world.reachability.has_failed(b)).await;
    world.reachability.restore(Vec::new());
    world.wire.behave(|_, _| Does::Answer(200));
    world.reachability.heard_from(b);
    eventually("it arrives", || world.wire.taken("b.example") == [1]).await;
    assert!(!world.reachability.has_failed(b));
}

#[tokio::test]
async fn what_is_known_of_a_failing_server_survives() {
    let world = World::new().await;
    let room = world.room(1, &["b.example"]).await;
    world.wire.behave(|_, _| Does::Fail);
    world.say(room, 1).await;
    eventually("it failed", || bodies(&world, "b.example").len() >= 2).await;
    let world = world.reopened(true).await;
    let known = world.reachability.snapshot();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].server, "b.example");
    assert!(known[0].failures >= 1 && known[0].last_error.contains("refused"), "{known:?}");
    let line = world.sender.overview(String::new()).await.unwrap().lines.remove(0);
    assert_eq!((line.server.as_str(), line.events, line.last_success_ms), ("b.example", 1, None));
    assert!(line.failures >= 1 && line.next_try_ms.is_some() && line.positions > 0, "{line:?}");
    // Without a sender that runs, too: as `linkim admin federation retry` does it.
    assert!(world.sender.retry(ruma::server_name!("b.example")).await.unwrap());
    assert!(!world.sender.retry(ruma::server_name!("nobody.example")).await.unwrap());
    let world = world.reopened(true).await;
    assert!(world.reachability.snapshot().is_empty());
}

#[tokio::test]
async fn what_a_server_does_not_take_is_dropped_and_the_rest_arrives() {
    let world = World::new().await;
    let room = world.room(1, &["b.example"]).await;
    world.wire.behave(|_, _| Does::Hang);
    world.say(room, 0).await;
    eventually("it is under way", || bodies(&world, "b.example").len() == 1).await;
    let world = world.reopened(false).await;
    world.wire.behave(|_, body| {
        let poison = body["pdus"].as_array().unwrap().iter().any(|pdu| pdu["n"] == 7 || pdu["n"] == 20);
        let receipt = body["edus"].as_array().unwrap().iter().any(|edu| edu["edu_type"] == "m.receipt");
        Does::Answer(if poison || receipt { 400 } else { 200 })
    });
    world.say_all(room, 1..=30).await;
    world.read_to(room, "@alice:a.example", "", 3).await;
    world.sender.start().await.unwrap();
    eventually("the last arrives", || world.wire.taken("b.example").contains(&30)).await;
    world.say(room, 31).await;
    eventually("it goes on", || world.wire.taken("b.example").contains(&31)).await;
    let expected: Vec<i64> = (0..=31).filter(|number| *number != 7 && *number != 20).collect();
    assert_eq!(world.wire.taken("b.example"), expected);
    let board = &world.sender.core.board;
    eventually("nothing is owed", || board.sizes().owed == 0).await;
    world.sender.core.flush(false).await.unwrap();
    assert_eq!(world.count("SELECT dropped FROM destinations").await, 3);
}

#[tokio::test]
async fn a_server_that_refuses_everything_is_dropped_nothing() {
    let world = World::new().await;
    let room = world.room(1, &["b.example"]).await;
    world.wire.behave(|_, _| Does::Answer(400));
    world.say_all(room, 1..=3).await;
    let probes = |world: &World| bodies(world, "b.example").iter().filter(|sent| sent.numbers().is_empty()).count();
    eventually("it was asked whether it takes anything", || probes(&world) >= 2).await;
    let sent = bodies(&world, "b.example");
    let mut whole = sent.iter().filter(|sent| !sent.numbers().is_empty());
    let first = &whole.next().unwrap().id;
    assert!(whole.all(|sent| sent.id == *first), "nothing was split");
    world.wire.behave(|_, _| Does::Answer(200));
    eventually("all arrive", || world.wire.taken("b.example") == [1, 2, 3]).await;
}

#[tokio::test]
async fn no_one_waits_for_a_server_that_hangs() {
    let world = World::new().await;
    let room = world.room(1, &["b.example", "c.example"]).await;
    world.wire.behave(|server, _| if server == "b.example" { Does::Hang } else { Does::Answer(200) });
    for number in 1..=5 {
        world.say(room, number).await;
    }
    eventually("the other has all", || world.wire.taken("c.example") == up_to(5)).await;
    assert_eq!(bodies(&world, "b.example").len(), 1, "one at a time");
    // Its watermark does not hold back the others' for long.
    for _ in 0..10 {
        world.sender.core.flush(false).await.unwrap();
    }
    assert_eq!(world.count("SELECT COUNT(*) FROM destinations WHERE watermark IS NOT NULL").await, 1);
    assert_eq!(world.count("SELECT position FROM outbox_head").await, world.sender.core.board.noted());
}
