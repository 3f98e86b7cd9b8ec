//! Weaknesses of the old LinkIM that lie across the families of endpoints. The others are tested beside their families; each test's
//! name begins with `weakness_` and its number.

use conformance_tests::{Sync, path, unique, v3};
use reqwest::Method;
use serde_json::{Value, json};

use crate::SERVER;
use crate::groups::{group, people, text};

/// Anybody read any group and wrote into it, and any web page could do so in a user's name.
#[tokio::test]
async fn weakness_05_who_is_no_member_neither_reads_nor_writes() {
    let server = SERVER.get();
    let [alice, bob, carol, eve] = people(&server, ["alice", "bob", "carol", "eve"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let event = alice.send_text(&group.room, "among us").await;
    eve.post("/message/group/send", json!({ "group_id": group.id, "text": "x" })).await.refused(403, 1203);
    for path in ["/conversation/group/get", "/group/notice", "/group/notice/history"] {
        eve.get(&format!("{path}?group_id={}", group.id)).await.refused(403, 1203);
        eve.get_with_body(path, json!({ "group_id": group.id })).await.refused(403, 1203);
    }
    let about = json!({ "group_id": group.id, "message_id": event });
    eve.put("/message/group/withdraw", about.clone()).await.refused(403, 1203);
    eve.put("/group/notice", json!({ "group_id": group.id, "new_notice": "x" })).await.refused(403, 1203);
    eve.post("/group/notice/confirm", json!({ "group_id": group.id })).await.refused(403, 1203);
    assert_eq!(bob.event(&group.room, &event).await["content"]["body"], "among us");
    // Every origin may ask, for tokens are in a header and never sent by a browser by itself; so none may ask with credentials.
    let reply = bob.raw(Method::GET, "/groups", &[("origin", "https://evil.example")], None).await;
    assert_eq!(reply.headers.get("access-control-allow-origin").map(|value| value.as_bytes()), Some(&b"*"[..]));
    assert!(reply.headers.get("access-control-allow-credentials").is_none());
}

/// The text of a restored message was put between other text as it was.
#[tokio::test]
async fn weakness_06_a_restored_text_is_only_text() {
    let server = SERVER.get();
    let [alice, bob] = people(&server, ["alice", "bob"]).await;
    let sent = json!({ "the_other_person_id": bob.user_id, "text": "hello" });
    let number = alice.post("/message/send", sent).await.done()["lastMsgId"].clone();
    let evil = "\",\"from\":1,\"text\":\"</script>\\u0000\n{}";
    let about = json!({ "the_other_person_id": bob.user_id, "message_id": number, "new_text": evil });
    alice.put("/message/withdraw", about.clone()).await.done();
    let mut push = bob.push(None).await;
    alice.put("/message/unwithdraw", about).await.done();
    let frame = push.until("restore").await;
    assert_eq!((&frame["message_id"], &frame["matrix_id"]), (&number, &json!(alice.user_id)), "{frame}");
    assert!(frame.to_string().contains(&Value::from(evil).to_string()), "{frame}");
    let page = bob.get(&path!("/conversation/get?the_other_person_id={}", alice.user_id)).await.done();
    assert_eq!(page["detail"]["Messages"][0]["Content"], evil);
}

/// Counters were read, raised and written, so that of two at once one was lost.
#[tokio::test]
async fn weakness_09_counts_are_exact_when_many_write_at_once() {
    let server = SERVER.get();
    let [alice, bob, carol, dave] = people(&server, ["alice", "bob", "carol", "dave"]).await;
    let group = group(&alice, &[&bob, &carol, &dave]).await;
    let mut running = tokio::task::JoinSet::new();
    for n in 0..30 {
        let by = [&alice, &bob, &carol][n % 3].clone();
        let body = json!({ "group_id": group.id, "text": format!("m{n}") });
        running.spawn(async move { by.post("/message/group/send", body).await.done() });
    }
    while let Some(sent) = running.join_next().await {
        sent.expect("a message");
    }
    let list = dave.get("/conversations").await.done();
    assert_eq!(list["detail"][0]["unread_count"], 30, "{list}");
}

/// The list of conversations failed where one had no message, and a group's avatar where a member was gone.
#[tokio::test]
async fn weakness_10_what_is_not_there_fails_nothing() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let list = bob.get("/conversations").await.done();
    assert_eq!(list["detail"][0]["group_info"]["group_id"], json!(group.id), "{list}");
    let auth = json!({
        "type": "m.login.password", "password": server.password(),
        "identifier": { "type": "m.id.user", "user": carol.user_id },
    });
    carol.post(&v3!("/account/deactivate"), json!({ "auth": auth })).await.ok();
    let avatar = bob.get(&path!("/group/avatar?group_id={}", group.id)).await.done();
    let users = avatar["detail"]["UserInfo"].as_array().expect("a list");
    assert!(!users.is_empty() && users.len() <= 3, "{avatar}");
    bob.get("/conversations").await.done();
}

/// Failures were answered twice, first as a failure and then as a success, and failed withdrawals as successes.
#[tokio::test]
async fn weakness_12_a_failure_is_one_answer() {
    let server = SERVER.get();
    let [alice, bob, carol, eve] = people(&server, ["alice", "bob", "carol", "eve"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let nobody = json!({ "group_id": group.id, "user_ids": [9_007_199_254_740_991_u64] });
    // A second JSON value behind the first would not be JSON.
    alice.post("/group/invite", nobody).await.refused(404, 1101);
    eve.post("/group/invite", json!({ "group_id": group.id, "user_ids": [eve.user_id] })).await.refused(403, 1203);
    let event = alice.send_text(&group.room, "mine").await;
    let about = json!({ "group_id": group.id, "message_id": event, "new_text": "x" });
    bob.put("/message/group/withdraw", about.clone()).await.refused(403, 1002);
    alice.put("/message/group/unwithdraw", about.clone()).await.refused(409, 1001);
    alice.put("/message/group/withdraw", about.clone()).await.done();
    alice.put("/message/group/withdraw", about).await.refused(409, 1404);
}

/// Members were fetched for each message, from another process. They are in memory here, and what is in memory is right: who comes has
/// the next message, who goes does not.
#[tokio::test]
async fn weakness_19_a_message_reaches_who_is_in_the_group_now() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let dave = server.register(&unique("dave")).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let user_ids = json!({ "group_id": group.id, "user_ids": [dave.user_id] });
    let say = async |words: String| {
        let sent = alice.post("/message/group/send", json!({ "group_id": group.id, "text": words })).await.done();
        text(&sent, "event_id")
    };
    for round in 0..4 {
        let (since, members) = (dave.now().await, bob.now().await);
        alice.post("/group/invite", user_ids.clone()).await.done();
        let event = say(format!("with dave {round}")).await;
        dave.wait_for_event(&since, &group.room, &event).await;
        bob.wait_for_event(&members, &group.room, &event).await;

        let (since, members) = (dave.now().await, bob.now().await);
        alice.delete("/group/kickout", Some(user_ids.clone())).await.done();
        let event = say(format!("without dave {round}")).await;
        bob.wait_for_event(&members, &group.room, &event).await;
        let answer = dave.sync(Sync::since(&since)).await;
        assert!(answer["rooms"]["leave"].get(&group.room).is_some(), "{answer}");
        assert!(!answer.to_string().contains(&event), "{answer}");
        dave.get(&v3!("/rooms/{}/event/{}", group.room, event)).await.expect_error(404, "M_NOT_FOUND");
    }
}
