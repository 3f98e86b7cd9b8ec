//! The rule table of groups (spec/decisions/0017-groups.md), row by row: who asks and who is asked about are of the group's server or
//! of another one, and the owner is once of the one and once of the other. All rows that fail are named.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use conformance_tests::{Client, Reply, Server, eventually, invited, same_state, v3};
use serde_json::{Value, json};

use crate::own;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Owner,
    Admin,
    Member,
}

use Role::{Admin, Member, Owner};

/// Somebody in the group.
struct Person {
    client: Client,
    role: Role,
    /// Whether they are of the group's server.
    here: bool,
}

impl Person {
    fn place(&self) -> &'static str {
        if self.here { "here" } else { "elsewhere" }
    }
}

/// A group with its people, of each role but the owner's at least two.
struct Cast {
    /// What the group's own server calls it.
    id: String,
    room: String,
    people: Vec<Person>,
    failures: String,
}

/// Whether one of this role may remove, mute or silence one of that.
fn outranks(by: Role, on: Role) -> bool {
    matches!((by, on), (Owner, Admin | Member) | (Admin, Member))
}

const DONE: (u16, u64) = (200, 0);
const REFUSED: (u16, u64) = (403, 1002);
const ALREADY: (u16, u64) = (409, 1003);

/// What is to be answered to one of this role who asks about one of that.
type Answer = fn(Role, Role) -> (u16, u64);

/// What is asked about somebody else, and what is to be answered.
const ABOUT: [(&str, Answer); 6] = [
    ("remove", |by, on| if outranks(by, on) { DONE } else { REFUSED }),
    ("mute", |by, on| if outranks(by, on) { DONE } else { REFUSED }),
    ("withdraw a message of", |by, on| if outranks(by, on) { DONE } else { REFUSED }),
    ("appoint", |by, on| match (by, on) {
        (Owner, Member) => DONE,
        (Owner, _) => ALREADY,
        _ => REFUSED,
    }),
    ("dismiss", |by, on| match (by, on) {
        (Owner, Admin) => DONE,
        (Owner, _) => ALREADY,
        _ => REFUSED,
    }),
    // That the owner hands the group on is a test of its own: it changes who is what.
    ("hand the group to", |by, _| if by == Owner { DONE } else { REFUSED }),
];

/// What is asked of the group itself: the path, what it says, and the least role that may.
fn of_group() -> Vec<(&'static str, Value, Role)> {
    vec![
        ("/group/name", json!({ "new_name": "Other" }), Admin),
        ("/group/avatar", json!({ "avatar": "mxc://a.example/x" }), Admin),
        ("/group/notice", json!({ "new_notice": "Read this" }), Admin),
        ("/group/settings", json!({ "lookMemberInfo": 1 }), Admin),
        ("/group/joinmode", json!({ "join_mode": 1 }), Admin),
        ("/group/joinmode", json!({ "join_mode": 0 }), Admin),
        ("/group/mute/all", json!({ "mute": true }), Admin),
        ("/group/mute/all", json!({ "mute": false }), Admin),
        ("/group/nickname", json!({ "new_name": "Nick" }), Member),
    ]
}

fn said(reply: &Reply) -> (u16, u64) {
    let number = if reply.json["code"] == 0 { 0 } else { reply.json["errcode"].as_u64().unwrap_or(u64::MAX) };
    (reply.status, number)
}

impl Cast {
    /// The owner makes the group; the admins and members are of both servers.
    async fn gather(here: &Server, elsewhere: &Server) -> Self {
        let mut people = vec![Person { client: here.register("owner").await, role: Owner, here: true }];
        for role in [Admin, Member] {
            let name = if role == Admin { "admin" } else { "member" };
            for _ in 0..2 {
                people.push(Person { client: here.register(name).await, role, here: true });
                people.push(Person { client: elsewhere.register(name).await, role, here: false });
            }
        }
        let owner = &people[0].client;
        let user_ids: Vec<&str> = people[1..].iter().map(|person| &*person.client.user_id).collect();
        let made = owner.post("/group/create", json!({ "user_ids": user_ids, "group_name": "Team" })).await.done();
        let text = |key: &str| made[key].as_str().expect("a string").to_owned();
        let cast = Self { id: text("groupID"), room: text("room_id"), people, failures: String::new() };
        for person in cast.people.iter().filter(|person| !person.here) {
            invited(&person.client, &cast.room).await;
            person.client.join(&cast.room).await;
        }
        for admin in cast.people.iter().filter(|person| person.role == Admin) {
            let body = json!({ "group_id": cast.id, "user_id": admin.client.user_id });
            cast.people[0].client.put("/group/promote/admin", body).await.done();
        }
        cast.settle().await;
        cast
    }

