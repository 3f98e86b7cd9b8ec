//! Servers that do not publish their keys as they should: their requests are refused, soon, and nobody else waits.
//!
//! Source: Server-Server API, "Retrieving server keys".

use std::time::{Duration, Instant};

use conformance_tests::peer::{Answer, Body, RawPeer};
use conformance_tests::{Reply, Server};
use linkim_federation::SigningKey;
use linkim_federation::server_keys::build_key_document;
use ruma::OwnedServerName;
use serde_json::{Value, json};

use crate::{raw, shared};

/// A request that is answered 404 once its signature is believed.
async fn ask(peer: &RawPeer, server: &Server) -> Reply {
    let user = conformance_tests::encode(&format!("@nobody:{}", server.name()));
    peer.get(server, &format!("/_matrix/federation/v1/query/profile?user_id={user}")).await
}

fn publishing(peer: &RawPeer, answer: Answer) {
    peer.script(move |asked| asked.path.starts_with("/_matrix/key/v2/server").then(|| answer.clone()));
}

fn document(name: &str, key: &SigningKey, valid_until_ts: u64) -> Value {
    let name = OwnedServerName::try_from(name).expect("a name");
    let document = build_key_document(&name, std::slice::from_ref(key), &Default::default(), valid_until_ts);
    serde_json::from_str(document.json()).expect("a document")
}

fn in_an_hour() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis();
    u64::try_from(now).expect("in range") + 3_600_000
}

#[tokio::test]
async fn documents_that_are_none_are_not_believed() {
    let (server, model) = (shared(), raw().await);
    ask(&model, &server).await.expect_error(404, "M_NOT_FOUND");
    let other = SigningKey::generate([2; 32], "raw").expect("a key");
    type Lie = Box<dyn Fn(&RawPeer) -> Answer>;
    let lies: Vec<(&str, Lie)> = vec![
        ("of another server", Box::new(|peer| Answer::json(document("elsewhere.example", &peer.key, in_an_hour())))),
        ("another key", Box::new(move |peer| Answer::json(document(peer.name.as_str(), &other, in_an_hour())))),
        (
            "not signed",
            Box::new(|peer| {
                let mut document = document(peer.name.as_str(), &peer.key, in_an_hour());
                document["signatures"] = json!({});
                Answer::json(document)
            }),
        ),
        (
            "changed after it was signed",
            Box::new(|peer| {
                let mut document = document(peer.name.as_str(), &peer.key, in_an_hour());
                document["valid_until_ts"] = (in_an_hour() + 1).into();
                Answer::json(document)
            }),
        ),
        ("long expired", Box::new(|peer| Answer::json(document(peer.name.as_str(), &peer.key, 1_000_000)))),
        ("text", Box::new(|_| Answer::streamed(Body::Whole(b"<html>".to_vec())))),
        ("a list", Box::new(|_| Answer::json(json!([])))),
        ("not found", Box::new(|_| Answer::error(404, "M_NOT_FOUND"))),
        ("failing", Box::new(|_| Answer::error(500, "M_UNKNOWN"))),
        ("elsewhere", Box::new(|_| Answer::redirect("/elsewhere"))),
        ("in a circle", Box::new(|_| Answer::redirect("/_matrix/key/v2/server"))),
        ("broken off", Box::new(|_| Answer::streamed(Body::BrokenOff(b"{\"server_name\":".to_vec())))),
        (
            "100,000 keys",
            Box::new(|peer| {
                let key = json!({ "key": peer.key.public_key() });
                let keys: serde_json::Map<String, Value> =
                    (0..100_000).map(|n| (format!("ed25519:{n}"), key.clone())).collect();
                Answer::json(
                    json!({ "server_name": peer.name, "valid_until_ts": in_an_hour(), "verify_keys": keys, "signatures": {} }),
                )
            }),
        ),
    ];
    for (what, lie) in lies {
        let peer = raw().await;
        publishing(&peer, lie(&peer));
        let start = Instant::now();
        let reply = ask(&peer, &server).await;
        assert_eq!((reply.status, reply.errcode()), (401, "M_UNAUTHORIZED"), "{what}: {reply}");
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: {:?}", start.elapsed());
        assert_eq!(peer.times_asked("/elsewhere"), 0, "redirections are not followed");
        assert!(peer.times_asked("/_matrix/key/v2/server") <= 2, "{what}: asked again and again");
    }
    ask(&model, &server).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn who_publishes_its_keys_without_end_is_refused_soon() {
    let (server, model) = (shared(), raw().await);
    let endless =
        Body::Repeated { start: b"{".to_vec(), piece: vec![b' '; 65_536], times: u64::MAX, pause: Duration::ZERO };
    let dripping = Body::Repeated {
        start: b"{".to_vec(),
        piece: b" ".to_vec(),
        times: u64::MAX,
        pause: Duration::from_millis(200),
    };
    for (what, body) in [("endless", endless), ("dripping", dripping), ("silent", Body::Never)] {
        let peer = raw().await;
        publishing(&peer, Answer::streamed(body));
        let start = Instant::now();
        let (reply, ()) = tokio::join!(ask(&peer, &server), async {
            // Others don't wait for it.
            let start = Instant::now();
            ask(&model, &server).await.expect_error(404, "M_NOT_FOUND");
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        });
        assert_eq!((reply.status, reply.errcode()), (401, "M_UNAUTHORIZED"), "{what}: {reply}");
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: {:?}", start.elapsed());
    }
}

/// A hundred requests under names that lead nowhere keep no honest one waiting.
#[tokio::test]
async fn names_that_lead_nowhere_cost_nobody_else() {
    let (server, model) = (shared(), raw().await);
    ask(&model, &server).await.expect_error(404, "M_NOT_FOUND");
    let uri = "/_matrix/federation/v1/query/profile?user_id=%40x%3Ay";
    let mut requests = Vec::new();
    for port in 1..=100 {
        let mut sending = model.sending(&server, "GET", uri, None);
        sending.origin = OwnedServerName::try_from(format!("localhost:{port}")).expect("a name");
        requests.push(sending);
    }
    let nowhere = async {
        for sending in requests {
            let reply = model.send(&server, sending).await;
            assert!(matches!(reply.status, 401 | 429), "{reply}");
        }
    };
    let honest = async {
        for _ in 0..20 {
            let start = Instant::now();
            ask(&model, &server).await.expect_error(404, "M_NOT_FOUND");
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        }
    };
    tokio::join!(nowhere, honest);
}
