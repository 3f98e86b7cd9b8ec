//! A group with very many members on a running server: made once, through the API, and kept in a folder.

use std::fs;
use std::path::Path;

use conformance_tests::figures::side_by_side;
use conformance_tests::{Client, Options, Server};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// The members' password; its hash is what makes a group slow to make.
const PASSWORD: &str = "one of very many members";

/// Members that are made at once.
const AT_ONCE: usize = 8;

/// A group, all of whose members are of one server.
pub(crate) struct Group {
    pub(crate) server: Server,
    /// Its UUID.
    pub(crate) id: String,
    /// The access tokens of all members, the owner's first.
    pub(crate) tokens: Vec<String>,
}

impl Group {
    /// Starts a server with such a group, after making it unless the folder has it.
    pub(crate) async fn open(members: usize, folder: Option<&Path>) -> Self {
        let scratch = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = folder.unwrap_or(scratch.path()).join(format!("group-{members}"));
        let note = folder.join("group.json");
        if !note.exists() {
            let made = make(members, &folder.join("data")).await;
            // Written last: a folder without it is not whole.
            fs::write(&note, made.to_string()).expect("the folder can be written");
        }
        let text = fs::read_to_string(&note).expect("what was written can be read");
        let made: Value = serde_json::from_str(&text).expect("JSON");
        let server = Server::start(Options { data: Some(folder.join("data")), ..Options::default() });
        let tokens = made["tokens"].as_array().expect("a list").iter();
        let tokens = tokens.map(|token| token.as_str().expect("a token").to_owned()).collect();
        Self { server, id: made["group"].as_str().expect("a group").to_owned(), tokens }
    }

    /// A member; all share one pool of connections.
    pub(crate) fn members(&self) -> Vec<Client> {
        let anonymous = self.server.anonymous();
        self.tokens.iter().map(|token| anonymous.with_token(token)).collect()
    }
}

async fn make(members: usize, data: &Path) -> Value {
    let start = std::time::Instant::now();
    // A half-made one may be there.
    let _ = fs::remove_dir_all(data);
    let mut server = Server::start(Options::default());
    let owner = Client::register(&server.base, "owner", PASSWORD).await;
    let people = [register(&server.base, 1).await, register(&server.base, 2).await];
    let ids: Vec<&str> = people.iter().map(|user| &*user.user_id).take(members - 1).collect();
    let made = owner.post("/group/create", json!({ "user_ids": ids, "group_name": "Everybody" })).await.done();
    owner.put("/group/joinmode", json!({ "group_id": made["groupID"], "join_mode": 2 })).await.done();
    let room = made["room_id"].as_str().expect("a room").to_owned();
    let mut first = vec![owner.access_token];
    first.extend(people.into_iter().map(|user| user.access_token).take(members - 1));
    let tokens = std::sync::Arc::new(Mutex::new(first));
    let join = |number: usize| {
        let (base, room, tokens) = (server.base.clone(), room.clone(), tokens.clone());
        async move {
            let member = register(&base, number + 3).await;
            member.join(&room).await;
            let mut tokens = tokens.lock().await;
            tokens.push(member.access_token);
            if tokens.len().is_multiple_of(500) {
                eprintln!("{} members after {:.0} s", tokens.len(), start.elapsed().as_secs_f64());
            }
        }
    };
    side_by_side(members.saturating_sub(3), AT_ONCE, join).await;
    server.keep(data);
    json!({ "group": made["groupID"], "tokens": *tokens.lock().await })
}

async fn register(base: &str, number: usize) -> Client {
    Client::register(base, &format!("member-{number}"), PASSWORD).await
}
