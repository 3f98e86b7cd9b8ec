//! "Room history visibility": four settings against every transition of a reader's membership.

use conformance_tests::{Client, Server, Sync, bodies, find_event, timeline, v3};
use serde_json::{Value, json};

use crate::SERVER;

async fn room_with(alice: &Client, visibility: &str) -> String {
    let setting = json!({ "type": "m.room.history_visibility", "content": { "history_visibility": visibility } });
    let invite_only = json!({ "preset": "private_chat", "initial_state": [setting] });
    alice.create_room(invite_only).await
}

/// The bodies that a reader gets from `/messages`, in both directions, from `/event` and from `/context`; all must agree.
async fn readable(reader: &Client, room: &str, messages: &[(String, String)]) -> Vec<String> {
    let mut single = Vec::new();
    for (id, body) in messages {
        let event = reader.get(&v3!("/rooms/{}/event/{}", room, id)).await;
        let context = reader.get(&v3!("/rooms/{}/context/{}?limit=0", room, id)).await;
        if event.status == 200 {
            assert_eq!(event.json["content"]["body"], *body, "{event}");
            assert_eq!(context.status, 200, "{context}");
            single.push(body.clone());
        } else {
            assert!(matches!(event.status, 403 | 404) && !event.text.contains(body.as_str()), "{event}");
            assert!(matches!(context.status, 403 | 404), "{context}");
        }
    }
    let mut backwards = Vec::new();
    if reader.get(&v3!("/rooms/{}/messages?dir=b", room)).await.status == 200 {
        let history = reader.whole_history(room, 3).await;
        backwards = bodies(&history).into_iter().map(str::to_owned).collect();
        let forwards = reader.messages(room, &[("dir", "f"), ("limit", "100")]).await;
        let forwards = bodies(forwards["chunk"].as_array().expect("a list")).join(" ");
        assert_eq!(forwards, backwards.join(" "), "both directions show the same");
    }
    assert_eq!(single, backwards, "/event and /messages show the same");
    single
}

/// Sends a message and remembers it.
async fn say(alice: &Client, room: &str, messages: &mut Vec<(String, String)>, body: &str) {
    messages.push((alice.send_text(room, body).await, body.to_owned()));
}

struct Story {
    room: String,
    messages: Vec<(String, String)>,
}

/// A message before the invitation, one after it, one after the join, one after the end of the membership.
async fn story(alice: &Client, bob: &Client, visibility: &str, end: &str) -> Story {
    let room = room_with(alice, visibility).await;
    let mut messages = Vec::new();
    say(alice, &room, &mut messages, "before").await;
    alice.invite(&room, bob).await;
    say(alice, &room, &mut messages, "invited").await;
    bob.join(&room).await;
    say(alice, &room, &mut messages, "joined").await;
    match end {
        "leave" => bob.leave(&room).await,
        "kick" => alice.kick(&room, bob).await,
        "ban" => alice.ban(&room, bob).await,
        _ => unreachable!("no such end: {end}"),
    }
    say(alice, &room, &mut messages, "after").await;
    Story { room, messages }
}

async fn people(server: &Server) -> (Client, Client) {
    (server.register("alice").await, server.register("bob").await)
}

#[tokio::test]
async fn who_was_a_member_sees_what_the_setting_gives() {
    let server = SERVER.get();
    let (alice, bob) = people(&server).await;
    for end in ["leave", "kick", "ban"] {
        for (visibility, wanted) in [
            ("world_readable", "before invited joined after"),
            ("shared", "before invited joined"),
            ("invited", "invited joined"),
            ("joined", "joined"),
        ] {
            let story = story(&alice, &bob, visibility, end).await;
            let seen = readable(&bob, &story.room, &story.messages).await;
            assert_eq!(seen.join(" "), wanted, "{visibility}, {end}");
        }
    }
}

