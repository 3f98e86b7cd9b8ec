//! How fast a server takes in what another one sends: signatures, hashes, authorisation, state, storage.

use std::path::Path;
use std::time::{Duration, Instant};

use conformance_tests::peer::{Event, PeerRoom, RawPeer, Sending, transaction};
use conformance_tests::{Authority, Client, Options, Server, event_ids, unique, v3};
use serde_json::json;

use conformance_tests::figures::Profile;
use conformance_tests::figures::{Report, Tally};
use conformance_tests::figures::{cpu_seconds, memory, peak_memory};

/// Events of a pass.
const EVENTS: usize = 20_000;

/// Events of a transaction, at most.
const PDUS: usize = 50;

/// How long it may take until all are there.
const PATIENCE: Duration = Duration::from_secs(300);

/// One peer sends what it collected while it could not: transactions of 50 events, each when the last one was answered, as
/// servers do. They were made and signed before, so the peer costs little while the time runs.
pub(crate) async fn run(report: &mut Report, rounds: usize, profiles: Option<&Path>) {
    for round in 0..rounds {
        for rooms in [1, 50] {
            let file = profiles.map(|folder| folder.join(format!("incoming-{rooms}-rooms-{round}.data")));
            pass(report, rooms, file.as_deref()).await;
        }
    }
}

async fn pass(report: &mut Report, rooms: usize, profile: Option<&Path>) {
    let authority = Authority::new();
    let server = Server::start(Options::federating(&authority));
    let (bob, peer) = (server.register("bob").await, RawPeer::start(&authority).await);
    let user = peer.user("alice");
    let mut held = Vec::new();
    for _ in 0..rooms {
        let room = bob.create_room(json!({ "preset": "public_chat" })).await;
        held.push(peer.join(&server, &room, &user).await);
    }
    let events = say(&peer, &held, &user);
    let collected = collect(&peer, &server, &events);
    let mut tally = Tally { wanted: EVENTS, ..Tally::default() };

    let memory_before = memory(server.pid());
    let profile = profile.map(|file| Profile::start(server.pid(), file));
    let (before, start) = (cpu_seconds(server.pid()), Instant::now());
    let (refused, pauses) = send(&peer, &server, collected).await;
    tally.failed += refused;
    let answered = start.elapsed().as_secs_f64();
    all_there(&bob, &held, start).await;
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds(server.pid()) - before);
    if let Some(profile) = profile {
        profile.print();
    }

    for room in &held {
        let sent: Vec<&str> = events.iter().filter(|(of, _)| *of == room.id).map(|(_, event)| &*event.id).collect();
        let history = bob.whole_history(&room.id, 1000).await;
        let came: Vec<&str> = event_ids(&history).into_iter().skip_while(|id| *id != sent[0]).collect();
        tally.made += came.len();
        if came != sent {
            eprintln!("{}: {} events were sent, {} came, or in another order", room.id, sent.len(), came.len());
            tally.failed += 1;
        }
    }
    let who = format!("{EVENTS} events in {rooms} rooms");
    let mut figure = |what: &str, value: f64, unit: &str| report.figure("incoming", &who, what, (value, unit), tally);
    figure("events a second, until all are there", EVENTS as f64 / seconds, "/s");
    figure("events a second, until all are answered", EVENTS as f64 / answered, "/s");
    figure("CPU, an event", cpu * 1000.0 / EVENTS as f64, "ms");
    figure("CPUs busy", cpu / seconds, "");
    figure("transactions that were asked to wait", pauses as f64, "");
    figure("memory before", memory_before, "MiB");
    figure("peak memory", peak_memory(server.pid()), "MiB");
}

/// Messages, in turn in all rooms, each room's one after the other, with their rooms.
fn say<'a>(peer: &RawPeer, rooms: &'a [PeerRoom], user: &str) -> Vec<(&'a str, Event)> {
    let say = |number: usize| {
        let room = &rooms[number % rooms.len()];
        (&*room.id, peer.say(room, user, &format!("message {number} of a user of another server")))
    };
    (0..EVENTS).map(say).collect()
}

/// Signed transactions.
fn collect(peer: &RawPeer, server: &Server, events: &[(&str, Event)]) -> Vec<Sending> {
    let signed = |chunk: &[(&str, Event)]| {
        let events: Vec<&Event> = chunk.iter().map(|(_, event)| event).collect();
        let uri = format!("/_matrix/federation/v1/send/{}", unique("flood"));
        let mut sending = peer.sending(server, "PUT", &uri, Some(&transaction(peer.name.as_str(), &events, &[])));
        sending.authorization = Some(sending.header());
        sending
    };
    events.chunks(PDUS).map(signed).collect()
}

/// Sends one after the other; gives how many events were refused, and how often the server asked to wait.
async fn send(peer: &RawPeer, server: &Server, transactions: Vec<Sending>) -> (usize, usize) {
    let (mut refused, mut pauses) = (0, 0);
    for sending in transactions {
        loop {
            let reply = peer.send(server, sending.clone()).await;
            if reply.status == 429 {
                pauses += 1;
                let wait = reply.json["retry_after_ms"].as_u64().unwrap_or(100);
                tokio::time::sleep(Duration::from_millis(wait)).await;
                continue;
            }
            let answers = reply.ok();
            let answers = answers["pdus"].as_object().expect("an answer for each event");
            refused += answers.values().filter(|answer| answer.get("error").is_some()).count();
            break;
        }
    }
    (refused, pauses)
}

/// Waits until each room's last event is there.
async fn all_there(bob: &Client, rooms: &[PeerRoom], start: Instant) {
    for room in rooms {
        let path = v3!("/rooms/{}/event/{}", room.id, room.tips()[0]);
        while bob.get(&path).await.status != 200 && start.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
