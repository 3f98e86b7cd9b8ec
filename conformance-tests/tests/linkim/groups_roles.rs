//! The table of what each role may do (spec/decisions/0017-groups.md), through LinkIM's API and from plain Matrix clients.

use conformance_tests::{Client, Reply, Server, eventually, unique, v3};
use serde_json::{Value, json};

use crate::SERVER;
use crate::groups::{Group, group, people, role, roles};

/// A group with two of each role but one owner.
struct Cast {
    group: Group,
    owner: Client,
    admins: [Client; 2],
    members: [Client; 2],
}

async fn cast(server: &Server) -> Cast {
    let [owner, one, two, three, four] = people(server, ["owner", "admin", "admin", "member", "member"]).await;
    let group = group(&owner, &[&one, &two, &three, &four]).await;
    for admin in [&one, &two] {
        owner.put("/group/promote/admin", json!({ "group_id": group.id, "user_id": admin.user_id })).await.done();
    }
    Cast { group, owner, admins: [one, two], members: [three, four] }
}

impl Cast {
    /// Somebody of this role who asks, and somebody else of that role who is asked about. None: there is only one owner.
    fn pair(&self, by: &str, on: &str) -> Option<(&Client, &Client)> {
        let first = |role: &str| match role {
            "owner" => &self.owner,
            "admin" => &self.admins[0],
            _ => &self.members[0],
        };
        let other = match on {
            "owner" if by == "owner" => return None,
            "owner" => &self.owner,
            "admin" => &self.admins[1],
            _ => &self.members[1],
        };
        Some((first(by), other))
    }
}

const ROLES: [&str; 3] = ["owner", "admin", "member"];

/// Whether one of this role may remove, mute or silence one of that.
fn outranks(by: &str, on: &str) -> bool {
    matches!((by, on), ("owner", "admin" | "member") | ("admin", "member"))
}

#[tokio::test]
async fn who_may_remove_and_mute_whom() {
    let server = SERVER.get();
    let cast = cast(&server).await;
    let id = &cast.group.id;
    for by in ROLES {
        for on in ROLES {
            let Some((one, other)) = cast.pair(by, on) else { continue };
            let target = &other.user_id;
            let mute = |seconds: i64| {
                one.put("/group/mute/member", json!({ "group_id": id, "user_id": target, "seconds": seconds }))
            };
            if !outranks(by, on) {
                let kick = json!({ "group_id": id, "executor_id": one.user_id, "user_ids": [target] });
                one.delete("/group/kickout", Some(kick)).await.refused(403, 1002);
                mute(60).await.refused(403, 1002);
                mute(0).await.refused(403, 1002);
                // A plain client of the same user is told the same.
                for verb in ["kick", "ban"] {
                    let path = format!("{}/{verb}", v3!("/rooms/{}", cast.group.room));
                    one.post(&path, json!({ "user_id": target })).await.expect_error(403, "M_FORBIDDEN");
                }
                continue;
            }
            mute(60).await.done();
            assert_eq!(role(one, &cast.group, other).await, on, "a muted {on} is still one");
            mute(0).await.done();
            let kick = json!({ "group_id": id, "user_ids": [target] });
            let kicked = one.delete("/group/kickout", Some(kick)).await.done();
            assert_eq!(kicked["removed"][0]["matrix_id"], *target);
            other.get(&conformance_tests::path!("/group/info?group_id={}", id)).await.refused(403, 1203);
            cast.owner.post("/group/invite", json!({ "group_id": id, "user_ids": [target] })).await.done();
            assert_eq!(
                role(one, &cast.group, other).await,
                "member",
                "who was removed is no admin when they come back"
            );
            if on == "admin" {
                cast.owner.put("/group/promote/admin", json!({ "group_id": id, "user_id": target })).await.done();
            }
        }
    }
    // All or none.
    let both = json!({ "group_id": id, "user_ids": [cast.members[1].user_id, cast.admins[1].user_id] });
    cast.admins[0].delete("/group/kickout", Some(both)).await.refused(403, 1002);
    assert_eq!(role(&cast.owner, &cast.group, &cast.members[1]).await, "member");
    // Who is no member is passed over.
    let nobody = server.register(&unique("nobody")).await;
    let kick = json!({ "group_id": id, "user_ids": [nobody.user_id] });
    assert_eq!(cast.owner.delete("/group/kickout", Some(kick)).await.done()["removed"], json!([]));
    let mute = json!({ "group_id": id, "user_id": nobody.user_id, "seconds": 1 });
    cast.owner.put("/group/mute/member", mute).await.refused(404, 1203);
}

