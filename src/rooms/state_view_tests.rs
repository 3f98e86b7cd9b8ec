//! State as viewers are shown it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::rooms::{
    client_event::{Shape, Viewer},
    reading_fixture::{Room, fixture},
};

async fn topic(room: &Room<'_>, viewer: &Viewer) -> Option<String> {
    let look = room.look(viewer, Shape::Client, |open| {
        let event = one(open, "m.room.topic", "")?;
        let mut out = String::new();
        open.renderer.content(&event, &mut out)?;
        Ok(out)
    });
    let content = look.await.ok()?;
    serde_json::from_str::<Value>(&content).unwrap()["topic"].as_str().map(str::to_owned)
}

async fn joined(room: &Room<'_>, viewer: &Viewer, asked: Members, at: Option<PageToken>) -> BTreeSet<String> {
    let text = room.look(viewer, Shape::Client, move |open| Ok(members(open, asked, at)?)).await.unwrap();
    let events: Vec<Value> = serde_json::from_str(&text).unwrap();
    events
        .into_iter()
        .map(|event| {
            assert_eq!(event["type"], "m.room.member");
            let name = event["state_key"].as_str().unwrap().trim_start_matches('@');
            name.split(':').next().unwrap().to_owned()
        })
        .collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn the_current_state_or_that_at_the_leaving() {
    let f = fixture();
    let room = f.room("12", None).await;
    let (alice, bob) = (f.viewer("alice").await, f.viewer("bob").await);
    assert_eq!(topic(&room, &alice).await, None);
    room.member("bob", "bob", "join").await;
    room.set("alice", "m.room.topic", "", json!({ "topic": "then" })).await;
    room.member("bob", "bob", "leave").await;
    room.set("alice", "m.room.topic", "", json!({ "topic": "now" })).await;
    room.set("alice", "m.room.name", "", json!({ "name": "n" })).await;
    assert_eq!(topic(&room, &alice).await.as_deref(), Some("now"));
    assert_eq!(topic(&room, &bob).await.as_deref(), Some("then"));
    for (viewer, topic, count) in [(&alice, "now", 7), (&bob, "then", 6)] {
        let text = room.look(viewer, Shape::ClientWithRoom, |open| Ok(all(open)?)).await.unwrap();
        let events: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(events.len(), count);
        let found = events.iter().find(|event| event["type"] == "m.room.topic").unwrap();
        assert_eq!(found["content"]["topic"], topic);
        assert_eq!(found["room_id"], room.key.room_id.as_str());
        let left = events.iter().find(|event| event["state_key"] == "@bob:a.example").unwrap();
        assert_eq!(left["content"]["membership"], "leave");
    }
}

#[tokio::test]
async fn members_by_membership_and_time() {
    let f = fixture();
    let room = f.room("12", None).await;
    let alice = f.viewer("alice").await;
    let bob = room.member("bob", "bob", "join").await;
    room.member("alice", "carol", "invite").await;
    room.member("alice", "dave", "ban").await;
    room.member("bob", "bob", "leave").await;
    let asked = |membership, not_membership| Members { membership, not_membership };
    let everybody = Members::default();
    assert_eq!(joined(&room, &alice, everybody, None).await, names(&["alice", "bob", "carol", "dave"]));
    let only = asked(Some(Membership::Join), None);
    assert_eq!(joined(&room, &alice, only, None).await, names(&["alice"]));
    let but = asked(None, Some(Membership::Leave));
    assert_eq!(joined(&room, &alice, but, None).await, names(&["alice", "carol", "dave"]));
    // Both are joined by «or».
    let either = asked(Some(Membership::Ban), Some(Membership::Join));
    assert_eq!(joined(&room, &alice, either, None).await, names(&["bob", "carol", "dave"]));
    let then = PageToken::Sync(bob.position);
    assert_eq!(joined(&room, &alice, only, Some(then)).await, names(&["alice", "bob"]));
    assert_eq!(joined(&room, &alice, everybody, Some(then)).await, names(&["alice", "bob"]));
    let (depth, position) =
        f.store.read::<_, StoreError, _>(move |read| Ok(events::by_nid(read, bob.nid)?.topological())).await.unwrap();
    let then = PageToken::Topological { depth, position };
    assert_eq!(joined(&room, &alice, everybody, Some(then)).await, names(&["alice", "bob"]));
}

#[tokio::test]
async fn names_and_avatars_of_joined_members() {
    let f = fixture();
    let room = f.room("12", None).await;
    let (alice, bob) = (f.viewer("alice").await, f.viewer("bob").await);
    let profile = json!({ "membership": "join", "displayname": "Bob \"B\"", "avatar_url": "mxc://a/b" });
    room.set("bob", "m.room.member", "@bob:a.example", profile).await;
    room.set("carol", "m.room.member", "@carol:a.example", json!({ "membership": "join", "displayname": 7 })).await;
    let text = room.look(&alice, Shape::Client, |open| joined_members(open)).await.unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap(),
        json!({
            "@alice:a.example": {},
            "@bob:a.example": { "display_name": "Bob \"B\"", "avatar_url": "mxc://a/b" },
            "@carol:a.example": {},
        })
    );
    room.member("bob", "bob", "leave").await;
    let refused = room.look(&bob, Shape::Client, |open| joined_members(open)).await;
    assert!(matches!(refused, Err(ReadError::NoPart)));
}
