//! Transactions that are malformed, too large, too slow, or come twice.
//!
//! Source: Server-Server API, "Transactions".

use std::time::{Duration, Instant};

use conformance_tests::peer::{Event, Sending, transaction};
use conformance_tests::{Server, event_ids, unique};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{World, not_shown, own, shared, shown, still_there, world};

async fn send(world: &World, server: &Server, body: &Value) -> conformance_tests::Reply {
    world.peer.put(server, &format!("/_matrix/federation/v1/send/{}", unique("txn")), body).await
}

#[tokio::test]
async fn more_than_may_be_in_one_is_refused_whole() {
    let server = shared();
    let world = world(&server).await;
    let events: Vec<Event> = (0..51).map(|n| world.say(&format!("{n}"))).collect();
    let all: Vec<&Event> = events.iter().collect();
    let reply = world.peer.transact(&server, &all, &[]).await;
    assert_eq!(reply.status, 400, "51 PDUs: {reply}");
    let edus = vec![json!({ "edu_type": "org.example.none", "content": {} }); 101];
    let reply = world.peer.transact(&server, &all[..1], &edus).await;
    assert_eq!(reply.status, 400, "101 EDUs: {reply}");
    not_shown(&world.alice, &world.room.id, &events[0]).await;

    // As many as may be in one are taken.
    let answer = world.peer.transact(&server, &all[..50], &edus[..100]).await.ok();
    assert_eq!(answer["pdus"].as_object().map(serde_json::Map::len), Some(50), "{answer}");
    shown(&world.alice, &world.room.id, &events[49].id).await;
    world.peer.transact(&server, &all[50..], &[]).await.ok();
    shown(&world.alice, &world.room.id, &events[50].id).await;
}

#[tokio::test]
async fn what_is_no_transaction_is_refused() {
    let server = shared();
    let world = world(&server).await;
    let name = world.peer.name.as_str();
    for body in [
        json!({}),
        json!({ "origin": name }),
        json!({ "origin": name, "origin_server_ts": 1, "pdus": {} }),
        json!({ "origin": name, "origin_server_ts": 1, "pdus": "none" }),
        json!({ "origin": name, "origin_server_ts": 1, "pdus": [], "edus": 7 }),
    ] {
        send(&world, &server, &body).await.expect_error(400, "M_BAD_JSON");
    }
    // What is signed is a JSON object; what is none can't be signed, and is refused before anybody looks at the signature.
    let uri = format!("/_matrix/federation/v1/send/{}", unique("txn"));
    let honest = world.peer.sending(&server, "PUT", &uri, Some(&transaction(name, &[], &[])));
    for text in ["", "[]", "7", "{", "{\"pdus\":[}", "\u{0}", "{} {}", "nonsense"] {
        let sent_body = Some(text.as_bytes().to_vec());
        let reply = world.peer.send(&server, Sending { sent_body, ..honest.clone() }).await;
        let refused = [(400, "M_NOT_JSON"), (400, "M_BAD_JSON"), (401, "M_UNAUTHORIZED")];
        assert!(refused.contains(&(reply.status, reply.errcode())), "{text:?}: {reply}");
    }
    still_there(&server, &world.alice, &world.peer).await;
}

#[tokio::test]
async fn who_signs_is_who_sends() {
    let server = shared();
    let world = world(&server).await;
    let event = world.say("under another name");
    let reply = send(&world, &server, &transaction("elsewhere.example", &[&event], &[])).await;
    assert!((400..500).contains(&reply.status), "{reply}");
    not_shown(&world.alice, &world.room.id, &event).await;
}

#[tokio::test]
async fn one_malformed_event_costs_no_other() {
    let server = shared();
    let world = world(&server).await;
    let deep = "[".repeat(5000) + &"]".repeat(5000);
    let deep: Value = json!({ "type": "m.room.message", "room_id": world.room.id, "content": { "x": "DEEP" } })
        .to_string()
        .replace("\"DEEP\"", &deep)
        .into();
    for bad in [json!(7), json!(null), json!("text"), json!([]), json!({}), json!({ "room_id": 7 }), deep] {
        let since = world.alice.now().await;
        let good = world.say("good");
        let mut body = transaction(world.peer.name.as_str(), &[&good], &[]).to_string();
        // Text that stands for an event is put in as it is: what nests so deeply is no serde value.
        let bad = bad.as_str().filter(|text| text.starts_with('{')).map_or_else(|| bad.to_string(), str::to_owned);
        body = body.replace("\"pdus\":[", &format!("\"pdus\":[{bad},"));
        let mut sending =
            world.peer.sending(&server, "PUT", &format!("/_matrix/federation/v1/send/{}", unique("txn")), None);
        (sending.body, sending.sent_body) = (Some(body.clone().into_bytes()), Some(body.into_bytes()));
        let answer = world.peer.send(&server, sending).await.ok();
        assert_eq!(answer["pdus"][&good.id], json!({}), "{answer}");
        world.alice.wait_for_event(&since, &world.room.id, &good.id).await;
    }
}

