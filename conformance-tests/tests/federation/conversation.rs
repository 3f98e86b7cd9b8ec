//! What is said in a room is heard on all of its servers.

use conformance_tests::{Sync, event_ids, find_event, heard, same_state, shared_room, timeline, v3};
use serde_json::json;

use crate::{own, pair};

#[tokio::test]
async fn two_organisations_talk() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    for turn in 0..3 {
        heard(&alice, &room, &format!("from alice {turn}"), &[&bob, &alice]).await;
        heard(&bob, &room, &format!("from bob {turn}"), &[&alice, &bob]).await;
    }
}

#[tokio::test]
async fn three_organisations_talk() {
    let [a, b, c] = own();
    let (alice, bob, carol) = (a.register("alice").await, b.register("bob").await, c.register("carol").await);
    let room = shared_room(&alice, &[&bob, &carol], json!({ "preset": "private_chat" })).await;
    for speaker in [&alice, &bob, &carol] {
        heard(speaker, &room, &format!("{} speaks", speaker.user_id), &[&alice, &bob, &carol]).await;
    }
}

#[tokio::test]
async fn a_message_is_shown_as_it_was_sent() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    let since = bob.now().await;
    let content = json!({ "msgtype": "m.text", "body": "grüße 👋", "org.example": { "a": [1, 2, null, true] } });
    let event = alice.send(&room, "m.room.message", content.clone()).await;
    let answer = bob.wait_for_event(&since, &room, &event).await;
    let seen = find_event(timeline(&answer, &room), &event).expect("it is there");
    let sent = alice.event(&room, &event).await;
    assert_eq!(seen["content"], content);
    for field in ["sender", "type", "origin_server_ts"] {
        assert_eq!(seen[field], sent[field], "{field}");
    }
    assert!(seen["unsigned"].get("transaction_id").is_none(), "{seen}");
}

#[tokio::test]
async fn a_redaction_takes_the_content_on_both_servers() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    let since = bob.now().await;
    let said = alice.send_text(&room, "regretted").await;
    bob.wait_for_event(&since, &room, &said).await;
    let redaction = alice.redact(&room, &said, json!({})).await;
    bob.wait_for_event(&since, &room, &redaction).await;
    assert_eq!(bob.event(&room, &said).await["content"], json!({}));

    // A moderator redacts what somebody of the other server said.
    let since = alice.now().await;
    let said = bob.send_text(&room, "rude").await;
    alice.wait_for_event(&since, &room, &said).await;
    let since = bob.now().await;
    let redaction = alice.redact(&room, &said, json!({ "reason": "rude" })).await;
    bob.wait_for_event(&since, &room, &redaction).await;
    assert_eq!(bob.event(&room, &said).await["content"], json!({}));
}

#[tokio::test]
async fn a_reaction_is_counted_on_the_other_server() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    let since = bob.now().await;
    let said = alice.send_text(&room, "lunch?").await;
    bob.wait_for_event(&since, &room, &said).await;
    let since = alice.now().await;
    let relation = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": said, "key": "👍" } });
    let reaction = bob.send(&room, "m.reaction", relation).await;
    alice.wait_for_event(&since, &room, &reaction).await;
    let related = alice.get(&v3!("/rooms/{}/event/{}", room, said)).await.ok();
    assert_eq!(related["event_id"], said);
    let path = conformance_tests::path!("/_matrix/client/v1/rooms/{}/relations/{}", room, said);
    let relations = alice.get(&path).await.ok();
    assert_eq!(event_ids(relations["chunk"].as_array().expect("a list")), [&*reaction]);
}

#[tokio::test]
async fn state_that_either_side_sets_is_seen_by_the_other() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = shared_room(&alice, &[&bob], json!({ "preset": "trusted_private_chat" })).await;
    alice.change_power_levels(&room, json!({ "users": { &bob.user_id: 50 } })).await;
    same_state(&[&alice, &bob], &room).await;
    let since = alice.now().await;
    let topic = bob.set_state(&room, "m.room.topic", "", json!({ "topic": "tea" })).await;
    alice.wait_for_event(&since, &room, &topic).await;
    assert_eq!(alice.state(&room, "m.room.topic", "").await["topic"], "tea");
    same_state(&[&alice, &bob], &room).await;
}

