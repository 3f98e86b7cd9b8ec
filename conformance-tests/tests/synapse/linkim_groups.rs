//! A user of Synapse, with a plain client, in a group of LinkIM's.

use conformance_tests::{Client, encode, eventually, heard, invited, membership_is, v3};
use serde_json::{Value, json};

use crate::both;

/// A group of alice's with bob, both of LinkIM, into which there, of Synapse, was invited and came. Its UUID and its room.
async fn group(alice: &Client, bob: &Client, there: &Client) -> (String, String) {
    let body = json!({ "user_ids": [bob.user_id, there.user_id], "group_name": "Team" });
    let made = alice.post("/group/create", body).await.done();
    assert_eq!(made["invited"][0]["matrix_id"], there.user_id, "{made}");
    let text = |key: &str| made[key].as_str().expect("a string").to_owned();
    let (id, room) = (text("groupID"), text("room_id"));
    invited(there, &room).await;
    there.join(&room).await;
    for user in [alice, bob] {
        membership_is(user, &room, &there.user_id, "join").await;
    }
    (id, room)
}

async fn level_is(by: &Client, room: &str, user: &Client, level: Value) {
    eventually(&format!("{} is at {level}", user.user_id), || async {
        let levels = by.state(room, "m.room.power_levels", "").await;
        (levels["users"][&user.user_id] == level).then_some(())
    })
    .await;
}

/// What a plain client sends is refused by Synapse itself.
async fn is_refused(user: &Client, room: &str) {
    let path = v3!("/rooms/{}/send/m.room.message/{}", room, user.next_transaction());
    user.put(&path, json!({ "msgtype": "m.text", "body": "muffled" })).await.expect_error(403, "M_FORBIDDEN");
}

