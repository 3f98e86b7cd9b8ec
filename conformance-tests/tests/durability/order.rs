//! The order of things: an answer leaves only after the log that holds its event was synced.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use conformance_tests::Server;

use crate::crowd::{Crowd, finish};
use crate::dice::Dice;
use crate::disk::Disk;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_synced_before_the_first_byte_of_an_answer() {
    let mut dice = Dice::new("order");
    let disk = Disk::new();
    let server = Server::start(disk.options(true));
    let crowd = Crowd::gather(&server, 4, 2).await;
    let sent = finish(crowd.send(15, &mut dice)).await;
    let trace = disk.trace();
    let lines: Vec<&str> = trace.lines().collect();
    let mut answers: HashMap<&str, usize> = HashMap::new();
    for (at, line) in lines.iter().enumerate() {
        if let Some(id) = line.strip_prefix("answer ") {
            answers.entry(id).or_insert(at);
        }
    }
    let syncs: Vec<usize> =
        (0..lines.len()).filter(|at| lines[*at].starts_with("sync ") && lines[*at].ends_with("-wal")).collect();
    for sent in &sent {
        let answer =
            *answers.get(&*sent.event_id).unwrap_or_else(|| panic!("no answer with {} was seen", sent.event_id));
        let written = log_write_with(&lines[..answer], &sent.event_id);
        let written =
            written.unwrap_or_else(|| panic!("{} was answered before it was written to the log", sent.event_id));
        assert!(
            syncs.iter().any(|sync| (written..answer).contains(sync)),
            "{}: written at {written}, answered at {answer}, not synced between them",
            sent.event_id
        );
    }
    println!(
        "{} answers, each after a sync of the log behind the write of its event; {} syncs",
        sent.len(),
        syncs.len()
    );
}

/// The first write to the log that holds the 32 bytes of an event id.
fn log_write_with(lines: &[&str], event_id: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(event_id.trim_start_matches('$')).expect("an id that is a hash");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    lines.iter().position(|line| {
        let mut parts = line.split(' ');
        parts.next() == Some("write")
            && parts.next().is_some_and(|path| path.ends_with("-wal"))
            && parts.next().is_some_and(|written| written.contains(&hex))
    })
}