#[tokio::test]
async fn while_joined_a_member_sees_what_the_setting_gives() {
    let server = SERVER.get();
    let (alice, bob) = people(&server).await;
    for (visibility, wanted) in [
        ("world_readable", "before invited joined"),
        ("shared", "before invited joined"),
        ("invited", "invited joined"),
        ("joined", "joined"),
    ] {
        let room = room_with(&alice, visibility).await;
        let mut messages = Vec::new();
        say(&alice, &room, &mut messages, "before").await;
        alice.invite(&room, &bob).await;
        say(&alice, &room, &mut messages, "invited").await;
        bob.join(&room).await;
        say(&alice, &room, &mut messages, "joined").await;
        assert_eq!(readable(&bob, &room, &messages).await.join(" "), wanted, "{visibility}");
    }
}

#[tokio::test]
async fn who_comes_back_sees_the_time_between_only_where_it_is_shared() {
    let server = SERVER.get();
    let (alice, bob) = people(&server).await;
    for (visibility, wanted) in [
        ("world_readable", "before invited joined after invited-again back"),
        ("shared", "before invited joined after invited-again back"),
        ("invited", "invited joined invited-again back"),
        ("joined", "joined back"),
    ] {
        let Story { room, mut messages } = story(&alice, &bob, visibility, "leave").await;
        alice.invite(&room, &bob).await;
        say(&alice, &room, &mut messages, "invited-again").await;
        bob.join(&room).await;
        say(&alice, &room, &mut messages, "back").await;
        assert_eq!(readable(&bob, &room, &messages).await.join(" "), wanted, "{visibility}");
    }
}

#[tokio::test]
async fn who_never_joined_sees_world_readable_rooms_alone() {
    let server = SERVER.get();
    let (alice, bob) = people(&server).await;
    for (visibility, wanted) in [("world_readable", "before"), ("shared", ""), ("invited", ""), ("joined", "")] {
        let room = room_with(&alice, visibility).await;
        let mut messages = Vec::new();
        say(&alice, &room, &mut messages, "before").await;
        assert_eq!(readable(&bob, &room, &messages).await.join(" "), wanted, "{visibility}");
        alice.invite(&room, &bob).await;
        assert_eq!(readable(&bob, &room, &messages).await.join(" "), wanted, "{visibility}, invited");
        if visibility == "invited" {
            // What is said from here on: one sentence of the specification wants a join first, one of its rules allows.
            continue;
        }
        say(&alice, &room, &mut messages, "invited").await;
        let wanted = if wanted.is_empty() { "" } else { "before invited" };
        assert_eq!(readable(&bob, &room, &messages).await.join(" "), wanted, "{visibility}, invited");
    }
}

#[tokio::test]
async fn a_withdrawn_invitation_leaves_nothing_to_see() {
    let server = SERVER.get();
    let (alice, bob) = people(&server).await;
    for visibility in ["shared", "invited", "joined"] {
        let room = room_with(&alice, visibility).await;
        let mut messages = Vec::new();
        alice.invite(&room, &bob).await;
        say(&alice, &room, &mut messages, "invited").await;
        alice.kick(&room, &bob).await;
        say(&alice, &room, &mut messages, "after").await;
        let seen = readable(&bob, &room, &messages).await;
        assert!(!seen.contains(&"after".to_owned()), "{visibility}: {seen:?}");
    }
}

#[tokio::test]
async fn the_setting_holds_for_the_events_sent_under_it() {
    let server = SERVER.get();
    let (alice, bob) = people(&server).await;
    let room = room_with(&alice, "joined").await;
    let mut messages = Vec::new();
    say(&alice, &room, &mut messages, "under-joined").await;
    let set = async |visibility: &str| {
        let content = json!({ "history_visibility": visibility });
        alice.set_state(&room, "m.room.history_visibility", "", content).await
    };
    let opened = set("world_readable").await;
    say(&alice, &room, &mut messages, "under-world-readable").await;
    let closed = set("joined").await;
    say(&alice, &room, &mut messages, "under-joined-again").await;
    // A change of the setting is seen if the setting before or after it allows.
    for id in [&opened, &closed] {
        let event = bob.get(&v3!("/rooms/{}/event/{}", room, id)).await;
        assert_eq!(event.status, 200, "{event}");
    }
    alice.invite(&room, &bob).await;
    bob.join(&room).await;
    assert_eq!(readable(&bob, &room, &messages).await, ["under-world-readable"]);
    set("shared").await;
    say(&alice, &room, &mut messages, "under-shared").await;
    assert_eq!(readable(&bob, &room, &messages).await, ["under-world-readable", "under-shared"]);
}

