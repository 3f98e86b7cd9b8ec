//! A server returns, and is told what it missed.

use std::time::{Duration, Instant};

use conformance_tests::{Authority, event_ids, unique};

use crate::listening::Listening;
use crate::pair::{Kind, Pair};
use conformance_tests::figures::peak_memory;
use conformance_tests::figures::side_by_side;
use conformance_tests::figures::{Report, Tally};

/// How long nothing may come before it is taken for lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// One user sends so many messages in each of so many rooms while the server of another, who is in all of them, is away.
pub(crate) async fn run(report: &mut Report, rooms: usize, each: usize) {
    let authority = Authority::new();
    let pair = Pair::start(Kind::LinkIm, &authority, rooms).await;
    let mut listening = Listening::start(&pair.bob).await;
    pair.b.gate().close();
    let pass = unique("missed");
    send(&pair, each, &pass).await;
    let before = pair.cpu();
    pair.b.gate().open();
    let start = Instant::now();
    // A server that has something to say is heard to be back.
    pair.bob.send_text(&pair.rooms[0], "I am back").await;
    let wanted = rooms * each;
    let seen = listening.all(&pass, wanted, PATIENCE).await;
    let last = seen.values().map(|(when, _)| *when).max().unwrap_or(start);
    let mut tally = Tally { wanted, made: seen.len(), failed: 0 };
    // One that came twice, or while the server could not be reached.
    tally.failed += seen.values().filter(|(when, times)| *times > 1 || *when < start).count();
    let after = pair.cpu();
    let seconds = (last - start).as_secs_f64();
    tally.failed += wrong_histories(&pair, each, &pass).await;
    let who = format!("{wanted} events in {rooms} rooms");
    let mut figure = |what: &str, value: f64, unit: &str| report.figure("catch-up", &who, what, (value, unit), tally);
    figure("until all are there", seconds, "s");
    figure("events a second", wanted as f64 / seconds, "/s");
    figure("CPU of the receiver, an event", (after.1 - before.1) * 1000.0 / wanted as f64, "ms");
    figure("CPU of the sender, an event", (after.0 - before.0) * 1000.0 / wanted as f64, "ms");
    figure("peak memory of the receiver", peak_memory(pair.b.pid()), "MiB");
    figure("peak memory of the sender", peak_memory(pair.a.pid()), "MiB");
}

/// Sends in all rooms, in each one after the other.
async fn send(pair: &Pair, each: usize, pass: &str) {
    let work = |number: usize| {
        let (alice, room, pass) = (pair.alice.clone(), pair.rooms[number].clone(), pass.to_owned());
        async move {
            for message in 0..each {
                alice.send_text(&room, &format!("{pass} {number} {message}")).await;
            }
        }
    };
    side_by_side(pair.rooms.len(), 16, work).await;
}

/// In how many rooms the receiver's history is not the sender's: each message once, in order.
async fn wrong_histories(pair: &Pair, each: usize, pass: &str) -> usize {
    let mut wrong = 0;
    for room in &pair.rooms {
        let [sent, got] = [&pair.alice, &pair.bob].map(|client| async {
            let history = client.whole_history(room, 1000).await;
            let ours = history.into_iter().filter(|event| {
                event["content"]["body"].as_str().is_some_and(|body| body.split(' ').next() == Some(pass))
            });
            let ours: Vec<_> = ours.collect();
            event_ids(&ours).into_iter().map(str::to_owned).collect::<Vec<_>>()
        });
        let (sent, got) = (sent.await, got.await);
        if sent.len() != each || sent != got {
            eprintln!("{room}: {} events were sent, {} came, or in another order", sent.len(), got.len());
            wrong += 1;
        }
    }
    wrong
}
