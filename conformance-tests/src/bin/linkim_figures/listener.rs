//! A member's connection, on which the messages of a pass are looked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use conformance_tests::{Client, Push};
use serde_json::json;
use tokio::task::JoinHandle;

/// What all connections count together.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Frames of any kind.
    pub(crate) frames: AtomicUsize,
    /// Messages of the pass.
    pub(crate) messages: AtomicUsize,
}

/// One connection.
pub(crate) struct Listener {
    task: JoinHandle<Push>,
    arrivals: Arc<std::sync::Mutex<Vec<(usize, Instant)>>>,
}

impl Listener {
    /// Opens it, and listens for messages whose text is `pass` and a number.
    pub(crate) async fn open(member: &Client, pass: &str, ack: bool, counts: Arc<Counts>) -> Self {
        let mut push = member.push(None).await;
        let arrivals = Arc::<std::sync::Mutex<Vec<(usize, Instant)>>>::default();
        let (noted, marker) = (arrivals.clone(), format!("\"content\":\"{pass} "));
        let task = tokio::spawn(async move {
            while let Some(text) = push.next_text().await {
                let now = Instant::now();
                counts.frames.fetch_add(1, Ordering::Relaxed);
                // Parsing 5,000 frames a second would cost more than the server's work that is to be measured.
                let Some((_, rest)) = text.split_once(&marker) else { continue };
                let digits = rest.split('"').next().unwrap_or_default();
                noted.lock().expect("nobody panics").push((digits.parse().expect("a number"), now));
                counts.messages.fetch_add(1, Ordering::Relaxed);
                if ack && let Some((_, rest)) = text.split_once("\"position\":\"") {
                    push.say(json!({ "type": "ack", "position": rest.split('"').next() })).await;
                }
            }
            push
        });
        Self { task, arrivals }
    }

    /// Closes it; gives which messages came when.
    pub(crate) fn close(self) -> Vec<(usize, Instant)> {
        self.task.abort();
        std::mem::take(&mut *self.arrivals.lock().expect("nobody panics"))
    }
}
