//! The scenario's people: each with what their app shows, by LinkIM's API, and what it hears, by /ws.

use conformance_tests::{Client, Push, Server, encode, eventually, v3};
use serde_json::{Value, json};

/// Somebody with an open app.
pub(super) struct Person {
    pub(super) client: Client,
    push: Option<Push>,
    position: String,
}

impl Person {
    pub(super) async fn on(server: &Server, name: &str) -> Self {
        let client = server.register(name).await;
        let push = Some(client.push(None).await);
        Self { client, push, position: String::new() }
    }

    pub(super) fn id(&self) -> &str {
        &self.client.user_id
    }

    fn push(&mut self) -> &mut Push {
        self.push.as_mut().expect("an open app")
    }

    /// Their server dies.
    pub(super) fn cut(&mut self) {
        self.position = self.push.take().expect("an open app").position;
    }

    /// Their server is back: the app goes on where it was, as apps do.
    pub(super) async fn back(&mut self, server: &Server) {
        self.client = self.client.at(&server.base);
        self.push = Some(self.client.push(Some(&self.position)).await);
    }

    /// The data of the next frame of this type in this room.
    pub(super) async fn frame(&mut self, kind: &str, room: &str) -> Value {
        self.frame_where(kind, room, |_| true).await
    }

    /// As [`frame`](Self::frame), the next that fits.
    pub(super) async fn frame_where(&mut self, kind: &str, room: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let fits = |frame: &Value| frame["type"] == kind && frame["data"]["room_id"] == room && fits(&frame["data"]);
        self.push().wait_for(fits).await["data"].take()
    }

    /// Waits for the frame of this message in this room.
    pub(super) async fn hears(&mut self, room: &str, text: &str) {
        self.frame_where("message", room, |data| data["body"]["content"] == text).await;
    }

    /// Passes over frames until one fits.
    pub(super) async fn waits_for(&mut self, fits: impl FnMut(&Value) -> bool) {
        self.push().wait_for(fits).await;
    }

    /// The frame by which they come to have this membership in a group.
    pub(super) async fn own_membership(&mut self, room: &str, membership: &str) -> Value {
        let id = self.id().to_owned();
        let own = |data: &Value| data["state_key"] == id && data["event_content"]["membership"] == membership;
        self.frame_where("group", room, own).await
    }

    /// All frames up to that of this message.
    pub(super) async fn frames_until(&mut self, room: &str, text: &str) -> Vec<Value> {
        let mut frames = Vec::new();
        let last = |frame: &Value| {
            frames.push(frame.clone());
            frame["data"]["room_id"] == room && frame["data"]["body"]["content"] == text
        };
        self.push().wait_for(last).await;
        frames
    }

    /// What the app has been told by now and has not looked at.
    pub(super) async fn told_by_now(&mut self) -> Vec<Value> {
        self.push().up_to_now().await
    }

    /// The conversation of this room in the list; none if it is not in it.
    pub(super) async fn conversation(&self, room: &str) -> Option<Value> {
        let list = self.client.get("/conversations").await.done();
        let entries = list["detail"].as_array().expect("a list");
        entries.iter().find(|entry| entry["room_id"] == room).cloned()
    }

    /// Waits until the list shows this last message and so many unread.
    pub(super) async fn list_shows(&self, room: &str, text: &str, unread: i64) {
        eventually(&format!("{}'s list shows {text:?} with {unread} unread", self.id()), || async {
            let entry = self.conversation(room).await?;
            (entry["last_message"]["content"] == text && entry["unread_count"] == unread).then_some(())
        })
        .await;
    }

    /// Opens the conversation and reads all of it.
    pub(super) async fn reads(&self, room: &str) {
        let thread = self.conversation(room).await.expect("the conversation")["thread_id"].clone();
        self.client.put("/conversation/unread", json!({ "thread_id": thread })).await.done();
        assert_eq!(self.conversation(room).await.expect("the conversation")["unread_count"], 0);
    }

    /// Writes to somebody; gives the message's event id and its room.
    pub(super) async fn tells(&self, whom: &Self, text: &str) -> (String, String) {
        let body = json!({ "the_other_person_id": whom.id(), "text": text });
        let sent = self.client.post("/message/send", body).await.done();
        (text_of(&sent, "event_id"), text_of(&sent, "room_id"))
    }

