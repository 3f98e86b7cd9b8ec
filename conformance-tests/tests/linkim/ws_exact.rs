//! Many connections while much happens at once: each is told all that a client finds who asks afterwards, once, in order.

use std::collections::{BTreeMap, HashSet};

use conformance_tests::{Client, Options, Push, Server, v3};
use serde_json::{Value, json};
use tokio::sync::watch;

const USERS: usize = 24;
const ROOMS: usize = 4;

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }
}

/// What one user does, in turns with everybody else. Answers which rooms they left for a while.
async fn live(user: Client, rooms: Vec<String>, mut dice: Dice) -> HashSet<String> {
    let mut left = HashSet::new();
    let mut sent: Vec<(usize, String)> = Vec::new();
    for number in 0..25 {
        let at = dice.roll(ROOMS);
        let room = &rooms[at];
        match dice.roll(12) {
            0..5 => sent.push((at, user.send_text(room, &format!("{} {number}", user.user_id)).await)),
            5 | 6 if !sent.is_empty() => {
                let (at, event) = &sent[dice.roll(sent.len())];
                let kind = if dice.roll(4) == 0 { "m.read.private" } else { "m.read" };
                user.post(&v3!("/rooms/{}/receipt/{}/{}", rooms[*at], kind, event), json!({})).await.ok();
            }
            7 => {
                let typing = json!({ "typing": dice.roll(2) == 0, "timeout": 20_000 });
                user.put(&v3!("/rooms/{}/typing/{}", room, user.user_id), typing).await.ok();
            }
            8 if !sent.is_empty() => {
                let (at, event) = sent.swap_remove(dice.roll(sent.len()));
                user.redact(&rooms[at], &event, json!({})).await;
            }
            9 => {
                let draft = json!({ "group_id": room, "text": format!("draft {number}") });
                user.put("/conversation/draft", draft).await.done();
            }
            10 => {
                let name = json!({ "displayname": format!("{number}") });
                user.put(&v3!("/profile/{}/displayname", user.user_id), name).await.ok();
            }
            11 if dice.roll(3) == 0 => {
                left.insert(room.clone());
                user.leave(room).await;
                user.join(room).await;
            }
            _ => {
                let content = json!({ "body": format!("{number}"), "msgtype": "m.notice" });
                user.send(room, "m.room.message", content).await;
            }
        }
    }
    left
}

/// All frames with a place, until told to stop and nothing more is there.
async fn listen(mut push: Push, mut stop: watch::Receiver<bool>) -> Vec<Value> {
    let mut frames = Vec::new();
    loop {
        tokio::select! {
            frame = push.next() => frames.push(frame),
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    // The first answer may come before what the server was just woken for.
    for _ in 0..2 {
        frames.extend(push.up_to_now().await);
    }
    placed(frames)
}

fn placed(frames: Vec<Value>) -> Vec<Value> {
    let counts = |frame: &Value| frame["position"].is_string() && frame["type"] != "pong";
    frames.into_iter().filter(counts).collect()
}

fn place(frame: &Value) -> i64 {
    let position = frame["position"].as_str().and_then(|position| position.split('_').next());
    position.and_then(|position| position.parse().ok()).unwrap_or_else(|| panic!("no place in {frame}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_connection_is_told_everything_once_and_in_order() {
    let server = Server::start(Options::default());
    let mut users = Vec::new();
    for _ in 0..USERS {
        users.push(server.register("user").await);
    }
    let mut rooms = Vec::new();
    for _ in 0..ROOMS {
        let room = users[0].create_room(json!({ "preset": "public_chat" })).await;
        for user in &users[1..] {
            user.join(&room).await;
        }
        rooms.push(room);
    }
    // One hears nothing of another; for them everything is looked for.
    let list = json!({ "ignored_users": { &users[1].user_id: {} } });
    users[2].put(&v3!("/user/{}/account_data/m.ignored_user_list", users[2].user_id), list).await.ok();

    let stop = watch::Sender::new(false);
    let (mut since, mut listening) = (Vec::new(), Vec::new());
    for user in &users {
        let mut push = user.push(None).await;
        push.up_to_now().await;
        since.push(push.position.clone());
        listening.push(tokio::spawn(listen(push, stop.subscribe())));
    }
    let living: Vec<_> = users
        .iter()
        .enumerate()
        .map(|(seed, user)| tokio::spawn(live(user.clone(), rooms.clone(), Dice(seed as u64 + 7))))
        .collect();
    let mut left = Vec::new();
    for life in living {
        left.push(life.await.expect("everything succeeds"));
    }
    // Everybody was told of what is there now before they stop.
    users[0].send_text(&rooms[0], "the end").await;
    stop.send_replace(true);
    for (((user, since), listening), left) in users.iter().zip(&since).zip(listening).zip(&left) {
        let told = listening.await.expect("frames came");
        let places: Vec<i64> = told.iter().map(place).collect();
        assert!(places.is_sorted_by(|one, next| one < next), "{}: not in order, or twice: {places:?}", user.user_id);
        let told: BTreeMap<i64, &Value> = told.iter().map(|frame| (place(frame), frame)).collect();
        let mut found = placed(user.push(Some(since)).await.up_to_now().await);
        // Names go on into the rooms after that.
        let end = found.iter().find(|frame| frame["data"]["body"]["content"] == "the end").map(place);
        // What was read in a room while they were out of it is told to who asks once they are back, and not at once.
        let was_out = |frame: &Value| frame["data"]["room_id"].as_str().is_some_and(|room| left.contains(room));
        found.retain(|frame| Some(place(frame)) <= end && !(frame["type"] == "read" && was_out(frame)));
        assert!(found.len() > 100, "{}", found.len());
        for frame in &found {
            assert_eq!(told.get(&place(frame)), Some(&frame), "{} was not told", user.user_id);
        }
        // Only what came to nothing since then was told beyond: withdrawn messages, older receipts and settings.
        let found: BTreeMap<i64, &Value> = found.iter().map(|frame| (place(frame), frame)).collect();
        let more = told.iter().filter(|(at, _)| !found.contains_key(at) && Some(**at) <= end);
        for (_, frame) in more {
            let kind = frame["type"].as_str().expect("a type");
            let own = frame["data"]["state_key"] == *user.user_id;
            assert!(matches!(kind, "message" | "read" | "conversation") || own, "{}: {frame}", user.user_id);
        }
    }
}