#[tokio::test]
async fn only_the_owner_appoints() {
    let server = SERVER.get();
    let cast = cast(&server).await;
    let id = &cast.group.id;
    let ask = async |by: &Client, path: &str, on: &Client| -> Reply {
        let body = json!({ "group_id": id, "executor_id": by.user_id, "user_id": on.user_id, "platform": 1 });
        by.put(path, body).await
    };
    for by in [&cast.admins[0], &cast.members[0]] {
        for on in [&cast.owner, &cast.admins[1], &cast.members[1], by] {
            for path in ["/group/promote/admin", "/group/demote/member", "/group/promote/owner"] {
                ask(by, path, on).await.refused(403, 1002);
            }
        }
    }
    let levels = cast.admins[0].state(&cast.group.room, "m.room.power_levels", "").await;
    for by in [&cast.admins[0], &cast.members[0]] {
        let path = v3!("/rooms/{}/state/m.room.power_levels", cast.group.room);
        let mut mine = levels.clone();
        mine["users"][&by.user_id] = json!(100);
        by.put(&path, mine).await.expect_error(403, "M_FORBIDDEN");
    }
    // The state by which LinkIM knows owners and mutes is nobody's to write.
    for by in [&cast.owner, &cast.admins[0], &cast.members[0]] {
        for (kind, key) in [("settings", ""), ("status", ""), ("mute", &*format!("_{}", cast.members[1].user_id))] {
            let path = v3!("/rooms/{}/state/{}/{}", cast.group.room, format!("org.linkim.group.{kind}"), key);
            by.put(&path, json!({ "owner": by.user_id })).await.expect_error(403, "M_FORBIDDEN");
        }
    }
    let other = &cast.members[1];
    let made = ask(&cast.owner, "/group/promote/admin", other).await.done();
    assert_eq!(made["userid"], json!(cast.owner.number_of(&other.user_id).await));
    assert_eq!(role(&cast.owner, &cast.group, other).await, "admin");
    ask(&cast.owner, "/group/promote/admin", other).await.refused(409, 1003);
    ask(&cast.owner, "/group/demote/member", other).await.done();
    assert_eq!(role(&cast.owner, &cast.group, other).await, "member");
    ask(&cast.owner, "/group/demote/member", other).await.refused(409, 1003);
    ask(&cast.owner, "/group/demote/member", &cast.owner).await.refused(409, 1003);
    let stranger = server.register(&unique("stranger")).await;
    ask(&cast.owner, "/group/promote/admin", &stranger).await.refused(404, 1203);
}

#[tokio::test]
async fn who_may_edit() {
    let server = SERVER.get();
    let cast = cast(&server).await;
    let id = &cast.group.id;
    for (path, body) in [
        ("/group/name", json!({ "new_name": "Other" })),
        ("/group/avatar", json!({ "avatar": "mxc://a.example/x" })),
        ("/group/settings", json!({ "lookMemberInfo": 1 })),
        ("/group/joinmode", json!({ "join_mode": 1 })),
        ("/group/mute/all", json!({ "mute": true })),
        ("/group/mute/all", json!({ "mute": false })),
    ] {
        let mut body: Value = body;
        body["group_id"] = json!(id);
        cast.members[0].put(path, body.clone()).await.refused(403, 1002);
        cast.admins[0].put(path, body.clone()).await.done();
        cast.owner.put(path, body).await.done();
    }
    let info = cast.members[0].get(&conformance_tests::path!("/group/info?group_id={}", id)).await.done();
    let info = &info["detail"];
    assert_eq!(
        [&info["group_name"], &info["avatar"], &info["lookMemberInfo"], &info["applyMemberFriend"], &info["join_mode"]],
        [&json!("Other"), &json!("mxc://a.example/x"), &json!(1), &json!(0), &json!(1)]
    );
    assert_eq!(info["role"], "member");
    // A plain client sees the same, and its user may as much.
    assert_eq!(cast.members[0].state(&cast.group.room, "m.room.name", "").await["name"], "Other");
    let name = v3!("/rooms/{}/state/m.room.name", cast.group.room);
    cast.members[0].put(&name, json!({ "name": "Mine" })).await.expect_error(403, "M_FORBIDDEN");
    cast.admins[0].put(&name, json!({ "name": "Ours" })).await.ok();
    let read = cast.members[0].get_with_body("/group/name", json!({ "group_id": id, "platform": 1 })).await.done();
    assert_eq!(read["name"], "Ours");
    for (path, body) in [
        ("/group/name", json!({ "new_name": "" })),
        ("/group/name", json!({ "new_name": "x".repeat(101) })),
        ("/group/name", json!({})),
        ("/group/avatar", json!({ "avatar": "x".repeat(1001) })),
        ("/group/settings", json!({ "lookMemberInfo": 2 })),
        ("/group/joinmode", json!({ "join_mode": -1 })),
        ("/group/joinmode", json!({ "join_mode": "1" })),
        ("/group/mute/all", json!({ "mute": 1 })),
        ("/group/mute/member", json!({ "user_id": cast.members[0].user_id, "seconds": -1 })),
        ("/group/mute/member", json!({ "user_id": cast.members[0].user_id, "seconds": 315_360_001 })),
    ] {
        let mut body: Value = body;
        body["group_id"] = json!(id);
        cast.owner.put(path, body).await.refused(400, 1001);
    }
}

