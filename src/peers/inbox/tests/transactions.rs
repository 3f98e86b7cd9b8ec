//! Once each, durably, within bounds.

use std::time::Duration;

use ruma::{RoomVersionId, user_id};
use serde_json::json;

use crate::peers::{
    fixture::{World, eventually, json_of},
    inbox::{Bound, Bounds, TransactionError},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_a_restart() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    world.join(&room, bob).await;
    let pdu = world.message(&room, bob, "hello").await;
    // As if the process ended between the answer and the append: nobody works the room off.
    let joining = world.inbox.expect(room.room_id.clone(), room.version.clone());
    let sent = [json_of(&pdu)];
    let answer = world.try_send(&world.b.name, "txn", &sent, &[]).await.unwrap();
    assert_eq!(answer, json!({ "pdus": { pdu.event_id().as_str(): {} } }));
    assert_eq!(world.staged().await, 1);
    assert!(world.row(pdu.event_id()).await.is_none());
    world.inbox.stop();
    drop(joining);
    let world = world.restart().await;
    world.arrived(&pdu).await;
    world.drained().await;
    let again = world.try_send(&world.b.name, "txn", &sent, &[]).await.unwrap();
    assert_eq!(again, answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_row_is_cleared_away_is_harmless() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    world.join(&room, bob).await;
    let pdu = world.message(&room, bob, "hello").await;
    let joining = world.inbox.expect(room.room_id.clone(), room.version.clone());
    world.send(&world.b.name, &[json_of(&pdu)]).await;
    let incoming = crate::rooms::append::Incoming::new(pdu.clone());
    world.appenders.receive(room.nid, vec![incoming]).await.unwrap();
    drop(joining);
    world.drained().await;
    let nid = room.nid;
    let count = world.read(move |read| {
        let sql = "SELECT COUNT(*) FROM events WHERE room = ?1 AND flags & 7 = 0 AND state_key IS NULL";
        Ok(read.one(sql, crate::params![nid], |row| row.get::<i64>(0))?.unwrap())
    });
    assert_eq!(count.await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_transaction_is_taken_once_and_another_body_is_another_transaction() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V11).await;
    let bob = user_id!("@bob:b.example");
    world.join(&room, bob).await;
    let first = world.message(&room, bob, "one").await;
    let sent = [json_of(&first)];
    let answer = world.try_send(&world.b.name, "1", &sent, &[]).await.unwrap();
    world.arrived(&first).await;
    let second = world.message(&room, bob, "two").await;
    for _ in 0..3 {
        assert_eq!(world.try_send(&world.b.name, "1", &sent, &[]).await.unwrap(), answer);
    }
    let other = world.try_send(&world.b.name, "1", &[json_of(&second)], &[]).await.unwrap();
    assert_eq!(other, json!({ "pdus": { second.event_id().as_str(): {} } }));
    world.arrived(&second).await;
    // From somebody else too, in one transaction twice.
    let relayed = world.send(&world.c.name, &[json_of(&second), json_of(&second)]).await;
    assert_eq!(relayed, json!({ "pdus": { second.event_id().as_str(): {} } }));
    world.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_a_liar_spoilt_does_not_take_the_place_of_the_right_one() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    world.join(&room, bob).await;
    let pdu = world.message(&room, bob, "the truth").await;
    let (mut unsigned, mut altered) = (json_of(&pdu), json_of(&pdu));
    unsigned["signatures"]["b.example"]["ed25519:1"] = json!("AAAA");
    altered["content"]["body"] = json!("a lie");
    let joining = world.inbox.expect(room.room_id.clone(), room.version.clone());
    world.send(&world.c.name, &[unsigned]).await;
    world.send(&world.b.name, &[json_of(&pdu)]).await;
    drop(joining);
    world.arrived(&pdu).await;
    let other = world.message(&room, bob, "more truth").await;
    altered = json_of(&other);
    altered["content"]["body"] = json!("another lie");
    let joining = world.inbox.expect(room.room_id.clone(), room.version.clone());
    world.send(&world.c.name, &[altered]).await;
    world.send(&world.b.name, &[json_of(&other)]).await;
    drop(joining);
    let nid = world.arrived(&other).await.nid;
    let json = world.read(move |read| crate::store::events::json(read, nid)).await;
    assert!(json.contains("more truth"), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_slowed_then_refused_and_after_draining_taken() {
    let some = Bound { events: 8, bytes: 1_000_000 };
    let world = World::with(Bounds { origin: some, room: some, total: some }).await;
    let room = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    let join = world.join(&room, bob).await;
    world.drained().await;
    let chain = world.chain(&room, bob, join.event_id(), join.depth() + 1, 12).await;
    let sent: Vec<_> = chain.iter().map(|pdu| json_of(pdu)).collect();
    let joining = world.inbox.expect(room.room_id.clone(), room.version.clone());
    // Half full: at once.
    world.try_send(&world.b.name, "1", &sent[..4], &[]).await.unwrap();
    // 5 of 8: a quarter of the way to the longest delay.
    let started = tokio::time::Instant::now();
    world.try_send(&world.b.name, "2", &sent[4..5], &[]).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
    let refused = world.try_send(&world.b.name, "3", &sent[5..10], &[]).await;
    assert!(matches!(refused, Err(TransactionError::Full { retry_after_ms: 1.. })), "{refused:?}");
    assert_eq!(world.staged().await, 5, "nothing of what is refused is staged");
    drop(joining);
    world.drained().await;
    world.try_send(&world.b.name, "3", &sent[5..9], &[]).await.unwrap();
    world.drained().await;
    world.try_send(&world.b.name, "4", &sent[9..12], &[]).await.unwrap();
    world.arrived(chain.last().unwrap()).await;
    eventually("all events are here", async || {
        let mut here = true;
        for pdu in &chain {
            here &= world.row(pdu.event_id()).await.is_some();
        }
        here
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_in_any_order_become_a_chain() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    let join = world.join(&room, bob).await;
    let chain = world.chain(&room, bob, join.event_id(), join.depth() + 1, 50).await;
    let mut sent: Vec<_> = chain.iter().map(|pdu| json_of(pdu)).collect();
    sent.reverse();
    world.send(&world.b.name, &sent).await;
    let mut last = 0;
    for pdu in &chain {
        let position = world.arrived(pdu).await.position.unwrap();
        assert!(position > last, "oldest first");
        last = position;
    }
    world.drained().await;
    assert_eq!(world.b.asked("get_missing_events"), 0, "what was sent is not fetched");
}

/// Nothing waits, and nobody works.
async fn at_rest(world: &World) {
    world.drained().await;
    eventually("no worker is left", async || world.inbox.shared.rooms().workers.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_live_is_in_the_room_when_it_is_answered_and_never_waits() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    let join = world.join(&room, bob).await;
    at_rest(&world).await;
    let chain = world.chain(&room, bob, join.event_id(), join.depth() + 1, 5).await;
    let sent: Vec<_> = chain.iter().map(|pdu| json_of(pdu)).collect();
    let answer = world.try_send(&world.b.name, "1", &[sent[1].clone(), sent[0].clone()], &[]).await.unwrap();
    let ids = [chain[0].event_id().as_str(), chain[1].event_id().as_str()];
    assert_eq!(answer, json!({ "pdus": { ids[0]: {}, ids[1]: {} } }));
    for pdu in &chain[..2] {
        assert!(world.row(pdu.event_id()).await.is_some(), "appended, not staged");
    }
    assert_eq!(world.staged().await, 0);
    assert!(world.inbox.shared.rooms().workers.is_empty(), "nobody had to work it off");
    assert_eq!(world.inbox.shared.desk().total(), crate::peers::inbox::desk::Load::default());
    let again = world.try_send(&world.b.name, "1", &[sent[1].clone(), sent[0].clone()], &[]).await.unwrap();
    assert_eq!(again, answer);
    // What lacks something waits as ever, and the one that does not is here at once.
    chain.iter().for_each(|pdu| world.b.learn(pdu));
    world.try_send(&world.b.name, "2", &[sent[4].clone(), sent[2].clone()], &[]).await.unwrap();
    assert!(world.row(chain[2].event_id()).await.is_some());
    world.arrived(&chain[4]).await;
    world.arrived(&chain[3]).await;
    at_rest(&world).await;
    assert_eq!(world.inbox.shared.desk().total(), crate::peers::inbox::desk::Load::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_hangs_up_leaves_no_place_taken() {
    let one = Bound { events: 1, bytes: 1_000_000 };
    let world = World::with(Bounds { origin: one, room: one, total: one }).await;
    let room = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    world.join(&room, bob).await;
    world.drained().await;
    let pdu = world.message(&room, bob, "hello").await;
    let (sent, name) = ([json_of(&pdu)], world.b.name.clone());
    for polls in 1..40 {
        let sending = world.try_send(&name, "1", &sent, &[]);
        let mut sending = Box::pin(sending);
        for _ in 0..polls {
            if futures_util::poll!(&mut sending).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    world.drained().await;
    eventually("there is a place", async || {
        world.inbox.shared.desk().total() == crate::peers::inbox::desk::Load::default()
    })
    .await;
}
