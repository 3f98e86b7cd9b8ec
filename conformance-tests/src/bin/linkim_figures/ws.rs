//! Very many connections of `/ws`, and one message a second to all of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use conformance_tests::figures::{Profile, Report, Tally, cpu_seconds, memory, quantile, side_by_side};
use conformance_tests::{Client, Sync, unique};
use serde_json::json;
use tokio::sync::Mutex;

use crate::group::Group;
use crate::listener::{Counts, Listener};

/// Connections that are opened at once.
const AT_ONCE: usize = 32;

/// How long nothing must come until all is told that came of the connecting itself, and how long that may take.
const QUIET: Duration = Duration::from_secs(5);
const SETTLING: Duration = Duration::from_secs(300);

/// How long a message may take that is lost by all appearance.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a pass is made.
pub(crate) struct Pass {
    pub(crate) seconds: usize,
    /// Whether clients acknowledge.
    pub(crate) ack: bool,
    pub(crate) profiles: Option<PathBuf>,
}

/// Opens a connection for each member, sends, and looks who got what.
pub(crate) async fn run(report: &mut Report, group: &Group, pass: Pass) {
    let (pid, me) = (group.server.pid(), std::process::id());
    let members = group.members();
    let who = format!("{} connections", members.len());
    let fresh = memory(pid);
    // What the server keeps of users who look, and the database's caches, are not the connections'.
    look_by_each(&members).await;
    let known = memory(pid);
    let counts = Arc::<Counts>::default();
    let (start, cpu) = (Instant::now(), cpu_seconds(pid));
    let text = unique("figure");
    let listeners = open(&members, &text, pass.ack, &counts).await;
    let opened = start.elapsed().as_secs_f64();
    settle(&counts).await;
    let settled = (start.elapsed() - QUIET).as_secs_f64();
    let (idle, told) = (memory(pid), counts.frames.load(Ordering::Relaxed));
    let tally = Tally { wanted: members.len(), made: listeners.len(), failed: 0 };
    let each = |mib: f64| (mib * 1024.0 / members.len() as f64, "KiB");
    let mut figure = |what: &str, value: (f64, &str), tally| report.figure("ws", &who, what, value, tally);
    figure("memory after the start", (fresh, "MiB"), tally);
    figure("memory once each user was seen", (known, "MiB"), tally);
    figure("until all are open", (opened, "s"), tally);
    figure("until nothing more is told of that", (settled, "s"), tally);
    figure("frames told of that", (told as f64, ""), tally);
    figure("CPU of the server for all that", (cpu_seconds(pid) - cpu, "s"), tally);
    figure("memory of an idle connection", each(idle - known), tally);

    let profile = pass.profiles.map(|folder| {
        std::fs::create_dir_all(&folder).expect("a folder for profiles");
        Profile::start(pid, &folder.join("ws.data"))
    });
    let (before, generator, start) = (cpu_seconds(pid), cpu_seconds(me), Instant::now());
    let begun = send(&members[0], group, &text, pass.seconds).await;
    let wanted = begun.len() * members.len();
    all_there(&counts, wanted).await;
    let (cpu, generator) = (cpu_seconds(pid) - before, cpu_seconds(me) - generator);
    let seconds = start.elapsed().as_secs_f64();
    if let Some(profile) = profile {
        profile.print();
    }
    let busy = memory(pid);
    let (latencies, tally) = arrivals(listeners, &begun);
    figure("delivery, p50", (quantile(&latencies, 0.5), "ms"), tally);
    figure("delivery, p99", (quantile(&latencies, 0.99), "ms"), tally);
    figure("delivery, the last", (quantile(&latencies, 1.0), "ms"), tally);
    figure("CPU of the server, a delivery", (cpu * 1e6 / tally.made as f64, "µs"), tally);
    figure("CPU of the generator, a delivery", (generator * 1e6 / tally.made as f64, "µs"), tally);
    figure("share of the machine that the generator took", (generator / seconds / cores(), ""), tally);
    figure("memory of a connection after that", each(busy - known), tally);
    // What the users and the caches cost is in it.
    figure("all memory since the start, a connection", each(busy - fresh), tally);
}

/// A small `/sync` by each, over few connections.
async fn look_by_each(members: &[Client]) {
    let look = |number: usize| {
        let member = members[number].clone();
        async move {
            let filter = json!({ "presence": { "types": [] },
                "room": { "timeline": { "limit": 10 }, "state": { "lazy_load_members": true } } });
            member.sync(Sync::initial().filter(filter)).await;
        }
    };
    side_by_side(members.len(), AT_ONCE, look).await;
}

async fn open(members: &[Client], text: &str, ack: bool, counts: &Arc<Counts>) -> Vec<Listener> {
    let listeners = Arc::<Mutex<Vec<Listener>>>::default();
    let open = |number: usize| {
        let (member, text) = (members[number].clone(), text.to_owned());
        let (counts, listeners) = (counts.clone(), listeners.clone());
        async move {
            let listener = Listener::open(&member, &text, ack, counts).await;
            listeners.lock().await.push(listener);
        }
    };
    side_by_side(members.len(), AT_ONCE, open).await;
    std::mem::take(&mut *listeners.lock().await)
}

/// Returns once nothing has come for [`QUIET`].
async fn settle(counts: &Counts) {
    let start = Instant::now();
    let (mut seen, mut since) = (0, start);
    while since.elapsed() < QUIET && start.elapsed() < SETTLING {
        let now = counts.frames.load(Ordering::Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A message each second; gives when each request was begun.
async fn send(sender: &Client, group: &Group, text: &str, seconds: usize) -> Vec<Instant> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut begun = Vec::with_capacity(seconds);
    for number in 0..seconds {
        ticks.tick().await;
        begun.push(Instant::now());
        let body = json!({ "group_id": group.id, "text": format!("{text} {number}") });
        sender.post("/message/group/send", body).await.done();
    }
    begun
}

async fn all_there(counts: &Counts, wanted: usize) {
    let (mut seen, mut since) = (0, Instant::now());
    while seen < wanted && since.elapsed() < PATIENCE {
        let now = counts.messages.load(Ordering::Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How long each message took to each connection, in milliseconds; one that came twice, or not in order, is a failure.
fn arrivals(listeners: Vec<Listener>, begun: &[Instant]) -> (Vec<f64>, Tally) {
    let mut tally = Tally { wanted: listeners.len() * begun.len(), ..Tally::default() };
    let mut latencies = Vec::with_capacity(tally.wanted);
    for listener in listeners {
        let mut next = 0;
        for (number, when) in listener.close() {
            tally.failed += usize::from(number != next);
            next = number + 1;
            latencies.push((when - begun[number]).as_secs_f64() * 1000.0);
        }
    }
    tally.made = latencies.len();
    (latencies, tally)
}

fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64)
}
