//! "Room membership": joining, inviting, knocking, restricted joins, leaving, kicking, banning, forgetting.

use conformance_tests::{Client, Server, Sync, find_state_in, membership_of, timeline, unique, v3};
use serde_json::{Value, json};

use crate::SERVER;

async fn membership(client: &Client, room: &str, of: &Client) -> Value {
    client.state(room, "m.room.member", &of.user_id).await["membership"].clone()
}

async fn two(server: &Server) -> (Client, Client) {
    (server.register("alice").await, server.register("bob").await)
}

fn join_rule(rule: Value) -> Value {
    json!([{ "type": "m.room.join_rules", "state_key": "", "content": rule }])
}

#[tokio::test]
async fn anyone_joins_a_public_room_by_id_and_by_alias() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let carol = server.register("carol").await;
    let alias = unique("open");
    let room = alice.create_room(json!({ "preset": "public_chat", "room_alias_name": alias })).await;
    assert_eq!(bob.post(&v3!("/rooms/{}/join", room), json!({})).await.ok()["room_id"], room);
    let by_alias = v3!("/join/{}", format!("#{alias}:{}", server.name()));
    assert_eq!(carol.post(&by_alias, json!({})).await.ok()["room_id"], room);
    let by_id = v3!("/join/{}", room);
    assert_eq!(carol.post(&by_id, json!({})).await.ok()["room_id"], room, "joining twice is no mistake");
    for user in [&bob, &carol] {
        assert_eq!(membership(&alice, &room, user).await, "join");
    }
}

#[tokio::test]
async fn joining_twice_makes_no_second_event() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let since = alice.now().await;
    bob.join(&room).await;
    let after = alice.send_text(&room, "after").await;
    let answer = alice.wait_for_event(&since, &room, &after).await;
    assert_eq!(timeline(&answer, &room).len(), 1, "{answer}");
}

#[tokio::test]
async fn a_join_without_a_body_is_a_join() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.raw(reqwest::Method::POST, &v3!("/join/{}", room), &[], None).await.ok();
    assert_eq!(membership(&alice, &room, &bob).await, "join");
}

#[tokio::test]
async fn nobody_joins_an_invite_only_room_uninvited() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({ "preset": "private_chat" })).await;
    bob.post(&v3!("/rooms/{}/join", room), json!({})).await.expect_error(403, "M_FORBIDDEN");
    let state = alice.get(&v3!("/rooms/{}/state/m.room.member/{}", room, bob.user_id)).await;
    state.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn an_unknown_room_and_an_unknown_alias_cannot_be_joined() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let unknown = alice.post(&v3!("/join/{}", "#no-such-alias:a.example"), json!({})).await;
    unknown.expect_error(404, "M_NOT_FOUND");
    for room in ["!nosuchroom:a.example", "!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let reply = alice.post(&v3!("/rooms/{}/join", room), json!({})).await;
        reply.expect_one_of(&[(404, "M_NOT_FOUND"), (404, "M_UNKNOWN"), (403, "M_FORBIDDEN")]);
    }
    for nonsense in ["nonsense", "@alice:a.example", ""] {
        let reply = alice.post(&v3!("/rooms/{}/join", nonsense), json!({})).await;
        assert!(matches!(reply.status, 400 | 404), "{reply}");
    }
}

#[tokio::test]
async fn the_reason_is_kept_on_every_transition() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({})).await;
    let steps: [(&Client, &str, bool); 7] = [
        (&alice, "invite", true),
        (&bob, "join", false),
        (&alice, "kick", true),
        (&alice, "ban", true),
        (&alice, "unban", true),
        (&alice, "invite", true),
        (&bob, "leave", false),
    ];
    for (number, (actor, step, names_target)) in steps.into_iter().enumerate() {
        let reason = format!("reason {number}");
        let mut body = json!({ "reason": reason });
        if names_target {
            body["user_id"] = json!(bob.user_id);
        }
        actor.post(&v3!("/rooms/{}/{}", room, step), body).await.ok();
        let member = alice.state(&room, "m.room.member", &bob.user_id).await;
        assert_eq!(member["reason"], reason, "{step}: {member}");
    }
}

