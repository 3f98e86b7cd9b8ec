//! Rooms across servers: two and three real servers that federate over TLS on loopback.
//!
//! One executable, because linking one costs more than running most modules does. Tests that only talk share [`pair`];
//! those that cut the way between servers or restart them start their own.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use conformance_tests::{Authority, Client, Options, Server, eventually, v3};
use serde_json::{Value, json};

mod conversation;
mod encryption;
mod history;
mod memberships;
mod outage;
mod partition;
mod room_versions;
mod upgrade;

/// Two servers for tests that do not disturb each other.
fn pair() -> [Arc<Server>; 2] {
    static PAIR: OnceLock<[Arc<Server>; 2]> = OnceLock::new();
    PAIR.get_or_init(|| own::<2>().map(Arc::new)).clone()
}

/// Servers of a test's own, which trust each other's authority.
fn own<const N: usize>() -> [Server; N] {
    let authority = Authority::new();
    std::array::from_fn(|_| Server::start(Options::federating(&authority)))
}

/// Joins a room that the client's server may not know, through another one.
async fn join_via(client: &Client, room: &str, via: &Server) {
    let path = v3!("/join/{}", room) + &format!("?via={0}&server_name={0}", conformance_tests::encode(via.name()));
    let answer = client.post(&path, json!({})).await.ok();
    assert_eq!(answer["room_id"], room);
}

/// A room of `host`'s that all of `guests` were invited to and joined. Everybody sees everybody else in it.
async fn shared_room(host: &Client, guests: &[&Client], create: Value) -> String {
    let room = host.create_room(create).await;
    for guest in guests {
        host.invite(&room, guest).await;
        invited(guest, &room).await;
        guest.join(&room).await;
    }
    for client in guests.iter().chain([&host]) {
        for member in guests.iter().chain([&host]) {
            membership_is(client, &room, &member.user_id, "join").await;
        }
    }
    room
}

/// Waits until the client has an invitation to the room.
async fn invited(client: &Client, room: &str) {
    client
        .wait_until_sync_with(conformance_tests::Sync::initial(), |answer| {
            answer["rooms"]["invite"].get(room).is_some()
        })
        .await;
}

/// Waits until `user` has this membership as `client` sees it.
async fn membership_is(client: &Client, room: &str, user: &str, membership: &str) {
    let what = format!("{user} as {} sees it: {membership}", client.user_id);
    eventually(&what, || async {
        let reply = client.get(&v3!("/rooms/{}/state/m.room.member/{}", room, user)).await;
        (reply.status == 200 && reply.ok()["membership"] == membership).then_some(())
    })
    .await;
}

/// The current state of a room as a client sees it: (type, state key) to event id.
async fn state_of(client: &Client, room: &str) -> BTreeMap<(String, String), String> {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let state = client.all_state(room).await;
    state.iter().map(|event| ((text(&event["type"]), text(&event["state_key"])), text(&event["event_id"]))).collect()
}

/// Waits until all clients see the same state, entry by entry; gives it.
async fn same_state(clients: &[&Client], room: &str) -> BTreeMap<(String, String), String> {
    eventually("the state is the same on all servers", || async {
        let first = state_of(clients[0], room).await;
        for client in &clients[1..] {
            if state_of(client, room).await != first {
                return None;
            }
        }
        Some(first)
    })
    .await
}

/// Sends a text and waits until all of `readers` have it in their long polls.
async fn heard(sender: &Client, room: &str, body: &str, readers: &[&Client]) {
    let mut since = Vec::new();
    for reader in readers {
        since.push(reader.now().await);
    }
    let event = sender.send_text(room, body).await;
    for (reader, since) in readers.iter().zip(since) {
        reader.wait_for_event(&since, room, &event).await;
    }
}
