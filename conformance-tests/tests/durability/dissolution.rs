//! The dissolution of a group, cut off between two of the batches in which its members are removed.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use conformance_tests::{Client, Server, eventually, v3};
use reqwest::Method;
use serde_json::{Value, json};

use crate::disk::Disk;
use crate::verdict::check_data;

/// More than two batches.
const MEMBERS: usize = 120;

/// Times that the power fails until it failed between two batches: the point is found by halving.
const ATTEMPTS: usize = 14;

/// Calls of the disk that a dissolution takes at most.
const CALLS: u64 = 8_192;

/// What had happened when the power failed.
#[derive(Debug, PartialEq, Eq)]
enum Cut {
    /// Nobody was removed yet.
    Before,
    /// Some were removed before, the others after the restart.
    Between,
    /// All were removed.
    After,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dissolution_goes_on_from_between_two_batches() {
    let disk = Disk::new();
    let mut server = Server::start(disk.options(false));
    let owner = server.register("owner").await;
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(server.register("member").await);
    }
    let (mut low, mut high) = (0, CALLS);
    for _ in 0..ATTEMPTS {
        let calls = (low + high) / 2;
        let cut = attempt(&disk, &mut server, &owner, &members, calls).await;
        println!("after {calls} calls: {cut:?}");
        match cut {
            Cut::Before => low = calls,
            Cut::After => high = calls,
            Cut::Between => {
                server.terminate();
                check_data(&server);
                return;
            }
        }
    }
    panic!("the power never failed between two batches");
}

async fn attempt(disk: &Disk, server: &mut Server, owner: &Client, members: &[Client], calls: u64) -> Cut {
    let ids: Vec<&str> = members.iter().map(|member| &*member.user_id).collect();
    let body = json!({ "user_ids": ids, "group_name": "Team" });
    let made = owner.with_patience(Duration::from_secs(60)).post("/group/create", body).await.done();
    let (id, room) = (made["groupID"].clone(), made["room_id"].as_str().expect("an id").to_owned());
    // The last one to be removed: they see the others go.
    let last = members.last().expect("a member");
    disk.lose_power_after(calls, false, 1);
    let body = json!({ "group_id": id }).to_string().into_bytes();
    let json = [("content-type", "application/json")];
    // There may be no answer.
    let _ = owner.try_raw(Method::DELETE, "/group/dissolve", &json, Some(body)).await;
    let started = Instant::now();
    let lost = loop {
        if server.has_ended() {
            break true;
        }
        if is_out(last, &room).await == Some(true) {
            break false;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "neither the end of the group nor of the power");
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    disk.spare_power();
    if !lost {
        // The process goes on counting down from what it read.
        tokio::task::block_in_place(|| server.restart());
        return Cut::After;
    }
    let restarted = now_ms();
    tokio::task::block_in_place(|| server.restart());
    let info = last.get(&format!("/group/info?group_id={}", id.as_str().expect("an id"))).await;
    if info.status == 200 {
        return Cut::Before;
    }
    info.refused(410, 1204);
    eventually("the last one is out", || async { is_out(last, &room).await.filter(|out| *out) }).await;
    let leaves: Vec<Value> = last
        .whole_history(&room, 100)
        .await
        .into_iter()
        .filter(|event| event["type"] == "m.room.member" && event["content"]["membership"] == "leave")
        .collect();
    assert_eq!(leaves.len(), MEMBERS + 1, "each left once");
    let before = |event: &&Value| event["origin_server_ts"].as_u64().is_some_and(|ts| u128::from(ts) < restarted);
    match leaves.iter().filter(before).count() {
        0 => Cut::Before,
        before if before == leaves.len() => Cut::After,
        _ => Cut::Between,
    }
}

#[expect(clippy::disallowed_methods, reason = "events carry the time of the machine's clock")]
fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_millis()
}

/// Whether somebody is no longer in a room; None if there is no answer.
async fn is_out(user: &Client, room: &str) -> Option<bool> {
    let reply = user.try_raw(Method::GET, &v3!("/joined_rooms"), &[], None).await.ok()?;
    let joined = reply.json["joined_rooms"].as_array()?;
    Some(!joined.contains(&json!(room)))
}