#[tokio::test]
async fn an_invitation_reaches_the_invited_and_lets_in() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let since = bob.now().await;
    let room = alice.create_room(json!({ "name": "Tea", "topic": "secret" })).await;
    alice.invite(&room, &bob).await;
    let answer = bob.wait_until_sync(&since, |answer| !answer["rooms"]["invite"][&room].is_null()).await;
    let stripped = &answer["rooms"]["invite"][&room]["invite_state"]["events"];
    assert_eq!(find_state_in(stripped, "m.room.name", "").expect("the name")["content"]["name"], "Tea");
    let create = find_state_in(stripped, "m.room.create", "").expect("the create event is required");
    assert_eq!(create["sender"], alice.user_id);
    assert_eq!(find_state_in(stripped, "m.room.join_rules", "").expect("join rules")["content"]["join_rule"], "invite");
    let own = find_state_in(stripped, "m.room.member", &bob.user_id).expect("the invitation itself");
    assert_eq!((&own["content"]["membership"], &own["sender"]), (&json!("invite"), &json!(alice.user_id)));
    for event in stripped.as_array().expect("a list") {
        let mut keys: Vec<&str> = event.as_object().expect("an object").keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["content", "sender", "state_key", "type"], "stripped state has these keys only");
    }
    assert!(answer["rooms"]["join"][&room].is_null(), "{answer}");
    bob.join(&room).await;
    assert_eq!(membership(&alice, &room, &bob).await, "join");
}

#[tokio::test]
async fn inviting_the_invited_again_succeeds() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({})).await;
    alice.invite(&room, &bob).await;
    alice.invite(&room, &bob).await;
    assert_eq!(membership(&alice, &room, &bob).await, "invite");
}

#[tokio::test]
async fn only_members_invite_and_only_those_outside_are_invited() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let carol = server.register("carol").await;
    let room = alice.create_room(json!({})).await;
    let invite = v3!("/rooms/{}/invite", room);
    bob.post(&invite, json!({ "user_id": carol.user_id })).await.expect_error(403, "M_FORBIDDEN");
    alice.invite(&room, &bob).await;
    bob.post(&invite, json!({ "user_id": carol.user_id })).await.expect_error(403, "M_FORBIDDEN");
    bob.join(&room).await;
    alice.post(&invite, json!({ "user_id": bob.user_id })).await.expect_error(403, "M_FORBIDDEN");
    alice.ban(&room, &carol).await;
    alice.post(&invite, json!({ "user_id": carol.user_id })).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn bad_invitations_are_bad_requests() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    for body in [json!({}), json!({ "user_id": 7 }), json!({ "user_id": "bob" }), json!({ "user_id": "@:" })] {
        let reply = alice.post(&v3!("/rooms/{}/invite", room), body).await;
        assert_eq!(reply.status, 400, "{reply}");
    }
}

#[tokio::test]
async fn an_invitation_can_be_rejected_and_withdrawn() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({})).await;
    alice.invite(&room, &bob).await;
    bob.leave(&room).await;
    assert_eq!(membership(&alice, &room, &bob).await, "leave");
    bob.post(&v3!("/rooms/{}/join", room), json!({})).await.expect_error(403, "M_FORBIDDEN");
    alice.invite(&room, &bob).await;
    alice.kick(&room, &bob).await;
    assert_eq!(membership(&alice, &room, &bob).await, "leave");
    bob.post(&v3!("/rooms/{}/join", room), json!({})).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn who_left_hears_nothing_more_and_may_come_back_where_the_rules_allow() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let since = bob.now().await;
    bob.leave(&room).await;
    alice.send_text(&room, "behind your back").await;
    let answer = bob.wait_until_sync(&since, |answer| !answer["rooms"]["leave"][&room].is_null()).await;
    assert_eq!(membership_of(timeline(&answer, &room), &bob.user_id), Some("leave"));
    assert!(!answer.to_string().contains("behind your back"), "{answer}");
    let rooms = bob.get(&v3!("/joined_rooms")).await.ok();
    assert_eq!(rooms["joined_rooms"], json!([]));
    bob.join(&room).await;
    let rooms = bob.get(&v3!("/joined_rooms")).await.ok();
    assert_eq!(rooms["joined_rooms"], json!([room]));
}

