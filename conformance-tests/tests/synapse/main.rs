//! Rooms with a real Synapse, hosted on either side.
//!
//! One LinkIM server and one Synapse serve all tests of this executable but those that stop one of them.

use std::sync::Arc;

use conformance_tests::{Authority, Client, Options, Server, Synapse};
use tokio::sync::OnceCell;

mod linkim_contacts;
mod linkim_groups;
mod outage;
mod rooms;
mod users;

/// Both servers.
struct Both {
    linkim: Server,
    synapse: Synapse,
}

async fn both() -> Arc<Both> {
    static BOTH: OnceCell<Arc<Both>> = OnceCell::const_new();
    BOTH.get_or_init(|| async { Arc::new(own().await) }).await.clone()
}

/// Servers of a test's own.
async fn own() -> Both {
    let authority = Authority::new();
    let linkim = Server::start(Options::federating(&authority));
    Both { linkim, synapse: Synapse::start(&authority).await }
}

/// Which server a room is made on.
#[derive(Clone, Copy, Debug)]
enum Host {
    LinkIm,
    Synapse,
}

/// A room's maker and their guest, each on a server of their own.
struct Two {
    host: Client,
    host_server: String,
    guest: Client,
}

impl Both {
    async fn two(&self, host: Host) -> Two {
        let here = self.linkim.register("here").await;
        let there = self.synapse.register("there").await;
        match host {
            Host::LinkIm => Two { host: here, host_server: self.linkim.name().to_owned(), guest: there },
            Host::Synapse => Two { host: there, host_server: self.synapse.name(), guest: here },
        }
    }
}
