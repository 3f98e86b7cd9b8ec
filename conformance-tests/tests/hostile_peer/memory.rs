//! What the largest answers and the longest floods cost in memory. Each test has a server of its own, so that the figure is of
//! nothing else.

use std::time::{Duration, Instant};

use conformance_tests::peer::{Answer, Body, RawPeer};
use conformance_tests::{Server, encode, v3};
use serde_json::json;

use crate::{own, raw, shown, still_there, world};

const MIB: u64 = 1024;

/// An answer without end, piece by piece as fast as it is taken.
fn endless(start: &str, piece: &str) -> Body {
    let piece = piece.repeat((256 * 1024 / piece.len()).max(1)).into_bytes();
    Body::Repeated { start: start.as_bytes().to_vec(), piece, times: u64::MAX, pause: Duration::ZERO }
}

/// How much more the server took at most while something was done, in KiB.
async fn growth<T>(server: &Server, what: &str, work: impl Future<Output = T>) -> (u64, T) {
    server.forget_peak();
    let (before, start) = (server.resident_kib(), Instant::now());
    let done = work.await;
    let grown = server.peak_kib().saturating_sub(before);
    println!("{what}: {grown} KiB more at most, {:?}", start.elapsed());
    (grown, done)
}

#[tokio::test]
async fn answers_without_end_to_small_questions() {
    let server = own();
    let alice = server.register("alice").await;
    let model = raw().await;
    model.get(&server, "/_matrix/federation/v1/query/profile?user_id=%40x%3Ay").await;
    let peers = [raw().await, raw().await, raw().await, raw().await, raw().await];
    let question = |peer: &RawPeer| v3!("/profile/{}", peer.user("mallory"));
    for peer in &peers {
        peer.script(|asked| {
            (!asked.path.contains("/key/")).then(|| Answer::streamed(endless("{\"displayname\":\"", "x")))
        });
    }
    let (grown, ()) = growth(&server, "five profiles without end", async {
        let [a, b, c, d, e] = &peers;
        let get = async |peer: &RawPeer| alice.get(&question(peer)).await;
        let (a, b, c, d, e) = tokio::join!(get(a), get(b), get(c), get(d), get(e));
        for reply in [a, b, c, d, e] {
            assert!(reply.status >= 400, "{reply}");
        }
    })
    .await;
    assert!(peers.iter().all(|peer| peer.times_asked("/query/profile") > 0), "all were asked");
    assert!(grown < 60 * MIB, "{grown} KiB");
    still_there(&server, &alice, &model).await;
}

/// An answer to send_join that goes on and on with events, none of which is any good.
#[tokio::test]
async fn a_join_without_end() {
    let server = own();
    let alice = server.register("alice").await;
    for (what, piece) in [("of nothings", "{},"), ("of numbers", "1,"), ("of one text", "x")] {
        let peer = raw().await;
        let room = peer.create_room(&peer.user("mallory"), "11");
        let start = if what == "of one text" { "{\"state\":[{\"x\":\"" } else { "{\"state\":[" };
        let piece = piece.to_owned();
        peer.script(move |asked| asked.path.contains("/send_join/").then(|| Answer::streamed(endless(start, &piece))));
        let join = v3!("/join/{}", room.id) + &format!("?via={}", encode(peer.name.as_str()));
        let (grown, reply) = growth(&server, &format!("a join {what} without end"), alice.post(&join, json!({}))).await;
        assert_eq!((reply.status, reply.errcode()), (502, "M_UNKNOWN"), "{what}: {reply}");
        assert!(grown < 150 * MIB, "{what}: {grown} KiB");
    }
    let model = raw().await;
    still_there(&server, &alice, &model).await;
}

