//! What survives the end of the process, graceful or not. Each test has a server of its own.

use std::collections::BTreeSet;

use conformance_tests::{Options, Server, Sync, bodies, event_ids, find_state, timeline, v3};
use serde_json::json;

fn end(server: &mut Server, how: &str) {
    match how {
        "kill -9" => server.kill9(),
        _ => server.terminate(),
    }
    server.restart();
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let mut server = Server::start(Options::default());
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    for how in ["kill -9", "SIGTERM"] {
        let room = alice
            .create_room(json!({ "preset": "public_chat", "name": "Tea", "room_alias_name": how.replace(' ', "") }))
            .await;
        bob.join(&room).await;
        let ids = bob.send_texts(&room, "", 1..=5).await;
        let account_data = v3!("/user/{}/account_data/org.example.x", alice.user_id);
        alice.put(&account_data, json!({ "how": how })).await.ok();
        alice.post(&v3!("/rooms/{}/receipt/m.read/{}", room, ids[4]), json!({})).await.ok();
        alice.put(&v3!("/profile/{}/displayname", alice.user_id), json!({ "displayname": how })).await.ok();
        let filter = json!({ "room": { "timeline": { "limit": 2 } } });
        let filter_id = alice.post(&v3!("/user/{}/filter", alice.user_id), filter).await.ok()["filter_id"].clone();

        end(&mut server, how);
        let (alice, bob) = (alice.at(&server.base), bob.at(&server.base));
        assert_eq!(alice.get(&v3!("/account/whoami")).await.ok()["user_id"], alice.user_id, "{how}: the token");
        let history = alice.whole_history(&room, 100).await;
        assert_eq!(bodies(&history), ["1", "2", "3", "4", "5"], "{how}");
        let state = alice.all_state(&room).await;
        assert_eq!(find_state(&state, "m.room.name", "").expect("a name")["content"]["name"], "Tea");
        assert_eq!(find_state(&state, "m.room.member", &bob.user_id).expect("bob")["content"]["membership"], "join");
        assert_eq!(alice.get(&account_data).await.ok()["how"], how);
        assert_eq!(alice.get(&v3!("/profile/{}/displayname", alice.user_id)).await.ok()["displayname"], how);
        let answer = alice.sync(Sync::initial().filter_id(filter_id.as_str().expect("an id"))).await;
        let section = &answer["rooms"]["join"][&room];
        assert_eq!(section["unread_notifications"]["notification_count"], 0, "{how}: {section}");
        assert!(section["ephemeral"].to_string().contains(&ids[4]), "{how}: the receipt: {section}");
        server.new_device(&bob).await;
        bob.send_text(&room, "and on").await;
    }
}

#[tokio::test]
async fn a_transaction_repeated_after_a_restart_is_the_same_event() {
    let mut server = Server::start(Options::default());
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    for how in ["kill -9", "SIGTERM"] {
        let path = v3!("/rooms/{}/send/m.room.message/{}", room, how);
        let content = json!({ "msgtype": "m.text", "body": how });
        let first = alice.put(&path, content.clone()).await.ok();
        let redact = v3!("/rooms/{}/redact/{}/{}", room, first["event_id"].as_str().expect("an id"), how);
        let redaction = alice.put(&redact, json!({})).await.ok();
        end(&mut server, how);
        let alice = alice.at(&server.base);
        assert_eq!(alice.put(&path, content).await.ok(), first, "{how}");
        assert_eq!(alice.put(&redact, json!({})).await.ok(), redaction, "{how}");
        let history = alice.whole_history(&room, 100).await;
        let ids = event_ids(&history);
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }
}

