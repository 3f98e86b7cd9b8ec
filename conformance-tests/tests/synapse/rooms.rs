//! Each way into a room, in the versions that are in use, then what people do in it.

use conformance_tests::{Client, event_ids, eventually, heard, invited, join_via, membership_is, path, same_state, v3};
use serde_json::{Value, json};

use crate::{Host, Two, both};

/// How the guest comes in.
#[derive(Clone, Copy, Debug)]
enum Way {
    Public,
    Invitation,
    Restricted,
    Knock,
}

fn initial_state(rule: Value) -> Value {
    json!([{ "type": "m.room.join_rules", "state_key": "", "content": rule }])
}

/// Makes a room of this version and brings the guest in.
async fn enter(two: &Two, version: &str, way: Way) -> String {
    let Two { host, guest, host_server } = two;
    let mut create = json!({ "room_version": version, "preset": "private_chat", "name": format!("{way:?}") });
    match way {
        Way::Public => create["preset"] = json!("public_chat"),
        Way::Invitation => {}
        Way::Knock => create["initial_state"] = initial_state(json!({ "join_rule": "knock" })),
        Way::Restricted => {
            let space = host.create_room(json!({ "room_version": version, "preset": "public_chat" })).await;
            join_via(guest, &space, host_server).await;
            membership_is(host, &space, &guest.user_id, "join").await;
            let allow = json!([{ "type": "m.room_membership", "room_id": space }]);
            create["initial_state"] = initial_state(json!({ "join_rule": "restricted", "allow": allow }));
        }
    }
    let room = host.create_room(create).await;
    match way {
        Way::Public | Way::Restricted => join_via(guest, &room, host_server).await,
        Way::Invitation => {
            host.invite(&room, guest).await;
            invited(guest, &room).await;
            guest.join(&room).await;
        }
        Way::Knock => {
            let server = conformance_tests::encode(host_server);
            let knock = v3!("/knock/{}", room) + &format!("?via={server}&server_name={server}");
            guest.post(&knock, json!({})).await.ok();
            membership_is(host, &room, &guest.user_id, "knock").await;
            host.invite(&room, guest).await;
            invited(guest, &room).await;
            guest.join(&room).await;
        }
    }
    membership_is(host, &room, &guest.user_id, "join").await;
    room
}

/// Waits until the event is there as `client` sees it.
async fn seen(client: &Client, room: &str, event: &str) {
    eventually("the event arrives", || async {
        let reply = client.get(&v3!("/rooms/{}/event/{}", room, event)).await;
        (reply.status == 200).then_some(())
    })
    .await;
}

/// Talk, reactions, redactions, power, topic, kick, ban, upgrade, leave.
async fn live(two: &Two, room: &str) {
    let Two { host, guest, .. } = two;
    heard(host, room, "hello", &[guest]).await;
    heard(guest, room, "hello yourself", &[host]).await;

    let said = host.send_text(room, "lunch?").await;
    seen(guest, room, &said).await;
    let relation = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": said, "key": "👍" } });
    let reaction = guest.send(room, "m.reaction", relation).await;
    seen(host, room, &reaction).await;
    let relations = host.get(&path!("/_matrix/client/v1/rooms/{}/relations/{}", room, said)).await.ok();
    assert_eq!(event_ids(relations["chunk"].as_array().expect("a list")), [&*reaction]);

    let rude = guest.send_text(room, "rude").await;
    seen(host, room, &rude).await;
    for (who, event) in [(host, &said), (host, &rude)] {
        who.redact(room, event, json!({})).await;
        for client in [host, guest] {
            eventually("the content is gone", || async {
                (client.event(room, event).await["content"] == json!({})).then_some(())
            })
            .await;
        }
    }

    host.change_power_levels(room, json!({ "users": { &guest.user_id: 60 } })).await;
    same_state(&[host, guest], room).await;
    guest.set_state(room, "m.room.topic", "", json!({ "topic": "set by the guest" })).await;
    eventually("the host sees the topic", || async {
        let reply = host.get(&v3!("/rooms/{}/state/m.room.topic", room)).await;
        (reply.status == 200 && reply.ok()["topic"] == "set by the guest").then_some(())
    })
    .await;
    same_state(&[host, guest], room).await;
}

/// The guest is kicked, comes back, is banned, is let in again; leaves.
async fn come_and_go(two: &Two, room: &str) {
    let Two { host, guest, host_server } = two;
    host.change_power_levels(room, json!({ "users": { &guest.user_id: 0 } })).await;
    same_state(&[host, guest], room).await;
    let since = guest.now().await;
    host.kick(room, guest).await;
    guest.wait_until_sync(&since, |answer| answer["rooms"]["leave"].get(room).is_some()).await;
    join_via(guest, room, host_server).await;
    membership_is(host, room, &guest.user_id, "join").await;
    heard(host, room, "back", &[guest]).await;
    let since = guest.now().await;
    host.ban(room, guest).await;
    guest.wait_until_sync(&since, |answer| answer["rooms"]["leave"].get(room).is_some()).await;
    host.unban(room, guest).await;
    join_via(guest, room, host_server).await;
    heard(guest, room, "again", &[host]).await;
    same_state(&[host, guest], room).await;
    guest.leave(room).await;
    membership_is(host, room, &guest.user_id, "leave").await;
}

