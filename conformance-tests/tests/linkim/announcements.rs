//! Announcements: what members read and confirm, what the owner and the admins see of it, what plain clients see.

use conformance_tests::{Client, Sync, event_ids, path, room_in, v3};
use serde_json::{Value, json};

use crate::{
    SERVER,
    groups::{Group, group, names, people, text},
};

const NOTICE: &str = "org.linkim.group.notice";

async fn announce(by: &Client, group: &Group, text: &str, more: Value) -> Value {
    let mut body = json!({ "group_id": group.id, "new_notice": text });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    by.put("/group/notice", body).await.done()["detail"].clone()
}

async fn notice(by: &Client, group: &Group) -> Value {
    by.get(&path!("/group/notice?group_id={}", group.id)).await.done()
}

async fn confirm(by: &Client, group: &Group) -> String {
    let body = json!({ "group_id": group.id });
    text(&by.post("/group/notice/confirm", body).await.done(), "event_id")
}

/// The names of those in a state, and the counts: read, unread, confirmed, unconfirmed.
async fn readers(by: &Client, group: &Group, state: &str) -> (Vec<String>, [i64; 4]) {
    let page = by.get(&path!("/group/notice/readers?group_id={}&state={}", group.id, state)).await.done();
    let count = |key: &str| page[key].as_i64().unwrap_or_else(|| panic!("no {key} in {page}"));
    let found = names(&page["detail"]).into_iter().map(str::to_owned).collect();
    (found, [count("read_count"), count("unread_count"), count("confirmed_count"), count("unconfirmed_count")])
}

async fn pinned(by: &Client, group: &Group) -> Value {
    by.state(&group.room, "m.room.pinned_events", "").await["pinned"].clone()
}

async fn make_admin(owner: &Client, group: &Group, user: &Client) {
    owner.put("/group/promote/admin", json!({ "group_id": group.id, "user_id": user.user_id })).await.done();
}

async fn read_to(by: &Client, room: &str, event: &str) {
    by.post(&v3!("/rooms/{}/receipt/m.read/{}", room, event), json!({})).await.ok();
}

fn counts_of(answer: &Value, room: &str) -> Value {
    room_in(answer, "join", room)["unread_notifications"]["notification_count"].clone()
}

#[tokio::test]
async fn an_announcement_is_posted_and_pinned() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let empty = notice(&bob, &group).await;
    assert_eq!((&empty["notice"], &empty["detail"]), (&json!(""), &Value::Null));

    bob.send_text(&group.room, "before").await;
    let made = announce(&alice, &group, "Moving on Monday", json!({})).await;
    let post = text(&made, "event_id");
    for reader in [&alice, &bob] {
        let seen = notice(reader, &group).await;
        assert_eq!(seen["notice"], "Moving on Monday");
        let detail = &seen["detail"];
        assert_eq!([&detail["author"]["matrix_id"], &detail["event_id"]], [&json!(alice.user_id), &json!(post)]);
        assert_eq!([&detail["must_confirm"], &detail["confirmed"]], [&json!(false), &json!(false)]);
        assert_eq!(detail["message_id_str"], detail["message_id"].as_i64().expect("a number").to_string());
    }
    // What a plain client sees.
    let event = bob.event(&group.room, &post).await;
    assert_eq!([&event["type"], &event["sender"]], [&json!("m.room.message"), &json!(alice.user_id)]);
    assert_eq!(
        [&event["content"]["msgtype"], &event["content"]["body"]],
        [&json!("m.text"), &json!("Moving on Monday")]
    );
    assert_eq!(pinned(&bob, &group).await, json!([post]));
    let state = bob.state(&group.room, NOTICE, "").await;
    assert_eq!([&state["text"], &state["event_id"]], [&json!("Moving on Monday"), &json!(post)]);

    // The next one takes its place; what else is pinned stays.
    let other = bob.send_text(&group.room, "keep this").await;
    alice.set_state(&group.room, "m.room.pinned_events", "", json!({ "pinned": [other, post] })).await;
    let next = announce(&alice, &group, "Moving on Tuesday", json!({})).await;
    assert_eq!(pinned(&bob, &group).await, json!([next["event_id"], other]));
    assert_eq!(notice(&bob, &group).await["notice"], "Moving on Tuesday");

    assert_eq!(announce(&alice, &group, "", json!({})).await, Value::Null);
    assert_eq!(notice(&bob, &group).await["detail"], Value::Null);
    assert_eq!(pinned(&bob, &group).await, json!([other]));
}

