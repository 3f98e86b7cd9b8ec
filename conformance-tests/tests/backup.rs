//! `linkim backup` beside a running server, and what is there after `linkim restore`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use conformance_tests::{
    Client, Options, Server, Sync, bodies, event_ids, find_state_in, printed, room_in, run, timeline, v3,
};
use serde_json::{Value, json};

/// Takes a backup of the server in a new folder of this name beside its configuration.
async fn back_up(server: &Server, name: &str) -> PathBuf {
    let to = folder(server).join(name);
    let output = command(server, "backup", &["--to", &to.to_string_lossy()]).await;
    assert!(output.status.success(), "{}", printed(&output));
    to
}

async fn command(server: &Server, verb: &str, more: &[&str]) -> std::process::Output {
    let config = server.config_file();
    let config = config.to_string_lossy();
    let arguments = [&[verb, "--config", &config], more].concat();
    run(&folder(server), &arguments).await
}

fn folder(server: &Server) -> PathBuf {
    server.config_file().parent().expect("a folder").to_owned()
}

/// Ends the server, takes its data away, restores the backup in its place and starts it again.
async fn restore(server: &mut Server, backup: &Path) {
    server.terminate();
    std::fs::rename(server.data_dir(), folder(server).join("lost")).expect("the data can be moved");
    let output = command(server, "restore", &["--from", &backup.to_string_lossy()]).await;
    assert!(output.status.success(), "{}", printed(&output));
    server.restart();
}

