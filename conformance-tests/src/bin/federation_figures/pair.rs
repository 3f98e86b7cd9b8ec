//! Two servers of one kind, and a user on each, who share rooms.

use std::path::Path;
use std::sync::Arc;

use conformance_tests::{Authority, Client, Gate, Options, Server, Synapse, shared_room};
use serde_json::json;

use conformance_tests::figures::cpu_seconds;

/// The servers that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    LinkIm,
    Synapse,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LinkIm => "LinkIM",
            Self::Synapse => "Synapse",
        }
    }
}

/// A running server of either kind.
pub(crate) enum Running {
    LinkIm(Server),
    Synapse(Synapse),
}

impl Running {
    pub(crate) async fn start(kind: Kind, authority: &Arc<Authority>) -> Self {
        match kind {
            Kind::LinkIm => Self::LinkIm(Server::start(Options::federating(authority))),
            Kind::Synapse => Self::Synapse(Synapse::start(authority).await),
        }
    }

    pub(crate) async fn register(&self, name: &str) -> Client {
        match self {
            Self::LinkIm(server) => server.register(name).await,
            Self::Synapse(server) => server.register(name).await,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::LinkIm(server) => server.pid(),
            Self::Synapse(server) => server.pid(),
        }
    }

    pub(crate) fn gate(&self) -> &Gate {
        match self {
            Self::LinkIm(server) => server.gate(),
            Self::Synapse(server) => server.gate(),
        }
    }

    /// The name in user ids.
    pub(crate) fn name(&self) -> String {
        format!("localhost:{}", self.gate().port())
    }

    /// `http://127.0.0.1:port` of the client listener.
    pub(crate) fn base(&self) -> &str {
        match self {
            Self::LinkIm(server) => &server.base,
            Self::Synapse(server) => &server.base,
        }
    }

    /// Ends it and keeps its data.
    pub(crate) fn keep(&mut self, folder: &Path) {
        match self {
            Self::LinkIm(server) => server.keep(folder),
            Self::Synapse(server) => server.keep(folder),
        }
    }
}

/// `alice` on one server and `bob` on the other, both in all of the rooms.
pub(crate) struct Pair {
    pub(crate) kind: Kind,
    pub(crate) a: Running,
    pub(crate) b: Running,
    pub(crate) alice: Client,
    pub(crate) bob: Client,
    pub(crate) rooms: Vec<String>,
}

impl Pair {
    pub(crate) async fn start(kind: Kind, authority: &Arc<Authority>, rooms: usize) -> Self {
        let (a, b) = (Running::start(kind, authority).await, Running::start(kind, authority).await);
        let (alice, bob) = (a.register("alice").await, b.register("bob").await);
        let mut pair = Self { kind, a, b, alice, bob, rooms: Vec::new() };
        for _ in 0..rooms {
            let room = shared_room(&pair.alice, &[&pair.bob], json!({ "preset": "private_chat" })).await;
            pair.rooms.push(room);
        }
        pair
    }

    /// How the two are called in the report.
    pub(crate) fn who(&self) -> String {
        format!("{0} to {0}", self.kind.name())
    }

    /// CPU seconds that the sending and the receiving server used so far.
    pub(crate) fn cpu(&self) -> (f64, f64) {
        (cpu_seconds(self.a.pid()), cpu_seconds(self.b.pid()))
    }
}
