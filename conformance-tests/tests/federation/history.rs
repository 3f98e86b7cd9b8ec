//! A server that joins late reads what was said before, as far as the room's history visibility lets it.

use conformance_tests::{bodies, event_ids, eventually, invited, join_via, membership_is};
use serde_json::json;

use crate::{own, pair};

#[tokio::test]
async fn history_is_paged_back_past_the_own_join() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let mut sent = alice.send_texts(&room, "early ", 1..=150).await;
    sent.push(alice.set_state(&room, "m.room.topic", "", json!({ "topic": "then" })).await);
    sent.extend(alice.send_texts(&room, "late ", 1..=60).await);
    join_via(&bob, &room, a.name()).await;
    eventually("bob reads all of it, in order, down to the creation", || async {
        let history = bob.whole_history(&room, 50).await;
        let ids = event_ids(&history);
        let seen: Vec<&&str> = ids.iter().filter(|id| sent.iter().any(|sent| sent == *id)).collect();
        let created = history.first().is_some_and(|event| event["type"] == "m.room.create");
        (created && seen.len() == sent.len() && seen.iter().zip(&sent).all(|(seen, sent)| **seen == sent)).then_some(())
    })
    .await;
    let whole = alice.whole_history(&room, 100).await;
    let theirs = bob.whole_history(&room, 100).await;
    assert_eq!(event_ids(&theirs), event_ids(&whole), "both servers tell the same history");
}

#[tokio::test]
async fn history_from_before_the_invitation_stays_hidden_where_the_room_says_so() {
    for (visibility, from_invite) in [("joined", false), ("invited", true)] {
        let [a, b] = pair();
        let (alice, bob) = (a.register("alice").await, b.register("bob").await);
        let rule = json!({ "history_visibility": visibility });
        let state = json!([{ "type": "m.room.history_visibility", "state_key": "", "content": rule }]);
        let room = alice.create_room(json!({ "preset": "private_chat", "initial_state": state })).await;
        alice.send_texts(&room, "before ", 1..=5).await;
        alice.invite(&room, &bob).await;
        invited(&bob, &room).await;
        alice.send_texts(&room, "between ", 1..=5).await;
        bob.join(&room).await;
        alice.send_texts(&room, "after ", 1..=5).await;
        eventually("bob reads what he may", || async {
            let history = bob.whole_history(&room, 20).await;
            let bodies = bodies(&history).join("|");
            (bodies.contains("after 5") && bodies.contains("between 5") == from_invite).then_some(())
        })
        .await;
        let history = bob.whole_history(&room, 20).await;
        assert!(bodies(&history).iter().all(|body| !body.contains("before")), "{visibility}: {history:?}");
    }
}

#[tokio::test]
async fn a_gap_between_two_stays_is_filled() {
    let [a, b] = own();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    join_via(&bob, &room, a.name()).await;
    let mut sent = alice.send_texts(&room, "first stay ", 1..=5).await;
    eventually("bob has them", || async {
        let reply = bob.get(&conformance_tests::v3!("/rooms/{}/event/{}", room, sent[4])).await;
        (reply.status == 200).then_some(())
    })
    .await;
    bob.leave(&room).await;
    membership_is(&alice, &room, &bob.user_id, "leave").await;
    sent.extend(alice.send_texts(&room, "away ", 1..=40).await);
    join_via(&bob, &room, a.name()).await;
    sent.extend(alice.send_texts(&room, "second stay ", 1..=5).await);
    eventually("bob reads all three stretches in order", || async {
        let history = bob.whole_history(&room, 20).await;
        let seen: Vec<&str> = event_ids(&history).into_iter().filter(|id| sent.iter().any(|sent| sent == id)).collect();
        (seen == sent).then_some(())
    })
    .await;
}
