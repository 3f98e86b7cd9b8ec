//! Answers of a server that our users' requests lead to: whatever comes, the user hears of it soon, and of nothing else.

use std::time::{Duration, Instant};

use conformance_tests::peer::{Answer, Body, RawPeer};
use conformance_tests::{Client, Reply, path, v3};
use serde_json::{Value, json};

use crate::{raw, shared, still_there};

/// How long a user may wait for another server that does not answer well.
const LONGEST: Duration = Duration::from_secs(60);

fn endless() -> Body {
    Body::Repeated {
        start: b"{\"displayname\":\"".to_vec(),
        piece: vec![b'x'; 65_536],
        times: u64::MAX,
        pause: Duration::ZERO,
    }
}

/// A hundred megabytes of JSON that ends well.
fn hundred_megabytes() -> Body {
    let mut bytes = b"{\"displayname\":\"".to_vec();
    bytes.resize(100 * 1024 * 1024, b'x');
    bytes.extend_from_slice(b"\"}");
    Body::Whole(bytes)
}

fn bad_answers() -> Vec<(&'static str, Answer)> {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    vec![
        ("100 MB", Answer::streamed(hundred_megabytes())),
        ("endless", Answer::streamed(endless())),
        ("broken off", Answer::streamed(Body::BrokenOff(b"{\"displayname\":\"".to_vec()))),
        ("text", Answer::streamed(Body::Whole(b"<html>".to_vec()))),
        ("a list", Answer::json(json!([]))),
        ("deep", Answer::streamed(Body::Whole(format!("{{\"x\":{deep}}}").into_bytes()))),
        ("elsewhere", Answer::redirect("/elsewhere")),
        ("failing", Answer::error(500, "M_UNKNOWN")),
        ("silent", Answer::streamed(Body::Never)),
    ]
}

async fn profile(client: &Client, user: &str) -> Reply {
    client.get(&v3!("/profile/{}", user)).await
}

/// An answer that tells the user that it did not work, and nothing of what came.
fn told(what: &str, reply: &Reply, start: Instant) {
    assert!(start.elapsed() < LONGEST, "{what}: {:?}", start.elapsed());
    assert!(reply.text.len() < 10_000, "{what}: {} bytes", reply.text.len());
    assert!((400..600).contains(&reply.status) && !reply.errcode().is_empty(), "{what}: {reply}");
    assert!(reply.status != 500, "{what}: not a failure of ours: {reply}");
}

#[tokio::test]
async fn profiles_that_are_none() {
    let (server, model) = (shared(), raw().await);
    let alice = server.register("alice").await;
    for (what, answer) in bad_answers() {
        let peer = raw().await;
        peer.script(move |asked| asked.path.contains("/query/profile").then(|| answer.clone()));
        let start = Instant::now();
        told(what, &profile(&alice, &peer.user("mallory")).await, start);
        assert_eq!(peer.times_asked("/elsewhere"), 0, "redirections are not followed");
    }
    let peer = raw().await;
    peer.script(|asked| {
        let profile = json!({ "displayname": "Mallory", "avatar_url": "mxc://x/y" });
        asked.path.contains("/query/profile").then(|| Answer::json(profile))
    });
    assert_eq!(profile(&alice, &peer.user("mallory")).await.ok()["displayname"], "Mallory");
    still_there(&server, &alice, &model).await;
}

#[tokio::test]
async fn directories_and_aliases_that_are_none() {
    let (server, model) = (shared(), raw().await);
    let alice = server.register("alice").await;
    for (what, answer) in bad_answers() {
        let peer: RawPeer = raw().await;
        peer.script(move |asked| {
            let about = asked.path.contains("/publicRooms") || asked.path.contains("/query/directory");
            about.then(|| answer.clone())
        });
        let start = Instant::now();
        let reply = alice.get(&path!("/_matrix/client/v3/publicRooms?server={}", peer.name)).await;
        // A field that nobody knows may hold anything: what is left is a directory without rooms.
        if what == "deep" && reply.status == 200 {
            assert_eq!(reply.json["chunk"], json!([]), "{reply}");
        } else {
            told(what, &reply, start);
        }
        let start = Instant::now();
        let reply = alice.get(&v3!("/directory/room/{}", format!("#x:{}", peer.name))).await;
        told(what, &reply, start);
        let start = Instant::now();
        let reply = alice.post(&v3!("/join/{}", format!("#x:{}", peer.name)), json!({})).await;
        told(what, &reply, start);
    }
    still_there(&server, &alice, &model).await;
}

/// A directory may name no end of servers: a join asks a few of them.
#[tokio::test]
async fn an_alias_that_names_ten_thousand_servers_has_few_of_them_asked() {
    let (server, peer) = (shared(), raw().await);
    let alice = server.register("alice").await;
    let servers: Vec<Value> = (0..10_000).map(|n| json!(format!("127.0.0.1:{}", 1 + n % 1000))).collect();
    let room = format!("!nowhere:{}", peer.name);
    peer.script(move |asked| {
        asked.path.contains("/query/directory").then(|| Answer::json(json!({ "room_id": room, "servers": servers })))
    });
    let start = Instant::now();
    let reply = alice.post(&v3!("/join/{}", format!("#x:{}", peer.name)), json!({})).await;
    told("10,000 servers", &reply, start);
}

#[tokio::test]
async fn files_that_are_none() {
    let (server, model) = (shared(), raw().await);
    let alice = server.register("alice").await;
    let multipart = |text: &str| {
        let headers = vec![("content-type".to_owned(), "multipart/mixed; boundary=b".to_owned())];
        Answer { status: 200, headers, body: Body::Whole(text.as_bytes().to_vec()) }
    };
    let mut answers = bad_answers();
    answers.extend([
        ("no parts", multipart("--b--\r\n")),
        ("one part", multipart("--b\r\ncontent-type: application/json\r\n\r\n{}\r\n--b--\r\n")),
        ("no end", multipart("--b\r\ncontent-type: application/json\r\n\r\n{}\r\n--b\r\ncontent-type: text/plain\r\n\r\nx")),
        ("at a private address", multipart("--b\r\ncontent-type: application/json\r\n\r\n{}\r\n--b\r\nlocation: http://169.254.169.254/\r\n\r\n\r\n--b--\r\n")),
        ("in a file", multipart("--b\r\ncontent-type: application/json\r\n\r\n{}\r\n--b\r\nlocation: file:///etc/passwd\r\n\r\n\r\n--b--\r\n")),
    ]);
    for (what, answer) in answers {
        let peer = raw().await;
        peer.script(move |asked| asked.path.contains("/media/").then(|| answer.clone()));
        let start = Instant::now();
        told(what, &alice.download(&format!("mxc://{}/file", peer.name)).await, start);
    }
    still_there(&server, &alice, &model).await;
}