#[tokio::test]
async fn no_setting_and_an_unknown_one_are_shared() {
    let server = SERVER.get();
    let (alice, bob) = people(&server).await;
    let room = room_with(&alice, "org.example.moonlight").await;
    let mut messages = Vec::new();
    say(&alice, &room, &mut messages, "before").await;
    let refused = bob.get(&v3!("/rooms/{}/messages?dir=b", room)).await;
    refused.expect_error(403, "M_FORBIDDEN");
    alice.invite(&room, &bob).await;
    bob.join(&room).await;
    assert_eq!(readable(&bob, &room, &messages).await, ["before"]);
}

#[tokio::test]
async fn the_own_membership_is_always_seen() {
    let server = SERVER.get();
    let (alice, bob) = people(&server).await;
    let room = room_with(&alice, "joined").await;
    alice.invite(&room, &bob).await;
    bob.join(&room).await;
    bob.leave(&room).await;
    let history = bob.whole_history(&room, 50).await;
    let own: Vec<&str> = history
        .iter()
        .filter(|event| event["state_key"] == bob.user_id)
        .filter_map(|event| event["content"]["membership"].as_str())
        .collect();
    assert!(own.ends_with(&["join", "leave"]), "{own:?}");
}

#[tokio::test]
async fn sync_shows_no_more_than_the_setting_gives() {
    let server = SERVER.get();
    let (alice, bob) = people(&server).await;
    for (visibility, wanted) in
        [("shared", "before invited joined"), ("invited", "invited joined"), ("joined", "joined")]
    {
        let since = bob.now().await;
        let room = room_with(&alice, visibility).await;
        let mut messages = Vec::new();
        say(&alice, &room, &mut messages, "before").await;
        alice.invite(&room, &bob).await;
        say(&alice, &room, &mut messages, "invited").await;
        bob.join(&room).await;
        say(&alice, &room, &mut messages, "joined").await;
        for sync in [Sync::initial(), Sync::since(&since)] {
            let answer = bob.sync(sync.filter(json!({ "room": { "timeline": { "limit": 50 } } }))).await;
            let seen = bodies(timeline(&answer, &room)).join(" ");
            // A server may begin the timeline later, at the join; it may not show more.
            assert!(wanted.ends_with(&seen) && seen.contains("joined"), "{visibility}: {seen}");
        }
    }
}

#[tokio::test]
async fn the_surroundings_of_an_event_are_filtered_one_by_one() {
    let server = SERVER.get();
    let (alice, bob) = people(&server).await;
    let story = story(&alice, &bob, "joined", "leave").await;
    let (joined, _) = &story.messages[2];
    let answer = bob.get(&v3!("/rooms/{}/context/{}?limit=50", story.room, joined)).await.ok();
    let mut around = bodies(answer["events_before"].as_array().expect("a list"));
    around.extend(bodies(answer["events_after"].as_array().expect("a list")));
    assert_eq!(around, Vec::<&str>::new(), "{answer}");
}

#[tokio::test]
async fn membership_is_shown_in_unsigned_as_it_was_at_the_event() {
    let server = SERVER.get();
    let (alice, bob) = people(&server).await;
    let room = room_with(&alice, "shared").await;
    let before = alice.send_text(&room, "before").await;
    alice.invite(&room, &bob).await;
    let invited = alice.send_text(&room, "invited").await;
    bob.join(&room).await;
    let joined = alice.send_text(&room, "joined").await;
    let history = bob.whole_history(&room, 50).await;
    for (id, membership) in [(before, "leave"), (invited, "invite"), (joined, "join")] {
        let event = find_event(&history, &id).expect("seen");
        let shown = &event["unsigned"]["membership"];
        // "Homeservers SHOULD populate this property wherever practical".
        assert!(*shown == Value::Null || shown == membership, "{event}");
    }
}
