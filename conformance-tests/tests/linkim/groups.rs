//! Making groups, and what their members read of them.

use conformance_tests::{Client, Server, Sync, path, unique, v3};
use serde_json::{Value, json};

use crate::SERVER;

/// A group with its owner and its members, as tests begin.
pub(crate) struct Group {
    /// Its UUID.
    pub(crate) id: String,
    /// Its room.
    pub(crate) room: String,
}

/// Makes a group of these; all are in it.
pub(crate) async fn group(owner: &Client, others: &[&Client]) -> Group {
    let user_ids: Vec<&str> = others.iter().map(|user| &*user.user_id).collect();
    let made = owner.post("/group/create", json!({ "user_ids": user_ids, "group_name": "Team" })).await.done();
    assert_eq!(names(&made["added"]), user_ids, "{made}");
    Group { id: text(&made, "groupID"), room: text(&made, "room_id") }
}

/// Users of this server.
pub(crate) async fn people<const N: usize>(server: &Server, names: [&str; N]) -> [Client; N] {
    let mut people = Vec::new();
    for name in names {
        people.push(server.register(&unique(name)).await);
    }
    people.try_into().unwrap_or_else(|_| panic!("{N} people"))
}

pub(crate) fn text(answer: &Value, key: &str) -> String {
    answer[key].as_str().unwrap_or_else(|| panic!("no {key} in {answer}")).to_owned()
}

/// The Matrix ids in a list of users.
pub(crate) fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter().map(|user| user["matrix_id"].as_str().unwrap_or_else(|| panic!("no name in {user}"))).collect()
}

/// (id, role) of all members, as `by` sees them.
pub(crate) async fn roles(by: &Client, group: &Group) -> Vec<(String, String)> {
    let members = by.get(&path!("/group/members?group_id={}&page_size=200", group.id)).await.done();
    let members = members["detail"].as_array().expect("a list").iter();
    members.map(|member| (text(member, "matrix_id"), text(member, "role"))).collect()
}

/// The role of one member, as `by` sees it.
pub(crate) async fn role(by: &Client, group: &Group, user: &Client) -> String {
    let roles = roles(by, group).await;
    roles.into_iter().find(|(id, _)| *id == user.user_id).map(|(_, role)| role).unwrap_or_default()
}

#[tokio::test]
async fn a_group_is_a_room_whose_members_were_not_asked() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let made = alice
        .post(
            "/group/create",
            json!({
                "owner_id": alice.number().await, "user_ids": [bob.number().await, carol.user_id, alice.user_id],
                "group_name": "Team", "platform": 1,
            }),
        )
        .await
        .done();
    assert_eq!(made["message"], "Create group ok");
    assert_eq!(made["thread_id_str"], made["thread_id"].to_string());
    let (id, room) = (text(&made, "groupID"), text(&made, "room_id"));
    let info = bob.get(&path!("/group/info?group_id={}", id)).await.done();
    let info = &info["detail"];
    assert_eq!(
        (&info["group_name"], &info["member_count"], &info["role"], &info["owner_id"], &info["join_mode"]),
        (&json!("Team"), &json!(3), &json!("member"), &json!(alice.number().await), &json!(0))
    );
    // By its room's id as well.
    let same = alice.get(&path!("/group/info?group_id={}", room)).await.done();
    assert_eq!((&same["detail"]["group_id"], &same["detail"]["role"]), (&json!(id), &json!("owner")));
    let group = Group { id, room };
    let mut expected = vec![
        (alice.user_id.clone(), "owner".to_owned()),
        (bob.user_id.clone(), "member".to_owned()),
        (carol.user_id.clone(), "member".to_owned()),
    ];
    expected.sort();
    let mut roles = roles(&carol, &group).await;
    roles.sort();
    assert_eq!(roles, expected);
    // Matrix clients have it, and talk in it.
    let joined = bob.get(&v3!("/joined_rooms")).await.ok();
    assert_eq!(joined["joined_rooms"], json!([group.room]));
    let event = carol.send_text(&group.room, "hello").await;
    assert_eq!(bob.event(&group.room, &event).await["content"]["body"], "hello");
    let levels = bob.state(&group.room, "m.room.power_levels", "").await;
    assert_eq!(levels["users"], json!({ &alice.user_id: 100 }));
}

