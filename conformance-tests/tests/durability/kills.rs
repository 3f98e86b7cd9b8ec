//! SIGKILL at random points of concurrent sends.
//!
//! `LINKIM_TEST_SENDS` and `LINKIM_TEST_KILLS` set how many requests and kills there are; the suite's own are few.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use conformance_tests::{Options, Server};

use crate::crowd::{Crowd, finish};
use crate::dice::{Dice, number};
use crate::verdict::{Verdict, check_data, compare};

const USERS: usize = 10;
const ROOMS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_event_is_lost_or_doubled_by_kills() {
    let mut dice = Dice::new("kills");
    let sends = number("LINKIM_TEST_SENDS").unwrap_or(1_000);
    let kills = number("LINKIM_TEST_KILLS").unwrap_or(15);
    let mut server = Server::start(Options::default());
    let crowd = Crowd::gather(&server, USERS, ROOMS).await;
    let each = sends.div_ceil(USERS as u64);
    let tasks = crowd.send(each, &mut dice);
    let total = each * USERS as u64;
    let mut points: Vec<u64> = (0..kills).map(|_| dice.roll(total * 95 / 100)).collect();
    points.sort_unstable();
    let mut longest = Duration::ZERO;
    for point in points {
        reached(&crowd, point).await;
        // An acknowledgement follows a commit: some time more, and the kill is at any point of the next one.
        tokio::time::sleep(Duration::from_micros(dice.roll(6_000))).await;
        server.kill9();
        let started = Instant::now();
        tokio::task::block_in_place(|| server.restart());
        longest = longest.max(started.elapsed());
    }
    let sent = finish(tasks).await;
    let verdict = compare(&crowd, &sent).await;
    let repeated = crowd.progress.repeated.load(Ordering::Relaxed);
    println!(
        "{kills} kills, {total} requests acknowledged ({} messages, {repeated} repeats), {verdict:?}, longest restart {longest:?}",
        sent.len()
    );
    assert_eq!(verdict, Verdict::default());
    assert!(kills == 0 || repeated > 0, "no request was ever interrupted: the kills came at no point of a send");
    server.kill9();
    check_data(&server);
}

/// Waits until so many requests are acknowledged.
pub(crate) async fn reached(crowd: &Crowd, point: u64) {
    let started = Instant::now();
    while crowd.progress.acknowledged.load(Ordering::Relaxed) < point {
        assert!(started.elapsed() < Duration::from_secs(120), "the crowd does not get on");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
