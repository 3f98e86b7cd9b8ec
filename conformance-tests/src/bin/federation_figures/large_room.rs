//! Rooms that take long to make: made once, through the client API of the server that serves them, and kept in a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conformance_tests::figures::side_by_side;
use conformance_tests::{Authority, Client, Options, Server, Synapse, v3};
use serde_json::{Value, json};

use crate::pair::{Kind, Running};

/// Whose room, and how large.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) kind: Kind,
    pub(crate) members: usize,
    /// Entries of the current state, the members among them.
    pub(crate) state: usize,
}

/// A room on a running server.
pub(crate) struct LargeRoom {
    pub(crate) server: Running,
    pub(crate) room: String,
    /// The user who made it.
    pub(crate) owner: Client,
}

/// The password of the members; their hash is what makes a room slow to make.
const PASSWORD: &str = "one of very many members";

impl Size {
    /// Ports are part of the servers' names, so they are the same in every run; below those that the kernel hands out.
    fn port(self) -> u16 {
        match self.kind {
            Kind::LinkIm => 28_448,
            Kind::Synapse => 28_449,
        }
    }

    /// How many may write at once. Synapse forks a room in which several do, into hundreds of extremities, of which a join names
    /// ten: the room that is joined would not be the one that was made.
    fn at_once(self, ours: usize) -> usize {
        match self.kind {
            Kind::LinkIm => ours,
            Kind::Synapse => 1,
        }
    }

    /// How such a room is called in the report.
    pub(crate) fn name(self) -> String {
        format!("{} members, {} state events of {}", self.members, self.state, self.kind.name())
    }

    async fn start(self, authority: &Arc<Authority>, data: Option<PathBuf>) -> Running {
        match self.kind {
            Kind::LinkIm => {
                let options = Options { data, ..Options::federating_at(authority, self.port()) };
                Running::LinkIm(Server::start(options))
            }
            Kind::Synapse => Running::Synapse(Synapse::start_at(authority, self.port(), data.as_deref()).await),
        }
    }
}

impl LargeRoom {
    /// Starts the server on its data, after making it if the folder has none.
    pub(crate) async fn open(size: Size, authority: &Arc<Authority>, folder: &Path) -> Self {
        let folder = folder.join(format!("{}-{}-{}", size.kind.name(), size.members, size.state));
        let note = folder.join("room.json");
        if !note.exists() {
            let made = make(size, authority, &folder.join("data")).await;
            // Written last: a folder without it is not whole.
            fs::write(&note, made.to_string()).expect("the folder can be written");
        }
        let text = fs::read_to_string(&note).expect("what was written can be read");
        let made: Value = serde_json::from_str(&text).expect("JSON");
        let server = size.start(authority, Some(folder.join("data"))).await;
        let owner = Client::login(server.base(), made["owner"].as_str().expect("a user"), PASSWORD).await;
        Self { server, room: made["room"].as_str().expect("a room").to_owned(), owner }
    }
}

async fn make(size: Size, authority: &Arc<Authority>, data: &Path) -> Value {
    let start = std::time::Instant::now();
    // A half-made one may be there.
    let _ = fs::remove_dir_all(data);
    let mut server = size.start(authority, None).await;
    let owner = Client::register(server.base(), "owner", PASSWORD).await;
    let room = owner.create_room(json!({ "preset": "public_chat", "name": "A large room" })).await;
    eprintln!("making {}: members", size.name());
    let join = |number: usize| {
        let (base, room) = (server.base().to_owned(), room.clone());
        async move { Client::register(&base, &format!("member-{number}"), PASSWORD).await.join(&room).await }
    };
    side_by_side(size.members - 1, size.at_once(8), join).await;
    eprintln!("after {:.0} s: other state", start.elapsed().as_secs_f64());
    let there = owner.all_state(&room).await.len();
    let set = |number: usize| {
        let (owner, room) = (owner.clone(), room.clone());
        async move {
            let content =
                json!({ "number": number, "text": "an entry of the state, about as long as that of a member" });
            owner.set_state(&room, "org.example.entry", &number.to_string(), content).await;
        }
    };
    side_by_side(size.state - there, size.at_once(32), set).await;
    assert_eq!(owner.all_state(&room).await.len(), size.state, "the room has the state that it should have");
    let members = owner.get(&v3!("/rooms/{}/joined_members", room)).await.ok();
    assert_eq!(members["joined"].as_object().map(|joined| joined.len()), Some(size.members));
    server.keep(data);
    eprintln!("made after {:.0} s", start.elapsed().as_secs_f64());
    json!({ "room": room, "owner": owner.user_id })
}