    /// Waits until both servers agree.
    async fn settle(&self) {
        let one = |here: bool| &self.people.iter().find(|person| person.here == here).expect("somebody").client;
        same_state(&[one(true), one(false)], &self.room).await;
    }

    fn named(&self, person: &Person) -> &str {
        if person.here { &self.id } else { &self.room }
    }

    fn owner(&self) -> &Person {
        self.people.iter().find(|person| person.role == Owner).expect("an owner")
    }

    fn check(&mut self, row: &str, reply: &Reply, wanted: (u16, u64)) {
        let found = said(reply);
        if found != wanted {
            // Writing to a string does not fail.
            let _ = writeln!(self.failures, "{row}: {found:?} is answered, not {wanted:?}: {}", reply.json);
        }
    }

    /// Asks about somebody else.
    async fn ask(&self, what: &str, by: &Person, on: &Person) -> Reply {
        let (group, user) = (self.named(by), &on.client.user_id);
        let about = json!({ "group_id": group, "user_id": user });
        match what {
            "remove" => {
                by.client.delete("/group/kickout", Some(json!({ "group_id": group, "user_ids": [user] }))).await
            }
            "mute" => {
                let body = json!({ "group_id": group, "user_id": user, "seconds": 600 });
                by.client.put("/group/mute/member", body).await
            }
            "appoint" => by.client.put("/group/promote/admin", about).await,
            "dismiss" => by.client.put("/group/demote/member", about).await,
            "hand the group to" => by.client.put("/group/promote/owner", about).await,
            _ => {
                let event = on.client.send_text(&self.room, "said").await;
                eventually("the message is there", || async {
                    let reply = by.client.get(&v3!("/rooms/{}/event/{}", self.room, event)).await;
                    (reply.status == 200).then_some(())
                })
                .await;
                by.client.put("/message/group/withdraw", json!({ "group_id": group, "message_id": event })).await
            }
        }
    }

    /// Makes good what was done.
    async fn undo(&self, what: &str, by: &Person, on: &Person) {
        self.settle().await;
        let owner = self.owner();
        let about = json!({ "group_id": self.named(owner), "user_id": on.client.user_id });
        match what {
            "remove" => {
                let body = json!({ "group_id": self.named(owner), "user_ids": [on.client.user_id] });
                let added = owner.client.post("/group/invite", body).await.done();
                if added["added"] == json!([]) {
                    invited(&on.client, &self.room).await;
                    on.client.join(&self.room).await;
                }
                self.settle().await;
                if on.role == Admin {
                    owner.client.put("/group/promote/admin", about).await.done();
                }
            }
            "mute" => {
                let body = json!({ "group_id": self.named(by), "user_id": on.client.user_id, "seconds": 0 });
                by.client.put("/group/mute/member", body).await.done();
            }
            "appoint" => drop(owner.client.put("/group/demote/member", about).await.done()),
            "dismiss" => drop(owner.client.put("/group/promote/admin", about).await.done()),
            _ => {}
        }
        self.settle().await;
    }

    /// Every row about somebody else.
    async fn rows_about_others(&mut self) {
        let mut seen = BTreeSet::new();
        let count = self.people.len();
        for (one, other) in (0..count * count).map(|pair| (pair / count, pair % count)) {
            let (by, on) = (&self.people[one], &self.people[other]);
            if one == other || !seen.insert((by.role, by.here, on.role, on.here)) {
                continue;
            }
            for (what, answer) in ABOUT {
                let (by, on) = (&self.people[one], &self.people[other]);
                let wanted = answer(by.role, on.role);
                if what == "hand the group to" && wanted == DONE {
                    continue;
                }
                let (by_name, on_name) =
                    (format!("{:?} {}", by.role, by.place()), format!("{:?} {}", on.role, on.place()));
                let row = format!("{by_name} may {what} {on_name}");
                let reply = self.ask(what, by, on).await;
                if said(&reply) == DONE {
                    self.undo(what, by, on).await;
                }
                self.check(&row, &reply, wanted);
            }
        }
    }

