//! What it costs to join a large room of another server.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conformance_tests::{Authority, encode, v3};
use serde_json::json;

use crate::large_room::{LargeRoom, Size};
use crate::listening::Listening;
use crate::pair::{Kind, Running};
use conformance_tests::figures::{Report, Tally, median};
use conformance_tests::figures::{cpu_seconds, memory, peak_memory};

/// How long a join may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// Our own server joins a room of our own server's, that is very large.
pub(crate) async fn large(report: &mut Report, rounds: usize, folder: &Path) {
    let authority = Authority::new();
    let size = Size { kind: Kind::LinkIm, members: 10_000, state: 50_000 };
    for _ in 0..rounds {
        joins(report, size, Kind::LinkIm, &authority, folder).await;
    }
}

/// Either server joins a room of Synapse's, and one of ours, in turns.
pub(crate) async fn small(report: &mut Report, rounds: usize, (members, state): (usize, usize), folder: &Path) {
    let authority = Authority::new();
    let mut taken: HashMap<(Kind, Kind), Vec<f64>> = HashMap::new();
    for _ in 0..rounds {
        for kind in [Kind::Synapse, Kind::LinkIm] {
            for joiner in [Kind::LinkIm, Kind::Synapse] {
                let size = Size { kind, members, state };
                let seconds = joins(report, size, joiner, &authority, folder).await;
                taken.entry((kind, joiner)).or_default().push(seconds);
            }
        }
    }
    for kind in [Kind::Synapse, Kind::LinkIm] {
        let [ours, theirs] = [Kind::LinkIm, Kind::Synapse].map(|joiner| median(&taken[&(kind, joiner)]));
        let what = format!("joins {}: share of Synapse's time", kind.name());
        report.figure("join", "ratio", &what, (ours / theirs, ""), Tally::default());
    }
}

/// One join by a new server. Gives the seconds that the user waited.
async fn joins(report: &mut Report, size: Size, joiner: Kind, authority: &Arc<Authority>, folder: &Path) -> f64 {
    let large = LargeRoom::open(size, authority, folder).await;
    let server = Running::start(joiner, authority).await;
    let carol = server.register("carol").await.with_patience(PATIENCE);
    // The owner's first look at the room is none of the join's business.
    let mut listening = Listening::start(&large.owner).await;
    let before = (cpu_seconds(server.pid()), cpu_seconds(large.server.pid()));
    let (memory_joining, memory_serving) = (memory(server.pid()), memory(large.server.pid()));
    let start = Instant::now();
    let path = v3!("/join/{}", large.room) + &format!("?via={0}&server_name={0}", encode(&large.server.name()));
    let mut tally = Tally { wanted: 3, ..Tally::default() };
    let mut count = |held: bool, what: String| {
        tally.made += 1;
        if !held {
            eprintln!("{what}");
            tally.failed += 1;
        }
    };
    let answer = carol.post(&path, json!({})).await;
    let joined = start.elapsed().as_secs_f64();
    count(answer.status == 200, answer.to_string());
    carol.send_text(&large.room, "joined").await;
    let heard = listening.next("joined", PATIENCE).await;
    count(heard.is_some_and(|(body, _)| body == "joined"), "the owner did not hear who joined".to_owned());
    let talked = start.elapsed().as_secs_f64();
    let (state, whole) = whole_state(&carol, &large.room, size, start).await;
    count(state == size.state + 1, format!("{state} entries of the state in place of {}", size.state + 1));
    let who = format!("{} joins {}", joiner.name(), size.name());
    let mut figure = |what: &str, value: f64, unit: &str| report.figure("join", &who, what, (value, unit), tally);
    figure("until the join is answered", joined, "s");
    figure("until the owner hears who joined", talked, "s");
    figure("until all state is there", whole, "s");
    figure("CPU of the joining server", cpu_seconds(server.pid()) - before.0, "s");
    figure("CPU of the serving server", cpu_seconds(large.server.pid()) - before.1, "s");
    figure("memory of the joining server before", memory_joining, "MiB");
    figure("its peak", peak_memory(server.pid()), "MiB");
    figure("memory of the serving server before", memory_serving, "MiB");
    figure("its peak", peak_memory(large.server.pid()), "MiB");
    joined
}

/// Looks at the state until it has all entries; gives how many and when.
async fn whole_state(carol: &conformance_tests::Client, room: &str, size: Size, start: Instant) -> (usize, f64) {
    loop {
        let reply = carol.get(&v3!("/rooms/{}/state", room)).await;
        // While members are still to be fetched, the server waits, and then says so.
        let state = if reply.status == 503 { 0 } else { reply.ok().as_array().map_or(0, Vec::len) };
        let now = start.elapsed();
        if state > size.state || now > PATIENCE {
            return (state, now.as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