#[tokio::test]
async fn leaving_what_one_is_not_in_is_refused() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let reply = bob.post(&v3!("/rooms/{}/leave", room), json!({})).await;
    reply.expect_one_of(&[(403, "M_FORBIDDEN"), (404, "M_NOT_FOUND")]);
    let reply = bob.post(&v3!("/rooms/{}/leave", "!nosuchroom:a.example"), json!({})).await;
    reply.expect_one_of(&[(403, "M_FORBIDDEN"), (404, "M_NOT_FOUND"), (404, "M_UNKNOWN")]);
}

#[tokio::test]
async fn a_kick_needs_power_over_the_kicked() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let carol = server.register("carol").await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    carol.join(&room).await;
    let kick = v3!("/rooms/{}/kick", room);
    bob.post(&kick, json!({ "user_id": carol.user_id })).await.expect_error(403, "M_FORBIDDEN");
    alice.change_power_levels(&room, json!({ "users": { bob.user_id.clone(): 50, carol.user_id.clone(): 50 } })).await;
    bob.post(&kick, json!({ "user_id": carol.user_id })).await.expect_error(403, "M_FORBIDDEN");
    bob.post(&kick, json!({ "user_id": alice.user_id })).await.expect_error(403, "M_FORBIDDEN");
    alice.change_power_levels(&room, json!({ "users": { carol.user_id.clone(): 0 } })).await;
    bob.kick(&room, &carol).await;
    assert_eq!(membership(&alice, &room, &carol).await, "leave");
    bob.post(&kick, json!({ "user_id": carol.user_id })).await.expect_error(403, "M_FORBIDDEN");
    carol.join(&room).await;
}

#[tokio::test]
async fn the_kicked_is_told() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let since = bob.now().await;
    alice.kick(&room, &bob).await;
    let answer = bob.wait_until_sync(&since, |answer| !answer["rooms"]["leave"][&room].is_null()).await;
    let events = timeline(&answer, &room);
    assert_eq!(events.last().expect("the kick")["sender"], alice.user_id);
    assert_eq!(membership_of(events, &bob.user_id), Some("leave"));
}

#[tokio::test]
async fn the_banned_cannot_come_back_until_unbanned() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let since = bob.now().await;
    alice.ban(&room, &bob).await;
    let answer = bob.wait_until_sync(&since, |answer| !answer["rooms"]["leave"][&room].is_null()).await;
    assert_eq!(membership_of(timeline(&answer, &room), &bob.user_id), Some("ban"));
    bob.post(&v3!("/rooms/{}/join", room), json!({})).await.expect_error(403, "M_FORBIDDEN");
    let reply = bob.post(&v3!("/rooms/{}/leave", room), json!({})).await;
    assert_eq!(membership(&alice, &room, &bob).await, "ban", "a ban is not left behind by leaving\n{reply}");
    alice.unban(&room, &bob).await;
    assert_eq!(membership(&alice, &room, &bob).await, "leave");
    bob.join(&room).await;
}

#[tokio::test]
async fn bans_and_their_lifting_need_power() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let carol = server.register("carol").await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    bob.post(&v3!("/rooms/{}/ban", room), json!({ "user_id": carol.user_id })).await.expect_error(403, "M_FORBIDDEN");
    alice.ban(&room, &carol).await;
    bob.post(&v3!("/rooms/{}/unban", room), json!({ "user_id": carol.user_id })).await.expect_error(403, "M_FORBIDDEN");
    carol
        .post(&v3!("/rooms/{}/unban", room), json!({ "user_id": carol.user_id }))
        .await
        .expect_error(403, "M_FORBIDDEN");
    assert_eq!(membership(&alice, &room, &carol).await, "ban");
}

#[tokio::test]
async fn who_is_not_banned_cannot_be_unbanned() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let reply = alice.post(&v3!("/rooms/{}/unban", room), json!({ "user_id": bob.user_id })).await;
    reply.expect_one_of(&[(403, "M_BAD_STATE"), (403, "M_FORBIDDEN"), (400, "M_BAD_STATE")]);
    assert_eq!(membership(&alice, &room, &bob).await, "join", "an unban is never a kick");
}

