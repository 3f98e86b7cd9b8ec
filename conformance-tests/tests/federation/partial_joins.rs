//! Rooms that are joined without their members, which come later.
//!
//! Source: Server-Server API, "Joining Rooms", `omit_members`; MSC3706, MSC3902.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use conformance_tests::peer::{Answer, Asked, Event, PeerRoom, RawPeer};
use conformance_tests::{
    Authority, Client, Options, Server, Sync, bodies, eventually, find_state_in, join_via, room_in, state_of, v3,
};
use serde_json::{Value, json};

/// Members of a room, all but its maker without a word: more than are fetched one by one.
const MEMBERS: usize = 60;

/// A server, and another one whose every word is the test's.
async fn server_and_peer() -> (Server, RawPeer) {
    let authority = Authority::new();
    (Server::start(Options::federating(&authority)), RawPeer::start(&authority).await)
}

/// A public room of the peer's with [`MEMBERS`].
fn crowd(peer: &RawPeer, version: &str) -> PeerRoom {
    let room = peer.create_room(&peer.user("mallory"), version);
    for number in 1..MEMBERS {
        let user = peer.user(&format!("member{number}"));
        peer.add(&room, &user, "m.room.member", Some(&user), json!({ "membership": "join" }));
    }
    room
}

/// The peer leaves out members where it is asked to, and says the whole state by this function, which for None is honest.
fn leaving_out(
    peer: &RawPeer,
    room: &PeerRoom,
    state: impl Fn(&Asked) -> Option<Answer> + Send + std::marker::Sync + 'static,
) {
    let (room, name) = (room.clone(), peer.name.clone());
    peer.script(move |asked| {
        if asked.path.contains("/v1/state") {
            return state(asked);
        }
        if !asked.path.contains("/send_join/") || asked.query("omit_members") != ["true"] {
            return None;
        }
        let join = Event::received(asked.json(), room.rules);
        let others: Vec<Value> =
            room.events(&room.state_ids()).into_iter().filter(|event| event["type"] != "m.room.member").collect();
        let ids: Vec<String> = others
            .iter()
            .filter_map(|event| room.state_id(event["type"].as_str()?, event["state_key"].as_str()?))
            .chain(room.auth_events(
                join.json["sender"].as_str()?,
                "m.room.member",
                join.json["state_key"].as_str(),
                &join.json["content"],
            ))
            .collect();
        let servers = room.servers();
        let mut chain = room.auth_chain(&ids);
        chain.extend(ids);
        let chain: BTreeSet<String> = chain.into_iter().collect();
        let chain = room.events(&chain.into_iter().collect::<Vec<_>>());
        room.add(&join);
        Some(Answer::json(json!({
            "origin": name, "state": others, "auth_chain": chain, "event": join.json,
            "members_omitted": true, "servers_in_room": servers,
        })))
    });
}

/// As [`leaving_out`]; the whole state is said once this is set.
fn held_back(peer: &RawPeer, room: &PeerRoom) -> Arc<AtomicBool> {
    let open = Arc::new(AtomicBool::new(false));
    let opened = open.clone();
    leaving_out(peer, room, move |_| match opened.load(Ordering::SeqCst) {
        true => None,
        false => Some(Answer::error(404, "M_NOT_FOUND")),
    });
    open
}

/// How many are joined, as a client is told once all of them are known.
async fn joined(client: &Client, room: &str) -> usize {
    let members = client.get(&v3!("/rooms/{}/joined_members", room)).await.ok();
    members["joined"].as_object().map_or(0, serde_json::Map::len)
}

/// What the operator is told of a room.
fn listed(server: &Server, room: &str) -> String {
    let (code, text) = server.run(&["admin", "list-rooms"]);
    assert_eq!(code, 0, "{text}");
    text.lines().find(|line| line.contains(room)).unwrap_or_default().to_owned()
}

/// Waits until the peer was sent an event; takes it into the room.
async fn was_sent(peer: &RawPeer, room: &PeerRoom, id: &str) {
    let sent = eventually("the peer is sent the event", || async {
        peer.was_sent("pdus").into_iter().map(|json| Event::received(json, room.rules)).find(|event| event.id == id)
    });
    room.add(&sent.await);
}

