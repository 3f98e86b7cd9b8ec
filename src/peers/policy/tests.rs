//! Events that come into a room with a policy server: c.example, whose user is dora.

mod own;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use linkim_federation::{Pdu, RoomVersionRules, SigningKey, add_signature, rules};
use ruma::{RoomVersionId, UserId, server_name, user_id};
use serde_json::{Value, json};

use crate::{
    peers::fixture::{NewEvent, World, eventually, json_of},
    rooms::policy::PolicyServer,
    store::{events::flag, ids::RoomKey},
};

const SIGN: &str = "/_matrix/policy/v1/sign";

fn bob() -> &'static UserId {
    user_id!("@bob:b.example")
}

fn dora() -> &'static UserId {
    user_id!("@dora:c.example")
}

fn policy_key() -> SigningKey {
    SigningKey::generate([7; 32], "policy_server").unwrap()
}

fn named() -> Value {
    json!({ "via": "c.example", "public_keys": { "ed25519": policy_key().public_key() } })
}

fn policy() -> PolicyServer {
    PolicyServer { server: server_name!("c.example").to_owned(), key: policy_key().public_key() }
}

fn rules_of(room: &RoomKey) -> &'static RoomVersionRules {
    rules(&room.version).unwrap()
}

/// c.example signs all but what has the word "spam" in it, as the endpoint's example shows.
fn serve(world: &World, room: &RoomKey, key: SigningKey) {
    let rules = rules_of(room);
    world.c.lie(move |path, body| {
        if path != SIGN {
            return None;
        }
        if body["content"]["body"].as_str().is_some_and(|text| text.contains("spam")) {
            let error = "The message appears to contain possible spam";
            return Some((400, json!({ "errcode": "M_FORBIDDEN", "error": error })));
        }
        let pdu = Pdu::from_peer(body.to_string().as_bytes(), rules).unwrap();
        let signed = add_signature(&pdu, rules, server_name!("c.example"), &key).unwrap();
        let signature = &json_of(&signed)["signatures"]["c.example"]["ed25519:policy_server"];
        Some((200, json!({ "c.example": { "ed25519:policy_server": signature } })))
    });
}

/// A room with bob and dora that names c.example.
async fn guarded(world: &World, version: RoomVersionId) -> Arc<RoomKey> {
    let room = world.room(version).await;
    world.join(&room, bob()).await;
    world.join(&room, dora()).await;
    world.alice_sets(&room, "m.room.policy", "", named()).await;
    room
}