#[tokio::test]
async fn a_transaction_that_comes_twice_counts_once() {
    let server = shared();
    let world = world(&server).await;
    let (id, event) = (unique("txn"), world.say("once"));
    let uri = format!("/_matrix/federation/v1/send/{id}");
    let body = transaction(world.peer.name.as_str(), &[&event], &[]);
    let first = world.peer.put(&server, &uri, &body).await.ok();
    shown(&world.alice, &world.room.id, &event.id).await;
    let second = world.peer.put(&server, &uri, &body).await.ok();
    assert_eq!(first, second);
    // The event alone may come again, too, under another id, and twice in one.
    world.peer.transact(&server, &[&event, &event], &[]).await.ok();
    let after = world.say("after");
    world.peer.transact(&server, &[&after], &[]).await.ok();
    shown(&world.alice, &world.room.id, &after.id).await;
    let history = world.alice.whole_history(&world.room.id, 100).await;
    let times = event_ids(&history).into_iter().filter(|id| *id == event.id).count();
    assert_eq!(times, 1);
}

#[tokio::test]
async fn a_body_larger_than_any_transaction_is_refused() {
    let server = shared();
    let world = world(&server).await;
    let event = world.say("beside a load of nothing");
    let mut body = transaction(world.peer.name.as_str(), &[&event], &[]);
    body["edus"] = json!([{ "edu_type": "org.example.none", "content": { "x": "x".repeat(20 * 1024 * 1024) } }]);
    let uri = format!("/_matrix/federation/v1/send/{}", unique("txn"));
    // Who sends on after the refusal may find the connection closed before it has read it.
    if let Ok(reply) = world.peer.try_send(&server, world.peer.sending(&server, "PUT", &uri, Some(&body))).await {
        reply.expect_error(413, "M_TOO_LARGE");
    }
    not_shown(&world.alice, &world.room.id, &event).await;
}

/// Hundreds of connections that send a byte now and then take nothing from the others, and are given up.
#[tokio::test]
async fn bodies_that_never_end_are_given_up() {
    const CONNECTIONS: usize = 200;
    let server = own();
    let world = world(&server).await;
    let uri = format!("/_matrix/federation/v1/send/{}", unique("slow"));
    let header = world.peer.sending(&server, "PUT", &uri, Some(&json!({}))).header();
    let head = format!(
        "PUT {uri} HTTP/1.1\r\nhost: {}\r\nauthorization: {header}\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n{{",
        server.name()
    );
    let mut slow = tokio::task::JoinSet::new();
    for number in 0..CONNECTIONS {
        let mut stream = world.peer.connection(&server).await;
        // Every other one does not even end its head.
        let text = if number % 2 == 0 { head.clone() } else { head[..head.len() - 3].to_owned() };
        slow.spawn(async move {
            let start = Instant::now();
            if stream.write_all(text.as_bytes()).await.is_err() {
                return start.elapsed();
            }
            let mut answer = [0; 1024];
            loop {
                tokio::select! {
                    read = stream.read(&mut answer) => match read {
                        Ok(length) if length > 0 => {}
                        _ => return start.elapsed(),
                    },
                    () = tokio::time::sleep(Duration::from_secs(1)) => {
                        if stream.write_all(b" ").await.is_err() {
                            return start.elapsed();
                        }
                    }
                }
            }
        });
    }
    for turn in 0..5 {
        let start = Instant::now();
        let event = world.say(&format!("meanwhile {turn}"));
        world.peer.transact(&server, &[&event], &[]).await.ok();
        shown(&world.alice, &world.room.id, &event.id).await;
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
    let mut ended = 0;
    while let Some(time) = slow.join_next().await {
        let time = time.expect("a task that ends");
        assert!(time < Duration::from_secs(120), "a connection was kept for {time:?}");
        ended += 1;
    }
    assert_eq!(ended, CONNECTIONS);
    still_there(&server, &world.alice, &world.peer).await;
}
