//! A server that lies, floods or stalls: each time the answer is what the spec says, nothing else is lost, and memory stays
//! bounded.
//!
//! One executable. Tests share one server under test, each with a peer of its own; those that measure memory start their own.

use std::sync::{Arc, OnceLock};

use conformance_tests::peer::{Event, PeerRoom, RawPeer};
use conformance_tests::{Authority, Client, Options, Server, Shared, SharedServer, eventually, v3};
use serde_json::{Value, json};

mod acl;
mod answers;
mod edus;
mod events;
mod groups;
mod invitations;
mod joins;
mod keys;
mod memory;
mod missing;
mod reading;
mod requests;
mod signatures;
mod third_party_invites;
mod transactions;

/// Rooms whose events differ in form: with ids inside, hashes as ids, strict JSON, restricted joins, the create event as id.
const VERSIONS: [&str; 5] = ["1", "3", "6", "10", "12"];

fn of_version(version: &str) -> Value {
    json!({ "preset": "public_chat", "room_version": version })
}

/// Who certifies all servers of these tests.
fn authority() -> &'static Arc<Authority> {
    static AUTHORITY: OnceLock<Arc<Authority>> = OnceLock::new();
    AUTHORITY.get_or_init(Authority::new)
}

/// The server under test, for tests that do not disturb each other.
fn shared() -> SharedServer {
    static SERVER: Shared = Shared::new(|| Options::federating(authority()));
    SERVER.get()
}

/// A server of a test's own.
fn own() -> Server {
    Server::start(Options::federating(authority()))
}

/// A raw peer of a test's own.
async fn raw() -> RawPeer {
    RawPeer::start(authority()).await
}

/// A room of the server's that a user of the peer's is in.
struct World {
    peer: RawPeer,
    alice: Client,
    /// The peer's user.
    mallory: String,
    room: PeerRoom,
}

/// Alice's public room, joined by Mallory of the peer.
async fn world(server: &Server) -> World {
    world_of(server, json!({ "preset": "public_chat" })).await
}

/// As [`world`], the room made with this body.
async fn world_of(server: &Server, create: Value) -> World {
    let (peer, alice) = (raw().await, server.register("alice").await);
    let room = alice.create_room(create).await;
    let mallory = peer.user("mallory");
    let room = peer.join(server, &room, &mallory).await;
    World { peer, alice, mallory, room }
}

impl World {
    /// An honest message that the peer's room goes on from.
    fn say(&self, body: &str) -> Event {
        self.peer.say(&self.room, &self.mallory, body)
    }

    /// An honest message that is not taken into the peer's room, to be changed and signed.
    fn draft(&self, body: &str) -> Value {
        let content = json!({ "msgtype": "m.text", "body": body });
        self.room.draft(&self.mallory, "m.room.message", None, content)
    }

    /// Sends an event beside a good one in one transaction; the good one arrives, and only then it is told: the answer to the
    /// transaction, whose status is 200.
    async fn beside_a_good_one(&self, server: &Server, bad: &Event) -> Value {
        let since = self.alice.now().await;
        let good = self.say("a good one");
        let answer = self.peer.transact(server, &[bad, &good], &[]).await.ok();
        self.alice.wait_for_event(&since, &self.room.id, &good.id).await;
        assert_eq!(answer["pdus"][&good.id], json!({}), "{answer}");
        answer
    }

    /// Holds that Alice is not shown this event, in any way, once all before a good one was worked off.
    async fn never_shown(&self, server: &Server, event: &Event) {
        let since = self.alice.now().await;
        let after = self.say("after it");
        self.peer.transact(server, &[&after], &[]).await.ok();
        self.alice.wait_for_event(&since, &self.room.id, &after.id).await;
        not_shown(&self.alice, &self.room.id, event).await;
    }
}

/// Holds that a client is not shown an event: not by its id, not in the history, not in the state, not in a first sync.
async fn not_shown(client: &Client, room: &str, event: &Event) {
    client.get(&v3!("/rooms/{}/event/{}", room, event.id)).await.expect_error(404, "M_NOT_FOUND");
    let history = client.whole_history(room, 100).await;
    assert!(history.iter().all(|seen| seen["event_id"] != event.id), "{} is in the history", event.id);
    let state = client.all_state(room).await;
    assert!(state.iter().all(|seen| seen["event_id"] != event.id), "{} is in the state", event.id);
    let sync = client.sync(conformance_tests::Sync::initial()).await.to_string();
    assert!(!sync.contains(&event.id), "{} is in /sync", event.id);
}

/// Waits until a client can read an event.
async fn shown(client: &Client, room: &str, event: &str) -> Value {
    eventually(&format!("{event} is shown"), || async {
        let reply = client.get(&v3!("/rooms/{}/event/{}", room, event)).await;
        (reply.status == 200).then_some(reply.json)
    })
    .await
}

/// Holds that the server answers still, a client and another server.
async fn still_there(server: &Server, client: &Client, peer: &RawPeer) {
    client.get("/_matrix/client/v3/account/whoami").await.ok();
    peer.get(server, "/_matrix/federation/v1/version").await.ok();
}
