//! Invitations to an address that an identity server vouches for: the room's own keys say who may use them.
//!
//! Source: Server-Server API, "Third-party invites"; room versions, "Authorization rules", 5.4.1 (`third_party_invite`).

use conformance_tests::keys::Ed25519;
use conformance_tests::peer::{Answer, Event, RawPeer};
use conformance_tests::{Client, Reply, Server, path};
use ruma::RoomVersionId;
use serde_json::{Value, json};

use crate::{raw, shared};

/// The identity server whose key the room has.
const IDENTITY: &str = "identity.example";

/// Alice's room, in which she invited an address that turns out to be Mallory's, of a server that is not in the room.
struct Invited {
    peer: RawPeer,
    alice: Client,
    mallory: String,
    room: String,
    key: Ed25519,
}

async fn invited(server: &Server, version: &str) -> Invited {
    let (peer, alice) = (raw().await, server.register("alice").await);
    let room = alice.create_room(json!({ "room_version": version })).await;
    let key = Ed25519::new(9);
    // Both forms: `public_key` is the one that older servers read, `public_keys` has it again beside others.
    let url = format!("https://{IDENTITY}/_matrix/identity/v2/pubkey/isvalid");
    let content = json!({
        "display_name": "m...@example.com", "key_validity_url": url, "public_key": Ed25519::new(8).public(),
        "public_keys": [{ "public_key": Ed25519::new(8).public() }, { "public_key": key.public(), "key_validity_url": url }],
    });
    alice.set_state(&room, "m.room.third_party_invite", "token", content).await;
    let (name, own_key) = (peer.name.clone(), peer.key.clone());
    peer.script(move |asked| {
        asked.after("/_matrix/federation/v2/invite/")?;
        let body = asked.json();
        let version = RoomVersionId::try_from(body["room_version"].as_str()?).ok()?;
        let rules = linkim_federation::rules(&version)?;
        let signed = Event::sign_with_its_hash(body["event"].clone(), rules, name.as_str(), &own_key);
        Some(Answer::json(json!({ "event": signed.json })))
    });
    let mallory = peer.user("mallory");
    Invited { peer, alice, mallory, room, key }
}

impl Invited {
    /// What the identity server signs when the address is bound to this user.
    fn signed(&self, user: &str, token: &str, key: &Ed25519) -> Value {
        let mut signed = json!({ "mxid": user, "token": token });
        key.sign(&mut signed, IDENTITY, "0");
        signed
    }

    /// The request of an honest server.
    fn request(&self) -> Value {
        let signed = self.signed(&self.mallory, "token", &self.key);
        json!({
            "type": "m.room.member", "room_id": self.room, "sender": self.alice.user_id, "state_key": self.mallory,
            "content": {
                "membership": "invite",
                "third_party_invite": { "display_name": "Whoever I want to be", "signed": signed },
            },
        })
    }

    async fn exchange(&self, server: &Server, room: &str, body: &Value) -> Reply {
        self.peer.put(server, &path!("/_matrix/federation/v1/exchange_third_party_invite/{}", room), body).await
    }

    /// Holds that nobody was invited, nor anybody asked to sign that.
    async fn nothing_came(&self, what: &str) {
        let members = self.alice.all_state(&self.room).await;
        let members = members.iter().filter(|event| event["type"] == "m.room.member").count();
        assert_eq!(members, 1, "{what}: Alice alone");
        assert_eq!(self.peer.times_asked("/invite/"), 0, "{what}");
    }
}

#[tokio::test]
async fn the_bound_address_becomes_an_invitation() {
    let server = shared();
    for version in ["1", "3", "6", "10", "11", "12"] {
        let world = invited(&server, version).await;
        let request = world.request();
        assert_eq!(world.exchange(&server, &world.room, &request).await.ok(), json!({}), "version {version}");
        let invite = world.alice.state(&world.room, "m.room.member", &world.mallory).await;
        let signed = &request["content"]["third_party_invite"]["signed"];
        assert_eq!(invite["membership"], "invite", "version {version}: {invite}");
        assert_eq!(&invite["third_party_invite"]["signed"], signed, "version {version}");
        // What the room calls the invited is not for their server to say.
        assert_eq!(invite["third_party_invite"]["display_name"], "m...@example.com", "version {version}");
        let asked =
            world.peer.asked().into_iter().find(|asked| asked.path.contains("/v2/invite/")).expect("asked to sign");
        let event = &asked.json()["event"];
        assert_eq!((&event["sender"], &event["state_key"]), (&json!(world.alice.user_id), &json!(world.mallory)));
        // The invitation lets Mallory in as any does.
        let held = world.peer.join(&server, &world.room, &world.mallory).await;
        assert!(held.state_id("m.room.third_party_invite", "token").is_some());
        let member = world.alice.state(&world.room, "m.room.member", &world.mallory).await;
        assert_eq!(member["membership"], "join", "version {version}");
    }
}