    /// Every row about the group.
    async fn rows_about_the_group(&mut self) {
        let mut seen = BTreeSet::new();
        for one in 0..self.people.len() {
            let by = &self.people[one];
            if !seen.insert((by.role, by.here)) {
                continue;
            }
            let name = format!("{:?} {}", by.role, by.place());
            for (path, body, least) in of_group() {
                let by = &self.people[one];
                let mut asked = body.clone();
                asked["group_id"] = self.named(by).into();
                let wanted = if by.role <= least { DONE } else { REFUSED };
                let reply = by.client.put(path, asked).await;
                self.settle().await;
                self.check(&format!("{name} asks {path} {body}"), &reply, wanted);
            }
            let by = &self.people[one];
            let path = format!("/group/requests?group_id={}", conformance_tests::encode(self.named(by)));
            let reply = by.client.get(&path).await;
            let wanted = if by.role <= Admin { DONE } else { REFUSED };
            self.check(&format!("{name} sees requests"), &reply, wanted);
            let by = &self.people[one];
            if by.role != Owner {
                let reply = by.client.delete("/group/dissolve", Some(json!({ "group_id": self.named(by) }))).await;
                self.check(&format!("{name} dissolves the group"), &reply, REFUSED);
            }
        }
        self.rows_of_a_muted_group().await;
    }

    /// Who talks while the group is muted.
    async fn rows_of_a_muted_group(&mut self) {
        for mute in [true, false] {
            let owner = self.owner();
            let body = json!({ "group_id": self.named(owner), "mute": mute });
            owner.client.put("/group/mute/all", body).await.done();
            self.settle().await;
            for one in 0..self.people.len() {
                let by = &self.people[one];
                let body = json!({ "group_id": self.named(by), "text": "hello" });
                let reply = by.client.post("/message/group/send", body).await;
                let wanted = if mute && by.role == Member { (403, 1403) } else { DONE };
                let row = format!("{:?} {} talks in a group, muted: {mute}", by.role, by.place());
                self.check(&row, &reply, wanted);
            }
        }
    }

    /// The owner leaves by no other way than handing the group on or dissolving it; others may.
    async fn rows_about_leaving(&mut self) {
        let owner = self.owner();
        let reply = owner.client.post("/group/leave", json!({ "group_id": self.named(owner) })).await;
        let row = format!("the owner {} leaves", owner.place());
        self.check(&row, &reply, REFUSED);
        for role in [Admin, Member] {
            let one = self.people.iter().rposition(|person| person.role == role).expect("somebody");
            let by = &self.people[one];
            let reply = by.client.post("/group/leave", json!({ "group_id": self.named(by) })).await;
            let row = format!("{role:?} {} leaves", by.place());
            self.check(&row, &reply, DONE);
        }
    }

    /// The owner hands the group to an admin of the other server, and is an admin then.
    async fn hand_on(&mut self) {
        let new = self.people.iter().position(|person| person.role == Admin && !person.here).expect("an admin");
        let old = self.people.iter().position(|person| person.role == Owner).expect("an owner");
        let reply = self.ask("hand the group to", &self.people[old], &self.people[new]).await;
        self.check("the owner hands the group on", &reply, DONE);
        (self.people[old].role, self.people[new].role) = (Admin, Owner);
        self.settle().await;
    }
}

#[tokio::test]
async fn every_row_of_the_rule_table_holds_on_both_servers() {
    let [a, b] = own();
    let mut cast = Cast::gather(&a, &b).await;
    cast.rows_about_others().await;
    cast.rows_about_the_group().await;
    cast.hand_on().await;
    cast.rows_about_others().await;
    cast.rows_about_the_group().await;
    cast.rows_about_leaving().await;
    let failures = &cast.failures;
    assert!(failures.is_empty(), "rows that do not hold:\n{failures}");
    let owner = cast.owner();
    let end = json!({ "group_id": cast.named(owner) });
    owner.client.delete("/group/dissolve", Some(end)).await.done();
}
