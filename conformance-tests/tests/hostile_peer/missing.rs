//! Ancestors that are missing, never end, or are not what they were said to be.
//!
//! Source: Server-Server API, "Backfilling and retrieving missing events", "Retrieving events".

use std::time::{Duration, Instant};

use conformance_tests::peer::{Answer, Body, Event};
use conformance_tests::v3;
use serde_json::{Value, json};

use crate::{World, not_shown, own, shared, shown, still_there, world, world_of};

/// How much memory the worst of these may take beside what the server takes anyway.
const MOST_KIB: u64 = 120 * 1024;

/// How long the worst of these may take.
const LONGEST: Duration = Duration::from_secs(120);

async fn shown_within(world: &World, event: &Event, time: Duration) {
    let start = Instant::now();
    let path = v3!("/rooms/{}/event/{}", world.room.id, event.id);
    while world.alice.get(&path).await.status != 200 {
        assert!(start.elapsed() < time, "{} is not shown within {time:?}", event.id);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_gap_is_filled() {
    let server = shared();
    let world = world(&server).await;
    let since = world.alice.now().await;
    let events: Vec<Event> = (0..15).map(|n| world.say(&format!("missed {n}"))).collect();
    let last = events.last().expect("some");
    world.peer.transact(&server, &[last], &[]).await.ok();
    world.alice.wait_for_event(&since, &world.room.id, &last.id).await;
    let history = world.alice.whole_history(&world.room.id, 100).await;
    let ids = conformance_tests::event_ids(&history);
    let places: Vec<_> = events.iter().map(|event| ids.iter().position(|id| *id == event.id)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
}

/// The peer has 10,000 events that we never got, and sends only the last.
#[tokio::test]
async fn ten_thousand_missing_ancestors_cost_bounded_time_and_memory() {
    let server = own();
    let world = world(&server).await;
    for n in 0..10_000 {
        world.say(&format!("missed {n}"));
    }
    let last = world.say("the last");
    server.forget_peak();
    let (before, start) = (server.resident_kib(), Instant::now());
    world.peer.transact(&server, &[&last], &[]).await.ok();
    shown_within(&world, &last, LONGEST).await;
    let grown = server.peak_kib().saturating_sub(before);
    let asked = world.peer.times_asked("/get_missing_events/");
    println!("10,000 missing: {:?}, {grown} KiB more at most, {asked} requests for missing events", start.elapsed());
    assert!(grown < MOST_KIB, "{grown} KiB");
    assert!(asked <= 200, "{asked} requests");
    let next = world.say("and on");
    world.peer.transact(&server, &[&next], &[]).await.ok();
    shown_within(&world, &next, LONGEST).await;
    still_there(&server, &world.alice, &world.peer).await;
}

/// As before, and the peer gives neither the ancestors' end nor a state: what it sent is dropped, and nothing else.
#[tokio::test]
async fn an_event_that_nobody_can_place_is_dropped() {
    let server = own();
    let world = world(&server).await;
    let honest = world.room.tips();
    for n in 0..3_000 {
        world.say(&format!("missed {n}"));
    }
    let floating = world.say("floating");
    world.peer.script(|asked| {
        let hidden = ["/state/", "/state_ids/", "/event/"].iter().any(|endpoint| asked.path.contains(endpoint));
        hidden.then(|| Answer::error(404, "M_NOT_FOUND"))
    });
    let mut draft = world.draft("in its place");
    draft["prev_events"] = world.room.references(&honest);
    let good = world.peer.sign(&world.room, draft);
    server.forget_peak();
    let before = server.resident_kib();
    world.peer.transact(&server, &[&floating, &good], &[]).await.ok();
    shown_within(&world, &good, LONGEST).await;
    // Each such event costs no more than the one before.
    for _ in 0..3 {
        let again = world.say("floating too");
        let mut draft = world.draft("in its place too");
        draft["prev_events"] = world.room.references(std::slice::from_ref(&good.id));
        let good = world.peer.sign(&world.room, draft);
        world.peer.transact(&server, &[&again, &good], &[]).await.ok();
        shown_within(&world, &good, LONGEST).await;
    }
    let asked = world.peer.times_asked("/state");
    conformance_tests::eventually("it is given up", || async {
        (world.peer.times_asked("/state") > 0 || asked > 0).then_some(())
    })
    .await;
    let grown = server.peak_kib().saturating_sub(before);
    println!("3,000 missing, no state: {grown} KiB more at most");
    assert!(grown < MOST_KIB, "{grown} KiB");
    not_shown(&world.alice, &world.room.id, &floating).await;
    still_there(&server, &world.alice, &world.peer).await;
}

/// In versions 1 and 2 an event says its own id, so that events can stand before each other.
#[tokio::test]
async fn ancestors_in_a_circle_end() {
    let server = shared();
    for version in ["1", "2"] {
        let world = world_of(&server, json!({ "preset": "public_chat", "room_version": version })).await;
        let honest = world.room.tips();
        let ids: Vec<String> =
            (0..3).map(|n| format!("${}-{n}:{}", conformance_tests::unique("circle"), world.peer.name)).collect();
        let mut circle = Vec::new();
        for (at, id) in ids.iter().enumerate() {
            let mut draft = world.draft("in a circle");
            draft["event_id"] = id.as_str().into();
            draft["prev_events"] = json!([[ids[(at + 1) % ids.len()], { "sha256": "AAAA" }]]);
            let event = world.peer.sign(&world.room, draft);
            world.room.keep(&event);
            circle.push(event);
        }
        let mut own = world.draft("before itself");
        let id = format!("${}:{}", conformance_tests::unique("self"), world.peer.name);
        own["event_id"] = id.as_str().into();
        own["prev_events"] = json!([[id, { "sha256": "AAAA" }]]);
        own["auth_events"].as_array_mut().expect("a list").push(json!([id, { "sha256": "AAAA" }]));
        let own = world.peer.sign(&world.room, own);
        world.room.keep(&own);
        let mut good = world.draft("straight");
        good["prev_events"] = world.room.references(&honest);
        let good = world.peer.sign(&world.room, good);
        let start = Instant::now();
        world.peer.transact(&server, &[&circle[0], &own, &good], &[]).await.ok();
        shown_within(&world, &good, LONGEST).await;
        let mut next = world.draft("further");
        next["prev_events"] = world.room.references(std::slice::from_ref(&good.id));
        let next = world.peer.sign(&world.room, next);
        world.peer.transact(&server, &[&circle[1], &circle[2], &next], &[]).await.ok();
        shown_within(&world, &next, LONGEST).await;
        println!("circles in version {version}: {:?}", start.elapsed());
        still_there(&server, &world.alice, &world.peer).await;
    }
}

#[tokio::test]
async fn answers_about_missing_events_that_are_nonsense_cost_nothing_else() {
    let server = shared();
    let world = world(&server).await;
    let other = world.alice.create_room(json!({ "preset": "public_chat" })).await;
    let other = world.peer.join(&server, &other, &world.mallory).await;
    let unrelated: Vec<Value> = (0..50).map(|n| world.peer.say(&other, &world.mallory, &format!("{n}")).json).collect();
    let answers: Vec<Answer> = vec![
        Answer::json(json!({ "events": [7, null, {}, "x"] })),
        Answer::json(json!({ "events": unrelated })),
        Answer::json(json!({ "events": "none" })),
        Answer::json(json!([])),
        Answer::json(json!({ "events": [] })),
        Answer::error(500, "M_UNKNOWN"),
        Answer::error(403, "M_FORBIDDEN"),
        Answer::streamed(Body::BrokenOff(b"{\"events\":[".to_vec())),
        Answer::streamed(Body::Whole(b"<html>".to_vec())),
        Answer::redirect("/elsewhere"),
    ];
    let mut honest = world.room.tips();
    for (number, answer) in answers.into_iter().enumerate() {
        world.peer.script(move |asked| {
            let about = ["/get_missing_events/", "/state/", "/state_ids/", "/event/"];
            about.iter().any(|endpoint| asked.path.contains(endpoint)).then(|| answer.clone())
        });
        let mut draft = world.draft("after nothing");
        let nowhere = match world.room.version.as_str() {
            "1" | "2" => json!([[format!("$nowhere:{}", world.peer.name), { "sha256": "AAAA" }]]),
            _ => json!([format!("${}", "A".repeat(43))]),
        };
        draft["prev_events"] = nowhere;
        let floating = world.peer.sign(&world.room, draft);
        let mut draft = world.draft(&format!("in its place {number}"));
        draft["prev_events"] = world.room.references(&honest);
        let good = world.peer.sign(&world.room, draft);
        world.room.keep(&good);
        honest = vec![good.id.clone()];
        world.peer.transact(&server, &[&floating, &good], &[]).await.ok();
        shown(&world.alice, &world.room.id, &good.id).await;
        not_shown(&world.alice, &world.room.id, &floating).await;
    }
    assert_eq!(world.peer.times_asked("/elsewhere"), 0, "redirections are not followed");
    for event in &unrelated {
        let event = Event::received(event.clone(), other.rules);
        not_shown(&world.alice, &other.id, &event).await;
    }
    still_there(&server, &world.alice, &world.peer).await;
}

/// While a peer keeps us waiting for one room, its other rooms go on, and so does that room.
#[tokio::test]
async fn a_peer_that_never_answers_holds_up_nothing() {
    let server = shared();
    let world = world(&server).await;
    let other = world.alice.create_room(json!({ "preset": "public_chat" })).await;
    let other = world.peer.join(&server, &other, &world.mallory).await;
    let honest = world.room.tips();
    world.peer.script(|asked| asked.path.contains("/get_missing_events/").then(|| Answer::streamed(Body::Never)));
    for n in 0..10 {
        world.say(&format!("missed {n}"));
    }
    let waiting = world.say("waits");
    world.peer.transact(&server, &[&waiting], &[]).await.ok();
    conformance_tests::eventually("the peer is asked", || async {
        (world.peer.times_asked("/get_missing_events/") > 0).then_some(())
    })
    .await;
    let elsewhere = world.peer.say(&other, &world.mallory, "elsewhere");
    world.peer.transact(&server, &[&elsewhere], &[]).await.ok();
    shown(&world.alice, &other.id, &elsewhere.id).await;
    let mut draft = world.draft("in its place");
    draft["prev_events"] = world.room.references(&honest);
    let good = world.peer.sign(&world.room, draft);
    world.peer.transact(&server, &[&good], &[]).await.ok();
    // The room's worker waits for the answer, for as long as a request may take.
    shown_within(&world, &good, Duration::from_secs(90)).await;
    world.peer.script_no_more();
    shown_within(&world, &waiting, LONGEST).await;
}

/// The peer names a state in which it has all power, by an event that nothing allows.
#[tokio::test]
async fn a_state_that_the_peer_makes_up_gives_it_no_power() {
    let server = shared();
    let world = world(&server).await;
    let powers = json!({ "users": { &world.mallory: 100 }, "users_default": 100 });
    let usurped =
        world.peer.sign(&world.room, world.room.draft(&world.mallory, "m.room.power_levels", Some(""), powers));
    let old = world.room.state_id("m.room.power_levels", "").expect("power levels");
    // On the peer's side the usurpation counts, and a topic follows far from what we know.
    world.room.add(&usurped);
    for n in 0..5 {
        world.say(&format!("hidden {n}"));
    }
    let topic = world.peer.add(&world.room, &world.mallory, "m.room.topic", Some(""), json!({ "topic": "mine" }));
    let ban = json!({ "membership": "ban" });
    let ban = world.peer.add(&world.room, &world.mallory, "m.room.member", Some(&world.alice.user_id), ban);
    world
        .peer
        .script(|asked| asked.path.contains("/get_missing_events/").then(|| Answer::json(json!({ "events": [] }))));
    world.peer.transact(&server, &[&topic, &ban], &[]).await.ok();
    conformance_tests::eventually("the peer is asked for the state", || async {
        (world.peer.times_asked("/state") > 0).then_some(())
    })
    .await;
    let said = world.alice.send_text(&world.room.id, "still in power").await;
    shown(&world.alice, &world.room.id, &said).await;
    for event in [&usurped, &topic, &ban] {
        not_shown(&world.alice, &world.room.id, event).await;
    }
    let state = world.alice.all_state(&world.room.id).await;
    assert!(state.iter().any(|event| event["event_id"] == old.as_str()), "{state:?}");
    let topic = world.alice.get(&v3!("/rooms/{}/state/m.room.topic", world.room.id)).await;
    topic.expect_error(404, "M_NOT_FOUND");
}

/// The same event with two auth chains: what the peer says in /event_auth is not what the event names.
#[tokio::test]
async fn auth_chains_that_differ_from_what_the_event_names_are_not_taken() {
    let server = shared();
    let world = world(&server).await;
    let eve = world.peer.user("eve");
    // Eve's join is kept back; what is answered about it is Mallory's.
    let join = world.room.draft(&eve, "m.room.member", Some(&eve), json!({ "membership": "join" }));
    let join = world.peer.sign(&world.room, join);
    let mallorys = world.room.state_event("m.room.member", &world.mallory).expect("a member");
    world.room.keep(&join);
    let mut draft = world.room.draft(&eve, "m.room.message", None, json!({ "msgtype": "m.text", "body": "of eve" }));
    let mut auth = world.room.auth_events(&eve, "m.room.message", None, &json!({}));
    auth.push(join.id.clone());
    draft["auth_events"] = world.room.references(&auth);
    let said = world.peer.sign(&world.room, draft);
    let answer = mallorys.json.clone();
    world.peer.script(move |asked| {
        let about = ["/event_auth/", "/event/"].iter().any(|endpoint| asked.path.contains(endpoint));
        about.then(|| {
            Answer::json(json!({ "auth_chain": [answer], "pdus": [answer], "origin": "x", "origin_server_ts": 1 }))
        })
    });
    world.beside_a_good_one(&server, &said).await;
    not_shown(&world.alice, &world.room.id, &said).await;
    not_shown(&world.alice, &world.room.id, &join).await;
}

/// A state of 100,000 events that nobody has.
#[tokio::test]
async fn a_state_of_events_that_nobody_has_is_given_up() {
    let server = own();
    let world = world(&server).await;
    let honest = world.room.tips();
    for n in 0..5 {
        world.say(&format!("hidden {n}"));
    }
    let floating = world.say("floating");
    let ids: Vec<String> = (0..100_000).map(|n| format!("${n:A>43}")).collect();
    world.peer.script(move |asked| {
        if asked.path.contains("/get_missing_events/") {
            return Some(Answer::json(json!({ "events": [] })));
        }
        if asked.path.contains("/state_ids/") {
            return Some(Answer::json(json!({ "pdu_ids": ids, "auth_chain_ids": ids })));
        }
        let hidden = asked.path.contains("/event/") || asked.path.contains("/state/");
        hidden.then(|| Answer::error(404, "M_NOT_FOUND"))
    });
    server.forget_peak();
    let before = server.resident_kib();
    world.peer.transact(&server, &[&floating], &[]).await.ok();
    conformance_tests::eventually("the peer is asked for the state", || async {
        (world.peer.times_asked("/state") > 0).then_some(())
    })
    .await;
    let mut draft = world.draft("in its place");
    draft["prev_events"] = world.room.references(&honest);
    let good = world.peer.sign(&world.room, draft);
    world.peer.transact(&server, &[&good], &[]).await.ok();
    shown_within(&world, &good, LONGEST).await;
    not_shown(&world.alice, &world.room.id, &floating).await;
    let (grown, asked) = (server.peak_kib().saturating_sub(before), world.peer.times_asked("/event/"));
    println!("a state of 100,000 nowhere: {grown} KiB more at most, {asked} requests for events");
    assert!(grown < MOST_KIB, "{grown} KiB");
    assert!(asked <= 2_000, "{asked} requests");
    still_there(&server, &world.alice, &world.peer).await;
}
