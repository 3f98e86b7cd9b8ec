//! A user's long polls, in which messages are looked for.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use conformance_tests::{Client, Sync};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// One long poll after the other, until it is dropped.
pub(crate) struct Listening {
    arrivals: mpsc::UnboundedReceiver<(String, Instant)>,
    task: JoinHandle<()>,
}

impl Listening {
    /// From now on.
    pub(crate) async fn start(client: &Client) -> Self {
        let (client, mut since) = (client.clone(), client.now().await);
        let (sender, arrivals) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let filter = json!({ "room": { "timeline": { "limit": 1000 } }, "presence": { "types": [] } });
            loop {
                let poll = Sync::since(&since).timeout(30_000).filter(filter.clone());
                let answer = client.sync(poll).await;
                let now = Instant::now();
                for body in messages(&answer) {
                    // Who stops to look hears no more.
                    let _ = sender.send((body.to_owned(), now));
                }
                answer["next_batch"].as_str().expect("a token").clone_into(&mut since);
            }
        });
        Self { arrivals, task }
    }

    /// The next message of a pass: its body and when it came. Bodies begin with the name of their pass.
    ///
    /// Synapse answers a first `/sync` as it answered the last one of a moment ago, so what earlier passes sent may come again.
    pub(crate) async fn next(&mut self, pass: &str, patience: Duration) -> Option<(String, Instant)> {
        loop {
            let (body, when) = tokio::time::timeout(patience, self.arrivals.recv()).await.ok().flatten()?;
            if body.split(' ').next() == Some(pass) {
                return Some((body, when));
            }
        }
    }

    /// How often and when first each message of a pass came, until `wanted` are there, or none comes for so long.
    pub(crate) async fn all(
        &mut self,
        pass: &str,
        wanted: usize,
        patience: Duration,
    ) -> HashMap<String, (Instant, usize)> {
        let mut seen = HashMap::new();
        while seen.len() < wanted {
            let Some((body, when)) = self.next(pass, patience).await else { break };
            seen.entry(body).or_insert((when, 0)).1 += 1;
        }
        seen
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The bodies of all messages of all rooms.
fn messages(answer: &Value) -> impl Iterator<Item = &str> {
    let rooms = answer["rooms"]["join"].as_object();
    let events = rooms.into_iter().flatten().filter_map(|(_, room)| room["timeline"]["events"].as_array()).flatten();
    events.filter(|event| event["type"] == "m.room.message").filter_map(|event| event["content"]["body"].as_str())
}
