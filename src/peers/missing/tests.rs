//! What other servers answer, honest or not.

use ruma::{EventId, OwnedEventId, RoomVersionId, event_id, user_id};
use serde_json::json;

use super::*;
use crate::{
    peers::fixture::{NewEvent, World, json_of},
    store::events::flag,
};

fn topic<'a>(prev: &EventId, key: &'a str, number: u64) -> NewEvent<'a> {
    NewEvent {
        sender: user_id!("@bob:b.example"),
        kind: "m.room.topic",
        state_key: Some(key),
        content: json!({ "topic": key }),
        prev: vec![prev.to_owned()],
        depth: 50 + number,
        event_id_v1: None,
    }
}

async fn state_with(world: &World, room: &RoomKey, on: &EventId, count: u64) -> Vec<OwnedEventId> {
    let mut state = world.state(room).await;
    for number in 0..count {
        let pdu = world.event(room, topic(on, &number.to_string(), number)).await;
        world.b.learn(&pdu);
        state.push(pdu.event_id().to_owned());
    }
    state
}

/// The event before which the state is asked for.
fn place() -> &'static EventId {
    event_id!("$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_events_of_a_state_are_fetched_one_by_one_and_many_at_once() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let join = world.join(&room, user_id!("@bob:b.example")).await;
    for (count, single, whole) in [(3, 3, 0), (60, 3, 1)] {
        let state = state_with(&world, &room, join.event_id(), count).await;
        world.b.learn_state(place(), state.clone());
        let got = world.missing.state_before(&room, place(), &world.b.name).await.unwrap();
        assert_eq!(got, state);
        assert_eq!((world.b.asked("event/"), world.b.asked("state/")), (single, whole));
        for id in &state {
            assert!(world.row(id).await.is_some());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_nobody_can_verify_are_left_out_of_a_state() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let join = world.join(&room, user_id!("@bob:b.example")).await;
    let known = world.state(&room).await;
    let state = state_with(&world, &room, join.event_id(), 2).await;
    let (spoilt, id) = (state[state.len() - 1].clone(), component(state[state.len() - 1].as_str()));
    world.b.learn_state(place(), state.clone());
    world
        .b
        .lie(move |path, _| path.contains(&format!("event/{id}")).then(|| (404, json!({ "errcode": "M_NOT_FOUND" }))));
    let got = world.missing.state_before(&room, place(), &world.b.name).await.unwrap();
    assert_eq!(got.len(), known.len() + 1);
    assert!(!got.contains(&spoilt));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_another_room_or_without_end_is_refused() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let other = world.room(RoomVersionId::V12).await;
    world.b.learn_state(place(), world.state(&other).await);
    let got = world.missing.state_before(&room, place(), &world.b.name).await;
    assert!(matches!(got, Err(MissingError::Unbacked(_))), "{got:?}");
    world.b.lie(|path, _| {
        path.contains("state_ids").then(|| (200, json!({ "pdu_ids": vec![place(); 100_001], "auth_chain_ids": [] })))
    });
    let got = world.missing.state_before(&room, place(), &world.b.name).await;
    assert!(matches!(got, Err(MissingError::Unbacked(_))), "{got:?}");
    world.b.lie(|_, _| Some((503, json!({}))));
    let got = world.missing.state_before(&room, place(), &world.b.name).await;
    assert!(matches!(got, Err(MissingError::Unreachable(_))), "{got:?}");
    world.b.lie(|_, _| Some((403, json!({ "errcode": "M_FORBIDDEN" }))));
    let got = world.missing.state_before(&room, place(), &world.b.name).await;
    assert!(matches!(got, Err(MissingError::Refused(_))), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_other_events_than_asked_for_is_none() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let other = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    let join = world.join(&room, bob).await;
    let elsewhere = world.join(&other, bob).await;
    let answer = json!({ "pdus": [json_of(&join)] });
    world.b.lie(move |path, _| path.contains("/event/").then(|| (200, answer.clone())));
    assert_eq!(world.missing.event(&room, join.event_id(), &world.b.name).await.unwrap().event_id(), join.event_id());
    let got = world.missing.event(&room, place(), &world.b.name).await;
    assert!(matches!(got, Err(MissingError::Unbacked(_))), "{got:?}");
    let got = world.missing.event(&other, join.event_id(), &world.b.name).await;
    assert!(matches!(got, Err(MissingError::Unbacked(_))), "of another room: {got:?}");
    let answer = json!({ "events": [json_of(&elsewhere), json_of(&join), 7] });
    world.b.lie(move |path, _| path.contains("missing").then(|| (200, answer.clone())));
    let before = Before { latest: vec![place().to_owned()], earliest: vec![], min_depth: 0 };
    let got = world.missing.events_before(&room, &before, &world.b.name).await.unwrap();
    assert_eq!(got.iter().map(|pdu| pdu.event_id()).collect::<Vec<_>>(), [join.event_id()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auth_chain_becomes_outliers() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V11).await;
    let (bob, beth) = (user_id!("@bob:b.example"), user_id!("@beth:b.example"));
    let join = world.join(&room, bob).await;
    let member = NewEvent {
        sender: beth,
        kind: "m.room.member",
        state_key: Some(beth.as_str()),
        content: json!({ "membership": "join" }),
        prev: vec![join.event_id().to_owned()],
        depth: 40,
        event_id_v1: None,
    };
    let member = world.event(&room, member).await;
    let rename = NewEvent {
        sender: beth,
        kind: "m.room.member",
        state_key: Some(beth.as_str()),
        content: json!({ "membership": "join", "displayname": "Beth" }),
        prev: vec![member.event_id().to_owned()],
        depth: 41,
        event_id_v1: None,
    };
    let rename = world.event_with_auth(&room, rename, std::slice::from_ref(&member)).await;
    for pdu in [&member, &rename] {
        world.b.learn(pdu);
    }
    let message = NewEvent::message(beth, vec![rename.event_id().to_owned()], 42, "hello");
    let message = world.event_with_auth(&room, message, std::slice::from_ref(&rename)).await;
    world.b.learn(&message);
    let lacking = [rename.event_id().to_owned()];
    world.missing.auth_events(&room, message.event_id(), &lacking, &world.b.name).await.unwrap();
    for pdu in [&member, &rename] {
        assert!(world.row(pdu.event_id()).await.unwrap().is(flag::OUTLIER));
    }
    assert_eq!(world.b.asked("event_auth"), 1);
}
