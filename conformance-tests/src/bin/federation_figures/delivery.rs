//! From the request that sends a message at one server to the long poll that has it at the other.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conformance_tests::{Authority, unique, v3};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::listening::Listening;
use crate::pair::{Kind, Pair};
use conformance_tests::figures::Profile;
use conformance_tests::figures::{Report, Tally, median, quantile};

/// Rooms that the messages of a rate go round.
const ROOMS: usize = 10;

/// Messages of an idle pass.
const IDLE: usize = 300;

/// How long a message may take that is lost by all appearance.
const PATIENCE: Duration = Duration::from_secs(30);

/// Both kinds of servers in turns: LinkIM, Synapse, LinkIM, Synapse. Synapse is spared the higher rate: its messages queue at
/// the lower one already.
pub(crate) async fn run(report: &mut Report, rounds: usize) {
    let authority = Authority::new();
    let ours = Pair::start(Kind::LinkIm, &authority, ROOMS).await;
    let theirs = Pair::start(Kind::Synapse, &authority, ROOMS).await;
    // What is done for the first time costs more: connections, keys, caches.
    for pair in [&ours, &theirs] {
        idle(pair, 20).await;
    }
    let mut figures: HashMap<(Kind, String), Vec<f64>> = HashMap::new();
    for _ in 0..rounds {
        for pair in [&ours, &theirs] {
            let (latencies, tally) = idle(pair, IDLE).await;
            note(report, &mut figures, pair, ["idle, p50", "idle, p99"], &latencies, tally);
        }
    }
    for _ in 0..rounds {
        for pair in [&ours, &theirs] {
            let (latencies, tally) = at_rate(pair, 20, 10).await;
            note(report, &mut figures, pair, ["20/s, p50", "20/s, p99"], &latencies, tally);
        }
    }
    for _ in 0..rounds {
        costed(report, &mut figures, &ours, 200).await;
    }
    for what in ["idle, p50", "idle, p99", "20/s, p50", "20/s, p99"] {
        let [ours, theirs] = [Kind::LinkIm, Kind::Synapse].map(|kind| median(&figures[&(kind, what.to_owned())]));
        let ratio = format!("{what}, median of {rounds}, share of Synapse's");
        report.figure("delivery", "ratio", &ratio, (ours / theirs, ""), Tally::default());
    }
}

/// LinkIM alone, at rising rates, with what each message costs both servers. Takes profiles of both at the highest.
pub(crate) async fn alone(report: &mut Report, rounds: usize, profiles: Option<&Path>) {
    let authority = Authority::new();
    let ours = Pair::start(Kind::LinkIm, &authority, ROOMS).await;
    idle(&ours, 20).await;
    let mut figures = HashMap::new();
    for _ in 0..rounds {
        let before = ours.cpu();
        let (latencies, tally) = idle(&ours, IDLE).await;
        note(report, &mut figures, &ours, ["idle, p50", "idle, p99"], &latencies, tally);
        costs(report, &ours, "idle", before, tally);
        for rate in [20, 200] {
            costed(report, &mut figures, &ours, rate).await;
        }
    }
    if let Some(folder) = profiles {
        std::fs::create_dir_all(folder).expect("a folder for profiles");
        let both = [(&ours.a, "sender"), (&ours.b, "receiver")];
        let looking = both.map(|(server, name)| Profile::start(server.pid(), &folder.join(format!("{name}.data"))));
        costed(report, &mut figures, &ours, 200).await;
        looking.into_iter().for_each(Profile::print);
    }
}

/// A pass at a rate, with its costs.
async fn costed(report: &mut Report, figures: &mut HashMap<(Kind, String), Vec<f64>>, pair: &Pair, rate: u32) {
    let before = pair.cpu();
    let (latencies, tally) = at_rate(pair, rate, 10).await;
    let pass = format!("{rate}/s");
    note(report, figures, pair, [&format!("{pass}, p50"), &format!("{pass}, p99")], &latencies, tally);
    costs(report, pair, &pass, before, tally);
}

