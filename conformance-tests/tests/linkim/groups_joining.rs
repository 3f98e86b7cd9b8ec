//! Coming into groups: adding, inviting, asking.

use conformance_tests::{Client, Reply, Sync, path, unique, v3};
use serde_json::{Value, json};

use crate::SERVER;
use crate::friends::befriend;
use crate::groups::{Group, group, names, people, role, roles};

async fn requests(by: &Client, group: &Group, query: &str) -> Vec<Value> {
    let answer = by.get(&(path!("/group/requests?group_id={}", group.id) + query)).await.done();
    answer["detail"].as_array().expect("a list").clone()
}

async fn handle(by: &Client, group: &Group, on: &Client, result: i64) -> Reply {
    let body = json!({ "group_id": group.id, "user_id": on.user_id, "result": result, "text": "well" });
    by.put("/group/requests/handle", body).await
}

async fn set_mode(by: &Client, group: &Group, mode: i64) {
    by.put("/group/joinmode", json!({ "group_id": group.id, "join_mode": mode })).await.done();
}

#[tokio::test]
async fn members_add_others_at_once() {
    let server = SERVER.get();
    let [alice, bob, carol, dave, eve] = people(&server, ["alice", "bob", "carol", "dave", "eve"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let list = v3!("/user/{}/account_data/m.invite_permission_config", eve.user_id);
    eve.put(&list, json!({ "default_action": "block" })).await.ok();
    let body = json!({ "group_id": group.id, "user_ids": [dave.user_id, bob.user_id, eve.user_id] });
    let added = bob.post("/group/invite", body).await.done();
    assert_eq!(names(&added["added"]), [&dave.user_id]);
    assert_eq!(names(&added["refused"]), [&bob.user_id, &eve.user_id]);
    assert_eq!(role(&dave, &group, &dave).await, "member");
    let members = alice.get(&path!("/group/members?group_id={}", group.id)).await.done();
    let dave = members["detail"].as_array().into_iter().flatten().find(|member| member["matrix_id"] == dave.user_id);
    let dave = dave.expect("dave");
    assert_eq!((&dave["inviter_matrix_id"], &dave["join_source"]), (&json!(bob.user_id), &json!(2)));
    let many: Vec<_> = (0..1001).collect();
    bob.post("/group/invite", json!({ "group_id": group.id, "user_ids": many })).await.refused(400, 1001);
    let nobody = json!({ "group_id": group.id, "user_ids": ["@nobody:a.example"] });
    bob.post("/group/invite", nobody).await.refused(404, 1101);
}

#[tokio::test]
async fn who_asks_is_let_in_by_an_admin_once() {
    let server = SERVER.get();
    let [alice, bob, carol, dave, eve] = people(&server, ["alice", "bob", "carol", "dave", "eve"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let ask = json!({ "group_id": group.id, "text": "please", "join_source": 4 });
    assert_eq!(dave.post("/group/join", ask).await.done()["joined"], false);
    // A plain client knocks.
    eve.post(&v3!("/knock/{}", group.room), json!({ "reason": "me too" })).await.ok();
    bob.get(&path!("/group/requests?group_id={}", group.id)).await.refused(403, 1002);
    let waiting = requests(&alice, &group, "").await;
    let told: Vec<_> =
        waiting.iter().map(|r| (&r["matrix_id"], &r["text"], &r["join_source"], &r["handled"])).collect();
    assert_eq!(
        told,
        [
            (&json!(dave.user_id), &json!("please"), &json!(4), &json!(0)),
            (&json!(eve.user_id), &json!("me too"), &json!(3), &json!(0)),
        ]
    );
    assert_eq!(requests(&alice, &group, "&page_size=1").await.len(), 1);
    handle(&bob, &group, &dave, 1).await.refused(403, 1002);
    // Nor may a member let somebody in from a plain client.
    let invite = json!({ "user_id": eve.user_id });
    bob.post(&v3!("/rooms/{}/invite", group.room), invite).await.expect_error(403, "M_FORBIDDEN");
    assert_eq!(names(&handle(&alice, &group, &dave, 1).await.done()["added"]), [&dave.user_id]);
    assert_eq!(role(&dave, &group, &dave).await, "member");
    handle(&alice, &group, &dave, 1).await.refused(409, 1206);
    let since = eve.now().await;
    handle(&alice, &group, &eve, -1).await.done();
    let answer = eve.wait_until_sync(&since, |answer| answer["rooms"]["leave"].get(&group.room).is_some()).await;
    assert!(answer.to_string().contains("well"), "{answer}");
    handle(&alice, &group, &eve, -1).await.refused(409, 1206);
    handle(&alice, &group, &bob, 1).await.refused(404, 1004);
    assert!(requests(&alice, &group, "").await.is_empty());
    assert_eq!(requests(&alice, &group, "&handled=1").await[0]["matrix_id"], dave.user_id);
    assert_eq!(requests(&alice, &group, "&handled=-1").await[0]["handle_text"], "well");
    // Rejected, one may ask again.
    eve.post("/group/join", json!({ "group_id": group.id })).await.done();
    handle(&alice, &group, &eve, 1).await.done();
    assert_eq!(roles(&alice, &group).await.len(), 5);
    dave.post("/group/join", json!({ "group_id": group.id })).await.refused(409, 1003);
    dave.post("/group/join", json!({ "group_id": group.id, "join_source": 1 })).await.refused(400, 1001);
    dave.post("/group/join", json!({ "group_id": group.id, "text": "x".repeat(501) })).await.refused(400, 1001);
    let unknown = json!({ "group_id": "0a7c9a4e-9b1f-8c2d-a5e1-3f5b7d9c1e2a" });
    dave.post("/group/join", unknown).await.refused(404, 1201);
    handle(&alice, &group, &eve, 2).await.refused(400, 1001);
}

#[tokio::test]
async fn where_all_need_approval_a_members_invitation_is_a_request() {
    let server = SERVER.get();
    let [alice, bob, carol, dave, eve] = people(&server, ["alice", "bob", "carol", "dave", "eve"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    set_mode(&alice, &group, 1).await;
    let body = json!({ "group_id": group.id, "user_ids": [dave.user_id, eve.user_id], "text": "friends" });
    let answer = bob.post("/group/invite", body).await.done();
    assert_eq!(names(&answer["requested"]), [&dave.user_id, &eve.user_id]);
    let invite = json!({ "user_id": dave.user_id });
    bob.post(&v3!("/rooms/{}/invite", group.room), invite).await.expect_error(403, "M_FORBIDDEN");
    let waiting = requests(&alice, &group, "").await;
    assert_eq!((waiting.len(), &waiting[0]["inviter"]["matrix_id"]), (2, &json!(bob.user_id)));
    handle(&alice, &group, &dave, 1).await.done();
    handle(&alice, &group, &eve, -1).await.done();
    assert_eq!(role(&alice, &group, &dave).await, "member");
    assert_eq!(role(&alice, &group, &eve).await, "");
    handle(&alice, &group, &eve, 1).await.refused(409, 1206);
    // Whom the owner or an admin invites needs no approval.
    let body = json!({ "group_id": group.id, "user_ids": [eve.user_id] });
    assert_eq!(names(&alice.post("/group/invite", body).await.done()["added"]), [&eve.user_id]);
}

#[tokio::test]
async fn an_open_group_is_joined() {
    let server = SERVER.get();
    let [alice, bob, carol, dave, eve] = people(&server, ["alice", "bob", "carol", "dave", "eve"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    eve.post(&v3!("/join/{}", group.room), json!({})).await.expect_error(403, "M_FORBIDDEN");
    set_mode(&alice, &group, 2).await;
    assert_eq!(dave.post("/group/join", json!({ "group_id": group.id })).await.done()["joined"], true);
    eve.join(&group.room).await;
    let late = server.register(&unique("late")).await;
    let body = json!({ "group_id": group.id, "user_ids": [late.user_id] });
    assert_eq!(names(&dave.post("/group/invite", body).await.done()["added"]), [&late.user_id]);
    assert_eq!(roles(&alice, &group).await.len(), 6);
    set_mode(&alice, &group, 0).await;
    assert_eq!(alice.state(&group.room, "m.room.join_rules", "").await["join_rule"], "knock_restricted");
}

/// A join rule that a plain client set hinders nobody from adding members.
#[tokio::test]
async fn members_are_added_whatever_the_join_rule() {
    let server = SERVER.get();
    let [alice, bob, carol, dave, eve] = people(&server, ["alice", "bob", "carol", "dave", "eve"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    for (rule, user) in [("invite", &dave), ("knock", &eve)] {
        alice.set_state(&group.room, "m.room.join_rules", "", json!({ "join_rule": rule })).await;
        let body = json!({ "group_id": group.id, "user_ids": [user.user_id] });
        assert_eq!(names(&bob.post("/group/invite", body).await.done()["added"]), [&user.user_id]);
        assert_eq!(role(user, &group, user).await, "member");
    }
}

/// Who takes no strangers is asked.
#[tokio::test]
async fn who_takes_no_strangers_is_invited() {
    let server = SERVER.get();
    let [alice, bob, carol, dave] = people(&server, ["alice", "bob", "carol", "dave"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let settings = v3!("/user/{}/account_data/org.linkim.settings", dave.user_id);
    dave.put(&settings, json!({ "strangers_may_add": false })).await.ok();
    let body = json!({ "group_id": group.id, "user_ids": [dave.user_id] });
    assert_eq!(names(&bob.post("/group/invite", body).await.done()["invited"]), [&dave.user_id]);
    assert_eq!(dave.post("/group/join", json!({ "group_id": group.id })).await.done()["joined"], true);
    assert_eq!(role(&dave, &group, &dave).await, "member");
}

/// A friend is no stranger: added without being asked, but by nobody else.
#[tokio::test]
async fn a_friend_adds_who_takes_no_strangers() {
    let server = SERVER.get();
    let [alice, bob, carol, dave] = people(&server, ["alice", "bob", "carol", "dave"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    befriend(&bob, &dave).await;
    let settings = v3!("/user/{}/account_data/org.linkim.settings", dave.user_id);
    dave.put(&settings, json!({ "strangers_may_add": false })).await.ok();
    let body = json!({ "group_id": group.id, "user_ids": [dave.user_id] });
    assert_eq!(names(&carol.post("/group/invite", body.clone()).await.done()["invited"]), [&dave.user_id]);
    assert_eq!(names(&bob.post("/group/invite", body).await.done()["added"]), [&dave.user_id]);
    assert_eq!(role(&dave, &group, &dave).await, "member");
}

#[tokio::test]
async fn a_nickname_outlives_a_new_profile() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let (one, two) = (group(&alice, &[&bob, &carol]).await, group(&alice, &[&bob, &carol]).await);
    let body = json!({ "group_id": one.id, "user_id": bob.user_id, "new_name": "Bobby" });
    bob.put("/group/nickname", body).await.done();
    let since = carol.now().await;
    bob.put(&v3!("/profile/{}/displayname", bob.user_id), json!({ "displayname": "Robert" })).await.ok();
    bob.put(&v3!("/profile/{}/avatar_url", bob.user_id), json!({ "avatar_url": "mxc://a.example/b" })).await.ok();
    let named = |name: &'static str, group: Group| {
        let carol = carol.clone();
        let bob = bob.user_id.clone();
        async move {
            conformance_tests::eventually("the profile is in the room", || async {
                let member = carol.state(&group.room, "m.room.member", &bob).await;
                (member["avatar_url"] == "mxc://a.example/b" && member["displayname"] == name).then_some(())
            })
            .await;
        }
    };
    let id = one.id.clone();
    named("Robert", two).await;
    named("Bobby", one).await;
    let _ = carol.sync(Sync::since(&since)).await;
    let data = v3!(
        "/user/{}/rooms/{}",
        bob.user_id,
        bob.get(&path!("/group/info?group_id={}", id)).await.done()["detail"]["room_id"].as_str().expect("a room")
    );
    let kept = bob.get(&format!("{data}/account_data/org.linkim.nickname_override")).await.ok();
    assert_eq!(kept, json!({ "nickname": "Bobby" }));
    let avatar = carol.get_with_body("/group/avatar", json!({ "group_id": id, "platform": 1 })).await.done();
    let first = avatar["detail"]["UserInfo"].as_array().expect("a list");
    assert_eq!(avatar["detail"]["GroupId"], json!(id));
    assert_eq!(
        first.iter().map(|user| &user["matrix_id"]).collect::<Vec<_>>(),
        [&alice.user_id, &bob.user_id, &carol.user_id]
    );
    assert_eq!(first[1]["nickname"], "Bobby");
    for name in ["", "  ", &*"x".repeat(65)] {
        bob.put("/group/nickname", json!({ "group_id": id, "new_name": name })).await.refused(400, 1001);
    }
    bob.put("/group/nickname", json!({ "group_id": id, "user_id": carol.user_id, "new_name": "x" }))
        .await
        .refused(403, 1002);
}