#[tokio::test]
async fn a_room_is_talked_in_before_its_members_are_here() {
    let (server, peer) = server_and_peer().await;
    for version in ["6", "12"] {
        let (alice, mallory) = (server.register("alice").await, peer.user("mallory"));
        let room = crowd(&peer, version);
        let open = held_back(&peer, &room);
        let since = alice.now().await;
        join_via(&alice, &room.id, peer.name.as_str()).await;
        let came = alice.sync(Sync::since(&since).timeout(10_000)).await;
        let section = room_in(&came, "join", &room.id);
        assert_eq!(section["summary"]["org.linkim.partial_state"], true, "{section}");
        assert!(find_state_in(&section["state"]["events"], "m.room.join_rules", "").is_some(), "{section}");
        // She is heard by the servers that the answer named, and hears them.
        let hello = alice.send_text(&room.id, "hello").await;
        was_sent(&peer, &room, &hello).await;
        let welcome = peer.say(&room, &mallory, "welcome");
        let since = came["next_batch"].as_str().expect("a token").to_owned();
        peer.transact(&server, &[&welcome], &[]).await.ok();
        let lazy = json!({ "room": { "state": { "lazy_load_members": true } } });
        let heard = alice
            .wait_until_sync_with(Sync::since(&since).filter(lazy), |answer| {
                bodies(conformance_tests::timeline(answer, &room.id)).contains(&"welcome")
            })
            .await;
        let state = &room_in(&heard, "join", &room.id)["state"]["events"];
        assert!(find_state_in(state, "m.room.member", &mallory).is_some(), "who speaks is shown: {heard}");
        // A member nobody knew of changes the state.
        let user = peer.user("member1");
        let leave = peer.add(&room, &user, "m.room.member", Some(&user), json!({ "membership": "leave" }));
        peer.transact(&server, &[&leave], &[]).await.ok();
        assert!(listed(&server, &room.id).contains("still to be fetched"), "{}", listed(&server, &room.id));
        open.store(true, Ordering::SeqCst);
        eventually("all are here, one of whom has left", || async {
            (joined(&alice, &room.id).await == MEMBERS).then_some(())
        })
        .await;
        let ours: BTreeSet<String> = state_of(&alice, &room.id).await.into_values().collect();
        assert_eq!(ours, room.state_ids().into_iter().collect(), "version {version}: the state is theirs");
        let history = alice.whole_history(&room.id, 100).await;
        let said = bodies(&history);
        assert!(said.ends_with(&["hello", "welcome"]), "{said:?}");
        assert!(!listed(&server, &room.id).contains("still to be fetched"));
    }
}

#[tokio::test]
async fn a_server_that_is_killed_goes_on_after_its_restart() {
    let (mut server, peer) = server_and_peer().await;
    let alice = server.register("alice").await;
    let room = crowd(&peer, "11");
    let open = held_back(&peer, &room);
    join_via(&alice, &room.id, peer.name.as_str()).await;
    let hello = alice.send_text(&room.id, "hello").await;
    was_sent(&peer, &room, &hello).await;
    server.restart();
    let alice = alice.at(&server.base);
    assert!(listed(&server, &room.id).contains("still to be fetched"));
    let again = alice.send_text(&room.id, "again").await;
    was_sent(&peer, &room, &again).await;
    open.store(true, Ordering::SeqCst);
    assert_eq!(joined(&alice, &room.id).await, MEMBERS + 1);
    let ours: BTreeSet<String> = state_of(&alice, &room.id).await.into_values().collect();
    assert_eq!(ours, room.state_ids().into_iter().collect());
    assert!(bodies(&alice.whole_history(&room.id, 100).await).ends_with(&["hello", "again"]));
    server.terminate();
    let (code, text) = server.run(&["check-data"]);
    assert_eq!(code, 0, "{text}");
}

#[tokio::test]
async fn who_leaves_before_the_members_are_here_may_come_again() {
    let (server, peer) = server_and_peer().await;
    let alice = server.register("alice").await;
    let room = crowd(&peer, "11");
    let open = held_back(&peer, &room);
    join_via(&alice, &room.id, peer.name.as_str()).await;
    alice.leave(&room.id).await;
    let left = eventually("the peer hears of the leave", || async {
        let events = peer.was_sent("pdus").into_iter().map(|json| Event::received(json, room.rules));
        events.into_iter().find(|event| event.json["content"]["membership"] == "leave")
    });
    room.add(&left.await);
    open.store(true, Ordering::SeqCst);
    join_via(&alice, &room.id, peer.name.as_str()).await;
    assert_eq!(joined(&alice, &room.id).await, MEMBERS + 1);
    let ours: BTreeSet<String> = state_of(&alice, &room.id).await.into_values().collect();
    assert_eq!(ours, room.state_ids().into_iter().collect());
}

/// The server that answered the join tells states that can't be; another one is asked.
#[tokio::test]
async fn a_state_that_can_not_be_is_not_taken_and_another_server_is_asked() {
    let authority = Authority::new();
    let [server, third] = [(); 2].map(|()| Server::start(Options::federating(&authority)));
    for version in ["6", "12"] {
        let peer = RawPeer::start(&authority).await;
        let (alice, carol) = (server.register("alice").await, third.register("carol").await);
        let made = carol.create_room(json!({ "preset": "public_chat", "room_version": version })).await;
        let room = peer.join(&third, &made, &peer.user("mallory")).await;
        let others: Vec<String> = room
            .state_ids()
            .into_iter()
            .filter(|id| room.event(id).is_some_and(|event| event.json["type"] != "m.room.member"))
            .collect();
        let chain = room.auth_chain(&others);
        leaving_out(&peer, &room, move |asked| {
            let lie = json!({ "pdu_ids": others, "auth_chain_ids": chain });
            Some(if asked.path.contains("/state_ids/") { Answer::json(lie) } else { Answer::error(404, "M_NOT_FOUND") })
        });
        join_via(&alice, &room.id, peer.name.as_str()).await;
        let join = room.state_event("m.room.member", &alice.user_id).expect("it was let in");
        peer.transact(&third, &[&join], &[]).await.ok();
        assert_eq!(joined(&alice, &room.id).await, 3, "version {version}");
        assert!(peer.times_asked("/state_ids/") > 0);
        let ours: BTreeSet<String> = state_of(&alice, &room.id).await.into_values().collect();
        assert_eq!(ours, room.state_ids().into_iter().collect(), "version {version}");
    }
}
