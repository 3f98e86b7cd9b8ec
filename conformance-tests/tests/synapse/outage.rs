//! Either server stops for a while; the other brings it up to date.

use conformance_tests::{Client, event_ids, eventually, heard, same_state, shared_room};
use serde_json::json;

use crate::{Both, own};

async fn has_all(reader: &Client, room: &str, sent: &[String]) {
    eventually("all events are there, in order", || async {
        let history = reader.whole_history(room, 100).await;
        let seen: Vec<&str> = event_ids(&history).into_iter().filter(|id| sent.iter().any(|sent| sent == id)).collect();
        (seen == sent).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn synapse_catches_up_from_us() {
    let Both { linkim, mut synapse } = own().await;
    let (here, there) = (linkim.register("here").await, synapse.register("there").await);
    let room = shared_room(&here, &[&there], json!({ "preset": "private_chat" })).await;
    synapse.stop();
    let mut sent = here.send_texts(&room, "away ", 1..=60).await;
    sent.push(here.set_state(&room, "m.room.topic", "", json!({ "topic": "missed" })).await);
    synapse.start_again().await;
    // It has something to say, so we hear that it is back.
    there.send_text(&room, "back").await;
    has_all(&there, &room, &sent).await;
    same_state(&[&here, &there], &room).await;
    heard(&here, &room, "live", &[&there]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn we_catch_up_from_synapse() {
    let Both { mut linkim, synapse } = own().await;
    let (here, there) = (linkim.register("here").await, synapse.register("there").await);
    let room = shared_room(&there, &[&here], json!({ "preset": "private_chat" })).await;
    linkim.kill9();
    let mut sent = there.send_texts(&room, "away ", 1..=60).await;
    sent.push(there.set_state(&room, "m.room.topic", "", json!({ "topic": "missed" })).await);
    linkim.restart();
    let here = here.at(&linkim.base);
    here.send_text(&room, "back").await;
    has_all(&here, &room, &sent).await;
    same_state(&[&here, &there], &room).await;
    heard(&there, &room, "live", &[&here]).await;
}