#[tokio::test]
async fn nobody_else_is_invited_by_it() {
    let server = shared();
    for version in ["1", "12"] {
        let world = invited(&server, version).await;
        let changed = |pointer: &str, value: Value| {
            let mut request = world.request();
            *request.pointer_mut(pointer).expect("a place") = value;
            request
        };
        let signed = "/content/third_party_invite/signed";
        let stranger = world.peer.user("stranger");
        let other_key = Ed25519::new(7);
        let mut unsigned = world.signed(&world.mallory, "token", &world.key);
        unsigned["signatures"] = json!({});
        let mut changed_after = world.signed(&stranger, "token", &world.key);
        changed_after["mxid"] = json!(world.mallory);
        let forbidden = [
            ("an unknown token", changed(signed, world.signed(&world.mallory, "other", &world.key))),
            ("a key that the room has not", changed(signed, world.signed(&world.mallory, "token", &other_key))),
            ("no signature", changed(signed, unsigned)),
            ("another user's", changed(signed, world.signed(&stranger, "token", &world.key))),
            ("changed after signing", changed(signed, changed_after)),
        ];
        for (what, request) in forbidden {
            let reply = world.exchange(&server, &world.room, &request).await;
            assert_eq!((reply.status, reply.errcode()), (403, "M_FORBIDDEN"), "version {version}, {what}: {reply}");
            world.nothing_came(what).await;
        }
        let bob = server.register("bob").await;
        world.alice.invite(&world.room, &bob).await;
        bob.join(&world.room).await;
        let reply = world.exchange(&server, &world.room, &changed("/sender", json!(bob.user_id))).await;
        reply.expect_error(403, "M_FORBIDDEN");
        assert_eq!(world.peer.times_asked("/invite/"), 0, "another sender's");
    }
}

#[tokio::test]
async fn what_is_no_request_is_said_to_be_none() {
    let server = shared();
    let world = invited(&server, "11").await;
    let invalid: Vec<(&str, &str, Value)> = vec![
        ("another type", "/type", json!("m.room.name")),
        ("another room", "/room_id", json!("!other:elsewhere.example")),
        ("a join", "/content/membership", json!("join")),
        ("our own user", "/state_key", json!(world.alice.user_id)),
        ("another server's user", "/state_key", json!("@x:elsewhere.example")),
        ("no user", "/state_key", json!("mallory")),
        ("another server's sender", "/sender", json!(world.mallory)),
        ("no third_party_invite", "/content", json!({ "membership": "invite" })),
        ("nothing signed", "/content/third_party_invite/signed", json!([])),
        ("no token", "/content/third_party_invite/signed", json!({ "mxid": world.mallory, "signatures": {} })),
    ];
    for (what, pointer, value) in invalid {
        let mut request = world.request();
        *request.pointer_mut(pointer).expect("a place") = value;
        let reply = world.exchange(&server, &world.room, &request).await;
        assert_eq!((reply.status, reply.errcode()), (400, "M_INVALID_PARAM"), "{what}: {reply}");
        world.nothing_came(what).await;
    }
    let mut elsewhere = world.request();
    elsewhere["room_id"] = json!("!nowhere:elsewhere.example");
    world.exchange(&server, "!nowhere:elsewhere.example", &elsewhere).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn an_invitation_taken_back_is_none() {
    let server = shared();
    let world = invited(&server, "12").await;
    // Client-Server API: with no `public_key` the third-party invitation is revoked.
    world.alice.set_state(&world.room, "m.room.third_party_invite", "token", json!({})).await;
    world.exchange(&server, &world.room, &world.request()).await.expect_error(403, "M_FORBIDDEN");
    world.nothing_came("revoked").await;
}

/// `spec/decisions/0013`: nobody is believed who says that an address is bound.
#[tokio::test]
async fn nobody_says_what_addresses_are_bound() {
    let server = shared();
    let world = invited(&server, "12").await;
    let invite = json!({
        "medium": "email", "address": "m@example.com", "mxid": world.alice.user_id, "room_id": "!r:elsewhere.example",
        "sender": world.mallory, "signed": world.signed(&world.alice.user_id, "token", &world.key),
    });
    let body =
        json!({ "medium": "email", "address": "m@example.com", "mxid": world.alice.user_id, "invites": [invite] });
    let reply = world.peer.put(&server, "/_matrix/federation/v1/3pid/onbind", &body).await;
    reply.expect_error(404, "M_UNRECOGNIZED");
    assert_eq!(world.peer.times_asked("/exchange_third_party_invite/"), 0);
}