#[tokio::test]
async fn who_may_withdraw_whose_message() {
    let server = SERVER.get();
    let cast = cast(&server).await;
    for by in ROLES {
        for on in ROLES {
            let Some((one, other)) = cast.pair(by, on) else { continue };
            let event = other.send_text(&cast.group.room, "said").await;
            let path = v3!("/rooms/{}/redact/{}/{}", cast.group.room, event, one.next_transaction());
            let reply = one.put(&path, json!({})).await;
            match outranks(by, on) {
                true => drop(reply.ok()),
                false => drop(reply.expect_error(403, "M_FORBIDDEN")),
            }
        }
    }
    for by in [&cast.owner, &cast.admins[0], &cast.members[0]] {
        let event = by.send_text(&cast.group.room, "mine").await;
        by.redact(&cast.group.room, &event, json!({})).await;
    }
}

#[tokio::test]
async fn a_group_is_handed_on() {
    let server = SERVER.get();
    let cast = cast(&server).await;
    let id = &cast.group.id;
    let (old, new) = (&cast.owner, &cast.members[0]);
    let mute = json!({ "group_id": id, "user_id": new.user_id, "seconds": 600 });
    old.put("/group/mute/member", mute).await.done();
    old.put("/group/promote/owner", json!({ "group_id": id, "user_id": new.user_id })).await.done();
    assert_eq!(role(old, &cast.group, new).await, "owner");
    assert_eq!(role(old, &cast.group, old).await, "admin");
    new.send_text(&cast.group.room, "no longer muted").await;
    let levels = old.state(&cast.group.room, "m.room.power_levels", "").await;
    assert_eq!([&levels["users"][&new.user_id], &levels["users"][&old.user_id]], [&json!(100), &json!(50)]);
    let back = json!({ "group_id": id, "user_id": old.user_id });
    old.put("/group/promote/owner", back.clone()).await.refused(403, 1002);
    new.put("/group/promote/owner", back).await.done();
}

/// Others whom a plain client raised to 100 show as admins; the owner is who LinkIM says.
#[tokio::test]
async fn there_is_one_owner() {
    let server = SERVER.get();
    let cast = cast(&server).await;
    let other = &cast.members[0];
    let mut levels = cast.owner.state(&cast.group.room, "m.room.power_levels", "").await;
    levels["users"][&other.user_id] = json!(100);
    cast.owner.set_state(&cast.group.room, "m.room.power_levels", "", levels.clone()).await;
    assert_eq!(role(&cast.owner, &cast.group, other).await, "admin");
    assert_eq!(role(&cast.owner, &cast.group, &cast.owner).await, "owner");
    // The power suffices; the rules don't.
    let path = v3!("/rooms/{}/state/m.room.power_levels", cast.group.room);
    other.put(&path, levels.clone()).await.expect_error(403, "M_FORBIDDEN");
    // Once the owner has stepped down by hand, the other one is it.
    levels["users"][&cast.owner.user_id] = json!(0);
    cast.owner.set_state(&cast.group.room, "m.room.power_levels", "", levels).await;
    assert_eq!(role(&cast.owner, &cast.group, other).await, "owner");
}

