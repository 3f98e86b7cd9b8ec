//! Readers come to where a server's own history ends.

use serde_json::{Value, json};

use super::two_servers::{Network, Person, Server};
use crate::peers::fixture::eventually;

/// Texts that somebody sends.
async fn say(server: &Server, room: &str, by: &Person, texts: std::ops::Range<usize>) -> Vec<String> {
    let mut sent = Vec::new();
    for n in texts {
        let body = json!({ "msgtype": "m.text", "body": n.to_string() });
        let path = format!("/rooms/{room}/send/m.room.message/{n}");
        sent.push(server.put(&path, by, body).await.ok()["event_id"].as_str().unwrap().to_owned());
    }
    sent
}

/// What a reader finds paging back to the end, oldest first; `None` in place of a page that goes nowhere.
async fn read_back(server: &Server, room: &str, by: &Person, limit: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let mut from = String::new();
    for _ in 0..100 {
        let page = server.get(&format!("/rooms/{room}/messages?dir=b&limit={limit}{from}"), by).await.ok();
        all.extend(page["chunk"].as_array().unwrap().iter().cloned());
        let Some(end) = page["end"].as_str() else { break };
        if page["chunk"] == json!([]) && page["start"] == page["end"] {
            break;
        }
        from = format!("&from={end}");
    }
    all.reverse();
    all
}

fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event_id"].as_str().unwrap()).collect()
}