/// The post, the state event that names it and the pin are one write: all of it, or nothing.
#[tokio::test]
async fn an_announcement_is_there_whole_or_not_at_all() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    make_admin(&alice, &group, &bob).await;
    let made = announce(&bob, &group, "whole", json!({})).await;
    let post = text(&made, "event_id");
    let history = carol.whole_history(&group.room, 100).await;
    let kinds: Vec<_> = history[history.len() - 3..].iter().map(|event| &event["type"]).collect();
    assert_eq!(kinds, ["m.room.message", NOTICE, "m.room.pinned_events"]);
    assert_eq!(history[history.len() - 3]["event_id"], post);
    assert_eq!(history[history.len() - 2]["content"]["event_id"], post);
    assert_eq!(pinned(&carol, &group).await, json!([post]));

    alice.change_power_levels(&group.room, json!({ "events": { "m.room.pinned_events": 100 } })).await;
    let before = carol.whole_history(&group.room, 100).await;
    bob.put("/group/notice", json!({ "group_id": group.id, "new_notice": "half" })).await.refused(403, 1002);
    assert_eq!(event_ids(&carol.whole_history(&group.room, 100).await), event_ids(&before));
    assert_eq!(notice(&carol, &group).await["notice"], "whole");
}

#[tokio::test]
async fn who_may_announce_what() {
    let server = SERVER.get();
    let [alice, bob, carol, eve] = people(&server, ["alice", "bob", "carol", "eve"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let body = |text: &str| json!({ "group_id": group.id, "new_notice": text });
    bob.put("/group/notice", body("mine")).await.refused(403, 1002);
    eve.put("/group/notice", body("mine")).await.refused(403, 1203);
    eve.get(&path!("/group/notice?group_id={}", group.id)).await.refused(403, 1203);
    eve.get(&path!("/group/notice/history?group_id={}", group.id)).await.refused(403, 1203);
    alice.put("/group/notice", body(&"字".repeat(5_001))).await.refused(400, 1001);
    let named = json!({ "group_id": group.id, "new_notice": "x", "executor_id": bob.user_id });
    alice.put("/group/notice", named).await.refused(403, 1002);
    alice.put("/group/notice", json!({ "group_id": group.id })).await.refused(400, 1001);
    let nowhere = json!({ "group_id": "!nowhere:x", "new_notice": "x" });
    alice.put("/group/notice", nowhere).await.refused(404, 1201);
    let edit = json!({ "group_id": group.id, "new_notice": "x", "edit": true });
    alice.put("/group/notice", edit).await.refused(404, 1004);
    assert_eq!(notice(&bob, &group).await["detail"], Value::Null);

    let long = "字".repeat(5_000);
    announce(&alice, &group, &long, json!({ "must_confirm": true })).await;
    announce(&alice, &group, &long, json!({ "edit": true })).await;
    assert_eq!(notice(&bob, &group).await["notice"], long);
    make_admin(&alice, &group, &bob).await;
    announce(&bob, &group, "of an admin", json!({})).await;
    alice
        .put("/group/mute/member", json!({ "group_id": group.id, "user_id": bob.user_id, "seconds": 600 }))
        .await
        .done();
    bob.put("/group/notice", body("muted")).await.refused(403, 1002);
    assert_eq!(notice(&carol, &group).await["notice"], "of an admin");
    // A muted group's admins announce.
    alice.put("/group/mute/all", json!({ "group_id": group.id, "mute": true })).await.done();
    announce(&alice, &group, "silence", json!({})).await;
}

#[tokio::test]
async fn an_edit_is_in_place_for_the_author_and_a_new_post_for_others() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    make_admin(&alice, &group, &bob).await;
    let first = announce(&alice, &group, "one", json!({ "must_confirm": true })).await;
    confirm(&carol, &group).await;
    let changed = announce(&alice, &group, "two", json!({ "edit": true })).await;
    assert_eq!(changed["event_id"], first["event_id"]);
    assert_eq!([&changed["must_confirm"], &changed["created_ts"]], [&json!(true), &first["created_ts"]]);
    assert!(changed["edited_ts"].is_i64(), "{changed}");
    assert_eq!(notice(&carol, &group).await["detail"]["confirmed"], true);
    let event = carol.event(&group.room, &text(&first, "event_id")).await;
    let replaced = &event["unsigned"]["m.relations"]["m.replace"]["content"]["m.new_content"];
    assert!(replaced["body"].as_str().is_some_and(|body| body.starts_with("two")), "{event}");

    let by_bob = announce(&bob, &group, "three", json!({ "edit": true, "must_confirm": false })).await;
    assert_ne!(by_bob["event_id"], first["event_id"]);
    assert_eq!(pinned(&carol, &group).await, json!([by_bob["event_id"]]));
    assert_eq!(notice(&carol, &group).await["detail"]["confirmed"], false);

    let page = |more: String| {
        let path = format!("{}{more}", path!("/group/notice/history?group_id={}&page_size=2", group.id));
        let carol = &carol;
        async move { carol.get(&path).await }
    };
    let newest = page(String::new()).await.done();
    let texts = |page: &Value| -> Vec<String> {
        page["detail"].as_array().expect("a list").iter().map(|notice| text(notice, "text")).collect()
    };
    assert_eq!((texts(&newest), &newest["has_more"]), (vec!["three".to_owned(), "two".to_owned()], &json!(true)));
    let cursor = text(&newest["detail"][1], "notice_id_str");
    let rest = page(format!("&last_notice_id={cursor}")).await.done();
    assert_eq!((texts(&rest), &rest["has_more"]), (vec!["one".to_owned()], &json!(false)));
    page("&last_notice_id=1".into()).await.refused(404, 1004);
    page("&page_size=0".into()).await.refused(400, 1001);

    // The post withdrawn, there is no announcement.
    alice.redact(&group.room, &text(&by_bob, "event_id"), json!({})).await;
    assert_eq!(notice(&carol, &group).await["detail"], Value::Null);
    alice.get(&path!("/group/notice/readers?group_id={}&state=read", group.id)).await.refused(404, 1004);
}

#[tokio::test]
async fn members_confirm_once_and_nobody_is_disturbed() {
    let server = SERVER.get();
    let [alice, bob, carol, eve] = people(&server, ["alice", "bob", "carol", "eve"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let body = json!({ "group_id": group.id });
    bob.post("/group/notice/confirm", body.clone()).await.refused(404, 1004);
    announce(&alice, &group, "no need", json!({})).await;
    bob.post("/group/notice/confirm", body.clone()).await.refused(400, 1001);
    let old = announce(&alice, &group, "please", json!({ "must_confirm": true })).await;
    let made = announce(&alice, &group, "now", json!({ "must_confirm": true })).await;
    let of = |notice: &Value| json!({ "group_id": group.id, "message_id": notice["message_id"] });
    bob.post("/group/notice/confirm", of(&old)).await.refused(404, 1004);
    eve.post("/group/notice/confirm", body.clone()).await.refused(403, 1203);

    // Who is muted may, and stays unread where they were.
    alice
        .put("/group/mute/member", json!({ "group_id": group.id, "user_id": bob.user_id, "seconds": 600 }))
        .await
        .done();
    let unread = counts_of(&bob.sync(Sync::initial()).await, &group.room);
    let carols = counts_of(&carol.sync(Sync::initial()).await, &group.room);
    let first = text(&bob.post("/group/notice/confirm", of(&made)).await.done(), "event_id");
    assert_eq!(confirm(&bob, &group).await, first);
    assert_eq!(counts_of(&bob.sync(Sync::initial()).await, &group.room), unread);
    assert_eq!(counts_of(&carol.sync(Sync::initial()).await, &group.room), carols);
    let event = alice.event(&group.room, &first).await;
    assert_eq!([&event["type"], &event["sender"]], [&json!("org.linkim.group.confirm"), &json!(bob.user_id)]);
    let relation = json!({ "rel_type": "m.reference", "event_id": made["event_id"] });
    assert_eq!(event["content"], json!({ "m.relates_to": relation }));
    assert_eq!(notice(&bob, &group).await["detail"]["confirmed"], true);

    // Two devices at once: one confirmation.
    let again = server.new_device(&carol).await;
    let (one, two) = tokio::join!(confirm(&carol, &group), confirm(&again, &group));
    assert_eq!(one, two);
    assert_eq!(readers(&alice, &group, "confirmed").await.1, [2, 0, 2, 0]);
    alice.put("/group/mute/member", json!({ "group_id": group.id, "user_id": bob.user_id, "seconds": 0 })).await.done();
    bob.redact(&group.room, &first, json!({})).await;
    assert_eq!(readers(&alice, &group, "confirmed").await.0, std::slice::from_ref(&carol.user_id));
}

#[tokio::test]
async fn a_check_mark_of_a_plain_client_confirms() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let made = announce(&alice, &group, "please", json!({ "must_confirm": true })).await;
    let post = text(&made, "event_id");
    let body = text(&bob.event(&group.room, &post).await["content"], "body");
    assert!(body.contains('✅'), "plain clients are told how: {body}");
    let relation = |key: &str| json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": post, "key": key } });
    bob.send(&group.room, "m.reaction", relation("👍")).await;
    assert_eq!(readers(&alice, &group, "confirmed").await.0, [""; 0]);
    let check = bob.send(&group.room, "m.reaction", relation("✅\u{fe0f}")).await;
    let (confirmed, counts) = readers(&alice, &group, "confirmed").await;
    assert_eq!((confirmed, counts), (vec![bob.user_id.clone()], [1, 1, 1, 1]));
    assert_eq!(readers(&alice, &group, "unconfirmed").await.0, std::slice::from_ref(&carol.user_id));
    assert_eq!(notice(&bob, &group).await["detail"]["confirmed"], true);
    bob.redact(&group.room, &check, json!({})).await;
    assert_eq!(readers(&alice, &group, "confirmed").await.1[2], 0);
    assert_eq!(notice(&bob, &group).await["detail"]["confirmed"], false);
}

#[tokio::test]
async fn the_lists_are_for_the_owner_and_the_admins() {
    let server = SERVER.get();
    let [alice, bob, carol, dave] = people(&server, ["alice", "bob", "carol", "dave"]).await;
    let group = group(&alice, &[&bob, &carol, &dave]).await;
    let list = |by: &Client, more: &str| {
        let by = by.clone();
        let path = format!("{}{more}", path!("/group/notice/readers?group_id={}", group.id));
        async move { by.get(&path).await }
    };
    list(&alice, "&state=read").await.refused(404, 1004);
    bob.put("/group/nickname", json!({ "group_id": group.id, "new_name": "Bobby" })).await.done();
    let earlier = bob.send_text(&group.room, "before").await;
    let made = announce(&alice, &group, "please", json!({ "must_confirm": true })).await;
    let post = text(&made, "event_id");
    read_to(&bob, &group.room, &earlier).await;
    assert_eq!(readers(&alice, &group, "read").await.1, [0, 3, 0, 3]);
    read_to(&bob, &group.room, &post).await;
    let after = alice.send_text(&group.room, "after").await;
    read_to(&carol, &group.room, &after).await;
    // A private receipt tells nobody.
    dave.post(&v3!("/rooms/{}/receipt/m.read.private/{}", group.room, after), json!({})).await.ok();
    let (read, counts) = readers(&alice, &group, "read").await;
    assert_eq!((read, counts), (vec![bob.user_id.clone(), carol.user_id.clone()], [2, 1, 0, 3]));
    assert_eq!(readers(&alice, &group, "unread").await.0, std::slice::from_ref(&dave.user_id));

    let first = list(&alice, "&state=read&page_size=1").await.done();
    assert_eq!((names(&first["detail"]), &first["has_more"]), (vec![&*bob.user_id], &json!(true)));
    assert_eq!(first["detail"][0]["nickname"], "Bobby");
    assert!(first["detail"][0]["state_ts"].as_i64().is_some_and(|time| time > 1_600_000_000_000), "{first}");
    let next = text(&first["detail"][0], "user_id_str");
    let rest = list(&alice, &format!("&state=read&page_size=1&last_user_id={next}")).await.done();
    assert_eq!((names(&rest["detail"]), &rest["has_more"]), (vec![&*carol.user_id], &json!(false)));

    list(&bob, "&state=read").await.refused(403, 1002);
    list(&alice, "&state=seen").await.refused(400, 1001);
    list(&alice, "").await.refused(400, 1001);
    list(&alice, "&state=read&page_size=0").await.refused(400, 1001);
    list(&alice, "&state=read&last_user_id=%40nobody%3Ax").await.refused(404, 1004);
    list(&alice, &format!("&state=read&message_id={}", conformance_tests::encode(&after))).await.refused(404, 1004);
    make_admin(&alice, &group, &bob).await;
    list(&bob, "&state=read").await.done();

    // An earlier announcement's list stays.
    announce(&alice, &group, "another", json!({})).await;
    let old = list(&alice, &format!("&state=read&message_id={}", made["message_id"])).await.done();
    assert_eq!(old["read_count"], 2);
    assert_eq!(readers(&alice, &group, "read").await.1, [0, 3, 0, 3]);
}

#[tokio::test]
async fn who_comes_later_reads_the_current_one() {
    let server = SERVER.get();
    let [alice, bob, carol, eve] = people(&server, ["alice", "bob", "carol", "eve"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    alice.set_state(&group.room, "m.room.history_visibility", "", json!({ "history_visibility": "joined" })).await;
    announce(&alice, &group, "old", json!({})).await;
    let made = announce(&alice, &group, "current", json!({ "must_confirm": true })).await;
    alice.post("/group/invite", json!({ "group_id": group.id, "user_ids": [eve.user_id] })).await.done();
    assert_eq!(notice(&eve, &group).await["notice"], "current");
    let history = eve.get(&path!("/group/notice/history?group_id={}", group.id)).await.done();
    assert_eq!(history["detail"], json!([]));
    confirm(&eve, &group).await;
    assert_eq!(readers(&alice, &group, "confirmed").await.0, std::slice::from_ref(&eve.user_id));
    eve.get(&v3!("/rooms/{}/event/{}", group.room, text(&made, "event_id"))).await.expect_status(404);
}