/// Waits until `by` sees that exactly these have confirmed the announcement.
async fn confirmed(by: &Client, group: &str, users: &[&Client]) {
    let mut wanted: Vec<_> = users.iter().map(|user| user.user_id.clone()).collect();
    wanted.sort();
    eventually("who confirmed is seen", || async {
        let page = by.get(&format!("/group/notice/readers?group_id={group}&state=confirmed")).await.done();
        let users = page["detail"].as_array().expect("a list").iter();
        let mut found: Vec<_> = users.map(|user| user["matrix_id"].as_str().expect("an id").to_owned()).collect();
        found.sort();
        (found == wanted && page["confirmed_count"] == wanted.len()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_plain_member_talks_is_muted_and_is_removed() {
    let both = both().await;
    let (alice, bob) = (both.linkim.register("alice").await, both.linkim.register("bob").await);
    let there = both.synapse.register("there").await;
    let (id, room) = group(&alice, &bob, &there).await;
    heard(&alice, &room, "welcome", &[&bob, &there]).await;
    heard(&there, &room, "thanks", &[&alice, &bob]).await;
    // What their client shows of the group.
    assert_eq!(there.state(&room, "m.room.name", "").await["name"], "Team");
    let members = alice.get(&format!("/group/members?group_id={id}")).await.done();
    let members = members["detail"].as_array().expect("a list");
    let member = members.iter().find(|member| member["matrix_id"] == there.user_id).expect("the member");
    assert_eq!(member["role"], "member");
    // Their messages count, and theirs is the last one.
    let list = bob.get("/conversations").await.done();
    assert_eq!(list["detail"][0]["last_message"]["content"], "thanks");
    assert_eq!(list["detail"][0]["unread_count"], 2);

    let mute = |seconds: i64| json!({ "group_id": id, "user_id": there.user_id, "seconds": seconds });
    alice.put("/group/mute/member", mute(600)).await.done();
    level_is(&there, &room, &there, json!(-1)).await;
    is_refused(&there, &room).await;
    alice.put("/group/mute/member", mute(0)).await.done();
    level_is(&there, &room, &there, Value::Null).await;
    heard(&there, &room, "again", &[&alice]).await;
    alice.put("/group/mute/member", mute(2)).await.done();
    level_is(&there, &room, &there, json!(-1)).await;
    level_is(&there, &room, &there, Value::Null).await;
    heard(&there, &room, "by itself", &[&alice]).await;

    alice.put("/group/mute/all", json!({ "group_id": id, "mute": true })).await.done();
    eventually("the group is muted there", || async {
        (there.state(&room, "m.room.power_levels", "").await["events_default"] == 50).then_some(())
    })
    .await;
    is_refused(&there, &room).await;
    alice.put("/group/mute/all", json!({ "group_id": id, "mute": false })).await.done();
    eventually("the group is no longer muted there", || async {
        (there.state(&room, "m.room.power_levels", "").await["events_default"] == 0).then_some(())
    })
    .await;

    // What members may not do, theirs may not either.
    let name = v3!("/rooms/{}/state/m.room.name/", room);
    there.put(&name, json!({ "name": "Mine" })).await.expect_error(403, "M_FORBIDDEN");
    there.post(&v3!("/rooms/{}/kick", room), json!({ "user_id": bob.user_id })).await.expect_error(403, "M_FORBIDDEN");

    let since = there.now().await;
    let kick = json!({ "group_id": id, "user_ids": [there.user_id], "reason": "not of the team" });
    alice.delete("/group/kickout", Some(kick)).await.done();
    let answer = there.wait_until_sync(&since, |answer| answer["rooms"]["leave"].get(&room).is_some()).await;
    let events = answer["rooms"]["leave"][&room]["timeline"].to_string();
    assert!(events.contains("not of the team"), "{events}");
    is_refused(&there, &room).await;
}

/// An announcement is a pinned message to them, and a check mark their confirmation.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_plain_member_sees_and_confirms_an_announcement() {
    let both = both().await;
    let (alice, bob) = (both.linkim.register("alice").await, both.linkim.register("bob").await);
    let there = both.synapse.register("there").await;
    let (id, room) = group(&alice, &bob, &there).await;
    let since = there.now().await;
    let body = json!({ "group_id": id, "new_notice": "Moving on Monday", "must_confirm": true });
    let post = alice.put("/group/notice", body).await.done()["detail"]["event_id"].clone();
    let post = post.as_str().expect("an id");
    there.wait_for_event(&since, &room, post).await;
    let shown = there.event(&room, post).await["content"].clone();
    let text = shown["body"].as_str().expect("a text");
    assert!(text.starts_with("Moving on Monday") && text.contains('✅'), "{text}");
    assert_eq!((&shown["msgtype"], &shown["m.mentions"]["room"]), (&json!("m.text"), &json!(true)));
    let pins = |by: Client, wanted: Value| {
        let room = room.clone();
        async move {
            eventually(&format!("pinned are {wanted}"), || async {
                let reply = by.get(&v3!("/rooms/{}/state/m.room.pinned_events/", room)).await;
                (reply.json["pinned"] == wanted).then_some(())
            })
            .await;
        }
    };
    pins(there.clone(), json!([post])).await;

    bob.post("/group/notice/confirm", json!({ "group_id": id })).await.done();
    confirmed(&alice, &id, &[&bob]).await;
    let relation = json!({ "rel_type": "m.annotation", "event_id": post, "key": "✅" });
    let check = there.send(&room, "m.reaction", json!({ "m.relates_to": relation })).await;
    confirmed(&alice, &id, &[&bob, &there]).await;
    there.redact(&room, &check, json!({})).await;
    confirmed(&alice, &id, &[&bob]).await;
    // Their receipt says that they have read it.
    there.post(&v3!("/rooms/{}/receipt/m.read/{}", room, post), json!({})).await.ok();
    eventually("they have read it", || async {
        let page = alice.get(&format!("/group/notice/readers?group_id={id}&state=read")).await.done();
        (page["read_count"] == 2).then_some(())
    })
    .await;

    // Changed: an edit to them. Taken away: no longer pinned.
    let edit = json!({ "group_id": id, "new_notice": "Moving on Tuesday", "edit": true });
    alice.put("/group/notice", edit).await.done();
    eventually("the edit is there", || async {
        let path = format!("/_matrix/client/v1/rooms/{}/relations/{}/m.replace", encode(&room), encode(post));
        let edits = there.get(&path).await.ok()["chunk"].clone();
        let new = edits[0]["content"]["m.new_content"]["body"].as_str()?.to_owned();
        new.starts_with("Moving on Tuesday").then_some(())
    })
    .await;
    alice.put("/group/notice", json!({ "group_id": id, "new_notice": "" })).await.done();
    pins(there.clone(), json!([])).await;
}

/// An admin with a plain client does what admins may; what only LinkIM's calls do, is not theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_plain_admin_acts_by_their_level() {
    let both = both().await;
    let (alice, bob) = (both.linkim.register("alice").await, both.linkim.register("bob").await);
    let there = both.synapse.register("there").await;
    let (id, room) = group(&alice, &bob, &there).await;
    alice.put("/group/promote/admin", json!({ "group_id": id, "user_id": there.user_id })).await.done();
    level_is(&there, &room, &there, json!(50)).await;
    there.set_state(&room, "m.room.name", "", json!({ "name": "Renamed there" })).await;
    eventually("the name is here", || async {
        let name = alice.get(&format!("/group/name?group_id={id}")).await.done();
        (name["name"] == "Renamed there").then_some(())
    })
    .await;
    let levels = there.state(&room, "m.room.power_levels", "").await;
    let path = v3!("/rooms/{}/state/m.room.power_levels/", room);
    there.put(&path, levels).await.expect_error(403, "M_FORBIDDEN");
    there.kick(&room, &bob).await;
    membership_is(&alice, &room, &bob.user_id, "leave").await;
    assert_eq!(bob.get("/groups").await.done()["detail"], json!([]));

    alice.delete("/group/dissolve", Some(json!({ "group_id": id }))).await.done();
    membership_is(&there, &room, &there.user_id, "leave").await;
    is_refused(&there, &room).await;
}
