//! Losses of power at random points of concurrent sends: what was not synced is gone, all of it or a random part.
//!
//! Every third loss comes while the server stops, and copies its log into the database.
//!
//! `LINKIM_TEST_LOSSES` sets how many there are in each mode.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use conformance_tests::Server;

use crate::crowd::{Crowd, finish};
use crate::dice::{Dice, number};
use crate::disk::Disk;
use crate::kills::reached;
use crate::verdict::{Verdict, check_data, compare};

const USERS: usize = 10;
const ROOMS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_the_loss_of_all_that_was_not_synced() {
    survives(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_the_loss_of_a_random_part_of_what_was_not_synced() {
    survives(true).await;
}

async fn survives(some: bool) {
    let mut dice = Dice::new("power loss");
    let losses = number("LINKIM_TEST_LOSSES").unwrap_or(12);
    let disk = Disk::new();
    let mut server = Server::start(disk.options(false));
    let crowd = Crowd::gather(&server, USERS, ROOMS).await;
    // About 60 requests between two losses.
    let each = losses * 6;
    let tasks = crowd.send(each, &mut dice);
    let total = each * USERS as u64;
    let mut lost = 0;
    for loss in 0..losses {
        reached(&crowd, (loss * total / (losses + 1)).saturating_sub(dice.roll(20))).await;
        let stops = loss % 3 == 2;
        disk.lose_power_after(dice.roll(if stops { 250 } else { 120 }), some, dice.roll(u64::MAX));
        tokio::task::block_in_place(|| match stops {
            true => lost += u64::from(server.signal_and_wait("TERM").code() == Some(9)),
            false => lost += u64::from(ended(&mut server, &crowd, total)),
        });
        disk.spare_power();
        tokio::task::block_in_place(|| server.restart());
    }
    let sent = finish(tasks).await;
    let verdict = compare(&crowd, &sent).await;
    let repeated = crowd.progress.repeated.load(Ordering::Relaxed);
    println!("{lost} losses of power, {total} requests acknowledged, {repeated} repeats, {verdict:?}");
    assert_eq!(verdict, Verdict::default());
    assert!(lost > losses / 2, "the power failed {lost} times only");
    server.terminate();
    check_data(&server);
}

/// Waits until the power has failed, or the crowd has nothing more to send that could make it fail; answers whether it has.
fn ended(server: &mut Server, crowd: &Crowd, total: u64) -> bool {
    let started = Instant::now();
    while !server.has_ended() && crowd.progress.acknowledged.load(Ordering::Relaxed) < total {
        assert!(started.elapsed() < Duration::from_secs(60), "the power does not fail");
        std::thread::sleep(Duration::from_millis(1));
    }
    server.has_ended()
}

/// The simulation has teeth: where syncs do nothing, acknowledged events are lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_lies_about_syncs_loses_what_was_acknowledged() {
    let mut dice = Dice::new("lying disk");
    let disk = Disk::new();
    let mut server = Server::start(disk.options(false));
    let crowd = Crowd::gather(&server, 3, 2).await;
    disk.lie();
    let sent = finish(crowd.send(10, &mut dice)).await;
    assert_eq!(compare(&crowd, &sent).await, Verdict::default());
    disk.lose_power_after(0, false, 1);
    tokio::task::block_in_place(|| server.signal_and_wait("TERM"));
    disk.spare_power();
    tokio::task::block_in_place(|| server.restart());
    let again = Crowd { users: vec![crowd.users[0].at(&server.base)], ..crowd };
    let verdict = compare(&again, &sent).await;
    assert!(verdict.missing >= sent.len(), "{} sent, {verdict:?}", sent.len());
}
