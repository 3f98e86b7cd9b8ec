//! What servers tell each other about their users: receipts, typing, profiles, files, aliases, rejections.

use conformance_tests::{eventually, invited, join_via, membership_is, shared_room, unique, v3};
use serde_json::{Value, json};

use crate::{Host, both};

fn ephemeral(answer: &Value, room: &str, kind: &str) -> Option<Value> {
    let events = answer["rooms"]["join"][room]["ephemeral"]["events"].as_array()?;
    events.iter().find(|event| event["type"] == kind).cloned()
}

async fn receipts_and_typing(host: Host) {
    let both = both().await;
    let two = both.two(host).await;
    let (host, guest) = (&two.host, &two.guest);
    let room = shared_room(host, &[guest], json!({ "preset": "private_chat" })).await;
    let since = guest.now().await;
    let said = host.send_text(&room, "read me").await;
    guest.wait_for_event(&since, &room, &said).await;
    let since = host.now().await;
    guest.post(&v3!("/rooms/{}/receipt/m.read/{}", room, said), json!({})).await.ok();
    host.wait_until_sync(&since, |answer| {
        ephemeral(answer, &room, "m.receipt")
            .is_some_and(|receipt| receipt["content"][&said]["m.read"].get(&guest.user_id).is_some())
    })
    .await;
    let since = host.now().await;
    let typing = v3!("/rooms/{}/typing/{}", room, guest.user_id);
    guest.put(&typing, json!({ "typing": true, "timeout": 30000 })).await.ok();
    host.wait_until_sync(&since, |answer| {
        ephemeral(answer, &room, "m.typing")
            .is_some_and(|typing| typing["content"]["user_ids"] == json!([guest.user_id]))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn their_receipts_and_typing_arrive() {
    receipts_and_typing(Host::LinkIm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn our_receipts_and_typing_arrive() {
    receipts_and_typing(Host::Synapse).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn presence_arrives_both_ways() {
    let both = both().await;
    let two = both.two(Host::LinkIm).await;
    shared_room(&two.host, &[&two.guest], json!({ "preset": "private_chat" })).await;
    for (who, viewer) in [(&two.host, &two.guest), (&two.guest, &two.host)] {
        let mut since = viewer.now().await;
        for (state, status) in [("unavailable", "Tea"), ("online", "Lunch")] {
            let body = json!({ "presence": state, "status_msg": status });
            who.put(&v3!("/presence/{}/status", who.user_id), body).await.ok();
            let answer = viewer
                .wait_until_sync(&since, |answer| {
                    let events = answer["presence"]["events"].as_array();
                    events.into_iter().flatten().any(|event| {
                        event["sender"] == who.user_id
                            && event["content"]["presence"] == state
                            && event["content"]["status_msg"] == status
                    })
                })
                .await;
            since = answer["next_batch"].as_str().expect("a token").to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn files_are_fetched_both_ways() {
    let both = both().await;
    let two = both.two(Host::LinkIm).await;
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for (from, to) in [(&two.host, &two.guest), (&two.guest, &two.host)] {
        let uri = from.upload("application/pdf", "plan.pdf", &bytes).await;
        let reply = to.download(&uri).await.expect_status(200);
        assert!(reply.bytes == bytes, "other bytes came to {}", to.user_id);
        assert_eq!(reply.header("content-type"), "application/pdf");
        assert!(reply.header("content-disposition").contains("plan.pdf"), "{:?}", reply.headers);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn profiles_and_aliases_are_found_both_ways() {
    let both = both().await;
    let two = both.two(Host::LinkIm).await;
    for (asked, asking, server) in
        [(&two.host, &two.guest, both.linkim.name().to_owned()), (&two.guest, &two.host, both.synapse.name())]
    {
        asked.put(&v3!("/profile/{}/displayname", asked.user_id), json!({ "displayname": "Somebody" })).await.ok();
        let profile = asking.get(&v3!("/profile/{}", asked.user_id)).await.ok();
        assert_eq!(profile["displayname"], "Somebody");
        let alias = unique("alias");
        let room = asked.create_room(json!({ "preset": "public_chat", "room_alias_name": alias })).await;
        let found = asking.get(&v3!("/directory/room/{}", format!("#{alias}:{server}"))).await.ok();
        assert_eq!(found["room_id"], room);
        assert!(found["servers"].as_array().is_some_and(|servers| servers.iter().any(|name| *name == server)));
        let joined = asking.post(&v3!("/join/{}", format!("#{alias}:{server}")), json!({})).await.ok();
        assert_eq!(joined["room_id"], room);
    }
}

async fn rejected(host: Host) {
    let both = both().await;
    let two = both.two(host).await;
    let room = two.host.create_room(json!({ "preset": "private_chat" })).await;
    two.host.invite(&room, &two.guest).await;
    invited(&two.guest, &room).await;
    two.guest.leave(&room).await;
    membership_is(&two.host, &room, &two.guest.user_id, "leave").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn our_invitation_is_rejected() {
    rejected(Host::LinkIm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn their_invitation_is_rejected() {
    rejected(Host::Synapse).await;
}

async fn withdrawn(host: Host) {
    let both = both().await;
    let two = both.two(host).await;
    let room = two.host.create_room(json!({ "preset": "private_chat" })).await;
    two.host.invite(&room, &two.guest).await;
    invited(&two.guest, &room).await;
    let since = two.guest.now().await;
    two.host.kick(&room, &two.guest).await;
    two.guest.wait_until_sync(&since, |answer| answer["rooms"]["leave"].get(&room).is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn our_invitation_is_withdrawn() {
    withdrawn(Host::LinkIm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn their_invitation_is_withdrawn() {
    withdrawn(Host::Synapse).await;
}

async fn listed(host: Host) {
    let both = both().await;
    let two = both.two(host).await;
    let name = unique("a published room");
    let create = json!({ "preset": "public_chat", "visibility": "public", "name": name });
    let room = two.host.create_room(create).await;
    let query = v3!("/publicRooms") + &format!("?server={}", conformance_tests::encode(&two.host_server));
    eventually("the room is listed", || async {
        let reply = two.guest.get(&query).await;
        let rooms = reply.json["chunk"].as_array().cloned().unwrap_or_default();
        rooms.iter().any(|entry| entry["room_id"] == room && entry["name"] == name).then_some(())
    })
    .await;
    join_via(&two.guest, &room, &two.host_server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn their_user_finds_our_published_rooms() {
    listed(Host::LinkIm).await;
}
