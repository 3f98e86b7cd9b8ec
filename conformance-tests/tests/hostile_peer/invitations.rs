//! Invitations that are none, or say too much.
//!
//! Source: Server-Server API, "Inviting to a room".

use conformance_tests::peer::{Event, PeerRoom, RawPeer};
use conformance_tests::{Client, Sync};
use serde_json::{Value, json};

use crate::{raw, shared, still_there};

struct Invited {
    peer: RawPeer,
    alice: Client,
    mallory: String,
    room: PeerRoom,
}

async fn invited(server: &conformance_tests::Server, version: &str) -> Invited {
    let (peer, alice) = (raw().await, server.register("alice").await);
    let mallory = peer.user("mallory");
    let room = peer.create_room(&mallory, version);
    Invited { peer, alice, mallory, room }
}

impl Invited {
    fn draft(&self) -> Value {
        self.room.draft(&self.mallory, "m.room.member", Some(&self.alice.user_id), json!({ "membership": "invite" }))
    }

    async fn send(&self, server: &conformance_tests::Server, event: &Event) -> conformance_tests::Reply {
        let body = self.peer.invitation(&self.room, event);
        self.peer.send_invite(server, &self.room.id, &event.id, &body).await
    }

    /// Holds that Alice has no invitation.
    async fn nothing_came(&self) {
        let sync = self.alice.sync(Sync::initial()).await;
        assert!(sync["rooms"].get("invite").is_none_or(|rooms| rooms == &json!({})), "{sync}");
    }
}

#[tokio::test]
async fn an_honest_invitation_is_signed_and_shown() {
    let server = shared();
    for version in ["1", "2", "3", "6", "10", "11", "12"] {
        let world = invited(&server, version).await;
        let (reply, invite) = world.peer.invite(&server, &world.room, &world.mallory, &world.alice.user_id).await;
        let signed = reply.ok()["event"].clone();
        assert!(signed["signatures"][server.name()].is_object(), "version {version}: {signed}");
        let mut rest = signed.clone();
        rest["signatures"].as_object_mut().expect("signatures").remove(server.name());
        rest.as_object_mut().expect("an event").remove("unsigned");
        assert_eq!(rest, invite.json, "nothing else is changed");
        let sync = world.alice.sync(Sync::initial()).await;
        assert!(sync["rooms"]["invite"].get(&world.room.id).is_some(), "{sync}");
    }
}

#[tokio::test]
async fn what_is_no_invitation_of_theirs_is_not_signed() {
    let server = shared();
    for version in ["1", "6", "12"] {
        let world = invited(&server, version).await;
        let third = raw().await;
        let stranger = format!("@stranger:{}", third.name);
        let changes: Vec<(&str, &str, Value)> = vec![
            ("another server's sender", "/sender", json!(stranger)),
            ("our own sender", "/sender", json!(world.alice.user_id)),
            ("another server's user", "/state_key", json!(stranger)),
            ("no user", "/state_key", json!("alice")),
            ("a ban", "/content/membership", json!("ban")),
            ("a join", "/content/membership", json!("join")),
            ("no membership", "/content", json!({})),
            ("another type", "/type", json!("m.room.power_levels")),
            ("another room", "/room_id", json!("!other:elsewhere.example")),
        ];
        for (what, pointer, value) in changes {
            let mut draft = world.draft();
            *draft.pointer_mut(pointer).expect("a place") = value;
            let event = world.peer.sign(&world.room, draft);
            let reply = world.send(&server, &event).await;
            assert_eq!((reply.status, reply.errcode()), (400, "M_INVALID_PARAM"), "version {version}, {what}: {reply}");
        }
        let mut unsigned = world.peer.sign(&world.room, world.draft());
        unsigned.json["signatures"] = json!({});
        world.send(&server, &unsigned).await.expect_error(400, "M_INVALID_PARAM");
        let mut changed = world.peer.sign(&world.room, world.draft());
        changed.json["content"]["reason"] = "changed after signing".into();
        world.send(&server, &changed).await.expect_error(400, "M_INVALID_PARAM");
        let honest = world.peer.sign(&world.room, world.draft());
        let elsewhere = Event { id: format!("${}:elsewhere.example", "A".repeat(43)), ..honest };
        world.send(&server, &elsewhere).await.expect_error(400, "M_INVALID_PARAM");
        world.nothing_came().await;
    }
}

