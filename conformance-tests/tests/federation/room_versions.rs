//! Rooms of every version, hosted on either side.

use conformance_tests::{heard, membership_is, same_state, shared_room};
use serde_json::json;

use crate::pair;

async fn rooms_of(version: &str) {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    for (host, guest) in [(&alice, &bob), (&bob, &alice)] {
        let create = json!({ "preset": "private_chat", "room_version": version });
        let room = shared_room(host, &[guest], create).await;
        heard(host, &room, "hello", &[guest]).await;
        heard(guest, &room, "hello yourself", &[host]).await;
        let said = host.send_text(&room, "to be redacted").await;
        conformance_tests::eventually("it arrives", || async {
            let reply = guest.get(&conformance_tests::v3!("/rooms/{}/event/{}", room, said)).await;
            (reply.status == 200).then_some(())
        })
        .await;
        let since = guest.now().await;
        let redaction = host.redact(&room, &said, json!({})).await;
        guest.wait_for_event(&since, &room, &redaction).await;
        assert_eq!(guest.event(&room, &said).await["content"], json!({}), "version {version}");
        host.set_state(&room, "m.room.topic", "", json!({ "topic": version })).await;
        same_state(&[host, guest], &room).await;
        guest.leave(&room).await;
        membership_is(host, &room, &guest.user_id, "leave").await;
    }
}

macro_rules! versions {
    ($($name:ident: $version:literal),* $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            rooms_of($version).await;
        }
    )*};
}
versions! {
    version_1: "1", version_2: "2", version_3: "3", version_4: "4", version_5: "5", version_6: "6",
    version_7: "7", version_8: "8", version_9: "9", version_10: "10", version_11: "11", version_12: "12",
}
