//! "Profiles".

use conformance_tests::{find_state, timeline, v3};
use serde_json::{Value, json};

use crate::SERVER;

#[tokio::test]
async fn display_name_and_avatar_are_kept_and_readable_by_anyone() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    alice.put(&v3!("/profile/{}/displayname", alice.user_id), json!({ "displayname": "Alice Ω" })).await.ok();
    let avatar = json!({ "avatar_url": "mxc://a.example/abc" });
    alice.put(&v3!("/profile/{}/avatar_url", alice.user_id), avatar.clone()).await.ok();
    assert_eq!(bob.get(&v3!("/profile/{}/displayname", alice.user_id)).await.ok(), json!({ "displayname": "Alice Ω" }));
    assert_eq!(bob.get(&v3!("/profile/{}/avatar_url", alice.user_id)).await.ok(), avatar);
    let whole = json!({ "displayname": "Alice Ω", "avatar_url": "mxc://a.example/abc" });
    assert_eq!(bob.get(&v3!("/profile/{}", alice.user_id)).await.ok(), whole);
}

#[tokio::test]
async fn a_field_that_is_not_set_and_a_user_that_is_not_there_are_not_found() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    alice.get(&v3!("/profile/{}/avatar_url", alice.user_id)).await.expect_error(404, "M_NOT_FOUND");
    alice.get(&v3!("/profile/{}/org.example.none", alice.user_id)).await.expect_error(404, "M_NOT_FOUND");
    alice.get(&v3!("/profile/@nobody-here:a.example")).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn nobody_changes_another_users_profile() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let path = v3!("/profile/{}/displayname", alice.user_id);
    bob.put(&path, json!({ "displayname": "Mallory" })).await.expect_error(403, "M_FORBIDDEN");
    bob.delete(&path, None).await.expect_error(403, "M_FORBIDDEN");
    let reply = alice.get(&path).await;
    assert_ne!(reply.json["displayname"], "Mallory");
}

#[tokio::test]
async fn custom_fields_are_kept_and_deleted() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let time_zone = v3!("/profile/{}/m.tz", alice.user_id);
    alice.put(&time_zone, json!({ "m.tz": "Europe/Berlin" })).await.ok();
    let custom = v3!("/profile/{}/org.example.job", alice.user_id);
    let value = json!({ "org.example.job": { "title": "explorer", "since": 1865 } });
    alice.put(&custom, value.clone()).await.ok();
    assert_eq!(alice.get(&custom).await.ok(), value);
    let whole = alice.get(&v3!("/profile/{}", alice.user_id)).await.ok();
    assert_eq!((&whole["m.tz"], &whole["org.example.job"]), (&json!("Europe/Berlin"), &value["org.example.job"]));
    alice.delete(&custom, None).await.ok();
    alice.delete(&custom, None).await.ok();
    alice.get(&custom).await.expect_error(404, "M_NOT_FOUND");
    assert!(alice.get(&v3!("/profile/{}", alice.user_id)).await.ok()["org.example.job"].is_null());
}

#[tokio::test]
async fn a_deleted_display_name_is_gone() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let path = v3!("/profile/{}/displayname", alice.user_id);
    alice.put(&path, json!({ "displayname": "Alice" })).await.ok();
    alice.delete(&path, None).await.ok();
    alice.get(&path).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn the_limits_of_fields_hold() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let missing = alice.put(&v3!("/profile/{}/org.example.job", alice.user_id), json!({ "other": 1 })).await;
    missing.expect_error(400, "M_MISSING_PARAM");
    let long = format!("org.example.{}", "k".repeat(255));
    let reply = alice.put(&v3!("/profile/{}/{}", alice.user_id, long), json!({ long.clone(): 1 })).await;
    reply.expect_error(400, "M_KEY_TOO_LARGE");
    let reply = alice.put(&v3!("/profile/{}/Not Valid", alice.user_id), json!({ "Not Valid": 1 })).await;
    reply.expect_error(400, "M_INVALID_PARAM");
    let large = json!({ "org.example.large": "x".repeat(65_536) });
    let reply = alice.put(&v3!("/profile/{}/org.example.large", alice.user_id), large).await;
    reply.expect_one_of(&[(400, "M_PROFILE_TOO_LARGE"), (413, "M_TOO_LARGE")]);
    // The limit is of the whole profile: two fields of 40 kB each do not fit.
    for (field, fits) in [("org.example.one", true), ("org.example.two", false)] {
        let reply = alice.put(&v3!("/profile/{}/{}", alice.user_id, field), json!({ field: "x".repeat(40_000) })).await;
        if fits { drop(reply.ok()) } else { drop(reply.expect_error(400, "M_PROFILE_TOO_LARGE")) }
    }
}

#[tokio::test]
async fn mistyped_values_are_refused() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for value in [json!(7), json!({ "a": 1 }), json!(["x"])] {
        let reply = alice.put(&v3!("/profile/{}/displayname", alice.user_id), json!({ "displayname": value })).await;
        assert_eq!(reply.status, 400, "{reply}");
    }
}

#[tokio::test]
async fn a_change_of_the_profile_reaches_the_rooms() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let since = bob.now().await;
    alice.put(&v3!("/profile/{}/displayname", alice.user_id), json!({ "displayname": "Alice Liddell" })).await.ok();
    let answer = bob
        .wait_until_sync(&since, |answer| {
            find_state(timeline(answer, &room), "m.room.member", &alice.user_id).is_some()
        })
        .await;
    let event = find_state(timeline(&answer, &room), "m.room.member", &alice.user_id).expect("found above");
    assert_eq!(event["content"]["displayname"], "Alice Liddell");
    assert_eq!(event["content"]["membership"], "join");
    let previous: &Value = &event["unsigned"]["prev_content"];
    assert_eq!(previous["membership"], "join", "{event}");
}

#[tokio::test]
async fn a_join_and_an_invitation_carry_the_profile() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    bob.put(&v3!("/profile/{}/displayname", bob.user_id), json!({ "displayname": "Bobby" })).await.ok();
    bob.put(&v3!("/profile/{}/avatar_url", bob.user_id), json!({ "avatar_url": "mxc://a.example/bob" })).await.ok();
    let room = alice.create_room(json!({})).await;
    alice.invite(&room, &bob).await;
    assert_eq!(alice.state(&room, "m.room.member", &bob.user_id).await["displayname"], "Bobby");
    bob.join(&room).await;
    let member = alice.state(&room, "m.room.member", &bob.user_id).await;
    assert_eq!((&member["displayname"], &member["avatar_url"]), (&json!("Bobby"), &json!("mxc://a.example/bob")));
}
