//! Each event on its own: a bad one costs no other.

use ruma::{EventId, RoomVersionId, event_id, user_id};
use serde_json::{Value, json};

use crate::{
    peers::fixture::{NewEvent, World, eventually, json_of},
    store::{events::flag, members},
};

fn error<'a>(answer: &'a Value, id: &EventId) -> Option<&'a str> {
    answer["pdus"][id.as_str()]["error"].as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_event_of_each_kind_costs_no_other() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V11).await;
    let elsewhere = world.room(RoomVersionId::V11).await;
    let bob = user_id!("@bob:b.example");
    let join = world.join(&room, bob).await;
    let chain = world.chain(&room, bob, join.event_id(), join.depth() + 1, 3).await;
    let on = |text: &str| NewEvent::message(bob, vec![join.event_id().to_owned()], join.depth() + 1, text);
    let (mut too_large, no_signature, wrong_hash) = (
        json_of(&*world.event(&room, on("x")).await),
        world.event(&room, on("y")).await,
        world.event(&room, on("z")).await,
    );
    too_large["content"]["body"] = json!("x".repeat(70_000));
    let mut unsigned = json_of(&no_signature);
    unsigned["signatures"] = json!({});
    let mut altered = json_of(&wrong_hash);
    altered["content"]["body"] = json!("something else");
    // Of somebody who is not in the room.
    let stranger = world.event(&room, NewEvent { sender: user_id!("@eve:b.example"), ..on("let me in") }).await;
    let unknown_room = {
        let mut event = json_of(&stranger);
        event["room_id"] = json!("!nowhere:b.example");
        event
    };
    // In the name of a user of ours.
    let mut forged = json_of(&*world.event(&room, on("forged")).await);
    forged["sender"] = json!("@alice:a.example");
    let mut no_prev = json_of(&*world.event(&room, on("alone")).await);
    no_prev["prev_events"] = json!("none");
    // It names the auth events of another room.
    let mut foreign = on("foreign");
    foreign.content = json!({ "body": "foreign" });
    let foreign = world.event(&elsewhere, foreign).await;

    let sent = [
        json_of(&chain[2]),
        json!(7),
        json!({ "room_id": 5 }),
        too_large,
        unsigned,
        altered,
        json_of(&stranger),
        unknown_room,
        forged,
        no_prev,
        json_of(&foreign),
        json_of(&chain[1]),
        json_of(&chain[0]),
    ];
    let answer = world.send(&world.b.name, &sent).await;
    for pdu in &chain {
        assert_eq!(error(&answer, pdu.event_id()), None);
        let row = world.arrived(pdu).await;
        assert!(!row.is(flag::HIDDEN), "{row:?}");
    }
    // The reference hash leaves `room_id` in, so the event has another id there.
    let errors = answer["pdus"].as_object().unwrap().values().filter(|answer| answer["error"].is_string()).count();
    assert!(errors >= 1, "{answer}");
    eventually("nothing is staged", async || world.staged().await == 0).await;
    let redacted = world.arrived(&wrong_hash).await;
    let body = world.read(move |read| crate::store::events::json(read, redacted.nid)).await;
    assert!(!body.contains("something else"), "its content hash does not hold: {body}");
    let rejected = world.arrived(&stranger).await;
    assert!(rejected.is(flag::REJECTED), "stored as refused");
    assert!(world.row(no_signature.event_id()).await.is_none());
    assert!(world.row(foreign.event_id()).await.is_none_or(|row| row.is(flag::REJECTED)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_the_acl_denies_is_not_heard() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let other = world.room(RoomVersionId::V12).await;
    let bob = user_id!("@bob:b.example");
    world.join(&room, bob).await;
    world.join(&other, bob).await;
    world.alice_sets(&room, "m.room.server_acl", "", json!({ "allow": ["*"], "deny": ["B.example"] })).await;
    let denied = world.message(&room, bob, "here?").await;
    let heard = world.message(&other, bob, "there!").await;
    let edu =
        |room: &str| json!({ "edu_type": "m.typing", "content": { "room_id": room, "user_id": bob, "typing": true } });
    let edus = [edu(room.room_id.as_str()), edu(other.room_id.as_str())];
    let answer = world.try_send(&world.b.name, "1", &[json_of(&denied), json_of(&heard)], &edus).await.unwrap();
    assert!(error(&answer, denied.event_id()).unwrap().contains("ACL"), "{answer}");
    assert_eq!(error(&answer, heard.event_id()), None);
    world.arrived(&heard).await;
    assert!(world.row(denied.event_id()).await.is_none());
    assert_eq!(world.typing.users(room.nid), []);
    assert_eq!(world.typing.users(other.nid).len(), 1);
    // Another server passes it on.
    let relayed = world.send(&world.c.name, &[json_of(&denied)]).await;
    assert_eq!(error(&relayed, denied.event_id()), None);
    world.arrived(&denied).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_we_are_not_in_is_none_of_our_business_but_for_the_end_of_an_invitation() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    let (bob, alice, carl) = (user_id!("@bob:b.example"), user_id!("@alice:a.example"), user_id!("@carl:a.example"));
    let dora = user_id!("@dora:c.example");
    world.join(&room, bob).await;
    world.join(&room, dora).await;
    // Alice leaves; nobody of ours is in the room any more.
    world
        .alice_sets(
            &room,
            "m.room.power_levels",
            "",
            json!({ "users": {}, "users_default": 0, "invite": 0, "kick": 0 }),
        )
        .await;
    world.alice_sets(&room, "m.room.member", alice.as_str(), json!({ "membership": "leave" })).await;
    let member = |sender, membership: &str| NewEvent {
        sender,
        kind: "m.room.member",
        state_key: Some(carl.as_str()),
        content: json!({ "membership": membership }),
        prev: vec![event_id!("$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg").to_owned()],
        depth: 20,
        event_id_v1: None,
    };
    let message = world.message(&room, bob, "still there?").await;
    let answer = world.send(&world.b.name, &[json_of(&message)]).await;
    assert!(error(&answer, message.event_id()).unwrap().contains("not in the room"), "{answer}");
    let invite = world.event(&room, member(bob, "invite")).await;
    let change = crate::rooms::append::OutsideMembership {
        room_id: room.room_id.clone(),
        version: room.version.clone(),
        event: invite,
        stripped: Some(vec![]),
    };
    world.appenders.outside(change).await.unwrap();
    let nid = room.nid;
    let membership = async || {
        world
            .read(move |read| {
                let user = crate::store::ids::user_nid(read, carl)?.unwrap();
                Ok(members::of(read, user, nid)?.unwrap().membership)
            })
            .await
    };
    assert_eq!(membership().await, members::Membership::Invite);
    // Somebody of another server than the inviting one can't take it back.
    let foreign = world.event(&room, member(dora, "leave")).await;
    world.send(&world.c.name, &[json_of(&foreign)]).await;
    let end = world.event(&room, member(bob, "leave")).await;
    world.send(&world.b.name, &[json_of(&end)]).await;
    eventually("the invitation ends", async || membership().await == members::Membership::Leave).await;
    // What came before it did nothing: it is kept for a join that may go on, then dropped.
    assert!(world.row(foreign.event_id()).await.is_none());
}
