//! What the users of several servers do in one room, and what holds when all servers agree.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{Client, Sync, encode, eventually, v3};

/// Joins a room that the client's server may not know, through the server of this name.
pub async fn join_via(client: &Client, room: &str, via: &str) {
    let path = v3!("/join/{}", room) + &format!("?via={0}&server_name={0}", encode(via));
    let answer = client.post(&path, json!({})).await.ok();
    assert_eq!(answer["room_id"], room);
}

/// A room of `host`'s that all of `guests` were invited to and joined. Everybody sees everybody else in it.
pub async fn shared_room(host: &Client, guests: &[&Client], create: Value) -> String {
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
pub async fn invited(client: &Client, room: &str) {
    client.wait_until_sync_with(Sync::initial(), |answer| answer["rooms"]["invite"].get(room).is_some()).await;
}

/// Waits until `user` has this membership as `client` sees it.
pub async fn membership_is(client: &Client, room: &str, user: &str, membership: &str) {
    let what = format!("{user} as {} sees it: {membership}", client.user_id);
    eventually(&what, || async {
        let reply = client.get(&v3!("/rooms/{}/state/m.room.member/{}", room, user)).await;
        (reply.status == 200 && reply.ok()["membership"] == membership).then_some(())
    })
    .await;
}

/// The current state of a room as a client sees it: (type, state key) to event id.
pub async fn state_of(client: &Client, room: &str) -> BTreeMap<(String, String), String> {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let state = client.all_state(room).await;
    state.iter().map(|event| ((text(&event["type"]), text(&event["state_key"])), text(&event["event_id"]))).collect()
}

/// Waits until all clients see the same state, entry by entry; gives it.
pub async fn same_state(clients: &[&Client], room: &str) -> BTreeMap<(String, String), String> {
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
pub async fn heard(sender: &Client, room: &str, body: &str, readers: &[&Client]) {
    let mut since = Vec::new();
    for reader in readers {
        since.push(reader.now().await);
    }
    let event = sender.send_text(room, body).await;
    for (reader, since) in readers.iter().zip(since) {
        reader.wait_for_event(&since, room, &event).await;
    }
}