/// What a peer may answer about missing events and states, at its largest.
#[tokio::test]
async fn missing_events_without_end() {
    let server = own();
    let world = world(&server).await;
    let honest = world.room.tips();
    for endpoint in ["/get_missing_events/", "/state_ids/", "/state/"] {
        world.say("hidden");
        let floating = world.say("floating");
        world.peer.script(move |asked| {
            if asked.path.contains(endpoint) {
                let start = match endpoint {
                    "/get_missing_events/" => "{\"events\":[",
                    "/state_ids/" => "{\"pdu_ids\":[",
                    _ => "{\"pdus\":[",
                };
                let piece = if endpoint == "/state_ids/" { "\"$x\"," } else { "{}," };
                return Some(Answer::streamed(endless(start, piece)));
            }
            if asked.path.contains("/state_ids/") {
                // So many that the whole state is asked for.
                let ids: Vec<String> = (0..5_000).map(|n| format!("${n:A>43}")).collect();
                return Some(Answer::json(json!({ "pdu_ids": ids, "auth_chain_ids": [] })));
            }
            let about = ["/get_missing_events/", "/event/"];
            about.iter().any(|other| asked.path.contains(other)).then(|| Answer::error(404, "M_NOT_FOUND"))
        });
        let (grown, ()) = growth(&server, &format!("{endpoint} without end"), async {
            world.peer.transact(&server, &[&floating], &[]).await.ok();
            let start = Instant::now();
            while world.peer.times_asked(endpoint) == 0 {
                assert!(start.elapsed() < Duration::from_secs(30), "{endpoint} is not asked for");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let mut draft = world.draft("in its place");
            draft["prev_events"] = world.room.references(&honest);
            let good = world.peer.sign(&world.room, draft);
            world.peer.transact(&server, &[&good], &[]).await.ok();
            let start = Instant::now();
            while world.alice.get(&v3!("/rooms/{}/event/{}", world.room.id, good.id)).await.status != 200 {
                assert!(start.elapsed() < Duration::from_secs(120), "the room's worker hangs at {endpoint}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        // The largest of them is taken up to 128 MB before it is judged.
        assert!(grown < 200 * MIB, "{endpoint}: {grown} KiB");
    }
    still_there(&server, &world.alice, &world.peer).await;
}

/// The largest answers that are taken, of the smallest things, which take most when each of them is kept: every one ends well.
#[tokio::test]
async fn answers_of_millions_of_tiny_things() {
    let server = own();
    let world = world(&server).await;
    let honest = world.room.tips();
    for (endpoint, megabytes) in
        [("/get_missing_events/", 7), ("/state_ids/", 15), ("/state/", 120), ("/event_auth/", 60)]
    {
        let whole = |start: &str, piece: &str, end: &str| {
            let times = megabytes * 1024 * 1024 / piece.len();
            let text = format!("{start}{}{end}", piece.repeat(times).trim_end_matches(','));
            Answer::streamed(Body::Whole(text.into_bytes()))
        };
        let tiny = match endpoint {
            "/get_missing_events/" => whole("{\"events\":[", "1,", "]}"),
            "/state_ids/" => whole("{\"pdu_ids\":[", "\"$x\",", "],\"auth_chain_ids\":[]}"),
            "/state/" => whole("{\"pdus\":[", "1,", "],\"auth_chain\":[]}"),
            _ => whole("{\"auth_chain\":[", "1,", "]}"),
        };
        let mut draft = world.draft("floating");
        if endpoint == "/event_auth/" {
            let mut auth = world.room.auth_events(&world.mallory, "m.room.message", None, &json!({}));
            auth[0] = format!("${}", "B".repeat(43));
            draft["auth_events"] = json!(auth);
        } else {
            draft["prev_events"] = json!([format!("${}", "C".repeat(43))]);
        }
        let floating = world.peer.sign(&world.room, draft);
        world.peer.script(move |asked| {
            if asked.path.contains(endpoint) {
                return Some(tiny.clone());
            }
            if asked.path.contains("/state_ids/") && endpoint == "/state/" {
                let ids: Vec<String> = (0..5_000).map(|n| format!("${n:A>43}")).collect();
                return Some(Answer::json(json!({ "pdu_ids": ids, "auth_chain_ids": [] })));
            }
            let about = ["/get_missing_events/", "/state_ids/", "/state/", "/event/", "/event_auth/"];
            about.iter().any(|other| asked.path.contains(other)).then(|| Answer::error(404, "M_NOT_FOUND"))
        });
        let (grown, ()) = growth(&server, &format!("{megabytes} MB of tiny things at {endpoint}"), async {
            world.peer.transact(&server, &[&floating], &[]).await.ok();
            conformance_tests::eventually("it is asked for", || async {
                (world.peer.times_asked(endpoint) > 0).then_some(())
            })
            .await;
            let mut draft = world.draft("in its place");
            draft["prev_events"] = world.room.references(&honest);
            let good = world.peer.sign(&world.room, draft);
            world.peer.transact(&server, &[&good], &[]).await.ok();
            let start = Instant::now();
            while world.alice.get(&v3!("/rooms/{}/event/{}", world.room.id, good.id)).await.status != 200 {
                assert!(start.elapsed() < Duration::from_secs(120), "the room's worker hangs at {endpoint}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        // Twice the answer, and a little.
        let most = (2 * u64::try_from(megabytes).expect("few") + 60) * MIB;
        assert!(grown < most, "{endpoint}: {grown} KiB");
    }
    still_there(&server, &world.alice, &world.peer).await;
}

/// The largest state that is taken, of well-formed events that nobody signed.
#[tokio::test]
async fn a_state_of_a_hundred_thousand_forged_events() {
    const EVENTS: usize = 100_000;
    let server = own();
    let world = world(&server).await;
    let honest = world.room.tips();
    let mut draft = world.draft("floating");
    draft["prev_events"] = json!([format!("${}", "C".repeat(43))]);
    let floating = world.peer.sign(&world.room, draft);
    let mut forged =
        world.peer.sign(&world.room, world.room.draft(&world.mallory, "org.example.x", Some("NUMBER"), json!({})));
    forged.json["content"]["x"] = "x".repeat(200).into();
    let model = forged.json.to_string();
    let events: Vec<String> = (0..EVENTS).map(|n| model.replace("NUMBER", &n.to_string())).collect();
    let whole = format!("{{\"pdus\":[{}],\"auth_chain\":[]}}", events.join(","));
    let megabytes = whole.len() / 1024 / 1024;
    world.peer.script(move |asked| {
        if asked.path.contains("/state_ids/") {
            let ids: Vec<String> = (0..5_000).map(|n| format!("${n:A>43}")).collect();
            return Some(Answer::json(json!({ "pdu_ids": ids, "auth_chain_ids": [] })));
        }
        if asked.path.contains("/state/") {
            return Some(Answer::streamed(Body::Whole(whole.clone().into_bytes())));
        }
        let about = ["/get_missing_events/", "/event/", "/event_auth/"];
        about.iter().any(|other| asked.path.contains(other)).then(|| Answer::error(404, "M_NOT_FOUND"))
    });
    let (grown, ()) = growth(&server, &format!("a state of 100,000 forged events, {megabytes} MB"), async {
        world.peer.transact(&server, &[&floating], &[]).await.ok();
        let start = Instant::now();
        while world.peer.times_asked("/state/") == 0 {
            assert!(start.elapsed() < Duration::from_secs(30), "the state is not asked for");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut draft = world.draft("in its place");
        draft["prev_events"] = world.room.references(&honest);
        let good = world.peer.sign(&world.room, draft);
        world.peer.transact(&server, &[&good], &[]).await.ok();
        while world.alice.get(&v3!("/rooms/{}/event/{}", world.room.id, good.id)).await.status != 200 {
            assert!(start.elapsed() < Duration::from_secs(180), "the room's worker hangs");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    // The answer, its events as text, and as they are verified.
    assert!(grown < 700 * MIB, "{grown} KiB");
    still_there(&server, &world.alice, &world.peer).await;
}

/// A transaction of five million events, none of which is any.
#[tokio::test]
async fn transactions_of_millions_of_tiny_things() {
    let server = own();
    let world = world(&server).await;
    world.peer.transact(&server, &[&world.say("first")], &[]).await.ok();
    let tiny = "1,".repeat(9 * 512 * 1024);
    let body = format!("{{\"origin\":\"{}\",\"origin_server_ts\":1,\"pdus\":[{tiny}1]}}", world.peer.name);
    let mut sending = world.peer.sending(&server, "PUT", "/_matrix/federation/v1/send/tiny", None);
    sending.body = Some(body.clone().into_bytes());
    sending.sent_body = Some(body.into_bytes());
    let (grown, reply) = growth(&server, "a transaction of 5 million numbers", world.peer.send(&server, sending)).await;
    reply.expect_error(400, "M_BAD_JSON");
    assert!(grown < 60 * MIB, "{grown} KiB");
    still_there(&server, &world.alice, &world.peer).await;
}

/// The largest transactions, again and again: 50 events of 64 KB in each, none of which belongs anywhere.
#[tokio::test]
async fn a_flood_of_the_largest_transactions() {
    let server = own();
    let world = world(&server).await;
    let text = "x".repeat(60_000);
    let bad: Vec<_> = (0..50)
        .map(|n| {
            let mut event = world.peer.sign(&world.room, world.draft(&format!("{n} {text}")));
            event.json["signatures"][world.peer.name.as_str()][world.peer.key.key_id()] = "A".repeat(86).into();
            event
        })
        .collect();
    let bad: Vec<&_> = bad.iter().collect();
    let (grown, ()) = growth(&server, "20 transactions of 3 MB", async {
        for _ in 0..20 {
            let reply = world.peer.transact(&server, &bad, &[]).await;
            assert!(matches!(reply.status, 200 | 429), "{reply}");
        }
    })
    .await;
    assert!(grown < 150 * MIB, "{grown} KiB");
    let good = world.say("after the flood");
    conformance_tests::eventually("it is taken", || async {
        (world.peer.transact(&server, &[&good], &[]).await.status == 200).then_some(())
    })
    .await;
    shown(&world.alice, &world.room.id, &good.id).await;
    still_there(&server, &world.alice, &world.peer).await;
}

/// Events that are well signed and hang in the air, from a peer that never says what comes before them: more and more slowly
/// taken, then refused, so that the peer keeps them.
#[tokio::test]
async fn a_flood_of_events_that_hang_in_the_air() {
    let server = own();
    let world = world(&server).await;
    world.peer.script(|asked| asked.path.contains("/get_missing_events/").then(|| Answer::streamed(Body::Never)));
    let text = "x".repeat(60_000);
    let mut refused = false;
    let (grown, ()) = growth(&server, "events in the air until they are refused", async {
        for turn in 0..25 {
            let floating: Vec<_> = (0..50)
                .map(|n| {
                    let mut draft = world.draft(&format!("{turn} {n} {text}"));
                    draft["prev_events"] = json!([format!("${:A>43}", turn * 50 + n)]);
                    world.peer.sign(&world.room, draft)
                })
                .collect();
            let floating: Vec<&_> = floating.iter().collect();
            let reply = world.peer.transact(&server, &floating, &[]).await;
            if reply.status == 429 {
                reply.expect_error(429, "M_LIMIT_EXCEEDED");
                refused = true;
                break;
            }
            reply.ok();
        }
    })
    .await;
    assert!(refused, "75 MB were taken of one peer");
    assert!(grown < 150 * MIB, "{grown} KiB");
    // Another server is heard meanwhile.
    let other = raw().await;
    let carol = other.user("carol");
    let room = other.join(&server, &world.room.id, &carol).await;
    let said = other.say(&room, &carol, "meanwhile");
    other.transact(&server, &[&said], &[]).await.ok();
    let start = Instant::now();
    while world.alice.get(&v3!("/rooms/{}/event/{}", room.id, said.id)).await.status != 200 {
        assert!(start.elapsed() < Duration::from_secs(60), "another server's event waits for the flood");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    still_there(&server, &world.alice, &other).await;
}

/// A body of lists in lists: read where it must be, refused where it may.
#[tokio::test]
async fn bodies_that_nest_without_end() {
    let server = own();
    let world = world(&server).await;
    for depth in [1_000, 9_000, 1_000_000] {
        let nested = "[".repeat(depth) + &"]".repeat(depth);
        let body =
            format!("{{\"origin\":\"{}\",\"origin_server_ts\":1,\"pdus\":[],\"edus\":{nested}}}", world.peer.name);
        let mut sending = world.peer.sending(&server, "PUT", "/_matrix/federation/v1/send/deep", None);
        // What can't be signed is sent with the signature of something else.
        let signed = if depth > 10_000 { b"{}".to_vec() } else { body.clone().into_bytes() };
        (sending.body, sending.sent_body) = (Some(signed), Some(body.into_bytes()));
        let (grown, reply) = growth(&server, &format!("{depth} levels"), world.peer.send(&server, sending)).await;
        assert!((400..500).contains(&reply.status) || reply.status == 200, "{reply}");
        assert!(grown < 100 * MIB, "{grown} KiB");
    }
    still_there(&server, &world.alice, &world.peer).await;
}