    /// Writes to the group.
    pub(super) async fn says(&self, room: &str, text: &str) -> String {
        let body = json!({ "group_id": room, "text": text });
        text_of(&self.client.post("/message/group/send", body).await.done(), "event_id")
    }

    /// Tries to write to the group: what the app is answered, status and number.
    pub(super) async fn tries_to_say(&self, room: &str, text: &str) -> (u16, Value) {
        let reply = self.client.post("/message/group/send", json!({ "group_id": room, "text": text })).await;
        (reply.status, reply.json["errcode"].clone())
    }

    /// Begins to type.
    pub(super) async fn types(&self, room: &str) {
        let path = v3!("/rooms/{}/typing/{}", room, self.id());
        self.client.put(&path, json!({ "typing": true, "timeout": 30_000 })).await.ok();
    }

    /// What the group's history has, the newest first.
    pub(super) async fn group_history(&self, room: &str) -> Vec<String> {
        let path = format!("/conversation/group/get?group_id={}&page_size=200", encode(room));
        let page = self.client.get(&path).await.done();
        let messages = page["data"]["Messages"].as_array().expect("a list");
        messages.iter().map(|message| text_of(message, "Content")).collect()
    }

    /// Waits until a message of theirs has this status with everybody.
    pub(super) async fn status_is(&self, message: &str, status: &str) {
        eventually(&format!("{message} is {status}"), || async {
            let reply = self.client.get(&format!("/message/receipts?message_id={}", encode(message))).await.done();
            (reply["status"] == status).then_some(())
        })
        .await;
    }

    /// The status of a message of theirs with somebody.
    pub(super) async fn status_of(&self, message: &str, with: &Self) -> String {
        let reply = self.client.get(&format!("/message/receipts?message_id={}", encode(message))).await.done();
        let people = reply["detail"].as_array().expect("a list");
        let found = people.iter().find(|entry| entry["matrix_id"] == with.id());
        text_of(found.unwrap_or_else(|| panic!("{} is not in {reply}", with.id())), "status")
    }

    /// Waits until a message of theirs has this status with somebody.
    pub(super) async fn status_is_with(&self, message: &str, with: &Self, status: &str) {
        let what = format!("{message} is {status} with {}", with.id());
        eventually(&what, || async { (self.status_of(message, with).await == status).then_some(()) }).await;
    }

    /// Waits until they are at this power level in the room, as their server sees it.
    pub(super) async fn level_is(&self, room: &str, level: Option<i64>) {
        eventually(&format!("{} is at {level:?}", self.id()), || async {
            let levels = self.client.state(room, "m.room.power_levels", "").await;
            (levels["users"][self.id()].as_i64() == level).then_some(())
        })
        .await;
    }

    /// The ids of their friends.
    pub(super) async fn friends(&self) -> Vec<String> {
        ids(&self.client.get("/account/friendlists").await.done()["detail"])
    }

    /// What the group is to them: name, members, role.
    pub(super) async fn group(&self, room: &str) -> Value {
        self.client.get(&format!("/group/info?group_id={}", encode(room))).await.json["detail"].take()
    }

    /// Waits until they have this role in the group.
    pub(super) async fn role_is(&self, room: &str, role: &str) {
        eventually(&format!("{} is {role}", self.id()), || async {
            (self.group(room).await["role"] == role).then_some(())
        })
        .await;
    }

    /// Waits until the group has this name for them.
    pub(super) async fn name_is(&self, room: &str, name: &str) {
        eventually(&format!("{} sees the name {name}", self.id()), || async {
            (self.group(room).await["group_name"] == name).then_some(())
        })
        .await;
    }

    /// Waits until their list of groups has, or has not, this one.
    pub(super) async fn has_group(&self, room: &str, has: bool) {
        eventually(&format!("{} has the group: {has}", self.id()), || async {
            let groups = self.client.get("/groups").await.done();
            let groups = groups["detail"].as_array().expect("a list");
            (groups.iter().any(|group| group["room_id"] == room) == has).then_some(())
        })
        .await;
    }
}

/// The Matrix ids in a list of users.
pub(super) fn ids(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter().map(|user| text_of(user, "matrix_id")).collect()
}

pub(super) fn text_of(answer: &Value, key: &str) -> String {
    answer[key].as_str().unwrap_or_else(|| panic!("no {key} in {answer}")).to_owned()
}