#[tokio::test]
async fn receipts_and_typing_arrive() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    let since = bob.now().await;
    let said = alice.send_text(&room, "read me").await;
    bob.wait_for_event(&since, &room, &said).await;

    let since = alice.now().await;
    bob.post(&v3!("/rooms/{}/receipt/m.read/{}", room, said), json!({})).await.ok();
    let ephemeral = |answer: &serde_json::Value, kind: &str| {
        let events = answer["rooms"]["join"][&room]["ephemeral"]["events"].as_array().cloned().unwrap_or_default();
        events.into_iter().find(|event| event["type"] == kind)
    };
    alice
        .wait_until_sync(&since, |answer| {
            ephemeral(answer, "m.receipt")
                .is_some_and(|receipt| receipt["content"][&said]["m.read"].get(&bob.user_id).is_some())
        })
        .await;

    let since = alice.now().await;
    let path = v3!("/rooms/{}/typing/{}", room, bob.user_id);
    bob.put(&path, json!({ "typing": true, "timeout": 30000 })).await.ok();
    alice
        .wait_until_sync(&since, |answer| {
            ephemeral(answer, "m.typing").is_some_and(|typing| typing["content"]["user_ids"] == json!([bob.user_id]))
        })
        .await;
    bob.put(&path, json!({ "typing": false })).await.ok();
    alice
        .wait_until_sync(&since, |answer| {
            ephemeral(answer, "m.typing").is_some_and(|typing| typing["content"]["user_ids"] == json!([]))
        })
        .await;
}

#[tokio::test]
async fn a_new_display_name_is_seen_on_the_other_server() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    bob.put(&v3!("/profile/{}/displayname", bob.user_id), json!({ "displayname": "Bob of B" })).await.ok();
    conformance_tests::eventually("alice sees the name", || async {
        let member = alice.state(&room, "m.room.member", &bob.user_id).await;
        (member["displayname"] == "Bob of B").then_some(())
    })
    .await;
    let profile = alice.get(&v3!("/profile/{}/displayname", bob.user_id)).await.ok();
    assert_eq!(profile["displayname"], "Bob of B");
}

#[tokio::test]
async fn a_burst_arrives_whole_and_in_order() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let room = shared_room(&alice, &[&bob], json!({ "preset": "private_chat" })).await;
    let sent = alice.send_texts(&room, "burst ", 1..=200).await;
    conformance_tests::eventually("bob has them all", || async {
        let seen = bob.whole_history(&room, 100).await;
        let seen: Vec<_> = event_ids(&seen).into_iter().filter(|id| sent.iter().any(|sent| sent == id)).collect();
        (seen == sent).then_some(())
    })
    .await;
    let answer = bob.sync(Sync::initial()).await;
    assert!(!timeline(&answer, &room).is_empty());
}

#[tokio::test]
async fn files_are_fetched_from_the_server_that_has_them() {
    let [a, b] = own();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    let bytes: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let uri = alice.upload("application/pdf", "plän.pdf", &bytes).await;
    let first = bob.download(&uri).await.expect_status(200);
    assert!(first.bytes == bytes, "other bytes came");
    assert_eq!(first.header("content-type"), "application/pdf");
    assert_eq!(first.header("content-disposition"), "attachment; filename*=utf-8''pl%C3%A4n.pdf");
    a.gate().close();
    assert!(bob.download(&uri).await.expect_status(200).bytes == bytes, "the copy is served");
    let other = alice.upload("text/plain", "a.txt", b"unreachable").await;
    assert_eq!(bob.download(&other).await.status, 502);
    a.gate().open();
    conformance_tests::eventually("it can be fetched once its server is back", || async {
        (bob.download(&other).await.status == 200).then_some(())
    })
    .await;
    bob.download(&format!("mxc://{}/nothing", a.name())).await.expect_error(404, "M_NOT_FOUND");
}
