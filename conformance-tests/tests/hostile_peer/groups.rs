//! LinkIM's groups with an admin or a member on a server that keeps none of LinkIM's rules: what power levels let them do and the
//! rule table (spec/decisions/0017-groups.md) does not, has no effect here.

use conformance_tests::peer::{Event, PeerRoom, RawPeer};
use conformance_tests::{Client, Server, eventually, v3};
use serde_json::{Value, json};

use crate::{not_shown, raw, shared};

struct Group {
    peer: RawPeer,
    /// The owner.
    alice: Client,
    bob: Client,
    /// The peer's user.
    mallory: String,
    id: String,
    room: PeerRoom,
}

/// A group of alice's with bob and carol, which mallory of the peer has joined.
async fn group(server: &Server) -> Group {
    let (peer, alice) = (raw().await, server.register("alice").await);
    let (bob, carol) = (server.register("bob").await, server.register("carol").await);
    let body = json!({ "user_ids": [bob.user_id, carol.user_id], "group_name": "Team", "join_mode": 2 });
    let made = alice.post("/group/create", body).await.done();
    let text = |key: &str| made[key].as_str().expect("a string").to_owned();
    let mallory = peer.user("mallory");
    let room = peer.join(server, &text("room_id"), &mallory).await;
    Group { peer, alice, bob, mallory, id: text("groupID"), room }
}

impl Group {
    /// Takes into the peer's room what it was sent, once this event is among it.
    async fn follow(&self, event_id: &str) {
        eventually("the peer has the event", || async {
            for json in self.peer.was_sent("pdus") {
                let event = Event::received(json, self.room.rules);
                if self.room.event(&event.id).is_none() {
                    self.room.add(&event);
                }
            }
            self.room.event(event_id).map(drop)
        })
        .await;
    }

    /// Takes into the peer's room the newest power levels.
    async fn follow_levels(&self) {
        let state = self.alice.all_state(&self.room.id).await;
        let levels = state.iter().find(|event| event["type"] == "m.room.power_levels").expect("power levels");
        self.follow(levels["event_id"].as_str().expect("an id")).await;
    }

    async fn says(&self, user: &Client, body: &str) -> String {
        let event = user.send_text(&self.room.id, body).await;
        self.follow(&event).await;
        event
    }

    fn redaction(&self, target: &str) -> Event {
        let draft = self.room.draft(&self.mallory, "m.room.redaction", None, json!({ "redacts": target }));
        self.peer.sign(&self.room, draft)
    }

    /// Sends an event, and waits until all that it could do is done.
    async fn sends(&self, server: &Server, event: &Event) {
        self.peer.transact(server, &[event], &[]).await.ok();
        let since = self.alice.now().await;
        let confirm = self.peer.add(&self.room, &self.mallory, "org.linkim.group.confirm", None, json!({}));
        self.peer.transact(server, &[&confirm], &[]).await.ok();
        self.alice.wait_for_event(&since, &self.room.id, &confirm.id).await;
    }

    async fn body(&self, event: &str) -> Value {
        self.bob.event(&self.room.id, event).await["content"]["body"].clone()
    }
}

#[tokio::test]
async fn an_admin_elsewhere_withdraws_members_messages_alone() {
    let server = shared();
    let group = group(&server).await;
    let promote =
        |user: &str| group.alice.put("/group/promote/admin", json!({ "group_id": group.id, "user_id": user }));
    promote(&group.mallory).await.done();
    group.follow_levels().await;
    let owners = group.says(&group.alice, "the owner's").await;
    let members = group.says(&group.bob, "a member's").await;
    let own = group.peer.say(&group.room, &group.mallory, "her own");
    group.sends(&server, &own).await;

    let refused = group.redaction(&owners);
    group.sends(&server, &refused).await;
    assert_eq!(group.body(&owners).await, "the owner's");
    not_shown(&group.alice, &group.room.id, &refused).await;
    for taken in [&members, &own.id] {
        let redaction = group.redaction(taken);
        group.sends(&server, &redaction).await;
        assert_eq!(group.body(taken).await, Value::Null, "{taken}");
    }

    // Another admin's: by what they are when it comes.
    promote(&group.bob.user_id).await.done();
    group.follow_levels().await;
    let admins = group.says(&group.bob, "an admin's").await;
    let refused = group.redaction(&admins);
    group.sends(&server, &refused).await;
    assert_eq!(group.body(&admins).await, "an admin's");

    // Once he is a member again she may; what comes in one transaction with it is judged after it.
    let demote = json!({ "group_id": group.id, "user_id": group.bob.user_id });
    group.alice.put("/group/demote/member", demote).await.done();
    group.follow_levels().await;
    let taken = group.redaction(&admins);
    let said = group.peer.say(&group.room, &group.mallory, "after it");
    group.peer.transact(&server, &[&taken, &said], &[]).await.ok();
    eventually("it is withdrawn", || async { group.body(&admins).await.is_null().then_some(()) }).await;
    assert_eq!(group.body(&owners).await, "the owner's");
}

/// Muted members beyond those for whom the power levels have place are silenced by each server for itself.
#[tokio::test]
async fn a_member_elsewhere_is_muted_without_a_place_in_the_power_levels() {
    let server = shared();
    let group = group(&server).await;
    let levels = group.alice.state(&group.room.id, "m.room.power_levels", "").await;
    let mut full = levels.clone();
    for number in 0..800 {
        full["users"][format!("@m{number}:b.example")] = json!(-1);
    }
    group.alice.set_state(&group.room.id, "m.room.power_levels", "", full).await;
    let mute = |seconds: i64| {
        let body = json!({ "group_id": group.id, "user_id": group.mallory, "seconds": seconds });
        group.alice.put("/group/mute/member", body)
    };
    mute(600).await.done();
    assert!(group.alice.state(&group.room.id, "m.room.power_levels", "").await["users"].get(&group.mallory).is_none());
    group.follow_levels().await;
    let said = group.peer.say(&group.room, &group.mallory, "not to be heard");
    group.sends(&server, &said).await;
    not_shown(&group.alice, &group.room.id, &said).await;
    let path = v3!("/rooms/{}/event/{}", group.room.id, said.id);
    group.bob.get(&path).await.expect_error(404, "M_NOT_FOUND");
    mute(0).await.done();
    let said = group.peer.say(&group.room, &group.mallory, "again");
    group.sends(&server, &said).await;
    assert_eq!(group.body(&said.id).await, "again");
}