#[tokio::test]
async fn the_servers_own_user_is_not_seen() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let answer = bob.sync(Sync::initial()).await;
    let summary = &answer["rooms"]["join"][&group.room]["summary"];
    assert_eq!(summary["m.joined_member_count"], 3, "{summary}");
    let shown =
        bob.get(&format!("/_matrix/client/v1/room_summary/{}", conformance_tests::encode(&group.room))).await.ok();
    assert_eq!(shown["num_joined_members"], 3, "{shown}");
    let found = bob.post(&v3!("/user_directory/search"), json!({ "search_term": "linkim" })).await.ok();
    assert_eq!(found["results"], json!([]), "{found}");
    // Without a name, the members stand for the room, the server's user not among them.
    alice.set_state(&group.room, "m.room.name", "", json!({})).await;
    let answer = bob.sync(Sync::initial()).await;
    let heroes = &answer["rooms"]["join"][&group.room]["summary"]["m.heroes"];
    assert_eq!(heroes, &json!([alice.user_id, carol.user_id]));
    // Nobody gets its name.
    let taken = json!({ "username": "_linkim2", "password": "p4ssw0rd-x", "auth": { "type": "m.login.dummy" } });
    server.anonymous().post(&v3!("/register"), taken).await.expect_error(400, "M_USER_IN_USE");
}

#[tokio::test]
async fn a_group_begins_with_three() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let create = |body| alice.post("/group/create", body);
    for (users, name) in [
        (json!([]), "Team"),
        (json!([bob.user_id]), "Team"),
        (json!([bob.user_id, bob.user_id, alice.user_id]), "Team"),
        (json!([bob.user_id, carol.user_id]), " "),
        (json!([bob.user_id, carol.user_id]), &*"x".repeat(101)),
    ] {
        create(json!({ "user_ids": users, "group_name": name })).await.refused(400, 1001);
    }
    let two = json!([bob.user_id, carol.user_id]);
    create(json!({ "user_ids": two })).await.refused(400, 1001);
    create(json!({ "user_ids": two, "group_name": "x", "join_mode": 3 })).await.refused(400, 1001);
    create(json!({ "user_ids": [bob.user_id, 9_007_199_254_740_991u64], "group_name": "x" })).await.refused(404, 1101);
    create(json!({ "user_ids": two, "group_name": "x", "owner_id": bob.user_id })).await.refused(403, 1002);
    let many: Vec<_> = (0..1001).collect();
    create(json!({ "user_ids": many, "group_name": "x" })).await.refused(400, 1001);
    server.anonymous().post("/group/create", json!({ "user_ids": two, "group_name": "x" })).await.refused(401, 1507);
}

/// Who has blocked the one who adds them is asked.
#[tokio::test]
async fn who_blocked_the_owner_is_invited() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let list = v3!("/user/{}/account_data/m.ignored_user_list", carol.user_id);
    carol.put(&list, json!({ "ignored_users": { &alice.user_id: {} } })).await.ok();
    let body = json!({ "user_ids": [bob.user_id, carol.user_id], "group_name": "Team" });
    let made = alice.post("/group/create", body).await.done();
    assert_eq!((names(&made["added"]), names(&made["invited"])), (vec![&*bob.user_id], vec![&*carol.user_id]));
    let room = text(&made, "room_id");
    let answer = carol.sync(Sync::initial()).await;
    assert!(answer["rooms"]["invite"].get(&room).is_some(), "{answer}");
    carol.get(&path!("/group/info?group_id={}", room)).await.refused(403, 1203);
    carol.join(&room).await;
    carol.get(&path!("/group/info?group_id={}", room)).await.done();
}

#[tokio::test]
async fn ones_groups_come_in_pages() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(group(&alice, &[&bob, &carol]).await.id);
    }
    // A plain room is none.
    bob.create_room(json!({})).await;
    let first = bob.get("/groups?page_size=2").await.done();
    assert_eq!(first["has_more"], true);
    let last = first["detail"][1]["thread_id"].clone();
    let second = bob.get(&format!("/groups?page_size=2&last_thread_id={last}")).await.done();
    assert_eq!(second["has_more"], false);
    let all = first["detail"].as_array().into_iter().chain(second["detail"].as_array()).flatten();
    let all: Vec<_> = all.map(|group| text(group, "group_id")).collect();
    assert_eq!(all, made);
    bob.get("/groups?last_thread_id=9007199254740991").await.refused(404, 1004);
    bob.get("/groups?page_size=0").await.refused(400, 1001);
    bob.get(&path!("/groups?user_id={}", alice.user_id)).await.refused(403, 1002);
}