/// Sends until told to stop; gives the ids of what was acknowledged.
fn keep_sending(alice: &Client, room: &str, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<Vec<String>> {
    let (alice, room, stop) = (alice.clone(), room.to_owned(), stop.clone());
    tokio::spawn(async move {
        let mut ids = Vec::new();
        while !stop.load(Ordering::Acquire) {
            ids.push(alice.send_text(&room, "during").await);
        }
        ids
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_server_has_all_that_was_acknowledged_before_the_backup_began() {
    let mut server = Server::start(Options::default());
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat", "name": "Before" })).await;
    bob.join(&room).await;
    let first = alice.send_text(&room, "first").await;
    let since_before = bob.now().await;
    let mut before = vec![first];
    before.extend(alice.send_texts(&room, "before", 0..=40).await);

    let stop = Arc::new(AtomicBool::new(false));
    let sending = keep_sending(&alice, &room, &stop);
    let backup = back_up(&server, "backup").await;
    stop.store(true, Ordering::Release);
    let during = sending.await.expect("every send was acknowledged");
    assert!(!during.is_empty());

    // What a restore loses.
    let lost = alice.send_text(&room, "lost").await;
    alice.set_state(&room, "m.room.name", "", json!({ "name": "Lost" })).await;
    let later = server.new_device(&alice).await;
    let since_lost = bob.now().await;
    restore(&mut server, &backup).await;

    // Tokens and devices of before.
    assert_eq!(alice.get(&v3!("/account/whoami")).await.ok()["device_id"], alice.device_id.as_str());
    let refused = later.get(&v3!("/account/whoami")).await;
    assert_eq!((refused.status, refused.json["errcode"].as_str()), (401, Some("M_UNKNOWN_TOKEN")), "{refused}");

    // Every event acknowledged before the backup began; of those sent during it a stretch from the first on.
    let history = alice.whole_history(&room, 100).await;
    let ids = event_ids(&history);
    for id in &before {
        assert!(ids.contains(&id.as_str()), "{id} is missing");
    }
    let kept = during.iter().filter(|id| ids.contains(&id.as_str())).count();
    assert!(during[..kept].iter().all(|id| ids.contains(&id.as_str())), "a gap in {during:?}");
    assert!(!ids.contains(&lost.as_str()));
    assert_eq!(alice.state(&room, "m.room.name", "").await["name"], "Before");

    // A token of before goes on; one of the lost time gets everything anew.
    let answer = bob.sync(Sync::since(&since_before)).await;
    assert_eq!(room_in(&answer, "join", &room)["state"], Value::Null, "only what is new: {answer}");
    // How many were sent during the backup is up to the machine; what the answer has no room for is in the gap.
    let gap = room_in(&answer, "join", &room)["timeline"]["prev_batch"].as_str().expect("a token").to_owned();
    let gap = [("dir", "b"), ("limit", "1000"), ("from", &*gap), ("to", &*since_before)];
    let gap = bob.messages(&room, &gap).await;
    let gap = bodies(gap["chunk"].as_array().expect("a list")).len();
    assert_eq!(gap + bodies(timeline(&answer, &room)).len(), before.len() - 1 + kept);
    let answer = bob.sync(Sync::since(&since_lost)).await;
    let joined = room_in(&answer, "join", &room);
    assert_eq!(joined["timeline"]["limited"], true, "{answer}");
    let name = find_state_in(&joined["state"]["events"], "m.room.name", "");
    assert_eq!(name.map(|name| &name["content"]["name"]), Some(&json!("Before")), "{answer}");

    // Life goes on, and what the lost time had is not given out again.
    let since = bob.now().await;
    let new = alice.send_text(&room, "after").await;
    bob.wait_for_event(&since, &room, &new).await;
    let again = server.new_device(&alice).await;
    assert_ne!(again.access_token, later.access_token);
    let answer = bob.sync(Sync::since(&since_lost)).await;
    assert_eq!(room_in(&answer, "join", &room)["timeline"]["limited"], true, "{answer}");

    server.terminate();
    let checked = command(&server, "check-data", &[]).await;
    assert!(checked.status.success(), "{}", printed(&checked));
}

#[tokio::test]
async fn the_same_backup_restored_twice_makes_two_histories() {
    let mut server = Server::start(Options::default());
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let backup = back_up(&server, "backup").await;
    restore(&mut server, &backup).await;
    alice.send_text(&room, "one").await;
    let since_one = alice.now().await;
    server.terminate();
    let output = command(&server, "restore", &["--from", &backup.to_string_lossy()]).await;
    assert!(!output.status.success() && printed(&output).contains("--replace"), "{}", printed(&output));
    let output = command(&server, "restore", &["--replace", "--from", &backup.to_string_lossy()]).await;
    assert!(output.status.success(), "{}", printed(&output));
    server.restart();
    alice.send_text(&room, "two").await;
    let answer = alice.sync(Sync::since(&since_one)).await;
    assert_eq!(room_in(&answer, "join", &room)["timeline"]["limited"], true, "{answer}");
    assert_eq!(bodies(timeline(&answer, &room)), ["two"]);
}

#[tokio::test]
async fn a_running_server_keeps_its_data() {
    let server = Server::start(Options::default());
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let backup = back_up(&server, "backup").await;
    let sent = alice.send_text(&room, "kept").await;
    let output = command(&server, "restore", &["--replace", "--from", &backup.to_string_lossy()]).await;
    assert!(!output.status.success(), "{}", printed(&output));
    assert!(printed(&output).contains("stop the server"), "{}", printed(&output));
    alice.event(&room, &sent).await;
}

#[tokio::test]
async fn a_place_of_ws_that_a_restore_lost_has_the_client_load_anew() {
    let mut server = Server::start(Options::default());
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let kept = bob.push(None).await.position;
    let backup = back_up(&server, "backup").await;
    let mut push = bob.push(None).await;
    alice.send_text(&room, "lost").await;
    assert_eq!(push.said_until("lost").await, ["lost"]);
    restore(&mut server, &backup).await;
    let mut back = bob.push(Some(&push.position)).await;
    assert_eq!(back.until("resync").await["reason"], "unknown_position");
    // More is sent than was lost: the old place would look like one of this history.
    let new = alice.send_texts(&room, "new", 1..=20).await;
    assert_eq!(back.said_until("new20").await.len(), new.len());
    assert_eq!(bob.push(Some(&push.position)).await.until("resync").await["reason"], "unknown_position");
    // A place of before the backup goes on.
    let since_kept = bob.push(Some(&kept)).await.said_until("new20").await;
    assert_eq!(since_kept.first().map(String::as_str), Some("new1"));
}
