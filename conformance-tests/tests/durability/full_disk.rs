//! A disk that is full, or whose syncs fail: writes are refused with 503, reads go on, and all is well once it is mended.

use conformance_tests::{Client, Server, Sync, v3};
use serde_json::{Value, json};

use crate::disk::Disk;
use crate::verdict::check_data;

#[tokio::test]
async fn a_full_disk_refuses_writes_and_is_survived_without_a_restart() {
    fails_and_recovers(Disk::fill, "the disk is full").await;
}

#[tokio::test]
async fn failing_syncs_refuse_writes_and_are_survived_without_a_restart() {
    fails_and_recovers(Disk::break_syncs, "can't be written").await;
}

async fn fails_and_recovers(fail: impl Fn(&Disk), logged: &str) {
    let disk = Disk::new();
    let mut server = Server::start(disk.options(false));
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    alice.send_text(&room, "before").await;
    let log = server.log_length();
    fail(&disk);
    for round in 0..5 {
        for (path, body) in writes(&alice, &room, round) {
            let reply = alice.put(&path, body).await;
            assert_eq!(reply.status, 503, "{path}: {}", reply.text);
            assert_eq!(reply.json["errcode"], "M_UNKNOWN", "{}", reply.text);
        }
        let created = alice.post(&v3!("/createRoom"), json!({})).await;
        assert_eq!(created.status, 503, "{}", created.text);
    }
    assert_eq!(bodies(&bob, &room).await, ["before"], "reads go on, and nothing of the failed writes is there");
    bob.sync(Sync::initial()).await;
    bob.get(&v3!("/rooms/{}/members", room)).await.ok();
    let said = server.log_since(log);
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(errors.len() == 1 && errors[0].contains(logged), "one clear error: {errors:#?}");

    disk.mend();
    // The same requests again: none was half there.
    for (path, body) in writes(&alice, &room, 0) {
        alice.put(&path, body).await.ok();
    }
    alice.send_text(&room, "after").await;
    assert_eq!(bodies(&bob, &room).await, ["before", "0", "after"]);
    assert!(server.log_since(log).contains("written again"), "the log says that it is over");
    server.kill9();
    server.restart();
    let bob = bob.at(&server.base);
    assert_eq!(bodies(&bob, &room).await, ["before", "0", "after"]);
    server.terminate();
    check_data(&server);
}

/// Requests that write: a message, state, account data, a profile.
fn writes(user: &Client, room: &str, round: u32) -> Vec<(String, Value)> {
    vec![
        (
            v3!("/rooms/{}/send/m.room.message/{}", room, format!("full{round}")),
            json!({ "msgtype": "m.text", "body": round.to_string() }),
        ),
        (v3!("/rooms/{}/state/m.room.topic", room), json!({ "topic": format!("full {round}") })),
        (v3!("/user/{}/account_data/org.example.full", user.user_id), json!({ "round": round })),
        (v3!("/profile/{}/displayname", user.user_id), json!({ "displayname": format!("Alice {round}") })),
    ]
}

async fn bodies(user: &Client, room: &str) -> Vec<String> {
    let events = user.whole_history(room, 100).await;
    conformance_tests::bodies(&events).into_iter().map(str::to_owned).collect()
}