#[tokio::test]
async fn a_sync_token_is_good_after_a_restart() {
    let mut server = Server::start(Options::default());
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    for how in ["kill -9", "SIGTERM"] {
        let since = alice.now().await;
        let before = bob.send_text(&room, "before").await;
        let page = alice.messages(&room, &[("dir", "b"), ("limit", "1")]).await;
        end(&mut server, how);
        let (alice, bob) = (alice.at(&server.base), bob.at(&server.base));
        let after = bob.send_text(&room, "after").await;
        let answer = alice.sync(Sync::since(&since)).await;
        assert_eq!(event_ids(timeline(&answer, &room)), [before.clone(), after.clone()], "{how}: {answer}");
        assert_ne!(answer["rooms"]["join"][&room]["timeline"]["limited"], true, "{how}");
        let next = answer["next_batch"].as_str().expect("a token");
        let woken = bob.send_text(&room, "woken").await;
        alice.wait_for_event(next, &room, &woken).await;
        let end = page["end"].as_str().expect("a token");
        alice.messages(&room, &[("dir", "b"), ("limit", "1"), ("from", end)]).await;
    }
}

#[tokio::test]
async fn a_poll_survives_typing_of_before_the_restart() {
    let mut server = Server::start(Options::default());
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let typing = v3!("/rooms/{}/typing/{}", room, bob.user_id);
    for _ in 0..3 {
        bob.put(&typing, json!({ "typing": true, "timeout": 30_000 })).await.ok();
        bob.put(&typing, json!({ "typing": false })).await.ok();
    }
    let since = alice.now().await;
    end(&mut server, "kill -9");
    let (alice, bob) = (alice.at(&server.base), bob.at(&server.base));
    // The counter of typing began anew; a token from before must not hide the next notification.
    bob.put(&typing, json!({ "typing": true, "timeout": 30_000 })).await.ok();
    alice.wait_until_sync(&since, |answer| answer.to_string().contains("m.typing")).await;
}

#[tokio::test]
async fn kills_in_the_middle_of_sends_lose_and_double_nothing() {
    let mut server = Server::start(Options::default());
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let mut sent = BTreeSet::new();
    for round in 0..4 {
        let mut tasks = Vec::new();
        let (progress, mut first) = tokio::sync::mpsc::channel(200);
        for number in 0..4 {
            let (alice, room, progress) = (alice.at(&server.base), room.clone(), progress.clone());
            tasks.push(tokio::spawn(async move {
                let (mut acknowledged, mut unanswered) = (Vec::new(), Vec::new());
                for message in 0..30 {
                    let body = format!("{round}/{number}/{message}");
                    let path = v3!("/rooms/{}/send/m.room.message/{}", room, body);
                    let content = json!({ "msgtype": "m.text", "body": body }).to_string().into_bytes();
                    match alice.try_raw(reqwest::Method::PUT, &path, &[], Some(content)).await {
                        Ok(reply) if reply.status == 200 => acknowledged.push((body, reply.json["event_id"].clone())),
                        _ => unanswered.push(body),
                    }
                    // The receiver may be gone after the kill.
                    let _ = progress.send(()).await;
                }
                (acknowledged, unanswered)
            }));
        }
        drop(progress);
        for _ in 0..10 + round * 5 {
            first.recv().await;
        }
        server.kill9();
        drop(first);
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.expect("the task ends"));
        }
        server.restart();
        let alice = alice.at(&server.base);
        for (acknowledged, unanswered) in outcomes {
            for (body, id) in acknowledged {
                let event = alice.event(&room, id.as_str().expect("an id")).await;
                assert_eq!(event["content"]["body"], body, "an acknowledged event is there");
                sent.insert(body);
            }
            for body in unanswered {
                let path = v3!("/rooms/{}/send/m.room.message/{}", room, body);
                alice.put(&path, json!({ "msgtype": "m.text", "body": body })).await.ok();
                sent.insert(body);
            }
        }
    }
    let alice = alice.at(&server.base);
    let history = alice.whole_history(&room, 500).await;
    let found = bodies(&history);
    assert_eq!(found.len(), sent.len(), "none twice");
    assert_eq!(found.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), sent, "none missing");
}

#[tokio::test]
async fn a_logout_and_a_new_password_survive_the_kill() {
    let mut server = Server::start(Options::default());
    let phone = server.register("alice").await;
    let laptop = server.new_device(&phone).await;
    laptop.post(&v3!("/logout"), json!({})).await.ok();
    end(&mut server, "kill -9");
    laptop.at(&server.base).get(&v3!("/account/whoami")).await.expect_error(401, "M_UNKNOWN_TOKEN");
    phone.at(&server.base).get(&v3!("/account/whoami")).await.ok();
}