#[tokio::test]
async fn members_come_in_pages_by_role_and_keyword() {
    let server = SERVER.get();
    let [alice, bob, carol, dave] = people(&server, ["alice", "bob", "carol", "dave"]).await;
    let group = group(&alice, &[&bob, &carol, &dave]).await;
    let ask = async |query: String| carol.get(&(path!("/group/members?group_id={}", group.id) + &query)).await;
    let mut seen = Vec::new();
    let mut query = "&page_size=3".to_owned();
    loop {
        let page = ask(query).await.done();
        seen.extend(names(&page["detail"]).into_iter().map(str::to_owned));
        assert_eq!(page["has_more"], page["next"].is_i64());
        if page["next"].is_null() {
            break;
        }
        query = format!("&page_size=3&last_user_id={}", page["next"]);
    }
    assert_eq!(seen, [&alice, &bob, &carol, &dave].map(|user| user.user_id.clone()));
    let owner = ask("&role=owner".into()).await.done();
    assert_eq!(names(&owner["detail"]), [&alice.user_id]);
    let named = ask(path!("&keyword={}", "BO")).await.done();
    assert_eq!(names(&named["detail"]), [&bob.user_id]);
    ask("&role=king".into()).await.refused(400, 1001);
    ask("&last_user_id=9007199254740991".into()).await.refused(404, 1004);
}

/// The old LinkIM told anybody, and let anybody add anybody.
#[tokio::test]
async fn weakness_05_a_group_is_for_its_members() {
    let server = SERVER.get();
    let [alice, bob, carol, eve, mallory] = people(&server, ["alice", "bob", "carol", "eve", "mallory"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    for path in ["/group/info", "/group/members", "/group/avatar", "/group/name", "/group/requests"] {
        eve.get(&format!("{path}?group_id={}", group.id)).await.refused(403, 1203);
        eve.get_with_body(path, json!({ "group_id": group.id })).await.refused(403, 1203);
        let unknown = "0a7c9a4e-9b1f-8c2d-a5e1-3f5b7d9c1e2a";
        eve.get(&format!("{path}?group_id={unknown}")).await.refused(404, 1201);
        eve.get(path).await.refused(400, 1001);
    }
    let (id, other) = (&group.id, &mallory.user_id);
    for (path, body) in [
        ("/group/name", json!({ "group_id": id, "new_name": "x" })),
        ("/group/avatar", json!({ "group_id": id, "avatar": "mxc://a.example/x" })),
        ("/group/nickname", json!({ "group_id": id, "new_name": "x" })),
        ("/group/settings", json!({ "group_id": id, "lookMemberInfo": 1 })),
        ("/group/joinmode", json!({ "group_id": id, "join_mode": 2 })),
        ("/group/mute/all", json!({ "group_id": id, "mute": true })),
        ("/group/mute/member", json!({ "group_id": id, "user_id": bob.user_id, "seconds": 60 })),
        ("/group/promote/admin", json!({ "group_id": id, "user_id": bob.user_id })),
        ("/group/promote/owner", json!({ "group_id": id, "user_id": bob.user_id })),
        ("/group/demote/member", json!({ "group_id": id, "user_id": bob.user_id })),
        ("/group/requests/handle", json!({ "group_id": id, "user_id": other, "result": 1 })),
    ] {
        eve.put(path, body).await.refused(403, 1203);
    }
    eve.post("/group/invite", json!({ "group_id": id, "user_ids": [other] })).await.refused(403, 1203);
    eve.post("/group/leave", json!({ "group_id": id })).await.refused(403, 1203);
    let kick = json!({ "group_id": id, "user_ids": [bob.user_id] });
    eve.delete("/group/kickout", Some(kick)).await.refused(403, 1203);
    eve.delete("/group/dissolve", Some(json!({ "group_id": id }))).await.refused(403, 1203);
    assert_eq!(roles(&alice, &group).await.len(), 3);
}