/// Reports what each message of a pass cost both servers.
fn costs(report: &mut Report, pair: &Pair, pass: &str, before: (f64, f64), tally: Tally) {
    let (sending, receiving) = pair.cpu();
    let each = |seconds: f64| (seconds * 1000.0 / tally.made as f64, "ms");
    let figures = [("sender", sending - before.0), ("receiver", receiving - before.1)];
    for (who, seconds) in figures {
        let name = format!("{pass}, CPU of the {who}, a message");
        report.figure("delivery", &pair.who(), &name, each(seconds), tally);
    }
}

/// Reports the median and the 99th percentile of a pass.
fn note(
    report: &mut Report,
    figures: &mut HashMap<(Kind, String), Vec<f64>>,
    pair: &Pair,
    names: [&str; 2],
    latencies: &[f64],
    tally: Tally,
) {
    for (name, share) in names.into_iter().zip([0.5, 0.99]) {
        let value = quantile(latencies, share);
        report.figure("delivery", &pair.who(), name, (value, "ms"), tally);
        figures.entry((pair.kind, name.to_owned())).or_default().push(value);
    }
}

/// One message after the other in one room, each sent when the last one has arrived.
async fn idle(pair: &Pair, messages: usize) -> (Vec<f64>, Tally) {
    let mut listening = Listening::start(&pair.bob).await;
    let pass = unique("idle");
    let (mut latencies, mut tally) = (Vec::new(), Tally { wanted: messages, ..Tally::default() });
    for number in 0..messages {
        let body = format!("{pass} {number}");
        let start = Instant::now();
        pair.alice.send_text(&pair.rooms[0], &body).await;
        match listening.next(&pass, PATIENCE).await {
            Some((seen, when)) if seen == body => {
                latencies.push(milliseconds(when - start));
                tally.made += 1;
            }
            _ => tally.failed += 1,
        }
    }
    (latencies, tally)
}

/// So many messages a second, in turn in all rooms, each sent when its time has come, whatever became of those before.
/// The time of each is taken from when it should have been sent.
async fn at_rate(pair: &Pair, rate: u32, seconds: u32) -> (Vec<f64>, Tally) {
    let mut listening = Listening::start(&pair.bob).await;
    let wanted = (rate * seconds) as usize;
    let pass = unique("rate");
    let pause = Duration::from_secs(1) / rate;
    let (begin, mut sending) = (Instant::now() + pause, JoinSet::new());
    let due: Arc<Vec<Instant>> = Arc::new((0..wanted as u32).map(|number| begin + pause * number).collect());
    let mut ticks = ticking(due.clone());
    while let Some(number) = ticks.recv().await {
        let (alice, room) = (pair.alice.clone(), &pair.rooms[number % pair.rooms.len()]);
        let path = v3!("/rooms/{}/send/m.room.message/{}", room, alice.next_transaction());
        let body = json!({ "msgtype": "m.text", "body": format!("{pass} {number}") });
        sending.spawn(async move { alice.put(&path, body).await.status });
    }
    let mut tally = Tally { wanted, ..Tally::default() };
    while let Some(status) = sending.join_next().await {
        if !status.is_ok_and(|status| status == 200) {
            tally.failed += 1;
        }
    }
    let seen = listening.all(&pass, wanted, PATIENCE).await;
    let mut latencies = Vec::new();
    for (number, when) in due.iter().enumerate() {
        match seen.get(&format!("{pass} {number}")) {
            Some((arrived, 1)) => {
                latencies.push(milliseconds(arrived.saturating_duration_since(*when)));
                tally.made += 1;
            }
            Some(_) => tally.failed += 1,
            None => {}
        }
    }
    (latencies, tally)
}

/// Tells the number of each of these times when it has come. A thread of its own: the runtime's timers go by whole milliseconds,
/// which would count as the servers' time.
fn ticking(times: Arc<Vec<Instant>>) -> mpsc::UnboundedReceiver<usize> {
    let (sender, ticks) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for (number, when) in times.iter().enumerate() {
            std::thread::sleep(when.saturating_duration_since(Instant::now()));
            if sender.send(number).is_err() {
                return;
            }
        }
    });
    ticks
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