async fn journey(host: Host, version: &str, way: Way) {
    let both = both().await;
    let two = both.two(host).await;
    let room = enter(&two, version, way).await;
    live(&two, &room).await;
    if matches!(way, Way::Public) {
        come_and_go(&two, &room).await;
    }
}

macro_rules! journeys {
    ($($name:ident: $host:ident, $version:literal, $way:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
        async fn $name() {
            journey(Host::$host, $version, Way::$way).await;
        }
    )*};
}
journeys! {
    our_public_room_of_version_10: LinkIm, "10", Public;
    our_public_room_of_version_11: LinkIm, "11", Public;
    our_public_room_of_version_12: LinkIm, "12", Public;
    our_private_room_of_version_10: LinkIm, "10", Invitation;
    our_private_room_of_version_11: LinkIm, "11", Invitation;
    our_private_room_of_version_12: LinkIm, "12", Invitation;
    our_restricted_room_of_version_10: LinkIm, "10", Restricted;
    our_restricted_room_of_version_11: LinkIm, "11", Restricted;
    our_restricted_room_of_version_12: LinkIm, "12", Restricted;
    our_knock_room_of_version_10: LinkIm, "10", Knock;
    our_knock_room_of_version_11: LinkIm, "11", Knock;
    our_knock_room_of_version_12: LinkIm, "12", Knock;
    their_public_room_of_version_10: Synapse, "10", Public;
    their_public_room_of_version_11: Synapse, "11", Public;
    their_public_room_of_version_12: Synapse, "12", Public;
    their_private_room_of_version_10: Synapse, "10", Invitation;
    their_private_room_of_version_11: Synapse, "11", Invitation;
    their_private_room_of_version_12: Synapse, "12", Invitation;
    their_restricted_room_of_version_10: Synapse, "10", Restricted;
    their_restricted_room_of_version_11: Synapse, "11", Restricted;
    their_restricted_room_of_version_12: Synapse, "12", Restricted;
    their_knock_room_of_version_10: Synapse, "10", Knock;
    their_knock_room_of_version_11: Synapse, "11", Knock;
    their_knock_room_of_version_12: Synapse, "12", Knock;
}

async fn upgraded(host: Host) {
    let both = both().await;
    let two = both.two(host).await;
    let old = enter(&two, "10", Way::Public).await;
    let Two { host, guest, host_server } = &two;
    let answer = host.post(&v3!("/rooms/{}/upgrade", old), json!({ "new_version": "12" })).await.ok();
    let new = answer["replacement_room"].as_str().expect("a room id").to_owned();
    eventually("the tombstone is seen", || async {
        let reply = guest.get(&v3!("/rooms/{}/state/m.room.tombstone", old)).await;
        (reply.status == 200 && reply.ok()["replacement_room"] == new).then_some(())
    })
    .await;
    join_via(guest, &new, host_server).await;
    heard(host, &new, "moved", &[guest]).await;
    heard(guest, &new, "me too", &[host]).await;
    same_state(&[host, guest], &new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn our_upgrade_is_followed() {
    upgraded(Host::LinkIm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn their_upgrade_is_followed() {
    upgraded(Host::Synapse).await;
}

async fn late(host: Host) {
    let both = both().await;
    let Two { host, guest, host_server } = both.two(host).await;
    let room = host.create_room(json!({ "preset": "public_chat" })).await;
    let sent = host.send_texts(&room, "early ", 1..=60).await;
    join_via(&guest, &room, &host_server).await;
    eventually("the guest reads all that was said before", || async {
        let history = guest.whole_history(&room, 50).await;
        let seen: Vec<&str> = event_ids(&history).into_iter().filter(|id| sent.iter().any(|sent| sent == id)).collect();
        (seen == sent).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn their_user_reads_our_history() {
    late(Host::LinkIm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn our_user_reads_their_history() {
    late(Host::Synapse).await;
}

/// Synapse leaves out the members of rooms that are joined, where it is asked to; they are here in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crowd_of_synapses_is_joined_without_it_and_then_whole() {
    let both = both().await;
    let (here, there) = (both.linkim.register("here").await, both.synapse.register("there").await);
    let room = there.create_room(json!({ "preset": "public_chat", "name": "Crowd" })).await;
    for _ in 0..40 {
        both.synapse.register("one").await.join(&room).await;
    }
    let log = both.linkim.log_length();
    join_via(&here, &room, &both.synapse.name()).await;
    // Whether the members are here or not.
    heard(&here, &room, "hello, all of you", &[&there]).await;
    heard(&there, &room, "hello", &[&here]).await;
    let members = here.get(&v3!("/rooms/{}/joined_members", room)).await.ok();
    assert_eq!(members["joined"].as_object().map(serde_json::Map::len), Some(42));
    assert!(both.linkim.log_since(log).contains("joined without them"), "Synapse left nobody out");
    same_state(&[&here, &there], &room).await;
}