#[tokio::test]
async fn a_version_that_we_do_not_know_is_said() {
    let server = shared();
    let world = invited(&server, "11").await;
    let invite = world.peer.sign(&world.room, world.draft());
    for version in ["99", "org.example.new"] {
        let mut body = world.peer.invitation(&world.room, &invite);
        body["room_version"] = version.into();
        let reply = world.peer.send_invite(&server, &world.room.id, &invite.id, &body).await;
        // The server-server example has the first; the client-server API, to which the error is passed through, the second.
        let allowed = [(400, "M_INCOMPATIBLE_ROOM_VERSION"), (400, "M_UNSUPPORTED_ROOM_VERSION")];
        let error = reply.expect_one_of(&allowed);
        // «The version of the room. Required if the errcode is M_INCOMPATIBLE_ROOM_VERSION.»
        assert!(error["errcode"] != "M_INCOMPATIBLE_ROOM_VERSION" || error["room_version"] == version, "{error}");
    }
    // An event of one version, said to be of another.
    let mut body = world.peer.invitation(&world.room, &invite);
    body["room_version"] = "1".into();
    let reply = world.peer.send_invite(&server, &world.room.id, &invite.id, &body).await;
    assert_eq!(reply.status, 400, "{reply}");
    world.nothing_came().await;
}

#[tokio::test]
async fn nobody_who_is_not_here_is_invited() {
    let server = shared();
    let world = invited(&server, "11").await;
    let nobody = format!("@{}:{}", conformance_tests::unique("nobody"), server.name());
    let (reply, _) = world.peer.invite(&server, &world.room, &world.mallory, &nobody).await;
    assert!(matches!(reply.status, 403 | 404), "{reply}");
}

#[tokio::test]
async fn what_is_told_of_the_room_is_checked_and_bounded() {
    let server = shared();
    // «SHOULD return M_INVALID_PARAM … room versions 1 through 11 MAY, all others SHOULD», M_MISSING_PARAM without create.
    let world = invited(&server, "12").await;
    let invite = world.peer.sign(&world.room, world.draft());
    let with = |state: Value| json!({ "room_version": "12", "event": invite.json, "invite_room_state": state });
    let other = world.peer.create_room(&world.mallory, "12");
    let create = |room: &PeerRoom| room.state_event("m.room.create", "").expect("one").json;
    let mut unsigned = create(&world.room);
    unsigned["signatures"] = json!({});
    for (what, state) in [
        ("no create event", json!([])),
        ("a create event of another room", json!([create(&other)])),
        ("a create event that nobody signed", json!([unsigned])),
        ("numbers", json!([1, 2, 3])),
    ] {
        let reply = world.peer.send_invite(&server, &world.room.id, &invite.id, &with(state)).await;
        let error = (reply.status, reply.errcode().to_owned());
        assert!(matches!(error.1.as_str(), "M_INVALID_PARAM" | "M_MISSING_PARAM" | "M_BAD_JSON"), "{what}: {reply}");
        assert_eq!(error.0, 400, "{what}: {reply}");
    }
    world.nothing_came().await;

    // More than any room has to say of itself: refused, or cut short.
    let name = json!({ "type": "m.room.name", "state_key": "", "sender": world.mallory, "content": { "name": "x".repeat(60_000) } });
    let mut state = vec![create(&world.room)];
    state.extend(vec![name; 200]);
    let uri = conformance_tests::path!("/_matrix/federation/v2/invite/{}/{}", world.room.id, invite.id);
    let sending = world.peer.sending(&server, "PUT", &uri, Some(&with(json!(state))));
    // Who sends on after the refusal may find the connection closed before it has read it.
    if let Ok(reply) = world.peer.try_send(&server, sending).await {
        reply.expect_error(413, "M_TOO_LARGE");
    }
    world.nothing_came().await;
    still_there(&server, &world.alice, &world.peer).await;
    let mut state = vec![create(&world.room)];
    let draft = |n: usize| world.room.draft(&world.mallory, "org.example.x", Some(&n.to_string()), json!({ "n": n }));
    state.extend((0..1_500).map(|n| world.peer.sign(&world.room, draft(n)).json));
    let reply = world.peer.send_invite(&server, &world.room.id, &invite.id, &with(json!(state))).await;
    if reply.status == 200 {
        let sync = world.alice.sync(Sync::initial()).await;
        let told = sync["rooms"]["invite"][&world.room.id]["invite_state"]["events"].as_array().map_or(0, Vec::len);
        assert!(told <= 200, "{told} events of stripped state are kept");
    } else {
        assert!((400..500).contains(&reply.status), "{reply}");
    }
}

#[tokio::test]
async fn who_ignores_nobody_is_still_asked_once() {
    let server = shared();
    let world = invited(&server, "11").await;
    let invite = world.peer.sign(&world.room, world.draft());
    let first = world.send(&server, &invite).await.ok();
    let second = world.send(&server, &invite).await.ok();
    assert_eq!(first["event"]["signatures"][server.name()], second["event"]["signatures"][server.name()]);
    let sync = world.alice.sync(Sync::initial()).await;
    assert_eq!(sync["rooms"]["invite"].as_object().map(serde_json::Map::len), Some(1), "{sync}");
}