#[tokio::test]
async fn a_knock_is_shown_to_both_sides_and_may_be_answered() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let body = json!({ "name": "Door", "initial_state": join_rule(json!({ "join_rule": "knock" })) });
    let room = alice.create_room(body).await;
    let (alice_since, bob_since) = (alice.now().await, bob.now().await);
    let knock = bob.post(&v3!("/knock/{}", room), json!({ "reason": "let me in" })).await.ok();
    assert_eq!(knock["room_id"], room);
    let answer = alice
        .wait_until_sync(&alice_since, |answer| membership_of(timeline(answer, &room), &bob.user_id) == Some("knock"))
        .await;
    assert!(answer.to_string().contains("let me in"), "{answer}");
    let answer = bob.wait_until_sync(&bob_since, |answer| !answer["rooms"]["knock"][&room].is_null()).await;
    let stripped = &answer["rooms"]["knock"][&room]["knock_state"]["events"];
    assert!(find_state_in(stripped, "m.room.create", "").is_some(), "required: {stripped}");
    assert_eq!(find_state_in(stripped, "m.room.name", "").expect("the name")["content"]["name"], "Door");
    let own = find_state_in(stripped, "m.room.member", &bob.user_id).expect("the knock itself");
    assert_eq!(own["content"]["membership"], "knock");

    bob.post(&v3!("/rooms/{}/join", room), json!({})).await.expect_error(403, "M_FORBIDDEN");
    alice.invite(&room, &bob).await;
    bob.join(&room).await;
}

#[tokio::test]
async fn a_knock_can_be_withdrawn_and_refused() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({ "initial_state": join_rule(json!({ "join_rule": "knock" })) })).await;
    bob.knock(&room).await;
    bob.leave(&room).await;
    assert_eq!(membership(&alice, &room, &bob).await, "leave");
    bob.knock(&room).await;
    let since = bob.now().await;
    alice.kick(&room, &bob).await;
    bob.wait_until_sync(&since, |answer| !answer["rooms"]["leave"][&room].is_null()).await;
    alice.ban(&room, &bob).await;
    bob.post(&v3!("/knock/{}", room), json!({})).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_knock_is_forbidden_where_the_room_or_its_version_knows_none() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    for body in [json!({ "preset": "private_chat" }), json!({ "preset": "public_chat" })] {
        let room = alice.create_room(body).await;
        bob.post(&v3!("/knock/{}", room), json!({})).await.expect_error(403, "M_FORBIDDEN");
    }
    let older = json!({ "room_version": "6", "initial_state": join_rule(json!({ "join_rule": "knock" })) });
    let room = alice.create_room(older).await;
    bob.post(&v3!("/knock/{}", room), json!({})).await.expect_error(403, "M_FORBIDDEN");
    bob.post(&v3!("/knock/{}", "#no-such-alias:a.example"), json!({})).await.expect_error(404, "M_NOT_FOUND");
}

fn restricted(version: &str, rule: &str, to: &str) -> Value {
    let rule = json!({ "join_rule": rule, "allow": [{ "type": "m.room_membership", "room_id": to }] });
    json!({ "room_version": version, "initial_state": join_rule(rule) })
}

#[tokio::test]
async fn members_of_the_allowed_room_join_a_restricted_one() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    for (version, rule) in
        [("8", "restricted"), ("11", "restricted"), ("10", "knock_restricted"), ("12", "knock_restricted")]
    {
        let space = alice.create_room(json!({ "preset": "public_chat" })).await;
        let room = alice.create_room(restricted(version, rule, &space)).await;
        let join = v3!("/rooms/{}/join", room);
        bob.post(&join, json!({})).await.expect_error(403, "M_FORBIDDEN");
        bob.join(&space).await;
        bob.post(&join, json!({})).await.ok();
        let member = alice.state(&room, "m.room.member", &bob.user_id).await;
        assert_eq!(member["join_authorised_via_users_server"], alice.user_id, "{version} {rule}");
    }
}

