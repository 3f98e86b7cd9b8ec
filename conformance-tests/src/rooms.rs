//! What a client does in rooms. Each method holds that the request succeeds; a test of a refusal calls the path itself.

use serde_json::{Value, json};

use crate::client::query;
use crate::{Client, v3};

impl Client {
    /// Creates a room; gives its id.
    pub async fn create_room(&self, body: Value) -> String {
        text_of(&self.post(&v3!("/createRoom"), body).await.ok(), "room_id")
    }

    /// Invites `other`.
    pub async fn invite(&self, room: &str, other: &Client) {
        self.post(&v3!("/rooms/{}/invite", room), json!({ "user_id": other.user_id })).await.ok();
    }

    /// Joins by room id.
    pub async fn join(&self, room: &str) {
        self.post(&v3!("/rooms/{}/join", room), json!({})).await.ok();
    }

    /// Leaves, or rejects an invitation.
    pub async fn leave(&self, room: &str) {
        self.post(&v3!("/rooms/{}/leave", room), json!({})).await.ok();
    }

    /// Knocks by room id.
    pub async fn knock(&self, room: &str) {
        self.post(&v3!("/knock/{}", room), json!({})).await.ok();
    }

    /// Forgets a room that was left.
    pub async fn forget(&self, room: &str) {
        self.post(&v3!("/rooms/{}/forget", room), json!({})).await.ok();
    }

    /// Kicks `other`.
    pub async fn kick(&self, room: &str, other: &Client) {
        self.post(&v3!("/rooms/{}/kick", room), json!({ "user_id": other.user_id })).await.ok();
    }

    /// Bans `other`.
    pub async fn ban(&self, room: &str, other: &Client) {
        self.post(&v3!("/rooms/{}/ban", room), json!({ "user_id": other.user_id })).await.ok();
    }

    /// Lifts the ban of `other`.
    pub async fn unban(&self, room: &str, other: &Client) {
        self.post(&v3!("/rooms/{}/unban", room), json!({ "user_id": other.user_id })).await.ok();
    }

    /// Sends an event with a fresh transaction id; gives its event id.
    pub async fn send(&self, room: &str, event_type: &str, content: Value) -> String {
        let path = v3!("/rooms/{}/send/{}/{}", room, event_type, self.next_transaction());
        text_of(&self.put(&path, content).await.ok(), "event_id")
    }

    /// Sends an `m.text` message; gives its event id.
    pub async fn send_text(&self, room: &str, body: &str) -> String {
        self.send(room, "m.room.message", json!({ "msgtype": "m.text", "body": body })).await
    }

    /// Sends messages `{prefix}{first}` to `{prefix}{last}` one after the other; gives their event ids.
    pub async fn send_texts(&self, room: &str, prefix: &str, numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
        let mut ids = Vec::new();
        for number in numbers {
            ids.push(self.send_text(room, &format!("{prefix}{number}")).await);
        }
        ids
    }

    /// Redacts an event; gives the redaction's id.
    pub async fn redact(&self, room: &str, event_id: &str, body: Value) -> String {
        let path = v3!("/rooms/{}/redact/{}/{}", room, event_id, self.next_transaction());
        text_of(&self.put(&path, body).await.ok(), "event_id")
    }

    /// Sets state; gives the event id.
    pub async fn set_state(&self, room: &str, event_type: &str, state_key: &str, content: Value) -> String {
        let path = v3!("/rooms/{}/state/{}/{}", room, event_type, state_key);
        text_of(&self.put(&path, content).await.ok(), "event_id")
    }

    /// The content of a state event.
    pub async fn state(&self, room: &str, event_type: &str, state_key: &str) -> Value {
        self.get(&v3!("/rooms/{}/state/{}/{}", room, event_type, state_key)).await.ok()
    }

    /// All current state events.
    pub async fn all_state(&self, room: &str) -> Vec<Value> {
        let state = self.get(&v3!("/rooms/{}/state", room)).await.ok();
        state.as_array().unwrap_or_else(|| panic!("state is not a list: {state}")).clone()
    }

    /// An event by id.
    pub async fn event(&self, room: &str, event_id: &str) -> Value {
        self.get(&v3!("/rooms/{}/event/{}", room, event_id)).await.ok()
    }

    /// One page of `/messages`; `pairs` are query parameters such as `("dir", "b")`.
    pub async fn messages(&self, room: &str, pairs: &[(&str, &str)]) -> Value {
        self.get(&(v3!("/rooms/{}/messages", room) + &query(pairs))).await.ok()
    }

    /// All events of a room that this user may see, page by page, oldest first.
    ///
    /// Holds that pagination ends: the last page names no `end`, within 1,000 pages.
    pub async fn whole_history(&self, room: &str, page: u32) -> Vec<Value> {
        let (mut events, mut from) = (Vec::new(), None::<String>);
        let limit = page.to_string();
        for _ in 0..1000 {
            let mut pairs = vec![("dir", "b"), ("limit", &*limit)];
            pairs.extend(from.as_deref().map(|from| ("from", from)));
            let answer = self.messages(room, &pairs).await;
            events.extend(answer["chunk"].as_array().expect("chunk is a list").iter().cloned());
            match answer["end"].as_str() {
                Some(end) => from = Some(end.to_owned()),
                None => {
                    events.reverse();
                    return events;
                }
            }
        }
        panic!("pagination of {room} does not end");
    }

    /// Changes some keys of the power levels, keeping the others.
    pub async fn change_power_levels(&self, room: &str, change: Value) {
        let mut levels = self.state(room, "m.room.power_levels", "").await;
        merge(&mut levels, &change);
        self.set_state(room, "m.room.power_levels", "", levels).await;
    }
}

/// Lays `change` over `target`, object by object.
fn merge(target: &mut Value, change: &Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (key, value) in change {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change.clone(),
    }
}

fn text_of(answer: &Value, key: &str) -> String {
    answer[key].as_str().unwrap_or_else(|| panic!("no {key} in {answer}")).to_owned()
}
