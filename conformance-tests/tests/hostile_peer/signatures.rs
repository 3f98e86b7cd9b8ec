//! Events whose signature or content hash does not hold: dropped, or taken in redacted form.
//!
//! Source: Server-Server API, "Validating hashes and signatures on received events"; room versions 1 to 5, "Signing key validity
//! period".

use conformance_tests::Client;
use conformance_tests::peer::{Answer, Event, RawPeer};
use linkim_federation::SigningKey;
use linkim_federation::server_keys::{OldVerifyKey, build_key_document};
use serde_json::{Value, json};

use crate::{VERSIONS, World, not_shown, of_version, raw, shared, shown, world, world_of};

const DAY_MS: u64 = 24 * 3600 * 1000;

fn now_ms() -> u64 {
    std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis().try_into().expect("in range")
}

#[tokio::test]
async fn a_wrong_signature_is_dropped() {
    let server = shared();
    for version in VERSIONS {
        let world = world_of(&server, of_version(version)).await;
        let forger = SigningKey::generate([3; 32], world.peer.key.key_id()).expect("a key");
        let bad = Event::sign(world.draft("forged"), world.room.rules, world.peer.name.as_str(), &forger);
        world.beside_a_good_one(&server, &bad).await;
        not_shown(&world.alice, &world.room.id, &bad).await;
    }
}

#[tokio::test]
async fn a_signature_that_is_not_there_is_dropped() {
    let server = shared();
    let world = world(&server).await;
    let mut none = world.peer.sign(&world.room, world.draft("unsigned"));
    none.json["signatures"] = json!({});
    let mut of_another = world.peer.sign(&world.room, world.draft("signed by another"));
    of_another.json["signatures"] =
        json!({ "elsewhere.example": of_another.json["signatures"][world.peer.name.as_str()] });
    let mut nonsense = world.peer.sign(&world.room, world.draft("signed with nonsense"));
    nonsense.json["signatures"] = json!({ world.peer.name.as_str(): { "ed25519:raw": 7, "x": {}, "ed25519:y": "!!" } });
    let unknown = SigningKey::generate([3; 32], "unpublished").expect("a key");
    let unknown = Event::sign(world.draft("an unknown key"), world.room.rules, world.peer.name.as_str(), &unknown);
    for bad in [none, of_another, nonsense, unknown] {
        world.beside_a_good_one(&server, &bad).await;
        not_shown(&world.alice, &world.room.id, &bad).await;
    }
}

#[tokio::test]
async fn a_wrong_content_hash_leaves_the_event_redacted() {
    let server = shared();
    for version in VERSIONS {
        let world = world_of(&server, of_version(version)).await;
        let mut changed = world.peer.sign(&world.room, world.draft("as it was signed"));
        changed.json["content"]["body"] = "as somebody changed it".into();
        world.beside_a_good_one(&server, &changed).await;
        let seen = shown(&world.alice, &world.room.id, &changed.id).await;
        assert_eq!(seen["content"], json!({}), "version {version}: {seen}");
        assert_eq!(seen["sender"], world.mallory);
    }
}

#[tokio::test]
async fn a_member_whose_hash_is_wrong_keeps_what_is_protected() {
    let server = shared();
    let world = world(&server).await;
    let content = json!({ "membership": "join", "displayname": "Mallory" });
    let draft = world.room.draft(&world.mallory, "m.room.member", Some(&world.mallory), content);
    let mut changed = world.peer.sign(&world.room, draft);
    changed.json["content"]["displayname"] = "The Administrator".into();
    world.beside_a_good_one(&server, &changed).await;
    let member = world.alice.state(&world.room.id, "m.room.member", &world.mallory).await;
    assert_eq!(member["membership"], "join");
    assert_ne!(member["displayname"], "The Administrator", "{member}");
}

/// A peer that has stopped using a key and publishes it as an old one, expired this long ago.
async fn with_an_old_key(expired_ms_ago: u64) -> (RawPeer, SigningKey) {
    let mut peer = raw().await;
    let old = peer.key.clone();
    peer.key = SigningKey::generate([5; 32], "new").expect("a key");
    let expired = OldVerifyKey { key: old.public_key_base64(), expired_ts: now_ms() - expired_ms_ago };
    let old_keys = [(old.key_id().to_owned(), expired)].into();
    let document = build_key_document(&peer.name, std::slice::from_ref(&peer.key), &old_keys, now_ms() + DAY_MS);
    let document: Value = serde_json::from_str(document.json()).expect("a document");
    peer.script(move |asked| asked.path.starts_with("/_matrix/key/v2/server").then(|| Answer::json(document.clone())));
    (peer, old)
}

async fn world_with(server: &conformance_tests::Server, peer: RawPeer, version: &str) -> World {
    let alice: Client = server.register("alice").await;
    let room = alice.create_room(of_version(version)).await;
    let mallory = peer.user("mallory");
    let room = peer.join(server, &room, &mallory).await;
    World { peer, alice, mallory, room }
}

#[tokio::test]
async fn a_key_that_had_expired_signs_nothing_from_version_5_on() {
    let server = shared();
    for (version, believed) in [("4", true), ("5", false), ("11", false), ("12", false)] {
        let (peer, old) = with_an_old_key(DAY_MS).await;
        let world = world_with(&server, peer, version).await;
        let name = world.peer.name.to_string();
        // Made after the key expired.
        let late = Event::sign(world.draft("late"), world.room.rules, &name, &old);
        world.beside_a_good_one(&server, &late).await;
        match believed {
            // «verify_keys … the key's validity is not enforced» before version 5.
            true => drop(shown(&world.alice, &world.room.id, &late.id).await),
            false => not_shown(&world.alice, &world.room.id, &late).await,
        }
        // Made while it was good.
        let mut draft = world.draft("in time");
        draft["origin_server_ts"] = (now_ms() - 2 * DAY_MS).into();
        let in_time = Event::sign(draft, world.room.rules, &name, &old);
        world.beside_a_good_one(&server, &in_time).await;
        shown(&world.alice, &world.room.id, &in_time.id).await;
    }
}

#[tokio::test]
async fn no_key_is_good_for_longer_than_a_week_ahead() {
    let server = shared();
    for (version, believed) in [("4", true), ("5", false), ("12", false)] {
        let peer = raw().await;
        let document = build_key_document(
            &peer.name,
            std::slice::from_ref(&peer.key),
            &Default::default(),
            now_ms() + 365 * DAY_MS,
        );
        let document: Value = serde_json::from_str(document.json()).expect("a document");
        peer.script(move |asked| {
            asked.path.starts_with("/_matrix/key/v2/server").then(|| Answer::json(document.clone()))
        });
        let world = world_with(&server, peer, version).await;
        let mut draft = world.draft("from the future");
        draft["origin_server_ts"] = (now_ms() + 30 * DAY_MS).into();
        let future = world.peer.sign(&world.room, draft);
        world.beside_a_good_one(&server, &future).await;
        match believed {
            true => drop(shown(&world.alice, &world.room.id, &future.id).await),
            // «Servers MUST use the lesser of this field and 7 days into the future».
            false => not_shown(&world.alice, &world.room.id, &future).await,
        }
    }
}
