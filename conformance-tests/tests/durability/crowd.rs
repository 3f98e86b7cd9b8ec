//! Users who send at the same time, each repeating a request with its transaction id until it is acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use conformance_tests::{Client, Server, v3};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::dice::Dice;

/// How long one request may go unacknowledged, restarts included.
const PATIENCE: Duration = Duration::from_secs(90);

/// A sent message.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// Its room, by number.
    pub room: usize,
    /// The id with which it was acknowledged.
    pub event_id: String,
    /// Its body.
    pub body: String,
    /// Whether it is in a thread.
    pub threaded: bool,
    /// Whether a redaction of it was acknowledged as well.
    pub redacted: bool,
}

/// What the crowd has achieved so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Acknowledged requests.
    pub acknowledged: AtomicU64,
    /// Requests that had no answer, or 5xx, and were repeated.
    pub repeated: AtomicU64,
}

/// Users and their rooms. The first room is everybody's.
pub(crate) struct Crowd {
    /// The users.
    pub users: Vec<Client>,
    /// Ids of the rooms.
    pub rooms: Vec<String>,
    /// Shared by all users.
    pub progress: Arc<Progress>,
}

impl Crowd {
    /// Registers `users` users and makes `rooms` rooms: one with everybody in it, the others with every third user.
    pub(crate) async fn gather(server: &Server, users: usize, rooms: usize) -> Self {
        let mut crowd = Self { users: Vec::new(), rooms: Vec::new(), progress: Arc::default() };
        for _ in 0..users {
            crowd.users.push(server.register("sender").await);
        }
        for number in 0..rooms {
            let room = crowd.users[0].create_room(json!({ "preset": "public_chat" })).await;
            for (user, client) in crowd.users.iter().enumerate().skip(1) {
                if Self::is_member(user, number, rooms) {
                    client.join(&room).await;
                }
            }
            crowd.rooms.push(room);
        }
        crowd
    }

    /// Whether a user is in a room. The first user is in all.
    fn is_member(user: usize, room: usize, rooms: usize) -> bool {
        user == 0 || room == 0 || user % rooms.max(2).saturating_sub(1) == room - 1
    }

    /// Has every user send `each` requests, all users at once.
    pub(crate) fn send(&self, each: u64, dice: &mut Dice) -> Vec<JoinHandle<Vec<Sent>>> {
        let rooms = self.rooms.len();
        self.users
            .iter()
            .enumerate()
            .map(|(number, client)| {
                let own = (0..rooms).filter(|room| Self::is_member(number, *room, rooms)).collect();
                let sender = Sender {
                    number,
                    client: client.clone(),
                    names: self.users.iter().map(|user| user.user_id.clone()).collect(),
                    rooms: self.rooms.clone(),
                    own,
                    progress: self.progress.clone(),
                    dice: Dice::of(dice.roll(u64::MAX)),
                    sent: Vec::new(),
                };
                tokio::spawn(sender.run(each))
            })
            .collect()
    }
}

struct Sender {
    number: usize,
    client: Client,
    names: Vec<String>,
    rooms: Vec<String>,
    own: Vec<usize>,
    progress: Arc<Progress>,
    dice: Dice,
    sent: Vec<Sent>,
}

impl Sender {
    async fn run(mut self, requests: u64) -> Vec<Sent> {
        for request in 0..requests {
            let redacted = match self.dice.roll(16) {
                0 => self.redact(request).await,
                _ => false,
            };
            if !redacted {
                self.message(request).await;
            }
            self.progress.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        self.sent
    }

    /// Sends a message, now and then with a mention or in a thread.
    async fn message(&mut self, request: u64) {
        let room = self.own[self.dice.roll(self.own.len() as u64) as usize];
        let body = format!("{}/{request}", self.client.user_id);
        let mut content = json!({ "msgtype": "m.text", "body": body });
        let mut threaded = false;
        match self.dice.roll(8) {
            0 => {
                let other = &self.names[self.dice.roll(self.names.len() as u64) as usize];
                content["m.mentions"] = json!({ "user_ids": [other] });
            }
            1 => {
                if let Some(root) = self.sent.iter().find(|sent| sent.room == room && !sent.redacted && !sent.threaded)
                {
                    threaded = true;
                    content["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": root.event_id });
                }
            }
            _ => {}
        }
        let path = v3!("/rooms/{}/send/m.room.message/{}", self.rooms[room], format!("m{}-{request}", self.number));
        let event_id = self.acknowledged(&path, content).await;
        self.sent.push(Sent { room, event_id, body, threaded, redacted: false });
    }

    /// Redacts one of the own messages; false if there is none.
    async fn redact(&mut self, request: u64) -> bool {
        // The first of a room is the root of its thread.
        let candidates: Vec<usize> =
            (0..self.sent.len()).skip(self.rooms.len()).filter(|at| !self.sent[*at].redacted).collect();
        if candidates.is_empty() {
            return false;
        }
        let at = candidates[self.dice.roll(candidates.len() as u64) as usize];
        let (room, event_id) = (&self.rooms[self.sent[at].room], &self.sent[at].event_id);
        let path = v3!("/rooms/{}/redact/{}/{}", room, event_id, format!("r{}-{request}", self.number));
        self.acknowledged(&path, json!({})).await;
        self.sent[at].redacted = true;
        true
    }

    /// Repeats a request until it is acknowledged; answers the event id.
    async fn acknowledged(&self, path: &str, content: Value) -> String {
        let started = Instant::now();
        loop {
            let body = content.to_string().into_bytes();
            let reply =
                self.client.try_raw(Method::PUT, path, &[("content-type", "application/json")], Some(body)).await;
            match reply {
                Ok(reply) if reply.status == 200 => {
                    if let Some(id) = reply.json["event_id"].as_str() {
                        return id.to_owned();
                    }
                    // An answer that was cut off: not acknowledged.
                }
                Ok(reply) if reply.status < 500 => panic!("{path}: {} {}", reply.status, reply.text),
                Ok(_) | Err(_) => {}
            }
            assert!(started.elapsed() < PATIENCE, "{path} was not acknowledged within {PATIENCE:?}");
            self.progress.repeated.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// All that was sent, when everybody is done.
pub(crate) async fn finish(tasks: Vec<JoinHandle<Vec<Sent>>>) -> Vec<Sent> {
    let mut sent = Vec::new();
    for task in tasks {
        sent.extend(task.await.expect("a sender had all its requests acknowledged"));
    }
    sent
}

/// What a room shows: how often each event id occurs, and each body, over its whole history.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Event ids.
    pub ids: BTreeMap<String, u64>,
    /// Bodies of messages.
    pub bodies: BTreeMap<String, u64>,
}

/// Reads the history of a room.
pub(crate) async fn history(client: &Client, room: &str) -> History {
    let mut out = History::default();
    for event in client.whole_history(room, 500).await {
        *out.ids.entry(event["event_id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        if let Some(body) = event["content"]["body"].as_str() {
            *out.bodies.entry(body.to_owned()).or_default() += 1;
        }
    }
    out
}