#[tokio::test]
async fn who_left_the_allowed_room_may_not_join_the_restricted_one() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let space = alice.create_room(json!({ "preset": "public_chat" })).await;
    let room = alice.create_room(restricted("12", "restricted", &space)).await;
    bob.join(&space).await;
    bob.leave(&space).await;
    bob.post(&v3!("/rooms/{}/join", room), json!({})).await.expect_error(403, "M_FORBIDDEN");
    // An invitation still lets in.
    alice.invite(&room, &bob).await;
    bob.join(&room).await;
}

#[tokio::test]
async fn a_restricted_join_needs_a_member_who_may_invite() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let carol = server.register("carol").await;
    let space = alice.create_room(json!({ "preset": "public_chat" })).await;
    let mut body = restricted("11", "restricted", &space);
    body["power_level_content_override"] = json!({ "invite": 100 });
    let room = alice.create_room(body).await;
    for user in [&bob, &carol] {
        user.join(&space).await;
    }
    bob.join(&room).await;
    // Alice, who alone may invite, is gone.
    alice.leave(&room).await;
    carol.post(&v3!("/rooms/{}/join", room), json!({})).await.expect_one_of(&[
        (403, "M_FORBIDDEN"),
        (400, "M_UNABLE_TO_GRANT_JOIN"),
        (400, "M_UNABLE_TO_AUTHORISE_JOIN"),
    ]);
}

#[tokio::test]
async fn knock_restricted_lets_strangers_knock() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let space = alice.create_room(json!({ "preset": "public_chat" })).await;
    let room = alice.create_room(restricted("12", "knock_restricted", &space)).await;
    bob.knock(&room).await;
    assert_eq!(membership(&alice, &room, &bob).await, "knock");
}

#[tokio::test]
async fn a_joined_room_is_not_forgotten() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    let reply = alice.post(&v3!("/rooms/{}/forget", room), json!({})).await;
    assert_eq!(reply.status, 400, "{reply}");
    alice.send_text(&room, "still here").await;
}

#[tokio::test]
async fn a_forgotten_room_is_gone_for_the_user() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    bob.leave(&room).await;
    bob.messages(&room, &[("dir", "b")]).await;
    bob.forget(&room).await;
    bob.get(&v3!("/rooms/{}/messages?dir=b", room)).await.expect_error(403, "M_FORBIDDEN");
    let include_leave = json!({ "room": { "include_leave": true } });
    let answer = bob.sync(Sync::initial().filter(include_leave)).await;
    assert!(answer["rooms"]["leave"][&room].is_null(), "{answer}");
    // Forgetting is of the past, not of the future.
    bob.join(&room).await;
    bob.messages(&room, &[("dir", "b")]).await;
}

#[tokio::test]
async fn membership_set_as_state_is_the_same_transition() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({})).await;
    let invite = json!({ "membership": "invite" });
    alice.set_state(&room, "m.room.member", &bob.user_id, invite).await;
    bob.set_state(&room, "m.room.member", &bob.user_id, json!({ "membership": "join" })).await;
    bob.send_text(&room, "in").await;
    alice.set_state(&room, "m.room.member", &bob.user_id, json!({ "membership": "ban" })).await;
    let send = v3!("/rooms/{}/send/m.room.message/1", room);
    bob.put(&send, json!({ "msgtype": "m.text", "body": "x" })).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn nobody_sets_anothers_membership_to_join() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let path = v3!("/rooms/{}/state/m.room.member/{}", room, bob.user_id);
    alice.put(&path, json!({ "membership": "join" })).await.expect_error(403, "M_FORBIDDEN");
    for content in [json!({}), json!({ "membership": "dancing" }), json!({ "membership": 7 })] {
        let reply = alice.put(&path, content).await;
        assert!(matches!(reply.status, 400 | 403), "{reply}");
    }
    alice.get(&path).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn joined_rooms_lists_joined_rooms_only() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let joined = alice.create_room(json!({ "preset": "public_chat" })).await;
    let invited = alice.create_room(json!({ "invite": [bob.user_id] })).await;
    let left = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&joined).await;
    bob.join(&left).await;
    bob.leave(&left).await;
    let answer = bob.get(&v3!("/joined_rooms")).await.ok();
    assert_eq!(answer["joined_rooms"], json!([joined]), "invited to {invited}, left {left}");
}