/// The event as it is stored.
async fn stored(world: &World, pdu: &Pdu) -> Arc<Pdu> {
    let row = world.row(pdu.event_id()).await.unwrap();
    world.read(move |read| crate::rooms::state::load_pdu(read, row.nid)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_signature_is_asked_for_and_what_gets_none_is_soft_failed() {
    for version in [RoomVersionId::V11, RoomVersionId::V12] {
        let world = World::new().await;
        let room = guarded(&world, version).await;
        serve(&world, &room, policy_key());
        let fine = world.message(&room, bob(), "hello").await;
        world.send(&world.b.name, &[json_of(&fine)]).await;
        assert!(!world.arrived(&fine).await.is(flag::HIDDEN));
        assert_eq!(world.c.asked_at(SIGN), 1);
        // The signature is part of it now, and its own server's still is.
        let kept = stored(&world, &fine).await;
        policy().check(&kept, rules_of(&room)).unwrap();
        assert!(json_of(&kept)["signatures"]["b.example"].is_object());

        let spam = world.message(&room, bob(), "buy spam").await;
        world.send(&world.b.name, &[json_of(&spam)]).await;
        let row = world.arrived(&spam).await;
        assert!(row.is(flag::SOFT_FAILED) && row.is(flag::POLICY_CHECKED), "{row:?}");
        assert_eq!(world.c.asked_at(SIGN), 2);

        let signed = world.message(&room, bob(), "signed before").await;
        let signed = add_signature(&signed, rules_of(&room), server_name!("c.example"), &policy_key()).unwrap();
        world.send(&world.b.name, &[json_of(&signed)]).await;
        assert!(!world.arrived(&signed).await.is(flag::HIDDEN));
        assert_eq!(world.c.asked_at(SIGN), 2, "its signature says enough");

        // By a key that the room does not have, with the same name.
        let other = SigningKey::generate([8; 32], "policy_server").unwrap();
        let wrong = world.message(&room, bob(), "old key").await;
        let wrong = add_signature(&wrong, rules_of(&room), server_name!("c.example"), &other).unwrap();
        world.send(&world.b.name, &[json_of(&wrong)]).await;
        assert!(!world.arrived(&wrong).await.is(flag::HIDDEN));
        assert_eq!(world.c.asked_at(SIGN), 3, "a new signature is asked for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_by_another_key_than_the_rooms_counts_for_nothing() {
    let world = World::new().await;
    let room = guarded(&world, RoomVersionId::V12).await;
    serve(&world, &room, SigningKey::generate([8; 32], "policy_server").unwrap());
    let message = world.message(&room, bob(), "hello").await;
    world.send(&world.b.name, &[json_of(&message)]).await;
    assert!(world.arrived(&message).await.is(flag::SOFT_FAILED));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_user_in_the_room_nobody_is_asked() {
    let world = World::new().await;
    let room = world.room(RoomVersionId::V12).await;
    world.join(&room, bob()).await;
    world.alice_sets(&room, "m.room.policy", "", named()).await;
    serve(&world, &room, policy_key());
    // One transaction: what comes before dora's join needs no signature, what comes after does.
    let before = world.message(&room, bob(), "spam before").await;
    let on = |pdu: &Arc<Pdu>| (vec![pdu.owned_event_id().clone()], pdu.depth() + 1);
    let (prev, depth) = on(&before);
    let join = NewEvent {
        sender: dora(),
        kind: "m.room.member",
        state_key: Some(dora().as_str()),
        content: json!({ "membership": "join" }),
        prev,
        depth,
        event_id_v1: None,
    };
    let join = world.event(&room, join).await;
    let (prev, depth) = on(&join);
    let after = world.event(&room, NewEvent::message(bob(), prev, depth, "spam after")).await;
    world.send(&world.b.name, &[json_of(&before), json_of(&join), json_of(&after)]).await;
    assert!(!world.arrived(&before).await.is(flag::HIDDEN));
    assert!(!world.arrived(&join).await.is(flag::HIDDEN));
    assert!(world.arrived(&after).await.is(flag::SOFT_FAILED));
    assert_eq!(world.c.asked_at(SIGN), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_server_that_is_away_signs_nothing_and_is_not_asked_for_each_event() {
    let world = World::new().await;
    let room = guarded(&world, RoomVersionId::V12).await;
    world.c.up.store(false, Ordering::Release);
    let chain = world.tips(&room).await.pop().unwrap();
    let chain = world.chain(&room, bob(), chain.event_id(), chain.depth() + 1, 5).await;
    let events: Vec<Value> = chain.iter().map(|pdu| json_of(pdu)).collect();
    world.send(&world.b.name, &events).await;
    for pdu in &chain {
        assert!(world.arrived(pdu).await.is(flag::SOFT_FAILED));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_asked_about_once_however_often_it_is_judged() {
    let world = World::new().await;
    let room = guarded(&world, RoomVersionId::V12).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    world.c.lie(move |path, _| {
        (path == SIGN).then(|| {
            counted.fetch_add(1, Ordering::AcqRel);
            (400, json!({ "errcode": "M_FORBIDDEN", "error": "no" }))
        })
    });
    let message = world.message(&room, bob(), "hello").await;
    let policy = policy();
    let asking = world.policy.signed(&policy, rules_of(&room), &message);
    let again = world.policy.signed(&policy, rules_of(&room), &message);
    let (one, two) = tokio::join!(asking, again);
    assert_eq!(one.unwrap_err(), two.unwrap_err());
    world.send(&world.b.name, &[json_of(&message)]).await;
    eventually("it is soft-failed", async || world.row(message.event_id()).await.is_some()).await;
    assert_eq!(asked.load(Ordering::Acquire), 1);
}