macro_rules! late {
    ($network:ident, $a:ident, $b:ident, $alice:ident, $bob:ident, $room:ident, $visibility:expr, $texts:ident) => {
        let $network = Network::default();
        let $a = Server::start(&$network, "a.example").await;
        let $b = Server::start(&$network, "b.example").await;
        let ($alice, $bob) = ($a.person("alice").await, $b.person("bob").await);
        let state = json!([{ "type": "m.room.history_visibility", "state_key": "",
            "content": { "history_visibility": $visibility } }]);
        let $room = $a.room(&$alice, json!({ "preset": "public_chat", "initial_state": state })).await;
        let $texts = say(&$a, &$room, &$alice, 0..130).await;
        $b.post(&format!("/join/{}?via=a.example", $room), &$bob, json!({})).await.ok();
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_server_pages_back_to_the_creation() {
    late!(network, a, b, alice, bob, room, "shared", texts);
    let theirs = read_back(&a, &room, &alice, 40).await;
    let ours = read_back(&b, &room, &bob, 40).await;
    assert_eq!(ids(&ours), ids(&theirs));
    assert_eq!(ours[0]["type"], "m.room.create");
    let asked = network.count("/backfill/");
    assert!((2..=4).contains(&asked), "{asked}");
    // It is here now.
    network.set_down(&a.name, true);
    assert_eq!(ids(&read_back(&b, &room, &bob, 17).await), ids(&theirs));
    assert_eq!(network.count("/backfill/"), asked);
    assert!(ids(&ours).contains(&texts[0].as_str()));
}

/// What a reader finds paging forwards to the end, oldest first.
async fn read_on(server: &Server, room: &str, by: &Person, limit: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let mut from = String::new();
    for _ in 0..100 {
        let page = server.get(&format!("/rooms/{room}/messages?dir=f&limit={limit}{from}"), by).await.ok();
        all.extend(page["chunk"].as_array().unwrap().iter().cloned());
        let Some(end) = page["end"].as_str() else { break };
        from = format!("&from={end}");
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_server_reads_on_from_the_creation() {
    late!(network, a, b, alice, bob, room, "shared", texts);
    let theirs = read_back(&a, &room, &alice, 40).await;
    assert_eq!(ids(&read_on(&b, &room, &bob, 40).await), ids(&theirs));
    let asked = network.count("/backfill/");
    assert!((2..=4).contains(&asked), "{asked}");
    network.set_down(&a.name, true);
    assert_eq!(ids(&read_on(&b, &room, &bob, 17).await), ids(&theirs));
    assert_eq!(network.count("/backfill/"), asked);
    let _ = texts;
}

/// A server that was out of the room for a while: its users page over the gap, from either side.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_in_the_middle_is_filled_for_who_reads_on() {
    late!(network, a, b, alice, bob, room, "shared", texts);
    let before = read_back(&b, &room, &bob, 100).await;
    b.tell_others().await;
    b.post(&format!("/rooms/{room}/leave"), &bob, json!({})).await.ok();
    eventually("it is heard", async || a.membership(&room, &alice, &bob.id).await == "leave").await;
    let missed = say(&a, &room, &alice, 200..350).await;
    b.post(&format!("/join/{room}?via=a.example"), &bob, json!({})).await.ok();
    // From the last text before the gap on, whose server is away: the page ends at the gap, and the next one goes on behind it.
    let last = texts.last().unwrap();
    let context = b.get(&format!("/rooms/{room}/context/{last}?limit=0"), &bob).await.ok();
    let from = context["end"].as_str().unwrap();
    network.set_down(&a.name, true);
    let page = b.get(&format!("/rooms/{room}/messages?dir=f&limit=100&from={from}"), &bob).await.ok();
    let found = page["chunk"].as_array().unwrap();
    assert!(!found.iter().any(|event| missed.contains(&event["event_id"].as_str().unwrap().to_owned())));
    let kinds: Vec<&Value> = found.iter().map(|event| &event["content"]["membership"]).collect();
    assert_eq!(kinds, ["join", "leave"], "to the gap, and not beyond");
    let end = page["end"].as_str().expect("there is more");
    let beyond = b.get(&format!("/rooms/{room}/messages?dir=f&limit=100&from={end}"), &bob).await.ok();
    assert_eq!(beyond["chunk"][0]["content"]["membership"], "join", "{beyond}");
    network.set_down(&a.name, false);
    let theirs = read_back(&a, &room, &alice, 100).await;
    // It is let rest for about a second.
    let mut ours = Vec::new();
    for _ in 0..100 {
        ours = read_on(&b, &room, &bob, 60).await;
        if ours.len() == theirs.len() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(ids(&ours), ids(&theirs));
    assert!(before.len() < ours.len());
}

/// A receipt for an event that is history here waits until that is fetched.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_in_history_is_seen_once_the_history_is_here() {
    late!(network, a, b, alice, bob, room, "shared", texts);
    let read = &texts[120];
    a.tell_others().await;
    // Alice has read so far; her server tells it to who is in the room.
    a.post(&format!("/rooms/{room}/receipt/m.read/{read}"), &alice, json!({})).await.ok();
    eventually("the receipt was sent", async || b.pending_receipts().await == 1).await;
    let _ = network;
    let path = format!("/rooms/{room}/messages?dir=b&limit=50");
    b.get(&path, &bob).await.ok();
    assert_eq!(b.pending_receipts().await, 0);
    let sync = b.sync(&bob).await;
    let events = sync["rooms"]["join"][&room]["ephemeral"]["events"].as_array().unwrap().clone();
    let receipt = events.iter().find(|event| event["type"] == "m.receipt").expect("a receipt");
    assert!(receipt["content"][read]["m.read"].get(alice.id.as_str()).is_some(), "{receipt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_for_readers_who_may_not_see_it() {
    late!(network, a, b, _alice, bob, room, "joined", texts);
    let ours = read_back(&b, &room, &bob, 40).await;
    assert!(!ids(&ours).iter().any(|id| texts.iter().any(|text| text == id)));
    assert_eq!(network.count("/backfill/"), 0);
    let _ = a;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_can_try_again_where_nobody_answered() {
    late!(network, a, b, _alice, bob, room, "shared", texts);
    network.set_down(&a.name, true);
    let path = format!("/rooms/{room}/messages?dir=b&limit=50");
    let page = b.get(&path, &bob).await.ok();
    let end = page["end"].as_str().expect("there is more");
    let again = b.get(&format!("{path}&from={end}"), &bob).await.ok();
    assert_eq!((&again["chunk"], &again["end"]), (&json!([]), &json!(end)));
    network.set_down(&a.name, false);
    // It is let rest for about a second.
    let mut found = json!([]);
    for _ in 0..100 {
        found = b.get(&format!("{path}&from={end}"), &bob).await.ok()["chunk"].clone();
        if found != json!([]) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(found[0]["event_id"], texts[129]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_by_its_time_is_fetched() {
    late!(network, a, b, _alice, bob, room, "shared", texts);
    let path = format!("/_matrix/client/v1/rooms/{room}/timestamp_to_event?ts=0&dir=f");
    let first = b.call(http::Method::GET, &path, Some(&bob), Value::Null).await.ok();
    assert_eq!(network.count("/timestamp_to_event/"), 1);
    let event = first["event_id"].as_str().unwrap();
    let context = b.get(&format!("/rooms/{room}/context/{event}?limit=4"), &bob).await.ok();
    assert_eq!(context["event"]["type"], "m.room.create");
    let _ = (a, texts);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_that_was_not_asked_for_is_not_taken() {
    late!(network, a, b, _alice, bob, room, "shared", texts);
    let path = format!("/rooms/{room}/messages?dir=b&limit=50");
    // Events that are none, and events that none of those asked for comes after.
    network.tamper(|_, line, _, body| {
        if line.contains("/backfill/") {
            let pdus = body["pdus"].as_array_mut().unwrap();
            pdus.remove(0);
            pdus.push(json!({ "type": "m.room.message" }));
        }
    });
    let page = b.get(&path, &bob).await.ok();
    assert!(
        !page["chunk"]
            .as_array()
            .unwrap()
            .iter()
            .any(|event| texts.contains(&event["event_id"].as_str().unwrap().to_owned()))
    );
    let _ = a;
}
