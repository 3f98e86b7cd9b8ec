//! Client-Server API, "Syncing": `join`, `invite`, `knock` and `leave`; "Room History Visibility".

use super::*;

#[tokio::test]
async fn a_room_joined_since_comes_whole_as_far_as_it_is_visible() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let open = server.room(&alice, "shared").await;
    let closed = server.room(&alice, "joined").await;
    let start = server.sync(&bob, now(None)).await;
    for room in [&open, &closed] {
        server.say(room, &alice, "before").await;
        server.join(room, &bob).await;
        server.say(room, &alice, "after").await;
    }
    let answer = server.sync(&bob, now(Some(token(&start)))).await;
    assert_eq!(said(&answer, &open), ["before", "after"]);
    assert_eq!(said(&answer, &closed), ["after"]);
    let filter = json!({ "room": { "timeline": { "limit": 2 } } });
    let answer = server.sync(&bob, filtered(Some(token(&start)), &filter)).await;
    assert_eq!(said(&answer, &closed), ["after"]);
    let state = keys(&joined(&answer, &closed)["state"]["events"]);
    assert!(state.contains(&("m.room.create", "")) && state.contains(&("m.room.power_levels", "")), "{state:?}");
    let again = server.sync(&bob, now(Some(token(&answer)))).await;
    assert_eq!(again.get("rooms"), None);
}

#[tokio::test]
async fn a_left_room_comes_once_up_to_the_leaving() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let room = server.room(&alice, "shared").await;
    server.join(&room, &bob).await;
    let start = server.sync(&bob, now(None)).await;
    server.say(&room, &alice, "before").await;
    server.set(&room, &alice, "m.room.topic", "", json!({ "topic": "seen" })).await;
    server.member(&room, &bob, &bob, "leave").await;
    server.say(&room, &alice, "after").await;
    server.set(&room, &alice, "m.room.topic", "", json!({ "topic": "unseen" })).await;
    let answer = server.sync(&bob, now(Some(token(&start)))).await;
    assert_eq!(joined(&answer, &room), &Value::Null);
    let left = &answer["rooms"]["leave"][room.room_id.as_str()];
    let events = left["timeline"]["events"].as_array().unwrap();
    assert_eq!(events.len(), 3, "{events:?}");
    assert_eq!(events[0]["content"]["body"], "before");
    assert_eq!(events[1]["content"]["topic"], "seen");
    assert_eq!(events[2]["content"]["membership"], "leave");
    assert!(!answer.to_string().contains("unseen"));

    assert_eq!(server.sync(&bob, now(Some(token(&answer)))).await.get("rooms"), None);
    assert_eq!(server.sync(&bob, now(None)).await.get("rooms"), None);
    let filter = json!({ "room": { "include_leave": true } });
    let answer = server.sync(&bob, filtered(None, &filter)).await;
    let left = &answer["rooms"]["leave"][room.room_id.as_str()];
    assert_eq!(left["timeline"]["events"].as_array().unwrap().last().unwrap()["content"]["membership"], "leave");
    assert!(!answer.to_string().contains("unseen"));
}

#[tokio::test]
async fn left_and_joined_again_in_one_step_is_joined_anew() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let room = server.room(&alice, "joined").await;
    server.join(&room, &bob).await;
    let start = server.sync(&bob, now(None)).await;
    server.member(&room, &bob, &bob, "leave").await;
    server.say(&room, &alice, "behind bob's back").await;
    server.join(&room, &bob).await;
    let filter = json!({ "room": { "timeline": { "limit": 2 } } });
    let answer = server.sync(&bob, filtered(Some(token(&start)), &filter)).await;
    assert_eq!(answer["rooms"].get("leave"), None);
    assert_eq!(said(&answer, &room), Vec::<&str>::new());
    assert!(keys(&joined(&answer, &room)["state"]["events"]).contains(&("m.room.create", "")));
}

#[tokio::test]
async fn a_banned_member_learns_of_the_ban() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let room = server.room(&alice, "shared").await;
    server.join(&room, &bob).await;
    let start = server.sync(&bob, now(None)).await;
    server.member(&room, &alice, &bob, "ban").await;
    let answer = server.sync(&bob, now(Some(token(&start)))).await;
    let events = &answer["rooms"]["leave"][room.room_id.as_str()]["timeline"]["events"];
    assert_eq!(events[0]["content"]["membership"], "ban");
}

#[tokio::test]
async fn an_invitation_comes_with_stripped_state_and_goes_with_its_refusal() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let room = server.room(&alice, "invited").await;
    server.set(&room, &alice, "m.room.name", "", json!({ "name": "tea" })).await;
    let start = server.sync(&bob, now(None)).await;
    server.member(&room, &alice, &bob, "invite").await;
    let answer = server.sync(&bob, now(Some(token(&start)))).await;
    let events = &answer["rooms"]["invite"][room.room_id.as_str()]["invite_state"]["events"];
    let told = keys(events);
    for key in [
        ("m.room.create", ""),
        ("m.room.join_rules", ""),
        ("m.room.member", alice.user_id.as_str()),
        ("m.room.member", bob.user_id.as_str()),
        ("m.room.name", ""),
    ] {
        assert!(told.contains(&key), "{key:?} is not in {told:?}");
    }
    assert!(events.as_array().unwrap().iter().all(|event| event.get("event_id").is_none()));
    assert_eq!(server.sync(&bob, now(Some(token(&answer)))).await.get("rooms"), None);
    assert!(server.sync(&bob, now(None)).await["rooms"]["invite"].is_object());

    server.member(&room, &bob, &bob, "leave").await;
    let refused = server.sync(&bob, now(Some(token(&answer)))).await;
    let left = &refused["rooms"]["leave"][room.room_id.as_str()];
    let events = left["timeline"]["events"].as_array().unwrap();
    assert_eq!(events.last().unwrap()["content"]["membership"], "leave");
    assert_eq!(left["state"], json!({ "events": [] }), "who was never in the room is told no state");
}

#[tokio::test]
async fn an_ignored_user_invites_in_vain() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let room = server.room(&alice, "shared").await;
    let list = json!({ "ignored_users": { alice.user_id.as_str(): {} } });
    server.account_data(&bob, None, "m.ignored_user_list", list).await;
    server.member(&room, &alice, &bob, "invite").await;
    assert_eq!(server.sync(&bob, now(None)).await.get("rooms"), None);
}

#[tokio::test]
async fn a_knock_comes_in_its_own_section() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let room = server.room(&alice, "shared").await;
    server.set(&room, &alice, "m.room.join_rules", "", json!({ "join_rule": "knock" })).await;
    let start = server.sync(&bob, now(None)).await;
    server.member(&room, &bob, &bob, "knock").await;
    let answer = server.sync(&bob, now(Some(token(&start)))).await;
    let events = &answer["rooms"]["knock"][room.room_id.as_str()]["knock_state"]["events"];
    assert!(keys(events).contains(&("m.room.member", bob.user_id.as_str())));
}

#[tokio::test]
async fn a_forgotten_room_is_gone() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let room = server.room(&alice, "shared").await;
    server.join(&room, &bob).await;
    let start = server.sync(&bob, now(None)).await;
    server.member(&room, &bob, &bob, "leave").await;
    let (user, nid) = (bob.user, room.nid);
    server.write(move |tx| members::forget(tx, user, nid, tx.next_position())).await;
    let filter = json!({ "room": { "include_leave": true } });
    assert_eq!(server.sync(&bob, filtered(None, &filter)).await.get("rooms"), None);
    assert_eq!(server.sync(&bob, now(Some(token(&start)))).await.get("rooms"), None);
}
