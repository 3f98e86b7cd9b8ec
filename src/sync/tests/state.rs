//! Client-Server API, "Syncing": `state`, `state_after`, `summary`; "Lazy-loading room members".

use super::*;

#[tokio::test]
async fn state_is_that_at_the_start_of_the_timeline() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let room = server.room(&alice, "shared").await;
    server.set(&room, &alice, "m.room.topic", "", json!({ "topic": "old" })).await;
    server.say(&room, &alice, "one").await;
    server.set(&room, &alice, "m.room.topic", "", json!({ "topic": "new" })).await;
    let filter = json!({ "room": { "timeline": { "limit": 2 } } });
    let answer = server.sync(&alice, filtered(None, &filter)).await;
    let state = joined(&answer, &room)["state"]["events"].as_array().unwrap();
    let topics: Vec<&Value> =
        state.iter().filter(|event| event["type"] == "m.room.topic").map(|event| &event["content"]["topic"]).collect();
    assert_eq!(topics, ["old"]);
    assert_eq!(state.len(), 6, "create, member, power levels, join rules, history visibility, topic");
    assert_eq!(joined(&answer, &room)["timeline"]["events"][1]["content"]["topic"], "new");
}

#[tokio::test]
async fn a_gap_brings_what_changed_in_it_alone() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let room = server.room(&alice, "shared").await;
    let start = server.sync(&alice, now(None)).await;
    server.set(&room, &alice, "m.room.topic", "", json!({ "topic": "in the gap" })).await;
    server.say(&room, &alice, "one").await;
    server.say(&room, &alice, "two").await;
    server.set(&room, &alice, "m.room.name", "", json!({ "name": "in the timeline" })).await;
    let filter = json!({ "room": { "timeline": { "limit": 2 } } });
    let answer = server.sync(&alice, filtered(Some(token(&start)), &filter)).await;
    assert_eq!(keys(&joined(&answer, &room)["state"]["events"]), [("m.room.topic", "")]);
    // The name that it got makes the summary new.
    assert_eq!(joined(&answer, &room)["summary"].get("m.heroes"), None);
    assert_eq!(joined(&answer, &room)["summary"]["m.joined_member_count"], 1);
}

#[tokio::test]
async fn state_after_is_that_at_the_end() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let room = server.room(&alice, "shared").await;
    let start = server.sync(&alice, now(None)).await;
    let ask = |since: Option<&str>| SyncRequest { state_after: Some("state_after"), ..now(since) };
    server.set(&room, &alice, "m.room.topic", "", json!({ "topic": "old" })).await;
    server.set(&room, &alice, "m.room.topic", "", json!({ "topic": "new" })).await;
    let answer = server.sync(&alice, ask(Some(token(&start)))).await;
    let after = &joined(&answer, &room)["state_after"]["events"];
    assert_eq!(keys(after), [("m.room.topic", "")]);
    assert_eq!(after[0]["content"]["topic"], "new");
    assert_eq!(joined(&answer, &room).get("state"), None);
    server.say(&room, &alice, "one").await;
    let answer = server.sync(&alice, ask(Some(token(&answer)))).await;
    assert_eq!(joined(&answer, &room)["state_after"]["events"], json!([]));
    let answer = server.sync(&alice, ask(None)).await;
    assert_eq!(joined(&answer, &room)["state_after"]["events"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn full_state_brings_all_of_it_and_no_more_timeline() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let room = server.room(&alice, "shared").await;
    let start = server.sync(&alice, now(None)).await;
    let request = SyncRequest { full_state: true, timeout: Duration::from_secs(60), ..now(Some(token(&start))) };
    let answer = server.sync(&alice, request).await;
    assert_eq!(joined(&answer, &room)["state"]["events"].as_array().unwrap().len(), 5);
    assert_eq!(joined(&answer, &room)["timeline"]["events"], json!([]));
}

#[tokio::test]
async fn members_are_loaded_when_they_are_needed() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let carol = server.account("carol").await;
    let room = server.room(&alice, "shared").await;
    server.join(&room, &bob).await;
    server.join(&room, &carol).await;
    server.set(&room, &alice, "m.room.name", "", json!({ "name": "named" })).await;
    server.say(&room, &bob, "one").await;
    let lazy = json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "limit": 1 } } });
    let members = |answer: &Value| -> Vec<String> {
        let state = keys(&joined(answer, &room)["state"]["events"]);
        let members = state.into_iter().filter(|key| key.0 == "m.room.member");
        members.map(|key| key.1.to_owned()).collect()
    };
    let first = server.sync(&alice, filtered(None, &lazy)).await;
    assert_eq!(members(&first), [alice.user_id.as_str(), bob.user_id.as_str()]);

    // In a gap changed members come, needed or not; and the timeline's senders.
    server
        .set(&room, &bob, "m.room.member", bob.user_id.as_str(), json!({ "membership": "join", "displayname": "B" }))
        .await;
    server.say(&room, &alice, "two").await;
    server.say(&room, &carol, "three").await;
    let second = server.sync(&alice, filtered(Some(token(&first)), &lazy)).await;
    assert_eq!(members(&second), [bob.user_id.as_str(), carol.user_id.as_str()]);
}

#[tokio::test]
async fn a_room_without_a_name_has_heroes() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let carol = server.account("carol").await;
    let room = server.room(&alice, "shared").await;
    server.join(&room, &bob).await;
    server.member(&room, &alice, &carol, "invite").await;
    let lazy = json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "limit": 1 } } });
    let answer = server.sync(&alice, filtered(None, &lazy)).await;
    let summary = &joined(&answer, &room)["summary"];
    assert_eq!(
        *summary,
        json!({ "m.heroes": [bob.user_id, carol.user_id], "m.joined_member_count": 2, "m.invited_member_count": 1 })
    );
    let state = keys(&joined(&answer, &room)["state"]["events"]);
    assert!(state.contains(&("m.room.member", bob.user_id.as_str())), "heroes' member events must be there");
    server.member(&room, &bob, &bob, "leave").await;
    let answer = server.sync(&alice, now(Some(token(&answer)))).await;
    assert_eq!(joined(&answer, &room)["summary"]["m.heroes"], json!([carol.user_id]));
    assert_eq!(joined(&answer, &room)["summary"]["m.joined_member_count"], 1);
}