/// The old LinkIM lost groups of two, and left one without an owner when it was handed to the owner; its owner never got out.
#[tokio::test]
async fn weakness_11_a_group_always_has_an_owner() {
    let server = SERVER.get();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let group = group(&alice, &[&bob, &carol]).await;
    let id = &group.id;
    let own = json!({ "group_id": id, "user_id": alice.user_id });
    alice.put("/group/promote/owner", own).await.refused(409, 1003);
    assert_eq!(role(&bob, &group, &alice).await, "owner");
    carol.post("/group/leave", json!({ "group_id": id })).await.done();
    let members = roles(&bob, &group).await;
    assert_eq!(members.len(), 2);
    bob.send_text(&group.room, "the two of us").await;
    alice.post("/group/leave", json!({ "group_id": id })).await.refused(403, 1002);
    // From a plain client nothing holds her: the earliest member is the next.
    alice.leave(&group.room).await;
    eventually("bob is the owner", || async { (role(&bob, &group, &bob).await == "owner").then_some(()) }).await;
    bob.put("/group/name", json!({ "group_id": id, "new_name": "Mine" })).await.done();
    assert_eq!(roles(&bob, &group).await, [(bob.user_id.clone(), "owner".to_owned())]);
}

#[tokio::test]
async fn an_admin_comes_before_an_earlier_member() {
    let server = SERVER.get();
    let cast = cast(&server).await;
    // The first admin goes first, so that the second one is the earliest left.
    cast.admins[0].post("/group/leave", json!({ "group_id": cast.group.id })).await.done();
    let password = server.password();
    let auth = json!({
        "type": "m.login.password", "password": password,
        "identifier": { "type": "m.id.user", "user": cast.owner.user_id },
    });
    cast.owner.post(&v3!("/account/deactivate"), json!({ "auth": auth })).await.ok();
    let next = &cast.admins[1];
    eventually("the admin is the owner", || async { (role(next, &cast.group, next).await == "owner").then_some(()) })
        .await;
    assert_eq!(roles(next, &cast.group).await.len(), 3);
}

/// Who left is nobody special when they come back, however they went.
#[tokio::test]
async fn a_role_ends_with_the_membership() {
    let server = SERVER.get();
    let cast = cast(&server).await;
    let [one, two] = &cast.admins;
    one.post("/group/leave", json!({ "group_id": cast.group.id })).await.done();
    two.leave(&cast.group.room).await;
    eventually("nobody but the owner is named", || async {
        let levels = cast.owner.state(&cast.group.room, "m.room.power_levels", "").await;
        (levels["users"] == json!({ &cast.owner.user_id: 100 })).then_some(())
    })
    .await;
    let back = json!({ "group_id": cast.group.id, "user_ids": [one.user_id, two.user_id] });
    cast.owner.post("/group/invite", back).await.done();
    assert_eq!([role(one, &cast.group, one).await, role(one, &cast.group, two).await], ["member", "member"]);
}

/// Power levels are read, changed and written whole; no change is lost to another one.
#[tokio::test]
async fn changes_at_once_are_all_made() {
    let server = SERVER.get();
    let cast = cast(&server).await;
    let mut extra = Vec::new();
    for _ in 0..6 {
        extra.push(server.register(&unique("extra")).await);
    }
    let user_ids: Vec<&str> = extra.iter().map(|user| &*user.user_id).collect();
    let add = json!({ "group_id": cast.group.id, "user_ids": user_ids });
    cast.owner.post("/group/invite", add).await.done();
    let mut running = tokio::task::JoinSet::new();
    for (number, user) in extra.iter().enumerate() {
        let by = if number % 2 == 0 { cast.owner.clone() } else { cast.admins[number % 4 / 2].clone() };
        let body = json!({ "group_id": cast.group.id, "user_id": user.user_id, "seconds": 600 });
        running.spawn(async move { by.put("/group/mute/member", body).await.done() });
    }
    while let Some(done) = running.join_next().await {
        done.expect("a mute");
    }
    let levels = cast.owner.state(&cast.group.room, "m.room.power_levels", "").await;
    for user in &extra {
        assert_eq!(levels["users"][&user.user_id], -1, "{levels}");
    }
}
