//! Events whose ancestors are not here.

use std::sync::atomic::Ordering;

use ruma::{OwnedEventId, RoomVersionId, event_id, user_id};
use serde_json::json;

use crate::{
    peers::fixture::{NewEvent, World, eventually, json_of},
    store::events::flag,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_filled_oldest_first() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    let join = world.join(&room, bob).await;
    let chain = world.chain(&room, bob, join.event_id(), join.depth() + 1, 70).await;
    chain.iter().for_each(|pdu| world.b.learn(pdu));
    world.send(&world.b.name, &[json_of(chain.last().unwrap())]).await;
    let mut last = 0;
    for pdu in &chain {
        let row = world.arrived(pdu).await;
        assert!(row.position.unwrap() > last, "they are live, oldest first");
        assert!(!row.is(flag::HIDDEN | flag::BACKFILLED));
        last = row.position.unwrap();
    }
    world.drained().await;
    assert_eq!(world.b.asked("get_missing_events"), 4, "69 events, 20 at a time");
    assert_eq!(world.b.asked("state_ids"), 0);
    assert_eq!(world.tips(&room).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_gap_is_too_deep_the_state_places_what_follows() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    world.join(&room, bob).await;
    // Nobody has what the oldest of them names.
    let nothing = event_id!("$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg");
    let chain = world.chain(&room, bob, nothing, 100, 30).await;
    chain.iter().for_each(|pdu| world.b.learn(pdu));
    let state = world.state(&room).await;
    world.b.learn_state(chain[0].event_id(), state);
    world.send(&world.b.name, &[json_of(&chain[29])]).await;
    for pdu in &chain {
        assert!(!world.arrived(pdu).await.is(flag::HIDDEN));
    }
    world.drained().await;
    assert_eq!(world.b.asked("state_ids"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_deep_ancestry_ends_within_bounds() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    let join = world.join(&room, bob).await;
    let nothing = event_id!("$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg");
    let chain = world.chain(&room, bob, nothing, 100, 10_000).await;
    chain.iter().for_each(|pdu| world.b.learn(pdu));
    let leaf = &chain[9_999];
    // The liar backs the event that it sent by a state, and nothing before it.
    world.b.learn_state(leaf.event_id(), world.state(&room).await);
    world.send(&world.b.name, &[json_of(leaf)]).await;
    assert!(!world.arrived(leaf).await.is(flag::HIDDEN), "it is placed by its state");
    world.drained().await;
    assert!(world.b.asked("get_missing_events") <= 60, "{}", world.b.asked("get_missing_events"));
    assert!(world.b.asked("state_ids") <= 10);
    // Without the state it is dropped, and the room goes on.
    let chain = world.chain(&room, bob, nothing, 20_000, 2_000).await;
    chain.iter().for_each(|pdu| world.b.learn(pdu));
    world.send(&world.b.name, &[json_of(chain.last().unwrap())]).await;
    world.drained().await;
    assert!(world.row(chain.last().unwrap().event_id()).await.is_none());
    let after = NewEvent::message(bob, vec![join.event_id().to_owned()], join.depth() + 1, "on we go");
    let after = world.event(&room, after).await;
    world.send(&world.b.name, &[json_of(&after)]).await;
    world.arrived(&after).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_in_a_circle_are_placed_by_their_state_or_dropped() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V1).await;
    let bob = user_id!("@bob:b.example");
    world.join(&room, bob).await;
    let circle = async |names: [&str; 2]| {
        let ids = names.map(|name| OwnedEventId::try_from(format!("${name}:b.example")).unwrap());
        let mut made = Vec::new();
        for (own, other) in [(0, 1), (1, 0)] {
            let new = NewEvent::message(bob, vec![ids[other].clone()], 50 + own as u64, "round and round");
            made.push(world.event(&room, NewEvent { event_id_v1: Some(&ids[own]), ..new }).await);
        }
        made.iter().for_each(|pdu| world.b.learn(pdu));
        made
    };
    let backed = circle(["one", "two"]).await;
    world.b.learn_state(backed[0].event_id(), world.state(&room).await);
    world.send(&world.b.name, &[json_of(&backed[0])]).await;
    world.arrived(&backed[0]).await;
    world.drained().await;
    let unbacked = circle(["three", "four"]).await;
    world.send(&world.b.name, &[json_of(&unbacked[0]), json_of(&unbacked[1])]).await;
    world.drained().await;
    assert!(world.row(unbacked[0].event_id()).await.is_none());
    assert!(world.b.asked("get_missing_events") < 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn if_the_origin_is_down_others_are_asked() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let (bob, carol) = (user_id!("@bob:b.example"), user_id!("@carol:c.example"));
    world.join(&room, carol).await;
    let join = world.join(&room, bob).await;
    let chain = world.chain(&room, bob, join.event_id(), join.depth() + 1, 10).await;
    chain.iter().for_each(|pdu| world.c.learn(pdu));
    // Its key is known since it joined.
    world.b.up.store(false, Ordering::Release);
    world.send(&world.b.name, &[json_of(&chain[9])]).await;
    for pdu in &chain {
        world.arrived(pdu).await;
    }
    world.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn if_nobody_can_be_asked_it_waits_and_holds_up_no_other_room() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let other = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    let join = world.join(&room, bob).await;
    world.join(&other, bob).await;
    let chain = world.chain(&room, bob, join.event_id(), join.depth() + 1, 10).await;
    chain.iter().for_each(|pdu| world.b.learn(pdu));
    world.b.up.store(false, Ordering::Release);
    world.send(&world.b.name, &[json_of(&chain[9])]).await;
    let elsewhere = world.message(&other, bob, "elsewhere").await;
    world.send(&world.b.name, &[json_of(&elsewhere)]).await;
    world.arrived(&elsewhere).await;
    // What needs nothing passes it in its own room, too.
    world.send(&world.b.name, &[json_of(&chain[0])]).await;
    world.arrived(&chain[0]).await;
    eventually("the gap was tried", async || world.reachability.failing() > 0).await;
    // An event is here before its staged copy is cleared away.
    eventually("what waits is staged, and nothing else", async || world.staged().await == 1).await;
    world.b.up.store(true, Ordering::Release);
    world.reachability.heard_from(&world.b.name);
    world.arrived(&chain[9]).await;
    world.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_auth_events_are_fetched() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V11).await;
    let (bob, beth) = (user_id!("@bob:b.example"), user_id!("@beth:b.example"));
    let join = world.join(&room, bob).await;
    // Beth joined on a branch that we never saw, and speaks after it was merged: her member event is an auth event.
    let member = NewEvent {
        sender: beth,
        kind: "m.room.member",
        state_key: Some(beth.as_str()),
        content: json!({ "membership": "join" }),
        prev: vec![join.event_id().to_owned()],
        depth: join.depth() + 1,
        event_id_v1: None,
    };
    let member = world.event(&room, member).await;
    world.b.learn(&member);
    let message = NewEvent::message(beth, vec![member.event_id().to_owned()], join.depth() + 2, "hello");
    let message = world.event_with_auth(&room, message, std::slice::from_ref(&member)).await;
    world.b.learn(&message);
    // The gap can't be filled, only the state can be had.
    world.b.lie(|path, _| path.contains("get_missing_events").then(|| (200, json!({ "events": [] }))));
    let mut state = world.state(&room).await;
    state.push(member.event_id().to_owned());
    world.b.learn_state(message.event_id(), state);
    world.send(&world.b.name, &[json_of(&message)]).await;
    let row = world.arrived(&message).await;
    assert!(!row.is(flag::REJECTED), "{row:?}");
    assert!(world.row(member.event_id()).await.unwrap().is(flag::OUTLIER));
    world.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_attempt_does_not_reach_to_is_not_lost() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    world.join(&room, bob).await;
    let state = world.state(&room).await;
    // Each has a gap of its own: more states than one attempt asks for.
    let mut branches = Vec::new();
    for at in 0..25_u64 {
        let unknown = OwnedEventId::try_from(format!("$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5{at:02}")).unwrap();
        let pdu = world.event(&room, NewEvent::message(bob, vec![unknown], 50 + at, "a branch")).await;
        world.b.learn(&pdu);
        world.b.learn_state(pdu.event_id(), state.clone());
        branches.push(pdu);
    }
    let sent: Vec<_> = branches.iter().map(|pdu| json_of(pdu)).collect();
    world.send(&world.b.name, &sent).await;
    for pdu in &branches {
        world.arrived(pdu).await;
    }
    world.drained().await;
}
