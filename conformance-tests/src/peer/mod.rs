//! A server of another organisation that a test writes by hand, and that may lie.
//!
//! It speaks TLS and HTTP/1.1 on loopback under a name of its own, `localhost:<port>`, and has a signing key. By default it is
//! honest: it publishes its key, serves the rooms that it [holds](RawPeer::hold), and takes what it is sent. A test makes it
//! lie in three places: [`RawPeer::script`] answers requests otherwise, [`RawPeer::sign`] signs any JSON as an event, and
//! [`Sending`] signs another request than it sends.
//!
//! Hashes, signatures and identifiers are made with ruma and SHA-256, not with the code of the server under test.

mod answer;
mod event;
mod joining;
mod listener;
mod memory;
mod room;
mod sending;
mod serving;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linkim_federation::SigningKey;
use ruma::OwnedServerName;
use serde_json::Value;

pub use answer::{Answer, Asked, Body};
pub use event::Event;
pub use room::PeerRoom;
pub use sending::{Sending, transaction};

use crate::Authority;
use listener::Listener;

/// Answers a request, or leaves it to the honest peer.
type Script = dyn Fn(&Asked) -> Option<Answer> + Send + Sync;

/// A server whose every word is a test's. Dropping it ends it.
pub struct RawPeer {
    /// Its name, and where it listens: `localhost:<port>`, or `127.0.0.1:<port>`.
    pub name: OwnedServerName,
    /// What it signs with.
    pub key: SigningKey,
    http: reqwest::Client,
    authority: Arc<Authority>,
    shared: Arc<Shared>,
    _listener: Listener,
}

/// What the listener's tasks share with the test.
struct Shared {
    name: OwnedServerName,
    key: SigningKey,
    script: Mutex<Arc<Script>>,
    asked: Mutex<Vec<Asked>>,
    rooms: Mutex<Vec<PeerRoom>>,
}

impl RawPeer {
    /// Starts one that `authority` certifies, on the runtime of the test.
    pub async fn start(authority: &Arc<Authority>) -> Self {
        Self::start_as("localhost", authority).await
    }

    /// Starts one whose name begins with this host: `localhost`, or `127.0.0.1` for a name that an ACL can tell from others'.
    pub async fn start_as(host: &str, authority: &Arc<Authority>) -> Self {
        let bound = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a loopback port");
        let port = bound.local_addr().expect("a bound port").port();
        let name = OwnedServerName::try_from(format!("{host}:{port}")).expect("a server name");
        let mut seed = [7; 32];
        seed[..2].copy_from_slice(&port.to_le_bytes());
        let key = SigningKey::generate(seed, "raw").expect("a key");
        let shared = Arc::new(Shared {
            name: name.clone(),
            key: key.clone(),
            script: Mutex::new(Arc::new(|_| None)),
            asked: Mutex::default(),
            rooms: Mutex::default(),
        });
        let listener = Listener::start(bound, authority, shared.clone());
        Self {
            name,
            key,
            http: sending::http_client(authority),
            authority: authority.clone(),
            shared,
            _listener: listener,
        }
    }

    /// Answers requests by a function from now on; what it gives no answer to is answered honestly.
    pub fn script(&self, script: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) {
        *lock(&self.shared.script) = Arc::new(script);
    }

    /// Is honest again.
    pub fn script_no_more(&self) {
        self.script(|_| None);
    }

    /// Serves a room honestly to who asks: joins, state, events, history.
    pub fn hold(&self, room: &PeerRoom) {
        lock(&self.shared.rooms).push(room.clone());
    }

    /// The requests that it got, oldest first.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    /// How many requests it got whose path has this in it.
    pub fn times_asked(&self, part: &str) -> usize {
        lock(&self.shared.asked).iter().filter(|asked| asked.path.contains(part)).count()
    }

    /// The events and EDUs that it was sent in transactions, oldest first.
    pub fn was_sent(&self, list: &str) -> Vec<Value> {
        let asked = self.asked();
        let transactions = asked.iter().filter(|asked| asked.path.contains("/send/")).map(Asked::json);
        transactions.flat_map(|sent| sent[list].as_array().cloned().unwrap_or_default()).collect()
    }

    /// The id of a user of its own.
    pub fn user(&self, localpart: &str) -> String {
        format!("@{localpart}:{}", self.name)
    }

    /// Hashes and signs any JSON object as an event of this version, whatever it says.
    pub fn sign(&self, room: &PeerRoom, draft: Value) -> Event {
        Event::sign(draft, room.rules, self.name.as_str(), &self.key)
    }

    /// Signs an honest event and takes it into the room.
    pub fn add(&self, room: &PeerRoom, sender: &str, kind: &str, state_key: Option<&str>, content: Value) -> Event {
        let event = self.sign(room, room.draft(sender, kind, state_key, content));
        room.add(&event);
        event
    }

    /// Signs an honest message and takes it into the room.
    pub fn say(&self, room: &PeerRoom, sender: &str, body: &str) -> Event {
        let content = serde_json::json!({ "msgtype": "m.text", "body": body });
        self.add(room, sender, "m.room.message", None, content)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
