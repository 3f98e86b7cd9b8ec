//! Our own events in a room with a policy server: signed before they are part of the room.

use std::sync::mpsc;

use super::*;
use crate::{
    rooms::{
        append::{AppendError, Appended, LocalEvent, Transaction},
        policy::PolicyRefusal,
    },
    store::rooms,
};

fn alice() -> &'static UserId {
    user_id!("@alice:a.example")
}

fn says(text: &str) -> LocalEvent {
    let content = crate::peers::fixture::object(json!({ "msgtype": "m.text", "body": text }));
    LocalEvent::message(alice().to_owned(), "m.room.message", content)
}

async fn say(world: &World, room: &RoomKey, text: &str) -> Result<Vec<Appended>, AppendError> {
    world.appenders.append(room.nid, vec![says(text)], None).await
}

async fn by_nid(world: &World, appended: &Appended) -> Arc<Pdu> {
    let nid = appended.nid;
    world.read(move |read| crate::rooms::state::load_pdu(read, nid)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_sent_with_its_signature_or_not_at_all() {
    for version in [RoomVersionId::V1, RoomVersionId::V10, RoomVersionId::V12] {
        let world = World::new().await;
        let room = guarded(&world, version).await;
        serve(&world, &room, policy_key());
        let sent = say(&world, &room, "hello").await.unwrap();
        let pdu = by_nid(&world, &sent[0]).await;
        policy().check(&pdu, rules_of(&room)).unwrap();
        assert!(json_of(&pdu)["signatures"]["a.example"].is_object());
        let before = world.tips(&room).await;
        let refused = say(&world, &room, "spam").await;
        let Err(AppendError::Policy(PolicyRefusal::Refused { status: 400, errcode, error, .. })) = refused else {
            panic!("{refused:?}")
        };
        let words = ("M_FORBIDDEN", "The message appears to contain possible spam");
        assert_eq!((&*errcode, &*error), words);
        let after = world.tips(&room).await;
        let ids = |tips: &[Arc<Pdu>]| tips.iter().map(|pdu| pdu.owned_event_id().clone()).collect::<Vec<_>>();
        assert_eq!(ids(&before), ids(&after), "nothing was stored");
        // Several at once: all or none.
        let sent = world.appenders.append(room.nid, vec![says("one"), says("two")], None).await.unwrap();
        let (one, two) = (by_nid(&world, &sent[0]).await, by_nid(&world, &sent[1]).await);
        assert_eq!(two.prev_events(), [one.owned_event_id().clone()]);
        policy().check(&two, rules_of(&room)).unwrap();
        let none = world.appenders.append(room.nid, vec![says("three"), says("spam")], None).await;
        assert!(matches!(none, Err(AppendError::Policy(_))), "{none:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_itself_is_set_without_asking() {
    let world = World::new().await;
    let room = guarded(&world, RoomVersionId::V12).await;
    world.c.up.store(false, Ordering::Release);
    let refused = say(&world, &room, "hello").await;
    assert!(matches!(refused, Err(AppendError::Policy(PolicyRefusal::None { .. }))), "{refused:?}");
    world.alice_sets(&room, "m.room.policy", "", json!({})).await;
    say(&world, &room, "hello").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn they_keep_their_place_even_if_newer_events_came_meanwhile() {
    let world = Arc::new(World::new().await);
    let room = guarded(&world, RoomVersionId::V12).await;
    let rules = rules_of(&room);
    let before = world.tips(&room).await.pop().unwrap();
    let (asks, asked) = mpsc::channel::<()>();
    let (lets, goes) = mpsc::channel::<()>();
    world.c.lie(move |path, body| {
        (path == SIGN).then(|| {
            asks.send(()).unwrap();
            // Others may run on this thread's behalf.
            tokio::task::block_in_place(|| goes.recv().unwrap());
            let pdu = Pdu::from_peer(body.to_string().as_bytes(), rules).unwrap();
            let signed = add_signature(&pdu, rules, server_name!("c.example"), &policy_key()).unwrap();
            (200, json_of(&signed)["signatures"].clone())
        })
    });
    let transaction = Transaction { device: crate::store::ids::DeviceNid(1), key: [1; 16], txn_id: "1".into() };
    let mut event = says("slow");
    event.transaction = Some(transaction);
    let (sending, of_room) = (world.clone(), room.clone());
    let again = event.clone();
    let sent = tokio::spawn(async move { sending.appenders.append(of_room.nid, vec![event], None).await });
    tokio::task::spawn_blocking(move || asked.recv().map(|()| asked)).await.unwrap().unwrap();
    let newer = world.message(&room, bob(), "fast").await;
    let newer = add_signature(&newer, rules, server_name!("c.example"), &policy_key()).unwrap();
    world.send(&world.b.name, &[json_of(&newer)]).await;
    assert!(!world.arrived(&newer).await.is(flag::HIDDEN), "the room does not wait for the policy server");
    lets.send(()).unwrap();
    let sent = sent.await.unwrap().unwrap();
    let pdu = by_nid(&world, &sent[0]).await;
    assert_eq!(pdu.prev_events(), [before.owned_event_id().clone()]);
    policy().check(&pdu, rules).unwrap();
    let nid = room.nid;
    assert_eq!(world.read(move |read| rooms::extremities(read, nid)).await.len(), 2);
    // The same request again makes nothing new, and asks nobody.
    let repeated = world.appenders.append(room.nid, vec![again], None).await.unwrap();
    assert_eq!((repeated[0].nid, repeated[0].repeated), (sent[0].nid, true));
}
