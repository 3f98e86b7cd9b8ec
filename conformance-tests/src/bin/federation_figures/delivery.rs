//! From the request that sends a message at one server to the long poll that has it at the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conformance_tests::{Authority, unique, v3};
use serde_json::json;
use tokio::task::JoinSet;

use crate::listening::Listening;
use crate::pair::{Kind, Pair};
use crate::report::{Report, Tally, median, quantile};

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
    let mut figures: HashMap<(Kind, &str), Vec<f64>> = HashMap::new();
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
        let before = ours.cpu();
        let (latencies, tally) = at_rate(&ours, 200, 10).await;
        note(report, &mut figures, &ours, ["200/s, p50", "200/s, p99"], &latencies, tally);
        let (sending, receiving) = ours.cpu();
        let each = |seconds: f64| (seconds * 1000.0 / tally.made as f64, "ms");
        report.figure("delivery", &ours.who(), "200/s, CPU of the sender, a message", each(sending - before.0), tally);
        report.figure(
            "delivery",
            &ours.who(),
            "200/s, CPU of the receiver, a message",
            each(receiving - before.1),
            tally,
        );
    }
    for what in ["idle, p50", "idle, p99", "20/s, p50", "20/s, p99"] {
        let [ours, theirs] = [Kind::LinkIm, Kind::Synapse].map(|kind| median(&figures[&(kind, what)]));
        let ratio = format!("{what}, median of {rounds}, share of Synapse's");
        report.figure("delivery", "ratio", &ratio, (ours / theirs, ""), Tally::default());
    }
}

/// Reports the median and the 99th percentile of a pass.
fn note<'a>(
    report: &mut Report,
    figures: &mut HashMap<(Kind, &'a str), Vec<f64>>,
    pair: &Pair,
    names: [&'a str; 2],
    latencies: &[f64],
    tally: Tally,
) {
    for (name, share) in names.into_iter().zip([0.5, 0.99]) {
        let value = quantile(latencies, share);
        report.figure("delivery", &pair.who(), name, (value, "ms"), tally);
        figures.entry((pair.kind, name)).or_default().push(value);
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
    for (number, when) in due.iter().enumerate() {
        tokio::time::sleep_until((*when).into()).await;
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

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
